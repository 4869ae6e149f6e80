"""What a training process does, inside its walls: one job, read from its line, answered on it.

It answers with steps, and at the end with bytes for the airlock; features of an encoder stay in the vault. It holds neither the vault's keys nor
its ledger, reads one file, the cohort, and runs nothing that came from outside but a recipe, which is
data.
"""

import os
from collections.abc import Callable, Sequence
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from datasites.data import cohort_file
from datasites.protocol import framing, vault_api
from datasites.vault.worker.job_messages import EncodingJob, Job, JobResult, StepDone, TrainingJob
from syft_code import canonical
from syft_code.errors import ConsiliumError, TrainingFailed, require
from syft_code.learning.ranks import Group, Line
from syft_code.local_training import local_round
from syft_code.models import frozen_features
from syft_code.models.compute import Compute
from syft_code.plans.plan import Plan
from syft_code.privacy.noise import NoiseSource
from syft_code.secret_sharing.vector_layout import VectorLayout


def perform(
    job: TrainingJob,
    body: bytes,
    cohort: bytes,
    *,
    on_step: Callable[[int], None] | None = None,
    group: Group | None = None,
) -> memoryview:
    """Train on, or evaluate on, one hospital's cohort file; return float64 bytes, little endian.

    In a `group` of processes each performs the same job, and the first one's bytes are the result.

    Guarantee: that of `local_round.train` or `local_round.evaluate`.
    """
    torch.set_num_threads(job.threads)
    plan = Plan.decode(job.plan.encode())
    _check_cohort(cohort, job.cohort_sha256)
    split = cohort_file.unpack(cohort, plan.data, features=plan.kept_features())
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
            compute=Compute(device=job.device, precision=job.precision),
        )
    else:
        vector = local_round.evaluate(
            plan, split.evaluation(), sent=sent, kept=stored, randomness=randomness
        )
    return np.ascontiguousarray(vector, "<f8").data.cast("B")


def encode(
    job: EncodingJob,
    file: bytes,
    cohort: bytes,
    *,
    on_done: Callable[[int], None] = lambda pictures: None,
) -> bytes:
    """What one of a plan's fixed layers says of each picture, as float32 bytes; for the vault alone.

    Guarantee: that of `frozen_features.encoded`.
    """
    plan = Plan.decode(job.plan.encode())
    _check_cohort(cohort, job.cohort_sha256)
    split = cohort_file.unpack(cohort, plan.data, features=plan.input_features(job.place))
    layer = plan.computed_once[job.place]
    features = frozen_features.encoded(layer, split.cohort.images, file, on_done=on_done)
    return features.astype("<f4", copy=False).tobytes()


def _check_cohort(cohort: bytes, sha256: str) -> None:
    require(
        canonical.sha256(cohort) == sha256,
        "The cohort must be the bytes that the vault checked, and is not.",
        error=TrainingFailed,
    )


def _divided(
    plan: Plan, job: TrainingJob, body: bytes
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """What the researcher sent, and what the hospital has kept."""
    layout = VectorLayout.of(plan)
    end = 4 * layout.broadcast_length(job.purpose)
    stored = np.frombuffer(body, "<f8", offset=end).astype(np.float64)
    require(
        len(stored) == layout.kept_length(job.purpose),
        "A job must come with what the hospital keeps of the plan; this one has another length.",
        error=TrainingFailed,
    )
    return np.frombuffer(body[:end], "<f4"), stored


def work(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    """The one job of this process: a cohort came with it, and lines to the other ranks."""
    job, body = framing.receive(jobs, Job)
    with os.fdopen(files[0], "rb") as handed:
        cohort = handed.read()
    lines = [Line(to=os.fdopen(n, "wb"), back=os.fdopen(n, "rb")) for n in files[1:]]

    def on_step(step: int) -> None:
        framing.send(answers, StepDone(step=step))

    try:
        if isinstance(job, EncodingJob):
            result: bytes | memoryview = encode(job, body, cohort, on_done=on_step)
        else:
            group = Group(job.rank, job.processes, lines) if lines else None
            result = perform(job, body, cohort, on_step=on_step, group=group)
        framing.send(answers, JobResult(), result)
    except ConsiliumError as problem:
        framing.send(
            answers, vault_api.Failure(error=type(problem).__name__, sentence=str(problem))
        )
