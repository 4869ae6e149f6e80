"""One round at every hospital of a roster, side by side, as the researcher carries it.

    hospital ◀─ weights, signed call ─ researcher       hospital ─ ticket, sealed shares ─▶
                                       researcher ─ each share ─▶ its aggregator

A share passes through a nameless file on the researcher's disk; those of one hospital go to all
aggregators side by side. A connection that is lost costs time and nothing else: calls are made
again, transfers go on, and a hospital that was restarted runs its round again.

Who takes part is known: each of them signs its shares. Of the others only the number is kept.
A hospital that has not decided, that refuses, that takes too long or that does not answer looks
the same here and in everything that is made from it, so that no log, notebook or report names
one. To say "did not answer" of some would say "refused" of the rest. A sentence is kept, and
without a name, where a hospital says more than that it takes no part; its owner decides that.

Does not protect: a hospital from whoever asks its front desk directly. Anybody can see whether
it answers, and the researcher whether a training that began came to an end.
"""

import contextlib
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Thread
from typing import TypeVar

import numpy as np
from nacl.signing import SigningKey
from numpy.typing import NDArray

from federation.researcher.hospital_round import HospitalRound
from federation.researcher.syft_client import HospitalClient
from federation.transport.aggregator_client import AggregatorClient
from federation.transport.growing_file import GrowingFile
from federation.transport.retry import PATIENCE_S
from syft_code import canonical
from syft_code.errors import (
    ConsiliumError,
    InvalidMessage,
    Refused,
    Unavailable,
    require,
)
from syft_code.plans.messages import NO_PART, Purpose, RoundCall, Signed, State, Ticket
from syft_code.plans.plan import Plan
from syft_code.runtime import trace
from syft_code.secret_sharing import envelope
from syft_code.secret_sharing.envelope import SealedShare

T = TypeVar("T")
LONGEST_REASON = 400
_BEFORE_SEALED_BYTES = envelope.MAX_HEADER_BYTES + 64


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundProgress:
    """How far one hospital is in one round. Holds no loss, no metric and no refusal."""

    round: int
    purpose: Purpose
    hospital: str
    state: State
    step: int
    steps: int
    epsilon: float


