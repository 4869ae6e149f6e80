"""BraTS in its three layouts, and the many ways in which a copy of it can be broken."""

import gzip
import json
import os
import re
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from datasites.data import mock_cohort
from datasites.data.folders.reading import Reading
from datasites.data.readers import read
from datasites.data.readers.volumes import brats
from datasites.data.readers.volumes.formats import nifti
from datasites.demo import stand_ins
from syft_code.errors import InvalidData

REAL = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "brats2013"
MODALITIES = ("t1", "t1ce", "t2", "flair")
FIRST, SECOND = "BraTS_STANDIN_00001", "BraTS_STANDIN_00002"
RAS = np.eye(4)
Array = NDArray[Any]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("brats") / "data"
    stand_ins.write("brats", folder, patients=2, seed=5)
    return folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "data"))


def path_of(folder: Path, word: str, case: str = FIRST) -> Path:
    return folder / case / f"{case}_{word}.nii.gz"


def load(path: Path) -> tuple[Array, Array]:
    """Voxels and affine, turned to RAS."""
    image = nib.as_closest_canonical(nib.load(path))
    return np.asanyarray(image.dataobj), image.affine


def save(path: Path, voxels: Array, affine: Array = RAS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), path)


def edit(folder: Path, word: str, change: Callable[[Array], Array]) -> None:
    """Change the voxels of one file of the first case."""
    voxels, affine = load(path_of(folder, word))
    save(path_of(folder, word), change(voxels), affine)


def edit_header(folder: Path, word: str, offset: int, code: str, *values: float) -> None:
    """Overwrite fields of a NIfTI header at their byte offset."""
    path = path_of(folder, word)
    data = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into(f"<{code}", data, offset, *values)
    path.write_bytes(gzip.compress(data))


def read_brats(folder: Path, **options: Any) -> Reading:
    return read("brats", folder, **({"size_px": 32} | options))


def same(a: Reading, b: Reading) -> bool:
    return (
        np.array_equal(a.cohort.images, b.cohort.images)
        and np.array_equal(a.cohort.labels, b.cohort.labels)
        and np.array_equal(a.cohort.patient, b.cohort.patient)
    )


def refusal(folder: Path) -> str:
    """The text of the refusal: one or two sentences, of use to an owner, with no inner works."""
    with pytest.raises(InvalidData) as caught:
        read_brats(folder)
    text = str(caught.value)
    assert text.endswith(".")
    assert 1 <= len(re.findall(r"[.!?](?=\s|$)", text)) <= 2
    assert "\n" not in text and "Traceback" not in text and 'File "' not in text
    assert str(folder) not in text
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return text


def test_each_case_gives_standardised_slices_of_four_modalities(folder: Path) -> None:
    reading = read_brats(folder, size_px=64)
    images, labels = reading.cohort.images, reading.cohort.labels
    assert images.shape == (32, 4, 64, 64) and images.dtype == np.float16
    assert labels.shape == (32, 64, 64) and set(np.unique(labels)) == {0, 1, 2, 3}
    assert reading.patient_ids == (FIRST, SECOND) and reading.site == ("", "")
    assert reading.spec.channels == MODALITIES and reading.spec.stand_in
    assert np.isfinite(images).all() and np.abs(images).max() <= 5
    brain = images[:, 0] != 0
    assert abs(float(images[:, 0][brain].astype(float).mean())) < 0.2
    assert 0.6 < float(images[:, 0][brain].astype(float).std()) < 1.1


def test_enhancing_tumour_is_bright_in_t1ce_and_edema_in_flair(folder: Path) -> None:
    cohort = read_brats(folder, size_px=64).cohort
    mean = {
        (name, label): float(cohort.images[:, channel][cohort.labels == label].mean())
        for channel, name in enumerate(MODALITIES)
        for label in range(4)
    }
    assert max(range(4), key=lambda label: mean["t1ce", label]) == 3
    assert max(range(4), key=lambda label: mean["flair", label]) == 2


