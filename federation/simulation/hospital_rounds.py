"""Who works out the hospitals' halves of a simulated round: this process, several, or a cluster.

    names ─▶ chunks ─▶ process 1: load, train, bound, compress ─┐
                  └──▶ process 2: ...                           ├─▶ updates, in the order of names
                       (or tasks of a Ray cluster)             ─┘

A hospital's update follows from the plan, its name, the round, what was sent and what it keeps, so
every way gives the same bytes. Few chunks are under way at a time, and of long vectors few in a chunk,
so that memory stays that of them.
"""

import itertools
import multiprocessing
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from federation.simulation import client_round, ray_cluster
from federation.simulation.client_states import ClientStateFiles
from federation.simulation.hospital_data import HospitalData
from federation.simulation.randomness import Randomness
from syft_code.arrays import Vector
from syft_code.errors import ConsiliumError, InvalidInput, TrainingFailed, require
from syft_code.models.threads import one_thread
from syft_code.operation.parent_exit import end_with_parent
from syft_code.plans.plan import Plan
from syft_code.secret_sharing.vector_layout import VectorLayout

CHUNKS_A_WORKER = 4
"""A round has so many chunks for each worker, so that none waits long for the last."""
MOST_IN_CHUNK = 32
NUMBERS_IN_CHUNK = 1 << 22
"""A chunk's updates have about so many numbers in all, 32 MiB, or are one."""
Update = tuple[str, Vector | None]
"""A hospital's name and the values that it shares; None if a vault's airlock would keep them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HospitalWork:
    """All that a hospital's round follows from, apart from the round."""

    plan: Plan
    hospitals: HospitalData
    randomness: Randomness
    states: Path | None

    def states_files(self) -> ClientStateFiles:
        """Where hospitals keep what they keep."""
        return ClientStateFiles(self.states, size=VectorLayout.of(self.plan).kept_length("train"))

    def update(
        self, states: ClientStateFiles, name: str, number: int, sent: NDArray[np.float32]
    ) -> Update:
        """One hospital's half of one round."""
        kept = states.before(name, number)
        with one_thread():
            made = client_round.contribute(
                self.plan,
                name,
                number,
                self.hospitals.training(name),
                sent=sent,
                kept=kept,
                randomness=self.randomness.noise(name, number),
            )
        states.after(name, number, kept if made is None or made.kept is None else made.kept)
        return name, None if made is None else made.values


class HospitalRounds(Protocol):
    """A way to work out hospitals' rounds; closed when it is not needed any more."""

    def updates(
        self, number: int, names: Sequence[str], sent: NDArray[np.float32]
    ) -> Iterator[Update]:
        """What each hospital gives to a round, in the order of the names."""
        ...

    def close(self) -> None:
        """Let processes and files go."""
        ...


class SerialRounds:
    """One hospital after the other, here."""

    def __init__(self, work: HospitalWork, states: ClientStateFiles) -> None:
        self._work = work
        self._states = states

    def updates(
        self, number: int, names: Sequence[str], sent: NDArray[np.float32]
    ) -> Iterator[Update]:
        """As they are asked for."""
        for name in names:
            yield self._work.update(self._states, name, number, sent)

    def close(self) -> None:
        """Nothing is held."""


