"""What BraTS publishes beside the scans: one CSV table with age, survival and resection.

    survival_info.csv           2019, 2020, 2021: id, Age, Survival_days, Extent_of_Resection
    survival_data.csv           2018 and before: id, Age, Survival, ResectionStatus

Only some of the patients stand in it; the others' facts are missing, which is no fault.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasites.data.readers.tabular import csv_rows, feature_coding, table_schema
from datasites.data.readers.tabular.csv_rows import Row
from syft_code.errors import InvalidData, require

TABLES = ("survival_info.csv", "survival_data.csv", "survival_evaluation.csv")
SCHEMA = "brats_facts"
_ALIASES = {
    "patient": ("Brats17ID", "BraTS18ID", "Brats18ID", "BraTS19ID", "BraTS20ID", "Brats20ID",
                "BraTS21ID", "BraTS2021", "patient"),
    "age": ("Age", "age"),
    "survival": ("Survival_days", "Survival", "survival"),
    "resection": ("Extent_of_Resection", "ResectionStatus", "resection"),
}  # fmt: skip


def names() -> tuple[str, ...]:
    """What each number is called.

    >>> names()
    ('age', 'age?', 'survival', 'survival?', 'resection=GTR', 'resection=STR', 'resection?')
    """
    return feature_coding.names(table_schema.packaged(SCHEMA).column)


def read(root: Path, patients: Sequence[str]) -> NDArray[np.float32]:
    """The facts of each patient, `[patients, names]`; a patient without a row has none.

    `root` is the true path of the folder with the cases; the table lies in it. A table may name
    a patient by the identifier or by one that begins with it, as a time point does
    (`BraTS20_Training_001`, `BraTS-GLI-00001-000`).

    Raises:
        InvalidData: if there is no table, naming the row and the column if a cell is wrong, or
            if the table has not one patient of the folder.
    """
    columns = table_schema.packaged(SCHEMA).column
    table = _find(root)
    rows = [_renamed(row, table.name) for row in csv_rows.read(root, table)]
    found: dict[str, Row] = {}
    for row in rows:
        patient = _owner(row.cells["patient"], set(patients))
        require(
            patient not in found or patient == "",
            f"{row.where}: the table must have one row for each patient, and has two for "
            f"{patient!r}. Remove one of them.",
            error=InvalidData,
        )
        found[patient] = row
    found.pop("", None)
    require(
        bool(found),
        f"{table.name!r} must name patients of this folder, and names none of them. Put the table "
        "of this edition of BraTS there.",
        error=InvalidData,
    )
    unknown = feature_coding.nothing(columns)
    return np.stack(
        [
            feature_coding.coded([found[one]], columns)[0] if one in found else unknown
            for one in patients
        ]
    )


def _find(root: Path) -> Path:
    for name in TABLES:
        path = root / name
        if path.is_symlink() or path.exists():
            return path
    raise InvalidData(
        f"{TABLES[0]!r} must lie in the folder, and does not. Put the published table there, or "
        "read without facts."
    )


def _owner(name: str, patients: set[str]) -> str:
    """The patient that a row is about, "" if it is nobody of this folder."""
    if name in patients:
        return name
    shorter = name.rpartition("-")[0]
    return shorter if shorter in patients else ""


def _renamed(row: Row, table: str) -> Row:
    """The row under our names of columns; "ALIVE (361 days later)" is no number of days."""
    cells = {
        ours: row.cells[theirs]
        for ours, names in _ALIASES.items()
        for theirs in names
        if theirs in row.cells
    }
    for column, known in _ALIASES.items():
        require(
            column in cells,
            f"{table!r}, row 1: must have a column {column!r} under one of the published names "
            f"({', '.join(known)}), and has not. Put the published table there.",
            error=InvalidData,
        )
    if cells["survival"].startswith("ALIVE"):
        cells["survival"] = "ALIVE"
    return Row(cells=cells, where=row.where)