OnProgress = Callable[[RoundProgress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class HospitalShares:
    """What one hospital gave to a round, and the aggregators (from 1) that took its shares.

    `header` is that of its last share, signed by it.
    """

    ticket: Ticket
    header: Signed
    taken: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundReplies:
    """What came of asking: who gave something, and no names of those who did not.

    `reasons` are what owners let researchers read, and what was wrong with a call or a share:
    each sentence once, in the order of the alphabet. `away` are the sentences of aggregators that
    could not be reached.
    """

    done: dict[str, HospitalShares] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    away: tuple[str, ...] = ()


class Relay:
    """The researcher between the hospitals and the aggregators of one plan."""

    def __init__(
        self,
        plan: Plan,
        *,
        hospitals: Sequence[HospitalClient],
        aggregators: Sequence[AggregatorClient],
        key: SigningKey,
        on_progress: OnProgress,
        timeout_s: float,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._plan = plan
        self._hospitals = list(hospitals)
        self._aggregators = list(aggregators)
        self._key = key
        self._on_progress = on_progress
        self._timeout_s = timeout_s
        self._patience_s = patience_s

    def ask_all(
        self,
        purpose: Purpose,
        number: int,
        broadcast: NDArray[np.float32],
        *,
        hospitals: Collection[str] | None = None,
    ) -> RoundReplies:
        """Run one round at every hospital side by side; one hospital's no stops nobody.

        `hospitals` are those that are asked, without it all of the roster.
        """
        data = broadcast.astype("<f4", copy=False).tobytes()
        away: set[str] = set()

        def ask(hospital: HospitalClient) -> HospitalShares:
            with trace.span("researcher: round at a hospital"):
                ticket = self._train(hospital, purpose, number, data)
            with trace.span("researcher: shares to aggregators"):
                return self._carry(hospital, ticket, canonical.sha256(data), away)

        asked = [h for h in self._hospitals if hospitals is None or h.name in hospitals]
        answers = map_parallel(asked, ask)
        done = {h.name: one for h, one in answers if isinstance(one, HospitalShares)}
        return RoundReplies(done=done, reasons=reasons_of(answers), away=tuple(sorted(away)))

    def share_bytes(self, hospital: str, purpose: Purpose, number: int) -> int:
        """What all sealed shares of one hospital and round take, without their headers."""
        parties = range(1, len(self._aggregators) + 1)
        return sum(
            _sealed_bytes(self._plan, (hospital, purpose, number), party) for party in parties
        )

    # One hospital: the round itself

    def _call(
        self, hospital: HospitalClient, purpose: Purpose, number: int, data: bytes
    ) -> HospitalRound:
        """Weights to one hospital, and the call that names them."""
        call = RoundCall(
            plan_hash=self._plan.hash,
            hospital=hospital.name,
            purpose=purpose,
            round=number,
            weights_sha256=self._uploaded(hospital, data),
        )
        return HospitalRound(hospital, self._plan, call, key=self._key, patience_s=self._patience_s)

    def _uploaded(self, hospital: HospitalClient, data: bytes) -> str:
        with trace.span("researcher: weights up"):
            return hospital.bulk.upload(data)

    def _train(
        self, hospital: HospitalClient, purpose: Purpose, number: int, data: bytes
    ) -> Ticket:
        """One hospital's round, until its shares are there."""
        return self._call(hospital, purpose, number, data).run(
            timeout_s=self._timeout_s,
            on_ticket=lambda ticket: self._on_progress(_progress(hospital.name, ticket)),
        )

    # One hospital: its shares

    def _carry(
        self, hospital: HospitalClient, ticket: Ticket, weights_sha256: str, away: set[str]
    ) -> HospitalShares:
        """One hospital's sealed shares to the aggregators, side by side."""
        require(
            len(ticket.shares) == len(self._aggregators),
            "A round must end with one share for each aggregator; this one did not.",
            error=InvalidMessage,
        )
        parties = range(1, len(self._aggregators) + 1)

        def hand_over(party: int) -> Signed | ConsiliumError:
            try:
                return self._hand_over(hospital, ticket, weights_sha256, party, away)
            except ConsiliumError as problem:
                return problem

        with ThreadPoolExecutor(len(parties)) as pool:
            results = dict(zip(parties, pool.map(hand_over, parties), strict=True))
        with contextlib.suppress(Unavailable):
            hospital.bulk.forget(ticket.ticket)
        headers = {p: one for p, one in results.items() if isinstance(one, Signed)}
        problems = [one for one in results.values() if isinstance(one, ConsiliumError)]
        if len(headers) < self._plan.needed:
            raise _worst(problems)
        return HospitalShares(ticket=ticket, header=headers[max(headers)], taken=frozenset(headers))

    def _hand_over(
        self,
        hospital: HospitalClient,
        ticket: Ticket,
        weights_sha256: str,
        party: int,
        away: set[str],
    ) -> Signed:
        """One share, through a file, from a hospital to its aggregator; returns its header."""
        name, about = ticket.shares[party - 1], (hospital.name, ticket.purpose, ticket.round)
        limit_bytes = _BEFORE_SEALED_BYTES + _sealed_bytes(self._plan, about, party)
        with GrowingFile() as file:
            try:
                hospital.bulk.download(name, file, limit_bytes=limit_bytes)
            except Refused:  # the front desk has lost it; when it is asked, it fetches it again
                hospital.bulk.ticket(ticket.ticket)
                hospital.bulk.download(name, file, limit_bytes=limit_bytes)
            share = SealedShare.from_bytes(file.view())
            header = envelope.check_header(self._plan, party, share.header)
            require(
                (header.hospital, header.purpose, header.round) == about
                and header.weights_sha256 == weights_sha256,
                "A share must be of the hospital, the round and the weights that were asked; this "
                "one is not.",
                error=InvalidMessage,
            )
            try:
                self._aggregators[party - 1].submit(share)
            except Unavailable as problem:  # no hospital's absence, and named
                away.add(str(problem))
                raise
        return share.header


def _sealed_bytes(plan: Plan, about: tuple[str, Purpose, int], party: int) -> int:
    """The size of the sealed bytes of a share that the plan asks for."""
    hospital, purpose, number = about
    return envelope.sealed_bytes(
        envelope.unsealed_header(plan, hospital, purpose, number, party=party)
    )


def _worst(problems: Sequence[ConsiliumError]) -> ConsiliumError:
    """Of several problems one that says more than that somebody is away."""
    return sorted(problems, key=lambda one: isinstance(one, Unavailable))[0]


def _progress(hospital: str, ticket: Ticket) -> RoundProgress:
    return RoundProgress(
        round=ticket.round,
        purpose=ticket.purpose,
        hospital=hospital,
        state=ticket.state,
        step=ticket.step,
        steps=ticket.steps,
        epsilon=ticket.epsilon,
    )


def map_parallel(
    hospitals: Sequence[HospitalClient], ask: Callable[[HospitalClient], T]
) -> list[tuple[HospitalClient, T | ConsiliumError]]:
    """Ask all hospitals at once; what one of them raises is its answer.

    Who interrupts it waits for nobody: the threads end with the process, whatever they wait for.
    """
    futures: list[Future[T | ConsiliumError]] = []
    for hospital in hospitals:
        futures.append(Future())
        Thread(target=_answer, args=(futures[-1], ask, hospital), daemon=True).start()
    return [(one, future.result()) for one, future in zip(hospitals, futures, strict=True)]


def _answer(
    future: "Future[T | ConsiliumError]",
    ask: Callable[[HospitalClient], T],
    hospital: HospitalClient,
) -> None:
    try:
        future.set_result(ask(hospital))
    except ConsiliumError as problem:
        future.set_result(problem)
    except BaseException as problem:  # nobody foresaw it: it is raised where the answer is read
        future.set_exception(problem)


def reasons_of(answers: Iterable[tuple[HospitalClient, object]]) -> tuple[str, ...]:
    """What hospitals that took no part let be read, each sentence once, in alphabetical order."""
    problems = [(h.name, one) for h, one in answers if isinstance(one, ConsiliumError)]
    reasons = {_reason(name, problem) for name, problem in problems}
    return tuple(sorted(reasons - {""}))


def _reason(hospital: str, problem: ConsiliumError) -> str:
    """What may be read about a hospital that took no part: no name, and mostly nothing.

    >>> _reason("north", ConsiliumError("The budget of north is spent."))
    'The budget of this hospital is spent.'
    >>> _reason("north", Unavailable("north does not answer."))
    ''
    """
    if isinstance(problem, Unavailable) or str(problem) == NO_PART:
        return ""
    said = "".join(c for c in str(problem) if c.isprintable())
    name = rf"(?<![\w-]){re.escape(hospital)}(?![\w-])"
    return re.sub(name, "this hospital", said)[:LONGEST_REASON]
