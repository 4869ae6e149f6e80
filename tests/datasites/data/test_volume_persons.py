"""Who is one person in a folder of volumes: by folders, names, headers and the pictures themselves."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from syft_code.errors import InvalidData
from tests.datasites.data import scans
from tests.datasites.data.scans import NEW, head, read_brats, save, write_case


def refusal(folder: Path) -> str:
    with pytest.raises(InvalidData) as caught:
        read_brats(folder)
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text and str(folder) not in text
    return text


def write_cases(root: Path, *places: str) -> None:
    """A case at each path, its files named after its folder."""
    for number, place in enumerate(places):
        write_case(root / place, head(number))


def say(root: Path, pattern: str) -> None:
    (root / "volumes.toml").write_text(f"[persons]\npattern = '{pattern}'\n")


def test_files_of_several_people_in_one_folder_are_not_one_patient(tmp_path: Path) -> None:
    for name in ("P1_t1", "P1_t1ce", "P1_seg", "P2_flair"):
        save(tmp_path / "all" / f"{name}.nii.gz", head(0)[name.split("_")[1]])
    text = refusal(tmp_path)
    assert "'P1_t1ce.nii.gz'" in text or "'P1_seg.nii.gz'" in text
    assert "'P2_flair.nii.gz'" in text and "begin with two names" in text
    assert 'flair = ["*_flair.nii*", "P2_flair.nii.gz"]' in text
    (tmp_path / "volumes.toml").write_text('[files]\nflair = ["*_flair.nii*", "P2_flair.nii.gz"]\n')
    assert read_brats(tmp_path).patient_ids == ("all",)


def test_the_owners_endings_do_not_hide_two_people_in_one_folder(tmp_path: Path) -> None:
    for name, what in (("P1_pre", "t1"), ("P2_post", "t1ce"), ("P1_roi", "seg")):
        save(tmp_path / "all" / f"{name}.nii.gz", head(0)[what])
    (tmp_path / "volumes.toml").write_text(
        '[files]\nt1 = ["*_pre.nii.gz"]\nt1ce = ["*_post.*"]\nmask = ["*_roi.nii*"]\n'
        + scans.LABELS
    )
    assert "begin with two names" in refusal(tmp_path)


def test_two_raters_or_too_wide_a_pattern_lose_no_file(tmp_path: Path) -> None:
    write_cases(tmp_path, "P1")
    save(tmp_path / "P1" / "P1_rater2_seg.nii.gz", head(0)["seg"])
    text = refusal(tmp_path)
    assert "one file for mask" in text and "Remove" not in text
    assert 'ignore = ["P1/P1_seg.nii.gz"]' in text or 'ignore = ["P1/P1_rater2_seg' in text
    (tmp_path / "P1" / "P1_rater2_seg.nii.gz").unlink()
    (tmp_path / "volumes.toml").write_text('[files]\nt1 = ["*_t1*"]\n')
    text = refusal(tmp_path)
    assert "narrow the patterns of t1" in text and "Remove" not in text


NESTED = {
    "dates below persons": ("P1/2019-01-05", "P1/2020-06-07", "P2/2021-02-01"),
    "the dates of one person": ("P1/2019-01-05", "P1/2020-06-07"),
    "one visit each": ("P1/baseline", "P2/preop"),
    "scans of no known word": ("P1/aaa", "P1/bbb", "P2/ccc"),
    "one name for several": ("P1/tp1", "P2/tp1"),
    "BIDS": ("sub-01/anat", "sub-02/anat"),
    "two grades of one name": ("HGG/P1", "LGG/P1"),
    "a case in a case": ("P1", "P1/old"),
    "a site above": ("site/P1/scan", "site/P2/scan"),
}


@pytest.mark.parametrize("what", NESTED)
def test_a_folder_above_a_case_that_may_be_the_person_is_asked_about(
    what: str, tmp_path: Path
) -> None:
    places = NESTED[what]
    write_cases(tmp_path, *places)
    text = refusal(tmp_path)
    assert "must say which folder of it names the person" in text and "Remove" not in text
    folder_above, own, each = patterns_of(text)
    say(tmp_path, folder_above)
    above = {place.split("/")[-2:][0] for place in places}
    assert set(read_brats(tmp_path).patient_ids) == above
    say(tmp_path, own)
    assert set(read_brats(tmp_path).patient_ids) == {place.split("/")[-1] for place in places}
    say(tmp_path, each)
    assert set(read_brats(tmp_path).patient_ids) == set(places)


def patterns_of(text: str) -> list[str]:
    """The patterns that a sentence offers."""
    return [part for part in text.split("'") if "(?P<person>" in part]


def test_groups_of_cases_are_no_persons(tmp_path: Path) -> None:
    write_cases(tmp_path, "set2/HGG/A001", "set2/HGG/B002", "set2/LGG/2019/C003")
    assert read_brats(tmp_path).patient_ids == ("A001", "B002", "C003")


def test_a_pattern_without_a_slash_is_of_names(tmp_path: Path) -> None:
    write_cases(tmp_path, "site1/A001_1", "site1/A001_2")
    say(tmp_path, r"(?P<person>A\d+)_\d")
    assert read_brats(tmp_path).patient_ids == ("A001",)


@pytest.mark.parametrize(
    "names",
    [
        ("P001_pre", "P001_post"),
        ("P003_scanA", "P003_scanB"),
        ("P1a", "P1b"),
        ("10_left", "10_right"),
        ("10_OD", "10_OS"),
        ("P001", "P001_postop"),
        ("P7_month6", "P7_baseline"),
    ],
)
def test_names_of_two_scans_are_asked_about(names: tuple[str, str], tmp_path: Path) -> None:
    write_cases(tmp_path, *names)
    text = refusal(tmp_path)
    assert "may be two scans of one person" in text
    one, each = patterns_of(text)
    say(tmp_path, f"(?i){one}")
    assert read_brats(tmp_path).cohort.patients == 1
    say(tmp_path, each)
    assert read_brats(tmp_path).patient_ids == tuple(sorted(names))


def test_published_names_tell_time_points(tmp_path: Path) -> None:
    names = {
        "UCSF-PDGM-0429_nifti": "UCSF-PDGM-0429",
        "UCSF-PDGM-0429_FU001d_nifti": "UCSF-PDGM-0429",
        "sub-01_ses-pre": "sub-01",
        "sub-01_ses-post": "sub-01",
        "UPENN-GBM-00001_11": "UPENN-GBM-00001",
        "UPENN-GBM-00001_21": "UPENN-GBM-00001",
    }
    write_cases(tmp_path, *names)
    for number, name in enumerate(("BraTS-GLI-00005-000", "BraTS-GLI-00005-000-copy")):
        write_case(tmp_path / name, head(10 + number, labels=(1, 2, 3)), NEW)
    assert read_brats(tmp_path).patient_ids == tuple(sorted({*names.values(), "BraTS-GLI-00005"}))


# The pictures themselves.


def path_of(root: Path, case: str, word: str) -> Path:
    return root / case / f"{case}_{word}.nii.gz"


@pytest.mark.parametrize("how", ["copied", "linked", "stored otherwise"])
def test_one_volume_of_two_people_is_refused(how: str, tmp_path: Path) -> None:
    write_cases(tmp_path, "P1", "P2")
    path = path_of(tmp_path, "P2", "t2")
    path.unlink()
    if how == "copied":
        shutil.copy(path_of(tmp_path, "P1", "t1"), path)
    elif how == "linked":
        path.symlink_to(path_of(tmp_path, "P1", "t1"))
    else:
        save(path, head(0)["t1"].astype(np.float64))
    text = refusal(tmp_path)
    assert "t1 of the one is t2 of the other" in text and "'P1'" in text and "'P2'" in text


def test_one_volume_twice_within_a_person_is_remarked(tmp_path: Path) -> None:
    write_cases(tmp_path, "P1", "P2")
    shutil.copy(path_of(tmp_path, "P1", "t1"), path_of(tmp_path, "P1", "t1ce"))
    said = " ".join(read_brats(tmp_path).remarks)
    assert "1 volume is a copy of another of the same person: t1ce of 'P1' is t1 of 'P1'" in said


@pytest.mark.parametrize("factor", [1, 100])
def test_a_mask_as_an_image_is_refused(factor: int, tmp_path: Path) -> None:
    write_cases(tmp_path, "P1", "P2")
    save(path_of(tmp_path, "P1", "t1"), head(0)["seg"].astype(np.int16) * factor)
    assert "as its t1, and that is the mask again" in refusal(tmp_path)
