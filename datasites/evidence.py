"""What an owner sees of a code request: who asks, what would run, what it would cost."""

from collections import Counter
from dataclasses import dataclass

from datasites import cards, wire
from datasites.server import CodeRequest
from policies.decision import Approve, AskOwner, Decision, Deny
from syft_code.plan import Plan
from syft_code.recipes import parameter_count


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One code request, weighed. Shows itself as a card in a notebook; `text` for a terminal.

    Units: epsilons at the asset's delta. Without a `plan` there is a `problem` instead.
    """

    request: CodeRequest
    hospital: str
    plan: Plan | None = None
    problem: str = ""
    decision: Decision | None = None
    study_epsilon: float = 0.0
    after_epsilon: float = 0.0
    account: wire.Account | None = None

    @property
    def request_id(self) -> str:
        """The id of the request at the front desk."""
        return self.request.id

    @property
    def status(self) -> str:
        """What PySyft says: pending, approved or rejected."""
        return self.request.status

    def rows(self) -> list[tuple[str, str]]:
        """The card, row by row, in words and numbers."""
        if self.plan is None or self.account is None:
            return [("Status", self.status), ("Problem", self.problem)]
        plan, account = self.plan, self.account
        return [
            ("Researcher", f"{self.request.researcher}, signing key {plan.researcher_key[:16]}…"),
            ("Status", self.status),
            ("The vault", self._in_the_vault(plan, account)),
            ("What runs", self._what_runs(plan)),
            ("On", self._on(plan)),
            ("Privacy", self._privacy(plan)),
            (
                "This study would cost",
                f"epsilon {self.study_epsilon:.2f} at delta {account.delta:g}",
            ),
            (
                "Spent so far",
                f"epsilon {account.spent_epsilon:.2f} of {account.budget_epsilon:.2f}",
            ),
            (
                "After this study",
                f"epsilon {self.after_epsilon:.2f} of {account.budget_epsilon:.2f}",
            ),
            ("What leaves", self._what_leaves(plan)),
            ("Together with", ", ".join(h.name for h in plan.hospitals if h.name != self.hospital)),
            (
                "Shares to",
                ", ".join(f"{a.name} (key {a.verify_key[:8]}…)" for a in plan.aggregators),
            ),
            ("Policy", _in_words(self.decision)),
            ("Plan hash", plan.hash),
        ]

    def text(self) -> str:
        """The card as lines of text."""
        return cards.text(self.rows())

    def _in_the_vault(self, plan: Plan, account: wire.Account) -> str:
        """The vault's own word: the front desk's status is a notice and no more."""
        if plan.hash in account.approved:
            return "holds your approval: the plan may run"
        return "holds no approval of yours that is in force: the plan can't run"

    def _what_runs(self, plan: Plan) -> str:
        count = parameter_count(plan.recipe, plan.data)
        return (
            f"{plan.algorithm}, {plan.rounds} rounds: a {plan.recipe.model.kind} model of {count:,} "
            f"parameters with {plan.recipe.loss.kind} loss, built here from data. No code of the "
            "researcher runs."
        )

    def _on(self, plan: Plan) -> str:
        entry = plan.hospital(self.hospital)
        marked = " (stand-in data)" if plan.data.stand_in else ""
        return (
            f"{entry.asset} version {entry.asset_version}: {entry.patients} declared training "
            f"patients ({plan.data.patient_unit}){marked}"
        )

    def _privacy(self, plan: Plan) -> str:
        dp = plan.dp_sgd
        return (
            f"DP-SGD, unit one patient: {dp.steps} steps a round, each with a part "
            f"{dp.sample_rate:g} of the patients, clip norm {dp.max_grad_norm:g}, noise "
            f"multiplier {dp.noise_multiplier:g}"
        )

    def _what_leaves(self, plan: Plan) -> str:
        count = parameter_count(plan.recipe, plan.data)
        evaluations = len(plan.evaluation.after_rounds) if plan.evaluation else 0
        return (
            f"per round {count:,} noised numbers and one declared weight, as secret shares for "
            f"{len(plan.aggregators)} aggregators, released only as a sum over at least "
            f"{plan.min_hospitals} hospitals; {evaluations} noised evaluations likewise"
        )

    def _repr_html_(self) -> str:
        study = self.plan.study if self.plan else "A request that is no plan"
        return cards.html(f"{study} at {self.hospital}", self.rows())


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What the vault says of one asset: spent, left, what may run, every event paid for."""

    hospital: str
    account: wire.Account

    def rows(self) -> list[tuple[str, str]]:
        """The card, row by row."""
        account = self.account
        left = max(account.budget_epsilon - account.spent_epsilon, 0.0)
        counted = Counter(account.events)
        return [
            ("Budget", f"epsilon {account.budget_epsilon:.2f} at delta {account.delta:g}"),
            ("Spent", f"epsilon {account.spent_epsilon:.2f}"),
            ("Left", f"epsilon {left:.2f}, by subtraction; what fits is asked of the accountant"),
            *(("May run now", f"the plan {plan_hash}") for plan_hash in account.approved),
            *((f"{number} x", event) for event, number in counted.items()),
        ]

    def _repr_html_(self) -> str:
        return cards.html(f"{self.account.asset} at {self.hospital}", self.rows())


def _in_words(decision: Decision | None) -> str:
    match decision:
        case Approve() | None:
            return "nothing in the site's policy stands against it"
        case Deny(reason):
            return f"forbidden: {reason}"
        case AskOwner(question):
            return f"yours to weigh: {question}"
