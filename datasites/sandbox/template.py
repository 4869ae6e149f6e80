"""A contained process seen from outside: started once, then one worker after the other, each for one job.

Template ─ spec ─▶ python -m datasites.sandbox.inside ─ libraries loaded ─▶ ready
worker() ─ one end of a line ─▶ fork ─▶ Worker: frames to and fro, one file handed over
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, BinaryIO

from datasites.sandbox import inside, namespaces
from datasites.sandbox.spec import Spec
from syft_code.errors import Unavailable

BUBBLEWRAP = "bwrap"
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "HOME": "/nowhere",
    "LANG": "C.UTF-8",
}


class Worker:
    """One process for one job: `jobs` to write to it, `answers` to read from it."""

    def __init__(self, line: socket.socket, printed: IO[bytes], log: IO[bytes], limit: int) -> None:
        self._line = line
        self._printed, self._log, self._limit = printed, log, limit
        self.jobs: BinaryIO = line.makefile("wb")
        self.answers: BinaryIO = line.makefile("rb")
        if self.answers.read(1) != inside.READY:
            self.close()
            raise EOFError

    def hand_over(self, file: IO[bytes] | None) -> None:
        """Begin the job, with a file that only it can read from; once.

        It gets a descriptor of its own: by a shared place in the file one job could tell the next something.
        """
        if file is None:
            socket.send_fds(self._line, [inside.READY], [])
            return
        descriptor = os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            socket.send_fds(self._line, [inside.READY], [descriptor])
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Let go of it; it ends when it next looks up from its work. What it printed goes to the log."""
        for end in (self.jobs, self.answers, self._line):
            with contextlib.suppress(OSError):  # what it did not take any more
                end.close()
        if self._printed.closed:
            return
        with self._printed:
            printed, log = self._printed.fileno(), self._log.fileno()
            room = max(0, self._limit - os.fstat(log).st_size)
            os.write(log, os.pread(printed, room, 0))


class Template:
    """A process behind walls that has loaded its libraries, and makes workers of itself.

    Guarantee: a worker reads what it was handed and its view of libraries, and writes to its line and,
        boundedly, to the log; it has no network and sees no other process (`inside`).
    Does not protect: against a hole in the kernel, or what a processor tells through its timing.
    """

    def __init__(self, spec: Spec, log: IO[bytes]) -> None:
        """Start it; it loads libraries meanwhile. Raise `OSError` if there is no such program."""
        self._log, self._log_bytes = log, spec.log_bytes
        self._line, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                command(spec),
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=_ENVIRONMENT
                | {"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).parents[2])},
                cwd="/",
                close_fds=True,
            )
        self._answered = False

    def ready(self) -> None:
        """Wait until it can make workers; raise `EOFError` if it ended instead."""
        if not self._answered and self._line.recv(1) != inside.READY:
            raise EOFError
        self._answered = True

    def worker(self) -> Worker:
        """Another worker; raise `EOFError` or `OSError` if there can't be one any more.

        It prints into a file of its own: the log's length would tell one job what another wrote.
        """
        self.ready()
        printed = tempfile.TemporaryFile()  # noqa: SIM115
        ours, theirs = socket.socketpair()
        worker = None
        try:
            with theirs:
                ends = [theirs.fileno(), printed.fileno()]
                socket.send_fds(self._line, [inside.FORK], ends)
            worker = Worker(ours, printed, self._log, self._log_bytes)
        finally:
            if worker is None:
                ours.close()
                printed.close()
        return worker

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def kill(self) -> None:
        """End it and all of its workers."""
        self._line.close()
        self.process.kill()
        self.process.wait()


def command(spec: Spec) -> list[str]:
    """How the contained process is started."""
    python = [sys.executable, "-m", "datasites.sandbox.inside", spec.to_json(), str(os.getpid())]
    if spec.mechanism != "bubblewrap":
        return python
    program = shutil.which(BUBBLEWRAP)
    if program is None:
        raise Unavailable("bubblewrap must be installed for this: apt install bubblewrap.")
    walls = [
        *("--unshare-user", "--unshare-all", "--die-with-parent", "--new-session"),
        *("--uid", "65534", "--gid", "65534", "--cap-drop", "ALL", "--chdir", "/"),
        *("--hostname", namespaces.HOST_NAME),
    ]
    return [program, *walls, *_binds(spec), "--", *python]


def _binds(spec: Spec) -> list[str]:
    binds: list[str] = []
    for path in spec.readable:
        if os.path.islink(path):
            binds += ["--symlink", os.readlink(path), path]
        else:
            binds += ["--dev-bind" if path.startswith("/dev/") else "--ro-bind", path, path]
    return binds
