"""Tables of patients: CSV files and a schema that says what their columns mean.

    files ─ one table ─▶ persons, classes, sites ─▶ columns, each text parsed once ─▶ facts or series

A table becomes facts without pixels, one row a slice. A series has a row for each patient and
hour; it becomes one picture a patient, hours down and vital signs across.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasites.data.folders import identifiers, safe_files
from datasites.data.folders.reading import Cells, Reading, counted
from datasites.data.readers.csv_files.cell_numbers import plain
from datasites.data.readers.csv_files.csv_table import Table
from datasites.data.readers.csv_files.csv_text import in_file
from datasites.data.readers.tabular import (
    feature_coding,
    parsed_columns,
    people,
    row_content,
    series,
    table_files,
)
from datasites.data.readers.tabular.parsed_columns import Parsed
from datasites.data.readers.tabular.people import Numbers, People
from datasites.data.readers.tabular.row_content import Said
from datasites.data.readers.tabular.schema_columns import Label
from datasites.data.readers.tabular.table_schema import Schema
from syft_code.cohort import Cohort
from syft_code.errors import InvalidData, require
from syft_code.recipes.recipe import DataSpec

COLUMN_BREAK = ", "
"""Between the names of a series' columns in the name of its one channel."""


def spec(schema: Schema, *, stand_in: bool) -> DataSpec:
    """The public shape of a table or a series: from the schema alone."""
    is_series = schema.kind == "series"
    names = feature_coding.names(schema.column, gaps=is_series)
    label = _label(schema)
    return DataSpec(
        kind="series" if is_series else "table",
        task="classification",
        channels=(COLUMN_BREAK.join(names),) if is_series else (),
        height_px=schema.hours,
        width_px=len(names) if is_series else 0,
        classes=label.classes,
        patient_unit=schema.patient_unit,
        stand_in=stand_in,
        facts=() if is_series else names,
        positive=label.positive,
    )


def read(folder: Path, schema: Schema, *, own: bool = True, stand_in: bool = False) -> Reading:
    """Read the files that the schema names; with `own` the schema lies in the folder itself.

    Raises:
        InvalidData: naming the file, the row and the column of what is not acceptable, and why.
    """
    label = _label(schema)
    whole = table_files.read(safe_files.open_folder(folder), schema, own=own)
    rows = _with_a_class(whole, schema, label)
    table = rows.table
    parsed = [parsed_columns.parse(table, one, decimal=schema.decimal) for one in schema.column]
    who = rows.who
    if who is None:
        said = _said(parsed, rows.classes, label, row_content.NAME_DIGITS)
        who = row_content.people(said)
    classes = people.class_of_each(table, who, rows.classes, label)
    said = _said(parsed, classes[who.of_row], label, row_content.ALIKE_DIGITS)
    cohort, cells = (
        _series(table, parsed, who, classes, said, schema)
        if schema.kind == "series"
        else _facts(parsed, who, classes, said)
    )
    return Reading(
        cohort=cohort,
        patient_ids=who.names,
        site=people.site_of_each(table, who, schema),
        spec=spec(schema, stand_in=stand_in),
        remarks=(*rows.remarks, *_remarks(parsed, schema)),
        cells=cells,
        named=bool(schema.patient),
    )


def _label(schema: Schema) -> Label:
    if schema.label is None:
        raise InvalidData(
            "A schema must have a label to be read as a table of its own; facts beside pictures "
            "are read with the pictures."
        )
    return schema.label


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class _Rows:
    """Rows of people whose class is known; without a column of patients `who` is to be found.

    `classes` int64 `[rows]`: `people.UNKNOWN` in a row whose patient's other rows say it.
    """

    table: Table
    who: People | None
    classes: Numbers
    remarks: tuple[str, ...]


