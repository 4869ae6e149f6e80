"""SCAFFOLD against steps worked by hand, and against what it is for: no drift between hospitals."""

import numpy as np
import pytest

from syft_code.cohort import Cohort
from syft_code.errors import TrainingFailed
from syft_code.learning import dp_sgd
from syft_code.learning.dp_sgd import TrainingRun
from syft_code.local_training import control_variates
from syft_code.models import networks
from syft_code.plans.plan_parts import DpSgd, Sgd
from syft_code.privacy.noise import NoiseSource, on_grid
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import GlobalAverage
from syft_code.recipes.recipe import CrossEntropy, Recipe
from tests.plans import SKIN

LINEAR = Recipe(model=LayerStack(layers=(GlobalAverage(),)), loss=CrossEntropy())
KEY = b"c" * 32


def some_cohort(patients: int, *, seed: int = 0) -> Cohort:
    random = np.random.default_rng(seed)
    return Cohort(
        images=random.integers(0, 256, (patients, 3, 16, 16)).astype(np.uint8),
        labels=random.integers(0, 7, patients).astype(np.uint8),
        patient=np.arange(patients, dtype=np.int32),
    )


def gradient(weights: np.ndarray, cohort: Cohort, max_grad_norm: float) -> np.ndarray:
    """The clipped sum of a linear model's cross-entropy gradients, in closed form.

    With z = W a + b the gradient is (softmax(z) - e_y) a^T for W, and softmax(z) - e_y for b.
    """
    features = networks.inputs(cohort.images, cohort.facts)[0].double().mean((2, 3)).numpy()
    matrix, bias = weights[:21].reshape(7, 3), weights[21:]
    scores = features @ matrix.T + bias
    likely = np.exp(scores - scores.max(1, keepdims=True))
    errors = likely / likely.sum(1, keepdims=True) - np.eye(7)[cohort.labels]
    total = np.zeros(28)
    for error, feature in zip(errors, features, strict=True):
        one = np.concatenate([np.outer(error, feature).ravel(), error])
        total += one * min(1.0, max_grad_norm / np.linalg.norm(one))
    return total


def test_three_steps_are_those_of_algorithm_1_worked_by_hand() -> None:
    dp = DpSgd(noise_multiplier=0.7, max_grad_norm=0.9, sample_rate=1.0, steps=3)
    cohort, rate = some_cohort(5), 0.25
    random = np.random.default_rng(3)
    start = networks.initial_weights(LINEAR, SKIN, seed=1)
    common, own = random.standard_normal(28), random.standard_normal(28)

    twin = NoiseSource.from_key(KEY)
    y = start.astype(np.float64)
    for _ in range(3):
        twin.uniform(5), twin.choice(np.ones(5, dtype=np.int64))
        noised = gradient(y, cohort, 0.9) + 0.7 * 0.9 * twin.normal(28)
        on_grid(noised, std=0.7 * 0.9)
        y = y - rate * (noised / 8 - own + common)
    own_after = own - common + (start - y) / (3 * rate)

    model = networks.build(LINEAR, SKIN).double()
    networks.from_vector(model, start)
    update = dp_sgd.train(
        model,
        cohort,
        TrainingRun(
            recipe=LINEAR,
            dp=dp,
            optimizer=Sgd(learning_rate=rate),
            declared_patients=8,
            correction=control_variates.correction(common, own),
        ),
        randomness=NoiseSource.from_key(KEY),
    ).update
    change = control_variates.change(update, common, steps=3, learning_rate=rate)
    # The network's weights are kept in float32: the second gradient is taken there.
    np.testing.assert_allclose(update, y - start, rtol=0, atol=2e-6)
    np.testing.assert_allclose(own + change, own_after, rtol=0, atol=1e-5)


def test_one_step_is_exact_in_float64() -> None:
    dp = DpSgd(noise_multiplier=0.7, max_grad_norm=0.9, sample_rate=1.0, steps=1)
    nobody, correction = some_cohort(0), np.linspace(-1.0, 1.0, 28)
    update = dp_sgd.train(
        networks.build(LINEAR, SKIN),
        nobody,
        TrainingRun(
            recipe=LINEAR,
            dp=dp,
            optimizer=Sgd(learning_rate=0.5),
            declared_patients=4,
            correction=correction,
        ),
        randomness=NoiseSource.from_key(KEY),
    ).update
    noise = on_grid(0.7 * 0.9 * NoiseSource.from_key(KEY).normal(28), std=0.7 * 0.9)
    np.testing.assert_allclose(update, -0.5 * (noise / 4 + correction), rtol=1e-12, atol=1e-12)


def test_the_correction_is_never_clipped_nor_noised() -> None:
    dp = DpSgd(noise_multiplier=1e-9, max_grad_norm=1e-9, sample_rate=1.0, steps=2)
    update = dp_sgd.train(
        networks.build(LINEAR, SKIN),
        some_cohort(3),
        TrainingRun(
            recipe=LINEAR,
            dp=dp,
            optimizer=Sgd(learning_rate=1.0),
            declared_patients=3,
            correction=np.full(28, 5.0),
        ),
        randomness=NoiseSource.from_key(KEY),
    ).update
    np.testing.assert_allclose(update, -10.0, atol=1e-7)


@pytest.mark.parametrize("steps", [2, 20])
def test_on_two_quadratics_it_finds_the_common_minimum_and_averaging_alone_does_not(
    steps: int,
) -> None:
    """f_i(y) = a_i (y - m_i)^2 / 2: the sum has its minimum at sum(a m) / sum(a)."""
    curvature, minimum, rate = np.array([1.0, 10.0]), np.array([1.0, -1.0]), 0.05
    best = float(curvature @ minimum / curvature.sum())

    def local(x: float, hospital: int, correction: float) -> float:
        y = x
        for _ in range(steps):
            y -= rate * (curvature[hospital] * (y - minimum[hospital]) + correction)
        return y

    x, common, own = 0.0, np.zeros(1), np.zeros((2, 1))
    averaged = 0.0
    for _ in range(400):
        drift = [control_variates.correction(common, own[i]) for i in range(2)]
        moves = np.array([[local(x, i, float(drift[i][0])) - x] for i in range(2)])
        changes = np.stack(
            [
                control_variates.change(move, common, steps=steps, learning_rate=rate)
                for move in moves
            ]
        )
        own += changes
        x, common = x + float(moves.mean()), common + changes.mean(0)
        averaged += np.mean([local(averaged, i, 0.0) - averaged for i in range(2)])
    assert x == pytest.approx(best, abs=1e-9)
    assert abs(averaged - best) > 0.01
    np.testing.assert_allclose(own[:, 0], curvature * (x - minimum), atol=1e-8)


def test_a_correction_of_the_wrong_length_is_refused() -> None:
    dp = DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=1.0, steps=1)
    with pytest.raises(TrainingFailed, match="28 trained parameters, got 27"):
        dp_sgd.train(
            networks.build(LINEAR, SKIN),
            some_cohort(1),
            TrainingRun(
                recipe=LINEAR,
                dp=dp,
                optimizer=Sgd(learning_rate=1.0),
                declared_patients=1,
                correction=np.zeros(27),
            ),
            randomness=NoiseSource.from_key(KEY),
        )
