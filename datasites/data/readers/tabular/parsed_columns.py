"""What the columns of a table say, each distinct text once: numbers within limits, known words, or nothing.

The first cell that is not acceptable is refused with file, row and column, why, and the way out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from datasites.data.folders.safe_files import printable
from datasites.data.readers.csv_files import cell_numbers
from datasites.data.readers.csv_files.cell_numbers import Decimal, plain
from datasites.data.readers.csv_files.csv_table import Table, Words
from datasites.data.readers.tabular.schema_columns import Category, Column, Number
from syft_code.errors import InvalidData

MISSING = "?"
MOST_NAMED = 12
"""A refusal names so many words that a cell may be."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Parsed:
    """A column: `codes` int32 `[rows]` say which distinct text a row has; all else is by text.

    `value` is a number within its limits, or the index of a category's word; `gone` texts stand
    for what is missing; `moved` numbers lay outside of the limits.
    """

    column: Column
    codes: NDArray[np.int32]
    value: NDArray[np.float64]
    gone: NDArray[np.bool_]
    moved: NDArray[np.bool_]

    def said(self, digits: int) -> list[str]:
        """What each text says, however it is spelled: "61", "61.0" and "6.1e1" say the same."""
        if isinstance(self.column, Category):
            words = [*map(plain, self.column.values), MISSING]
            return [words[-1 if gone else int(at)] for at, gone in self._each()]
        return [MISSING if gone else spelled(value, digits) for value, gone in self._each()]

    def counted(self, texts: NDArray[np.bool_]) -> int:
        """How many rows have one of some texts."""
        return int(np.count_nonzero(texts[self.codes])) if texts.any() else 0

    def _each(self) -> Iterator[tuple[float, bool]]:
        return zip(self.value.tolist(), self.gone.tolist(), strict=True)


def spelled(value: float, digits: int) -> str:
    """A number as text, rounded.

    >>> spelled(61.0, 3), spelled(-0.0, 3), spelled(0.33333, 3)
    ('61', '0', '0.333')
    """
    return f"{value + 0.0:.{digits}g}"


def parse(table: Table, column: Column, *, decimal: Decimal = ".") -> Parsed:
    """One column of a table.

    Raises:
        InvalidData: naming file, row and column of the first cell that is not acceptable.
    """
    words = table.columns[column.column]
    if isinstance(column, Category):
        value = choices(
            table, column.column, column.values, words=column.words,
            others=dict.fromkeys(map(plain, column.missing), -1), decimal=decimal, name=column.name,
        )  # fmt: skip
        gone = value < 0
        nobody = np.zeros(len(gone), dtype=np.bool_)
        return Parsed(
            column=column,
            codes=words.codes,
            value=value.astype(np.float64),
            gone=gone,
            moved=nobody,
        )
    return _numbers(table, words, column, decimal)


def choices(
    table: Table,
    column: str,
    known: Sequence[str],
    *,
    words: Mapping[str, str],
    others: Mapping[str, int],
    decimal: Decimal,
    name: str,
) -> NDArray[np.int64]:
    """Which of the known words each distinct text is; `others` are words that are none, each with a number.

    Raises:
        InvalidData: naming the first cell that is neither.
    """
    places = {plain(one): at for at, one in enumerate(known)}
    places |= {plain(spelling): places[plain(value)] for spelling, value in words.items()}
    places |= others
    texts = table.columns[column].texts.to_pylist()
    for at, text in enumerate(texts):
        if plain(text, decimal) not in places:
            raise _no_word(table, column, at, text, places, known, name)
    return np.array([places[plain(text, decimal)] for text in texts], dtype=np.int64)


def _no_word(
    table: Table,
    column: str,
    at: int,
    text: str,
    places: Mapping[str, int],
    known: Sequence[str],
    name: str,
) -> InvalidData:
    folded = {one.casefold(): one for one in places if one}
    alike = folded.get(plain(text).casefold(), "")
    hint = f", which differs from '{printable(alike)}' by capital letters alone" if alike else ""
    more = f" and {len(known) - MOST_NAMED} more" if len(known) > MOST_NAMED else ""
    where = table.where(table.columns[column].first_row(at))
    if not text.strip():
        return InvalidData(
            f"{where}: {name} must be one of {', '.join(known[:MOST_NAMED])}{more}, and is empty. Fill it "
            'in, or say missing = [""] in the schema.'
        )
    return InvalidData(
        f"{where}: {name} must be one of {', '.join(known[:MOST_NAMED])}{more}, got '{printable(text)}'{hint}. "
        "Mend the row, or give the word in the schema: under values, words, missing or (of the label) leave_out."
    )


def numbers(
    table: Table,
    column: str,
    *,
    missing: Sequence[str],
    decimal: Decimal,
    suffix: str = "",
    name: str = "",
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Each distinct text of a column as a number, and which of them stand for what is missing.

    Raises:
        InvalidData: naming the first cell that is neither, and why.
    """
    texts = table.columns[column].texts
    value = cell_numbers.parse(texts, decimal=decimal, suffix=suffix)
    gone = _missing(texts, cell_numbers.parse(texts, decimal=decimal), missing)
    bad = np.flatnonzero(np.isnan(value) & ~gone)
    if len(bad):
        text = str(texts[int(bad[0])].as_py())
        why, way_out = cell_numbers.why_not(text, decimal=decimal)
        raise InvalidData(
            f"{table.where(table.columns[column].first_row(int(bad[0])))}: {name or column} must be a finite "
            f"number, and '{printable(text)}' {why}. {way_out}."
        )
    return value, gone


def _numbers(table: Table, words: Words, column: Number, decimal: Decimal) -> Parsed:
    value, gone = numbers(
        table, column.column, missing=column.missing, decimal=decimal, suffix=column.suffix,
        name=column.name,
    )  # fmt: skip
    with np.errstate(invalid="ignore"):
        outside = ~gone & ~((column.lowest <= value) & (value <= column.highest))
    bad = np.flatnonzero(outside)
    if len(bad) and column.outside == "refuse":
        raise InvalidData(
            f"{table.where(words.first_row(int(bad[0])))}: {column.name} must lie between {column.lowest:g} and "
            f"{column.highest:g} {column.unit}, got {value[bad[0]]:g}. Mend the row, or let the schema say "
            'outside = "clip".'
        )
    within = np.clip(value, column.lowest, column.highest)
    return Parsed(column=column, codes=words.codes, value=within, gone=gone, moved=outside)


def _missing(
    texts: object, value: NDArray[np.float64], missing: Sequence[str]
) -> NDArray[np.bool_]:
    """Which texts are one of the words for what is missing, or the same number as one."""
    plains = [plain(one) for one in missing]
    trimmed = pc.utf8_trim_whitespace(pc.utf8_normalize(texts, "NFC"))
    gone: NDArray[np.bool_] = np.zeros(len(value), dtype=np.bool_)
    for word in plains:
        gone |= pc.equal(trimmed, word).to_numpy(zero_copy_only=False).astype(np.bool_)
    for number in cell_numbers.parse(cell_numbers.as_texts(plains)).tolist():
        gone |= value == number  # NaN equals nothing
    return gone
