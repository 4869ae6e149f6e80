"""A CSV file by column: each distinct text of a column once, and which of them each row has.

Millions of rows stay small that way, and what a text means is worked out once.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv

from datasites.data.folders import safe_files
from datasites.data.readers.csv_files import csv_header, csv_text
from datasites.data.readers.csv_files.csv_header import Header
from datasites.data.readers.csv_files.csv_text import CsvFormat, Text
from syft_code.errors import InvalidData, require

MAX_TABLE_BYTES = 512 * 2**20
MAX_ROWS = 8_000_000
BLOCK_BYTES = 8 * csv_text.LONGEST_ROW_BYTES


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Words:
    """One column: Arrow strings `texts`, each different, and int32 `[rows]` which one a row has."""

    texts: Any
    codes: NDArray[np.int32]

    def first_row(self, text: int) -> int:
        """Where a text stands first."""
        return int(np.argmax(self.codes == text))

    def take(self, rows: NDArray[Any]) -> "Words":
        """Those of some rows, without texts that none of them has."""
        codes = self.codes[rows]
        there = np.bincount(codes, minlength=len(self.texts)) > 0
        number = np.cumsum(there, dtype=np.int32) - 1
        return Words(texts=self.texts.filter(pa.array(there)), codes=number[codes])


def words_of(cells: Sequence[str]) -> Words:
    """A column given as Python texts."""
    coded = pa.array(cells, pa.string()).dictionary_encode()
    return Words(texts=coded.dictionary, codes=coded.indices.to_numpy().astype(np.int32))


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Table:
    """Columns of as many rows; `where` says where the owner finds a row.

    `blank_rows` are those that said nothing at all and were left out; `unnamed` columns, too.
    """

    columns: dict[str, Words]
    rows: int
    where: Callable[[int], str]
    blank_rows: int = 0
    unnamed: int = 0

    def take(self, chosen: NDArray[np.bool_]) -> "Table":
        """The chosen rows (bool `[rows]`)."""
        rows = np.flatnonzero(chosen)
        return Table(
            columns={name: words.take(rows) for name, words in self.columns.items()},
            rows=len(rows),
            where=lambda row: self.where(int(rows[row])),
            blank_rows=self.blank_rows,
            unnamed=self.unnamed,
        )


def start_threads() -> None:
    """Have Arrow's two threads at work from now on: behind the walls of a contained process none can be started.

    Neither can a pipe be made there, by which Arrow would hear of Ctrl-C.
    """
    pa.enable_signal_handlers(False)
    pa.set_io_thread_count(1)
    pa.set_cpu_count(1)
    parse(b"a\n1\n", "a first table", CsvFormat())


def read(
    root: Path,
    path: Path,
    form: CsvFormat,
    *,
    wanted: Sequence[str] = (),
    ignore: Sequence[str] = (),
) -> Table:
    """The `wanted` columns (by default all) of a file that lies inside the folder.

    Raises:
        InvalidData: naming the file and the line, if it is larger than the limit, no text, no CSV,
            without rows, has a column that is neither wanted nor to `ignore`, lacks one that is
            wanted, or if a row has more or fewer cells than there are columns.
    """
    data = safe_files.read_bytes(root, path, limit_bytes=MAX_TABLE_BYTES)
    return parse(data, safe_files.shown(root, path), form, wanted=wanted, ignore=ignore)


def parse(
    data: bytes,
    name: str,
    form: CsvFormat,
    *,
    wanted: Sequence[str] = (),
    ignore: Sequence[str] = (),
) -> Table:
    """The table of a file's bytes; `name` is what the owner knows the file by."""
    text = csv_text.read(data, name, form)
    del data
    header = csv_header.read(text, name, form, wanted=wanted, ignore=ignore)
    kept = {str(at): one for at, one in enumerate(header.names) if header.reads(one)}
    found = _parsed(text, name, form, header, list(kept))
    require(
        found.num_rows <= MAX_ROWS,
        f"{name!r} must have at most {MAX_ROWS:,} rows, and has {found.num_rows:,}. Split the table.",
        error=InvalidData,
    )
    rows = found.num_rows
    columns = [(one, _words(found, at)) for at, one in kept.items()]
    del found
    unnamed = [_blank(words) for one, words in columns if not one]
    require(
        all(blank.all() for blank in unnamed),
        f"{name!r}, row {header.row}: must name each column, and column "
        f"{(*header.names, '').index('') + 1} has cells and no name. Give it a name, or say "
        'ignore = [""] in the schema.',
        error=InvalidData,
    )
    table = Table(
        columns={one: words for one, words in columns if one},
        rows=rows,
        where=_Lines(text, name, form).where,
        unnamed=len(unnamed),
    )
    return _without_blank_rows(table, name)


