"""One hospital's training on several processes: a batch's slices split, clipped sums added up.

    rank 0   draws the patients ─▶ all ranks: weights, who was drawn, the clip norm
             every n-th patient   ─▶ clipped sum ─┐
    rank 1   the others         ─▶ clipped sum ─┴▶ rank 0: one sum, noise once, one step

All ranks are of one hospital and hold its cohort; what travels between them is as private as it is. So
it travels over lines that were handed to them, which nobody else can open, and not over a network:
gloo and NCCL open ports. The sums are added in float64, in the order of ranks, so that one process
and several agree but for its rounding.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch import nn

from syft_code.errors import TrainingFailed
from syft_code.learning.gradient_factors import Clipped
from syft_code.models import networks

LEADER = 0
_OVER = -1.0


@dataclass(frozen=True, slots=True)
class Line:
    """To one other rank: what is written to it, and what is read from it."""

    to: BinaryIO
    back: BinaryIO

    def send(self, numbers: NDArray[np.generic]) -> None:
        """Write an array, whose length the other side knows."""
        self.to.write(np.ascontiguousarray(numbers).data.cast("B"))
        self.to.flush()

    def receive(self, dtype: DTypeLike, count: int) -> NDArray[np.generic]:
        """Read an array; raise `EOFError` if the other side has ended."""
        size = np.dtype(dtype).itemsize * count
        read = self.back.read(size)
        if len(read) != size:
            raise EOFError
        return np.frombuffer(read, dtype)


@dataclass(frozen=True, slots=True)
class Group:
    """The processes of one training, as one of them sees it: its number, and its lines.

    The leader, rank 0, has a line to each other rank in their order; another rank has one, to it.
    """

    rank: int
    size: int
    lines: Sequence[Line]


Drawn = NDArray[np.int64]
"""Slices `[patients, slices]`: a row for each drawn patient."""


@runtime_checkable
class ClippedSums(Protocol):
    """The clipped gradients of some patients of a cohort, added up."""

    def clipped_sum(self, chosen: Drawn, max_grad_norm: float) -> Clipped:
        """Over the patients that were drawn."""
        ...


class LeadingRank:
    """Rank 0: the sum over all ranks, for whoever trains here.

    Guarantee: one patient is in one rank's sum, so the whole sum moves by at most `max_grad_norm`
        with them, and what float64 rounds. No rank draws noise for it: that is added once, later.
    """

    def __init__(self, own: ClippedSums, model: nn.Module, group: Group) -> None:
        self._own = own
        self._model = model
        self._group = group

    def clipped_sum(self, chosen: Drawn, max_grad_norm: float) -> Clipped:
        """Over the patients that were drawn, wherever.

        Raises:
            TrainingFailed: if another rank has ended.
        """
        weights = networks.to_vector(self._model)
        with _in_words():
            for line in self._group.lines:
                line.send(np.array([*map(float, chosen.shape), max_grad_norm]))
                line.send(chosen.reshape(-1))
                line.send(weights)
        mine = self._own.clipped_sum(_part(chosen, self._group), max_grad_norm)
        total, unclipped = mine.total.double(), mine.unclipped
        with _in_words():
            for line in self._group.lines:
                total += torch.from_numpy(line.receive("<f8", len(total)).copy())
                unclipped += int(line.receive("<i8", 1)[0])
        return Clipped(total=total, unclipped=unclipped)

    def end(self) -> None:
        """Let the other ranks go, those that are left: the training is over, or has failed here."""
        for line in self._group.lines:
            with suppress(OSError, ValueError):
                line.send(np.array([_OVER, 0.0, 0.0]))


def leads(group: Group) -> bool:
    """Whether this process is rank 0."""
    return group.rank == LEADER


def follow(own: ClippedSums, model: nn.Module, group: Group) -> None:
    """Another rank: work out its part of each step until the training is over.

    Raises:
        TrainingFailed: if the leading rank has ended.
    """
    (line,) = group.lines
    while True:
        with _in_words():
            patients, slices, max_grad_norm = line.receive("<f8", 3)
            if patients == _OVER:
                return
            flat = line.receive("<i8", int(patients) * int(slices)).astype(np.int64)
            weights = line.receive("<f4", sum(p.numel() for p in model.parameters()))
        networks.from_vector(model, weights.astype(np.float32))
        chosen = flat.reshape(int(patients), int(slices))
        mine = own.clipped_sum(_part(chosen, group), float(max_grad_norm))
        with _in_words():
            line.send(mine.total.double().numpy())
            line.send(np.array([mine.unclipped], "<i8"))


def _part(chosen: Drawn, group: Group) -> Drawn:
    """Every n-th of the drawn patients is this rank's."""
    return chosen[group.rank :: group.size]


@contextmanager
def _in_words() -> Iterator[None]:
    """A line that has ended, as one of our sentences."""
    try:
        yield
    except (OSError, EOFError, ValueError):
        raise TrainingFailed(
            "A training on several processes needs all of them, and one has ended: nothing left the "
            "hospital. Go on with the next round, or train with fewer processes."
        ) from None
