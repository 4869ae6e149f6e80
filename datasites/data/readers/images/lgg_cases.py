"""The files of the lower-grade gliomas (Buda et al. 2019), as published on Kaggle, case by case.

    TCGA_<institution>_<patient>_<date>/TCGA_<institution>_<patient>_<date>_<n>.tif        a slice
    TCGA_<institution>_<patient>_<date>/TCGA_<institution>_<patient>_<date>_<n>_mask.tif   its mask
    data.csv                                                                       a row a patient

The case folders may lie in a folder below (`kaggle_3m`). Slices are numbered from 1 without a gap.
"""

import io
import re
import struct
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL.TiffImagePlugin import TiffImageFile

from datasites.data.folders import inventory, safe_files
from datasites.data.readers.images import pictures
from syft_code.errors import InvalidData, require

TABLE = "data.csv"
MAX_SLICE_BYTES = 8 * 2**20
MAX_SIDE_PX = 1024
MAX_SLICES = 512
MODES = {"slice": "RGB", "mask": "L"}
"""Pillow's names of three channels of 8 bits, and of one."""

_CASE = re.compile(r"(?P<person>TCGA_(?P<site>[A-Z0-9]{2})_[A-Z0-9]{4})_\d{8}")
_UNREADABLE = (*pictures.UNREADABLE, struct.error, MemoryError)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LggCase:
    """A scan of one person: `slices` and `masks` from the lowest number on."""

    name: str
    person: str
    site: str
    slices: tuple[Path, ...]
    masks: tuple[Path, ...]


def find(root: Path) -> tuple[list[LggCase], Path | None]:
    """Every case, by name, and the table if it is there; every file of the folder is known.

    Raises:
        InvalidData: naming the first case that is not whole, or a file that nobody reads.
    """
    files = list(inventory.files(root))
    groups: dict[Path, list[Path]] = defaultdict(list)
    for path in files:
        if _CASE.fullmatch(path.parent.name):
            groups[path.parent].append(path)
    _require_once(root, list(groups))
    cases = [case for folder in groups if (case := _case(root, folder, groups[folder]))]
    tables = [path for path in files if path.name == TABLE]
    require(
        len(tables) <= 1,
        f"There must be one {TABLE!r} in the folder, there are {len(tables)}. Move the others out.",
        error=InvalidData,
    )
    inventory.require_all_known(
        root,
        (path for case in cases for path in (*case.slices, *case.masks)),
        bystanders=(TABLE,),
        reason=_why_unread,
        way_out="Mend its name, or move it out of the folder",
    )
    require(
        bool(cases),
        "There must be case folders such as 'TCGA_CS_4941_19960909', and there are none. Name the "
        "folder that holds them.",
        error=InvalidData,
    )
    return sorted(cases, key=lambda case: case.name), tables[0] if tables else None


