"""Pictures with a class each, read as the owner's `images.toml` says (`picture_mapping`).

    table or folders ─ entries ─▶ (picture, class, whose, where) ─ persons, one class each ─▶ a cohort

A row without its picture is counted; a picture without its row, or outside the folders of the
classes, is refused by name: a misspelt folder must not make half of a data set vanish.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from datasites.data.folders import identifiers, inventory, safe_files
from datasites.data.folders.reading import Reading, counted
from datasites.data.readers.csv_files.cell_numbers import plain
from datasites.data.readers.images import picture_files, pictures
from datasites.data.readers.images.picture_mapping import (
    MAPPING_FILE,
    PictureLabel,
    PictureMapping,
)
from datasites.data.readers.tabular import feature_coding, table_schema
from datasites.data.readers.tabular.csv_rows import Row
from syft_code.cohort import Cohort
from syft_code.errors import InvalidData, require

LEFT_OUT = -1
"""The class of a picture that the mapping leaves out."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _Entry:
    """One picture: its class by number, who it is of, and where the owner reads that."""

    path: Path
    label: int
    person: str
    site: str
    where: str
    row: Row | None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _Entries:
    read: list[_Entry]
    left_out: int
    copies: int
    no_picture: int
    ignored: int


def read(
    root: Path,
    mapping: PictureMapping,
    *,
    size_px: int,
    stand_in: bool = False,
    facts: bool = False,
) -> Reading:
    """Read every picture, squared, upright and resized to `size_px`.

    With `facts` each comes with the numbers that `[[column]]` describes.

    Raises:
        InvalidData: naming the first file or row that is not acceptable, and why.
    """
    require(8 <= size_px <= 512, f"size_px must be 8 to 512, got {size_px}.", error=InvalidData)
    spec = mapping.spec(size_px=size_px, stand_in=stand_in, facts=facts)
    there = _entries(root, mapping)
    named = _named(there.read, mapping)
    entries, differing = _one_class_each(named, mapping.label)
    entries = sorted(entries, key=lambda entry: (entry.person, str(entry.path)))
    found = pictures.decode_all(
        root, [entry.path for entry in entries], size_px=size_px, channels=spec.channels
    )
    persons = sorted({entry.person for entry in entries})
    number = {person: index for index, person in enumerate(persons)}
    rows = [entry.row for entry in entries if entry.row is not None]
    cohort = Cohort(
        images=found.pixels,
        labels=np.array([entry.label for entry in entries], dtype=np.uint8),
        patient=np.array([number[entry.person] for entry in entries], dtype=np.int32),
        facts=feature_coding.coded(rows, mapping.column)
        if facts
        else np.zeros((len(entries), 0), dtype=np.float32),
    )
    return Reading(
        cohort=cohort,
        patient_ids=tuple(persons),
        site=_one_site_each(entries),
        spec=spec,
        remarks=(
            *_remarks(there, mapping, differing=differing),
            *identifiers.remarks(
                [entry.person for entry in there.read],
                [entry.person for entry in named],
                mapping.persons,
            ),
            *pictures.remarks(found, size_px=size_px),
        ),
    )


def _entries(root: Path, mapping: PictureMapping) -> _Entries:
    """What is read; every file of the folder is known, or the folder is refused."""
    files = list(inventory.files(root))
    patterns = tuple(pattern.lower() for pattern in mapping.ignore)
    found = [path for path in files if pictures.is_picture(path)]
    ignored = {path for path in found if inventory.stands_by(root, path, patterns)}
    found = [path for path in found if path not in ignored]
    if mapping.table:
        entries, taken, without = _of_table(root, found, mapping)
    else:
        entries, taken, without = _of_folders(root, found, mapping)
    mine = {entry.path for entry in entries}
    inventory.require_all_known(
        root,
        {*taken, root / MAPPING_FILE, *([root / mapping.table] if mapping.table else [])},
        bystanders=patterns,
        reason=lambda path: _why_unread(path, mapping),
        way_out=f"Mend its name, name it under ignore in {MAPPING_FILE}, or move it out",
    )
    kept = [entry for entry in entries if entry.label != LEFT_OUT]
    require(
        bool(kept),
        f"The folder must hold pictures as {MAPPING_FILE!r} describes them, and holds none that are "
        "to be read. Check the names in it.",
        error=InvalidData,
    )
    return _Entries(
        read=kept,
        left_out=len(entries) - len(kept),
        copies=len(taken - mine),
        no_picture=without,
        ignored=len(ignored),
    )


def _why_unread(path: Path, mapping: PictureMapping) -> str | None:
    if not pictures.is_picture(path):
        return pictures.why_unread(path)
    if mapping.table:
        return f"has no row in {mapping.table!r}"
    return f"lies in no folder of a class ({', '.join(mapping.label.folders)})"


