"""Privacy accounting: events are inert data, an accountant interprets them.

An event says what ran on the patients of one group of an asset. Epsilon is never
stored or added: every question composes all events anew, with dp_accounting's privacy
loss distributions (PLD) under the relation *adding or removing one patient*.

Training and held-out patients are two groups of an asset. A patient's group follows
from that patient alone, by a rule that no version of the asset may change (the vault
refuses it). So one patient is touched by the events of one group only, and an asset's
epsilon is the larger of its groups' (parallel composition, McSherry 2009, Theorem 4).
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Literal

import dp_accounting
from dp_accounting.pld import PLDAccountant
from dp_accounting.rdp import RdpAccountant
from pydantic import Field

from syft_code import canonical
from syft_code.errors import InvalidPlan, require
from syft_code.messages import Purpose
from syft_code.plan import Plan

Group = Literal["training", "held-out"]
RELATION = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
RDP_TOLERANCE = 0.25
"""The RDP accountant's bound is looser than PLD's: it may lie up to this part above it."""
PLD_INTERVAL = 5e-4
"""Grid of the PLD accountant; it rounds up, by less than 0.2 % against a grid of 1e-4."""
PLD_LIMIT = 100.0
"""Past this epsilon, far from any budget, a PLD's memory grows without end and RDP answers."""
RDP_ORDERS = (*range(2, 64), 80, 96, 128, 192, 256, 384, 512)


@dataclass(frozen=True, slots=True, kw_only=True)
class DpSgdEvent:
    """`steps` Gaussian releases, each over a Poisson sample of the training patients."""

    __pydantic_config__ = canonical.STRICT
    noise_multiplier: Annotated[float, Field(gt=0)]
    sample_rate: Annotated[float, Field(gt=0, le=1)]
    steps: Annotated[int, Field(ge=1)]
    kind: Literal["dp_sgd"] = "dp_sgd"


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianEvent:
    """One Gaussian release over all held-out patients."""

    __pydantic_config__ = canonical.STRICT
    noise_multiplier: Annotated[float, Field(gt=0)]
    kind: Literal["gaussian"] = "gaussian"


Event = Annotated[DpSgdEvent | GaussianEvent, Field(discriminator="kind")]


def event(plan: Plan, purpose: Purpose) -> DpSgdEvent | GaussianEvent:
    """The price of one round of a plan, or of one evaluation.

    Raises:
        InvalidPlan: if the plan has no evaluation and one is asked for.
    """
    if purpose == "train":
        dp = plan.dp_sgd
        return DpSgdEvent(
            noise_multiplier=dp.noise_multiplier, sample_rate=dp.sample_rate, steps=dp.steps
        )
    if plan.evaluation is None:
        raise InvalidPlan("This plan has no evaluation: add one and ask for approval again.")
    return GaussianEvent(noise_multiplier=plan.evaluation.noise_multiplier)


def group(event: DpSgdEvent | GaussianEvent) -> Group:
    """The group of patients that an event touches."""
    return "training" if isinstance(event, DpSgdEvent) else "held-out"


def plan_events(plan: Plan) -> list[DpSgdEvent | GaussianEvent]:
    """Everything that a plan would spend at one hospital, all rounds and evaluations."""
    evaluations = len(plan.evaluation.after_rounds) if plan.evaluation else 0
    training = [event(plan, "train")] * plan.rounds
    return training + [event(plan, "evaluate")] * evaluations if evaluations else training


def epsilon(events: Sequence[DpSgdEvent | GaussianEvent], *, delta: float) -> float:
    """The epsilon of everything that left an asset, by PLD: the larger of its groups'.

    Where the looser RDP says more than `PLD_LIMIT`, that is the answer.

    Guarantee: the composed mechanism is (epsilon, delta)-DP for adding or removing one
        patient; PLD's pessimistic discretisation rounds up.
    Raises:
        InvalidPlan: if delta is not in (0, 1), or an epsilon comes out as no number.
    Source: dp_accounting 0.6, PLDAccountant; Doroshenko et al. 2022.

    >>> round(epsilon([GaussianEvent(noise_multiplier=1.0)], delta=1e-5), 1)
    4.4
    >>> epsilon([], delta=1e-5)
    0.0
    """
    return _largest(events, delta=delta, method="pld")


def epsilon_rdp(events: Sequence[DpSgdEvent | GaussianEvent], *, delta: float) -> float:
    """The same by Rényi DP: a second, looser method to check `epsilon` against.

    Source: dp_accounting 0.6, RdpAccountant; Mironov, Talwar & Zhang 2019.
    """
    return _largest(events, delta=delta, method="rdp")


def accountants_agree(pld: float, rdp: float) -> bool:
    """Whether the two methods tell one story: RDP at or above PLD, within the tolerance.

    >>> accountants_agree(4.0, 4.4), accountants_agree(4.0, 7.0), accountants_agree(4.0, 3.0)
    (True, False, False)
    """
    return pld <= rdp * 1.005 and rdp <= pld * (1 + RDP_TOLERANCE) + 0.1


def _largest(
    events: Sequence[DpSgdEvent | GaussianEvent], *, delta: float, method: Literal["pld", "rdp"]
) -> float:
    require(0 < delta < 1, f"delta must lie between 0 and 1, got {delta}.")
    values = [0.0]
    for name in ("training", "held-out"):
        counts = frozenset(Counter(e for e in events if group(e) == name).items())
        if counts:
            bound = _composed(counts, delta, "rdp")
            loose = method == "rdp" or bound > PLD_LIMIT
            values.append(bound if loose else _composed(counts, delta, "pld"))
    return max(values)


@lru_cache(maxsize=256)
def _composed(
    counts: frozenset[tuple[DpSgdEvent | GaussianEvent, int]],
    delta: float,
    method: Literal["pld", "rdp"],
) -> float:
    accountant: dp_accounting.PrivacyAccountant = (
        PLDAccountant(RELATION, value_discretization_interval=PLD_INTERVAL)
        if method == "pld"
        else RdpAccountant(orders=RDP_ORDERS, neighboring_relation=RELATION)
    )
    for one, count in counts:
        accountant.compose(_dp_event(one), count)
    value = float(accountant.get_epsilon(delta))
    require(
        math.isfinite(value) and value > 0,
        f"Epsilon must be a finite number above 0 after real steps, got {value}: "
        "use a larger noise multiplier or a larger delta.",
    )
    return value


def _dp_event(event: DpSgdEvent | GaussianEvent) -> dp_accounting.DpEvent:
    gaussian = dp_accounting.GaussianDpEvent(event.noise_multiplier)
    if isinstance(event, GaussianEvent):
        return gaussian
    sampled = dp_accounting.PoissonSampledDpEvent(event.sample_rate, gaussian)
    return dp_accounting.SelfComposedDpEvent(sampled, event.steps)
