"""One patient made to be seen, and what an adversary makes of the updates that leave with and without.

    plan ─▶ canary: a loud record ─▶ its gradient's direction ─┐
    local training, without and with it, round for round ─▶ updates ─ onto the direction ─▶ observations

The adversary is the one that differential privacy allows for: it knows the canary, everybody else, the
plan and all that it sends, and chooses the start weights and a learning rate so small that the canary's
gradient is the same in each step. Each update then holds the canary's clipped gradient as often as it
was drawn, and noise.

Where noise is shared it sees sums of as many hospitals as do not collude (`honest`), by the plan's own
encoding, or one hospital's update, as all others together do. Each round is one step at the weights
sent, so that nothing has to be slowed.
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
from syft_code.plans.plan_parts import Sgd
from syft_code.privacy.noise import NoiseSource
from syft_code.recipes.recipe import DataSpec
from syft_code.secret_sharing import sharing
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

    `summed` hospitals are in what is seen, the audited one among them. `noise_std` is what the plan promises on an observation, in which the canary counts 1 for each
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
    summed: int = 1

    def observe(self, cohort: Cohort) -> Observations:
        """Train on a cohort for each round of the plan; one number a round."""
        seen = updates(self.plan, self.sent, cohort, others=self.without, summed=self.summed)
        return np.array([self._project(update) for update in seen])

    def _project(self, update: Vector) -> float:
        return float(self.unit * (update[: len(self.direction)] @ self.direction))


def probe(plan: Plan, *, seed: int, alone: bool = False) -> Probe:
    """Everything about the audit of a plan that does not depend on noise.

    With `alone` a hospital's own part of a shared noise is all that protects the canary.
    """
    plan, random = slowed(plan), np.random.default_rng(seed)
    dp, summed = plan.dp_sgd, summed_in(plan, alone=alone)
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
    weights = _weights_of_steps(dp.steps, plan.optimizer.momentum)
    divided_by = plan.hospitals[0].patients if plan.shared_noise is None else plan.most_patients
    expected = dp.sample_rate * divided_by
    return Probe(
        plan=plan,
        sent=sent,
        direction=gradient.double().numpy() / norm,
        unit=-expected * dp.steps / (plan.optimizer.learning_rate * clipped * weights.sum()),
        noise_std=_noise_std(plan, summed)
        / clipped
        * dp.steps
        * math.sqrt((weights**2).sum())
        / weights.sum(),
        loudness=norm / dp.max_grad_norm,
        without=others,
        present=together([others, canary]),
        summed=summed,
    )


def summed_in(plan: Plan, *, alone: bool) -> int:
    """How many hospitals' noise is in what an adversary sees: of a shared one that of the honest."""
    grid = plan.noise_grid
    return 1 if grid is None or alone else grid.honest


def slowed(plan: Plan) -> Plan:
    """The same plan with a learning rate at which gradients stay what they are at the start."""
    if plan.shared_noise is not None:
        return plan
    return replace(
        plan, optimizer=Sgd(learning_rate=LEARNING_RATE, momentum=plan.optimizer.momentum)
    )


def updates(
    plan: Plan, sent: Weights, cohort: Cohort, *, others: Cohort, summed: int
) -> list[Vector]:
    """What is seen, round for round: an update, or where noise is shared a sum over `summed` hospitals.

    Each update has a source of its own; the other hospitals of a sum hold `others`.
    """
    first, *more = (hospital.name for hospital in plan.hospitals[:summed])
    if plan.shared_noise is None:
        return [_update(plan, first, sent, cohort) for _ in range(plan.rounds)]
    held = [(first, cohort), *((name, others) for name in more)]
    return [
        sharing.decode(
            sharing.unshard(
                [_encoded(plan, name, _update(plan, name, sent, of)) for name, of in held]
            ),
            plan.sharing,
        )
        for _ in range(plan.rounds)
    ]


def _update(plan: Plan, hospital: str, sent: Weights, cohort: Cohort) -> Vector:
    kept = np.zeros(VectorLayout.of(plan).kept_length("train"))
    return local_round.train(
        plan, hospital, cohort, sent=sent, kept=kept, randomness=NoiseSource.from_os()
    )


def _encoded(plan: Plan, hospital: str, update: Vector) -> sharing.Ring:
    return sharing.encode(
        update,
        plan.sharing,
        hospitals=len(plan.hospitals),
        factor=plan.hospital(hospital).patients / plan.most_patients,
    )


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


def _noise_std(plan: Plan, summed: int) -> float:
    """Of the noise on a sum of gradients that the plan promises, in its first step."""
    grid = plan.noise_grid
    if grid is None:
        return ClipNorm.first(plan.dp_sgd).noise_std
    return math.sqrt(summed * grid.variance) / float(grid.scale)