def test_the_three_layouts_of_one_case_read_alike(folder: Path, tmp_path: Path) -> None:
    shutil.rmtree(folder / SECOND)
    volumes = {word: load(path_of(folder, word))[0] for word in (*MODALITIES, "seg")}
    seg = volumes["seg"]
    new, msd = tmp_path / "new", tmp_path / "msd"
    names = {"t1": "t1n", "t1ce": "t1c", "t2": "t2w", "flair": "t2f"}
    for old, name in names.items():
        save(new / "BraTS-GLI-00001-000" / f"BraTS-GLI-00001-000-{name}.nii.gz", volumes[old])
    recoded = np.array([0, 1, 2, 9, 3], dtype=np.uint8)[seg]
    save(new / "BraTS-GLI-00001-000" / "BraTS-GLI-00001-000-seg.nii.gz", recoded)
    stack = np.stack([volumes[word] for word in ("flair", "t1", "t1ce", "t2")], axis=3)
    save(msd / "imagesTr" / "BRATS_001.nii.gz", stack)
    recoded = np.array([0, 2, 1, 9, 3], dtype=np.uint8)[seg]
    save(msd / "labelsTr" / "BRATS_001.nii.gz", recoded)
    write_dataset_json(msd)
    (msd / "imagesTr" / "._BRATS_001.nii.gz").write_bytes(b"resource fork")
    assert same(read_brats(folder), read_brats(new))
    assert same(read_brats(folder), read_brats(msd))


def write_dataset_json(folder: Path, *order: str) -> None:
    words = order or ("FLAIR", "T1w", "t1gd", "T2w")
    text = json.dumps({"modality": {str(i): word for i, word in enumerate(words)}})
    (folder / "dataset.json").write_text(text)


@pytest.mark.parametrize("turn", [(-1, -1, 1), (1, 1, 1), (-1, 1, 1), (1, 1, -1)])
def test_every_orientation_reads_alike(turn: tuple[int, ...], folder: Path) -> None:
    expected = read_brats(folder)
    for case in (FIRST, SECOND):
        for word in (*MODALITIES, "seg"):
            voxels, affine = load(path_of(folder, word, case))
            flips = tuple(slice(None, None, step) for step in turn)
            turned = affine @ np.diag([*turn, 1])
            turned[:3, 3] += [
                affine[i, i] * (size - 1) * (step < 0)
                for i, (size, step) in enumerate(zip(voxels.shape, turn, strict=True))
            ]
            save(path_of(folder, word, case), voxels[flips], turned)
    assert same(read_brats(folder), expected)


def test_swapped_axes_read_alike(folder: Path) -> None:
    expected = read_brats(folder)
    voxels, affine = load(path_of(folder, "flair"))
    save(path_of(folder, "flair"), voxels.transpose(2, 0, 1), affine[:, [2, 0, 1, 3]])
    assert same(read_brats(folder), expected)


