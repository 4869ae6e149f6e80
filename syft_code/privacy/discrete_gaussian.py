"""Gaussian noise on whole numbers: what hospitals add to sums that are shared.

    variance < 2^18     inversion of the cumulative distribution: a table of 128-bit thresholds
    variance >= 2^18    x + 16 y: x from such a table, y of the variance that is left / 16^2

A table is small, since each training makes its own: a contained process trains once.

The discrete Gaussian of variance parameter v takes k with a probability proportional to
exp(-k^2 / 2 v). Its sums stay discrete Gaussians but for nothing that shows, and noise on whole
numbers has no last bits to give away (Mironov 2012).

Source: Canonne, Kamath & Steinke 2020, "The discrete Gaussian for differential privacy", arXiv
2004.00010; Pöppelmann, Ducas & Güneysu 2014, "Enhanced lattice-based signatures on
reconfigurable hardware", lemma 2, for the two parts.
"""

import math
from bisect import bisect_right
from collections.abc import Callable
from decimal import Context, Decimal
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from syft_code.errors import TrainingFailed, require

LARGEST_VARIANCE = 2**80
TABLE_VARIANCE = 1 << 18
"""Up to here one table is made: of at most 14,000 numbers."""
FACTOR = 16
LOW_VARIANCE = 1 << 16
"""Of x, at least: its deviation is 16 times `FACTOR`."""
REACH = 13.5
"""Standard deviations that a table reaches: a number outside has a probability below 2^-133."""
MOST_DEVIATIONS = 20.0
"""No number that is drawn lies further out: the reaches of a sum's tables come to 18.95 standard
deviations at most."""
Words = Callable[[int], NDArray[np.uint64]]
"""So many words of 64 random bits: `NoiseSource.words`."""
_WEIGHT_BITS = 288
_BITS = 128
_BLOCK = 1 << 18


def sample(variance: int, size: int, words: Words) -> NDArray[np.int64]:
    """Independent whole numbers from the discrete Gaussian of this variance parameter.

    Guarantee: each number's distribution is within 2^-107 in total variation of the exact one, and
        none lies further out than `MOST_DEVIATIONS` standard deviations.
      Proof. A table's N < 2^14 probabilities are multiples of 2^-128, each within 2^-127 of the
        exact one: thresholds are rounded down, and the 288-bit weights are off by parts below
        2^-150 where they count. What a table leaves out is below 2^-133: total variation below
        2^-113, and nine parts add up to less than 2^-109. For x + 16 y of variances v and w, with
        u = v + 16^2 w, the sum over y of exp(-(k - 16 y)^2 / 2 v - y^2 / 2 w) is exp(-k^2 / 2 u)
        times the sum of a Gaussian of variance 16^2 v w / u over a shifted lattice of step 16. By
        Poisson's summation formula that is the same for all k but for a factor
        1 +- 3 exp(-2 pi^2 v w / u), and v >= 2^16, w >= 768 give v w / u >= 192: 1 +- 10^-1600. Up
        to variance 2^80 there are at most nine parts.
    Source: see the module; the time that it takes does not depend on anything but the noise.

    Raises:
        TrainingFailed: if the variance is not from 1 to 2^80.

    >>> from syft_code.privacy.noise import NoiseSource
    >>> sample(1 << 26, 3, NoiseSource.from_key(bytes(32)).words).tolist()
    [952, -1406, -10520]
    """
    require(
        1 <= variance <= LARGEST_VARIANCE,
        f"A discrete Gaussian's variance must be from 1 to 2^80, got {variance}.",
        error=TrainingFailed,
    )
    if variance < TABLE_VARIANCE:
        return _Table.of(variance).sample(size, words)
    rest, odd = divmod(variance - LOW_VARIANCE, FACTOR**2)
    drawn = _Table.of(LOW_VARIANCE + odd).sample(size, words)
    drawn += FACTOR * sample(rest, size, words)
    return drawn


class _Table:
    """Thresholds T_0 < T_1 < ... of 2^128: a uniform number is the smallest k for which it is below."""

    def __init__(self, variance: int) -> None:
        self._reach = math.ceil(REACH * math.sqrt(variance)) + 1
        half = _weights(variance, self._reach)
        cumulative = list(accumulate([*half[:0:-1], *half]))
        whole = cumulative.pop()
        self._thresholds = [(one << _BITS) // whole for one in cumulative]
        self._high = np.array([one >> 64 for one in self._thresholds], dtype=np.uint64)

    @classmethod
    def of(cls, variance: int) -> "_Table":
        """Made once for a variance in each process."""
        return _table(variance)

    def sample(self, size: int, words: Words) -> NDArray[np.int64]:
        """By inversion; of the 128 bits the lower half is drawn only where the upper one is a tie."""
        drawn = np.empty(size, dtype=np.int64)
        for start in range(0, size, _BLOCK):
            block = drawn[start : start + _BLOCK]
            high = words(len(block))
            block[:] = np.searchsorted(self._high, high, side="right")
            tied = np.flatnonzero((block > 0) & (self._high[block - 1] == high))
            for place, low in zip(tied, words(len(tied)), strict=True):
                exact = int(high[place]) << 64 | int(low)
                block[place] = bisect_right(self._thresholds, exact)
        drawn -= self._reach
        return drawn


@lru_cache(maxsize=16)
def _table(variance: int) -> _Table:
    return _Table(variance)


def _weights(variance: int, reach: int) -> list[int]:
    """exp(-k^2 / 2 variance) for k = 0 to `reach`, times 2^288, rounded down.

    Each is the one before times exp(-(2 k + 1) / 2 variance), which shrinks by the same factor.
    """
    decimals = Context(prec=120)
    one = Decimal(1 << _WEIGHT_BITS)

    def exponential(power: Decimal) -> int:
        return int(decimals.multiply(one, decimals.exp(power)))

    ratio = exponential(decimals.divide(Decimal(-1), Decimal(2 * variance)))
    shrink = exponential(decimals.divide(Decimal(-1), Decimal(variance)))
    weights = [1 << _WEIGHT_BITS]
    for _ in range(reach):
        weights.append(weights[-1] * ratio >> _WEIGHT_BITS)
        ratio = ratio * shrink >> _WEIGHT_BITS
    return weights
