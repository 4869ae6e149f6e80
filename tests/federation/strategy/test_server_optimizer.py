"""The researcher's step against steps worked by hand, written as fractions."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction as Part

import numpy as np
import pytest

from federation.certificate.verification import delivered_weights_sentence
from federation.strategy.server_optimizer import (
    Moments,
    ServerState,
    adaptive_step,
    averaged,
    step,
)
from syft_code.cohort import Cohort
from syft_code.errors import InvalidInput
from syft_code.local_training import broadcast, client_update, local_round
from syft_code.local_training.broadcast import Broadcast, PublicVectors
from syft_code.plans.algorithms import Ewc, FedAdagrad, FedAdam, FedAvg, FedYogi, Scaffold
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import Compression, DpSgd, Sgd, Sharing
from syft_code.plans.roster import Hospital
from syft_code.privacy.noise import NoiseSource
from syft_code.recipes import local_norms
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import GlobalAverage, GroupNorm
from syft_code.recipes.recipe import CrossEntropy, Recipe
from syft_code.secret_sharing import sharing
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests.plans import Keys, plan, public

LINEAR = Recipe(model=LayerStack(layers=(GlobalAverage(),)), loss=CrossEntropy())
NORMED = Recipe(
    model=LayerStack(layers=(GroupNorm(groups=1), GlobalAverage())), loss=CrossEntropy()
)
FINE = Sharing(ring_bits=64, fraction_bits=44, bound=64.0)
NO_NOISE = DpSgd(noise_multiplier=1e-25, max_grad_norm=1e-5, sample_rate=1.0, steps=2)
KEYS = Keys()


@dataclass(frozen=True)
class Summed:
    """Sums as a collector gives them."""

    hospitals: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    totals: tuple[np.ndarray, ...]


def equal_hospitals() -> tuple[Hospital, ...]:
    return tuple(
        Hospital(
            name=f"hospital-{n}",
            verify_key=public(key),
            asset="skin-lesions",
            asset_version=1,
            patients=40,
        )
        for n, key in enumerate(KEYS.hospitals, start=1)
    )


def small(**changes: object) -> Plan:
    fields: dict[str, object] = {
        "recipe": LINEAR,
        "hospitals": equal_hospitals(),
        "sharing": FINE,
        "dp_sgd": NO_NOISE,
        "optimizer": Sgd(learning_rate=0.25),
        "evaluation": None,
    }
    return plan(KEYS, **(fields | changes))


def summed(agreed: Plan, values: Sequence[np.ndarray]) -> Summed:
    """The sum of what these hospitals share, in the ring, as aggregators and unsharding give it."""
    names = tuple(h.name for h in agreed.hospitals)[: len(values)]
    total: np.ndarray | None = None
    for name, one in zip(names, values, strict=True):
        patients = agreed.hospital(name).patients
        encoded = np.concatenate(
            [
                sharing.encode(
                    one,
                    agreed.sharing,
                    hospitals=len(agreed.hospitals),
                    factor=patients / agreed.most_patients,
                ),
                sharing.encode_weight(
                    patients, ring_bits=agreed.sharing.ring_bits, hospitals=len(agreed.hospitals)
                ),
            ]
        )
        total = encoded if total is None else total + encoded
    assert total is not None
    return Summed(hospitals=names, groups=(names,), totals=(total,))


def nearly(found: np.ndarray, *parts: Part) -> None:
    np.testing.assert_allclose(found, [float(part) for part in parts], rtol=1e-12, atol=1e-12)


# FedAdam, FedYogi and FedAdagrad: beta1 = beta2 = 1/2, tau = 1/8, eta = 1/4, updates in units of tau

ADAM = FedAdam(learning_rate=0.25, beta1=0.5, beta2=0.5, adaptivity=0.125)
YOGI = FedYogi(learning_rate=0.25, beta1=0.5, beta2=0.5, adaptivity=0.125)
ADAGRAD = FedAdagrad(learning_rate=0.25, beta1=0.5, adaptivity=0.125)


def three_steps(
    algorithm: FedAdam | FedYogi | FedAdagrad, updates: Sequence[Sequence[float]]
) -> list[np.ndarray]:
    """Where two weights stand after each update, from 0."""
    moments = Moments(first=np.zeros(2), second=np.full(2, 1 / 64))
    places, place = [], np.zeros(2)
    for update in updates:
        moments, change = adaptive_step(algorithm, moments, np.array(update) / 8)
        place = place + change
        places.append(place)
    return places


def test_three_steps_of_fedadam_are_those_of_algorithm_2_worked_by_hand() -> None:
    """In units of tau: root v is 5, 25, 25 and 1, 5, 5; m is 7/2, 77/4, 177/8 and -1/2, 13/4, -7/8."""
    first, second, third = three_steps(ADAM, [[7, -1], [35, 7], [25, -5]])
    nearly(first, Part(7, 48), Part(-1, 16))  # 1/4 * 7/2 / (5 + 1), 1/4 * -1/2 / (1 + 1)
    nearly(second, Part(413, 1248), Part(7, 96))  # + 1/4 * 77/4 / 26, + 1/4 * 13/4 / 6
    nearly(third, Part(1357, 2496), Part(7, 192))  # + 1/4 * 177/8 / 26, - 1/4 * 7/8 / 6


def test_three_steps_of_fedyogi_are_those_of_algorithm_2_worked_by_hand() -> None:
    """In units of tau^2: v is 1, 9, 81, then 49, since an update below it lessens it: 81 - 64/2.

    The other weight's update of size tau leaves v at 1 (sign 0); 4 lifts it to 9, 0 leaves it.
    """
    first, second, third = three_steps(YOGI, [[4, -1], [12, 4], [8, 0]])
    nearly(first, Part(1, 8), Part(-1, 16))
    nearly(second, Part(3, 10), Part(3, 64))
    nearly(third, Part(171, 320), Part(13, 128))


def test_three_steps_of_fedadagrad_are_those_of_algorithm_2_worked_by_hand() -> None:
    """In units of tau: root v is 5/4, 13/4, 65/16 and 5/4, 5/4, 13/4, of sums of squares from 1.

    m is 3/8, 27/16, 33/16 and -3/8, -3/16, 45/32.
    """
    first, second, third = three_steps(ADAGRAD, [[3 / 4, -3 / 4], [3, 0], [39 / 16, 3]])
    nearly(first, Part(1, 24), Part(-1, 24))  # 1/4 * 3/8 / (5/4 + 1), and its negative
    nearly(second, Part(115, 816), Part(-1, 16))  # + 1/4 * 27/16 / (17/4), - 1/4 * 3/16 / (9/4)
    nearly(third, Part(1783, 7344), Part(11, 544))  # + 1/4 * 33/16 / (81/16), + 45/32 / 17


@pytest.mark.parametrize(
    ("algorithm", "root"), [(ADAM, 5.0), (YOGI, (1 + 49 / 2) ** 0.5), (ADAGRAD, 50**0.5)]
)
def test_a_round_of_an_adaptive_study_moves_the_shared_sum_by_the_hand_worked_step(
    algorithm: FedAdam | FedYogi | FedAdagrad, root: float
) -> None:
    agreed = small(algorithm=algorithm)
    model = ServerState.first(agreed)
    updates = [np.full(28, n * 7 / 8) for n in (0.5, 1.0, 1.5)]  # their mean is 7 tau
    after = step(agreed, 1, model, summed(agreed, updates))
    expected = 0.25 * 3.5 / (root + 1)
    np.testing.assert_allclose(after.weights - model.weights, expected, rtol=1e-5)
    again = step(agreed, 2, after, summed(agreed, updates))
    np.testing.assert_allclose(again.moments.first, 0.5 * 3.5 / 8 + 3.5 / 8, rtol=1e-9)


def test_what_is_frozen_or_did_not_travel_has_no_gradient_for_adam() -> None:
    agreed = small(
        algorithm=ADAM, recipe=NORMED, frozen_layers=1, compression=Compression(kept=0.5)
    )
    model = ServerState.first(agreed)
    travelled = np.ones(VectorLayout.of(agreed).sent_count)
    after = step(agreed, 1, model, summed(agreed, [travelled] * 3))
    assert np.count_nonzero(after.weights != model.weights) == len(travelled) == 14
    assert not (after.weights != model.weights)[: VectorLayout.of(agreed).trained.start].any()


# FedAvg and SCAFFOLD


def test_fedavg_adds_the_mean_by_declared_patients() -> None:
    agreed = plan(KEYS, recipe=LINEAR, sharing=FINE)  # 41, 42 and 43 patients
    model = ServerState.first(agreed)
    after = step(agreed, 1, model, summed(agreed, [np.full(28, v) for v in (1.0, 0.0, -1.0)]))
    np.testing.assert_allclose(after.weights - model.weights, (41 - 43) / 126, atol=1e-6)


def quadratic(agreed: Plan, model: ServerState, curvature: float, minimum: float) -> np.ndarray:
    """A broadcast under which a hospital without patients descends a (w - m)^2 / 2, by EWC's pull."""
    return Broadcast(
        weights=model.weights,
        control=model.control,
        reference=np.full(28, minimum, np.float32),
        importance=np.full(28, curvature, np.float32),
    ).joined()


