"""What travels is the same places for all, what does not is kept to the last bit, sums stay exact."""

from dataclasses import replace

import numpy as np
import pytest
from nacl.signing import SigningKey

from syft_code.plans.algorithms import FedAvg, Scaffold
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import Compression, Sharing
from syft_code.privacy import accounting
from syft_code.secret_sharing import compression, envelope, sharing
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests import opening
from tests.plans import Keys, plan

KEYS = Keys()
ROUNDS = 60
LARGEST = "hospital-3"
"""Of the roster: its factor is 1."""


def compressed(kept: float, *, error_feedback: bool = True, **changes: object) -> Plan:
    rule = Compression(kept=kept, error_feedback=error_feedback)
    return plan(KEYS, compression=rule, rounds=ROUNDS, evaluation=None, **changes)


def updates(agreed: Plan, count: int, *, scale: float = 1.0, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return scale * random.standard_normal((count, VectorLayout.of(agreed).trained_count))


def shared(agreed: Plan, hospital: str, round_number: int, values: np.ndarray) -> np.ndarray:
    """What opens of one hospital's real, sealed shares, without its weight's factor."""
    position = [h.name for h in agreed.hospitals].index(hospital)
    key: SigningKey = KEYS.hospitals[position]
    sealed = envelope.seal(
        agreed,
        hospital=hospital,
        purpose="train",
        round_number=round_number,
        values=values,
        hospital_key=key,
        statement=envelope.LONGEST_STATEMENT,
        seeds=[bytes([n]) * 32 for n in range(1, envelope.scheme(agreed).pieces)],
        content_keys=[bytes([n]) * 32 for n in range(1, 1 + len(agreed.aggregators))],
    )
    total = opening.encoded(agreed, "train", sealed, [bytes(seal) for seal in KEYS.seals])
    weighted, weight = envelope.read_sum(agreed, "train", total)
    assert weight == agreed.hospital(hospital).patients
    return weighted / (agreed.hospital(hospital).patients / agreed.most_patients)


@pytest.mark.parametrize("kept", [0.02, 0.1, 0.5, 1.0])
def test_so_many_places_travel_and_all_hospitals_draw_the_same(kept: float) -> None:
    agreed = compressed(kept)
    twin = Plan.decode(agreed.encode())
    for number in (1, 2, 3):
        one, other = compression.places(agreed, number), compression.places(twin, number)
        if kept == 1.0:
            assert one is None
            continue
        assert one is not None and np.array_equal(one, other)
        assert len(one) == len(np.unique(one)) == max(1, round(kept * 147))
        assert np.array_equal(one, np.sort(one)) and one[0] >= 0 and one[-1] < 147
    if kept < 1.0:
        assert not np.array_equal(compression.places(agreed, 1), compression.places(agreed, 2))


def test_every_place_travels_as_often_as_any_other() -> None:
    agreed = replace(compressed(0.1), rounds=1000)
    counts = np.zeros(147)
    for number in range(1, 1001):
        counts[compression.places(agreed, number)] += 1
    expected = 15 / 147 * 1000
    spread = np.sqrt(expected * (1 - 15 / 147))
    assert np.abs(counts - expected).max() < 5 * spread
    assert counts.std() == pytest.approx(spread, rel=0.2)


def test_what_was_picked_is_spread_back_to_its_place_and_the_rest_is_zero() -> None:
    agreed = compressed(0.1, frozen_layers=1)
    part, update = VectorLayout.of(agreed).trained, updates(agreed, 1)[0]
    whole = compression.spread(agreed, 2, compression.pick(agreed, 2, update))
    places = compression.places(agreed, 2)
    assert whole.shape == (147,) and part.start == 112
    assert np.array_equal(whole[part][places], update[places])
    assert np.count_nonzero(whole) == len(places)


@pytest.mark.parametrize("hospital", ["hospital-1", LARGEST])
@pytest.mark.parametrize("rules", [
    Sharing(ring_bits=64, fraction_bits=24, bound=2.0**20),
    Sharing(ring_bits=32, fraction_bits=18, bound=64.0),
    Sharing(ring_bits=16, fraction_bits=10, bound=4.0),
    Sharing(ring_bits=8, fraction_bits=4, bound=2.0),
])  # fmt: skip
@pytest.mark.parametrize("kept", [0.1, 1.0])
def test_all_that_travelled_and_the_residual_are_all_that_was_learned(
    hospital: str, rules: Sharing, kept: float
) -> None:
    agreed = compressed(kept, sharing=rules)
    learned = updates(agreed, 6, scale=1.5)
    residual = np.zeros(147)
    arrived = np.zeros(147)
    for number, update in enumerate(learned, start=1):
        values, residual = compression.keep_back(agreed, hospital, number, update + residual)
        assert np.abs(values).max() <= rules.bound
        opened = shared(agreed, hospital, number, values)
        arrived += compression.spread(agreed, number, opened)
    np.testing.assert_allclose(arrived + residual, learned.sum(0), rtol=0, atol=1e-12)


def test_the_residual_is_less_what_the_aggregators_see_and_not_less_what_was_meant() -> None:
    agreed = compressed(1.0, sharing=Sharing(ring_bits=8, fraction_bits=0, bound=30.0))
    wanted = np.full(147, 0.4)
    wanted[0], wanted[1] = 100.0, -100.0
    values, residual = compression.keep_back(agreed, LARGEST, 1, wanted)
    assert values[0] == 30.0 and values[1] == -30.0
    np.testing.assert_allclose(residual[:3], [70.0, -70.0, 0.4])
    factor = agreed.hospital("hospital-1").patients / agreed.most_patients
    _, weighed = compression.keep_back(agreed, "hospital-1", 1, np.full(147, 7.0))
    np.testing.assert_allclose(weighed, 7.0 - round(7.0 * factor) / factor)


def test_with_error_feedback_every_place_arrives_in_the_end_and_without_it_does_not() -> None:
    remembering, forgetting = compressed(0.1), compressed(0.1, error_feedback=False)
    update = np.ones(147)
    residual, arrived, dropped = np.zeros(147), np.zeros(147), np.zeros(147)
    for number in range(1, ROUNDS + 1):
        values, residual = compression.keep_back(remembering, LARGEST, number, update + residual)
        arrived += compression.spread(remembering, number, values)
        dropped += compression.spread(
            forgetting, number, compression.pick(forgetting, number, update)
        )
    assert arrived.mean() / ROUNDS > 0.8, "all but what waits at the end"
    assert dropped.mean() / ROUNDS == pytest.approx(15 / 147)


def test_a_sum_over_hospitals_is_exact_in_a_ring_of_8_bits() -> None:
    agreed = compressed(0.5, sharing=Sharing(ring_bits=8, fraction_bits=3, bound=5.0))
    encoded, plain = [], 0
    for position, hospital in enumerate(agreed.hospitals):
        wanted = updates(agreed, 1, scale=4.0, seed=position)[0]
        values, _ = compression.keep_back(agreed, hospital.name, 1, wanted)
        factor = hospital.patients / agreed.most_patients
        encoded.append(sharing.encode(values, agreed.sharing, hospitals=3, factor=factor))
        plain = plain + np.rint(values * factor * 8)
    total = np.sum(encoded, axis=0, dtype=np.uint8)
    assert np.array_equal(sharing.decode(total, agreed.sharing) * 8, plain)


def test_none_of_it_changes_the_price() -> None:
    price = accounting.event(plan(KEYS), "train")
    for agreed in (
        compressed(0.02),
        compressed(1.0, frozen_layers=1, max_update_norm=0.5),
        plan(KEYS, algorithm=Scaffold()),
    ):
        assert accounting.event(agreed, "train") == price
    evaluated = plan(KEYS, compression=Compression(kept=0.1), algorithm=FedAvg(), frozen_layers=1)
    assert accounting.event(evaluated, "evaluate") == accounting.event(plan(KEYS), "evaluate")
    lengths = [VectorLayout.of(p).vector_length("evaluate") for p in (evaluated, plan(KEYS))]
    assert lengths[0] == lengths[1]
