"""How far an evaluation's noise throws each figure: the ± beside it.

The noise is public, its multiplier stands in the plan. What it does to a figure follows from the
sums, and the noised sums that a researcher holds tell it well enough: noise is drawn around them
once more, which costs no privacy (post-processing).

Knows no torch.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from syft_code.metrics import scoring, segmentation
from syft_code.recipes.recipe import DataSpec

NOISE_DRAWS = 400
NOT_MEASURABLE = "not measurable"
"""In place of a figure that has no meaning: nobody is there whom it is about, or noise hides them."""
GUESS_ERROR = 1 / math.sqrt(12)
"""The standard deviation of a number that is drawn evenly from 0 to 1."""
COUNTED_STDS = 2.0
"""A noised count below so many standard deviations of its noise may be the count of nobody."""
MEAN_DICE = "mean_dice"


def count_noise_std(data: DataSpec, *, noise_multiplier: float, hospitals: int) -> float:
    """The standard deviation of the noise on each number of an evaluation of some hospitals."""
    return noise_multiplier * scoring.sensitivity(data) * math.sqrt(hospitals)


def noise_errors(
    sums: NDArray[np.float64], data: DataSpec, *, noise_std: float
) -> dict[str, float]:
    """How far each figure of these sums strays under such noise, as a root mean square.

    It holds the spread and the bias that comes of cutting to 0..1. With a segmentation's regions
    comes `mean_dice`, the mean of their Dice. Where the noised count of a figure's patients may be
    that of nobody, the error is at least that of guessing (`GUESS_ERROR`).

    Does not protect: anybody, if the sums are exact. Give it noised sums, or data that you own.
    """
    noise = np.random.default_rng(0).normal(0.0, noise_std, (NOISE_DRAWS, len(sums)))
    centre = _figures(sums, data)
    drawn = [_figures(sums + one, data) for one in noise]
    errors = {
        name: float(np.sqrt(np.mean([(figures[name] - value) ** 2 for figures in drawn])))
        for name, value in centre.items()
    }
    for name in _of_nobody(sums, data, noise_std=noise_std):
        errors[name] = max(errors[name], GUESS_ERROR * largest(name))
    return errors


def is_measurable(name: str, value: float, error: float | None) -> bool:
    """Whether a noised figure says more than a guess between its least and its largest value would.

    >>> is_measurable("auc", 0.8, 0.05), is_measurable("auc", 1.0, 0.4), is_measurable("auc", math.nan, 0.0)
    (True, False, False)
    """
    return math.isfinite(value) and (error is None or error < GUESS_ERROR * largest(name))


def largest(name: str) -> float:
    """The largest value of a figure: millimetres for a distance, 1 for all others."""
    return segmentation.HD95_LIMIT_MM if name.startswith("hd95") else 1.0


def _of_nobody(sums: NDArray[np.float64], data: DataSpec, *, noise_std: float) -> Iterator[str]:
    """The figures whose patients, as far as the noise lets their number be seen, may be none."""

    def seen(numbers: NDArray[np.float64]) -> bool:
        return float(numbers.sum()) > COUNTED_STDS * noise_std * math.sqrt(numbers.size)

    if data.task == "segmentation":
        yield from () if seen(sums[-1:]) else (*_figures(sums, data),)
        return
    classes = len(data.classes)
    tally = sums[: 2 * classes].reshape(2, classes)
    there = [seen(tally[:, index]) for index in range(classes)]
    yield from (
        f"recall_{name}" for name, is_seen in zip(data.classes, there, strict=True) if not is_seen
    )
    if sum(there) < 2:
        yield "balanced_accuracy"
    if not seen(tally):
        yield "accuracy"
    if data.positive and not all(map(seen, sums[2 * classes :].reshape(2, -1))):
        yield "auc"


def _figures(sums: NDArray[np.float64], data: DataSpec) -> dict[str, float]:
    figures = scoring.report(sums, data)
    if data.task == "segmentation":
        figures[MEAN_DICE] = float(
            np.mean([figures[region] for region in segmentation.regions(data)])
        )
    return figures