NOBODY = Cohort(
    images=np.zeros((0, 3, 16, 16), np.uint8),
    labels=np.zeros(0, np.uint8),
    patient=np.zeros(0, np.int32),
)
QUADRATIC = Ewc(strength=1.0, reference_sha256="ab" * 32, importance_sha256="cd" * 32)
HOSPITALS = ((2.0, 1.0), (1.0, -1.0), (1.0, 0.0))
"""Curvature and minimum of each."""


def rounds_on_quadratics(agreed: Plan, rounds: int) -> list[ServerState]:
    """Train, contribute, share, sum, step: each hospital on its own quadratic, from weights of 0."""
    drift = np.zeros(VectorLayout.of(agreed).broadcast("train")["control"], np.float32)
    model = ServerState(weights=np.zeros(28, np.float32), control=drift)
    kept = [np.zeros(VectorLayout.of(agreed).kept_length("train")) for _ in HOSPITALS]
    models = []
    for number in range(1, rounds + 1):
        values = []
        for place, (curvature, minimum) in enumerate(HOSPITALS):
            name = f"hospital-{place + 1}"
            update = local_round.train(
                agreed,
                name,
                NOBODY,
                sent=quadratic(agreed, model, curvature, minimum),
                kept=kept[place],
                randomness=NoiseSource.from_key(bytes(32)),
            )
            made = client_update.from_result(
                agreed,
                name,
                number,
                update,
                common=model.control.astype(np.float64),
                kept=kept[place],
            )
            kept[place] = kept[place] if made.kept is None else made.kept
            values.append(made.values)
        model = step(agreed, number, model, summed(agreed, values))
        models.append(model)
    return models


