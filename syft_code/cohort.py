"""Patients in memory: what the trainer and the evaluation see, and nobody else."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syft_code.errors import InvalidData, require


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Cohort:
    """Slices and the patients that they belong to. Never printed, logged or serialised.

    Shapes: `images` uint8 (0 to 255) or float16 (standardised) `[slices, channels, height,
    width]`; `labels` uint8 `[slices]` or `[slices, height, width]`; `patient` int32 `[slices]`,
    from 0 to the number of patients - 1, every one of them present.
    """

    images: NDArray[np.uint8] | NDArray[np.float16]
    labels: NDArray[np.uint8]
    patient: NDArray[np.int32]

    def __post_init__(self) -> None:
        slices = len(self.images)
        require(
            len(self.labels) == slices and len(self.patient) == slices,
            "Each slice must have one label and one patient.",
            error=InvalidData,
        )
        present = np.unique(self.patient)
        require(
            bool(np.array_equal(present, np.arange(len(present)))),
            "Patients must be numbered from 0 without a gap.",
            error=InvalidData,
        )

    @property
    def patients(self) -> int:
        """The true number of patients: private, for trusted code only."""
        return int(self.patient.max()) + 1 if len(self.patient) else 0

    def select(self, chosen: NDArray[np.bool_]) -> "Cohort":
        """The cohort of the chosen patients (bool `[patients]`), numbered anew."""
        keep = chosen[self.patient]
        renumber = np.cumsum(chosen, dtype=np.int32) - 1
        return Cohort(
            images=self.images[keep], labels=self.labels[keep], patient=renumber[self.patient[keep]]
        )
