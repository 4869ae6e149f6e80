import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nacl.signing import SigningKey

from syft_code import canonical
from syft_code.errors import InvalidMessage, RangeExceeded, SharingError
from syft_code.plans import messages
from syft_code.plans.algorithms import Scaffold
from syft_code.plans.messages import Purpose, RoundStatement, ShareHeader, Signed
from syft_code.plans.plan import Plan
from syft_code.recipes.recipe import parameter_count
from syft_code.secret_sharing import envelope
from syft_code.secret_sharing.envelope import SealedShare
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests import opening
from tests.vectors import second, studies

VECTORS = Path(__file__).resolve().parents[2] / "vectors"
KNOWN = json.loads((VECTORS / "envelope.json").read_text())
BAD = json.loads((VECTORS / "bad_envelope.json").read_text())["cases"]
HOSPITALS = {name: SigningKey(seed) for name, seed in studies.SIGN_SEEDS.items()}
SEALS = studies.SEAL_KEYS
STATEMENT = RoundStatement(**studies.STATEMENT)
ENDS = pytest.mark.parametrize("name", list(KNOWN["plans"]))


def plan_of(name: str) -> Plan:
    return Plan.decode(KNOWN["plans"][name].encode())


PLAN = plan_of("3 of 3")


def secrets(count: int) -> list[bytes]:
    return [os.urandom(32) for _ in range(count)]


def make_shares(
    plan: Plan = PLAN,
    *,
    hospital: str = "north",
    purpose: Purpose = "train",
    round_number: int = 1,
    **changes: Any,
) -> list[SealedShare]:
    given: dict[str, Any] = {
        "values": np.arange(VectorLayout.of(plan).values_length(purpose)) / 8,
        "hospital_key": HOSPITALS[hospital],
        "statement": STATEMENT,
        "seeds": secrets(envelope.scheme(plan).pieces - 1),
        "content_keys": secrets(len(plan.aggregators)),
    }
    return envelope.seal(
        plan, hospital=hospital, purpose=purpose, round_number=round_number, **(given | changes)
    )


def open_one(share: SealedShare, *, party: int = 1, plan: Plan = PLAN) -> bytes:
    key = SEALS[party - 1]
    opened = envelope.open_share(plan, party, share.header, share.sealed, seal_key=key)
    return b"".join(opened)


def forge(share: SealedShare, *, by: str = "north", **changes: object) -> SealedShare:
    """The same sealed bytes under a header that a hospital of the roster signed anew."""
    header = canonical.parse(ShareHeader, share.header.message.encode(), what="header")
    changed = dataclasses.replace(header, **changes)
    return SealedShare(header=messages.sign(changed, HOSPITALS[by]), sealed=share.sealed)


# --- known answers ---


@pytest.mark.parametrize("case", KNOWN["cases"], ids=lambda case: case["name"])
def test_a_share_of_the_second_implementation_opens_to_its_payload(case: dict[str, Any]) -> None:
    share = SealedShare(header=Signed(**case["header"]), sealed=bytes.fromhex(case["sealed"]))
    opened = open_one(share, party=case["party"], plan=plan_of(case["plan"]))
    assert opened.hex() == case["payload"]


@pytest.mark.parametrize("case", KNOWN["cases"], ids=lambda case: case["name"])
def test_a_share_has_the_known_payload_and_opens_in_the_second_implementation(
    case: dict[str, Any],
) -> None:
    plan, party = plan_of(case["plan"]), case["party"]
    keys = secrets(len(plan.aggregators))
    keys[party - 1] = bytes.fromhex(case["content_key"])
    shares = make_shares(
        plan,
        values=np.array([float.fromhex(text) for text in case["values"]]),
        seeds=[bytes.fromhex(text) for text in case["seeds"]],
        content_keys=keys,
    )
    share = shares[party - 1]
    sealed = bytes(share.sealed)
    assert sealed[80:].hex() == case["sealed"][160:]
    fields = json.loads(share.header.message)
    known = json.loads(case["header"]["message"])
    assert fields == known | {"sealed_sha256": second.sha256(sealed)}
    assert share.header == Signed(**second.sign("ShareHeader", fields, studies.SIGN_SEEDS["north"]))
    opened = second.open_seal(fields, sealed, seal_key=SEALS[party - 1])
    assert opened.hex() == case["payload"]


