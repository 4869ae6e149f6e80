"""What can be said of an epsilon from guesses: never more than is true, and not much less."""

import numpy as np
import pytest
from scipy.stats import norm

from federation.privacy_audit import lower_bounds
from federation.privacy_audit.lower_bounds import Rates
from syft_code.privacy import loss_distributions
from syft_code.privacy.loss_distributions import Releases

DELTA = 1e-5


def sampled(noise_multiplier: float, sample_rate: float = 1.0, count: int = 1) -> list[Releases]:
    return [Releases(noise_multiplier=noise_multiplier, sample_rate=sample_rate, count=count)]


def exact(threshold: float, noise_multiplier: float, sample_rate: float) -> Rates:
    """Of one Poisson-sampled Gaussian release, with a test "at least the threshold"."""
    false = float(norm.sf(threshold / noise_multiplier))
    true = float(norm.sf((threshold - 1.0) / noise_multiplier))
    return Rates(false, (1 - sample_rate) * false + sample_rate * true)


def test_the_bound_of_the_rates_is_the_epsilon_of_the_gaussian_that_has_them() -> None:
    rates = exact(0.5, 0.5, 1.0)
    assert rates.mu == pytest.approx(2.0)
    true = loss_distributions.epsilon(sampled(0.5), delta=DELTA)
    for claim in (sampled(0.5), sampled(2.0), sampled(1.0, count=4)):
        assert lower_bounds.lower_bound(rates, claim, delta=DELTA) == pytest.approx(true, rel=0.02)
    assert lower_bounds.lower_bound(Rates(0.5, 0.4), sampled(1.0), delta=DELTA) == 0.0


@pytest.mark.parametrize("sigma", [0.3, 1.0])
@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("threshold", [0.4, 0.5, 0.8])
def test_what_a_claim_allows_does_not_refute_it_and_twice_as_much_does(
    sigma: float, rate: float, threshold: float
) -> None:
    rates = exact(threshold, sigma, rate)
    assert not lower_bounds.refutes(rates, sampled(sigma, rate), delta=DELTA)
    assert lower_bounds.refutes(rates, sampled(2 * sigma, rate), delta=DELTA)
    assert lower_bounds.refutes(rates, sampled(sigma, rate / 2), delta=DELTA)


def test_rates_are_wrong_as_seldom_as_they_say_and_not_far_off() -> None:
    random = np.random.default_rng(0)
    found = [
        lower_bounds.best_rates(
            random.standard_normal(1000), 1.0 + random.standard_normal(1000), error=0.1
        ).mu
        for _ in range(200)
    ]
    assert np.mean(np.array(found) > 1.0) < 0.1
    assert float(np.median(found)) > 0.8


def test_one_run_is_above_a_true_epsilon_as_seldom_as_it_says() -> None:
    """Randomised response, of which the theorem is tight: right with probability e^eps / (1 + e^eps)."""
    random, epsilon = np.random.default_rng(0), 1.5
    right = random.binomial(1000, 1 / (1 + np.exp(-epsilon)), 150)
    bounds = [
        lower_bounds.one_run_bound(1000, int(each), patients=1000, delta=0.0, error=0.1)
        for each in right
    ]
    assert 0.02 < np.mean(np.array(bounds) > epsilon) < 0.16
    assert float(np.median(bounds)) > 1.3
    smaller = lower_bounds.one_run_bound(1000, 820, patients=1000, delta=1e-5, error=0.1)
    assert 1.0 < smaller < lower_bounds.one_run_bound(1000, 820, patients=1000, delta=0, error=0.1)
    assert lower_bounds.one_run_bound(1000, 500, patients=1000, delta=0.0, error=0.1) == 0.0
