"""The DPIA worksheet: what a federation file says stands in it, the rest is a blank."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import launch
from datasites.data.readers import Kind
from datasites.hospital.hospital_file import HospitalEntry
from federation.local import dpia_command, federation_file
from federation.local.federation_file import AggregatorEntry, FederationConfig

FILE = FederationConfig(
    hospital=tuple(
        HospitalEntry(
            name=name,
            port=8101 + number,
            epsilon=3.5,
            epsilon_alone=9.25,
            delta=1e-6,
            kind="heart",
            patients=1234,
        )
        for number, name in enumerate(("north", "south", "east"))
    ),
    aggregator=(AggregatorEntry(name="one", port=8201), AggregatorEntry(name="two", port=8202)),
)


def said(*words: str) -> tuple[int, str]:
    done = CliRunner(mix_stderr=False).invoke(launch.app, ["dpia", *words])
    return done.exit_code, done.stdout + done.stderr


def test_what_the_file_says_is_filled_in_and_the_rest_is_counted_as_blank(tmp_path: Path) -> None:
    code, printed = said("--hospital", "rosendahl", "--out", str(out := tmp_path / "dpia.md"))
    text = out.read_text()
    assert code == 0 and f"{text.count(dpia_command.BLANK)} blanks" in printed
    assert "at most epsilon 8 at delta 1e-05" in text and "collude, epsilon 20" in text
    assert "vidir-molemax, vidir-modern, vienna-dias" in text and "aggregator-3" in text
    assert "skin lesions" in text and "None" not in text


def test_a_hospitals_own_numbers_stand_in_its_worksheet() -> None:
    text = dpia_command.worksheet(FILE, FILE.hospital[1])
    for known in (
        "south",
        "north, east",
        "1,234 declared",
        "epsilon 3.5 at delta 1e-06",
        "epsilon 9.25",
    ):
        assert known in text, known


@pytest.mark.parametrize("kind", [*Kind.__args__])
def test_each_kind_of_data_has_words(kind: Kind) -> None:
    assert dpia_command.KINDS[kind] in dpia_command.worksheet(
        FILE, federation_file.default(kind=kind).hospital[0]
    )


def test_nothing_is_overwritten_and_a_stranger_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "dpia.md"
    out.write_text("filled in by hand")
    code, printed = said("--hospital", "rosendahl", "--out", str(out))
    assert code == 2 and "must be a new file" in printed
    assert out.read_text() == "filled in by hand"
    link = tmp_path / "link.md"
    link.symlink_to(tmp_path / "elsewhere.md")
    assert said("--hospital", "rosendahl", "--out", str(link))[0] == 2
    assert not (tmp_path / "elsewhere.md").exists()
    code, printed = said("--hospital", "nowhere", "--out", str(tmp_path / "new.md"))
    assert code == 2 and "must be one of vidir-molemax" in printed
    assert not (tmp_path / "new.md").exists()
