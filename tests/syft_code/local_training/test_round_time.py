"""A plan's clock from a run on the mock: the work fits, with room, at the largest hospital."""

from dataclasses import replace

import numpy as np
import pytest

from syft_code.cohort import Cohort
from syft_code.local_training import round_time
from syft_code.plans.algorithms import Scaffold
from syft_code.plans.plan_parts import Compression, DpSgd
from tests.plans import plan

CLOCK_PLAN = plan()


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


def test_work_that_takes_no_time_gets_the_least_room() -> None:
    found = round_time.clock(CLOCK_PLAN, mock())
    assert 0.2 <= found.train_s <= 2.0 and 0.2 <= found.evaluate_s <= 2.0


def test_more_steps_more_patients_and_a_slower_machine_get_longer_ticks() -> None:
    steps = replace(CLOCK_PLAN, dp_sgd=replace(CLOCK_PLAN.dp_sgd, steps=2000))
    many = replace(
        CLOCK_PLAN, hospitals=tuple(replace(h, patients=100_000) for h in CLOCK_PLAN.hospitals)
    )
    usual = round_time.clock(CLOCK_PLAN, mock())
    assert round_time.clock(steps, mock()).train_s > 2 * usual.train_s
    larger = round_time.clock(many, mock())
    assert larger.train_s > 2 * usual.train_s and larger.evaluate_s > usual.evaluate_s
    assert round_time.clock(CLOCK_PLAN, mock(), slowness=100.0).train_s > 2 * usual.train_s


def test_a_plan_without_evaluation_has_the_shortest_tick_for_it() -> None:
    assert round_time.clock(replace(CLOCK_PLAN, evaluation=None), mock()).evaluate_s == 0.2


@pytest.mark.parametrize(
    "change",
    [
        {"algorithm": Scaffold()},
        {"compression": Compression(kept=0.5)},
        {"dp_sgd": replace(CLOCK_PLAN.dp_sgd, sample_rate=1.0, steps=1)},
    ],
)
def test_every_kind_of_plan_can_be_timed(change: dict[str, object]) -> None:
    assert round_time.clock(replace(CLOCK_PLAN, **change), mock()).train_s > 0  # type: ignore[arg-type]
