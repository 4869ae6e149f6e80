"""A copy of a hospital's folder: whole, its maker's alone, and back only if nothing that others know is missing."""

import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from datasites.hospital import backup
from datasites.protocol import owner_actions
from datasites.site import Site
from datasites.vault.vault import Vault
from syft_code.errors import InvalidInput, Refused, Unavailable
from syft_code.evidence import audit_chain
from syft_code.evidence.audit_chain import Anchor
from tests.datasites.hospitals import BUDGET, OneHospital, policy

pytestmark = pytest.mark.servers


def anything(log: bytes, key: str) -> int:
    """Nobody else has seen anything."""
    assert audit_chain.verify(log, verify_key=key).problems == ()
    return 0


def seen(*hashes: str) -> Callable[[bytes, str], int]:
    """Somebody has seen entries with these hashes."""

    def check(log: bytes, key: str) -> int:
        anchors = tuple(Anchor(sha256=one, source="somebody") for one in hashes)
        verdict = audit_chain.verify(log, verify_key=key, anchors=anchors)
        if verdict.problems:
            raise Refused(verdict.problems[0])
        return verdict.anchored or 0

    return check


@pytest.fixture
def hospital(tmp_path: Path) -> OneHospital:
    return OneHospital(home=tmp_path / "hospital-1")


@pytest.fixture
def vault(hospital: OneHospital, templates: None) -> Iterator[Vault]:
    started = Vault(hospital.site)
    hospital.publish(started)
    (hospital.site.desk / "syft.db").write_bytes(b"")
    yield started
    started.close()


def contents(home: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file()
        and path.suffix not in {".db", ".sock"}
        and path.name not in backup.LEFT_OUT
    }


def test_a_copy_made_while_the_vault_runs_comes_back_and_starts(
    hospital: OneHospital, vault: Vault, tmp_path: Path
) -> None:
    out, home = tmp_path / "copy.tar", tmp_path / "back"
    made = backup.write(hospital.site, out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    before = contents(hospital.site.home)
    vault.close()
    assert backup.restore(out, home, hospital="hospital-1", check=anything) == (made, 0)
    assert contents(home) == before
    again = Vault(Site(home))
    again.close()
    assert all(
        stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
        for path in home.rglob("*")
        if not path.is_socket()
    )


def test_an_older_copy_than_somebody_has_seen_is_not_put_back(
    hospital: OneHospital, vault: Vault, tmp_path: Path
) -> None:
    old, new = tmp_path / "old.tar", tmp_path / "new.tar"
    backup.write(hospital.site, old)
    hospital.perform(vault, owner_actions.AdoptPolicy(policy=policy(BUDGET)))  # the log goes on
    made = backup.write(hospital.site, new)
    check = seen(made.log_sha256)
    with pytest.raises(Refused):
        backup.restore(old, tmp_path / "back", hospital="hospital-1", check=check)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hospital-1", "new.tar", "old.tar"]
    backup.restore(new, tmp_path / "back", hospital="hospital-1", check=check)


def test_nothing_is_put_over_what_is_there(
    hospital: OneHospital, vault: Vault, tmp_path: Path
) -> None:
    out = tmp_path / "copy.tar"
    backup.write(hospital.site, out)
    before = contents(hospital.site.home)
    with pytest.raises(Refused, match="into a new or an empty folder"):
        backup.restore(out, hospital.site.home, hospital="hospital-1", check=anything)
    assert contents(hospital.site.home) == before
    with pytest.raises(InvalidInput, match="must not lie in the folder that is copied"):
        backup.write(hospital.site, hospital.site.home / "copy.tar")
    (hospital.site.home / "tls.crt").symlink_to(out)
    with pytest.raises(Unavailable, match="is a link"):
        backup.write(hospital.site, tmp_path / "other.tar")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.tar", "hospital-1"]


def test_a_copy_of_another_hospital_is_not_put_back(
    hospital: OneHospital, vault: Vault, tmp_path: Path
) -> None:
    out = tmp_path / "copy.tar"
    backup.write(hospital.site, out)
    with pytest.raises(InvalidInput, match="must be of south, and is of hospital-1"):
        backup.restore(out, tmp_path / "back", hospital="south", check=anything)
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize("cut", [0, 512, 1536, -1024, -20_000])
def test_half_a_copy_is_told_so(
    hospital: OneHospital, vault: Vault, tmp_path: Path, cut: int
) -> None:
    out = tmp_path / "copy.tar"
    backup.write(hospital.site, out)
    os.truncate(out, cut if cut >= 0 else out.stat().st_size + cut)
    if cut == -1024:  # only the end mark of the tar is gone: everything is there
        return
    with pytest.raises(InvalidInput, match="whole, and is not"):
        backup.restore(out, tmp_path / "back", hospital="hospital-1", check=anything)
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../out", tarfile.REGTYPE),
        ("/etc/out", tarfile.REGTYPE),
        ("a/../../out", tarfile.REGTYPE),
        ("link", tarfile.SYMTYPE),
        ("hard", tarfile.LNKTYPE),
        ("pipe", tarfile.FIFOTYPE),
    ],
)
def test_a_copy_that_somebody_made_up_leaves_nothing_anywhere(
    tmp_path: Path, name: str, kind: bytes
) -> None:
    out = tmp_path / "copy.tar"
    with tarfile.open(out, "w") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        info.size = 1 if kind == tarfile.REGTYPE else 0
        tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(InvalidInput, match="plain files alone"):
        backup.restore(out, tmp_path / "back", hospital="hospital-1", check=anything)
    assert [path.name for path in tmp_path.iterdir()] == ["copy.tar"]


def test_a_copy_names_its_hospitals_key(
    hospital: OneHospital, vault: Vault, tmp_path: Path
) -> None:
    out = tmp_path / "copy.tar"
    made = backup.write(hospital.site, out)
    assert (
        made.verify_key
        == SigningKey((hospital.site.vault / "key").read_bytes()).verify_key.encode().hex()
    )