def head(shape: tuple[int, int, int], spacing_mm: tuple[float, ...] = (1, 1, 1)) -> Array:
    """A ball of noise on background 0."""
    axes = ((np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(shape, spacing_mm, strict=True))
    distance = sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")) ** 0.5
    noise = np.random.default_rng(0).uniform(50, 100, shape)
    return np.where(distance < 15, noise, 0).astype(np.float32)


def test_a_slice_has_the_front_on_top_and_the_left_of_the_patient_on_the_left(
    tmp_path: Path,
) -> None:
    seg = np.zeros((40, 40, 20), dtype=np.uint8)
    seg[10:13, 28:31] = 4  # left of the middle and in front, in RAS
    save(tmp_path / "A" / "A_t1.nii.gz", head(seg.shape))
    save(tmp_path / "A" / "A_seg.nii.gz", seg)
    rows, columns = np.nonzero(read_brats(tmp_path).cohort.labels[0])
    assert rows.max() < 12 and columns.max() < 12


def test_a_square_is_square_in_millimetres(tmp_path: Path) -> None:
    spacing_mm = (0.5, 2.0, 2.0)
    voxels = head((80, 18, 20), spacing_mm)
    seg = (voxels > 60).astype(np.uint8)
    affine = np.diag([*spacing_mm, 1.0])
    save(tmp_path / "A" / "A_t2.nii.gz", voxels, affine)
    save(tmp_path / "A" / "A_seg.nii.gz", seg, affine)
    image = read_brats(tmp_path, size_px=60, slices_per_patient=1).cohort.images[0, 2]
    rows, columns = np.nonzero(image)
    assert abs(np.ptp(rows) - np.ptp(columns)) <= 4  # a ball stays a ball


def test_old_labels_become_four_classes_and_3_is_core(folder: Path) -> None:
    edit(folder, "seg", lambda seg: np.where(seg == 1, 3, seg).astype(np.float32) * 0.99999997)
    expected = np.copy(read_brats(folder).cohort.labels)
    edit(folder, "seg", lambda seg: np.where(np.rint(seg) == 3, 1, np.rint(seg)).astype(np.uint8))
    assert np.array_equal(read_brats(folder).cohort.labels, expected)
    assert set(np.unique(expected)) == {0, 1, 2, 3}


def test_label_3_without_any_4_is_remarked(folder: Path) -> None:
    shutil.rmtree(folder / SECOND)
    edit(folder, "seg", lambda seg: np.where(seg == 4, 3, seg))
    assert any("Label 3 was read as core" in remark for remark in read_brats(folder).remarks)


def test_labels_stored_as_floats_near_whole_numbers_are_accepted(folder: Path) -> None:
    expected = read_brats(folder)
    edit(folder, "seg", lambda seg: np.where(seg > 0, seg - 3e-8, 0).astype(np.float64))
    assert same(read_brats(folder), expected)


def test_a_negative_background_is_background(folder: Path) -> None:
    expected = read_brats(folder).cohort.images.astype(float)
    for word in MODALITIES:
        edit(folder, word, lambda voxels: (voxels.astype(np.float32) - 1000) / 250)
    shifted = read_brats(folder).cohort.images.astype(float)
    assert np.abs(shifted - expected).max() < 0.01


def test_slope_and_intercept_are_applied(folder: Path) -> None:
    expected = read_brats(folder).cohort.images.astype(float)
    edit_header(folder, "t1", 112, "2f", 0.25, -7.0)
    scaled = read_brats(folder).cohort.images.astype(float)
    assert np.abs(scaled - expected).max() < 0.01
    voxels = nifti.read(folder, path_of(folder, "t1")).voxels
    assert voxels.min() == -7.0


def test_labels_have_no_say_in_which_slices_are_cut(folder: Path) -> None:
    expected = read_brats(folder, slices_per_patient=5).cohort.images

    def move(seg: Array) -> Array:
        moved = np.zeros_like(seg)
        moved[30:34, 30:34, 3] = 4
        return moved

    edit(folder, "seg", move)
    assert np.array_equal(read_brats(folder, slices_per_patient=5).cohort.images, expected)


def test_slices_lie_evenly_over_the_brain(tmp_path: Path) -> None:
    voxels = np.zeros((20, 20, 40), dtype=np.float32)
    voxels[4:16, 4:16, 10:30] = np.arange(10, 30)  # each slice has its own value
    save(tmp_path / "A" / "A_t1.nii.gz", voxels)
    save(tmp_path / "A" / "A_seg.nii.gz", (voxels == 12).astype(np.uint8))
    images = read_brats(tmp_path, size_px=12, slices_per_patient=5).cohort.images
    values = images[:, 0, 6, 6].astype(float) * np.arange(10, 30).std() + 19.5
    assert np.allclose(values, [12, 16, 20, 24, 28], atol=0.05)
    assert len(read_brats(tmp_path, slices_per_patient=99).cohort.images) == 20


def test_neighbours_are_the_slices_right_below_and_above(tmp_path: Path) -> None:
    voxels = np.zeros((20, 20, 40), dtype=np.float32)
    voxels[4:16, 4:16, 10:] = np.arange(10, 40)  # each slice has its own value
    save(tmp_path / "A" / "A_t1.nii.gz", voxels)
    save(tmp_path / "A" / "A_seg.nii.gz", (voxels == 12).astype(np.uint8))
    options = {"size_px": 12, "slices_per_patient": 99}
    flat = read_brats(tmp_path, **options)
    deep = read_brats(tmp_path, **options, neighbours=1)
    assert deep.spec.channels[:4] == ("t1-1", "t1", "t1+1", "t1ce-1")
    assert len(deep.spec.channels) == 12 and deep.cohort.images.shape[1] == 12
    middle = [deep.spec.channels.index(name) for name in MODALITIES]
    assert np.array_equal(deep.cohort.images[:, middle], flat.cohort.images)
    assert np.array_equal(deep.cohort.labels, flat.cohort.labels)
    values = deep.cohort.images[:, :3, 6, 6].astype(float) * np.arange(10, 40).std() + 24.5
    inner = values[1:-1]
    assert np.allclose(inner - inner[:, 1:2], [-1, 0, 1], atol=0.05)
    assert np.allclose(values[-1], [38, 39, 39], atol=0.05)  # the last slice stands for the next
    assert deep.cohort.images[0, 0].max() == 0  # below the brain there is none


def test_a_mock_in_2_5_d_has_neighbours_that_resemble_it(folder: Path) -> None:
    spec = read_brats(folder, neighbours=1).spec
    mock = mock_cohort.draw(spec, seed=3, slices=4)
    assert mock.images.shape == (4, 12, 32, 32) and mock.images.dtype == np.float16
    below, here, above = (mock.images[:, k::3].astype(float) for k in range(3))
    far = np.abs(here - here[::-1]).mean()
    assert 0 < np.abs(below - here).mean() < far and 0 < np.abs(above - here).mean() < far


def test_a_modality_that_no_case_has_is_named_for_the_card(folder: Path) -> None:
    path_of(folder, "t1").unlink()
    reading = read_brats(folder, neighbours=1)
    assert brats.lacking(reading.cohort, reading.spec) == ()
    path_of(folder, "t1", SECOND).unlink()
    reading = read_brats(folder, neighbours=1)
    assert brats.lacking(reading.cohort, reading.spec) == ("t1",)
    assert "2 cases have no t1: that channel is zero there." in reading.remarks


def test_a_missing_modality_is_zero_and_remarked(folder: Path) -> None:
    path_of(folder, "t1").unlink()
    reading = read_brats(folder)
    assert "1 case has no t1: that channel is zero there." in reading.remarks
    first = reading.cohort.patient == 0
    assert not reading.cohort.images[first, 0].any()
    assert reading.cohort.images[first, 1].any() and reading.cohort.images[~first, 0].any()


def test_time_points_of_one_subject_are_one_patient(folder: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    names = {"t1": "t1n", "t1ce": "t1c", "t2": "t2w", "flair": "t2f", "seg": "seg"}
    for old_case, case in ((FIRST, "BraTS-GLI-00007-000"), (SECOND, "BraTS-GLI-00007-001")):
        for old, name in names.items():
            voxels, _ = load(path_of(folder, old, old_case))
            save(new / case / f"{case}-{name}.nii.gz", np.where(voxels == 4, 3, voxels))
    reading = read_brats(new, slices_per_patient=10)
    assert reading.patient_ids == ("BraTS-GLI-00007",)
    assert len(reading.cohort.images) == 10
    assert any("2 cases" in remark for remark in reading.remarks)


def test_cases_may_lie_in_grade_folders(folder: Path) -> None:
    expected = read_brats(folder)
    for grade, case in (("HGG", FIRST), ("LGG", SECOND)):
        (folder / grade).mkdir()
        (folder / case).rename(folder / grade / case)
    assert same(read_brats(folder), expected)


def test_plain_nii_and_the_odd_mask_name_of_2020_are_read(folder: Path) -> None:
    expected = read_brats(folder)
    for word in (*MODALITIES, "seg"):
        path = path_of(folder, word)
        plain = path.with_name(
            f"{FIRST}_{word}.nii" if word != "seg" else "W39_1998.09.19_Segm.nii"
        )
        plain.write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert same(read_brats(folder), expected)


# Each of these breaks one thing.


def truncate(folder: Path) -> None:
    path = path_of(folder, "t2")
    path.write_bytes(path.read_bytes()[:-1000])


def bomb(folder: Path) -> None:
    path = path_of(folder, "t2")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(50_000_000)))


