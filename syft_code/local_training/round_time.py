"""How long a hospital's part of a round takes, tried out on public patients: a plan's release schedule.

plan, mock ─ a few steps, an evaluation, a sealing ─▶ seconds ─ with room ─▶ ticks of the release schedule
"""

import math
import statistics
import time
from dataclasses import replace

import numpy as np

from syft_code.cohort import Cohort
from syft_code.local_training import local_round
from syft_code.local_training.broadcast import Broadcast
from syft_code.models import frozen_features
from syft_code.models.threads import one_thread
from syft_code.plans.messages import Purpose
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import LONGEST_TICK_S, USUAL_TICKS, DpSgd, ReleaseSchedule
from syft_code.privacy.noise import NoiseSource
from syft_code.secret_sharing import envelope, keystream, sharing
from syft_code.secret_sharing.vector_layout import VectorLayout

TIMED_STEPS = 3
ROOM = 1.5
"""A tick is so many times as long as the work is estimated to take, and `LEAST_ROOM_S` longer."""
LEAST_ROOM_S = 0.2
HELD_OUT_PART = 0.5
"""At most so many patients are taken to be held out for each one that trains."""
LONGEST_S = 6 * 3600.0
"""No longer than hospitals usually let a round run."""
SEALING = 3.0
"""Encrypting, hashing and writing shares takes about twice as long as making them."""


def seconds_a_round(
    dp: DpSgd, declared_patients: int, *, patients: int, as_planned: float | None, everybody: float
) -> float:
    """Estimate a real round's time from a mock's: of a step as planned, and with all `patients`.

    A step has a fixed price and one for each patient drawn. Where the two times lie too close
    together to tell them apart, all of it counts as the patients'.

    >>> dp = DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=0.1, steps=10)
    >>> round(seconds_a_round(dp, 1000, patients=10, as_planned=0.02, everybody=0.11), 6)
    10.1
    """
    drawn, expected = dp.sample_rate * patients, dp.sample_rate * declared_patients
    if as_planned is None or not patients - drawn >= 1:
        return dp.steps * expected * everybody / patients
    each = max(everybody - as_planned, 0.0) / (patients - drawn)
    fixed = max(as_planned - each * drawn, 0.0)
    return dp.steps * (fixed + each * expected)


def seconds_an_evaluation(seconds: float, patients: int, *, most_patients: int) -> float:
    """Estimate a real evaluation's time from one of a mock's held-out `patients`.

    >>> seconds_an_evaluation(0.1, 2, most_patients=40)
    1.0
    """
    return seconds / max(patients, 1) * max(patients, HELD_OUT_PART * most_patients)


def release_schedule(plan: Plan, mock: Cohort, *, slowness: float = 1.0) -> ReleaseSchedule:
    """Ticks that a round's work fits into at the largest hospital of a plan, with room.

    Works on the mock in this process, with one thread, for as long as a few steps and an evaluation
    take. `slowness` says how much longer a hospital's machine takes than this one. What fixed layers say
    of the pictures is computed before a round, so its time does not count.
    """
    mock = frozen_features.with_drawn_features(mock, plan.kept_features())
    with one_thread():
        train_s = _training_s(plan, mock) + _sealing_s(plan)
        evaluate_s = _evaluation_s(plan, mock) if plan.evaluation is not None else 0.0
    train_tick_s, evaluate_tick_s = _tick(slowness * train_s), _tick(slowness * evaluate_s)
    ticks = int(LONGEST_S // max(train_tick_s, evaluate_tick_s))
    return ReleaseSchedule(
        train_s=train_tick_s, evaluate_s=evaluate_tick_s, ticks=min(max(ticks, 1), USUAL_TICKS)
    )


def first_broadcast(plan: Plan, purpose: Purpose) -> Broadcast:
    """What a researcher could send in a first round, where nobody has an earlier task's vectors.

    The start weights stand for those, each as important as the other; nobody drifts yet.
    """
    start, sizes = local_round.first_weights(plan), VectorLayout.of(plan).broadcast(purpose)
    return Broadcast(
        weights=start,
        control=np.zeros(sizes.get("control", 0), np.float32),
        reference=start[: sizes.get("reference", 0)],
        importance=np.ones(sizes.get("importance", 0), np.float32),
    )


def _tick(work_s: float) -> float:
    """With room, in tenths of a second, above ten in whole ones."""
    wanted = ROOM * work_s + LEAST_ROOM_S
    rounded = math.ceil(wanted) if wanted > 10.0 else math.ceil(10.0 * wanted) / 10.0
    return min(float(rounded), LONGEST_TICK_S)


def _training_s(plan: Plan, mock: Cohort) -> float:
    _, everybody_s = _timed(plan, mock, sample_rate=1.0)
    around_s, as_planned_s = _timed(plan, mock, sample_rate=plan.dp_sgd.sample_rate)
    if plan.shared_noise is not None:
        around_s = max(around_s, _planned_s(plan, mock))
    return around_s + seconds_a_round(
        plan.dp_sgd,
        plan.most_patients,
        patients=mock.patients,
        as_planned=as_planned_s,
        everybody=everybody_s,
    )


def _timed(plan: Plan, mock: Cohort, *, sample_rate: float) -> tuple[float, float]:
    """Seconds around the steps of a training, and of one step: the median without the first.

    With shared noise a round has one step, so that several are timed with a hospital's own noise.
    """
    dp = replace(plan.dp_sgd, sample_rate=sample_rate, steps=1 + TIMED_STEPS)
    timed, moments = replace(plan, dp_sgd=dp, shared_noise=None), [time.monotonic()]
    local_round.train(
        timed,
        plan.hospitals[0].name,
        mock,
        sent=first_broadcast(timed, "train").joined(),
        kept=np.zeros(VectorLayout.of(timed).kept_length("train")),
        randomness=NoiseSource.from_os(),
        on_step=lambda step: moments.append(time.monotonic()),
    )
    step_s = statistics.median(np.diff(moments[1:]).tolist())
    return max(0.0, time.monotonic() - moments[0] - dp.steps * step_s), step_s


def _planned_s(plan: Plan, mock: Cohort) -> float:
    """Seconds of a whole round as planned, a shared noise's whole numbers among it."""
    began = time.monotonic()
    local_round.train(
        plan,
        plan.hospitals[0].name,
        mock,
        sent=first_broadcast(plan, "train").joined(),
        kept=np.zeros(VectorLayout.of(plan).kept_length("train")),
        randomness=NoiseSource.from_os(),
    )
    return time.monotonic() - began


def _evaluation_s(plan: Plan, mock: Cohort) -> float:
    began = time.monotonic()
    local_round.evaluate(
        plan,
        mock,
        sent=first_broadcast(plan, "evaluate").joined(),
        kept=np.zeros(VectorLayout.of(plan).kept_length("evaluate")),
        randomness=NoiseSource.from_os(),
    )
    return seconds_an_evaluation(
        time.monotonic() - began, mock.patients, most_patients=plan.most_patients
    )


def _sealing_s(plan: Plan) -> float:
    """Of a vector of zeros, as long as the plan's."""
    pieces = envelope.scheme(plan)
    began = time.monotonic()
    sharing.encode_and_shard(
        np.zeros(VectorLayout.of(plan).values_length("train")),
        plan.sharing,
        pieces,
        weight=1,
        seeds=[bytes([number]) * keystream.SEED_BYTES for number in range(pieces.pieces - 1)],
        hospitals=len(plan.hospitals),
    )
    return SEALING * (time.monotonic() - began)
