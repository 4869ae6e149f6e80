import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from syft_code import errors, sharing
from syft_code.errors import RangeExceeded, SharingError
from syft_code.plan import Sharing

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
KNOWN = json.loads((VECTORS / "sharing.json").read_text())
BAD = json.loads((VECTORS / "bad_sharing.json").read_text())["cases"]


def named(cases: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case["name"] for case in cases])


def settings(case: dict[str, Any]) -> Sharing:
    return Sharing(
        ring_bits=case["ring_bits"], fraction_bits=case["fraction_bits"], bound=case["bound"]
    )


def floats(texts: list[str], dtype: str = "float64") -> np.ndarray:
    return np.array([float.fromhex(text) for text in texts], dtype)


def seeds_of(texts: list[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


@named(KNOWN["cases"])
def test_known_answers_come_out_bit_for_bit(case: dict[str, Any]) -> None:
    rule, parties = settings(case), case["parties"]
    length = len(case["hospitals"][0]["values"])
    partials = [np.zeros(length, sharing.ring_dtype(rule.ring_bits)) for _ in range(parties)]
    for hospital in case["hospitals"]:
        values = floats(hospital["values"], case["dtype"])
        encoded = sharing.encode(values, rule, hospitals=len(case["hospitals"]))
        assert encoded.tobytes().hex() == hospital["encoded"]
        payloads = sharing.shard(encoded, parties=parties, seeds=seeds_of(hospital["seeds"]))
        assert [bytes(p).hex() for p in payloads] == [*hospital["seeds"], hospital["vector"]]
        for party, payload in enumerate(payloads, start=1):
            kind = "vector" if party == parties else "seed"
            sharing.add_share(partials[party - 1], payload, kind)
    assert [partial.tobytes().hex() for partial in partials] == case["partials"]
    total = sharing.unshard(partials)
    assert total.tobytes().hex() == case["sum"]
    assert np.array_equal(sharing.decode(total, rule), floats(case["decoded"]))


@pytest.mark.parametrize("stream", KNOWN["keystreams"], ids=lambda stream: stream["seed"][:8])
def test_a_seed_expands_to_the_known_aes_stream(stream: dict[str, str]) -> None:
    known = bytes.fromhex(stream["bytes"])
    words = len(known) // 4
    expanded = sharing.expand(bytes.fromhex(stream["seed"]), words, 32)
    assert expanded.tobytes() == known[: words * 4]


@named(BAD)
def test_broken_inputs_are_refused_with_their_error(case: dict[str, Any]) -> None:
    error = getattr(errors, case["error"])
    with pytest.raises(error) as caught:
        if case["step"] == "encode":
            values = floats(case["values"])
            sharing.encode(values, settings(case), hospitals=case["hospitals"])
        elif case["step"] == "shard":
            encoded = np.zeros(4, np.uint64)
            sharing.shard(encoded, parties=case["parties"], seeds=seeds_of(case["seeds"]))
        else:
            total = np.zeros(4, np.uint64)
            sharing.add_share(total, bytes.fromhex(case["payload"]), case["kind"])
    assert type(caught.value) is error


@pytest.mark.parametrize("length", [1, 16383, 16384, 16385, 70_000])
@pytest.mark.parametrize("ring_bits", [32, 64])
def test_blocks_join_without_a_seam(length: int, ring_bits: int) -> None:
    seed = bytes(range(32))
    whole = sharing.expand(seed, 80_000, ring_bits)
    assert np.array_equal(sharing.expand(seed, length, ring_bits), whole[:length])
    values = np.random.default_rng(length).normal(size=length)
    rule = Sharing(ring_bits=ring_bits, fraction_bits=20, bound=64.0)
    encoded = sharing.encode(values, rule, hospitals=4)
    assert np.array_equal(encoded.view(f"i{ring_bits // 8}"), np.rint(values * 2**20))
    plain = encoded.copy()
    (_, vector) = sharing.shard(encoded, parties=2, seeds=[seed])
    assert np.array_equal(np.frombuffer(vector, plain.dtype), plain - whole[:length])


@pytest.mark.parametrize("place", [0, 20_000, 69_999])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 65.0, -65.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_bad_coordinate_anywhere_is_refused_and_never_named(
    place: int, value: float, dtype: type
) -> None:
    values = np.zeros(70_000, dtype)
    values[place] = value
    with pytest.raises(RangeExceeded) as caught:
        sharing.encode(values, Sharing(bound=64.0), hospitals=3)
    assert str(caught.value) == (
        "Every coordinate must be finite and at most 64.0 in size, and one is not: "
        "clip the update, or plan a larger bound."
    )


def test_shard_leaves_no_plain_vector_behind() -> None:
    encoded = sharing.encode(np.ones(1000), Sharing(), hospitals=3)
    plain = encoded.copy()
    sharing.shard(encoded, parties=2, seeds=[bytes(32)])
    assert not np.any(encoded == plain)


def test_partial_sums_of_different_lengths_or_rings_do_not_add() -> None:
    four, five = np.zeros(4, np.uint64), np.zeros(5, np.uint64)
    for partials in ([four], [four, five], [four, four.astype(np.uint32)]):
        with pytest.raises(SharingError):
            sharing.unshard(partials)


def test_values_that_are_not_a_vector_of_floats_are_refused() -> None:
    for values in (np.zeros((2, 2)), np.zeros(2, np.int64), np.zeros(2, np.float16)):
        with pytest.raises(SharingError, match="one-dimensional, of float32 or float64"):
            sharing.encode(values, Sharing(), hospitals=3)


def test_a_sum_decodes_only_in_its_own_ring() -> None:
    with pytest.raises(SharingError, match="uint32"):
        sharing.decode(np.zeros(2, np.uint64), Sharing(ring_bits=32, fraction_bits=8, bound=8.0))
