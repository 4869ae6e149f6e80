"""What a hospital's policy says to a plan, and to its next round.

The rules stand in one order and the first refusal wins. A plan that none of them forbids
is the owner's to weigh, unless a standing approval covers it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from policies import known_parties
from policies.decision import Approve, AskOwner, Decision, Deny
from policies.known_parties import Known
from policies.site_policy import Budget, SitePolicy
from syft_code.plans.plan import Plan
from syft_code.plans.roster import Hospital
from syft_code.privacy import accounting, epsilons
from syft_code.privacy.accounting import DpSgdEvent, GaussianEvent

Events = Sequence[DpSgdEvent | GaussianEvent]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyCase:
    """A plan before a hospital's policy, with what the hospital's own records say.

    `spent` is everything that ever left the plan's asset, apart from this plan's own part;
    `of_researcher` is what this researcher's studies took of it, this one too; `approvers` are
    the keys (hex) of those who decide here.
    """

    plan: Plan
    hospital: str
    known: Known
    approvers: tuple[str, ...] = ()
    spent: Events = ()
    of_researcher: Events = ()
    now_unix_s: float = 0.0

    @property
    def entry(self) -> Hospital:
        """This hospital's line of the roster."""
        return self.plan.hospital(self.hospital)


def review(case: PolicyCase, policy: SitePolicy) -> Decision:
    """What the policy says before an owner decides: Approve only under a standing approval.

    A plan that does not fit the asset's budget left is the owner's to weigh: its first rounds
    may fit, and the ledger will refuse the rest.
    """
    refusal = forbidden(case, policy)
    if refusal is not None:
        return refusal
    asked = accounting.plan_events(case.plan)
    budget = policy.budget(case.entry.asset)
    fits = within_budget(asked=asked, spent=case.spent, budget=budget)
    if isinstance(fits, Deny):
        return AskOwner(
            f"All {case.plan.rounds} rounds do not fit. {fits.reason} If you approve, the first "
            "rounds run and the ledger refuses the first one that does not fit."
        )
    if covered(case, policy):
        return Approve()
    cost = accounting.epsilon(asked, delta=budget.delta)
    after = accounting.epsilon([*case.spent, *asked], delta=budget.delta)
    worst = ""
    if case.plan.shared_noise is not None:
        alone = accounting.epsilon_alone(asked, delta=budget.delta)
        worst = f" (and {epsilons.at_least(alone)} if all other hospitals collude)"
    return AskOwner(
        f"The rules allow it. Is it worth epsilon {epsilons.at_least(cost)}{worst}, after which "
        f"{epsilons.at_least(after)} of {epsilons.limit(budget.epsilon)} would be spent?"
    )


def forbidden(case: PolicyCase, policy: SitePolicy) -> Deny | None:
    """The first rule that stands against a plan, at its approval and at each round."""
    for rule in RULES:
        refusal = rule(case, policy)
        if refusal is not None:
            return refusal
    return None


def covered(case: PolicyCase, policy: SitePolicy) -> bool:
    """Whether a standing approval that has not expired names this plan and asset version."""
    standing = policy.standing_for(case.plan.hash)
    return (
        standing is not None
        and standing.asset_version == case.entry.asset_version
        and case.now_unix_s < standing.expires_unix_s
    )


def within_budget(*, asked: Events, spent: Events, budget: Budget) -> Decision:
    """Whether some events still fit, composed with everything that was spent before."""
    total = accounting.epsilon([*spent, *asked], delta=budget.delta)
    if total <= budget.epsilon:
        return _within_alone(asked=asked, spent=spent, budget=budget)
    already = accounting.epsilon(spent, delta=budget.delta)
    left = epsilons.at_most(budget.epsilon - already)
    return Deny(
        f"Epsilon would reach {epsilons.at_least(total)} of {epsilons.limit(budget.epsilon)}; "
        f"{epsilons.at_least(already)} is spent and {left} is left: ask for fewer rounds or more noise."
    )


def _within_alone(*, asked: Events, spent: Events, budget: Budget) -> Decision:
    """The same by this hospital's own noise alone."""
    total = accounting.epsilon_alone([*spent, *asked], delta=budget.delta)
    if total <= budget.alone:
        return Approve()
    return Deny(
        f"If all other hospitals collude, epsilon would reach {epsilons.at_least(total)} of "
        f"{epsilons.limit(budget.alone)}, since noise is shared: ask for more noise, for a plan without shared_noise, or the data owner to "
        "raise epsilon_alone."
    )


def _parties_are_known(case: PolicyCase, policy: SitePolicy) -> Deny | None:
    strangers = known_parties.strangers(case.plan, case.known)
    if not strangers:
        return None
    return Deny(
        f"Every hospital and aggregator of a plan must be known here by its name and its keys; not "
        f"known: {', '.join(strangers)}. Ask the data owner which ones are."
    )


def _submitter_does_not_approve(case: PolicyCase, policy: SitePolicy) -> Deny | None:
    if case.plan.researcher_key not in case.approvers:
        return None
    return Deny(
        "Whoever submits a plan must not be one of those who approve here, and the plan's "
        "researcher key is one of theirs: let another person submit it."
    )


