"""How much an earlier task depends on each weight: in closed form, and against what was released."""

import numpy as np
import pytest
from numpy.typing import NDArray

from syft_code.cohort import Cohort
from syft_code.errors import InvalidInput
from syft_code.local_training import continual, local_round
from syft_code.models import networks
from syft_code.plans.algorithms import FedAdam, FedProx
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import Compression, DpSgd, Sgd
from syft_code.recipes.architectures import LayerStack, UNet
from syft_code.recipes.layers import GlobalAverage, Linear
from syft_code.recipes.recipe import CrossEntropy, DataSpec, DiceCrossEntropy, Recipe
from tests.plans import SKIN, Keys, plan

LINEAR = Recipe(model=LayerStack(layers=(GlobalAverage(),)), loss=CrossEntropy())
KEYS = Keys()


def some_cohort(slices: int) -> Cohort:
    random = np.random.default_rng(4)
    return Cohort(
        images=random.integers(0, 256, (slices, 3, 16, 16)).astype(np.uint8),
        labels=np.zeros(slices, np.uint8),
        patient=np.arange(slices, dtype=np.int32),
    )


def test_the_fisher_information_of_a_linear_model_is_that_in_closed_form() -> None:
    """Of z = W a + b: E (p_c - [y = c])^2 = p_c (1 - p_c), times a_j^2 for W_cj; labels not used.

    Its standard deviation over n drawn labels is (p_c (1 - p_c) / n)^(1/2) |1 - 2 p_c|; five of
    them are allowed.
    """
    cohort, draws = some_cohort(1), 1000
    weights = np.random.default_rng(0).standard_normal(28).astype(np.float32)
    repeated = Cohort(
        images=np.repeat(cohort.images, draws, axis=0),
        labels=np.zeros(draws, np.uint8),
        patient=np.arange(draws, dtype=np.int32),
    )
    found = continual.fisher(LINEAR, SKIN, weights, repeated, seed=1)
    feature = networks.inputs(cohort.images, cohort.facts)[0].double().mean((2, 3)).numpy()[0]
    scores = weights[:21].reshape(7, 3) @ feature + weights[21:]
    likely = np.exp(scores) / np.exp(scores).sum()
    spread = likely * (1 - likely)
    deviation = np.sqrt(spread / draws) * np.abs(1 - 2 * likely)

    def each_weight(by_class: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([np.outer(by_class, feature**2).ravel(), by_class])

    away = np.abs(found - each_weight(spread))
    assert (away <= 5 * each_weight(deviation) + 1e-6).all()
    assert found.dtype == np.float32


def test_it_depends_on_the_seed_and_not_on_the_labels() -> None:
    weights = networks.initial_weights(LINEAR, SKIN, seed=0)
    one = some_cohort(5)
    other = Cohort(images=one.images, labels=one.labels + 3, patient=one.patient)
    first = continual.fisher(LINEAR, SKIN, weights, one, seed=1)
    assert np.array_equal(first, continual.fisher(LINEAR, SKIN, weights, other, seed=1))
    assert not np.array_equal(first, continual.fisher(LINEAR, SKIN, weights, one, seed=2))


def test_a_segmentation_has_an_importance_too() -> None:
    data = DataSpec(
        kind="brats",
        task="segmentation",
        channels=("t1", "t2"),
        height_px=8,
        width_px=8,
        classes=("background", "tumour"),
        patient_unit="patient",
        stand_in=True,
    )
    recipe = Recipe(model=UNet(widths=(4, 8)), loss=DiceCrossEntropy())
    random = np.random.default_rng(0)
    cohort = Cohort(
        images=random.standard_normal((2, 2, 8, 8)).astype(np.float16),
        labels=np.zeros((2, 8, 8), np.uint8),
        patient=np.arange(2, dtype=np.int32),
    )
    weights = networks.initial_weights(recipe, data, seed=0)
    found = continual.fisher(recipe, data, weights, cohort, seed=0)
    assert found.shape == weights.shape
    assert np.isfinite(found).all() and (found >= 0).all() and found.any()


DP = DpSgd(noise_multiplier=2.0, max_grad_norm=0.5, sample_rate=0.5, steps=4)


def small(**changes: object) -> Plan:
    fields: dict[str, object] = {
        "recipe": LINEAR,
        "dp_sgd": DP,
        "optimizer": Sgd(learning_rate=0.25),
    }
    return plan(KEYS, **(fields | changes))


def released(agreed: Plan, gradient: float, *, rounds: int, noise: bool) -> list[np.ndarray]:
    """Models of a study whose gradient never changes: with the noise of its hospitals or without."""
    random, dp = np.random.default_rng(7), agreed.dp_sgd
    patients = np.array([h.patients for h in agreed.hospitals])
    models = [local_round.first_weights(agreed).astype(np.float64)]
    for _ in range(rounds):
        mean = np.full(28, gradient)
        for own in patients if noise else ():
            std = dp.noise_multiplier * dp.max_grad_norm / (dp.sample_rate * own)
            steps = random.standard_normal((dp.steps, 28)).mean(axis=0)
            mean += own / patients.sum() * std * steps
        models.append(models[-1] - agreed.optimizer.learning_rate * dp.steps * mean)
    return [model.astype(np.float32) for model in models]


def test_an_importance_of_rounds_is_the_square_of_the_gradient_less_the_noise() -> None:
    """Without noise in the models: g^2 - s^2, s^2 = 3 (2 / 2)^2 / (4 (126 / 2)^2)."""
    agreed = small()
    found = continual.importance_of_rounds(agreed, released(agreed, 0.5, rounds=2, noise=False))
    s_squared = 3 * (2.0 * 0.5) ** 2 / (4 * (0.5 * 126) ** 2)
    np.testing.assert_allclose(found, 0.25 - s_squared, rtol=1e-4)
    nothing = continual.importance_of_rounds(agreed, released(agreed, 0.0, rounds=2, noise=False))
    assert not nothing.any()


def test_what_is_taken_off_is_what_the_hospitals_noise_adds() -> None:
    agreed = small()
    models = released(agreed, 0.02, rounds=400, noise=True)
    found = continual.importance_of_rounds(agreed, models)
    assert found.mean() == pytest.approx(0.02**2, rel=0.1)


def test_what_is_frozen_has_no_importance() -> None:
    layers = (GlobalAverage(), Linear(features=2))
    two = Recipe(model=LayerStack(layers=layers), loss=CrossEntropy())
    agreed = small(recipe=two, frozen_layers=1)
    start = local_round.first_weights(agreed)
    found = continual.importance_of_rounds(agreed, [start, start + 1])
    assert not found[:8].any() and found[8:].all()


@pytest.mark.parametrize(
    "changes",
    [
        {"algorithm": FedAdam(learning_rate=0.1)},
        {"algorithm": FedProx(mu=0.1)},
        {"optimizer": Sgd(learning_rate=0.25, momentum=0.5)},
        {"compression": Compression(kept=0.5)},
        {"averaging": 0.9},
    ],
)
def test_rounds_that_are_no_plain_steps_have_no_importance(changes: dict[str, object]) -> None:
    agreed = small(**changes)
    start = local_round.first_weights(agreed)
    with pytest.raises(InvalidInput, match="rounds of FedAvg"):
        continual.importance_of_rounds(agreed, [start, start])
    with pytest.raises(InvalidInput, match="at least two models"):
        continual.importance_of_rounds(small(), [start])
