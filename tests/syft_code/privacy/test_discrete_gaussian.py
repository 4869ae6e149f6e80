"""The discrete Gaussian: against its definition, against another exact sampler, and its sums."""

import math
import secrets
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from syft_code.errors import TrainingFailed
from syft_code.privacy import discrete_gaussian
from syft_code.privacy.discrete_gaussian import MOST_DEVIATIONS, sample
from syft_code.privacy.noise import NoiseSource

KEY = b"d" * 32


def test_known_answers_of_a_known_key() -> None:
    assert sample(5, 8, NoiseSource.from_key(bytes(32)).words).tolist() == [0, 0, 1, 0, 0, -3, 0, 0]
    large = sample(1 << 60, 2, NoiseSource.from_key(bytes(32)).words)
    assert large.tolist() == [-1_059_848_808, 52_687_842]


@pytest.mark.parametrize("variance", [1, 2, 7, 100])
def test_small_variances_have_the_probabilities_of_the_definition(variance: int) -> None:
    drawn = sample(variance, 200_000, NoiseSource.from_key(KEY).words)
    reach = math.ceil(5 * math.sqrt(variance))
    places = np.arange(-reach, reach + 1)
    chances = np.exp(-(places**2) / (2 * variance))
    _holds_chi_square(drawn, places, chances / chances.sum())


@pytest.mark.parametrize(
    "variance", [1 << 16, (1 << 18) - 1, 1 << 18, (1 << 18) + 255, 1 << 60, 1 << 80]
)
def test_large_variances_are_those_of_a_gaussian_in_bins(variance: int) -> None:
    drawn = sample(variance, 200_000, NoiseSource.from_key(KEY).words) / math.sqrt(variance)
    assert stats.kstest(drawn, "norm").pvalue > 1e-3
    assert abs(drawn).max() < MOST_DEVIATIONS
    assert drawn.var() == pytest.approx(1.0, abs=0.02)


VARIANCES = [
    *range(1, 40), 1023, (1 << 18) - 1,
    *(2**power + more for power in range(18, 80) for more in (0, 1, 255, 65_535)), 2**80,
]  # fmt: skip
"""Of one table, and of two to nine."""


@pytest.mark.parametrize("bits", [0, 2**64 - 1])
def test_no_words_draw_a_number_further_out_than_is_said(bits: int) -> None:
    """The extremes that a table can give are those of words of zeros and of ones alone."""
    for variance in VARIANCES:
        (drawn,) = sample(variance, 1, lambda size: np.full(size, bits, dtype=np.uint64))
        assert abs(int(drawn)) <= MOST_DEVIATIONS * math.sqrt(variance), variance


@pytest.mark.parametrize("variance", [1 << 18, (1 << 20) + 77])
def test_the_last_digits_of_two_parts_are_uniform(variance: int) -> None:
    """Were the finer part too narrow, multiples of 16 would stand out."""
    drawn = sample(variance, 200_000, NoiseSource.from_key(KEY).words)
    assert stats.chisquare(np.bincount(drawn % 16, minlength=16)).pvalue > 1e-3


@pytest.mark.parametrize("variance", [3, 40])
def test_it_agrees_with_the_exact_sampler_of_canonne_kamath_and_steinke(variance: int) -> None:
    ours = sample(variance, 20_000, NoiseSource.from_key(KEY).words)
    theirs = np.array([_exact(variance) for _ in range(4_000)])
    edge = math.ceil(2.5 * math.sqrt(variance))
    counts = [
        np.bincount(np.clip(of, -edge, edge) + edge, minlength=2 * edge + 1)
        for of in (ours, theirs)
    ]
    assert stats.chi2_contingency(counts).pvalue > 1e-3


def test_thresholds_are_exact_to_the_last_of_127_bits() -> None:
    """Against arithmetic of another kind: fractions of integers, by the series of exp."""
    variance, table = 9, discrete_gaussian._Table.of(9)
    weights = {k: _exp(Fraction(-k * k, 2 * variance)) for k in range(-60, 61)}
    whole = sum(weights.values())
    sums, so_far = {}, Fraction(0)
    for k in sorted(weights):
        so_far += weights[k]
        sums[k] = so_far / whole
    for place, threshold in enumerate(table._thresholds):
        exact = sums[place - table._reach] * 2**128
        assert abs(threshold - exact) < 2


