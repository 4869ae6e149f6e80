"""How privacy losses add up: Gaussian releases over Poisson samples, as one distribution.

    each kind of release ─▶ its loss on a grid ─▶ to the power of its count ─┐
    the next kind        ─▶ ...                                              ├▶ convolved in pairs ─▶ epsilon
    ...                                                                      ┘

dp_accounting makes every distribution and every convolution, and rounds each of them up. What is
decided here is only how fine the grid is and in which order they are convolved: a grid that fits
the losses costs a tenth of the finest one, and in pairs a ledger of many entries stays short.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import dp_accounting
import numpy as np
from dp_accounting.pld import privacy_loss_distribution as pld
from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution
from numpy.typing import NDArray

RELATION = dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE
GRID = 0.15
"""At most so many standard deviations of one release's loss between two points of the grid."""
FINEST, COARSEST = 2.0**-20, 2.0**-8
"""Finer than this, the rounding of float64 shows; coarser gains no time."""
TRUNCATED = 1e-4
"""The tails that are cut off add at most this part to delta: they count as an infinite loss."""
FEW = 64
"""Up to so many equal releases are squared and multiplied; of more, one Fourier transform."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Releases:
    """`count` equal Gaussian releases, each over a Poisson sample of the patients.

    Units: `noise_multiplier` is noise std ÷ sensitivity; `sample_rate` the probability with
    which one patient is in one sample, 1 for everybody.
    """

    noise_multiplier: float
    sample_rate: float
    count: int

    @property
    def loss_variance(self) -> float:
        """The mean square of one release's loss, to first order: q² (exp(1/σ²) - 1); maybe inf."""
        inverse = self.noise_multiplier**-2
        if self.sample_rate == 1:
            return inverse
        return self.sample_rate**2 * math.expm1(inverse) if inverse < 700 else math.inf


def epsilon(releases: Sequence[Releases], *, delta: float) -> float:
    """The epsilon of all of them together, rounded up; infinite if no epsilon is enough.

    Guarantee: never below the exact one, for adding or removing one patient, up to float64's
        rounding; above it by less than 0.6 %.
    Source: Doroshenko, Ghazi, Kamath, Kumar & Manurangsi 2022, "Connect the Dots", algorithm 1;
        Koskela, Jälkö & Honkela 2020 for the convolution by Fourier transforms.

    >>> two = [Releases(noise_multiplier=2.0, sample_rate=0.1, count=50)] * 2
    >>> round(epsilon(two, delta=1e-5), 2)
    2.34
    """
    return float(_whole(releases, delta).get_epsilon_for_delta(delta))


def deltas(
    releases: Sequence[Releases], epsilons: NDArray[np.float64], *, tails: float
) -> NDArray[np.float64]:
    """The delta of all of them together at each epsilon, rounded up: the whole privacy profile.

    The tails that are cut off add at most 1e-4 `tails` to each.

    >>> one = [Releases(noise_multiplier=1.0, sample_rate=1.0, count=1)]
    >>> [round(float(d), 3) for d in deltas(one, np.array([0.0, 1.0]), tails=1e-5)]
    [0.383, 0.127]
    """
    return np.asarray(_whole(releases, tails).get_delta_for_epsilon(epsilons), dtype=np.float64)


def quick_bound(releases: Sequence[Releases], *, delta: float) -> float:
    """No epsilon is larger: by Rényi DP of order 2, in closed form.

    Source: Mironov 2017, proposition 3; Mironov, Talwar & Zhang 2019, section 3.3, with order 2.
    """
    order_2 = (
        kind.count
        * math.log1p(kind.sample_rate**2 * math.expm1(min(kind.noise_multiplier**-2, 700)))
        for kind in releases
    )
    return sum(order_2) - math.log(delta)


def _whole(releases: Sequence[Releases], delta: float) -> PrivacyLossDistribution:
    """The loss of all of them, with tails fit for a delta."""
    grid = _grid(releases)
    tail = TRUNCATED * delta / (4 * len(releases))
    row = [_composed(kind, grid, tail) for kind in sorted(releases)]
    while len(row) > 1:
        pairs = zip(row[::2], row[1::2], strict=False)
        last = row[-1:] if len(row) % 2 else []
        row = [a.compose(b, tail_mass_truncation=tail) for a, b in pairs] + last
    return row[0]


def _grid(releases: Sequence[Releases]) -> float:
    """The step of the grid.

    A grid of step h adds at most h²/4 to the variance of each release's loss: with `GRID` standard
    deviations less than 0.6 %, and to epsilon, which grows with the deviation, less than 0.6 % too.
    """
    whole = sum(kind.count * kind.loss_variance for kind in releases)
    wanted = GRID * math.sqrt(whole / sum(kind.count for kind in releases))
    return min(max(wanted, FINEST), COARSEST)


def _composed(kind: Releases, grid: float, tail: float) -> PrivacyLossDistribution:
    """The loss of `count` equal releases; all the tails cut off on the way come to 2 `tail`."""
    if kind.sample_rate == 1:  # as many Gaussian releases are one, with less noise
        return _single(kind.noise_multiplier / math.sqrt(kind.count), 1.0, grid)
    single = _single(kind.noise_multiplier, kind.sample_rate, grid)
    if kind.count > FEW:
        return single.self_compose(kind.count, tail_mass_truncation=tail)
    product = single
    for bit in bin(kind.count)[3:]:  # square, and multiply where the count has a 1
        product = product.compose(product, tail_mass_truncation=tail / kind.count)
        if bit == "1":
            product = product.compose(single, tail_mass_truncation=tail / kind.count)
    return product


def _single(noise_multiplier: float, sample_rate: float, grid: float) -> PrivacyLossDistribution:
    return pld.from_gaussian_mechanism(
        standard_deviation=noise_multiplier,
        value_discretization_interval=grid,
        sampling_prob=sample_rate,
        neighboring_relation=RELATION,
    )
