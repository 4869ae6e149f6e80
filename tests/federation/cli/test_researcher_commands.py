"""`researcher`: credentials grow file by file, never over what is there."""

import json
from pathlib import Path

import pytest
from nacl.signing import SigningKey
from typer.testing import CliRunner, Result

import launch
from federation.researcher.storage.credentials import Credentials, HospitalLogin
from syft_code import canonical
from syft_code.evidence import tls_certificates
from syft_code.plans.roster import Aggregator

RUNNER = CliRunner(mix_stderr=False)


def said(*words: str) -> Result:
    return RUNNER.invoke(launch.app, ["researcher", *words])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert said("init").exit_code == 0
    return tmp_path


def certificate(name: str) -> str:
    key = tls_certificates.new_key()
    return tls_certificates.self_signed(key, name=name, hosts=[]).decode()


def adder(name: str) -> Aggregator:
    key, seal = (SigningKey.generate().verify_key.encode().hex() for _ in range(2))
    return Aggregator(
        name=name,
        address="127.0.0.1:8201",
        verify_key=key,
        seal_key=seal,
        certificate=certificate(name),
    )


def test_the_file_is_ones_own_and_is_made_once(here: Path) -> None:
    path = here / "researcher.json"
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    again = said("init")
    assert again.exit_code == 2 and "must be a new file" in again.stderr
    assert path.read_bytes() == before
    key = Credentials.load(path).verify_key
    assert said("show", "--key").stdout == f"{key}\n"
    assert json.loads(said("show", "--json").stdout) == {
        "verify_key": key, "hospitals": [], "aggregators": [],
    }  # fmt: skip
    assert (
        key in said("show").stdout and Credentials.load(path).signing_key not in said("show").stdout
    )


def test_an_aggregator_is_taken_once_and_replaced_only_if_told(here: Path) -> None:
    first, second = adder("adder-1"), adder("adder-1")
    (here / "first.json").write_bytes(canonical.encode(first))
    (here / "second.json").write_bytes(canonical.encode(second))
    taken = said("join", "first.json")
    assert taken.exit_code == 0 and tls_certificates.fingerprint(first.certificate) in " ".join(
        taken.stdout.split()
    )
    refused = said("join", "second.json")
    assert refused.exit_code == 2 and "must not hold adder-1 yet" in refused.stderr
    assert Credentials.load(here / "researcher.json").aggregators == (first,)
    assert said("join", "second.json", "--replace").exit_code == 0
    assert Credentials.load(here / "researcher.json").aggregators == (second,)


@pytest.mark.parametrize("text", ["", "{}", "nonsense", '{"code": 1}', '{"certificate": ""}'])
def test_a_file_of_another_kind_is_refused_and_nothing_changes(here: Path, text: str) -> None:
    (here / "file").write_text(text)
    before = (here / "researcher.json").read_bytes()
    refused = said("join", "file")
    assert refused.exit_code == 2 and refused.stderr.count("\n") == 1, refused.stderr
    assert (here / "researcher.json").read_bytes() == before


def test_a_new_certificate_takes_the_old_ones_place(here: Path) -> None:
    path = here / "researcher.json"
    old, new = certificate("north"), certificate("north")
    login = HospitalLogin(
        hospital="north", url="https://n:1", email="a@b.c", password="p" * 20, certificate=old
    )
    kept = Credentials.load(path)
    Credentials(accounts=(login,), aggregators=(), signing_key=kept.signing_key).save(path)
    (here / "tls.crt").write_text(new + certificate("authority"))
    assert said("trust", "north", "--certificate", "tls.crt").exit_code == 0
    (changed,) = Credentials.load(path).accounts
    assert changed.certificate == new and changed.pinned() is not None
    for words in (
        ("south", "--certificate", "tls.crt"),
        ("north", "--certificate", "researcher.json"),
    ):
        assert said("trust", *words).exit_code == 2
    assert Credentials.load(path).accounts == (changed,)
