"""The host's side of the hostile corpus: things to steal and to break, templates, and a judge.

    Host ─ World ─▶ a worker tries one attack ─ "it got in", or not ─▶ Host looks for traces, mends them

An attack got in if the worker shows evidence or if the host finds a trace of it.
"""

import dataclasses
import hashlib
import json
import os
import secrets
import select
import shutil
import socket
import subprocess
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
from tests.hostile.contained.attacks.network import SENT
from tests.hostile.contained.attacks.world import SECRET_BYTES, World

TESTS = Path(__file__).resolve().parents[2]
ENTRY = "tests.hostile.contained.attacker:attack"
MEMORY_BYTES, LOG_BYTES = 3 << 30, 1 << 20
PATIENCE_S = 20
_VARIABLE = "CONSILIUM_HOSTILE_SECRET"
_DECOY = """
import ctypes, os, signal, sys
secret = ctypes.create_string_buffer(os.environ["CONSILIUM_HOSTILE_SECRET"].encode())
file = os.open(sys.argv[1], os.O_RDONLY)
signal.signal(signal.SIGUSR1, lambda *_: print("signal", flush=True))
print(ctypes.addressof(secret), file, flush=True)
while True:
    signal.pause()
"""


class Host:
    """A machine with secrets on it, which notices what was done to it."""

    def __init__(self, folder: Path) -> None:
        self._secret = "".join(secrets.choice("123456789") for _ in range(SECRET_BYTES))
        self._folder = folder
        self._canary, self._asset, self._own = (
            self._file(name, mode)
            for name, mode in (("canary", 0o600), ("asset", 0o644), ("own", 0o644))
        )
        self.open_folder = folder / "open"
        self.library = folder / "library"
        self.library.mkdir()
        self._shared = Path(f"/dev/shm/consilium-hostile-{os.getpid()}-{secrets.token_hex(4)}")
        self._shared.write_text(self._secret)
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self._path, self._abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        self._path.bind(str(folder / "listener"))
        os.chmod(folder / "listener", 0o777)
        self._abstract.bind(f"\0{self._shared.name}")
        for listener in (self._path, self._abstract):
            listener.listen()
        for listener in self._listeners:
            listener.setblocking(False)
        self._pipe, self._pipe_end = os.pipe2(os.O_NONBLOCK)
        self._decoy: subprocess.Popen[str] | None = None
        self.mend()

    @property
    def _listeners(self) -> tuple[socket.socket, ...]:
        return self._tcp, self._udp, self._path, self._abstract

    def _file(self, name: str, mode: int) -> Path:
        folder = self._folder / f"{name}-folder"
        folder.mkdir()
        file = folder / name
        file.write_text(self._secret)
        file.chmod(mode)
        return file

    def mend(self) -> None:
        """As it was before any attack."""
        self.library.joinpath("module.py").write_text("")
        for extra in set(self.library.iterdir()) - {self.library / "module.py"}:
            extra.unlink()
        for file, mode in ((self._canary, 0o600), (self._asset, 0o644), (self._own, 0o644)):
            file.write_text(self._secret)
            file.chmod(mode)
        with suppress(FileNotFoundError):
            shutil.rmtree(self.open_folder)
        self.open_folder.mkdir()
        self.open_folder.chmod(0o777)
        if self._decoy is None or self._decoy.poll() is not None:
            self._start_decoy()
        for path in Path("/dev/shm").glob(f"{self._shared.name}-*"):
            path.unlink()

    def _start_decoy(self) -> None:
        if self._decoy is not None and self._decoy.stdout:
            self._decoy.stdout.close()
        self._decoy = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _DECOY, str(self._asset)],
            env={_VARIABLE: self._secret},
            stdout=subprocess.PIPE,
            text=True,
        )
        address, descriptor = _stdout(self._decoy).readline().split()
        self._decoy_holds = int(address), int(descriptor)

    def traces(self) -> list[str]:
        """What an attack left; each is shown once."""
        found = [self._canary.name] if self._canary.read_text() != self._secret else []
        for file, mode in ((self._asset, 0o644), (self._own, 0o644)):
            if not file.exists():
                found.append(f"{file.name} is gone")
            elif file.read_text() != self._secret or file.stat().st_mode & 0o777 != mode:
                found.append(f"{file.name} was changed")
        found += [f"file {path.name}" for path in self.open_folder.iterdir()]
        if {path.name for path in self.library.iterdir()} != {"module.py"}:
            found.append("library has more files")
        found += ["module.py"] if self.library.joinpath("module.py").read_text() else []
        return found + self._lines_used() + self._decoy_troubles()

    def _lines_used(self) -> list[str]:
        found = []
        for listener in (self._tcp, self._path, self._abstract):
            for sent in _received(listener):
                found.append(f"{sent!r} came to {listener.getsockname()}")
        with suppress(BlockingIOError):
            found.append(f"a datagram {self._udp.recv(16)!r}")
        with suppress(BlockingIOError):
            found.append(f"bytes in a pipe {os.read(self._pipe, 16)!r}")
        return found

    def _decoy_troubles(self) -> list[str]:
        if self._decoy is None or self._decoy.poll() is not None:
            return ["the decoy is dead"]
        said = select.select([_stdout(self._decoy)], [], [], 0)[0]
        return [f"the decoy got a {_stdout(self._decoy).readline().strip()}"] if said else []

    def world(self, log_mark: str) -> World:
        """What an attacker is told."""
        if self._decoy is None:
            raise RuntimeError("the decoy was not started")
        return World(
            secret_hash=hashlib.sha256(self._secret.encode()).hexdigest(),
            canary=str(self._canary),
            asset=str(self._asset),
            own_asset=str(self._own),
            open_folder=str(self.open_folder),
            library=str(self.library),
            shared_memory=str(self._shared),
            decoy=self._decoy.pid,
            decoy_address=self._decoy_holds[0],
            decoy_descriptor=self._decoy_holds[1],
            variable=_VARIABLE,
            parent=os.getpid(),
            parent_pipe=f"/proc/{os.getpid()}/fd/{self._pipe_end}",
            tcp_port=self._tcp.getsockname()[1],
            udp_port=self._udp.getsockname()[1],
            socket_path=str(self._folder / "listener"),
            abstract=self._shared.name,
            host_name=os.uname().nodename,
            log_mark=log_mark,
            memory_bytes=MEMORY_BYTES,
            log_bytes=LOG_BYTES,
        )

    @property
    def canary(self) -> Path:
        return self._canary

    @property
    def own(self) -> Path:
        return self._own

    def close(self) -> None:
        if self._decoy is not None:
            self._decoy.kill()
            self._decoy.wait()
            _stdout(self._decoy).close()
        for listener in self._listeners:
            listener.close()
        os.close(self._pipe)
        os.close(self._pipe_end)
        self._shared.unlink()


def _received(listener: socket.socket) -> list[bytes]:
    """What came over each new connection; others on the machine may try which port is open."""
    found = []
    with suppress(BlockingIOError):
        while True:
            with listener.accept()[0] as line:
                line.settimeout(0.5)
                with suppress(OSError):
                    found.append(line.recv(16))
    return [sent for sent in found if any(word in sent for word in SENT)]


def _stdout(process: subprocess.Popen[str]) -> IO[str]:
    if process.stdout is None:
        raise RuntimeError("the decoy has no output")
    return process.stdout


@contextmanager
def host(folder: Path) -> Iterator[Host]:
    """A machine for a test."""
    machine = Host(folder)
    try:
        yield machine
    finally:
        machine.close()


def spec(machine: Host, mechanism: Mechanism, profile: Profile, entry: str = ENTRY) -> Spec:
    """The tests' code may be read, and nothing else that is not the product's."""
    return Spec(
        mechanism=mechanism,
        profile=profile,
        entry=entry,
        imports=(),
        readable=(*python_paths(), *extra_paths(), str(TESTS), str(machine.library)),
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
