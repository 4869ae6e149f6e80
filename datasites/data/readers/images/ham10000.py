"""HAM10000 (Tschandl et al. 2018, doi 10.7910/DVN/DBW86T), in the layouts it is published in.

    HAM10000_metadata.csv               lesion_id, image_id, dx, and perhaps dataset
    HAM10000_metadata.tab               the same from Dataverse, with tabs
    ISIC_*.jpg                          in any folder: HAM10000_images_part_1, ham10000_images_part_1,
                                        HAM10000_images_combined_600x450, ...; PNG, too

or, of the ISIC 2018 challenge, `ISIC2018_Task3_Training_GroundTruth.csv` with
`ISIC2018_Task3_Training_LesionGroupings.csv` (`isic2018`).

The patient unit is the lesion (`lesion_id`): the data set does not tell which lesions
belong to one person, so two lesions of one person count as two patients here. A lesion with
images from two sites goes to the site with more of them. Beside a picture the table knows age,
sex and place on the body: with `facts` they are read too.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasites.data.folders import identifiers, inventory, safe_files
from datasites.data.folders.identifiers import PersonRule
from datasites.data.folders.reading import Reading, counted
from datasites.data.readers.images import isic2018, picture_files, pictures
from datasites.data.readers.images.pictures import COLOURS as CHANNELS
from datasites.data.readers.tabular import feature_coding, table_schema
from datasites.data.readers.tabular.csv_rows import Row
from syft_code.cohort import Cohort
from syft_code.errors import InvalidData, require
from syft_code.recipes.recipe import DataSpec

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
TABLES = (
    "HAM10000_metadata_with_source.csv",
    "HAM10000_metadata.csv",
    "HAM10000_metadata.tab",
    "HAM10000_metadata",
)
"""In any capitals; the first of them that is there is read."""
FACTS = "ham10000_facts"
IMAGE_FOLDERS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
BYSTANDERS = (
    *(name.lower() for name in TABLES),
    *isic2018.BYSTANDERS,
    "hmnist_*.csv",
    "*_segmentation.png",
)
"""What is published beside: the pictures again as tables of pixels, outlines of the lesions."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _Row:
    lesion_id: str
    image_id: str
    dx: str
    site: str
    source: Row


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _Folder:
    """The table, its rows, and the pictures by the name that rows call them."""

    table: str
    rows: list[_Row]
    pictures: dict[str, Path]
    copies: int


def spec(*, size_px: int, stand_in: bool, facts: bool = False) -> DataSpec:
    """The public shape of a HAM10000 asset."""
    return DataSpec(
        kind="ham10000",
        task="classification",
        channels=CHANNELS,
        height_px=size_px,
        width_px=size_px,
        classes=CLASSES,
        patient_unit="lesion (lesion_id)",
        stand_in=stand_in,
        facts=feature_coding.names(table_schema.packaged(FACTS).column) if facts else (),
        positive="mel",
    )


def read(
    folder: Path, *, size_px: int = 32, stand_in: bool = False, facts: bool = False
) -> Reading:
    """Read the table and every image it names, squared, upright and resized to `size_px`.

    With `facts` each image comes with age, sex and localization (schemas/ham10000_facts.toml).

    Raises:
        InvalidData: naming the first file that is not acceptable, and why.
    """
    require(8 <= size_px <= 512, f"size_px must be 8 to 512, got {size_px}.", error=InvalidData)
    root = safe_files.open_folder(folder)
    there = _search(root)
    kept = sorted((row for row in there.rows if row.image_id in there.pictures), key=_order)
    found = pictures.decode_all(
        root, [there.pictures[row.image_id] for row in kept], size_px=size_px, channels=CHANNELS
    )
    lesions = sorted({row.lesion_id for row in kept})
    number = {lesion: index for index, lesion in enumerate(lesions)}
    cohort = Cohort(
        images=found.pixels,
        labels=np.array([CLASSES.index(row.dx) for row in kept], dtype=np.uint8),
        patient=np.array([number[row.lesion_id] for row in kept], dtype=np.int32),
        facts=_facts(kept, there.table) if facts else np.zeros((len(kept), 0), dtype=np.float32),
    )
    sites, at_two_sites = picture_files.majority_sites((row.lesion_id, row.site) for row in kept)
    return Reading(
        cohort=cohort,
        patient_ids=tuple(lesions),
        site=sites,
        spec=spec(size_px=size_px, stand_in=stand_in, facts=facts),
        remarks=(
            *_remarks(there, kept=len(kept)),
            *picture_files.site_remarks(at_two_sites, "lesion", "lesions"),
            *pictures.remarks(found, size_px=size_px),
        ),
    )


def _order(row: _Row) -> tuple[str, str]:
    return row.lesion_id, row.image_id


