"""Rules that withstand some bad sums, and the bound that a hospital puts on its own update.

    hospital      clip_update     update ─▶ update with an L2 norm of at most the plan's bound
    researcher    combine         one mean update of each group ─▶ one update

A rule sees a row for each group of hospitals, never one hospital's update. `tolerated` rows may be
anything at all:

| rule             | rows needed       | what comes out                                        |
|------------------|-------------------|-------------------------------------------------------|
| median           | 2 tolerated + 1   | in each coordinate, the middle row's                  |
| trimmed_mean     | 2 tolerated + 1   | in each coordinate, the mean without the outermost    |
| krum             | 2 tolerated + 3   | the one row whose neighbours are closest              |
| multi_krum       | 2 tolerated + 3   | the mean of the rows - tolerated - 2 best such rows   |
| geometric_median | 2 tolerated + 1   | the point with the least sum of distances to all rows |

Guarantee: with no more than `tolerated` bad rows, and whatever those hold, the median and the
trimmed mean lie in each coordinate between the least and the largest good row; Krum gives a row,
multi-Krum a mean of rows, whose nearest good rows are about as close as good rows are to each other;
the geometric median is no further from the good rows' mean than a constant times their spread.

Does not protect: against a bad row that lies among the good ones; against more bad rows than
`tolerated`. Each hospital spoils the row of its whole group. The rows count alike, whatever the
number of patients behind them.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syft_code.arrays import Vector
from syft_code.errors import InvalidMessage, TrainingFailed, require
from syft_code.plans.plan_parts import Robust, RobustRule

BLOCK = 1 << 16
"""Coordinates at a time, so that no rule needs a second copy of all rows."""
LARGEST = 2.0**256
"""No ring's sum decodes to more; up to here squared distances stay finite in float64."""
SMOOTHING = 1e-6
MOST_STEPS = 1000

Rows = NDArray[np.float64]


def combine(rows: Rows, robust: Robust) -> Vector:
    """Researcher: one update out of the groups' mean updates, by the plan's rule.

    Shapes: float64 `[groups, n]` to float64 `[n]`. There may be fewer rows than planned groups,
    when hospitals have dropped out, as long as the rule still withstands `tolerated` bad ones.

    Raises:
        InvalidPlan: if there are too few rows for that.
        InvalidMessage: if a number is not finite.

    >>> rows = np.array([[1.0, 2.0], [3.0, 4.0], [-1e9, 1e9]])
    >>> combine(rows, Robust(rule="median", groups=3, tolerated=1))
    array([1., 4.])
    """
    return RULES[robust.rule](rows, tolerated=robust.tolerated)


