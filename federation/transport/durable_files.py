"""Files that are whole or not there, also after the power fails."""

import os
from pathlib import Path


def write_durably(path: Path, data: bytes | memoryview) -> None:
    """Write beside the path, force to disk, then rename into place; mode 0600."""
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.new")
    write_synced(temporary, data)
    move_durably(temporary, path)


def write_synced(path: Path, data: bytes | memoryview) -> None:
    """Write a new file, mode 0600, and force its content to disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def move_durably(source: Path, target: Path) -> None:
    """Rename within one file system, and force the new name to disk."""
    source.rename(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Force a folder's list of names to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
