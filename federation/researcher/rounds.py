"""The rounds of a study: from one model to the next, in the order of the papers.

    broadcast ─▶ hospitals ─▶ shares ─▶ aggregators ─▶ one sum, or one for each group ─▶ step

A round that was begun or summed before is taken up where it stands: hospitals and aggregators give
the same bytes again. So a study can be run anew from its first round, and comes to the same model.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from federation.researcher.collector import Collected, Collector, best_set
from federation.researcher.outcome import RoundRecord
from federation.researcher.relay import Relay, RoundReplies
from federation.strategy.server_optimizer import ServerState, require_weight, step
from syft_code.errors import Refused, SharingError, Unavailable, require
from syft_code.local_training import broadcast
from syft_code.metrics import noise_errors, scoring
from syft_code.plans import messages
from syft_code.plans.messages import Purpose, RoundStatement, ShareHeader, Signed
from syft_code.plans.plan import Plan
from syft_code.runtime import trace
from syft_code.secret_sharing import envelope

UNTOLD = (
    "Why the others took no part is not told: they have not decided, refuse, failed or do not answer, and "
    "their owners choose what a researcher may read of it."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contributors:
    """Who contributed to one sum, in the roster's order, and what each of them signed."""

    hospitals: tuple[str, ...] = ()
    headers: dict[str, Signed] = field(default_factory=dict)
    statements: dict[str, RoundStatement] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The noised figures of an evaluation, how far its noise throws each of them, or why there are none."""

    figures: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    unevaluated: str = ""


class RoundLoop:
    """The rounds of one plan, carried by a relay and collected by a collector."""

    def __init__(self, plan: Plan, relay: Relay, collector: Collector) -> None:
        self._plan = plan
        self._relay = relay
        self._collector = collector
        self.reasons: tuple[str, ...] = ()
        """What owners let researchers read of why hospitals took no part in the last round."""

    def round(self, number: int, model: ServerState) -> tuple[ServerState, RoundRecord]:
        """Train, step, and evaluate if the plan says so.

        Raises:
            Refused, Unavailable, SharingError: if there is no sum; all that was given stays valid.
        """
        collected, trained = self._sum("train", number, model)
        reasons = set(self.reasons)
        with trace.span("researcher: step"):
            updated = step(self._plan, number, model, collected)
        measured, evaluated = self._evaluate(number, updated)
        statements = trained.statements | evaluated.statements
        record = RoundRecord(
            round=number,
            trained=trained.hospitals,
            groups=collected.groups,
            epsilon={name: stated.epsilon for name, stated in statements.items()},
            epsilon_alone={name: stated.epsilon_alone for name, stated in statements.items()},
            delta={name: stated.delta for name, stated in statements.items()},
            absent=len(self._plan.hospitals) - len(trained.hospitals),
            reasons=tuple(sorted(reasons | set(self.reasons))),
            headers={"train": trained.headers, "evaluate": evaluated.headers},
            metrics=measured.figures,
            errors=measured.errors,
            evaluated=evaluated.hospitals,
            unevaluated=measured.unevaluated,
            upload_bytes=sum(
                self._relay.share_bytes(name, "train", number) for name in trained.hospitals
            ),
        )
        return updated, record

    def _evaluate(self, number: int, model: ServerState) -> tuple[Measured, Contributors]:
        """The figures of a round's model, and who evaluated it; no figures if too few did.

        The trained round stands either way: it is paid for.
        """
        plan = self._plan
        if plan.evaluation is None or number not in plan.evaluation.after_rounds:
            return Measured(), Contributors()
        try:
            collected, gave = self._sum("evaluate", number, model)
        except _TooFew as problem:
            done = problem.answers.done
            gave = self._gave("evaluate", number, model, done, problem.answers)
            return Measured(unevaluated=str(problem)), gave
        (total,) = collected.totals
        sums, weight = envelope.read_sum(plan, "evaluate", total)
        require_weight(weight, len(collected.hospitals))
        std = noise_errors.count_noise_std(
            plan.data,
            noise_multiplier=plan.evaluation.noise_multiplier,
            hospitals=len(collected.hospitals),
        )
        errors = noise_errors.noise_errors(sums, plan.data, noise_std=std)
        return Measured(figures=scoring.report(sums, plan.data), errors=errors), gave

    def _sum(
        self, purpose: Purpose, number: int, model: ServerState
    ) -> tuple[Collected, Contributors]:
        """The sum of a round over as many hospitals as possible, or the one that it had before."""
        self.reasons = ()
        with trace.span("researcher: what was chosen"):
            self._collector.open()
            chosen = self._collector.chosen(purpose, number)
        for hospitals in chosen.values():
            if list(chosen.values()).count(hospitals) >= self._plan.needed:
                collected = self._collector.collect(purpose, number, hospitals=hospitals)
                return collected, self._gave(purpose, number, model, hospitals)
        free = len(self._plan.aggregators) - len(chosen)
        bound = free < self._plan.needed  # else aggregators that chose nothing yet are enough
        begun = {name for hospitals in chosen.values() for name in hospitals if bound}
        answers = self._relay.ask_all(
            purpose, number, model.broadcast(purpose), hospitals=begun or None
        )
        self.reasons = answers.reasons
        taken = {name: one.taken for name, one in answers.done.items()}
        hospitals, parties = best_set(self._plan, taken, chosen)
        self._require_enough(purpose, number, hospitals, answers, begun=bool(begun))
        with trace.span("researcher: choose and sum"):
            collected = self._collector.collect(
                purpose, number, hospitals=hospitals, parties=parties
            )
        return collected, self._gave(purpose, number, model, collected.hospitals, answers)

    def _gave(
        self,
        purpose: Purpose,
        number: int,
        model: ServerState,
        hospitals: Collection[str],
        answers: RoundReplies | None = None,
    ) -> Contributors:
        """What those of a set signed; the headers of those that were not asked, from aggregators."""
        done = answers.done if answers else {}
        weights_sha256 = broadcast.sha256(model.broadcast(purpose))
        headers: dict[str, Signed] = {}
        statements: dict[str, RoundStatement] = {}
        gave = [entry for entry in self._plan.hospitals if entry.name in hospitals]
        signed_by = {name: one.header for name, one in done.items()}
        if not signed_by.keys() >= {entry.name for entry in gave}:
            signed_by = self._collector.headers(purpose, number) | signed_by
        for entry in gave:
            signed = signed_by.get(entry.name)
            if signed is None:  # its certificate will lack this, and say so
                continue
            header = messages.verify(ShareHeader, signed, entry.verify_key)
            require(
                header.weights_sha256 == weights_sha256,
                f"Round {number} was summed over updates of other weights than those that this run "
                "came to: run the study with the software and the machine that began it.",
                error=SharingError,
            )
            headers[entry.name], statements[entry.name] = signed, header
        names = tuple(entry.name for entry in gave)
        return Contributors(hospitals=names, headers=headers, statements=statements)

    def _require_enough(
        self,
        purpose: Purpose,
        number: int,
        hospitals: Sequence[str],
        answers: RoundReplies,
        *,
        begun: bool,
    ) -> None:
        """Raise what keeps a round from having a sum; nothing of it tells whose absence it is."""
        least, rule = self._plan.min_hospitals, self._plan.robust
        if purpose == "train" and rule:
            least *= rule.least_groups
        if len(hospitals) >= least:
            return
        if answers.away:
            raise Unavailable(answers.away[0])
        if begun:
            raise Unavailable(
                f"The sum of round {number} was promised over one set of hospitals, before this "
                "study was taken up again, and some of it did not come through now."
            )
        groups = f", {rule.least_groups} groups of {self._plan.min_hospitals}," if rule else ""
        untold = "" if answers.reasons else f" {UNTOLD}"
        raise _TooFew(
            f"There are no figures after round {number}: an evaluation needs {least} hospitals, and "
            f"{len(hospitals)} took part.{untold}"
            if purpose == "evaluate"
            else f"Round {number} needs {least} hospitals{groups} and {len(hospitals)} took part, so "
            f"the study stops here: talk to the data owners, or write another plan.{untold}",
            answers,
        )


class _TooFew(Refused):
    """Too few hospitals for a sum, and what the others gave."""

    def __init__(self, sentence: str, answers: RoundReplies) -> None:
        super().__init__(sentence)
        self.answers = answers
