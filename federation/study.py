"""A study as the researcher runs it: submit, wait for the owners, train round by round."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from nacl.signing import SigningKey
from numpy.typing import NDArray

from federation.client import HospitalClient, Status
from federation.collector import AggregatorClient, collect
from syft_code import canonical, messages, networks, scoring
from syft_code.envelope import SealedShare
from syft_code.errors import ConsiliumError, Refused, TrainingFailed, Unavailable
from syft_code.messages import Purpose, RoundCall, State, Ticket
from syft_code.plan import Plan

POLL_S = 0.2
Weights = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far one hospital is in one round. Holds no loss and no metric."""

    round: int
    purpose: Purpose
    hospital: str
    state: State
    step: int
    steps: int
    epsilon: float
    sentence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRecord:
    """What one round came to.

    `trained` and `evaluated` name the hospitals that contributed; `epsilon` is what each of
    them says that the study has spent there, this round and its evaluation included;
    `refusals` are the sentences of those that did not train; `metrics` are noised, over the
    held-out patients of those that evaluated.
    """

    round: int
    trained: tuple[str, ...]
    epsilon: dict[str, float]
    delta: dict[str, float]
    refusals: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    evaluated: tuple[str, ...] = ()
    upload_bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """A trained model (float32 `[parameters]`) and the story of its rounds.

    `stopped` is empty if every round ran, else the sentence that says why not.
    """

    plan: Plan
    weights: Weights
    rounds: tuple[RoundRecord, ...]
    stopped: str = ""


