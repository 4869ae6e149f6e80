"""What an evaluation's sums mean: their length, their sensitivity, the figures in them.

The sums are over held-out patients, so that noise can be added to them. Each patient adds
a vector of its own whose L2 norm is at most `sensitivity`. The vector is

- classification: a tally "right or wrong, by true class" (2 x classes), then two histograms
  of the score of the data's positive class, of patients with and without it
  (2 x `SCORE_BINS`), if the data names one;
- segmentation: Dice of each region, HD95 of BraTS's, then 1, the count (`segmentation`).

Knows no torch: a vault and a researcher read sums, `metrics` makes them.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from syft_code.errors import InvalidMessage, require
from syft_code.metrics import segmentation
from syft_code.recipes.recipe import DataSpec

SCORE_EDGES = (-4.0, -3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 1.0)
SCORE_BINS = len(SCORE_EDGES) + 1
"""Scores are natural log odds; few bins, since each carries noise of its own."""
HARDLY, RANKED = 0.05, 0.65
"""A recall so small beside an AUC so large: a matter of the decision rule, not of the model."""


def evaluation_length(data: DataSpec) -> int:
    """How many numbers one evaluation of such data has."""
    if data.task == "segmentation":
        return segmentation.evaluation_length(data)
    return 2 * len(data.classes) + (2 * SCORE_BINS if data.positive else 0)


def sensitivity(data: DataSpec) -> float:
    """The L2 norm that one patient's vector never exceeds.

    Guarantee: adding or removing one patient changes `metrics.patient_sums` by at most this.
    """
    if data.task == "segmentation":
        return segmentation.sensitivity(data)
    return math.sqrt(2.0) if data.positive else 1.0


def report(sums: NDArray[np.float64], data: DataSpec) -> dict[str, float]:
    """Figures from sums, which may be noised and those of several hospitals added up.

    A share is cut to 0..1, a count raised to 1 at least: noise can push them past. The area
    under the curve comes from the histograms; patients in one bin count as ties.

    Raises:
        InvalidMessage: if the sums have the wrong length or are not finite.
    """
    expected = evaluation_length(data)
    require(
        sums.shape == (expected,) and bool(np.isfinite(sums).all()),
        f"An evaluation must be {expected} finite numbers, got {sums.size}: ask for it again.",
        error=InvalidMessage,
    )
    if data.task == "segmentation":
        return segmentation.report(sums, data)
    classes = len(data.classes)
    right, wrong = sums[:classes], sums[classes : 2 * classes]
    figures = figures_of_counts(right, right + wrong, data)
    if data.positive:
        positive, negative = sums[2 * classes :].reshape(2, SCORE_BINS)
        figures["auc"] = area_of_histograms(positive, negative)
    return figures


def area_by_ranks(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """The area under the ROC curve (Mann-Whitney), ties counting half; NaN for one class alone.

    >>> area_by_ranks(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))
    0.875
    """
    values, place = np.unique(scores, return_inverse=True)
    with_it = np.bincount(place[positive], minlength=len(values)).astype(np.float64)
    without = np.bincount(place[~positive], minlength=len(values)).astype(np.float64)
    if not with_it.sum() * without.sum() > 0:
        return math.nan
    return area_of_histograms(with_it, without)


def figures_of_counts(
    right: NDArray[np.generic], count: NDArray[np.generic], data: DataSpec
) -> dict[str, float]:
    recalls = {
        f"recall_{name}": share(r, n) for name, r, n in zip(data.classes, right, count, strict=True)
    }
    return {
        "balanced_accuracy": float(np.mean(list(recalls.values()))),
        "accuracy": share(right.sum(), count.sum()),
        **recalls,
    }


def never_found(
    figures: Mapping[str, float], data: DataSpec, errors: Mapping[str, float] = MappingProxyType({})
) -> str:
    """A sentence if a model ranks the positive class well and its likeliest class is never that; else "".

    `errors` are how far noise throws the figures; a recall that may be more than `HARDLY` says nothing.
    """
    recall, auc = f"recall_{data.positive}", "auc"
    if not data.positive or not {recall, auc} <= figures.keys():
        return ""
    most = figures[recall] + errors.get(recall, 0.0)
    least = figures[auc] - errors.get(auc, 0.0)
    if not (most <= HARDLY and least >= RANKED):
        return ""
    return (
        f"The AUC of {data.positive} is {figures[auc]:.2f}, and its recall {figures[recall]:.3f}: the model "
        f"ranks these patients, and the rule that names the likeliest class hardly ever names "
        f"{data.positive}. Set a threshold on its score for the use in mind, or weigh the classes "
        "(class_weights, class_priors)."
    )


def share(part: float, whole: float) -> float:
    return float(np.clip(part / max(whole, 1.0), 0.0, 1.0))


def area_of_histograms(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    """Pairs in which the positive scores higher, ties counting half, over all pairs."""
    below = np.cumsum(negative) - negative / 2.0
    return share(float(positive @ below) / max(negative.sum(), 1.0), positive.sum())
