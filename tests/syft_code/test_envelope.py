import dataclasses
import json
import os

import numpy as np
import pytest
from nacl.public import PrivateKey, PublicKey, SealedBox
from nacl.signing import SigningKey

from syft_code import canonical, envelope, messages, sharing
from syft_code.envelope import SealedShare
from syft_code.errors import InvalidMessage, SharingError
from syft_code.messages import ShareHeader, Signed
from syft_code.plan import Aggregator, DpSgd, Evaluation, Hospital, Plan, Sgd
from syft_code.recipes import CrossEntropy, DataSpec, GlobalAverage, LayerStack, Recipe

HOSPITALS = {name: SigningKey.generate() for name in ("north", "south", "east", "west")}
LOG_SHA256 = "ab" * 32
SEALS = [PrivateKey.generate() for _ in range(3)]
DATA = DataSpec(
    kind="ham10000",
    task="classification",
    channels=("red", "green", "blue"),
    height_px=8,
    width_px=8,
    classes=("benign", "malignant"),
    patient_unit="lesion",
    stand_in=True,
)


def make_plan(*, study: str = "study", rounds: int = 2) -> Plan:
    return Plan(
        study=study,
        researcher_key=bytes(SigningKey(bytes(32)).verify_key).hex(),
        data=DATA,
        recipe=Recipe(model=LayerStack(layers=(GlobalAverage(),)), loss=CrossEntropy()),
        dp_sgd=DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=0.1, steps=1),
        optimizer=Sgd(learning_rate=0.1),
        rounds=rounds,
        hospitals=tuple(
            Hospital(
                name=name,
                verify_key=bytes(key.verify_key).hex(),
                asset="slices",
                asset_version=1,
                patients=100,
            )
            for name, key in HOSPITALS.items()
        ),
        aggregators=tuple(
            Aggregator(
                name=f"agg-{party}",
                address="127.0.0.1:1",
                verify_key=bytes(SigningKey(bytes([party]) * 32).verify_key).hex(),
                seal_key=bytes(seal.public_key).hex(),
                certificate="none",
            )
            for party, seal in enumerate(SEALS, start=1)
        ),
        min_hospitals=3,
        evaluation=Evaluation(noise_multiplier=1.0, after_rounds=(2,)),
    )


PLAN = make_plan()
LENGTH = envelope.vector_length(PLAN, "train")


def make_shares(plan: Plan = PLAN, *, hospital: str = "north", purpose: str = "train",
                round_number: int = 1, length: int = LENGTH) -> list[SealedShare]:  # fmt: skip
    encoded = sharing.encode(np.arange(length) / 8, plan.sharing, hospitals=4)
    return envelope.seal(
        plan,
        hospital=hospital,
        purpose=purpose,  # type: ignore[arg-type]
        round_number=round_number,
        encoded=encoded,
        hospital_key=HOSPITALS[hospital],
        log_sha256=LOG_SHA256,
        seeds=[os.urandom(32) for _ in range(2)],
    )


def forge(share: SealedShare, *, by: str = "north", **changes: object) -> SealedShare:
    """The same sealed bytes under a header that a hospital of the roster signed anew."""
    header = canonical.parse(ShareHeader, share.header.message.encode(), what="header")
    changed = dataclasses.replace(header, **changes)
    return SealedShare(header=messages.sign(changed, HOSPITALS[by]), sealed=share.sealed)


def open_first(share: SealedShare, *, plan: Plan = PLAN) -> bytes:
    return envelope.open_share(plan, 1, share, seal_key=SEALS[0])[1]


def test_each_aggregator_opens_its_own_share_and_the_payloads_add_up() -> None:
    shares = make_shares()
    partials = []
    for party, share in enumerate(shares, start=1):
        header, payload = envelope.open_share(PLAN, party, share, seal_key=SEALS[party - 1])
        total = np.zeros(LENGTH, np.uint64)
        sharing.add_share(total, payload, header.payload)
        partials.append(total)
    decoded = sharing.decode(sharing.unshard(partials), PLAN.sharing)
    assert np.array_equal(decoded, np.arange(LENGTH) / 8)


def test_a_share_survives_its_bytes() -> None:
    for share in make_shares():
        assert SealedShare.from_bytes(share.to_bytes()) == share


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


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"plan_hash": "0" * 64}, "belong to this study's plan"),
        ({"party": 2}, "be meant for this aggregator"),
        ({"parties": 2}, "as many aggregators"),
        ({"length": LENGTH + 1}, "as many elements"),
        ({"length": 0}, "as many elements"),
        ({"ring_bits": 32}, "the plan's ring"),
        ({"payload": "vector"}, "kind for its party"),
        ({"round": 0}, "round that the plan names"),
        ({"round": 3}, "round that the plan names"),
        ({"purpose": "evaluate"}, "round that the plan names"),
        ({"sealed_sha256": "0" * 64}, "whole and unchanged"),
        ({"log_sha256": "ac" * 32}, "sealed under the header"),
        ({"log_sha256": "AB" * 32}, "log_sha256"),
        ({"log_sha256": "ab" * 33}, "log_sha256"),
        ({"round": 2}, "sealed under the header"),
        ({"purpose": "evaluate", "round": 2}, "as many elements"),
    ],
)
def test_a_signed_header_that_does_not_fit_is_refused(
    change: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InvalidMessage, match=sentence):
        open_first(forge(make_shares()[0], **change))


