"""One aggregator of a plan's roster, as a researcher speaks to it: gRPC over TLS.

Every call may be repeated, since an aggregator answers the same way again. So a call whose
connection is lost is made again, and an upload or a download goes on where it stopped, for as long
as it gets further or the patience lasts.
"""

import dataclasses
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import grpc
from nacl.signing import SigningKey

from federation.transport import aggregator_api
from federation.transport.growing_file import GrowingFile
from federation.transport.retry import PATIENCE_S, retry_while_progressing
from syft_code import canonical
from syft_code.errors import InvalidMessage, require
from syft_code.plans import messages
from syft_code.plans.messages import OpenCall, SetChoice, Signed, SumHeader
from syft_code.plans.plan import Plan
from syft_code.plans.roster import HEX_KEY, Aggregator
from syft_code.secret_sharing import envelope
from syft_code.secret_sharing.envelope import SealedShare

T = TypeVar("T")
GLANCE_S = 1.0
MOST_VECTORS = 8
"""So many uploads and downloads at a time, side by side; fewer than an aggregator carries."""
AT_ONCE_BYTES = 4 * 1024 * 1024
"""A share of so much is sent without a question before."""
SEGMENT_BYTES = 64 * 1024 * 1024
"""A call's deadline is for so much of a vector; what comes later comes with the next call."""
_RECONNECT = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 5000),  # how long one attempt to connect may take
    ("grpc.max_reconnect_backoff_ms", 1000),
)
_LOST = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,  # busy at this moment
    grpc.StatusCode.UNKNOWN,  # what TLS found to be changed on the line
)
_BUSY = "Concurrent RPC limit exceeded!"  # gRPC's own word, from a server with too many calls


