"""Tables of patients: CSV files and a schema that says what their columns mean.

A table becomes facts without pixels, one row a slice. A series has a row for each patient and
hour; it becomes one picture a patient, hours down and vital signs across.
"""

import functools
import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasites.data.folders import safe_files
from datasites.data.folders.reading import Cells, Reading, counted
from datasites.data.readers.tabular import csv_rows, feature_coding
from datasites.data.readers.tabular.csv_rows import Row
from datasites.data.readers.tabular.table_schema import Label, Schema, plain
from syft_code.cohort import Cohort
from syft_code.errors import InvalidData, require
from syft_code.recipes.recipe import DataSpec

COLUMN_BREAK = ", "
"""Between the names of a series' columns in the name of its one channel."""
NAME_DIGITS = 6
"""A row without an identifier is named by its numbers with so many digits."""
ALIKE_DIGITS = 3
"""Rows are compared by their numbers with so many digits."""

_Placed = tuple[str, Row]
"""A row and the site that it is from."""


def spec(schema: Schema, *, stand_in: bool) -> DataSpec:
    """The public shape of a table or a series: from the schema alone."""
    series = schema.kind == "series"
    names = feature_coding.names(schema.column, gaps=series)
    label = _label(schema)
    return DataSpec(
        kind="series" if series else "table",
        task="classification",
        channels=(COLUMN_BREAK.join(names),) if series else (),
        height_px=schema.hours,
        width_px=len(names) if series else 0,
        classes=label.classes,
        patient_unit=schema.patient_unit,
        stand_in=stand_in,
        facts=() if series else names,
        positive=label.positive,
    )


def read(folder: Path, schema: Schema, *, stand_in: bool = False) -> Reading:
    """Read the files that the schema names.

    Raises:
        InvalidData: naming the file, the row and the column of what is not acceptable, and why.
    """
    label = _label(schema)
    rows = _rows(safe_files.open_folder(folder), schema)
    groups: dict[str, list[_Placed]] = {}
    for name, placed in zip(_identifiers(rows, schema), rows, strict=True):
        groups.setdefault(name, []).append(placed)
    patients = sorted(groups)
    classes = [_one_label(groups[name], label) for name in patients]
    build = _series if schema.kind == "series" else _table
    grouped = [[row for _, row in groups[name]] for name in patients]
    return Reading(
        cohort=build(grouped, classes, schema),
        patient_ids=tuple(patients),
        site=tuple(_one_site(groups[name]) for name in patients),
        spec=spec(schema, stand_in=stand_in),
        remarks=_remarks(rows, schema),
        cells=_cells(grouped, schema),
        named=bool(schema.patient),
    )


def _label(schema: Schema) -> Label:
    if schema.label is None:
        raise InvalidData(
            "A schema must have a label to be read as a table of its own; facts beside pictures "
            "are read with the pictures."
        )
    return schema.label


def _rows(root: Path, schema: Schema) -> list[_Placed]:
    """Every row of every file, with the site that it is from."""
    sources = schema.files or {"": schema.file}
    found: list[_Placed] = []
    for site, name in sources.items():
        rows = csv_rows.read(root, root / name, header=schema.header)
        _check_columns(rows[0], schema, name)
        found += [(row.cells[schema.site] if schema.site else site, row) for row in rows]
    return found


def _check_columns(row: Row, schema: Schema, name: str) -> None:
    """The table's columns are those of the schema, no more and no fewer."""
    wanted = {*(one.name for one in schema.column), *schema.keys()}
    known = wanted | {*schema.ignore, *schema.header}
    for column in row.cells:
        require(
            column in known,
            f"{name!r}, row 1: the schema must know every column, and does not know "
            f"'{safe_files.printable(column)}'. Describe the column, or name it under ignore.",
            error=InvalidData,
        )
    for column in sorted(wanted):
        require(
            column in row.cells,
            f"{name!r}, row 1: must have the column {column!r} of the schema, and has not. "
            "Add the column, or take it out of the schema.",
            error=InvalidData,
        )


def _identifiers(rows: Sequence[_Placed], schema: Schema) -> list[str]:
    """Who each row is about.

    Where one row is one patient, the patient is called by a hash of what the schema reads in the
    row, so that a row that comes or goes changes nobody else's name, and neither the spelling of a
    number, a site's name nor an ignored column changes their own; rows that say the same are counted.
    """
    if schema.patient:
        for _, row in rows:
            require(
                0 < len(row.cells[schema.patient]) <= 200,
                f"{row.where}: {schema.patient} must name the patient, in 200 characters at most. "
                "Mend the row.",
                error=InvalidData,
            )
        return [row.cells[schema.patient] for _, row in rows]
    seen: Counter[str] = Counter()
    found = []
    for _, row in rows:
        text = "\x1f".join(f"{k}={v}" for k, v in _says(row, schema, digits=NAME_DIGITS).items())
        name = hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]
        seen[name] += 1
        found.append(f"{name}-{seen[name]}")
    return found


def _says(row: Row, schema: Schema, *, digits: int) -> dict[str, str]:
    """What a row says in each column and of its class, by the columns' names in order."""
    label = _label(schema)
    cell = row.cells[label.column]
    said = {one.name: feature_coding.parsed(row, one, digits=digits) for one in schema.column}
    if label.above is None or cell == "":
        said[label.column] = plain(cell)
    else:
        value = feature_coding.number(row, label.column)
        said[label.column] = feature_coding.spelled(value, digits=digits)
    return {name: said[name] for name in sorted(said)}


