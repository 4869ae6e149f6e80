"""How far an evaluation's noise throws each figure: the ± beside it.

The noise is public, its multiplier stands in the plan. What it does to a figure follows from the
sums, and the noised sums that a researcher holds tell it well enough: noise is drawn around them
once more, which costs no privacy (post-processing).

Knows no torch.
"""

import math

import numpy as np
from numpy.typing import NDArray

from syft_code.metrics import scoring, segmentation
from syft_code.recipes.recipe import DataSpec

NOISE_DRAWS = 400
MEAN_DICE = "mean_dice"


def count_noise_std(data: DataSpec, *, noise_multiplier: float, hospitals: int) -> float:
    """The standard deviation of the noise on each number of an evaluation of some hospitals."""
    return noise_multiplier * scoring.sensitivity(data) * math.sqrt(hospitals)


def noise_errors(
    sums: NDArray[np.float64], data: DataSpec, *, noise_std: float
) -> dict[str, float]:
    """How far each figure of these sums strays under such noise, as a root mean square.

    It holds the spread and the bias that comes of cutting to 0..1. With a segmentation's regions
    comes `mean_dice`, the mean of their Dice.

    Does not protect: anybody, if the sums are exact. Give it noised sums, or data that you own.
    """
    noise = np.random.default_rng(0).normal(0.0, noise_std, (NOISE_DRAWS, len(sums)))
    centre = _figures(sums, data)
    drawn = [_figures(sums + one, data) for one in noise]
    return {
        name: float(np.sqrt(np.mean([(figures[name] - value) ** 2 for figures in drawn])))
        for name, value in centre.items()
    }


def _figures(sums: NDArray[np.float64], data: DataSpec) -> dict[str, float]:
    figures = scoring.report(sums, data)
    if data.task == "segmentation":
        figures[MEAN_DICE] = float(
            np.mean([figures[region] for region in segmentation.regions(data)])
        )
    return figures
