"""What a table means, in one TOML file: its columns, its label, its patients and its sites.

    title = "Heart disease"
    kind = "table"                  # or "series", "facts"
    patient_unit = "patient (one row is one patient)"
    file = "table.csv"

    [[column]]
    name = "chol"
    kind = "number"
    unit = "mg/dl"
    lowest = 50                     # public limits: outside of them a number is refused
    highest = 1000
    usual = [120, 350]              # public, lands on -1 to 1; without it the limits do
    missing = ["", "?", "0"]

    [label]
    column = "num"
    classes = ["healthy", "ill"]
    above = 0                       # a number above it is the second class
    positive = "ill"

Every number here is public and comes from publications or from the device that measures;
none is ever taken from a hospital's patients. docs/data.md explains each field.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import field
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from datasites.data.folders import safe_files
from syft_code import canonical, toml_text
from syft_code.errors import InvalidData, require

SCHEMA_FILE = "schema.toml"
MAX_SCHEMA_BYTES = 2**20
FINEST = 1000.0
"""The usual range may be this much finer than the limits: what is coded stays small."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_ -]{0,39}")
_VALUE = re.compile(r"[^\x00-\x1f,=?]{1,32}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,80}")


@canonical.message
class Number:
    """A measured quantity.

    Units: `unit`, of `lowest` and `highest` (public limits) and `usual` (a public range that is
    coded as -1 to 1). `outside` says whether a value past the limits is refused or moved to them.
    """

    name: str
    unit: str
    lowest: float
    highest: float
    usual: tuple[float, float] | None = None
    missing: tuple[str, ...] = ()
    outside: Literal["refuse", "clip"] = "refuse"
    kind: Literal["number"] = "number"

    def __post_init__(self) -> None:
        _check_name(self.name)
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

    @property
    def coded_range(self) -> tuple[float, float]:
        """What is coded as -1 and 1."""
        return self.usual or (self.lowest, self.highest)


@canonical.message
class Category:
    """One of a few words; each becomes a number of its own, 1 or 0."""

    name: str
    values: tuple[str, ...]
    missing: tuple[str, ...] = ()
    kind: Literal["category"] = "category"

    def __post_init__(self) -> None:
        _check_name(self.name)
        require(
            len(self.values) >= 2
            and len(set(map(plain, self.values))) == len(self.values)
            and all(_VALUE.fullmatch(value) for value in self.values),
            f"{self.name}: values must be at least two different words of 1 to 32 characters "
            "without ',', '=' and '?'.",
            error=InvalidData,
        )


Column = Annotated[Number | Category, Field(discriminator="kind")]


@canonical.message
class Label:
    """The class of a patient: a word of `column`, or whether its number lies above `above`.

    `values` are the words that stand for the classes, in their order; none means the classes'
    own names. `positive` is the class whose area under the curve is reported.
    """

    column: str
    classes: tuple[str, ...]
    values: tuple[str, ...] = ()
    above: float | None = None
    positive: str = ""

    def __post_init__(self) -> None:
        require(
            len(self.classes) >= 2 and len(set(self.classes)) == len(self.classes),
            "label: classes must be at least two different words.",
            error=InvalidData,
        )
        require(
            self.above is None or (len(self.classes) == 2 and not self.values),
            "label: with above there must be two classes and no values.",
            error=InvalidData,
        )
        words = self.values or self.classes
        require(
            len(words) == len(self.classes) and len(set(map(plain, words))) == len(words),
            "label: values must be one a class, each different.",
            error=InvalidData,
        )
        require(
            self.positive in ("", *self.classes),
            "label: positive must be one of the classes.",
            error=InvalidData,
        )


