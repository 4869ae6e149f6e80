"""What a collector and an aggregator agree on before a word is said: gRPC over TLS.

| method      | request                                          | answer                       |
|-------------|--------------------------------------------------|------------------------------|
| Health      | empty                                            | the aggregator's public entry|
| OpenStudy   | `OpenStudy`                                      | empty                        |
| Received    | signed ShareHeader                               | `ReceivedBytes`                   |
| SubmitShare | stream: `UploadShare`, then sealed bytes from there on| `ReceivedBytes`                   |
| Choose      | signed ReleaseCall                               | signed SetChoice, in force   |
| Release     | `ReleaseSum`                                        | stream: signed SumHeader, sum|
| Headers     | signed ReleaseCall                               | stream: signed share headers |
| Anchors     | a hospital's verify key, hexadecimal             | stream: log hashes, likewise |

Messages are canonical JSON; vectors travel in chunks, from any byte on, so that a connection
that is cut costs the missing bytes only. An error travels as a status code with one public
sentence, and becomes an error of `syft_code.errors` again at the other end.
"""

import os
from collections.abc import Iterator
from typing import Annotated

import grpc
from pydantic import Field

from syft_code import canonical
from syft_code.errors import (
    ConsiliumError,
    InvalidInput,
    InvalidMessage,
    Refused,
    SharingError,
    Unavailable,
)
from syft_code.plans.messages import LAST_NUMBER, Signed
from syft_code.plans.plan import MAX_PLAN_BYTES
from syft_code.plans.roster import MOST_AGGREGATORS

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # read when the first channel or server is made

SERVICE = "consilium.Aggregator"
CHUNK_BYTES = 1024 * 1024
MAX_ANCHORS = 1000
SHA256_BYTES = 64  # as hexadecimal digits
LONGEST_ASKED_S = 600.0  # by a collector
LONGEST_CALL_S = 900.0  # allowed by an aggregator; more, because gRPC rounds deadlines up
SLOWEST_BYTES_PER_S = 1_000_000.0

_MESSAGE_BYTES = max(2 * MAX_PLAN_BYTES, CHUNK_BYTES) + 65536  # a plan in JSON is quoted once more
LIMITS = (
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
)
KEEPALIVE = (  # at both ends: a line that died silently is noticed within half a minute
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
)
TOLERATED_PINGS = (("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),)

Count = Annotated[int, Field(ge=0, le=LAST_NUMBER)]


@canonical.message
class OpenStudy:
    """A plan's canonical JSON, and its researcher's signed `OpenCall`."""

    call: Signed
    plan: str


@canonical.message
class UploadShare:
    """What a stream of sealed bytes is a part of: they begin at this byte of the share."""

    header: Signed
    offset: Count


@canonical.message
class ReceivedBytes:
    """How much of a share is here. It is taken when it is `whole`: checked, opened and kept.

    All bytes may be here and the share not whole, if the aggregator was stopped at that moment:
    upload from that offset, without a byte, and it goes on.
    """

    size_bytes: Count
    whole: bool


@canonical.message
class ReleaseSum:
    """A demand for one piece of the sum over one group, from this byte on.

    `call` is a signed ReleaseCall; `choices` are signed SetChoices for the same set, by as many
    different aggregators as the plan needs. Pieces and groups count from 1.
    """

    call: Signed
    choices: Annotated[tuple[Signed, ...], canonical.at_most(MOST_AGGREGATORS)]
    piece: Count
    group: Count
    offset: Count


class Busy(Unavailable):
    """An aggregator has its hands full at this moment; the same call goes through soon."""


_CODES = (
    (Busy, grpc.StatusCode.ABORTED),
    (InvalidInput, grpc.StatusCode.INVALID_ARGUMENT),
    (Refused, grpc.StatusCode.FAILED_PRECONDITION),
    (SharingError, grpc.StatusCode.OUT_OF_RANGE),
    (Unavailable, grpc.StatusCode.RESOURCE_EXHAUSTED),
)
_ERRORS: dict[grpc.StatusCode, type[ConsiliumError]] = {
    grpc.StatusCode.ABORTED: Busy,
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
