"""Starting and stopping processes side by side, and leaving none behind."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from syft_code.errors import Unavailable
from syft_code.runtime.process_spec import ProcessSpec

POLL_S = 0.1
STOP_S = 8.0
TAIL_LINES = 3


@contextlib.contextmanager
def running(parties: Sequence[ProcessSpec], *, timeout_s: float = 90.0) -> Iterator[None]:
    """Start all parties side by side, wait until each is healthy, and stop all in the end.

    Raises:
        Unavailable: if a port is in use, or a party ends or stays silent; all others are
            stopped first.
    """
    for party in parties:
        _require_free_port(party)
    started: list[tuple[ProcessSpec, subprocess.Popen[bytes]]] = []
    try:
        for party in parties:
            started.append((party, _start(party)))
        _wait_until_healthy(started, timeout_s=timeout_s)
        yield
    finally:
        _stop([process for _, process in started])


def require_alive(parties: Sequence[ProcessSpec]) -> None:
    """Raise `Unavailable` if a party is no longer healthy."""
    for party in parties:
        if not party.healthy():
            raise Unavailable(_ended(party))


def _require_free_port(party: ProcessSpec) -> None:
    if not party.port:
        return
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", party.port))
        except OSError:
            raise Unavailable(
                f"{party.name} needs port {party.port}, which is in use: stop what listens there, "
                "or give another port in the federation file or with --first-port."
            ) from None


def _start(party: ProcessSpec) -> "subprocess.Popen[bytes]":
    party.log_path.parent.mkdir(parents=True, exist_ok=True)
    with party.log_path.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", party.module, *party.arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=Path(__file__).parents[2],
            start_new_session=True,
        )


def _wait_until_healthy(
    started: Sequence[tuple[ProcessSpec, "subprocess.Popen[bytes]"]], *, timeout_s: float
) -> None:
    waiting = list(started)
    deadline = time.monotonic() + timeout_s
    while waiting:
        for party, process in list(waiting):
            if process.poll() is not None:
                raise Unavailable(_ended(party))
            if party.healthy():
                waiting.remove((party, process))
        if time.monotonic() > deadline:
            names = ", ".join(party.name for party, _ in waiting)
            raise Unavailable(f"Not ready after {timeout_s:.0f} s: {names}. Their logs say more.")
        time.sleep(POLL_S)


def _ended(party: ProcessSpec) -> str:
    lines = party.log_path.read_text(errors="replace").strip().splitlines()[-TAIL_LINES:]
    last = lines[-1].strip() if lines else "nothing"
    return f"{party.name} ended or does not answer. Its last word: {last} Its log: {party.log_path}"


def _stop(processes: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Ask every process to end, then make it; its whole group goes with it."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    deadline = time.monotonic() + STOP_S
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=max(deadline - time.monotonic(), 0.1))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
