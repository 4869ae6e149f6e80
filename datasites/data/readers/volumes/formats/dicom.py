"""DICOM series: which files make one, and the volume that they are.

Spacing, order and orientation come from the headers alone (part 3, C.7.6.2), never from file names.
A series is read if its slices are one even stack of uncompressed gray pictures; anything else is
refused with the reason, once it is known that its owner does not leave it out. No tag that names a
person stands in any sentence or leaves this module, but for the identifier by which two cases are
found to be one person; a series' description does, unless a word of such a tag is seen in it.
"""

import io
import logging
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.filereader import read_dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from datasites.data.folders import identifiers, safe_files
from datasites.data.readers.volumes.formats import private_words
from datasites.data.readers.volumes.formats.volume import (
    MAX_SHIFT_VOXELS,
    Volume,
    require_sound,
    require_usual,
    turned,
)
from syft_code.errors import InvalidData, require

MAX_FILE_BYTES = 64 * 2**20
MAX_SLICES = 1024
MAX_EDGE = 1024
PREAMBLE_BYTES = 128
MAX_META_BYTES = 2**16
PARALLEL = 1e-4
UNEVEN = 0.01
"""Two gaps between slices that differ by less than this share are one."""
_PLAIN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian)
_TAGS = (
    "SOPClassUID", "Modality", "SeriesInstanceUID", "SeriesDescription", "ImageOrientationPatient",
    "ImagePositionPatient", "PixelSpacing", "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "PhotometricInterpretation", "NumberOfFrames", "RescaleSlope", "RescaleIntercept",
    "BurnedInAnnotation", "PatientID", "PatientName", "PatientBirthDate", "PixelData",
)  # fmt: skip
_GEOMETRY = ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "Rows", "Columns")

# What a header may hold is checked here, and what pydicom would warn of could name a patient.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
warnings.filterwarnings("ignore", module=r"pydicom\.")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Series:
    """The slices of one series of a case, in the order of the files. Private throughout.

    `description` is what the scanner calls it, "" where a word of the patient's is seen in it; `folder`
    is where its first file lies, and `shown_folder` how a sentence says that. `names` are the files' as
    sentences say them; `stored` are the transfer syntaxes.
    """

    description: str
    folder: Path
    shown_folder: str
    patient_id: str
    names: tuple[str, ...]
    stored: tuple[str, ...]
    slices: tuple[Any, ...]
    files: tuple[Path, ...]

    @property
    def shown(self) -> str:
        """How a sentence names it."""
        what = safe_files.printable(self.description) or "without a description"
        return f"'{what}' ({len(self.files):,} files in '{self.shown_folder}')"


def is_dicom(root: Path, path: Path) -> bool:
    """Whether the file says of itself that it is DICOM, whatever its name."""
    start = safe_files.read_start(root, path, size_bytes=PREAMBLE_BYTES + 4)
    return start[PREAMBLE_BYTES:] == b"DICM"


def series_of(root: Path, files: Iterable[Path]) -> list[Series]:
    """The series that files of one case make, by their UID, sorted by description.

    Whether they can be read is asked by `volume`: a series may be one that its owner leaves out.

    Raises:
        InvalidData: naming the first file that is no DICOM file of a series.
    """
    groups: dict[str, list[tuple[Path, Any, str]]] = {}
    for path in files:
        header, syntax = _header(root, path)
        groups.setdefault(str(header.SeriesInstanceUID), []).append((path, header, syntax))
    found = [_series(root, group) for group in groups.values()]
    return sorted(found, key=lambda series: (series.description, str(series.folder)))


def _series(root: Path, group: Sequence[tuple[Path, Any, str]]) -> Series:
    first, header, _ = group[0]
    return Series(
        description=private_words.description(header),
        folder=first.parent,
        shown_folder=safe_files.shown(root, first.parent),
        patient_id=identifiers.normal(str(header.get("PatientID") or "")),
        names=tuple(safe_files.shown(root, path) for path, _, _ in group),
        stored=tuple(syntax for _, _, syntax in group),
        slices=tuple(header for _, header, _ in group),
        files=tuple(path for path, _, _ in group),
    )


def volume(series: Series) -> Volume:
    """The volume of a series, its slices in the order in which they lie in the patient.

    Raises:
        InvalidData: if the slices are not one even stack of plain pictures, with the reason.
    """
    slices = series.slices
    for header, syntax, file in zip(slices, series.stored, series.names, strict=True):
        _require_plain_picture(header, syntax, file)
    _require_alike(series)
    row, column = _directions(slices[0], series)
    normal = np.cross(row, column)
    positions = np.array([_numbers(one, "ImagePositionPatient", 3) for one in slices])
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    gap_mm = _gap_mm(along[order], series)
    between_rows, between_columns = _numbers(slices[0], "PixelSpacing", 2)
    first = positions[order[0]]
    straight = first + np.outer(along[order] - along[order[0]], normal)
    astray_mm = float(np.linalg.norm(positions[order] - straight, axis=1).max())
    _require(
        astray_mm <= MAX_SHIFT_VOXELS * min(between_rows, between_columns) * len(slices),
        series,
        f"have its slices right above one another, and they are shifted by up to {astray_mm:.2f} mm (as by a "
        "tilted gantry). Convert it with dcm2niix, which straightens it",
    )
    affine = np.eye(4)
    affine[:3, :3] = np.stack(
        [row * between_columns, column * between_rows, normal * gap_mm], axis=1
    )
    affine[:3, 3] = first
    affine[:2] *= -1  # from left, posterior, superior to right, anterior, superior
    name = f"{series.shown_folder}, {series.description}".rstrip(", ")
    require_sound(affine, safe_files.printable(name))
    planes = [_pixels(slices[index], series).T for index in order]
    return turned(
        _scaled(np.stack(planes, axis=2), slices[0], series, safe_files.printable(name)), affine
    )


