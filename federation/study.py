"""A study as the researcher runs it: submit, wait for the owners, train round by round."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from nacl.signing import SigningKey
from numpy.typing import NDArray

from federation.approvals import Approvals
from federation.client import HospitalClient
from federation.collector import AggregatorClient, collect
from federation.relay import Answers, OnProgress, Relay, reasons_of, side_by_side
from federation.relay import Progress as Progress
from syft_code import canonical, networks, scoring
from syft_code.errors import (
    ConsiliumError,
    InvalidInput,
    NotApproved,
    Refused,
    Unavailable,
    require,
)
from syft_code.messages import Purpose, Signed
from syft_code.notes import Note
from syft_code.plan import Plan

ASK_AGAIN_S = 1.0
LONGEST_ROUND_S = 6 * 3600.0
Weights = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundRecord:
    """What one round came to.

    `trained` and `evaluated` name the hospitals that contributed; `epsilon` is what each of
    them says that the study has spent there, this round and its evaluation included; `anchors`
    are the headers of their last shares, each with the hash of the last entry of its audit log.
    `absent` is how many of the roster did not train, and `reasons` what owners let researchers
    read of why, without names. `metrics` are noised, over the held-out patients of those that
    evaluated.
    """

    round: int
    trained: tuple[str, ...]
    epsilon: dict[str, float]
    delta: dict[str, float]
    absent: int = 0
    reasons: tuple[str, ...] = ()
    anchors: dict[str, Signed] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    evaluated: tuple[str, ...] = ()
    upload_bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """A trained model (float32 `[parameters]`) and the story of its rounds.

    `stopped` is empty if every round ran, else the sentence that says why not, in numbers;
    `reasons` are what owners let researchers read about the round that did not run.
    """

    plan: Plan
    weights: Weights
    rounds: tuple[RoundRecord, ...]
    stopped: str = ""
    reasons: tuple[str, ...] = ()


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
        """Send the code request to every hospital; hospitals decide for themselves.

        Submitting again reaches those that were away, and changes nothing for the others.

        Raises:
            Unavailable: if fewer hospitals than `min_hospitals` took the request.
        """
        answers = side_by_side(self._hospitals, lambda hospital: hospital.submit(self.plan))
        reached = sum(1 for _, answer in answers if not isinstance(answer, ConsiliumError))
        least, reasons = self.plan.min_hospitals, reasons_of(answers)
        require(
            reached >= least,
            f"The request must reach at least {least} hospitals and reached {reached}: log in anew "
            f"to see which front desks answer, and submit again. {' '.join(reasons)}".rstrip(),
            error=Unavailable,
        )

    def status(self) -> Approvals:
        """How many owners have approved so far."""
        answers = side_by_side(self._hospitals, lambda one: one.has_approved(self.plan.hash))
        approved = sum(1 for _, answer in answers if answer is True)
        return Approvals(approved=approved, hospitals=len(self._hospitals))

    def wait_for_approval(
        self, *, hospitals: int | None = None, timeout_s: float = 3600.0
    ) -> Approvals:
        """Wait until so many hospitals have approved, all of the roster if no number is given.

        When the time is up, `min_hospitals` of them are enough: nobody learns who said no, so
        nobody can be waited for in vain.

        Raises:
            NotApproved: if fewer have approved by then.
        """
        least, roster = self.plan.min_hospitals, len(self._hospitals)
        wanted = roster if hospitals is None else hospitals
        require(
            least <= wanted <= roster,
            f"hospitals must be a number from {least} to the {roster} of the roster, got {wanted}.",
            error=InvalidInput,
        )
        deadline = time.monotonic() + timeout_s
        while (status := self.status()).approved < wanted:
            left_s = deadline - time.monotonic()
            if not left_s > 0:
                break
            time.sleep(min(ASK_AGAIN_S, left_s))
        require(
            status.approved >= least,
            f"At least {least} hospitals must approve, {status.approved} did within "
            f"{timeout_s:.0f} s: talk to the data owners and wait again, or write another plan.",
            error=NotApproved,
        )
        return status

    def notes(self) -> list[tuple[str, Note]]:
        """What owners asked about this plan and what was answered, the oldest first.

        An owner who asks has chosen to speak; hospitals that did not are not among them.
        """
        pairs: list[tuple[str, Note]] = []
        answers = side_by_side(self._hospitals, lambda one: one.bulk.notes(self.plan.hash))
        for hospital, notes in answers:
            if not isinstance(notes, ConsiliumError):
                pairs += [(hospital.name, note) for note in notes]
        return sorted(pairs, key=lambda pair: pair[1].at_unix_s)

    def answer(self, hospital: str, text: str) -> None:
        """Answer the owner of one hospital of the roster; nobody else reads it."""
        self.plan.hospital(hospital)
        for client in self._hospitals:
            if client.name == hospital:
                client.bulk.answer(self.plan.hash, text)

    def train(
        self,
        *,
        on_progress: OnProgress = lambda progress: None,
        on_round: Callable[[RoundRecord, Weights], None] = lambda record, weights: None,
        round_timeout_s: float = LONGEST_ROUND_S,
    ) -> Outcome:
        """Run every round that enough hospitals take part in; return what came of it.

        A hospital that refuses, fails or needs more than `round_timeout_s` drops out of that
        round and nobody else is stopped, as long as `min_hospitals` are left.
        """
        for aggregator in self._aggregators:
            aggregator.open_study(self.plan)
        relay = Relay(
            self.plan,
            hospitals=self._hospitals,
            aggregators=self._aggregators,
            key=self._key,
            on_progress=on_progress,
            timeout_s=round_timeout_s,
        )
        seed = int(self.plan.hash[:8], 16)
        weights = networks.initial_weights(self.plan.recipe, self.plan.data, seed=seed)
        records: list[RoundRecord] = []
        for number in range(1, self.plan.rounds + 1):
            began = time.monotonic()
            answers = relay.ask_all("train", number, weights)
            try:
                weights, record = self._finish(number, weights, answers, relay)
            except (Refused, Unavailable) as problem:
                return Outcome(
                    plan=self.plan,
                    weights=weights,
                    rounds=tuple(records),
                    stopped=str(problem),
                    reasons=answers.reasons,
                )
            records.append(replace(record, seconds=time.monotonic() - began))
            on_round(records[-1], weights)
        return Outcome(plan=self.plan, weights=weights, rounds=tuple(records))

    def _finish(
        self, number: int, weights: Weights, trained: Answers, relay: Relay
    ) -> tuple[Weights, RoundRecord]:
        """One FedAvg round (McMahan et al. 2017, Algorithm 1), and its evaluation if planned."""
        total = self._collect("train", number, trained)
        updated = (weights + total[:-1] / total[-1]).astype(np.float32)
        evaluated, figures = self._evaluate(number, updated, relay)
        last = trained.done | evaluated.done
        record = RoundRecord(
            round=number,
            trained=tuple(trained.done),
            epsilon={name: one.ticket.epsilon for name, one in last.items()},
            delta={name: one.ticket.delta for name, one in last.items()},
            absent=trained.absent,
            reasons=tuple(sorted({*trained.reasons, *evaluated.reasons})),
            anchors={name: one.header for name, one in last.items()},
            metrics=figures,
            evaluated=tuple(evaluated.done),
            upload_bytes=sum(one.upload_bytes for one in trained.done.values()),
        )
        return updated, record

    def _evaluate(
        self, number: int, weights: Weights, relay: Relay
    ) -> tuple[Answers, dict[str, float]]:
        """Who evaluated the round's model, and the figures; none if too few hospitals did.

        The trained round stands either way: it is paid for.
        """
        if number not in self.plan.rounds_of("evaluate"):
            return Answers(), {}
        evaluated = relay.ask_all("evaluate", number, weights)
        if len(evaluated.done) < self.plan.min_hospitals:
            return evaluated, {}
        sums = self._collect("evaluate", number, evaluated)
        return evaluated, scoring.report(sums[:-1], self.plan.data)

    def _collect(self, purpose: Purpose, number: int, answers: Answers) -> NDArray[np.float64]:
        least, took_part = self.plan.min_hospitals, len(answers.done)
        require(
            took_part >= least,
            f"Round {number} needs {least} hospitals and {took_part} took part, so the study stops "
            "here: talk to the data owners, or write another plan.",
            error=Refused,
        )
        total, _ = collect(
            self.plan,
            self._aggregators,
            purpose=purpose,
            round_number=number,
            hospitals=sorted(answers.done),
            researcher_key=self._key,
        )
        return total


def model_sha256(weights: Weights) -> str:
    """The hash of a model's weights (float32, little endian), as it stands in a certificate."""
    return canonical.sha256(weights.astype("<f4").tobytes())
