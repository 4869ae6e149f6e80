"""One picture of a folder as pixels: JPEG and PNG, the middle square, upright, 8 bits a channel.

What a file is, its first bytes say, not its ending. A picture is refused, by name, where its
pixels alone do not say what to show: 16 bits (nobody knows which of them hold the picture),
see-through parts, several frames. Its size is checked in the header, before it is decoded.
"""

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from datasites.data.folders import safe_files
from datasites.data.folders.reading import counted
from datasites.data.folders.threads import in_threads
from syft_code.errors import InvalidData, require

MAX_IMAGE_BYTES = 32 * 2**20
MAX_IMAGE_PIXELS = 40_000_000
LEAST_SIDE_PX = 8
ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png")
"""Of files that are read as pictures, in small letters."""
COLOURS = ("red", "green", "blue")
GREY = ("grey",)

UNREADABLE = (
    SyntaxError,
    OSError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    EOFError,
    struct.error,
    zlib.error,
    UserWarning,
)
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_BIT_DEPTH = 24  # where a PNG's header has it
_ORIENTATION = 0x0112  # in EXIF
_UPRIGHT: dict[int, tuple[Image.Transpose, ...]] = {
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_270,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_90,),
}
_OTHERS: dict[str, str] = {
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".webp": "WebP",
    ".heic": "HEIC",
    ".jp2": "JPEG 2000",
    ".j2k": "JPEG 2000",
    ".dcm": "DICOM",
    ".dicom": "DICOM",
}
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Pictures:
    """Shapes: `pixels` uint8 `[pictures, channels, size, size]`; `sides_px` the shorter side of each file."""

    pixels: NDArray[np.uint8]
    sides_px: NDArray[np.int64]


def is_picture(path: Path) -> bool:
    """Whether a file is read as a picture, by its ending."""
    return path.suffix.lower() in ENDINGS


def why_unread(path: Path) -> str | None:
    """Why no reader of pictures takes this file, if its ending tells: a part of a sentence."""
    ending = path.suffix.lower()
    if ending in _OTHERS:
        return f"is named as {_OTHERS[ending]}, and JPEG and PNG are read: export it as one of them"
    if ending in _ARCHIVES:
        return "is an archive: unpack it, and move it out"
    return None


def decode_all(
    root: Path, paths: Sequence[Path], *, size_px: int, channels: Sequence[str]
) -> Pictures:
    """Every picture, in order; Pillow frees the interpreter as it decodes.

    Raises:
        InvalidData: naming the first file that is no whole picture, or none that can be shown.
    """
    pixels = np.empty((len(paths), len(channels), size_px, size_px), dtype=np.uint8)
    sides_px = np.empty(len(paths), dtype=np.int64)

    def one(index: int) -> None:
        data = safe_files.read_bytes(root, paths[index], limit_bytes=MAX_IMAGE_BYTES)
        name = safe_files.shown(root, paths[index])
        square, sides_px[index] = decode(data, name=name, size_px=size_px, grey=len(channels) == 1)
        pixels[index] = square.transpose(2, 0, 1)

    in_threads(one, range(len(paths)))
    return Pictures(pixels=pixels, sides_px=sides_px)


def decode(
    data: bytes, *, name: str, size_px: int, grey: bool = False
) -> tuple[NDArray[np.uint8], int]:
    """One picture, its middle square resized and turned upright: `[height, width, channel]`.

    Beside it stands the shorter side of the file's picture, in pixels. The plugins read the
    header alone at first, so a bomb is refused before it is decoded.

    Raises:
        InvalidData: naming the file, and why it can't be shown.
    """
    try:
        with _opened(data) as picture:
            _require_size(picture, name)
            _require_shown_as_it_is(picture, data, name)
            side_px = min(picture.size)
            if isinstance(picture, JpegImageFile):
                picture.draft("RGB", (size_px, size_px))
            turned = _UPRIGHT.get(picture.getexif().get(_ORIENTATION, 1), ())
            return _square(picture, name, size_px, grey=grey, turned=turned), side_px
    except UNREADABLE:
        raise InvalidData(
            f"{name!r} must be a whole JPEG or PNG picture, and can't be decoded. "
            "Remove it or replace it by the published picture."
        ) from None


