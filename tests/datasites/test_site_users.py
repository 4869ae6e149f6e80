"""A hospital's owner, vault and front desk as users of their own: who reads what, and who does not."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datasites import private_files, site, site_users
from datasites.owner.refused_plans import RefusedPlans
from datasites.owner.request_selection import SeenRequests
from datasites.protocol import vault_api
from datasites.site import Site, SiteSettings
from datasites.site_users import FIRST_USER, SiteUsers
from datasites.vault import vault_process
from syft_code.errors import Unavailable
from syft_code.operation import process_user
from syft_code.operation.process_user import ProcessUser
from syft_code.runtime import durable_files
from tests.other_users import acting_as, can_read, needs_root, open_folder

SECRETS = {
    "owner": ("owner/key", "owner/salt", "owner/password", "owner/account", "policy.toml", "owner"),
    "vault": ("vault/key", "vault/vault.db", "vault/cohorts/patients"),
    "desk": ("desk/key", "desk/owner_account.json", "desk"),
}
PUBLIC = ("site.json", "desk.uid")
FILES = (*PUBLIC, "policy.toml")


def hospital(folder: Path, name: str) -> Site:
    """A hospital's folder with a file of each kind, as root made it."""
    made = site.create(folder / name, SiteSettings(name=name, port=1), policy="rules = 1")
    private_files.private_folder(made.vault / "cohorts")
    for path in (made.vault / "key", made.vault / "vault.db", made.desk / "key"):
        durable_files.write_durably(path, b"secret")
    durable_files.write_durably(made.vault / "cohorts" / "patients", b"secret")
    return made


def give_all(folder: Path) -> None:
    with process_user.opened_folder(folder) as opened:
        process_user.give(opened, user=FIRST_USER, group=FIRST_USER)


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


@pytest.fixture
def two(folder: Path) -> dict[str, tuple[Site, SiteUsers]]:
    found = {}
    for position, name in enumerate(("north", "south")):
        made = hospital(folder, name)
        users = SiteUsers.of(made, FIRST_USER + position * site_users.NUMBERS)
        users.give_folders(made)
        found[name] = (made, users)
    return found


def of(users: SiteUsers, part: str) -> ProcessUser:
    user: ProcessUser = getattr(users, part)
    return user


@needs_root
@pytest.mark.parametrize("part", SECRETS)
def test_each_user_reads_its_own_files_and_no_other_partys(
    two: dict[str, tuple[Site, SiteUsers]], part: str
) -> None:
    ours, users = two["north"]
    user = of(users, part)
    for whose, names in SECRETS.items():
        for name in names:
            read = can_read(ours.home / name, user.number, user.groups)
            assert read == (whose == part), f"{part} and {name}"
    for name in PUBLIC:
        assert can_read(ours.home / name, user.number, user.groups)
    theirs = two["south"][0].home
    for name in (*PUBLIC, *(name for names in SECRETS.values() for name in names)):
        assert not can_read(theirs / name, user.number, user.groups), name


@needs_root
def test_with_one_user_for_all_each_of_these_reads_succeeds(folder: Path) -> None:
    ours = hospital(folder, "north")
    give_all(ours.home)
    for name in (name for names in SECRETS.values() for name in names):
        assert can_read(ours.home / name, FIRST_USER), name


@needs_root
def test_nobody_but_the_owner_changes_the_key_and_nobody_moves_anothers_folder(
    two: dict[str, tuple[Site, SiteUsers]],
) -> None:
    ours, users = two["north"]
    for part in ("vault", "desk"):
        user = of(users, part)
        with acting_as(user.number, user.groups):
            for change in (
                lambda: (ours.owner / "key").write_bytes(bytes(32)),
                lambda: ours.owner.rename(ours.home / "elsewhere"),
                lambda: ours.vault.rename(ours.home / "mine"),
                lambda: ours.desk.rename(ours.home / "mine"),
                lambda: (ours.home / "site.json").write_bytes(b"{}"),
                lambda: (ours.home / "new").touch(),
            ):
                with pytest.raises(PermissionError):
                    change()


