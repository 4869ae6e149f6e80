"""The lower-grade gliomas as published, and the many ways in which a copy of them can be broken."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from datasites.data import contained_reading, mock_cohort, readers
from datasites.data.folders.reading import Reading
from datasites.data.readers.images import lgg, lgg_cases
from datasites.demo import stand_ins
from federation.strategy import presets
from syft_code.errors import InvalidData
from tests.datasites.data.picture_folders import NO_SHARED, SHARED, encoded, pixels, refusal

REAL = SHARED / "lgg_kaggle3m"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people of one institution with three scans, one of another, four slices each."""
    folder = tmp_path_factory.mktemp("lgg") / "data"
    for number, name in enumerate(
        ("TCGA_CS_0001_20000101", "TCGA_CS_0001_20010101", "TCGA_CS_0002_20000101", "TCGA_DU_0003_20000101")
    ):  # fmt: skip
        (folder / name).mkdir(parents=True)
        for z in range(1, 5):
            pixels(10 * number + z, size=(16, 16)).save(folder / name / f"{name}_{z}.tif")
            mask = np.zeros((16, 16), np.uint8)
            mask[4:8, 4:8] = 255 if z > 1 else 0
            Image.fromarray(mask).save(
                folder / name / f"{name}_{z}_mask.tif", compression="tiff_lzw"
            )
    (folder / "data.csv").write_text(
        "Patient,gender,age_at_initial_pathologic\nTCGA_CS_0001,2,47.5\nTCGA_CS_0002,1,\nTCGA_HT_9999,1,20\n"
    )
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "data"))


def gliomas(folder: Path, **options) -> Reading:
    return readers.read("lgg", folder, size_px=8, **options)


def case(folder: Path, number: int = 0) -> Path:
    return sorted(path for path in folder.iterdir() if path.is_dir())[number]


def test_cases_become_persons_with_their_institution(folder: Path) -> None:
    reading = gliomas(folder, slices_per_patient=4, facts=True)
    assert reading.patient_ids == ("TCGA_CS_0001", "TCGA_CS_0002", "TCGA_DU_0003")
    assert reading.site == ("CS", "CS", "DU")
    assert np.bincount(reading.cohort.patient).tolist() == [4, 4, 4], (
        "two scans share a person's four"
    )
    assert reading.cohort.images.dtype == np.float16 and reading.cohort.images.shape == (
        12,
        3,
        8,
        8,
    )
    assert set(np.unique(reading.cohort.labels)) == {0, 1}
    assert reading.remarks == ("3 patients were read.", "They have 4 scans: those of one patient count together.")  # fmt: skip
    first = dict(zip(reading.spec.facts, reading.cohort.facts[0].tolist(), strict=True))
    assert first == {"age": 0, "age?": 0, "gender=1": 0, "gender=2": 1, "gender?": 0}
    last = dict(zip(reading.spec.facts, reading.cohort.facts[-1].tolist(), strict=True))
    assert last["age?"] == last["gender?"] == 1, "nothing is known of the third"
    assert reading.spec == readers.spec("lgg", folder, size_px=8, facts=True)


def test_masks_decide_nothing_about_which_slices_are_read(folder: Path) -> None:
    before = gliomas(folder, slices_per_patient=2)
    for path in folder.rglob("*_mask.tif"):
        with Image.open(path) as picture:
            turned = np.asarray(picture)[::-1].copy()
        Image.fromarray(turned).save(path)
    after = gliomas(folder, slices_per_patient=2)
    assert np.array_equal(before.cohort.images, after.cohort.images)


def test_a_sequence_that_flair_stands_for_is_counted_and_no_case_named(folder: Path) -> None:
    for path in case(folder, 3).glob("*[0-9].tif"):
        with Image.open(path) as picture:
            image = np.asarray(picture).copy()
        image[..., 2] = image[..., 1]
        Image.fromarray(image).save(path)
    assert gliomas(folder).remarks[2:] == ("1 case has FLAIR in place of post-contrast.",)


