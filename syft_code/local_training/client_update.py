"""What a hospital makes of a round's noised update: what it shares, and what it keeps.

    update of the trained part ─┬─ local normalisation ───────────────────────────▶ kept
                                └─ the rest ─ norm bound ─ compression, SCAFFOLD ─▶ values to share
                                                ▲ what the last round kept ─▶ what this one keeps
    clip norm, if it adapts ──────────────────────────────────────────────────────▶ kept

With error feedback a hospital keeps the residual, with SCAFFOLD its own control variate, both of
the shared part; with local normalisation how far its own scales and shifts have moved from the
start, with an adaptive clip norm how far that has. Other plans keep nothing. All of it is one
vector of float64, in this order.

Guarantee: nothing but the noised update, public numbers and what earlier noised updates left goes
    in, so what is shared and what is kept are post-processing.
"""

from dataclasses import dataclass

import numpy as np

from syft_code.arrays import Vector
from syft_code.local_training import control_variates
from syft_code.plans.algorithms import Scaffold
from syft_code.plans.plan import Plan
from syft_code.secret_sharing import compression, robust
from syft_code.secret_sharing.vector_layout import VectorLayout


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientUpdate:
    """What one round of training shares, and what the hospital keeps for the next one.

    `kept` is None if the plan keeps nothing.
    """

    values: Vector
    kept: Vector | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kept:
    """The parts of what a hospital keeps; a part that the plan does not have is empty.

    `memory` is of the shared parameters: SCAFFOLD's c_i, or what did not travel. `norms` is how far
    the hospital's own scales and shifts lie from those that the researcher sends. `clip` is how far
    its clip norm has moved (`adaptive_clip.ClipNorm.moved`).
    """

    memory: Vector
    norms: Vector
    clip: Vector


def from_result(
    plan: Plan, hospital: str, round_number: int, result: Vector, *, common: Vector, kept: Vector
) -> ClientUpdate:
    """Divide, bound, compress or correct what `local_round.train` gave: a noised update.

    `common` is the researcher's control variate (SCAFFOLD), `kept` what the last round left; each
    is empty where the plan has none. All of it is post-processing of the update.

    Does not protect: with error feedback, `max_update_norm` bounds each round's update, and a
    round's values hold what earlier rounds kept back too; all rounds so far share at most so many
    times the bound, and what rounding adds.
    """
    layout = VectorLayout.of(plan)
    before = divided(plan, kept)
    update, clip = np.split(result, [layout.trained_count])
    own = layout.shared
    norms = before.norms if own is None else before.norms + update[~own]
    shared = update if own is None else update[own]
    if plan.max_update_norm is not None:
        shared = robust.clip_update(shared, plan.max_update_norm)
    values, memory = _shared(
        plan, hospital, round_number, shared, common=common, memory=before.memory
    )
    after = np.concatenate([memory, norms, clip]) if layout.kept_length("train") else None
    return ClientUpdate(values=values, kept=after)


def _shared(
    plan: Plan, hospital: str, round_number: int, update: Vector, *, common: Vector, memory: Vector
) -> tuple[Vector, Vector]:
    """What travels of the shared part, and what is remembered of it."""
    if isinstance(plan.algorithm, Scaffold):
        change = control_variates.change(
            update,
            common,
            steps=plan.dp_sgd.steps,
            learning_rate=plan.optimizer.learning_rate,
        )
        return np.concatenate([update, change]), memory + change
    if VectorLayout.of(plan).error_feedback:
        return compression.keep_back(plan, hospital, round_number, update + memory)
    return compression.pick(plan, round_number, update), memory


def divided(plan: Plan, kept: Vector) -> Kept:
    """The parts of what a hospital keeps."""
    memory, norms, clip = np.split(kept, np.cumsum(VectorLayout.of(plan).kept)[:-1])
    return Kept(memory=memory, norms=norms, clip=clip)
