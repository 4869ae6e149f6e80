"""Writes the known answers beside it, with the second implementation alone.

    python -m tests.vectors.make_vectors

All that is random elsewhere is a hash of a label here, so that the files come out the same each
time. Ring vectors are little-endian bytes in hexadecimal, floats are C99 hexadecimal.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.vectors import certificates, second
from tests.vectors.broken import bad_sealed, bad_signed
from tests.vectors.studies import (
    HOSPITALS,
    PLANS,
    SEAL_KEYS,
    SIGN_SEEDS,
    STATEMENT,
    STREAMS,
    header,
    secret,
    sharing_of,
    stream_plan,
)

FOLDER = Path(__file__).parent
SCHEMES = [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (3, 2), (4, 3), (5, 3), (5, 4)]
RINGS = {  # bits: fraction bits, bound, float32?
    8: (3, 5.0, True),
    16: (10, 9.5, True),
    32: (18, 64.0, True),
    64: (24, 2.0**20, False),
}
Case = dict[str, Any]


def numbers(label: str, bound: float, count: int) -> list[float]:
    """Float32 numbers within the bound, both of its ends among them."""
    drawn = [second.float32(secret(f"{label}{n}")[0] / 255 * 2 - 1) * bound for n in range(count)]
    return [second.float32(one) for one in drawn] + [bound, -bound, 0.0, -0.0]


def sharing_case(parties: int, needed: int, bits: int) -> Case:
    fraction_bits, bound, narrow = RINGS[bits]
    label, patients = f"{needed} of {parties}, {bits} bits", (50, 2**24 - 1, 3)
    who = second.holders(parties, needed)
    hospitals, sums = [], [[0]] * len(who)
    for n, weight in enumerate(patients):
        factor = weight / max(patients) if bits > 8 else 1.0
        values = numbers(f"{label}{n}", bound, 3)
        encoded = second.encode(values, bits, fraction_bits, factor=factor, narrow=narrow)
        encoded += second.encode_weight(weight, bits, len(patients))
        seeds = [secret(f"seed {label}{n}{piece}") for piece in range(len(who) - 1)]
        pieces = second.shard(encoded, bits, seeds)
        sums = pieces if n == 0 else list(map(second.add, sums, pieces, [bits] * len(who)))
        hospitals.append(
            {
                "values": [one.hex() for one in values],
                "factor": factor.hex(),
                "weight": weight,
                "encoded": second.ring_bytes(encoded, bits).hex(),
                "seeds": [seed.hex() for seed in seeds],
                "vector": second.ring_bytes(pieces[-1], bits).hex(),
            }
        )
    total = second.total(sums, bits)
    cut = len(hospitals[0]["values"])
    return {
        "name": label,
        "parties": parties,
        "needed": needed,
        "holders": who,
        "ring_bits": bits,
        "fraction_bits": fraction_bits,
        "bound": bound.hex(),
        "dtype": "float32" if narrow else "float64",
        "hospitals": hospitals,
        "piece_sums": [second.ring_bytes(one, bits).hex() for one in sums],
        "sum": second.ring_bytes(total, bits).hex(),
        "decoded": [one.hex() for one in second.decode(total[:cut], bits, fraction_bits)],
        "weight": second.decode_weight(total[cut:], bits, len(patients)),
    }


def keystreams() -> Iterator[Case]:
    for seed, size in ((bytes(32), 48), (bytes(range(32)), 33), (b"\xff" * 32, 16)):
        yield {"seed": seed.hex(), "bytes": second.keystream(seed, size).hex()}
    long = second.keystream(bytes(32), 300_000)
    yield {"seed": bytes(32).hex(), "size_bytes": 300_000, "sha256": second.sha256(long)}


def weights() -> Iterator[Case]:
    for bits, hospitals in ((8, 3), (8, 100), (8, 127), (16, 4), (16, 1000), (32, 2), (64, 5000)):
        for weight in (0, 1, 12345, 2**24 - 1):
            digits = second.encode_weight(weight, bits, hospitals)
            yield {
                "ring_bits": bits,
                "hospitals": hospitals,
                "weight": weight,
                "digits": second.ring_bytes(digits, bits).hex(),
            }


def spans() -> Iterator[Case]:
    """The largest bound whose sums fit, and the next one: hospitals x ceil(bound x 2^f) < 2^(b-1)."""
    for bits, fraction_bits, hospitals in (
        (8, 3, 3), (8, -2, 127), (16, 10, 4), (16, 20, 100), (32, 18, 100), (32, 30, 2),
        (64, 24, 1000), (64, 60, 5),
    ):  # fmt: skip
        top = (2 ** (bits - 1) - 1) // hospitals
        bound = math.ldexp(float(top), -fraction_bits)
        if float(top) > top:
            bound = math.nextafter(bound, 0.0)
        fits = {"ring_bits": bits, "fraction_bits": fraction_bits, "hospitals": hospitals}
        yield fits | {"bound": bound.hex(), "fits": True}
        yield fits | {"bound": math.nextafter(bound, math.inf).hex(), "fits": False}


def bad_sharing() -> Iterator[Case]:
    """Steps that must not be taken; what a case does not say is as in `encode` below."""
    good = {"ring_bits": 32, "fraction_bits": 18, "bound": (64.0).hex(), "hospitals": 100}
    encode = {"step": "encode", "error": "RangeExceeded", **good, "dtype": "float64"}
    for name, value in (
        ("a NaN", math.nan), ("plus infinity", math.inf), ("minus infinity", -math.inf),
        ("a number just above the bound", math.nextafter(64.0, math.inf)),
        ("a number just below minus the bound", math.nextafter(-64.0, -math.inf)),
        ("the largest float64", 1.7976931348623157e308),
    ):  # fmt: skip
        yield {"name": name, **encode, "values": [(1.0).hex(), value.hex()]}
        yield {"name": f"{name}, first", **encode, "values": [value.hex(), (1.0).hex()]}
    yield {"name": "a float32 NaN", **encode, "dtype": "float32", "values": ["nan"]}
    yield {"name": "one hospital too many: the sum may wrap by one",
           **(encode | {"hospitals": 128}), "values": [(0.0).hex()]}  # fmt: skip
    broken = encode | {"error": "SharingError", "values": [(0.0).hex()]}
    yield {"name": "no hospitals", **(broken | {"hospitals": 0})}
    for factor in (0.0, -0.5, 1.0000000000000002, math.nan):
        yield {"name": f"the factor {factor}", **broken, "factor": factor.hex()}
    a, b, c = (secret(f"bad seed {n}") for n in range(3))
    for name, parties, needed, seeds in (
        ("a seed of 31 bytes", 3, 3, [a, b[:31]]), ("a seed of 33 bytes", 3, 2, [a, b + b"\0"]),
        ("an empty seed", 2, 2, [b""]), ("one seed twice", 3, 3, [a, a]),
        ("one seed too few", 3, 2, [a]), ("one seed too many", 3, 3, [a, b, c]),
        ("no seeds", 2, 2, []),
    ):  # fmt: skip
        yield {"name": name, "step": "shard", "error": "SharingError", "parties": parties,
               "needed": needed, "seeds": [seed.hex() for seed in seeds]}  # fmt: skip
    for parties, needed in ((0, 0), (3, 4), (3, 0), (6, 6), (2, -1)):
        yield {"name": f"{needed} of {parties}", "step": "scheme", "error": "SharingError",
               "parties": parties, "needed": needed}  # fmt: skip
    for weight in (-1, 2**24):
        yield {"name": f"the weight {weight}", "step": "weight", "error": "RangeExceeded",
               "weight": weight, "ring_bits": 32, "hospitals": 3}  # fmt: skip
    yield {"name": "a ring without room for a digit", "step": "weight", "error": "RangeExceeded",
           "weight": 1, "ring_bits": 8, "hospitals": 129}  # fmt: skip
    for name, size in (("a byte less", 15), ("an element more", 20), ("nothing", 0)):
        yield {"name": f"a vector of {name}", "step": "add_vector", "error": "SharingError",
               "payload": bytes(size).hex(), "ring_bits": 32, "length": 4}  # fmt: skip
    for size in (0, 16, 31, 33):
        yield {"name": f"a seed of {size} bytes to add", "step": "add_seeds",
               "error": "SharingError", "payload": bytes(size).hex(), "ring_bits": 32,
               "length": 4}  # fmt: skip
    yield {"name": "a sum of another ring", "step": "decode", "error": "SharingError",
           "ring_bits": 16, "length": 4, "as_bits": 32}  # fmt: skip


def sealed_case(name: str, party: int) -> Case:
    """One share of a small study, sealed with a fixed ephemeral key."""
    plan = PLANS[name]
    parties, needed, bits, fraction_bits = sharing_of(plan)
    values = [n / 64 for n in range(header(plan, party=party)["length"])]
    weight, most = plan["hospitals"][0]["patients"], max(h["patients"] for h in plan["hospitals"])
    digits = second.encode_weight(weight, bits, len(HOSPITALS))
    values = values[: len(values) - len(digits)]
    encoded = second.encode(values, bits, fraction_bits, factor=weight / most, narrow=False)
    seeds = [secret(f"{name} seed {n}") for n in range(len(second.holders(parties, needed)) - 1)]
    pieces = second.shard(encoded + digits, bits, seeds)
    last = second.ring_bytes(pieces[-1], bits)
    plain = second.payload(party, parties, needed, seeds, last)
    return {
        "name": f"{name}, aggregator {party}",
        "plan": name,
        "party": party,
        "values": [one.hex() for one in values],
        "seeds": [seed.hex() for seed in seeds],
        "payload": plain.hex(),
        **sealed(plan, header(plan, party=party), plain, f"{name} {party}"),
    }


def sealed(plan: Case, fields: Case, plain: bytes, label: str) -> Case:
    keys = {"content_key": secret(f"content {label}"), "ephemeral": secret(f"ephemeral {label}")}
    public_key = plan["aggregators"][fields["party"] - 1]["seal_key"]
    data = second.seal(fields, plain, seal_public_key=public_key, **keys)
    named = fields | {"sealed_sha256": second.sha256(data)}
    signed = second.sign("ShareHeader", named, SIGN_SEEDS["north"])
    texts = {name: key.hex() for name, key in keys.items()}
    return texts | {"header": signed, "sealed": data.hex()}


def stream_case(label: str) -> Case:
    """A share of one chunk or more, its values all 0; named by hashes."""
    plan = stream_plan(label)
    parties, needed, bits, _ = sharing_of(plan)
    fields = header(plan, party=parties)
    digits = second.encode_weight(
        plan["hospitals"][0]["patients"], bits, len(HOSPITALS)
    )  # fmt: skip
    seeds = [secret(f"{label} seed {n}") for n in range(len(second.holders(parties, needed)) - 1)]
    pieces = second.shard([0] * (fields["length"] - len(digits)) + digits, bits, seeds)
    plain = second.payload(parties, parties, needed, seeds, second.ring_bytes(pieces[-1], bits))
    found = sealed(plan, fields, plain, label)
    data = bytes.fromhex(found.pop("sealed"))
    return {
        "name": label,
        "party": parties,
        "seeds": [seed.hex() for seed in seeds],
        "payload_bytes": len(plain),
        "payload_sha256": second.sha256(plain),
        "sealed_bytes": len(data),
        "chunks_sha256": hashlib.sha256(data[80:]).hexdigest(),
        **found,
    }


def signed_cases() -> Iterator[Case]:
    plan_hash = second.sha256(second.canonical(PLANS["3 of 3"]))
    slot = {"plan_hash": plan_hash, "purpose": "train", "round": 1}
    three = sorted(HOSPITALS)[:3]
    sums = {"piece": 2, "group": 1, "length": 7, "ring_bits": 32, "sum_sha256": "0f" * 32}
    for kind, fields in {
        "RoundCall": {**slot, "hospital": "north", "weights_sha256": "12" * 32},
        "ShareHeader": header(PLANS["3 of 3"], party=2) | {"sealed_sha256": "34" * 32},
        "OpenCall": {"plan_hash": plan_hash},
        "ReleaseCall": {**slot, "hospitals": three},
        "SetChoice": {**slot, "party": 3, "hospitals": three},
        "SumHeader": {**slot, "party": 3, "hospitals": three, **sums},
    }.items():
        seed = SIGN_SEEDS["north"]
        yield {"kind": kind, "sign_seed": seed.hex(), "verify_key": second.public(seed),
               "signed": second.sign(kind, fields, seed)}  # fmt: skip


def group_cases() -> Iterator[Case]:
    names = [f"hospital-{n}" for n in range(100)]
    for count, planned, least in ((9, 3, 3), (10, 3, 3), (8, 3, 3), (5, 3, 3), (100, 7, 5)):
        for round_number in (1, 2):
            chosen = names[:count]
            plan_hash = second.sha256(f"groups {count} {planned}".encode())
            drawn = second.groups(plan_hash, round_number, chosen, planned=planned, least=least)
            yield {"plan_hash": plan_hash, "round": round_number, "hospitals": chosen,
                   "planned": planned, "least": least, "groups": drawn}  # fmt: skip


def place_cases() -> Iterator[Case]:
    for trained, kept in ((10, 0.5), (10, 0.25), (10, 0.01), (1000, 0.1), (1000, 0.9999)):
        for round_number in (1, 1000):
            plan_hash = second.sha256(f"places {trained} {kept}".encode())
            found = second.places(plan_hash, round_number, trained=trained, kept=kept)
            yield {"plan_hash": plan_hash, "round": round_number, "trained": trained,
                   "kept": kept, "places": found}  # fmt: skip


def everything() -> dict[str, Case]:
    """The content of each file."""
    plans = {name: second.canonical(plan).decode() for name, plan in PLANS.items()}
    sealed_cases = [
        sealed_case(name, party)
        for name, plan in PLANS.items()
        for party in range(1, len(plan["aggregators"]) + 1)
    ]
    keys = {
        "sign_seeds": {name: seed.hex() for name, seed in SIGN_SEEDS.items()},
        "seal_keys": [key.hex() for key in SEAL_KEYS],
        "statement": STATEMENT,
    }
    return {
        "sharing": {
            "keystreams": list(keystreams()),
            "weights": list(weights()),
            "spans": list(spans()),
            "cases": [sharing_case(*scheme, bits) for scheme in SCHEMES for bits in RINGS],
        },
        "bad_sharing": {"cases": list(bad_sharing())},
        "envelope": {**keys, "plans": plans, "cases": sealed_cases,
                     "streams": [stream_case(label) for label in STREAMS]},
        "bad_envelope": {"cases": list(bad_sealed(sealed_cases))},
        "messages": {"cases": list(signed_cases())},
        "bad_messages": {"cases": list(bad_signed(list(signed_cases())))},
        "certificate": {"cases": list(certificates.signed_cases())},
        "bad_certificate": {"cases": list(certificates.bad_cases())},
        "draws": {"groups": list(group_cases()), "places": list(place_cases())},
    }  # fmt: skip


def text(content: Case) -> str:
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


if __name__ == "__main__":
    for name, content in everything().items():
        (FOLDER / f"{name}.json").write_text(text(content))
