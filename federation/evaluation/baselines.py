"""What the federation is compared with, by whoever owns the data of every hospital: a demo.

    pooled    all training patients in one place, with and without privacy
    alone     one hospital trains by itself, as it would in the federation
    exact     figures without noise, over everybody's held-out patients

Training is `syft_code.learning.dp_sgd`, round by round with weights in and update out, as it runs
inside a hospital.

Does not protect: anybody. Figures from here are exact, so they leave no real hospital.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from federation.evaluation import open_training
from federation.evaluation.exact_metrics import (
    Figures,
    HospitalCohorts,
    exact,
    main_metric,
    per_hospital,
    together,
)
from federation.strategy import server_optimizer
from syft_code.arrays import Weights
from syft_code.cohort import Cohort
from syft_code.learning import dp_sgd
from syft_code.learning.dp_sgd import TrainingRun
from syft_code.models import feature_cache, networks
from syft_code.operation.parent_exit import end_with_parent
from syft_code.plans.plan import Plan
from syft_code.privacy import accounting
from syft_code.privacy.noise import NoiseSource
from syft_code.recipes.recipe import DataSpec
from syft_code.secret_sharing import robust

ADAM_LEARNING_RATES: dict[str, float] = {"classification": 2e-3, "segmentation": 1e-2}
"""By task: at 2e-3 a narrow U-Net is far from its end when it stops (docs/segmentation.md)."""
BEST_ALONE = "Best single hospital"
BATCH_SLICES = 32
LEAST_EPOCHS, MOST_EPOCHS = 8, 40
LEAST_STEPS = 200
"""Of training without privacy: small data sets go through more often, to get that far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A model trained in another way, on the same held-out patients.

    `epsilon` is what training cost each training patient, if `private` and a delta was given;
    `per_hospital` is the main metric over each hospital's held-out patients.
    """

    name: str
    private: bool
    epsilon: float | None
    metrics: Figures
    per_hospital: Figures
    seconds: float


@feature_cache.switched_on()
def pooled(
    plan: Plan,
    hospitals: Sequence[HospitalCohorts],
    *,
    private: bool,
    delta: float | None = None,
) -> Baseline:
    """Train on all patients in one place.

    With `private` by the plan's own DP-SGD over all its rounds, which costs a patient the same
    epsilon as in the federation; else without noise, by Adam.
    """
    began = time.monotonic()
    patients = together([hospital.training for hospital in hospitals])
    if private:
        declared = sum(plan.hospital(hospital.name).patients for hospital in hospitals)
        weights = _train_privately(plan, patients, declared_patients=declared)
        name = "Pooled data, DP-SGD"
    else:
        weights = _train_openly(plan, patients)
        name = "Pooled data, no privacy"
    spent = delta if private else None
    return _baseline(name, plan, weights, hospitals, delta=spent, private=private, began=began)


@feature_cache.switched_on()
def alone(
    plan: Plan,
    hospital: HospitalCohorts,
    hospitals: Sequence[HospitalCohorts],
    *,
    private: bool = True,
    delta: float | None = None,
) -> Baseline:
    """Train at one hospital, all rounds, and evaluate on everybody's held-out patients."""
    began = time.monotonic()
    if private:
        declared = plan.hospital(hospital.name).patients
        weights = _train_privately(plan, hospital.training, declared_patients=declared)
    else:
        weights = _train_openly(plan, hospital.training)
    name = f"{hospital.name} alone, {'DP-SGD' if private else 'no privacy'}"
    spent = delta if private else None
    return _baseline(name, plan, weights, hospitals, delta=spent, private=private, began=began)


