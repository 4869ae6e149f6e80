"""DP-SGD inside one hospital (Abadi et al. 2016, Algorithm 1), patient by patient.

    cohort ─ 1 sample ─▶ patients ─ 2 gradient, 3 clip ─▶ sum ─ 4 add noise ─▶ 5 descend

    1, 4, 5 here     2, 3 `per_sample_gradients`, or Opacus if the plan says so: `opacus_gradients`
    what the network is given of a patient: `batches`    a clip norm that adapts: `adaptive_clip`
    FedProx and EWC: `proximal`, added after 4

A hospital's slices go through in chunks of a few, which stay in the processor's cache.
"""

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from numpy.typing import NDArray
from torch import Tensor, nn

from syft_code.arrays import Vector
from syft_code.cohort import Cohort
from syft_code.errors import TrainingFailed, require
from syft_code.learning import ranks
from syft_code.learning.adaptive_clip import ClipNorm
from syft_code.learning.batches import Batches, Task
from syft_code.learning.distillation import Teacher
from syft_code.learning.gradient_factors import Clipped, PatientGradients
from syft_code.learning.per_sample_gradients import WatchedGradients
from syft_code.learning.proximal import ProximalTerm
from syft_code.learning.ranks import ClippedSums, Drawn, Group
from syft_code.models import networks
from syft_code.models.compute import HERE, Compute
from syft_code.plans.plan_parts import Augmentation, DpSgd, Engine, Sgd
from syft_code.plans.shared_noise import PATIENTS_FACTOR, NoiseGrid
from syft_code.privacy.noise import NoiseSource
from syft_code.recipes import architectures
from syft_code.recipes.recipe import Recipe

CHUNK_NUMBERS = 1 << 24
"""Of gradients written down at a time, at most: 64 MB."""
CHUNK_INPUTS = 1 << 18
"""Of numbers in the slices at a time: their activations stay near the processor."""
CHUNK_ACTIVATIONS = 1 << 26
"""Of numbers that the layers make of them, at most: 256 MB."""
MAX_CHUNK = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingRun:
    """All that is public about one hospital's training in one round.

    The first `frozen` parameters, whole layers of them, stay as they are: they have no gradient, no
    part in its norm and no noise, and the update is without them. `correction` is SCAFFOLD's
    c - c_i, `proximal` the pull of FedProx and EWC, both of the trained parameters. `clip_moved` is
    how far an adaptive clip norm has moved in earlier rounds (`adaptive_clip.ClipNorm.moved`). With a
    `grid` the hospital adds its part of a shared noise.
    """

    recipe: Recipe
    dp: DpSgd
    optimizer: Sgd
    declared_patients: int
    frozen: int = 0
    correction: Vector | None = None
    proximal: ProximalTerm | None = None
    augmentation: Augmentation | None = None
    teacher: Teacher | None = None
    clip_moved: float = 0.0
    grid: NoiseGrid | None = None

    def __post_init__(self) -> None:
        require(
            self.declared_patients >= 1,
            f"declared_patients must be at least 1, got {self.declared_patients}.",
        )

    @property
    def task(self) -> Task:
        """What is to be learned of each slice."""
        return Task(recipe=self.recipe, augmentation=self.augmentation, teacher=self.teacher)


class Trained(NamedTuple):
    """What a training gives: weights after minus before, and how far the clip norm has moved."""

    update: Vector
    clip_moved: float


