"""A folder read behind walls: the same patients as without, and a reader that a file takes over gets nothing."""

from pathlib import Path

import numpy as np
import pytest

from datasites.data import contained_reading, readers
from datasites.data.readers import Kind
from datasites.demo import stand_ins
from datasites.sandbox.offers import offers
from syft_code.errors import InvalidData
from tests.datasites.data import scans, strange_readers

MECHANISMS = [offer.mechanism for offer in offers() if offer.works]
SECRET = "the key of the owner"

if not MECHANISMS:
    pytest.skip("no mechanism works on this machine", allow_module_level=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "key").write_text(SECRET)
    return tmp_path / "data"


@pytest.mark.parametrize("kind", ["ham10000", "brats", "heart"])
def test_the_same_patients_come_out_as_without_walls(kind: Kind, folder: Path) -> None:
    stand_ins.write(stand_ins.drawable(kind), folder, patients=9, seed=1)
    folder.chmod(0o700)
    here = readers.read(kind, folder, size_px=16)
    there = contained_reading.read(kind, folder, size_px=16)
    for name in ("images", "labels", "patient", "facts"):
        mine, theirs = getattr(here.cohort, name), getattr(there.cohort, name)
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)
    assert (here.cells is None) == (there.cells is None) == (kind != "heart")
    if here.cells is not None and there.cells is not None:
        assert np.array_equal(here.cells.columns, there.cells.columns)
        assert np.array_equal(here.cells.values, there.cells.values)
    for name in ("patient_ids", "site", "spec", "remarks", "named"):
        assert getattr(here, name) == getattr(there, name)


def test_series_of_dicom_come_out_as_without_walls(folder: Path) -> None:
    scans.write_dicom_case(folder / "A001", scans.head(0))
    (folder / "volumes.toml").write_text(scans.LABELS)
    there = contained_reading.read("brats", folder, size_px=16)
    assert scans.same(there, readers.read("brats", folder, size_px=16))
    assert there.patient_ids == ("A001",)


def test_a_refusal_is_the_readers_own_sentence(folder: Path) -> None:
    folder.mkdir()
    (folder / "schema.toml").write_text("nonsense")
    with pytest.raises(InvalidData) as without:
        readers.read("table", folder)
    with pytest.raises(InvalidData) as behind:
        contained_reading.read("table", folder)
    assert str(behind.value) == str(without.value)


ALL = ["read beside the folder", "write into the folder", "open a socket", "start a program"]


@pytest.mark.parametrize(
    ("mechanism", "reached"), [("none", ALL), *((mechanism, []) for mechanism in MECHANISMS)]
)
def test_a_reader_that_a_file_has_taken_over_reaches_nothing(
    mechanism: str, reached: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_ins.write("heart", folder, patients=9, seed=1)
    monkeypatch.setattr(contained_reading.offers, "mechanism", lambda: mechanism)
    monkeypatch.setattr(contained_reading, "python_paths", paths_with_tests)
    monkeypatch.setattr(
        contained_reading, "_ENTRY", f"{strange_readers.__name__}:work_for_a_stranger"
    )
    with pytest.raises(InvalidData) as told:
        contained_reading.read("heart", folder)
    assert str(told.value) == f"reached: {reached}"
    assert (folder / "mark").exists() == bool(reached)


def test_a_file_that_ends_its_reader_is_named_by_its_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_strange("die", folder, monkeypatch)
    with pytest.raises(InvalidData, match=r"'data' must leave .* leave it out\.$"):
        contained_reading.read("heart", folder)


def test_a_reader_that_a_file_has_taken_over_writes_nothing_into_the_public_card(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_strange("tell_the_public", folder, monkeypatch)
    with pytest.raises(InvalidData):
        contained_reading.read("heart", folder)


def test_what_a_reader_says_to_the_owner_is_plain_text(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_strange("write_to_the_terminal", folder, monkeypatch)
    reading = contained_reading.read("heart", folder)
    assert reading.remarks == ("?[2Jall is well",)
    assert reading.site == ("?[2J",)
    assert reading.spec == readers.spec("heart", folder)


def test_arrays_of_an_unknown_kind_are_refused_in_a_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_strange("send_unknown_numbers", folder, monkeypatch)
    with pytest.raises(InvalidData, match="must be the arrays of a cohort"):
        contained_reading.read("heart", folder)


def test_a_reader_that_does_not_end_is_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin_strange("never_end", folder, monkeypatch)
    with pytest.raises(InvalidData, match=r"'data' must be read within 2 s"):
        contained_reading.read("heart", folder, limit_s=2)


def begin_strange(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder to read, and a reader out of `strange_readers` for it."""
    stand_ins.write("heart", folder, patients=9, seed=1)
    monkeypatch.setattr(contained_reading, "python_paths", paths_with_tests)
    monkeypatch.setattr(contained_reading, "_ENTRY", f"{strange_readers.__name__}:{name}")


PYTHON_PATHS = contained_reading.python_paths


def paths_with_tests() -> tuple[str, ...]:
    return (*PYTHON_PATHS(), str(Path(__file__).parents[2]))


def test_the_owner_sees_how_many_cases_are_read(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_ins.write("brats", folder, patients=3, seed=1)
    told: list[tuple[int, int]] = []
    contained_reading.read(
        "brats", folder, size_px=16, progress=lambda done, cases: told.append((done, cases))
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    show = contained_reading._Shown()
    show(3, 3)
    assert capsys.readouterr().err == ""  # no terminal, no line
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    show(1, 1251)  # within the first second
    assert capsys.readouterr().err == ""
    show(1251, 1251)
    assert "1,251 of 1,251 cases" in capsys.readouterr().err
