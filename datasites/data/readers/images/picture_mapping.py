"""What a folder of pictures means, in one TOML file of the owner's, `images.toml`.

    title = "Chest X-rays"
    patient_unit = "patient (column patient_id)"
    table = "labels.csv"            # without it, folders are classes
    file = "image"                  # its column with the pictures' names
    person = "patient_id"           # its column with whose they are
    site = "hospital"               # optional
    colour = false

    [label]
    column = "finding"              # or columns = [...], one-hot, or folders = [...]
    classes = ["normal", "pneumonia"]
    positive = "pneumonia"

    [[column]]                      # facts, as in schema.toml
    name = "age"
    kind = "number"
    unit = "years"
    lowest = 0
    highest = 120

    [persons]                       # who is one person, where spellings leave it open
    same = ["case"]

Everything in it is public. docs/data.md explains each field.
"""

from dataclasses import field
from pathlib import Path
from typing import Literal

from datasites.data.folders import safe_files, toml_files
from datasites.data.folders.identifiers import PersonRule
from datasites.data.readers.csv_files.cell_numbers import plain
from datasites.data.readers.images.pictures import COLOURS, GREY
from datasites.data.readers.tabular import feature_coding
from datasites.data.readers.tabular.schema_columns import Column
from syft_code import canonical
from syft_code.errors import InvalidData, require
from syft_code.recipes.recipe import MOST_CLASSES, DataSpec

MAPPING_FILE = "images.toml"
MAX_MAPPING_BYTES = 2**20
LONGEST_CLASS = 64


@canonical.message
class PictureLabel:
    """Where the class of a picture stands.

    `column`: a word of this column. `values` are the words in the cells, one a class; none
    means the classes' own names. `columns`: one-hot, a 1 in one of these columns. `folders`: the
    name of a folder that the picture lies in. Without `classes` they are called as the values,
    the columns or the folders. `leave_out` are words of pictures that are not read (counted).

    A cell that names several findings ("Effusion|Edema") is read as one of them by choice:
    `separator` stands between them, and `present` names the one; the classes are then without
    it and with it. There is no task with several labels at once.

    All pictures of a person must have one class. Where they may differ, such as two eyes,
    `differing = "keep_last"` keeps those of the class that comes last in `classes`.
    """

    classes: tuple[str, ...] = ()
    column: str = ""
    values: tuple[str, ...] = ()
    separator: str = ""
    present: str = ""
    columns: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    differing: Literal["refuse", "keep_last"] = "refuse"
    positive: str = ""

    def __post_init__(self) -> None:
        _require(
            bool(self.column) + bool(self.columns) + bool(self.folders) == 1,
            "label: there must be one of column, columns and folders",
        )
        names = self.names
        _require(
            2 <= len(names) <= MOST_CLASSES and len(set(names)) == len(names),
            f"label: there must be 2 to {MOST_CLASSES} classes, each under a name of its own",
        )
        _require(
            all(0 < len(name) <= LONGEST_CLASS and name.isprintable() for name in names),
            f"label: a class must have a name of 1 to {LONGEST_CLASS} printable characters",
        )
        words = self.words
        _require(
            len(words) == len(names) and len(set(map(plain, words))) == len(words),
            "label: values, columns or folders must be one a class, each different",
        )
        _require(
            not {*map(plain, self.leave_out)} & {*map(plain, words)},
            "label: a word can't be both a class and left out",
        )
        _require(
            bool(self.separator) == bool(self.present)
            and (not self.present or (bool(self.column) and len(names) == 2 and not self.values)),
            "label: separator and present go together, with a column, two classes (without it and "
            "with it) and no values",
        )
        _require(
            not (self.leave_out and not self.column),
            "label: leave_out names words of a column",
        )
        _require(self.positive in ("", *names), "label: positive must be one of the classes")

    @property
    def names(self) -> tuple[str, ...]:
        """What the classes are called."""
        return self.classes or self.values or self.columns or self.folders

    @property
    def words(self) -> tuple[str, ...]:
        """What stands for each class in the cells, the header or the path."""
        return self.values or self.columns or self.folders or self.names


