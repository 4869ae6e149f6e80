"""How far a plan gets before the ledger refuses one of its rounds.

The arithmetic is the ledger's own: everything that was spent on a patient is composed with the
rounds of the plan, and no epsilons are added. A patient is trained on or held out, never both, so
training rounds and evaluations do not use up each other's part.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from policies.site_policy import Budget
from syft_code.plans.messages import Purpose
from syft_code.plans.plan import Plan
from syft_code.privacy import accounting, epsilons
from syft_code.privacy.accounting import DpSgdEvent, GaussianEvent

Events = Sequence[DpSgdEvent | GaussianEvent]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A limit that a plan's rounds must fit into, with what counts against it already.

    `spent` leaves out the plan's own part; `name` says in words whose limit it is.
    """

    name: str
    spent: Events
    budget: Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """How many training rounds and evaluations of a plan can run; `stops` says why not all."""

    rounds: int
    evaluations: int
    stops: str = ""


def forecast(plan: Plan, accounts: Sequence[Account], *, rounds: int) -> Forecast:
    """How far a plan gets within some accounts, if at most `rounds` training rounds may run."""
    allowed = min(rounds, plan.rounds)
    trained = _fitting(plan, "train", accounts, most=allowed)
    planned = plan.rounds_of("evaluate")
    evaluated = _fitting(plan, "evaluate", accounts, most=len(planned))
    reached = [number for number in planned[:evaluated] if number <= trained]
    reasons = []
    if trained < plan.rounds:
        where = f"after round {trained}" if trained else "before round 1"
        why = (
            f"the approval covers {rounds} rounds"
            if trained == allowed
            else f"round {trained + 1} {_excess(plan, 'train', accounts, count=trained + 1)}"
        )
        reasons.append(f"It stops {where} of {plan.rounds}: {why}.")
    if evaluated < len(planned) and planned[evaluated] <= trained:
        why = _excess(plan, "evaluate", accounts, count=evaluated + 1)
        reasons.append(
            f"The hospital takes no part in the evaluation after round {planned[evaluated]}, which "
            f"{why}."
        )
    return Forecast(rounds=trained, evaluations=len(reached), stops=" ".join(reasons))


def _fitting(plan: Plan, purpose: Purpose, accounts: Sequence[Account], *, most: int) -> int:
    """The largest number of rounds, up to `most`, that fits into every account."""

    def too_many(count: int) -> bool:
        return _first_over(plan, purpose, accounts, count=count) is not None

    if most == 0 or not too_many(most):
        return most
    return bisect_left(range(1, most + 1), True, key=too_many)


def _first_over(
    plan: Plan, purpose: Purpose, accounts: Sequence[Account], *, count: int
) -> str | None:
    """What so many rounds would come to in the first account that they do not fit; None if they fit."""
    asked = [accounting.event(plan, purpose)] * count
    for account in accounts:
        budget, everything = account.budget, [*account.spent, *asked]
        total = accounting.epsilon(everything, delta=budget.delta)
        if not total <= budget.epsilon:
            return (
                f"would bring epsilon to {epsilons.at_least(total)}, and {account.name} is "
                f"{epsilons.limit(budget.epsilon)}"
            )
        alone = accounting.epsilon_alone(everything, delta=budget.delta)
        if not alone <= budget.alone:
            return (
                f"would bring epsilon to {epsilons.at_least(alone)} if all other hospitals collude, and for that "
                f"{account.name} is {epsilons.limit(budget.alone)}"
            )
    return None


def _excess(plan: Plan, purpose: Purpose, accounts: Sequence[Account], *, count: int) -> str:
    return _first_over(plan, purpose, accounts, count=count) or "fits"