def median(rows: Rows, *, tolerated: int) -> Vector:
    """In each coordinate the middle row's number; of an even number of rows, the middle two's mean.

    Withstands `tolerated` bad rows of 2 `tolerated` + 1.
    Source: Yin et al. 2018, "Byzantine-robust distributed learning", definition 1.

    >>> median(np.array([[1.0], [2.0], [9.0]]), tolerated=1)
    array([2.])
    """
    _check(rows, "median", tolerated)
    return _trimmed(rows, (len(rows) - 1) // 2)


def trimmed_mean(rows: Rows, *, tolerated: int) -> Vector:
    """In each coordinate the mean without the `tolerated` least and the `tolerated` largest.

    Withstands `tolerated` bad rows of 2 `tolerated` + 1 (with so few it is the median).
    Source: Yin et al. 2018, definition 2, with beta = `tolerated` ÷ rows.

    >>> trimmed_mean(np.array([[1.0], [2.0], [4.0], [90.0]]), tolerated=1)
    array([3.])
    """
    _check(rows, "trimmed_mean", tolerated)
    return _trimmed(rows, tolerated)


def krum(rows: Rows, *, tolerated: int) -> Vector:
    """The row with the least score; of equal scores the first.

    Withstands `tolerated` bad rows of 2 `tolerated` + 3.
    Source: Blanchard et al. 2017, "Machine learning with adversaries", section 4.

    >>> krum(np.array([[0.0], [1.0], [1.5], [2.5], [99.0]]), tolerated=1)
    array([1.])
    """
    _check(rows, "krum", tolerated)
    best: Vector = rows[_by_score(rows, tolerated)[0]].copy()
    return best


def multi_krum(rows: Rows, *, tolerated: int) -> Vector:
    """The mean of the rows - `tolerated` - 2 rows with the least scores.

    Withstands `tolerated` bad rows of 2 `tolerated` + 3.
    Source: Blanchard et al. 2017, section 4; so many rows: Damaskinos et al. 2019,
    "AggregaThor", theorem 1.

    >>> multi_krum(np.array([[0.0], [1.0], [1.5], [2.5], [99.0]]), tolerated=1)
    array([1.25])
    """
    _check(rows, "multi_krum", tolerated)
    # In the rows' own order, so that a mean is the same to the last bit on every machine.
    chosen = np.sort(_by_score(rows, tolerated)[: len(rows) - tolerated - 2])
    mean: Vector = np.full(len(chosen), 1.0 / len(chosen)) @ rows[chosen]
    return mean


def geometric_median(rows: Rows, *, tolerated: int) -> Vector:
    """The point with the least sum of L2 distances to all rows, by the smoothed Weiszfeld algorithm.

    Starts at the coordinate-wise median c. A point on the way is c plus a weighted sum of the rows'
    deviations from c, so that every distance follows from the deviations' products with each other,
    which are few. Distances below the smoothing count as that: `SMOOTHING` times the middle row's
    distance to c.

    Withstands `tolerated` bad rows of 2 `tolerated` + 1.
    Source: Pillutla, Kakade and Harchaoui 2022, "Robust aggregation for federated learning",
    algorithm 2, run until it stands still.

    >>> np.abs(geometric_median(np.array([[0.0, 3.0], [0.0, -3.0], [1.0, 0.0]]), tolerated=1)).round(4)
    array([1., 0.])
    """
    _check(rows, "geometric_median", tolerated)
    # The products of deviations take one pass over the rows; each step then costs groups^2.
    centre = _trimmed(rows, (len(rows) - 1) // 2)
    products = _products(rows, centre)
    distances = np.sqrt(np.diagonal(products))
    smoothing = SMOOTHING * float(np.sort(distances)[(len(rows) - 1) // 2])
    if smoothing == 0.0:
        return centre  # half of the rows or more are here, and so is the least sum
    shares = np.zeros(len(rows))
    for _ in range(MOST_STEPS):
        before = shares
        shares = 1.0 / np.maximum(distances, smoothing)
        shares /= shares.sum()
        if _length(shares - before, products) <= smoothing / 1000.0:
            break
        distances = np.array([_length(shares - unit, products) for unit in np.eye(len(rows))])
    for part in _blocks(rows):
        centre[part] += shares @ (rows[:, part] - centre[part])
    return centre


RULES: dict[RobustRule, Callable[..., Vector]] = {
    "median": median,
    "trimmed_mean": trimmed_mean,
    "krum": krum,
    "multi_krum": multi_krum,
    "geometric_median": geometric_median,
}


def clip_update(update: NDArray[np.floating[Any]], max_update_norm: float) -> Vector:
    """Hospital: scale an update down to an L2 norm of `max_update_norm`, if it is longer.

    Guarantee: the norm of what comes out is at most `max_update_norm` times 1 + 1e-9. It is
    post-processing of the noised update, so privacy stays as it was.
    Does not protect: against a hospital that changes its own software. Who only poisons its data
    can't get round it.
    Source: Sun et al. 2019, "Can you really backdoor federated learning?", section 4.1.

    Raises:
        TrainingFailed: if a number is not finite.

    >>> clip_update(np.array([3.0, 4.0]), 1.0)
    array([0.6, 0.8])
    """
    require(
        0 < max_update_norm < np.inf,
        f"max_update_norm must be a finite number above 0, got {max_update_norm}.",
    )
    exact = update.astype(np.float64, copy=False)
    norm = float(np.linalg.norm(exact))
    require(
        bool(np.isfinite(norm)),
        "Every number of an update must be finite, and so its norm: it is not. "
        "Lower the learning rate.",
        error=TrainingFailed,
    )
    return exact if norm <= max_update_norm else exact * (max_update_norm / norm)


def _check(rows: Rows, rule: RobustRule, tolerated: int) -> None:
    """Enough rows for the rule, by the plan's own table, and every number a real one."""
    require(
        rows.ndim == 2 and rows.dtype == np.float64,
        "The groups' updates must be one array of float64, a row for each group.",
        error=InvalidMessage,
    )
    Robust(rule=rule, groups=len(rows), tolerated=tolerated)  # raises InvalidPlan if too few
    inside = all(
        float(rows[:, part].max()) <= LARGEST and float(rows[:, part].min()) >= -LARGEST  # not NaN
        for part in _blocks(rows)
    )
    require(
        inside,
        "Every number of a group's update must be finite and at most 2^256 in size, and one is "
        "not: ask for the round's sums again.",
        error=InvalidMessage,
    )


def _blocks(rows: Rows) -> Iterator[slice]:
    for start in range(0, rows.shape[1], BLOCK):
        yield slice(start, start + BLOCK)


def _trimmed(rows: Rows, outermost: int) -> Vector:
    """In each coordinate the mean without the `outermost` least and as many largest."""
    middle = np.empty(rows.shape[1])
    for part in _blocks(rows):
        ordered = np.sort(rows[:, part], axis=0)
        middle[part] = ordered[outermost : len(rows) - outermost].mean(axis=0)
    return middle


def _by_score(rows: Rows, tolerated: int) -> NDArray[np.intp]:
    """The rows' numbers by Krum's score, the least first.

    The score of a row is the sum of the squared distances to its rows - `tolerated` - 2 nearest
    others.
    """
    squared = np.zeros((len(rows), len(rows)))
    # Differences, and no |a|^2 + |b|^2 - 2 a b, in which two close rows cancel to noise.
    for part in _blocks(rows):
        for row in range(1, len(rows)):
            apart = rows[:row, part] - rows[row, part]
            squared[row, :row] += np.einsum("ij,ij->i", apart, apart)
    squared += squared.T
    others = np.sort(squared, axis=1)[:, 1:]  # without the distance to itself, which is 0
    return np.argsort(others[:, : len(rows) - tolerated - 2].sum(axis=1), kind="stable")


def _products(rows: Rows, centre: Vector) -> Rows:
    """The inner products of the rows' deviations from a point, `[groups, groups]`."""
    products = np.zeros((len(rows), len(rows)))
    for part in _blocks(rows):
        deviations = rows[:, part] - centre[part]
        products += deviations @ deviations.T
    return products


def _length(shares: Vector, products: Rows) -> float:
    """The L2 norm of a weighted sum of deviations; rounding can't make it less than 0."""
    return math.sqrt(max(float(shares @ products @ shares), 0.0))
