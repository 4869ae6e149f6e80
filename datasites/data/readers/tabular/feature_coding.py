"""From a table's cells to numbers around 0, by public ranges alone.

A number becomes (value - middle) / half of its coded range; a category becomes one number
for each of its words, 1 or 0. What is missing is 0, and 1 in a column of its own whose name
ends with a question mark.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datasites.data.readers.csv_files import csv_table
from datasites.data.readers.csv_files.csv_table import Table
from datasites.data.readers.tabular import parsed_columns
from datasites.data.readers.tabular.csv_rows import Row
from datasites.data.readers.tabular.parsed_columns import MISSING, Parsed
from datasites.data.readers.tabular.schema_columns import Category, Column


def names(columns: Sequence[Column], *, gaps: bool = False) -> tuple[str, ...]:
    """What each number of a coded row is called; with `gaps` any of them may be missing.

    >>> from datasites.data.readers.tabular.schema_columns import Number
    >>> names([Number(name="age", unit="years", lowest=0, highest=100, missing=("",)),
    ...        Category(name="sex", values=("f", "m"))])
    ('age', 'age?', 'sex=f', 'sex=m')
    """
    found: list[str] = []
    for column in columns:
        words = column.values if isinstance(column, Category) else ()
        found += [f"{column.name}={word}" for word in words] or [column.name]
        found += [column.name + MISSING] if gaps or column.missing else []
    return tuple(found)


def coded(rows: Sequence[Row], columns: Sequence[Column]) -> NDArray[np.float32]:
    """The numbers of rows that were read one by one: of tables beside pictures.

    Shapes: `[rows, names]`.
    Raises:
        InvalidData: naming file, row and column of the first cell that is not acceptable.
    """
    table = Table(
        columns={
            one.column: csv_table.words_of([row.cells[one.column] for row in rows])
            for one in columns
        },
        rows=len(rows),
        where=lambda at: rows[at].where,
    )
    return of_columns([parsed_columns.parse(table, one) for one in columns], np.arange(len(rows)))


def of_columns(
    parsed: Sequence[Parsed], rows: NDArray[np.int64], *, gaps: bool = False
) -> NDArray[np.float32]:
    """The numbers of some rows of a table that was read by column.

    Shapes: `rows` int64 `[rows]`; `[rows, names]`.
    """
    width = len(names([one.column for one in parsed], gaps=gaps))
    table = np.zeros((len(rows), width), dtype=np.float32)
    at = 0
    for one in parsed:
        by_text = _by_text(one, gaps=gaps)
        codes = one.codes[rows]
        for numbers in by_text.T:
            table[:, at] = numbers[codes]
            at += 1
    return table


def nothing(columns: Sequence[Column], *, gaps: bool = False) -> NDArray[np.float32]:
    """The row of somebody of whom nothing is known."""
    return np.array(
        [float(name.endswith(MISSING)) for name in names(columns, gaps=gaps)], dtype=np.float32
    )


def _by_text(parsed: Parsed, *, gaps: bool) -> NDArray[np.float32]:
    """The numbers of each distinct text, the indicator last if there is one: `[texts, numbers]`."""
    column, gone = parsed.column, parsed.gone
    if isinstance(column, Category):
        ones = (parsed.value[:, None] == np.arange(len(column.values))) & ~gone[:, None]
        numbers: NDArray[np.float32] = ones.astype(np.float32)
    else:
        low, high = column.coded_range
        scaled = (parsed.value - (low + high) / 2) / ((high - low) / 2)
        numbers = np.where(gone, 0.0, scaled).astype(np.float32)[:, None]
    if gaps or column.missing:
        numbers = np.hstack([numbers, gone.astype(np.float32)[:, None]])
    return numbers
