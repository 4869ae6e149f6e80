"""What BraTS publishes beside the scans is read by patient, or refused with row and column."""

from pathlib import Path

import numpy as np
import pytest

from datasites.data.readers import read
from datasites.data.readers.volumes import brats_facts
from datasites.demo import stand_ins
from syft_code.errors import InvalidData

PATIENTS = ("BraTS20_Training_001", "BraTS20_Training_002", "BraTS20_Training_003")
TABLE_2020 = """Brats20ID,Age,Survival_days,Extent_of_Resection
BraTS20_Training_002,52.5,500,GTR
BraTS20_Training_001,85.0,ALIVE (361 days later),NA
BraTS20_Training_369,60.0,100,STR
"""


def facts(folder: Path, text: str, *, name: str = "survival_info.csv") -> np.ndarray:
    (folder / name).write_text(text, encoding="utf-8")
    return brats_facts.read(folder, PATIENTS)


def test_each_patient_has_the_facts_of_the_table_and_others_have_none(tmp_path: Path) -> None:
    assert facts(tmp_path, TABLE_2020).tolist() == [
        [1, 0, 0, 1, 0, 0, 1],  # alive is no number of days
        [0, 0, 0, 0, 1, 0, 0],
        [0, 1, 0, 1, 0, 0, 1],  # not in the table: all of it is missing
    ]


def test_the_columns_of_earlier_years_are_the_same(tmp_path: Path) -> None:
    earlier = TABLE_2020.replace("Brats20ID", "BraTS18ID").replace("Survival_days", "Survival")
    earlier = earlier.replace("Extent_of_Resection", "ResectionStatus")
    found = facts(tmp_path, earlier, name="survival_data.csv")
    (tmp_path / "survival_data.csv").unlink()
    assert np.array_equal(found, facts(tmp_path, TABLE_2020))


def test_a_row_for_a_time_point_is_one_for_its_patient(tmp_path: Path) -> None:
    (tmp_path / "survival_info.csv").write_text(
        "BraTS2021,Age,Survival_days,Extent_of_Resection\nBraTS-GLI-00007-000,20,NA,NA\n"
    )
    assert brats_facts.read(tmp_path, ["BraTS-GLI-00007"])[0, :2].tolist() == [-1, 0]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("52.5", "old", "row 2: age must be a finite number"),
        ("52.5", "152.5", "row 2: age must lie between 0 and 120 years"),
        ("500", "-3", "row 2: survival must lie between"),
        ("GTR", "PTR", "row 2: resection must be one of GTR, STR"),
        ("Age", "Years", "a column 'age' under one of the published names"),
        ("BraTS20_Training_002", "BraTS20_Training_001", "two for 'BraTS20_Training_001'"),
        ("BraTS20_Training_", "Somebody_", "names none of them"),
    ],
)
def test_a_broken_table_is_refused(old: str, new: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=says) as refused:
        facts(tmp_path, TABLE_2020.replace(old, new))
    assert "survival_info.csv" in str(refused.value)


def test_a_folder_without_the_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r"survival_info.csv.*must lie in the folder"):
        brats_facts.read(tmp_path, PATIENTS)


def test_stand_ins_have_the_table_and_their_slices_the_facts_of_their_patient(
    tmp_path: Path,
) -> None:
    stand_ins.write("brats", tmp_path / "data", patients=4, seed=2)
    plain = read("brats", tmp_path / "data", size_px=16, slices_per_patient=2)
    reading = read("brats", tmp_path / "data", size_px=16, slices_per_patient=2, facts=True)
    assert plain.spec.facts == () and reading.spec.facts == brats_facts.names()
    assert np.array_equal(plain.cohort.images, reading.cohort.images)
    rows = reading.cohort.facts.reshape(4, 2, -1)
    assert np.array_equal(rows[:, 0], rows[:, 1]) and len(np.unique(rows[:, 0, 0])) > 2
