"""One share on its way: sealed for one aggregator, signed by one hospital.

    hospital     seal        float vector and weight ─▶ one SealedShare for each aggregator
    researcher   to_bytes, from_bytes     carries them, and can read only the header
    aggregator   check_header, open_share    SealedShare ─▶ payload

The header is public and signed (Ed25519). The payload is sealed in chunks of 1 MiB, each with
AES-256-GCM under a content key that is used once; its nonce is the chunk's number, and the last
one says that it is. The content key is sealed to the aggregator's X25519 key by HPKE, whose info
is a digest of the header. Without it, a researcher could put the same sealed bytes under a header of
another study with hospitals of its own, and have honest aggregators open it.

Source: RFC 9180 (HPKE, base mode, DHKEM X25519, HKDF-SHA256, AES-256-GCM); Hoang, Reyhanitabar,
Rogaway and Vizár 2015, "Online authenticated-encryption", section 7 (STREAM).
"""

import dataclasses
import hashlib
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl.signing import SigningKey
from numpy.typing import NDArray

from syft_code import canonical
from syft_code.errors import InvalidMessage, InvalidPlan, SharingError, require
from syft_code.plans import messages
from syft_code.plans.messages import Purpose, RoundStatement, ShareHeader, Signed
from syft_code.plans.plan import Plan
from syft_code.plans.roster import Hospital
from syft_code.secret_sharing import keystream, sharing
from syft_code.secret_sharing.sharing import Scheme
from syft_code.secret_sharing.vector_layout import VectorLayout

