"""Every file of a data folder is read, known to stand by, or named in a refusal.

A file that a reader does not recognise is a file that it does not see: half a data set would
vanish without a word. So a reader says at the end of its search which files it takes, and this
module looks for all others.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from datasites.data.folders import safe_files
from datasites.data.folders.reading import counted
from datasites.data.folders.safe_files import STAND_IN_MARKER
from syft_code.errors import InvalidData, require

_TEXTS = ("", ".txt", ".md", ".rst", ".pdf", ".html", ".cff", ".bib")
BYSTANDERS = (
    STAND_IN_MARKER,
    *(f"{name}{ending}" for name in ("readme", "licen[cs]e", "copying", "citation", "attribution", "changelog") for ending in _TEXTS),
    "licen[cs]e*.txt",
    *(f"{name}{ending}" for name in ("md5sum", "md5sums", "sha256sum", "sha256sums") for ending in ("", ".txt")),
    "thumbs.db",
    "desktop.ini",
)  # fmt: skip
"""Names that every reader leaves alone, in small letters; hidden files are left alone and counted, too."""
_OF_NOBODY = ("._*", ".DS_Store")
"""Hidden files that an archive or a file browser leaves behind."""
MOST_DEPTH = 16
NAMED = 3
"""A refusal names so many files and counts the others."""


def require_all_known(
    root: Path,
    taken: Iterable[Path],
    *,
    bystanders: Iterable[str] = (),
    reason: Callable[[Path], str | None] = lambda path: None,
    way_out: str = "Name it in the mapping, or move it out of the folder",
) -> None:
    """Refuse a folder with a file that is neither taken nor a by-stander.

    `taken` are files below `root` as the reader opens them. `bystanders` are further patterns
    (`fnmatch`, in small letters) of a file's name or, with a "/", of its path from `root` on.
    `reason` tells why this reader can't read a file, if it knows: a part of a sentence that
    follows the file's name.

    Raises:
        InvalidData: naming the first files that nobody reads, how many there are, and why.
    """
    read = set(taken)
    known = (*(name.lower() for name in BYSTANDERS), *bystanders)
    left = [path for path in files(root) if path not in read]
    left = [path for path in left if not stands_by(root, path, known)]
    if not left:
        return
    names = ", ".join(f"'{safe_files.shown(root, path)}'" for path in left[:NAMED])
    more = f" and {len(left) - NAMED:,} more" if len(left) > NAMED else ""
    why = reason(left[0]) or "is not a name that this kind of data set has"
    raise InvalidData(
        f"Every file of the folder must be read or known to stand by, and {names}{more} would be left out: "
        f"the first {why}. {way_out}."
    )


def files(root: Path) -> Iterator[Path]:
    """Every file below the folder that is not hidden, in the order of the names.

    Raises:
        InvalidData: if folders lie too deep, can't be listed, or are links that leave `root`.
    """
    return _files(root, root, MOST_DEPTH)


def hidden_remarks(root: Path) -> tuple[str, ...]:
    """How many files no reader sees, since their names or their folders' begin with a dot; private."""
    count = sum(
        _is_hidden(Path(place).relative_to(root) / name)
        for place, _, names in os.walk(root)
        for name in names
    )
    one, many = "{} file is", "{} files are"
    end = (
        "hidden (a name that begins with a dot) and was left out."
        if count == 1
        else "hidden (names that begin with a dot) and were left out."
    )
    return (f"{counted(count, one, many)} {end}",) if count else ()


def _is_hidden(path: Path) -> bool:
    is_left_behind = any(fnmatchcase(path.name, one) for one in _OF_NOBODY)
    return not is_left_behind and any(part.startswith(".") for part in path.parts)


def _files(root: Path, folder: Path, depth: int) -> Iterator[Path]:
    require(
        depth > 0,
        f"{safe_files.shown(root, folder)!r} must lie at most {MOST_DEPTH} folders deep. Move it up.",
        error=InvalidData,
    )
    for path in safe_files.entries(root, folder):
        if path.is_dir():
            require(
                not (path.is_symlink() and folder.resolve().is_relative_to(path.resolve())),
                f"{safe_files.shown(root, path)!r} is a link to a folder that it lies in: a circle. Remove the link.",
                error=InvalidData,
            )
            yield from _files(root, path, depth - 1)
        else:
            yield path


def stands_by(root: Path, path: Path, patterns: Iterable[str]) -> bool:
    """Whether a file's name, or its path from `root` on for a pattern with "/", is as one of the patterns."""
    name, whole = path.name.lower(), path.relative_to(root).as_posix().lower()
    return any(fnmatchcase(whole if "/" in one else name, one) for one in patterns)
