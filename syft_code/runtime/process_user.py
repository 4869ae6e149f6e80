"""A user of its own for one process: a number, a group of the same number, a folder that is its own.

No such number needs a name in /etc/passwd. Only root gives a process or a file to another user.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from syft_code.errors import InvalidInput, require

_KEPT = frozenset(
    {"PATH", "LANG", "LANGUAGE", "TZ", "TZDIR", "TMPDIR", "TERM", "NO_COLOR", "LD_LIBRARY_PATH",
     "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
     "PYTHONHASHSEED", "PYTHONDONTWRITEBYTECODE", "PYTHONFAULTHANDLER", "PYTHONUNBUFFERED"}
)  # fmt: skip
"""Variables that say nothing but how a process works on this machine, small or capital."""
_KEPT_FROM = ("LC_", "CONSILIUM_", "GRPC_", "CUDA_", "NVIDIA_")
_KEPT_TO = ("_NUM_THREADS",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessUser:
    """`number` is the user's and its group's; `groups` are those that it belongs to beside it."""

    number: int
    home: Path
    groups: tuple[int, ...] = ()

    def environment(self) -> dict[str, str]:
        """Of the starter's variables those that a process needs; none that may hold a secret of the starter's."""
        kept = {name: value for name, value in os.environ.items() if _is_kept(name.upper())}
        return kept | {"HOME": str(self.home), "USER": str(self.number)}

    def give_home(self) -> None:
        """Make the folder, and give it with all that is in it to this user alone.

        Raises:
            InvalidInput: if it, or a folder on the way to it, is a link.
        """
        with opened(self.home.parent) as parent, suppress(FileExistsError):
            os.mkdir(self.home.name, mode=0o700, dir_fd=parent)
        give(self.home, user=self.number, group=self.number)
        set_folder(self.home, user=self.number, group=self.number, mode=0o700)


def _is_kept(name: str) -> bool:
    return name in _KEPT or name.startswith(_KEPT_FROM) or name.endswith(_KEPT_TO)


@contextmanager
def opened(folder: Path) -> Iterator[int]:
    """A folder's descriptor; no link is followed on the whole way to it.

    Raises:
        InvalidInput: if one of the folders is a link, no folder, or not there.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    _, *names = folder.absolute().parts
    descriptor = os.open("/", flags)
    try:
        for name in names:
            inner = os.open(name, flags, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    except NotADirectoryError:
        raise _no_link(folder) from None
    finally:
        os.close(descriptor)


def require_no_link(path: Path) -> None:
    """Raise `InvalidInput` if a path is a link: what root hands over lies where it seems to."""
    if path.is_symlink():
        raise _no_link(path)


def _no_link(path: Path) -> InvalidInput:
    return InvalidInput(
        f"What is given to another user must lie where it seems to, and {path} or a folder on the way to it is a "
        "link or no folder. Put the folder itself there, or start in another one with --state."
    )


def set_folder(folder: Path, *, user: int, group: int, mode: int) -> None:
    """Give a folder, and nothing in it, to a user and a group; raise `InvalidInput` for a link."""
    with opened(folder) as descriptor:
        os.fchmod(descriptor, mode)
        os.fchown(descriptor, user, group)


def set_file(path: Path, *, user: int, group: int, mode: int) -> None:
    """Give one file to a user and a group.

    Raises:
        InvalidInput: for a link, and for a file that has a second name elsewhere.
    """
    with opened(path.parent) as folder:
        try:
            file = os.open(path.name, _FLAGS, dir_fd=folder)
        except OSError as problem:
            raise InvalidInput(
                f"{path} must be a file itself, and can't be opened as one ({problem.strerror}). Put it there."
            ) from None
        try:
            require(
                _is_alone(file),
                f"{path} must be a file with one name, and is none. Remove it and put a copy there.",
                error=InvalidInput,
            )
            os.fchmod(file, mode)
            os.fchown(file, user, group)
        finally:
            os.close(file)


_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def give(folder: Path, *, user: int, group: int) -> None:
    """Give a folder and all that is below it to a user and a group; for root.

    Whoever had the folder may have filled it with traps: no link is followed, and a file that has
    another name, which may lie elsewhere, keeps its owner.

    Raises:
        InvalidInput: if the folder itself, or one on the way to it, is a link.
    """
    with opened(folder) as top:
        for _, _, files, descriptor in os.fwalk(".", dir_fd=top, follow_symlinks=False):
            os.fchown(descriptor, user, group)
            for name in files:
                _give_file(name, descriptor, user, group)


def _give_file(name: str, folder: int, user: int, group: int) -> None:
    try:
        file = os.open(name, _FLAGS, dir_fd=folder)
    except OSError:  # a link, or a socket, which its process makes anew
        return
    try:
        if _is_alone(file):
            os.fchown(file, user, group)
    finally:
        os.close(file)


def _is_alone(file: int) -> bool:
    found = os.fstat(file)
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 1
