"""Safe access to the owner's files: inside the folder, regular, and not too large.

A data set comes from outside. Its names and links may point anywhere, and its files may
be pipes or far larger than they should be; nothing is opened before that is ruled out.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from syft_code.errors import InvalidData, require

STAND_IN_MARKER = "STAND_IN.txt"
"""A folder that holds a file of this name is synthetic throughout."""


def open_folder(folder: Path) -> Path:
    """The folder's true path; a link to the folder itself is the owner's own choice."""
    try:
        root = folder.resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        root = folder
    require(
        root.is_dir() and os.access(root, os.R_OK | os.X_OK),
        f"{printable(folder.name)!r} must be a folder that exists and may be read. Check the path.",
        error=InvalidData,
    )
    return root


def printable(text: str, *, most: int = 120) -> str:
    """Text from a file as it may stand in a sentence: one line, at most so many characters.

    >>> printable("a\\nb")
    'a?b'
    """
    return "".join(char if char.isprintable() else "?" for char in text[:most])


def shown(root: Path, path: Path) -> str:
    """A path as the owner reads it: from the data folder on."""
    return printable(path.relative_to(root).as_posix())


def entries(root: Path, folder: Path) -> list[Path]:
    """What lies in a folder, sorted by name, without hidden files (`._x` of archives)."""
    try:
        names = sorted(path.name for path in _true_path(root, folder).iterdir())
    except OSError as problem:
        raise InvalidData(
            f"{shown(root, folder)!r} can't be listed ({problem.strerror}). Check its permissions."
        ) from None
    require(
        os.access(folder, os.X_OK),
        f"{shown(root, folder)!r} can't be entered. Check its permissions.",
        error=InvalidData,
    )
    return [folder / name for name in names if not name.startswith(".")]


def read_bytes(root: Path, path: Path, *, limit_bytes: int) -> bytes:
    """The bytes of one regular file inside the folder, at most so many.

    Raises:
        InvalidData: for a link that leaves the folder, a pipe, or a file over the limit.
    """
    with _opened(root, path) as stream:
        size_bytes = os.fstat(stream.fileno()).st_size
        require(
            size_bytes <= limit_bytes,
            f"{shown(root, path)!r} must be at most {limit_bytes:,} bytes, it has {size_bytes:,}. "
            "Check that it is the published file.",
            error=InvalidData,
        )
        return stream.read(size_bytes)


def read_start(root: Path, path: Path, *, size_bytes: int) -> bytes:
    """The first bytes of one regular file inside the folder, of any size.

    Raises:
        InvalidData: for a link that leaves the folder, or a pipe.
    """
    with _opened(root, path) as stream:
        return stream.read(size_bytes)


@contextmanager
def _opened(root: Path, path: Path) -> Iterator[BinaryIO]:
    name = shown(root, path)
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(_true_path(root, path), flags)
    except OSError as problem:
        raise InvalidData(
            f"{name!r} can't be opened ({problem.strerror}). Check that it exists and may be read."
        ) from None
    with os.fdopen(descriptor, "rb") as stream:
        require(
            stat.S_ISREG(os.fstat(descriptor).st_mode),
            f"{name!r} must be a regular file. Put the file itself there.",
            error=InvalidData,
        )
        yield stream


def _true_path(root: Path, path: Path) -> Path:
    try:
        true_path = path.resolve(strict=True)
    except (RuntimeError, ValueError):
        raise InvalidData(
            f"{shown(root, path)!r} is a link in a circle. Put the file itself there."
        ) from None
    require(
        true_path.is_relative_to(root),
        f"{shown(root, path)!r} is a link that leaves the data folder. Put the file itself there.",
        error=InvalidData,
    )
    return true_path