CHUNK_BYTES = 1024 * 1024
KEY_BYTES = 32
TAG_BYTES = 16
SEALED_KEY_BYTES = 32 + KEY_BYTES + TAG_BYTES  # HPKE: an ephemeral key, the content key, a tag
MAX_HEADER_BYTES = 8192
MAGIC = b"consilium share 2\n"
_LENGTHS = struct.Struct("<IQ")
_HPKE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
Bytes = bytes | bytearray | memoryview
LONGEST_STATEMENT = RoundStatement(
    weights_sha256="0" * 64,
    epsilon=1.2345678901234567e-100,
    epsilon_alone=1.2345678901234567e-100,
    delta=1.2345678901234567e-100,
    log_sha256="0" * 64,
)
"""A statement of which none is longer, for a size before there is a share."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SealedShare:
    """A signed `ShareHeader` and the sealed payload that it names by hash."""

    header: Signed
    sealed: Bytes

    def to_bytes(self) -> bytes:
        """Hospital: magic, two lengths (little-endian, 32 and 64 bits), header, sealed bytes."""
        header = canonical.encode(self.header)
        lengths = _LENGTHS.pack(len(header), len(self.sealed))
        return b"".join((MAGIC, lengths, header, self.sealed))

    @classmethod
    def from_bytes(cls, data: Bytes) -> "SealedShare":
        """Anyone: read `to_bytes` back, to the last byte."""
        start = len(MAGIC) + _LENGTHS.size
        require(
            bytes(data[: len(MAGIC)]) == MAGIC and len(data) >= start,
            "A sealed share must start as one; these bytes do not.",
            error=InvalidMessage,
        )
        header_bytes, sealed_bytes = _LENGTHS.unpack_from(data, len(MAGIC))
        require(
            header_bytes <= MAX_HEADER_BYTES and len(data) == start + header_bytes + sealed_bytes,
            "A sealed share must have the length that it states; send it again, whole.",
            error=InvalidMessage,
        )
        body = start + header_bytes
        return cls(
            header=read_signed(bytes(data[start:body]), what="share header"), sealed=data[body:]
        )


def read_signed(data: bytes, *, what: str) -> Signed:
    """Anyone: read a signed message from its canonical JSON; the signature is not checked yet."""
    signed: Signed = canonical.parse(Signed, data, what=what)
    return signed


def seal(
    plan: Plan,
    *,
    hospital: str,
    purpose: Purpose,
    round_number: int,
    values: NDArray[np.floating[Any]],
    hospital_key: SigningKey,
    statement: RoundStatement,
    seeds: Sequence[bytes],
    content_keys: Sequence[bytes],
    threads: int = 1,
) -> list[SealedShare]:
    """Hospital: encode, weigh and shard a vector, and make one share for each aggregator.

    Training updates are multiplied by the hospital's declared patients ÷ the roster's most, and
    the declared patients travel as the weight; an evaluation has weight 1. `seeds` and
    `content_keys` are strings of 32 bytes from the operating system's generator, never used
    before: one seed for each piece but the last, one key for each aggregator. All shares carry
    the hospital's `statement`, signed and bound to the seal. `threads` changes the time, never a
    byte.

    Does not protect: an update that is sealed twice for one round, with fresh seeds. Keep the
    shares of the first time and give those again.
    """
    entry, pieces_of = plan.hospital(hospital), scheme(plan)
    _check_sealing(
        plan, entry, purpose, values, hospital_key=hospital_key, content_keys=content_keys
    )
    training = purpose == "train"
    pieces = sharing.encode_and_shard(
        values,
        plan.sharing_of(purpose),
        pieces_of,
        weight=entry.patients if training else 1,
        seeds=seeds,
        hospitals=len(plan.hospitals),
        factor=entry.patients / plan.most_patients if training else 1.0,
        threads=threads,
    )
    return [
        _seal_one(
            unsealed_header(
                plan, hospital, purpose, round_number, party=party, statement=statement
            ),
            [pieces[piece - 1] for piece in pieces_of.held_by(party)],
            seal_key=plan.aggregators[party - 1].seal_key,
            content_key=content_key,
            hospital_key=hospital_key,
            threads=threads,
        )
        for party, content_key in enumerate(content_keys, start=1)
    ]


def unsealed_header(
    plan: Plan,
    hospital: str,
    purpose: Purpose,
    round_number: int,
    *,
    party: int,
    statement: RoundStatement = LONGEST_STATEMENT,
) -> ShareHeader:
    """Anyone: the header of a share before it is sealed; it tells the share's size."""
    pieces_of = scheme(plan)
    return ShareHeader(
        plan_hash=plan.hash,
        hospital=hospital,
        purpose=purpose,
        round=round_number,
        party=party,
        parties=pieces_of.parties,
        needed=pieces_of.needed,
        length=VectorLayout.of(plan).vector_length(purpose),
        ring_bits=plan.sharing_of(purpose).ring_bits,
        weights_sha256=statement.weights_sha256,
        epsilon=statement.epsilon,
        epsilon_alone=statement.epsilon_alone,
        delta=statement.delta,
        log_sha256=statement.log_sha256,
        sealed_sha256="",
    )


def check_header(plan: Plan, party: int, signed: Signed) -> ShareHeader:
    """Aggregator: read a share's header and check all that can be checked before its body.

    `party` is who is asking, from 1.

    Raises:
        InvalidMessage: with one sentence, if anything does not fit the plan.
    """
    claimed: ShareHeader = canonical.parse(
        ShareHeader, signed.message.encode("utf-8", "replace"), what="share header"
    )
    header = messages.verify(ShareHeader, signed, _hospital_key(plan, claimed.hospital))
    ring_bits = plan.sharing_of(header.purpose).ring_bits
    fits = (
        (header.plan_hash == plan.hash, "belong to this study's plan"),
        (header.party == party, "be meant for this aggregator"),
        (
            (header.parties, header.needed) == (len(plan.aggregators), plan.needed),
            "be made for as many aggregators as the plan names",
        ),
        (header.ring_bits == ring_bits, "be in the plan's ring"),
        (header.round in plan.rounds_of(header.purpose), "be for a round that the plan names"),
        (
            header.length == VectorLayout.of(plan).vector_length(header.purpose),
            "have as many elements as the plan asks for",
        ),
    )
    for holds, what in fits:
        require(holds, f"A share must {what}; this one does not.", error=InvalidMessage)
    return header


