"""Shared sums against plain sums: equal bit for bit, for every ring, scheme, roster and subset."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator, default_rng

from syft_code.errors import RangeExceeded
from syft_code.plans.plan_parts import Sharing
from syft_code.plans.roster import MOST_PATIENTS
from syft_code.secret_sharing import sharing
from syft_code.secret_sharing.sharing import Scheme
from tests.vectors import second

BITS = st.sampled_from([8, 16, 32, 64])
SCHEMES = [Scheme(k, n) for k in range(1, 6) for n in range(1, k + 1)]
KINDS = ("uniform", "highest", "lowest", "either", "zero", "tiny", "halves")


@dataclass(frozen=True, kw_only=True)
class Round:
    """What the hospitals of a round have: vectors, weights, and the plan's ring."""

    rule: Sharing
    scheme: Scheme
    values: list[np.ndarray]
    factors: list[float]
    weights: list[int]

    @property
    def roster(self) -> int:
        return len(self.values)

    def encoded(self, hospital: int) -> sharing.Ring:
        bits = self.rule.ring_bits
        return np.concatenate([
            sharing.encode(
                self.values[hospital], self.rule, hospitals=self.roster,
                factor=self.factors[hospital],
            ),
            sharing.encode_weight(self.weights[hospital], bits, hospitals=self.roster),
        ])  # fmt: skip

    def plain(self, hospital: int) -> list[int]:
        """The same by the second implementation, as signed whole numbers and unsigned digits."""
        bits, narrow = self.rule.ring_bits, self.values[hospital].dtype == np.float32
        values = [float(one) for one in self.values[hospital]]
        encoded = second.encode(
            values, bits, self.rule.fraction_bits, factor=self.factors[hospital], narrow=narrow
        )
        signed = [one - 2**bits if one >> (bits - 1) else one for one in encoded]
        return signed + second.encode_weight(self.weights[hospital], bits, self.roster)