def _of_table(
    root: Path, files: Sequence[Path], mapping: PictureMapping
) -> tuple[list[_Entry], set[Path], int]:
    """An entry for each row with a picture; the files that are known; rows without a picture."""
    rows = picture_files.table_rows(root, root / mapping.table, delimiter=mapping.delimiter)
    for column in (*mapping.columns(), *(one.name for one in mapping.column)):
        require(
            column in rows[0].cells,
            f"{mapping.table!r} must have the column '{safe_files.printable(column)}' that "
            f"{MAPPING_FILE} names, and has not. Mend the mapping or the table.",
            error=InvalidData,
        )
    names = picture_files.Names(root, files)
    entries: list[_Entry] = []
    taken: dict[Path, str] = {}
    without = 0
    for row in rows:
        answering = names.of(row.cells[mapping.file], where=row.where)
        if not answering:
            without += 1
            continue
        for path in answering:
            require(
                path not in taken,
                f"{row.where}: {safe_files.shown(root, path)!r} must have one row, and has one at "
                f"{taken.get(path, '')} too. Remove one of them.",
                error=InvalidData,
            )
            taken[path] = row.where
        entries.append(_entry(root, answering[0], mapping, row))
    require(
        bool(entries),
        f"{mapping.table!r} names {len(rows):,} pictures and none of them is there. Check the column "
        f"'{safe_files.printable(mapping.file)}', or put the pictures into the folder.",
        error=InvalidData,
    )
    return entries, set(taken), without


def _of_folders(
    root: Path, files: Sequence[Path], mapping: PictureMapping
) -> tuple[list[_Entry], set[Path], int]:
    classes = set(mapping.label.folders)
    mine = [path for path in files if classes & set(path.relative_to(root).parts[:-1])]
    return [_entry(root, path, mapping, None) for path in mine], set(mine), 0


def _entry(root: Path, path: Path, mapping: PictureMapping, row: Row | None) -> _Entry:
    where = row.where if row else repr(safe_files.shown(root, path))
    site = row.cells[mapping.site] if row and mapping.site else ""
    if mapping.site_folders:
        site = _folder(root, path, mapping.site_folders, "a site")
    return _Entry(
        path=path,
        label=_label(root, path, mapping.label, row),
        person=row.cells[mapping.person]
        if row and mapping.person
        else _person(mapping, path, where),
        site=_site(site, where),
        where=where,
        row=row,
    )


def _person(mapping: PictureMapping, path: Path, where: str) -> str:
    if mapping.person_in != "folder":
        return path.stem
    folder = path.parent.name
    require(
        folder not in (*mapping.label.folders, *mapping.site_folders),
        f'{where}: with person_in = "folder" a picture must lie in a folder of its person, and '
        f"'{safe_files.printable(folder)}' names a class or a site. Give each person a folder, or take "
        'person_in = "name".',
        error=InvalidData,
    )
    return folder


def _site(text: str, where: str) -> str:
    site = identifiers.normal(text)
    require(
        not site or table_schema.is_site(site),
        f"{where}: a site must be named in at most {table_schema.LONGEST_SITE} printable characters, got "
        f"'{safe_files.printable(site)}' of {len(site):,}. Mend it.",
        error=InvalidData,
    )
    return site


def _label(root: Path, path: Path, label: PictureLabel, row: Row | None) -> int:
    if label.folders:
        return label.folders.index(_folder(root, path, label.folders, "a class"))
    if row is None:
        return LEFT_OUT
    if label.columns:
        return _one_hot(row, label.columns)
    cell = row.cells[label.column]
    if plain(cell) in map(plain, label.leave_out):
        return LEFT_OUT
    if not label.present:
        return _word(row, label)
    findings = [plain(one) for one in cell.split(label.separator) if one.strip()]
    require(
        bool(findings),
        f"{row.where}: {label.column} must name what is there, and is empty. Mend the row, or name "
        "the empty word under leave_out.",
        error=InvalidData,
    )
    present = plain(label.present)
    other = next(
        (one for one in findings if one != present and _folded(one) == _folded(present)), None
    )
    require(
        other is None,
        f"{row.where}: {label.column} must spell what is looked for as present does ('{safe_files.printable(present)}'), "
        f"and says '{safe_files.printable(other or '')}'. Mend the row: it would count as without it.",
        error=InvalidData,
    )
    return int(present in findings)


def _folded(word: str) -> str:
    return "".join(identifiers.normal(word).casefold().split())


def _word(row: Row, label: PictureLabel) -> int:
    text, known = plain(row.cells[label.column]), list(map(plain, label.words))
    require(
        text in known,
        f"{row.where}: {label.column} must be one of {', '.join(label.words)}, got "
        f"'{safe_files.printable(text)}'. Mend the row, or name the word in {MAPPING_FILE}: a class, or "
        "under leave_out.",
        error=InvalidData,
    )
    return known.index(text)