def _with_a_class(table: Table, schema: Schema, label: Label) -> _Rows:
    """Without rows of a class to leave out, then without people of whom no row says the class."""
    remarks = _about_empty(table)
    found = people.classes(table, label, schema.decimal, in_file(label.column))
    table, found = _kept(table, found, found != people.LEFT_OUT, label, remarks)
    if not schema.patient:
        table, found = _kept(table, found, found != people.UNKNOWN, label, remarks)
        return _Rows(table=table, who=None, classes=found, remarks=tuple(remarks))
    who = people.persons(table, schema)
    texts = table.columns[in_file(schema.patient)].texts.to_pylist()
    remarks += identifiers.remarks(texts, who.names, schema.persons)
    each = people.class_of_each(table, who, found, label)
    known = each[who.of_row] != people.UNKNOWN
    table, found = _kept(table, found, known, label, remarks)
    return _Rows(table=table, who=people.rows_of(who, known), classes=found, remarks=tuple(remarks))


def _kept(
    table: Table, found: Numbers, kept: NDArray[np.bool_], label: Label, remarks: list[str]
) -> tuple[Table, Numbers]:
    """The kept rows; a remark counts those that are not, by why."""
    if kept.all():
        return table, found
    gone = found[~kept]
    why = "says to leave out" if (gone == people.LEFT_OUT).all() else "names as missing"
    remarks.append(
        counted(
            len(gone),
            f"{{}} row was left out: {label.column} has a word there that the schema {why}.",
            f"{{}} rows were left out: {label.column} has a word there that the schema {why}.",
        )
    )
    require(
        bool(kept.any()),
        f"At least one row must say a class in {label.column}, and each was left out. Look at missing and "
        "leave_out of the label in the schema.",
        error=InvalidData,
    )
    return table.take(kept), found[kept]


def _said(parsed: Sequence[Parsed], classes: Numbers, label: Label, digits: int) -> dict[str, Said]:
    """What each row says in each column and of its class."""
    words = [plain(word) for word in label.values or label.classes]
    return row_content.of_columns(parsed, digits) | {label.column: Said(texts=words, codes=classes)}


def _facts(
    parsed: Sequence[Parsed], who: People, classes: Numbers, said: Mapping[str, Said]
) -> tuple[Cohort, Cells]:
    rows, patient = people.ordered(who)
    cohort = Cohort(
        images=np.zeros((len(rows), 0, 0, 0), dtype=np.uint8),
        labels=classes[patient].astype(np.uint8),
        patient=patient.astype(np.int32),
        facts=feature_coding.of_columns(parsed, rows),
    )
    return cohort, row_content.cells(said, rows)


def _series(
    table: Table,
    parsed: Sequence[Parsed],
    who: People,
    classes: Numbers,
    said: Mapping[str, Said],
    schema: Schema,
) -> tuple[Cohort, Cells]:
    hour = series.hours(table, who, schema)
    cohort = Cohort(
        images=series.pictures(table, parsed, who, hour, schema),
        labels=classes.astype(np.uint8),
        patient=np.arange(len(who.names), dtype=np.int32),
    )
    return cohort, series.cells(said, who, hour)


def _about_empty(table: Table) -> list[str]:
    remarks = []
    if table.blank_rows:
        remarks.append(
            counted(
                table.blank_rows,
                "{} row was left out: none of its cells that are read says anything.",
                "{} rows were left out: none of their cells that are read says anything.",
            )
        )
    if table.unnamed:
        remarks.append(
            counted(
                table.unnamed,
                "{} column without a name was left out: it is empty.",
                "{} columns without a name were left out: they are empty.",
            )
        )
    return remarks


def _remarks(parsed: Sequence[Parsed], schema: Schema) -> list[str]:
    """What the owner should know before anything is published."""
    remarks = []
    if not schema.patient:
        remarks.append("Each row counts as one patient: the table names no patients.")
    for one in parsed:
        if moved := one.counted(one.moved):
            remarks.append(
                f"{one.column.name}: "
                + counted(
                    moved,
                    "{} number lay outside its limits and was moved to them.",
                    "{} numbers lay outside their limits and were moved to them.",
                )
            )
    return remarks