@pytest.mark.parametrize("case", KNOWN["streams"], ids=lambda case: case["name"])
def test_long_payloads_are_cut_into_the_known_chunks(case: dict[str, Any]) -> None:
    fields, party = studies.stream_plan(case["name"]), case["party"]
    plan = Plan.decode(second.canonical(fields))
    keys = secrets(len(plan.aggregators))
    keys[party - 1] = bytes.fromhex(case["content_key"])
    share = make_shares(
        plan,
        values=np.zeros(VectorLayout.of(plan).values_length("train")),
        seeds=[bytes.fromhex(text) for text in case["seeds"]],
        content_keys=keys,
    )[party - 1]
    sealed = bytes(share.sealed)
    assert (len(sealed), second.sha256(sealed[80:])) == (
        case["sealed_bytes"],
        case["chunks_sha256"],
    )
    payload = open_one(share, party=party, plan=plan)
    assert (len(payload), second.sha256(payload)) == (
        case["payload_bytes"],
        case["payload_sha256"],
    )
    header = json.loads(case["header"]["message"])
    known = second.seal(
        header,
        payload,
        seal_public_key=fields["aggregators"][party - 1]["seal_key"],
        content_key=bytes.fromhex(case["content_key"]),
        ephemeral=bytes.fromhex(case["ephemeral"]),
    )
    assert second.sha256(known) == header["sealed_sha256"]
    again = SealedShare(header=Signed(**case["header"]), sealed=known)
    assert open_one(again, party=party, plan=plan) == payload


@pytest.mark.parametrize("case", BAD, ids=lambda case: case["name"])
def test_a_broken_share_is_refused_for_its_reason(case: dict[str, Any]) -> None:
    share = SealedShare(header=Signed(**case["header"]), sealed=bytes.fromhex(case["sealed"]))
    with pytest.raises(InvalidMessage, match=case["sentence"]):
        open_one(share, party=case["party"], plan=plan_of(case["plan"]))


# --- chunks ---


@pytest.fixture(scope="module")
def long_share() -> tuple[Plan, SealedShare]:
    """A share of three chunks for the last aggregator of two."""
    plan = Plan.decode(second.canonical(studies.stream_plan("an element more than two chunks")))
    return plan, make_shares(plan, values=np.zeros(VectorLayout.of(plan).values_length("train")))[1]


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("the first two the other way round", [1, 0, 2]),
        ("the last two the other way round", [0, 2, 1]),
        ("the first one twice", [0, 0, 2]),
        ("the second one for the last", [0, 1, 1]),
        ("the last one dropped", [0, 1]),
        ("the first one dropped", [1, 2]),
        ("the last one twice", [0, 1, 2, 2]),
    ],
)
def test_chunks_in_another_order_or_number_never_open(
    long_share: tuple[Plan, SealedShare], name: str, order: list[int]
) -> None:
    plan, share = long_share
    sealed, step = bytes(share.sealed), envelope.CHUNK_BYTES + envelope.TAG_BYTES
    chunks = [sealed[80 + n * step : 80 + (n + 1) * step] for n in range(3)]
    changed = b"".join([sealed[:80], *(chunks[n] for n in order)])
    on_the_way = SealedShare(header=share.header, sealed=changed)
    with pytest.raises(InvalidMessage, match="whole and unchanged"):
        open_one(on_the_way, party=2, plan=plan)
    resigned = forge(on_the_way, sealed_sha256=canonical.sha256(changed))
    with pytest.raises(InvalidMessage, match=r"open to its end|whole and unchanged"):
        open_one(resigned, party=2, plan=plan)


@pytest.mark.parametrize("kept", [1, 2])
def test_a_stream_that_ends_at_a_chunk_does_not_open_even_without_its_hash(
    long_share: tuple[Plan, SealedShare], kept: int
) -> None:
    """What the mark "last" is for, on its own."""
    _, share = long_share
    fields = json.loads(share.header.message)
    content_key = second.hpke_open(bytes(share.sealed[:80]), SEALS[1], second.context(fields))
    step = envelope.CHUNK_BYTES + envelope.TAG_BYTES
    whole, cut = memoryview(share.sealed)[80:], memoryview(share.sealed)[80 : 80 + kept * step]
    assert sum(map(len, envelope._opened(envelope.AESGCM(content_key), whole))) > 0
    with pytest.raises(InvalidMessage, match="open to its end"):
        list(envelope._opened(envelope.AESGCM(content_key), cut))


