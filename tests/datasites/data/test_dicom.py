"""DICOM series read as the same volumes in NIfTI are, or refused with a reason that names nobody."""

import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import JPEG2000Lossless

from datasites.data.readers.volumes.formats import dicom
from syft_code.errors import InvalidData
from tests.datasites.data import scans

PRIVATE = ("zimmerwald", "janina", "mrn4711", "19510203")


def scan(seed: int) -> dict[str, scans.Array]:
    """Two modalities and the mask."""
    return {name: voxels for name, voxels in scans.head(seed).items() if name not in ("t1ce", "t2")}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("dicom")
    for number, case in enumerate(("P001", "Q002")):
        scans.write_dicom_case(root / case, scan(number), PatientID=f"MRN4711-{number}")
    (root / "volumes.toml").write_text(scans.LABELS)
    return root


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "data"))


def refusal(folder: Path) -> str:
    with pytest.raises(InvalidData) as caught:
        scans.read_brats(folder)
    text = str(caught.value)
    assert not any(word in text.lower() for word in PRIVATE), text
    assert text.endswith(".") and str(folder) not in text
    return text


def test_series_are_read_as_the_same_volumes_in_nifti(folder: Path, tmp_path: Path) -> None:
    for number, case in enumerate(("P001", "Q002")):
        scans.write_case(tmp_path / "nifti" / case, scan(number))
    reading = scans.read_brats(folder)
    assert scans.same(reading, scans.read_brats(tmp_path / "nifti"))
    assert reading.patient_ids == ("P001", "Q002")
    private = repr((reading.patient_ids, reading.remarks, reading.spec, reading.site)).lower()
    assert not any(word in private for word in PRIVATE)


