"""A table's bytes as one text in UTF-8, or what they are instead.

Everything that is wrong with the file as a file is refused here, with what it is and the way out.
"""

import codecs
import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

import numpy as np

from datasites.data.readers.csv_files.cell_numbers import Decimal
from syft_code.errors import InvalidData, require

Encoding = Literal[
    "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be",
    "cp1250", "cp1251", "cp1252", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp437", "cp850",
    "latin-1", "iso-8859-2", "iso-8859-5", "iso-8859-7", "iso-8859-8", "iso-8859-9", "iso-8859-15",
    "koi8-r", "mac-roman", "shift_jis", "euc-jp", "euc-kr", "gb18030", "big5",
]  # fmt: skip
Delimiter = Literal[",", ";", "\t", "|"]
DELIMITERS: tuple[Delimiter, ...] = (",", ";", "\t", "|")
DELIMITER_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "upright bars"}
_UNICODE = ("utf-8", "utf-8-sig")
_WIDE = ("utf-16", "utf-16-le", "utf-16-be")
_BLOCK_BYTES = 2**24
LONGEST_ROW_BYTES = 2**20
_ZIP = "is a zip archive, as Excel's .xlsx workbooks are, whatever its name says"
_SIGNATURES = (
    (b"PK\x03\x04", _ZIP),
    (b"PK\x05\x06", _ZIP),
    (b"\x1f\x8b", "is compressed with gzip"),
    (b"\xfd7zXZ", "is compressed with xz"),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive"),
    (b"Rar!", "is a RAR archive"),
    (b"\x28\xb5\x2f\xfd", "is compressed with zstandard"),
    (b"\xd0\xcf\x11\xe0", "is a workbook of old Excel (.xls) or another Office file"),
    (b"%PDF", "is a PDF"),
    (b"ARROW1", "is an Arrow file"),
    (b"SQLite format 3", "is an SQLite database"),
    (b"\x89HDF", "is an HDF5 file"),
    (b"$FL2", "is an SPSS file"),
    (b"<stata_dta>", "is a Stata file"),
    (b"\x89PNG", "is a picture"),
    (b"\xff\xd8\xff", "is a picture"),
    (b"{\\rtf", "is a text document (RTF)"),
    (b"version https://git-lfs", "is the pointer of a file that git LFS keeps elsewhere"),
)
_PATTERNS = (
    (re.compile(rb"BZh[1-9]1AY&SY"), "is compressed with bzip2"),
    (re.compile(rb"PAR1.*PAR1\Z", re.DOTALL), "is a Parquet file"),
    (
        re.compile(rb"(\xef\xbb\xbf)?\s*<[!?A-Za-z]"),
        "is HTML or XML, as a web page or an export for Excel is",
    ),
    (re.compile(rb"(\xef\xbb\xbf)?\s*\[?\s*\{"), "is JSON"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvFormat:
    """How a file writes a table. `header` names the columns of a file whose first line does not."""

    delimiter: Delimiter = ","
    decimal: Decimal = "."
    encoding: Encoding = "utf-8"
    skip_lines: int = 0
    header: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Text:
    """`body` is UTF-8 from the header on; so many lines of the file stand before it."""

    body: bytes
    lines_before: int
    quoted: bool


def in_file(name: str) -> str:
    """A column's name as names are compared: composed characters, no space around, one within.

    >>> in_file(" age  (years) ")
    'age (years)'
    """
    return " ".join(unicodedata.normalize("NFC", name).replace("\ufeff", "").split())


def read(data: bytes, name: str, form: CsvFormat) -> Text:
    """The text of a file's bytes; `name` is what the owner knows the file by.

    Raises:
        InvalidData: if it is no text, no text in this encoding, empty, or has torn quotes.
    """
    require_text(data, name)
    body = _decoded(data, name, form.encoding)
    lines, body = _without_first_lines(body, name, form)
    require(
        bool(body.strip()),
        f"{name!r} must have {'rows' if form.header else 'a header and rows'}, and is empty. "
        "Put the table there.",
        error=InvalidData,
    )
    text = Text(body=body, lines_before=lines, quoted=b'"' in body)
    if text.quoted:
        _check_quotes(text, name, form.delimiter)
    _check_lengths(text, name)
    return text


def require_text(data: bytes, name: str) -> None:
    """Raise `InvalidData`, naming what it is, for a file of another kind under a table's name."""
    known = [said for mark, said in _SIGNATURES if data.startswith(mark)]
    known += [said for pattern, said in _PATTERNS if pattern.match(data)]
    require(
        not known,
        f"{name!r} must be a CSV table, and {known[0] if known else ''}. Save the table as CSV in UTF-8.",
        error=InvalidData,
    )


def bom(data: bytes) -> Encoding | Literal["utf-32"] | None:
    """What a mark at a file's first bytes says of its encoding."""
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return "utf-8-sig" if data.startswith(codecs.BOM_UTF8) else None


def guess_encoding(data: bytes) -> Encoding | Literal["utf-32"]:
    """The likeliest encoding of a text; for other alphabets than the Latin one the owner must know."""
    marked = bom(data)
    if marked:
        return marked
    sample = data[:4096]
    if sample.count(0) > len(sample) // 4:
        return "utf-16-le" if sample[1::2].count(0) >= sample[::2].count(0) else "utf-16-be"
    return "utf-8" if bad_byte(data) is None else "cp1252"


def bad_byte(data: bytes) -> int | None:
    """Where a text stops to be UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(data), _BLOCK_BYTES):
        block = data[start : start + _BLOCK_BYTES]
        pending = len(decoder.getstate()[0])
        try:
            decoder.decode(block, final=start + _BLOCK_BYTES >= len(data))
        except UnicodeDecodeError as problem:
            return start - pending + problem.start
    return None


def _decoded(data: bytes, name: str, encoding: Encoding) -> bytes:
    marked = bom(data)
    likely = marked or guess_encoding(data[:4096])
    wide, says_wide = likely.startswith("utf-16"), encoding.startswith("utf-16")
    if (
        likely == "utf-32"
        or (wide and not says_wide)
        or (marked and encoding not in (*_UNICODE, *_WIDE))
    ):
        raise InvalidData(
            f"{name!r} is text in {likely.upper()}, and the schema says {encoding.upper()}. {_way_out(likely)}."
        )
    body = _utf8(data, name) if encoding in _UNICODE else _transcoded(data, name, encoding)
    at = body.find(b"\0")
    require(
        at < 0,
        f"{name!r}, row {_line(body, at)}: must be text, and has a NUL byte. The file is damaged or no text: "
        "save it again as CSV in UTF-8.",
        error=InvalidData,
    )
    return body


def _utf8(data: bytes, name: str) -> bytes:
    at = None if data.isascii() else bad_byte(data)
    if at is not None:
        raise InvalidData(
            f"{name!r} must be UTF-8 text, and row {_line(data, at)} has the byte 0x{data[at]:02X}, as of "
            'Windows or an older system. Save it again as CSV in UTF-8, or say encoding = "cp1252" in the '
            "schema (or which it is)."
        )
    return data.removeprefix(codecs.BOM_UTF8)


def _transcoded(data: bytes, name: str, encoding: Encoding) -> bytes:
    narrow = not encoding.startswith("utf-16")
    require(
        not (narrow and not data.isascii() and bad_byte(data) is None),
        f"{name!r} is text in UTF-8, and the schema says {encoding.upper()}. {_way_out('utf-8')}.",
        error=InvalidData,
    )
    try:
        return data.decode(encoding).removeprefix("\ufeff").encode("utf-8")
    except UnicodeError as problem:
        at = problem.start if isinstance(problem, UnicodeDecodeError) else 0
        raise InvalidData(
            f"{name!r}, row {_line(data, at)}: must be text in {encoding.upper()}, as the schema says, and is "
            "not. Name its encoding in the schema, or save it again as CSV in UTF-8."
        ) from None


def _way_out(encoding: str) -> str:
    if encoding == "utf-32":
        return "Save it again as CSV in UTF-8"
    return f'Say encoding = "{encoding}" in the schema, or save it again as CSV in UTF-8'


def _line(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, max(at, 0)) + 1


def _without_first_lines(body: bytes, name: str, form: CsvFormat) -> tuple[int, bytes]:
    """The body without Excel's line `sep=;` and without lines to skip, and how many these are."""
    lines = 0
    first, rest = cut(body)
    if first.lower().startswith(b"sep=") and len(first.strip(b'"')) <= 5:
        said = first[4:5].decode(errors="replace") or "\t"
        shown = "\\t" if said == "\t" else said
        require(
            said == form.delimiter,
            f"{name!r}, row 1: says that {said!r} stands between cells, and the schema has "
            f'{form.delimiter!r}. Say delimiter = "{shown}" in the schema.',
            error=InvalidData,
        )
        lines, body = 1, rest
    for _ in range(form.skip_lines):
        lines, body = lines + 1, cut(body)[1]
    return lines, body


def cut(body: bytes) -> tuple[bytes, bytes]:
    """The first line, and what follows it."""
    ends = [at for at in (body.find(b"\n"), body.find(b"\r")) if at >= 0]
    if not ends:
        return body, b""
    end = min(ends)
    return body[:end], body[end + (2 if body[end : end + 2] == b"\r\n" else 1) :]


def _check_quotes(text: Text, name: str, delimiter: Delimiter) -> None:
    """A quotation mark opens a cell, closes one, or stands twice within one: nothing else is read.

    Of all marks every second one closes. The first that breaks the rule is named by its line.
    """
    whole = np.frombuffer(text.body, dtype=np.uint8)
    edges = np.frombuffer(f'{delimiter}\r\n"'.encode(), dtype=np.uint8)
    count = 0
    for start in range(0, len(whole), _BLOCK_BYTES):
        at = np.flatnonzero(whole[start : start + _BLOCK_BYTES] == ord('"')) + start
        opens = (np.arange(count, count + len(at)) % 2) == 0
        count += len(at)
        before = np.where(at > 0, whole[at - 1], edges[-2])
        after = np.where(at + 1 < len(whole), whole[np.minimum(at + 1, len(whole) - 1)], edges[-2])
        good = np.where(opens, np.isin(before, edges), np.isin(after, edges))
        if not good.all():
            raise _torn(text, name, int(at[int(np.argmin(good))]))
    if count % 2:
        raise _torn(text, name, text.body.rfind(b'"'))


def _check_lengths(text: Text, name: str) -> None:
    """Arrow may wait for ever for the end of a row that is longer than its blocks."""
    whole = np.frombuffer(text.body, dtype=np.uint8)
    last, quotes = -1, 0
    for start in range(0, len(whole), _BLOCK_BYTES):
        block = whole[start : start + _BLOCK_BYTES]
        ends = np.flatnonzero((block == ord("\n")) | (block == ord("\r")))
        if text.quoted:
            at = np.flatnonzero(block == ord('"'))
            ends = ends[(quotes + np.searchsorted(at, ends)) % 2 == 0]
            quotes += len(at)
        rows = np.concatenate([[last], ends + start, [start + len(block)]])
        lengths = np.diff(rows)
        if lengths.max() > LONGEST_ROW_BYTES:
            row = text.lines_before + _line(text.body, int(rows[int(np.argmax(lengths))]) + 1)
            raise InvalidData(
                f"{name!r}, row {row}: must have at most {LONGEST_ROW_BYTES:,} bytes, and has more. Mend the row; a "
                "quotation mark that opens and never closes may be the cause."
            )
        last = start + int(ends[-1]) if len(ends) else last


def _torn(text: Text, name: str, at: int) -> InvalidData:
    row = text.lines_before + _line(text.body, at)
    return InvalidData(
        f"{name!r}, row {row}: must be a CSV table, and a quotation mark neither opens nor closes its "
        "cell. Put the cell in quotation marks, and write one within it twice."
    )
