"""Rows whose class nobody knows yet, read by the schema of training: what a model is asked about.

The column of the label, and that of the site, may be there or not: neither is looked at.
"""

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasites.data.folders import safe_files
from datasites.data.readers.csv_files import csv_header, csv_table, csv_text
from datasites.data.readers.csv_files.csv_table import Table
from datasites.data.readers.csv_files.csv_text import CsvFormat, in_file
from datasites.data.readers.tabular import feature_coding, parsed_columns, people, series
from datasites.data.readers.tabular.table_schema import Schema


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class UnlabelledRows:
    """A row of a table, or a patient of a series, each under a name. Private throughout.

    Shapes: `images` float16 `[rows, 1, hours, names]` of a series, `[rows, 0, 0, 0]` of a table; `facts`
    float32 `[rows, names]` of a table, `[rows, 0]` of a series.
    """

    names: tuple[str, ...]
    images: NDArray[np.float16]
    facts: NDArray[np.float32]
    moved: int


def read(root: Path, path: Path, schema: Schema) -> UnlabelledRows:
    """Every row of one file inside the folder; a file with a first line that names its columns may have
    one though the schema's files have none.

    Raises:
        InvalidData: naming the file, the row and the column of what is not acceptable, and why.
    """
    data = safe_files.read_bytes(root, path, limit_bytes=csv_table.MAX_TABLE_BYTES)
    name = safe_files.shown(root, path)
    label = schema.label.column if schema.label else ""
    unseen = tuple(in_file(one) for one in (label, schema.site) if one)
    table = csv_table.parse(
        data,
        name,
        _form(data, name, schema),
        wanted=[one for one in schema.wanted() if one not in unseen],
        ignore=(*schema.ignore, *unseen),
    )
    parsed = [parsed_columns.parse(table, one, decimal=schema.decimal) for one in schema.column]
    moved = sum(one.counted(one.moved) for one in parsed)
    if schema.kind == "series":
        who = people.persons(table, schema)
        hours = series.hours(table, who, schema)
        pictures = series.pictures(table, parsed, who, hours, schema)
        return UnlabelledRows(
            names=who.names,
            images=pictures,
            facts=np.zeros((len(pictures), 0), dtype=np.float32),
            moved=moved,
        )
    return UnlabelledRows(
        names=_names(table, schema),
        images=np.zeros((table.rows, 0, 0, 0), dtype=np.float16),
        facts=feature_coding.of_columns(parsed, np.arange(table.rows)),
        moved=moved,
    )


def _names(table: Table, schema: Schema) -> tuple[str, ...]:
    """The patient of each row, or where the row stands."""
    if not schema.patient:
        return tuple(table.where(row).rpartition(", ")[2] for row in range(table.rows))
    words = table.columns[in_file(schema.patient)]
    texts = words.texts.to_pylist()
    return tuple(texts[code] for code in words.codes.tolist())


def _form(data: bytes, name: str, schema: Schema) -> CsvFormat:
    """How the file is written: as the schema says, but that a header which is there is read as one."""
    if not schema.header:
        return schema.form
    named = replace(schema.form, header=())
    try:
        _, cells = next(csv_header.lines(csv_text.read(data, name, named), named), (1, []))
    except csv.Error:
        return schema.form
    columns = {one.column for one in schema.column}
    return named if columns <= set(map(in_file, cells)) else schema.form
