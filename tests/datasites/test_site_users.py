"""A hospital's owner, vault and front desk as users of their own: who reads what, and who does not."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from datasites import private_files, site, site_users
from datasites.protocol import vault_api
from datasites.site import Site, SiteSettings
from datasites.site_users import FIRST_USER, SiteUsers
from datasites.vault import vault_process
from syft_code.errors import InvalidInput
from syft_code.runtime import durable_files, process_user
from syft_code.runtime.process_user import ProcessUser
from tests.other_users import acting_as, can_read, needs_root, open_folder

SECRETS = {
    "owner": ("owner/key", "owner/salt", "owner/password", "owner/account", "policy.toml", "owner"),
    "vault": ("vault/key", "vault/vault.db", "vault/cohorts/patients"),
    "desk": ("desk/key", "desk/owner_account.json", "desk"),
}
PUBLIC = ("site.json", "desk.uid")


def hospital(folder: Path, name: str) -> Site:
    """A hospital's folder with a file of each kind, as root made it."""
    made = site.create(folder / name, SiteSettings(name=name, port=1), policy="rules = 1")
    private_files.private_folder(made.vault / "cohorts")
    for path in (made.vault / "key", made.vault / "vault.db", made.desk / "key"):
        durable_files.write_durably(path, b"secret")
    durable_files.write_durably(made.vault / "cohorts" / "patients", b"secret")
    return made


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
    process_user.give(ours.home, user=FIRST_USER, group=FIRST_USER)
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
def test_a_partys_file_that_root_writes_belongs_to_who_has_the_folder(
    two: dict[str, tuple[Site, SiteUsers]],
) -> None:
    ours, users = two["north"]
    durable_files.write_durably(ours.owner / "mine.png", b"x")
    assert (ours.owner / "mine.png").stat().st_uid == 0, "only a party's file is the party's"
    durable_files.write_durably(ours.owner / "terms.json", b"{}", for_the_folders_user=True)
    found = (ours.owner / "terms.json").stat()
    assert (found.st_uid, found.st_mode & 0o777) == (users.owner.number, 0o600)


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
    process_user.give(taken, user=FIRST_USER, group=FIRST_USER)
    owners = {path: path.lstat().st_uid for path in folder.rglob("*")}
    assert owners == dict.fromkeys(owners, 0) | {
        taken: FIRST_USER,
        taken / "own": FIRST_USER,
    }


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
    monkeypatch.setattr(site_users, "_closed", lambda place: "")
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


@needs_root
@pytest.mark.parametrize("name", ["site.json", "desk.uid", "policy.toml", "vault", "owner", "desk"])
def test_a_link_in_a_hospitals_folder_gives_nothing_away_that_lies_elsewhere(
    folder: Path, name: str
) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir(mode=0o711)
    (elsewhere / "file").write_bytes(b"secret")
    (elsewhere / "file").chmod(0o604)
    ours = hospital(folder, "north")
    (ours.home / name).rename(ours.home / "aside")
    is_folder = (ours.home / "aside").is_dir()
    (ours.home / name).symlink_to(elsewhere if is_folder else elsewhere / "file")
    with pytest.raises(InvalidInput, match=f"{name} "):
        SiteUsers.of(ours, FIRST_USER).give_folders(ours)
    for path, mode in ((elsewhere, 0o711), (elsewhere / "file", 0o604)):
        found = path.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (0, 0, mode)
    with pytest.raises(InvalidInput, match="must lie where it seems to"):
        site_users.require_no_links(ours)


@needs_root
def test_a_file_with_a_second_name_is_not_given_away(folder: Path) -> None:
    (folder / "elsewhere").write_bytes(b"secret")
    ours = hospital(folder, "north")
    (ours.home / "site.json").unlink()
    os.link(folder / "elsewhere", ours.home / "site.json")
    with pytest.raises(InvalidInput, match="must be a file with one name"):
        SiteUsers.of(ours, FIRST_USER).give_folders(ours)
    assert (folder / "elsewhere").stat().st_gid == 0


@needs_root
def test_a_link_on_the_way_to_a_folder_is_not_followed(folder: Path) -> None:
    (folder / "elsewhere" / "north").mkdir(parents=True)
    (folder / "hospitals").symlink_to("elsewhere")
    user = ProcessUser(number=FIRST_USER, home=folder / "hospitals" / "north")
    with pytest.raises(InvalidInput, match="is a link or no folder"):
        user.give_home()
    assert (folder / "elsewhere" / "north").stat().st_uid == 0


def test_a_partys_process_has_none_of_the_starters_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "https_proxy": "http://p",
        "OMP_NUM_THREADS": "1",
        "CONSILIUM_TRACE": "/t",
    }
    lost = (
        "AWS_SECRET_ACCESS_KEY",
        "SSH_AUTH_SOCK",
        "PYTHONPATH",
        "LD_PRELOAD",
        "XDG_RUNTIME_DIR",
        "GITHUB_TOKEN",
    )
    for name, value in (kept | dict.fromkeys(lost, "secret")).items():
        monkeypatch.setenv(name, value)
    found = ProcessUser(number=7, home=Path("/home/of/7")).environment()
    assert found.items() >= (kept | {"HOME": "/home/of/7", "USER": "7"}).items()
    assert not {*lost} & found.keys() and "secret" not in found.values()
