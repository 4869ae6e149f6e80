"""The first line of a table, which names its columns, and what it shows of how the rest is written."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from datasites.data.folders.safe_files import printable
from datasites.data.readers.csv_files import cell_numbers
from datasites.data.readers.csv_files.csv_text import (
    DELIMITER_NAMES,
    DELIMITERS,
    CsvFormat,
    Delimiter,
    Text,
    cut,
    in_file,
)
from syft_code.errors import InvalidData, require

_SAMPLE_BYTES = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """`names` of all columns in order, "" for one without; `row` of the file, `size_bytes` of the text."""

    names: tuple[str, ...]
    wanted: frozenset[str]
    ignored: frozenset[str]
    row: int = 0
    size_bytes: int = 0

    def reads(self, name: str) -> bool:
        """Whether a column is read; those without a name are looked at."""
        return name not in self.ignored and (not self.wanted or name in {*self.wanted, ""})


def read(
    text: Text, name: str, form: CsvFormat, *, wanted: Sequence[str], ignore: Sequence[str]
) -> Header:
    """The columns of a table, all of them `wanted` (if any are) or to `ignore`.

    Raises:
        InvalidData: naming the column that is unknown, not there or there twice, or the delimiter.
    """
    known, ignored = frozenset(map(in_file, wanted)), frozenset(map(in_file, ignore))
    if form.header:
        names = tuple(map(in_file, form.header))
        return Header(names=names, wanted=known, ignored=ignored)
    row, line = next(lines(text, form), (1, []))
    _check_delimiter(line, text, form, known, where=f"{name!r}, row {row}")
    names = tuple(map(in_file, line))
    size = _size_bytes(text.body, row - text.lines_before)
    require(
        bool(text.body[size:].strip()),
        f"{name!r} must have a header and rows, and is empty. Put the table there.",
        error=InvalidData,
    )
    _check_names(names, known, ignored, where=f"{name!r}, row {row}")
    return Header(names=names, wanted=known, ignored=ignored, row=row, size_bytes=size)


def lines(text: Text, form: CsvFormat) -> Iterator[tuple[int, list[str]]]:
    """Each line that is not blank, with its number in the file.

    Raises:
        csv.Error: at a cell that is longer than `csv.field_size_limit()`.
    """
    stream = io.TextIOWrapper(io.BytesIO(text.body), encoding="utf-8", newline="")
    reader = csv.reader(stream, delimiter=form.delimiter, strict=True)
    for line in reader:
        if line:
            yield text.lines_before + reader.line_num, line


def other_delimiter(line: Sequence[str], form: CsvFormat, width: int) -> str:
    """The end of a sentence, where another delimiter or an unquoted one explains a row's length."""
    whole = form.delimiter.join(line)
    for other in DELIMITERS:
        if other != form.delimiter and whole.count(other) + 1 == width > 1:
            return (
                f', or say delimiter = "{in_toml(other)}" in the schema, with which it has {width}'
            )
    if form.delimiter == "," and len(line) > width:
        return ": a decimal comma or a text with commas must stand in quotation marks"
    return ""


def in_toml(delimiter: str) -> str:
    """A delimiter as it is written in a schema."""
    return "\\t" if delimiter == "\t" else delimiter


def decimal_of(text: Text, delimiter: Delimiter) -> cell_numbers.Decimal | None:
    """The decimal mark of a text's first rows, if it can be told."""
    sample = text.body[:_SAMPLE_BYTES].decode("utf-8", "replace").splitlines()[1:]
    return cell_numbers.common_decimal(cell for row in sample for cell in row.split(delimiter))


def _size_bytes(body: bytes, count: int) -> int:
    rest = body
    for _ in range(count):
        rest = cut(rest)[1]
    return len(body) - len(rest)


def _check_delimiter(
    line: Sequence[str], text: Text, form: CsvFormat, wanted: frozenset[str], *, where: str
) -> None:
    """The delimiter is the one that finds the most columns of the schema."""
    whole, mine = form.delimiter.join(line), wanted & set(map(in_file, line))
    for other in DELIMITERS:
        if len(wanted & set(map(in_file, whole.split(other)))) > len(mine):
            decimal = decimal_of(text, other) or form.decimal
            hint = "" if decimal == form.decimal else f' and decimal = "{decimal}"'
            raise InvalidData(
                f"{where}: has {DELIMITER_NAMES[other]} between its cells, and the schema says "
                f'{DELIMITER_NAMES[form.delimiter]}. Say delimiter = "{in_toml(other)}"{hint} in the schema.'
            )


def _check_names(
    names: Sequence[str], wanted: frozenset[str], ignored: frozenset[str], *, where: str
) -> None:
    for one in names:
        require(
            names.count(one) == 1 or not one,
            f"{where}: must have one column '{printable(one)}', it has {names.count(one)}. Rename or "
            "remove one of them.",
            error=InvalidData,
        )
    if not wanted:
        return
    for one in names:
        require(
            one in wanted or one in ignored or not one,
            f"{where}: the schema must know every column, and does not know '{printable(one)}'"
            f"{_alike(one, wanted - set(names), 'the schema')}. Describe the column, or name it under ignore.",
            error=InvalidData,
        )
    for one in sorted(wanted):
        require(
            one in names,
            f"{where}: must have the column '{printable(one)}' of the schema, and has not"
            f"{_alike(one, set(names) - wanted, 'the file')}. Add the column, name the file's own column as its "
            "source, or take it out of the schema.",
            error=InvalidData,
        )


def _alike(name: str, others: "frozenset[str] | set[str]", owner: str) -> str:
    """Part of a sentence: who has nearly this name."""
    bare = "".join(filter(str.isalnum, name.casefold()))
    for other in sorted(others):
        if bare and "".join(filter(str.isalnum, other.casefold())) == bare:
            return f" ({owner} has '{printable(other)}')"
    return ""