@pytest.mark.parametrize("axes", [(2, 0, 1), (1, 2, 0), (0, 2, 1)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
def test_every_orientation_is_read_from_the_headers(
    axes: tuple[int, int, int], signs: tuple[int, int, int], folder: Path
) -> None:
    expected = scans.read_brats(folder)
    t1 = scans.head(0)["t1"]
    affine = scans.AFFINE[:, [*axes, 3]] @ np.diag([*signs, 1])
    voxels = t1.transpose(axes)
    for axis, sign in enumerate(signs):
        if sign < 0:
            affine[:3, 3] -= affine[:3, axis] * (voxels.shape[axis] - 1)
            voxels = np.flip(voxels, axis)
    if np.linalg.det(affine[:3, :3]) < 0:  # DICOM's normal is the product of row and column
        voxels = np.flip(voxels, 2)
        affine[:3, 3] += affine[:3, 2] * (voxels.shape[2] - 1)
        affine[:3, 2] *= -1
    for path in (folder / "P001" / "T1").iterdir():
        path.unlink()
    scans.write_series(folder / "P001" / "T1", voxels, affine=affine, PatientID="MRN4711-0")
    assert scans.same(scans.read_brats(folder), expected)


def test_all_series_of_a_case_may_lie_in_one_folder(folder: Path) -> None:
    expected = scans.read_brats(folder)
    for series in list((folder / "P001").glob("*/")):
        for file in series.iterdir():
            file.rename(folder / "P001" / f"{series.name}_{file.stem}")  # no ending at all
        series.rmdir()
    assert scans.same(scans.read_brats(folder), expected)


def test_descriptions_are_given_a_meaning_by_the_owner(folder: Path) -> None:
    expected = scans.read_brats(folder)
    rewrite(folder / "P001" / "T1", SeriesDescription="sag MPRAGE iso")
    (folder / "P001" / "T1").rename(folder / "P001" / "s1")
    assert "'sag MPRAGE iso' (8 files in 'P001/s1') is none that is known" in refusal(folder)
    (folder / "volumes.toml").write_text(scans.LABELS + '[series]\nt1 = ["*mprage*"]\n')
    assert "is none that is known" in refusal(folder)  # Q002's: the owner's patterns are all of T1
    (folder / "volumes.toml").write_text(scans.LABELS + '[series]\nt1 = ["*mprage*", "t1"]\n')
    assert scans.same(scans.read_brats(folder), expected)


def test_a_rescale_is_applied(folder: Path) -> None:
    expected = scans.read_brats(folder).cohort.images.astype(float)
    rewrite(folder / "P001" / "T1", RescaleSlope="0.5", RescaleIntercept="-1000")
    images = scans.read_brats(folder).cohort.images.astype(float)
    assert np.abs(images - expected).max() < 0.01


def test_two_cases_of_one_person_by_the_headers_are_asked_about(folder: Path) -> None:
    for series in (folder / "Q002").glob("*/"):
        rewrite(series, PatientID="MRN4711-0")
    assert "have the same PatientID" in refusal(folder)
    (folder / "volumes.toml").write_text('patient_id = "placeholder"\n' + scans.LABELS)
    assert scans.read_brats(folder).patient_ids == ("P001", "Q002")


def test_a_description_that_names_the_patient_is_not_repeated(folder: Path) -> None:
    rewrite(folder / "P001" / "T1", SeriesDescription="Janina head")
    (folder / "P001" / "T1").rename(folder / "P001" / "x")
    assert "'without a description' (8 files in 'P001/x')" in refusal(folder)


def rewrite(folder: Path, *, only: int | None = None, **tags: object) -> None:
    """Change tags of all files of a series, or of one of them."""
    for number, path in enumerate(sorted(folder.iterdir())):
        if only is None or number == only:
            one = pydicom.dcmread(path)
            for tag, value in tags.items():
                setattr(one, tag, value)
            one.save_as(path)


def first(folder: Path) -> Path:
    return sorted((folder / "P001" / "T1").iterdir())[0]


def compress(folder: Path) -> None:
    one = pydicom.dcmread(first(folder))
    one.file_meta.TransferSyntaxUID = JPEG2000Lossless
    one.PixelData = pydicom.encaps.encapsulate([b"xx"])
    one["PixelData"].is_undefined_length = True
    one.save_as(first(folder))


def tilt(folder: Path) -> None:
    for path in (folder / "P001" / "T1").iterdir():
        one = pydicom.dcmread(path)
        x, y, z = map(float, one.ImagePositionPatient)
        one.ImagePositionPatient = [x, y + 0.2 * z, z]
        one.save_as(path)


def second_series(folder: Path) -> None:
    scans.write_series(
        folder / "P001" / "again", scans.head(5)["t1"], description="T1", PatientID="MRN4711-0"
    )


def both_kinds(folder: Path) -> None:
    scans.save(folder / "P001" / "P001_t1.nii.gz", scans.head(0)["t1"])


T1 = Path("P001") / "T1"
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "a slice is missing": (
        lambda f: (f / T1 / "IM0003.dcm").unlink(),
        "slices are missing",
    ),
    "a slice twice": (
        lambda f: (f / T1 / "copy.dcm").write_bytes(first(f).read_bytes()),
        "two at one",
    ),
    "mixed slopes": (lambda f: rewrite(f / T1, only=3, RescaleSlope="2"), "mixes rescale slopes"),
    "mixed sizes": (lambda f: rewrite(f / T1, only=3, Rows=9), "several sizes"),
    "mixed spacings": (
        lambda f: rewrite(f / T1, only=3, PixelSpacing=[3.0, 3.0]),
        "several pixel spacings",
    ),
    "several patients": (lambda f: rewrite(f / T1, only=3, PatientID="x"), "several patients"),
    "a case of several": (lambda f: rewrite(f / T1, PatientID="x"), "must be of one patient"),
    "not parallel": (
        lambda f: rewrite(f / T1, only=3, ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
        "parallel slices",
    ),
    "no right angle": (
        lambda f: rewrite(f / T1, ImageOrientationPatient=[1, 0, 0, 1, 0, 0]),
        "right angle",
    ),
    "no position": (
        lambda f: rewrite(f / T1, only=3, ImagePositionPatient=None),
        "lacks ImagePositionPatient",
    ),
    "a tilted gantry": (tilt, "tilted gantry"),
    "one slice": (
        lambda f: [path.unlink() for path in sorted((f / T1).iterdir())[1:]],
        "2 to 1024 slices",
    ),
    "burned in": (lambda f: rewrite(f / T1, BurnedInAnnotation="YES"), "BurnedInAnnotation"),
    "compressed": (compress, "'JPEG 2000 Image Compression (Lossless Only)'"),
    "several frames": (lambda f: rewrite(f / T1, NumberOfFrames=3), "dcm2niix"),
    "colour": (lambda f: rewrite(f / T1, PhotometricInterpretation="RGB"), "gray picture"),
    "a segmentation": (lambda f: rewrite(f / T1, Modality="SEG"), "mask must be NIfTI"),
    "no pixels": (
        lambda f: rewrite(f / T1, only=0, PixelData=None),
        "pixels",
    ),
    "fewer pixels": (lambda f: rewrite(f / T1, only=0, PixelData=b"\0\0"), "as many pixels"),
    "bits above": (lambda f: rewrite(f / T1, BitsStored=8, HighBit=7), "numbers of 8 bits"),
    "slope of no number": (lambda f: rewrite(f / T1, RescaleSlope="0"), "positive rescale slope"),
    "cut short": (lambda f: first(f).write_bytes(first(f).read_bytes()[:300]), "IM0000.dcm"),
    "an unreadable head": (
        lambda f: first(f).write_bytes(bytes(128) + b"DICM" + b"\xff" * 400),
        "cut short or damaged",
    ),
    "named so only": (lambda f: first(f).write_bytes(b"text"), "named like DICOM and is none"),
    "two series for T1": (second_series, "'T1' (8 files in 'P001/again')"),
    "a series and a file": (both_kinds, "'P001_t1.nii.gz' and 't1'"),
    "no mask": (lambda f: (f / "P001" / "P001_seg.nii.gz").unlink(), "a mask beside it"),
    "another grid": (
        lambda f: scans.save(f / "P001" / "P001_seg.nii.gz", scans.head(0)["seg"], np.eye(4)),
        "on one grid",
    ),
    "labels of no edition": (lambda f: (f / "volumes.toml").unlink(), "[labels]"),
    "one series of four unknown": (
        lambda f: (f / T1).rename(f / "P001" / "x") and rewrite(f / "P001" / "x", SeriesDescription="DWI"),
        "'DWI'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_series_is_refused_with_the_reason(what: str, folder: Path) -> None:
    break_it, says = BROKEN[what]
    break_it(folder)
    assert re.sub(r"\s+", " ", says) in refusal(folder)


def test_a_series_is_left_out_when_the_owner_says_so(folder: Path) -> None:
    expected = scans.read_brats(folder)
    scans.write_series(
        folder / "P001" / "loc", scans.head(5)["t1"], description="Localizer", PatientID="MRN4711-0"
    )
    assert "'Localizer'" in refusal(folder)
    (folder / "volumes.toml").write_text('ignore = ["localizer*"]\n' + scans.LABELS)
    assert scans.same(scans.read_brats(folder), expected)


@pytest.mark.parametrize(
    "tags",
    [
        {"BurnedInAnnotation": "YES"},
        {"Modality": "SEG"},
        {"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3},
        {"NumberOfFrames": "7"},
    ],
)
def test_a_series_that_can_not_be_read_is_left_out_and_counted_when_the_owner_says_so(
    tags: dict[str, object], folder: Path
) -> None:
    expected = scans.read_brats(folder)
    scans.write_series(folder / "P001" / "T1x", scans.head(5)["t1"], description="screenshot")
    rewrite(folder / "P001" / "T1x", **tags)
    (folder / "volumes.toml").write_text('ignore = ["screenshot"]\n' + scans.LABELS)
    reading = scans.read_brats(folder)
    assert scans.same(reading, expected)
    assert "1 DICOM series is left out, as 'volumes.toml' says (ignore)." in reading.remarks


def test_a_compressed_series_is_left_out_when_the_owner_says_so(folder: Path) -> None:
    scans.write_series(folder / "P001" / "extra", scans.head(5)["t1"], description="localizer")
    for path in (folder / "P001" / "extra").iterdir():
        data = path.read_bytes()
        path.write_bytes(data.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.5\0", 1))
    (folder / "volumes.toml").write_text('ignore = ["loc*"]\n' + scans.LABELS)
    assert scans.read_brats(folder).cohort.patients == 2


@pytest.mark.parametrize(
    ("one", "other"), [("MRN007", "mrn007"), ("0007", "7"), ("P\u20111", "P-1")]
)
def test_two_spellings_of_a_patient_in_the_headers_are_one(
    one: str, other: str, folder: Path
) -> None:
    for case, number in (("P001", one), ("Q002", other)):
        for series in (folder / case).glob("*/"):
            rewrite(series, PatientID=number, SpecificCharacterSet="ISO_IR 192")
    said = refusal(folder)
    assert "have the same PatientID" in said and one not in said and other not in said
    if one.isascii():
        (folder / "volumes.toml").write_text(
            scans.LABELS + '[persons]\ndifferent = ["case", "leading_zeros"]\n'
        )
        assert scans.read_brats(folder).cohort.patients == 2


def test_a_folders_name_counts_however_long_the_path_to_it(folder: Path) -> None:
    """Cut to what a sentence shows, `t1ce` would be `t1`."""
    deep = folder / "P001" / ("d" * (120 - len("P001/") - len("/t1")))
    deep.mkdir()
    (folder / "P001" / "T1").rename(deep / "t1ce")
    rewrite(deep / "t1ce", SeriesDescription="AX POST GD")
    remarks = scans.read_brats(folder).remarks
    assert "1 case has no t1: that channel is zero there." in remarks
    assert "1 case has no t1ce: that channel is zero there." in remarks, "the other case"


@pytest.mark.parametrize(
    ("description", "tags"),
    [
        ("Li Wu brain", {"PatientName": "Li^Wu", "PatientID": "", "PatientBirthDate": ""}),
        ("head 03.02.1951", {}),
        ("head 3 02/03/51", {}),
    ],
)
def test_short_names_and_dates_in_other_notations_are_seen_too(
    description: str, tags: dict[str, object], folder: Path
) -> None:
    rewrite(folder / "P001" / "T1", SeriesDescription=description, **tags)
    (folder / "P001" / "T1").rename(folder / "P001" / "x")
    assert "'without a description'" in refusal(folder)


# Who it is, and what was measured, by all that the headers say.


def named(folder: Path, case: str, number: int, **tags: object) -> None:
    scans.write_dicom_case(folder / case, scan(number), **tags)


def test_a_name_with_a_birth_date_in_two_cases_is_one_person(tmp_path: Path) -> None:
    named(tmp_path, "A", 0, PatientID="", PatientName="Zimmerwald^Janina")
    named(tmp_path, "B", 1, PatientID="", PatientName="JANINA ZIMMERWALD^")
    (tmp_path / "volumes.toml").write_text(scans.LABELS)
    assert "have one name and birth date" in refusal(tmp_path)
    (tmp_path / "volumes.toml").write_text('patient_id = "placeholder"\n' + scans.LABELS)
    assert scans.read_brats(tmp_path).patient_ids == ("A", "B")
    (tmp_path / "volumes.toml").write_text(scans.LABELS)
    for case in "AB":
        for series in (tmp_path / case).glob("*/"):
            rewrite(series, PatientBirthDate="")
    assert scans.read_brats(tmp_path).patient_ids == ("A", "B")  # a name alone may be of two


@pytest.mark.parametrize(
    "tags",
    [
        {"PatientName": "Roe^Rick"},
        {"PatientBirthDate": "19600101"},
        {"PatientName": "Roe^Rick", "PatientID": ""},
    ],
)
def test_series_of_two_people_in_a_case_are_seen_by_name_or_birth_date(
    tags: dict[str, object], folder: Path
) -> None:
    rewrite(folder / "P001" / "T1", **tags)
    text = refusal(folder)
    assert "must be of one patient" in text and "names or birth dates" in text
    assert "roe" not in text.lower() and "1960" not in text


def test_another_spelling_of_a_name_is_no_other_person(folder: Path) -> None:
    rewrite(folder / "P001" / "T1", PatientName="ZIMMERWALD^JANINA^M")
    assert scans.read_brats(folder).patient_ids == ("P001", "Q002")


def test_one_series_of_two_descriptions_is_refused(folder: Path) -> None:
    for number in range(4):
        rewrite(folder / T1, only=number, SeriesDescription="FLAIR2")
    assert "have one SeriesInstanceUID" in refusal(folder) or "'FLAIR2'" in refusal(folder)
    uid = pydicom.dcmread(first(folder)).SeriesInstanceUID
    rewrite(folder / T1, SeriesDescription="t1")
    rewrite(folder / "P001" / "FLAIR", SeriesInstanceUID=uid)
    assert "have one SeriesInstanceUID" in refusal(folder)


@pytest.mark.parametrize(
    "tags",
    [
        {"SeriesDescription": "T1 AX POST GD"},
        {"SeriesDescription": "t1+C ax"},
        {"ContrastBolusAgent": "Gadovist"},
    ],
)
def test_t1_with_an_agent_is_not_read_as_t1_unasked(tags: dict[str, object], folder: Path) -> None:
    rewrite(folder / T1, **tags)
    assert "before or after contrast" in refusal(folder)
    (folder / "volumes.toml").write_text(
        scans.LABELS + '[series]\nt1ce = ["t1*p*", "t1+c*"]\nt1 = ["t1"]\n'
    )
    assert scans.read_brats(folder).patient_ids == ("P001", "Q002")


def test_pixels_are_not_kept_beside_the_headers(folder: Path) -> None:
    root = folder.resolve()
    series = dicom.series_of(root, sorted((root / T1).iterdir()))
    headers = pickle.dumps(series[0].slices)
    for path in (root / T1).iterdir():
        big = pydicom.dcmread(path)
        big.Rows = big.Columns = 256
        big.PixelData = bytes(2 * 256 * 256)
        big.save_as(path)
    again = dicom.series_of(root, sorted((root / T1).iterdir()))
    assert len(pickle.dumps(again[0].slices)) < len(headers) + 100