def open_share(
    plan: Plan, party: int, signed: Signed, sealed: Bytes, *, seal_key: bytes
) -> Iterator[bytes]:
    """Aggregator: check a share against the plan and open it; yields its payload in chunks.

    The payload is the seeds of the pieces that the aggregator holds, then the vector if it holds
    that. `seal_key` is the aggregator's X25519 key, 32 bytes.

    Raises:
        InvalidMessage: if the header, the hash or the seal is not as it must be: before the first
            chunk, or at the first one that was changed. Use nothing of a payload before its end.
    """
    header = check_header(plan, party, signed)
    require(
        len(sealed) == sealed_bytes(header) and canonical.sha256(sealed) == header.sealed_sha256,
        "A share must arrive whole and unchanged; this one did not. Send it again.",
        error=InvalidMessage,
    )
    view = memoryview(sealed)
    private = X25519PrivateKey.from_private_bytes(seal_key)
    try:
        key = _HPKE.decrypt(view[:SEALED_KEY_BYTES], private, info=_context(header))
    except InvalidTag:
        raise InvalidMessage(
            "A share must be sealed to this aggregator's key, under the header that it carries; "
            "this one was not."
        ) from None
    return _opened(AESGCM(key), view[SEALED_KEY_BYTES:])


def scheme(plan: Plan) -> Scheme:
    """Anyone: which aggregator of a plan holds which pieces."""
    return Scheme(len(plan.aggregators), plan.needed)


def payload_bytes(header: ShareHeader) -> int:
    """Anyone: the size of the payload that a header announces."""
    pieces = Scheme(header.parties, header.needed)
    vector = header.length * header.ring_bits // 8 if pieces.has_vector(header.party) else 0
    return keystream.SEED_BYTES * len(pieces.seeds_of(header.party)) + vector


