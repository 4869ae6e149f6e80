"""What an operator watches: counters and gauges for Prometheus, and a health page, over HTTP.

    GET /metrics    the text format of Prometheus
    GET /healthz    200 or 503, with one sentence

Guarantee: no label and no line holds a hospital's name, a study's name or hash, a key, or anything
    of a share: numbers, and the fixed words below.
Does not protect: anybody who reaches the port learns how much is going on; so it listens on the
    loopback address, unless its operator says otherwise.
"""

import logging
import platform
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from socketserver import TCPServer
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from syft_code import canonical
from syft_code.errors import Unavailable

PREFIX = "consilium_aggregator"
SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
_COUNTED = {
    "share_taken": ("shares_taken", "Shares taken whole."),
    "set_chosen": ("sets_chosen", "Rounds whose one set was chosen."),
    "sum_released": ("sums_released", "Rounds whose sums were worked out; repeats not counted."),
    "refused": ("refusals", "Calls that were answered with no."),
    "study_wiped": ("studies_wiped", "Studies wiped since the start."),
}
REQUEST_S = 5.0
MOST_REQUESTS = 8
disable_created_metrics()  # type: ignore[no-untyped-call]  # twice as many lines, all with the time of the start
log = logging.getLogger(__name__)


def program_version() -> str:
    """The version of this program."""
    return version("consilium")


@canonical.message
class Condition:
    """How an aggregator is at this moment, in numbers that its operator may show anybody."""

    studies: int
    wiped_studies: int
    stored_bytes: int
    free_bytes: int
    reserve_bytes: int
    max_stored_bytes: int

    @property
    def problem(self) -> str:
        """Why it can't take a share, in one sentence; empty if it can."""
        if not self.free_bytes > self.reserve_bytes:
            return (
                f"The disk must have more than {self.reserve_bytes / 2**20:,.0f} MiB free, and has "
                f"{self.free_bytes / 2**20:,.0f}: no share is taken until there is room again."
            )
        if self.stored_bytes >= self.max_stored_bytes:
            return (
                f"At most {self.max_stored_bytes / 2**30:,.2f} GiB may be stored (max_stored_gib), "
                f"and {self.stored_bytes / 2**30:,.2f} are: no share is taken until a study is "
                "wiped."
            )
        return ""

    @property
    def sentence(self) -> str:
        """Its health in one sentence."""
        return self.problem or (
            f"Healthy: {self.studies} {'study' if self.studies == 1 else 'studies'}, {self.stored_bytes / 2**30:,.2f} GiB stored, "
            f"{self.free_bytes / 2**30:,.1f} GiB free."
        )


class Metrics:
    """An aggregator's numbers; `condition` is asked at each look."""

    def __init__(self, condition: Callable[[], Condition]) -> None:
        self.condition = condition
        self._registry = CollectorRegistry()
        self._counts = {kind: self._counter(name, text) for kind, (name, text) in _COUNTED.items()}
        self._received = self._counter("received_bytes", "Bytes of sealed shares that arrived.")
        self._sum_seconds = Histogram(
            f"{PREFIX}_sum_seconds",
            "Time to add up the sums of one round.",
            buckets=SECONDS,
            registry=self._registry,
        )
        self._studies = self._gauge("studies", "Studies that were opened here.", "state")
        self._stored = self._gauge("stored_bytes", "Bytes of shares and sums on the disk.")
        self._free = self._gauge("free_disk_bytes", "Free bytes on the folder's disk.")
        self._reserve = self._gauge("reserve_disk_bytes", "Below this, no share is taken.")
        self._healthy = self._gauge("healthy", "1 if it can take shares, else 0.")
        self._gauge("start_time_seconds", "When it started, Unix time.").set_to_current_time()
        built = self._gauge("build_info", "Always 1.", "version", "python")
        built.labels(program_version(), platform.python_version()).set(1)

    def on_event(self, kind: str, amount: int) -> None:
        """Told by the rules what happened; what is not counted here is let pass."""
        if kind in self._counts:
            self._counts[kind].inc()
        elif kind == "upload_bytes":
            self._received.inc(amount)
        elif kind == "sum_milliseconds":
            self._sum_seconds.observe(amount / 1000)

    def text(self) -> bytes:
        """All numbers, in the text format of Prometheus."""
        found = self.condition()
        self._studies.labels("open").set(found.studies - found.wiped_studies)
        self._studies.labels("wiped").set(found.wiped_studies)
        self._stored.set(found.stored_bytes)
        self._free.set(found.free_bytes)
        self._reserve.set(found.reserve_bytes)
        self._healthy.set(not found.problem)
        return generate_latest(self._registry)

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", text, labels, registry=self._registry)


@contextmanager
def served(metrics: Metrics, *, host: str, port: int) -> Iterator[None]:
    """Answer HTTP at this address until the block ends; port 0: don't.

    Raises:
        Unavailable: if the port is in use.
    """
    if not port:
        yield
        return
    try:
        server = _Server((host, port), _handler(metrics))
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
        """In the thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The operator's log, and not standard error."""
        log.info("a look at the metrics was broken off")


def _handler(metrics: Metrics) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_S
        server_version = "consilium"
        sys_version = ""

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, metrics.text())
            elif self.path == "/healthz":
                found = metrics.condition()
                text = f"{found.sentence}\n".encode()
                self._answer(503 if found.problem else 200, "text/plain; charset=utf-8", text)
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