def _header(root: Path, path: Path) -> tuple[Any, str]:
    """All tags that are asked for, and how the file is stored; what pydicom says of a broken file may hold its content."""
    name = safe_files.shown(root, path)
    data = safe_files.read_bytes(root, path, limit_bytes=MAX_FILE_BYTES)
    syntax = _transfer_syntax(data)
    require(
        syntax != "",
        f"{name!r} must be a DICOM file that says how it is stored, and is cut short or damaged. Export it again.",
        error=InvalidData,
    )
    require("deflate" not in _said(syntax).lower(), _compressed(name, syntax), error=InvalidData)
    try:
        dataset = pydicom.dcmread(io.BytesIO(data), specific_tags=list(_TAGS))
        for tag in _TAGS:
            dataset.get(tag)  # values are only parsed when they are asked for
    except Exception:
        dataset = None
    require(
        dataset is not None and bool(dataset.get("SeriesInstanceUID")),
        f"{name!r} must be a whole DICOM file of a series, and is cut short or damaged. Export it again.",
        error=InvalidData,
    )
    return dataset, syntax


def _compressed(name: str, syntax: str) -> str:
    return (
        f"{name!r} must be uncompressed DICOM (little endian), and is stored as '{safe_files.printable(_said(syntax))}'. "
        "Decompress it, for instance with gdcmconv --raw or dcmconv, or leave it out."
    )


