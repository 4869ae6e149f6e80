"""One patient made to be seen, and what an adversary makes of the updates that leave with and without.

    plan ─▶ canary: a loud record ─▶ its gradient's direction ─┐
    local training, without and with it, round for round ─▶ updates ─ onto the direction ─▶ observations

The adversary is the one that differential privacy allows for: it knows the canary, everybody else, the
plan and all that it sends, and chooses the start weights and a learning rate so small that the canary's
gradient is the same in each step. Each update then holds the canary's clipped gradient as often as it
was drawn, and noise.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import binom

from federation.evaluation.exact_metrics import together
from syft_code.arrays import Vector, Weights
from syft_code.cohort import Cohort
from syft_code.learning import dp_sgd
from syft_code.learning.adaptive_clip import ClipNorm
from syft_code.local_training import local_round, round_time
from syft_code.models import networks
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import DpSgd, Sgd
from syft_code.privacy.noise import NoiseSource
from syft_code.recipes.recipe import DataSpec
from syft_code.secret_sharing.vector_layout import VectorLayout

LEARNING_RATE = 1e-6
LOUD, QUIET = 10.0, 1.0
OTHERS = 2
"""Patients who are there in any case, where each is in each sample: else who was drawn blurs the view."""
UNCLIPPED = 1e9

Observations = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probe:
    """A plan, the two cohorts, and how an update is looked at.

    `noise_std` is what the plan promises on an observation, in which the canary counts 1 for each
    step that drew it. `loudness` is the canary's gradient norm before clipping ÷ the clip norm.
    """

    plan: Plan
    sent: Weights
    direction: Vector
    unit: float
    noise_std: float
    loudness: float
    without: Cohort
    present: Cohort

    def observe(self, cohort: Cohort) -> Observations:
        """Train on a cohort for each round of the plan; one number a round."""
        return np.array([self._project(update) for update in updates(self.plan, self.sent, cohort)])

    def _project(self, update: Vector) -> float:
        return float(self.unit * (update[: len(self.direction)] @ self.direction))


def probe(plan: Plan, *, seed: int) -> Probe:
    """Everything about the audit of a plan that does not depend on noise."""
    plan, random = slowed(plan), np.random.default_rng(seed)
    dp, momentum = plan.dp_sgd, plan.optimizer.momentum
    others = people(plan.data, OTHERS if dp.sample_rate == 1 else 0, random, size=QUIET)
    canary = people(plan.data, 1, random, size=LOUD)
    sent = round_time.first_broadcast(plan, "train").joined()
    gradient = dp_sgd.clipped_sum(
        networks.build(plan.recipe, plan.data, local_round.first_weights(plan)),
        canary,
        recipe=plan.recipe,
        max_grad_norm=UNCLIPPED,
        frozen=VectorLayout.of(plan).trained.start,
        engine=dp.engine,
    )
    norm, clipped = float(gradient.norm()), min(float(gradient.norm()), dp.max_grad_norm)
    weights = _weights_of_steps(dp.steps, momentum)
    expected = dp.sample_rate * plan.hospitals[0].patients
    return Probe(
        plan=plan,
        sent=sent,
        direction=gradient.double().numpy() / norm,
        unit=-expected * dp.steps / (LEARNING_RATE * clipped * weights.sum()),
        noise_std=_noise_multiplier(dp)
        * dp.max_grad_norm
        / clipped
        * dp.steps
        * math.sqrt((weights**2).sum())
        / weights.sum(),
        loudness=norm / dp.max_grad_norm,
        without=others,
        present=together([others, canary]),
    )


def slowed(plan: Plan) -> Plan:
    """The same plan with a learning rate at which gradients stay what they are at the start."""
    return replace(
        plan, optimizer=Sgd(learning_rate=LEARNING_RATE, momentum=plan.optimizer.momentum)
    )


def updates(plan: Plan, sent: Weights, cohort: Cohort) -> list[Vector]:
    """What a hospital's training process gives, round for round, each with a source of its own."""
    kept = np.zeros(VectorLayout.of(plan).kept_length("train"))
    return [
        local_round.train(
            plan,
            plan.hospitals[0].name,
            cohort,
            sent=sent,
            kept=kept,
            randomness=NoiseSource.from_os(),
        )
        for _ in range(plan.rounds)
    ]


def likelihoods(probe: Probe, observations: Observations) -> NDArray[np.float64]:
    """How much likelier each run is with the canary, if the noise is what the plan promises."""
    dp, x = probe.plan.dp_sgd, observations[..., None]
    drawn = np.arange(dp.steps + 1)
    ratio = (x * drawn - drawn**2 / 2.0) / probe.noise_std**2
    each = logsumexp(ratio + binom.logpmf(drawn, dp.steps, dp.sample_rate), axis=-1)
    scores: NDArray[np.float64] = each.sum(axis=-1)
    return scores


def spreads(observations: Observations) -> NDArray[np.float64]:
    """How far the rounds of each run lie apart: noise that comes twice leaves nothing but the canary."""
    spread: NDArray[np.float64] = np.ptp(observations, axis=-1)
    return spread


def people(data: DataSpec, count: int, random: np.random.Generator, *, size: float) -> Cohort:
    """Patients of one slice each, all of the first class; `size` is that of their numbers."""
    shape = (count, len(data.channels), data.height_px, data.width_px)
    images: NDArray[np.uint8] | NDArray[np.float16]
    if data.kind in ("ham10000", "images"):
        images = random.integers(0, 256, shape).astype(np.uint8)
    else:
        images = (size * random.standard_normal(shape)).astype(np.float16)
    mapped = (count, *shape[2:]) if data.task == "segmentation" else (count,)
    return Cohort(
        images=images,
        labels=np.zeros(mapped, dtype=np.uint8),
        patient=np.arange(count, dtype=np.int32),
        facts=(size * random.standard_normal((count, len(data.facts)))).astype(np.float32),
    )


def _weights_of_steps(steps: int, momentum: float) -> Vector:
    """How often each step's gradient is in the update: again in each later step, with momentum."""
    later = np.arange(steps, 0, -1)
    weights: Vector = (1.0 - momentum**later) / (1.0 - momentum)
    return weights


def _noise_multiplier(dp: DpSgd) -> float:
    """Of the noise on the gradient, in the first step's clip norm."""
    return ClipNorm.first(dp).noise_std / dp.max_grad_norm
