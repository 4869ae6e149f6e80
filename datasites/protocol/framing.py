"""Frames: typed, length-checked messages over a stream of bytes.

One frame is a 4-byte header length, an 8-byte body length, a JSON header (a frozen
dataclass, named by its `kind`) and a body of raw bytes. Nothing is unpickled, and
nothing is read past the limits that the reader sets. The vault's Unix socket and the
pipes of its training worker carry these frames.
"""

import struct
from collections.abc import Callable
from typing import Any, Protocol

from syft_code import canonical, errors
from syft_code.errors import InvalidMessage

MAX_HEADER_BYTES = 8 * 2**20
MAX_BODY_BYTES = 4 * 2**30
_LENGTHS = struct.Struct(">IQ")


class Readable(Protocol):
    """A buffered stream to read from: `read` returns fewer bytes at its end only."""

    def read(self, size: int, /) -> bytes:
        """Read exactly so many bytes, or all that are left."""


class Writable(Protocol):
    """A buffered stream to write to."""

    def write(self, data: bytes | memoryview, /) -> int:
        """Write all of the data."""

    def flush(self) -> None:
        """Let the other side see it."""


def send(stream: Writable, header: object, body: bytes | memoryview = b"") -> None:
    """Write one frame."""
    data = canonical.encode(header)
    stream.write(_LENGTHS.pack(len(data), len(body)))
    stream.write(data)
    stream.write(body)
    stream.flush()


def _any_body(header: object) -> int:
    return MAX_BODY_BYTES


def receive(
    stream: Readable,
    kinds: Any,
    *,
    max_header_bytes: int = MAX_HEADER_BYTES,
    max_body_bytes: Callable[[Any], int] = _any_body,
) -> tuple[Any, bytes]:
    """Read one frame whose header is one of the given dataclasses.

    `max_body_bytes` says from the header how long a body may be, before any of it is read.

    Raises:
        EOFError: if the stream ends before a frame begins.
        InvalidMessage: if the frame is cut, too long or not of these kinds.
    """
    lengths = stream.read(_LENGTHS.size)
    if not lengths:
        raise EOFError
    header_bytes, body_bytes = _LENGTHS.unpack(_whole(lengths, _LENGTHS.size))
    errors.require(
        header_bytes <= max_header_bytes,
        f"A message may have {max_header_bytes} header bytes, this one announces {header_bytes}.",
        error=InvalidMessage,
    )
    data = _whole(stream.read(header_bytes), header_bytes)
    header = canonical.parse(kinds, data, what="message between the hospital's processes")
    most = max_body_bytes(header)
    errors.require(
        body_bytes <= most,
        f"This message may have {most} body bytes, it announces {body_bytes}.",
        error=InvalidMessage,
    )
    return header, _whole(stream.read(body_bytes), body_bytes)


def _whole(data: bytes, expected: int) -> bytes:
    if len(data) != expected:
        raise InvalidMessage(f"A message was cut after {len(data)} of {expected} bytes.")
    return data