def cut_content(folder: Path) -> None:
    path = path_of(folder, "t2")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-10]))


def link_file_outside(folder: Path) -> None:
    path_of(folder, "t2").rename(folder.parent / "secret.nii.gz")
    path_of(folder, "t2").symlink_to(folder.parent / "secret.nii.gz")


def link_case_outside(folder: Path) -> None:
    (folder / SECOND).rename(folder.parent / "elsewhere")
    (folder / SECOND).symlink_to(folder.parent / "elsewhere")


def repeat_modality(folder: Path) -> None:
    shutil.copy(path_of(folder, "t2"), folder / FIRST / "other_t2.nii.gz")


def mix_styles(folder: Path) -> None:
    path_of(folder, "t2").rename(folder / FIRST / f"{FIRST}-t2w.nii.gz")


def keep_mask_alone(folder: Path) -> None:
    for word in MODALITIES:
        path_of(folder, word).unlink()


def remove_cases(folder: Path) -> None:
    for case in (FIRST, SECOND):
        shutil.rmtree(folder / case)


def repeat_scan(folder: Path) -> None:
    for word in (*MODALITIES, "seg"):
        shutil.copy(path_of(folder, word), path_of(folder, word, SECOND))


def repeat_case(folder: Path) -> None:
    shutil.copytree(folder / FIRST, folder / "HGG" / FIRST)


