"""Patients in memory: what the trainer and the evaluation see, and nobody else."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from syft_code.errors import InvalidData, require

Images = NDArray[np.uint8] | NDArray[np.float16] | NDArray[np.float32]


def _no_facts() -> NDArray[np.float32]:
    """Stands for "none were given" until the number of slices is known."""
    return np.zeros((0, 0), dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Cohort:
    """Slices and the patients that they belong to. Never printed, logged or serialised.

    Shapes: `images` uint8 (0 to 255) or float16 (standardised) `[slices, channels, height,
    width]`, `[slices, 0, 0, 0]` for a table, or, once fixed layers have looked at them, float32
    `[slices, features, 1, 1]`; `labels` uint8 `[slices]` or `[slices, height,
    width]`; `patient` int32 `[slices]`, from 0 to the number of patients - 1, every one of them
    present; `facts` float32 `[slices, facts]`, finite, `[slices, 0]` if none are given.
    """

    images: Images
    labels: NDArray[np.uint8]
    patient: NDArray[np.int32]
    facts: NDArray[np.float32] = field(default_factory=_no_facts)

    def __post_init__(self) -> None:
        slices = len(self.images)
        if self.facts.shape == (0, 0):
            object.__setattr__(self, "facts", np.zeros((slices, 0), dtype=np.float32))
        require(
            len(self.labels) == slices and len(self.patient) == slices,
            "Each slice must have one label and one patient.",
            error=InvalidData,
        )
        require(
            self.facts.ndim == 2
            and len(self.facts) == slices
            and self.facts.dtype == np.float32
            and bool(np.isfinite(self.facts).all()),
            "Each slice must have one row of facts, finite numbers of 32 bits.",
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
            images=self.images[keep],
            labels=self.labels[keep],
            patient=renumber[self.patient[keep]],
            facts=self.facts[keep],
        )