@needs_root
@pytest.mark.servers
def test_the_front_desk_and_the_owner_reach_the_vaults_socket_and_a_neighbour_does_not(
    two: dict[str, tuple[Site, SiteUsers]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, users = two["north"]
    monkeypatch.chdir(ours.vault)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(vault_api.SOCKET_NAME)
        os.chown(vault_api.SOCKET_NAME, users.vault.number, users.vault.number)
        vault_process._admit(ours.vault)
        listening.listen()
        for user in (users.desk, users.owner, users.vault):
            with acting_as(user.number, user.groups), vault_api._connected(ours.vault, 5.0):
                pass
        stranger = two["south"][1].desk
        with (
            acting_as(stranger.number, stranger.groups),
            pytest.raises(PermissionError),
            vault_api._connected(ours.vault, 5.0),
        ):
            pass
        ours.vault.chmod(0o700)
        vault_process._admit(ours.vault)
        assert Path(vault_api.SOCKET_NAME).stat().st_mode & 0o777 == 0o600, (
            "one user: nobody else's"
        )


@needs_root
def test_what_root_writes_for_a_hospital_belongs_to_whoever_has_the_folder(
    two: dict[str, tuple[Site, SiteUsers]],
) -> None:
    ours, users = two["north"]
    RefusedPlans(ours.owner).note("a hash", "a sentence")
    SeenRequests(ours.owner).note("an id")
    (ours.owner / "account").unlink()
    (ours.owner / "password").unlink()
    (ours.desk / "owner_account.json").unlink()
    site.create(ours.home, ours.settings())
    files = [ours.owner / f"{name}.json" for name in ("refused_plans", "seen_requests")]
    files += [ours.owner / "account", ours.owner / "password"]
    for path in files:
        found = path.stat()
        assert (found.st_uid, found.st_mode & 0o777) == (users.owner.number, 0o600), path
    assert ours.desk_account.stat().st_uid == users.desk.number


def test_a_process_gets_of_roots_variables_those_that_it_needs_and_no_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)
    kept = {
        "PATH": "/usr/bin", "LANG": "de_DE.UTF-8", "LC_ALL": "C", "TZ": "Europe/Zurich",
        "OMP_NUM_THREADS": "2", "CONSILIUM_UNCONTAINED": "patients-may-be-read", "CONSILIUM_TRACE": "/t",
    }  # fmt: skip
    secret = {
        "AWS_SECRET_ACCESS_KEY": "k", "SSH_AUTH_SOCK": "/home/starter/a", "PYTHONPATH": "/home/starter/code",
        "LD_PRELOAD": "/home/starter/a.so", "HTTPS_PROXY": "http://root:word@proxy", "TMPDIR": "/home/starter/tmp",
        "XDG_RUNTIME_DIR": "/run/user/0", "LOGNAME": "root", "USER": "root", "HOME": "/home/starter", "PATHS": "x",
    }  # fmt: skip
    for name, value in (kept | secret).items():
        monkeypatch.setenv(name, value)
    user = ProcessUser(number=FIRST_USER, home=Path("/srv/own"))
    assert user.environment() == kept | {"HOME": "/srv/own", "USER": str(FIRST_USER)}


@needs_root
def test_a_folder_full_of_traps_gives_away_nothing_that_lies_elsewhere(folder: Path) -> None:
    elsewhere, taken = folder / "elsewhere", folder / "taken"
    (elsewhere / "deep").mkdir(parents=True)
    (elsewhere / "key").write_bytes(b"secret")
    taken.mkdir()
    (taken / "link").symlink_to(elsewhere / "key")
    (taken / "folder").symlink_to(elsewhere)
    os.link(elsewhere / "key", taken / "name")
    os.mkfifo(taken / "pipe")
    (taken / "own").write_bytes(b"mine")
    give_all(taken)
    owners = {path: path.lstat().st_uid for path in folder.rglob("*")}
    assert owners == dict.fromkeys(owners, 0) | {
        taken: FIRST_USER,
        taken / "own": FIRST_USER,
    }


@needs_root
@pytest.mark.parametrize(
    ("name", "plant"),
    [(name, os.symlink) for name in (*FILES, "owner", "vault", "desk")]
    + [(name, os.link) for name in FILES],
)
def test_a_link_at_a_name_that_root_gives_away_leaves_what_it_stands_for_as_it_was(
    folder: Path, name: str, plant: Callable[[Path, Path], None]
) -> None:
    ours = hospital(folder, "north")
    place, elsewhere = ours.home / name, folder / "elsewhere"
    place.rename(elsewhere)
    plant(elsewhere, place)
    assert site_users.links(ours) == [place] * place.is_symlink()
    elsewhere.chmod(0o711)
    with pytest.raises(Unavailable, match=f"^{name} must be a f.*put the f"):
        SiteUsers.of(ours, FIRST_USER).give_folders(ours)
    status = elsewhere.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, 0, 0o711)


