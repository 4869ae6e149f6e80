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

from collections.abc import Iterator
from dataclasses import field
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from datasites.data.folders import safe_files, toml_files
from datasites.data.folders.identifiers import PersonRule
from datasites.data.readers.csv_files.cell_numbers import Decimal
from datasites.data.readers.csv_files.csv_text import CsvFormat, Delimiter, Encoding, in_file
from datasites.data.readers.tabular.schema_columns import Column, Label, Source, is_name
from syft_code import canonical
from syft_code.canonical import ShortText
from syft_code.errors import InvalidData, require

SCHEMA_FILE = "schema.toml"
MAX_SCHEMA_BYTES = 2**20
MOST_COLUMNS, MOST_FILES, MOST_SITES = 512, 256, 1000
MOST_SKIPPED = 100
LONGEST_SITE = 80

Names = Annotated[tuple[Source, ...], canonical.at_most(MOST_COLUMNS)]


@canonical.message
class Schema:
    """A whole table. `files` gives the table's file of each site, if every site has its own.

    `patient` and `site` name columns of the file; without `patient` one row is one patient. A series
    has a row for each patient and hour: `hour` names the column, `hours` says how many there are.
    `header` names the columns of a file whose first line does not; `ignore` those not to read.
    `delimiter`, `decimal`, `encoding` and `skip_lines` say how the file is written. `sites` gives other
    spellings of a site, `persons` who is one person; `leave_alone` are files beside the table.
    """

    title: ShortText
    kind: Literal["table", "series", "facts"]
    column: Annotated[tuple[Column, ...], canonical.at_most(MOST_COLUMNS)]
    patient_unit: ShortText = "patient (one row is one patient)"
    label: Label | None = None
    file: str = ""
    files: Annotated[dict[str, str], Field(max_length=MOST_FILES)] = field(default_factory=dict)
    delimiter: Delimiter = ","
    decimal: Decimal = "."
    encoding: Encoding = "utf-8"
    skip_lines: Annotated[int, Field(ge=0, le=MOST_SKIPPED)] = 0
    header: Names = ()
    ignore: Names = ()
    leave_alone: Names = ()
    patient: Source = ""
    persons: PersonRule = field(default_factory=PersonRule)
    site: Source = ""
    sites: Annotated[dict[str, str], Field(max_length=MOST_SITES)] = field(default_factory=dict)
    hour: Source = ""
    hours: int = 0

    def __post_init__(self) -> None:
        self._check_columns()
        self._check_persons()
        _require(
            (self.kind == "series") == bool(self.hour)
            and (1 <= self.hours <= 1024 or not self.hour),
            "a series, and nothing else, must name the column hour and have 1 to 1024 hours",
        )
        _require(bool(self.file) != bool(self.files), "there must be either file or files")
        _require(
            all(map(_is_file, (*filter(None, [self.file]), *self.files.values()))),
            "a file's name must be of at most 120 printable characters, without a path and no dot first",
        )
        _require(
            not (self.files and self.site) and all(map(is_name, self.files)),
            "files must have plain names of sites, and there must be no column site then",
        )
        _require(
            len(set(self.files.values())) == len(self.files),
            "each site must have a file of its own",
        )
        _require(self.decimal != self.delimiter, "delimiter and decimal must differ")

    def _check_columns(self) -> None:
        names = [*self.wanted(), *map(in_file, self.ignore)]
        _require(bool(self.column), "there must be at least one column")
        _require(
            all(map(in_file, (*self.keys(), *self.header))),
            "a column must have a name, not only space",
        )
        ours = [one.name for one in self.column] + ([self.label.column] if self.label else [])
        _require(
            len(set(names)) == len(names) and len(set(ours)) == len(ours),
            "no column may be named twice",
        )
        _require(
            (self.kind == "facts") == (self.label is None),
            "a table and a series must have a label, facts beside pictures must have none",
        )
        header = [in_file(one) for one in self.header]
        _require(
            not header or (set(names) <= set(header) and len(set(header)) == len(header)),
            "header must name every column once",
        )

    def _check_persons(self) -> None:
        _require(
            bool(self.patient) or self.kind == "table",
            "a series and facts must name the column patient",
        )
        _require(
            bool(self.patient) or self.persons == PersonRule(),
            "persons says who is one person among a column patient, and there is none",
        )
        _require(
            bool(self.site) or not self.sites,
            "sites spells words of a column site, and there is none",
        )
        _require(
            all(is_site(name) for name in self.sites.values()),
            f"a site's name must be 1 to {LONGEST_SITE} printable characters",
        )

    def keys(self) -> Iterator[str]:
        """The columns that are no facts: label, patient, site, hour."""
        label = self.label.column if self.label else ""
        yield from (in_file(name) for name in (label, self.patient, self.site, self.hour) if name)

    def wanted(self) -> tuple[str, ...]:
        """All columns that are read, by their names in the file."""
        return (*(one.column for one in self.column), *self.keys())

    @property
    def form(self) -> CsvFormat:
        """How the file is written."""
        return CsvFormat(
            delimiter=self.delimiter,
            decimal=self.decimal,
            encoding=self.encoding,
            skip_lines=self.skip_lines,
            header=self.header,
        )


def is_site(name: str) -> bool:
    """Whether a site may be called so."""
    return 0 < len(name) <= LONGEST_SITE and name.isprintable()


def _is_file(name: str) -> bool:
    return (
        0 < len(name) <= 120
        and name.isprintable()
        and name == name.strip()
        and not name.startswith(".")
        and not {"/", "\\"} & {*name}
    )


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
    return toml_files.parse(Schema, data, name=name)


def _require(holds: bool, sentence: str) -> None:
    require(holds, f"{sentence}.", error=InvalidData)
