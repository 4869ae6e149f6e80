"""One hospital's training on several processes: a batch's patients split, clipped sums added up.

    rank 0   draws the patients ─▶ all ranks: weights, who was drawn, the clip norm
             every n-th patient ─▶ clipped sum ─┐
    rank 1   the others         ─▶ clipped sum ─┴▶ rank 0: one sum, noise once, one step

All ranks are of one hospital and hold its cohort; what travels between them is as private as it is.
The sums are added in float64, so that one process and several agree but for its rounding.

Source: `torch.distributed` with gloo, between processors; nothing here has run on a GPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Protocol, runtime_checkable

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import nn

from syft_code.errors import TrainingFailed
from syft_code.learning.gradient_factors import Clipped

LEADER = 0
_OVER = -1.0
Group = dist.ProcessGroup


@runtime_checkable
class ClippedSums(Protocol):
    """The clipped gradients of some slices of a cohort, added up."""

    def clipped_sum(self, chosen: NDArray[np.int64], max_grad_norm: float) -> Clipped:
        """Over the slices that were drawn."""
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

    def clipped_sum(self, chosen: NDArray[np.int64], max_grad_norm: float) -> Clipped:
        """Over the slices that were drawn, wherever.

        Raises:
            TrainingFailed: if another rank has ended.
        """
        with _in_words():
            _tell(float(len(chosen)), max_grad_norm, self._group)
            if len(chosen):
                dist.broadcast(torch.from_numpy(chosen.copy()), LEADER, self._group)
            _share_weights(self._model, self._group)
        mine = self._own.clipped_sum(_part(chosen, self._group), max_grad_norm)
        with _in_words():
            return _added(mine, self._group)

    def end(self) -> None:
        """Let the other ranks go, those that are left: the training is over, or has failed here."""
        with suppress(RuntimeError):
            _tell(_OVER, 0.0, self._group)


def leads(group: Group) -> bool:
    """Whether this process is rank 0."""
    return dist.get_rank(group) == LEADER


def follow(own: ClippedSums, model: nn.Module, group: Group) -> None:
    """Another rank: work out its part of each step until the training is over.

    Raises:
        TrainingFailed: if the leading rank has ended.
    """
    while True:
        with _in_words():
            told = torch.zeros(2, dtype=torch.float64)
            dist.broadcast(told, LEADER, group)
            if told[0] == _OVER:
                return
            chosen = torch.zeros(int(told[0]), dtype=torch.int64)
            if len(chosen):
                dist.broadcast(chosen, LEADER, group)
            _share_weights(model, group)
        mine = own.clipped_sum(_part(chosen.numpy(), group), float(told[1]))
        with _in_words():
            _added(mine, group)


def _tell(first: float, second: float, group: Group) -> None:
    dist.broadcast(torch.tensor([first, second], dtype=torch.float64), LEADER, group)


@torch.no_grad()
def _share_weights(model: nn.Module, group: Group) -> None:
    """The leader's parameters, at all others too."""
    parameters = list(model.parameters())
    flat = torch.cat([one.detach().reshape(-1) for one in parameters])
    dist.broadcast(flat, LEADER, group)
    if dist.get_rank(group) != LEADER:
        parts = torch.split(flat, [one.numel() for one in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.copy_(part.view_as(parameter))


def _part(chosen: NDArray[np.int64], group: Group) -> NDArray[np.int64]:
    """Every n-th of the drawn slices is this rank's."""
    return chosen[dist.get_rank(group) :: dist.get_world_size(group)]


def _added(mine: Clipped, group: Group) -> Clipped:
    """The sum over all ranks, at the leader."""
    packed = torch.cat([mine.total.double(), torch.tensor([float(mine.unclipped)])])
    dist.reduce(packed, LEADER, group=group)
    return Clipped(total=packed[:-1], unclipped=int(packed[-1]))


@contextmanager
def _in_words() -> Iterator[None]:
    """What torch raises for a rank that is gone, as one of our sentences."""
    try:
        yield
    except RuntimeError:
        raise TrainingFailed(
            "A training on several processes needs all of them, and one has ended: nothing left the "
            "hospital. Go on with the next round, or train with fewer processes."
        ) from None
