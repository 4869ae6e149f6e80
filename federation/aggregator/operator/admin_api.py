"""The operator's door: a Unix socket in the aggregator's folder, for its own user alone.

    Condition, Studies, Wipe, Log     gRPC, no TLS: HOME/operator.sock is 0600 in a folder of 0700

While the aggregator runs, its process answers; while it is stopped, a command takes the folder
and does the same (`at`). Whoever is the aggregator's user may do all that its operator may.
"""

import logging
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import grpc

from federation.aggregator import data_dir as aggregator_data_dir
from federation.aggregator import service as aggregator_service
from federation.aggregator.config import AggregatorConfig
from federation.aggregator.data_dir import SOCKET
from federation.aggregator.metrics import Condition
from federation.aggregator.study_records import StudyFacts, StudyRecords
from federation.transport import aggregator_api
from syft_code import canonical
from syft_code.errors import ConsiliumError, Unavailable
from syft_code.operation import process_user
from syft_code.plans.messages import Signed

SERVICE = "consilium.Operator"
ASK_S = 600.0
log = logging.getLogger(__name__)


class AdminApi(Protocol):
    """What an operator may ask, of a running aggregator or of a folder."""

    def condition(self) -> Condition:
        """How it is."""

    def studies(self) -> tuple[StudyFacts, ...]:
        """Which studies were opened here."""

    def wipe(self, plan_hash: str) -> Signed:
        """Delete a study's shares and sums for ever; returns the log's entry about it."""

    def exported_log(self) -> bytes:
        """The signed log, for others to check."""


@contextmanager
def at(config: AggregatorConfig) -> Iterator[AdminApi]:
    """The admin API of an aggregator that runs, or else of its folder, taken for as long.

    Raises:
        Unavailable: if it never started, or its folder is not in order.
    """
    aggregator_data_dir.require_begun(config.folder)
    with _short_path(config.folder) as path:
        if _answers(path):
            with closing(_Caller(config.name, path)) as caller:
                yield caller
            return
    with (
        process_user.acting_as_owner_of(config.folder),
        aggregator_data_dir.own(config.folder, make=False),
        aggregator_service.opened(config) as service,
    ):
        yield service


def runs(config: AggregatorConfig) -> bool:
    """Whether a process serves this aggregator."""
    aggregator_data_dir.require_begun(config.folder)
    with _short_path(config.folder) as path:
        return _answers(path)


@contextmanager
def served(home: Path, admin: AdminApi) -> Iterator[None]:
    """Answer the operator at the folder's socket until the block ends."""
    with _short_path(home) as path:
        (home / SOCKET).unlink(missing_ok=True)  # the folder is ours: a killed process left it
        server = grpc.server(ThreadPoolExecutor(1, thread_name_prefix="operator"))
        server.add_generic_rpc_handlers((_handlers(admin),))
        try:
            server.add_insecure_port(f"unix:{path}")
            (home / SOCKET).chmod(0o600)
        except (RuntimeError, OSError):
            raise Unavailable(
                f"An aggregator's folder must be on a file system that has sockets, and {home} is "
                "not: choose a folder on a local disk."
            ) from None
        server.start()
        try:
            yield
        finally:
            server.stop(None).wait()
            (home / SOCKET).unlink(missing_ok=True)


class _Caller:
    """The admin API of another process."""

    def __init__(self, name: str, path: str) -> None:
        self._name = name
        self._channel = grpc.insecure_channel(f"unix:{path}", options=aggregator_api.LIMITS)

    def condition(self) -> Condition:
        found: Condition = self._ask("Condition", Condition)
        return found

    def studies(self) -> tuple[StudyFacts, ...]:
        found: StudyRecords = self._ask("StudyRecords", StudyRecords)
        return found.studies

    def wipe(self, plan_hash: str) -> Signed:
        found: Signed = self._ask("Wipe", Signed, plan_hash)
        return found

    def exported_log(self) -> bytes:
        return self._bytes("Log", "")

    def close(self) -> None:
        self._channel.close()

    def _ask(self, name: str, kind: type[Any], text: str = "") -> Any:
        return canonical.parse(kind, self._bytes(name, text), what=f"answer to {name}")

    def _bytes(self, name: str, text: str) -> bytes:
        call = self._channel.unary_stream(f"/{SERVICE}/{name}")
        try:
            return b"".join(call(text.encode("ascii", "replace"), timeout=ASK_S))
        except grpc.RpcError as problem:
            raise aggregator_api.error_of(self._name, problem) from None


def _handlers(admin: AdminApi) -> grpc.GenericRpcHandler:
    answers: dict[str, Callable[[str], bytes]] = {
        "Condition": lambda _: canonical.encode(admin.condition()),
        "StudyRecords": lambda _: canonical.encode(StudyRecords(studies=admin.studies())),
        "Wipe": lambda plan_hash: canonical.encode(admin.wipe(plan_hash)),
        "Log": lambda _: admin.exported_log(),
    }
    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            name: grpc.unary_stream_rpc_method_handler(_handler(answer))
            for name, answer in answers.items()
        },
    )


def _handler(
    answer: Callable[[str], bytes],
) -> Callable[[bytes, grpc.ServicerContext], Iterator[bytes]]:
    def handle(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        try:
            data = answer(request.decode("ascii", "replace"))
        except ConsiliumError as problem:
            context.abort(aggregator_api.code_of(problem), str(problem))
        except Exception:
            log.exception("the operator's call failed")
            context.abort(grpc.StatusCode.INTERNAL, "It failed; aggregator.log says why.")
        else:
            yield from aggregator_api.chunks(data)

    return handle


@contextmanager
def _short_path(home: Path) -> Iterator[str]:
    """The socket by way of the folder's descriptor: socket paths are limited to 107 bytes."""
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{SOCKET}"
    finally:
        os.close(folder)


def _answers(path: str) -> bool:
    """Whether somebody listens there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True
