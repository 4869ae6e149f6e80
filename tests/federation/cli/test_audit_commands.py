"""`audit verify` says whether a log is sound, who else holds it, and whose word the key is."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from nacl.signing import SigningKey
from typer.testing import CliRunner

from federation.certificate import certificate
from federation.certificate.verification import Certificate
from federation.cli import audit_commands
from syft_code import canonical
from syft_code.errors import ConsiliumError
from syft_code.evidence import audit_chain
from syft_code.evidence.audit_chain import Entry
from syft_code.plans import messages
from syft_code.plans.messages import ShareHeader, Signed
from syft_code.plans.roster import Aggregator

NORTH, THIEF = (SigningKey(bytes([i]) * 32) for i in (0, 9))
"""north's is the key that the demo's plan names."""
NORTH_KEY = NORTH.verify_key.encode().hex()
RESEARCHER = SigningKey(bytes([77]) * 32)
app = typer.Typer()
app.command()(audit_commands.verify)


def entries(key: SigningKey, count: int) -> list[Signed]:
    log: list[Signed] = []
    previous = audit_chain.START
    for number in range(1, count + 1):
        entry = Entry(
            number=number, at_unix_s=number, kind="round", salt="5a" * 16, previous_sha256=previous
        )
        log.append(messages.sign(entry, key))
        previous = audit_chain.entry_sha256(log[-1])
    return log


LOG = entries(NORTH, 20)
SOUND = audit_chain.export("north", NORTH, LOG)


def hash_of(number: int) -> str:
    return audit_chain.entry_sha256(LOG[number - 1])


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "north.log"
    path.write_bytes(SOUND)
    return path


@pytest.fixture(scope="module")
def content(skin_demo) -> Certificate:
    return certificate.certificate(skin_demo.outcome)


def run(*words: object) -> Result:
    return CliRunner(mix_stderr=False).invoke(app, [str(word) for word in words])


def checked(*words: object) -> dict[str, Any]:
    """What --json says; exit code 1 exactly if the log is not sound."""
    found = run(*words, "--json")
    facts: dict[str, Any] = json.loads(found.stdout)
    assert found.exit_code == (0 if facts["sound"] else 1)
    assert facts.keys() == {
        "sound", "party", "verify_key", "key_from", "entries", "head", "anchors",
        "anchored", "without_anchor", "problems",
    }  # fmt: skip
    return facts


def refusal(*words: object) -> str:
    """The sentence of a command that can't check at all."""
    found = run(*words)
    assert isinstance(found.exception, ConsiliumError), found.exception
    assert not found.stdout
    text = str(found.exception)
    assert text.endswith(".") and "\n" not in text and len(text) < 500
    return text


def holding(path: Path, content: Certificate, sha256: str) -> Path:
    """A certificate in which north's anchor is this hash, signed by north."""
    changed = json.loads(json.dumps(content))
    own = changed["hospitals"][0]
    data = own["statements"][-1]["message"].encode()
    header = canonical.parse(ShareHeader, data, what="header")
    signed = messages.sign(dataclasses.replace(header, log_sha256=sha256), NORTH)
    own["log_sha256"] = sha256
    own["statements"][-1] = {"message": signed.message, "signature": signed.signature}
    certificate.write(path, changed, key=RESEARCHER)
    return path


def test_a_sound_log_alone_says_that_its_key_must_be_compared(log: Path) -> None:
    facts = checked(log)
    assert (facts["sound"], facts["party"], facts["entries"]) == (True, "north", 20)
    assert (facts["key_from"], facts["verify_key"]) == ("log", NORTH_KEY)
    assert facts["head"] == {"number": 20, "sha256": hash_of(20)}
    words = run(log).stdout
    assert words.startswith("The log is sound: 20 entries of north, each signed and chained")
    assert "The key was taken from the log itself" in words
    assert "compare it with the party's own" in words
    assert "Nobody else's anchor was held against it" in words


def test_with_the_hospitals_key_a_log_that_another_signed_is_not_sound(
    log: Path, tmp_path: Path
) -> None:
    assert checked(log, "--key", NORTH_KEY.upper())["key_from"] == "option"
    assert f"The key is the one that you gave, {NORTH_KEY}." in run(log, "--key", NORTH_KEY).stdout
    forged = tmp_path / "forged"
    forged.write_bytes(audit_chain.export("north", THIEF, entries(THIEF, 20)))
    assert checked(forged)["sound"] is True
    facts = checked(forged, "--key", NORTH_KEY)
    assert facts["sound"] is False
    assert "somebody signed it anew" in " ".join(facts["problems"])
    assert run(forged, "--key", NORTH_KEY).stdout.startswith("The log is NOT sound:\n  - ")


def test_a_certificate_gives_the_key_and_an_anchor(
    log: Path, tmp_path: Path, content: Certificate
) -> None:
    model = holding(tmp_path / "certificate.json", content, hash_of(15))
    facts = checked(log, "--certificate", model)
    assert (facts["sound"], facts["key_from"], facts["verify_key"]) == (
        True, "certificate", NORTH_KEY,
    )  # fmt: skip
    (anchor,) = facts["anchors"]
    assert anchor == {"source": anchor["source"], "sha256": hash_of(15)}
    assert facts["anchored"] == 15
    words = run(log, "--certificate", model).stdout
    assert "certificate.json', up to entry 15." in words
    assert "The key is the one that the certificate's plan names" in words

    forged = tmp_path / "forged"
    forged.write_bytes(audit_chain.export("north", THIEF, entries(THIEF, 20)))
    assert checked(forged, "--certificate", model)["sound"] is False


