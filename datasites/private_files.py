"""Folders, keys and locks that are one user's alone."""

import fcntl
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from nacl.signing import SigningKey

from syft_code.errors import InvalidData, Unavailable
from syft_code.runtime.durable_files import write_durably


def private_folder(path: Path) -> Path:
    """Make a folder (with its parents) that only this user may enter."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def lock_file(path: Path) -> BinaryIO:
    """Be the only one who holds a file, until it is closed or this process ends.

    Raises:
        Unavailable: if another process holds it.
    """
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise Unavailable(
            f"The folder {path.parent} must be used by one process, and another one uses it: "
            "stop that one first."
        ) from None
    return file


def read_required(path: Path) -> bytes:
    """Read a file that the start of a party needs; say what to do if it is not there."""
    try:
        return path.read_bytes()
    except OSError:
        raise Unavailable(
            f"The folder {path.parent} is half written: {path.name} is missing or can't be read. "
            "Put it back from a copy; a federation of `consilium up` starts anew with --reset, which forgets "
            "everything."
        ) from None


def delete_except(folder: Path, kept: Collection[str]) -> None:
    """Delete every file of a folder but these, unfinished ones too."""
    for path in folder.iterdir():
        if path.name not in kept:
            path.unlink(missing_ok=True)


def signing_key(path: Path, *, owned_as_folder: bool = False) -> SigningKey:
    """The Ed25519 key kept in a file; made by the operating system's generator if there is none.

    The file is its maker's, or belongs to whoever has the folder, as with `write_durably`.
    """
    if not path.exists():
        write_durably(path, bytes(SigningKey.generate()), owned_as_folder=owned_as_folder)
    seed = read_required(path)
    if len(seed) != 32:
        raise InvalidData(f"The key file {path} must hold 32 bytes, it holds {len(seed)}.")
    return SigningKey(seed)
