"""Steps 6 to 8 of docs/privacy.md, on one number, against exact sums: what whole numbers change."""

import math

import numpy as np
import pytest
from scipy.special import comb
from scipy.stats import norm


def discrete(sigma: float, shift: int = 0, reach: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    places = np.arange(-reach, reach + 1)
    chances = np.exp(-((places - shift) ** 2) / (2 * sigma**2))
    return places, chances / chances.sum()


def distance(numbers: float, sigma: float, chance: float) -> float:
    """The a of step 8."""
    u, short = 1 / (24 * sigma**2), math.log(1 / chance)
    return u * (math.sqrt(8 * numbers * short) + 267 * short) + 5 * numbers * u**2


@pytest.mark.parametrize("rate", [1.0, 0.3])
@pytest.mark.parametrize(("sigma", "shift"), [(1.0, 1), (2.0, 3), (5.0, 4)])
def test_whole_moments_of_whole_shifts_are_the_gaussians(sigma, shift, rate) -> None:
    _, q = discrete(sigma)
    _, p = discrete(sigma, shift)
    there = q > 0
    for order in range(2, 9):
        mixed = 1 - rate + rate * p[there] / q[there]
        exact = float(np.sum(q[there] * mixed**order))
        gaussian = sum(
            comb(order, j)
            * (1 - rate) ** (order - j)
            * rate**j
            * math.exp(j * (j - 1) * shift**2 / (2 * sigma**2))
            for j in range(order + 1)
        )
        assert exact == pytest.approx(gaussian, rel=1e-9)


@pytest.mark.parametrize("sigma", [4.0, 16.0])
def test_a_cell_of_the_gaussian_is_near_the_discrete_one_on_the_side_that_is_said(sigma) -> None:
    places = np.arange(0, int(10 * sigma))
    nodes, weights = np.polynomial.legendre.leggauss(40)
    t = nodes[:, None] / 2
    mean = (weights[:, None] / 2 * np.exp(-(2 * places * t + t**2) / (2 * sigma**2))).sum(axis=0)
    off, u = np.log(mean), 1 / (24 * sigma**2)
    assert np.all(off >= -u * (1 + 1e-9))
    assert np.all(off <= u * (places / sigma) ** 2 + 1e-12)
    assert off.max() > 0.9 * u * (10 - 1 / sigma) ** 2 - u, "the bound is no loose one"


@pytest.mark.parametrize(("sigma", "shift"), [(8.0, 8), (8.0, 3), (32.0, 40)])
def test_the_privacy_profile_is_the_gaussians_but_for_the_distance(sigma, shift) -> None:
    _, q = discrete(sigma)
    _, p = discrete(sigma, shift)
    ratio, above = shift / sigma, 0
    chance = 1e-9
    a = distance(1, sigma, chance)
    for epsilon in np.linspace(0.0, 6.0, 61):
        exact = float(np.maximum(p - math.exp(epsilon) * q, 0).sum())
        continuous = profile(ratio, epsilon)
        nearer = profile(ratio, epsilon - 2 * a)
        assert exact <= math.exp(a) * nearer + (1 + math.exp(epsilon + a)) * chance
        above += exact > continuous * (1 + 1e-12)
    assert above, "there is something to lose, else step 8 would be needless"


def profile(ratio: float, epsilon: float) -> float:
    """Delta of the Gaussian mechanism, noise std ÷ sensitivity 1 / ratio (Balle & Wang 2018)."""
    far, near = epsilon / ratio + ratio / 2, epsilon / ratio - ratio / 2
    return float(norm.sf(near) - math.exp(epsilon) * norm.sf(far))


def test_the_figures_of_the_page() -> None:
    assert 2 * distance(1e9, 4096, 1e-12) < 0.0024
    assert 2 * distance(672 * 200, 1e8, 1e-12) < 1e-11