def _cells(patients: Sequence[Sequence[Row]], schema: Schema) -> Cells:
    """What is compared: each row of a table; of a series each column, over all of its hours."""
    if schema.kind == "series":
        rows = [_by_hour(one, schema) for one in patients]
    else:
        rows = [_says(row, schema, digits=ALIKE_DIGITS) for one in patients for row in one]
    hashed = functools.cache(feature_coding.hashed)
    values = [[hashed(name, text) for name, text in row.items()] for row in rows]
    return Cells(
        columns=np.array([hashed(name) for name in rows[0]], dtype=np.uint64),
        values=np.array(values, dtype=np.uint64),
    )


def _by_hour(rows: Sequence[Row], schema: Schema) -> dict[str, str]:
    """Each column of a series as one text; an hour in which it was not measured is left out."""
    hours = {feature_coding.number(row, schema.hour): row for row in rows}
    said = {hour: _says(row, schema, digits=ALIKE_DIGITS) for hour, row in hours.items()}
    return {
        name: ";".join(
            f"{hour:g}:{said[hour][name]}"
            for hour in sorted(said)
            if said[hour][name] != feature_coding.MISSING
        )
        for name in next(iter(said.values()))
    }


def _one_label(placed: Sequence[_Placed], label: Label) -> int:
    """The class of a patient, the same in all of the patient's rows."""
    found = [_class(row, label) for _, row in placed]
    for index, (_, row) in zip(found, placed, strict=True):
        require(
            index == found[0],
            f"{row.where}: {label.column} must be the same in all rows of a patient, and is "
            f"{label.classes[index]!r} here and {label.classes[found[0]]!r} before. Mend the row.",
            error=InvalidData,
        )
    return found[0]


def _class(row: Row, label: Label) -> int:
    require(
        row.cells[label.column] != "",
        f"{row.where}: {label.column} must say the class, and is empty. Mend or remove the row.",
        error=InvalidData,
    )
    if label.above is None:
        return feature_coding.word(row, label.column, label.values or label.classes)
    return int(feature_coding.number(row, label.column) > label.above)


def _one_site(placed: Sequence[_Placed]) -> str:
    first = placed[0][0]
    for site, row in placed:
        require(
            site == first,
            f"{row.where}: a patient must be of one site, and this one is of "
            f"'{safe_files.printable(site)}' here and '{safe_files.printable(first)}' before. Mend the row, "
            "or give each site's patients identifiers of their own.",
            error=InvalidData,
        )
    return safe_files.printable(first)


def _table(patients: Sequence[Sequence[Row]], classes: Sequence[int], schema: Schema) -> Cohort:
    counts = [len(rows) for rows in patients]
    facts = feature_coding.coded([row for rows in patients for row in rows], schema.column)
    return Cohort(
        images=np.zeros((len(facts), 0, 0, 0), dtype=np.uint8),
        labels=np.repeat(np.array(classes, dtype=np.uint8), counts),
        patient=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        facts=facts,
    )


def _series(patients: Sequence[Sequence[Row]], classes: Sequence[int], schema: Schema) -> Cohort:
    """An hour without a row is an hour in which everything is missing."""
    pictures = [_hours(rows, schema) for rows in patients]
    return Cohort(
        images=np.stack(pictures)[:, None].astype(np.float16),
        labels=np.array(classes, dtype=np.uint8),
        patient=np.arange(len(pictures), dtype=np.int32),
    )


def _hours(rows: Sequence[Row], schema: Schema) -> NDArray[np.float32]:
    """One patient, `[hours, columns]`."""
    picture = np.tile(feature_coding.nothing(schema.column, gaps=True), (schema.hours, 1))
    values = feature_coding.coded(rows, schema.column, gaps=True)
    seen: set[int] = set()
    for row, numbers in zip(rows, values, strict=True):
        hour = feature_coding.number(row, schema.hour)
        require(
            hour in range(schema.hours),
            f"{row.where}: {schema.hour} must be a whole number from 0 to {schema.hours - 1}, got "
            f"{hour:g}. Mend or remove the row.",
            error=InvalidData,
        )
        require(
            int(hour) not in seen,
            f"{row.where}: a patient must have one row an hour, and has two for hour {hour:g}. "
            "Remove one of them.",
            error=InvalidData,
        )
        seen.add(int(hour))
        picture[int(hour)] = numbers
    require(
        bool((picture != feature_coding.nothing(schema.column, gaps=True)).any()),
        f"{rows[0].where}: a patient must have at least one measurement, and this one has none. "
        "Remove the patient.",
        error=InvalidData,
    )
    return picture


def _remarks(rows: Sequence[_Placed], schema: Schema) -> tuple[str, ...]:
    remarks = []
    if not schema.patient:
        remarks.append("Each row counts as one patient: the table names no patients.")
    moved = sum(
        column.kind == "number"
        and column.outside == "clip"
        and feature_coding.past_limits(row, column)
        for column in schema.column
        for _, row in rows
    )
    if moved:
        remarks.append(
            counted(
                moved,
                "{} number lay outside its limits and was moved to them.",
                "{} numbers lay outside their limits and were moved to them.",
            )
        )
    return tuple(remarks)