def train(
    model: nn.Module,
    cohort: Cohort,
    run: TrainingRun,
    *,
    randomness: NoiseSource,
    on_step: Callable[[int], None] | None = None,
    group: Group | None = None,
    compute: Compute = HERE,
) -> Trained:
    """Train on one hospital's patients for `run.dp.steps` steps; the model keeps the new weights.

    With a `group` of processes, each of which calls this with the same, a batch's patients are
    split between them (`ranks`); the first one draws, adds noise and returns the update, the others
    return zeros.

    A patient's gradient is the mean over the views (`augmentation`) of `dp.slices` of its slices, of a
    loss that a `teacher` may have a term in. Each noised mean gradient g becomes g + the proximal term +
    the correction; momentum is of g + the proximal term. `on_step` is called with 1, 2, ... after
    each step; its argument does not depend on the data. When it is called does: a stopwatch on a
    step sees how many patients were drawn. `compute` says where the gradients are computed and in what
    numbers; the model is moved there. Noise is drawn and added on the processor.

    Guarantee: adding or removing one patient, with all of its slices, changes the input of the
    Gaussian mechanism of each step by at most the clip norm in L2 over the trained parameters, and
    only with probability `dp.sample_rate`. The steps are so many Poisson-sampled Gaussian events of
    noise multiplier `dp.noise_multiplier`, with or without an adaptive clip norm, for any engine,
    any weights, any images, and any correction, proximal term and teacher that earlier noised
    results and public numbers give. Momentum, proximal term, correction and the returned update are
    post-processing. Views are drawn from `randomness`, apart from the data. With a `grid` the noise
    is this hospital's part alone, and the update times `grid.steps_of_one` is whole numbers: one step
    of a sum that has all of the noise (docs/privacy.md); the model keeps its weights.
    Does not protect: the number of patients, which `declared_patients` makes public; the time
    that a step takes; the weights of the model before the call.
    Source: Abadi et al. 2016, arXiv 1607.00133v2, Algorithm 1, with Poisson sampling and
    division by the expected batch, `dp.sample_rate * declared_patients`. De et al. 2022, arXiv
    2204.13650, for views.

    Raises:
        TrainingFailed: if the weights are no longer finite, or something does not fit them.
    """
    model.to(compute.device)
    descent = _Descent(model, run)
    patients = _SlicesOfPatients(cohort)
    own = _Gradients(
        model,
        cohort,
        run.task,
        frozen=run.frozen,
        randomness=randomness,
        engine=run.dp.engine,
        compute=compute,
        slices=run.dp.slices,
    )
    if group is None:
        return _descend(descent, patients, own, run, randomness, on_step)
    if not ranks.leads(group):
        ranks.follow(own, model, group)
        return Trained(update=descent.update(), clip_moved=0.0)
    leading = ranks.LeadingRank(own, model, group)
    try:
        return _descend(descent, patients, leading, run, randomness, on_step)
    finally:
        leading.end()


def _descend(
    descent: "_Descent",
    patients: "_SlicesOfPatients",
    gradients: ClippedSums,
    run: TrainingRun,
    randomness: NoiseSource,
    on_step: Callable[[int], None] | None,
) -> Trained:
    """Algorithm 1, step by step."""
    clip = ClipNorm.first(run.dp, moved=run.clip_moved)
    expected = run.dp.sample_rate * run.declared_patients
    for step in range(1, run.dp.steps + 1):
        # 1 Take a random sample: Poisson, then slices of each patient.
        sample = patients.sample(run.dp.sample_rate, randomness, slices=run.dp.slices)
        # 2, 3 Compute the gradient of each patient, clip it. An empty sample gives zeros.
        total, unclipped = gradients.clipped_sum(sample, clip.norm)
        if run.grid is not None:
            update = _part_of_a_sum(total.numpy(), run, run.grid, randomness)
            if on_step is not None:
                on_step(step)
            return Trained(update=update, clip_moved=0.0)
        # 4 Add noise, even to an empty sample's zeros, then divide by the expected batch.
        gradient = randomness.add_noise(total.numpy(), std=clip.noise_std)
        gradient /= expected
        if run.dp.adaptive is not None:
            centred = np.array([unclipped - len(sample) / 2.0])
            count = randomness.add_noise(centred, std=run.dp.adaptive.count_noise_multiplier)
            clip.follow(float(count[0]), expected=expected)
        # 5 Descend.
        descent.step(gradient)
        if on_step is not None:
            on_step(step)
    return Trained(update=descent.update(), clip_moved=clip.moved)


def _part_of_a_sum(
    total: Vector, run: TrainingRun, grid: NoiseGrid, randomness: NoiseSource
) -> Vector:
    """Steps 4 and 5 where the noise is shared: whole steps of the fixed point, and back.

    A sum is cut first to what so many patients can come to: a projection, which brings neighbours no
    further apart, so that no number is ever too large for the ring (`NoiseGrid.check`).
    """
    most = PATIENTS_FACTOR * run.declared_patients * run.dp.max_grad_norm
    exact = np.clip(total, -most, most) * float(grid.scale)
    update = randomness.add_discrete_noise(exact, variance=grid.variance)
    update /= -grid.steps_of_one(run.declared_patients)
    return update


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
    engine: Engine = "consilium",
    compute: Compute = HERE,
) -> Float64[Tensor, "P"]:
    """The sum over all slices of each slice's gradient, clipped to `max_grad_norm` in L2.

    The gradient, its norm and the sum are of all parameters but the first `frozen`. A gradient
    that is not finite counts as zero.

    Guarantee: adding or removing one slice changes the sum by at most `max_grad_norm` in L2, and
        what float32 rounds: together less than 1.0001 times.
    """
    task = Task(recipe=recipe, augmentation=augmentation, teacher=teacher)
    model.to(compute.device)
    gradients = _Gradients(
        model, cohort, task, frozen=frozen, randomness=randomness, engine=engine, compute=compute
    )
    return gradients.clipped_sum(np.arange(len(cohort.images))[:, None], max_grad_norm).total