def sealed_bytes(header: ShareHeader) -> int:
    """Anyone: the size of the sealed payload that a header announces."""
    size = payload_bytes(header)
    return SEALED_KEY_BYTES + size + TAG_BYTES * -(-size // CHUNK_BYTES)


def most_share_bytes(
    plan: Plan, hospital: str, purpose: Purpose, round_number: int, *, party: int
) -> int:
    """Anyone: the size of one share as it travels, header and seal included.

    The digits of an epsilon differ in number: a share is a few bytes smaller, and never larger.
    """
    header = unsealed_header(plan, hospital, purpose, round_number, party=party)
    named = dataclasses.replace(header, sealed_sha256="0" * 64)
    signed = Signed(message=canonical.text(named), signature="0" * 128)
    return len(SealedShare(header=signed, sealed=b"").to_bytes()) + sealed_bytes(header)


def read_sum(plan: Plan, purpose: Purpose, total: sharing.Ring) -> tuple[NDArray[np.float64], int]:
    """Researcher: the weighted sum of the hospitals' vectors and their total weight.

    Training values are still in units of patients ÷ the roster's most.
    """
    length, rules = VectorLayout.of(plan).values_length(purpose), plan.sharing_of(purpose)
    weight = sharing.decode_weight(total[length:], hospitals=len(plan.hospitals))
    return sharing.decode(total[:length], rules), weight


def _check_sealing(
    plan: Plan,
    entry: Hospital,
    purpose: Purpose,
    values: NDArray[np.floating[Any]],
    *,
    hospital_key: SigningKey,
    content_keys: Sequence[bytes],
) -> None:
    """Raise `SharingError` unless key, length and content keys are those of the plan."""
    length, parties = VectorLayout.of(plan).values_length(purpose), len(plan.aggregators)
    fits = (
        (
            bytes(hospital_key.verify_key).hex() == entry.verify_key,
            f"Shares of {entry.name!r} must be signed with the key that the plan names for it.",
        ),
        (
            len(values) == length,
            f"A vector to share must have the {length} numbers that the plan asks for, got "
            f"{len(values)}.",
        ),
        (
            len(set(content_keys)) == len(content_keys) == parties
            and all(len(key) == KEY_BYTES for key in content_keys),
            f"{parties} shares need as many different content keys of {KEY_BYTES} bytes.",
        ),
    )
    for holds, sentence in fits:
        require(holds, sentence, error=SharingError)


def _seal_one(
    header: ShareHeader,
    payload: Sequence[sharing.Payload],
    *,
    seal_key: str,
    content_key: bytes,
    hospital_key: SigningKey,
    threads: int,
) -> SealedShare:
    """Each chunk is hashed while it is in the cache, on a second thread if there is one."""
    public = X25519PublicKey.from_public_bytes(bytes.fromhex(seal_key))
    view = np.empty(sealed_bytes(header), np.uint8).data
    view[:SEALED_KEY_BYTES] = _HPKE.encrypt(content_key, public, info=_context(header))
    digest = hashlib.sha256(view[:SEALED_KEY_BYTES])
    sealed = _sealed_chunks(AESGCM(content_key), header, payload, view)
    with ThreadPoolExecutor(max_workers=1) as second:
        for _ in (second.map if threads > 1 else map)(digest.update, sealed):
            pass
    named = dataclasses.replace(header, sealed_sha256=digest.hexdigest())
    return SealedShare(header=messages.sign(named, hospital_key), sealed=view)


def _sealed_chunks(
    cipher: AESGCM, header: ShareHeader, payload: Sequence[sharing.Payload], out: memoryview
) -> Iterator[memoryview]:
    """Seal a payload into `out`, and yield each chunk of it when it is there."""
    start = SEALED_KEY_BYTES
    for number, last, chunk in _numbered(_chunks(payload), payload_bytes(header)):
        sealed = out[start : start + len(chunk) + TAG_BYTES]
        cipher.encrypt_into(number, chunk, last, sealed)
        start += len(sealed)
        yield sealed


def _opened(cipher: AESGCM, sealed: memoryview) -> Iterator[bytes]:
    step = CHUNK_BYTES + TAG_BYTES
    try:
        for start in range(0, len(sealed), step):
            last = b"last" if start + step >= len(sealed) else b"more"
            nonce = (start // step).to_bytes(12, "big")
            yield cipher.decrypt(nonce, sealed[start : start + step], last)
    except InvalidTag:
        raise InvalidMessage("A share must open to its end; this one does not.") from None


def _chunks(payload: Sequence[sharing.Payload]) -> Iterator[bytes | memoryview]:
    """The parts of a payload, joined and cut into chunks of `CHUNK_BYTES`."""
    *seeds, last = payload
    first = b"".join((*seeds, last[: max(CHUNK_BYTES - keystream.SEED_BYTES * len(seeds), 0)]))
    yield first
    view = memoryview(last)
    for start in range(CHUNK_BYTES - keystream.SEED_BYTES * len(seeds), len(last), CHUNK_BYTES):
        yield view[start : start + CHUNK_BYTES]


def _numbered(
    chunks: Iterator[bytes | memoryview], size_bytes: int
) -> Iterator[tuple[bytes, bytes, bytes | memoryview]]:
    """Each chunk with its nonce and its associated data."""
    count = -(-size_bytes // CHUNK_BYTES)
    for number, chunk in enumerate(chunks, start=1):
        yield (number - 1).to_bytes(12, "big"), b"last" if number == count else b"more", chunk


def _context(header: ShareHeader) -> bytes:
    """The digest that binds a seal to a header: all of it but the hash of the sealed bytes."""
    unnamed = dataclasses.replace(header, sealed_sha256="")
    return bytes.fromhex(canonical.sha256(b"consilium/context/2\n" + canonical.encode(unnamed)))


def _hospital_key(plan: Plan, hospital: str) -> str:
    try:
        return plan.hospital(hospital).verify_key
    except InvalidPlan:
        raise InvalidMessage("A share must come from a hospital of the plan's roster.") from None