def change_one(value: float, kind: type = np.float32) -> Callable[[Array], Array]:
    def change(voxels: Array) -> Array:
        changed = voxels.astype(kind)
        changed[32, 32, 12] = value
        return changed

    return change


def shift_affine(folder: Path) -> None:
    voxels, affine = load(path_of(folder, "t2"))
    save(path_of(folder, "t2"), voxels, affine + np.eye(4, k=3) * 2)


SFORM, DIM, DATATYPE, OFFSET, SLOPE = 280, 40, 70, 108, 112
BROKEN: dict[str, tuple[Callable[[Path], object], str, str]] = {
    # what is broken: (how, what the refusal names, what it says)
    "shapes differ": (lambda f: edit(f, "t2", lambda v: v[:-1]), FIRST, "one grid"),
    "affines differ": (shift_affine, FIRST, "one grid"),
    "mask is 4-D": (
        lambda f: edit(f, "seg", lambda v: np.stack([v, v], axis=3)),
        FIRST,
        "64 x 64 x 24 x 2",
    ),
    "empty mask": (lambda f: edit(f, "seg", np.zeros_like), FIRST, "it is empty"),
    "mask of tumour alone": (
        lambda f: edit(f, "seg", np.ones_like),
        FIRST,
        "tumour throughout",
    ),
    "unknown label": (lambda f: edit(f, "seg", change_one(5, np.uint8)), FIRST, "0 to 4"),
    "negative label": (lambda f: edit(f, "seg", change_one(-1)), FIRST, "whole labels"),
    "half a label": (lambda f: edit(f, "seg", change_one(1.5)), FIRST, "whole labels"),
    "label not a number": (lambda f: edit(f, "seg", change_one(np.nan)), "_seg", "finite"),
    "voxel not a number": (lambda f: edit(f, "t2", change_one(np.nan)), "_t2", "finite"),
    "voxel infinite": (lambda f: edit(f, "t2", change_one(-np.inf)), "_t2", "finite"),
    "voxel absurd": (lambda f: edit(f, "t2", change_one(1e300, np.float64)), "_t2", "finite"),
    "slope infinite": (lambda f: edit_header(f, "t2", SLOPE, "f", np.inf), "_t2", "finite"),
    "constant image": (lambda f: edit(f, "t2", np.zeros_like), "t2,", "constant background"),
    "constant brain": (lambda f: edit(f, "t2", np.sign), FIRST, "is constant"),
    "no background": (
        lambda f: edit(f, "t2", lambda v: np.arange(v.size).reshape(v.shape).astype("i4")),
        FIRST,
        "constant background",
    ),
    "affine not a number": (
        lambda f: edit_header(f, "t2", SFORM, "f", np.nan),
        "_t2",
        "finite affine",
    ),
    "affine zero": (lambda f: edit_header(f, "t2", SFORM, "12f", *[0] * 12), "_t2", "affine"),
    "voxels of 50 mm": (lambda f: edit_header(f, "t2", SFORM, "f", 50), "_t2", "0.1 to 20.0 mm"),
    "voxels of 0.01 mm": (lambda f: edit_header(f, "t2", SFORM, "f", 0.01), "_t2", "affine"),
    "flat affine": (
        lambda f: edit_header(f, "t2", SFORM, "8f", 1, 1, 0, 0, 1, 1, 0, 0),
        "_t2",
        "affine",
    ),
    "origin far away": (lambda f: edit_header(f, "t2", SFORM + 12, "f", 1e9), "_t2", "affine"),
    "absurd dimensions": (
        lambda f: edit_header(f, "t2", DIM, "4h", 3, 1024, 1024, 1024),
        "_t2",
        "1024 x 1024 x 1024",
    ),
    "negative dimension": (lambda f: edit_header(f, "t2", DIM, "2h", 3, -64), "_t2", "-64"),
    "nine dimensions": (lambda f: edit_header(f, "t2", DIM, "h", 9), "_t2", "NIfTI-1"),
    "complex numbers": (lambda f: edit_header(f, "t2", DATATYPE, "h", 32), "_t2", "real numbers"),
    "offset absurd": (lambda f: edit_header(f, "t2", OFFSET, "f", 1e9), "_t2", "byte 352"),
    "offset not a number": (
        lambda f: edit_header(f, "t2", OFFSET, "f", np.nan),
        "_t2",
        "byte 352",
    ),
    "not NIfTI": (
        lambda f: path_of(f, "t2").write_bytes(gzip.compress(b"x" * 1000)),
        "_t2",
        "NIfTI-1",
    ),
    "shorter than a header": (
        lambda f: path_of(f, "t2").write_bytes(gzip.compress(b"x" * 10)),
        "_t2",
        "NIfTI-1",
    ),
    "not gzip": (lambda f: path_of(f, "t2").write_bytes(b"x" * 1000), "_t2", "gzip"),
    "truncated gzip": (truncate, "_t2", "cut short"),
    "truncated content": (cut_content, "_t2", "bytes that its header declares"),
    "zip bomb": (bomb, "_t2", "it has more"),
    "file link that leaves": (link_file_outside, "_t2", "leaves the data folder"),
    "case link that leaves": (link_case_outside, SECOND, "leaves the data folder"),
    "two files for one modality": (repeat_modality, FIRST, "one file for t2"),
    "two styles of names": (mix_styles, FIRST, "mixes"),
    "no mask": (lambda f: path_of(f, "seg").unlink(), FIRST, "must have a mask"),
    "mask alone": (keep_mask_alone, FIRST, "at least one image"),
    "no case": (remove_cases, "X_flair.nii.gz", "holds none"),
    "case named by what no screen shows": (
        lambda f: (f / FIRST).rename(f / "Patient\n1"),
        "Patient?1",
        "printable",
    ),
    "case named in no known encoding": (
        lambda f: (f / FIRST).rename(Path(os.fsdecode(os.fsencode(f) + b"/\xff1"))),
        "?1",
        "printable",
    ),
    "one case in two folders": (repeat_case, FIRST, "two folders"),
    "one scan under two names": (repeat_scan, SECOND, "same picture"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_folder_is_refused_with_file_and_reason(what: str, folder: Path) -> None:
    read_brats(folder)
    break_it, names, says = BROKEN[what]
    break_it(folder)
    text = refusal(folder)
    assert names in text and says in text


@pytest.fixture
def decathlon(folder: Path, tmp_path: Path) -> Path:
    msd = tmp_path / "msd"
    volumes = [load(path_of(folder, word))[0] for word in ("flair", "t1", "t1ce", "t2")]
    seg = load(path_of(folder, "seg"))[0]
    save(msd / "imagesTr" / "BRATS_001.nii.gz", np.stack(volumes, axis=3))
    save(msd / "labelsTr" / "BRATS_001.nii.gz", np.where(seg == 4, 3, seg))
    write_dataset_json(msd)
    return msd


BROKEN_DECATHLON: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no dataset.json": (
        lambda f: (f / "dataset.json").unlink(),
        "dataset.json",
        "can't be opened",
    ),
    "an unknown channel": (
        lambda f: write_dataset_json(f, "T1w", "ADC", "t1gd", "T2w"),
        "channel 1",
        "'ADC'",
    ),
    "a channel twice": (
        lambda f: write_dataset_json(f, "T1w", "T1", "t1gd", "T2w"),
        "dataset.json",
        "each modality once",
    ),
    "one channel of four": (
        lambda f: write_dataset_json(f, "T1w"),
        "BRATS_001",
        "1 channels",
    ),
    "json too deep": (
        lambda f: (f / "dataset.json").write_text("[" * 100_000),
        "dataset.json",
        "a table in JSON",
    ),
    "no mask": (
        lambda f: (f / "labelsTr" / "BRATS_001.nii.gz").unlink(),
        "BRATS_001.nii.gz",
        "missing in one",
    ),
    "three channels": (
        lambda f: save(
            f / "imagesTr" / "BRATS_001.nii.gz", np.zeros((64, 64, 24, 3), dtype=np.int16)
        ),
        "BRATS_001",
        "4 channels",
    ),
}