def remarks(found: Pictures, *, size_px: int) -> tuple[str, ...]:
    """What an owner should know of pictures that were read: grey ones among colours, small ones."""
    flat = found.pixels.reshape(len(found.pixels), -1)
    shows = flat.max(axis=1) > flat.min(axis=1)
    grey, colour = (
        int((kind & shows).sum()) for kind in (_grey(found.pixels), ~_grey(found.pixels))
    )
    small = int((found.sides_px < size_px).sum())
    said = []
    if grey and colour:
        said.append(
            counted(
                grey,
                f"{{}} picture is grey among {colour:,} in colour.",
                f"{{}} pictures are grey among {colour:,} in colour.",
            )
        )
    if small:
        said.append(
            counted(
                small,
                f"{{}} picture is smaller than {size_px} px and was enlarged.",
                f"{{}} pictures are smaller than {size_px} px and were enlarged.",
            )
        )
    return tuple(said)


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pictures have the same in every channel, bool `[pictures]`."""
    same: NDArray[np.bool_] = (pixels == pixels[:, :1]).all(axis=(1, 2, 3))
    return same


def _opened(data: bytes) -> ImageFile:
    stream = io.BytesIO(data)
    if data.startswith(_JPEG):
        return JpegImageFile(stream)
    if data.startswith(_PNG):
        return PngImageFile(stream)
    raise ValueError("neither JPEG nor PNG")


def _require_size(picture: ImageFile, name: str) -> None:
    width, height = picture.size
    require(
        0 < width * height <= MAX_IMAGE_PIXELS,
        f"{name!r} must have 1 to {MAX_IMAGE_PIXELS:,} pixels, it declares "
        f"{width:,} x {height:,}. Remove it or replace it by the published picture.",
        error=InvalidData,
    )
    require(
        min(width, height) >= LEAST_SIDE_PX,
        f"{name!r} must be at least {LEAST_SIDE_PX} pixels wide and high, it is {width:,} x "
        f"{height:,}. Remove it or replace it by the published picture.",
        error=InvalidData,
    )


def _require_shown_as_it_is(picture: ImageFile, data: bytes, name: str) -> None:
    """The header says 8 bits a channel and one frame."""
    if not isinstance(picture, PngImageFile):
        return
    require(
        data[_BIT_DEPTH] <= 8,
        f"{name!r} must have 8 bits a channel, it has {data[_BIT_DEPTH]}, and nothing says which of "
        "them hold the picture. Export it with the window that a reader of it would choose.",
        error=InvalidData,
    )
    require(
        getattr(picture, "n_frames", 1) == 1,
        f"{name!r} must be one picture, it is an animation of {getattr(picture, 'n_frames', 1)} frames. "
        "Export the frame that counts.",
        error=InvalidData,
    )


def _square(
    picture: ImageFile,
    name: str,
    size_px: int,
    *,
    grey: bool,
    turned: Sequence[Image.Transpose],
) -> NDArray[np.uint8]:
    side = min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    square = (
        _opaque(picture, name)
        .convert("L" if grey else "RGB")
        .resize(
            (size_px, size_px),
            Image.Resampling.BILINEAR,
            box=(left, top, left + side, top + side),
        )
    )
    for step in turned:
        square = square.transpose(step)
    return np.asarray(square, dtype=np.uint8).reshape(size_px, size_px, 1 if grey else 3)


def _opaque(picture: Image.Image, name: str) -> Image.Image:
    """The picture without its alpha channel, which must hide nothing."""
    if not picture.has_transparency_data:
        return picture
    colours = picture.convert("RGBA")
    require(
        colours.getchannel("A").getextrema() == (255, 255),
        f"{name!r} must have no see-through part, and has one. Export it without transparency.",
        error=InvalidData,
    )
    return colours
