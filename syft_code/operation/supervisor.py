"""Parties' processes on one machine: started side by side, watched, and stopped together.

    ends      asked of the process itself: its log's last lines are shown, and it is restarted alone,
              after 1, 2, 4, ... seconds, later every minute, for as long as the others run
    silence   a health probe that is not answered: told, and no more, since it may only be busy

The other parties keep running in both cases. Each has a watch of its own, so that a probe that
hangs delays nobody else's restart.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from syft_code.errors import Unavailable
from syft_code.operation.process_spec import ProcessSpec
from syft_code.runtime.visible_text import visible

POLL_S = 0.1
WAKE_S = 0.5
WATCH_S = 2.0
SILENT_S = 10.0
STEADY_S = 300.0
"""After so long without an end, a party's earlier restarts no longer count."""
BACKOFF_S = 1.0
MOST_DOUBLINGS = 6
"""Of the pause before a restart: never more than 64 seconds."""
TELL_S = 10.0
STOP_S = 8.0
TAIL_LINES = 3
TAIL_BYTES = 4096
START_TIMEOUT_S, MAX_START_S = 90.0, 3600.0
StartTimeout = Annotated[
    float, typer.Option(help="Seconds in which all parties must be ready; they load PySyft.")
]
SLOW = (
    "A front desk loads PySyft, which takes long on a busy machine or a slow disk: "
    "allow more with --start-timeout, or read why in"
)

Say = Callable[[str], None]


@dataclass(slots=True, kw_only=True, eq=False)
class _Party:
    """One process, and what is known of it."""

    spec: ProcessSpec
    process: "subprocess.Popen[bytes]"
    started_at: float = field(default_factory=time.monotonic)
    answered_at: float = 0.0
    ready: bool = False
    told_silent: bool = False
    restarts: int = 0
    restart_at: float | None = None


@contextlib.contextmanager
def running(
    specs: Sequence[ProcessSpec],
    *,
    start_timeout_s: float = START_TIMEOUT_S,
    say: Say = lambda sentence: None,
) -> Iterator["Supervisor"]:
    """Start all parties, wait until each answers, watch them in the block, and stop all.

    Raises:
        Unavailable: if a port is in use, or a party ends or stays silent before all are ready; the
            others are stopped first.
    """
    for spec in specs:
        require_free_port(spec.name, spec.port)
    supervisor = Supervisor(start_timeout_s=start_timeout_s, say=say)
    try:
        supervisor.start(specs)
        supervisor.watch()
        yield supervisor
    except KeyboardInterrupt:
        say("Stopping the parties; this takes some seconds")
        raise
    finally:
        with signals_ignored():
            supervisor.stop()


class Supervisor:
    """The processes of a federation while they run."""

    def __init__(self, *, start_timeout_s: float, say: Say) -> None:
        self._start_timeout_s = start_timeout_s
        self._say = say
        self._parties: list[_Party] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def start(self, specs: Sequence[ProcessSpec]) -> None:
        """Start every party and wait until all answer."""
        for spec in specs:
            self._parties.append(_Party(spec=spec, process=_start(spec)))
            self._say(f"{spec.name}: starting")
        began = told_at = time.monotonic()
        while waiting := [party for party in self._parties if not party.ready]:
            for party in waiting:
                self._look_at_start(party)
            now = time.monotonic()
            if now - began > self._start_timeout_s:
                raise Unavailable(_too_slow(waiting, self._start_timeout_s))
            if now - told_at > TELL_S:
                told_at = now
                self._say(f"Still starting: {_names(waiting)}")
            time.sleep(POLL_S)

    def watch(self) -> None:
        """Look at every party from time to time until `stop`, each in a thread of its own.

        What is restarted there ends with its thread, so the thread goes on whatever goes wrong.
        """
        for party in self._parties:
            name = f"watch over {party.spec.name}"
            threading.Thread(target=self._watch, args=(party,), name=name, daemon=True).start()

    def _watch(self, party: _Party) -> None:
        while not self._stopped.wait(WATCH_S):
            try:
                self.look(party)
            except Exception as problem:  # nobody foresaw it: it is tried again
                self._tell(f"{party.spec.name} could not be looked after: {problem}")

    def look(self, party: _Party) -> None:
        """Restart a party that has ended, tell of one that is silent."""
        with self._lock:
            if self._stopped.is_set():
                return
            ended = party.process.poll() is not None
            if ended:
                self._restart(party)
        if not ended:
            self._probe(party)

    def _tell(self, sentence: str) -> None:
        """Tell it, if anybody still listens: a terminal may be gone, and the parties be stopped."""
        if self._stopped.is_set():
            return
        with contextlib.suppress(Exception, SystemExit):
            self._say(sentence)

    def stop(self) -> None:
        """Ask every process to end, then make it; its whole group goes with it."""
        with self._lock:
            self._stopped.set()
            processes = [party.process for party in self._parties]
        for process in processes:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + STOP_S
        for process in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=max(deadline - time.monotonic(), 0.1))
            _kill_group(process)

    def _look_at_start(self, party: _Party) -> None:
        if party.process.poll() is not None:
            raise Unavailable(_ended(party))
        if _answers(party.spec):
            party.ready, party.answered_at = True, time.monotonic()
            self._say(f"{party.spec.name}: ready")

    def _restart(self, party: _Party) -> None:
        """Start it again once its pause is over; the pause is longer each time."""
        if party.restart_at is None:
            _kill_group(party.process)
            self._pause(party, _ended(party))
        if party.restart_at is None or time.monotonic() < party.restart_at:
            return
        try:
            party.process = _start(party.spec)
        except OSError as problem:  # a full disk, too many processes
            self._pause(party, f"{party.spec.name} can't be started: {problem.strerror}.")
            return
        party.restart_at, party.started_at = None, time.monotonic()
        party.ready = party.told_silent = False

    def _pause(self, party: _Party, why: str) -> None:
        wait_s = BACKOFF_S * 2 ** min(party.restarts, MOST_DOUBLINGS)
        party.restarts += 1
        party.restart_at = time.monotonic() + wait_s
        name = party.spec.name
        self._tell(f"{why}\n{name} restarts in {wait_s:.0f} s; the others keep running.")

    def _probe(self, party: _Party) -> None:
        now = time.monotonic()
        name = party.spec.name
        if _answers(party.spec):
            if not party.ready or party.told_silent:
                self._tell(f"{name}: {'answers again' if party.ready else 'ready again'}")
            if now - party.started_at > STEADY_S:
                party.restarts = 0
            party.ready, party.told_silent, party.answered_at = True, False, now
            return
        since = party.answered_at if party.ready else party.started_at
        limit_s = SILENT_S if party.ready else self._start_timeout_s
        if not party.told_silent and now - since >= limit_s:
            party.told_silent = True
            self._tell(
                f"{name} has not answered for {now - since:.0f} s. Its process runs, so it may only "
                f"be busy; all parties keep running. Its log: {party.spec.log_path}"
            )