def test_three_rounds_of_scaffold_are_those_of_algorithm_1_worked_by_hand() -> None:
    """K = 2, learning rate 1/4, three hospitals with 2 (w - 1)^2 / 2, (w + 1)^2 / 2 and w^2 / 2."""
    models = rounds_on_quadratics(small(algorithm=Scaffold(), continual=QUADRATIC), 3)
    expected = (
        (Part(5, 48), Part(-5, 24)),
        (Part(103, 576), Part(-43, 288)),
        (Part(1505, 6912), Part(-269, 3456)),
    )
    for model, (weight, control) in zip(models, expected, strict=True):
        np.testing.assert_allclose(model.weights, float(weight), rtol=1e-6)
        np.testing.assert_allclose(model.control, float(control), rtol=1e-6)


def test_on_these_quadratics_scaffold_finds_the_common_minimum_and_fedavg_does_not() -> None:
    """The minimum of the sum is (2 - 1 + 0) / 4; FedAvg's fixed point is off it."""
    corrected = rounds_on_quadratics(small(algorithm=Scaffold(), continual=QUADRATIC), 60)[-1]
    plain = rounds_on_quadratics(small(algorithm=FedAvg(), continual=QUADRATIC), 60)[-1]
    np.testing.assert_allclose(corrected.weights, 0.25, atol=1e-5)
    assert np.abs(plain.weights - 0.25).min() > 0.02


