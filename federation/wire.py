"""What a collector and an aggregator agree on before a word is said: gRPC over TLS.

| method      | request                                   | answer                           |
|-------------|-------------------------------------------|----------------------------------|
| Health      | empty                                     | the aggregator's public entry    |
| OpenStudy   | the plan's canonical JSON                 | empty                            |
| SubmitShare | stream: signed header, then sealed chunks | empty                            |
| Release     | signed ReleaseCall                        | stream: signed header, sum chunks|
| Anchors     | a hospital's verify key, hexadecimal      | stream: signed share headers     |

Messages are canonical JSON; vectors travel in chunks. An error travels as a status code
with one public sentence, and becomes an error of `syft_code.errors` again at the other end.
"""

import os
from collections.abc import Iterator

import grpc

from syft_code.errors import (
    ConsiliumError,
    InvalidInput,
    InvalidMessage,
    Refused,
    SharingError,
    Unavailable,
)

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # read when the first channel or server is made

SERVICE = "consilium.Aggregator"
CHUNK_BYTES = 1024 * 1024
MAX_PLAN_BYTES = 1024 * 1024
MAX_ANCHORS = 1000
LONGEST_ASKED_S = 600.0  # by a collector
LONGEST_CALL_S = 900.0  # allowed by an aggregator; more, because gRPC rounds deadlines up
SLOWEST_BYTES_PER_S = 1_000_000.0

LIMITS = (
    ("grpc.max_receive_message_length", CHUNK_BYTES + 65536),
    ("grpc.max_send_message_length", CHUNK_BYTES + 65536),
)

_CODES = (
    (InvalidInput, grpc.StatusCode.INVALID_ARGUMENT),
    (Refused, grpc.StatusCode.FAILED_PRECONDITION),
    (SharingError, grpc.StatusCode.OUT_OF_RANGE),
    (Unavailable, grpc.StatusCode.RESOURCE_EXHAUSTED),
)
_ERRORS: dict[grpc.StatusCode, type[ConsiliumError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidMessage,
    grpc.StatusCode.FAILED_PRECONDITION: Refused,
    grpc.StatusCode.OUT_OF_RANGE: SharingError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Unavailable,
}


def method(name: str) -> str:
    """The full name of a method.

    >>> method("Health")
    '/consilium.Aggregator/Health'
    """
    return f"/{SERVICE}/{name}"


def chunks(data: bytes | memoryview) -> Iterator[bytes]:
    """Cut bytes into messages of at most `CHUNK_BYTES`."""
    view = memoryview(data)
    for start in range(0, len(view), CHUNK_BYTES):
        yield bytes(view[start : start + CHUNK_BYTES])


def deadline_s(size_bytes: int) -> float:
    """How long a call that moves so many bytes may take, on a slow line.

    >>> deadline_s(0), deadline_s(100_000_000)
    (30.0, 130.0)
    """
    return min(30.0 + size_bytes / SLOWEST_BYTES_PER_S, LONGEST_ASKED_S)


def code_of(problem: ConsiliumError) -> grpc.StatusCode:
    """Aggregator: the status code under which an error travels."""
    return next(
        (code for kind, code in _CODES if isinstance(problem, kind)), grpc.StatusCode.INTERNAL
    )


def error_of(name: str, problem: grpc.RpcError) -> ConsiliumError:
    """Collector: the error that a status code stands for; what the other end wrote is cut short."""
    kind = _ERRORS.get(problem.code())
    if kind is None:
        return Unavailable(
            f"Aggregator {name} must answer and did not ({problem.code().name.lower()}): "
            "check that it runs and that its address and certificate are those of the plan."
        )
    said = "".join(c for c in str(problem.details())[:500] if c.isprintable())
    return kind(f"Aggregator {name}: {said}")
