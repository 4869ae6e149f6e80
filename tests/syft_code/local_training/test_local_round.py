"""What a hospital computes: pulls worked by hand, its own normalisation, where a study starts."""

from dataclasses import replace
from fractions import Fraction as Part
from typing import Any

import numpy as np
import pytest

from syft_code.cohort import Cohort
from syft_code.errors import TrainingFailed
from syft_code.learning import dp_sgd
from syft_code.learning.dp_sgd import TrainingRun
from syft_code.local_training import broadcast, local_round
from syft_code.local_training.broadcast import Broadcast
from syft_code.metrics import evaluation_sums, scoring
from syft_code.models import networks
from syft_code.plans.algorithms import Distillation, Ewc, FedProx, Scaffold
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import AdaptiveClip, DpSgd, Evaluation, Sgd
from syft_code.privacy.noise import NoiseSource, on_grid
from syft_code.recipes import local_norms
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import Conv, GlobalAverage, GroupNorm
from syft_code.recipes.recipe import CrossEntropy, Recipe
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests.plans import Keys, plan

LINEAR = Recipe(model=LayerStack(layers=(GlobalAverage(),)), loss=CrossEntropy())
NORMED = Recipe(
    model=LayerStack(layers=(Conv(channels=2, stride=2), GroupNorm(groups=1), GlobalAverage())),
    loss=CrossEntropy(),
)
SILENT = DpSgd(noise_multiplier=1e-25, max_grad_norm=1e-5, sample_rate=1.0, steps=1)
KEYS, KEY = Keys(), bytes(range(32))
EWC = Ewc(strength=0.5, reference_sha256="ab" * 32, importance_sha256="cd" * 32)
NOBODY = Cohort(
    images=np.zeros((0, 3, 16, 16), np.uint8),
    labels=np.zeros(0, np.uint8),
    patient=np.zeros(0, np.int32),
)


def some_cohort(patients: int = 6) -> Cohort:
    random = np.random.default_rng(1)
    return Cohort(
        images=random.integers(0, 256, (patients, 3, 16, 16)).astype(np.uint8),
        labels=random.integers(0, 7, patients).astype(np.uint8),
        patient=np.arange(patients, dtype=np.int32),
    )


def small(**changes: object) -> Plan:
    fields: dict[str, object] = {
        "recipe": LINEAR,
        "dp_sgd": SILENT,
        "optimizer": Sgd(learning_rate=0.25),
    }
    return plan(KEYS, **(fields | changes))


def trained(agreed: Plan, cohort: Cohort = NOBODY, *, kept: Any = None, **parts: Any) -> Any:
    """One hospital's update, of what a researcher could have sent."""
    nothing = np.zeros(VectorLayout.of(agreed).kept_length("train"))
    return local_round.train(
        agreed,
        "hospital-1",
        cohort,
        sent=Broadcast(**parts).joined(),
        kept=nothing if kept is None else kept,
        randomness=NoiseSource.from_key(KEY),
    )


def halves(one: float, other: float) -> np.ndarray:
    """28 weights: the first 14 have the one number, the rest the other."""
    return np.repeat([one, other], 14).astype(np.float32)


def nearly(update: np.ndarray, one: Part, other: Part) -> None:
    np.testing.assert_allclose(update, halves(float(one), float(other)), rtol=1e-6, atol=1e-9)


# FedProx and EWC: learning rate 1/4, worked by hand on two weights

QUADRATIC = {"reference": halves(1, -2), "importance": halves(4, 2)}
"""With a strength of 1/2: 2 (a - 1)^2 / 2 and (b + 2)^2 / 2."""


@pytest.mark.parametrize(
    ("steps", "one", "other"),
    [
        (1, Part(1, 2), Part(1, 4)),  # a: 0 + 1/2;    b: 1 - 1/4 * 3
        (2, Part(3, 4), Part(-5, 16)),  # 1/2 + 1/4;     1/4 - 1/4 * 9/4
        (3, Part(7, 8), Part(-47, 64)),  # 3/4 + 1/8;    -5/16 - 1/4 * 27/16
    ],
)
def test_three_steps_of_ewc_are_those_worked_by_hand(steps: int, one: Part, other: Part) -> None:
    """From (0, 1): a' = a - 1/4 * 2 (a - 1), b' = b - 1/4 (b + 2)."""
    agreed = small(dp_sgd=replace(SILENT, steps=steps), continual=EWC)
    update = trained(agreed, weights=halves(0, 1), **QUADRATIC)
    nearly(update, one, other - 1)