@st.composite
def rounds(draw: st.DrawFn, *, weighted: bool = True) -> Round:
    """From 2 to 100 hospitals, any scheme, any ring; the widest fixed point that fits, or less."""
    bits, count = draw(BITS), draw(st.one_of(st.integers(2, 5), st.integers(2, 100)))
    room = ((2 ** (bits - 1) - 1) // count).bit_length() - 1
    exponent = draw(st.integers(-6, 20))
    mantissa = draw(st.sampled_from([0.5, 0.75, 1.0]))
    rule = Sharing(
        ring_bits=bits,
        fraction_bits=min(room - exponent - draw(st.integers(0, 3)), 64),
        bound=mantissa * 2.0**exponent,
    )
    rng = default_rng(draw(st.integers(0, 2**32)))
    dtype, length = draw(st.sampled_from([np.float32, np.float64])), draw(st.integers(1, 12))
    kind = draw(st.sampled_from(KINDS))
    weights = [int(rng.integers(1, MOST_PATIENTS, endpoint=True)) for _ in range(count)]
    factors = [weight / max(weights) if weighted else 1.0 for weight in weights]
    return Round(
        rule=rule,
        scheme=draw(st.sampled_from(SCHEMES)),
        values=[vector(kind, rule, length, rng).astype(dtype) for _ in range(count)],
        factors=factors,
        weights=weights,
    )


def vector(kind: str, rule: Sharing, length: int, rng: Generator) -> np.ndarray:
    bound, step = rule.bound, 2.0**-rule.fraction_bits
    match kind:
        case "highest" | "lowest":
            return np.full(length, bound if kind == "highest" else -bound)
        case "either":
            return bound * rng.choice([-1.0, 1.0], length)
        case "zero":
            return np.zeros(length)
        case "tiny":
            return rng.uniform(-1, 1, length) * min(step, bound)
        case "halves":  # ties, which go to the even neighbour
            most = int(bound / step)
            return (rng.integers(-most, most, length) + 0.5) * step if most else np.zeros(length)
        case _:
            return rng.uniform(-bound, bound, length)


def subset(draw: st.DataObject, count: int) -> list[int]:
    """Any hospitals but none drop out."""
    kept = draw.draw(st.integers(1, 2**count - 1))
    return [n for n in range(count) if kept >> n & 1]


def opened(one: Round, hospitals: list[int], draw: st.DataObject) -> sharing.Ring:
    """Shard, sum and unshard as `needed` aggregators do it that answer; any holder of a piece may."""
    scheme, rng = one.scheme, default_rng(draw.draw(st.integers(0, 2**32)))
    answering = rng.permutation(np.arange(1, scheme.parties + 1))[: scheme.needed].tolist()
    length = len(one.encoded(hospitals[0]))
    sums = {
        (party, piece): np.zeros(length, sharing.ring_dtype(one.rule.ring_bits))
        for party in answering
        for piece in scheme.held_by(party)
    }
    for hospital in hospitals:
        seeds = [rng.bytes(32) for _ in range(scheme.pieces - 1)]
        pieces = sharing.shard(one.encoded(hospital), scheme, seeds=seeds)
        for (_, piece), total in sums.items():
            if piece < scheme.pieces:
                sharing.add_seeds(total, [bytes(pieces[piece - 1])])
            else:
                sharing.add_vector(total, pieces[-1])
    chosen = []
    for piece in range(1, scheme.pieces + 1):
        able = [party for party in answering if (party, piece) in sums]
        chosen.append(sums[rng.choice(able), piece])
    return sharing.unshard(chosen)


def signed(total: sharing.Ring, one: Round) -> list[int]:
    """The values of a sum as signed whole numbers, then the digits of the weight."""
    length = len(one.values[0])
    return [*total[:length].view(f"<i{total.itemsize}").tolist(), *total[length:].tolist()]


@settings(max_examples=150)
@given(st.data(), rounds())
def test_any_hospitals_and_any_needed_aggregators_give_the_plain_sum(
    data: st.DataObject, one: Round
) -> None:
    hospitals = subset(data, one.roster)
    total = opened(one, hospitals, data)
    plain = [one.plain(hospital) for hospital in hospitals]
    assert signed(total, one) == [sum(column) for column in zip(*plain, strict=True)]
    weight = sharing.decode_weight(total[len(one.values[0]) :], hospitals=one.roster)
    assert weight == sum(one.weights[hospital] for hospital in hospitals)


@settings(max_examples=60)
@given(st.data(), rounds(), st.integers(2, 6))
def test_the_sums_of_disjoint_groups_add_up_to_the_sum_of_all(
    data: st.DataObject, one: Round, count: int
) -> None:
    hospitals = subset(data, one.roster)
    groups = [group for group in (hospitals[first::count] for first in range(count)) if group]
    parts = [opened(one, group, data) for group in groups]
    for group, part in zip(groups, parts, strict=True):
        plain = [one.plain(hospital) for hospital in group]
        assert signed(part, one) == [sum(column) for column in zip(*plain, strict=True)]
    assert np.array_equal(sharing.unshard(parts), opened(one, hospitals, data))


@settings(max_examples=100)
@given(st.data(), rounds(weighted=False))
def test_the_error_is_half_a_step_a_hospital(data: st.DataObject, one: Round) -> None:
    """Exactly so, in fractions; read as float64 it may be off by that format's rounding too."""
    hospitals = subset(data, one.roster)
    total, length = opened(one, hospitals, data), len(one.values[0])
    step = Fraction(2) ** -one.rule.fraction_bits
    decoded = sharing.decode(total[:length], one.rule)
    for place, whole in enumerate(signed(total, one)[:length]):
        exact = sum(Fraction(float(one.values[hospital][place])) for hospital in hospitals)
        assert abs(whole * step - exact) <= len(hospitals) * step / 2
        assert decoded[place] == float(whole) * float(step)


@settings(max_examples=100)
@given(rounds())
def test_a_weight_costs_the_rounding_of_two_products_more(one: Round) -> None:
    """The factor in the values' own precision, and the product with it."""
    step = Fraction(2) ** -one.rule.fraction_bits
    for hospital, factor in enumerate(one.factors):
        unit = Fraction(float(np.finfo(one.values[hospital].dtype).eps))
        whole = one.plain(hospital)
        for place, value in enumerate(one.values[hospital]):
            exact = Fraction(float(value)) * Fraction(factor)
            assert abs(whole[place] * step - exact) <= step / 2 + abs(exact) * unit * 2


@settings(max_examples=200)
@given(
    BITS,
    st.integers(1, 1000),
    st.integers(-64, 64),
    st.floats(2.0**-64, 2.0**64, allow_nan=False),
    st.sampled_from([np.float32, np.float64]),
)
def test_the_aligned_worst_case_never_wraps(
    bits: Any, hospitals: int, fraction_bits: int, bound: float, dtype: type
) -> None:
    """And what is refused could have: the check is exact in whole numbers."""
    rule = Sharing(ring_bits=bits, fraction_bits=fraction_bits, bound=bound)
    largest = math.ceil(Fraction(bound) * Fraction(2) ** fraction_bits)
    worst = np.array([bound, -bound]).astype(dtype)
    if np.abs(worst).max() > bound:  # float32 rounded the bound up
        worst = np.nextafter(worst, dtype(0))
    if hospitals * largest >= 2 ** (bits - 1):
        with pytest.raises(RangeExceeded):
            sharing.encode(worst, rule, hospitals=hospitals)
        return
    encoded = sharing.encode(worst, rule, hospitals=hospitals)
    exact = hospitals * round(Fraction(float(worst[0])) * Fraction(2) ** fraction_bits)
    total = encoded * encoded.dtype.type(hospitals)
    assert total.view(f"i{bits // 8}").tolist() == [exact, -exact]


@settings(max_examples=100)
@given(BITS, st.data())
def test_digits_of_weights_never_wrap(bits: int, data: st.DataObject) -> None:
    """Also if all hospitals have the largest weight."""
    hospitals = data.draw(st.integers(1, min(2 ** (bits - 1), 2**20)))
    weight = data.draw(st.sampled_from([MOST_PATIENTS, 1, 2**23, 0x555555]))
    digits = sharing.encode_weight(weight, bits, hospitals=hospitals)
    total = [int(digit) * hospitals for digit in digits]
    assert max(total) < 2**bits
    summed = np.array(total, digits.dtype)
    assert sharing.decode_weight(summed, hospitals=hospitals) == weight * hospitals
