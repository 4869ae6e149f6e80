"""What an operator watches over HTTP: numbers for Prometheus, and a health page.

    GET /metrics    the text format of Prometheus
    GET /healthz    200 or 503, with one sentence

Does not protect: anybody who reaches the port learns how much is going on; so it listens on the
    loopback address, unless its operator says otherwise.
"""

import logging
import platform
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from socketserver import TCPServer
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from syft_code.errors import Unavailable

REQUEST_S = 5.0
MOST_REQUESTS = 8
disable_created_metrics()  # type: ignore[no-untyped-call]  # twice as many lines, all with the time of the start
log = logging.getLogger("consilium.metrics")


def program_version() -> str:
    """The version of this program."""
    return version("consilium")


class Watched(Protocol):
    """What is looked at."""

    def text(self) -> bytes:
        """All numbers, in the text format of Prometheus."""

    def health(self) -> tuple[bool, str]:
        """Whether all is well, and one sentence."""


class Registry:
    """One program's numbers, each named after it."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.collected = CollectorRegistry()
        self.gauge("start_time_seconds", "When it started, Unix time.").set_to_current_time()
        built = self.gauge("build_info", "Always 1.", "version", "python")
        built.labels(program_version(), platform.python_version()).set(1)

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        """A number that only grows."""
        return Counter(f"{self.prefix}_{name}", text, labels, registry=self.collected)

    def gauge(self, name: str, text: str, *labels: str) -> Gauge:
        """A number that comes and goes."""
        return Gauge(f"{self.prefix}_{name}", text, labels, registry=self.collected)


@contextmanager
def served(watched: Watched, *, host: str, port: int) -> Iterator[None]:
    """Answer HTTP at this address until the block ends; port 0: don't.

    Raises:
        Unavailable: if the port is in use.
    """
    if not port:
        yield
        return
    try:
        server = _Server((host, port), _handler(watched))
    except OSError as problem:
        raise Unavailable(
            f"The metrics' port must be free, and {host}:{port} can't be had "
            f"({problem.strerror}): stop what uses it, or choose another metrics_port, or 0 for none."
        ) from None
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    """A few requests at a time; one that is slow is cut off."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._places = threading.BoundedSemaphore(MOST_REQUESTS)
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Without a look-up of the host's name."""
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own, if one is free; else hang up."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """In the thread, which a request has for so long and no longer, however it trickles in."""
        late = threading.Timer(2 * REQUEST_S, _hang_up, (request,))
        late.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            late.cancel()
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The operator's log, and not standard error."""
        log.info("a look at the metrics was broken off")


def _hang_up(request: socket.socket) -> None:
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


def _handler(watched: Watched) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_S
        server_version = "consilium"
        sys_version = ""

        def do_GET(self) -> None:
            try:
                self._look()
            except OSError:
                raise
            except Exception:
                log.exception("a look at the metrics failed")
                self._answer(503, "text/plain; charset=utf-8", b"It can't be looked at.\n")

        def _look(self) -> None:
            if self.path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, watched.text())
            elif self.path == "/healthz":
                good, sentence = watched.health()
                text = f"{sentence}\n".encode()
                self._answer(200 if good else 503, "text/plain; charset=utf-8", text)
            else:
                self._answer(404, "text/plain; charset=utf-8", b"See /metrics and /healthz.\n")

        def log_message(self, format: str, *arguments: Any) -> None:
            log.debug("metrics were looked at")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
