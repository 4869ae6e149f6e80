"""A CSV file as rows of text, each with the place where the owner finds it.

Everything that is wrong with the file as a file is refused here: what its cells mean is
the readers' business.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasites.data.folders import safe_files
from syft_code.errors import InvalidData, require

MAX_TABLE_BYTES = 64 * 2**20
MAX_ROWS = 2_000_000


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Row:
    """One line of a table: `cells` by column, and `where` it stands, for the owner to read."""

    cells: dict[str, str]
    where: str


def read(root: Path, path: Path, *, header: Sequence[str] = (), delimiter: str = ",") -> list[Row]:
    """Every row of a file that lies inside the folder; the first line names the columns.

    With `header` the file has no such line, and these are its columns. `delimiter` stands
    between cells.

    Raises:
        InvalidData: naming the file and the line, if it is larger than the limit, no UTF-8, no
            CSV, without rows, or if a row has more or fewer cells than there are columns.
    """
    data = safe_files.read_bytes(root, path, limit_bytes=MAX_TABLE_BYTES)
    return parse(data, safe_files.shown(root, path), header=header, delimiter=delimiter)


def parse(data: bytes, name: str, *, header: Sequence[str] = (), delimiter: str = ",") -> list[Row]:
    """The rows of a file's bytes; `name` is what the owner knows the file by."""
    lines = _lines(data, name, delimiter)
    columns = list(header)
    if not header:
        columns = next(lines, (0, []))[1]
        _check_header(columns, name)
    rows: list[Row] = []
    for number, line in lines:
        require(
            len(line) == len(columns),
            f"{name!r}, row {number}: must have {len(columns)} fields, it has {len(line)}. "
            "Mend the row.",
            error=InvalidData,
        )
        require(
            len(rows) < MAX_ROWS,
            f"{name!r} must have at most {MAX_ROWS:,} rows. Split the table.",
            error=InvalidData,
        )
        cells = dict(zip(columns, line, strict=True))
        rows.append(Row(cells=cells, where=f"{name!r}, row {number}"))
    require(
        bool(rows),
        f"{name!r} must have {'rows' if header else 'a header and rows'}, and is empty. "
        "Put the table there.",
        error=InvalidData,
    )
    return rows


def _lines(data: bytes, name: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each line that is not blank, with its number in the file."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidData(f"{name!r} must be UTF-8 text. Save it again as CSV in UTF-8.") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=delimiter)
    try:
        for line in reader:
            if line:
                yield reader.line_num, line
    except csv.Error as problem:
        raise InvalidData(
            f"{name!r}, row {reader.line_num}: must be a CSV table ({problem}). Mend the row."
        ) from None


def _check_header(columns: Sequence[str], name: str) -> None:
    for column in columns:
        require(
            columns.count(column) == 1,
            f"{name!r}, row 1: must have one column '{safe_files.printable(column)}', it has "
            f"{columns.count(column)}. Rename or remove one of them.",
            error=InvalidData,
        )
