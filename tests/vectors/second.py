"""The protocol a second time, written from docs/protocol.md: Python's integers, one primitive a call.

Imports nothing of syft_code, so that the two can disagree. Slow, and fit for tests only: the
caller chooses what must be random elsewhere.
"""

import decimal
import hashlib
import hmac
import itertools
import json
import math
import struct
from collections.abc import Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CHUNK = 2**20
WEIGHT_BITS = 24
KEM = b"KEM" + b"\x00\x20"
SUITE = b"HPKE" + b"\x00\x20" + b"\x00\x01" + b"\x00\x02"
Fields = dict[str, Any]


# --- canonical JSON, hashes and signatures ---


def canonical(value: object) -> bytes:
    """RFC 8785: members in the order of their names' UTF-16 code units, numbers as in ECMAScript."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be"))
        inside = (canonical(name) + b":" + canonical(value[name]) for name in names)
        return b"{" + b",".join(inside) + b"}"
    if isinstance(value, list | tuple):
        return b"[" + b",".join(canonical(item) for item in value) + b"]"
    if isinstance(value, float):
        return number(value).encode("ascii")
    return json.dumps(value, ensure_ascii=False).encode("utf-8")


def number(value: float) -> str:
    """ECMAScript's Number::toString: n is where the point stands, counted from the first digit."""
    if not math.isfinite(value):
        raise ValueError(value)
    if value == 0:
        return "0"
    sign, figures, exponent = decimal.Decimal(repr(value)).normalize().as_tuple()
    digits, minus = "".join(map(str, figures)), "-" if sign else ""
    n = len(digits) + int(exponent)
    if len(digits) <= n <= 21:
        return minus + digits + "0" * (n - len(digits))
    if 0 < n <= 21:
        return f"{minus}{digits[:n]}.{digits[n:]}"
    if -6 < n <= 0:
        return f"{minus}0.{'0' * -n}{digits}"
    rest = f".{digits[1:]}" if digits[1:] else ""
    return f"{minus}{digits[0]}{rest}e{'+' if n > 0 else '-'}{abs(n - 1)}"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def public(sign_seed: bytes) -> str:
    return Ed25519PrivateKey.from_private_bytes(sign_seed).public_key().public_bytes_raw().hex()


def seal_public(seal_key: bytes) -> str:
    return X25519PrivateKey.from_private_bytes(seal_key).public_key().public_bytes_raw().hex()


def sign(kind: str, fields: Fields, sign_seed: bytes) -> Fields:
    message = canonical(fields)
    tagged = f"consilium/{kind}/1\n".encode("ascii") + message
    signature = Ed25519PrivateKey.from_private_bytes(sign_seed).sign(tagged)
    return {"message": message.decode(), "signature": signature.hex()}


# --- the ring: numbers from 0 to 2^bits - 1 in a list ---


