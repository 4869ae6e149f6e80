"""DP-SGD inside one hospital (Abadi et al. 2016, Algorithm 1), patient by patient.

    cohort ─ 1 sample ─▶ patients ─ 2 gradient, 3 clip ─▶ sum ─ 4 add noise ─▶ 5 descend

    1, 4, 5 here        2, 3 `per_sample`        what the network is given of a patient: `batches`
    a clip norm that adapts: `adaptive_clip`     FedProx and EWC: `proximal`, added after 4

A hospital's slices go through in chunks of a few, which stay in the processor's cache.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from syft_code.cohort import Cohort
from syft_code.errors import TrainingFailed, require
from syft_code.learning.adaptive_clip import ClipNorm
from syft_code.learning.batches import Batches, Task
from syft_code.learning.distillation import Teacher
from syft_code.learning.per_sample_gradients import Clipped, PatientGradients
from syft_code.learning.proximal import ProximalTerm
from syft_code.models import networks
from syft_code.plans.plan_parts import Augmentation, DpSgd, Sgd
from syft_code.privacy.noise import NoiseSource
from syft_code.recipes.recipe import Recipe

CHUNK_NUMBERS = 1 << 24
"""Of gradients written down at a time, at most: 64 MB."""
CHUNK_INPUTS = 1 << 18
"""Of numbers in the slices at a time: their activations stay near the processor."""
MAX_CHUNK = 256

Vector = NDArray[np.float64]


def train(
    model: nn.Module,
    cohort: Cohort,
    *,
    recipe: Recipe,
    dp: DpSgd,
    optimizer: Sgd,
    declared_patients: int,
    randomness: NoiseSource,
    frozen: int = 0,
    correction: Vector | None = None,
    pull: ProximalTerm | None = None,
    augmentation: Augmentation | None = None,
    teacher: Teacher | None = None,
    clip: ClipNorm | None = None,
    on_step: Callable[[int], None] | None = None,
) -> Vector:
    """Train on one hospital's patients for `dp.steps` steps; return weights after minus before.

    The model keeps the new weights. The first `frozen` parameters, whole layers of them, stay as
    they are: they have no gradient, no part in its norm and no noise, and the update is without
    them. What follows concerns the trained parameters.

    A patient's gradient is the mean over the views of one of its slices (`augmentation`), of a loss
    that a `teacher` may have a term in. Each noised mean gradient g becomes g + pull + `correction`
    (SCAFFOLD's c - c_i); momentum is of g + pull. A `clip` norm that an earlier round left goes on
    from there, and is left where this one ends. `on_step` is called with 1, 2, ... after each
    step; what it is told does not depend on the data. When it is called does: a stopwatch on a step
    sees how many patients were drawn.

    Guarantee: adding or removing one patient, with all of its slices, changes the input of the
    Gaussian mechanism of each step by at most the clip norm in L2 over the trained parameters, and
    only with probability `dp.sample_rate`. The steps are so many Poisson-sampled Gaussian events of
    noise multiplier `dp.noise_multiplier`, with or without an adaptive clip norm, for any weights,
    any images, and any correction, pull and teacher that earlier noised results and public
    numbers give. Momentum, pull, correction and the returned update are post-processing. Views
    are drawn from `randomness`, apart from the data.
    Does not protect: the number of patients, which `declared_patients` makes public; the time
    that a step takes; the weights of the model before the call.
    Source: Abadi et al. 2016, arXiv 1607.00133v2, Algorithm 1, with Poisson sampling and
    division by the expected batch, `dp.sample_rate * declared_patients`. De et al. 2022, arXiv
    2204.13650, for views.

    Raises:
        TrainingFailed: if the weights are no longer finite, or something does not fit them.
    """
    require(
        declared_patients >= 1, f"declared_patients must be at least 1, got {declared_patients}."
    )
    before = networks.to_vector(model).astype(np.float64)
    weights = before.copy()
    trained = weights[frozen:]  # a view: what is written here is written in `weights`
    _check_lengths(trained, correction, pull)
    velocity = np.zeros_like(trained)
    parameters = _Parameters(model, weights)
    slices = _SlicesOfPatients(cohort)
    task = Task(recipe=recipe, augmentation=augmentation, teacher=teacher)
    gradients = _Gradients(model, cohort, task, frozen=frozen, randomness=randomness)
    clip, expected = clip or ClipNorm.first(dp), dp.sample_rate * declared_patients
    for step in range(1, dp.steps + 1):
        # Algorithm 1, line "take a random sample": Poisson, then one slice of each patient.
        chosen = slices.sample(dp.sample_rate, randomness)
        # Lines "compute gradient" and "clip gradient".
        total, unclipped = gradients.clipped_sum(chosen, clip.norm)
        # Line "add noise", then divide by the expected batch.
        gradient = randomness.normal(len(trained))
        gradient *= clip.noise_std
        gradient += total.numpy()
        gradient /= expected
        if dp.adaptive is not None:
            noise = float(randomness.normal(1)[0])
            clip.follow(drawn=len(chosen), unclipped=unclipped, noise=noise, expected=expected)
        if pull is not None:
            gradient += pull.gradient(trained)
        # Line "descent".
        velocity *= optimizer.momentum
        velocity += gradient
        trained -= optimizer.learning_rate * (
            velocity if correction is None else velocity + correction
        )
        parameters.write()
        if on_step is not None:
            on_step(step)
    update: Vector = (weights - before)[frozen:]
    return update


def train_without_privacy(
    model: nn.Module,
    cohort: Cohort,
    *,
    recipe: Recipe,
    learning_rate: float,
    epochs: int,
    batch_size: int,
    seed: int,
    balanced: bool = False,
) -> None:
    """Train on all slices with Adam and no noise: a baseline, for data that one may release.

    With `balanced` each class counts the same, however many slices it has, times the weights of
    the recipe's loss (classification).

    Guarantee: none. Never let weights from here leave a hospital.
    Source: Kingma & Ba 2015, as torch implements it.
    """
    random = np.random.default_rng(seed)
    adam = torch.optim.Adam(model.parameters(), lr=learning_rate)
    share = _share_of_each_slice(cohort, balanced)
    prefix, rest = networks.split_prefix(model, 0)
    dtype = next(model.parameters()).dtype
    batches = Batches(cohort, Task(recipe=recipe), prefix=prefix, dtype=dtype, randomness=None)
    for _ in range(epochs):
        order = random.permutation(len(cohort.images))
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            inputs, losses = batches(batch)
            adam.zero_grad()
            (losses(rest(*inputs)) * share[batch]).mean().backward()  # type: ignore[no-untyped-call]
            adam.step()


def _share_of_each_slice(cohort: Cohort, balanced: bool) -> Tensor:
    if not balanced or cohort.labels.ndim > 1:
        return torch.ones(len(cohort.images))
    labels = torch.from_numpy(cohort.labels.astype(np.int64))
    slices = functional.one_hot(labels).sum(0)
    return len(labels) / (int((slices > 0).sum()) * slices[labels])


def clipped_sum(
    model: nn.Module,
    cohort: Cohort,
    *,
    recipe: Recipe,
    max_grad_norm: float,
    frozen: int = 0,
    augmentation: Augmentation | None = None,
    teacher: Teacher | None = None,
    randomness: NoiseSource | None = None,
) -> Float64[Tensor, "P"]:
    """The sum over all slices of each slice's gradient, clipped to `max_grad_norm` in L2.

    The gradient, its norm and the sum are of all parameters but the first `frozen`. A gradient
    that is not finite counts as zero.

    Guarantee: adding or removing one slice changes the sum by at most `max_grad_norm` in L2, and
        what float32 rounds (`per_sample`): together less than 1.0001 times.
    """
    task = Task(recipe=recipe, augmentation=augmentation, teacher=teacher)
    gradients = _Gradients(model, cohort, task, frozen=frozen, randomness=randomness)
    return gradients.clipped_sum(np.arange(len(cohort.images)), max_grad_norm).total


class _Gradients:
    """Clipped gradients of one cohort for a model, which may be given new weights in between."""

    def __init__(
        self,
        model: nn.Module,
        cohort: Cohort,
        task: Task,
        *,
        frozen: int,
        randomness: NoiseSource | None,
    ) -> None:
        prefix, rest = networks.split_prefix(model, frozen)
        before = 0 if prefix is None else sum(p.numel() for p in prefix.parameters())
        self._patients = PatientGradients(rest, frozen=frozen - before)
        self._batches = Batches(
            cohort, task, prefix=prefix, dtype=self._patients.dtype, randomness=randomness
        )
        self._views = task.views
        inputs = task.views * max(1, math.prod(cohort.images.shape[1:]))
        most = min(CHUNK_INPUTS // inputs, CHUNK_NUMBERS // max(1, self._patients.written))
        self._chunk = max(1, min(MAX_CHUNK, self._patients.at_once // task.views, most))

    def clipped_sum(self, chosen: NDArray[np.int64], max_grad_norm: float) -> Clipped:
        """Over chunks of about equal size."""
        chunks = np.array_split(chosen, -(-len(chosen) // self._chunk)) if len(chosen) else []
        return self._patients.clipped_sum(
            map(self._batches, chunks), max_grad_norm=max_grad_norm, views=self._views
        )


class _SlicesOfPatients:
    """Which slices belong to which patient, for drawing."""

    def __init__(self, cohort: Cohort) -> None:
        self._by_patient: NDArray[np.int64] = np.argsort(cohort.patient, kind="stable")
        self._counts: NDArray[np.int64] = np.bincount(cohort.patient).astype(np.int64)
        self._first = np.cumsum(self._counts) - self._counts

    def sample(self, sample_rate: float, randomness: NoiseSource) -> NDArray[np.int64]:
        """Draw each patient with probability `sample_rate`, and one slice of each drawn one."""
        drawn = randomness.uniform(len(self._counts)) < sample_rate
        offset = randomness.choice(self._counts[drawn])
        chosen: NDArray[np.int64] = self._by_patient[self._first[drawn] + offset]
        return chosen


def _check_lengths(trained: Vector, correction: Vector | None, pull: ProximalTerm | None) -> None:
    target = None if pull is None else pull.target
    for what, vector in (("correction", correction), ("pull's target", target)):
        require(
            vector is None or vector.shape == trained.shape,
            f"A {what} must have one number for each of the {len(trained)} trained parameters, "
            f"got {0 if vector is None else len(vector)}.",
            error=TrainingFailed,
        )


class _Parameters:
    """The parameters of a model, and the float64 vector that they are rounded from."""

    def __init__(self, model: nn.Module, weights: Vector) -> None:
        self._weights = weights
        self._parameters = list(model.parameters())
        parts = torch.split(torch.from_numpy(weights), [p.numel() for p in self._parameters])
        self._parts = [v.view_as(p) for v, p in zip(parts, self._parameters, strict=True)]

    @torch.no_grad()
    def write(self) -> None:
        """Give the model what the vector holds now."""
        largest = np.finfo(np.float32).max
        require(
            bool(self._weights.max() <= largest and self._weights.min() >= -largest),
            "Training must keep the weights finite; they ran away. Lower the learning rate.",
            error=TrainingFailed,
        )
        for parameter, part in zip(self._parameters, self._parts, strict=True):
            parameter.copy_(part)