def compare(
    plan: Plan,
    hospitals: Sequence[HospitalCohorts],
    *,
    workers: int = 2,
    delta: float | None = None,
    on_done: Callable[[Baseline], None] = lambda baseline: None,
) -> list[Baseline]:
    """Pooled without privacy, pooled with it, and the best single hospital, side by side.

    Each baseline runs in a process of its own with one thread; `on_done` hears of every one,
    the single hospitals included, as it ends.
    """
    by_size = sorted(hospitals, key=lambda h: h.training.patients, reverse=True)
    with ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
        initargs=(os.getpid(),),
    ) as pool:
        noised = pool.submit(pooled, plan, hospitals, private=True, delta=delta)
        plain = pool.submit(pooled, plan, hospitals, private=False)
        single = [pool.submit(alone, plan, one, hospitals, delta=delta) for one in by_size]
        _tell([noised, plain, *single], on_done)
        return [plain.result(), noised.result(), _best([s.result() for s in single], plan.data)]


def _tell(futures: Sequence[Future[Baseline]], on_done: Callable[[Baseline], None]) -> None:
    """Report each baseline as it ends; the first that fails ends the others."""
    try:
        for future in as_completed(futures):
            on_done(future.result())
    except BaseException:
        for future in futures:
            future.cancel()
        raise


def _begin_worker(parent_pid: int) -> None:
    end_with_parent(parent_pid)
    torch.set_num_threads(1)


def _best(baselines: Sequence[Baseline], data: DataSpec) -> Baseline:
    best = max(baselines, key=lambda one: np.nan_to_num(main_metric(one.metrics, data), nan=-1.0))
    return replace(best, name=f"{BEST_ALONE}: {best.name}")


def _baseline(
    name: str,
    plan: Plan,
    weights: Weights,
    hospitals: Sequence[HospitalCohorts],
    *,
    delta: float | None,
    private: bool,
    began: float,
) -> Baseline:
    seconds = time.monotonic() - began
    figures = exact(plan, weights, hospitals)
    training = [accounting.event(plan, "train")] * plan.rounds
    return Baseline(
        name=name,
        private=private,
        epsilon=None if delta is None else accounting.epsilon(training, delta=delta),
        metrics={k: v for k, v in figures.items() if "/" not in k},
        per_hospital=per_hospital(figures, plan.data),
        seconds=seconds,
    )


def _start(plan: Plan) -> nn.Module:
    """The network with the weights that the federation starts from too."""
    seed = int(plan.hash[:8], 16)
    weights = networks.initial_weights(plan.recipe, plan.data, seed=seed)
    return networks.build(plan.recipe, plan.data, weights)


def _train_privately(plan: Plan, patients: Cohort, *, declared_patients: int) -> Weights:
    """By the plan's DP-SGD, with its bound of a round's update and its average over rounds."""
    model = _start(plan)
    randomness = NoiseSource.from_os()
    run = TrainingRun(
        recipe=plan.recipe,
        dp=plan.dp_sgd,
        optimizer=plan.optimizer,
        declared_patients=declared_patients,
        augmentation=plan.augmentation,
    )
    average: NDArray[np.float64] | None = None
    for number in range(1, plan.rounds + 1):
        before = networks.to_vector(model).astype(np.float64)
        update, clip_moved = dp_sgd.train(model, patients, run, randomness=randomness)
        run = replace(run, clip_moved=clip_moved)
        if plan.max_update_norm is not None:
            networks.from_vector(model, before + robust.clip_update(update, plan.max_update_norm))
        if plan.averaging is not None:
            now = networks.to_vector(model)
            average = server_optimizer.averaged(average, now, number, plan.averaging)
    return networks.to_vector(model) if average is None else average.astype(np.float32)


def _train_openly(plan: Plan, patients: Cohort) -> Weights:
    """Adam, on about as many slices as the private training draws, within limits."""
    model = _start(plan)
    drawn = plan.rounds * plan.dp_sgd.steps * plan.dp_sgd.sample_rate * patients.patients
    epochs = min(max(round(drawn / len(patients.images)), LEAST_EPOCHS), MOST_EPOCHS)
    steps_each = -(-len(patients.images) // BATCH_SLICES)
    open_training.train_without_privacy(
        model,
        patients,
        recipe=plan.recipe,
        learning_rate=ADAM_LEARNING_RATES[plan.data.task],
        epochs=max(epochs, -(-LEAST_STEPS // max(steps_each, 1))),
        batch_size=BATCH_SLICES,
        seed=0,
    )
    return networks.to_vector(model)
