"""One round at every hospital of a roster, side by side, as the researcher carries it.

    hospital ◀─ weights, signed call ─ researcher       hospital ─ ticket, sealed shares ─▶
                                       researcher ─ each share ─▶ its aggregator

Who takes part is known: each of them signs its shares. Of the others only the number is kept.
A hospital that has not decided, that refuses, that takes too long or that does not answer looks
the same here and in everything that is made from it, so that no log, notebook or report names
one. To say "did not answer" of some would say "refused" of the rest. A sentence is kept, and
without a name, where a hospital says more than that it takes no part; its owner decides that.

Does not protect: a hospital from whoever asks its front desk directly. Anybody can see whether
it answers, and the researcher whether a training that began came to an end.
"""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from nacl.signing import SigningKey
from numpy.typing import NDArray

from federation.client import HospitalClient
from federation.collector import AggregatorClient
from syft_code import envelope, messages
from syft_code.envelope import SealedShare
from syft_code.errors import (
    ConsiliumError,
    InvalidMessage,
    SharingError,
    TrainingFailed,
    Unavailable,
    require,
)
from syft_code.messages import NO_PART, Purpose, RoundCall, Signed, State, Ticket
from syft_code.plan import Plan

T = TypeVar("T")
POLL_S = 0.2
LONGEST_REASON = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far one hospital is in one round. Holds no loss, no metric and no refusal."""

    round: int
    purpose: Purpose
    hospital: str
    state: State
    step: int
    steps: int
    epsilon: float


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What one hospital gave to a round: `header` is that of its last share, signed by it."""

    ticket: Ticket
    header: Signed
    upload_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What came of a round: who gave something, how many did not, and no names of those.

    `reasons` are what owners let researchers read, and what was wrong with a call or a share:
    each sentence once, in the order of the alphabet.
    """

    done: dict[str, Contribution] = field(default_factory=dict)
    absent: int = 0
    reasons: tuple[str, ...] = ()


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
    ) -> None:
        self._plan = plan
        self._hospitals = list(hospitals)
        self._aggregators = list(aggregators)
        self._key = key
        self._on_progress = on_progress
        self._timeout_s = timeout_s

    def ask_all(self, purpose: Purpose, number: int, weights: NDArray[np.float32]) -> Answers:
        """Run one round at every hospital side by side; one hospital's no stops nobody."""
        data = weights.astype("<f4").tobytes()

        def ask(hospital: HospitalClient) -> Contribution:
            return self._carry(hospital, self._train(hospital, purpose, number, data))

        answers = side_by_side(self._hospitals, ask)
        done = {h.name: one for h, one in answers if isinstance(one, Contribution)}
        return Answers(done=done, absent=len(answers) - len(done), reasons=reasons_of(answers))

    def _train(
        self, hospital: HospitalClient, purpose: Purpose, number: int, data: bytes
    ) -> Ticket:
        """Weights to one hospital, the signed call, and wait until its shares are there."""
        call = RoundCall(
            plan_hash=self._plan.hash,
            hospital=hospital.name,
            purpose=purpose,
            round=number,
            weights_sha256=hospital.bulk.upload(data),
        )
        ticket = hospital.start_round(self._plan, messages.sign(call, self._key))
        deadline = time.monotonic() + self._timeout_s
        while True:
            _check_ticket(ticket, purpose, number)
            self._on_progress(_progress(hospital.name, ticket))
            if ticket.state == "done":
                hospital.bulk.delete(call.weights_sha256)
                return ticket
            if time.monotonic() > deadline:
                raise Unavailable(f"A round must end within {self._timeout_s:.0f} s, and did not.")
            time.sleep(POLL_S)
            ticket = hospital.bulk.ticket(ticket.ticket)

    def _carry(self, hospital: HospitalClient, ticket: Ticket) -> Contribution:
        """One hospital's sealed shares to the aggregators, in the roster's order."""
        require(
            len(ticket.shares) == len(self._aggregators),
            "A round must end with one share for each aggregator; this one did not.",
            error=InvalidMessage,
        )
        size_bytes = 0
        for party, (name, aggregator) in enumerate(
            zip(ticket.shares, self._aggregators, strict=True), start=1
        ):
            sealed = hospital.bulk.download(name)
            share = SealedShare.from_bytes(sealed)
            self._check_share(hospital.name, ticket, party, share)
            _submit(aggregator, share)
            hospital.bulk.delete(name)
            size_bytes += len(sealed)
        return Contribution(ticket=ticket, header=share.header, upload_bytes=size_bytes)

    def _check_share(self, hospital: str, ticket: Ticket, party: int, share: SealedShare) -> None:
        """A share that an aggregator could not add up must not get into the round's set."""
        header = envelope.check_header(self._plan, party, share.header)
        require(
            (header.hospital, header.purpose, header.round)
            == (hospital, ticket.purpose, ticket.round),
            "A share must be of the hospital and the round that were asked; this one is not.",
            error=InvalidMessage,
        )


def _check_ticket(ticket: Ticket, purpose: Purpose, number: int) -> None:
    require(
        (ticket.purpose, ticket.round) == (purpose, number),
        "A ticket must be for the round that was asked for; this one is for another.",
        error=InvalidMessage,
    )
    if ticket.state == "failed":
        raise TrainingFailed(ticket.sentence)


def _submit(aggregator: AggregatorClient, share: SealedShare) -> None:
    """Hand a share over; an aggregator that is away is no hospital's absence, and is named."""
    try:
        aggregator.submit(share)
    except Unavailable as problem:
        raise SharingError(str(problem)) from problem


def _progress(hospital: str, ticket: Ticket) -> Progress:
    return Progress(
        round=ticket.round,
        purpose=ticket.purpose,
        hospital=hospital,
        state=ticket.state,
        step=ticket.step,
        steps=ticket.steps,
        epsilon=ticket.epsilon,
    )


def side_by_side(
    hospitals: Sequence[HospitalClient], ask: Callable[[HospitalClient], T]
) -> list[tuple[HospitalClient, T | ConsiliumError]]:
    """Ask all hospitals at once; what one of them raises is its answer."""

    def answer(hospital: HospitalClient) -> T | ConsiliumError:
        try:
            return ask(hospital)
        except ConsiliumError as problem:
            return problem

    with ThreadPoolExecutor(len(hospitals)) as pool:
        return list(zip(hospitals, pool.map(answer, hospitals), strict=True))


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
