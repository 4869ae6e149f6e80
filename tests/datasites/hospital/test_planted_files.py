"""Files that a front desk's or a stranger's user plants in a hospital's folder: root follows none of them."""

import os
import shutil
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from datasites import site
from datasites.hospital import backup, running
from datasites.hospital.hospital_file import HospitalConfig
from datasites.site import Site, SiteSettings
from datasites.site_users import FIRST_USER, SiteUsers
from datasites.vault.db.vault_database import VaultDatabase
from syft_code.errors import ConsiliumError, Unavailable
from tests.other_users import needs_root, open_folder

pytestmark = [pytest.mark.servers]


@pytest.fixture
def made() -> Iterator[Site]:
    with open_folder() as folder:
        found = site.create(folder / "north", SiteSettings(name="north", port=8443))
        key = SigningKey.generate()
        (found.vault / "key").write_bytes(bytes(key))
        (found.vault / "key").chmod(0o600)
        VaultDatabase.open(found.vault, hospital="north", key=key).log.append("started")
        (found.vault / "vault.db").chmod(0o600)
        with closing(sqlite3.connect(found.desk / "syft.db")) as database:
            database.execute("CREATE TABLE note (text)")
        yield found


def with_users(made: Site) -> SiteUsers:
    users = SiteUsers.of(made, FIRST_USER)
    users.give_folders(made)
    return users


def members(copy: Path) -> dict[str, bytes]:
    with tarfile.open(copy) as tar:
        found = {one.name: tar.extractfile(one) for one in tar}
        return {name: file.read() for name, file in found.items() if file}


@needs_root
def test_a_copy_made_by_root_is_whole_and_each_part_is_read_as_its_user(
    made: Site, tmp_path: Path
) -> None:
    with_users(made)
    written = backup.write(made, tmp_path / "north.tar")
    found = members(tmp_path / "north.tar")
    assert found["vault/key"] == (made.vault / "key").read_bytes()
    assert {"site.json", "owner/key", "vault/vault.db", "desk/syft.db"} <= found.keys()
    assert written.log_entries == 1 and os.geteuid() == 0


def a_database(made: Site) -> None:
    (made.desk / "syft.db").unlink()
    (made.desk / "syft.db").symlink_to(made.vault / "vault.db")


def a_file(made: Site) -> None:
    (made.desk / "note").symlink_to(made.vault / "key")


def a_second_name(made: Site) -> None:
    os.link(made.vault / "key", made.desk / "note")


@needs_root
@pytest.mark.parametrize("plant", [a_database, a_file, a_second_name])
def test_a_link_to_the_vaults_secrets_is_no_way_to_them(
    made: Site, tmp_path: Path, plant: Callable[[Site], None]
) -> None:
    with_users(made)
    plant(made)
    with pytest.raises(Unavailable):
        backup.write(made, tmp_path / "north.tar")
    assert list(tmp_path.iterdir()) == [] and os.geteuid() == 0


@needs_root
def test_a_pipe_in_place_of_a_file_holds_no_copy_up(made: Site, tmp_path: Path) -> None:
    with_users(made)
    os.mkfifo(made.desk / "pipe")
    with pytest.raises(Unavailable, match="pipe"):
        backup.write(made, tmp_path / "north.tar")


def config(folder: Path) -> HospitalConfig:
    return HospitalConfig(
        name="north", institution="North", home=str(folder), address="north.example.org:8443",
        port=8443, epsilon=8.0, delta=1e-5,
    )  # fmt: skip


@needs_root
@pytest.mark.parametrize("part", ["owner", "vault", "desk"])
def test_root_makes_no_hospital_in_a_folder_with_planted_links(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_folder() as folder:
        other, home = folder / "other", folder / "north"
        other.mkdir(mode=0o755)
        for name in ("owner", "vault", "desk"):
            (home / name).mkdir(parents=True)
        shutil.rmtree(home / part)
        (home / part).symlink_to(other)
        (home / "site.json").write_text("{}")
        users = SiteUsers.of(Site(home), FIRST_USER)
        monkeypatch.setattr(running, "_users", lambda config: users)
        with pytest.raises(ConsiliumError):
            running.make(config(home))
        assert list(other.iterdir()) == [] and other.stat().st_mode & 0o777 == 0o755


@needs_root
def test_root_makes_no_hospital_in_a_folder_of_somebody_elses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with open_folder() as folder:
        home = folder / "theirs"
        home.mkdir()
        os.chown(home, 12_345, 12_345)
        users = SiteUsers.of(Site(home), FIRST_USER)
        monkeypatch.setattr(running, "_users", lambda config: users)
        with pytest.raises(Unavailable, match="its users' own"):
            running.make(config(home))
        assert home.stat().st_uid == 12_345 and list(home.iterdir()) == []


def test_only_the_process_that_runs_it_is_stopped(made: Site) -> None:
    """A number that another process has meanwhile is not the hospital's."""
    found = config(made.home)
    lock = made.home / running.LOCK
    lock.write_text(f"{os.getpid()} 1.0")
    with running.private_files.lock_file(lock), pytest.raises(Unavailable, match="names none"):
        running.stop(found)
