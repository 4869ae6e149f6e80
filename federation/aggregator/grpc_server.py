"""An aggregator's side of the wire: gRPC over TLS, one handler for each method.

A handler reads, asks `Aggregation`, and answers; it decides nothing itself. Vectors pass
through it in chunks. Some workers never carry vectors, so that short calls are answered
however many slow lines the studies' own parties have; and who says nothing holds none for long
(`silent_calls`).

Does not protect: a flood of whole calls, each answered, still takes the workers' time. Let only
researchers reach the port.
"""

import itertools
import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc

from federation.aggregator.aggregation import Aggregation
from federation.transport import aggregator_api
from federation.transport.silent_calls import SilentCalls
from syft_code import canonical
from syft_code.errors import ConsiliumError, InvalidMessage, Unavailable, require
from syft_code.secret_sharing import envelope

WORKERS = 24
CARRIERS = 16
"""Of the workers, how many may carry vectors at one time."""
IDLE_MS, HANDSHAKE_MS = 120_000, 5_000
"""So long a connection may be open without a call, and without having said who is there."""
log = logging.getLogger(__name__)


def bind(*, host: str, port: int, tls_key: bytes, certificate: bytes) -> tuple[grpc.Server, int]:
    """Take hold of a port (0: any free one) without serving yet; raise `Unavailable` if in use."""
    server = grpc.server(
        ThreadPoolExecutor(WORKERS, thread_name_prefix="rpc"),
        options=[
            *aggregator_api.LIMITS,
            *aggregator_api.KEEPALIVE,
            *aggregator_api.TOLERATED_PINGS,
            ("grpc.so_reuseport", 0),
            ("grpc.max_concurrent_streams", CARRIERS),  # of one connection: never all workers
            ("grpc.max_connection_idle_ms", IDLE_MS),
            ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
        ],
        maximum_concurrent_rpcs=4 * WORKERS,
    )
    credentials = grpc.ssl_server_credentials([(tls_key, certificate)])
    try:
        bound = server.add_secure_port(f"{host}:{port}", credentials)
    except RuntimeError:
        raise Unavailable(
            f"An aggregator's port must be free, and {host}:{port} is not: stop what uses it, or "
            "choose another port."
        ) from None
    return server, bound


def serve(server: grpc.Server, aggregation: Aggregation) -> None:
    """Answer calls from now on."""
    answers = _Answers(aggregation)
    handlers = {
        "Health": grpc.stream_unary_rpc_method_handler(answers.health),
        "OpenStudy": grpc.stream_unary_rpc_method_handler(answers.open_study),
        "Received": grpc.stream_unary_rpc_method_handler(answers.received),
        "SubmitShare": grpc.stream_unary_rpc_method_handler(answers.submit_share),
        "Choose": grpc.stream_unary_rpc_method_handler(answers.choose),
        "Release": grpc.stream_stream_rpc_method_handler(answers.release),
        "Headers": grpc.stream_stream_rpc_method_handler(answers.headers),
        "Anchors": grpc.stream_stream_rpc_method_handler(answers.anchors),
    }  # streams, also of one message: with others gRPC itself waits for it, without an end
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(aggregator_api.SERVICE, handlers),)
    )
    server.start()


class _Answers:
    def __init__(self, aggregation: Aggregation) -> None:
        self._aggregation = aggregation
        self._silent = SilentCalls()
        self._carriers = threading.BoundedSemaphore(CARRIERS)

    def health(self, asked: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        with self._answering(context):
            self._silent.first(asked, context)
            return canonical.encode(self._aggregation.public)
        return b""

    def open_study(self, asked: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        with self._answering(context):
            request: aggregator_api.OpenStudy = canonical.parse(
                aggregator_api.OpenStudy, self._silent.first(asked, context), what="OpenStudy"
            )
            self._aggregation.open_study(request)
        return b""

    def received(self, asked: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        with self._answering(context):
            first = self._silent.first(asked, context)
            signed = envelope.read_signed(first, what="share header")
            return canonical.encode(self._aggregation.received(signed))
        return b""

    def submit_share(self, asked: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        with self._answering(context):
            upload: aggregator_api.UploadShare = canonical.parse(
                aggregator_api.UploadShare, self._silent.first(asked, context), what="Upload"
            )
            self._aggregation.expect(upload.header)
            chunks = self._silent.following(asked, context)
            with self._carrying():
                received = self._aggregation.receive(upload, chunks, cut_off=context.cancel)
            return canonical.encode(received)
        return b""

    def choose(self, asked: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        with self._answering(context):
            first = self._silent.first(asked, context)
            signed = envelope.read_signed(first, what="release call")
            return canonical.encode(self._aggregation.choose(signed))
        return b""

    def release(self, asked: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        with self._answering(context):
            request: aggregator_api.ReleaseSum = canonical.parse(
                aggregator_api.ReleaseSum, self._silent.first(asked, context), what="Release"
            )
            with self._carrying(), self._aggregation.release(request) as (header, data):
                answers = itertools.chain([canonical.encode(header)], aggregator_api.chunks(data))
                yield from self._silent.sent(answers, context)

    def headers(self, asked: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        with self._answering(context):
            first = self._silent.first(asked, context)
            signed = envelope.read_signed(first, what="release call")
            headers = map(canonical.encode, self._aggregation.headers(signed))
            yield from self._silent.sent(headers, context)

    def anchors(self, asked: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        with self._answering(context):
            key = self._silent.first(asked, context).decode("ascii", "replace")
            hashes = map(str.encode, self._aggregation.anchors(key))
            yield from self._silent.sent(hashes, context)

    @contextmanager
    def _carrying(self) -> Iterator[None]:
        require(
            self._carriers.acquire(blocking=False),
            f"An aggregator carries at most {CARRIERS} vectors at one time, and it does: try again "
            "in a minute.",
            error=aggregator_api.Busy,
        )
        try:
            yield
        finally:
            self._carriers.release()

    @contextmanager
    def _answering(self, context: grpc.ServicerContext) -> Iterator[None]:
        """Turn an error into a status with one public sentence; the full story goes to the log."""
        try:
            remaining = context.time_remaining()
            require(
                remaining is not None and remaining <= aggregator_api.LONGEST_CALL_S,
                f"A call must have a deadline of at most {aggregator_api.LONGEST_CALL_S:.0f} seconds.",
                error=InvalidMessage,
            )
            yield
        except ConsiliumError as problem:
            log.info("said no: %s", problem)
            self._aggregation.on_event("refused", 0)
            context.abort(aggregator_api.code_of(problem), str(problem))
        except grpc.RpcError:
            log.info("a call was broken off at the other end")
        except Exception:
            log.exception("a call failed")
            context.abort(
                grpc.StatusCode.INTERNAL, "The aggregator failed; its operator's log says why."
            )
