"""One picture as pixels: upright, whole, 8 bits a channel, or a sentence."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from datasites.data.readers.images import pictures
from syft_code.errors import InvalidData
from tests.datasites.data.picture_folders import encoded, pixels, refusal

UPRIGHT = {
    # the stored picture of each EXIF orientation, from an upright one
    1: lambda one: one,
    2: lambda one: one.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: lambda one: one.transpose(Image.Transpose.ROTATE_180),
    4: lambda one: one.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: lambda one: one.transpose(Image.Transpose.TRANSPOSE),
    6: lambda one: one.transpose(Image.Transpose.ROTATE_90),
    7: lambda one: one.transpose(Image.Transpose.TRANSVERSE),
    8: lambda one: one.transpose(Image.Transpose.ROTATE_270),
}


def decoded(data: bytes, **options) -> np.ndarray:
    return pictures.decode(data, name="x", size_px=16, **options)[0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_is_turned_as_its_exif_says(orientation: int, kind: str) -> None:
    upright = Image.fromarray(
        np.kron(np.arange(16, dtype=np.uint8).reshape(4, 4, 1) * [9, 15, 3], np.ones((4, 6, 1)))
        .astype(np.uint8)
        .repeat(2, axis=0)
    )
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = UPRIGHT[orientation](upright)
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    found = decoded(encoded(stored, kind, exif=exif, **options)).astype(int)
    expected = decoded(encoded(upright, kind, **options)).astype(int)
    assert np.abs(found - expected).max() <= (6 if kind == "JPEG" else 0)


@pytest.mark.parametrize(
    "picture",
    [
        pixels(1),
        pixels(1).convert("P"),
        pixels(1, mode="L"),
        pixels(1, mode="L").convert("1"),
        pixels(1).convert("RGBA"),
        pixels(1, mode="L").convert("LA"),
    ],
    ids=["RGB", "palette", "grey", "one bit", "alpha", "grey with alpha"],
)
def test_a_png_of_8_bits_gives_the_pixels_that_pillow_gives(picture: Image.Image) -> None:
    data = encoded(picture.resize((16, 16)))
    assert np.array_equal(decoded(data), np.asarray(picture.resize((16, 16)).convert("RGB")))
    grey = decoded(data, grey=True)
    assert grey.shape == (16, 16, 1)


def animation() -> bytes:
    return encoded(pixels(1), save_all=True, append_images=[pixels(2)])


def see_through() -> bytes:
    picture = pixels(1).convert("RGBA")
    picture.putpixel((3, 3), (0, 0, 0, 0))
    return encoded(picture)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (encoded(Image.fromarray(np.full((9, 9), 4095, np.uint16))), "8 bits a channel, it has 16"),
        (animation(), "animation of 2 frames"),
        (see_through(), "see-through"),
        (encoded(pixels(1, size=(1, 1))), "at least 8 pixels wide and high, it is 1 x 1"),
        (encoded(pixels(1, size=(900, 7)), "JPEG"), "900 x 7"),
        (encoded(pixels(1), "GIF"), "whole JPEG or PNG"),
        (encoded(pixels(1), "BMP"), "whole JPEG or PNG"),
        (encoded(pixels(1), "TIFF"), "whole JPEG or PNG"),
        (encoded(pixels(1))[:60], "can't be decoded"),
        (encoded(pixels(1), "JPEG")[:-60], "can't be decoded"),
        (b"", "can't be decoded"),
    ],
)
def test_what_pixels_alone_do_not_tell_is_refused(data: bytes, says: str) -> None:
    assert says in refusal(lambda: decoded(data))


def test_a_png_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(encoded(pixels(1)))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    monkeypatch.setattr(pictures.PngImageFile, "load", lambda self: pytest.fail("decoded"))
    assert "60,000 x 60,000" in refusal(lambda: decoded(bytes(data)))


@settings(max_examples=60)
@given(st.data())
def test_damaged_bytes_give_pixels_or_a_refusal(data) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    kind = data.draw(st.sampled_from(["PNG", "JPEG"]))
    stored = bytearray(encoded(pixels(3), kind, exif=exif))
    for _ in range(data.draw(st.integers(1, 4))):
        stored[data.draw(st.integers(0, len(stored) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = decoded(bytes(stored[: data.draw(st.integers(0, len(stored)))]))
    except InvalidData:
        return
    assert found.shape == (16, 16, 3)


def test_grey_pictures_among_colour_and_small_ones_are_remarked_on() -> None:
    colour = np.zeros((3, 3, 8, 8), np.uint8)
    colour[:2, 0, 0, 0] = 9
    colour[2, :, 0, 0] = 9
    found = pictures.Pictures(pixels=colour, sides_px=np.array([600, 600, 8]))
    assert pictures.remarks(found, size_px=32) == (
        "1 picture is grey among 2 in colour.",
        "1 picture is smaller than 32 px and was enlarged.",
    )
    assert pictures.remarks(found, size_px=8)[1:] == ()
