"""Which files of a BraTS folder make one case; looks at names and at nothing else.

| layout             | a case is                                        | labels                               |
|--------------------|--------------------------------------------------|--------------------------------------|
| BraTS 2013 to 2021 | folder with `*_t1`, `_t1ce`, `_t2`, `_flair`, `_seg` | 1 core, 2 edema, 3 core, 4 enhancing |
| BraTS 2023         | folder with `*-t1n`, `-t1c`, `-t2w`, `-t2f`, `-seg`  | 1 core, 2 edema, 3 enhancing         |
| Decathlon task 1   | 4-D `imagesTr/X.nii.gz` with `labelsTr/X.nii.gz` | 1 edema, 2 core, 3 enhancing         |

Label 3 means two things, and only the file names tell which. In 2013 it was the
non-enhancing core, which later years merged into 1. Case folders may lie one folder
deeper (`HGG`, `LGG`). In 2023 names (`BraTS-GLI-00007-001`) the last number is a time point:
all time points of a subject are one patient. Elsewhere one case is one patient.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from datasites.data.folders import safe_files
from syft_code.errors import InvalidData, require

MODALITIES = ("t1", "t1ce", "t2", "flair")

_NAME = re.compile(r".+(?P<word>[_-][A-Za-z0-9]+)\.nii(\.gz)?")
_TIME_POINT = re.compile(r"(?P<subject>BraTS-[A-Z]+-\d{5})-\d{3}")
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_MAX_JSON_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A way of naming: what each ending holds, and the class (0 to 3) of each stored label."""

    endings: dict[str, str]
    classes: tuple[int, ...]


BRATS_2013_TO_2021 = Layout(
    # In BraTS 2020 the mask of case 355 is published as W39_1998.09.19_Segm.nii.
    endings={f"_{word}": word for word in (*MODALITIES, "seg")} | {"_Segm": "seg"},
    classes=(0, 1, 2, 1, 3),
)
BRATS_2023 = Layout(
    endings={"-t1n": "t1", "-t1c": "t1ce", "-t2w": "t2", "-t2f": "flair", "-seg": "seg"},
    classes=(0, 1, 2, 3),
)
DECATHLON = Layout(endings={}, classes=(0, 2, 1, 3))
DECATHLON_ORDER = ("flair", "t1", "t1ce", "t2")
_DECATHLON_WORDS = ("flair", "t1w", "t1gd", "t2w")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class BratsCase:
    """One case: its files by what they hold (a modality or "seg"; "stack" is a 4-D image)."""

    name: str
    patient: str
    layout: Layout
    files: dict[str, Path]


def find_cases(root: Path) -> list[BratsCase]:
    """Every case of the folder, sorted by name, each with a mask and at least one image.

    Raises:
        InvalidData: naming the first case that is not whole or not clear.
    """
    decathlon = root / "imagesTr"
    cases = list(_decathlon_cases(root) if decathlon.is_dir() else _case_folders(root, root, 2))
    require(
        bool(cases),
        "The folder must hold cases such as X/X_flair.nii.gz with X/X_seg.nii.gz, and holds none. "
        "Check the path.",
        error=InvalidData,
    )
    names: set[str] = set()
    for case in cases:
        require(
            _IDENTIFIER.fullmatch(case.name) is not None,
            f"'{safe_files.printable(case.name)}' must be named by letters, digits, '.', '-' and '_'. "
            "Rename it.",
            error=InvalidData,
        )
        require(
            case.name not in names,
            f"{safe_files.printable(case.name)!r} must be one case, and there are two folders of that "
            "name. Remove one of them.",
            error=InvalidData,
        )
        names.add(case.name)
    return sorted(cases, key=lambda case: case.name)


def _case_folders(root: Path, folder: Path, depth: int) -> Iterator[BratsCase]:
    for path in safe_files.entries(root, folder):
        if not path.is_dir():
            continue
        images = [file for file in safe_files.entries(root, path) if _is_nifti(file)]
        if images:
            yield _case(root, path, images)
        elif depth > 1:
            yield from _case_folders(root, path, depth - 1)


def _is_nifti(path: Path) -> bool:
    return path.name.endswith((".nii", ".nii.gz"))


def _case(root: Path, folder: Path, images: list[Path]) -> BratsCase:
    """Sort a case's files by their endings; all endings must be of one layout."""
    where = safe_files.shown(root, folder)
    found: dict[str, Path] = {}
    layouts: list[Layout] = []
    for path in images:
        match = _NAME.fullmatch(path.name)
        ending = match["word"] if match else ""
        layout = _layout_of(ending)
        if layout is None:
            continue
        what = layout.endings[ending]
        require(
            what not in found,
            f"{where!r} must have one file for {what}, and has two. Remove "
            f"'{safe_files.printable(path.name)}' or the other.",
            error=InvalidData,
        )
        found[what] = path
        layouts.append(layout)
    require(
        "seg" in found,
        f"{where!r} must have a mask named like X_seg.nii.gz, and has none. Add it or remove "
        "the case.",
        error=InvalidData,
    )
    require(
        len(found) > 1,
        f"{where!r} must have at least one image beside its mask, and has none. Add it or remove "
        "the case.",
        error=InvalidData,
    )
    require(
        all(layout is layouts[0] for layout in layouts),
        f"{where!r} must have names of one style, and mixes those of 2021 (_t1ce) with those of "
        "2023 (-t1c). Rename its files: the style says what label 3 means.",
        error=InvalidData,
    )
    match = _TIME_POINT.fullmatch(folder.name)
    patient = match["subject"] if match else folder.name
    return BratsCase(name=folder.name, patient=patient, layout=layouts[0], files=found)


def _layout_of(ending: str) -> Layout | None:
    for layout in (BRATS_2013_TO_2021, BRATS_2023):
        if ending in layout.endings:
            return layout
    return None


def _decathlon_cases(root: Path) -> Iterator[BratsCase]:
    _check_order(root)
    images = {
        path.name: path for path in safe_files.entries(root, root / "imagesTr") if _is_nifti(path)
    }
    masks = {
        path.name: path for path in safe_files.entries(root, root / "labelsTr") if _is_nifti(path)
    }
    for name in sorted(images.keys() | masks.keys()):
        require(
            name in images and name in masks,
            f"'{safe_files.printable(name)}' must lie in both 'imagesTr' and 'labelsTr', and is "
            "missing in one. Add it or remove the other.",
            error=InvalidData,
        )
        case = name.removesuffix(".gz").removesuffix(".nii")
        found = {"stack": images[name], "seg": masks[name]}
        yield BratsCase(name=case, patient=case, layout=DECATHLON, files=found)


def _check_order(root: Path) -> None:
    """The channels of a 4-D image have no names of their own: dataset.json gives their order."""
    path = root / "dataset.json"
    data = safe_files.read_bytes(root, path, limit_bytes=_MAX_JSON_BYTES)
    try:
        modality = json.loads(data)["modality"]
        order = tuple(str(modality[str(i)]).lower() for i in range(len(modality)))
    except (ValueError, KeyError, TypeError, RecursionError):
        order = ()
    require(
        order == _DECATHLON_WORDS,
        "'dataset.json' must give the modalities FLAIR, T1w, t1gd, T2w in this order, and does "
        "not. Put the published file there.",
        error=InvalidData,
    )
