"""A CSV file as rows of text, each with the place where the owner finds it: tables beside pictures.

A table of its own has its columns read as a whole: `tables.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datasites.data.folders import safe_files
from datasites.data.readers.csv_files import csv_table
from datasites.data.readers.csv_files.csv_table import Table
from datasites.data.readers.csv_files.csv_text import CsvFormat


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Row:
    """One line of a table: `cells` by column, and `where` it stands, for the owner to read."""

    cells: dict[str, str]
    where: str


def read(root: Path, path: Path, form: CsvFormat | None = None) -> list[Row]:
    """Every row of a file that lies inside the folder; by default the first line names the columns.

    Raises:
        InvalidData: as `csv_table.read` does.
    """
    data = safe_files.read_bytes(root, path, limit_bytes=csv_table.MAX_TABLE_BYTES)
    return parse(data, safe_files.shown(root, path), form)


def parse(data: bytes, name: str, form: CsvFormat | None = None) -> list[Row]:
    """The rows of a file's bytes; `name` is what the owner knows the file by."""
    return _rows(csv_table.parse(data, name, form or CsvFormat()))


def _rows(table: Table) -> list[Row]:
    columns = {
        name: [texts[code] for code in words.codes.tolist()]
        for name, words in table.columns.items()
        for texts in [words.texts.to_pylist()]
    }
    cells: Sequence[tuple[str, ...]] = list(zip(*columns.values(), strict=True))
    return [
        Row(cells=dict(zip(columns, line, strict=True)), where=table.where(at))
        for at, line in enumerate(cells)
    ]
