"""Exact figures of a model, for whoever owns the data of every hospital: a demo.

Does not protect: anybody. Figures from here carry no noise, so they leave no real hospital.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import nn

from syft_code.arrays import Weights
from syft_code.cohort import Cohort, Images
from syft_code.errors import InvalidInput, require
from syft_code.metrics import evaluation_sums, noise_errors, segmentation
from syft_code.models import networks
from syft_code.plans.plan import Plan
from syft_code.recipes.recipe import DataSpec

PATIENTS = "patients"
ON_TRAINING_PATIENTS = "on_training_patients"
NOISE_ERROR = "noise_error/"
"""Prefix of how far the plan's evaluation noise throws a figure, as a root mean square."""

SAMPLING_ERROR = "sampling_error"
"""The main metric's standard error, since only so many patients of each class are held out."""

Figures = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class HospitalCohorts:
    """One hospital's patients, in two groups. Never printed, logged or serialised."""

    name: str
    training: Cohort
    held_out: Cohort


def main_name(data: DataSpec) -> str:
    """The figure that a study of such data is judged by."""
    return "balanced_accuracy" if data.task == "classification" else noise_errors.MEAN_DICE


def main_metric(figures: Mapping[str, float], data: DataSpec) -> float:
    """Its value among some figures: segmentation takes the mean of the regions' Dice that are there.

    NaN if the figures hold none of it.
    """
    if data.task == "classification":
        return figures.get("balanced_accuracy", math.nan)
    there = [figures[region] for region in segmentation.regions(data) if region in figures]
    return float(np.mean(there)) if there else math.nan


def per_hospital(figures: Mapping[str, float], data: DataSpec) -> Figures:
    """The main metric of each hospital, out of what `exact` gave."""
    ending = f"/{main_name(data)}"
    return {
        key.removesuffix(ending): value
        for key, value in figures.items()
        if key.endswith(ending) and not key.startswith(NOISE_ERROR)
    }


def exact(plan: Plan, weights: Weights, hospitals: Sequence[HospitalCohorts]) -> Figures:
    """Figures of a model without noise, over all held-out patients.

    The keys are those of `evaluation_sums.exact` (and `mean_dice`); `<hospital>/<main metric>`;
    `noise_error/<figure>`, how far the plan's evaluation noise throws it; `sampling_error`; `patients`; and
    `on_training_patients`, which is 1 where no hospital holds anybody out, so that the figures
    say how well the model fits the patients it was trained on. What `of_cohort` leaves out is left
    out here.
    """
    model = networks.build(plan.recipe, plan.data, weights)
    held_out = any(hospital.held_out.patients for hospital in hospitals)
    cohorts = {h.name: h.held_out if held_out else h.training for h in hospitals}
    everyone = together(list(cohorts.values()))
    require(everyone.patients > 0, "There must be a patient to evaluate.", error=InvalidInput)
    figures = of_cohort(model, everyone, plan.data)
    figures |= _sampling_error(figures, everyone, plan.data)
    if held_out:
        figures |= _noise_errors(model, everyone, plan, hospitals=len(hospitals))
    for name, cohort in cohorts.items():
        if cohort.patients:
            own = of_cohort(model, cohort, plan.data)
            value = main_metric(own, plan.data)
            figures |= {f"{name}/{main_name(plan.data)}": value} if math.isfinite(value) else {}
    flag = {ON_TRAINING_PATIENTS: 0.0 if held_out else 1.0}
    return figures | {PATIENTS: float(everyone.patients)} | flag


def of_cohort(model: nn.Module, cohort: Cohort, data: DataSpec) -> Figures:
    """`evaluation_sums.exact` without the figures that can't be measured on these patients.

    They are: the recall of a class that nobody has, AUC and balanced accuracy where all are of one
    class, Dice and HD95 of a region that nobody has. Balanced accuracy is the mean over the classes
    that somebody has, mean Dice that over such regions.
    """
    figures = evaluation_sums.exact(model, cohort, data)
    if data.task == "segmentation":
        return _with_main(_of_regions_there(figures, cohort, data), data)
    absent = {f"recall_{name}" for i, name in enumerate(data.classes) if i not in cohort.labels}
    figures = {k: v for k, v in figures.items() if k not in absent and math.isfinite(v)}
    recalls = [value for key, value in figures.items() if key.startswith("recall_")]
    figures.pop("balanced_accuracy")
    return figures | ({"balanced_accuracy": float(np.mean(recalls))} if len(recalls) > 1 else {})


def _of_regions_there(figures: Figures, cohort: Cohort, data: DataSpec) -> Figures:
    present = np.unique(cohort.labels)
    absent = {
        region.replace("dice", figure, 1)
        for region, classes in segmentation.regions(data).items()
        if not np.isin(present, classes).any()
        for figure in ("dice", "hd95", "hd95_uncut")
    }
    return {name: value for name, value in figures.items() if name not in absent}


def _noise_errors(model: nn.Module, cohort: Cohort, plan: Plan, *, hospitals: int) -> Figures:
    """How far each figure strays when every hospital noises its sums, by simulation."""
    if plan.evaluation is None:
        return {}
    sums = evaluation_sums.patient_sums(model, cohort, plan.data)
    scale = noise_errors.count_noise_std(
        plan.data, noise_multiplier=plan.evaluation.noise_multiplier, hospitals=hospitals
    )
    errors = noise_errors.noise_errors(sums, plan.data, noise_std=scale)
    return {f"{NOISE_ERROR}{name}": error for name, error in errors.items()}


def _sampling_error(figures: Figures, cohort: Cohort, data: DataSpec) -> Figures:
    """Of a mean of recalls r over K classes with n patients each: the root of sum r (1 - r) / n, over K.

    A patient with slices of several classes counts in each. For segmentation there is none.
    """
    recalls = {
        number: figures[f"recall_{name}"]
        for number, name in enumerate(data.classes)
        if f"recall_{name}" in figures
    }
    if data.task != "classification" or "balanced_accuracy" not in figures:
        return {}
    patients = {k: len(np.unique(cohort.patient[cohort.labels == k])) for k in recalls}
    variance = sum(recall * (1 - recall) / patients[k] for k, recall in recalls.items())
    return {SAMPLING_ERROR: math.sqrt(variance) / len(recalls)}


def _with_main(figures: Figures, data: DataSpec) -> Figures:
    value = main_metric(figures, data)
    return figures | ({main_name(data): value} if math.isfinite(value) else {})


def together(cohorts: Sequence[Cohort]) -> Cohort:
    """One cohort of several, their patients numbered on."""
    before = np.cumsum([0, *(cohort.patients for cohort in cohorts)])
    patient = [c.patient + start for c, start in zip(cohorts, before[:-1], strict=True)]
    images: Images = np.concatenate([c.images for c in cohorts])
    return Cohort(
        images=images,
        labels=np.concatenate([cohort.labels for cohort in cohorts]),
        patient=np.concatenate(patient).astype(np.int32),
        facts=np.concatenate([cohort.facts for cohort in cohorts]),
    )
