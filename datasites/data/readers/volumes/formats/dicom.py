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

from datasites.data.folders import identifiers, safe_files
from datasites.data.readers.volumes.formats import plain_picture, same_person, series_description
from datasites.data.readers.volumes.formats.same_person import Bearer
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
_NO_AGENT = ("", "none", "no", "n", "0", "without")
_TAGS = (
    "SOPClassUID", "Modality", "SeriesInstanceUID", "SeriesDescription", "ImageOrientationPatient",
    "ImagePositionPatient", "PixelSpacing", "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "PhotometricInterpretation", "NumberOfFrames", "RescaleSlope", "RescaleIntercept",
    "BurnedInAnnotation", "ContrastBolusAgent", "PatientID", "PatientName", "PatientBirthDate", "PixelData",
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
    sentences say them; `stored` are the transfer syntaxes; `slices` are headers without pixels.
    """

    root: Path
    uid: str
    description: str
    folder: Path
    shown_folder: str
    patient_id: str
    bearers: frozenset[Bearer]
    has_contrast_agent: bool
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
    """The series that files of one case make, by UID and description, sorted by description.

    Whether they can be read is asked by `volume`: a series may be one that its owner leaves out.

    Raises:
        InvalidData: naming the first file that is no DICOM file of a series.
    """
    groups: dict[tuple[str, str], list[tuple[Path, Any, str]]] = {}
    for path in files:
        header, syntax = _header(root, path)
        key = str(header.SeriesInstanceUID), str(header.get("SeriesDescription") or "").strip()
        groups.setdefault(key, []).append((path, header, syntax))
    found = [_series(root, group) for group in groups.values()]
    return sorted(found, key=lambda series: (series.description, str(series.folder)))


def _series(root: Path, group: Sequence[tuple[Path, Any, str]]) -> Series:
    first, header, _ = group[0]
    agent = str(header.get("ContrastBolusAgent") or "").strip().lower()
    return Series(
        root=root,
        uid=str(header.SeriesInstanceUID),
        description=series_description.description(header),
        folder=first.parent,
        shown_folder=safe_files.shown(root, first.parent),
        patient_id=identifiers.normal(str(header.get("PatientID") or "")),
        bearers=frozenset(same_person.bearer(one) for _, one, _ in group),
        has_contrast_agent=agent not in _NO_AGENT,
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
    _require(
        len(slices) <= MAX_SLICES,
        series,
        f"have 2 to {MAX_SLICES} slices, and has {len(slices):,}. Leave it out",
    )
    for header, syntax, file in zip(slices, series.stored, series.names, strict=True):
        plain_picture.require_plain(header, syntax, file)
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
    voxels = np.empty((int(slices[0].Columns), int(slices[0].Rows), len(slices)), _kind(slices[0]))
    for z, index in enumerate(order):
        voxels[:, :, z] = _pixels(slices[index], series, series.files[index]).T
    return turned(_scaled(voxels, slices[0], series, safe_files.printable(name)), affine)


def _header(root: Path, path: Path) -> tuple[Any, str]:
    """All tags that are asked for but for the pixels themselves, and how the file is stored."""
    whole, syntax = _dataset(root, path)
    # What was read holds on to the file's bytes: of a case's thousand files only the headers are kept.
    header = pydicom.Dataset()
    for tag in _TAGS:
        if tag in whole:
            header.add(whole[tag])
    if header.get("PixelData") is not None:
        header.PixelData = b""
    return header, syntax


def _dataset(root: Path, path: Path) -> tuple[Any, str]:
    """A file with its pixels, and how it is stored; what pydicom says of a broken file may hold its content."""
    name = safe_files.shown(root, path)
    data = safe_files.read_bytes(root, path, limit_bytes=MAX_FILE_BYTES)
    syntax = _transfer_syntax(data)
    require(
        syntax != "",
        f"{name!r} must be a DICOM file that says how it is stored, and is cut short or damaged. Export it again.",
        error=InvalidData,
    )
    plain_picture.require_no_deflate(syntax, name)
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


def _transfer_syntax(data: bytes) -> str:
    """Read before all else: a deflated file would be unpacked to any size."""
    start = io.BytesIO(data[PREAMBLE_BYTES + 4 : PREAMBLE_BYTES + 4 + MAX_META_BYTES])
    try:
        meta = read_dataset(start, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
        return str(meta.get("TransferSyntaxUID") or "")
    except Exception:
        return ""


def _require_alike(series: Series) -> None:
    """One size, one orientation, one scale, one patient throughout."""
    slices = series.slices
    _require(
        len(slices) >= 2,
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
        ("BitsAllocated", "mixes bit depths"),
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


def _kind(header: Any) -> np.dtype[Any]:
    return np.dtype(f"<{'iu'[header.PixelRepresentation == 0]}{header.BitsAllocated // 8}")


def _pixels(header: Any, series: Series, path: Path) -> NDArray[Any]:
    """`[row, column]`, as stored; read from the file, so that one slice at a time is in memory twice."""
    kind = _kind(header)
    shape = (int(header.Rows), int(header.Columns))
    size_bytes = shape[0] * shape[1] * kind.itemsize
    data = bytes(_dataset(series.root, path)[0].get("PixelData") or b"")
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
