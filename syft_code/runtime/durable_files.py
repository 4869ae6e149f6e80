"""Files that are whole or not there, also after the power fails, and only their owner's to read."""

import os
from pathlib import Path


def write_durably(
    path: Path, data: bytes | memoryview, *, for_the_folders_user: bool = False
) -> None:
    """Write beside the path, force to disk, then rename into place; mode 0600.

    Readers and other writers see all of it or nothing. A write that fails leaves nothing behind;
    one that is killed leaves a file whose name ends in `.unfinished`. The file is its writer's, or,
    if root writes a party's file, `for_the_folders_user`: theirs who have the folder.
    """
    unfinished = path.with_name(f"{path.name}.{os.urandom(8).hex()}.unfinished")
    try:
        _write_synced(unfinished, data, give=for_the_folders_user and os.geteuid() == 0)
        move_durably(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def remove_unfinished(folder: Path) -> None:
    """Delete what killed writes left in a folder; for its one user, before it writes there."""
    for path in folder.glob("*.unfinished"):
        path.unlink(missing_ok=True)


def _write_synced(path: Path, data: bytes | memoryview, *, give: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        if give:
            folder = path.parent.stat()
            os.fchown(descriptor, folder.st_uid, folder.st_gid)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def move_durably(source: Path, target: Path) -> None:
    """Rename within one file system, and force the new name to disk."""
    source.replace(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Force a folder's list of names to disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
