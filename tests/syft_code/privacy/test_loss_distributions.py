"""The composed loss is never below dp_accounting's on a fine grid, and hardly above it."""

import random

import dp_accounting
import pytest
from dp_accounting.pld import PLDAccountant
from hypothesis import given, settings
from hypothesis import strategies as st

from syft_code.privacy import loss_distributions
from syft_code.privacy.loss_distributions import RELATION, Releases

pytestmark = pytest.mark.thorough

FINE = 1e-4


def _releases(*numbers: tuple[float, float, int]) -> list[Releases]:
    return [Releases(noise_multiplier=s, sample_rate=q, count=k) for s, q, k in numbers]


def _reference(releases: list[Releases], *, delta: float, grid: float) -> float:
    """dp_accounting's own accountant, one release after the other."""
    accountant = PLDAccountant(RELATION, value_discretization_interval=grid)
    for one in releases:
        gaussian = dp_accounting.GaussianDpEvent(one.noise_multiplier)
        sampled = dp_accounting.PoissonSampledDpEvent(one.sample_rate, gaussian)
        accountant.compose(sampled, one.count)
    return float(accountant.get_epsilon(delta))


@pytest.mark.parametrize(
    "numbers",
    [
        (1.0, 0.01, 10_000),
        (2.0, 0.1, 200),
        (4.0, 0.5, 64),
        (3.0, 0.9, 63),
        (8.0, 1.0, 1000),
        (0.8, 0.02, 200),
    ],
)
def test_equal_releases_cost_what_a_fine_grid_says(numbers: tuple[float, float, int]) -> None:
    releases = _releases(numbers)
    fine = _reference(releases, delta=1e-5, grid=FINE)
    ours = loss_distributions.epsilon(releases, delta=1e-5)
    assert fine * (1 - 1e-6) <= ours <= fine * 1.005


@pytest.mark.parametrize(
    "numbers", [(10.0, 0.01, 10_000), (30.0, 0.1, 100), (50.0, 0.01, 1000), (300.0, 1.0, 1)]
)
def test_small_epsilons_are_worked_out_on_a_grid_that_fits_them(
    numbers: tuple[float, float, int],
) -> None:
    releases = _releases(numbers)
    finer = _reference(releases, delta=1e-5, grid=5e-6)
    ours = loss_distributions.epsilon(releases, delta=1e-5)
    assert finer * (1 - 1e-6) <= ours <= finer * 1.005


@pytest.mark.parametrize("delta", [1e-3, 1e-6, 1e-9])
def test_different_releases_are_composed_at_any_delta(delta: float) -> None:
    releases = _releases((2.0, 0.1, 40), (5.0, 0.3, 90), (12.0, 1.0, 7), (3.0, 0.05, 1))
    fine = _reference(releases, delta=delta, grid=FINE)
    ours = loss_distributions.epsilon(releases, delta=delta)
    assert fine * (1 - 1e-6) <= ours <= fine * 1.005


@settings(max_examples=15)
@given(st.permutations([(2.0, 0.1, 3), (5.0, 0.3, 9), (12.0, 1.0, 7), (3.0, 0.05, 1)]))
def test_the_order_of_a_ledger_changes_no_digit(numbers: list[tuple[float, float, int]]) -> None:
    ordered = loss_distributions.epsilon(_releases(*sorted(numbers)), delta=1e-5)
    assert loss_distributions.epsilon(_releases(*numbers), delta=1e-5) == ordered


@settings(max_examples=25)
@given(st.floats(0.7, 50), st.floats(0.01, 1), st.integers(1, 300))
def test_the_quick_bound_is_never_below(sigma: float, rate: float, count: int) -> None:
    releases = _releases((sigma, rate, count))
    bound = loss_distributions.quick_bound(releases, delta=1e-5)
    if bound < 100:
        assert loss_distributions.epsilon(releases, delta=1e-5) <= bound


@pytest.mark.slow
def test_a_ledger_of_a_thousand_different_entries_is_composed() -> None:
    rng = random.Random(1)
    releases = _releases(
        *((rng.uniform(20, 60), rng.uniform(0.01, 0.2), rng.randint(5, 40)) for _ in range(1000))
    )
    epsilon = loss_distributions.epsilon(releases, delta=1e-5)
    assert 2.05 < epsilon < 2.07  # 2.0598 on a grid five times as fine
