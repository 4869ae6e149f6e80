"""HAM10000 (Tschandl et al. 2018, doi 10.7910/DVN/DBW86T), in the layout it is published in.

    HAM10000_metadata.csv               lesion_id, image_id, dx, and perhaps dataset
    HAM10000_images_part_1/ISIC_*.jpg   also _part_2, or all in HAM10000_images

The patient unit is the lesion (`lesion_id`): the data set does not tell which lesions
belong to one person, so two lesions of one person count as two patients here. A lesion with
images from two sites goes to the site with more of them. Beside a picture the table knows age,
sex and place on the body: with `facts` they are read too.
"""

import io
import re
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from datasites.data.folders import safe_files
from datasites.data.folders.reading import Reading, counted
from datasites.data.folders.threads import in_threads
from datasites.data.readers.tabular import csv_rows, feature_coding, table_schema
from datasites.data.readers.tabular.csv_rows import Row
from syft_code.cohort import Cohort
from syft_code.errors import InvalidData, require
from syft_code.recipes.recipe import DataSpec

CHANNELS = ("red", "green", "blue")
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
TABLES = ("HAM10000_metadata_with_source.csv", "HAM10000_metadata.csv", "HAM10000_metadata")
FACTS = "ham10000_facts"
IMAGE_FOLDERS = ("HAM10000_images_part_1", "HAM10000_images_part_2", "HAM10000_images")

MAX_IMAGE_BYTES = 32 * 2**20
MAX_IMAGE_PIXELS = 40_000_000

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}")
_UNREADABLE = (SyntaxError, OSError, ValueError, IndexError, KeyError, TypeError, struct.error)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _Row:
    lesion_id: str
    image_id: str
    dx: str
    site: str
    source: Row


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
    """Read the table and every image it names, squared and resized to `size_px`.

    With `facts` each image comes with age, sex and localization (schemas/ham10000_facts.toml).

    Raises:
        InvalidData: naming the first file that is not acceptable, and why.
    """
    require(8 <= size_px <= 512, f"size_px must be 8 to 512, got {size_px}.", error=InvalidData)
    root = safe_files.open_folder(folder)
    table = _find_table(root)
    rows = _parse(csv_rows.read(root, table), table.name)
    found = _find_images(root)
    kept = sorted((row for row in rows if row.image_id in found), key=_order)
    require(
        bool(kept),
        f"{table.name!r} names {len(rows):,} images and none of them is there. "
        f"Put ISIC_*.jpg into {IMAGE_FOLDERS[0]!r}.",
        error=InvalidData,
    )
    images = _decode_all(root, [found[row.image_id] for row in kept], size_px=size_px)
    lesions = sorted({row.lesion_id for row in kept})
    number = {lesion: index for index, lesion in enumerate(lesions)}
    cohort = Cohort(
        images=images,
        labels=np.array([CLASSES.index(row.dx) for row in kept], dtype=np.uint8),
        patient=np.array([number[row.lesion_id] for row in kept], dtype=np.int32),
        facts=_facts(kept, table.name) if facts else np.zeros((len(kept), 0), dtype=np.float32),
    )
    sites, at_two_sites = _sites(kept, lesions)
    return Reading(
        cohort=cohort,
        patient_ids=tuple(lesions),
        site=sites,
        spec=spec(size_px=size_px, stand_in=stand_in, facts=facts),
        remarks=_remarks(
            rows_left=len(rows) - len(kept),
            images_left=len(found.keys() - {row.image_id for row in rows}),
            at_two_sites=at_two_sites,
        ),
    )


def _order(row: _Row) -> tuple[str, str]:
    return row.lesion_id, row.image_id


