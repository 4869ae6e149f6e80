"""The other processes of a training that a hospital runs on several: started once, told each job.

    worker (rank 0) ─ pipe: job and body ─▶ rank 1, 2, ...      rank 0 ◀─ gloo, loopback ─▶ rank 1, 2, ...

Each of them reads the cohort itself and goes through the same function as rank 0. They end with it.

Does not protect: from other users of the machine, who may connect to the ports that gloo opens on
    the loopback address; give a hospital a machine of its own, or one process.
"""

import contextlib
import datetime
import multiprocessing
import os
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import torch.distributed as dist

from datasites.vault.worker.job_messages import TrainingJob
from syft_code.errors import ConsiliumError, TrainingFailed
from syft_code.learning.ranks import LEADER, Group
from syft_code.runtime.parent_exit import end_with_parent

LONGEST_STEP = datetime.timedelta(hours=6)
START = datetime.timedelta(minutes=5)
Perform = Callable[[TrainingJob, bytes, Group], object]
"""One job as one rank does it; a function at the top of a module, since processes import it."""


class RankProcesses:
    """Ranks 1 and up of one worker, whose own rank is 0."""

    def __init__(self, count: int, perform: Perform) -> None:
        """Start them, and meet them.

        Raises:
            TrainingFailed: if they do not start.
        """
        self.count = count
        context = multiprocessing.get_context("spawn")
        self._folder = tempfile.TemporaryDirectory(prefix="ranks-")
        meeting = str(Path(self._folder.name) / "meeting")
        self._lines: list[Connection] = []
        self._processes = []
        for rank in range(1, count):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve,
                args=(theirs, rank, count, meeting, os.getpid(), perform),
                daemon=True,
            )
            process.start()
            self._lines.append(ours)
            self._processes.append(process)
        try:
            self.group = _meet(LEADER, count, meeting)
        except (RuntimeError, OSError):
            self.end()
            raise TrainingFailed(
                f"The {count} processes that this hospital trains on did not find each other: start "
                "the hospital again, or set training_processes to 1 in its site.json."
            ) from None

    def tell(self, job: TrainingJob, body: bytes) -> None:
        """Have every other rank begin a job."""
        for line in self._lines:
            line.send((job, body))

    def end(self) -> None:
        """End them, whatever they do."""
        for process in self._processes:
            process.kill()
            process.join()
        with contextlib.suppress(RuntimeError, ValueError, AssertionError):
            dist.destroy_process_group()
        self._folder.cleanup()


def _meet(rank: int, count: int, meeting: str) -> Group:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=count, timeout=START
    )
    group: Group = dist.new_group(timeout=LONGEST_STEP)
    return group


def _serve(
    line: Connection, rank: int, count: int, meeting: str, parent_pid: int, perform: Perform
) -> None:
    """Do each job's part until the worker ends, or something fails: then nobody goes on alone."""
    end_with_parent(parent_pid)
    group = _meet(rank, count, meeting)
    with contextlib.suppress(EOFError, ConsiliumError):
        while True:
            job, body = line.recv()
            perform(job, body, group)
