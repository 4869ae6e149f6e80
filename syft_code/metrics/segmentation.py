"""What an evaluation of segmentations says: Dice of each region, patient by patient, and HD95 of BraTS's.

A patient's slices count together, as one volume. The patient's vector is

    Dice of each region − ½,  HD95 of each region ÷ `HD95_LIMIT_MM` − ½,  1 (the count)

Values in [0, 1] are moved by ½, which the count gives back: one patient's vector then has, for the
six values of BraTS, the norm √(6/4 + 1) rather than √7, so that the same privacy takes 40 % less noise.

The regions are BraTS's, or each class but the first, the background. HD95 takes millimetres, which
the pictures of other data do not tell.

Knows no torch: a vault and a researcher read sums, `volumes` makes the vectors.
"""

import math

import numpy as np
from numpy.typing import NDArray

from syft_code.recipes.recipe import DataSpec

REGIONS = {"dice_whole": (1, 2, 3), "dice_core": (1, 3), "dice_enhancing": (3,)}
"""BraTS regions as class indices: 1 is necrotic core, 2 edema, 3 enhancing tumour."""

DISTANCES = tuple(name.replace("dice", "hd95") for name in REGIONS)
"""HD95 in mm, each patient's cut to `HD95_LIMIT_MM`."""

HD95_LIMIT_MM = 50.0
"""Past it a contour is wrong, however far; the smaller, the less noise on a mean."""

MIDDLE = 0.5


def regions(data: DataSpec) -> dict[str, tuple[int, ...]]:
    """What is measured in such data: the name of each region's Dice, and its classes."""
    if data.kind == "brats":
        return REGIONS
    return {f"dice_{name}": (index,) for index, name in enumerate(data.classes) if index}


def distances(data: DataSpec) -> tuple[str, ...]:
    """The names of the distances that are measured, of each region in order; none without a scale."""
    return DISTANCES if data.kind == "brats" else ()


def evaluation_length(data: DataSpec) -> int:
    """How many numbers one evaluation has."""
    return len(regions(data)) + len(distances(data)) + 1


def sensitivity(data: DataSpec) -> float:
    """The L2 norm that one patient's vector never exceeds: 1.581 for BraTS, 1.118 for one region."""
    return math.sqrt((evaluation_length(data) - 1) * MIDDLE**2 + 1.0)


def sums(dice: NDArray[np.float64], distance_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add up the vectors of some patients, from each one's figures `[patients, regions]`.

    Distances are `[patients, 0]` where none are measured.

    Guarantee: adding or removing one patient changes the sums by at most `sensitivity` in L2,
    whatever the figures are; one that is not a number counts as the worst.
    """
    worst = np.concatenate([np.zeros_like(dice), np.ones_like(distance_mm)], axis=1)
    values = np.concatenate([dice, distance_mm / HD95_LIMIT_MM], axis=1)
    values = np.clip(np.where(np.isnan(values), worst, values), 0.0, 1.0)
    return np.append((values - MIDDLE).sum(axis=0), float(len(values)))


def report(total: NDArray[np.float64], data: DataSpec) -> dict[str, float]:
    """Means over patients, from sums that may be noised and of several hospitals.

    Units: Dice in [0, 1]; `hd95_...` in mm of a typical brain (`volumes`), in [0, the limit].
    """
    count = max(float(total[-1]), 1.0)
    means = np.clip((total[:-1] + MIDDLE * total[-1]) / count, 0.0, 1.0)
    names = regions(data)
    means[len(names) :] *= HD95_LIMIT_MM
    return dict(zip((*names, *distances(data)), means.tolist(), strict=True))