@canonical.message
class Schema:
    """A whole table. `safe_files` gives the table's file of each site, if every site has its own.

    `patient` and `site` name columns; without `patient` one row is one patient. A series has
    a row for each patient and hour: `hour` names the column, `hours` says how many there are.
    `header` names the columns of a file whose first line does not; `ignore` those not to read.
    """

    title: str
    kind: Literal["table", "series", "facts"]
    column: tuple[Column, ...]
    patient_unit: str = "patient (one row is one patient)"
    label: Label | None = None
    file: str = ""
    files: dict[str, str] = field(default_factory=dict)
    header: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    patient: str = ""
    site: str = ""
    hour: str = ""
    hours: int = 0

    def __post_init__(self) -> None:
        names = [*(one.name for one in self.column), *self.keys(), *self.ignore]
        _require(bool(self.column), "there must be at least one column")
        _require(len(set(names)) == len(names), "no column may be named twice")
        _require(
            (self.kind == "facts") == (self.label is None),
            "a table and a series must have a label, facts beside pictures must have none",
        )
        _require(
            not self.header
            or (set(names) <= set(self.header) and len(set(self.header)) == len(self.header)),
            "header must name every column once",
        )
        _require(
            bool(self.patient) or self.kind == "table",
            "a series and facts must name the column patient",
        )
        _require(
            (self.kind == "series") == bool(self.hour)
            and (1 <= self.hours <= 1024 or not self.hour),
            "a series, and nothing else, must name the column hour and have 1 to 1024 hours",
        )
        _require(bool(self.file) != bool(self.files), "there must be either file or files")
        _require(
            all(
                _FILE.fullmatch(name)
                for name in (self.file or "-", *self.files.values())
                if name != "-"
            ),
            "a file's name must be letters, digits, '.', '-' and '_' without a path",
        )
        _require(
            not (self.files and self.site) and all(map(_NAME.fullmatch, self.files)),
            "files must have plain names of sites, and there must be no column site then",
        )

    def keys(self) -> Iterator[str]:
        """The columns that are no facts: label, patient, site, hour."""
        label = self.label.column if self.label else ""
        yield from (name for name in (label, self.patient, self.site, self.hour) if name)


def packaged(name: str) -> Schema:
    """A schema that comes with Consilium: heart_disease, symptoms, vitals, ...

    >>> packaged("heart_disease").kind
    'table'
    """
    source = resources.files("datasites.data").joinpath("schemas", f"{name}.toml")
    return parse(source.read_bytes(), name=f"{name}.toml")


def beside(root: Path) -> Schema:
    """The schema that lies in the owner's folder as `schema.toml`."""
    path = root / SCHEMA_FILE
    require(
        path.is_symlink() or path.exists(),
        f"{SCHEMA_FILE!r} must lie in the folder, and does not. Write one: see docs/data.md.",
        error=InvalidData,
    )
    return parse(safe_files.read_bytes(root, path, limit_bytes=MAX_SCHEMA_BYTES), name=SCHEMA_FILE)


def parse(data: bytes, *, name: str) -> Schema:
    """Read a schema.

    Raises:
        InvalidData: with one sentence that names the file and the field.
    """
    try:
        as_json = json.dumps(toml_text.loads(data.decode("utf-8")), default=str)
    except UnicodeDecodeError:
        raise InvalidData(f"{name!r} must be UTF-8 text. Save it again.") from None
    except (ValueError, RecursionError) as problem:  # huge numbers, too; RecursionError: of JSON
        raise InvalidData(f"{name!r} must be TOML; {problem}.") from None
    try:
        found: Schema = TypeAdapter(Schema).validate_json(as_json)
    except ValidationError as problem:
        raise InvalidData(f"In {name!r}, {canonical.first_problem(problem)}.") from None
    except InvalidData as problem:
        raise InvalidData(f"In {name!r}, {problem}") from None
    return found


def plain(text: str) -> str:
    """A cell as it is compared: "1", "1.0" and " 1" are one word.

    >>> plain("1.0"), plain(" yes "), plain("0.5")
    ('1', 'yes', '0.5')
    """
    text = text.strip()
    try:
        number = float(text)
    except ValueError:
        return text
    whole = math.isfinite(number) and number == int(number)
    return str(int(number)) if whole else text


def _check_name(name: str) -> None:
    require(
        _NAME.fullmatch(name) is not None,
        "A column's name must be a letter and then letters, digits, '_', '-' and spaces, 40 at "
        f"most, got '{safe_files.printable(name)}'.",
        error=InvalidData,
    )


def _require(holds: bool, sentence: str) -> None:
    require(holds, f"{sentence}.", error=InvalidData)
