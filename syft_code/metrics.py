"""Evaluation as sums over held-out patients, so that noise can be added to them.

    patients ─ patient_sums ─▶ one short vector ─ noise ─▶ ... sum over hospitals ─▶ report

Each patient adds a vector of its own whose L2 norm is at most `sensitivity`. The vector is

- classification: a tally "right or wrong, by true class" (2 x classes), then two histograms
  of the melanoma score, of patients with and without melanoma (2 x `SCORE_BINS`), if "mel"
  is one of the classes;
- segmentation: the patient's Dice of each region of BraTS, then 1, the count.

`report` turns such sums, noised or not, into figures; `exact` gives the figures without
noise, for whoever owns all of the data.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from syft_code import networks
from syft_code.cohort import Cohort
from syft_code.errors import InvalidMessage, require
from syft_code.recipes import DataSpec

SLICES_AT_ONCE = 32
POSITIVE_CLASS = "mel"
SCORE_EDGES = (-4.0, -3.0, -2.0, -1.5, -1.0, -0.5, 0.0, 1.0)
SCORE_BINS = len(SCORE_EDGES) + 1
"""Melanoma scores are natural log odds; few bins, since each carries noise of its own."""

REGIONS = {"dice_whole": (1, 2, 3), "dice_core": (1, 3), "dice_enhancing": (3,)}
"""BraTS regions as class indices: 1 is necrotic core, 2 edema, 3 enhancing tumour."""


def evaluation_length(data: DataSpec) -> int:
    """How many numbers one evaluation of such data has."""
    if data.task == "segmentation":
        return len(REGIONS) + 1
    return 2 * len(data.classes) + (2 * SCORE_BINS if POSITIVE_CLASS in data.classes else 0)


def sensitivity(data: DataSpec) -> float:
    """The L2 norm that one patient's vector never exceeds.

    Guarantee: adding or removing one patient changes `patient_sums` by at most this.
    """
    if data.task == "segmentation":
        return math.sqrt(len(REGIONS) + 1)
    return math.sqrt(2.0) if POSITIVE_CLASS in data.classes else 1.0


def patient_sums(model: nn.Module, cohort: Cohort, data: DataSpec) -> NDArray[np.float64]:
    """Add up the vectors of all patients; not yet noised, so it must not leave a hospital.

    A patient's slices count together: their mean (classification), or one Dice over all of
    their pixels (segmentation).

    Guarantee: that of `sensitivity`, for any finite or not finite output of the model.
    """
    if not cohort.patients:
        return np.zeros(evaluation_length(data))
    if data.task == "segmentation":
        dice = _patient_dice(model, cohort, data)
        return np.append(dice.sum(axis=0), float(cohort.patients))
    rows = _tally(_class_scores(model, cohort), cohort.labels, data)
    weights = 1.0 / np.bincount(cohort.patient)[cohort.patient]
    sums: NDArray[np.float64] = weights @ rows
    return sums


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
        return {name: _share(dice, sums[-1]) for name, dice in zip(REGIONS, sums, strict=False)}
    classes = len(data.classes)
    right, wrong = sums[:classes], sums[classes : 2 * classes]
    figures = _figures(right, right + wrong, data)
    if POSITIVE_CLASS in data.classes:
        positive, negative = sums[2 * classes :].reshape(2, SCORE_BINS)
        figures["melanoma_auc"] = _area_of_histograms(positive, negative)
    return figures


def exact(model: nn.Module, cohort: Cohort, data: DataSpec) -> dict[str, float]:
    """The figures without noise and, for melanoma, by ranks: for whoever owns all of the data.

    Does not protect: any patient. Never let these figures leave a hospital.
    """
    if data.task == "segmentation":
        return report(patient_sums(model, cohort, data), data)
    scores = _class_scores(model, cohort)
    slices = np.bincount(cohort.patient)
    mean = np.stack([np.bincount(cohort.patient, column) / slices for column in scores.T], axis=1)
    truth = np.empty(cohort.patients, dtype=np.int64)
    truth[cohort.patient] = cohort.labels
    right = np.bincount(truth[mean.argmax(1) == truth], minlength=len(data.classes))
    figures = _figures(right, np.bincount(truth, minlength=len(data.classes)), data)
    if POSITIVE_CLASS in data.classes:
        positive = data.classes.index(POSITIVE_CLASS)
        figures["melanoma_auc"] = area_by_ranks(_log_odds(mean, positive), truth == positive)
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
    return _area_of_histograms(with_it, without)


def _figures(
    right: NDArray[np.generic], count: NDArray[np.generic], data: DataSpec
) -> dict[str, float]:
    recalls = {
        f"recall_{name}": _share(r, n)
        for name, r, n in zip(data.classes, right, count, strict=True)
    }
    return {
        "balanced_accuracy": float(np.mean(list(recalls.values()))),
        "accuracy": _share(right.sum(), count.sum()),
        **recalls,
    }


def _share(part: float, whole: float) -> float:
    return float(np.clip(part / max(whole, 1.0), 0.0, 1.0))


def _area_of_histograms(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    """Pairs in which the positive scores higher, ties counting half, over all pairs."""
    below = np.cumsum(negative) - negative / 2.0
    return _share(float(positive @ below) / max(negative.sum(), 1.0), positive.sum())


def _class_scores(model: nn.Module, cohort: Cohort) -> NDArray[np.float64]:
    """Softmax of each slice, `[slices, classes]`; what is not finite counts as very small."""
    parts = []
    for start in range(0, len(cohort.images), SLICES_AT_ONCE):
        with torch.no_grad():
            logits = model(networks.inputs(cohort.images[start : start + SLICES_AT_ONCE]))
        finite = torch.nan_to_num(logits.double(), nan=-1e9, posinf=1e9, neginf=-1e9)
        parts.append(finite.softmax(1))
    return torch.cat(parts).numpy()


def _tally(
    scores: NDArray[np.float64], labels: NDArray[np.uint8], data: DataSpec
) -> NDArray[np.float64]:
    """For each slice one 1 in the tally of right and wrong, and one in the histograms."""
    slices, classes = scores.shape
    rows = np.zeros((slices, evaluation_length(data)))
    each = np.arange(slices)
    wrong = scores.argmax(axis=1) != labels
    rows[each, labels + classes * wrong] = 1.0
    if POSITIVE_CLASS in data.classes:
        positive = data.classes.index(POSITIVE_CLASS)
        bins = np.searchsorted(SCORE_EDGES, _log_odds(scores, positive))
        rows[each, 2 * classes + SCORE_BINS * (labels != positive) + bins] = 1.0
    return rows


def _log_odds(scores: NDArray[np.float64], positive: int) -> NDArray[np.float64]:
    p = np.clip(scores[:, positive], 1e-12, 1.0 - 1e-12)
    odds: NDArray[np.float64] = np.log(p) - np.log1p(-p)
    return odds


def _patient_dice(model: nn.Module, cohort: Cohort, data: DataSpec) -> NDArray[np.float64]:
    """Dice of each region, `[patients, regions]`; 1 where a region is neither there nor found."""
    overlap, total = np.zeros((2, cohort.patients, len(REGIONS)))
    for start in range(0, len(cohort.images), SLICES_AT_ONCE):
        part = slice(start, start + SLICES_AT_ONCE)
        with torch.no_grad():
            found = model(networks.inputs(cohort.images[part])).argmax(1).numpy()
        for region, classes in enumerate(REGIONS.values()):
            here, there = np.isin(found, classes), np.isin(cohort.labels[part], classes)
            patient = cohort.patient[part]
            np.add.at(overlap[:, region], patient, (here & there).sum(axis=(1, 2)))
            np.add.at(total[:, region], patient, here.sum(axis=(1, 2)) + there.sum(axis=(1, 2)))
    return np.where(total > 0, 2.0 * overlap / np.maximum(total, 1.0), 1.0)