def test_channels_in_another_order_are_read_by_their_names(decathlon: Path) -> None:
    expected = read_brats(decathlon)
    voxels, affine = load(decathlon / "imagesTr" / "BRATS_001.nii.gz")
    save(decathlon / "imagesTr" / "BRATS_001.nii.gz", voxels[..., [1, 0, 3, 2]], affine)
    write_dataset_json(decathlon, "T1w", "FLAIR", "T2w", "t1gd")
    assert same(read_brats(decathlon), expected)


@pytest.mark.parametrize("what", BROKEN_DECATHLON)
def test_a_broken_decathlon_folder_is_refused(what: str, decathlon: Path) -> None:
    read_brats(decathlon)
    break_it, names, says = BROKEN_DECATHLON[what]
    break_it(decathlon)
    text = refusal(decathlon)
    assert names in text and says in text


@pytest.mark.parametrize(
    "break_it",
    [bomb, lambda f: edit_header(f, "t2", DIM, "4h", 3, 1024, 1024, 1024)],
    ids=["bomb", "absurd dimensions"],
)
def test_a_file_that_promises_too_much_is_not_unpacked(
    break_it: Callable[[Path], object], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_it(folder)
    unpacked: list[int] = []

    class Counting(gzip.GzipFile):
        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            unpacked.append(len(data))
            return data

    monkeypatch.setattr(gzip, "GzipFile", Counting)
    with pytest.raises(InvalidData):
        nifti.read(folder, path_of(folder, "t2"))
    assert 0 < sum(unpacked) < 5_000_000


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(flips=st.lists(st.tuples(st.integers(0, 351), st.integers(0, 255)), min_size=1, max_size=12))
@example(flips=[(320, 1), (323, 127)])  # a signalling NaN in the affine
def test_a_damaged_header_gives_a_sound_volume_or_a_refusal(
    flips: list[tuple[int, int]], tmp_path: Path
) -> None:
    image = nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), RAS)
    data = bytearray(image.to_bytes())
    for where, value in flips:
        data[where] = value
    (tmp_path / "x.nii").write_bytes(data)
    try:
        volume = nifti.read(tmp_path.resolve(), tmp_path.resolve() / "x.nii")
    except InvalidData as refused:
        assert "x.nii" in str(refused)
    else:
        assert np.isfinite(volume.voxels).all() and np.isfinite(volume.affine).all()
        assert all(0.1 <= mm <= 20.0 for mm in volume.spacing_mm)
        assert volume.voxels.size <= 60


@pytest.mark.parametrize(
    "options", [{"size_px": 4}, {"slices_per_patient": 0}, {"neighbours": 2}, {"neighbours": -1}]
)
def test_absurd_sizes_are_refused(options: dict[str, int], folder: Path) -> None:
    with pytest.raises(InvalidData, match="must be"):
        read_brats(folder, **options)


@pytest.mark.skipif(
    not REAL.is_dir(), reason="needs BraTS 2013 in ../shared/data beside the repository"
)
def test_the_real_cases_are_read_with_their_missing_modalities_remarked() -> None:
    reading = read_brats(REAL, size_px=64)
    cohort = reading.cohort
    assert cohort.images.shape == (48, 4, 64, 64) and cohort.patients == 3
    assert "3 cases have no t1: that channel is zero there." in reading.remarks
    enhancing = cohort.images[:, 1][cohort.labels == 3].astype(float).mean()
    edema = cohort.images[:, 3][cohort.labels == 2].astype(float).mean()
    assert enhancing > 1.5 and edema > 1.0
    assert not reading.spec.stand_in
    assert brats.lacking(cohort, reading.spec) == ("t1", "t2")
