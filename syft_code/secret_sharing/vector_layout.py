"""How long each vector of a plan is, and which part of it is what: one place for all parties.

    parameters of the network
    ├ frozen                     never trained, never shared
    └ trained                    DP-SGD's update
      ├ norms                    kept: a hospital's own scales and shifts (`local_norms`)
      └ shared
        ├ sent in this round     a share of the coordinates (`compression`); twice for SCAFFOLD
        └ not sent               kept, with error feedback, for the next round

    ring vector = values (what is sent, or an evaluation's sums) │ digits of the weight

It is in this room, the lowest that knows plans, evaluations and the ring.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from syft_code.metrics import scoring
from syft_code.plans.algorithms import Ewc, Scaffold
from syft_code.plans.messages import Purpose
from syft_code.plans.plan import Plan
from syft_code.recipes import local_norms
from syft_code.recipes.recipe import parameter_count, trained_count
from syft_code.secret_sharing import sharing

REMEMBERED = 8
"""Plans whose layout stays in memory: with local normalisation one holds a bool a parameter."""


class KeptParts(NamedTuple):
    """How many numbers a hospital keeps between rounds, of each part, in their order."""

    memory: int
    norms: int
    clip: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VectorLayout:
    """The layout of a plan's vectors; `of` works it out once for a plan.

    `trained` is the end of the network's vector. `shared` says which places of the trained part are
    shared, None for all. `sent_count` coordinates of the shared part travel in each round, and with
    `error_feedback` a hospital keeps what did not. `broadcast` names the parts of what a researcher
    sends, all others have no numbers.
    """

    trained: slice
    shared: NDArray[np.bool_] | None
    shared_count: int
    sent_count: int
    error_feedback: bool
    kept: KeptParts
    _broadcast: Mapping[Purpose, Mapping[str, int]]
    _values: Mapping[Purpose, int]
    _weight_digits: Mapping[Purpose, int]

    @classmethod
    def of(cls, plan: Plan) -> "VectorLayout":
        """The layout of a plan's vectors.

        Guarantee: a function of the plan alone, so that every party finds the same one.
        """
        return _layout(plan)

    @property
    def trained_count(self) -> int:
        """How many parameters are trained."""
        count: int = self.trained.stop - self.trained.start
        return count

    def broadcast(self, purpose: Purpose) -> Mapping[str, int]:
        """How many float32 of each part a researcher sends with a round call, in their order."""
        return self._broadcast[purpose]

    def broadcast_length(self, purpose: Purpose) -> int:
        """How many float32 travel with a round call."""
        return sum(self._broadcast[purpose].values())

    def kept_length(self, purpose: Purpose) -> int:
        """How many float64 a hospital keeps; an evaluation reads the normalisation alone."""
        return sum(self.kept) if purpose == "train" or self.kept.norms else 0

    def result_length(self, purpose: Purpose) -> int:
        """How many float64 the training process gives: an update and the clip norm's way, or sums."""
        if purpose == "train":
            return self.trained_count + self.kept.clip
        return self._values[purpose]

    def values_length(self, purpose: Purpose) -> int:
        """How many numbers are shared, before the weight."""
        return self._values[purpose]

    def weight_digits(self, purpose: Purpose) -> int:
        """How many ring elements hold the weight."""
        return self._weight_digits[purpose]

    def vector_length(self, purpose: Purpose) -> int:
        """How many ring elements a shared vector has: every value, then the weight's digits."""
        return self._values[purpose] + self._weight_digits[purpose]


@lru_cache(maxsize=REMEMBERED)
def _layout(plan: Plan) -> VectorLayout:
    total = parameter_count(plan.recipe, plan.data)
    trained = trained_count(plan.recipe, plan.data, frozen_layers=plan.frozen_layers)
    part = slice(total - trained, total)
    shared = _shared(plan, part)
    count = trained if shared is None else int(shared.sum())
    sent = count
    if plan.compression is not None:
        sent = max(1, round(plan.compression.kept * count))
    scaffold = isinstance(plan.algorithm, Scaffold)
    feedback = plan.compression is not None and plan.compression.error_feedback
    return VectorLayout(
        trained=part,
        shared=shared,
        shared_count=count,
        sent_count=sent,
        error_feedback=feedback,
        kept=KeptParts(
            memory=count if scaffold or feedback else 0,
            norms=trained - count,
            clip=int(plan.dp_sgd.adaptive is not None),
        ),
        _broadcast=_broadcast(plan, parameters=total, control=count if scaffold else 0),
        _values={
            "train": 2 * sent if scaffold else sent,
            "evaluate": scoring.evaluation_length(plan.data),
        },
        _weight_digits={"train": _digits(plan, "train"), "evaluate": _digits(plan, "evaluate")},
    )


def _shared(plan: Plan, trained: slice) -> NDArray[np.bool_] | None:
    if not plan.local_norms:
        return None
    shared: NDArray[np.bool_] = ~local_norms.mask(plan.recipe, plan.data)[trained]
    shared.flags.writeable = False  # every caller reads this one
    return shared


def _broadcast(plan: Plan, *, parameters: int, control: int) -> Mapping[Purpose, Mapping[str, int]]:
    training = {
        "weights": parameters,
        "control": control,
        "reference": parameters if plan.continual is not None else 0,
        "importance": parameters if isinstance(plan.continual, Ewc) else 0,
    }
    return {
        "train": MappingProxyType(training),
        "evaluate": MappingProxyType({"weights": parameters}),
    }


def _digits(plan: Plan, purpose: Purpose) -> int:
    return sharing.weight_length(plan.sharing_of(purpose).ring_bits, len(plan.hospitals))
