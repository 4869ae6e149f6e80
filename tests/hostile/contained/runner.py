"""The host's side of the hostile corpus: templates, and a judge.

    Host ─ World ─▶ a worker tries one attack ─ "it got in", or not ─▶ Host looks for traces, mends them

An attack got in if the worker shows evidence or if the host finds a trace of it.
"""

import dataclasses
import json
import os
import secrets
import select
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from datasites.sandbox import template as templates
from datasites.sandbox.spec import Mechanism, Profile, Spec, python_paths
from datasites.sandbox.template import Template, Worker
from tests.hostile.contained.attacker import GOT_IN
from tests.hostile.contained.attacks import OVERDUE
from tests.hostile.contained.host import LOG_BYTES, MEMORY_BYTES, Host

TESTS = Path(__file__).resolve().parents[2]
ENTRY = "tests.hostile.contained.attacker:attack"
PATIENCE_S = 20


def spec(machine: Host, mechanism: Mechanism, profile: Profile, entry: str = ENTRY) -> Spec:
    """The tests' code may be read, and nothing else that is not the product's."""
    return Spec(
        mechanism=mechanism,
        profile=profile,
        entry=entry,
        readable=(*python_paths(), *extra_paths(), str(TESTS), str(machine.packages)),
        memory_bytes=MEMORY_BYTES,
        log_bytes=LOG_BYTES,
    )


def extra_paths() -> tuple[str, ...]:
    """Of libraries that lie elsewhere."""
    known = python_paths()
    return tuple(
        path
        for path in dict.fromkeys(sys.path)
        if path.endswith("site-packages") and path not in known and Path(path).is_dir()
    )


class Arena:
    """A template with its log, and the attacks that it is asked to try."""

    def __init__(self, machine: Host, shape: Spec) -> None:
        self._host = machine
        self._shape = shape
        self._mark = f"mark {secrets.token_hex(8)}"
        self.log = tempfile.TemporaryFile()  # noqa: SIM115
        self.log.write(self._mark.encode() + b"\n")
        self.log.flush()
        self._template = Template(shape, self.log)

    def got_in(self, names: Iterable[str]) -> dict[str, str]:
        """Each attack that succeeded, with the evidence."""
        return {name: how for name in names if (how := self._try(name))}

    def _try(self, name: str) -> str:
        if not self._template.alive:
            self._template = Template(self._shape, self.log)
        with open(self._host.own, "rb") as file:
            worker = self._begin(name, file)
        answered = bool(select.select([worker.answers], [], [], PATIENCE_S)[0])
        said = b""
        with suppress(OSError):
            said = worker.answers.read(1) if answered else b""
        worker.close()
        if not answered:
            self._template.kill()
        traces = [*(["the worker shows it"] if said == GOT_IN else []), *self._host.traces()]
        traces += self._log_troubles()
        self._host.mend()
        return ", ".join(traces)

    def _begin(self, name: str, file: IO[bytes]) -> Worker:
        worker = self._template.worker()
        worker.ready()
        worker.hand_over(file)
        world = dataclasses.asdict(self._host.world(self._mark))
        worker.jobs.write(json.dumps({"attack": name, "world": world}).encode() + b"\n")
        worker.jobs.flush()
        return worker

    def _log_troubles(self) -> list[str]:
        size = os.fstat(self.log.fileno()).st_size
        begins = os.pread(self.log.fileno(), len(self._mark), 0)
        found = ["the log is too long"] if size > LOG_BYTES else []
        found += ["the log was changed"] if begins != self._mark.encode() else []
        if size > LOG_BYTES // 2 or found:
            os.ftruncate(self.log.fileno(), 0)
            os.pwrite(self.log.fileno(), self._mark.encode() + b"\n", 0)
            os.lseek(self.log.fileno(), 0, os.SEEK_END)
        return found

    def outlived(self, names: Iterable[str] = OVERDUE) -> dict[str, str]:
        """Of the attacks that never end, which go on after the end of their template."""
        before = processes_of(self._template.process.pid)
        started: dict[int, str] = {}
        workers = []
        with open(self._host.own, "rb") as file:
            for name in names:
                known = processes_of(self._template.process.pid)
                workers.append(self._begin(name, file))
                time.sleep(0.1)
                for pid in processes_of(self._template.process.pid) - known - before:
                    started[pid] = name
        self._template.kill()
        for worker in workers:
            worker.close()
        alive = still_running(started)
        for pid in alive:
            os.kill(pid, 9)
        return {
            name: f"process {pid} outlives its template"
            for pid, name in started.items()
            if pid in alive
        }

    def close(self) -> None:
        self._template.kill()
        self.log.close()


def still_running(pids: Iterable[int]) -> set[int]:
    """Of these processes, after some seconds in which the kernel may end them."""
    alive = set(pids)
    for _ in range(60):
        alive = {pid for pid in alive if Path(f"/proc/{pid}/exe").exists()}
        if not alive:
            break
        time.sleep(0.05)
    return alive


def processes_of(root: int) -> set[int]:
    """All whose command is that of this process, and who is alive."""
    command = Path(f"/proc/{root}/cmdline").read_bytes().split(b"\0")[-3:]
    found = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                if folder.joinpath("cmdline").read_bytes().split(b"\0")[-3:] == command:
                    found.add(int(folder.name))
    return found


@contextmanager
def arena(machine: Host, shape: Spec) -> Iterator[Arena]:
    """A template for a test, and its end."""
    place = Arena(machine, shape)
    try:
        yield place
    finally:
        place.close()


@contextmanager
def without(machine: Host, *layers: str) -> Iterator[None]:
    """Templates that start meanwhile lack these layers."""
    whole = templates.command

    def thinned(shape: Spec) -> list[str]:
        words = [
            "tests.hostile.contained.thinned" if w == "datasites.sandbox.inside" else w
            for w in whole(shape)
        ]
        return [*words, str(machine.canary), *layers]

    templates.command = thinned
    try:
        yield
    finally:
        templates.command = whole
