"""From guesses who was there to a lower bound of epsilon. Pure functions.

    scores without and with a patient ─▶ `best_rates` ─▶ `refutes` a claim, or not ─▶ `lower_bound`
    one run with many patients ─▶ how many of its guesses were right ─▶ `one_run_bound`

A claim bounds every test at once: whoever calls a patient present with probability a when they are
not may do so with probability 1 - f(a) at most when they are, f being the claim's trade-off function.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import beta, binom, norm

from syft_code.privacy import loss_distributions
from syft_code.privacy.loss_distributions import Releases

Scores = NDArray[np.float64]
CHOOSING = 4
"""One run in so many chooses the threshold; the others, which did not, are counted."""
CHOOSING_ERROR = 0.1
EPSILONS = np.concatenate([np.linspace(0.0, 5.0, 101), np.linspace(5.25, 30.0, 100)])
LIMIT = 100.0
"""Of the epsilons that are looked for: a privacy loss distribution past it has no end."""
HALVINGS = 10
SLACK = 1e-9
"""Of probabilities: privacy loss distributions are exact to less."""
LEAST_FACTOR, MOST_FACTOR = 1 / 16, 64.0
"""Of a claim's noise, between which a lower bound is looked for."""


@dataclass(frozen=True, slots=True)
class Rates:
    """How often a test says "present": at most, of runs without the patient; at least, with them."""

    false_positive: float
    true_positive: float

    @property
    def mu(self) -> float:
        """The Gaussian lower bound: the mechanism is mu-GDP for no smaller mu.

        Source: Dong, Roth & Su 2022, "Gaussian differential privacy", definition 4; Nasr et al. 2023,
            "Tight auditing of differentially private machine learning", arXiv 2302.07956, section 4.

        >>> round(Rates(0.158655, 0.841345).mu, 3)
        2.0
        """
        return float(norm.isf(self.false_positive) - norm.isf(self.true_positive))


def best_rates(without: Scores, present: Scores, *, error: float) -> Rates:
    """Of the test "score at least t", or at most: which, and t, by some runs, its rates by the others.

    Guarantee: both rates hold at once with probability 1 - `error`, whatever the scores' distribution.
    Source: Clopper & Pearson 1934.
    """
    _, sign, threshold = max(_chosen(without, present, sign) for sign in (1.0, -1.0))
    counted, shown = (sign * of[len(of) // CHOOSING :] for of in (without, present))
    upper, lower = _rates(counted, shown, np.array([threshold]), error=error)
    return Rates(float(upper[0]), float(lower[0]))


def _chosen(without: Scores, present: Scores, sign: float) -> tuple[float, float, float]:
    """The best threshold on scores of this sign, after the mu that it gives."""
    first, second = (sign * of[: len(of) // CHOOSING] for of in (without, present))
    tried = np.unique(np.concatenate([first, second]))
    upper, lower = _rates(first, second, tried, error=CHOOSING_ERROR)
    mu = norm.isf(upper) - norm.isf(lower)
    best = int(np.argmax(mu))
    return float(mu[best]), sign, float(tried[best])


def refutes(rates: Rates, claim: Sequence[Releases], *, delta: float) -> bool:
    """Whether no mechanism that keeps the claim could have these rates, at any epsilon.

    (epsilon, delta)-DP is p <= e^epsilon a + delta and 1 - a <= e^epsilon (1 - p) + delta for each
    test that says "present" with probability a without the patient and p with them; the claim's
    privacy loss distribution gives delta for each epsilon. It is computed to the tails of `delta`.
    """
    a, p = rates.false_positive, rates.true_positive
    deltas = loss_distributions.deltas(claim, EPSILONS, tails=delta)
    factor = np.exp(EPSILONS)
    excess = np.maximum(p - factor * a, (1 - a) - factor * (1 - p)) - deltas
    return bool(np.any(excess > SLACK))


def lower_bound(rates: Rates, claim: Sequence[Releases], *, delta: float) -> float:
    """The epsilon of the claim with the least noise that these rates still refute; 0 for none.

    Where all patients are in each sample, this is the epsilon of `Rates.mu`.
    """
    low, high = LEAST_FACTOR, MOST_FACTOR
    while loss_distributions.quick_bound(_scaled(claim, low), delta=delta) > LIMIT and low < 1:
        low *= 1.1
    if not refutes(rates, _scaled(claim, high), delta=delta):
        return 0.0
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        if refutes(rates, _scaled(claim, middle), delta=delta):
            high = middle
        else:
            low = middle
    return loss_distributions.epsilon(_scaled(claim, high), delta=delta)


def one_run_bound(guesses: int, right: int, *, patients: int, delta: float, error: float) -> float:
    """Epsilon of one run in which so many of the guesses were right; 0 if none is refuted.

    Each of the `patients` was there with probability 1/2, independently, and a guess says whether
    one was; about the others nothing is said.

    Guarantee: an (epsilon, delta)-DP mechanism gives more than its epsilon with probability `error`.
    Source: Steinke, Nasr & Jagielski 2023, "Privacy auditing with one (1) training run", arXiv
        2305.08846, theorem 5.2 and appendix D.

    >>> round(one_run_bound(100, 100, patients=1000, delta=0.0, error=0.05), 2)
    3.49
    """

    def excess(epsilon: float) -> float:
        chance = _chance(guesses, right, epsilon, patients=patients, delta=delta)
        return math.log(max(chance, 1e-300) / error)

    if excess(0.0) >= 0:
        return 0.0
    return float(brentq(excess, 0.0, LIMIT, xtol=1e-4))


def _chance(guesses: int, right: int, epsilon: float, *, patients: int, delta: float) -> float:
    """At most: of so many right guesses or more, under (epsilon, delta)-DP."""
    rate = 1.0 / (1.0 + math.exp(-epsilon))
    fewer = np.arange(1, right + 1)
    within = np.cumsum(binom.pmf(right - fewer, guesses, rate))
    slope = float(np.max(within / fewer, initial=0.0))
    tail = float(binom.sf(right - 1, guesses, rate))
    return min(1.0, tail + 2.0 * patients * delta * slope)


def _rates(
    without: Scores, present: Scores, thresholds: Scores, *, error: float
) -> tuple[Scores, Scores]:
    """For each threshold the false positives at most, the true positives at least."""
    false, true = (len(of) - np.searchsorted(np.sort(of), thresholds) for of in (without, present))
    # A beta distribution needs both of its numbers above 0: where one is 0 nothing is known.
    missed = len(without) - false
    upper = np.where(missed, beta.isf(error / 2, false + 1, np.maximum(missed, 1)), 1.0)
    lower = beta.ppf(error / 2, np.maximum(true, 1), len(present) - true + 1)
    return upper, np.where(true, lower, 0.0)


def _scaled(claim: Sequence[Releases], factor: float) -> list[Releases]:
    return [replace(kind, noise_multiplier=factor * kind.noise_multiplier) for kind in claim]
