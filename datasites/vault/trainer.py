"""What runs in the training process of a vault (`trainer_process`), spoken to by pipes.

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

from datasites import wire
from datasites.data import cohort_file
from datasites.vault.trainer_messages import Job, Result, Step
from syft_code import canonical, compression, dp_sgd, metrics, networks, scoring
from syft_code.errors import ConsiliumError, TrainingFailed, require
from syft_code.noise import NoiseSource
from syft_code.plan import Plan


def perform(job: Job, body: bytes, *, on_step: Callable[[int], None]) -> bytes:
    """Train on, or evaluate on, one hospital's cohort; return float64 bytes.

    Guarantee: for "train" that of `dp_sgd.train`; for "evaluate" the Gaussian mechanism on
        sums over held-out patients, noise std = the plan's multiplier x `scoring.sensitivity`.
    """
    torch.set_num_threads(job.threads)
    plan = Plan.decode(job.plan.encode("ascii"))
    data = Path(job.cohort_path).read_bytes()
    require(
        canonical.sha256(data) == job.cohort_sha256,
        "The cohort must be the bytes that the vault checked, and is not.",
        error=TrainingFailed,
    )
    split = cohort_file.unpack(data, plan.data)
    part = compression.trained(plan)
    model = networks.build(plan.recipe, plan.data)
    networks.from_vector(model, np.frombuffer(body[: 4 * part.stop], dtype="<f4"))
    correction = np.frombuffer(body[4 * part.stop :], dtype="<f8").astype(np.float64)
    randomness = NoiseSource.from_os()
    if job.purpose == "train":
        vector = dp_sgd.train(
            model,
            split.training(),
            recipe=plan.recipe,
            dp=plan.dp_sgd,
            optimizer=plan.optimizer,
            declared_patients=plan.hospital(job.hospital).patients,
            randomness=randomness,
            frozen=part.start,
            correction=correction if plan.algorithm == "scaffold" else None,
            on_step=on_step,
        )
    elif plan.evaluation is None:
        raise TrainingFailed("The plan has no evaluation.")
    else:
        vector = metrics.patient_sums(model, split.evaluation(), plan.data)
        scale = plan.evaluation.noise_multiplier * scoring.sensitivity(plan.data)
        vector = vector + scale * randomness.normal(len(vector))
    return vector.astype("<f8").tobytes()


def serve(jobs: wire.Readable, answers: wire.Writable) -> None:
    """Perform one job after the other until the vault closes the pipe."""
    while True:
        try:
            job, body = wire.receive(jobs, Job)
        except EOFError:
            return
        try:
            result = perform(job, body, on_step=lambda step: wire.send(answers, Step(step=step)))
            wire.send(answers, Result(), result)
        except ConsiliumError as problem:
            wire.send(answers, wire.Failure(error=type(problem).__name__, sentence=str(problem)))


def main() -> None:
    """Keep the pipe for answers alone: whatever a library prints goes to the owner's log."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin.buffer, answers)
