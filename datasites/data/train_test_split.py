"""One hospital's patients in two groups: those to train on, and those that no training sees."""

import numpy as np
from numpy.typing import NDArray

from datasites.data import cohort_remarks, patient_hashing
from datasites.data.cohort_file import SplitCohort
from datasites.data.folders.reading import Reading
from syft_code.errors import InvalidData, require

HELD_OUT = 0.2
"""Part of the patients that no training sees, unless the owner says otherwise."""


def split(
    reading: Reading,
    chosen: NDArray[np.bool_] | None,
    *,
    hospital: str,
    salt: bytes,
    held_out: float,
) -> SplitCohort:
    """Pick a hospital's patients out of a reading, and hold some of them out by their salted hash.

    The cohort carries the reading's remarks, and what `cohort_remarks` says of these patients.
    `held_out` is the owner's word, whatever the number of patients: a researcher reads of it.

    Shapes: `chosen` is bool `[patients]`, all by default.
    Raises:
        InvalidData: if no patient is left.
    """
    picked = np.ones(len(reading.patient_ids), np.bool_) if chosen is None else chosen
    ids = [name for name, mine in zip(reading.patient_ids, picked, strict=True) if mine]
    require(
        bool(ids),
        f"{hospital} must have at least one patient, and the data leaves it none: use fewer "
        "hospitals or more data.",
        error=InvalidData,
    )
    cohort = reading.cohort if chosen is None else reading.cohort.select(picked)
    return SplitCohort(
        cohort=cohort,
        held_out=patient_hashing.held_out(ids, held_out, salt),
        tokens=patient_hashing.tokens(ids, salt),
        split_rule=patient_hashing.rule(held_out, salt),
        named=reading.named,
        cells=reading.cells_of(picked),
        remarks=(*reading.remarks, *cohort_remarks.remarks(cohort, reading.spec)),
    )
