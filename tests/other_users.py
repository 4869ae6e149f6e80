"""To act as another user of the machine, and to start Python where every user may read it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
_OPEN = """set -e
closed=$1 kept=$2 aside=$3; shift 3
mount --bind "$closed/$kept" "$aside"
mount -t tmpfs -o mode=755 none "$closed"
mkdir "$closed/$kept"
mount --bind "$aside" "$closed/$kept"
exec "$@"
"""
"""In a view of the file system of its own, a folder shows one of its parts alone, to every user."""


@contextmanager
def acting_as(number: int, groups: Sequence[int] = ()) -> Iterator[None]:
    """This process, root, as another user until the block ends."""
    before = os.getgroups()
    os.setgroups(groups)
    os.setegid(number)
    os.seteuid(number)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)


def can_read(path: Path, number: int, groups: Sequence[int] = ()) -> bool:
    """Whether another user may read a file, or the names in a folder."""
    with acting_as(number, groups):
        try:
            _ = list(path.iterdir()) if path.is_dir() else path.read_bytes()
        except PermissionError:
            return False
    return True


@contextmanager
def open_folder() -> Iterator[Path]:
    """A new folder that every user may enter, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="consilium-users-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def python_for_everybody(aside: Path) -> list[str]:
    """What to write before a command, so that other users may read the Python that it runs."""
    closed = {
        folder: path
        for path in (Path(sys.executable).resolve(), Path(sys.prefix).resolve(), ROOT)
        for folder in path.parents
        if not folder.stat().st_mode & 0o001
    }
    if not closed:
        return []
    if len(closed) > 1 or shutil.which("unshare") is None:
        pytest.skip(f"other users can't read Python here: {', '.join(map(str, closed))}")
    ((folder, path),) = closed.items()
    kept = path.relative_to(folder).parts[0]
    aside.mkdir()
    words = ["unshare", "--mount", "--propagation", "private", "bash", "-c", _OPEN, "open"]
    words += [str(folder), kept, str(aside)]
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip(f"other users can't enter {folder}, and no view of its own can be had here")
    return words
