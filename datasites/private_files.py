"""Files that only their owner may read, written whole or not at all."""

import fcntl
import os
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

from nacl.signing import SigningKey

from syft_code.errors import InvalidData, Unavailable


def private_folder(path: Path) -> Path:
    """Make a folder (with its parents) that only this user may enter."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def write_private(path: Path, data: bytes) -> None:
    """Write a file of mode 0600, durably and in one step: readers see all of it or nothing."""
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


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
            "Put it back from a copy, or start again with --reset, which forgets everything."
        ) from None


def delete_except(folder: Path, kept: Collection[str]) -> None:
    """Delete every file of a folder but these, unfinished ones too."""
    for path in folder.iterdir():
        if path.name not in kept:
            path.unlink(missing_ok=True)


def signing_key(path: Path) -> SigningKey:
    """The Ed25519 key kept in a file; made by the operating system's generator if there is none."""
    if not path.exists():
        write_private(path, bytes(SigningKey.generate()))
    seed = read_required(path)
    if len(seed) != 32:
        raise InvalidData(f"The key file {path} must hold 32 bytes, it holds {len(seed)}.")
    return SigningKey(seed)
