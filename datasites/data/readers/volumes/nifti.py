"""One NIfTI-1 file, read with every size known before memory is taken.

The header says how many bytes follow; a gzip stream is unpacked to that many and one
more, never further. Whatever is absurd in the header is refused, not repaired.
"""

import gzip
import io
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from datasites.data.folders import safe_files
from syft_code.errors import InvalidData, require

HEADER_BYTES = 348
MAX_FILE_BYTES = 512 * 2**20
MAX_VOXELS = 2**26  # 512 x 512 x 256, or four volumes of 240 x 240 x 155 with room
MAX_OFFSET_BYTES = 2**20
MAX_ORIGIN_MM = 10_000.0
MAX_INTENSITY = 1e9
MIN_SPACING_MM, MAX_SPACING_MM = 0.1, 20.0

_NUMBER_CODES = frozenset({2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280})
"""NIfTI's integers of 8 to 64 bits and floats of 32 and 64; no complex, no colour."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Volume:
    """Finite voxels, axes turned to RAS: x to the right, y to the front, z to the top.

    Shapes: `voxels` `[x, y, z]` or `[x, y, z, channel]`. Units: `affine` from voxel to mm.
    """

    voxels: NDArray[Any]
    affine: NDArray[np.float64]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """The size of a voxel along x, y and z."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z

    def same_grid(self, other: "Volume") -> bool:
        """Whether both have the same voxels at the same places, to 0.001 mm."""
        return self.voxels.shape[:3] == other.voxels.shape[:3] and bool(
            np.allclose(self.affine, other.affine, rtol=0, atol=1e-3)
        )


def read(root: Path, path: Path) -> Volume:
    """Read and check one `.nii` or `.nii.gz` file inside the folder.

    Raises:
        InvalidData: naming the file and what is wrong with it.
    """
    name = safe_files.shown(root, path)
    stored = safe_files.read_bytes(root, path, limit_bytes=MAX_FILE_BYTES)
    packed = path.suffix == ".gz"
    header = _header(_start(stored, HEADER_BYTES, packed=packed, name=name), name)
    shape = _shape(header, name)
    affine = _affine(header, name)
    offset = _offset(header, name)
    numbers = header.get_data_dtype()
    size_bytes = offset + math.prod(shape) * numbers.itemsize
    body = _start(stored, size_bytes + 1, packed=packed, name=name)
    require(
        len(body) == size_bytes,
        f"{name!r} must hold the {size_bytes:,} bytes that its header declares, it has "
        f"{'more' if len(body) > size_bytes else f'{len(body):,}'}. Replace it by a whole copy.",
        error=InvalidData,
    )
    voxels = np.frombuffer(body, dtype=numbers, offset=offset).reshape(shape, order="F")
    return _turned(_scaled(voxels, header, name), affine)


def _turned(voxels: NDArray[Any], affine: NDArray[np.float64]) -> Volume:
    """What `nibabel.as_closest_canonical` does: axes swapped and flipped, no voxel changed."""
    turn = io_orientation(affine)  # type: ignore[no-untyped-call]
    return Volume(
        voxels=apply_orientation(voxels, turn),  # type: ignore[no-untyped-call]
        affine=affine @ inv_ornt_aff(turn, voxels.shape[:3]),  # type: ignore[no-untyped-call]
    )


def _start(stored: bytes, size_bytes: int, *, packed: bool, name: str) -> bytes:
    """The first bytes of the content, unpacked no further than asked."""
    if not packed:
        return stored[:size_bytes]
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(stored)) as stream:
            return stream.read(size_bytes)
    except (EOFError, OSError, zlib.error):
        raise InvalidData(
            f"{name!r} must be a whole gzip file, and is cut short or damaged. "
            "Replace it by a whole copy."
        ) from None


def _header(start: bytes, name: str) -> Any:
    """The header as it stands; `check=False` because nibabel's check repairs what it finds."""
    sentence = (
        f"{name!r} must be a NIfTI-1 file of real numbers, and is not. Convert it to NIfTI-1."
    )
    require(len(start) == HEADER_BYTES, sentence, error=InvalidData)
    header = Nifti1Header(binaryblock=start, check=False)  # type: ignore[no-untyped-call]
    require(
        int(header["sizeof_hdr"]) == HEADER_BYTES
        and header["magic"].item() == b"n+1"
        and int(header["datatype"]) in _NUMBER_CODES,
        sentence,
        error=InvalidData,
    )
    return header


def _shape(header: Any, name: str) -> tuple[int, ...]:
    """Three or four dimensions; a fourth of size one is dropped."""
    dimensions = int(header["dim"][0])
    sizes = [int(size) for size in header["dim"][1 : dimensions + 1]]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    require(
        len(sizes) in (3, 4)
        and all(1 <= size <= 1024 for size in sizes)
        and math.prod(sizes) <= MAX_VOXELS,
        f"{name!r} must have 3 or 4 dimensions of 1 to 1024 and at most {MAX_VOXELS:,} voxels, "
        f"it declares {' x '.join(map(str, sizes)) or 'none'}. Replace it by the published file.",
        error=InvalidData,
    )
    return tuple(sizes)


def _affine(header: Any, name: str) -> NDArray[np.float64]:
    try:
        with np.errstate(invalid="ignore"):  # a signalling NaN in it is refused below
            affine = np.asarray(header.get_best_affine(), dtype=np.float64)
    except (ValueError, HeaderDataError):
        affine = np.full((4, 4), np.nan)
    finite = bool(np.isfinite(affine).all())
    axes = affine[:3, :3] if finite else np.zeros((3, 3))
    spacing = np.linalg.norm(axes, axis=0)
    # The determinant over the product of the lengths: 1 for right angles, 0 for a flat grid.
    upright = abs(np.linalg.det(axes)) > 0.1 * np.prod(spacing)
    require(
        finite
        and bool(upright)
        and bool(((spacing >= MIN_SPACING_MM) & (spacing <= MAX_SPACING_MM)).all())
        and bool((np.abs(affine[:3, 3]) <= MAX_ORIGIN_MM).all()),
        f"{name!r} must have a finite affine with voxels of {MIN_SPACING_MM} to {MAX_SPACING_MM} mm "
        "at right angles, and has another. Mend its header.",
        error=InvalidData,
    )
    return affine


def _offset(header: Any, name: str) -> int:
    offset = float(header["vox_offset"])
    require(
        352 <= offset <= MAX_OFFSET_BYTES and offset.is_integer(),
        f"{name!r} must have its voxels between byte 352 and {MAX_OFFSET_BYTES:,}, its header says "
        f"{offset:g}. Replace it by the published file.",
        error=InvalidData,
    )
    return int(offset)


def _scaled(voxels: NDArray[Any], header: Any, name: str) -> NDArray[Any]:
    """Stored numbers times slope plus intercept; a slope of 0 or NaN means that there is none."""
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or math.isnan(slope):
        slope, intercept = 1.0, 0.0
    ends = [float(end) * slope + intercept for end in (voxels.min(), voxels.max())]
    require(
        all(abs(end) <= MAX_INTENSITY for end in ends),
        f"{name!r} must hold finite voxels of at most {MAX_INTENSITY:g}, and does not. "
        "Replace it by the published file.",
        error=InvalidData,
    )
    if (slope, intercept) == (1.0, 0.0):
        return voxels
    return voxels.astype(np.float32) * np.float32(slope) + np.float32(intercept)
