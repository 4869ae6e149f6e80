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
from collections.abc import Sequence
from typing import IO, BinaryIO

from datasites.sandbox import inside, namespaces
from datasites.sandbox.spec import CODE, Spec
from syft_code.errors import Unavailable

BUBBLEWRAP = "bwrap"
_KILL_S = 10.0
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # without it products on a CUDA device may differ from run to run
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "HOME": "/nowhere",
    "LANG": "C.UTF-8",
}


class _Printed:
    """What one worker prints, in a file of its own: in a common one, its length would tell the next
    job what this one wrote. When the worker is let go, the text goes to the log, as far as it fits.
    """

    def __init__(self, log: IO[bytes], limit_bytes: int) -> None:
        self._log = os.fdopen(os.dup(log.fileno()), "wb", buffering=0)  # first: it may be closed
        try:
            self.file = tempfile.TemporaryFile()  # noqa: SIM115
        except OSError:
            self._log.close()
            raise
        self._limit_bytes = limit_bytes

    def close(self) -> None:
        """Once is enough."""
        if self.file.closed:
            return
        with self.file, self._log:
            room = max(0, self._limit_bytes - os.fstat(self._log.fileno()).st_size)
            with contextlib.suppress(OSError):  # a full disk does not fail the job
                self._log.write(os.pread(self.file.fileno(), room, 0))


class Worker:
    """One process for one job: `jobs` to write to it, `answers` to read from it."""

    def __init__(self, line: socket.socket, printed: _Printed) -> None:
        self._line, self._printed = line, printed
        self.jobs: BinaryIO = line.makefile("wb")
        self.answers: BinaryIO = line.makefile("rb")
        self._answered = False

    def ready(self) -> None:
        """Wait until its walls stand; raise `EOFError` if it ended instead."""
        if not self._answered and self.answers.read(1) != inside.READY:
            self.close()
            raise EOFError
        self._answered = True

    def hand_over(self, file: IO[bytes] | None, lines: Sequence[socket.socket] = ()) -> None:
        """Begin the job, with a file to read and lines to others; once, when it is ready.

        It gets a descriptor of its own: by a shared place in the file one job could tell the next something.
        """
        descriptors = [line.fileno() for line in lines]
        if file is not None:
            descriptors.insert(0, os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY))
        try:
            socket.send_fds(self._line, [inside.READY], descriptors)
        finally:
            if file is not None:
                os.close(descriptors[0])

    def close(self) -> None:
        """Let go of it; it ends when it next looks up from its work. What it printed goes to the log."""
        for end in (self.jobs, self.answers, self._line):
            with contextlib.suppress(OSError):  # what it did not take any more
                end.close()
        self._printed.close()


class Template:
    """A process behind walls that has loaded its libraries, and makes workers of itself.

    Guarantee: a worker reads what it was handed and its view of libraries, and writes to its line and,
        boundedly, to the log; it has no network and sees no other process (`inside`).
    Does not protect: against a hole in the kernel, or what a processor tells through its timing.
    """

    def __init__(self, spec: Spec, log: IO[bytes], *, silence_s: float | None = None) -> None:
        """Start it; it loads libraries meanwhile. Raise `OSError` if there is no such program.

        Whoever waits for its word, or a worker's, longer than `silence_s` gets `TimeoutError`.
        """
        words = command(spec)
        with contextlib.ExitStack() as failed:
            self._line, theirs = socket.socketpair()
            failed.enter_context(self._line)
            self._line.settimeout(silence_s)
            with theirs:
                self.process = subprocess.Popen(
                    words,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    env=_ENVIRONMENT | {"PATH": os.defpath, "PYTHONPATH": str(CODE)},
                    cwd="/",
                    close_fds=True,
                )
            failed.pop_all()
        self._log = os.fdopen(os.dup(log.fileno()), "wb", buffering=0)
        self._log_bytes = spec.log_bytes
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
        ours.settimeout(self._line.gettimeout())
        with theirs, contextlib.ExitStack() as failed:
            failed.callback(ours.close)
            printed = failed.enter_context(contextlib.closing(_Printed(self._log, self._log_bytes)))
            socket.send_fds(self._line, [inside.FORK], [theirs.fileno(), printed.file.fileno()])
            worker = Worker(ours, printed)
            failed.pop_all()
        return worker

    def end_workers(self) -> None:
        """End every worker, whatever it does; the template goes on."""
        with contextlib.suppress(OSError):
            self._line.sendall(inside.END_WORKERS)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def kill(self) -> None:
        """End it and all of its workers; one that is stuck in a driver ends when that lets go of it."""
        self._line.close()
        self._log.close()
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=_KILL_S)


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
