"""Folders of volumes as hospitals have them: each file is read, stands by, or is named with the reason."""

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from datasites.data.folders.reading import Reading
from syft_code.errors import InvalidData
from tests.datasites.data import scans
from tests.datasites.data.scans import AFFINE, NEW, Array, head, read_brats, same, save, write_case

ODD = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "odd_files"
FIRST, SECOND = "A001", "B002"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scans.write_folder(tmp_path_factory.mktemp("volumes"))


@pytest.fixture(scope="module")
def expected(original: Path) -> Reading:
    return read_brats(original)


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "data"))


def refusal(folder: Path) -> str:
    with pytest.raises(InvalidData) as caught:
        read_brats(folder)
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text and str(folder) not in text
    return text


def path_of(folder: Path, word: str, case: str = SECOND) -> Path:
    return folder / case / f"{case}_{word}.nii.gz"


def rename(folder: Path, change: Callable[[str], str]) -> None:
    """Change the names of the second case's files."""
    for path in list((folder / SECOND).iterdir()):
        path.rename(path.with_name(change(path.name)))


def rename_one(folder: Path, word: str, name: str) -> None:
    path_of(folder, word).rename(folder / SECOND / name)


def uncompressed(folder: Path) -> None:
    for path in (folder / SECOND).iterdir():
        path.write_bytes(nib.load(path).to_bytes())


def compressed_under_nii(folder: Path) -> None:
    rename(folder, lambda name: name.removesuffix(".gz"))


def nan_background(folder: Path, *words: str) -> None:
    for word in words or ("t1",):
        voxels = head(1)[word].astype(np.float32)
        save(path_of(folder, word), np.where(head(1)["t1"] == 0, np.nan, voxels))


def moved(*, shift: float = 0.0, turn: float = 0.0) -> Array:
    affine = AFFINE.copy()
    affine[0, 3] += shift
    affine[0, 1] += turn
    return affine


def both_affines(folder: Path, word: str, qform: Array, *, codes: tuple[int, int] = (1, 1)) -> None:
    voxels = head(1)[word]
    image = nib.Nifti1Image(voxels, AFFINE)
    image.set_sform(AFFINE, codes[0])
    image.set_qform(qform, codes[1])
    nib.save(image, path_of(folder, word))


READ_ALIKE: dict[str, Callable[[Path], object]] = {
    "capital endings": lambda f: rename(f, lambda name: name.replace(".nii.gz", ".NII.GZ")),
    "mixed capitals": lambda f: rename(f, lambda name: name.replace(".nii.gz", ".Nii.Gz")),
    "capital words": lambda f: rename(f, lambda name: name[:5] + name[5:].upper()),
    "t1c": lambda f: rename_one(f, "t1ce", "B002_t1c.nii.gz"),
    "t1Gd": lambda f: rename_one(f, "t1ce", "B002_t1Gd.nii.gz"),
    "T1CE": lambda f: rename_one(f, "t1ce", "B002_T1CE.nii.gz"),
    "not compressed": uncompressed,
    "compressed under .nii": compressed_under_nii,
    "one folder deeper": lambda f: shutil.move(f / SECOND, f / "site" / "2019" / SECOND),
    "NaN around the head": nan_background,
    "NaN around all": lambda f: nan_background(f, *scans.MODALITIES),
    "NaN around the mask": lambda f: nan_background(f, "seg"),
    "both affines agree": lambda f: both_affines(f, "t2", AFFINE),
    "a fourth axis of one": lambda f: save(path_of(f, "t1"), head(1)["t1"][..., None]),
    "by-standers": lambda f: [
        (f / name).write_bytes(b"x")
        for name in ("README.md", "survival_info.csv", "name_mapping.csv", f"{SECOND}/License_CC.txt",
                     f"{SECOND}/B002_brainmask.nii.gz", f"{SECOND}/.DS_Store")
    ],
}  # fmt: skip


