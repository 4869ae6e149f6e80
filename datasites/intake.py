"""What the front desk lets PySyft unpack: who sent it first, then only what a call needs.

PySyft unpacks what it is sent before it asks who sent it, and a packed object may name any
of some 450 types; one of them calls any function of any module by its name. So a call is
read here first, as data: the envelope and its signature, then the path, then the type and
the fields of every object inside, at any depth. PySyft sees it when all of that is in order.

    envelope   SignedSyftAPICall   key, signature, bytes, and nothing beside them
    call       SyftAPICall         the path, the arguments
    objects    messages in messages, each with the name of its type

Guarantee: what passes holds only types that the path is listed with, only fields that these
    types have, and at most `MAX_EXPANSION` times as many bytes in all as were sent.
Source: syft 0.9.5, serde/recursive.py and serde/recursive_primitives.py (Cap'n Proto).
"""

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

from syft_code.errors import InvalidMessage, Refused, require

MAX_EXPANSION = 32
"""Bytes read at all depths together, per byte sent: bounds depth, and no byte is read twice."""

_LEAVES = frozenset({"NoneType", "bool", "int", "float", "str", "bytes", "nacl_verify_key"})
_SEQUENCES = frozenset({"list", "tuple", "set"})
_MAPPINGS = frozenset({"dict"})
_WRAPPED = frozenset({"inspect_Signature", "numpy_ndarray"})
PLAIN = _LEAVES | _SEQUENCES | _MAPPINGS | {"UID", "SyftVerifyKey", "SyftAPICall"}
"""Types that every call may hold."""
_TYPE = "type"
_ENVELOPE = {"credentials", "signature", "serialized_message"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """How PySyft packs: its three Cap'n Proto schemas, and the fields that a type has."""

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
    """One packed object: the name of its type, and either a blob or fields."""

    name: str
    blob: bytes
    fields: dict[str, bytes]


class Intake:
    """Reads packed calls as data."""

    def __init__(self, packing: Packing) -> None:
        self._packing = packing

    def open(self, data: bytes) -> PackedCall:
        """Check the envelope and its signature; raise `InvalidMessage` on anything else."""
        envelope = self._read(data)
        require(
            envelope.name == "SignedSyftAPICall" and set(envelope.fields) == _ENVELOPE,
            "A call must be a signed PySyft call and nothing beside it: use federation.study.",
            error=InvalidMessage,
        )
        key = self._read(self._field(envelope.fields["credentials"], "SyftVerifyKey", "verify_key"))
        message = self._blob(envelope.fields["serialized_message"], "bytes")
        try:
            signature = self._blob(envelope.fields["signature"], "bytes")
            VerifyKey(key.blob).verify(message, signature)
        except (BadSignatureError, ValueError, TypeError):
            raise InvalidMessage(
                "A call must be signed by the account that makes it: log in again."
            ) from None
        path = self._blob(self._field(message, "SyftAPICall", "path"), "str")
        return PackedCall(
            account=key.blob.hex(), path=path.decode("utf-8", "replace"), message=message
        )

    def check(self, call: PackedCall, *, allowed: Set[str]) -> None:
        """Let a call through if it holds plain values and `allowed` types; else raise `Refused`.

        A reference to a type, rather than an object of it, is allowed as "type NAME".
        """
        waiting, read_bytes = [call.message], 0
        while waiting:
            data = waiting.pop()
            read_bytes += len(data)
            require(
                read_bytes <= MAX_EXPANSION * len(call.message),
                "A call must not unpack to much more than was sent: send less, less deep.",
                error=InvalidMessage,
            )
            packed = self._read(data)
            name = packed.name if packed.name != _TYPE else f"type {_type_name(packed.blob)}"
            require(
                name in PLAIN or name in allowed,
                f"A call of {call.path!r} may not hold a {name[:80]!r} here: use federation.study "
                "(researchers) or datasites.owner (owners).",
                error=Refused,
            )
            waiting += self._inside(packed)

    def _inside(self, packed: _Packed) -> Iterator[bytes]:
        """What a packed object holds, each still packed."""
        if packed.name in _SEQUENCES:
            with self._packing.many.from_bytes(packed.blob, _limit(packed.blob)) as sequence:
                yield from [b"".join(item) for item in sequence.values]
        elif packed.name in _MAPPINGS:
            with self._packing.pairs.from_bytes(packed.blob, _limit(packed.blob)) as mapping:
                yield from [*mapping.keys, *[b"".join(value) for value in mapping.values]]
        elif packed.name in _WRAPPED:
            yield packed.blob
        else:
            yield from packed.fields.values()

    def _read(self, data: bytes) -> _Packed:
        try:
            with self._packing.one.from_bytes(data, _limit(data)) as message:
                names = list(message.fieldsName)
                values = [b"".join(value) for value in message.fieldsData]
                fields = dict(zip(names, values, strict=True))
                packed = _Packed(
                    name=message.canonicalName,
                    blob=b"".join(message.nonrecursiveBlob),
                    fields=fields,
                )
                known = self._packing.fields(packed.name, message.version)
        except Exception:
            ...
        return packed
