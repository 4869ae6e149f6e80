"""What every reader gives back."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasites.data.folders.safe_files import printable
from syft_code.cohort import Cohort
from syft_code.errors import InvalidData, require
from syft_code.recipes.recipe import DataSpec


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Cells:
    """What the rows of a table say, cell by cell: hashes of a column's name and a parsed value.

    A number counts with three digits, so that its spelling does not matter. The hashes have no
    key: they can be guessed, and are as private as the cells.

    Shapes: `columns` uint64 `[columns]`, hashes of the names; `values` uint64 `[slices, columns]`.
    """

    columns: NDArray[np.uint64]
    values: NDArray[np.uint64]

    def __post_init__(self) -> None:
        require(
            self.columns.dtype == self.values.dtype == np.uint64
            and self.values.ndim == 2
            and self.values.shape[1:] == self.columns.shape,
            "Each row must have one hash of 64 bits for each column.",
            error=InvalidData,
        )

    def select(self, rows: NDArray[np.bool_]) -> "Cells":
        """Those of the chosen rows (bool `[slices]`)."""
        return Cells(columns=self.columns, values=self.values[rows])


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Reading:
    """A hospital's patients, read and checked. Never printed, logged or serialised.

    `spec` alone is public. `patient_ids[i]` and `site[i]` belong to the patient that
    `cohort.patient` calls i; the site is "" where the data set names none. `remarks` are
    sentences for the owner: they count what was left out, and so are private too. `cells` are a
    table's; pictures have none. `named` says whether the data have identifiers of patients.
    """

    cohort: Cohort
    patient_ids: tuple[str, ...]
    site: tuple[str, ...]
    spec: DataSpec
    remarks: tuple[str, ...]
    cells: Cells | None = None
    named: bool = True

    def __post_init__(self) -> None:
        require(
            len(self.patient_ids) == len(self.site) == self.cohort.patients,
            "Each patient must have one identifier and one site.",
            error=InvalidData,
        )
        require(
            len(set(self.patient_ids)) == len(self.patient_ids),
            "Each patient must have an identifier of their own.",
            error=InvalidData,
        )
        require(
            self.cells is None or len(self.cells.values) == len(self.cohort.images),
            "Each row of a table must have its cells.",
            error=InvalidData,
        )
        _require_nobody_twice(self.cohort, self.patient_ids)

    def cells_of(self, chosen: NDArray[np.bool_]) -> Cells | None:
        """The cells of the chosen patients (bool `[patients]`)."""
        return self.cells and self.cells.select(chosen[self.cohort.patient])


def counted(number: int, one: str, many: str) -> str:
    """A sentence for one thing or for many, with the number written out.

    >>> counted(4031, "{} row has no image.", "{} rows have no image.")
    '4,031 rows have no image.'
    """
    return (one if number == 1 else many).format(f"{number:,}")


def _require_nobody_twice(cohort: Cohort, patient_ids: tuple[str, ...]) -> None:
    """Two patients with the same picture are one patient, whom privacy would protect half.

    Rows of a table have no pictures: two patients may well have the same few numbers.
    """
    if cohort.images.size == 0:
        return
    owner: dict[bytes, int] = {}
    for image, patient in zip(cohort.images, cohort.patient.tolist(), strict=True):
        first = owner.setdefault(hashlib.sha256(image.tobytes()).digest(), patient)
        require(
            first == patient,
            f"{printable(patient_ids[first])!r} and {printable(patient_ids[patient])!r} must be two patients, but hold "
            "the same picture or series. Remove one of them, or give both the same identifier.",
            error=InvalidData,
        )