def test_chunks_come_out_one_by_one_and_none_behind_a_changed_one(
    long_share: tuple[Plan, SealedShare],
) -> None:
    plan, share = long_share
    sealed = bytearray(share.sealed)
    sealed[80 + envelope.CHUNK_BYTES + envelope.TAG_BYTES] ^= 1
    changed = SealedShare(header=share.header, sealed=bytes(sealed))
    resigned = forge(changed, sealed_sha256=canonical.sha256(changed.sealed))
    opened = envelope.open_share(plan, 2, resigned.header, resigned.sealed, seal_key=SEALS[1])
    assert len(next(opened)) == envelope.CHUNK_BYTES
    with pytest.raises(InvalidMessage, match="open to its end"):
        next(opened)


@pytest.mark.parametrize("case", KNOWN["streams"], ids=lambda case: case["name"])
def test_the_announced_sizes_are_the_real_ones(case: dict[str, Any]) -> None:
    header = canonical.parse(ShareHeader, case["header"]["message"].encode(), what="header")
    assert envelope.payload_bytes(header) == case["payload_bytes"]
    assert envelope.sealed_bytes(header) == case["sealed_bytes"]


# --- a round ---


@ENDS
def test_all_aggregators_payloads_make_the_vector_and_the_weight(name: str) -> None:
    plan = plan_of(name)
    values = np.linspace(-1, 1, VectorLayout.of(plan).values_length("train"))
    encoded = opening.encoded(plan, "train", make_shares(plan, values=values), SEALS)
    total, weight = envelope.read_sum(plan, "train", encoded)
    step = 2.0**-plan.sharing.fraction_bits
    assert weight == plan.hospital("north").patients == 100
    assert np.abs(total - values * 100 / 250).max() <= step / 2 + 1e-12


@ENDS
def test_an_evaluation_travels_unweighted_in_the_widest_ring(name: str) -> None:
    plan = plan_of(name)
    values = np.arange(VectorLayout.of(plan).values_length("evaluate")) * 1000.5
    shares = make_shares(plan, purpose="evaluate", round_number=2, values=values)
    encoded = opening.encoded(plan, "evaluate", shares, SEALS)
    assert encoded.dtype == np.uint64
    total, weight = envelope.read_sum(plan, "evaluate", encoded)
    assert (total.tolist(), weight) == (values.tolist(), 1)


def test_the_lengths_follow_from_the_plan() -> None:
    count = parameter_count(PLAN.recipe, PLAN.data)
    assert (
        VectorLayout.of(PLAN).values_length("train"),
        VectorLayout.of(PLAN).vector_length("train"),
    ) == (8, 9)
    scaffold = dataclasses.replace(PLAN, algorithm=Scaffold())
    assert VectorLayout.of(scaffold).values_length("train") == 2 * count
    assert VectorLayout.of(scaffold).broadcast_length("train") == 2 * count
    assert VectorLayout.of(scaffold).broadcast_length("evaluate") == count
    assert VectorLayout.of(scaffold).values_length("evaluate") == VectorLayout.of(
        PLAN
    ).values_length("evaluate")
    narrow = plan_of("3 of 5")
    assert VectorLayout.of(narrow).vector_length("train") == 8 + 4  # 24 bits in digits of 6


# --- what cannot be sealed ---


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"hospital_key": HOSPITALS["south"]}, "key that the plan names"),
        ({"values": np.zeros(7)}, "8 numbers"),
        ({"values": np.zeros(9)}, "8 numbers"),
        ({"seeds": secrets(1)}, "2 different seeds"),
        ({"seeds": [b"s" * 32] * 2}, "2 different seeds"),
        ({"content_keys": secrets(2)}, "different content keys"),
        ({"content_keys": secrets(4)}, "different content keys"),
        ({"content_keys": [b"c" * 32] * 3}, "different content keys"),
        ({"values": np.full(8, 1e9)}, "at most 64.0"),
        ({"values": np.full(8, np.nan)}, "at most 64.0"),
    ],
)
def test_what_does_not_fit_is_not_sealed(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises((SharingError, RangeExceeded), match=sentence):
        make_shares(**changes)


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33])
def test_a_key_or_a_seed_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(SharingError):
        make_shares(content_keys=[*secrets(2), bytes(size)])
    with pytest.raises(SharingError, match="32 bytes"):
        make_shares(seeds=[*secrets(1), bytes(size)])


