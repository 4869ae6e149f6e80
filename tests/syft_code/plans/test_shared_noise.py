"""Noise that is shared: which plans may, and what it comes to in steps of the fixed point."""

import math
import re
from dataclasses import replace
from fractions import Fraction

import pytest

from syft_code.errors import InvalidPlan
from syft_code.plans import shared_noise
from syft_code.plans.algorithms import Distillation, Ewc, FedAdam, FedProx, Scaffold
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import (
    AdaptiveClip,
    Compression,
    DpSgd,
    Robust,
    Sgd,
    Sharing,
)
from syft_code.plans.shared_noise import LEAST_STD, NoiseGrid, SharedNoise
from syft_code.privacy import discrete_gaussian
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import Conv, GroupNorm
from syft_code.recipes.recipe import trained_count
from tests.plans import TINY, Keys, shared_noise_plan

ONE_STEP = DpSgd(noise_multiplier=2.0, max_grad_norm=1.0, sample_rate=0.5, steps=1)
REFERENCE = "ab" * 32
NORMED = replace(TINY, model=LayerStack(layers=(Conv(channels=4), GroupNorm(groups=2))))


def grid(plan: Plan) -> NoiseGrid:
    found = plan.noise_grid
    assert found is not None
    return found


def test_a_plan_with_shared_noise_survives_the_journey_through_its_bytes() -> None:
    original = shared_noise_plan()
    assert Plan.decode(original.encode()) == original
    assert original.hash != replace(original, shared_noise=None).hash


def test_the_noise_of_all_that_do_not_collude_is_the_plans_and_no_less() -> None:
    """Delta by hand: lr C 2^f / (q most), and what rounding 95 numbers adds."""
    plan = shared_noise_plan()
    numbers = trained_count(plan.recipe, plan.data, frozen_layers=0)
    by_hand = Fraction(1, 2) * 2**32 / (Fraction(1, 2) * 43)
    found = grid(plan)
    assert found.honest == 2
    assert by_hand + math.sqrt(numbers) < found.sensitivity < by_hand + 1.1 * math.sqrt(numbers) + 1
    whole = found.honest * found.variance
    assert 0 <= whole - (2 * found.sensitivity) ** 2 < found.honest


@pytest.mark.parametrize(("least", "colluding", "honest"), [(3, 1, 2), (3, 2, 1), (4, 1, 3)])
def test_each_adds_as_if_the_fewest_honest_were_there(least, colluding, honest) -> None:
    keys = Keys(hospitals=tuple(type(Keys().researcher).generate() for _ in range(5)))
    noise = SharedNoise(colluding=colluding)
    found = grid(shared_noise_plan(keys, min_hospitals=least, shared_noise=noise))
    assert found.variance == math.ceil((2 * found.sensitivity) ** 2 / honest)


