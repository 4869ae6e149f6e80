"""A series: a row for each patient and hour, one picture a patient, hours down and vital signs across."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from datasites.data.folders.reading import Cells
from datasites.data.readers.csv_files.csv_table import Table
from datasites.data.readers.csv_files.csv_text import in_file
from datasites.data.readers.tabular import feature_coding, parsed_columns, row_content
from datasites.data.readers.tabular.parsed_columns import MISSING, Parsed
from datasites.data.readers.tabular.people import People, ordered
from datasites.data.readers.tabular.row_content import Said
from datasites.data.readers.tabular.table_schema import Schema
from syft_code.errors import InvalidData

Numbers = NDArray[np.int64]


def hours(table: Table, people: People, schema: Schema) -> Numbers:
    """The hour of each row, once for each patient.

    Raises:
        InvalidData: naming the first row whose hour is none, or there twice.
    """
    column = in_file(schema.hour)
    words = table.columns[column]
    by_text, _ = parsed_columns.numbers(table, column, missing=(), decimal=schema.decimal)
    bad = np.flatnonzero(~np.isin(by_text, np.arange(schema.hours)))
    if len(bad):
        raise InvalidData(
            f"{table.where(words.first_row(int(bad[0])))}: {schema.hour} must be a whole number from 0 to "
            f"{schema.hours - 1}, got {by_text[bad[0]]:g}. Mend or remove the row."
        )
    found: Numbers = by_text.astype(np.int64)[words.codes]
    _, first = np.unique(people.of_row * schema.hours + found, return_index=True)
    again = np.setdiff1d(np.arange(table.rows), first)
    if len(again):
        row = int(again[0])
        raise InvalidData(
            f"{table.where(row)}: a patient must have one row an hour, and has two for hour {found[row]}. "
            "Remove one of them."
        )
    return found


def pictures(
    table: Table, parsed: Sequence[Parsed], people: People, hour: Numbers, schema: Schema
) -> NDArray[np.float16]:
    """An hour without a row is an hour in which everything is missing.

    Shapes: `[patients, 1, hours, names]`.
    Raises:
        InvalidData: naming the first row of a patient of whom nothing was measured.
    """
    unknown = feature_coding.nothing(schema.column, gaps=True)
    found = np.empty((len(people.names), 1, schema.hours, len(unknown)), dtype=np.float16)
    found[:] = unknown
    found[people.of_row, 0, hour] = feature_coding.of_columns(
        parsed, np.arange(table.rows), gaps=True
    )
    known = np.zeros(table.rows, dtype=np.bool_)
    for one in parsed:
        known |= ~one.gone[one.codes]
    without = np.setdiff1d(people.of_row, people.of_row[known])
    if len(without):
        row = int(np.argmax(people.of_row == without[0]))
        raise InvalidData(
            f"{table.where(row)}: a patient must have at least one measurement, and this one has none. "
            "Remove the patient."
        )
    return found


def cells(said: Mapping[str, Said], people: People, hour: Numbers) -> Cells:
    """What is compared: of each patient each column, over all of its hours."""
    order, of_row = ordered(people)
    by_hour = order[np.lexsort((hour[order], of_row))]
    columns = sorted(said)
    values = np.empty((len(people.names), len(columns)), dtype=np.uint64)
    for at, name in enumerate(columns):
        texts = _over_hours(said[name], by_hour, people, hour)
        values[:, at] = row_content.hashes(name, texts)
    return Cells(
        columns=np.array([row_content.hashed(name) for name in columns], np.uint64), values=values
    )


def _over_hours(said: Said, rows: Numbers, people: People, hour: Numbers) -> list[str]:
    """A column of each patient as one text; an hour in which it was not measured is left out."""
    found: list[list[str]] = [[] for _ in people.names]
    codes, whose, when = (of[rows].tolist() for of in (said.codes, people.of_row, hour))
    for code, person, at in zip(codes, whose, when, strict=True):
        if said.texts[code] != MISSING:
            found[person].append(f"{at}:{said.texts[code]}")
    return [";".join(one) for one in found]
