"""A plan's release schedule from a run on the mock: the work fits, with room, at the largest hospital."""

from dataclasses import replace

import numpy as np
import pytest

from syft_code.cohort import Cohort
from syft_code.local_training import round_time
from syft_code.plans.algorithms import Scaffold
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import Compression, DpSgd
from tests.plans import plan, shared_noise_plan

PLAN = plan()
MANY = tuple(replace(one, patients=100_000) for one in PLAN.hospitals)


def mock(patients: int = 12) -> Cohort:
    rng = np.random.default_rng(0)
    return Cohort(
        images=rng.integers(0, 256, (patients, 3, 16, 16), dtype=np.uint8),
        labels=rng.integers(0, 7, patients, dtype=np.uint8),
        patient=np.arange(patients, dtype=np.int32),
    )


def dp(sample_rate: float) -> DpSgd:
    return DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=sample_rate, steps=10)


def test_a_round_is_estimated_from_a_fixed_price_and_one_for_each_patient() -> None:
    estimate = round_time.seconds_a_round(
        dp(0.1), 1000, patients=20, as_planned=0.5 + 2 * 0.01, everybody=0.5 + 20 * 0.01
    )
    assert estimate == pytest.approx(10 * (0.5 + 100 * 0.01))


def test_a_round_is_estimated_in_proportion_where_one_time_is_all_there_is() -> None:
    for rate, as_planned in ((1.0, 0.2), (0.1, None)):
        estimate = round_time.seconds_a_round(
            dp(rate), 1000, patients=20, as_planned=as_planned, everybody=0.2
        )
        assert estimate == pytest.approx(10 * rate * 1000 * 0.01)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopwatch that a test holds: a hundredth around the steps, of which one takes a millisecond a patient."""

    def step(asked: Plan, cohort: Cohort, *, sample_rate: float) -> tuple[float, float]:
        return 0.01, 0.001 * sample_rate * cohort.patients

    monkeypatch.setattr(round_time, "_timed", step)
    monkeypatch.setattr(round_time, "_sealing_s", lambda asked: 0.01)
    monkeypatch.setattr(
        round_time, "_evaluation_s", lambda asked, cohort: 0.001 * asked.most_patients
    )


def test_work_that_takes_no_time_gets_the_least_room() -> None:
    found = round_time.release_schedule(PLAN, mock())
    assert found.train_s >= 0.2 and found.evaluate_s >= 0.2


@pytest.mark.usefixtures("timed")
@pytest.mark.parametrize(
    ("change", "slowness", "expected"),
    [
        # 1.5 x (.01 around + .01 sealing + steps x rate x patients x .001) + .2, in tenths
        ({}, 1.0, (0.3, 0.3)),
        ({"dp_sgd": replace(PLAN.dp_sgd, steps=300)}, 1.0, (4.2, 0.3)),
        ({"hospitals": MANY}, 1.0, (91.0, 151.0)),
        ({"hospitals": MANY}, 3.0, (271.0, 451.0)),
        ({}, 10.0, (0.9, 0.9)),
    ],
)
def test_ticks_have_room_for_the_work_at_the_largest_hospital(
    change: dict[str, object], slowness: float, expected: tuple[float, float]
) -> None:
    plan = replace(PLAN, **change)  # type: ignore[arg-type]
    found = round_time.release_schedule(plan, mock(), slowness=slowness)
    assert (found.train_s, found.evaluate_s) == expected


@pytest.mark.usefixtures("timed")
def test_ticks_are_fewer_where_all_of_them_would_take_longer_than_hospitals_wait() -> None:
    found = round_time.release_schedule(replace(PLAN, hospitals=MANY), mock(), slowness=60.0)
    assert found.ticks == 2 and found.ticks * found.evaluate_s <= round_time.LONGEST_S


def test_a_plan_without_evaluation_has_the_shortest_tick_for_it() -> None:
    assert round_time.release_schedule(replace(PLAN, evaluation=None), mock()).evaluate_s == 0.2


def test_a_plan_with_shared_noise_can_be_timed_although_its_round_has_one_step() -> None:
    assert round_time.release_schedule(shared_noise_plan(), mock()).train_s > 0


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": Scaffold()},
        {"compression": Compression(kept=0.5)},
        {"dp_sgd": replace(PLAN.dp_sgd, sample_rate=1.0, steps=1)},
    ],
)
def test_every_kind_of_plan_can_be_timed(change: dict[str, object]) -> None:
    assert round_time.release_schedule(replace(PLAN, **change), mock()).train_s > 0  # type: ignore[arg-type]