def _without_blank_rows(table: Table, name: str) -> Table:
    """A spreadsheet writes rows of nothing but delimiters below a table."""
    blank = np.ones(table.rows, dtype=np.bool_)
    for words in table.columns.values():
        if not blank.any():
            return table
        blank &= _blank(words)
    require(
        not blank.all(),
        f"{name!r} must have rows, and each of its {table.rows:,} is empty. Put the table there.",
        error=InvalidData,
    )
    if not blank.any():
        return table
    kept = table.take(~blank)
    return Table(
        columns=kept.columns,
        rows=kept.rows,
        where=kept.where,
        blank_rows=int(blank.sum()),
        unnamed=kept.unnamed,
    )


def _blank(words: Words) -> NDArray[np.bool_]:
    """In which rows a column has nothing but space."""
    nothing = pc.equal(pc.utf8_trim_whitespace(words.texts), "").to_numpy(zero_copy_only=False)
    found: NDArray[np.bool_] = nothing.astype(np.bool_)[words.codes]
    return found


def _words(found: Any, at: str) -> Words:
    column = found.column(at).combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # of one chunk, or none
        column = column.chunk(0)
    return Words(
        texts=column.dictionary, codes=column.indices.to_numpy().astype(np.int32, copy=False)
    )


def _parsed(text: Text, name: str, form: CsvFormat, header: Header, kept: list[str]) -> Any:
    """The cells, as Arrow's table of dictionaries with columns "0", "1", ..."""
    names = [str(at) for at in range(len(header.names))]
    coded = pa.dictionary(pa.int32(), pa.string())
    try:
        found = arrow_csv.read_csv(
            pa.BufferReader(pa.py_buffer(text.body).slice(header.size_bytes)),
            read_options=arrow_csv.ReadOptions(block_size=BLOCK_BYTES, column_names=names),
            parse_options=arrow_csv.ParseOptions(
                delimiter=form.delimiter, newlines_in_values=text.quoted
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, coded),
                include_columns=kept,
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )
    except pa.ArrowInvalid:
        raise _problem(text, name, form, len(names)) from None
    return found.unify_dictionaries()


def _problem(text: Text, name: str, form: CsvFormat, width: int) -> InvalidData:
    """What Arrow did not take, in a sentence: found anew, line by line."""
    try:
        for number, line in csv_header.lines(text, form):
            if len(line) != width:
                return InvalidData(
                    f"{name!r}, row {number}: must have {width} fields, it has {len(line)}. Mend the row"
                    f"{csv_header.other_delimiter(line, form, width)}."
                )
    except csv.Error:
        pass
    return InvalidData(
        f"{name!r} must be a CSV table with cells of at most {csv.field_size_limit():,} characters, and is not. "
        "Save it again as CSV in UTF-8."
    )


class _Lines:
    """Where a row stands, worked out only when somebody asks."""

    def __init__(self, text: Text, name: str, form: CsvFormat) -> None:
        self._text, self._name, self._form = text, name, form
        self._numbers: NDArray[np.int64] | None = None

    def where(self, row: int) -> str:
        """A row by its number from 0 on, as the owner reads it."""
        if self._numbers is None:
            numbers = (number for number, _ in csv_header.lines(self._text, self._form))
            self._numbers = np.fromiter(numbers, dtype=np.int64)
        return f"{self._name!r}, row {self._numbers[row + (0 if self._form.header else 1)]}"
