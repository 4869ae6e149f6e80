"""Where training runs: a child process of the vault, reached by two pipes.

With several processes for one training (`rank_processes`) these also meet on loopback ports.

The seam for a sandbox: `TrainingWorker` starts the process and talks to it, and nobody else
knows how. The process starts with an environment of three harmless names, no inherited
file but its pipes and its log, and ends with the vault.
"""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from datasites.protocol import framing, vault_api
from datasites.site import ROUND_LIMIT_S
from datasites.vault.worker.job_messages import JobReply, Ready, StepDone, TrainingJob
from syft_code.errors import InvalidMessage, TrainingFailed

START_LIMIT_S = 180.0
"""A process that loads its libraries longer than this never comes up."""
ENDED = (
    "The training process of this hospital ended before its result was there; nothing left the "
    "hospital and the round stays paid. Go on with the next one."
)

TOO_LONG = (
    "The round was not over within this hospital's time limit and was ended; nothing left the "
    "hospital and the round stays paid. Plan rounds of fewer steps, or ask the data owner for a "
    "longer limit."
)

_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


class TrainingWorker:
    """One training process at a time, started when first needed and kept for the next round.

    A start or a job that takes longer than `limit_s` seconds is ended.
    """

    def __init__(self, log_path: Path, *, limit_s: float = ROUND_LIMIT_S) -> None:
        self._log_path = log_path
        self._limit_s = limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._one_job = threading.Lock()
        self._starting = threading.Lock()
        self._closed = False

    def ready(self) -> None:
        """Have a process that waits for a job; raise `TrainingFailed` if none comes up."""
        with self._one_job:
            self._answering()

    def run(
        self,
        job: TrainingJob,
        weights: bytes,
        *,
        on_step: Callable[[int], None],
        limit_s: float | None = None,
    ) -> bytes:
        """Perform one job and return the raw bytes of its result, for the airlock.

        It may take `limit_s` seconds, if that is less than the worker's own limit.

        Raises:
            TrainingFailed: if the process died, took too long or spoke out of turn; a new one
                starts next time.
            ConsiliumError: what the process says went wrong.
        """
        with self._one_job:
            process = self._answering()
            with self._ended_after(process, min(self._limit_s, limit_s or self._limit_s)):
                return _converse(process, job, weights, on_step)

    def peak_mib(self) -> float:
        """The most memory that the training process has held so far; 0 if there is none."""
        process = self._process
        return _peak_mib(process.pid) if process is not None else 0.0

    def stop(self) -> None:
        """End the job under way, if there is one: it fails, and the next gets a new process."""
        self._end()

    def close(self) -> None:
        """End the training process for good; no other is started."""
        self._closed = True
        self._end()

    def _answering(self) -> "subprocess.Popen[bytes]":
        """The process, which has said that it is ready."""
        with self._starting:
            if self._process is not None and self._process.poll() is None:
                return self._process
        process = self._new()
        with self._ended_after(process, min(self._limit_s, START_LIMIT_S)):
            if process.stdout is None:
                raise EOFError
            framing.receive(process.stdout, Ready)
        return process

    def _new(self) -> "subprocess.Popen[bytes]":
        self._end()
        with self._starting:
            if self._closed:
                raise TrainingFailed(ENDED)
            with self._log_path.open("ab") as log:
                self._process = _start(log)
            return self._process

    @contextmanager
    def _ended_after(self, process: "subprocess.Popen[bytes]", limit_s: float) -> Iterator[None]:
        """End the process if what is done here takes longer, or goes wrong."""
        late = threading.Event()
        alarm = threading.Timer(limit_s, _end_late, [process, late])
        alarm.daemon = True
        alarm.start()
        try:
            yield
        except (OSError, EOFError, ValueError, InvalidMessage):
            self._end()
            raise TrainingFailed(TOO_LONG if late.is_set() else ENDED) from None
        finally:
            alarm.cancel()

    def _end(self) -> None:
        with self._starting:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            with process:  # closes the pipes and waits
                return


def _end_late(process: "subprocess.Popen[bytes]", late: threading.Event) -> None:
    late.set()
    process.kill()


def _peak_mib(process_id: int) -> float:
    """VmHWM of /proc; 0 of a process that has ended."""
    try:
        status = Path(f"/proc/{process_id}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    peak = _PEAK.search(status)
    return int(peak.group(1)) / 1024 if peak else 0.0


def _start(log: IO[bytes]) -> "subprocess.Popen[bytes]":
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "datasites.vault.worker.worker_process", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment,
        cwd=Path(__file__).parents[3],
        close_fds=True,
    )


def _converse(
    process: "subprocess.Popen[bytes]",
    job: TrainingJob,
    weights: bytes,
    on_step: Callable[[int], None],
) -> bytes:
    if process.stdin is None or process.stdout is None:
        raise EOFError
    framing.send(process.stdin, job, weights)
    while True:
        answer, body = framing.receive(process.stdout, JobReply)
        if isinstance(answer, vault_api.Failure):
            raise vault_api.as_error(answer)
        if not isinstance(answer, StepDone):
            return body
        on_step(answer.step)
