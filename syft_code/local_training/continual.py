"""How much an earlier task depends on each weight: the importance F that EWC's penalty needs.

    public or stand-in slices, the earlier model ─ fisher ─▶ F
    the rounds' models that an earlier study released ─ importance_of_rounds ─▶ F

A researcher works it out and names it in the plan of the next study (`algorithms.Ewc`). Neither way
touches a patient again: the one sees public data, the other what was noised and released.

Source: Kirkpatrick et al. 2017, "Overcoming catastrophic forgetting in neural networks",
arXiv 1612.00796, equation 3.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from syft_code.arrays import Weights
from syft_code.cohort import Cohort
from syft_code.errors import InvalidInput, require
from syft_code.models import networks
from syft_code.plans.algorithms import FedAvg
from syft_code.plans.plan import Plan
from syft_code.recipes.recipe import DataSpec, Recipe
from syft_code.secret_sharing.vector_layout import VectorLayout


def fisher(
    recipe: Recipe, data: DataSpec, weights: Weights, cohort: Cohort, *, seed: int
) -> Weights:
    """The diagonal of the Fisher information of a model, over slices that anybody may see.

        F_i = mean over slices x of (d log p(y | x, w) / d w_i)^2,   y drawn from p(. | x, w)

    One label is drawn a slice, of a segmentation one a pixel with the mean of their logarithms.
    Drawn labels give the Fisher information itself; the true ones would give the "empirical" one,
    which differs far from the optimum (Kunstner et al. 2019, arXiv 1905.12558).

    Guarantee: none. Only for public, mock or stand-in data, never for a hospital's.
    """
    network = networks.build(recipe, data, weights)
    random = np.random.default_rng(seed)
    total = np.zeros(len(weights))
    for number in range(len(cohort.images)):
        single = slice(number, number + 1)
        logits = network(*networks.inputs(cohort.images[single], cohort.facts[single]))
        network.zero_grad()
        functional.cross_entropy(logits, _drawn(logits, random)).backward()  # type: ignore[no-untyped-call]
        gradients = [_gradient(p).reshape(-1) for p in network.parameters()]
        total += torch.cat(gradients).double().numpy() ** 2
    return (total / max(1, len(cohort.images))).astype(np.float32)


def importance_of_rounds(plan: Plan, models: Sequence[Weights]) -> Weights:
    """An importance from the models that a study released, its start and then one a round.

        g_r = (w_(r-1) - w_r) / (lr K),   F = max(0, mean over rounds of g_r^2 - s^2)
        s^2 = hospitals (sigma C)^2 / (K (q N)^2)

    g_r is the mean of a round's noised gradients and s^2 the variance that the noise gives each of
    its coordinates, if all hospitals took part; N is the roster's patients. It is post-processing
    of what was released, so it costs nothing.

    Does not protect: what the earlier task knows as well as `fisher` does. It is the square of a
    mean gradient instead of the mean of squares, is small near an optimum, and is 0 where noise
    hides the gradient. Hospitals that were away in a round make the noise larger than s^2.

    Raises:
        InvalidInput: if the study's rounds are not plain steps, so that updates are no gradients.
    """
    layout = VectorLayout.of(plan)
    plain = isinstance(plan.algorithm, FedAvg) and plan.optimizer.momentum == 0
    whole = layout.sent_count == layout.trained_count
    dp, rate = plan.dp_sgd, plan.optimizer.learning_rate
    exact = plan.continual is None and plan.averaging is None and dp.adaptive is None
    require(
        plain and whole and exact and plan.robust is None and len(models) >= 2,
        "An importance follows from rounds of FedAvg without momentum, compression, robust rules, "
        "averaging or an adaptive clip norm, and from at least two models: use `fisher` on public "
        "data instead.",
        error=InvalidInput,
    )
    rounds = np.diff(np.stack(models).astype(np.float64), axis=0) / (rate * dp.steps)
    patients = sum(hospital.patients for hospital in plan.hospitals)
    deviation = dp.noise_multiplier * dp.max_grad_norm / (dp.sample_rate * patients)
    noise = len(plan.hospitals) * deviation**2 / dp.steps
    importance: Weights = np.maximum(0.0, (rounds**2).mean(axis=0) - noise).astype(np.float32)
    importance[: layout.trained.start] = 0.0
    return importance


def _drawn(logits: Tensor, random: np.random.Generator) -> Tensor:
    """Labels from the network's own probabilities, along dimension 1."""
    with torch.no_grad():
        shares = logits.softmax(1).cumsum(1).numpy()
    threshold = random.random((1, 1, *shares.shape[2:]))
    drawn = (shares < threshold * shares[:, -1:]).sum(axis=1)
    return torch.from_numpy(drawn)


def _gradient(parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
