"""What runs in the training process of a vault (`worker_process`), spoken to by pipes.

It reads jobs from standard input and answers on standard output with steps, and at the
end with bytes for the airlock. It is started without the vault's keys or ledger, and it
runs nothing that came from outside but a recipe, which is data.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from datasites.data import cohort_file
from datasites.protocol import framing, vault_api
from datasites.vault.worker.job_messages import JobResult, Ready, StepDone, TrainingJob
from datasites.vault.worker.rank_processes import RankProcesses
from syft_code import canonical
from syft_code.errors import ConsiliumError, TrainingFailed, require
from syft_code.learning.ranks import Group
from syft_code.local_training import local_round
from syft_code.plans.plan import Plan
from syft_code.privacy.noise import NoiseSource
from syft_code.secret_sharing.vector_layout import VectorLayout


def perform(
    job: TrainingJob,
    body: bytes,
    *,
    on_step: Callable[[int], None] | None = None,
    group: Group | None = None,
) -> bytes:
    """Train on, or evaluate on, one hospital's cohort; return float64 bytes.

    In a `group` of processes each performs the same job, and the first one's bytes are the result.

    Guarantee: that of `local_round.train` or `local_round.evaluate`.
    """
    torch.set_num_threads(job.threads)
    plan = Plan.decode(job.plan.encode())
    data = Path(job.cohort_path).read_bytes()
    require(
        canonical.sha256(data) == job.cohort_sha256,
        "The cohort must be the bytes that the vault checked, and is not.",
        error=TrainingFailed,
    )
    split = cohort_file.unpack(data, plan.data)
    sent, stored = _divided(plan, job, body)
    randomness = NoiseSource.from_os()
    if job.purpose == "train":
        local_round.check_start(plan, job.round, sent)
        vector = local_round.train(
            plan,
            job.hospital,
            split.training(),
            sent=sent,
            kept=stored,
            randomness=randomness,
            on_step=on_step,
            group=group,
        )
    else:
        vector = local_round.evaluate(
            plan, split.evaluation(), sent=sent, kept=stored, randomness=randomness
        )
    return vector.astype("<f8").tobytes()


def _divided(
    plan: Plan, job: TrainingJob, body: bytes
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """What the researcher sent, and what the hospital has kept."""
    layout = VectorLayout.of(plan)
    end = 4 * layout.broadcast_length(job.purpose)
    stored = np.frombuffer(body[end:], "<f8").astype(np.float64)
    require(
        len(stored) == layout.kept_length(job.purpose),
        "A job must come with what the hospital keeps of the plan; this one has another length.",
        error=TrainingFailed,
    )
    return np.frombuffer(body[:end], "<f4").astype(np.float32), stored


def perform_part(job: TrainingJob, body: bytes, group: Group) -> bytes:
    """A job as another rank performs it."""
    return perform(job, body, group=group)


class _OtherRanks:
    """The other ranks, while there are any."""

    def __init__(self) -> None:
        self._processes: RankProcesses | None = None

    def begun(self, job: TrainingJob, body: bytes) -> Group | None:
        """The group that does a job together, which the others have begun; None if this one is alone."""
        if job.processes == 1 or job.purpose != "train":
            return None
        if self._processes is None or self._processes.count != job.processes:
            self.end()
            self._processes = RankProcesses(job.processes, perform_part)
        self._processes.tell(job, body)
        return self._processes.group

    def end(self) -> None:
        """After a job that failed, nobody knows where the others stand."""
        if self._processes is not None:
            self._processes.end()
        self._processes = None


def serve(jobs: framing.Readable, answers: framing.Writable) -> None:
    """Perform one job after the other until the vault closes the pipe."""
    others = _OtherRanks()
    while True:
        try:
            job, body = framing.receive(jobs, TrainingJob)
        except EOFError:
            return
        try:
            result = perform(
                job,
                body,
                on_step=lambda step: framing.send(answers, StepDone(step=step)),
                group=others.begun(job, body),
            )
            framing.send(answers, JobResult(), result)
        except ConsiliumError as problem:
            others.end()
            framing.send(
                answers, vault_api.Failure(error=type(problem).__name__, sentence=str(problem))
            )


def main() -> None:
    """Keep the pipe for answers alone: whatever a library prints goes to the owner's log."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    framing.send(answers, Ready())
    serve(sys.stdin.buffer, answers)
