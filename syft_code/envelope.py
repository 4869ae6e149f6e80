"""One share on its way: sealed for one aggregator, signed by one hospital.

    hospital     seal        ring vector ─▶ one SealedShare for each aggregator
    researcher   to_bytes, from_bytes     carries them, and can read only the header
    aggregator   check_header, open_share    SealedShare ─▶ payload

The header is public and signed (Ed25519); the payload is sealed to the aggregator's X25519
key. Inside the seal the payload is preceded by a digest of the header. Without it, whoever
carries a share could put the same sealed bytes under a header of their own, in a study of
their own with hospitals of their own, and have honest aggregators open it for them.
"""

import dataclasses
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox
from nacl.signing import SigningKey

from syft_code import canonical, messages, scoring, sharing
from syft_code.errors import InvalidMessage, InvalidPlan, SharingError, require
from syft_code.messages import Purpose, ShareHeader, Signed
from syft_code.plan import Plan
from syft_code.recipes import parameter_count

SEAL_BYTES = 48  # of a SealedBox: an ephemeral X25519 key and a Poly1305 tag
CONTEXT_BYTES = 32
MAX_HEADER_BYTES = 8192
MAGIC = b"consilium share 1\n"
_LENGTHS = struct.Struct("<IQ")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SealedShare:
    """A signed `ShareHeader` and the sealed payload that it names by hash."""

    header: Signed
    sealed: bytes

    def to_bytes(self) -> bytes:
        """Hospital: magic, two lengths (little-endian, 32 and 64 bits), header, sealed bytes."""
        header = canonical.encode(self.header)
        lengths = _LENGTHS.pack(len(header), len(self.sealed))
        return b"".join((MAGIC, lengths, header, self.sealed))

    @classmethod
    def from_bytes(cls, data: bytes) -> "SealedShare":
        """Whoever carries or receives a share: read `to_bytes` back, to the last byte."""
        start = len(MAGIC) + _LENGTHS.size
        require(
            data[: len(MAGIC)] == MAGIC and len(data) >= start,
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
        return cls(header=read_signed(data[start:body], what="share header"), sealed=data[body:])


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
    encoded: sharing.Ring,
    hospital_key: SigningKey,
    log_sha256: str,
    seeds: Sequence[bytes],
) -> list[SealedShare]:
    """Hospital: shard a vector (overwriting it) and make one share for each aggregator.

    All of them carry `log_sha256`, the hash of the last entry of the hospital's audit log, signed
    and inside the seal.

    Does not protect: an update that is sealed twice for one round, with fresh seeds. Keep the
    shares of the first time and give those again.
    """
    require(
        bytes(hospital_key.verify_key).hex() == plan.hospital(hospital).verify_key,
        f"Shares of {hospital!r} must be signed with the key that the plan names for it.",
        error=SharingError,
    )
    require(
        encoded.itemsize * 8 == plan.sharing.ring_bits,
        f"A vector to share must be in the plan's ring of {plan.sharing.ring_bits} bits.",
        error=SharingError,
    )
    parties = len(plan.aggregators)
    payloads = sharing.shard(encoded, parties=parties, seeds=seeds)
    headers = [
        ShareHeader(
            plan_hash=plan.hash,
            hospital=hospital,
            purpose=purpose,
            round=round_number,
            party=party,
            parties=parties,
            length=len(encoded),
            ring_bits=plan.sharing.ring_bits,
            payload=payload_kind(party, parties),
            log_sha256=log_sha256,
            sealed_sha256="",
        )
        for party in range(1, parties + 1)
    ]
    return [
        _seal_one(header, payload, seal_key=aggregator.seal_key, hospital_key=hospital_key)
        for header, payload, aggregator in zip(headers, payloads, plan.aggregators, strict=True)
    ]


