"""Tiny scans for tests: a head with a tumour as NIfTI and as DICOM series, and folders of them."""

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from datasites.data.folders.reading import Reading
from datasites.data.readers import read

Array = NDArray[Any]
SHAPE = (14, 12, 8)
SPACING_MM = (1.0, 1.2, 2.0)
AFFINE = np.diag([*SPACING_MM, 1.0])
AFFINE[:3, 3] = (-7, -7, -8)
MODALITIES = ("t1", "t1ce", "t2", "flair")
OLD = {**{name: f"_{name}" for name in MODALITIES}, "seg": "_seg"}
NEW = {"t1": "-t1n", "t1ce": "-t1c", "t2": "-t2w", "flair": "-t2f", "seg": "-seg"}


def head(seed: int, *, labels: tuple[int, int, int] = (1, 2, 4)) -> dict[str, Array]:
    """Four images (int16) and a mask `[x, y, z]`, each on background 0; core, edema, enhancing."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    distance = np.sqrt(sum(axis**2 for axis in axes))
    found: dict[str, Array] = {}
    for name in MODALITIES:
        found[name] = np.where(distance < 0.9, rng.integers(100, 900, SHAPE), 0).astype(np.int16)
    core, edema, enhancing = labels
    inner = np.select([distance < 0.25, distance < 0.4, distance < 0.6], [enhancing, core, edema])
    found["seg"] = inner.astype(np.uint8)
    return found


def save(path: Path, voxels: Array, affine: Array = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(voxels, affine)
    data = image.to_bytes()
    path.write_bytes(gzip.compress(data, 1) if path.name.lower().endswith(".gz") else data)
    return path


def write_case(
    folder: Path,
    scan: Mapping[str, Array],
    endings: Mapping[str, str] = OLD,
    *,
    extension: str = ".nii.gz",
) -> Path:
    for name, ending in endings.items():
        if name in scan:
            save(folder / f"{folder.name}{ending}{extension}", scan[name])
    return folder


def write_folder(root: Path, cases: int = 2) -> Path:
    """A001, B002, ... in the names of 2021."""
    for number in range(cases):
        write_case(root / f"{chr(65 + number)}{number + 1:03}", head(number))
    return root


def read_brats(folder: Path, **options: Any) -> Reading:
    return read("brats", folder, **({"size_px": 16, "slices_per_patient": 4} | options))


def same(one: Reading, other: Reading) -> bool:
    return np.array_equal(one.cohort.images, other.cohort.images) and np.array_equal(
        one.cohort.labels, other.cohort.labels
    )


def write_series(
    folder: Path,
    voxels: Array,
    *,
    affine: Array = AFFINE,
    description: str = "t1",
    prefix: str = "IM",
    **tags: object,
) -> list[Path]:
    """A series of uncompressed slices along z, in files whose names are in no order."""
    folder.mkdir(parents=True, exist_ok=True)
    to_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    lengths = np.linalg.norm(to_lps[:3, :3], axis=0)
    uid = generate_uid()
    paths = []
    for z in range(voxels.shape[2]):
        one = Dataset()
        one.file_meta = FileMetaDataset()
        one.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        one.file_meta.MediaStorageSOPClassUID = MRImageStorage
        one.SOPClassUID, one.SOPInstanceUID = MRImageStorage, generate_uid()
        one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
        one.SeriesInstanceUID, one.SeriesDescription, one.Modality = uid, description, "MR"
        one.PatientName, one.PatientID, one.PatientBirthDate = (
            "Zimmerwald^Janina",
            "MRN4711",
            "19510203",
        )
        one.ImageOrientationPatient = [
            *(to_lps[:3, 0] / lengths[0]).round(6),
            *(to_lps[:3, 1] / lengths[1]).round(6),
        ]
        one.ImagePositionPatient = (to_lps @ [0, 0, z, 1])[:3].round(6).tolist()
        one.PixelSpacing = [float(lengths[1]), float(lengths[0])]
        one.Columns, one.Rows = voxels.shape[:2]
        one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
        one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 16, 12, 11, 0
        one.PixelData = voxels[:, :, z].T.astype("<u2").tobytes()
        for tag, value in tags.items():
            setattr(one, tag, value[z] if isinstance(value, list) else value)
        path = folder / f"{prefix}{(z * 11) % voxels.shape[2]:04}.dcm"
        one.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


LABELS = "[labels]\ncore = [1]\nedema = [2]\nenhancing = [4]\n"


def write_dicom_case(folder: Path, scan: Mapping[str, Array], **tags: object) -> Path:
    """A folder a series, and the mask as NIfTI beside them."""
    for name in MODALITIES:
        if name in scan:
            write_series(folder / name.upper(), scan[name], description=name, **tags)
    save(folder / f"{folder.name}_seg.nii.gz", scan["seg"])
    return folder
