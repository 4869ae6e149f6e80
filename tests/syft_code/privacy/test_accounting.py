"""Epsilon agrees with other accountants, and a bad question raises."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant, RDPAccountant
from opacus.accountants.utils import get_noise_multiplier
from scipy.optimize import brentq
from scipy.stats import norm

from syft_code.errors import InvalidPlan
from syft_code.plans.plan_parts import AdaptiveClip, Evaluation
from syft_code.privacy import accounting
from syft_code.privacy.accounting import DpSgdEvent, GaussianEvent
from tests.plans import plan

SETTINGS = [(1.0, 0.1, 50), (1.5, 0.3, 40), (0.8, 0.02, 200), (3.0, 0.9, 20)]


@pytest.mark.parametrize(("sigma", "rate", "steps"), SETTINGS)
def test_epsilon_agrees_with_opacus_prv(sigma: float, rate: float, steps: int) -> None:
    event = DpSgdEvent(noise_multiplier=sigma, sample_rate=rate, steps=steps)
    ours = accounting.epsilon([event], delta=1e-5)
    prv = PRVAccountant()
    prv.history = [(sigma, rate, steps)]
    assert ours == pytest.approx(prv.get_epsilon(delta=1e-5, eps_error=0.01), rel=0.02, abs=0.03)


@pytest.mark.parametrize(("sigma", "rate", "steps"), SETTINGS)
def test_epsilon_lies_below_the_looser_renyi_bounds(sigma: float, rate: float, steps: int) -> None:
    event = DpSgdEvent(noise_multiplier=sigma, sample_rate=rate, steps=steps)
    pld = accounting.epsilon([event], delta=1e-5)
    rdp = accounting.epsilon_rdp([event], delta=1e-5)
    assert pld <= rdp * 1.005
    opacus = RDPAccountant()
    opacus.history = [(sigma, rate, steps)]
    assert pld <= opacus.get_epsilon(delta=1e-5) * 1.005


def test_one_gaussian_release_has_the_epsilon_of_the_closed_form() -> None:
    def delta(epsilon: float) -> float:  # Balle & Wang 2018, Theorem 5, sensitivity 1, sigma 2
        a, b = 0.25 - epsilon * 2, -0.25 - epsilon * 2
        return float(norm.cdf(a) - math.exp(epsilon) * norm.cdf(b)) - 1e-5

    exact = brentq(delta, 0.01, 20)
    ours = accounting.epsilon([GaussianEvent(noise_multiplier=2.0)], delta=1e-5)
    assert exact <= ours <= exact * 1.01


def test_training_and_held_out_patients_compose_in_parallel() -> None:
    training = [DpSgdEvent(noise_multiplier=1.0, sample_rate=0.1, steps=50)]
    held_out = [GaussianEvent(noise_multiplier=1.0)]
    both = accounting.epsilon(training + held_out, delta=1e-5)
    alone = [accounting.epsilon(events, delta=1e-5) for events in (training, held_out)]
    assert both == max(alone)


@settings(max_examples=10)
@given(st.integers(1, 6))
def test_more_events_never_cost_less(count: int) -> None:
    event = DpSgdEvent(noise_multiplier=1.2, sample_rate=0.2, steps=5)
    fewer = accounting.epsilon([event] * count, delta=1e-5)
    assert accounting.epsilon([event] * (count + 1), delta=1e-5) > fewer


def test_a_whole_plan_costs_its_rounds_and_its_evaluations() -> None:
    events = accounting.plan_events(plan())
    assert [accounting.group(event) for event in events] == ["training"] * 3 + ["held-out"]


@pytest.mark.parametrize("delta", [0.0, 1.0, -1.0, float("nan")])
def test_a_delta_outside_0_and_1_is_refused(delta: float) -> None:
    with pytest.raises(InvalidPlan, match="delta"):
        accounting.epsilon([GaussianEvent(noise_multiplier=1.0)], delta=delta)


@pytest.mark.parametrize("sigma", [1e-9, 0.001, 0.05])
def test_noise_that_protects_nobody_is_priced_without_running_out_of_memory(sigma: float) -> None:
    event = GaussianEvent(noise_multiplier=sigma)
    assert accounting.epsilon([event], delta=1e-5) > accounting.PLD_LIMIT


def test_an_evaluation_that_is_not_planned_has_no_price() -> None:
    with pytest.raises(InvalidPlan, match="no evaluation"):
        accounting.event(plan(evaluation=None), "evaluate")


@pytest.mark.parametrize(
    ("target", "rate", "steps", "rounds"),
    [(8.0, 0.2, 8, 8), (3.0, 0.05, 20, 10), (1.0, 0.01, 100, 10), (0.05, 0.1, 10, 3)],
)
def test_sigma_for_a_target_meets_it_and_little_less_noise_does_not(
    target: float, rate: float, steps: int, rounds: int
) -> None:
    sigma = accounting.sigma_for(target, delta=1e-5, sample_rate=rate, steps=steps, rounds=rounds)
    spent, less = (
        accounting.epsilon(
            [DpSgdEvent(noise_multiplier=s, sample_rate=rate, steps=steps)] * rounds, delta=1e-5
        )
        for s in (sigma, sigma * 0.998)
    )
    assert spent <= target < less


@pytest.mark.filterwarnings("ignore:Optimal order")  # of the bound from which its search starts
def test_sigma_for_a_target_agrees_with_opacus() -> None:
    ours = accounting.sigma_for(4.0, delta=1e-5, sample_rate=0.1, steps=25, rounds=4)
    prv = get_noise_multiplier(
        target_epsilon=4.0,
        target_delta=1e-5,
        sample_rate=0.1,
        steps=100,
        accountant="prv",
        epsilon_tolerance=0.005,
    )
    assert ours == pytest.approx(prv, rel=0.01)


def test_evaluations_without_sampling_need_the_noise_of_the_closed_form() -> None:
    def delta(sigma: float) -> float:  # Balle & Wang 2018, Theorem 5; three releases are one
        s = sigma / math.sqrt(3)
        a, b = 0.5 / s - 2 * s, -0.5 / s - 2 * s
        return float(norm.cdf(a) - math.exp(2) * norm.cdf(b)) - 1e-5

    exact = brentq(delta, 1, 100)
    ours = accounting.evaluation_sigma_for(2.0, delta=1e-5, evaluations=3)
    assert exact <= ours <= exact * 1.005


@pytest.mark.parametrize("target", [0.0, -1.0, math.inf, math.nan])
def test_a_target_that_is_no_epsilon_is_refused(target: float) -> None:
    with pytest.raises(InvalidPlan, match="above 0"):
        accounting.sigma_for(target, delta=1e-5, sample_rate=0.1, steps=1, rounds=1)


def test_a_plan_within_a_target_spends_it_on_training_and_on_evaluations() -> None:
    asked = plan(evaluation=Evaluation(noise_multiplier=0.3, after_rounds=(1, 3)))
    found = accounting.within(asked, 2.0, delta=1e-6)
    for purpose, count in (("train", 3), ("evaluate", 2)):
        spent = accounting.epsilon([accounting.event(found, purpose)] * count, delta=1e-6)  # type: ignore[arg-type]
        assert 1.99 < spent <= 2.0
    assert accounting.epsilon(accounting.plan_events(found), delta=1e-6) <= 2.0
    assert found.dp_sgd.max_grad_norm == asked.dp_sgd.max_grad_norm
    noisy = accounting.within(asked, 2.0, delta=1e-6, least_noise=50.0)
    assert noisy.dp_sgd.noise_multiplier == 50.0
    assert noisy.evaluation == Evaluation(noise_multiplier=50.0, after_rounds=(1, 3))


def test_a_plan_without_evaluations_can_be_brought_within_a_target() -> None:
    assert accounting.within(plan(evaluation=None), 2.0, delta=1e-6).evaluation is None


def test_adaptive_clipping_is_priced_as_one_gaussian_of_the_stated_multiplier() -> None:
    fixed = plan()
    adaptive = AdaptiveClip(quantile=0.5, learning_rate=0.2, count_noise_multiplier=10.0)
    moved = plan(dp_sgd=replace(fixed.dp_sgd, adaptive=adaptive))
    assert accounting.event(moved, "train") == accounting.event(fixed, "train")
    z, z_b = fixed.dp_sgd.noise_multiplier, 2 * adaptive.count_noise_multiplier
    gradient = (z**-2 - z_b**-2) ** -0.5
    split = [GaussianEvent(noise_multiplier=gradient), GaussianEvent(noise_multiplier=z_b)]
    whole = [GaussianEvent(noise_multiplier=z)]
    assert accounting.epsilon(split, delta=1e-5) == pytest.approx(
        accounting.epsilon(whole, delta=1e-5), rel=1e-3
    )
