"""DP-SGD inside one hospital (Abadi et al. 2016, Algorithm 1), patient by patient.

    cohort ─ 1 sample ─▶ patients ─ 2 gradient, 3 clip ─▶ sum ─ 4 add noise ─▶ 5 descend

The gradient of each patient is taken by a function of that patient's slice alone (`vmap` of
`grad`), so that no patient can ride in another's clipped gradient.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Float64, Integer
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from syft_code import networks
from syft_code.cohort import Cohort
from syft_code.errors import TrainingFailed, require
from syft_code.noise import NoiseSource
from syft_code.plan import DpSgd, Sgd
from syft_code.recipes import Recipe

CHUNK_NUMBERS = 1 << 22
MAX_CHUNK = 64

Weights = dict[str, Tensor]
PatientGradients = Callable[[Weights, Tensor, Tensor], Weights]


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
    correction: NDArray[np.float64] | None = None,
    on_step: Callable[[int], None] | None = None,
) -> NDArray[np.float64]:
    """Train on one hospital's patients for `dp.steps` steps; return weights after minus before.

    The model keeps the new weights. The first `frozen` parameters, whole tensors of them, stay as
    they are: they have no gradient, no part in its norm and no noise, and the update is without
    them. `correction` is added to each noised mean gradient (SCAFFOLD's c - c_i, of the trained
    parameters). `on_step` is called with 1, 2, ... after each step; what it is told does not depend
    on the data. When it is called does: a stopwatch on a step sees how many patients were drawn.

    Guarantee: adding or removing one patient, with all of its slices, changes the input of the
    Gaussian mechanism of each step by at most `dp.max_grad_norm` in L2 over the trained
    parameters, and only with probability `dp.sample_rate`. The steps are so many Poisson-sampled
    Gaussian events of noise multiplier `dp.noise_multiplier`, for any weights, any images and any
    correction that earlier noised results and public numbers give. Momentum, the correction and
    the returned update are post-processing.
    Does not protect: the number of patients, which `declared_patients` makes public; the time
    that a step takes; the weights of the model before the call.
    Source: Abadi et al. 2016, arXiv 1607.00133v2, Algorithm 1, with Poisson sampling and
    division by the expected batch, `dp.sample_rate * declared_patients`.

    Raises:
        TrainingFailed: if the weights are no longer finite.
    """
    require(
        declared_patients >= 1, f"declared_patients must be at least 1, got {declared_patients}."
    )
    before = networks.to_vector(model).astype(np.float64)
    weights = torch.from_numpy(before.copy())
    trained = weights[frozen:]  # a view: what is written here is written in `weights`
    shift = torch.zeros_like(trained) if correction is None else torch.from_numpy(correction)
    require(
        shift.shape == trained.shape,
        f"A correction must have one number for each of the {len(trained)} trained parameters, "
        f"got {len(shift)}.",
        error=TrainingFailed,
    )
    velocity = torch.zeros_like(trained)
    slices = _SlicesOfPatients(cohort)
    noise_std = dp.noise_multiplier * dp.max_grad_norm
    for step in range(1, dp.steps + 1):
        # Algorithm 1, line "take a random sample": Poisson, then one slice of each patient.
        chosen = slices.sample(dp.sample_rate, randomness)
        # Lines "compute gradient" and "clip gradient".
        total = clipped_sum(
            model,
            cohort.images[chosen],
            cohort.labels[chosen],
            recipe=recipe,
            max_grad_norm=dp.max_grad_norm,
            frozen=frozen,
        )
        # Line "add noise", then divide by the expected batch.
        noised = total + noise_std * torch.from_numpy(randomness.normal(len(trained)))
        mean = noised / (dp.sample_rate * declared_patients)
        # Line "descent".
        velocity = optimizer.momentum * velocity + mean
        trained -= optimizer.learning_rate * (velocity + shift)
        _write(model, weights)
        if on_step is not None:
            on_step(step)
    update: NDArray[np.float64] = (weights.numpy() - before)[frozen:]
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
) -> None:
    """Train on all slices with Adam and no noise: a baseline, for data that one may release.

    Guarantee: none. Never let weights from here leave a hospital.
    Source: Kingma & Ba 2015, as torch implements it.
    """
    random = np.random.default_rng(seed)
    adam = torch.optim.Adam(model.parameters(), lr=learning_rate)
    for _ in range(epochs):
        order = random.permutation(len(cohort.images))
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            truth = torch.from_numpy(cohort.labels[batch].astype(np.int64))
            logits = model(networks.inputs(cohort.images[batch]))
            adam.zero_grad()
            networks.loss_per_example(recipe, logits, truth).mean().backward()  # type: ignore[no-untyped-call]
            adam.step()


def clipped_sum(
    model: nn.Module,
    images: NDArray[np.uint8] | NDArray[np.float16],
    labels: NDArray[np.uint8],
    *,
    recipe: Recipe,
    max_grad_norm: float,
    frozen: int = 0,
) -> Float64[Tensor, "P"]:
    """The sum over slices of each slice's loss gradient, clipped to `max_grad_norm` in L2.

    The gradient, its norm and the sum are of all parameters but the first `frozen`. A gradient
    that is not finite counts as zero. Norms, clipping and the sum are in float64.

    Guarantee: adding or removing one slice changes the sum by at most `max_grad_norm` times
    1 + 1e-9 in L2 (float64 rounding).
    """
    fixed, parameters = _divided(model, frozen)
    size = sum(p.numel() for p in parameters.values())
    total = torch.zeros(size, dtype=torch.float64)
    gradients = _patient_gradients(model, recipe, fixed)
    chunk = max(1, min(MAX_CHUNK, CHUNK_NUMBERS // size))
    for start in range(0, len(images), chunk):
        part = slice(start, start + chunk)
        pixels = networks.inputs(images[part]).to(next(iter(parameters.values())).dtype)
        truth = torch.from_numpy(labels[part].astype(np.int64))
        rows = [g.flatten(1) for g in gradients(parameters, pixels, truth).values()]
        total += _clip_and_add(torch.cat(rows, dim=1), max_grad_norm)
    return total


def _clip_and_add(rows: Float[Tensor, "patients P"], max_grad_norm: float) -> Float64[Tensor, "P"]:
    """Scale each row to a norm of at most `max_grad_norm`, leave out what is not finite, add."""
    exact = rows.double()
    norms = torch.linalg.vector_norm(exact, dim=1)
    finite = torch.isfinite(norms)
    factors = torch.where(finite, max_grad_norm / norms.clamp(min=max_grad_norm), 0.0)
    if not bool(finite.all()):
        exact = torch.where(finite.unsqueeze(1), exact, 0.0)  # since 0 times NaN is NaN
    return factors @ exact


def _divided(model: nn.Module, frozen: int) -> tuple[Weights, Weights]:
    """The parameters that stay, which are the first ones, and those that are trained."""
    parts: tuple[Weights, Weights] = ({}, {})
    start = 0
    for name, parameter in model.named_parameters():
        parts[start >= frozen][name] = parameter.detach()
        start += parameter.numel()
    kept = sum(p.numel() for p in parts[0].values())
    require(
        kept == frozen and bool(parts[1]),
        f"The frozen parameters must be whole tensors and not all of them; {frozen} are not.",
        error=TrainingFailed,
    )
    return parts


def _patient_gradients(model: nn.Module, recipe: Recipe, fixed: Weights) -> PatientGradients:
    """The gradient of the loss of one slice, mapped over slices that never meet.

    What is `fixed` takes part in the loss and has no gradient.
    """

    def loss(
        weights: Weights, image: Float[Tensor, "..."], label: Integer[Tensor, "..."]
    ) -> Float[Tensor, ""]:
        logits = functional_call(model, fixed | weights, (image.unsqueeze(0),))
        return networks.loss_per_example(recipe, logits, label.unsqueeze(0)).squeeze(0)

    mapped: PatientGradients = vmap(grad(loss), in_dims=(None, 0, 0))
    return mapped


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


def _write(model: nn.Module, weights: Float64[Tensor, "P"]) -> None:
    require(
        bool(torch.isfinite(weights.float()).all()),
        "Training must keep the weights finite; they ran away. Lower the learning rate.",
        error=TrainingFailed,
    )
    networks.from_vector(model, weights.numpy())
