"""What an owner is about to sign, and what was signed: each says itself in sentences.

A notebook shows the same sentences as the command line.
"""

import math
from dataclasses import dataclass

from datasites.review.evidence import Evidence
from datasites.review.ledger_card import format_time
from policies.site_policy import Budget
from syft_code.errors import InvalidInput, require
from syft_code.plans.plan import Plan
from syft_code.privacy import epsilons
from syft_code.runtime import cli_output
from syft_code.runtime.cli_output import SHORT

MAX_DAYS = 3650.0
AGAIN = "It is in force already; this signature takes the place of yours."


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ApprovalDraft:
    """An approval before it is signed: which plan may run, and within which limits.

    `stops` says at which round the plan ends early under these limits, and why; it is empty if all
    of the plan runs. With an `own_limit` the budget's epsilon is what the owner set for this study. `again` says that an approval of this plan is in force already. Units: `rounds` counts training rounds.
    """

    evidence: Evidence
    plan: Plan
    budget: Budget
    rounds: int
    expires_unix_s: float
    study_epsilon: float
    study_epsilon_alone: float
    stops: str
    own_limit: bool = False
    again: bool = False

    @property
    def limits(self) -> str:
        """The limits in a sentence, and where the plan stops if they end it early."""
        most = epsilons.limit(self.budget.epsilon)
        spending = (
            f"at most {most} of it" if self.own_limit else f"all of it (the budget is {most})"
        )
        sentence = (
            f"The whole plan costs a patient epsilon {self._cost} at delta {self.budget.delta:g}; it may spend "
            f"{spending}, in at most {self.rounds} of {self.plan.rounds} training rounds, until "
            f"{format_time(self.expires_unix_s)}."
        )
        return f"{sentence}\n{self.stops}" if self.stops else sentence

    @property
    def _cost(self) -> str:
        cost = epsilons.at_least(self.study_epsilon)
        if self.plan.shared_noise is None:
            return cost
        return (
            f"{cost} ({epsilons.at_least(self.study_epsilon_alone)} of {epsilons.limit(self.budget.alone)} "
            "if all other hospitals collude)"
        )

    def __str__(self) -> str:
        again = f" {AGAIN}" if self.again else ""
        what = f"To be signed at {self.evidence.hospital}: {subject(self.evidence)}."
        return f"{what}{again} {self.limits}"

    __repr__ = __str__


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SignedApproval:
    """An approval that is signed; `missing` people must still sign the same plan."""

    draft: ApprovalDraft
    missing: int

    @property
    def in_force(self) -> bool:
        """Whether the plan may run now."""
        return not self.missing

    def __str__(self) -> str:
        evidence = self.draft.evidence
        again = f" {AGAIN}" if self.draft.again else ""
        return (
            f"Approved at {evidence.hospital}: {subject(evidence)}.{again} {self.draft.limits}\n"
            f"{cli_output.in_force(self.missing)}"
        )

    __repr__ = __str__


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SignedDecision:
    """Any other decision that is signed, in a sentence; `missing` people must still sign it."""

    sentence: str
    missing: int = 0

    @property
    def in_force(self) -> bool:
        """Whether it holds now."""
        return not self.missing

    def __str__(self) -> str:
        return self.sentence

    __repr__ = __str__


def check_limits(*, days: float | None, epsilon: float | None) -> None:
    """Raise `InvalidInput` unless an approval may have these limits."""
    require(
        days is None or 0 < days <= MAX_DAYS,
        f"The days of an approval must be a number above 0 and at most {MAX_DAYS:g}, got {days}.",
        error=InvalidInput,
    )
    require(
        epsilon is None or (math.isfinite(epsilon) and epsilon > 0),
        f"The epsilon of an approval must be a finite number above 0, got {epsilon}.",
        error=InvalidInput,
    )


def rule_change(hospital: str, what: str, missing: int) -> SignedDecision:
    """A change of a hospital's rules, with whether it is in force."""
    sentence = f"{what} of {hospital}: {cli_output.in_force(missing)}"
    return SignedDecision(sentence=sentence, missing=missing)


def refusal(what: str, evidence: Evidence, *, told: bool) -> SignedDecision:
    """A request that was denied, or an approval that was revoked."""
    reads = "The researcher can read why." if told else "The researcher is not told."
    return SignedDecision(sentence=f"{what} at {evidence.hospital}: {subject(evidence)}. {reads}")


def subject(evidence: Evidence) -> str:
    """The study, the researcher and the request that a decision is on."""
    what = f"study {cli_output.quoted(evidence.plan.study)}" if evidence.plan else "a request"
    return f"{what} of {evidence.request.researcher}, request {evidence.request_id[:SHORT]}"
