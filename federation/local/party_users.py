"""Who the parties of a federation on one machine run as: each process a user of its own, or all one.

    up, lab or demo, as root     each hospital's owner, vault and front desk, and each aggregator, has a
                                 number of its own, from --first-user on; none needs a name
    anything else                all are the user who starts them, and it is said why

The numbers follow from the names, those of folders that lie there from before among them. Each start
gives every folder to its user anew.
"""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from datasites import site_users
from datasites.site import Site
from datasites.site_users import LAST_USER, MEND, NUMBERS, SHARED, SiteUsers
from federation.local.federation_file import FederationConfig
from federation.local.state_folder import AGGREGATORS, HOSPITALS
from syft_code.errors import InvalidInput, require
from syft_code.runtime import process_user
from syft_code.runtime.process_user import ProcessUser

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
_LISTED, _CLOSED = 0o755, 0o700


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

    def require_no_links(self) -> None:
        """Raise `InvalidInput` if a name that root hands over or writes is a link, before anything is changed."""
        for folder in (self.state, self.state / HOSPITALS, self.state / AGGREGATORS):
            process_user.require_no_link(folder)
        for name in self.hospitals:
            site_users.require_no_links(Site(self.state / HOSPITALS / name))
        for name in self.aggregators:
            home = self.state / AGGREGATORS / name
            for path in (home, home.with_suffix(".toml"), home.with_suffix(".log")):
                process_user.require_no_link(path)

    def prepare(self) -> None:
        """Let each find its folder, and give those that lie there to their users, from the top down."""
        for folder in (self.state, self.state / HOSPITALS, self.state / AGGREGATORS):
            folder.mkdir(exist_ok=True)
            process_user.set_folder(folder, user=0, group=0, mode=_LISTED)
        self.require_no_links()  # from now on nobody else puts one there
        for name in self.hospitals:
            site = Site(self.state / HOSPITALS / name)
            if site.home.exists():
                process_user.set_folder(site.home, user=0, group=0, mode=_CLOSED)
                site_users.require_no_links(site)
            if (site.home / "desk.uid").exists():
                self.hospital(name).give_folders(site)
        for name in self.aggregators:
            self.aggregator(name).give_home()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Users of their own, if they can have them, and the sentence that says which."""

    users: PartyUsers | None
    sentence: str


def choose(config: FederationConfig, state: Path, *, first: int) -> Choice:
    """Whether the parties in a folder, which is there, get users of their own; then it is prepared.

    Raises:
        InvalidInput: if there can be no user with so low or so high a number, if root would follow a
            link, or if parties that had users of their own can't have them any more.
    """
    place = state.resolve()
    hospitals = _names([entry.name for entry in config.hospital], place / HOSPITALS)
    aggregators = _names([entry.name for entry in config.aggregator], place / AGGREGATORS)
    users = PartyUsers(state=place, first=first, hospitals=hospitals, aggregators=aggregators)
    require_number(first)
    if os.geteuid() == 0:
        users.require_no_links()
    choice = _choice(users)
    if choice.users is not None:
        choice.users.prepare()
    elif os.geteuid() == 0 and _were_given(place):
        process_user.give(place, user=0, group=0)
        process_user.set_folder(place, user=0, group=0, mode=_CLOSED)
    return choice


def _were_given(state: Path) -> bool:
    """Whether the parties had users of their own when they last ran in this folder."""
    homes = (state / HOSPITALS).glob("*/")
    return any(stat.S_IMODE(home.stat().st_mode) == SHARED for home in homes)


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
    if why and _were_given(users.state):
        raise InvalidInput(
            f"The parties in {users.state} were users of their own when they last ran, and can't be now, since {why}. "
            f"{MEND} Or say --first-user 0 to go on as one user: {READS_ALL}"
        )
    if why:
        sentence = f"All parties are one user, since {why}: {READS_ALL} {MEND}"
        return Choice(users=None, sentence=sentence)
    return Choice(users=users, sentence=OWN_USERS)


def _names(wanted: Sequence[str], folder: Path) -> tuple[str, ...]:
    """Those of a file and those of folders that lie there already, sorted."""
    there = [path.name for path in folder.iterdir() if path.is_dir()] if folder.is_dir() else []
    return tuple(sorted({*wanted, *there}))
