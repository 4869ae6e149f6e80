"""From a model and patients to the sums of `scoring`, and to exact figures.

    patients ─ patient_sums ─▶ one short vector ─ noise ─▶ ... sum over hospitals ─▶ scoring.report

`exact` gives the figures without noise, for an owner of all of the data.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from syft_code.cohort import Cohort
from syft_code.metrics import scoring, segmentation, volumes
from syft_code.models import networks
from syft_code.recipes.recipe import DataSpec

SLICES_AT_ONCE, NUMBERS_AT_ONCE = 32, 1 << 26
"""Of slices, and of numbers that the widest layer makes of them: 256 MB."""


def patient_sums(model: nn.Module, cohort: Cohort, data: DataSpec) -> NDArray[np.float64]:
    """Add up the vectors of all patients; not yet noised, so it must not leave a hospital.

    A patient's slices count together: their mean (classification), or one volume
    (segmentation).

    Guarantee: that of `sensitivity`, for any finite or not finite output of the model.
    """
    if not cohort.patients:
        return np.zeros(scoring.evaluation_length(data))
    if data.task == "segmentation":
        return segmentation.sums(*volumes.figures(_found_classes(model, cohort), cohort, data))
    rows = _tally(_class_scores(model, cohort), cohort.labels, data)
    weights = 1.0 / np.bincount(cohort.patient)[cohort.patient]
    sums: NDArray[np.float64] = weights @ rows
    return sums


def exact(model: nn.Module, cohort: Cohort, data: DataSpec) -> dict[str, float]:
    """The figures without noise, the AUC by ranks: for an owner of all of the data.

    Does not protect: any patient. Never let these figures leave a hospital.
    """
    if data.task == "segmentation":
        return volumes.exact(*volumes.figures(_found_classes(model, cohort), cohort, data), data)
    scores = _class_scores(model, cohort)
    slices = np.bincount(cohort.patient)
    mean = np.stack([np.bincount(cohort.patient, column) / slices for column in scores.T], axis=1)
    truth = np.empty(cohort.patients, dtype=np.int64)
    truth[cohort.patient] = cohort.labels
    right = np.bincount(truth[mean.argmax(1) == truth], minlength=len(data.classes))
    figures = scoring.figures_of_counts(
        right, np.bincount(truth, minlength=len(data.classes)), data
    )
    if data.positive:
        positive = data.classes.index(data.positive)
        figures["auc"] = scoring.area_by_ranks(_log_odds(mean, positive), truth == positive)
    return figures


def _at_once(model: nn.Module, cohort: Cohort) -> int:
    """How many slices go through at a time."""
    convolutions = (m for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d))
    widest = max((layer.out_channels for layer in convolutions), default=1)
    numbers = widest * math.prod(cohort.images.shape[1:])
    return max(1, min(SLICES_AT_ONCE, NUMBERS_AT_ONCE // max(1, numbers)))


def _class_scores(model: nn.Module, cohort: Cohort) -> NDArray[np.float64]:
    """Softmax of each slice, `[slices, classes]`; what is not finite counts as very small."""
    prefix, rest = networks.split_prefix(model, 0)
    parts, step = [], _at_once(model, cohort)
    for start in range(0, len(cohort.images), step):
        part = slice(start, start + step)
        with torch.no_grad():
            seen = networks.inputs(cohort.images[part], cohort.facts[part])
            logits = rest(*(seen if prefix is None else prefix(*seen)))
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
    if data.positive:
        positive = data.classes.index(data.positive)
        bins = np.searchsorted(scoring.SCORE_EDGES, _log_odds(scores, positive))
        rows[each, 2 * classes + scoring.SCORE_BINS * (labels != positive) + bins] = 1.0
    return rows


def _log_odds(scores: NDArray[np.float64], positive: int) -> NDArray[np.float64]:
    p = np.clip(scores[:, positive], 1e-12, 1.0 - 1e-12)
    odds: NDArray[np.float64] = np.log(p) - np.log1p(-p)
    return odds


def _found_classes(model: nn.Module, cohort: Cohort) -> NDArray[np.uint8]:
    """The class of each pixel, `[slices, height, width]`."""
    parts, step = [], _at_once(model, cohort)
    for start in range(0, len(cohort.images), step):
        part = slice(start, start + step)
        with torch.no_grad():
            logits = model(*networks.inputs(cohort.images[part], cohort.facts[part]))
        parts.append(logits.argmax(1).to(torch.uint8))
    predicted: NDArray[np.uint8] = torch.cat(parts).numpy()
    return predicted