@pytest.mark.parametrize(("below", "place"), [(1, 0), (0, 1)])
def test_a_tie_in_the_upper_half_is_decided_by_the_lower_one(below: int, place: int) -> None:
    table = discrete_gaussian._Table.of(4)
    middle = len(table._thresholds) // 2
    edge = table._thresholds[middle] - below
    given = [[edge >> 64], [edge % 2**64]]
    drawn = table.sample(1, lambda size: np.array(given.pop(0)[:size], dtype=np.uint64))
    assert drawn[0] == middle + place - table._reach


def test_a_sum_of_parts_is_the_discrete_gaussian_of_the_summed_variance() -> None:
    """Exactly computed, at variances so small that the bound of the theorem still shows."""
    for variance, count in ((1, 2), (1, 4), (2, 3)):
        one = _probabilities(variance)
        total = one
        for _ in range(count - 1):
            total = np.convolve(total, one)
        exact = _probabilities(count * variance, reach=(len(total) - 1) // 2)
        near = exact > 1e-12
        off = np.abs(np.log(total[near] / exact[near])).max()
        bound = 10 * sum(
            math.exp(-2 * math.pi**2 * variance * k / (k + 1)) for k in range(1, count)
        )
        assert 0 < off < bound


@pytest.mark.parametrize("variance", [0, -1, 2**80 + 1])
def test_an_impossible_variance_is_one_sentence(variance: int) -> None:
    with pytest.raises(TrainingFailed, match="must be from 1 to"):
        sample(variance, 1, NoiseSource.from_os().words)


def _holds_chi_square(drawn, places, chances) -> None:
    seen = np.array([(drawn == place).sum() for place in places])
    rest = len(drawn) - seen.sum()
    common = chances * len(drawn) > 5
    assert rest <= 5
    expected = chances[common] / chances[common].sum() * seen[common].sum()
    assert stats.chisquare(seen[common], expected).pvalue > 1e-3


def _probabilities(variance: int, reach: int = 40) -> np.ndarray:
    chances = np.exp(-(np.arange(-reach, reach + 1.0) ** 2) / (2 * variance))
    return chances / chances.sum()


def _exp(power: Fraction) -> Fraction:
    """The series, on an argument halved until it is short; to 2^-200 and better."""
    halvings = max(0, math.ceil(math.log2(max(1.0, abs(float(power))))) + 4)
    small, total, term = power / 2**halvings, Fraction(1), Fraction(1)
    for n in range(1, 60):
        term = term * small / n
        total += term
    for _ in range(halvings):
        total = Fraction(int(total**2 * 2**400), 2**400)
    return total


# Algorithms 1 to 3 of Canonne, Kamath & Steinke 2020, in fractions: no number is rounded anywhere.


def _bernoulli(chance: Fraction) -> bool:
    return secrets.randbelow(chance.denominator) < chance.numerator


def _bernoulli_exp(power: Fraction) -> bool:
    """True with probability exp(-power), algorithm 1."""
    while power > 1:
        if not _bernoulli_exp(Fraction(1)):
            return False
        power -= 1
    k = 1
    while _bernoulli(power / k):
        k += 1
    return k % 2 == 1


def _laplace(scale: int) -> int:
    """The discrete Laplace distribution, algorithm 2 with s = 1."""
    while True:
        low = secrets.randbelow(scale)
        if not _bernoulli_exp(Fraction(low, scale)):
            continue
        high = 0
        while _bernoulli_exp(Fraction(1)):
            high += 1
        size, negative = low + scale * high, _bernoulli(Fraction(1, 2))
        if size or not negative:
            return -size if negative else size


def _exact(variance: int) -> int:
    """Algorithm 3."""
    scale = math.isqrt(variance) + 1
    while True:
        y = _laplace(scale)
        if _bernoulli_exp((abs(y) - Fraction(variance, scale)) ** 2 / (2 * variance)):
            return y
