"""The only door out of the training process.

What comes through is bytes of a length that is known beforehand. They are read as
float64, and leave only if every value is finite and within the bound that the plan's
ring was proven for. Nothing else passes: no shape, no name, no text, no log.
"""

import numpy as np

from syft_code.arrays import Vector
from syft_code.errors import TrainingFailed
from syft_code.plans.messages import Purpose
from syft_code.plans.plan import Plan
from syft_code.secret_sharing.vector_layout import VectorLayout

LARGEST = 2.0**129
"""The difference of two float32 is no larger, whatever the plan's bound."""


def result_bound(plan: Plan, purpose: Purpose) -> float:
    """The largest size of one of them; what is shared of them is held against the ring's later.

    A norm bound or error feedback may yet make them less, and how far a clip norm has moved stays.
    """
    later = VectorLayout.of(plan).error_feedback or plan.max_update_norm is not None
    if purpose == "train" and (later or plan.dp_sgd.adaptive is not None):
        return LARGEST
    return plan.sharing_of(purpose).bound


def inspect(data: bytes, *, length: int, bound: float) -> Vector:
    """Read a vector of `length` numbers from the training process, or let nothing out.

    Raises:
        TrainingFailed: with a sentence that holds no value.
    """
    if len(data) != 8 * length:
        raise TrainingFailed(
            "The round's result has not the size that the plan says; it stays here."
        )
    vector: Vector = np.frombuffer(data, dtype="<f8")
    check(vector, bound=bound)
    return vector


def check(vector: Vector, *, bound: float) -> None:
    """Let nothing out that is not finite or larger than the bound; the same error."""
    largest = float(np.maximum(vector.max(initial=0.0), -vector.min(initial=0.0)))
    if not largest <= bound:
        raise TrainingFailed(
            "The round's result has a value that is not finite or is past the plan's bound; it "
            "stays here. Use a smaller learning rate or a larger sharing bound."
        )