def float32(value: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def encode(
    values: Sequence[float], bits: int, fraction_bits: int, *, factor: float, narrow: bool
) -> list[int]:
    """`narrow`: in float32. A product of two float32 is exact in float64, so it is rounded once."""
    scale = factor * 2.0**fraction_bits
    if narrow:
        scale = float32(scale)
        return [round(float32(value * scale)) % 2**bits for value in values]
    return [round(value * scale) % 2**bits for value in values]


def digit_bits(bits: int, hospitals: int) -> int:
    room = 0
    while 2**room < hospitals:
        room += 1
    return min(bits - room, WEIGHT_BITS)


def encode_weight(weight: int, bits: int, hospitals: int) -> list[int]:
    base = 2 ** digit_bits(bits, hospitals)
    digits = []
    for _ in range(-(-WEIGHT_BITS // digit_bits(bits, hospitals))):
        weight, digit = divmod(weight, base)
        digits.append(digit)
    return digits


def decode_weight(digits: Sequence[int], bits: int, hospitals: int) -> int:
    base, total = 2 ** digit_bits(bits, hospitals), 0
    for digit in reversed(digits):
        total = total * base + digit
    return total


def decode(total: Sequence[int], bits: int, fraction_bits: int) -> list[float]:
    signed = [one - 2**bits if one >= 2 ** (bits - 1) else one for one in total]
    return [float(one) * 2.0**-fraction_bits for one in signed]


def ring_bytes(vector: Sequence[int], bits: int) -> bytes:
    return b"".join(one.to_bytes(bits // 8, "little") for one in vector)


def ring_vector(data: bytes, bits: int) -> list[int]:
    size = bits // 8
    return [int.from_bytes(data[i : i + size], "little") for i in range(0, len(data), size)]


def add(first: Sequence[int], second: Sequence[int], bits: int) -> list[int]:
    return [(a + b) % 2**bits for a, b in zip(first, second, strict=True)]


def subtract(first: Sequence[int], second: Sequence[int], bits: int) -> list[int]:
    return [(a - b) % 2**bits for a, b in zip(first, second, strict=True)]


# --- pieces ---


def keystream(seed: bytes, size: int) -> bytes:
    """AES-256 of the block numbers 0, 1, 2, … as 16 bytes, big-endian."""
    counters = b"".join(n.to_bytes(16, "big") for n in range(-(-size // 16)))
    cipher = Cipher(algorithms.AES(seed), modes.ECB())  # noqa: S305 (each block only once)
    return cipher.encryptor().update(counters)[:size]


def expand(seed: bytes, length: int, bits: int) -> list[int]:
    return ring_vector(keystream(seed, length * bits // 8), bits)


def holders(parties: int, needed: int) -> list[list[int]]:
    """Who holds piece 1, 2, …: all outside one set of needed - 1, these sets in falling order."""
    everyone = range(1, parties + 1)
    sets = sorted(itertools.combinations(everyone, needed - 1), reverse=True)
    return [[party for party in everyone if party not in some] for some in sets]


def shard(encoded: Sequence[int], bits: int, seeds: Sequence[bytes]) -> list[list[int]]:
    """All pieces as vectors, the last one the encoded vector minus the others."""
    pieces = [expand(seed, len(encoded), bits) for seed in seeds]
    last = list(encoded)
    for piece in pieces:
        last = subtract(last, piece, bits)
    return [*pieces, last]


def total(vectors: Sequence[Sequence[int]], bits: int) -> list[int]:
    found = [0] * len(vectors[0])
    for vector in vectors:
        found = add(found, vector, bits)
    return found


def payload(party: int, parties: int, needed: int, seeds: Sequence[bytes], last: bytes) -> bytes:
    held = [n for n, who in enumerate(holders(parties, needed)) if party in who]
    return b"".join([*seeds, last][n] for n in held)


# --- the seal: HPKE (RFC 9180) of a content key, then chunks under it ---


def extract(suite: bytes, salt: bytes, label: bytes, key: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + key, "sha256")


def expand_label(suite: bytes, secret: bytes, label: bytes, info: bytes, size: int) -> bytes:
    """HKDF-Expand of at most one block of SHA-256."""
    labelled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(secret, labelled + b"\x01", "sha256")[:size]


def hpke_key(shared: bytes, kem_context: bytes, info: bytes) -> tuple[bytes, bytes]:
    """Key and nonce of the first message, mode base, without a pre-shared key."""
    secret = expand_label(
        KEM, extract(KEM, b"", b"eae_prk", shared), b"shared_secret", kem_context, 32
    )
    hashes = extract(SUITE, b"", b"psk_id_hash", b"") + extract(SUITE, b"", b"info_hash", info)
    secret = extract(SUITE, secret, b"secret", b"")
    context = b"\x00" + hashes
    return (
        expand_label(SUITE, secret, b"key", context, 32),
        expand_label(SUITE, secret, b"base_nonce", context, 12),
    )


def hpke_seal(plain: bytes, seal_public_key: str, info: bytes, ephemeral: bytes) -> bytes:
    own, other = X25519PrivateKey.from_private_bytes(ephemeral), bytes.fromhex(seal_public_key)
    shared = own.exchange(X25519PublicKey.from_public_bytes(other))
    sent = own.public_key().public_bytes_raw()
    key, nonce = hpke_key(shared, sent + other, info)
    return sent + AESGCM(key).encrypt(nonce, plain, b"")


def hpke_open(sealed: bytes, seal_key: bytes, info: bytes) -> bytes:
    own, sent = X25519PrivateKey.from_private_bytes(seal_key), sealed[:32]
    shared = own.exchange(X25519PublicKey.from_public_bytes(sent))
    key, nonce = hpke_key(shared, sent + own.public_key().public_bytes_raw(), info)
    return AESGCM(key).decrypt(nonce, sealed[32:], b"")


def stream_seal(plain: bytes, content_key: bytes) -> list[bytes]:
    chunks = [plain[i : i + CHUNK] for i in range(0, len(plain), CHUNK)]
    last = len(chunks) - 1
    return [
        AESGCM(content_key).encrypt(
            n.to_bytes(12, "big"), chunk, b"last" if n == last else b"more"
        )
        for n, chunk in enumerate(chunks)
    ]  # fmt: skip


def stream_open(chunks: Sequence[bytes], content_key: bytes) -> bytes:
    last = len(chunks) - 1
    return b"".join(
        AESGCM(content_key).decrypt(
            n.to_bytes(12, "big"), chunk, b"last" if n == last else b"more"
        )
        for n, chunk in enumerate(chunks)
    )  # fmt: skip


def context(header: Fields) -> bytes:
    unnamed = canonical(header | {"sealed_sha256": ""})
    return hashlib.sha256(b"consilium/context/2\n" + unnamed).digest()


def seal(
    header: Fields, plain: bytes, *, seal_public_key: str, content_key: bytes, ephemeral: bytes
) -> bytes:
    sealed_key = hpke_seal(content_key, seal_public_key, context(header), ephemeral)
    return b"".join([sealed_key, *stream_seal(plain, content_key)])


def open_seal(header: Fields, sealed: bytes, *, seal_key: bytes) -> bytes:
    content_key = hpke_open(sealed[:80], seal_key, context(header))
    step = CHUNK + 16
    return stream_open(
        [sealed[i : i + step] for i in range(80, len(sealed), step)], content_key
    )  # fmt: skip


# --- what all parties draw alike ---


def groups(
    plan_hash: str, round_number: int, hospitals: Sequence[str], *, planned: int, least: int
) -> list[list[str]]:
    chosen = sorted(hospitals)
    count = max(1, min(planned, len(chosen) // least))
    drawn = canonical([plan_hash, round_number, chosen])
    order = sorted(chosen, key=lambda name: sha256(drawn + name.encode("ascii")))
    return [sorted(order[i] for i in range(n, len(order), count)) for n in range(count)]


def places(plan_hash: str, round_number: int, *, trained: int, kept: float) -> list[int]:
    seed = bytes.fromhex(sha256(canonical(["places", plan_hash, round_number])))
    words = expand(seed, trained, 64)
    order = sorted(range(trained), key=lambda place: (words[place], place))
    return sorted(order[: max(1, round(kept * trained))])


# --- the certificate ---

SIGNATURE_BEFORE, SIGNATURE_AFTER = b',\n  "researcher_signature": "', b'"\n}\n'


def certificate_file(content: Fields, sign_seed: bytes) -> bytes:
    return countersigned(json.dumps(content, indent=2, ensure_ascii=False).encode()[:-2], sign_seed)


def countersigned(body: bytes, sign_seed: bytes) -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(sign_seed)
    signature = key.sign(b"consilium/Certificate/1\n" + body).hex().encode()
    return body + SIGNATURE_BEFORE + signature + SIGNATURE_AFTER


def read_certificate(data: bytes) -> Fields:
    """The content, if every signature and link of section 12 holds; else a `ValueError` says which."""
    body, _, rest = data.rpartition(SIGNATURE_BEFORE)
    signature = rest[:128]
    _must(rest == signature + SIGNATURE_AFTER and signature == signature.lower(), "end")
    content: Fields = json.loads(body + b"\n}")
    _must(json.dumps(content, indent=2, ensure_ascii=False).encode()[:-2] == body, "form")
    plan, rounds = content["plan"], content["rounds"]
    tagged = b"consilium/Certificate/1\n" + body
    _must(_is_signed(plan["researcher_key"], signature.decode(), tagged), "researcher")
    for own, entry in zip(content["hospitals"], plan["hospitals"], strict=True):
        _check_statements(own, entry, content)
    evaluated = rounds[-1]["evaluated_sha256"] if rounds else None
    _must(evaluated in (None, content["model"]["weights_sha256"]), "delivered model")
    return content


def _check_statements(own: Fields, entry: Fields, content: Fields) -> None:
    name, plan_hash = entry["name"], sha256(canonical(content["plan"]))
    wanted = []
    for one in content["rounds"]:
        if name in one["hospitals"]:
            wanted.append((one["round"], "train", one["weights_sha256"]))
        if name in one["evaluators"]:
            wanted.append((one["round"], "evaluate", one["evaluated_sha256"]))
    _must(own["name"] == name and len(own["statements"]) == len(wanted), "statements")
    stated: Fields = {}
    for signed, slot in zip(own["statements"], wanted, strict=True):
        tagged = b"consilium/ShareHeader/1\n" + signed["message"].encode()
        _must(_is_signed(entry["verify_key"], signed["signature"], tagged), name)
        stated = json.loads(signed["message"])
        _must(canonical(stated).decode() == signed["message"], "form")
        _must((stated["plan_hash"], stated["hospital"]) == (plan_hash, name), "study")
        _must((stated["round"], stated["purpose"], stated["weights_sha256"]) == slot, "slot")
    if stated:
        for member, named in (
            ("epsilon_stated_by_ledger", "epsilon"),
            ("epsilon_alone_stated_by_ledger", "epsilon_alone"),
            ("delta", "delta"),
            ("log_sha256", "log_sha256"),
        ):
            _must(own[member] == stated[named], "ledger")


def _is_signed(verify_key: str, signature: str, tagged: bytes) -> bool:
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(verify_key))
    try:
        key.verify(bytes.fromhex(signature), tagged)
    except InvalidSignature:
        return False
    return signature == signature.lower()


def _must(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)
