"""Epsilon agrees with other accountants, and a bad question raises."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import PRVAccountant, RDPAccountant
from scipy.optimize import brentq
from scipy.stats import norm

from syft_code import accounting
from syft_code.accounting import DpSgdEvent, GaussianEvent
from syft_code.errors import InvalidPlan
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
    assert accounting.accountants_agree(pld, rdp)
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


@settings(max_examples=10, deadline=None)
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
