"""A folder of volumes with one thing changed is read right or refused by name, never in part."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from datasites.data.folders.reading import Reading
from datasites.data.readers.volumes.formats.volume import shift_voxels
from syft_code.errors import InvalidData
from tests.datasites.data import scans
from tests.datasites.data.scans import AFFINE, MODALITIES, SHAPE, head, read_brats, same, save

CASE = "B002"
KNOWN = [
    "t1",
    "t1ce",
    "t1c",
    "t1gd",
    "t2",
    "flair",
    "seg",
    "segm",
    "t1n",
    "t2w",
    "t2f",
    "dwi",
    "adc",
    "mask",
    "brain",
    "t1post",
    "t1w",
    "gd",
    "roi",
]
words = st.sampled_from(KNOWN) | st.text("abt12_-. é", min_size=1, max_size=6)
extensions = st.sampled_from(
    [".nii.gz", ".nii", ".NII.GZ", ".Nii", ".mha", ".hdr", ".img", ".nrrd", ".dcm", ".gz", ".zip", "", ".txt"]
)  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scans.write_folder(tmp_path_factory.mktemp("volumes"))


@pytest.fixture(scope="module")
def expected(original: Path) -> Reading:
    return read_brats(original)


@contextmanager
def copied(original: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(shutil.copytree(original, Path(folder) / "data"))


def read_or_refused(folder: Path) -> Reading | str:
    try:
        return read_brats(folder)
    except InvalidData as refused:
        return str(refused)


def capitals(text: str, upper: list[bool]) -> str:
    return (
        "".join(c.upper() if up else c for c, up in zip(text, upper, strict=False))
        + text[len(upper) :]
    )


@settings(max_examples=60)
@given(
    what=st.sampled_from((*MODALITIES, "seg")),
    link=st.sampled_from("_-. "),
    word=words,
    upper=st.lists(st.booleans(), max_size=6),
    extension=extensions,
    deeper=st.booleans(),
)
def test_a_file_under_another_name_is_read_or_named(
    what: str,
    link: str,
    word: str,
    upper: list[bool],
    extension: str,
    deeper: bool,
    original: Path,
    expected: Reading,
) -> None:
    name = f"{CASE}{link}{capitals(word, upper)}{extension}"
    with copied(original) as folder:
        case = folder / CASE
        target = case / "more" / name if deeper else case / name
        assume(target.name == name and not target.exists() and not name.endswith("brain_mask.nii"))
        target.parent.mkdir(exist_ok=True)
        (case / f"{CASE}_{what}.nii.gz").rename(target)
        found = read_or_refused(folder)
    if isinstance(found, str):
        assert CASE in found and (name in found or what in found or "mask" in found), found
    else:
        assert same(found, expected)


@settings(max_examples=40)
@given(
    what=st.sampled_from((*MODALITIES, "seg")),
    row=st.integers(0, 2),
    column=st.integers(0, 3),
    by=st.floats(-0.05, 0.05),
)
def test_affines_are_one_grid_below_a_hundredth_of_a_voxel_and_no_other(
    what: str, row: int, column: int, by: float, original: Path, expected: Reading
) -> None:
    affine = AFFINE.copy()
    affine[row, column] += by
    affine = affine.astype(np.float32).astype(float)  # as the file holds it
    apart = shift_voxels(AFFINE, affine, SHAPE)
    assume(abs(apart - 0.01) > 1e-4)
    with copied(original) as folder:
        save(folder / CASE / f"{CASE}_{what}.nii.gz", head(1)[what], affine)
        found = read_or_refused(folder)
    if apart < 0.01:
        assert not isinstance(found, str)
        assert np.array_equal(found.cohort.labels, expected.cohort.labels)
    else:
        assert isinstance(found, str) and f"'{CASE}' must have all its files on one grid" in found


@settings(max_examples=40)
@given(
    what=st.sampled_from(MODALITIES),
    around=st.booleans(),
    at=st.none() | st.tuples(*(st.integers(0, n - 1) for n in SHAPE)),
)
def test_nan_is_background_or_named(
    what: str,
    around: bool,
    at: tuple[int, int, int] | None,
    original: Path,
    expected: Reading,
) -> None:
    voxels = head(1)[what].astype(np.float32)
    inside = voxels > 0
    if around:
        voxels[~inside] = np.nan
    if at is not None:
        voxels[at] = np.nan
    with copied(original) as folder:
        save(folder / CASE / f"{CASE}_{what}.nii.gz", voxels)
        found = read_or_refused(folder)
    sound = at is None or (around and not inside[at])
    if sound:
        assert not isinstance(found, str) and same(found, expected)
    elif isinstance(found, str):
        assert f"{CASE}_{what}.nii.gz" in found and "NaN" in found
    else:  # a voxel at the edge of the head that the background reaches
        assert around


@settings(max_examples=30)
@given(
    order=st.permutations(range(SHAPE[2])),
    dropped=st.none() | st.integers(0, SHAPE[2] - 1),
    doubled=st.none() | st.integers(0, SHAPE[2] - 1),
)
def test_a_series_in_any_order_of_files_is_read_and_no_slice_is_lost_or_twice(
    order: list[int], dropped: int | None, doubled: int | None
) -> None:
    scan = {name: voxels for name, voxels in head(0).items() if name in ("t1", "seg")}
    with tempfile.TemporaryDirectory() as temporary:
        whole, series = Path(temporary) / "nifti", Path(temporary) / "dicom"
        scans.write_case(whole / "A001", scan)
        scans.write_dicom_case(series / "A001", scan)
        (series / "volumes.toml").write_text(scans.LABELS)
        files = sorted((series / "A001" / "T1").iterdir())
        for place, path in zip(order, files, strict=True):
            path.rename(path.with_name(f"{place}.ima"))
        files = sorted((series / "A001" / "T1").iterdir())
        if doubled is not None:
            shutil.copy(files[doubled], files[0].with_name("again"))
        if dropped is not None:
            files[dropped].unlink()
        found, expected = read_or_refused(series), read_brats(whole)
    if (dropped is None and doubled is None) or dropped == doubled:
        assert not isinstance(found, str) and same(found, expected)
    else:
        assert isinstance(found, str) and "A001" in found
