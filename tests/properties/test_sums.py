"""Shared sums against plain sums: equal bit for bit, for every ring, roster and subset."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from syft_code import sharing
from syft_code.plan import Sharing

MOST_HOSPITALS = 10
RULES = {
    32: Sharing(ring_bits=32, fraction_bits=20, bound=200.0),
    64: Sharing(ring_bits=64, fraction_bits=24, bound=2.0**20),
}


def seeds(stream: st.DataObject, parties: int) -> list[bytes]:
    one = st.binary(min_size=32, max_size=32)
    return stream.draw(st.lists(one, min_size=parties - 1, max_size=parties - 1, unique=True))


def partial_sums(
    payloads: list[list[sharing.Payload]], length: int, ring_bits: int
) -> list[sharing.Ring]:
    parties = len(payloads[0])
    totals = [np.zeros(length, sharing.ring_dtype(ring_bits)) for _ in range(parties)]
    for shares in payloads:
        for party, payload in enumerate(shares):
            kind = "vector" if party == parties - 1 else "seed"
            sharing.add_share(totals[party], payload, kind)
    return totals


@given(
    st.data(),
    st.sampled_from([32, 64]),
    st.integers(2, MOST_HOSPITALS),
    st.integers(2, 5),
    st.sampled_from([np.float32, np.float64]),
)
def test_any_subset_sums_to_the_plain_fixed_point_sum(
    data: st.DataObject, ring_bits: int, hospitals: int, parties: int, dtype: type
) -> None:
    rule = RULES[ring_bits]
    length = data.draw(st.integers(1, 40))
    width = np.dtype(dtype).itemsize * 8
    element = st.floats(-rule.bound, rule.bound, width=width)
    updates = data.draw(
        st.lists(arrays.arrays(dtype, length, elements=element), min_size=hospitals, max_size=hospitals)
    )  # fmt: skip
    chosen = data.draw(st.sets(st.integers(0, hospitals - 1), min_size=1))
    encoded = [sharing.encode(update, rule, hospitals=MOST_HOSPITALS) for update in updates]
    payloads = [
        sharing.shard(encoded[one].copy(), parties=parties, seeds=seeds(data, parties))
        for one in chosen
    ]
    total = sharing.unshard(partial_sums(payloads, length, ring_bits))
    scale = 2**rule.fraction_bits
    plain = [sum(round(float(updates[one][i]) * scale) for one in chosen) for i in range(length)]
    assert total.view(f"i{ring_bits // 8}").tolist() == plain
    exact = [math.fsum(float(updates[one][i]) for one in chosen) for i in range(length)]
    error = np.abs(sharing.decode(total, rule) - exact)
    assert error.max() <= len(chosen) * 2.0 ** -(rule.fraction_bits + 1) * (1 + 1e-9)


@given(
    st.sampled_from([32, 64]),
    st.integers(1, 1000),
    st.integers(0, 40),
    st.floats(1e-3, 1e12),
)
def test_the_aligned_worst_case_never_wraps(
    ring_bits: int, hospitals: int, fraction_bits: int, bound: float
) -> None:
    rule = Sharing(
        ring_bits=ring_bits, fraction_bits=min(fraction_bits, ring_bits - 1), bound=bound
    )
    worst = np.array([bound, -bound])
    exact = hospitals * round(float(bound) * 2**rule.fraction_bits)
    try:
        encoded = sharing.encode(worst, rule, hospitals=hospitals)
    except sharing.RangeExceeded:
        assert hospitals * (bound * 2**rule.fraction_bits + 1) >= 2 ** (ring_bits - 1)
        return
    total = encoded * encoded.dtype.type(hospitals)
    assert total.view(f"i{ring_bits // 8}").tolist() == [exact, -exact]


@pytest.mark.parametrize("ring_bits", [32, 64])
def test_the_largest_bound_is_taken_and_the_next_one_refused(ring_bits: int) -> None:
    hospitals, top = 3, (2 ** (ring_bits - 1) - 1) // 3
    largest = float(top) if ring_bits == 32 else math.nextafter(float(top), 0)
    rule = Sharing(ring_bits=ring_bits, fraction_bits=0, bound=largest)
    encoded = sharing.encode(np.array([largest]), rule, hospitals=hospitals)
    total = encoded * encoded.dtype.type(hospitals)
    assert total.view(f"i{ring_bits // 8}").tolist() == [hospitals * int(largest)]
    beyond = math.nextafter(largest, math.inf) if ring_bits == 32 else largest * 1.001
    with pytest.raises(sharing.RangeExceeded):
        wide = Sharing(ring_bits=ring_bits, fraction_bits=0, bound=beyond)
        sharing.encode(np.zeros(1), wide, hospitals=hospitals)


@given(st.data(), st.sampled_from([32, 64]), st.integers(2, 5), st.integers(1, 30))
def test_without_one_seed_every_vector_is_as_likely(
    data: st.DataObject, ring_bits: int, parties: int, length: int
) -> None:
    """For a coalition that lacks one payload, another update explains all it sees.

    Party k lacks a seed: the vector that it holds minus the seeds that it knows is update
    minus mask, so any other update has the mask that fits. Checked as an identity.
    """
    ring = sharing.ring_dtype(ring_bits)
    update, other = (data.draw(arrays.arrays(ring, length)) for _ in range(2))
    known = seeds(data, parties)
    payloads = sharing.shard(update.copy(), parties=parties, seeds=known)
    masks = [sharing.expand(seed, length, ring_bits) for seed in known]
    seen = np.frombuffer(payloads[-1], ring) + sum(masks[1:], np.zeros(length, ring))
    assert np.array_equal(seen, update - masks[0])
    fitting = masks[0] + (other - update)
    assert np.array_equal(seen, other - fitting)
