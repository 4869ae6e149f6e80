"""Which pictures lie in a folder, by the names that a table calls them.

A table may name a picture by its path, by its file's name, or without the ending; the pictures
may lie in any folder below. No two of them may answer to one name, unless one is a copy of the
other to the byte: a copy is counted and left.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasites.data.folders import safe_files
from datasites.data.readers.images import pictures
from syft_code.errors import InvalidData, require


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PictureFiles:
    """`by_name` has one picture for each name without ending; `copies` are the same files again."""

    by_name: Mapping[str, Path]
    copies: tuple[Path, ...]


def by_stem(root: Path, files: Iterable[Path]) -> PictureFiles:
    """One picture for each file name without its ending.

    Raises:
        InvalidData: naming a picture that shares its name with another and differs from it.
    """
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        groups[path.stem].append(path)
    copies = []
    for paths in groups.values():
        for other in paths[1:]:
            require(
                _content(root, other) == _content(root, paths[0]),
                f"{safe_files.shown(root, other)!r} must be the only file of its name, and "
                f"{safe_files.shown(root, paths[0])!r} is another. Remove one of them.",
                error=InvalidData,
            )
            copies.append(other)
    return PictureFiles(
        by_name={name: paths[0] for name, paths in groups.items()}, copies=tuple(copies)
    )


def require_no_folder_unseen(
    root: Path, unnamed: Sequence[Path], named: Iterable[Path], *, table: str
) -> None:
    """Refuse a folder of pictures of which the table names none: it is not of this data set.

    Raises:
        InvalidData: naming the folder and how many pictures it holds.
    """
    known = {path.parent for path in named}
    strange = [path for path in unnamed if path.parent not in known]
    if not strange:
        return
    folder = strange[0].parent
    count = sum(path.parent == folder for path in strange)
    where = "The folder itself" if folder == root else repr(safe_files.shown(root, folder))
    raise InvalidData(
        f"{where} must hold pictures that {table!r} names, and it names none of the {count:,} there, "
        f"such as {strange[0].name!r}. Check their names, or move them out of the folder."
    )


def _content(root: Path, path: Path) -> bytes:
    data = safe_files.read_bytes(root, path, limit_bytes=pictures.MAX_IMAGE_BYTES)
    return hashlib.sha256(data).digest()
