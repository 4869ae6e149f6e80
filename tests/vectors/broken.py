"""Known answers turned into what must be refused, each in one way.

Where a change would only break a signature or a hash, the hospital signs it anew: what refuses it
then is the check behind.
"""

import json
from collections.abc import Iterator
from typing import Any

from tests.vectors import second
from tests.vectors.studies import PLANS, SEAL_KEYS, SIGN_SEEDS, secret

Case = dict[str, Any]
WHOLE = "whole and unchanged"
SEALED = "sealed to this aggregator's key"
END = "open to its end"
SIGNATURE = "signature of the key"


def bad_sealed(cases: list[Case]) -> Iterator[Case]:
    """Shares that the aggregator `party` must refuse, and the words of the refusal."""
    (good,) = [case for case in cases if case["name"] == "2 of 3, aggregator 1"]
    yield from _changed_on_the_way(good)
    yield from _signed_anew(good)
    yield from _of_another(good, cases)


def _changed_on_the_way(good: Case) -> Iterator[Case]:
    data = bytes.fromhex(good["sealed"])
    for name, wrong in (
        ("cut by a byte", data[:-1]),
        ("cut behind the sealed key", data[:80]),
        ("nothing", b""),
        ("a byte longer", data + b"\0"),
        ("twice", data + data),
    ):
        yield _case(name, good, wrong, sentence=WHOLE)
        yield _case(f"{name}, signed anew", good, wrong, anew={}, sentence=WHOLE)
    for name, place, sentence in (
        ("the ephemeral key", 0, SEALED),
        ("the sealed content key", 40, SEALED),
        ("the tag of the content key", 79, SEALED),
        ("a seed", 80, END),
        ("the vector", 150, END),
        ("the tag of the chunk", len(data) - 1, END),
    ):
        flipped = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        yield _case(f"a bit of {name}", good, flipped, sentence=WHOLE)
        yield _case(f"a bit of {name}, signed anew", good, flipped, anew={}, sentence=sentence)
    message, signature = good["header"]["message"], good["header"]["signature"]
    for name, signed, sentence in (
        ("another round in the header", {"message": message.replace('"round":1', '"round":2')},
         SIGNATURE),
        ("a bit of the signature", {"signature": f"{int(signature[0], 16) ^ 1:x}{signature[1:]}"},
         SIGNATURE),
        ("a signature in capitals", {"signature": signature.upper()}, SIGNATURE),
        ("a signature with a space", {"signature": f" {signature}"}, SIGNATURE),
        ("half a signature", {"signature": signature[:64]}, SIGNATURE),
        ("a space in the header", {"message": message.replace(",", ", ", 1)}, "canonical"),
        ("a whole number with a point",
         {"message": message.replace('"round":1,', '"round":1.0,')}, "round"),
        ("a field more", {"message": f'{message[:-1]},"x":1}}'}, "well formed"),
    ):  # fmt: skip
        yield _case(name, good, data, sentence=sentence) | {"header": good["header"] | signed}


def _signed_anew(good: Case) -> Iterator[Case]:
    """By the hospital itself, or by one of the roster in its own name."""
    data, trap = bytes.fromhex(good["sealed"]), PLANS["3 of 3"]
    under = "under the header that it carries"
    for name, changes, signer, sentence in (
        ("sealed for round 1, sent in round 2", {"round": 2}, "north", under),
        ("another anchor than when it was sealed", {"log_sha256": "cd" * 32}, "north", under),
        ("another epsilon than when it was sealed", {"epsilon": 0.5}, "north", under),
        ("another worst case than when it was sealed", {"epsilon_alone": 0.5}, "north", under),
        ("other weights than when it was sealed", {"weights_sha256": "cd" * 32}, "north", under),
        ("another hospital's name over it", {"hospital": "south"}, "south", under),
        ("the key of another hospital", {}, "south", SIGNATURE),
        ("the key of a stranger", {}, "stranger", SIGNATURE),
        ("a hospital that is not of the roster", {"hospital": "stranger"}, "stranger", "roster"),
        ("round 0", {"round": 0}, "north", "round that the plan names"),
        ("round 3", {"round": 3}, "north", "round that the plan names"),
        ("an evaluation in a training round", {"purpose": "evaluate"}, "north", "be in the plan's"),
        ("an unknown purpose", {"purpose": "peek"}, "north", "purpose"),
        ("another ring", {"ring_bits": 64}, "north", "plan's ring"),
        ("another length", {"length": 8}, "north", "as many elements"),
        ("a length below 0", {"length": -9}, "north", "as many elements"),
        ("more aggregators", {"parties": 4}, "north", "as many aggregators"),
        ("fewer needed", {"needed": 1}, "north", "as many aggregators"),
        ("another aggregator's number", {"party": 2}, "north", "meant for this aggregator"),
        ("another study", {"plan_hash": second.sha256(second.canonical(trap))}, "north",
         "this study's plan"),
        ("a number as text", {"round": "1"}, "north", "round"),
        ("a number that is not whole", {"round": 1.5}, "north", "round"),
    ):  # fmt: skip
        yield _case(name, good, data, anew=changes, signer=signer, sentence=sentence)


