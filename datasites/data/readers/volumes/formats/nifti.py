"""One NIfTI-1 file, read with every size known before memory is taken.

The header says how many bytes follow; a gzip stream is unpacked to that many and one
more, never further. Whatever is absurd in the header is refused, not repaired. Whether a
file is compressed is seen in its first bytes, not in its name.
"""

import gzip
import io
import math
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from datasites.data.folders import safe_files
from datasites.data.readers.volumes.formats.volume import (
    Volume,
    require_sound,
    require_usual,
    shift_voxels,
    turned,
    without_nan,
)
from syft_code.errors import InvalidData, require

Placement = Literal["", "sform", "qform"]
"""Which of a header's two affines holds; "": they must agree."""

HEADER_BYTES = 348
NIFTI_2_HEADER_BYTES = 540
MAX_FILE_BYTES = 512 * 2**20
MAX_VOXELS = 2**26  # 512 x 512 x 256, or four volumes of 240 x 240 x 155 with room
MAX_OFFSET_BYTES = 2**20
MAX_CONFLICT_VOXELS = 0.1

_GZIP = b"\x1f\x8b"
_WEB_PAGE = "is a web page: one to sign in, or of an error, was saved. Download the file again"
_OTHER_FILES = {
    b"version https://git-lfs": "is Git LFS's pointer to one. Fetch the file itself (git lfs pull)",
    b"<!doctype": _WEB_PAGE,
    b"<html": _WEB_PAGE,
    b"pk\x03\x04": "is a zip archive. Unpack it",
    _GZIP: "is compressed twice. Unpack it once (gunzip)",
}
"""What lies under a NIfTI file's name, by its first bytes (in small letters), as the end of a sentence."""
_NUMBER_CODES = frozenset({2, 4, 8, 16, 64, 256, 512, 768, 1024, 1280})
"""NIfTI's integers of 8 to 64 bits and floats of 32 and 64; no complex, no colour."""


def is_nifti(path: Path) -> bool:
    """Whether the name is that of a NIfTI file, in capitals or not."""
    return path.name.lower().endswith((".nii", ".nii.gz"))


def stem(path: Path) -> str:
    """The name without `.nii` or `.nii.gz`.

    >>> stem(Path("a/X_t1.NII.GZ"))
    'X_t1'
    """
    name = path.name
    for ending in (".gz", ".nii"):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return name


def read(root: Path, path: Path, *, mask: bool = False, placement: Placement = "") -> Volume:
    """Read and check one file inside the folder. NaN around the head is background; in a mask, 0.

    Raises:
        InvalidData: naming the file and what is wrong with it.
    """
    name = safe_files.shown(root, path)
    stored = safe_files.read_bytes(root, path, limit_bytes=MAX_FILE_BYTES)
    header = _header(_start(stored, HEADER_BYTES, name=name), name)
    shape = _shape(header, name)
    affine = _affine(header, shape, name, placement)
    offset = _offset(header, name)
    numbers = header.get_data_dtype()
    size_bytes = offset + math.prod(shape) * numbers.itemsize
    body = _start(stored, size_bytes + 1, name=name)
    require(
        len(body) == size_bytes,
        f"{name!r} must hold the {size_bytes:,} bytes that its header declares, it has "
        f"{'more' if len(body) > size_bytes else f'{len(body):,}'}. Replace it by a whole copy.",
        error=InvalidData,
    )
    voxels = np.frombuffer(body, dtype=numbers, offset=offset).reshape(shape, order="F")
    placed = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
    sound = without_nan(voxels, name, mask=mask)
    return turned(_scaled(sound, header, name), affine, placed=placed)


def _start(stored: bytes, size_bytes: int, *, name: str) -> bytes:
    """The first bytes of the content, unpacked no further than asked."""
    if not stored.startswith(_GZIP):
        return stored[:size_bytes]
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(stored)) as stream:
            return stream.read(size_bytes)
    except gzip.BadGzipFile as problem:
        # The first bytes were those of gzip: what is none follows it.
        follows = str(problem).startswith("Not a gzipped file")
        what = "other bytes follow its end" if follows else "is damaged (its checksum is another)"
        raise InvalidData(
            f"{name!r} must be a whole gzip file, and {what}. Replace it by a whole copy."
        ) from None
    except (EOFError, OSError, zlib.error):
        raise InvalidData(
            f"{name!r} must be a whole gzip file, and is cut short or damaged. Replace it by a whole copy."
        ) from None


def _header(start: bytes, name: str) -> Any:
    """The header as it stands; `check=False` because nibabel's check repairs what it finds."""
    size = start[:4]
    second = NIFTI_2_HEADER_BYTES in (int.from_bytes(size, "little"), int.from_bytes(size, "big"))
    what = "is NIfTI-2" if second else "is not, compressed (gzip) or plain"
    sentence = (
        f"{name!r} must be a NIfTI-1 file of real numbers, and {what}. Convert it to NIfTI-1."
    )
    for beginning, known in _OTHER_FILES.items():
        if start[: len(beginning)].lower() == beginning:
            raise InvalidData(f"{name!r} must be a NIfTI-1 file, and {known}.")
    require(
        bool(start),
        f"{name!r} must be a NIfTI-1 file, and is empty. Copy it again.",
        error=InvalidData,
    )
    require(len(start) == HEADER_BYTES, sentence, error=InvalidData)
    header = Nifti1Header(binaryblock=start, check=False)  # type: ignore[no-untyped-call]
    require(
        header["magic"].item() not in (b"", b"ni1") or int(header["sizeof_hdr"]) != HEADER_BYTES,
        f"{name!r} must be a NIfTI-1 file with header and voxels in one, and is Analyze or a half of a pair of NIfTI "
        "files. Join both in one .nii.gz with fslchfiletype or nibabel.",
        error=InvalidData,
    )
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


def _affine(
    header: Any, shape: tuple[int, ...], name: str, placement: Placement
) -> NDArray[np.float64]:
    """Voxel to mm; where sform and qform both speak, they must say the same or the owner which."""
    both = int(header["sform_code"]) > 0 and int(header["qform_code"]) > 0
    if not both:
        return require_sound(_matrix(header.get_best_affine), name)
    sform, qform = _matrix(header.get_sform), _matrix(header.get_qform)
    if placement == "qform":
        return require_sound(qform, name)
    require_sound(sform, name)
    require(
        placement == "sform" or shift_voxels(sform, qform, shape) <= MAX_CONFLICT_VOXELS,
        f"{name!r} must lie at one place, and its header's sform and qform differ: programs that read the one "
        "or the other turn or shift it. Copy the right one over the other, or say which holds in "
        "'volumes.toml' (affine = \"sform\").",
        error=InvalidData,
    )
    return sform


def _matrix(of_header: Any) -> NDArray[np.float64]:
    try:
        with np.errstate(invalid="ignore"):  # a signalling NaN in it is refused by the caller
            return np.asarray(of_header(), dtype=np.float64)
    except (ValueError, HeaderDataError):
        return np.full((4, 4), np.nan)


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
    require_usual([float(end) * slope + intercept for end in (voxels.min(), voxels.max())], name)
    if (slope, intercept) == (1.0, 0.0):
        return voxels
    return voxels.astype(np.float32) * np.float32(slope) + np.float32(intercept)
