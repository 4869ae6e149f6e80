"""A clip norm that follows a quantile of the patients' gradient norms, paid for in the same step.

    drawn patients ─ how many were within the norm C ─ noise ─▶ share b ─▶ C exp(-lr (b - quantile))

Two things of a step leave: the sum S of clipped gradients with noise of std z_g C, and the centred
count B, the sum over drawn patients of (1 if within C else 0) - 1/2, with noise of std z_b.

Guarantee: together they are one Gaussian mechanism of noise multiplier z, if
1 / z^2 = 1 / z_g^2 + 1 / (2 z_b)^2.
  Proof. Divide the first by z_g C and the second by z_b: known numbers, so nothing is gained or
  lost. What leaves is then the vector (S / (z_g C), B / z_b) with independent noise of std 1 on each
  coordinate. Adding or removing one patient changes S by at most C and B by exactly 1/2, so it
  changes the vector by at most sqrt(1 / z_g^2 + 1 / (2 z_b)^2) = 1 / z in L2. That is the Gaussian
  mechanism of multiplier z; with each patient drawn with probability q it is the Poisson-sampled one.
  C of a step follows from what left in the steps before, so the steps compose adaptively.
Hence a plan's noise multiplier is that of the whole step, and its events and price stay what
they are; z_g, which is larger, is what falls on the gradient.

Does not protect: by itself a hospital's choice of the first C, which the plan makes public.

Source: Andrew et al. 2021, "Differentially private learning with adaptive clipping", arXiv
1905.03871v5, algorithm 1 and theorem 1, with the expected number of drawn patients for their number.
"""

import math
from dataclasses import dataclass

from syft_code.plans.plan_parts import DpSgd

FURTHEST = 1e6
"""A clip norm stays within this factor of the one that it started from: numbers stay usable."""


def gradient_multiplier(noise_multiplier: float, count_noise_multiplier: float) -> float:
    """z_g, what falls on the gradient so that gradient and count together cost z.

    >>> round(gradient_multiplier(1.0, 5.0), 6)
    1.005038
    """
    whole, count = noise_multiplier**-2, (2.0 * count_noise_multiplier) ** -2
    return float((whole - count) ** -0.5)


def next_norm(norm: float, share: float, *, quantile: float, learning_rate: float) -> float:
    """C exp(-lr (b - quantile)): smaller if more patients than wanted are within it.

    >>> next_norm(2.0, 0.5, quantile=0.5, learning_rate=0.2)
    2.0
    >>> round(next_norm(2.0, 1.0, quantile=0.5, learning_rate=0.2), 4)
    1.8097
    """
    return norm * math.exp(-learning_rate * (share - quantile))


@dataclass(slots=True, kw_only=True)
class ClipNorm:
    """The clip norm of a training, step by step. Without `dp.adaptive` it never changes.

    It goes on from round to round: what a hospital keeps of it is `moved`, which follows from what
    left in earlier rounds.
    """

    dp: DpSgd
    norm: float

    @classmethod
    def first(cls, dp: DpSgd, *, moved: float = 0.0) -> "ClipNorm":
        """That of a round's first step: the plan's, times e to the power of what it has moved by."""
        furthest = math.log(FURTHEST)
        return cls(dp=dp, norm=dp.max_grad_norm * math.exp(min(max(moved, -furthest), furthest)))

    @property
    def moved(self) -> float:
        """The natural logarithm of this norm over the plan's."""
        return math.log(self.norm / self.dp.max_grad_norm)

    @property
    def noise_std(self) -> float:
        """Of the noise on the sum of clipped gradients."""
        if self.dp.adaptive is None:
            return self.dp.noise_multiplier * self.norm
        counting = self.dp.adaptive.count_noise_multiplier
        return gradient_multiplier(self.dp.noise_multiplier, counting) * self.norm

    def follow(self, count: float, *, expected: float) -> None:
        """After a step: move towards the quantile, by the centred count with its noise on it."""
        adaptive = self.dp.adaptive
        if adaptive is None:
            return
        share = count / expected + 0.5
        moved = next_norm(
            self.norm,
            min(max(share, 0.0), 1.0),
            quantile=adaptive.quantile,
            learning_rate=adaptive.learning_rate,
        )
        start = self.dp.max_grad_norm
        self.norm = min(max(moved, start / FURTHEST), start * FURTHEST)
