"""What a schema says of a column and of the label: their names here and in the file, words, limits."""

import math
import unicodedata
from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field

from datasites.data.folders import safe_files
from datasites.data.readers.csv_files.cell_numbers import plain
from datasites.data.readers.csv_files.csv_text import in_file
from syft_code import canonical
from syft_code.errors import InvalidData, require

FINEST = 1000.0
"""The usual range may be this much finer than the limits: what is coded stays small."""
LONGEST_NAME, LONGEST_WORD, LONGEST_SOURCE = 40, 32, 200
MOST_WORDS = 256
_SIGNS = frozenset("_-. ()/%+°#&:")

Words = Annotated[
    tuple[Annotated[str, Field(max_length=LONGEST_SOURCE)], ...], canonical.at_most(MOST_WORDS)
]
Spellings = Annotated[
    dict[
        Annotated[str, Field(max_length=LONGEST_SOURCE)],
        Annotated[str, Field(max_length=LONGEST_SOURCE)],
    ],
    Field(max_length=4 * MOST_WORDS),
]
"""Another spelling, and the word that it stands for."""
Source = Annotated[str, Field(max_length=LONGEST_SOURCE)]


@canonical.message
class Number:
    """A measured quantity.

    Units: `unit`, of `lowest` and `highest` (public limits) and `usual` (a public range that is
    coded as -1 to 1). `outside` says whether a value past the limits is refused or moved to them.
    `source` is the column's name in the file, if it has another; `suffix` may end a cell ("61 y").
    """

    name: str
    unit: str
    lowest: float
    highest: float
    usual: tuple[float, float] | None = None
    missing: Words = ()
    outside: Literal["refuse", "clip"] = "refuse"
    source: Source = ""
    suffix: Annotated[str, Field(max_length=LONGEST_WORD)] = ""
    kind: Literal["number"] = "number"

    def __post_init__(self) -> None:
        check_name(self.name)
        require(
            math.isfinite(self.lowest)
            and math.isfinite(self.highest)
            and self.lowest < self.highest,
            f"{self.name}: lowest must be below highest, got {self.lowest} and {self.highest}.",
            error=InvalidData,
        )
        low, high = self.coded_range
        require(
            self.lowest <= low < high <= self.highest
            and (high - low) * FINEST >= self.highest - self.lowest,
            f"{self.name}: usual must be a range within {self.lowest:g} to {self.highest:g}, at "
            f"least a {FINEST:g}th of it, got {low:g} to {high:g}.",
            error=InvalidData,
        )
        require(
            not any(char.isdigit() for char in self.suffix),
            f"{self.name}: suffix must have no digits, got '{safe_files.printable(self.suffix)}'.",
            error=InvalidData,
        )

    @property
    def coded_range(self) -> tuple[float, float]:
        """What is coded as -1 and 1."""
        return self.usual or (self.lowest, self.highest)

    @property
    def column(self) -> str:
        """The column's name in the file."""
        return in_file(self.source or self.name)


@canonical.message
class Category:
    """One of a few words; each becomes a number of its own, 1 or 0.

    `words` are other words of the file, each with the value that it stands for; `source` is the
    column's name in the file, if it has another.
    """

    name: str
    values: Words
    missing: Words = ()
    words: Spellings = field(default_factory=dict)
    source: Source = ""
    kind: Literal["category"] = "category"

    def __post_init__(self) -> None:
        check_name(self.name)
        require(
            len(self.values) >= 2
            and len(set(map(plain, self.values))) == len(self.values)
            and all(map(_is_word, self.values)),
            f"{self.name}: values must be at least two different words of 1 to {LONGEST_WORD} printable "
            "characters without ',' and '?'. Give other words of the file under words.",
            error=InvalidData,
        )
        require_known_words(self.name, self.words, self.values, self.missing)

    @property
    def column(self) -> str:
        """The column's name in the file."""
        return in_file(self.source or self.name)


Column = Annotated[Number | Category, Field(discriminator="kind")]


@canonical.message
class Label:
    """The class of a patient: a word of `column`, or whether its number lies above `above`.

    `values` are the words that stand for the classes, in their order; none means the classes'
    own names. `words` are other words of the file, each with the value that it stands for.
    `missing` words say no class: such a row has that of its patient's other rows, or is left out.
    Rows with a word of `leave_out` are left out. `positive` is the class whose area under the
    curve is reported.
    """

    column: Source
    classes: Words
    values: Words = ()
    above: float | None = None
    positive: str = ""
    words: Spellings = field(default_factory=dict)
    missing: Words = ()
    leave_out: Words = ()

    def __post_init__(self) -> None:
        require(
            len(self.classes) >= 2
            and len(set(self.classes)) == len(self.classes)
            and all(name.isprintable() and name.strip() for name in self.classes),
            "label: classes must be at least two different words of printable characters.",
            error=InvalidData,
        )
        require(
            self.above is None or (len(self.classes) == 2 and not self.values and not self.words),
            "label: with above there must be two classes, no values and no words.",
            error=InvalidData,
        )
        known = self.values or self.classes
        require(
            len(known) == len(self.classes) and len(set(map(plain, known))) == len(known),
            "label: values must be one a class, each different.",
            error=InvalidData,
        )
        require(
            self.positive in ("", *self.classes),
            "label: positive must be one of the classes.",
            error=InvalidData,
        )
        require_known_words("label", self.words, known, (*self.missing, *self.leave_out))


def require_known_words(
    name: str, words: dict[str, str], values: tuple[str, ...], others: tuple[str, ...]
) -> None:
    """Each spelling under `words` stands for one of the values, and no word says two things."""
    known = set(map(plain, values))
    for spelling, value in words.items():
        require(
            plain(value) in known and plain(spelling) not in known,
            f"{name}: words must give another spelling and one of the values that it stands for, got "
            f"'{safe_files.printable(spelling)}' for '{safe_files.printable(value)}'.",
            error=InvalidData,
        )
    said = [*known, *dict.fromkeys(map(plain, words)), *dict.fromkeys(map(plain, others))]
    require(
        len(set(said)) == len(said),
        f"{name}: a word must be a value, another spelling, or missing or left out: one of them.",
        error=InvalidData,
    )


def check_name(name: str) -> None:
    """Raise `InvalidData` unless a name may stand in a catalogue."""
    require(
        is_name(name),
        f"A column's name must be a letter or digit and then letters, digits and {''.join(sorted(_SIGNS))}, "
        f"of any alphabet, {LONGEST_NAME} at most, got '{safe_files.printable(name)}'. Give another name, "
        "and the one in the file as source.",
        error=InvalidData,
    )


def is_name(name: str) -> bool:
    """Whether a text may be the name of a column or of a site.

    >>> is_name("age (years)"), is_name("Größe"), is_name("sex?")
    (True, True, False)
    """
    return (
        0 < len(name) <= LONGEST_NAME
        and name == in_file(name)
        and name[0].isalnum()
        and all(char in _SIGNS or unicodedata.category(char)[0] in "LMN" for char in name)
    )


def _is_word(word: str) -> bool:
    return (
        0 < len(word) <= LONGEST_WORD
        and word.isprintable()
        and bool(word.strip())
        and not {",", "?"} & {*word}
    )