# Averaging


def test_the_average_is_worked_by_hand() -> None:
    """Decay 1/2, models 1, 4, 2: (1), (1/2 + 4) / (3/2), (1/4 + 2 + 2) / (7/4)."""
    average, found = None, []
    for number, weight in enumerate((1.0, 4.0, 2.0), start=1):
        average = averaged(average, np.array([weight], np.float32), number, 0.5)
        found.append(float(average[0]))
    nearly(np.array(found), Part(1), Part(3), Part(17, 7))


def test_the_average_is_evaluated_and_delivered_and_hospitals_go_on_from_the_round() -> None:
    agreed = small(averaging=0.5)
    start = model = ServerState.first(agreed)
    assert np.array_equal(model.delivered, model.weights)
    for number, move in enumerate((1.0, 3.0), start=1):
        model = step(agreed, number, model, summed(agreed, [np.full(28, move)] * 3))
    np.testing.assert_allclose(model.weights - start.weights, 4.0, atol=1e-5)
    np.testing.assert_allclose(model.delivered - start.weights, 3.0, atol=1e-5)
    assert np.array_equal(model.broadcast("evaluate"), model.delivered)
    assert np.array_equal(model.broadcast("train"), model.weights)
    assert "moving average" in delivered_weights_sentence(agreed)
    assert delivered_weights_sentence(small()) == "The weights after the last round."


# Local normalisation, and what is handed in


def test_local_normalisation_is_not_shared_and_the_delivered_one_is_that_of_the_start() -> None:
    agreed = small(recipe=NORMED, local_norms=True)
    assert VectorLayout.of(agreed).values_length("train") == 28
    own = local_norms.mask(agreed.recipe, agreed.data)
    assert own.tolist() == [True] * 6 + [False] * 28
    model = ServerState.first(agreed)
    after = step(agreed, 1, model, summed(agreed, [np.ones(28)] * 3))
    assert np.array_equal(after.weights[own], model.weights[own])
    np.testing.assert_allclose((after.weights - model.weights)[~own], 1.0, atol=1e-6)
    assert "those of the start" in delivered_weights_sentence(agreed)


def test_a_study_starts_from_what_is_handed_in_and_from_nothing_else() -> None:
    mine = np.linspace(-1, 1, 28).astype(np.float32)
    agreed = small(start_sha256=broadcast.sha256(mine))
    assert np.array_equal(ServerState.first(agreed, PublicVectors(start=mine)).weights, mine)
    for wrong in (None, PublicVectors(start=mine[::-1].copy()), PublicVectors(reference=mine)):
        with pytest.raises(InvalidInput, match="start must be the vector"):
            ServerState.first(agreed, wrong)
    with pytest.raises(InvalidInput, match="start must be the vector"):
        ServerState.first(small(), PublicVectors(start=mine))
    assert np.array_equal(ServerState.first(small()).weights, local_round.first_weights(small()))


def test_vectors_of_an_earlier_task_travel_after_the_weights_and_the_control_variate() -> None:
    old, importance = np.full(28, 2.0, np.float32), np.full(28, 3.0, np.float32)
    ewc = Ewc(
        strength=1.0,
        reference_sha256=broadcast.sha256(old),
        importance_sha256=broadcast.sha256(importance),
    )
    agreed = small(algorithm=Scaffold(), continual=ewc)
    model = ServerState.first(agreed, PublicVectors(reference=old, importance=importance))
    sent = model.broadcast("train")
    assert len(sent) == VectorLayout.of(agreed).broadcast_length("train") == 4 * 28
    np.testing.assert_array_equal(sent[28:], [0.0] * 28 + [2.0] * 28 + [3.0] * 28)
    assert (
        len(model.broadcast("evaluate"))
        == VectorLayout.of(agreed).broadcast_length("evaluate")
        == 28
    )
    with pytest.raises(InvalidInput, match="importance must be the vector"):
        ServerState.first(agreed, PublicVectors(reference=old, importance=old))
