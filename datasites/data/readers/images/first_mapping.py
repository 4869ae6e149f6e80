"""A first `images.toml` for a folder of pictures, for its owner to check and to mend.

What is guessed from names and words is marked so. What would become public, the classes, is written
as comments alone: a first mapping can't be read before its owner has edited it. A word is a class
only if enough persons have it (without persons, pictures).
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasites.data.folders import inventory, safe_files
from datasites.data.folders.identifiers import normal
from datasites.data.folders.reading import counted
from datasites.data.readers.csv_files.cell_numbers import plain
from datasites.data.readers.images import lgg_cases, picture_files, pictures
from datasites.data.readers.images.picture_mapping import MAPPING_FILE
from datasites.data.readers.tabular.csv_rows import Row
from datasites.data.readers.tabular.first_mapping import LEAST_PERSONS
from syft_code.errors import InvalidData

PREVIEW_PX = 128
MOST_CLASSES = 40
_TABLES = (".csv", ".tab", ".tsv")
_OUTLINES = ("_mask", "_segmentation")
_SPLITS = frozenset(
    {"train", "training", "val", "valid", "validation", "test", "testing", "images"}
)
_CHECK = "# CHECK, and take out the # before the line"
_LABELS = ("label", "class", "diagnosis", "dx", "finding", "grade", "level", "target", "disease")
_PERSONS = ("patient", "person", "subject", "lesion", "case")
_SITES = ("hospital", "site", "centre", "center", "institution", "dataset", "attribution")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _Table:
    """A table beside the pictures, and its column with their names."""

    name: str
    rows: list[Row]
    file: str
    person: str = ""

    def cells(self, column: str) -> list[str]:
        return [row.cells[column] for row in self.rows]

    def common(self, column: str) -> tuple[list[str], int]:
        """The words of a column that enough persons have, and how many others there are."""
        persons = map(normal, self.cells(self.person)) if self.person else range(len(self.rows))
        pairs = set(zip(map(plain, self.cells(column)), persons, strict=True))
        counts = Counter(word for word, _ in pairs)
        common = sorted(word for word, count in counts.items() if count >= LEAST_PERSONS and word)
        return common, len(counts.keys() - {"", *common})


def first_mapping(root: Path) -> str:
    """A first `images.toml` of what lies in the folder, with comments that say what was guessed.

    Raises:
        InvalidData: if there is no picture, or a table can't be read.
    """
    root = safe_files.open_folder(root)
    files = list(inventory.files(root))
    found = _pictures(files)
    table = _table(root, files, found)
    head = [
        f"# A first {MAPPING_FILE}: check every line. It is public; docs/data.md explains the fields.",
        'title = "Pictures"',
    ]
    head += _ignored(root, files, table)
    if table is None:
        return "\n".join([*head, *_of_folders(root, found), ""])
    return "\n".join([*head, *_of_table(table)])


def describe(root: Path) -> tuple[str, ...]:
    """What lies in the folder, in sentences for its owner.

    Raises:
        InvalidData: if a folder or a table can't be read.
    """
    root = safe_files.open_folder(root)
    files = list(inventory.files(root))
    found = [path for path in files if pictures.is_picture(path)]
    endings = Counter(path.suffix.lower() for path in found)
    folders = Counter(safe_files.shown(root, path.parent) for path in found)
    said = (
        ["No picture (JPEG or PNG)."]
        if not found
        else [
            counted(len(found), "{} picture", "{} pictures")
            + f" ({', '.join(f'{count:,} {ending}' for ending, count in endings.most_common())}) "
            + counted(len(folders), "in {} folder.", "in {} folders.")
        ]
    )
    said += [f"{name!r}: {count:,}." for name, count in folders.most_common(10)]
    for path in (one for one in files if one.suffix.lower() in _TABLES):
        rows = picture_files.table_rows(root, path)
        names = ", ".join(map(safe_files.printable, rows[0].cells))
        said.append(f"{safe_files.shown(root, path)!r}: {len(rows):,} rows of {names}.")
    others = [path for path in files if path not in {*found} and path.suffix.lower() not in _TABLES]
    reasons = Counter(reason for path in others if (reason := pictures.why_unread(path)))
    said += [f"{count:,} other files: each {reason}." for reason, count in reasons.most_common(5)]
    return tuple(said)


def preview(root: Path, most: int) -> list[NDArray[np.uint8]]:
    """Some of the folder's pictures, evenly over their names: `[height, width, 3]`, for the owner's eyes.

    A slice of a glioma counts as one. What can't be decoded is passed over: `read` names it.
    """
    root = safe_files.open_folder(root)
    files = list(inventory.files(root))
    found = [path for path in files if pictures.is_picture(path)]
    if not found:
        found = [
            path
            for path in files
            if path.suffix.lower() == ".tif" and not path.stem.endswith("_mask")
        ]
    count = min(most, len(found))
    shown = (found[int((place + 0.5) * len(found) / count)] for place in range(count))
    return [picture for path in shown if (picture := _shown(root, path)) is not None]


def _shown(root: Path, path: Path) -> NDArray[np.uint8] | None:
    name = safe_files.shown(root, path)
    try:
        data = safe_files.read_bytes(root, path, limit_bytes=pictures.MAX_IMAGE_BYTES)
        if path.suffix.lower() == ".tif":
            return lgg_cases.decode(data, name=name, what="slice")
        return pictures.decode(data, name=name, size_px=PREVIEW_PX)[0]
    except InvalidData:
        return None


def _pictures(files: Sequence[Path]) -> list[Path]:
    found = [path for path in files if pictures.is_picture(path)]
    if not found:
        raise InvalidData(
            "The folder must hold pictures (JPEG or PNG), and holds none. Name the folder that does."
        )
    return found


def _ignored(root: Path, files: Sequence[Path], table: _Table | None) -> list[str]:
    """Outlines, and tables that are not read, as patterns."""
    stems = [path.stem.lower() for path in files if pictures.is_picture(path)]
    patterns = [f"*{end}.*" for end in _OUTLINES if any(stem.endswith(end) for stem in stems)]
    read = root / table.name if table else None
    patterns += sorted(
        {path.name for path in files if path.suffix.lower() in _TABLES and path != read}
    )
    return [f"ignore = {_toml(patterns)}  # guessed: neither pictures nor their table"] * bool(
        patterns
    )


def _table(root: Path, files: Sequence[Path], found: Sequence[Path]) -> _Table | None:
    """The table and the column that name most of the pictures."""
    names = {name.casefold() for path in found for name in (path.name, path.stem)}
    best: tuple[tuple[int, int], _Table] | None = None
    for path in (one for one in files if one.suffix.lower() in _TABLES and one.parent == root):
        rows = picture_files.table_rows(root, path)
        for column in rows[0].cells:
            cells = (row.cells[column].replace("\\", "/").rpartition("/")[2] for row in rows)
            hits = sum(cell.casefold() in names for cell in cells)
            rank = hits, len(rows[0].cells)
            if hits and (best is None or rank > best[0]):
                best = rank, _Table(name=path.name, rows=rows, file=column)
    return best[1] if best else None


def _of_table(table: _Table) -> list[str]:
    columns = [name for name in table.rows[0].cells if name != table.file]
    person = _called(columns, _PERSONS)
    site = _called([name for name in columns if name != person], _SITES)
    left = [name for name in columns if name not in (person, site)]
    table = replace(table, person=person)
    lines = [
        f"table = {_toml(table.name)}",
        f"file = {_toml(table.file)}  # the column that names the pictures",
    ]
    if person:
        lines += [
            f"person = {_toml(person)}  # guessed: the column that says whose a picture is",
            f"patient_unit = {_toml(f'patient (column {person})')}",
        ]
    else:
        lines += [
            '# person = "..."  # no column seems to name persons: each picture would count as one',
            'patient_unit = "picture"',
        ]
    if site:
        lines.append(f"site = {_toml(site)}  # guessed: the hospital, for splits by true site")
    lines += ["", "[label]", *_label(table, left)]
    if left:
        names = ", ".join(map(safe_files.printable, left[:20]))
        lines += ["", f"# Read only if the mapping names them: {names}.", *_FACT, *_PERSON_RULE]
    return [*lines, ""]


_FACT = (
    "# [[column]]           # a fact beside the picture, with public limits",
    '# name = "age"',
    '# kind = "number"',
    '# unit = "years"',
    "# lowest = 0",
    "# highest = 120",
    '# missing = [""]',
)
_PERSON_RULE = (
    "# [persons]            # if spellings leave it open who is one person",
    '# same = ["case"]      # or "leading_zeros", "scan_number"; different = [...] for the opposite',
)


def _label(table: _Table, columns: Sequence[str]) -> list[str]:
    hot = _one_hot(table, columns)
    if hot:
        return [f"# columns = {_toml(hot)}  {_CHECK}: one of them is 1 in each row", f"# positive = {_toml(hot[0])}"]  # fmt: skip
    column = _called(columns, _LABELS) or _few_words(table, columns)
    if not column:
        return [f'# column = "..."  {_CHECK}: no column seems to hold classes', '# classes = ["...", "..."]']  # fmt: skip
    common, others = table.common(column)
    known = common[:MOST_CLASSES]
    lines = [
        f"# column = {_toml(column)}  {_CHECK}: guessed",
        f"# classes = {_toml(known)}  {_CHECK}: these words become public",
        f"# positive = {_toml(known[0] if known else '')}  # whose area under the curve is reported",
    ]
    if others or len(common) > MOST_CLASSES:
        lines.append(
            f"# {others + len(common) - len(known):,} more words of the column, each of fewer than {LEAST_PERSONS} "
            f"{'persons' if table.person else 'pictures'} or past the first {MOST_CLASSES}, are not written here."
        )
    empty = "" in map(plain, table.cells(column))
    return lines + (['# leave_out = [""]  # rows without a label'] if empty else [])


def _one_hot(table: _Table, columns: Sequence[str]) -> list[str]:
    """The columns of 0 and 1 of which each row has one 1."""
    cells = {name: list(map(plain, table.cells(name))) for name in columns}
    binary = [name for name in columns if set(cells[name]) <= {"0", "1"}]
    ones = [sum(cells[name][row] == "1" for name in binary) for row in range(len(table.rows))]
    return binary if len(binary) >= 2 and set(ones) == {1} else []


def _few_words(table: _Table, columns: Sequence[str]) -> str:
    for name in columns:
        common, others = table.common(name)
        if len(common) >= 2 and len(common) + others <= min(MOST_CLASSES, len(table.rows) // 2):
            return name
    return ""


def _called(columns: Sequence[str], words: Sequence[str]) -> str:
    for word in words:
        for name in columns:
            if word in name.lower():
                return name
    return ""


def _of_folders(root: Path, found: Sequence[Path]) -> list[str]:
    """Folders as classes: the innermost that are not parts of a split such as `train`."""
    names: Counter[str] = Counter()
    for path in found:
        parts = path.relative_to(root).parts[:-1]
        inner = [part for part in parts if part.lower() not in _SPLITS]
        names[inner[-1] if inner else ""] += 1
    classes = sorted(name for name, count in names.items() if name and count >= LEAST_PERSONS)
    others = len(names.keys() - {"", *classes})
    lines = [
        'patient_unit = "picture"  # say what counts as one patient',
        '# person_in = "folder"  # if the folder is named by the person; else the file\'s name counts',
        "",
        "[label]",
    ]
    if not 2 <= len(classes) <= MOST_CLASSES:
        return [*lines, f'# folders = ["...", "..."]  {_CHECK}: no folders seem to be classes', *_PATTERN]  # fmt: skip
    more = f"# {others:,} more folders, each of fewer than {LEAST_PERSONS} pictures, are not written here."
    return [
        *lines,
        f"# folders = {_toml(classes)}  {_CHECK}: guessed; these words become public, so none may name a person",
        *[more] * bool(others),
        f"# positive = {_toml(classes[0])}  # whose area under the curve is reported",
        *_PATTERN,
    ]


_PATTERN = (
    "",
    "# [persons]            # which part of a file's name is the person",
    "# pattern = '(?P<person>[^_]+)_.*'",
)


def _toml(value: str | Sequence[str]) -> str:
    """A string or a list of strings: JSON's are TOML's."""
    return json.dumps(value, ensure_ascii=False)