@pytest.mark.parametrize("what", READ_ALIKE)
def test_another_spelling_is_read_alike(what: str, folder: Path, expected: Reading) -> None:
    (folder / "site").mkdir()
    (folder / "site" / "2019").mkdir()
    READ_ALIKE[what](folder)
    if not any((folder / "site" / "2019").iterdir()):
        shutil.rmtree(folder / "site")
    reading = read_brats(folder)
    assert same(reading, expected) and reading.patient_ids == (FIRST, SECOND)
    assert reading.remarks == expected.remarks


def test_affines_that_differ_by_rounding_are_one_grid(folder: Path, expected: Reading) -> None:
    save(path_of(folder, "seg"), head(1)["seg"], moved(shift=0.004, turn=2e-4))
    cohort = read_brats(folder).cohort
    assert np.array_equal(cohort.labels, expected.cohort.labels)
    assert np.abs(cohort.images.astype(float) - expected.cohort.images.astype(float)).max() < 0.01


def add(name: str, data: bytes = b"x") -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    return change


def add_volume(name: str) -> Callable[[Path], object]:
    return lambda folder: save(folder / name, head(1)["t1"])


def instead(word: str, name: str) -> Callable[[Path], object]:
    """A file of this name in place of a modality's."""

    def change(folder: Path) -> None:
        path_of(folder, word).unlink()
        (folder / SECOND / name).write_bytes(b"ObjectType = Image")

    return change


def hole(folder: Path) -> None:
    voxels = head(1)["t1"].astype(np.float32)
    voxels[6:8, 6, 4] = np.nan
    save(path_of(folder, "t1"), voxels)


def all_nan(folder: Path) -> None:
    save(path_of(folder, "t1"), np.full(scans.SHAPE, np.nan, np.float32))


def second_header(folder: Path) -> None:
    nib.save(nib.Nifti2Image(head(1)["t1"], AFFINE), path_of(folder, "t1"))


def mirrored() -> Array:
    return np.diag([-1.0, -1, 1, 1]) @ AFFINE


def in_style(folder: Path, case: str, scan: dict[str, Array]) -> None:
    shutil.rmtree(folder / SECOND)
    write_case(folder / case, scan, NEW)


def scan_2023(folder: Path, word: str, name: str) -> None:
    in_style(folder, "BraTS-GLI-00007-000", head(1, labels=(1, 2, 3)))
    case = folder / "BraTS-GLI-00007-000"
    (case / f"{case.name}{word}.nii.gz").rename(case / f"{case.name}{name}.nii.gz")


