import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from syft_code import canonical, errors
from syft_code.errors import RangeExceeded, SharingError
from syft_code.plans.plan_parts import Sharing
from syft_code.secret_sharing import sharing
from syft_code.secret_sharing.sharing import Scheme

VECTORS = Path(__file__).resolve().parents[2] / "vectors"
KNOWN = json.loads((VECTORS / "sharing.json").read_text())
BAD = json.loads((VECTORS / "bad_sharing.json").read_text())["cases"]
SCHEMES = [(k, n) for k in range(1, 6) for n in range(1, k + 1)]


def named(cases: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case["name"] for case in cases])


def settings(case: dict[str, Any]) -> Sharing:
    return Sharing(
        ring_bits=case["ring_bits"],
        fraction_bits=case["fraction_bits"],
        bound=float.fromhex(case["bound"]),
    )


def floats(texts: list[str], dtype: str = "float64") -> np.ndarray:
    return np.array([float.fromhex(text) for text in texts], dtype)


def seeds_of(texts: list[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


def ring(text: str, bits: int) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(text), sharing.ring_dtype(bits))


@named(KNOWN["cases"])
def test_known_answers_come_out_bit_for_bit(case: dict[str, Any]) -> None:
    rule, scheme = settings(case), Scheme(case["parties"], case["needed"])
    count, bits = len(case["hospitals"]), case["ring_bits"]
    assert [list(scheme.holders(n + 1)) for n in range(scheme.pieces)] == case["holders"]
    values_length = len(case["hospitals"][0]["values"])
    length = values_length + sharing.weight_length(bits, count)
    sums = [np.zeros(length, sharing.ring_dtype(bits)) for _ in range(scheme.pieces)]
    for hospital in case["hospitals"]:
        values, factor = floats(hospital["values"], case["dtype"]), hospital["factor"]
        encoded = np.concatenate([
            sharing.encode(values, rule, hospitals=count, factor=float.fromhex(factor)),
            sharing.encode_weight(hospital["weight"], bits, hospitals=count),
        ])  # fmt: skip
        assert encoded.tobytes().hex() == hospital["encoded"]
        pieces = sharing.shard(encoded, scheme, seeds=seeds_of(hospital["seeds"]))
        assert [bytes(p).hex() for p in pieces] == [*hospital["seeds"], hospital["vector"]]
        for total, seed in zip(sums, pieces[:-1], strict=False):
            sharing.add_seeds(total, [bytes(seed)])
        sharing.add_vector(sums[-1], pieces[-1])
    assert [one.tobytes().hex() for one in sums] == case["piece_sums"]
    total = sharing.unshard(sums)
    assert total.tobytes().hex() == case["sum"]
    decoded = sharing.decode(total[:values_length], rule)
    assert np.array_equal(decoded, floats(case["decoded"]))
    weight = sharing.decode_weight(total[values_length:], hospitals=count)
    assert weight == case["weight"] == sum(one["weight"] for one in case["hospitals"])


@pytest.mark.parametrize("stream", KNOWN["keystreams"][:3], ids=lambda stream: stream["seed"][:8])
@pytest.mark.parametrize("bits", [8, 16, 32, 64])
def test_a_seed_expands_to_the_known_aes_stream_in_every_ring(
    stream: dict[str, str], bits: int
) -> None:
    known = bytes.fromhex(stream["bytes"])
    count = len(known) * 8 // bits
    expanded = sharing.expand(bytes.fromhex(stream["seed"]), count, bits)
    assert expanded.tobytes() == known[: count * bits // 8]


def test_a_long_stream_has_the_known_hash() -> None:
    known = KNOWN["keystreams"][3]
    expanded = sharing.expand(bytes.fromhex(known["seed"]), known["size_bytes"], 8)
    assert canonical.sha256(expanded.data) == known["sha256"]


@pytest.mark.parametrize("ring_bits", [8, 16, 32, 64])
def test_a_weight_has_the_known_digits_and_comes_back(ring_bits: int) -> None:
    cases = [case for case in KNOWN["weights"] if case["ring_bits"] == ring_bits]
    assert cases
    for case in cases:
        hospitals = case["hospitals"]
        digits = sharing.encode_weight(case["weight"], ring_bits, hospitals=hospitals)
        assert digits.tobytes().hex() == case["digits"]
        assert sharing.decode_weight(digits, hospitals=hospitals) == case["weight"]
        assert len(digits) == sharing.weight_length(ring_bits, hospitals)


@pytest.mark.parametrize("case", KNOWN["spans"], ids=lambda c: f"{c['ring_bits']}-{c['fits']}")
def test_the_largest_bound_is_taken_and_the_next_float_is_refused(case: dict[str, Any]) -> None:
    rule, hospitals = settings(case), case["hospitals"]
    ends = np.array([rule.bound, -rule.bound])
    if not case["fits"]:
        with pytest.raises(RangeExceeded, match="hospitals x bound"):
            sharing.encode(np.zeros(2), rule, hospitals=hospitals)
        return
    encoded = sharing.encode(ends, rule, hospitals=hospitals)
    total = encoded * encoded.dtype.type(hospitals)
    high = hospitals * round(rule.bound * 2.0**rule.fraction_bits)
    assert high < 2 ** (case["ring_bits"] - 1)
    assert total.view(f"i{total.itemsize}").tolist() == [high, -high]


@named(BAD)
def test_broken_inputs_are_refused_with_their_error(case: dict[str, Any]) -> None:
    error = getattr(errors, case["error"])
    with pytest.raises(error) as caught:
        STEPS[case["step"]](case)
    assert type(caught.value) is error


def encode(case: dict[str, Any]) -> None:
    factor = float.fromhex(case.get("factor", "0x1p+0"))
    values = floats(case["values"], case["dtype"])
    sharing.encode(values, settings(case), hospitals=case["hospitals"], factor=factor)


def shard(case: dict[str, Any]) -> None:
    scheme = Scheme(case["parties"], case["needed"])
    sharing.shard(np.zeros(4, np.uint64), scheme, seeds=seeds_of(case["seeds"]))


def zeros(case: dict[str, Any]) -> np.ndarray:
    return np.zeros(case["length"], sharing.ring_dtype(case["ring_bits"]))


STEPS = {
    "encode": encode,
    "shard": shard,
    "scheme": lambda case: Scheme(case["parties"], case["needed"]),
    "weight": lambda case: sharing.encode_weight(
        case["weight"], case["ring_bits"], hospitals=case["hospitals"]
    ),
    "add_vector": lambda case: sharing.add_vector(zeros(case), bytes.fromhex(case["payload"])),
    "add_seeds": lambda case: sharing.add_seeds(zeros(case), [bytes.fromhex(case["payload"])]),
    "decode": lambda case: sharing.decode(zeros(case), Sharing(ring_bits=case["as_bits"])),
}


@pytest.mark.parametrize(("parties", "needed"), SCHEMES)
def test_any_needed_aggregators_hold_all_pieces_and_any_fewer_lack_one(
    parties: int, needed: int
) -> None:
    scheme = Scheme(parties, needed)
    everything = set(range(1, scheme.pieces + 1))
    for size in range(1, parties + 1):
        for some in itertools.combinations(range(1, parties + 1), size):
            held = {piece for party in some for piece in scheme.held_by(party)}
            assert (held == everything) == (size >= needed)
            if size == needed - 1:
                assert len(everything - held) == 1
    for party in range(1, parties + 1):
        vector = (scheme.pieces,) if scheme.has_vector(party) else ()
        assert scheme.seeds_of(party) + vector == scheme.held_by(party)
        assert all(party in scheme.holders(piece) for piece in scheme.held_by(party))


@pytest.mark.parametrize("size_bytes", [1, 16, 131072 - 8, 131072, 131072 + 8, 2**20 + 24])
@pytest.mark.parametrize("ring_bits", [8, 64])
def test_blocks_join_without_a_seam(size_bytes: int, ring_bits: int) -> None:
    seeds = [bytes(range(32)), bytes(range(1, 33))]
    length = max(size_bytes * 8 // ring_bits, 1)
    wholes = [sharing.expand(seed, 2**21 * 8 // ring_bits, ring_bits) for seed in seeds]
    values = np.random.default_rng(length).uniform(-1, 1, length)
    rule = Sharing(ring_bits=ring_bits, fraction_bits=min(ring_bits, 40) - 4, bound=1.0)
    encoded = sharing.encode(values, rule, hospitals=4)
    signed = np.rint(values * 2.0**rule.fraction_bits)
    assert np.array_equal(encoded.view(f"i{ring_bits // 8}"), signed)
    plain = encoded.copy()
    (*_, vector) = sharing.shard(encoded, Scheme(3, 3), seeds=seeds)
    expected = plain - wholes[0][:length] - wholes[1][:length]
    assert np.array_equal(np.frombuffer(vector, plain.dtype), expected)


@pytest.mark.parametrize("ring_bits", [8, 16, 32, 64])
@pytest.mark.parametrize("length", [1, 40_000, 600_001])
def test_one_pass_on_any_number_of_threads_gives_the_same_bytes(
    ring_bits: int, length: int
) -> None:
    rule = Sharing(ring_bits=ring_bits, fraction_bits=min(ring_bits, 40) - 4, bound=1.0)
    values = np.random.default_rng(length).uniform(-1, 1, length)
    seeds = [bytes([n]) * 32 for n in range(2)]
    encoded = np.concatenate([
        sharing.encode(values, rule, hospitals=4, factor=0.7),
        sharing.encode_weight(12345, ring_bits, hospitals=4),
    ])  # fmt: skip
    slow = sharing.shard(encoded.copy(), Scheme(3, 2), seeds=seeds)
    for threads in (1, 2, 5):
        fast = sharing.encode_and_shard(
            values, rule, Scheme(3, 2), weight=12345, seeds=seeds, hospitals=4, factor=0.7,
            threads=threads,
        )  # fmt: skip
        assert [bytes(one) for one in fast] == [bytes(one) for one in slow]
        total = np.frombuffer(fast[-1], encoded.dtype).copy()
        sharing.add_seeds(total, seeds, threads=threads)
        assert np.array_equal(total, encoded)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 65.0, -65.0])
def test_one_bad_coordinate_anywhere_is_refused_and_never_named(value: float) -> None:
    for place, dtype in itertools.product((0, 20_000, 69_999), (np.float32, np.float64)):
        values = np.zeros(70_000, dtype)
        values[place] = value
        with pytest.raises(RangeExceeded) as caught:
            sharing.encode(values, Sharing(bound=64.0), hospitals=3)
        assert str(caught.value) == (
            "Every coordinate must be finite and at most 64.0 in size, and one is not: "
            "clip the update, or plan a larger bound."
        )


def test_the_bound_is_on_what_is_shared_after_the_factor() -> None:
    rule, twice = Sharing(bound=64.0), np.array([128.0])
    assert sharing.encode(twice, rule, hospitals=3, factor=0.5).tolist() == [64 * 2**18]
    with pytest.raises(RangeExceeded):
        sharing.encode(twice, rule, hospitals=3, factor=0.51)


def test_an_infinite_coordinate_is_refused_whatever_its_factor() -> None:
    for value in (np.inf, -np.inf, np.nan):
        with pytest.raises(RangeExceeded):
            sharing.encode(np.array([value]), Sharing(), hospitals=3, factor=1e-300)


def test_encoding_leaves_the_values_as_they_were() -> None:
    values = np.array([0.5, -1.25, 63.0])
    sharing.encode(values, Sharing(), hospitals=3, factor=0.3)
    assert values.tolist() == [0.5, -1.25, 63.0]


@pytest.mark.parametrize(("parties", "needed"), [(2, 2), (3, 3), (3, 2), (5, 3)])
def test_shard_leaves_no_plain_vector_behind(parties: int, needed: int) -> None:
    scheme = Scheme(parties, needed)
    encoded = sharing.encode(np.ones(1000), Sharing(), hospitals=3)
    plain = encoded.copy()
    sharing.shard(encoded, scheme, seeds=[bytes([n]) * 32 for n in range(scheme.pieces - 1)])
    assert not np.any(encoded == plain)


def test_piece_sums_of_different_lengths_or_rings_do_not_add() -> None:
    four, five = np.zeros(4, np.uint64), np.zeros(5, np.uint64)
    for sums in ([], [four, five], [four, four.astype(np.uint32)]):
        with pytest.raises(SharingError):
            sharing.unshard(sums)


def test_unshard_leaves_the_piece_sums_as_they_were() -> None:
    sums = [np.full(3, n, np.uint32) for n in (1, 2, 3)]
    assert sharing.unshard(sums).tolist() == [6, 6, 6]
    assert [one.tolist() for one in sums] == [[1] * 3, [2] * 3, [3] * 3]


def test_values_that_are_not_a_vector_of_floats_are_refused() -> None:
    for values in (np.zeros((2, 2)), np.zeros(2, np.int64), np.zeros(2, np.float16)):
        with pytest.raises(SharingError, match="one-dimensional, of float32 or float64"):
            sharing.encode(values, Sharing(), hospitals=3)


def test_a_sum_decodes_only_in_its_own_ring() -> None:
    with pytest.raises(SharingError, match="uint32"):
        sharing.decode(np.zeros(2, np.uint64), Sharing(ring_bits=32, fraction_bits=8, bound=8.0))


def test_no_other_ring_exists() -> None:
    for bits in (0, 1, 12, 24, 128):
        with pytest.raises(SharingError, match="8, 16, 32 or 64 bits"):
            sharing.ring_dtype(bits)
