"""A plan with shared noise gets a ring and a fixed point that it fits, from its public numbers."""

import itertools
import math
from dataclasses import replace

import pytest

from federation.strategy.noise_sharing import with_shared_noise
from syft_code.errors import InvalidPlan
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import DpSgd, Sgd, Sharing
from syft_code.plans.shared_noise import NoiseGrid, SharedNoise, fitting_sharing
from tests.plans import plan, shared_noise_plan

ONE = SharedNoise(colluding=1)
STEP = DpSgd(noise_multiplier=2.0, max_grad_norm=1.0, sample_rate=0.5, steps=1)


def own_noise(**changes: object) -> Plan:
    return plan(**({"dp_sgd": STEP} | changes))


def test_whatever_is_planned_the_numbers_that_are_chosen_pass_the_plans_own_check() -> None:
    for rate, clip, noise, patients, honest in itertools.product(
        (1e-6, 0.5, 1e4), (1e-4, 20.0, 1e4), (0.3, 1e3), ((1, 1), (1, 3000), (200, 2500)), (1, 50)
    ):
        dp = replace(STEP, noise_multiplier=noise, max_grad_norm=clip)
        sgd = Sgd(learning_rate=rate)
        found = fitting_sharing(dp, sgd, patients=patients, honest=honest)
        found.check_span(1000)
        grid = NoiseGrid.of(
            dp, sgd, found, numbers=10**6, most_patients=max(patients), honest=honest
        )
        grid.check(dp, found, least_patients=min(patients))


def test_half_the_bound_that_is_chosen_would_not_do() -> None:
    chosen = with_shared_noise(own_noise(), ONE)
    half = replace(chosen.sharing, bound=chosen.sharing.bound / 2)
    with pytest.raises(InvalidPlan, match="must fit the sharing bound"):
        replace(chosen, sharing=half)


def test_a_sharing_that_is_stated_stays_and_is_checked() -> None:
    stated = shared_noise_plan()
    kept = with_shared_noise(replace(stated, shared_noise=None), ONE, keep_sharing=True)
    assert kept == stated
    with pytest.raises(InvalidPlan, match="fraction bits or more"):
        with_shared_noise(own_noise(sharing=Sharing(fraction_bits=14)), ONE, keep_sharing=True)


def test_a_hospitals_own_part_is_no_less_than_its_policy_asks() -> None:
    chosen = with_shared_noise(own_noise(), ONE, least_noise=3.0)
    assert chosen.noise_multiplier_alone >= 3.0
    assert chosen.dp_sgd.noise_multiplier == pytest.approx(3.0 * math.sqrt(2))
    assert with_shared_noise(own_noise(), ONE, least_noise=0.1).dp_sgd == STEP


@pytest.mark.parametrize(
    ("changes", "colluding", "sentence"),
    [
        ({"dp_sgd": replace(STEP, steps=2)}, 1, "steps above 1"),
        ({}, 3, "must not collude"),
        ({"optimizer": Sgd(learning_rate=1e300)}, 1, "use a bound above it"),
    ],
)
def test_what_cannot_be_shared_is_refused_in_the_plans_own_sentence(
    changes, colluding, sentence
) -> None:
    with pytest.raises(InvalidPlan, match=sentence):
        with_shared_noise(own_noise(**changes), SharedNoise(colluding=colluding))