def test_a_hospital_cannot_pass_on_another_ones_share_as_its_own() -> None:
    copied = forge(make_shares(hospital="north")[0], by="south", hospital="south")
    with pytest.raises(InvalidMessage, match="sealed under the header"):
        open_first(copied)


def test_a_captured_share_cannot_be_opened_through_a_study_made_up_for_it() -> None:
    """The researcher carries all shares, and may name any hospitals in a plan of their own."""
    captured = make_shares()[0]
    trap = make_plan(study="trap")
    with pytest.raises(InvalidMessage, match="sealed under the header"):
        open_first(forge(captured, by="east", hospital="east", plan_hash=trap.hash), plan=trap)


def test_a_header_signed_by_another_hospital_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="signature of the key"):
        open_first(forge(make_shares()[0], by="south"))


def test_every_share_carries_the_last_hash_of_the_hospitals_log() -> None:
    headers = [
        envelope.open_share(PLAN, party, share, seal_key=SEALS[party - 1])[0]
        for party, share in enumerate(make_shares(), start=1)
    ]
    assert [header.log_sha256 for header in headers] == [LOG_SHA256] * 3


def test_who_carries_a_share_cannot_change_the_hash_of_the_log() -> None:
    share = make_shares()[0]
    assert share.header.message.count(LOG_SHA256) == 1
    message = share.header.message.replace(LOG_SHA256, "ac" * 32)
    changed = dataclasses.replace(share.header, message=message)
    with pytest.raises(InvalidMessage, match="signature of the key"):
        open_first(SealedShare(header=changed, sealed=share.sealed))


@pytest.mark.parametrize("log_sha256", [None, 7, "", "ab" * 31, {"number": 7, "sha256": "ab" * 32}])
def test_a_header_without_a_whole_hash_of_the_log_is_refused(log_sha256: object) -> None:
    fields = json.loads(make_shares()[0].header.message) | {"log_sha256": log_sha256}
    text = canonical.encode(fields).decode()
    with pytest.raises(InvalidMessage, match="log_sha256"):
        envelope.check_header(PLAN, 1, Signed(message=text, signature="00" * 64))


def test_a_stranger_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="hospital of the plan's roster"):
        open_first(forge(make_shares()[0], hospital="stranger"))


def test_one_flipped_bit_of_the_sealed_bytes_is_refused() -> None:
    share = make_shares()[0]
    for place in (0, 40, len(share.sealed) - 1):
        sealed = bytearray(share.sealed)
        sealed[place] ^= 1
        with pytest.raises(InvalidMessage, match="whole and unchanged"):
            open_first(SealedShare(header=share.header, sealed=bytes(sealed)))
        resigned = forge(
            SealedShare(header=share.header, sealed=bytes(sealed)),
            sealed_sha256=canonical.sha256(bytes(sealed)),
        )
        with pytest.raises(InvalidMessage, match="sealed to this aggregator's key"):
            open_first(resigned)


def test_a_share_for_another_aggregator_cannot_be_opened() -> None:
    with pytest.raises(InvalidMessage, match="meant for this aggregator"):
        open_first(make_shares()[1])
    with pytest.raises(InvalidMessage, match="sealed to this aggregator's key"):
        envelope.open_share(PLAN, 1, make_shares()[0], seal_key=SEALS[1])


def test_a_payload_of_the_wrong_size_is_refused_even_when_signed() -> None:
    share = make_shares()[0]
    sealed = SealedBox(PublicKey(bytes(SEALS[0].public_key))).encrypt(bytes(32 + 31))
    short = SealedShare(header=share.header, sealed=sealed)
    with pytest.raises(InvalidMessage, match="whole and unchanged"):
        open_first(forge(short, sealed_sha256=canonical.sha256(sealed)))


def test_an_evaluation_has_the_length_that_follows_from_the_plan() -> None:
    length = envelope.vector_length(PLAN, "evaluate")
    share = make_shares(purpose="evaluate", round_number=2, length=length)[0]
    assert len(open_first(share)) == 32
    longer = make_shares(purpose="evaluate", round_number=2, length=length + 1)[0]
    with pytest.raises(InvalidMessage, match="as many elements"):
        open_first(longer)


def test_a_header_that_is_not_ascii_is_refused() -> None:
    share = make_shares()[0]
    strange = Signed(message=share.header.message.replace("north", "nörth"), signature="00" * 64)
    with pytest.raises(InvalidMessage):
        open_first(SealedShare(header=strange, sealed=share.sealed))


def test_only_the_hospital_itself_can_seal() -> None:
    encoded = np.zeros(LENGTH, np.uint64)
    with pytest.raises(SharingError, match="key that the plan names"):
        envelope.seal(
            PLAN,
            hospital="north",
            purpose="train",
            round_number=1,
            encoded=encoded,
            hospital_key=HOSPITALS["south"],
            log_sha256=LOG_SHA256,
            seeds=[os.urandom(32) for _ in range(2)],
        )


def test_no_error_or_text_of_a_share_shows_what_is_sealed() -> None:
    share = make_shares()[0]
    assert share.sealed.hex()[:16] not in repr(share)
    assert repr(share.sealed)[2:10] not in str(share)
