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
from typing import IO, BinaryIO

from datasites.sandbox import inside
from datasites.sandbox.spec import CODE, Spec
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

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self.jobs: BinaryIO = line.makefile("wb")
        self.answers: BinaryIO = line.makefile("rb")
        self._answered = False

    def ready(self) -> None:
        """Wait until its walls stand; raise `EOFError` if it ended instead."""
        if not self._answered and self.answers.read(1) != inside.READY:
            self.close()
            raise EOFError
        self._answered = True

    def hand_over(self, file: IO[bytes] | None) -> None:
        """Begin the job, with a file that only it can read from; once, when it is ready."""
        socket.send_fds(self._line, [inside.READY], [] if file is None else [file.fileno()])

    def close(self) -> None:
        """Let go of it; it ends when it next looks up from its work."""
        with contextlib.suppress(OSError):  # what was to be written has nobody to read it
            self.jobs.close()
        self.answers.close()
        self._line.close()


class Template:
    """A process behind walls that has loaded its libraries, and makes workers of itself.

    Guarantee: a worker reads what it was handed and its view of libraries, and writes to its line and,
        boundedly, to the log; it has no network and sees no other process (`inside`).
    Does not protect: against a hole in the kernel, or what a processor tells through its timing.
    """

    def __init__(self, spec: Spec, log: IO[bytes]) -> None:
        """Start it; it loads libraries meanwhile. Raise `OSError` if there is no such program."""
        self._line, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                command(spec),
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=_ENVIRONMENT | {"PATH": os.defpath, "PYTHONPATH": str(CODE)},
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
        """Another worker, on its way; raise `EOFError` or `OSError` if there can be none any more."""
        self.ready()
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._line, [inside.FORK], [theirs.fileno()])
        return Worker(ours)

    def end_workers(self) -> None:
        """End every worker, whatever it does; the template goes on."""
        with contextlib.suppress(OSError):
            self._line.sendall(inside.END_WORKERS)

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
