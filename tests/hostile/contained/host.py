"""A machine with things to steal and to break, which notices what was done to it."""

import hashlib
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tests.hostile.contained.attacks.network import SENT
from tests.hostile.contained.attacks.world import SECRET_BYTES, World

MEMORY_BYTES, LOG_BYTES = 3 << 30, 1 << 20
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
        self.packages = folder / "packages"
        self.packages.mkdir()
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
        self.packages.joinpath("module.py").write_text("")
        for extra in set(self.packages.iterdir()) - {self.packages / "module.py"}:
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
        if {path.name for path in self.packages.iterdir()} != {"module.py"}:
            found.append("packages have more files")
        found += ["module.py"] if self.packages.joinpath("module.py").read_text() else []
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
            packages=str(self.packages),
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
