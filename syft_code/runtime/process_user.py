"""A user of its own for one process: a number, a group of the same number, a folder that is its own.

No such number needs a name in /etc/passwd. Only root gives a process or a file to another user.
"""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

_OF_THE_STARTER = ("XDG_", "USER", "LOGNAME")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessUser:
    """`number` is the user's and its group's; `groups` are those that it belongs to beside it."""

    number: int
    home: Path
    groups: tuple[int, ...] = ()

    def environment(self) -> dict[str, str]:
        """The starter's variables, but for those that name the starter's own folders."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(_OF_THE_STARTER)
        }
        return kept | {"HOME": str(self.home), "USER": str(self.number)}

    def give_home(self) -> None:
        """Make the folder, and give it with all that is in it to this user alone."""
        self.home.mkdir(mode=0o700, exist_ok=True)
        give(self.home, user=self.number, group=self.number)
        self.home.chmod(0o700)


def give(folder: Path, *, user: int, group: int) -> None:
    """Give a folder and all that is below it to a user and a group; for root.

    Whoever had the folder may have filled it with traps: no link is followed, and a file that has
    another name, which may lie elsewhere, keeps its owner.
    """
    for _, _, files, descriptor in os.fwalk(folder, follow_symlinks=False):
        os.fchown(descriptor, user, group)
        for name in files:
            _give_file(name, descriptor, user, group)


def _give_file(name: str, folder: int, user: int, group: int) -> None:
    try:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        file = os.open(name, flags, dir_fd=folder)
    except OSError:  # a link, or a socket, which its process makes anew
        return
    try:
        found = os.fstat(file)
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
            os.fchown(file, user, group)
    finally:
        os.close(file)
