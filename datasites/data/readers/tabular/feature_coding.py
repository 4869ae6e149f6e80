"""From a table's cells to numbers around 0, by public ranges alone.

A number becomes (value - middle) / half of its coded range; a category becomes one number
for each of its words, 1 or 0. What is missing is 0, and 1 in a column of its own whose name
ends with a question mark.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from datasites.data.folders import safe_files
from datasites.data.readers.tabular.csv_rows import Row
from datasites.data.readers.tabular.table_schema import Category, Column, Number, plain
from syft_code.errors import InvalidData, require

MISSING = "?"


def names(columns: Sequence[Column], *, gaps: bool = False) -> tuple[str, ...]:
    """What each number of a coded row is called; with `gaps` any of them may be missing.

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


def coded(
    rows: Iterable[Row], columns: Sequence[Column], *, gaps: bool = False
) -> NDArray[np.float32]:
    """Shapes: `[rows, names]`.

    Raises:
        InvalidData: naming file, row and column of the first cell that is not acceptable.
    """
    table = [
        [number for column in columns for number in _cell(row, column, gaps=gaps)] for row in rows
    ]
    return np.array(table, dtype=np.float32).reshape(len(table), len(names(columns, gaps=gaps)))


def nothing(columns: Sequence[Column], *, gaps: bool = False) -> NDArray[np.float32]:
    """The row of somebody of whom nothing is known."""
    return np.array(
        [float(name.endswith(MISSING)) for name in names(columns, gaps=gaps)], dtype=np.float32
    )


def parsed(row: Row, column: Column, *, digits: int) -> str:
    """What a cell says, however it is spelled: "61", "61.0" and "6.1e1" say the same."""
    if plain(row.cells[column.name]) in map(plain, column.missing):
        return MISSING
    if isinstance(column, Category):
        return plain(column.values[word(row, column.name, column.values)])
    return spelled(_within(row, column), digits=digits)


def spelled(value: float, *, digits: int) -> str:
    """A number as text, rounded.

    >>> spelled(61.0, digits=3), spelled(-0.0, digits=3), spelled(0.33333, digits=3)
    ('61', '0', '0.333')
    """
    return f"{value + 0.0:.{digits}g}"


def hashed(*texts: str) -> int:
    """64 bits that stand for texts."""
    data = "\x1f".join(texts).encode("utf-8")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def number(row: Row, column: str) -> float:
    """A cell as a finite number."""
    text = row.cells[column]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    require(
        math.isfinite(value),
        f"{row.where}: {column} must be a finite number, got '{safe_files.printable(text)}'. "
        "Mend the row, or name this word as missing in the schema.",
        error=InvalidData,
    )
    return value


def word(row: Row, column: str, known: Sequence[str]) -> int:
    """Which of the known words a cell is."""
    text = plain(row.cells[column])
    found = [plain(one) for one in known]
    require(
        text in found,
        f"{row.where}: {column} must be one of {', '.join(known)}, got "
        f"'{safe_files.printable(row.cells[column])}'. Mend the row or the schema.",
        error=InvalidData,
    )
    return found.index(text)


def _cell(row: Row, column: Column, *, gaps: bool) -> list[float]:
    """The numbers of one cell, the indicator last if there is one."""
    gone = plain(row.cells[column.name]) in map(plain, column.missing)
    indicator = [float(gone)] if gaps or column.missing else []
    if isinstance(column, Number):
        return [0.0 if gone else _scaled(row, column), *indicator]
    ones = [0.0] * len(column.values)
    if not gone:
        ones[word(row, column.name, column.values)] = 1.0
    return [*ones, *indicator]


def _scaled(row: Row, column: Number) -> float:
    value = _within(row, column)
    low, high = column.coded_range
    return (value - (low + high) / 2) / ((high - low) / 2)


def _within(row: Row, column: Number) -> float:
    """A cell as a number within the column's limits."""
    value = number(row, column.name)
    if column.outside == "clip":
        value = min(max(value, column.lowest), column.highest)
    require(
        column.lowest <= value <= column.highest,
        f"{row.where}: {column.name} must lie between {column.lowest:g} and {column.highest:g} "
        f'{column.unit}, got {value:g}. Mend the row, or let the schema say outside = "clip".',
        error=InvalidData,
    )
    return value


def past_limits(row: Row, column: Number) -> bool:
    """Whether a cell that is there lies outside the column's public limits."""
    if plain(row.cells[column.name]) in map(plain, column.missing):
        return False
    return not column.lowest <= number(row, column.name) <= column.highest