def test_a_log_that_was_cut_or_rewritten_misses_the_certificates_anchor(
    tmp_path: Path, content: Certificate
) -> None:
    model = holding(tmp_path / "certificate.json", content, hash_of(15))
    cut, anew = tmp_path / "cut", tmp_path / "anew"
    cut.write_bytes(audit_chain.export("north", NORTH, LOG[:10]))
    other = holding(tmp_path / "other.json", content, "cc" * 32)
    anew.write_bytes(SOUND)
    assert checked(cut)["sound"] is True
    for log, told in ((cut, model), (anew, other)):
        facts = checked(log, "--certificate", told, "--key", NORTH_KEY)
        assert facts["sound"] is False
        assert told.name in " ".join(facts["problems"])
        assert facts["anchored"] == 0
        assert "and no entry meets an anchor." in run(log, "--certificate", told).stdout


def test_a_certificate_that_knows_nothing_of_the_hospital_is_said_to_hold_nothing(
    tmp_path: Path, content: Certificate
) -> None:
    model = holding(tmp_path / "certificate.json", content, hash_of(15))
    stranger = tmp_path / "stranger"
    stranger.write_bytes(audit_chain.export("elsewhere", THIEF, entries(THIEF, 3)))
    facts = checked(stranger, "--certificate", model)
    assert (facts["sound"], facts["key_from"], facts["anchors"]) == (True, "log", [])
    assert len(facts["without_anchor"]) == 1
    words = run(stranger, "--certificate", model).stdout
    assert "No anchor to it is held by" in words and "taken from the log itself" in words


def test_a_log_under_another_hospitals_name_is_not_sound(
    tmp_path: Path, content: Certificate
) -> None:
    model = holding(tmp_path / "certificate.json", content, hash_of(15))
    renamed = tmp_path / "renamed"
    for name in ("south", "elsewhere"):  # one that the certificate knows, one that it does not
        renamed.write_bytes(audit_chain.export(name, NORTH, LOG))
        for key in ((), ("--key", NORTH_KEY)):
            facts = checked(renamed, "--certificate", model, *key)
            assert facts["sound"] is False, (name, key)


def test_certificates_that_name_different_keys_must_be_settled_by_the_reader(
    log: Path, tmp_path: Path, content: Certificate, skin_demo
) -> None:
    model = holding(tmp_path / "certificate.json", content, hash_of(15))
    plan = skin_demo.outcome.plan
    swapped = tuple(
        dataclasses.replace(entry, name=name)
        for entry, name in zip(plan.hospitals, ("south", "north", "east", "west"), strict=True)
    )
    other = json.loads(json.dumps(content))
    other["plan"] = json.loads(dataclasses.replace(plan, hospitals=swapped).encode())
    other["hospitals"] = []
    certificate.write(tmp_path / "other.json", other, key=RESEARCHER)
    both = ("--certificate", model, "--certificate", tmp_path / "other.json")
    assert "must name the same key for this hospital" in refusal(log, *both)
    assert checked(log, *both, "--key", NORTH_KEY)["sound"] is False, "one calls it another name"


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"\xff\xfe\x00" * 999, b"{}\n", b"hello\n" * 99, SOUND[1:], b"[" * 2_000_000],
)
def test_a_file_that_is_no_log_is_not_sound(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    facts = checked(path)
    assert (facts["sound"], facts["entries"]) == (False, 0)
    words = run(path).stdout
    assert words.startswith("The log is NOT sound:\n  - Line 1 must be the header of an export")
    assert words.count("\n") == 2
    assert checked(path, "--key", NORTH_KEY)["sound"] is False


def test_a_changed_byte_is_found_and_the_exit_code_says_so(log: Path) -> None:
    log.write_bytes(SOUND.replace(b"round", b"sound", 1))
    assert run(log).exit_code in (1, 2)
    assert "Entry 1 (line 2) does not carry the party's signature" in run(log).stdout


def test_what_cannot_be_read_is_one_sentence(log: Path, tmp_path: Path) -> None:
    (tmp_path / "words").write_text("not json")
    (tmp_path / "list").write_text("[]")
    (tmp_path / "empty").write_text("{}")
    (tmp_path / "nested").write_text("[" * 1_000_000)
    (tmp_path / "within").write_text('{"plan":' + "[" * 1_000_000 + "]" * 1_000_000 + "}")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    nowhere = (tmp_path / "nowhere", tmp_path, tmp_path / ("x" * 300), Path("/dev/zero"))
    for path in nowhere:
        assert refusal(path)
    for name in ("words", "list", "empty", "nested", "within", "binary"):
        for option in ("--certificate", "--aggregator"):
            assert refusal(log, option, tmp_path / name)
    for option in ("--certificate", "--aggregator"):
        for path in nowhere:
            assert refusal(log, option, path)
    for key in ("zz", NORTH_KEY[:-1], "\x1b[2J"):
        assert "--key must be 64 hexadecimal digits" in refusal(log, "--key", key)


def test_a_log_that_is_too_large_is_not_read(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_commands, "MAX_LOG_BYTES", 100)
    assert "must be a file of at most 100 bytes, and is none" in refusal(log)


def test_an_aggregator_that_is_away_is_one_sentence(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_commands, "CONNECT_S", 0.2)
    for name, pem in (("away", "-"), ("no-pem", "é")):
        entry = Aggregator(
            name=name,
            address="127.0.0.1:1",
            verify_key="ab" * 32,
            seal_key="cd" * 32,
            certificate=pem,
        )
        (tmp_path / name).write_bytes(canonical.encode(entry))
        said = refusal(log, "--aggregator", tmp_path / name)
        assert name in said