REFUSED: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "a modality in MetaImage": (instead("t1ce", "B002_t1ce.mha"), "B002_t1ce.mha", "is MetaImage"),
    "a header apart": (instead("t1", "B002_t1.hdr"), "B002_t1.hdr", "is Analyze"),
    "voxels apart": (instead("t1", "B002_t1.IMG"), "B002_t1.IMG", "is Analyze"),
    "a modality in NRRD": (instead("t2", "B002_t2.nrrd"), "B002_t2.nrrd", "is NRRD"),
    "a modality of FreeSurfer": (instead("t2", "B002_t2.mgz"), "B002_t2.mgz", "FreeSurfer"),
    "a mask in NRRD": (instead("seg", "B002_seg.seg.nrrd"), "B002_seg.seg.nrrd", "is NRRD"),
    "a modality in an archive": (instead("t2", "B002_t2.zip"), "B002_t2.zip", "unpack"),
    "compressed otherwise": (instead("t2", "B002_t2.nii.bz2"), "B002_t2.nii.bz2", "gzip"),
    "a whole case in MetaImage": (add("C003/C003_flair.mha"), "C003/C003_flair.mha", "MetaImage"),
    "a whole case in DICOM": (add("C003/IM1.dcm", bytes(128) + b"DICM"), "C003/IM1.dcm", "is DICOM"),
    "DICOM without an ending": (add("C003/IM1", bytes(128) + b"DICM"), "C003/IM1", "is DICOM"),
    "a picture": (add("C003/a.png"), "C003/a.png", "is a picture"),
    "an unknown modality": (add_volume("B002/B002_dwi.nii.gz"), "B002_dwi", "no known modality"),
    "t1post beside t1": (
        lambda f: rename_one(f, "t1ce", "B002_t1post.nii.gz"), "B002_t1post", "no known modality"),
    "t1 and T1 of another kind": (add_volume("B002/B002_T1.nii"), "B002", "one file for t1"),
    "t1ce and t1gd": (add_volume("B002/B002_t1gd.nii.gz"), "B002", "one file for t1ce"),
    "a loose volume": (add_volume("C003_t1.nii.gz"), "C003_t1.nii.gz", "outside the folder of a case"),
    "an unknown table": (add("notes.csv"), "notes.csv", "is not a name"),
    "NIfTI without an ending": (add("C003/x", bytes(344) + b"n+1\0"), "C003/x", "without its ending"),
    "an empty folder": (lambda f: (f / "C003").mkdir(), "C003", "holds none"),
    "a folder of by-standers": (add("C003/License.txt"), "C003", "holds none"),
    "folders without end": (
        lambda f: (f / "/".join("d" * 300)).mkdir(parents=True), "d/d/d", "16 folders deep"),
    "a pipe": (lambda f: os.mkfifo(f / SECOND / "B002_x"), "B002_x", "regular file"),
    "a pipe for a modality": (
        lambda f: [path_of(f, "t1").unlink(), os.mkfifo(path_of(f, "t1"))], "B002_t1", "regular file"),
    "a mapping elsewhere": (lambda f: (f / "volumes.toml").symlink_to("/etc/hostname"), "volumes.toml", "leaves"),
    "all is ignored": (add("volumes.toml", b'ignore = ["*"]'), "X_flair", "holds none"),
    "a link in a circle": (
        lambda f: (f / SECOND / "again").symlink_to(f), "B002/again", "read anyway"),
    "NaN in the head": (hole, "B002_t1", "NaN (not a number) at 2 places"),
    "NaN throughout": (all_nan, "B002_t1", "NaN (not a number) throughout"),
    "NIfTI-2": (second_header, "B002_t1", "is NIfTI-2"),
    "an empty file": (lambda f: path_of(f, "t1").write_bytes(b""), "B002_t1", "is empty"),
    "affines a tenth apart": (
        lambda f: save(path_of(f, "seg"), head(1)["seg"], moved(shift=0.1)), SECOND, "one grid"),
    "sform against qform": (lambda f: both_affines(f, "seg", mirrored()), "B002_seg", "sform and qform differ"),
    "qform shifted": (lambda f: both_affines(f, "t1", moved(shift=1)), "B002_t1", "sform and qform differ"),
    "4-D where 3-D is due": (
        lambda f: save(path_of(f, "t1"), np.stack([head(1)["t1"]] * 2, axis=3)), SECOND, "14 x 12 x 8 x 2"),
    "mask of 2021 in 2023": (lambda f: scan_2023(f, "-seg", "_seg"), "BraTS-GLI-00007-000_seg", "mixes"),
    "no mask in 2023": (
        lambda f: [scan_2023(f, "-seg", "-seg"), next(f.glob("*/*-seg.nii.gz")).unlink()],
        "BraTS-GLI-00007-000", "a mask named like X-seg.nii.gz"),
    "no mask in 2021": (lambda f: path_of(f, "seg").unlink(), SECOND, "a mask named like X_seg.nii.gz"),
    "label 4 in 2023": (
        lambda f: in_style(f, "BraTS-GLI-00007-000", head(1)), "BraTS-GLI-00007-000", "resection cavity of 2024"),
    "children's labels": (
        lambda f: in_style(f, "BraTS-PED-00007-000", head(1, labels=(1, 2, 3))),
        "BraTS-PED-00007-000", "have changed from 2023 to 2024"),
    "a mapping of nonsense": (add("volumes.toml", b"a = ["), "volumes.toml", "must be TOML"),
    "a mapping in another code": (add("volumes.toml", b"\xff"), "volumes.toml", "UTF-8"),
    "a mapping of an unknown field": (add("volumes.toml", b"what = 1"), "volumes.toml", "what"),
    "a label for two regions": (
        add("volumes.toml", b"[labels]\ncore = [1]\nedema = [1]"), "volumes.toml", "one region only"),
    "zero is tumour": (add("volumes.toml", b"[labels]\ncore = [0]"), "volumes.toml", "0 is what"),
    "no region": (add("volumes.toml", b"[labels]\nbackground = [1]"), "volumes.toml", "at least one of"),
    "a mapping that makes one file two": (
        add("volumes.toml", b'[files]\nt1 = ["*_t1.*"]\nt2 = ["*_t?.*"]'), "_t1.nii.gz", "t1 and t2"),
    "one name for two cases": (lambda f: shutil.copytree(f / FIRST, f / "x" / FIRST), FIRST, "two folders"),
    "scans of one person?": (
        lambda f: (f / SECOND).rename(f / "A001_2"), "A001_2", 'same = ["scan_number"]'),
    "persons that match no pattern": (
        add("volumes.toml", b"[persons]\npattern = '(?P<person>A\\d+)'"), SECOND, "must match the pattern"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_read_is_named_with_the_reason(what: str, folder: Path) -> None:
    break_it, names, says = REFUSED[what]
    break_it(folder)
    text = refusal(folder)
    assert names in text and says in text, text


def test_a_resection_cavity_is_background_and_remarked(folder: Path, expected: Reading) -> None:
    scan = head(1, labels=(1, 2, 3))
    scan["seg"][0, 0, 0] = 4
    in_style(folder, "BraTS-GLI-00007-101", scan)
    reading = read_brats(folder)
    assert same(reading, expected)
    assert any("1 case has label 4, the resection cavity" in one for one in reading.remarks)


def test_a_header_that_does_not_say_how_the_patient_lies_is_remarked(folder: Path) -> None:
    for word in (*scans.MODALITIES, "seg"):
        nib.save(nib.Nifti1Image(head(1)[word], None), path_of(folder, word))
    assert any("1 case does not say how" in one for one in read_brats(folder).remarks)


def test_the_owner_says_which_affine_holds(folder: Path, expected: Reading) -> None:
    both_affines(folder, "seg", mirrored())
    (folder / "volumes.toml").write_text('affine = "sform"')
    assert same(read_brats(folder), expected)
    (folder / "volumes.toml").write_text('affine = "qform"')
    assert "one grid" in refusal(folder)


def test_the_owners_endings_and_labels_are_read(tmp_path: Path, expected: Reading) -> None:
    endings = {"t1": "-a", "t1ce": "-b", "t2": "-c", "flair": "-d", "seg": "-roi"}
    for number, case in enumerate((FIRST, SECOND)):
        write_case(tmp_path / case, head(number, labels=(7, 5, 9)), endings)
        save(tmp_path / case / f"{case}-dwi.nii.gz", head(number)["t1"])
    (tmp_path / "volumes.toml").write_text(
        'ignore = ["*-dwi.nii.gz"]\n[files]\nt1 = ["*-A.nii*"]\nt1ce = ["*-b.*"]\nt2 = ["*-c.*"]\n'
        'flair = ["*-d.*"]\nmask = ["*-roi.*"]\n[labels]\ncore = [7]\nedema = [5]\nenhancing = [9]\n'
    )
    reading = read_brats(tmp_path)
    assert same(reading, expected)
    assert "2 files are left out, as 'volumes.toml' says (ignore)." in reading.remarks


def test_regions_without_a_value_are_named(folder: Path) -> None:
    (folder / "volumes.toml").write_text(
        "[labels]\nbackground = [2]\ncore = [1]\nenhancing = [4]\n"
    )
    reading = read_brats(folder)
    assert not (reading.cohort.labels == 2).any()
    assert any("No stored value stands for edema" in one and "WT" in one for one in reading.remarks)


def test_scans_of_one_person_are_one_patient_as_the_owner_says(folder: Path) -> None:
    (folder / SECOND).rename(folder / "A001_2")
    (folder / "volumes.toml").write_text('[persons]\nsame = ["scan_number"]')
    reading = read_brats(folder)
    assert reading.patient_ids == ("A001",)
    (folder / "volumes.toml").write_text('[persons]\ndifferent = ["scan_number"]')
    assert read_brats(folder).patient_ids == ("A001", "A001_2")
    (folder / "volumes.toml").write_text("[persons]\npattern = '(?P<person>A\\d+)(_\\d)?'")
    assert read_brats(folder).patient_ids == ("A001",)


def test_time_points_of_2023_need_no_word_of_the_owner(tmp_path: Path) -> None:
    for number, case in enumerate(("BraTS-GLI-00007-000", "BraTS-GLI-00007-001")):
        write_case(tmp_path / case, head(number, labels=(1, 2, 3)), NEW)
    assert read_brats(tmp_path).patient_ids == ("BraTS-GLI-00007",)
    (tmp_path / "BraTS-GLI-00007-001").rename(tmp_path / "brats-gli-00007-001")
    assert 'same = ["case"]' in refusal(tmp_path)


def test_numbers_of_published_names_are_persons(tmp_path: Path) -> None:
    names = ("BraTS20_Training_001", "BraTS20_Training_002", "BraTS2021_00001", "BraTS2021_00002")
    for number, case in enumerate(names):
        write_case(tmp_path / case, head(number))
    assert read_brats(tmp_path).patient_ids == tuple(sorted(names))


# Folders as training programs want them.

REGIONS = {
    "background": 0,
    "whole tumor": [1, 2, 3],
    "tumor core": [2, 3],
    "enhancing tumor": [3],
}


def nnunet(root: Path, labels: object, *, channels: dict[str, str] | None = None) -> Path:
    """Two cases; stored 1 edema, 2 core, 3 enhancing, as nnU-Net's own conversion writes."""
    named = channels or {"0": "T1", "1": "T1ce", "2": "T2", "3": "Flair"}
    for number, case in enumerate((FIRST, SECOND)):
        scan = head(number, labels=(2, 1, 3))
        for channel, name in enumerate(scans.MODALITIES):
            save(root / "imagesTr" / f"{case}_{channel:04}.nii.gz", scan[name])
        save(root / "labelsTr" / f"{case}.nii.gz", scan["seg"])
    (root / "dataset.json").write_text(json.dumps({"channel_names": named, "labels": labels}))
    return root


@pytest.mark.parametrize(
    "labels",
    [
        REGIONS,
        {"background": 0, "edema": 1, "necrosis": 2, "enhancing tumour": 3},
        {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
    ],
)
def test_nnunets_layout_is_read_by_its_dataset_json(
    labels: object, tmp_path: Path, expected: Reading
) -> None:
    root = nnunet(tmp_path, labels)
    save(root / "imagesTs" / "C003_0000.nii.gz", head(2)["t1"])
    reading = read_brats(root)
    assert same(reading, expected) and reading.patient_ids == (FIRST, SECOND)
    assert "1 file in 'imagesTs' has no mask and is left out." in reading.remarks


def test_the_owners_channels_and_labels_go_before_dataset_json(
    tmp_path: Path, expected: Reading
) -> None:
    root = nnunet(tmp_path, {"background": 0, "whole tumor": [1, 2, 3]}, channels={"0": "MRI"})
    (root / "volumes.toml").write_text(
        '[channels]\n0 = "t1"\n1 = "t1ce"\n2 = "t2"\n3 = "flair"\n'
        "[labels]\nedema = [1]\ncore = [2]\nenhancing = [3]\n"
    )
    assert same(read_brats(root), expected)


BROKEN_TRAINING: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "one region of three": (
        lambda f: nnunet(f, {"background": 0, "whole tumor": [1, 2, 3]}), "dataset.json", "background, whole tumor"),
    "regions that do not nest": (
        lambda f: nnunet(f, {**REGIONS, "tumor core": [1, 2]}), "dataset.json", "tell core, edema"),
    "labels of another organ": (lambda f: nnunet(f, {"background": 0, "liver": 1}), "dataset.json", "liver"),
    "no labels": (lambda f: nnunet(f, None), "dataset.json", "gives: none"),
    "a channel of another kind": (
        lambda f: nnunet(f, REGIONS, channels={"0": "T1", "1": "CT"}), "channel 1", "'CT'"),
    "an image of no channel": (
        lambda f: save(nnunet(f, REGIONS) / "imagesTr" / "A001_0004.nii.gz", head(0)["t1"]), "A001_0004", "a channel"),
    "an image is missing": (
        lambda f: (nnunet(f, REGIONS) / "imagesTr" / "A001_0002.nii.gz").unlink(), "A001", "has none for 0002 (t2)"),
    "a mask is missing": (
        lambda f: (nnunet(f, REGIONS) / "labelsTr" / "A001.nii.gz").unlink(), "A001_0000", "after a mask"),
    "a mask of another format": (
        lambda f: (nnunet(f, REGIONS) / "labelsTr" / "C003.mha").write_bytes(b"x"), "C003.mha", "MetaImage"),
    "one folder deeper": (lambda f: nnunet(f / "Task01", REGIONS), "Task01/dataset.json", "one folder deeper"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN_TRAINING)
def test_a_broken_training_folder_is_refused(what: str, tmp_path: Path) -> None:
    make_it, names, says = BROKEN_TRAINING[what]
    make_it(tmp_path)
    text = refusal(tmp_path)
    assert names in text and says in text, text


# The same as outsiders made them.

SAID = {
    "brats2024_resection_cavity": "resection cavity of BraTS 2024: it counts as background",
    "nifti_affine_rounding": "3 patients were read.",
    "nifti_dicom_case": "'A_003/IM0001.dcm' would be left out: the first is DICOM",
    "nifti_gz_not_compressed": "3 patients were read.",
    "nifti_mha_case": "'A_003/A_003_flair.mha' would be left out: the first is MetaImage",
    "nifti_nan_background": "3 patients were read.",
    "nifti_sform_qform_conflict": "'A_003/A_003_seg.nii.gz' must lie at one place",
    "nifti_t1c_name": "3 patients were read.",
    "nifti_t1gd_name": "3 patients were read.",
    "nifti_upper_extension": "3 patients were read.",
    "nifti_upper_modality_words": "3 patients were read.",
    "nnunet_raw_layout": "'dataset.json' must give labels that tell core, edema",
}


@pytest.mark.skipif(not ODD.is_dir(), reason="needs the odd files in ../shared/data")
@pytest.mark.parametrize("name", SAID)
def test_an_odd_file_is_read_whole_or_named(name: str) -> None:
    try:
        reading = read_brats(ODD / name)
    except InvalidData as refused:
        said = str(refused)
    else:
        said = " ".join(reading.remarks)
        assert reading.cohort.images.any(axis=(2, 3)).all()  # no channel is zero
        assert reading.cohort.patients == 3
    assert SAID[name] in said


def test_test_images_with_masks_are_left_out_for_what_they_are(tmp_path: Path) -> None:
    root = nnunet(tmp_path, REGIONS)
    save(root / "imagesTs" / "C003_0000.nii.gz", head(2)["t1"])
    save(root / "labelsTs" / "C003.nii.gz", head(2)["seg"])
    said = " ".join(read_brats(root).remarks)
    assert "1 file in 'imagesTs', of a test set with masks in 'labelsTs', is left out." in said
    assert "1 mask in 'labelsTs' is left out" in said and "no mask" not in said


def test_a_channel_in_other_digits_takes_no_image_s_place(tmp_path: Path) -> None:
    root = nnunet(tmp_path, REGIONS)
    name = "A001_\u0660\u0660\u0660\u0660.nii.gz"
    save(root / "imagesTr" / name, head(3)["t1"])
    assert f"'{name}' must be named X_0000.nii.gz" in refusal(root)


def twice_compressed(data: bytes) -> bytes:
    return gzip.compress(data)


def analyze(data: bytes) -> bytes:
    plain = bytearray(gzip.decompress(data))
    plain[344:348] = bytes(4)
    return bytes(plain)


OTHER_FILES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a pointer": (
        lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\n" * 9,
        "git lfs pull",
    ),
    "a short pointer": (lambda _: b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "nothing": (lambda _: b"", "is empty"),
    "a page": (lambda _: b"<!DOCTYPE html><html>sign in</html>" * 20, "is a web page"),
    "a zip": (lambda _: b"PK\x03\x04" + bytes(500), "is a zip archive"),
    "gzip of gzip": (twice_compressed, "is compressed twice"),
    "Analyze": (analyze, "is Analyze"),
    "more behind": (lambda data: data + b"junk", "other bytes follow its end"),
    "cut": (lambda data: data[:-30], "is cut short"),
}


@pytest.mark.parametrize("what", OTHER_FILES)
def test_what_lies_under_the_name_of_nifti_is_said(what: str, folder: Path) -> None:
    change, says = OTHER_FILES[what]
    path = path_of(folder, "t1")
    path.write_bytes(change(path.read_bytes()))
    text = refusal(folder)
    assert says in text and "B002_t1.nii.gz" in text and "Convert" not in text, text


def test_a_mask_of_a_cavity_alone_is_not_called_empty(folder: Path) -> None:
    scan = head(1, labels=(1, 2, 3))
    scan["seg"] = np.where(scan["seg"] > 0, 4, 0).astype(np.uint8)
    in_style(folder, "BraTS-GLI-00007-101", scan)
    text = refusal(folder)
    assert "counts as background: 4" in text and "empty" not in text


def test_a_lost_slice_is_not_called_a_shift(folder: Path) -> None:
    save(path_of(folder, "t1"), head(1)["t1"][..., :-1])
    text = refusal(folder)
    assert "the mask's shape is 14 x 12 x 8, t1's 14 x 12 x 7. If a slice was lost" in text


def test_half_a_head_lost_in_nan_is_refused(folder: Path) -> None:
    voxels = head(1)["t1"].astype(np.float32)
    voxels[:7] = np.nan
    save(path_of(folder, "t1"), voxels)
    assert "must have one background, and has two" in refusal(folder)


def test_what_a_training_folder_leaves_out_is_counted(tmp_path: Path) -> None:
    nnunet(tmp_path, {"background": 0, "NCR": 1, "ED": 2, "ET": 3})
    (tmp_path / "volumes.toml").write_text('ignore = ["A001*"]\n')
    assert "5 files are left out, as 'volumes.toml' says (ignore)." in read_brats(tmp_path).remarks


def test_names_that_differ_in_several_ways_are_asked_about_published_or_not(tmp_path: Path) -> None:
    write_case(tmp_path / "a" / "Pat-007", head(0))
    write_case(tmp_path / "a" / "pat-7", head(1))
    assert 'same = ["case", "leading_zeros"]' in refusal(tmp_path / "a")
    new = {"labels": (1, 2, 3)}
    write_case(tmp_path / "b" / "BraTS-GLI-00007-000", head(0, **new), NEW)
    write_case(tmp_path / "b" / "brats-gli-7-001", head(1, **new), NEW)
    assert 'same = ["case", "leading_zeros"]' in refusal(tmp_path / "b")
    (tmp_path / "b" / "volumes.toml").write_text('[persons]\nsame = ["case", "leading_zeros"]\n')
    assert read_brats(tmp_path / "b").cohort.patients == 1