@pytest.mark.parametrize(
    ("steps", "one", "other"),
    [
        (1, Part(1, 2), Part(1, 4)),
        (2, Part(5, 8), Part(-1, 8)),
        (3, Part(21, 32), Part(-5, 16)),
    ],
)
def test_three_steps_of_fedprox_on_quadratics_are_those_worked_by_hand(
    steps: int, one: Part, other: Part
) -> None:
    """From (0, 1), mu = 1: a' = a - 1/4 (2 (a - 1) + a), b' = b - 1/4 ((b + 2) + (b - 1))."""
    agreed = small(dp_sgd=replace(SILENT, steps=steps), algorithm=FedProx(mu=1.0), continual=EWC)
    update = trained(agreed, weights=halves(0, 1), **QUADRATIC)
    nearly(update, one, other - 1)


def test_fedprox_pulls_to_where_the_round_began_and_not_to_zero() -> None:
    """Without anything else to follow it stays where it is; noise that moved it is pulled back."""
    far = halves(5, -7)
    agreed = small(algorithm=FedProx(mu=1.0), dp_sgd=replace(SILENT, steps=4))
    np.testing.assert_allclose(trained(agreed, weights=far), 0, atol=1e-20)
    noisy = DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=1.0, steps=60)
    free = trained(small(dp_sgd=noisy), weights=far)
    pulled = trained(small(dp_sgd=noisy, algorithm=FedProx(mu=4.0)), weights=far)
    assert np.linalg.norm(pulled) < 0.5 * np.linalg.norm(free)


def test_a_frozen_layer_has_no_pull() -> None:
    agreed = small(recipe=NORMED, frozen_layers=2, continual=EWC)
    size = len(local_round.first_weights(agreed))
    update = trained(
        agreed,
        weights=np.zeros(size, np.float32),
        reference=np.arange(size, dtype=np.float32),
        importance=np.ones(size, np.float32),
    )
    part = VectorLayout.of(agreed).trained
    np.testing.assert_allclose(update, 0.25 * 0.5 * np.arange(size)[part], rtol=1e-6)


# Distillation


def test_a_teacher_is_the_earlier_model_and_moves_nothing_where_it_agrees() -> None:
    """The student starts as its teacher: the first step is that of the labels alone."""
    dp = DpSgd(noise_multiplier=1e-9, max_grad_norm=1.0, sample_rate=1.0, steps=1)
    taught = small(
        dp_sgd=dp,
        continual=Distillation(weight=5.0, temperature=2.0, reference_sha256="ab" * 32),
    )
    start = local_round.first_weights(taught)
    alone = trained(small(dp_sgd=dp), some_cohort(), weights=start)
    same = trained(taught, some_cohort(), weights=start, reference=start)
    np.testing.assert_allclose(same, alone, atol=1e-6)
    other = trained(taught, some_cohort(), weights=start, reference=-3 * start)
    assert np.abs(other - alone).max() > 1e-3


# An adaptive clip norm


def test_two_rounds_leave_a_clip_norm_where_one_of_as_many_steps_does() -> None:
    """Weights hardly move, so that all gradients stay below the norm: each step's share is 1."""
    adaptive = AdaptiveClip(quantile=0.5, learning_rate=0.2, count_noise_multiplier=1e-25)
    agreed = small(
        dp_sgd=replace(
            SILENT, max_grad_norm=1e3, noise_multiplier=1e-27, steps=2, adaptive=adaptive
        ),
        optimizer=Sgd(learning_rate=1e-9),
    )
    weights, moved = local_round.first_weights(agreed), []
    for _ in range(2):
        result = trained(
            agreed, some_cohort(41), kept=np.array(moved[-1:] or [0.0]), weights=weights
        )
        assert len(result) == VectorLayout.of(agreed).result_length("train") == len(weights) + 1
        moved.append(result[-1])
    assert moved[0] == pytest.approx(-0.2 * 0.5 * 2)
    np.testing.assert_allclose(moved[1], 2 * moved[0], rtol=1e-9)


# Local normalisation

NORMS = np.array([1.5, 0.5, 0.25, -0.25])


def test_a_hospital_trains_and_evaluates_with_its_own_normalisation() -> None:
    agreed = small(
        recipe=NORMED,
        local_norms=True,
        evaluation=Evaluation(noise_multiplier=1e-12, after_rounds=(1,)),
        dp_sgd=DpSgd(noise_multiplier=1e-9, max_grad_norm=1.0, sample_rate=1.0, steps=1),
    )
    weights, own = local_round.first_weights(agreed), local_norms.mask(NORMED, agreed.data)
    mine = weights.astype(np.float64)
    mine[own] += NORMS
    model = networks.build(NORMED, agreed.data)
    networks.from_vector(model, mine)
    expected = dp_sgd.train(
        model,
        some_cohort(),
        TrainingRun(
            recipe=NORMED,
            dp=agreed.dp_sgd,
            optimizer=agreed.optimizer,
            declared_patients=41,
        ),
        randomness=NoiseSource.from_key(KEY),
    ).update
    update = trained(agreed, some_cohort(), kept=NORMS, weights=weights)
    np.testing.assert_allclose(update, expected, rtol=1e-9)
    networks.from_vector(model, mine)
    sums = local_round.evaluate(
        agreed, some_cohort(), sent=weights, kept=NORMS, randomness=NoiseSource.from_key(KEY)
    )
    np.testing.assert_allclose(
        sums, evaluation_sums.patient_sums(model, some_cohort(), agreed.data), atol=1e-9
    )
    assert not np.array_equal(weights, mine), "what was sent stays as it was sent"