def read_slices(root: Path, case: LggCase) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The slices and masks of a case: `[slices, height, width, channels]`, `[slices, height, width]`.

    Raises:
        InvalidData: naming the first file that is no such picture.
    """
    images = [_decode(root, path, "slice") for path in case.slices]
    masks = [_decode(root, path, "mask") for path in case.masks]
    for path, image in zip((*case.slices, *case.masks), (*images, *masks), strict=True):
        require(
            image.shape[:2] == images[0].shape[:2],
            f"{safe_files.shown(root, path)!r} must be as large as the other slices and masks of its "
            "case, and is not. Replace it by the published file.",
            error=InvalidData,
        )
    return np.stack(images), np.stack(masks) > 0


def decode(data: bytes, *, name: str, what: str) -> NDArray[np.uint8]:
    """A TIFF of one frame: `[height, width, 3]` of a "slice", `[height, width]` of 0 and more of a "mask".

    The size is checked in the header, before anything is decoded.

    Raises:
        InvalidData: naming the file, and why it is none.
    """
    try:
        with TiffImageFile(io.BytesIO(data)) as picture:
            require(
                min(picture.size) >= 8 and max(picture.size) <= MAX_SIDE_PX,
                f"{name!r} must be 8 to {MAX_SIDE_PX:,} pixels wide and high, it declares "
                f"{picture.width:,} x {picture.height:,}. Replace it by the published file.",
                error=InvalidData,
            )
            require(
                picture.mode == MODES[what] and picture.n_frames == 1,
                f"{name!r} must be one {what} with {len(MODES[what])} channels of 8 bits, it is "
                f"{picture.mode!r} with {picture.n_frames} frames. Replace it by the published file.",
                error=InvalidData,
            )
            pixels = np.asarray(picture, dtype=np.uint8)
    except _UNREADABLE:
        raise InvalidData(
            f"{name!r} must be a whole TIFF picture, and can't be decoded. Replace it by the published "
            "file."
        ) from None
    if what == "mask":
        values = set(np.unique(pixels).tolist())
        require(
            values <= {0, 255} or values <= {0, 1},
            f"{name!r} must be a mask of 0 and one other value (1 or 255), and has {len(values)} values. "
            "Replace it by the published file.",
            error=InvalidData,
        )
    return pixels


def _decode(root: Path, path: Path, what: str) -> NDArray[np.uint8]:
    data = safe_files.read_bytes(root, path, limit_bytes=MAX_SLICE_BYTES)
    return decode(data, name=safe_files.shown(root, path), what=what)


def _require_once(root: Path, folders: Sequence[Path]) -> None:
    seen: dict[str, Path] = {}
    for folder in folders:
        first = seen.setdefault(folder.name, folder)
        require(
            first == folder,
            f"{safe_files.shown(root, folder)!r} must be the only case of its name, and "
            f"{safe_files.shown(root, first)!r} is another. Name the folder that holds one of them.",
            error=InvalidData,
        )


def _case(root: Path, folder: Path, files: Sequence[Path]) -> LggCase | None:
    """The case of a folder; none if no file in it has the name of one."""
    match = _CASE.fullmatch(folder.name)
    pattern = re.compile(re.escape(folder.name) + r"_([1-9]\d{0,3})(_mask)?\.tiff?", re.IGNORECASE)
    found: dict[bool, dict[int, Path]] = {False: {}, True: {}}
    for path in files:
        named = pattern.fullmatch(path.name)
        if named:
            twin = found[bool(named[2])].setdefault(int(named[1]), path)
            require(
                twin == path,
                f"{safe_files.shown(root, path)!r} must be the only file of its number, and there is "
                f"{twin.name!r}. Remove one of them.",
                error=InvalidData,
            )
    slices, masks = found[False], found[True]
    if match is None or not (slices or masks):
        return None
    last = max((*slices, *masks))
    require(
        last <= MAX_SLICES, _whole(root, folder, f"at most {MAX_SLICES} slices"), error=InvalidData
    )
    for kind, there in (("slice", slices), ("mask", masks)):
        missing = sorted(set(range(1, last + 1)) - set(there))
        require(
            not missing,
            _whole(root, folder, f"a {kind} of each number from 1 to {last}")
            + f" It has none of {', '.join(map(str, missing[:3]))}.",
            error=InvalidData,
        )
    return LggCase(
        name=folder.name,
        person=match["person"],
        site=match["site"],
        slices=tuple(slices[number] for number in sorted(slices)),
        masks=tuple(masks[number] for number in sorted(masks)),
    )


def _whole(root: Path, folder: Path, what: str) -> str:
    return (
        f"The case {safe_files.shown(root, folder)!r} must have {what}. Put the published files there, "
        "or move the case out."
    )


def _why_unread(path: Path) -> str | None:
    if path.suffix.lower() not in (".tif", ".tiff"):
        return pictures.why_unread(path)
    if _CASE.fullmatch(path.parent.name):
        return f"is not called as a slice or a mask of {path.parent.name!r}"
    return "lies in no case folder such as 'TCGA_CS_4941_19960909'"