def _patient_gradients(
    engine: Engine, network: nn.Module, *, frozen: int, compute: Compute
) -> PatientGradients:
    """A plan's engine. Opacus takes seconds to import: only a plan that names it pays for them."""
    if engine == "consilium":
        return WatchedGradients(network, frozen=frozen, compute=compute)
    require(
        compute == HERE,
        "Opacus must compute on the processor in float32, and was given another device or precision: "
        'use the engine "consilium" for those.',
        error=TrainingFailed,
    )
    module = importlib.import_module("syft_code.learning.opacus_gradients")
    opacus: PatientGradients = module.OpacusGradients(network, frozen=frozen)
    return opacus


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
        engine: Engine,
        compute: Compute,
        slices: int = 1,
    ) -> None:
        prefix, rest = networks.split_prefix(model, frozen)
        before = 0 if prefix is None else sum(p.numel() for p in prefix.parameters())
        self._patients = _patient_gradients(engine, rest, frozen=frozen - before, compute=compute)
        self._compute = compute
        self._batches = Batches(
            cohort,
            task,
            prefix=prefix,
            dtype=self._patients.dtype,
            randomness=randomness,
            device=compute.device,
        )
        self._views = slices * task.views
        inputs = self._views * max(1, math.prod(cohort.images.shape[1:]))
        shape = cohort.images.shape[1:]
        made = self._views * architectures.activations(
            task.recipe.model, pixels=shape if shape[0] else (), facts=cohort.facts.shape[1]
        )
        most = min(
            CHUNK_INPUTS // inputs,
            CHUNK_NUMBERS // max(1, self._patients.written),
            CHUNK_ACTIVATIONS // max(1, made),
        )
        self._chunk = max(1, min(MAX_CHUNK, self._patients.at_once // self._views, most))

    def clipped_sum(self, chosen: Drawn, max_grad_norm: float) -> Clipped:
        """Over chunks of about equal size, or of one size, filled up with patients that do not count."""
        count = -(-len(chosen) // self._chunk)
        if self._compute.fixed_chunks and count:
            filled = np.resize(chosen, (count * self._chunk, chosen.shape[1]))
        else:
            filled = chosen
        chunks = np.array_split(filled, count) if count else []
        with self._compute.deterministic():
            return self._patients.clipped_sum(
                (self._batches(chunk.reshape(-1)) for chunk in chunks),
                max_grad_norm=max_grad_norm,
                views=self._views,
                patients=len(chosen),
            )


class _SlicesOfPatients:
    """Which slices belong to which patient, for drawing."""

    def __init__(self, cohort: Cohort) -> None:
        self._by_patient: NDArray[np.int64] = np.argsort(cohort.patient, kind="stable")
        self._counts: NDArray[np.int64] = np.bincount(cohort.patient).astype(np.int64)
        self._first = np.cumsum(self._counts) - self._counts

    def sample(self, sample_rate: float, randomness: NoiseSource, *, slices: int) -> Drawn:
        """Draw each patient with probability `sample_rate`, and `slices` of each, with replacement."""
        drawn = randomness.uniform(len(self._counts)) < sample_rate
        offset = randomness.choice(self._counts[drawn].repeat(slices))
        chosen: Drawn = self._by_patient[self._first[drawn].repeat(slices) + offset]
        return chosen.reshape(-1, slices)


class _Descent:
    """SGD with momentum on noised gradients: step 5, and what is added after the noise."""

    def __init__(self, model: nn.Module, run: TrainingRun) -> None:
        self._run = run
        self._before = networks.to_vector(model)
        self._weights = self._before.astype(np.float64)
        self._trained = self._weights[run.frozen :]  # a view: a change here is one of `_weights`
        self._velocity = np.zeros_like(self._trained if run.optimizer.momentum else [])
        self._parameters = _Parameters(model, self._weights)
        self._check_lengths()

    def update(self) -> Vector:
        """The trained parameters after minus before; no step comes after it."""
        self._trained -= self._before[self._run.frozen :]
        return self._trained

    def step(self, gradient: Vector) -> None:
        """One step on a noised mean gradient, which is overwritten."""
        run = self._run
        if run.proximal is not None:
            gradient += run.proximal.gradient(self._trained)
        if run.optimizer.momentum:
            self._velocity *= run.optimizer.momentum
            self._velocity += gradient
            gradient[:] = self._velocity
        # The correction stays out of the momentum: SCAFFOLD's line 10 adds it to each step anew.
        if run.correction is not None:
            gradient += run.correction
        gradient *= run.optimizer.learning_rate
        self._trained -= gradient
        self._parameters.write()

    def _check_lengths(self) -> None:
        target = None if self._run.proximal is None else self._run.proximal.target
        parts = (("correction", self._run.correction), ("proximal term's target", target))
        for what, vector in parts:
            require(
                vector is None or vector.shape == self._trained.shape,
                f"A {what} must have one number for each of the {len(self._trained)} trained "
                f"parameters, got {0 if vector is None else len(vector)}.",
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
