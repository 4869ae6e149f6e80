import json
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey

from syft_code import canonical
from syft_code.errors import InvalidMessage
from syft_code.plans import messages
from syft_code.plans.messages import OpenCall, ReleaseCall, SetChoice, Signed

VECTORS = Path(__file__).resolve().parents[2] / "vectors"
KNOWN = json.loads((VECTORS / "messages.json").read_text())["cases"]
BAD = json.loads((VECTORS / "bad_messages.json").read_text())["cases"]
KEY = SigningKey(b"k" * 32)
PUBLIC = bytes(KEY.verify_key).hex()


@pytest.mark.parametrize("case", KNOWN, ids=[case["kind"] for case in KNOWN])
def test_a_message_has_the_known_bytes_and_signature(case: dict[str, Any]) -> None:
    kind, signed = getattr(messages, case["kind"]), Signed(**case["signed"])
    message = messages.verify(kind, signed, case["verify_key"])
    assert messages.sign(message, SigningKey(bytes.fromhex(case["sign_seed"]))) == signed
    assert canonical.encode(message).decode() == signed.message


@pytest.mark.parametrize("flaw", sorted({case["name"].split(": ")[1] for case in BAD}))
def test_a_broken_message_or_signature_is_refused_of_each_kind(flaw: str) -> None:
    cases = [case for case in BAD if case["name"].endswith(f": {flaw}")]
    assert len(cases) == len(KNOWN)
    for case in cases:
        kind, signed = getattr(messages, case["kind"]), Signed(**case["signed"])
        with pytest.raises(InvalidMessage):
            messages.verify(kind, signed, case["verify_key"])


def test_a_signature_has_one_text() -> None:
    """Otherwise one share could come twice, under two texts of one signature."""
    signed = messages.sign(OpenCall(plan_hash="0" * 64), KEY)
    assert messages.verify(OpenCall, signed, PUBLIC).plan_hash == "0" * 64
    text = signed.signature
    for other in (text.upper(), f" {text}", f"{text[:64]} {text[64:]}", f"{text}\n", text + "00"):
        with pytest.raises(InvalidMessage, match="signature of the key"):
            messages.verify(OpenCall, Signed(message=signed.message, signature=other), PUBLIC)


def test_a_call_does_not_pass_as_a_choice_of_the_same_fields() -> None:
    fields = {"plan_hash": "0" * 64, "purpose": "train", "round": 1, "hospitals": ("a", "b", "c")}
    call = ReleaseCall(**fields)  # type: ignore[arg-type]
    choice = SetChoice(**fields, party=1)  # type: ignore[arg-type]
    for message, other in ((call, SetChoice), (choice, ReleaseCall)):
        with pytest.raises(InvalidMessage, match="signature of the key"):
            messages.verify(other, messages.sign(message, KEY), PUBLIC)


@pytest.mark.parametrize("key", ["", "00", "zz" * 32, "00" * 31, "00" * 32])
def test_a_key_that_is_none_verifies_nothing(key: str) -> None:
    with pytest.raises(InvalidMessage, match="signature of the key"):
        messages.verify(OpenCall, messages.sign(OpenCall(plan_hash="0" * 64), KEY), key)
