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
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Literal

import dp_accounting
from dp_accounting.rdp import RdpAccountant
from pydantic import Field
from scipy.optimize import brentq

from syft_code import canonical
from syft_code.errors import InvalidPlan, require
from syft_code.plans.messages import Purpose
from syft_code.plans.plan import Plan
from syft_code.privacy import loss_distributions
from syft_code.privacy.loss_distributions import RELATION, Releases

Group = Literal["training", "held-out"]
PLD_LIMIT = 100.0
"""Past this epsilon, far from any budget, a PLD's memory grows without end and RDP answers."""
RDP_ORDERS = (*range(2, 64), 80, 96, 128, 192, 256, 384, 512)
DIGITS = 4
"""A noise multiplier that is worked out for a target has so many digits, the last rounded up."""


@canonical.message
class DpSgdEvent:
    """`steps` Gaussian releases, each over a Poisson sample of the training patients.

    `noise_multiplier` is that of what leaves the aggregators; `alone` that of this hospital's own
    noise, where it adds a part of a shared one, and None where it adds all of it.
    """

    noise_multiplier: Annotated[float, Field(gt=0)]
    sample_rate: Annotated[float, Field(gt=0, le=1)]
    steps: Annotated[int, Field(ge=1)]
    alone: Annotated[float, Field(gt=0)] | None = None
    kind: Literal["dp_sgd"] = "dp_sgd"


@canonical.message
class GaussianEvent:
    """One Gaussian release over all held-out patients."""

    noise_multiplier: Annotated[float, Field(gt=0)]
    kind: Literal["gaussian"] = "gaussian"


Event = Annotated[DpSgdEvent | GaussianEvent, Field(discriminator="kind")]


