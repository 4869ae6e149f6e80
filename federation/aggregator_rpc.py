"""An aggregator's side of the wire: gRPC over TLS, one handler for each method.

A handler reads, asks `Aggregation`, and answers; it decides nothing itself. A vector is
in memory while it is received, so at most `WORKERS` of them at a time.
"""

import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc

from federation import wire
from federation.aggregation import Aggregation
from syft_code import canonical, envelope
from syft_code.envelope import SealedShare
from syft_code.errors import ConsiliumError, InvalidMessage, Unavailable, require

WORKERS = 4
log = logging.getLogger(__name__)


def bind(*, host: str, port: int, tls_key: bytes, certificate: bytes) -> tuple[grpc.Server, int]:
    """Take hold of a port (0: any free one) without serving yet; raise `Unavailable` if in use."""
    server = grpc.server(
        ThreadPoolExecutor(WORKERS, thread_name_prefix="rpc"),
        options=[*wire.LIMITS, ("grpc.so_reuseport", 0)],
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
        "Health": grpc.unary_unary_rpc_method_handler(answers.health),
        "OpenStudy": grpc.unary_unary_rpc_method_handler(answers.open_study),
        "SubmitShare": grpc.stream_unary_rpc_method_handler(answers.submit_share),
        "Release": grpc.unary_stream_rpc_method_handler(answers.release),
        "Anchors": grpc.unary_stream_rpc_method_handler(answers.anchors),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(wire.SERVICE, handlers),))
    server.start()


class _Answers:
    def __init__(self, aggregation: Aggregation) -> None:
        self._aggregation = aggregation

    def health(self, _request: bytes, context: grpc.ServicerContext) -> bytes:
        with _answering(context):
            return canonical.encode(self._aggregation.public)
        return b""

    def open_study(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        with _answering(context):
            require(
                len(request) <= wire.MAX_PLAN_BYTES,
                f"A plan must have at most {wire.MAX_PLAN_BYTES} bytes.",
                error=InvalidMessage,
            )
            self._aggregation.open_study(request)
        return b""

    def submit_share(self, request: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        with _answering(context):
            signed = envelope.read_signed(next(request, b""), what="share header")
            header, here = self._aggregation.admit(signed)
            if not here:
                sealed = _read_exactly(request, envelope.sealed_bytes(header))
                self._aggregation.submit(SealedShare(header=signed, sealed=sealed))
        return b""

    def release(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        with _answering(context):
            signed = envelope.read_signed(request, what="release call")
            header, total = self._aggregation.release(signed)
            yield canonical.encode(header)
            yield from wire.chunks(total)

    def anchors(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        with _answering(context):
            for signed in self._aggregation.anchors(request.decode("ascii", "replace")):
                yield canonical.encode(signed)


@contextmanager
def _answering(context: grpc.ServicerContext) -> Iterator[None]:
    """Turn an error into a status with one public sentence; the full story goes to the log."""
    try:
        remaining = context.time_remaining()
        require(
            remaining is not None and remaining <= wire.LONGEST_CALL_S,
            f"A call must have a deadline of at most {wire.LONGEST_CALL_S:.0f} seconds.",
            error=InvalidMessage,
        )
        yield
    except ConsiliumError as problem:
        log.info("said no: %s", problem)
        context.abort(wire.code_of(problem), str(problem))
    except grpc.RpcError:
        log.info("a call was broken off at the other end")
    except Exception:
        log.exception("a call failed")
        context.abort(
            grpc.StatusCode.INTERNAL, "The aggregator failed; its operator's log says why."
        )


def _read_exactly(chunks: Iterable[bytes], size_bytes: int) -> bytes:
    """Join chunks, and stop as soon as they are too many."""
    received: list[bytes] = []
    total = 0
    for chunk in chunks:
        total += len(chunk)
        require(
            total <= size_bytes, "A share must end where its header says.", error=InvalidMessage
        )
        received.append(chunk)
    require(
        total == size_bytes,
        "A share must arrive whole, and this one was cut off: send it again.",
        error=InvalidMessage,
    )
    return b"".join(received)