def _recipe_is_allowed(case: PolicyCase, policy: SitePolicy) -> Deny | None:
    kind, allowed = case.plan.recipe.model.kind, policy.terms.recipes
    if kind in allowed:
        return None
    return Deny(
        f"A model must be of the kind {' or '.join(allowed)}, the plan has {kind}: write it as one "
        "of those."
    )


def _enough_hospitals(case: PolicyCase, policy: SitePolicy) -> Deny | None:
    least, asked = policy.terms.min_hospitals, case.plan.min_hospitals
    if asked < least:
        return Deny(
            f"A sum must hide this hospital among at least {least} hospitals, the plan says {asked}: "
            "raise min_hospitals."
        )
    operators = known_parties.fewest_operators(
        case.plan.hospitals, case.known, seats=asked, ours=case.hospital
    )
    if operators >= least:
        return None
    return Deny(
        f"A sum must hide this hospital among at least {least} hospitals, one operator's counting "
        f"once; so counted, a sum of the plan may hold {operators}: raise min_hospitals, or name "
        "hospitals that others run."
    )


def _enough_aggregators(case: PolicyCase, policy: SitePolicy) -> Deny | None:
    least, needed = policy.terms.min_aggregators, case.plan.needed
    if needed < least:
        return Deny(
            f"At least {least} aggregators must be needed to open a sum, the plan says {needed}: name "
            "more of them, or set sharing.needed higher."
        )
    operators = known_parties.fewest_operators(case.plan.aggregators, case.known, seats=needed)
    if operators >= least:
        return None
    return Deny(
        f"At least {least} aggregators must be needed to open a sum, one operator's counting once; "
        f"so counted, {operators} can open one of this plan: name aggregators that others run."
    )


def _has_a_release_schedule(case: PolicyCase, policy: SitePolicy) -> Deny | None:
    most, schedule = policy.terms.most_ticks, case.plan.release_schedule
    if most == 0 or (schedule is not None and schedule.ticks <= most):
        return None
    got = "none" if schedule is None else f"one of {schedule.ticks}"
    return Deny(
        f"A plan must have a release schedule of at most {most} ticks, so that the time of a round "
        f"tells nothing else; this one has {got}: leave release_schedule out of "
        "researcher.study(...), which makes one."
    )


def _enough_noise(case: PolicyCase, policy: SitePolicy) -> Deny | None:
    plan, least = case.plan, policy.terms.min_noise_multiplier
    own = "noise_multiplier" if plan.shared_noise is None else "this hospital's part of the noise"
    asked = {own: plan.noise_multiplier_alone}
    if plan.evaluation:
        asked["the evaluation's noise_multiplier"] = plan.evaluation.noise_multiplier
    for name, value in asked.items():
        if not value >= least:
            return Deny(
                f"{name} must be at least {least:g}, the plan has {value:g}: use more noise."
            )
    return None


def _enough_may_collude(case: PolicyCase, policy: SitePolicy) -> Deny | None:
    """One operator's hospitals collude together, so that all of them count."""
    shared, least = case.plan.shared_noise, policy.terms.min_colluding
    if shared is None:
        return None
    hospitals = known_parties.most_hospitals(
        case.plan.hospitals, case.known, operators=least, apart_from=case.hospital
    )
    if shared.colluding >= hospitals:
        return None
    return Deny(
        f"Shared noise must hold although {least} of the other operators collude, who run "
        f"{hospitals} hospitals of this plan; it allows for {shared.colluding}: raise "
        "shared_noise.colluding, or leave shared_noise out."
    )


def _enough_patients(case: PolicyCase, policy: SitePolicy) -> Deny | None:
    least, declared = policy.terms.min_patients, case.entry.patients
    if declared >= least:
        return None
    return Deny(
        f"A study needs at least {least} training patients here, the asset has {declared}: ask for "
        "a larger asset."
    )


def _study_within_its_cap(case: PolicyCase, policy: SitePolicy) -> Deny | None:
    cap, delta = policy.terms.study_epsilon, policy.budget(case.entry.asset).delta
    cost = accounting.epsilon(accounting.plan_events(case.plan), delta=delta)
    if cap is None or cost <= cap:
        return None
    return Deny(
        f"One study may spend epsilon {epsilons.limit(cap)} here, all rounds of this plan come to "
        f"{epsilons.at_least(cost)}: ask for fewer rounds or more noise."
    )


def _researcher_within_their_cap(case: PolicyCase, policy: SitePolicy) -> Deny | None:
    """Of what is spent already: what a plan will come to is the ledger's to refuse."""
    cap, delta = policy.terms.researcher_epsilon, policy.budget(case.entry.asset).delta
    if cap is None:
        return None
    already = accounting.epsilon(case.of_researcher, delta=delta)
    if already < cap:
        return None
    return Deny(
        f"One researcher's studies may spend epsilon {epsilons.limit(cap)} here and have spent "
        f"{epsilons.at_least(already)}: ask the data owner to raise the cap."
    )


PolicyRule = Callable[[PolicyCase, SitePolicy], Deny | None]
RULES: tuple[PolicyRule, ...] = (
    _parties_are_known,
    _submitter_does_not_approve,
    _recipe_is_allowed,
    _enough_hospitals,
    _enough_aggregators,
    _enough_noise,
    _enough_may_collude,
    _enough_patients,
    _has_a_release_schedule,
    _study_within_its_cap,
    _researcher_within_their_cap,
)
"""In the order in which they are asked."""
