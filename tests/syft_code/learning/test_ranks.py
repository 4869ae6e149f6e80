"""A training on several processes is the training on one, to a step of the grid; noise is drawn once."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import BinaryIO

import numpy as np
import pytest

from syft_code.errors import TrainingFailed
from syft_code.learning import dp_sgd
from syft_code.learning.dp_sgd import TrainingRun
from syft_code.learning.ranks import Group, Line
from syft_code.models import networks
from syft_code.plans.plan_parts import AdaptiveClip, DpSgd, Sgd
from syft_code.privacy.noise import NoiseSource, grid_step
from tests.gradients import ROWS, TABLE, a_cohort

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


def trained(
    training: TrainingRun,
    group: Group | None = None,
    on_step: Callable[[int], None] | None = None,
) -> dp_sgd.Trained:
    """One training from the same start, with a known stream of noise."""
    model = networks.build(ROWS, TABLE)
    networks.from_vector(model, networks.initial_weights(ROWS, TABLE, seed=4))
    return dp_sgd.train(
        model,
        a_cohort(TABLE, 30),
        training,
        randomness=NoiseSource.from_key(KEY),
        on_step=on_step,
        group=group,
    )


class Others:
    """Ranks 1 and up, each on a thread, over real lines; what they came to."""

    def __init__(self, training: TrainingRun, count: int, stack: ExitStack) -> None:
        self.said: dict[int, object] = {}
        self.ends: list[socket.socket] = []
        lines, threads = [], []
        for rank in range(1, count):
            ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
            lines.append(self._line(ours, stack))
            self.ends.append(theirs)
            group = Group(rank, count, [self._line(theirs, stack)])
            thread = threading.Thread(target=self._train, args=(training, group))
            thread.start()
            threads.append(thread)
        self.group = Group(0, count, lines)
        self.threads = threads

    def _line(self, end: socket.socket, stack: ExitStack) -> Line:
        line = Line(to=end.makefile("wb"), back=end.makefile("rb"))
        stack.callback(line.back.close)
        stack.callback(_let_go, line.to)
        return line

    def _train(self, training: TrainingRun, group: Group) -> None:
        try:
            self.said[group.rank] = trained(training, group).update
        except TrainingFailed as problem:
            self.said[group.rank] = str(problem)


def _let_go(file: BinaryIO) -> None:
    with suppress(OSError):  # what was to be written has nobody to read it
        file.close()


@contextmanager
def others(training: TrainingRun, count: int = 2) -> Iterator[Others]:
    with ExitStack() as stack:
        found = Others(training, count, stack)
        yield found
        for end in found.ends:
            end.shutdown(socket.SHUT_RDWR)
        for thread in found.threads:
            thread.join()


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sample_rate": 0.01},  # mostly empty batches
        {"slices": 3},
        {"adaptive": AdaptiveClip(quantile=0.5, learning_rate=0.3, count_noise_multiplier=4.0)},
    ],
    ids=["plain", "empty batches", "slices", "adaptive clip"],
)
def test_several_processes_give_the_update_of_one(changes: dict[str, object], count: int) -> None:
    training = run(**changes)
    alone, expected = trained(training), training.dp.sample_rate * 30
    with others(training, count) as there:
        together = trained(training, there.group)
        for thread in there.threads:
            thread.join(timeout=60)
        # Sums in another order may fall on the next step of the grid, which momentum doubles.
        step = 2 * RATE * grid_step(training.dp.noise_multiplier * 0.7) / expected
        assert np.abs(together.update - alone.update).max() <= 1.01 * step
        assert together.clip_moved == pytest.approx(alone.clip_moved, abs=1e-6)
        assert len(there.said) == count - 1
        assert not any(np.any(update) for update in there.said.values()), "none has its own update"


def test_a_rank_that_ends_is_one_sentence() -> None:
    training = run(steps=100_000)
    with others(training) as there:

        def cut(step: int) -> None:
            if step == 3:
                there.ends[0].shutdown(socket.SHUT_RDWR)

        with pytest.raises(TrainingFailed, match="needs all of them, and one has ended"):
            trained(training, there.group, cut)
    assert "one has ended" in str(there.said[1])


def test_what_fails_at_the_leader_keeps_its_own_words_and_lets_the_others_go() -> None:
    training = run(steps=100_000)
    with others(training) as there:

        def fail(step: int) -> None:
            raise TrainingFailed("weights ran away")

        with pytest.raises(TrainingFailed, match="ran away"):
            trained(training, there.group, fail)
        there.threads[0].join(timeout=60)
        assert not np.any(there.said[1])
