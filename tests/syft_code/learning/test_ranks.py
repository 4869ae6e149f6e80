"""A training on two processes is the training on one, to float64's rounding; noise is drawn once."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from syft_code.errors import TrainingFailed
from syft_code.learning import dp_sgd
from syft_code.learning.dp_sgd import TrainingRun
from syft_code.models import networks
from syft_code.plans.plan_parts import AdaptiveClip, DpSgd, Sgd
from syft_code.privacy.noise import NoiseSource
from syft_code.runtime.parent_exit import end_with_parent
from tests.gradients import ROWS, TABLE, a_cohort

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]
KEY = bytes(range(32))
RATE = 0.5


def run(**changes: object) -> TrainingRun:
    fields: dict[str, object] = {
        "noise_multiplier": 1.0, "max_grad_norm": 0.7, "sample_rate": 0.6, "steps": 6,
    }  # fmt: skip
    dp = DpSgd(**(fields | changes))  # type: ignore[arg-type]
    return TrainingRun(
        recipe=ROWS, dp=dp, optimizer=Sgd(learning_rate=RATE, momentum=0.5), declared_patients=30
    )


def trained(training: TrainingRun, group: dist.ProcessGroup | None = None) -> dp_sgd.Trained:
    """One training from the same start, with a known stream of noise."""
    model = networks.build(ROWS, TABLE)
    networks.from_vector(model, networks.initial_weights(ROWS, TABLE, seed=4))
    cohort = a_cohort(TABLE, 30)
    randomness = NoiseSource.from_key(KEY)
    return dp_sgd.train(model, cohort, training, randomness=randomness, group=group)


def second(meeting: str, training: TrainingRun, parent: int, said: Connection) -> None:
    """Rank 1, in a process of its own."""
    end_with_parent(parent)
    torch.set_num_threads(1)
    met(1, meeting)
    said.send(os.getpid())
    try:
        said.send(trained(training, dist.group.WORLD).update)
    except TrainingFailed as problem:
        said.send(str(problem))


def met(rank: int, meeting: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[object]:
    """Start rank 1 with a training; this process is rank 0."""
    context = multiprocessing.get_context("spawn")
    started: list[multiprocessing.process.BaseProcess] = []

    def begin(training: TrainingRun) -> Connection:
        ours, theirs = context.Pipe()
        meeting = str(tmp_path / "meeting")
        process = context.Process(target=second, args=(meeting, training, os.getpid(), theirs))
        process.start()
        started.append(process)
        met(0, meeting)
        return ours

    yield begin
    for process in started:
        process.kill()
        process.join()
    dist.destroy_process_group()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sample_rate": 0.01},  # mostly empty batches
        {"adaptive": AdaptiveClip(quantile=0.5, learning_rate=0.3, count_noise_multiplier=4.0)},
    ],
    ids=["plain", "empty batches", "adaptive clip"],
)
def test_two_processes_give_the_update_of_one(pair, changes: dict[str, object]) -> None:  # type: ignore[no-untyped-def]
    training = run(**changes)
    alone = trained(training)
    other = pair(training)
    together = trained(training, dist.group.WORLD)
    assert np.abs(together.update - alone.update).max() < 1e-6 * np.abs(alone.update).max()
    assert together.clip_moved == pytest.approx(alone.clip_moved, abs=1e-6)
    other.recv()
    theirs: NDArray[np.float64] = other.recv()
    assert not theirs.any(), "the other rank has no update of its own"


def test_a_rank_that_ends_is_one_sentence(pair) -> None:  # type: ignore[no-untyped-def]
    training = run(steps=100_000)
    other = pair(training)
    pid = other.recv()

    def kill(step: int) -> None:
        if step == 3:
            os.kill(pid, signal.SIGKILL)

    model = networks.build(ROWS, TABLE)
    with pytest.raises(TrainingFailed, match="needs all of them, and one has ended"):
        dp_sgd.train(
            model,
            a_cohort(TABLE, 30),
            training,
            randomness=NoiseSource.from_key(KEY),
            on_step=kill,
            group=dist.group.WORLD,
        )
