"""What a researcher sends with a round call: one vector of float32, its parts in one order.

    to train      weights │ control (SCAFFOLD) │ reference, importance (EWC) or reference (distillation)
    to evaluate   weights

`weights`, `reference` and `importance` are of all parameters, `control` of those that are shared.
All of it is public. The parts that a plan names by their SHA-256 are checked against it: by the
researcher before the first round, by a vault before a round is paid.
"""

from dataclasses import dataclass, field

import numpy as np

from syft_code import canonical
from syft_code.arrays import Weights
from syft_code.errors import ConsiliumError, InvalidInput, InvalidMessage, require
from syft_code.plans.algorithms import Distillation, Ewc
from syft_code.plans.messages import Purpose
from syft_code.plans.plan import Plan
from syft_code.secret_sharing.vector_layout import VectorLayout


def _none() -> Weights:
    return np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Broadcast:
    """The parts of a round's vector; a part that the plan does not have is empty."""

    weights: Weights
    control: Weights = field(default_factory=_none)
    reference: Weights = field(default_factory=_none)
    importance: Weights = field(default_factory=_none)

    def joined(self) -> Weights:
        """The parts as one vector, as it travels."""
        return np.concatenate([self.weights, self.control, self.reference, self.importance])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PublicVectors:
    """What a researcher hands in beside a plan that names it by hash: float32, one a parameter.

    `start` are the start weights (`start_sha256`), `reference` the weights of an earlier task's
    model and `importance` how much that task depends on each (`continual`).
    """

    start: Weights = field(default_factory=_none)
    reference: Weights = field(default_factory=_none)
    importance: Weights = field(default_factory=_none)

    def check(self, plan: Plan) -> None:
        """Raise `InvalidInput` unless these are the vectors that the plan names, and no others."""
        expected = {"start": plan.start_sha256, **_hashes(plan)}
        for name in ("start", "reference", "importance"):
            _require_named(name, getattr(self, name), expected.get(name, ""), error=InvalidInput)


def unpack(plan: Plan, purpose: Purpose, numbers: Weights) -> Broadcast:
    """The parts of a vector that has travelled; raise `InvalidMessage` if its length is wrong."""
    sizes = VectorLayout.of(plan).broadcast(purpose)
    require(
        numbers.shape == (sum(sizes.values()),),
        f"A broadcast must have the {sum(sizes.values())} numbers that the plan asks for, got "
        f"{numbers.size}.",
        error=InvalidMessage,
    )
    ends = np.cumsum(list(sizes.values()))[:-1]
    parts = dict(zip(sizes, np.split(numbers, ends), strict=True))
    return Broadcast(**parts)


def check(plan: Plan, purpose: Purpose, round_number: int, sent: Broadcast) -> None:
    """Vault, before a round is paid: what the plan names by its hash is what came.

    Raises:
        InvalidMessage: with a sentence that names the part.
    """
    if purpose != "train":
        return
    expected = _hashes(plan)
    if round_number == 1 and plan.start_sha256:
        expected["weights"] = plan.start_sha256
    for name, digest in expected.items():
        _require_named(name, getattr(sent, name), digest, error=InvalidMessage)
    require(
        not (sent.importance < 0).any(),
        "No importance of a weight may be below 0, and one is.",
        error=InvalidMessage,
    )


def sha256(numbers: Weights) -> str:
    """The hash by which a plan names a vector: of its float32, little endian.

    >>> sha256(np.zeros(0, np.float32))[:8]
    'e3b0c442'
    """
    return canonical.sha256(numbers.astype("<f4", copy=False).tobytes())


def _hashes(plan: Plan) -> dict[str, str]:
    """The hashes of what a continual study takes from an earlier one."""
    match plan.continual:
        case Ewc(reference_sha256=reference, importance_sha256=importance):
            return {"reference": reference, "importance": importance}
        case Distillation(reference_sha256=reference):
            return {"reference": reference}
        case _:
            return {}


def _require_named(
    name: str, numbers: Weights, digest: str, *, error: type[ConsiliumError]
) -> None:
    received = sha256(numbers) if numbers.size else ""
    require(
        received == digest,
        f"The {name} must be the vector whose SHA-256 stands in the plan ({digest or 'none'}), and "
        f"what came has {received or 'no number'}: send the vector that the plan was written for.",
        error=error,
    )
