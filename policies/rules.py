"""What a hospital's policy says to a plan, and to its next round."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from policies.decision import Approve, AskOwner, Decision, Deny
from syft_code import accounting, canonical
from syft_code.accounting import DpSgdEvent, GaussianEvent
from syft_code.errors import InvalidInput, require
from syft_code.plan import Plan

Events = Sequence[DpSgdEvent | GaussianEvent]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What one patient of an asset may lose in all, for ever: (epsilon, delta)-DP."""

    __pydantic_config__ = canonical.STRICT
    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        require(
            math.isfinite(self.epsilon) and self.epsilon > 0,
            f"A budget's epsilon must be a finite number above 0, got {self.epsilon}.",
            error=InvalidInput,
        )
        require(
            0 < self.delta < 1,
            f"A budget's delta must lie between 0 and 1, got {self.delta}.",
            error=InvalidInput,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownParties:
    """The hospitals and aggregators that an owner knows: keys that did not come from a plan.

    A sum hides this hospital only among hospitals that are real, and shares are secret only
    from aggregators that somebody else runs; a plan's word for it would be the researcher's.
    `hospitals` are Ed25519 keys (hex); an aggregator is its Ed25519 and X25519 key (hex).
    """

    __pydantic_config__ = canonical.STRICT
    hospitals: tuple[str, ...] = ()
    aggregators: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePolicy:
    """What one hospital allows, readable by researchers before they submit.

    Units: `min_noise_multiplier` is noise std ÷ clip norm; `min_patients` counts declared
    training patients.
    """

    __pydantic_config__ = canonical.STRICT
    budget: Budget
    min_hospitals: int
    min_noise_multiplier: float
    min_patients: int


def review(
    plan: Plan, *, hospital: str, policy: SitePolicy, known: KnownParties, spent: Events
) -> Decision:
    """What the policy says to a plan before an owner decides; the first refusal wins.

    A plan that does not fit the budget left is the owner's to weigh: its first rounds may
    fit, and the ledger will refuse the rest.
    """
    strangers = unknown_parties(plan, known)
    if strangers:
        return Deny(
            f"Every hospital and aggregator of a plan must be known here by its keys; not known: "
            f"{', '.join(strangers)}. Ask the data owner which ones are."
        )
    if plan.min_hospitals < policy.min_hospitals:
        return Deny(
            f"A sum must hide this hospital among at least {policy.min_hospitals}; the plan says "
            f"{plan.min_hospitals}: raise min_hospitals."
        )
    if not plan.dp_sgd.noise_multiplier >= policy.min_noise_multiplier:
        return Deny(
            f"noise_multiplier must be at least {policy.min_noise_multiplier:g}, the plan has "
            f"{plan.dp_sgd.noise_multiplier:g}: use more noise."
        )
    if plan.hospital(hospital).patients < policy.min_patients:
        return Deny(
            f"A study needs at least {policy.min_patients} training patients here, the asset has "
            f"{plan.hospital(hospital).patients}: ask for a larger asset."
        )
    return _whole_plan_within_budget(plan, policy=policy, spent=spent)


def unknown_parties(plan: Plan, known: KnownParties) -> list[str]:
    """The names of a roster's parties whose keys this hospital does not know."""
    hospitals = [h.name for h in plan.hospitals if h.verify_key not in known.hospitals]
    aggregators = [
        a.name for a in plan.aggregators if (a.verify_key, a.seal_key) not in known.aggregators
    ]
    return hospitals + aggregators


def within_budget(*, asked: Events, spent: Events, budget: Budget) -> Decision:
    """Whether some events still fit, composed with everything that ever left the asset."""
    total = accounting.epsilon([*spent, *asked], delta=budget.delta)
    if total <= budget.epsilon:
        return Approve()
    already = accounting.epsilon(spent, delta=budget.delta)
    left = max(budget.epsilon - already, 0.0)
    return Deny(
        f"Epsilon would reach {total:.2f} of {budget.epsilon:.2f}; {already:.2f} is spent and "
        f"{left:.2f} is left: ask for fewer rounds or more noise."
    )


def _whole_plan_within_budget(plan: Plan, *, policy: SitePolicy, spent: Events) -> Decision:
    asked = accounting.plan_events(plan)
    decision = within_budget(asked=asked, spent=spent, budget=policy.budget)
    if isinstance(decision, Deny):
        return AskOwner(
            f"All {plan.rounds} rounds do not fit. {decision.reason} If you approve, the first "
            "rounds run and the ledger refuses the first one that does not fit."
        )
    return decision