def _search(root: Path) -> _Folder:
    """The table and the pictures; every file of the folder is known, or the folder is refused."""
    files = list(inventory.files(root))
    name, table = _table(root, files)
    rows = _parse(table, name)
    there = picture_files.by_stem(
        root,
        (
            path
            for path in files
            if pictures.is_picture(path) and not path.stem.lower().endswith("_segmentation")
        ),
    )
    named = {row.image_id for row in rows}
    none = (
        f"{name!r} names {len(rows):,} images and none of them is there. Put ISIC_*.jpg into "
        f"{IMAGE_FOLDERS[0]!r}."
    )
    known = {key: path for key, path in there.by_name.items() if key in named}
    copies = [path for path in there.copies if path.stem in named]
    require(
        bool(known) or not there.by_name,
        none,
        error=InvalidData,
    )
    inventory.require_all_known(
        root,
        (*known.values(), *copies),
        bystanders=BYSTANDERS,
        reason=lambda path: pictures.why_unread(path) or f"has no row in {name!r}",
        way_out="Export it, unpack it, add its row, or move it out of the folder",
    )
    require(
        bool(known),
        none,
        error=InvalidData,
    )
    return _Folder(table=name, rows=rows, pictures=known, copies=len(copies))


def _table(root: Path, files: Sequence[Path]) -> tuple[str, list[Row]]:
    """The table's name, and its rows with the columns lesion_id, image_id and dx."""
    for name in TABLES:
        paths = [path for path in files if path.name.lower() == name.lower()]
        require(
            len(paths) <= 1,
            f"There must be one {name!r} in the folder, there are {len(paths)}. Move one of them out.",
            error=InvalidData,
        )
        if paths:
            return safe_files.shown(root, paths[0]), picture_files.table_rows(root, paths[0])
    challenge = isic2018.rows(root, files)
    if challenge is not None:
        return challenge
    raise InvalidData(
        f"{TABLES[1]!r} (or .tab) must lie in the folder, and does not. Put the published table there."
    )


def _parse(table: Sequence[Row], name: str) -> list[_Row]:
    """The rows of the table, each checked alone and against the others."""
    _require_columns(table[0], ("lesion_id", "image_id", "dx"), name)
    rows = [_row(row) for row in table]
    _check_together(rows, name)
    return rows


def _require_columns(row: Row, columns: Sequence[str], name: str) -> None:
    for column in columns:
        require(
            column in row.cells,
            f"{name!r} must have one column {column!r}, it has 0. Put the published table there.",
            error=InvalidData,
        )


def _row(row: Row) -> _Row:
    fields = row.cells
    for column in ("lesion_id", "image_id", "dataset"):
        value = fields.get(column, "")
        require(
            _IDENTIFIER.fullmatch(value) is not None or (column == "dataset" and value == ""),
            f"{row.where}: {column} must be letters, digits, '-' and '_' without a path, got "
            f"'{safe_files.printable(value)}'. Mend the row.",
            error=InvalidData,
        )
    require(
        fields["dx"] in CLASSES,
        f"{row.where}: dx must be one of {', '.join(CLASSES)}, got "
        f"'{safe_files.printable(fields['dx'])}'. Mend the row.",
        error=InvalidData,
    )
    return _Row(
        lesion_id=fields["lesion_id"],
        image_id=fields["image_id"],
        dx=fields["dx"],
        site=fields.get("dataset", ""),
        source=row,
    )


def _facts(rows: Sequence[_Row], name: str) -> NDArray[np.float32]:
    """What the table says beside each image, `[images, facts]`."""
    columns = table_schema.packaged(FACTS).column
    _require_columns(rows[0].source, [column.name for column in columns], name)
    return feature_coding.coded([row.source for row in rows], columns)


def _check_together(rows: Sequence[_Row], name: str) -> None:
    """No image twice, one diagnosis for each lesion, and no lesion under two spellings."""
    seen: set[str] = set()
    dx_of: dict[str, str] = {}
    for row in rows:
        require(
            row.image_id not in seen,
            f"{name!r} must name each image once, and names {row.image_id!r} twice. "
            "Remove one of the rows.",
            error=InvalidData,
        )
        seen.add(row.image_id)
        dx = dx_of.setdefault(row.lesion_id, row.dx)
        require(
            dx == row.dx,
            f"{name!r} must give each lesion one dx, and gives {row.lesion_id!r} both {dx!r} and "
            f"{row.dx!r}. Mend the rows.",
            error=InvalidData,
        )
    identifiers.persons(
        [row.lesion_id for row in rows],
        PersonRule(),
        where=lambda index: rows[index].source.where,
        mapping="an images.toml, and read the folder as kind 'images'",
    )


def _remarks(there: _Folder, *, kept: int) -> tuple[str, ...]:
    counts = (
        (
            len(there.rows) - kept,
            "{} row has no image and was left out.",
            "{} rows have no image and were left out.",
        ),
        (
            there.copies,
            "{} file is the copy of another of its name and was left out.",
            "{} files are copies of others of their name and were left out.",
        ),
    )
    return (
        "Each lesion counts as one patient: the data set groups images no further.",
        *(counted(number, one, many) for number, one, many in counts if number),
    )
