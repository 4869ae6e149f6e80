"""A useless cohort is said to be useless, and a good one is not."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasites.data import cohort_file, cohort_remarks, readers, train_test_split
from datasites.demo import stand_ins
from syft_code.cohort import Cohort
from syft_code.errors import InvalidData
from syft_code.recipes.recipe import DataSpec
from tests.shapes import BRAIN, SERIES, SKIN, TABLE

SHARED = Path(__file__).parents[4] / "shared" / "data" / "odd_files"
PATIENTS = 60


def table(**changes: Any) -> Cohort:
    """Sixty patients, every second one ill, whose numbers all differ."""
    rng = np.random.default_rng(0)
    facts = rng.normal(size=(PATIENTS, 5)).astype(np.float32)
    facts[:, 4] = np.arange(PATIENTS) % 3 == 0
    parts: dict[str, Any] = {
        "images": np.zeros((PATIENTS, 0, 0, 0), np.uint8),
        "labels": (np.arange(PATIENTS) % 2).astype(np.uint8),
        "patient": np.arange(PATIENTS, dtype=np.int32),
        "facts": facts,
    }
    return Cohort(**(parts | changes))


def with_column(column: int, value: object) -> Any:
    facts = table().facts.copy()
    facts[:, column] = value
    return facts


def pictures(**changes: Any) -> Cohort:
    rng = np.random.default_rng(0)
    parts: dict[str, Any] = {
        "images": rng.integers(0, 256, (PATIENTS, 3, 17, 22), dtype=np.uint8),
        "labels": (np.arange(PATIENTS) % 4).astype(np.uint8),
        "patient": np.arange(PATIENTS, dtype=np.int32) // 2,
    }
    return Cohort(**(parts | changes))


def brain(marked: int) -> Cohort:
    """A drawn brain whose label maps mark so many rows of the sixteen."""
    labels = np.zeros((8, 16, 24), np.uint8)
    labels[:, :marked] = np.arange(marked, dtype=np.uint8)[:, None] % 3 + 1
    images = np.random.default_rng(0).normal(size=(8, 4, 16, 24)).astype(np.float16)
    return Cohort(images=images, labels=labels, patient=np.arange(8, dtype=np.int32) // 2)


def dark(count: int) -> Any:
    images = pictures().images.copy()
    images[:count] = 7
    return images


ONES = np.zeros(PATIENTS, np.uint8)
RARE = (np.arange(PATIENTS) < 2).astype(np.uint8)
TWINS = np.tile(table().facts[:30], (2, 1))
USELESS = {
    "one class": (table(labels=ONES), TABLE, "All 60 patients are of the class 'well'"),
    "one patient": (table().select(np.arange(PATIENTS) == 1), TABLE, "All of it is one patient"),
    "one of a class": (table(labels=RARE * (np.arange(PATIENTS) < 1)), TABLE, r"are of ill \(1\)"),
    "no one of a class": (pictures(labels=ONES + RARE), SKIN, r"are of bcc \(1\), mel \(0\), nv \(0\)"),
    "a rare class": (table(labels=RARE), TABLE, r"2 of 60 patients \(3.3%\) are of the class 'ill'"),
    "a constant column": (table(facts=with_column(2, 0.5)), TABLE, "the same value of pressure:"),
    "a column that is missing": (
        table(facts=with_column(4, 1.0)), TABLE, "Nobody has a value of cholesterol:"
    ),
    "constant where it is known": (
        table(facts=np.where(table().facts[:, [4]] == 0, with_column(3, 0.5), table().facts)),
        TABLE,
        "the same value of cholesterol:",
    ),
    "equal rows of two classes": (
        table(facts=TWINS, labels=(np.arange(PATIENTS) < 30).astype(np.uint8)),
        TABLE,
        "60 of 60 rows are the same as another .* no model gets more than 50.0%",
    ),
    "equal pictures of two classes": (
        pictures(images=pictures().images[np.arange(PATIENTS) // 2 * 2]),
        SKIN,
        "60 of 60 pictures are the same",
    ),
    "black pictures": (pictures(images=dark(3)), SKIN, r"3 pictures are black, .* \(of 2 patients; 60"),
    "a black picture": (pictures(images=dark(1)), SKIN, r"1 picture is black, .* \(of 1 patient; 60 were read"),
    "no tumour": (brain(0), BRAIN, "No picture marks anything"),
    "no enhancing tumour": (brain(2), BRAIN, "No picture has enhancing tumour"),
    "a huge tumour": (brain(9), BRAIN, r"8 of 8 pictures, .* more than 30% \(at most 56.2%\): a tumour"),
    "a mask that covers all": (brain(16), BRAIN, "and 8 of them all of it"),
}  # fmt: skip


@pytest.mark.parametrize("name", USELESS)
def test_a_useless_cohort_is_said_to_be(name: str) -> None:
    cohort, spec, says = USELESS[name]
    found = cohort_remarks.remarks(cohort, spec)
    text = "\n".join(found)
    with pytest.raises(InvalidData, match=says):
        raise InvalidData(text)
    assert all(one.isprintable() and not one[0].islower() and one.endswith(".") for one in found)
    assert len(found) == 1 or name in ("one patient", "black pictures")


@pytest.mark.parametrize(
    ("cohort", "spec"), [(table(), TABLE), (pictures(), SKIN), (brain(4), BRAIN)]
)
def test_nothing_is_remarked_on_a_good_cohort(cohort: Cohort, spec: DataSpec) -> None:
    assert cohort_remarks.remarks(cohort, spec) == ()


def test_a_series_is_looked_at_column_by_column() -> None:
    spec = replace(SERIES, channels=("pulse, pulse?, ward=a, ward=b, ward?",))
    images = np.random.default_rng(0).normal(size=(20, 1, 12, 5)).astype(np.float16)
    images[:, 0, :, 1] = 0
    images[:, 0, :, 2:] = (1, 0, 0)
    cohort = Cohort(
        images=images,
        labels=(np.arange(20) % 2).astype(np.uint8),
        patient=np.arange(20, dtype=np.int32),
    )
    (said,) = cohort_remarks.remarks(cohort, spec)
    assert "the same value of ward = a:" in said


@pytest.mark.parametrize("kind", ["ham10000", "brats", "heart", "symptoms", "vitals"])
def test_stand_ins_of_every_kind_can_be_looked_at(kind: stand_ins.Kind, tmp_path: Path) -> None:
    stand_ins.write(kind, tmp_path / kind, patients=12, seed=0)
    reading = readers.read(kind, tmp_path / kind, size_px=16)
    for sentence in cohort_remarks.remarks(reading.cohort, reading.spec):
        assert sentence.isprintable() and len(sentence) < 600


def test_remarks_go_with_the_part_of_one_hospital_into_its_cohort_file(tmp_path: Path) -> None:
    stand_ins.write("heart", tmp_path / "heart", patients=40, seed=0)
    reading = readers.read("heart", tmp_path / "heart")
    ill = np.zeros(40, np.bool_)
    ill[reading.cohort.patient[reading.cohort.labels == 1]] = True
    split = train_test_split.split(reading, ill, hospital="h", salt=bytes(32), held_out=0.2)
    assert split.remarks[0] == reading.remarks[0]
    assert any("patients are of the class" in one for one in split.remarks)
    (tmp_path / "file").write_bytes(cohort_file.pack(split))
    assert cohort_file.remarks(tmp_path / "file") == split.remarks
    assert (
        cohort_file.unpack((tmp_path / "file").read_bytes(), reading.spec).remarks == split.remarks
    )
    assert split.without({split.names()[0]}).remarks == split.remarks


def test_a_table_of_many_rows_takes_seconds_not_minutes() -> None:
    rows = 200_000
    rng = np.random.default_rng(0)
    cohort = Cohort(
        images=np.zeros((rows, 0, 0, 0), np.uint8),
        labels=rng.integers(0, 2, rows, dtype=np.uint8),
        patient=np.arange(rows, dtype=np.int32),
        facts=rng.integers(0, 2, (rows, 5)).astype(np.float32),
    )
    (said,) = cohort_remarks.remarks(cohort, TABLE)
    assert f"{rows:,} of {rows:,} rows are the same as another" in said


@pytest.mark.skipif(not SHARED.exists(), reason="the shared odd files are not here")
@pytest.mark.parametrize(
    ("case", "kind", "says"),
    [
        ("table_one_class", "table", "patients are of the class 'no'"),
        ("table_one_patient", "table", "All of it is one patient"),
        ("image_all_black", "ham10000", "1 picture is black"),
    ],
)
def test_odd_files_that_were_read_without_a_remark(
    case: str, kind: readers.Kind, says: str, tmp_path: Path
) -> None:
    shutil.copytree(SHARED / case, tmp_path / "data")
    (tmp_path / "data" / "README").unlink()
    reading = readers.read(kind, tmp_path / "data")
    assert says in "\n".join(cohort_remarks.remarks(reading.cohort, reading.spec))