class AggregatorClient:
    """One aggregator, known by the certificate and the keys that a plan's roster names.

    `patience_s` is how long a call is repeated while nothing comes of it. An aggregator that was
    away for so long gets no more than `GLANCE_S` from then on, until it answers again.

    Raises (every method):
        Refused, InvalidMessage: as the aggregator says.
        Unavailable: if it can't be reached, or has another certificate.
    """

    def __init__(self, aggregator: Aggregator, *, patience_s: float = PATIENCE_S) -> None:
        self.aggregator = aggregator
        self._patience_s = patience_s
        self._away = False
        self._carrying = threading.BoundedSemaphore(MOST_VECTORS)
        self._channel = grpc.secure_channel(
            aggregator.address,
            grpc.ssl_channel_credentials(aggregator.certificate.encode("ascii")),
            options=[*aggregator_api.LIMITS, *aggregator_api.KEEPALIVE, *_RECONNECT],
        )

    def close(self) -> None:
        """Let go of the connection."""
        self._channel.close()

    def health(self) -> Aggregator:
        """Ask whether it serves; returns the entry that it gives of itself."""
        answer = self._repeat(lambda: self._unary("Health", b""))
        entry: Aggregator = canonical.parse(Aggregator, answer, what="aggregator's entry")
        return entry

    def open_study(self, plan: Plan, researcher_key: SigningKey) -> None:
        """Tell it about a plan; once more does nothing."""
        call = messages.sign(OpenCall(plan_hash=plan.hash), researcher_key)
        opening = aggregator_api.OpenStudy(call=call, plan=plan.encode().decode())
        self._repeat(lambda: self._unary("OpenStudy", canonical.encode(opening)))

    def received(self, header: Signed) -> aggregator_api.ReceivedBytes:
        """How much of a share is there."""
        return self._repeat(lambda: self._received(header))

    def submit(self, share: SealedShare) -> None:
        """Hand it a share, or what it misses of it; the same share again changes nothing.

        The sealed bytes may be those of a memory-mapped file: they are read as they are sent.
        """
        there = [0]
        at_once = [len(share.sealed) <= AT_ONCE_BYTES]

        def attempt() -> None:
            if at_once and at_once.pop() and self._uploaded_at_once(share):
                return
            received = self._received(share.header)
            self._require_room(received.size_bytes <= len(share.sealed))
            there.append(received.size_bytes)
            if not received.whole:
                received = self._upload(share, received.size_bytes)
            require(
                received.whole,
                f"Aggregator {self.aggregator.name} must take a share whole, and did not: send it "
                "again.",
                error=InvalidMessage,
            )

        with self._carrying:
            self._repeat(attempt, reached=lambda: max(there))

    def choose(self, call: Signed) -> tuple[SetChoice, Signed]:
        """The set that it will sum for a round, this call's or one that it chose before."""
        answer = self._repeat(lambda: self._unary("Choose", canonical.encode(call)))
        signed = envelope.read_signed(answer, what="set choice")
        return messages.verify(SetChoice, signed, self.aggregator.verify_key), signed

    def release(
        self, demand: aggregator_api.ReleaseSum, *, size_bytes: int, target: GrowingFile
    ) -> SumHeader:
        """Fetch the sum of one piece into a file; checks signature, length and hash.

        The demand's offset does not matter: a download begins where the file ends.
        """
        headers: set[bytes] = set()

        def attempt() -> None:
            self._download(demand, target, headers, limit_bytes=size_bytes)

        with self._carrying:
            self._repeat(attempt, reached=lambda: target.size_bytes)
        signed = envelope.read_signed(headers.pop() if headers else b"", what="sum header")
        header = messages.verify(SumHeader, signed, self.aggregator.verify_key)
        require(
            not headers
            and target.size_bytes == header.length * header.ring_bits // 8
            and target.sha256 == header.sum_sha256,
            f"The sum of aggregator {self.aggregator.name} must arrive whole and unchanged, and "
            "it did not: ask again.",
            error=InvalidMessage,
        )
        return header

    def headers(self, call: Signed, *, at_most: int) -> list[Signed]:
        """The headers of the shares that it took for a call's round, unchecked.

        Raises:
            InvalidMessage: if there are more than `at_most`.
        """
        answer = self._repeat(
            lambda: self._listed(
                "Headers",
                canonical.encode(call),
                at_most=at_most,
                one_bytes=envelope.MAX_HEADER_BYTES,
            )
        )
        return [envelope.read_signed(data, what="share header") for data in answer]

    def anchors(self, verify_key: str) -> list[str]:
        """The hashes that it holds of the log of the hospital with this key, in order of arrival.

        Does not protect: against an aggregator that makes some up, or keeps some to itself: they
        are its word, not the hospital's. Ask several; a certificate holds what the hospital signed.

        Raises:
            InvalidMessage: if one is not a hash, or there are too many.
        """
        answer = self._repeat(
            lambda: self._listed(
                "Anchors",
                verify_key.encode("ascii", "replace"),
                at_most=aggregator_api.MAX_ANCHORS,
                one_bytes=aggregator_api.SHA256_BYTES,
            )
        )
        hashes = [data.decode("ascii", "replace") for data in answer]
        require(
            all(map(HEX_KEY.fullmatch, hashes)),
            f"Aggregator {self.aggregator.name} must give hashes of 64 hexadecimal digits, and one "
            "is not: don't use its anchors.",
            error=InvalidMessage,
        )
        return hashes

    # One attempt each: what is below may raise `grpc.RpcError`

    def _unary(self, name: str, request: bytes) -> bytes:
        call = self._channel.unary_unary(aggregator_api.method(name))
        answer: bytes = call(request, timeout=aggregator_api.deadline_s(len(request)))
        return answer

    def _received(self, header: Signed) -> aggregator_api.ReceivedBytes:
        answer = self._unary("Received", canonical.encode(header))
        found: aggregator_api.ReceivedBytes = canonical.parse(
            aggregator_api.ReceivedBytes, answer, what="received size"
        )
        return found

    def _uploaded_at_once(self, share: SealedShare) -> bool:
        """Send a small share without asking first how much of it is there; whether it is there now."""
        try:
            return self._upload(share, 0).whole
        except grpc.RpcError as problem:
            if _is_lost(problem):
                raise
            return False  # a part of it came before, or it is refused: ask

    def _upload(self, share: SealedShare, offset: int) -> aggregator_api.ReceivedBytes:
        def stream() -> Iterator[bytes]:
            yield canonical.encode(aggregator_api.UploadShare(header=share.header, offset=offset))
            yield from aggregator_api.chunks(memoryview(share.sealed)[offset:])

        call = self._channel.stream_unary(aggregator_api.method("SubmitShare"))
        answer = call(stream(), timeout=_deadline_s(len(share.sealed) - offset))
        found: aggregator_api.ReceivedBytes = canonical.parse(
            aggregator_api.ReceivedBytes, answer, what="received size"
        )
        return found

    def _download(
        self,
        demand: aggregator_api.ReleaseSum,
        target: GrowingFile,
        headers: set[bytes],
        *,
        limit_bytes: int,
    ) -> None:
        request = canonical.encode(dataclasses.replace(demand, offset=target.size_bytes))
        call = self._channel.unary_stream(aggregator_api.method("Release"))
        stream = call(request, timeout=_deadline_s(limit_bytes - target.size_bytes))
        try:
            headers.add(next(stream, b"")[: envelope.MAX_HEADER_BYTES])
            self._require_room(len(headers) == 1)
            for chunk in stream:
                self._require_room(0 < len(chunk) <= limit_bytes - target.size_bytes)
                target.write(chunk)
        finally:
            stream.cancel()

    def _listed(self, name: str, request: bytes, *, at_most: int, one_bytes: int) -> list[bytes]:
        """A stream of at most so many messages, each of at most so many bytes."""
        call = self._channel.unary_stream(aggregator_api.method(name))
        stream = call(request, timeout=aggregator_api.deadline_s(at_most * one_bytes))
        answer: list[bytes] = []
        try:
            for data in stream:
                answer.append(data)
                self._require_room(len(answer) <= at_most and len(data) <= one_bytes)
        finally:
            stream.cancel()
        return answer

    def _require_room(self, holds: bool) -> None:
        require(
            holds,
            f"The answer of aggregator {self.aggregator.name} must have the length that was asked "
            "for; it is longer.",
            error=InvalidMessage,
        )

    def _repeat(self, attempt: Callable[[], T], *, reached: Callable[[], int] = lambda: 0) -> T:
        """Make a call, and again while it is lost on its way and the patience lasts."""
        patience_s = min(self._patience_s, GLANCE_S) if self._away else self._patience_s
        try:
            answer = retry_while_progressing(
                attempt, is_lost=_is_lost, patience_s=patience_s, reached=reached
            )
        except grpc.RpcError as problem:
            self._away = _is_lost(problem)
            raise aggregator_api.error_of(self.aggregator.name, problem) from None
        self._away = False
        return answer


def _deadline_s(size_bytes: int) -> float:
    return aggregator_api.deadline_s(min(size_bytes, SEGMENT_BYTES))


def _is_lost(problem: Exception) -> bool:
    """Whether a call failed on its way, and not because the aggregator said no."""
    if not isinstance(problem, grpc.RpcError):
        return False
    busy = problem.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and problem.details() == _BUSY
    return busy or problem.code() in _LOST
