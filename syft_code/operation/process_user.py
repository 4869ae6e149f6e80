"""A user of its own for one process: a number, a group of the same number, a folder that is its own.

No such number needs a name in /etc/passwd. Only root gives a process or a file to another user.
Whoever had a folder before may have filled it with traps, so root opens each name itself, never what a
link there stands for, and changes what it has opened.
"""

import contextlib
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from syft_code.errors import Unavailable, require

_KEPT = frozenset(
    (
        *("PATH", "LANG", "LANGUAGE", "TZ"),
        *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"),
    )
)
_KEPT_IF_BEGUN_SO = ("LC_", "CONSILIUM_")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessUser:
    """`number` is the user's and its group's; `groups` are those that it belongs to beside it."""

    number: int
    home: Path
    groups: tuple[int, ...] = ()

    def environment(self) -> dict[str, str]:
        """Of the starter's variables the search path, language, time zone, threads and our own.

        Anything else may be a secret of root's: a cloud's key, an agent's socket, a proxy's password.
        """
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in _KEPT or name.startswith(_KEPT_IF_BEGUN_SO)
        }
        return kept | {"HOME": str(self.home), "USER": str(self.number)}

    def give_home(self) -> None:
        """Make the folder, and give it with all that is in it to this user alone."""
        with opened_folder(self.home.parent) as parent:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self.home.name, mode=0o700, dir_fd=parent)
            with opened_folder(self.home.name, inside=parent) as home:
                give(home, user=self.number, group=self.number)
                os.fchmod(home, 0o700)


def require_own_folder(home: Path, number: int, *, who: str) -> None:
    """Look before root writes into a folder, and gives it away: nobody else may have filled it.

    Raises:
        Unavailable: if it, or a file in it, is a link, or it is neither root's nor that user's.
    """
    if os.geteuid() != 0 or not os.path.lexists(home):
        return
    found = home.stat(follow_symlinks=False)
    require(
        stat.S_ISDIR(found.st_mode)
        and found.st_uid in (0, number)
        and not any(path.is_symlink() for path in home.iterdir()),
        f"The folder of {who} must be root's or user {number}'s, without links, before root gives it away, and {home} "
        "is not: choose another folder.",
        error=Unavailable,
    )


def leave_root(user: ProcessUser, *, file: Path, who: str) -> Mapping[str, str]:
    """Root becomes a user who has a folder from now on, and reads a file; returns the variables it keeps.

    `who` is what it is, in words; that the folder is its own is for the caller to have seen.

    Raises:
        Unavailable: if that user could not work; nothing is changed then.
    """
    needed = {"Python": Path(sys.executable), "Consilium": Path(__file__), "its file": file}
    for what, place in (needed | {"its folder": user.home}).items():
        closed = first_closed_folder(place)
        require(
            not closed,
            f"Started as root, {who} becomes user {user.number}, who can't enter {closed}, where {what} lies: put "
            "it where every user may enter, below /opt or /etc for example (or set user = 0 in its file, and it "
            "stays root).",
            error=Unavailable,
        )
    require(
        bool(file.stat().st_mode & stat.S_IROTH),
        f"User {user.number}, which {who} is, must be able to read {file}: `chmod 644` it, it holds no secret.",
        error=Unavailable,
    )
    user.home.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    user.give_home()
    become(user)
    return user.environment()


def become(user: ProcessUser) -> None:
    """Be that user from now on, and nobody else ever again; for root."""
    os.setgroups(user.groups)
    os.setresgid(user.number, user.number, user.number)
    os.setresuid(user.number, user.number, user.number)


@contextlib.contextmanager
def acting_as_owner_of(folder: Path) -> Iterator[None]:
    """Root acts as whoever has a folder until the block ends, so that nothing there leads to what is another's.

    That user keeps the group of the folder above, which may be the only way in.

    Raises:
        Unavailable: if it is a link.
    """
    found = folder.stat(follow_symlinks=False)
    require(
        not stat.S_ISLNK(found.st_mode),
        f"{folder} must be a folder itself, and is a link: put the folder there.",
        error=Unavailable,
    )
    if os.geteuid() != 0 or found.st_uid == 0:
        yield
        return
    groups, way_in = os.getgroups(), folder.parent.stat().st_gid
    os.setgroups([way_in] if way_in else [])
    os.setegid(found.st_gid)
    os.seteuid(found.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def first_closed_folder(place: Path) -> str:
    """The first folder on the way to a place that not every user may enter; empty if there is none."""
    for path in dict.fromkeys((place.absolute(), place.resolve())):
        for folder in reversed(path.parents):
            if folder.exists() and not folder.stat().st_mode & 0o001:
                return str(folder)
    return ""


@contextlib.contextmanager
def opened_folder(path: Path | str, *, inside: int | None = None) -> Iterator[int]:
    """A folder's descriptor until the block ends; `inside` is that of the folder that a name is in.

    Raises:
        Unavailable: if it is a link, or no folder.
    """
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=inside)
    except OSError as problem:
        raise Unavailable(
            f"{path} must be a folder and no link, so that it can be given to a user, and can't be "
            f"opened as one ({problem.strerror}): put the folder itself there."
        ) from None
    try:
        yield folder
    finally:
        os.close(folder)


def give(folder: int, *, user: int, group: int) -> None:
    """Give an opened folder and all that is below it to a user and a group; for root.

    No link is followed, and a file that has another name, which may lie elsewhere, keeps its owner.
    """
    for _, _, files, descriptor in os.fwalk(".", dir_fd=folder, follow_symlinks=False):
        os.fchown(descriptor, user, group)
        for name in files:
            with contextlib.suppress(OSError), own_file(name, descriptor) as file:
                os.fchown(file, user, group)


def give_file(name: str, *, inside: int, user: int, group: int, mode: int) -> None:
    """Give one file of an opened folder to a user and a group, with its mode; for root.

    Raises:
        Unavailable: if it is a link, no file, or a file that has another name, too.
    """
    try:
        with own_file(name, inside) as file:
            os.fchown(file, user, group)
            os.fchmod(file, mode)
    except OSError as problem:
        raise Unavailable(
            f"{name} must be a file of its own folder alone, so that it can be given to a user, and "
            f"is not ({problem.strerror}): put the file itself there, and no link."
        ) from None


@contextlib.contextmanager
def own_file(name: str, folder: int) -> Iterator[int]:
    """A file's descriptor; raise `OSError` if it is a link, a pipe, or also a file elsewhere.

    `folder` is the descriptor of the folder that it is in.
    """
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "no file")
        if status.st_nlink != 1:
            raise OSError(0, "it has another name")
        yield file
    finally:
        os.close(file)