class ProcessRounds:
    """Several processes of one thread; what hospitals keep lies in files that all of them see."""

    def __init__(self, work: HospitalWork, *, workers: int) -> None:
        self._workers = workers
        self._pool = ProcessPoolExecutor(
            workers,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(os.getpid(), work),
        )

    def updates(
        self, number: int, names: Sequence[str], sent: NDArray[np.float32]
    ) -> Iterator[Update]:
        """Chunk by chunk, a few of them ahead of the one that is asked for.

        Raises:
            TrainingFailed: if a process ended by itself.
        """
        try:
            yield from _ahead(
                _chunks(names, self._workers, length=len(sent)),
                begin=lambda chunk: self._pool.submit(_work_chunk, number, chunk, sent),
                end=lambda begun: begun.result(),
                most=2 * self._workers,
            )
        except BrokenProcessPool:
            raise TrainingFailed(
                "A process of the simulation ended by itself, most likely for want of memory: run it "
                "again with fewer --workers."
            ) from None

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class RayRounds:
    """Tasks of a Ray cluster; data and kept states must lie where all its machines see them."""

    def __init__(self, work: HospitalWork, *, address: str) -> None:
        """Join a cluster, or start one here if the address is "local".

        Raises:
            Unavailable: if Ray is not installed, or the cluster does not answer.
        """
        self._ray = ray_cluster.join(address)
        self._work = self._ray.put(work)
        self._task: Callable[..., Any] = self._ray.remote(num_cpus=1, max_retries=3)(_on_ray).remote

    def updates(
        self, number: int, names: Sequence[str], sent: NDArray[np.float32]
    ) -> Iterator[Update]:
        """Chunk by chunk, as many ahead as the cluster has cores.

        Raises:
            TrainingFailed: if a task failed, or its machine went away four times.
            ConsiliumError: what a task says went wrong.
        """
        workers = ray_cluster.cores(self._ray)
        there = self._ray.put(sent)
        try:
            yield from _ahead(
                _chunks(names, workers, length=len(sent)),
                begin=lambda chunk: self._task(self._work, number, chunk, there),
                end=self._ray.get,
                most=2 * workers,
            )
        except self._ray.exceptions.RayError as problem:
            cause = getattr(problem, "cause", None)
            if isinstance(cause, ConsiliumError):
                raise cause from None
            raise TrainingFailed(
                f"A task on the Ray cluster failed ({type(problem).__name__}): see its log, and run "
                "the experiment again; it goes on where it stood."
            ) from None

    def close(self) -> None:
        """Nothing is held; who joined the cluster leaves it."""


class HospitalExecutor:
    """The way that was chosen, and a folder for what hospitals keep if none was named."""

    def __init__(self, work: HospitalWork, *, workers: int = 1, cluster: str = "") -> None:
        self._open = ExitStack()
        alone = workers == 1 and not cluster
        require(
            work.states is not None
            or cluster in ("", ray_cluster.LOCAL)
            or not VectorLayout.of(work.plan).kept_length("train"),
            "Hospitals of this plan keep something between rounds, and machines of a cluster need a "
            "folder for it that all of them see: name one.",
            error=InvalidInput,
        )
        if work.states is None and not alone:
            folder = self._open.enter_context(tempfile.TemporaryDirectory(prefix="kept-"))
            work = replace(work, states=Path(folder))
        self.states = work.states_files()
        if cluster:
            self._rounds: HospitalRounds = RayRounds(work, address=cluster)
        elif alone:
            self._rounds = SerialRounds(work, self.states)
        else:
            self._rounds = ProcessRounds(work, workers=workers)
        self._open.callback(self._rounds.close)
        self.updates = self._rounds.updates

    def close(self) -> None:
        """Let processes and files go."""
        self._open.close()


def _ahead(
    chunks: Iterator[list[str]],
    *,
    begin: Callable[[list[str]], Any],
    end: Callable[[Any], list[Update]],
    most: int,
) -> Iterator[Update]:
    """The updates of chunks in their order, with at most so many chunks under way."""
    under_way = deque(begin(chunk) for chunk in itertools.islice(chunks, most))
    while under_way:
        done = end(under_way.popleft())
        under_way.extend(begin(chunk) for chunk in itertools.islice(chunks, 1))
        yield from done


def _chunks(names: Sequence[str], workers: int, *, length: int) -> Iterator[list[str]]:
    """The names in order, in pieces small enough that no worker waits long for another."""
    most = max(min(MOST_IN_CHUNK, NUMBERS_IN_CHUNK // max(length, 1)), 1)
    size = min(max(len(names) // (workers * CHUNKS_A_WORKER), 1), most)
    remaining = iter(names)
    while chunk := list(itertools.islice(remaining, size)):
        yield chunk


_mine: list[HospitalWork] = []
"""In a process of `ProcessRounds`: what it works on."""


def _begin(parent_pid: int, work: HospitalWork) -> None:
    end_with_parent(parent_pid)
    _mine.append(work)


def _work_chunk(number: int, names: Sequence[str], sent: NDArray[np.float32]) -> list[Update]:
    (work,) = _mine
    return _chunk(work, number, names, sent)


def _on_ray(
    work: HospitalWork, number: int, names: Sequence[str], sent: NDArray[np.float32]
) -> list[Update]:
    return _chunk(work, number, names, sent)


def _chunk(
    work: HospitalWork, number: int, names: Sequence[str], sent: NDArray[np.float32]
) -> list[Update]:
    states = work.states_files()
    return [work.update(states, name, number, sent) for name in names]
