"""Which kind of data a folder holds, by the names of its files alone: none is opened."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

from datasites.data.folders import inventory, safe_files
from datasites.data.readers import Kind
from syft_code.errors import InvalidData, require

MOST_NAMES = 50_000
"""A folder of more files is recognised by the first of them."""
MOST_FOLDERS = 100_000
_TOP: tuple[tuple[str, Kind], ...] = (
    ("schema.toml", "table"),
    ("images.toml", "images"),
    ("volumes.toml", "brats"),
    ("dataset.json", "brats"),
    ("symptoms.csv", "symptoms"),
    ("vitals.csv", "vitals"),
    ("processed.*.data", "heart"),
    ("ham10000_metadata*", "ham10000"),
    ("isic2018_task3_training_*", "ham10000"),
)
"""Names at the top of a folder, in small letters; an owner's own file comes before all others."""
_ANYWHERE: tuple[tuple[tuple[str, ...], Kind], ...] = (
    (("*_mask.tif",), "lgg"),
    (("*.nii.gz", "*.nii", "*.dcm", "*.ima", "*.mha", "*.mhd", "*.nrrd", "*.hdr"), "brats"),
    (("*.jpg", "*.jpeg", "*.png", "*.bmp", "*.tif", "*.tiff", "*.webp"), "images"),
    (("*.csv", "*.tsv", "*.tab", "*.xlsx", "*.xls"), "table"),
)


def recognise(root: Path) -> Kind | None:
    """The kind that a folder's names look like; None if they look like none.

    Files without an ending that lie below folders are taken for DICOM, which often has none.

    Raises:
        InvalidData: if the folder can't be searched.
    """
    paths = [path.relative_to(root) for path in islice(_files(root), MOST_NAMES)]
    top = [path.name.lower() for path in paths if len(path.parts) == 1]
    for pattern, kind in _TOP:
        if _any(top, pattern):
            return kind
    names = [path.name.lower() for path in paths]
    for patterns, kind in _ANYWHERE:
        if any(_any(names, pattern) for pattern in patterns):
            return kind
    bare = [path for path in paths if len(path.parts) > 1 and not path.suffix.strip(".0123456789")]
    return "brats" if bare and 2 * len(bare) > len(paths) else None


def _files(root: Path) -> Iterator[Path]:
    """The files below a folder in the order of the names, each folder once: links make circles and mazes."""
    seen: set[Path] = set()
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        true_path = folder.resolve()
        if true_path in seen:
            continue
        seen.add(true_path)
        require(
            len(seen) <= MOST_FOLDERS
            and len(folder.relative_to(root).parts) <= inventory.MOST_DEPTH,
            f"A folder of data must have at most {MOST_FOLDERS:,} folders, {inventory.MOST_DEPTH} deep, and has more. "
            "Check the path, or name the kind of data.",
            error=InvalidData,
        )
        entries = safe_files.entries(root, folder)
        yield from (path for path in entries if not path.is_dir())
        waiting += [path for path in reversed(entries) if path.is_dir()]


def _any(names: Sequence[str], pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)