def require_free_port(name: str, port: int) -> None:
    """Raise `Unavailable` if somebody listens on a party's port (0: it needs none)."""
    if not port:
        return
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise Unavailable(
                f"{name} needs port {port}, which is in use: stop what listens there, or give "
                "another port in the federation file or with --first-port."
            ) from None


def timed(console: Console) -> Say:
    """A printer of sentences, each with the seconds since now."""
    began = time.monotonic()

    def say(sentence: str) -> None:
        seconds = time.monotonic() - began
        console.print(
            f"[dim]{seconds:5.0f} s[/]  {escape(sentence)}", highlight=False, soft_wrap=True
        )

    return say


def wait_for_interrupt() -> None:
    """Wait for ever, in short pieces: Python runs a signal's handler when this thread wakes.

    A signal may meet any thread of the process, and one that met another wakes this one from no long wait.
    """
    never = threading.Event()
    while not never.wait(WAKE_S):
        pass


@contextlib.contextmanager
def until_interrupted(say: Say) -> Iterator[None]:
    """Ctrl-C, or a signal to end, is how parties are stopped: it says so, and is no failure."""
    try:
        yield
    except KeyboardInterrupt:
        say("Stopped. Start again, and all is as it was.")


@contextlib.contextmanager
def signals_ignored() -> Iterator[None]:
    """Let a second Ctrl-C wait: what stops processes or deletes copies of data must end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(spec: ProcessSpec) -> "subprocess.Popen[bytes]":
    spec.log_path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    user = spec.user
    with os.fdopen(os.open(spec.log_path, flags, 0o600), "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", spec.module, *spec.arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=Path(__file__).parents[2],
            env=user.environment() if user else None,
            user=user.number if user else None,
            group=user.number if user else None,
            extra_groups=user.groups if user else None,
            start_new_session=True,
        )


def _answers(spec: ProcessSpec) -> bool:
    try:
        return spec.healthy()
    except Exception:  # whatever else may answer at its port
        return False


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _ended(party: _Party) -> str:
    lines = _last_lines(party.spec.log_path)
    return "\n".join(
        (
            f"{party.spec.name} ended with exit code {party.process.returncode}. Its log "
            f"{party.spec.log_path} {'ends with:' if lines else 'is empty.'}",
            *(f"    {line}" for line in lines),
        )
    )


def _last_lines(log_path: Path) -> list[str]:
    """What a party wrote last, as a terminal may show it."""
    try:
        with log_path.open("rb") as log:
            log.seek(max(log.seek(0, os.SEEK_END) - TAIL_BYTES, 0))
            text = log.read().decode(errors="replace")
    except OSError:
        return []
    return [visible(line) for line in text.strip().splitlines()[-TAIL_LINES:]]


def _too_slow(waiting: Sequence[_Party], limit_s: float) -> str:
    return f"Not ready after {limit_s:g} s: {_names(waiting)}. {SLOW} {waiting[0].spec.log_path}."


def _names(parties: Sequence[_Party]) -> str:
    return ", ".join(party.spec.name for party in parties)
