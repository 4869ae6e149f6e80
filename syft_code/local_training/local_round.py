"""What a hospital computes in a round, apart from where: a vault's training process, or a simulation.

    broadcast, kept ─▶ model ─ cohort, DP-SGD ─▶ update of the trained part ─▶ `client_update`
    broadcast, kept ─▶ model ─ held-out, noise ─▶ noised sums

What the researcher sends (`broadcast`) is public and what the hospital has kept (`client_update`) is
made of earlier noised updates, so whatever follows from the two, FedProx's and EWC's pull, SCAFFOLD's
correction, the teacher of a distillation, is fixed before a patient is drawn.
"""

from collections.abc import Callable

import numpy as np
import torch

from syft_code.arrays import Vector, Weights
from syft_code.cohort import Cohort
from syft_code.errors import TrainingFailed, require
from syft_code.learning import dp_sgd, proximal
from syft_code.learning.distillation import Teacher
from syft_code.learning.dp_sgd import TrainingRun
from syft_code.learning.proximal import ProximalTerm
from syft_code.learning.ranks import Group
from syft_code.local_training import broadcast, client_update, control_variates
from syft_code.local_training.broadcast import Broadcast
from syft_code.metrics import evaluation_sums, scoring
from syft_code.models import networks
from syft_code.models.compute import HERE, Compute
from syft_code.plans.algorithms import Distillation, Ewc, FedProx
from syft_code.plans.plan import Plan
from syft_code.privacy.noise import NoiseSource
from syft_code.secret_sharing.vector_layout import VectorLayout


def train(
    plan: Plan,
    hospital: str,
    cohort: Cohort,
    *,
    sent: Weights,
    kept: Vector,
    randomness: NoiseSource,
    on_step: Callable[[int], None] | None = None,
    group: Group | None = None,
    compute: Compute = HERE,
) -> Vector:
    """One hospital's update of the trained part, its local normalisation's among it.

    Where the clip norm adapts, one number more: how far it has moved since the first round.

    `sent` is a round's broadcast, `kept` what the hospital's last contribution left
    (`VectorLayout.kept_length` zeros before the first). With a `group` of processes, each of which
    calls this with the same, the first one returns the update (`learning.ranks`).

    Guarantee: that of `dp_sgd.train`.
    """
    parts = broadcast.unpack(plan, "train", sent)
    before = client_update.divided(plan, kept)
    run = TrainingRun(
        recipe=plan.recipe,
        dp=plan.dp_sgd,
        optimizer=plan.optimizer,
        declared_patients=plan.hospital(hospital).patients,
        frozen=VectorLayout.of(plan).trained.start,
        correction=_correction(plan, parts, kept),
        proximal=proximal_term(plan, parts, kept),
        augmentation=plan.augmentation,
        teacher=_teacher(plan, parts),
        clip_moved=float(before.clip.sum()),
        grid=plan.noise_grid,
    )
    model = _model(plan, own_weights(plan, parts.weights, kept))
    update, clip_moved = dp_sgd.train(
        model, cohort, run, randomness=randomness, on_step=on_step, group=group, compute=compute
    )
    return update if plan.dp_sgd.adaptive is None else np.append(update, clip_moved)


def evaluate(
    plan: Plan, cohort: Cohort, *, sent: Weights, kept: Vector, randomness: NoiseSource
) -> Vector:
    """One hospital's noised sums over held-out patients, with its own normalisation if it has one.

    Guarantee: the Gaussian mechanism, noise std = the plan's multiplier x `scoring.sensitivity`.
    """
    if plan.evaluation is None:
        raise TrainingFailed("The plan has no evaluation.")
    parts = broadcast.unpack(plan, "evaluate", sent)
    model = _model(plan, own_weights(plan, parts.weights, kept))
    sums = evaluation_sums.patient_sums(model, cohort, plan.data)
    scale = plan.evaluation.noise_multiplier * scoring.sensitivity(plan.data)
    return randomness.add_noise(sums, std=scale)


def proximal_term(plan: Plan, parts: Broadcast, kept: Vector) -> ProximalTerm | None:
    """What draws each step back: to the round's weights (FedProx), to an earlier task's (EWC)."""
    part, terms = VectorLayout.of(plan).trained, []
    if isinstance(plan.algorithm, FedProx):
        target = own_weights(plan, parts.weights, kept)[part].astype(np.float64)
        terms.append(ProximalTerm(strength=plan.algorithm.mu, target=target))
    if isinstance(plan.continual, Ewc):
        strength = plan.continual.strength * parts.importance[part].astype(np.float64)
        terms.append(
            ProximalTerm(strength=strength, target=parts.reference[part].astype(np.float64))
        )
    if len(terms) == 2:
        return proximal.both(*terms)
    return terms[0] if terms else None


def own_weights(plan: Plan, weights: Weights, kept: Vector) -> Weights:
    """A hospital's model: the round's weights, with how far its own normalisation has moved."""
    layout = VectorLayout.of(plan)
    own = layout.shared
    if own is None:
        return weights
    moved = weights.copy()
    moved[layout.trained][~own] += client_update.divided(plan, kept).norms
    return moved


def _correction(plan: Plan, parts: Broadcast, kept: Vector) -> Vector | None:
    """SCAFFOLD's c - c_i of the trained part; local normalisation is not corrected."""
    if not parts.control.size:
        return None
    memory = client_update.divided(plan, kept).memory
    shared = control_variates.correction(parts.control.astype(np.float64), memory)
    own = VectorLayout.of(plan).shared
    if own is None:
        return shared
    everything = np.zeros(len(own))
    everything[own] = shared
    return everything


def _teacher(plan: Plan, parts: Broadcast) -> Teacher | None:
    match plan.continual:
        case Distillation(weight=weight, temperature=temperature):
            model = _model(plan, parts.reference)
            return Teacher(network=model, weight=weight, temperature=temperature)
        case _:
            return None


def _model(plan: Plan, weights: Weights) -> torch.nn.Module:
    return networks.build(plan.recipe, plan.data, weights)


def check_start(plan: Plan, round_number: int, sent: Weights) -> None:
    """Hospital: a study starts from the weights of its plan, and what is not shared stays so.

    Where the plan does not name start weights by their hash they are drawn from the plan's. With
    named ones the vault checks the first round's (`broadcast.check`), and what is frozen is not
    checked again.

    Raises:
        TrainingFailed: if they are others.
    """
    layout = VectorLayout.of(plan)
    if plan.start_sha256:
        return
    part, own = layout.trained, layout.shared
    if round_number > 1 and not part.start and own is None:
        return  # all of them are trained
    same = broadcast.unpack(plan, "train", sent).weights == first_weights(plan)
    if round_number > 1:
        same[part] = same[part] | (True if own is None else own)
    require(
        bool(same.all()),
        "A study must start from the weights that follow from its plan, and leave as they are those "
        "that it does not train; the round's weights differ. Nothing of the round leaves.",
        error=TrainingFailed,
    )


def first_weights(plan: Plan) -> Weights:
    """The weights that every party can draw from a plan's hash."""
    return networks.initial_weights(plan.recipe, plan.data, seed=int(plan.hash[:8], 16))