def check_header(plan: Plan, party: int, signed: Signed) -> ShareHeader:
    """Aggregator: read a share's header and check all that can be checked before its body.

    `party` is who is asking, from 1.

    Raises:
        InvalidMessage: with one sentence, if anything does not fit the plan.
    """
    claimed: ShareHeader = canonical.parse(
        ShareHeader, signed.message.encode("ascii", "replace"), what="share header"
    )
    header = messages.verify(ShareHeader, signed, _hospital_key(plan, claimed.hospital))
    parties = len(plan.aggregators)
    fits = (
        (header.plan_hash == plan.hash, "belong to this study's plan"),
        (header.party == party, "be meant for this aggregator"),
        (header.parties == parties, "be made for as many aggregators as the plan names"),
        (header.ring_bits == plan.sharing.ring_bits, "be in the plan's ring"),
        (header.payload == payload_kind(header.party, parties), "be of the kind for its party"),
        (header.round in plan.rounds_of(header.purpose), "be for a round that the plan names"),
        (
            header.length == vector_length(plan, header.purpose),
            "have as many elements as the plan asks for",
        ),
    )
    for holds, what in fits:
        require(holds, f"A share must {what}; this one does not.", error=InvalidMessage)
    return header


def open_share(
    plan: Plan, party: int, share: SealedShare, *, seal_key: PrivateKey
) -> tuple[ShareHeader, bytes]:
    """Aggregator: check a share against the plan and open it; returns header and payload.

    Raises:
        InvalidMessage: if the header, the hash, the seal or the payload is not as it must be.
    """
    header = check_header(plan, party, share.header)
    require(
        len(share.sealed) == sealed_bytes(header)
        and canonical.sha256(share.sealed) == header.sealed_sha256,
        "A share must arrive whole and unchanged; this one did not. Send it again.",
        error=InvalidMessage,
    )
    try:
        opened = SealedBox(seal_key).decrypt(share.sealed)
    except CryptoError:
        raise InvalidMessage("A share must be sealed to this aggregator's key.") from None
    require(
        opened[:CONTEXT_BYTES] == _context(header),
        "A share must have been sealed under the header that it carries; this one was not.",
        error=InvalidMessage,
    )
    return header, opened[CONTEXT_BYTES:]


def payload_kind(party: int, parties: int) -> Literal["seed", "vector"]:
    """Anyone: the last party gets the vector, every other one a seed.

    >>> payload_kind(1, 3), payload_kind(3, 3)
    ('seed', 'vector')
    """
    return "vector" if party == parties else "seed"


def payload_bytes(header: ShareHeader) -> int:
    """Anyone: the size of the payload that a header announces."""
    if header.payload == "seed":
        return sharing.SEED_BYTES
    return header.length * header.ring_bits // 8


def sealed_bytes(header: ShareHeader) -> int:
    """Anyone: the size of the sealed payload that a header announces."""
    return SEAL_BYTES + CONTEXT_BYTES + payload_bytes(header)


def vector_length(plan: Plan, purpose: Purpose) -> int:
    """Anyone: the length of a shared vector: every parameter or sum, then the weight."""
    if purpose == "train":
        return parameter_count(plan.recipe, plan.data) + 1
    return scoring.evaluation_length(plan.data) + 1


def _seal_one(
    header: ShareHeader, payload: sharing.Payload, *, seal_key: str, hospital_key: SigningKey
) -> SealedShare:
    box = SealedBox(PublicKey(bytes.fromhex(seal_key)))
    sealed = box.encrypt(b"".join((_context(header), payload)))
    named = dataclasses.replace(header, sealed_sha256=canonical.sha256(sealed))
    return SealedShare(header=messages.sign(named, hospital_key), sealed=sealed)


def _context(header: ShareHeader) -> bytes:
    """The digest inside the seal: all of the header but the hash of the sealed bytes."""
    unnamed = dataclasses.replace(header, sealed_sha256="")
    return bytes.fromhex(canonical.sha256(b"consilium/context/1\n" + canonical.encode(unnamed)))


def _hospital_key(plan: Plan, hospital: str) -> str:
    try:
        return plan.hospital(hospital).verify_key
    except InvalidPlan:
        raise InvalidMessage("A share must come from a hospital of the plan's roster.") from None
