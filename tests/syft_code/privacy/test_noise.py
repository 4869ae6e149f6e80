"""The noise: a known stream, the right distributions, and never the same twice."""

import math
import os
import pickle

import numpy as np
import pytest
from scipy import stats

from syft_code.errors import TrainingFailed
from syft_code.privacy.noise import BLOCK, NoiseSource, grid_step, on_grid

ZERO_KEY = bytes(32)
# AES-256 with the zero key of the counter blocks 0 and 1: McGrew & Viega, "The Galois/Counter
# Mode of Operation", test cases 13 (hash key H, then the tag, which is E(K, Y0)).
KNOWN_BLOCKS = bytes.fromhex("dc95c078a2408989ad48a21492842087530f8afbc74536b9a963b4f1c4cb738b")
KNOWN_UNIFORMS = [
    (int.from_bytes(KNOWN_BLOCKS[i : i + 8], "little") >> 11) / 2**53
    for i in range(0, len(KNOWN_BLOCKS), 8)
]


def test_the_stream_is_aes_256_in_counter_mode() -> None:
    assert NoiseSource.from_key(ZERO_KEY).uniform(4).tolist() == KNOWN_UNIFORMS


def test_the_stream_goes_on_where_the_last_call_ended() -> None:
    source = NoiseSource.from_key(ZERO_KEY)
    assert [*source.uniform(1), *source.uniform(3)] == KNOWN_UNIFORMS


def test_normal_numbers_are_the_box_muller_pairs_of_the_stream() -> None:
    u, v = KNOWN_UNIFORMS[:2]
    radius = math.sqrt(-2.0 * math.log(1.0 - u))
    expected = [radius * math.cos(2 * math.pi * v), radius * math.sin(2 * math.pi * v)]
    assert NoiseSource.from_key(ZERO_KEY).normal(2) == pytest.approx(expected, rel=1e-12)


def test_normal_numbers_pass_kolmogorov_smirnov_against_scipy() -> None:
    numbers = NoiseSource.from_key(b"k" * 32).normal(400_001)
    assert numbers.dtype == np.float64
    assert stats.kstest(numbers, "norm").pvalue > 1e-3
    assert stats.kstest(numbers[numbers > 3.0], stats.truncnorm(3.0, np.inf).cdf).pvalue > 1e-3


@pytest.mark.parametrize(("word", "tail"), [(0, 2.0**-64), (2**47, 2.0**-17)])
def test_a_number_of_the_tail_has_53_bits_of_its_own(word, tail, monkeypatch) -> None:
    """Of 64 bits it would have none left: the words are all bits less that the stream gives."""
    given = [(~np.uint64(word)).tobytes(), bytes(7) + b"\x80", bytes(8)]  # t, its bits, v
    source = NoiseSource.from_os()
    monkeypatch.setattr(NoiseSource, "_keystream", lambda self, size: given.pop(0)[:size])
    last = 2.0**-65 + (0.5 * 2.0**-53) * 2.0**-64
    expected = math.sqrt(-2.0 * math.log((0.0 if word == 0 else tail) + last))
    assert source.normal(1)[0] == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize("std", [1e-30, 0.3, 1.0, 1.5, 1e30])
def test_what_was_noised_leaves_on_a_grid_that_is_coarse_against_float64(std: float) -> None:
    exact = std * np.linspace(-3.0, 3.0, 10_000)
    noised = NoiseSource.from_key(b"k" * 32).add_noise(exact, std=std)
    unrounded = exact + std * NoiseSource.from_key(b"k" * 32).normal(10_000)
    step = grid_step(std)
    assert 2.0**-16 <= step / std < 2.0**-15 and math.frexp(step)[0] == 0.5
    assert np.array_equal(noised / step, np.rint(noised / step))
    assert np.abs(noised - unrounded).max() <= step / 2
    assert np.abs(noised - unrounded).max() > 0.49 * step


def test_the_last_bits_of_a_noised_number_tell_what_it_was_added_to_and_the_grid_does_not() -> None:
    """Mironov's attack: 0 + noise is a number that noise can be; 1e5 + noise has lost its last bits.

    Without the grid one number tells the two apart; on it, their last bits are alike.
    """

    def odd(noised: np.ndarray, unit: float) -> float:
        return float((np.rint(noised / unit) % 2 == 1).mean())

    sources = [NoiseSource.from_key(b"k" * 32) for _ in range(2)]
    bare = [exact + source.normal(4000) for exact, source in zip((0.0, 1e5), sources, strict=True)]
    assert odd(bare[0], 2.0**-52) == pytest.approx(0.5, abs=0.2) and odd(bare[1], 2.0**-52) == 0.0
    rounded = [on_grid(numbers, std=1.0) for numbers in bare]
    for numbers in rounded:
        assert odd(numbers, grid_step(1.0)) == pytest.approx(0.5, abs=0.04)
        assert np.array_equal(numbers, np.rint(numbers * 2.0**16) / 2.0**16)


def test_halves_of_the_normal_numbers_are_uncorrelated() -> None:
    numbers = NoiseSource.from_key(b"k" * 32).normal(2 * BLOCK)
    for lag in (1, 2, BLOCK):
        assert abs(np.mean(numbers[lag:] * numbers[:-lag])) < 5 / math.sqrt(BLOCK)


@pytest.mark.parametrize("size", [0, 1, 2, 5, 2 * BLOCK - 1, 2 * BLOCK, 2 * BLOCK + 1])
def test_any_number_of_normal_numbers_can_be_drawn(size: int) -> None:
    numbers = NoiseSource.from_os().normal(size)
    assert numbers.shape == (size,) and np.isfinite(numbers).all()
    assert len(np.unique(numbers)) == size


def test_uniform_numbers_pass_kolmogorov_smirnov_and_use_53_bits() -> None:
    numbers = NoiseSource.from_key(b"u" * 32).uniform(200_000)
    assert numbers.min() >= 0.0 and numbers.max() < 1.0
    assert stats.kstest(numbers, "uniform").pvalue > 1e-3
    assert (numbers * 2.0**53 % 2 == 1).mean() == pytest.approx(0.5, abs=0.01)


def test_choices_are_even_and_never_past_the_end() -> None:
    counts = np.array([1, 2, 7] * 30_000)
    drawn = NoiseSource.from_key(b"c" * 32).choice(counts)
    assert (drawn >= 0).all() and (drawn < counts).all()
    sevenths = np.bincount(drawn[counts == 7], minlength=7)
    assert stats.chisquare(sevenths).pvalue > 1e-3


def test_two_sources_of_the_operating_system_never_repeat() -> None:
    numbers = np.concatenate([NoiseSource.from_os().uniform(1000) for _ in range(50)])
    assert len(np.unique(numbers)) == len(numbers)


def test_a_forked_copy_refuses_to_repeat_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    source = NoiseSource.from_os()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(TrainingFailed, match="stay in the process"):
        source.uniform(1)


def test_a_source_cannot_be_pickled_and_shows_no_key() -> None:
    source = NoiseSource.from_key(b"secret-key" + bytes(22))
    with pytest.raises(TrainingFailed):
        pickle.dumps(source)
    assert "secret" not in repr(source)


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(TrainingFailed, match="32 bytes, got 16"):
        NoiseSource.from_key(bytes(16))