def test_cases_may_lie_in_a_folder_below(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outer").mkdir()
    folder.rename(tmp_path / "outer" / "kaggle_3m")
    assert gliomas(tmp_path / "outer", facts=True).cohort.patients == 3


def nested_twice(folder: Path) -> None:
    shutil.copytree(case(folder), folder / "lgg-mri-segmentation" / case(folder).name)


def first(folder: Path, ending: str) -> Path:
    return case(folder) / f"{case(folder).name}{ending}"


BROKEN = {
    "a mask less": (lambda f: first(f, "_3_mask.tif").unlink(), "a mask of each number from 1 to 4"),
    "a slice less": (lambda f: first(f, "_2.tif").unlink(), "a slice of each number from 1 to 4"),
    "a gap": (lambda f: [first(f, "_2.tif").unlink(), first(f, "_2_mask.tif").unlink()], "It has none of 2"),
    "a PNG": (lambda f: (case(f) / "x.png").write_bytes(b""), "x.png' would be left out"),
    "another case's slice": (lambda f: shutil.copy(first(f, "_1.tif"), case(f, 1) / "y_9.tif"), "is not called as a slice or a mask of"),
    "small letters": (lambda f: case(f).rename(f / "tcga_cs_0001_20000101"), "lies in no case folder"),
    "a case twice": (nested_twice, "must be the only case of its name"),
    "two tables": (lambda f: shutil.copy(f / "data.csv", case(f)), "there are 2"),
    "a mask of three values": (lambda f: Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(first(f, "_1_mask.tif")), "has 256 values"),
    "a mask in colour": (lambda f: pixels(1, size=(16, 16)).save(first(f, "_1_mask.tif")), "one mask with 1 channels"),
    "a grey slice": (lambda f: pixels(1, size=(16, 16), mode="L").save(first(f, "_1.tif")), "one slice with 3 channels"),
    "another size": (lambda f: pixels(1, size=(20, 20)).save(first(f, "_2.tif")), "as large as the other"),
    "frames": (lambda f: first(f, "_2.tif").write_bytes(encoded(pixels(1), "TIFF", save_all=True, append_images=[pixels(2)])), "2 frames"),
    "torn": (lambda f: first(f, "_2.tif").write_bytes(first(f, "_2.tif").read_bytes()[:300]), "can't be decoded"),
    "empty masks": (lambda f: [Image.new("L", (16, 16)).save(p) for p in case(f).glob("*_mask.tif")], "they are empty"),
    "no cases": (lambda f: [shutil.rmtree(case(f)) for _ in range(4)], "there must be case folders"),
    "no table": (lambda f: (f / "data.csv").unlink(), "'data.csv' must lie in the folder"),
    "a gender": (lambda f: (f / "data.csv").write_text((f / "data.csv").read_text().replace("1,2,", "1,F,")), "gender must be one of 1, 2"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_copy_is_refused_with_its_reason(what: str, folder: Path) -> None:
    change, says = BROKEN[what]
    change(folder)
    assert says.lower() in refusal(lambda: gliomas(folder, facts=True)).lower()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_tiff_gives_pixels_or_a_refusal(data) -> None:
    stored = bytearray(
        encoded(pixels(3), "TIFF", compression=data.draw(st.sampled_from([None, "tiff_lzw"])))
    )
    for _ in range(data.draw(st.integers(1, 3))):
        stored[data.draw(st.integers(0, len(stored) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = lgg_cases.decode(bytes(stored), name="x.tif", what="slice")
    except InvalidData as refused:
        assert "x.tif" in str(refused)
    else:
        assert found.shape[2] == 3


def test_stand_ins_are_read_behind_walls_and_have_a_mock_and_a_plan(tmp_path: Path) -> None:
    stand_ins.write("lgg", tmp_path / "d", patients=6, seed=1)
    reading = contained_reading.read(
        "lgg", tmp_path / "d", size_px=16, slices_per_patient=3, facts=True
    )
    assert reading.cohort.patients == 6 and reading.spec.stand_in and len(set(reading.site)) == 5
    assert 0.005 < reading.cohort.labels.mean() < 0.3
    mock = mock_cohort.draw(reading.spec, seed=0, slices=4)
    assert mock.images.shape == (4, 3, 16, 16) and mock.images.dtype == np.float16
    assert mock.labels.any() and abs(float(mock.images.mean())) < 0.2
    presets.suggested(reading.spec).recipe.check(reading.spec)


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason=NO_SHARED)
def test_the_real_cases_are_read() -> None:
    reading = readers.read("lgg", REAL, size_px=32, slices_per_patient=4, facts=True)
    assert Counter(reading.site) == {"DU": 36, "HT": 27, "CS": 13, "FG": 11, "EZ": 1}
    assert reading.cohort.images.shape == (352, 3, 32, 32)
    assert reading.remarks[1] == "5 cases have FLAIR in place of pre-contrast."
    assert reading.remarks[2] == "8 cases have FLAIR in place of post-contrast."
    assert reading.spec.classes == lgg.CLASSES