class Study:
    """One plan with the hospitals and aggregators of its roster."""

    def __init__(
        self,
        plan: Plan,
        *,
        hospitals: Sequence[HospitalClient],
        aggregators: Sequence[AggregatorClient],
        key: SigningKey,
    ) -> None:
        self.plan = plan
        self._hospitals = list(hospitals)
        self._aggregators = list(aggregators)
        self._key = key

    def submit(self) -> None:
        """Send the code request to every hospital; hospitals decide for themselves."""
        with ThreadPoolExecutor(len(self._hospitals)) as pool:
            list(pool.map(lambda hospital: hospital.submit(self.plan), self._hospitals))

    def status(self) -> dict[str, Status]:
        """What each owner has decided so far."""
        return {h.name: h.status(self.plan.hash) for h in self._hospitals}

    def wait_for_approval(self, *, timeout_s: float = 3600.0) -> None:
        """Wait until `min_hospitals` owners have approved and nobody is undecided, or raise."""
        deadline = time.monotonic() + timeout_s
        while True:
            states = list(self.status().values())
            approved, pending = states.count("approved"), states.count("pending")
            if approved >= self.plan.min_hospitals and not pending:
                return
            if approved + pending < self.plan.min_hospitals:
                raise Refused(
                    f"At least {self.plan.min_hospitals} hospitals must approve, {approved} did: "
                    "talk to the data owners, or write another plan."
                )
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"{approved} of {self.plan.min_hospitals} approvals are there after "
                    f"{timeout_s:.0f} s: ask the data owners, and wait again."
                )
            time.sleep(1.0)

    def train(
        self,
        *,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        on_round: Callable[[RoundRecord, Weights], None] = lambda record, weights: None,
    ) -> Outcome:
        """Run every round that enough hospitals take part in; return what came of it.

        A hospital that refuses or fails drops out of that round and nobody else is stopped,
        as long as `min_hospitals` are left.
        """
        for aggregator in self._aggregators:
            aggregator.open_study(self.plan)
        seed = int(self.plan.hash[:8], 16)
        weights = networks.initial_weights(self.plan.recipe, self.plan.data, seed=seed)
        records: list[RoundRecord] = []
        stopped = ""
        for number in range(1, self.plan.rounds + 1):
            try:
                weights, record = self._round(number, weights, on_progress)
            except Refused as problem:
                stopped = str(problem)
                break
            records.append(record)
            on_round(record, weights)
        return Outcome(plan=self.plan, weights=weights, rounds=tuple(records), stopped=stopped)

    def _round(
        self, number: int, weights: Weights, on_progress: Callable[[Progress], None]
    ) -> tuple[Weights, RoundRecord]:
        """One FedAvg round (McMahan et al. 2017, Algorithm 1), and its evaluation if planned."""
        began = time.monotonic()
        done, refusals = self._ask_all("train", number, weights, on_progress)
        total = self._collect("train", number, done, refusals)
        updated = (weights + total[:-1] / total[-1]).astype(np.float32)
        epsilon = {name: ticket.epsilon for name, (ticket, _) in done.items()}
        delta = {name: ticket.delta for name, (ticket, _) in done.items()}
        evaluated, figures = self._evaluate(number, updated, on_progress)
        epsilon |= {name: ticket.epsilon for name, (ticket, _) in evaluated.items()}
        delta |= {name: ticket.delta for name, (ticket, _) in evaluated.items()}
        record = RoundRecord(
            round=number,
            trained=tuple(done),
            epsilon=epsilon,
            delta=delta,
            refusals=refusals,
            metrics=figures,
            evaluated=tuple(evaluated),
            upload_bytes=sum(size for _, size in done.values()),
            seconds=time.monotonic() - began,
        )
        return updated, record

    def _evaluate(
        self, number: int, weights: Weights, on_progress: Callable[[Progress], None]
    ) -> tuple[dict[str, tuple[Ticket, int]], dict[str, float]]:
        """Who evaluated the round's model, and the figures; none if too few hospitals did.

        The trained round stands either way: it is paid for.
        """
        if not self.plan.evaluation or number not in self.plan.evaluation.after_rounds:
            return {}, {}
        evaluated, missing = self._ask_all("evaluate", number, weights, on_progress)
        if len(evaluated) < self.plan.min_hospitals:
            return evaluated, {}
        sums = self._collect("evaluate", number, evaluated, missing)
        return evaluated, scoring.report(sums[:-1], self.plan.data)

    def _ask_all(
        self,
        purpose: Purpose,
        number: int,
        weights: Weights,
        on_progress: Callable[[Progress], None],
    ) -> tuple[dict[str, tuple[Ticket, int]], dict[str, str]]:
        """Run one round at every hospital side by side; who is done, and why others are not."""
        data = weights.astype("<f4").tobytes()

        def ask(hospital: HospitalClient) -> tuple[Ticket, int] | str:
            try:
                return self._ask(hospital, purpose, number, data, on_progress)
            except ConsiliumError as problem:
                on_progress(
                    Progress(
                        round=number,
                        purpose=purpose,
                        hospital=hospital.name,
                        state="failed",
                        step=0,
                        steps=0,
                        epsilon=0.0,
                        sentence=str(problem),
                    )
                )
                return str(problem)

        with ThreadPoolExecutor(len(self._hospitals)) as pool:
            answers = list(zip(self._hospitals, pool.map(ask, self._hospitals), strict=True))
        done = {h.name: answer for h, answer in answers if not isinstance(answer, str)}
        refusals = {h.name: answer for h, answer in answers if isinstance(answer, str)}
        return done, refusals

    def _ask(
        self,
        hospital: HospitalClient,
        purpose: Purpose,
        number: int,
        data: bytes,
        on_progress: Callable[[Progress], None],
    ) -> tuple[Ticket, int]:
        """One round at one hospital: weights there, ticket, wait, shares to the aggregators."""
        weights_sha256 = hospital.bulk.upload(data)
        call = RoundCall(
            plan_hash=self.plan.hash,
            hospital=hospital.name,
            purpose=purpose,
            round=number,
            weights_sha256=weights_sha256,
        )
        ticket = hospital.start_round(self.plan, messages.sign(call, self._key))
        while True:
            on_progress(_progress(hospital.name, ticket))
            if ticket.state == "failed":
                raise TrainingFailed(ticket.sentence)
            if ticket.state == "done":
                break
            time.sleep(POLL_S)
            ticket = hospital.bulk.ticket(ticket.ticket)
        size = 0
        for name, aggregator in zip(ticket.shares, self._aggregators, strict=True):
            sealed = hospital.bulk.download(name)
            aggregator.submit(SealedShare.from_bytes(sealed))
            hospital.bulk.delete(name)
            size += len(sealed)
        hospital.bulk.delete(weights_sha256)
        return ticket, size

    def _collect(
        self,
        purpose: Purpose,
        number: int,
        done: dict[str, tuple[Ticket, int]],
        refusals: dict[str, str],
    ) -> NDArray[np.float64]:
        if len(done) < self.plan.min_hospitals:
            raise Refused(
                f"Round {number} needs {self.plan.min_hospitals} hospitals and {len(done)} took "
                f"part, so the study stops here. {_by_sentence(refusals)}"
            )
        total, _ = collect(
            self.plan,
            self._aggregators,
            purpose=purpose,
            round_number=number,
            hospitals=sorted(done),
            researcher_key=self._key,
        )
        return total


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


def _by_sentence(refusals: dict[str, str]) -> str:
    """Who said no, and why; hospitals with the same reason together.

    >>> _by_sentence({"north": "No.", "south": "No.", "east": "Away."})
    'north, south: No. east: Away.'
    """
    names: dict[str, list[str]] = {}
    for name, sentence in refusals.items():
        names.setdefault(sentence, []).append(name)
    return " ".join(f"{', '.join(who)}: {sentence}" for sentence, who in names.items())


def model_sha256(weights: Weights) -> str:
    """The hash of a model's weights (float32, little endian), as it stands in a certificate."""
    return canonical.sha256(weights.astype("<f4").tobytes())