@canonical.message
class PictureMapping:
    """The whole of `images.toml`.

    `file`, `person` and `site` name columns of `table`; `person_in` says where a picture's
    identifier stands if no column has it: in its file's `name` or in the name of its `folder`; where
    nothing says it, each picture is one person, and no two may have one name.
    `site_folders` are folders that are sites. `ignore` are patterns of files not to read
    (`fnmatch`, of a name or, with "/", of a path), counted where they are pictures.
    """

    title: str
    label: PictureLabel
    patient_unit: str
    table: str = ""
    delimiter: Literal["", ",", ";", "\t", "|"] = ""
    file: str = ""
    person: str = ""
    person_in: Literal["", "name", "folder"] = ""
    site: str = ""
    site_folders: tuple[str, ...] = ()
    colour: bool = True
    column: tuple[Column, ...] = ()
    ignore: tuple[str, ...] = ()
    persons: PersonRule = field(default_factory=PersonRule)

    def __post_init__(self) -> None:
        _require(
            bool(self.table) == bool(self.file),
            "table and file go together: the table, and its column with the pictures' names",
        )
        _require(
            bool(self.table)
            or not (
                self.label.column or self.label.columns or self.person or self.site or self.column
            ),
            "without a table there are no columns: labels must be folders, and person_in says whose "
            "a picture is",
        )
        _require(
            "/" not in self.table and "\\" not in self.table,
            "table must be the name of a file beside images.toml",
        )
        _require(
            not (self.site and self.site_folders), "sites must be a column or folders, not both"
        )
        _require(
            len({one.name for one in self.column}) == len(self.column),
            "no column may be named twice",
        )
        _require(
            0 < len(self.patient_unit) <= 200 and self.patient_unit.isprintable(),
            "patient_unit must say in 1 to 200 printable characters what counts as one patient",
        )

    @property
    def channels(self) -> tuple[str, ...]:
        """Of a picture."""
        return COLOURS if self.colour else GREY

    def columns(self) -> tuple[str, ...]:
        """The columns that the table must have; facts come with `[[column]]`."""
        label = (self.label.column, *self.label.columns)
        return tuple(name for name in (self.file, self.person, self.site, *label) if name)

    def spec(self, *, size_px: int, stand_in: bool, facts: bool) -> DataSpec:
        """The public shape of an asset of such pictures.

        Raises:
            InvalidData: with `facts`, if no column is described.
        """
        require(
            not facts or bool(self.column),
            f"To read facts {MAPPING_FILE!r} must describe them as [[column]], and describes none.",
            error=InvalidData,
        )
        return DataSpec(
            kind="images",
            task="classification",
            channels=self.channels,
            height_px=size_px,
            width_px=size_px,
            classes=self.label.names,
            patient_unit=self.patient_unit,
            stand_in=stand_in,
            facts=feature_coding.names(self.column) if facts else (),
            positive=self.label.positive,
        )


def beside(root: Path) -> PictureMapping:
    """The mapping that lies in the owner's folder.

    Raises:
        InvalidData: if it does not, or with one sentence that names the field.
    """
    path = root / MAPPING_FILE
    require(
        path.is_symlink() or path.exists(),
        f"{MAPPING_FILE!r} must lie in the folder, and does not. Write one: see docs/data.md.",
        error=InvalidData,
    )
    return parse(safe_files.read_bytes(root, path, limit_bytes=MAX_MAPPING_BYTES))


def parse(data: bytes) -> PictureMapping:
    """Read the bytes of an `images.toml`.

    Raises:
        InvalidData: with one sentence that names the field.
    """
    return toml_files.parse(PictureMapping, data, name=MAPPING_FILE)


def _require(holds: bool, sentence: str) -> None:
    require(holds, f"{sentence}.", error=InvalidData)
