"""Which pictures lie in a folder, by the names that a table calls them.

A table may name a picture by its path, by its file's name, or without the ending; the pictures
may lie in any folder below. No two of them may answer to one name, unless one is a copy of the
other to the byte: a copy is counted and left.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from datasites.data.folders import safe_files
from datasites.data.folders.reading import counted
from datasites.data.readers.csv_files import csv_table
from datasites.data.readers.csv_files.csv_text import DELIMITERS, CsvFormat, Delimiter
from datasites.data.readers.images import pictures
from datasites.data.readers.tabular import csv_rows
from datasites.data.readers.tabular.csv_rows import Row
from syft_code.errors import InvalidData, require


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class PictureFiles:
    """`by_name` has one picture for each name without ending; `copies` are the same files again."""

    by_name: Mapping[str, Path]
    copies: tuple[Path, ...]


def table_rows(root: Path, path: Path, *, delimiter: Delimiter | Literal[""] = "") -> list[Row]:
    """The rows of a table beside pictures; without a delimiter, that which its first line has most of.

    Raises:
        InvalidData: as `csv_rows.parse` does.
    """
    data = safe_files.read_bytes(root, path, limit_bytes=csv_table.MAX_TABLE_BYTES)
    first = data.split(b"\n", 1)[0]
    likely = max(DELIMITERS, key=lambda one: first.count(one.encode()))
    form = CsvFormat(delimiter=delimiter or likely)
    return csv_rows.parse(data, safe_files.shown(root, path), form)


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


class Names:
    """The pictures of a folder by what a table may call them: path, name, with or without ending.

    Capitals count only where they must: the exact spelling goes first.
    """

    def __init__(self, root: Path, files: Iterable[Path]) -> None:
        self._root = root
        self._exact: dict[str, list[Path]] = defaultdict(list)
        self._folded: dict[str, list[Path]] = defaultdict(list)
        for path in files:
            for name in {path.name, path.stem}:
                self._exact[name].append(path)
                self._folded[name.casefold()].append(path)

    def of(self, text: str, *, where: str) -> list[Path]:
        """The picture that a cell names, then its copies; none if it is not there.

        Raises:
            InvalidData: if several pictures that differ answer to the name.
        """
        wanted = text.strip().replace("\\", "/").lstrip("./")
        name = wanted.rpartition("/")[2]
        stem = name.rpartition(".")[0] if pictures.is_picture(Path(name)) else name
        for candidates in (
            self._exact.get(name, ()),
            self._exact.get(stem, ()),
            self._folded.get(name.casefold(), ()),
            self._folded.get(stem.casefold(), ()),
        ):
            mine = [path for path in candidates if self._lies_at(path, wanted)]
            if mine:
                self._require_copies(mine, where)
                return mine
        return []

    def _lies_at(self, path: Path, wanted: str) -> bool:
        """Whether a path ends with the folders of the name that is wanted."""
        folders = wanted.casefold().split("/")[:-1]
        mine = [part.casefold() for part in path.relative_to(self._root).parts[:-1]]
        return not folders or mine[-len(folders) :] == folders

    def _require_copies(self, paths: Sequence[Path], where: str) -> None:
        for other in paths[1:]:
            require(
                _content(self._root, other) == _content(self._root, paths[0]),
                f"{where}: one picture must answer to the name, and {safe_files.shown(self._root, paths[0])!r} "
                f"and {safe_files.shown(self._root, other)!r} do. Give the folder in the cell, too.",
                error=InvalidData,
            )


def majority_sites(placed: Iterable[tuple[str, str]]) -> tuple[tuple[str, ...], int]:
    """The site of each person, in the order of their names, and how many have several.

    Of (person, site) a picture: the site with most pictures, then the first by name.
    """
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for person, site in placed:
        votes[person][site] += 1
    sites = tuple(
        max(sorted(votes[person]), key=votes[person].__getitem__) for person in sorted(votes)
    )
    return sites, sum(len(vote) > 1 for vote in votes.values())


def site_remarks(number: int, one: str, many: str) -> tuple[str, ...]:
    """What an owner reads where so many have pictures from two sites."""
    if not number:
        return ()
    return (
        counted(
            number,
            f"{{}} {one} has images from two sites and was given to the site with more of them.",
            f"{{}} {many} have images from two sites and were given to the site with more of them.",
        ),
    )


def _content(root: Path, path: Path) -> bytes:
    data = safe_files.read_bytes(root, path, limit_bytes=pictures.MAX_IMAGE_BYTES)
    return hashlib.sha256(data).digest()
