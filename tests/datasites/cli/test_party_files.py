"""A party that is given by the file that it wrote of itself."""

from pathlib import Path

import pytest
from nacl.signing import SigningKey

from datasites.cli import party_commands
from policies.known_parties import Party
from syft_code import canonical
from syft_code.errors import InvalidInput
from syft_code.plans.roster import Aggregator

KEY, SEAL = (SigningKey.generate().verify_key.encode().hex() for _ in range(2))
HOSPITAL = Party(name="north", institution="North", operator="North IT", verify_key=KEY)
ADDER = Aggregator(
    name="adder-1", address="a.example.org:8201", verify_key=KEY, seal_key=SEAL, certificate="pem"
)


def read(
    file: Path | None, *, name: str = "", institution: str = "", operator: str = "", key: str = ""
) -> Party:
    return party_commands._new_party(name, file, institution, operator, key=key, seal_key="")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "north.json").write_bytes(canonical.encode(HOSPITAL))
    (tmp_path / "adder.json").write_bytes(canonical.encode(ADDER))
    (tmp_path / "other").write_bytes(b"{}")
    return tmp_path


def test_a_hospitals_file_says_all_and_an_institution_may_be_said_otherwise(files: Path) -> None:
    assert read(files / "north.json") == HOSPITAL
    assert read(files / "north.json", institution=" The  North ").institution == "The North"


def test_an_aggregators_file_needs_an_institution(files: Path) -> None:
    found = read(files / "adder.json", institution="TU Wien")
    assert (found.seal_key, found.role, found.operator) == (SEAL, "aggregator", "TU Wien")
    with pytest.raises(InvalidInput, match="so --institution must"):
        read(files / "adder.json")


def test_what_contradicts_itself_or_is_no_party_is_refused(files: Path) -> None:
    for twice in ({"name": "north"}, {"key": KEY}):
        with pytest.raises(InvalidInput, match="leave out NAME"):
            read(files / "north.json", **twice)
    for file in (files / "other", files / "missing", files):
        with pytest.raises(InvalidInput):
            read(file)
    with pytest.raises(InvalidInput, match="must be given by NAME"):
        read(None, name="north")