def _find_table(root: Path) -> Path:
    for name in TABLES:
        path = root / name
        if path.is_symlink() or path.exists():
            return path
    raise InvalidData(
        f"{TABLES[1]!r} must lie in the folder, and does not. Put the published table there."
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
    """No image twice, and one diagnosis for each lesion."""
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


def _find_images(root: Path) -> dict[str, Path]:
    """Every JPEG of the published image folders, by its name without the ending."""
    found: dict[str, Path] = {}
    for folder in (root / name for name in IMAGE_FOLDERS):
        if not (folder.is_symlink() or folder.exists()):
            continue
        for path in safe_files.entries(root, folder):
            if path.suffix.lower() not in (".jpg", ".jpeg"):
                continue
            require(
                path.stem not in found,
                f"{safe_files.shown(root, path)!r} must be the only file of its name, and there is "
                "another. Remove one of them.",
                error=InvalidData,
            )
            found[path.stem] = path
    return found


def _decode_all(root: Path, paths: Sequence[Path], *, size_px: int) -> NDArray[np.uint8]:
    """Images [slices, channel, height, width]; Pillow frees the interpreter as it decodes."""
    images = np.empty((len(paths), len(CHANNELS), size_px, size_px), dtype=np.uint8)

    def decode(index: int) -> None:
        data = safe_files.read_bytes(root, paths[index], limit_bytes=MAX_IMAGE_BYTES)
        square = _decode(data, name=safe_files.shown(root, paths[index]), size_px=size_px)
        images[index] = square.transpose(2, 0, 1)

    in_threads(decode, range(len(paths)))
    return images


def _decode(data: bytes, *, name: str, size_px: int) -> NDArray[np.uint8]:
    """One JPEG, its middle square resized: [height, width, channel].

    `JpegImageFile` reads the header alone, so a bomb is refused before it is decoded.
    """
    try:
        with JpegImageFile(io.BytesIO(data)) as picture:
            width, height = picture.size
            require(
                0 < width * height <= MAX_IMAGE_PIXELS,
                f"{name!r} must have 1 to {MAX_IMAGE_PIXELS:,} pixels, it declares "
                f"{width:,} x {height:,}. Remove it or replace it by the published image.",
                error=InvalidData,
            )
            picture.draft("RGB", (size_px, size_px))
            side = min(picture.size)
            left, top = (picture.width - side) / 2, (picture.height - side) / 2
            square = picture.convert("RGB").resize(
                (size_px, size_px),
                Image.Resampling.BILINEAR,
                box=(left, top, left + side, top + side),
            )
            return np.asarray(square, dtype=np.uint8)
    except _UNREADABLE:
        raise InvalidData(
            f"{name!r} must be a whole JPEG image, and can't be decoded. "
            "Remove it or replace it by the published image."
        ) from None


def _sites(rows: Sequence[_Row], lesions: Sequence[str]) -> tuple[tuple[str, ...], int]:
    """Each lesion's site, and how many lesions have images from more than one."""
    votes: dict[str, Counter[str]] = {lesion: Counter() for lesion in lesions}
    for row in rows:
        votes[row.lesion_id][row.site] += 1
    sites = tuple(max(sorted(votes[lesion]), key=votes[lesion].__getitem__) for lesion in lesions)
    return sites, sum(len(vote) > 1 for vote in votes.values())


def _remarks(*, rows_left: int, images_left: int, at_two_sites: int) -> tuple[str, ...]:
    remarks = ["Each lesion counts as one patient: the data set groups images no further."]
    if rows_left:
        remarks.append(
            counted(
                rows_left,
                "{} row has no image and was left out.",
                "{} rows have no image and were left out.",
            )
        )
    if images_left:
        remarks.append(
            counted(
                images_left,
                "{} image has no row and was left out.",
                "{} images have no row and were left out.",
            )
        )
    if at_two_sites:
        remarks.append(
            counted(
                at_two_sites,
                "{} lesion has images from two sites and was given to the site with more of them.",
                "{} lesions have images from two sites and were given to the site with more of "
                "them.",
            )
        )
    return tuple(remarks)
