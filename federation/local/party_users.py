"""Who the parties of a federation on one machine run as: each process a user of its own, or all one.

    up, lab or demo, as root     each hospital's owner, vault and front desk, and each aggregator, has a
                                 number of its own, from --first-user on; none needs a name
    anything else                all are the user who starts them, and it is said why

The numbers follow from the names, those of folders that lie there from before among them. Each start
gives every folder to its user anew.
"""

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from datasites import site_users
from datasites.site import Site
from datasites.site_users import LAST_USER, MEND, NUMBERS, SiteUsers
from federation.local.federation_file import FederationConfig
from federation.local.state_folder import AGGREGATORS, HOSPITALS
from syft_code.errors import InvalidInput, Refused, require
from syft_code.operation import process_user
from syft_code.operation.process_user import ProcessUser
from syft_code.runtime.cli_output import quoted

FirstUser = Annotated[
    int,
    typer.Option(
        help="As root: each process is a user of its own, with numbers from this one on; "
        "0: all parties are one user."
    ),
]
OWN_USERS = (
    "Each process is a user of its own: of a hospital the owner, the vault and the front desk, in this "
    "order. You are root, who reads all of it, and play the owners and the researcher."
)
READS_ALL = "whoever takes over one of them reads the keys and the patients of all."
ONE_USER = (
    f"All parties are one user: {READS_ALL} Started as root, each process gets a user of its own."
)
_LISTED = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyUsers:
    """The numbers from `first` on, shared out among all hospitals and aggregators in a folder."""

    state: Path
    first: int
    hospitals: tuple[str, ...]
    aggregators: tuple[str, ...]

    def hospital(self, name: str) -> SiteUsers:
        """The users of one hospital."""
        site = Site(self.state / HOSPITALS / name)
        return SiteUsers.of(site, self.first + NUMBERS * self.hospitals.index(name))

    def aggregator(self, name: str) -> ProcessUser:
        """The user of one aggregator."""
        before = NUMBERS * len(self.hospitals) + self.aggregators.index(name)
        return ProcessUser(number=self.first + before, home=self.state / AGGREGATORS / name)

    @property
    def numbers(self) -> range:
        """All of them."""
        return range(self.first, self.first + NUMBERS * len(self.hospitals) + len(self.aggregators))

    def prepare(self) -> None:
        """Let each find its folder, and give those that lie there to their users.

        Raises:
            InvalidInput: if a link stands where a party's folder or file should; nothing is changed.
        """
        _require_no_links(self)
        with process_user.opened_folder(self.state) as state:
            _list(state)
            for name in (HOSPITALS, AGGREGATORS):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, dir_fd=state)
                with process_user.opened_folder(name, inside=state) as folder:
                    _list(folder)
        for name in self.hospitals:
            site = Site(self.state / HOSPITALS / name)
            if (site.home / "desk.uid").exists():
                self.hospital(name).give_folders(site)
        for name in self.aggregators:
            self.aggregator(name).give_home()


def _list(folder: int) -> None:
    """Make an opened folder root's, to be entered and listed by everybody."""
    os.fchown(folder, 0, 0)
    os.fchmod(folder, _LISTED)


def _require_no_links(users: PartyUsers) -> None:
    """Raise `InvalidInput` if root would give away, or write to, what a link stands for."""
    found = [users.state / name for name in (HOSPITALS, AGGREGATORS)]
    for name in users.aggregators:
        home = users.state / AGGREGATORS / name
        found += [home, home.with_suffix(".toml")]
    links = [path for path in found if path.is_symlink()]
    for name in users.hospitals:
        links += site_users.links(Site(users.state / HOSPITALS / name))
    if links:
        raise InvalidInput(
            "The parties' folders must hold no link, since root gives them to other users, and "
            f"{quoted(str(links[0].relative_to(users.state)))} is one: put the folder or the file "
            "itself there, or name another folder with --state."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Users of their own, if they can have them, and the sentence that says which."""

    users: PartyUsers | None
    sentence: str


def choose(config: FederationConfig, state: Path, *, first: int) -> Choice:
    """Whether the parties in a folder, which is there, get users of their own; then it is prepared.

    Raises:
        InvalidInput: if there can be no user with so low or so high a number, or a link lies in it.
        Refused: if they had users of their own before, can't have them now, and nobody asked for one.
    """
    place = state.resolve()
    hospitals = _names([entry.name for entry in config.hospital], place / HOSPITALS)
    aggregators = _names([entry.name for entry in config.aggregator], place / AGGREGATORS)
    users = PartyUsers(state=place, first=first, hospitals=hospitals, aggregators=aggregators)
    require_number(first)
    choice = _choice(users)
    if choice.users is not None:
        choice.users.prepare()
    elif os.geteuid() == 0 and _were_given(users):
        with process_user.opened_folder(place) as folder:
            process_user.give(folder, user=0, group=0)
            os.fchmod(folder, 0o700)
    return choice


def _were_given(users: PartyUsers) -> bool:
    """Whether the parties had users of their own when they last ran: root's folder, another's vault."""
    sites = (Site(users.state / HOSPITALS / name) for name in users.hospitals)
    return any(
        site.home.lstat().st_uid == 0 != site.vault.lstat().st_uid
        for site in sites
        if site.vault.exists()
    )


def require_number(first: int) -> None:
    """Raise `InvalidInput` unless --first-user is 0 or a number that a user can have."""
    require(
        first == 0 or 1000 <= first <= LAST_USER,
        f"--first-user must be 0, or lie between 1000 and {LAST_USER}, got {first}.",
        error=InvalidInput,
    )


def _choice(users: PartyUsers) -> Choice:
    if os.geteuid() != 0:
        return Choice(users=None, sentence=ONE_USER)
    if not users.first:
        return Choice(users=None, sentence=f"All parties are one user, as you asked: {READS_ALL}")
    why = site_users.obstacle(users.numbers, {"the parties' folder": users.state})
    if why and _were_given(users):
        raise Refused(
            "Each process of this federation was a user of its own when it last ran, and can't go on "
            f"so, since {why}: mend that, or start with --first-user 0 to go on as one user. {MEND}"
        )
    if why:
        sentence = f"All parties are one user, since {why}: {READS_ALL} {MEND}"
        return Choice(users=None, sentence=sentence)
    return Choice(users=users, sentence=OWN_USERS)


def _names(wanted: Sequence[str], folder: Path) -> tuple[str, ...]:
    """Those of a file and those of folders that lie there already, sorted."""
    there = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return tuple(sorted({*wanted, *there}))