REFUSED = {
    "two steps": ({"dp_sgd": replace(ONE_STEP, steps=2)}, "steps above 1"),
    "adaptive clip": (
        {
            "dp_sgd": replace(
                ONE_STEP,
                adaptive=AdaptiveClip(quantile=0.5, learning_rate=0.2, count_noise_multiplier=9.0),
            )
        },
        "adaptive clip norm",
    ),
    "momentum": ({"optimizer": Sgd(learning_rate=0.5, momentum=0.5)}, "momentum"),
    "FedProx": ({"algorithm": FedProx(mu=0.1)}, "FedProx or SCAFFOLD"),
    "SCAFFOLD": ({"algorithm": Scaffold()}, "FedProx or SCAFFOLD"),
    "EWC": (
        {"continual": Ewc(strength=1.0, reference_sha256=REFERENCE, importance_sha256=REFERENCE)},
        "EWC",
    ),
    "norm bound": ({"max_update_norm": 1.0}, "max_update_norm"),
    "compression": ({"compression": Compression(kept=0.5, error_feedback=False)}, "compression"),
    "local norms": ({"recipe": NORMED, "local_norms": True}, "local_norms"),
    "everybody colludes": ({"shared_noise": SharedNoise(colluding=3)}, "must not collude"),
    "two sums": (
        {"sharing": Sharing(ring_bits=64, fraction_bits=32, bound=64.0, needed=2)},
        "all aggregators must be needed",
    ),
    "a coarse grid": ({"sharing": Sharing(fraction_bits=14)}, "use 17 fraction bits or more"),
    "a small bound": (
        {"sharing": Sharing(ring_bits=64, fraction_bits=32, bound=2.0)},
        "use a bound above it",
    ),
    "past float64": (
        {"sharing": Sharing(ring_bits=64, fraction_bits=42, bound=64.0)},
        "at most 2\\^45",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_would_make_the_sum_another_one_is_refused_in_a_sentence(what: str) -> None:
    changes, sentence = REFUSED[what]
    with pytest.raises(InvalidPlan, match=sentence):
        shared_noise_plan(**changes)


def test_robust_rules_and_shared_noise_do_not_go_together() -> None:
    keys = Keys(hospitals=tuple(type(Keys().researcher).generate() for _ in range(9)))
    with pytest.raises(InvalidPlan, match="robust rules"):
        shared_noise_plan(keys, robust=Robust(rule="median", groups=3))


@pytest.mark.parametrize("colluding", [0, -1])
def test_at_least_one_hospital_knows_its_own_noise(colluding: int) -> None:
    with pytest.raises(InvalidPlan, match="at least 1"):
        SharedNoise(colluding=colluding)


def test_what_the_researcher_does_afterwards_and_a_teacher_are_allowed() -> None:
    adam = FedAdam(learning_rate=0.1)
    teacher = Distillation(weight=1.0, temperature=2.0, reference_sha256=REFERENCE)
    assert shared_noise_plan(algorithm=adam, averaging=0.9, continual=teacher, frozen_layers=1)


def test_the_named_fraction_bits_are_enough() -> None:
    plan = shared_noise_plan(sharing=Sharing(fraction_bits=17))
    assert grid(plan).variance >= LEAST_STD**2
    with pytest.raises(InvalidPlan, match="use 17 fraction bits"):
        replace(plan, sharing=Sharing(fraction_bits=16))


def test_the_smallest_hospital_of_a_roster_must_fit_the_bound() -> None:
    """Its update is noise ÷ its weight: a hospital of one patient beside two of many."""
    plan = shared_noise_plan(dp_sgd=replace(ONE_STEP, noise_multiplier=20.0))
    first, *others = plan.hospitals
    assert replace(plan, hospitals=(replace(first, patients=8), *others))
    with pytest.raises(InvalidPlan, match="one may reach 28"):
        replace(plan, hospitals=(replace(first, patients=1), *others))


def test_the_end_of_the_noise_is_the_samplers() -> None:
    assert shared_noise.MOST_DEVIATIONS == discrete_gaussian.MOST_DEVIATIONS
    assert shared_noise.LARGEST_STD**2 == discrete_gaussian.LARGEST_VARIANCE


@pytest.mark.parametrize("noise_multiplier", [0.5, 4.0, 40.0, 400.0, 4000.0])
@pytest.mark.parametrize("patients", [[1, 1, 1], [40, 40, 40], [3, 2500, 90_000]])
def test_the_sharing_that_is_chosen_fits_loud_noise_and_few_patients(
    noise_multiplier: float, patients: list[int]
) -> None:
    dp, optimizer = replace(ONE_STEP, noise_multiplier=noise_multiplier), Sgd(learning_rate=0.5)
    found = shared_noise.fitting_sharing(dp, optimizer, patients=patients, honest=2)
    made = NoiseGrid.of(dp, optimizer, found, numbers=2000, most_patients=max(patients), honest=2)
    made.check(dp, found, least_patients=min(patients))
    assert made.variance <= discrete_gaussian.LARGEST_VARIANCE


def test_noise_that_can_not_be_drawn_is_refused_before_anybody_is_asked() -> None:
    """It fits the bound and float64, of hospitals that are equally large, by less than one bit."""
    optimizer = Sgd(learning_rate=0.5)

    def check(dp: DpSgd, sharing: Sharing) -> None:
        made = NoiseGrid.of(dp, optimizer, sharing, numbers=100, most_patients=40, honest=2)
        made.check(dp, sharing, least_patients=40)

    loud = replace(ONE_STEP, noise_multiplier=80.0)
    finest = Sharing(ring_bits=64, fraction_bits=40, bound=32.0)
    with pytest.raises(InvalidPlan, match=r"may be at most 2\^40 steps.* or fewer") as problem:
        check(loud, finest)
    bits = int(re.findall(r"use (\d+) fraction bits", str(problem.value))[0])
    check(loud, replace(finest, fraction_bits=bits))
