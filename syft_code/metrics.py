"""From a model and patients to the sums of `scoring`, and to exact figures.

    patients ─ patient_sums ─▶ one short vector ─ noise ─▶ ... sum over hospitals ─▶ scoring.report

`exact` gives the figures without noise, for whoever owns all of the data.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from syft_code import networks, scoring
from syft_code.cohort import Cohort
from syft_code.recipes import DataSpec

SLICES_AT_ONCE = 32


def patient_sums(model: nn.Module, cohort: Cohort, data: DataSpec) -> NDArray[np.float64]:
    """Add up the vectors of all patients; not yet noised, so it must not leave a hospital.

    A patient's slices count together: their mean (classification), or one Dice over all of
    their pixels (segmentation).

    Guarantee: that of `sensitivity`, for any finite or not finite output of the model.
    """
    if not cohort.patients:
        return np.zeros(scoring.evaluation_length(data))
    if data.task == "segmentation":
        dice = _patient_dice(model, cohort, data)
        return np.append(dice.sum(axis=0), float(cohort.patients))
    rows = _tally(_class_scores(model, cohort), cohort.labels, data)
    weights = 1.0 / np.bincount(cohort.patient)[cohort.patient]
    sums: NDArray[np.float64] = weights @ rows
    return sums


def exact(model: nn.Module, cohort: Cohort, data: DataSpec) -> dict[str, float]:
    """The figures without noise and, for melanoma, by ranks: for whoever owns all of the data.

    Does not protect: any patient. Never let these figures leave a hospital.
    """
    if data.task == "segmentation":
        return scoring.report(patient_sums(model, cohort, data), data)
    scores = _class_scores(model, cohort)
    slices = np.bincount(cohort.patient)
    mean = np.stack([np.bincount(cohort.patient, column) / slices for column in scores.T], axis=1)
    truth = np.empty(cohort.patients, dtype=np.int64)
    truth[cohort.patient] = cohort.labels
    right = np.bincount(truth[mean.argmax(1) == truth], minlength=len(data.classes))
    figures = scoring.figures_of_counts(
        right, np.bincount(truth, minlength=len(data.classes)), data
    )
    if scoring.POSITIVE_CLASS in data.classes:
        positive = data.classes.index(scoring.POSITIVE_CLASS)
        figures["melanoma_auc"] = scoring.area_by_ranks(
            _log_odds(mean, positive), truth == positive
        )
    return figures


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
    rows = np.zeros((slices, scoring.evaluation_length(data)))
    each = np.arange(slices)
    wrong = scores.argmax(axis=1) != labels
    rows[each, labels + classes * wrong] = 1.0
    if scoring.POSITIVE_CLASS in data.classes:
        positive = data.classes.index(scoring.POSITIVE_CLASS)
        bins = np.searchsorted(scoring.SCORE_EDGES, _log_odds(scores, positive))
        rows[each, 2 * classes + scoring.SCORE_BINS * (labels != positive) + bins] = 1.0
    return rows


def _log_odds(scores: NDArray[np.float64], positive: int) -> NDArray[np.float64]:
    p = np.clip(scores[:, positive], 1e-12, 1.0 - 1e-12)
    odds: NDArray[np.float64] = np.log(p) - np.log1p(-p)
    return odds


def _patient_dice(model: nn.Module, cohort: Cohort, data: DataSpec) -> NDArray[np.float64]:
    """Dice of each region, `[patients, regions]`; 1 where a region is neither there nor found."""
    overlap, total = np.zeros((2, cohort.patients, len(scoring.REGIONS)))
    for start in range(0, len(cohort.images), SLICES_AT_ONCE):
        part = slice(start, start + SLICES_AT_ONCE)
        with torch.no_grad():
            found = model(networks.inputs(cohort.images[part])).argmax(1).numpy()
        for region, classes in enumerate(scoring.REGIONS.values()):
            here, there = np.isin(found, classes), np.isin(cohort.labels[part], classes)
            patient = cohort.patient[part]
            np.add.at(overlap[:, region], patient, (here & there).sum(axis=(1, 2)))
            np.add.at(total[:, region], patient, here.sum(axis=(1, 2)) + there.sum(axis=(1, 2)))
    return np.where(total > 0, 2.0 * overlap / np.maximum(total, 1.0), 1.0)