# --- headers ---


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("log_sha256", value) for value in (None, 7, "", "ab" * 31, {"sha256": "ab" * 32})),
        *(("weights_sha256", value) for value in (None, "", "AB" * 32)),
        *(("epsilon", value) for value in (None, "1", -0.1)),
        *(("delta", value) for value in (None, 0, 1, -1e-5)),
    ],
)
def test_a_header_without_a_whole_statement_is_refused(field: str, value: object) -> None:
    fields = json.loads(make_shares()[0].header.message) | {field: value}
    text = canonical.encode(fields).decode()
    with pytest.raises(InvalidMessage, match=field):
        envelope.check_header(PLAN, 1, Signed(message=text, signature="00" * 64))


def test_every_share_carries_the_hospitals_statement() -> None:
    headers = [
        envelope.check_header(PLAN, party, share.header)
        for party, share in enumerate(make_shares(), start=1)
    ]
    for header in headers:
        stated = {f.name: getattr(header, f.name) for f in dataclasses.fields(STATEMENT)}
        assert RoundStatement(**stated) == STATEMENT


def test_a_captured_share_cannot_be_opened_through_a_study_made_up_for_it() -> None:
    """The researcher carries all shares, and may name any hospitals in a plan of their own."""
    captured = make_shares()[0]
    trap = dataclasses.replace(PLAN, study="trap")
    taken = forge(captured, by="east", hospital="east", plan_hash=trap.hash)
    with pytest.raises(InvalidMessage, match="under the header that it carries"):
        open_one(taken, plan=trap)


def test_a_header_that_is_not_ascii_is_refused() -> None:
    share = make_shares()[0]
    strange = Signed(message=share.header.message.replace("north", "nörth"), signature="00" * 64)
    with pytest.raises(InvalidMessage):
        open_one(SealedShare(header=strange, sealed=share.sealed))


@pytest.mark.parametrize("party", [0, -1, 4])
def test_nobody_but_the_plans_aggregators_opens_a_share(party: int) -> None:
    share = make_shares()[0]
    with pytest.raises(InvalidMessage, match="meant for this aggregator"):
        envelope.open_share(PLAN, party, share.header, share.sealed, seal_key=SEALS[0])


def test_an_ephemeral_key_of_small_order_is_refused_in_a_sentence() -> None:
    """X25519 with such a point gives zero for every key: anybody could seal and open."""
    share = make_shares()[0]
    for point in (bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"):
        sealed = point + bytes(share.sealed[32:])
        weak = forge(
            SealedShare(header=share.header, sealed=sealed), sealed_sha256=second.sha256(sealed)
        )
        with pytest.raises(InvalidMessage, match="sealed to this aggregator's key"):
            open_one(weak)


# --- the bytes of a share ---


@ENDS
def test_a_share_survives_its_bytes(name: str) -> None:
    for share in make_shares(plan_of(name)):
        again = SealedShare.from_bytes(share.to_bytes())
        assert (again.header, bytes(again.sealed)) == (share.header, bytes(share.sealed))


def test_bytes_that_are_cut_or_padded_anywhere_are_no_share() -> None:
    data = make_shares()[0].to_bytes()
    for wrong in (*(data[:end] for end in range(0, len(data), 7)), data + b"\0", b"x" + data):
        with pytest.raises(InvalidMessage):
            SealedShare.from_bytes(wrong)


def test_a_header_of_absurd_length_is_refused_before_it_is_read() -> None:
    data = bytearray(make_shares()[0].to_bytes())
    start = len(envelope.MAGIC)
    data[start : start + 4] = b"\xff\xff\xff\xff"
    with pytest.raises(InvalidMessage, match="length that it states"):
        SealedShare.from_bytes(bytes(data))


def test_no_text_of_a_share_shows_what_is_sealed() -> None:
    share = make_shares()[0]
    assert bytes(share.sealed).hex()[:16] not in repr(share)
    assert repr(bytes(share.sealed))[2:10] not in str(share)