@needs_root
def test_a_hospitals_folder_that_is_a_link_is_not_given(folder: Path) -> None:
    ours = hospital(folder, "north")
    ours.home.rename(folder / "elsewhere")
    ours.home.symlink_to(folder / "elsewhere")
    with pytest.raises(Unavailable, match="must be a folder and no link"):
        SiteUsers.of(ours, FIRST_USER).give_folders(ours)
    assert {path.stat().st_uid for path in (folder / "elsewhere").rglob("*")} == {0}


def test_the_owner_chooses_the_account_and_a_front_desk_that_has_it_is_not_told_again(
    tmp_path: Path,
) -> None:
    made = site.create(tmp_path / "north", SiteSettings(name="north", port=1))
    chosen = made.new_account()
    assert chosen.password == (made.owner / "password").read_text()
    assert bytes.fromhex(chosen.signing_key) == (made.owner / "account").read_bytes()
    made.desk_account.unlink()
    for name in ("key", "syft.db"):
        (made.desk / name).write_bytes(bytes(32))
    site.create(tmp_path / "north", SiteSettings(name="north", port=1))
    assert not made.desk_account.exists()


def test_it_is_said_why_parties_have_no_users_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = range(FIRST_USER, FIRST_USER + 4)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert site_users.obstacle(numbers, {}) == "only root gives processes to other users"
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "the user root has one of the numbers from 0 on" in site_users.obstacle(range(4), {})
    others = site_users.obstacle(range(2), {}, ours=("root", "somebody"))
    assert "the user daemon" in others, "a number's name must be the one that its place has"
    closed = tmp_path / "closed"
    (closed / "state").mkdir(parents=True)
    closed.chmod(0o700)
    monkeypatch.setattr(site_users, "_failure", lambda number, places: "")
    monkeypatch.setattr(site_users, "__file__", "/site_users.py")
    monkeypatch.setattr(site_users.sys, "executable", "/bin/sh")
    monkeypatch.setattr(site_users.sys, "prefix", "/usr")
    assert site_users.obstacle(numbers, {}) == ""
    why = site_users.obstacle(numbers, {"the parties' folder": closed / "state"})
    assert why.startswith("other users can't enter /") and why.endswith("parties' folder lies")
    monkeypatch.setattr(process_user, "first_closed_folder", lambda place: "")
    monkeypatch.setattr(os, "fchown", lambda *_: None)  # a disk that forgets it
    assert "can't be given to other users" in site_users.obstacle(numbers, {"it": tmp_path})


@needs_root
def test_a_python_that_can_not_work_as_another_user_is_told_of(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = folder / "python"
    broken.write_text("#!/bin/sh\necho 'ImportError: no numpy.' >&2\nexit 1\n")
    monkeypatch.setattr(site_users.sys, "executable", str(broken))
    assert "can't run Python here" in site_users._failure(FIRST_USER, [])
    broken.chmod(0o755)
    assert "can't work here (ImportError: no numpy)" in site_users._failure(FIRST_USER, [])
