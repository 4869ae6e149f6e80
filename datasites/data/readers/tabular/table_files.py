"""The files that a schema names, as one table, and no other file of the folder unseen."""

import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from datasites.data.folders import inventory, safe_files
from datasites.data.readers.csv_files import csv_table
from datasites.data.readers.csv_files.csv_table import Table, Words
from datasites.data.readers.tabular.table_schema import SCHEMA_FILE, Schema
from syft_code.errors import InvalidData

SITE = ""
"""The column of a table that says which file, and so which site, a row is from."""
_TABLES = {".csv", ".tsv", ".tab", ".txt", ".data", ".dat"}
_WORKBOOKS = {".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers"}
_PACKED = {".gz", ".zip", ".bz2", ".xz", ".7z", ".zst", ".rar", ".tar", ".tgz"}
_MEASURED = {
    ".parquet",
    ".feather",
    ".sav",
    ".dta",
    ".sas7bdat",
    ".rds",
    ".rdata",
    ".sqlite",
    ".db",
    ".json",
}


def read(root: Path, schema: Schema, *, own: bool) -> Table:
    """Every row of every file; `own` is a schema that lies in the folder.

    Raises:
        InvalidData: naming a file that is not there, or that the schema does not name, or what is
            wrong with a row.
    """
    paths = {
        site: _path(root, name) for site, name in (schema.files or {SITE: schema.file}).items()
    }
    taken = [*paths.values(), *([root / SCHEMA_FILE] if own else [])]
    inventory.require_all_known(
        root,
        taken,
        bystanders=[one.lower() for one in schema.leave_alone],
        reason=_reason,
        way_out='Move it out of the folder, or name it in the schema: leave_alone = ["..."]',
    )
    tables = {
        site: csv_table.read(root, path, schema.form, wanted=schema.wanted(), ignore=schema.ignore)
        for site, path in paths.items()
    }
    return _joined(tables) if schema.files else tables[SITE]


def tables_in(root: Path) -> list[Path]:
    """The files right in a folder that may be tables by their names."""
    return [
        path
        for path in safe_files.entries(root, root)
        if path.is_file() and path.suffix.lower() in _TABLES
    ]


def _path(root: Path, name: str) -> Path:
    """A file by its name, composed or decomposed."""
    path = root / name
    if path.is_symlink() or path.exists():
        return path
    for form in ("NFC", "NFD"):
        other = root / unicodedata.normalize(form, name)
        if other.exists():
            return other
    beside = [one.name for one in tables_in(root)]
    alike = [one for one in beside if one.casefold() == name.casefold()]
    there = ", ".join(f"'{safe_files.printable(one)}'" for one in (alike or beside)[:3])
    raise InvalidData(
        f"'{safe_files.printable(name)}' must lie in the folder, and does not"
        f"{f'; there is {there}' if there else ''}. Put the table there, or name the file in the schema."
    )


def _reason(path: Path) -> str | None:
    suffix = path.suffix.lower()
    if path.name == SCHEMA_FILE:
        return "is the schema of a table of your own, which is read as kind 'table'"
    if suffix in _WORKBOOKS:
        return "is a workbook, of which the table must be saved as CSV in UTF-8"
    if suffix in _PACKED:
        return "is packed, and must be unpacked to be read"
    if suffix in _MEASURED:
        return "is of a program's own format, and must be exported as CSV to be read"
    if suffix in _TABLES:
        return "is a table that the schema does not name under file or files"
    return "is no table that the schema names"


def _joined(tables: dict[str, Table]) -> Table:
    """Tables below each other, with the site of each row as a column."""
    parts = list(tables.values())
    ends = np.cumsum([part.rows for part in parts])

    def where(row: int) -> str:
        at = int(np.searchsorted(ends, row, side="right"))
        return parts[at].where(row - int(ends[at] - parts[at].rows))

    columns = {name: _below([part.columns[name] for part in parts]) for name in parts[0].columns}
    codes = np.repeat(np.arange(len(parts), dtype=np.int32), [part.rows for part in parts])
    columns[SITE] = Words(texts=pa.array(list(tables), pa.string()), codes=codes)
    return Table(
        columns=columns,
        rows=int(ends[-1]),
        where=where,
        blank_rows=sum(part.blank_rows for part in parts),
        unnamed=sum(part.unnamed for part in parts),
    )


def _below(parts: Sequence[Words]) -> Words:
    starts = _starts(len(part.texts) for part in parts)
    codes = [part.codes + start for part, start in zip(parts, starts, strict=True)]
    return Words(
        texts=pa.concat_arrays([part.texts for part in parts]),
        codes=np.concatenate(codes).astype(np.int32),
    )


def _starts(lengths: Iterable[int]) -> list[int]:
    ends = np.cumsum([0, *lengths]).tolist()
    return [int(end) for end in ends[:-1]]