def test_fedprox_pulls_a_hospitals_normalisation_to_its_own() -> None:
    agreed = small(recipe=NORMED, local_norms=True, algorithm=FedProx(mu=1.0))
    weights = local_round.first_weights(agreed)
    parts = Broadcast(weights=weights)
    pull = local_round.proximal_term(agreed, parts, NORMS)
    assert pull is not None
    own = local_norms.mask(NORMED, agreed.data)
    np.testing.assert_allclose(pull.target[own], weights[own] + NORMS, rtol=1e-6)


def test_scaffold_does_not_correct_local_normalisation() -> None:
    agreed = small(recipe=NORMED, local_norms=True, algorithm=Scaffold())
    own = local_norms.mask(NORMED, agreed.data)
    shared = int((~own).sum())
    update = trained(
        agreed,
        weights=local_round.first_weights(agreed),
        control=np.full(shared, 3.0, np.float32),
        kept=np.concatenate([np.full(shared, 1.0), np.zeros(4)]),
    )
    np.testing.assert_allclose(update[~own], -0.25 * (3.0 - 1.0), rtol=1e-9)
    np.testing.assert_allclose(update[own], 0.0, atol=1e-20)


# Evaluation, and the start


def test_an_evaluation_is_the_sums_and_noise_of_the_plans_size() -> None:
    agreed = small(evaluation=Evaluation(noise_multiplier=3.0, after_rounds=(1,)))
    weights = local_round.first_weights(agreed)
    noise = NoiseSource.from_key(KEY)
    found = local_round.evaluate(
        agreed, some_cohort(), sent=weights, kept=np.zeros(0), randomness=noise
    )
    model = networks.build(agreed.recipe, agreed.data)
    networks.from_vector(model, weights)
    exact = evaluation_sums.patient_sums(model, some_cohort(), agreed.data)
    drawn = NoiseSource.from_key(KEY).normal(len(exact))
    std = 3.0 * scoring.sensitivity(agreed.data)
    expected = on_grid(exact + std * drawn, std=std)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    with pytest.raises(TrainingFailed, match="no evaluation"):
        local_round.evaluate(
            small(evaluation=None), NOBODY, sent=weights, kept=np.zeros(0), randomness=noise
        )


def test_a_first_round_must_bring_the_weights_that_the_plan_draws() -> None:
    agreed = small()
    start = local_round.first_weights(agreed)
    local_round.check_start(agreed, 1, start)
    other = start.copy()
    other[-1] += 1e-3
    with pytest.raises(TrainingFailed, match="must start from the weights"):
        local_round.check_start(agreed, 1, other)
    local_round.check_start(agreed, 2, other)
    local_round.check_start(small(start_sha256=broadcast.sha256(other)), 1, other)


@pytest.mark.parametrize(
    ("changes", "place", "fixed"),
    [
        ({"frozen_layers": 1}, 0, True),
        ({"frozen_layers": 1}, 60, False),
        ({"local_norms": True}, 56, True),  # the first scale: 3 * 9 * 2 + 2 weights come before it
        ({"local_norms": True}, 55, False),
        ({}, 0, False),
    ],
)
def test_what_a_study_does_not_train_or_share_stays_as_it_started(
    changes: dict[str, Any], place: int, fixed: bool
) -> None:
    agreed = small(recipe=NORMED, **changes)
    other = local_round.first_weights(agreed)
    other[place] += 1.0
    if not fixed:
        local_round.check_start(agreed, 2, other)
        return
    with pytest.raises(TrainingFailed, match="leave as they are"):
        local_round.check_start(agreed, 2, other)


def test_first_weights_follow_from_the_plans_hash() -> None:
    one, other = small(), small(study="another")
    assert not np.array_equal(local_round.first_weights(one), local_round.first_weights(other))
    expected = networks.initial_weights(one.recipe, one.data, seed=int(one.hash[:8], 16))
    assert np.array_equal(local_round.first_weights(one), expected)
