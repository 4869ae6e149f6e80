"""The only door out of the training process.

What comes through is bytes of a length that is known beforehand. They are read as
float64, and leave only if every value is finite and within the bound that the plan's
ring was proven for. Nothing else passes: no shape, no name, no text, no log.
"""

import numpy as np
from numpy.typing import NDArray

from syft_code.errors import TrainingFailed

Vector = NDArray[np.float64]


def inspect(data: bytes, *, length: int, bound: float) -> Vector:
    """Read a vector of `length` numbers from the training process, or let nothing out.

    Raises:
        TrainingFailed: with a sentence that holds no value.
    """
    if len(data) != 8 * length:
        raise TrainingFailed(
            "The round's result has not the size that the plan says; it stays here."
        )
    vector: Vector = np.frombuffer(data, dtype="<f8").astype(np.float64)
    largest = float(np.max(np.abs(vector), initial=0.0))
    if not largest <= bound:
        raise TrainingFailed(
            "The round's result has a value that is not finite or is past the plan's bound; it "
            "stays here. Use a smaller learning rate or a larger sharing bound."
        )
    return vector
