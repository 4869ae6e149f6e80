"""What the front desk lets PySyft unpack: who sent it first, then only what a call needs.

PySyft unpacks what it is sent before it asks who sent it, and a packed object may name any
of some 450 types; one of them calls any function of any module by its name. So a call is
read here first, as data: the envelope and its signature, then the path, then the type and
the fields of every object inside, at any depth. PySyft sees it when all of that is in order.

    envelope   SignedSyftAPICall   key, signature, bytes, and nothing beside them
    call       SyftAPICall         the path, the arguments
    objects    messages in messages, each with the name of its type

Guarantee: what passes holds only types that its path is listed with, only fields that these
    types have, and at all depths together at most `MAX_EXPANSION` times the bytes sent.
Does not protect: against what PySyft does with a call that it should get.
Source: syft 0.9.5, serde/recursive.py and serde/recursive_primitives.py (Cap'n Proto).
"""

from collections.abc import Callable, Set
from dataclasses import dataclass
from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from syft_code.errors import InvalidMessage, Refused, require

MAX_EXPANSION = 32

_SEQUENCES = frozenset({"list", "tuple", "set"})
_MAPPINGS = frozenset({"dict"})
_WRAPPED = frozenset({"inspect_Signature", "numpy_ndarray"})
_LEAVES = frozenset({"NoneType", "bool", "int", "float", "str", "bytes", "nacl_verify_key"})
PLAIN = _LEAVES | _SEQUENCES | _MAPPINGS | {"UID", "SyftVerifyKey", "SyftAPICall"}
"""Types that every call may hold."""
_ENVELOPE = {"credentials", "signature", "serialized_message"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """How PySyft packs: three Cap'n Proto schemas, and the fields of a type's version.

    `one` is `packed_object.capnp`, the two others are PySyft's own.
    """

    one: Any
    many: Any
    pairs: Any
    fields: Callable[[str, int], Set[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedCall:
    """A call whose signature holds, still packed; `account` is the sender's key (hex)."""

    account: str
    path: str
    message: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Packed:
    """One packed object: the name of its type, and a blob or fields."""

    name: str
    blob: bytes
    fields: dict[str, bytes]


class DeserializationGuard:
    """Reads packed calls as data."""

    def __init__(self, packing: Packing) -> None:
        self._packing = packing

    def open(self, data: bytes) -> PackedCall:
        """Read the envelope and check its signature; raise `InvalidMessage` on anything else."""
        envelope = self._object(data, "SignedSyftAPICall")
        require(
            set(envelope.fields) == _ENVELOPE,
            "A signed call must hold a key, a signature and a message, and nothing beside them.",
            error=InvalidMessage,
        )
        credentials = self._object(envelope.fields["credentials"], "SyftVerifyKey")
        key = self._object(credentials.fields.get("verify_key", b""), "nacl_verify_key").blob
        signature = self._object(envelope.fields["signature"], "bytes").blob
        message = self._object(envelope.fields["serialized_message"], "bytes").blob
        try:
            VerifyKey(key).verify(message, signature)
        except (BadSignatureError, ValueError, TypeError):
            raise InvalidMessage(
                "A call must be signed by the account that makes it: log in again."
            ) from None
        path = self._object(message, "SyftAPICall").fields.get("path", b"")
        text = self._object(path, "str").blob.decode("utf-8", "replace")
        return PackedCall(account=key.hex(), path=text, message=message)

    def check(self, call: PackedCall, *, allowed: Set[str]) -> None:
        """Let a call pass if it holds plain values and `allowed` types; else raise `Refused`.

        A reference to a type, rather than an object of it, is allowed as "type NAME".
        """
        waiting, read_bytes = [call.message], 0
        while waiting:
            data = waiting.pop()
            read_bytes += len(data)
            require(
                read_bytes <= MAX_EXPANSION * len(call.message),
                "A call must not unpack to much more than was sent: send less, and less deep.",
                error=InvalidMessage,
            )
            packed = self._read(data)
            require(
                packed.name in PLAIN or packed.name in allowed,
                f"A call of {call.path!r} may not hold a {packed.name[:80]!r} here: use "
                "federation.researcher.study (researchers) or datasites.owner.owner (owners).",
                error=Refused,
            )
            waiting += self._inside(packed)

    def _object(self, data: bytes, name: str) -> _Packed:
        packed = self._read(data)
        require(
            packed.name == name,
            f"A call must be a signed PySyft call: a {name} is due, got {packed.name[:80]!r}.",
            error=InvalidMessage,
        )
        return packed

    def _read(self, data: bytes) -> _Packed:
        """Read one packed object; its type and fields must be ones that PySyft knows."""
        try:
            with self._packing.one.from_bytes(data, _limit(data)) as message:
                names = [_text(name) for name in message.fieldsName]
                values = [b"".join(value) for value in message.fieldsData]
                name, version = _text(message.canonicalName), message.version
                blob = b"".join(message.nonrecursiveBlob)
            if name == "type":
                name = f"type {blob.decode('ascii').rsplit(':', 1)[0]}"
            whole = len(set(names)) == len(names) == len(values)
            known = set(names) <= self._packing.fields(name, version)
        except Exception as problem:  # Cap'n Proto's own, ValueError, UnicodeDecodeError
            raise _malformed() from problem
        if not (whole and known):
            raise _malformed()
        return _Packed(name=name, blob=blob, fields=dict(zip(names, values, strict=True)))

    def _inside(self, packed: _Packed) -> list[bytes]:
        """What a packed object holds, each still packed."""
        try:
            if packed.name in _SEQUENCES:
                with self._packing.many.from_bytes(packed.blob, _limit(packed.blob)) as items:
                    return [b"".join(item) for item in items.values]
            if packed.name in _MAPPINGS:
                with self._packing.pairs.from_bytes(packed.blob, _limit(packed.blob)) as pairs:
                    return [*pairs.keys, *(b"".join(value) for value in pairs.values)]
        except Exception as problem:
            raise _malformed() from problem
        return [packed.blob] if packed.name in _WRAPPED else list(packed.fields.values())


def _text(data: bytes) -> str:
    """A text with the zero at its end, without which PySyft's reader dies (`packed_object.capnp`)."""
    if data[-1:] != b"\0":
        raise ValueError
    return data[:-1].decode("utf-8")


def _limit(data: bytes) -> int:
    """Words (8 bytes) that may be read of a message: no byte of it twice."""
    return len(data) // 8 + 8


def _malformed() -> InvalidMessage:
    return InvalidMessage(
        "A call must be packed as PySyft 0.9.5 packs it: use that version's client."
    )
