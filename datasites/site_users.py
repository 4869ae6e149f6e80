"""The users of one hospital: its owner, its vault and its front desk, and the group of the three.

    HOME          root, group 0750   the three read what is public in it; no other user does
    HOME/owner    the owner's  0700  who reads the key decides
    HOME/vault    the vault's  0710  the group reaches the socket in it, and nothing else
    HOME/desk     the desk's   0700

Guarantee: the kernel keeps the vault's user and the front desk's from the owner's key, from each
    other's files, and from those of every other party.
Does not protect: from root, or from a hole in the kernel.
"""

import grp
import os
import pwd
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasites.site import Site
from syft_code.errors import Unavailable, require
from syft_code.operation import process_user
from syft_code.operation.process_user import ProcessUser

FIRST_USER = 60_800
"""Between those that systemd gives to greeters and to services (60,706 to 61,183 are nobody's)."""
NUMBERS = 4
"""So many numbers one hospital takes: the group's, the owner's, the vault's, the front desk's."""
SHARED = 0o750
"""The mode of a hospital's folder whose processes are users of their own."""
PUBLIC = ("site.json", "desk.uid")
"""What the three read in a hospital's folder, beside its certificate if it has one."""
LOGS = ("vault-process.log", "desk-process.log")
"""What the two processes print, each its own, in a folder where only root makes files."""
LAST_USER = 2**31 - 1 - 2**16
CODE = Path(__file__).parents[1]
PROBE_S = 120.0
_PROBE = "import os, sys; [os.stat(path) for path in sys.argv[1:]]; import nacl.signing, numpy; \
from datasites.sandbox import offers; from syft_code import canonical; offers.mechanism()"
MEND = (
    "Install Python and Consilium, and keep the parties' folders, where every user may read and "
    "enter (below /opt and /srv, for example), and start again as root."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteUsers:
    """Who a hospital's processes run as; `group` is that of the three."""

    group: int
    owner: ProcessUser
    vault: ProcessUser
    desk: ProcessUser

    @classmethod
    def of(cls, site: Site, first: int) -> "SiteUsers":
        """The users with the numbers from `first`."""
        owner, vault, desk = (
            ProcessUser(number=first + position, home=home, groups=(first,))
            for position, home in enumerate((site.owner, site.vault, site.desk), 1)
        )
        return cls(group=first, owner=owner, vault=vault, desk=desk)

    def require_ours(self, site: Site) -> None:
        """Look before root writes into a folder that somebody may have filled.

        Raises:
            Unavailable: if it, or a part of it, is a link, or neither root's nor one of these users'.
        """
        users = (0, self.owner.number, self.vault.number, self.desk.number)
        planted = [*links(site), *(path for path in _secrets(site) if path.is_symlink())]
        foreign = [
            path
            for path in (site.home, site.owner, site.vault, site.desk)
            if path.exists() and path.stat(follow_symlinks=False).st_uid not in users
        ]
        wrong = [*planted, *foreign]
        require(
            not wrong,
            f"A hospital's folder must be root's and its users' own, without links, and {wrong[0] if wrong else ''} is "
            "not: choose an empty folder, or find out who put that there.",
            error=Unavailable,
        )

    def give_folders(self, site: Site) -> None:
        """Give each of the three its folder; the hospital's stays root's, so none moves another's.

        Raises:
            Unavailable: if one of them, or a file that the three share, is a link.
        """
        with process_user.opened_folder(site.home) as home:
            os.fchown(home, 0, self.group)  # first: from here on only root puts anything in it
            os.fchmod(home, SHARED)
            for user in (self.owner, self.vault, self.desk):
                user.give_home()
            with process_user.opened_folder(site.vault.name, inside=home) as vault:
                os.fchown(vault, self.vault.number, self.group)
                os.fchmod(vault, 0o710)
            shown = (site.certificate, site.relay_certificate)
            for name in (*PUBLIC, *(path.name for path in shown if path.exists())):
                process_user.give_file(name, inside=home, user=0, group=self.group, mode=0o640)
            for name, user in ((LOGS[0], self.vault), (LOGS[1], self.desk)):
                os.close(os.open(name, os.O_CREAT | os.O_NOFOLLOW, 0o600, dir_fd=home))
                number = user.number
                process_user.give_file(name, inside=home, user=number, group=number, mode=0o600)
            if site.policy.exists():
                owner = self.owner.number
                process_user.give_file(
                    site.policy.name, inside=home, user=owner, group=owner, mode=0o600
                )


def _secrets(site: Site) -> list[Path]:
    """Files that root makes or reads inside the users' own folders."""
    owner = [site.owner / name for name in ("key", "salt", "account", "password", "terms.json")]
    return [*owner, site.vault / "owner.pub", site.desk_account, site.tls_key]


def links(site: Site) -> list[Path]:
    """The names of a hospital's folder that root gives to users, and that are links."""
    given = (
        site.home, site.owner, site.vault, site.desk, site.policy, site.certificate, site.relay_certificate,
    )  # fmt: skip
    return [path for path in (*given, *(site.home / name for name in PUBLIC)) if path.is_symlink()]


def obstacle(
    numbers: Sequence[int], places: Mapping[str, Path], *, ours: Sequence[str] = ()
) -> str:
    """Why parties can't run as users of their own here, as a clause; empty if they can.

    The numbers have no name on this machine, or the one at the same place of `ours`.
    `places` are folders that each must reach, by what they are. It is tried out, as the first number.
    """
    if sys.platform != "linux":
        return "that needs Linux"
    if os.geteuid() != 0:
        return "only root gives processes to other users"
    expected = [{f"the user {name}", f"the group {name}"} for name in ours]
    allowed: list[set[str]] = [*expected, *([set()] * (len(numbers) - len(expected)))]
    found = ((_name_of(number), names) for number, names in zip(numbers, allowed, strict=True))
    taken = next((name for name, names in found if name and name not in names), "")
    if taken:
        return f"{taken} has one of the numbers from {numbers[0]} on: choose others (--first-user, or first_user in a hospital's file)"
    wanted = {
        "Python": Path(sys.executable),
        "Python's libraries": Path(sys.prefix),
        "Consilium": Path(__file__),
    }
    for what, place in (wanted | dict(places)).items():
        if closed := process_user.first_closed_folder(place):
            return f"other users can't enter {closed}, where {what} lies"
    for what, place in places.items():
        if not _can_give(place, numbers[0]):
            return f"{what} is on a disk whose files can't be given to other users"
    return _failure(numbers[0], list(places.values()))


def _name_of(number: int) -> str:
    """The user or the group of this machine that has a number; empty if none has."""
    try:
        return f"the user {pwd.getpwuid(number).pw_name}"
    except KeyError:
        pass
    try:
        return f"the group {grp.getgrgid(number).gr_name}"
    except KeyError:
        return ""


def _can_give(place: Path, number: int) -> bool:
    """Whether a file in a folder can be another user's: some shared disks know no users."""
    try:
        with tempfile.NamedTemporaryFile(dir=place) as tried:
            os.fchown(tried.fileno(), number, number)
            return os.fstat(tried.fileno()).st_uid == number
    except OSError:
        return False


def _failure(number: int, places: Sequence[Path]) -> str:
    """Start Python as that user and have it contain a process; empty if it could."""
    command = [sys.executable, "-c", _PROBE, *map(str, places)]
    user = ProcessUser(number=number, home=CODE)
    try:
        done = subprocess.run(
            command,
            cwd=CODE,
            env=user.environment(),
            user=number,
            group=number,
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as problem:
        return f"user {number} can't run Python here ({problem})"
    if not done.returncode:
        return ""
    lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit {done.returncode}"]
    return f"user {number} can't work here ({lines[-1].rstrip('.')})"