def _transfer_syntax(data: bytes) -> str:
    """Read before all else: a deflated file would be unpacked to any size."""
    start = io.BytesIO(data[PREAMBLE_BYTES + 4 : PREAMBLE_BYTES + 4 + MAX_META_BYTES])
    try:
        meta = read_dataset(start, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
        return str(meta.get("TransferSyntaxUID") or "")
    except Exception:
        return ""


def _said(syntax: str) -> str:
    return UID(syntax).name if syntax else "unknown"


def _require_plain_picture(header: Any, syntax: str, name: str) -> None:
    modality = header.get("Modality")
    require(syntax in _PLAIN, _compressed(name, syntax), error=InvalidData)
    require(
        modality != "SEG",
        f"{name!r} is a DICOM segmentation, and a mask must be NIfTI on the grid of its series. Convert it, for "
        "instance with segimage2itkimage of dcmqi.",
        error=InvalidData,
    )
    require(
        header.get("PixelData") is not None,
        f"{name!r} must be a slice with pixels, and is DICOM without any"
        f"{f' ({safe_files.printable(str(modality), most=16)})' if modality else ''}. Move it out of the folder.",
        error=InvalidData,
    )
    require(
        str(header.get("BurnedInAnnotation") or "").upper() != "YES",
        f"{name!r} must show no writing, and its header says that there is some in the picture (BurnedInAnnotation), "
        "which may name the patient. Leave the series out (ignore in 'volumes.toml'), or remove the writing.",
        error=InvalidData,
    )
    require(
        int(header.get("NumberOfFrames") or 1) == 1,
        f"{name!r} must be one slice, and has several frames (enhanced DICOM). Convert it to NIfTI with dcm2niix.",
        error=InvalidData,
    )
    require(
        header.get("SamplesPerPixel") == 1
        and header.get("PhotometricInterpretation") == "MONOCHROME2"
        and header.get("BitsAllocated") in (8, 16)
        and header.get("PixelRepresentation") in (0, 1),
        f"{name!r} must be a gray picture of 8 or 16 bits (MONOCHROME2), and is "
        f"{safe_files.printable(str(header.get('PhotometricInterpretation')), most=24)} with "
        f"{safe_files.printable(str(header.get('SamplesPerPixel')), most=8)} x "
        f"{safe_files.printable(str(header.get('BitsAllocated')), most=8)} bits. Leave it out (ignore in 'volumes.toml').",
        error=InvalidData,
    )


def _require_alike(series: Series) -> None:
    """One size, one orientation, one scale, one patient throughout."""
    slices = series.slices
    _require(
        2 <= len(slices) <= MAX_SLICES,
        series,
        f"have 2 to {MAX_SLICES} slices, and has {len(slices):,}. Leave it out",
    )
    for tag, many in (
        ("PatientID", "is of several patients"),
        ("Rows", "has pictures of several sizes"),
        ("Columns", "has pictures of several sizes"),
        ("PixelSpacing", "has several pixel spacings"),
        ("RescaleSlope", "mixes rescale slopes"),
        ("RescaleIntercept", "mixes rescale intercepts"),
        ("BitsStored", "mixes bit depths"),
        ("PixelRepresentation", "mixes signed and unsigned numbers"),
    ):
        _require(
            len({str(one.get(tag)) for one in slices}) == 1,
            series,
            f"be one stack, and {many}. Export the series again, each in files of its own",
        )
    missing = [tag for tag in _GEOMETRY if any(one.get(tag) is None for one in slices)]
    _require(
        not missing,
        series,
        f"say where its slices lie, and lacks {', '.join(missing)}. Export it again",
    )
    rows, columns = int(slices[0].Rows), int(slices[0].Columns)
    _require(
        min(rows, columns) >= 1 and max(rows, columns) <= MAX_EDGE,
        series,
        f"have pictures of at most {MAX_EDGE} x {MAX_EDGE}, and its are {columns:,} x {rows:,}. Leave it out",
    )


def _directions(header: Any, series: Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Along a row and along a column, of length 1, the same in every slice."""
    all_of_them = np.array([_numbers(one, "ImageOrientationPatient", 6) for one in series.slices])
    row, column = all_of_them[0, :3], all_of_them[0, 3:]
    _require(
        bool(np.isfinite(all_of_them).all())
        and bool((np.abs(all_of_them - all_of_them[0]) <= PARALLEL).all()),
        series,
        "have parallel slices, and they are not (as a localizer's). Leave it out or export it again",
    )
    _require(
        abs(row @ row - 1) < 1e-3 and abs(column @ column - 1) < 1e-3 and abs(row @ column) < 1e-3,
        series,
        "have an ImageOrientationPatient of two directions at a right angle. Export it again",
    )
    return row, column


def _gap_mm(along: NDArray[np.float64], series: Series) -> float:
    gaps = np.diff(along)
    _require(bool(np.isfinite(gaps).all()), series, "have finite positions. Export it again")
    usual = float(np.median(gaps))
    _require(
        float(gaps.min()) > UNEVEN * max(usual, 1e-3),
        series,
        "have one slice at each place, and has two at one (duplicates, or several time points or echoes in one "
        "series). Export them as series of their own",
    )
    _require(
        bool((np.abs(gaps - usual) <= UNEVEN * usual).all()),
        series,
        f"have even gaps between its slices, and they are {gaps.min():.3g} to {gaps.max():.3g} mm: slices are missing, "
        "or there are several stacks. Export the whole series again",
    )
    return float(gaps.mean())


def _numbers(header: Any, tag: str, count: int) -> list[float]:
    """So many numbers of a tag, NaN if it holds anything else."""
    try:
        values = [float(value) for value in header.get(tag)]
    except (TypeError, ValueError):
        values = []
    return values if len(values) == count else [float("nan")] * count


def _pixels(header: Any, series: Series) -> NDArray[Any]:
    """`[row, column]`, as stored."""
    kind = np.dtype(f"<{'iu'[header.PixelRepresentation == 0]}{header.BitsAllocated // 8}")
    shape = (int(header.Rows), int(header.Columns))
    size_bytes = shape[0] * shape[1] * kind.itemsize
    data = bytes(header.PixelData)
    _require(
        size_bytes <= len(data) <= size_bytes + 1,
        series,
        "have as many pixels as its headers say, and has not. Export it again",
    )
    pixels = np.frombuffer(data, dtype=kind, count=shape[0] * shape[1]).reshape(shape)
    stored, signed = int(header.get("BitsStored") or 0), int(header.PixelRepresentation)
    _require(
        -(2 ** (stored - 1)) * signed <= int(pixels.min())
        and int(pixels.max()) < 2 ** (stored - signed),
        series,
        f"hold numbers of {stored} bits as its headers say, and holds others (an overlay in the upper bits?). "
        "Export it again",
    )
    return pixels


def _scaled(voxels: NDArray[Any], header: Any, series: Series, name: str) -> NDArray[Any]:
    slope = _number(header, "RescaleSlope", 1.0)
    intercept = _number(header, "RescaleIntercept", 0.0)
    _require(
        slope > 0 and np.isfinite(intercept),
        series,
        "have a finite, positive rescale slope. Export it again",
    )
    require_usual([float(end) * slope + intercept for end in (voxels.min(), voxels.max())], name)
    if (slope, intercept) == (1.0, 0.0):
        return voxels
    return voxels.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _number(header: Any, tag: str, default: float) -> float:
    value = header.get(tag)
    if value is None:
        return default
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _require(holds: bool, series: Series, must: str) -> None:
    require(holds, f"The series {series.shown} must {must}.", error=InvalidData)


def patient_ids(series: Sequence[Series]) -> set[str]:
    """The identifiers of patients that stand in headers."""
    return {one.patient_id for one in series} - {""}