def _one_hot(row: Row, columns: Sequence[str]) -> int:
    cells = [plain(row.cells[column]) for column in columns]
    require(
        set(cells) <= {"0", "1"} and cells.count("1") == 1,
        f"{row.where}: one of {', '.join(columns)} must be 1 and the others 0, and "
        f"{cells.count('1')} are 1. Mend the row, or read one of them by choice: column = "
        f'"{columns[0]}" with values = ["0", "1"].',
        error=InvalidData,
    )
    return cells.index("1")


def _folder(root: Path, path: Path, folders: Sequence[str], what: str) -> str:
    mine = [part for part in path.relative_to(root).parts[:-1] if part in folders]
    require(
        len(mine) == 1,
        f"{safe_files.shown(root, path)!r} must lie in one folder that is {what} "
        f"({', '.join(folders)}), and lies in {len(mine)}. Move it, or mend {MAPPING_FILE}.",
        error=InvalidData,
    )
    return mine[0]


def _named(entries: list[_Entry], mapping: PictureMapping) -> list[_Entry]:
    """The entries with the person that each identifier names."""
    if _counts_alone(mapping):
        _require_names_apart(entries)
    persons = identifiers.persons(
        [entry.person for entry in entries],
        mapping.persons,
        where=lambda index: entries[index].where,
        mapping=MAPPING_FILE,
    )
    return [replace(entry, person=person) for entry, person in zip(entries, persons, strict=True)]


def _counts_alone(mapping: PictureMapping) -> bool:
    return not (mapping.person or mapping.person_in or mapping.persons.pattern)


def _require_names_apart(entries: Sequence[_Entry]) -> None:
    """Where the mapping names no persons, a name that several pictures have (`view1.png`) is nobody's."""
    first: dict[str, _Entry] = {}
    for entry in entries:
        other = first.setdefault(identifiers.normal(entry.person), entry)
        require(
            other is entry,
            f"{entry.where}: each picture counts as one patient by its file's name, and "
            f"'{safe_files.printable(entry.person)}' is the name of another, too ({other.where}). Say in {MAPPING_FILE} "
            'whose they are: person_in = "folder", person_in = "name" if the same name is the same person, or a '
            "pattern under [persons].",
            error=InvalidData,
        )


def _one_class_each(entries: list[_Entry], label: PictureLabel) -> tuple[list[_Entry], int]:
    """Entries of which a person has one class, and how many others were left out."""
    groups: dict[str, list[_Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.person].append(entry)
    kept: list[_Entry] = []
    for mine in groups.values():
        last = max(entry.label for entry in mine)
        other = next((entry for entry in mine if entry.label != last), None)
        require(
            other is None or label.differing == "keep_last",
            f"{other.where if other else ''}: all pictures of a person must have one class, and "
            f"{safe_files.printable(mine[0].person)!r} has {label.names[last]!r} too. Mend it, or say "
            f'in {MAPPING_FILE} differing = "keep_last": the pictures of the class that comes last '
            "are kept.",
            error=InvalidData,
        )
        kept += [entry for entry in mine if entry.label == last]
    return kept, len(entries) - len(kept)


def _one_site_each(entries: Sequence[_Entry]) -> tuple[str, ...]:
    """The site of each person, in the order of their names.

    Hospitals that each number their patients from 1 would otherwise make one person of two.
    """
    first: dict[str, _Entry] = {}
    for entry in entries:
        other = first.setdefault(entry.person, entry)
        require(
            other.site == entry.site,
            f"{entry.where}: a person must be of one site, and '{safe_files.printable(entry.person)}' is of "
            f"'{safe_files.printable(entry.site)}' here and '{safe_files.printable(other.site)}' before "
            f"({other.where}). Mend the site, or give each site's persons identifiers of their own.",
            error=InvalidData,
        )
    return tuple(first[person].site for person in sorted(first))


def _remarks(there: _Entries, mapping: PictureMapping, *, differing: int) -> tuple[str, ...]:
    alone = _counts_alone(mapping) and not mapping.persons.same
    first = ("Each picture counts as one patient: the mapping names no persons.",) if alone else ()
    counts = (
        (there.no_picture, "row has no picture and was", "rows have no picture and were"),
        (there.left_out, "picture has a label to leave out and was", "pictures have a label to leave out and were"),
        (there.copies, "file is the copy of another of its name and was", "files are copies of others of their name and were"),
        (there.ignored, "picture is under ignore and was", "pictures are under ignore and were"),
        (differing, "picture is not of its person's last class and was", "pictures are not of their person's last class and were"),
    )  # fmt: skip
    said = [
        counted(number, f"{{}} {one} left out.", f"{{}} {many} left out.")
        for number, one, many in counts
        if number
    ]
    return (*first, *said)