def event(plan: Plan, purpose: Purpose) -> DpSgdEvent | GaussianEvent:
    """The price of one round of a plan, or of one evaluation.

    Adaptive clipping costs nothing on top: a step that also counts how many gradients were within
    the bound is one Gaussian release of a longer vector. The plan states the noise multiplier of
    that whole step, and inside it the gradient's own noise is made larger, to make room for the
    count (Andrew et al. 2021, theorem 1: the inverse squares of the two multipliers add up).

    Raises:
        InvalidPlan: if the plan has no evaluation and one is asked for.
    """
    if purpose == "train":
        dp = plan.dp_sgd
        return DpSgdEvent(
            noise_multiplier=dp.noise_multiplier,
            sample_rate=dp.sample_rate,
            steps=dp.steps,
            alone=None if plan.shared_noise is None else plan.noise_multiplier_alone,
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

    Where noise is shared this is what a sum tells to anybody outside, and to as many hospitals as the
    plan says may collude (docs/privacy.md); `epsilon_alone` is the worst case. Where the looser RDP says more than `PLD_LIMIT`, that is the answer.

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


def alone(events: Sequence[DpSgdEvent | GaussianEvent]) -> list[DpSgdEvent | GaussianEvent]:
    """The same events as they are by the hospital's own noise: what all others together see of them.

    >>> shared = DpSgdEvent(noise_multiplier=2.0, sample_rate=1.0, steps=1, alone=1.0)
    >>> alone([shared])[0].noise_multiplier
    1.0
    """
    return [
        replace(one, noise_multiplier=one.alone, alone=None)
        if isinstance(one, DpSgdEvent) and one.alone is not None
        else one
        for one in events
    ]


def epsilon_alone(events: Sequence[DpSgdEvent | GaussianEvent], *, delta: float) -> float:
    """The epsilon of the same if all other hospitals, or all aggregators, collude: the worst case.

    Without shared noise it is `epsilon`, since each hospital's noise is all there is to count on.

    >>> shared = DpSgdEvent(noise_multiplier=2.0, sample_rate=1.0, steps=1, alone=1.0)
    >>> round(epsilon([shared], delta=1e-5), 1), round(epsilon_alone([shared], delta=1e-5), 1)
    (2.0, 4.4)
    """
    return epsilon(alone(events), delta=delta)


def epsilon_rdp(events: Sequence[DpSgdEvent | GaussianEvent], *, delta: float) -> float:
    """The same by Rényi DP: a second, looser method to check `epsilon` against.

    Source: dp_accounting 0.6, RdpAccountant; Mironov, Talwar & Zhang 2019.
    """
    return _largest(events, delta=delta, method="rdp")


def sigma_for(
    target_epsilon: float, *, delta: float, sample_rate: float, steps: int, rounds: int
) -> float:
    """The least noise multiplier with which all rounds of DP-SGD stay within an epsilon.

    Units: noise std ÷ `max_grad_norm`, of the whole step; `steps` are those of one round.
    Guarantee: `epsilon` of these rounds is at most the target.
    Raises:
        InvalidPlan: if no noise is enough, or the target is no number above 0.

    >>> sigma_for(8.0, delta=1e-5, sample_rate=0.2, steps=8, rounds=8)
    1.241
    """
    single = DpSgdEvent(noise_multiplier=1.0, sample_rate=sample_rate, steps=steps)
    return _sigma_for(target_epsilon, [single] * rounds, delta=delta)


def evaluation_sigma_for(target_epsilon: float, *, delta: float, evaluations: int) -> float:
    """The same for so many evaluations over all held-out patients."""
    return _sigma_for(
        target_epsilon, [GaussianEvent(noise_multiplier=1.0)] * evaluations, delta=delta
    )


def within(plan: Plan, target_epsilon: float, *, delta: float, least_noise: float = 0.0) -> Plan:
    """The same plan with the least noise that keeps all of it within an epsilon.

    The noise of its training and that of its evaluations are replaced, each by the least that
    meets the target: they touch different patients, and the larger of the two counts. Neither
    multiplier falls below `least_noise`.

    Guarantee: `epsilon` of `plan_events` is at most the target.
    """
    dp, evaluation = plan.dp_sgd, plan.evaluation
    sigma = sigma_for(
        target_epsilon,
        delta=delta,
        sample_rate=dp.sample_rate,
        steps=dp.steps,
        rounds=plan.rounds,
    )
    if evaluation is not None and evaluation.after_rounds:
        count = len(evaluation.after_rounds)
        own = evaluation_sigma_for(target_epsilon, delta=delta, evaluations=count)
        evaluation = replace(evaluation, noise_multiplier=max(own, least_noise))
    dp = replace(dp, noise_multiplier=max(sigma, least_noise))
    return replace(plan, dp_sgd=dp, evaluation=evaluation)


def _sigma_for(
    target: float, events: Sequence[DpSgdEvent | GaussianEvent], *, delta: float
) -> float:
    require(
        math.isfinite(target) and target > 0,
        f"The epsilon to stay within must be a finite number above 0, got {target}.",
    )
    _require_delta(delta)
    releases = _releases(events)

    def excess(log_sigma: float) -> float:
        """How far epsilon lies above the target, in logarithms; nowhere near, the sign counts."""
        sigma = math.exp(log_sigma)
        noised = tuple(replace(kind, noise_multiplier=sigma) for kind in releases)
        return math.log(max(_priced(noised, delta, "pld") / target, 1e-3))

    low, high = _bracket(excess, near=math.log(_first_guess(target, releases, delta=delta)))
    least = math.exp(brentq(excess, low, high, xtol=10.0**-DIGITS))
    unit = 10.0 ** (math.floor(math.log10(least)) + 1 - DIGITS)
    rounded = math.floor(least / unit)
    # Up, from below the root: the noise that is written into a plan never exceeds the target.
    while excess(math.log(rounded * unit)) > 0:
        rounded += 1
    return float(f"{rounded * unit:.{DIGITS}g}")


def _first_guess(target: float, releases: Sequence[Releases], *, delta: float) -> float:
    """Sigma by the central limit theorem, which says too little: a place to start from.

    Source: Dong, Roth & Su 2022, "Gaussian differential privacy", corollary 5.4.
    """
    tail = math.sqrt(2 * math.log(1 / delta))
    mu = math.sqrt(tail**2 + 2 * target) - tail  # of epsilon = mu² / 2 + mu x tail
    drawn = sum(kind.count * kind.sample_rate**2 for kind in releases)
    return 1 / math.sqrt(math.log1p(mu**2 / drawn))


def _bracket(excess: Callable[[float], float], *, near: float) -> tuple[float, float]:
    """Two points around the root of a falling function: doubling steps to either side."""
    low = high = near
    step = 0.1
    while excess(low) <= 0:
        low, step = low - step, 2 * step
    while excess(high) > 0:
        high, step = high + step, 2 * step
    return low, high


def _largest(
    events: Sequence[DpSgdEvent | GaussianEvent], *, delta: float, method: Literal["pld", "rdp"]
) -> float:
    _require_delta(delta)
    values = [0.0]
    for releases in releases_by_group(events):
        value = _priced(releases, delta, method)
        require(
            math.isfinite(value) and value > 0,
            f"Epsilon must be a finite number above 0 after real steps, got {value}: "
            "use a larger noise multiplier or a larger delta.",
        )
        values.append(value)
    return max(values)


def releases_by_group(
    events: Sequence[DpSgdEvent | GaussianEvent],
) -> list[tuple[Releases, ...]]:
    """The Gaussian releases on each group of patients that some events touch."""
    groups: tuple[Group, ...] = ("training", "held-out")
    parted = ([event for event in events if group(event) == name] for name in groups)
    return [_releases(own) for own in parted if own]


def _require_delta(delta: float) -> None:
    require(0 < delta < 1, f"delta must lie between 0 and 1, got {delta}.")


def _releases(events: Sequence[DpSgdEvent | GaussianEvent]) -> tuple[Releases, ...]:
    """The Gaussian releases of some events, equal ones counted together, in a fixed order."""
    counts = Counter[tuple[float, float]]()
    for spent in events:
        if isinstance(spent, DpSgdEvent):
            counts[spent.noise_multiplier, spent.sample_rate] += spent.steps
        else:
            counts[spent.noise_multiplier, 1.0] += 1
    return tuple(_shared(sigma, rate, count) for (sigma, rate), count in sorted(counts.items()))


@lru_cache(maxsize=8192)
def _shared(noise_multiplier: float, sample_rate: float, count: int) -> Releases:
    """One object for equal releases: many remembered ledgers have most of them in common."""
    return Releases(noise_multiplier=noise_multiplier, sample_rate=sample_rate, count=count)


@lru_cache(maxsize=4096)  # an owner's list asks for each of its requests, again and again
def _priced(releases: tuple[Releases, ...], delta: float, method: Literal["pld", "rdp"]) -> float:
    """Epsilon by one method; by RDP also if it is so large that a PLD would not fit."""
    if method == "pld" and loss_distributions.quick_bound(releases, delta=delta) <= PLD_LIMIT:
        return loss_distributions.epsilon(releases, delta=delta)
    accountant = RdpAccountant(orders=RDP_ORDERS, neighboring_relation=RELATION)
    for kind in releases:
        gaussian = dp_accounting.GaussianDpEvent(kind.noise_multiplier)
        sampled = dp_accounting.PoissonSampledDpEvent(kind.sample_rate, gaussian)
        accountant.compose(sampled, kind.count)
    bound = float(accountant.get_epsilon(delta))
    if method == "rdp" or bound > PLD_LIMIT:
        return bound
    return loss_distributions.epsilon(releases, delta=delta)
