"""Cases that nobody has drawn a mask for: what a model is asked about.

A case is one NIfTI file, or a folder with NIfTI files in it, each named by what it holds as those of
training are (`editions`, or the owner's `volumes.toml`). A mask beside them is not looked at.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from datasites.data.folders import inventory, safe_files
from datasites.data.readers.volumes import editions
from datasites.data.readers.volumes.brats_case import BratsCase
from datasites.data.readers.volumes.editions import MASK
from datasites.data.readers.volumes.formats import nifti, unread
from datasites.data.readers.volumes.mapping import MAPPING_FILE, VolumeMapping
from syft_code.errors import InvalidData, require


def one(root: Path, path: Path, names: VolumeMapping) -> BratsCase:
    """The case of one file inside a folder.

    Raises:
        InvalidData: if its name does not say what it holds.
    """
    return _case(root, nifti.stem(path), [path], names)


def find(root: Path, names: VolumeMapping) -> list[BratsCase]:
    """The case of each folder at or below `root` that has NIfTI files in it, by their paths.

    Raises:
        InvalidData: naming the first file that would be left out, or whose name does not say what it
            holds, or if there is none.
    """
    folders: dict[Path, list[Path]] = defaultdict(list)
    for path in inventory.files(root):
        if nifti.is_nifti(path) and not _ignored(root, path, names):
            folders[path.parent].append(path)
    inventory.require_all_known(
        root,
        [*(path for paths in folders.values() for path in paths), root / MAPPING_FILE],
        bystanders=(*unread.BYSTANDERS, *(pattern.lower() for pattern in names.ignore)),
        reason=lambda path: unread.reason(root, path),
        way_out=f"Mend that, ignore it in {MAPPING_FILE!r}, or name the folder of one case",
    )
    require(
        bool(folders),
        "The folder must hold cases such as X/X_flair.nii.gz, and holds none. Check the path.",
        error=InvalidData,
    )
    return [_case(root, _name(root, folder), paths, names) for folder, paths in folders.items()]


def _name(root: Path, folder: Path) -> str:
    """A case's folder from `root` on, as one word."""
    parts = folder.relative_to(root).parts or (root.name,)
    return "_".join(parts)


def _case(root: Path, name: str, paths: Iterable[Path], names: VolumeMapping) -> BratsCase:
    files: dict[str, Path] = {}
    for path in paths:
        content = _content_of(root, path, names)
        require(
            content not in files,
            f"'{safe_files.shown(root, path)}' must be the only file for {content} of its case, and there is "
            f"'{safe_files.printable(files.get(content, path).name)}'. Take one of them out.",
            error=InvalidData,
        )
        files[content] = path
    files.pop(MASK, None)
    case = BratsCase(name=name, place=name, patient="", edition="", labels={}, files=files)
    require(
        bool(files),
        f"{case.where} must have at least one image, and has none. Add it or take the case out.",
        error=InvalidData,
    )
    return case


def _content_of(root: Path, path: Path, names: VolumeMapping) -> str:
    own, known = names.content_of(path), editions.content_of(path)
    found = own or (() if known is None else (known[0],))
    if len(found) != 1:
        raise InvalidData(
            f"'{safe_files.shown(root, path)}' must be named by what it holds (X_t1, X_t1ce, X_t2, X_flair, or those "
            f"of 2023), or by [files] in {MAPPING_FILE!r}, and is {' and '.join(found) or 'not'}. Rename it."
        )
    return found[0]


def _ignored(root: Path, path: Path, names: VolumeMapping) -> bool:
    return names.ignores(path.name) or names.ignores(path.relative_to(root).as_posix())