def _of_another(good: Case, cases: list[Case]) -> Iterator[Case]:
    """Bytes that are sealed well, and not for here."""
    trap = second.canonical(PLANS["3 of 3"])
    fields = _fields(good)
    for name, changes in (
        ("opened through a study made up for it", {"plan_hash": second.sha256(trap), "needed": 3}),
        ("the seal of round 2", {"round": 2}),
    ):
        data = _seal(fields | changes, bytes.fromhex(good["payload"]), 1)
        yield _case(name, good, data, anew={}, sentence=SEALED)
    for_two = _seal(fields, bytes.fromhex(good["payload"]), 2)
    yield _case("sealed to the next aggregator's key", good, for_two, anew={}, sentence=SEALED)
    (other,) = [case for case in cases if case["name"] == "2 of 3, aggregator 2"]
    yield _case("the next aggregator's share", other, bytes.fromhex(other["sealed"]), sentence=
                "meant for this aggregator") | {"party": 1}  # fmt: skip
    content_key = bytes.fromhex(good["content_key"])
    plain = bytes.fromhex(good["payload"])
    sealed_key = bytes.fromhex(good["sealed"])[:80]
    for name, number, mark in (("a last chunk that says more", 0, b"more"),
                               ("a first chunk that says it is the second", 1, b"last")):  # fmt: skip
        nonce = number.to_bytes(12, "big")
        chunk = second.AESGCM(content_key).encrypt(nonce, plain, mark)
        yield _case(name, good, sealed_key + chunk, anew={}, sentence=END)


def _seal(fields: Case, plain: bytes, party: int) -> bytes:
    return second.seal(
        fields | {"sealed_sha256": ""},
        plain,
        seal_public_key=second.seal_public(SEAL_KEYS[party - 1]),
        content_key=secret("bad content"),
        ephemeral=secret("bad ephemeral"),
    )


def _case(
    name: str,
    good: Case,
    data: bytes,
    *,
    sentence: str,
    anew: Case | None = None,
    signer: str = "north",
) -> Case:
    header = good["header"]
    if anew is not None:
        fields = _fields(good) | anew | {"sealed_sha256": second.sha256(data)}
        header = second.sign("ShareHeader", fields, SIGN_SEEDS[signer])
    return {
        "name": name,
        "plan": good["plan"],
        "party": good["party"],
        "header": header,
        "sealed": data.hex(),
        "sentence": sentence,
    }


def _fields(case: Case) -> Case:
    found: Case = json.loads(case["header"]["message"])
    return found


def bad_signed(cases: list[Case]) -> Iterator[Case]:
    """Signed messages that must not pass as the `kind` that they are read as."""
    for case in cases:
        kind, signed = case["kind"], case["signed"]
        message, signature = signed["message"], signed["signature"]
        other = second.public(SIGN_SEEDS["stranger"])
        next_kind = cases[(cases.index(case) + 1) % len(cases)]["kind"]
        spaced = message.replace(":", ": ", 1)
        for name, change in (
            ("the key of another", {"verify_key": other}),
            ("the tag of another kind", {"kind": next_kind}),
            ("a bit of the text", {"signed": {**signed, "message": message.replace("a", "b", 1)}}),
            ("a signature cut by a byte", {"signed": {**signed, "signature": signature[:-2]}}),
            ("a signature in capitals", {"signed": {**signed, "signature": signature.upper()}}),
            ("no signature", {"signed": {**signed, "signature": ""}}),
            ("a letter more", {"signed": {**signed, "message": message + "é"}}),
            ("a space, signed anew", {"signed": _resigned(kind, spaced)}),
            ("fields in another order, signed anew", {"signed": _resigned(kind, _turned(message))}),
            ("a field less, signed anew", {"signed": _resigned(kind, _without_one(message))}),
        ):
            yield {**case, "name": f"{kind}: {name}", **change}


def _resigned(kind: str, message: str) -> Case:
    tagged = f"consilium/{kind}/1\n{message}".encode()
    key = second.Ed25519PrivateKey.from_private_bytes(SIGN_SEEDS["north"])
    return {"message": message, "signature": key.sign(tagged).hex()}


def _turned(message: str) -> str:
    """The fields in falling order; one field is named twice."""
    fields = json.loads(message)
    if len(fields) == 1:
        return f"{message[:-1]},{message[1:]}"
    return json.dumps(dict(reversed(fields.items())), separators=(",", ":"))


def _without_one(message: str) -> str:
    fields = json.loads(message)
    del fields[sorted(fields)[0]]
    return second.canonical(fields).decode()
