"""A study as the researcher runs it: submit, wait for the owners, train round by round."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from nacl.signing import SigningKey

from federation.researcher import policy_check
from federation.researcher.approvals import Approvals
from federation.researcher.collector import Collector
from federation.researcher.outcome import Outcome, RoundRecord
from federation.researcher.relay import OnProgress, Relay, map_parallel, reasons_of
from federation.researcher.rounds import RoundLoop
from federation.researcher.storage.kept_studies import KeptStudy, Progress
from federation.researcher.syft_client import HospitalClient
from federation.strategy.server_optimizer import ServerState
from federation.transport.aggregator_client import AggregatorClient
from federation.transport.retry import PATIENCE_S
from syft_code.arrays import Weights
from syft_code.errors import ConsiliumError, InvalidInput, NotApproved, Unavailable, require
from syft_code.local_training.broadcast import PublicVectors
from syft_code.plans.notes import Note
from syft_code.plans.plan import Plan
from syft_code.runtime import cli_output

ASK_AGAIN_S = 1.0
LONGEST_ROUND_S = 6 * 3600.0
GO_ON = "When that is mended, call train() again: the study goes on from there."


class Study:
    """One plan with the hospitals and aggregators of its roster.

    `public` are the vectors that the plan names by their hash: start weights, an earlier task's. `kept`
    is where it is kept on the researcher's disk, if anywhere.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        hospitals: Sequence[HospitalClient],
        aggregators: Sequence[AggregatorClient],
        key: SigningKey,
        patience_s: float = PATIENCE_S,
        public: PublicVectors | None = None,
        kept: KeptStudy | None = None,
    ) -> None:
        self.plan = plan
        self._kept = kept
        self._first = ServerState.first(plan, public)
        self._hospitals = list(hospitals)
        self._aggregators = list(aggregators)
        self._key = key
        self._patience_s = patience_s

    def __repr__(self) -> str:
        return (
            f"Study {self.plan.study!r}: {self.plan.rounds} rounds over {len(self._hospitals)} hospitals, "
            f"plan {self.plan.hash[:12]}. status() says who has approved, train() runs it or goes on."
        )

    def refusals(self) -> dict[str, str]:
        """What each hospital's public terms would refuse of the plan, and why; empty if none would.

        What is spent already, and whom an owner knows, is the hospital's own and not in it.
        """
        answers = map_parallel(self._hospitals, lambda hospital: hospital.terms())
        terms = {one.name: told for one, told in answers if not isinstance(told, ConsiliumError)}
        return policy_check.refusals(self.plan, terms)

    def submit(self) -> None:
        """Send the code request to every hospital; hospitals decide for themselves.

        Submitting again reaches those that were away, and changes nothing for the others.

        Raises:
            Unavailable: if fewer hospitals than `min_hospitals` took the request.
        """
        is_new = self._kept is not None and self._kept.keep()
        answers = map_parallel(self._hospitals, lambda hospital: hospital.submit(self.plan))
        reached = sum(1 for _, answer in answers if not isinstance(answer, ConsiliumError))
        if self._kept and is_new and not reached:
            self._kept.forget()  # one that went out before stays, however far away they all are now
        least, reasons = self.plan.min_hospitals, reasons_of(answers)
        require(
            reached >= least,
            f"The request must reach at least {least} hospitals and reached {reached}: log in anew "
            f"to see which front desks answer, and submit again. {' '.join(reasons)}".rstrip(),
            error=Unavailable,
        )

    def status(self) -> Approvals:
        """How many owners have approved so far."""
        answers = map_parallel(self._hospitals, lambda one: one.has_approved(self.plan.hash))
        approved = sum(1 for _, answer in answers if answer is True)
        least = self.plan.min_hospitals
        return Approvals(approved=approved, hospitals=len(self._hospitals), enough=least)

    def wait_for_approval(
        self,
        *,
        hospitals: int | None = None,
        timeout_s: float = 3600.0,
        on_change: Callable[[Approvals], None] = print,
    ) -> Approvals:
        """Wait until so many hospitals have approved, all of the roster if no number is given.

        `on_change` is told how many have, at once and whenever it changes; it is printed unless
        told otherwise. When the time is up, `min_hospitals` of them are enough: nobody learns who
        said no, so nobody can be waited for in vain.

        Raises:
            NotApproved: if fewer have approved by then.
            KeyboardInterrupt: if you stop waiting; the requests stand, and nothing is lost.
        """
        least, roster = self.plan.min_hospitals, len(self._hospitals)
        wanted = roster if hospitals is None else hospitals
        require(
            least <= wanted <= roster,
            f"hospitals must be a number from {least} to the {roster} of the roster, got {wanted}.",
            error=InvalidInput,
        )
        status = self._watch(wanted, time.monotonic() + timeout_s, on_change)
        require(
            status.approved >= least,
            f"At least {least} hospitals must approve, {status.approved} did within "
            f"{timeout_s:.0f} s: talk to the data owners and wait again, or write another plan.",
            error=NotApproved,
        )
        return status

    def _watch(
        self, wanted: int, deadline: float, on_change: Callable[[Approvals], None]
    ) -> Approvals:
        """Ask again and again until so many have approved or the time is up; tell each change."""
        told: Approvals | None = None
        try:
            while True:
                status = self.status()
                if status != told:
                    on_change(status)
                    told = status
                left_s = deadline - time.monotonic()
                if status.approved >= wanted or not left_s > 0:
                    return status
                time.sleep(min(ASK_AGAIN_S, left_s))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"You stopped waiting. {told or ''} The requests stand: call wait_for_approval() "
                f"again, or train() once {self.plan.min_hospitals} have approved."
            ) from None

    def notes(self) -> list[tuple[str, Note]]:
        """What owners asked about this plan and what was answered, the oldest first.

        An owner who asks has chosen to speak; hospitals that did not are not among them.
        """
        pairs: list[tuple[str, Note]] = []
        answers = map_parallel(self._hospitals, lambda one: one.bulk.notes(self.plan.hash))
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

    def withdraw(self, why: str) -> int:
        """Say to every owner that this study is not wanted any more; gives how many can read it.

        It is a word and binds nobody: an approval ends when its owner takes it back or it expires. What
        was spent stays spent. `researcher.studies()` says that it was withdrawn.

        Raises:
            InvalidInput: if the reason is no plain sentence.
        """
        reason = cli_output.paragraph(why, what="reason")
        words = cli_output.paragraph(f"Withdrawn by the researcher: {reason}", what="reason")
        answers = map_parallel(
            self._hospitals, lambda hospital: hospital.bulk.answer(self.plan.hash, words)
        )
        reached = sum(1 for _, answer in answers if not isinstance(answer, ConsiliumError))
        if self._kept and reached:
            self._kept.note(replace(self._kept.progress, stopped=words))
        return reached

    def train(
        self,
        *,
        on_progress: OnProgress = lambda progress: None,
        on_round: Callable[[RoundRecord, Weights], None] = lambda record, weights: None,
        round_timeout_s: float = LONGEST_ROUND_S,
    ) -> Outcome:
        """Run every round that enough hospitals take part in; return what came of it.

        A hospital that refuses, fails or needs more than `round_timeout_s` drops out of that
        round and nobody else is stopped, as long as `min_hospitals` are left. Whatever stopped a
        study, also the end of this process, it may be trained again: rounds that were summed come
        out as they did, and cost nothing, and the first one that was not goes on where it stopped.
        """
        relay = Relay(
            self.plan,
            hospitals=self._hospitals,
            aggregators=self._aggregators,
            key=self._key,
            on_progress=on_progress,
            timeout_s=round_timeout_s,
            patience_s=self._patience_s,
        )
        training = RoundLoop(self.plan, relay, Collector(self.plan, self._aggregators, self._key))
        model = self._first
        records: list[RoundRecord] = []
        for number in range(1, self.plan.rounds + 1):
            began = time.monotonic()
            try:
                model, record = training.round(number, model)
            except ConsiliumError as problem:
                self._note(records, _why(problem))
                return Outcome(
                    plan=self.plan,
                    weights=model.delivered,
                    rounds=tuple(records),
                    stopped=_why(problem),
                    reasons=training.reasons,
                )
            records.append(replace(record, seconds=time.monotonic() - began))
            self._note(records)
            on_round(records[-1], model.delivered)
        return Outcome(plan=self.plan, weights=model.delivered, rounds=tuple(records))

    def _note(self, records: Sequence[RoundRecord], stopped: str = "") -> None:
        """Keep on disk how far it came."""
        if self._kept:
            epsilon = max(records[-1].epsilon.values(), default=0.0) if records else 0.0
            self._kept.note(Progress(rounds=len(records), epsilon=epsilon, stopped=stopped))


def _why(problem: ConsiliumError) -> str:
    """What stopped a study, with the way on if there is one."""
    again = isinstance(problem, Unavailable)
    return f"{problem} {GO_ON}" if again else str(problem)
