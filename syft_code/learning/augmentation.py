"""Augmentation: changed views of one slice, its label map changed with it.

    slice ─ quarter turn ─ mirror ─ shift ─ contrast and brightness ─▶ view       (labels: not the last)

Each view is a function of one slice and of numbers that do not come from the data, so a
patient whose gradient is the mean over views is still one patient with one clipped gradient.
Nothing is interpolated: a turned or shifted label map has the labels that it had.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from syft_code.cohort import Images
from syft_code.errors import InvalidData, require
from syft_code.plans.plan_parts import Augmentation

PLACE_NUMBERS = 5
"""How many uniforms say where a pixel goes: quarter turns, two mirrors, two shifts."""
DEVIATION_GREY = 40.0
"""What one standard deviation of brightness is for uint8 images, about that of HAM10000."""
MIDDLE_GREY = 127.5
LIMIT = 5.0
"""Standardised images are clipped to so many deviations, as the BraTS reader clips them."""
VIEWS_AT_ONCE = 8

Labels = NDArray[np.uint8]


def numbers(images: Images) -> int:
    """How many uniforms one view of such images takes."""
    return PLACE_NUMBERS + 2 * images.shape[1]


def views(
    images: Images, labels: Labels, *, augmentation: Augmentation, uniforms: NDArray[np.float64]
) -> tuple[Images, Labels]:
    """All views of each slice: `augmentation.views` in a row of the first, then of the second.

    Shapes: `images` `[slices, channels, height, width]`, uint8 or standardised float16; `labels`
    `[slices]` or `[slices, height, width]`; `uniforms`, in [0, 1), `[slices x views, numbers]`.
    Gives `[slices x views, ...]` of the same types.

    Guarantee: a view depends on its own slice, its label and its own row of `uniforms` alone.

    Raises:
        InvalidData: if there is no picture to change, or it can't be changed so.
    """
    pixels = images.repeat(augmentation.views, axis=0)
    truth = labels.repeat(augmentation.views, axis=0)
    if not augmentation.varies:
        return pixels, truth
    _check(images, augmentation, uniforms)
    if augmentation.moves:
        for view, row in enumerate(uniforms):
            where = _Place.drawn(row, augmentation)
            pixels[view] = where.moved(pixels[view])
            if truth.ndim == 3:
                truth[view] = where.moved(truth[view])
    if augmentation.intensity > 0:
        _brightened(pixels, uniforms[:, PLACE_NUMBERS:], augmentation.intensity)
    return pixels, truth


def _check(images: Images, augmentation: Augmentation, uniforms: NDArray[np.float64]) -> None:
    require(
        images.ndim == 4 and min(images.shape[1:]) > 0,
        "There must be pictures [slices, channels, height, width] to augment: a table has none, "
        "leave augmentation out.",
        error=InvalidData,
    )
    expected = (len(images) * augmentation.views, numbers(images))
    require(
        uniforms.shape == expected,
        f"The uniforms must have the shape {expected}, got {uniforms.shape}.",
        error=InvalidData,
    )
    require(
        not augmentation.rotations or images.shape[2] == images.shape[3],
        f"Slices must be as high as wide to be turned by quarters, got {images.shape[2]} x "
        f"{images.shape[3]}.",
        error=InvalidData,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where the pixels of one view go: quarter turns, then mirrors, then a shift."""

    quarters: int
    upside_down: bool
    left_right: bool
    down_px: int
    right_px: int

    @classmethod
    def drawn(cls, row: NDArray[np.float64], augmentation: Augmentation) -> "_Place":
        turn, first, second, down, right = row[:PLACE_NUMBERS].tolist()
        shifts, most = 2 * augmentation.shift_px + 1, augmentation.shift_px
        return cls(
            quarters=int(4 * turn) if augmentation.rotations else 0,
            upside_down=augmentation.flips and first < 0.5,
            left_right=augmentation.flips and second < 0.5,
            down_px=int(shifts * down) - most,
            right_px=int(shifts * right) - most,
        )

    def moved(self, pixels: NDArray[np.generic]) -> NDArray[np.generic]:
        """Move the last two axes; a copy."""
        turned = np.rot90(pixels, self.quarters, axes=(-2, -1))
        turned = turned[..., :: -1 if self.upside_down else 1, :: -1 if self.left_right else 1]
        shifted = _shifted(turned, self.down_px, axis=-2)
        return _shifted(shifted, self.right_px, axis=-1).copy()


def _shifted(pixels: NDArray[np.generic], by_px: int, *, axis: int) -> NDArray[np.generic]:
    """Move along one axis; what comes in from outside is the nearest row, again and again.

    For a slice of a brain that row is background, for a picture of skin it is skin, and the label
    map repeats its own.
    """
    if by_px == 0:
        return pixels
    shifted = np.roll(pixels, by_px, axis=axis)
    before, after = pixels.swapaxes(axis, 0), shifted.swapaxes(axis, 0)
    if by_px > 0:
        after[:by_px] = before[0]
    else:
        after[by_px:] = before[-1]
    return shifted


def _brightened(pixels: Images, uniforms: NDArray[np.float64], intensity: float) -> None:
    """Contrast and brightness of each channel, in place; a standardised 0 stays 0: no brain."""
    changes = (2.0 * uniforms.astype(np.float32) - 1.0) * np.float32(intensity)
    gains, offsets = np.split(changes[..., None], 2, axis=1)
    if pixels.dtype == np.uint8:
        grey = (np.arange(256, dtype=np.float32) - MIDDLE_GREY) * (1 + gains)
        grey = np.rint(grey + MIDDLE_GREY + DEVIATION_GREY * offsets)
        tables = np.clip(grey, 0, 255).astype(np.uint8)
        for view, table in zip(pixels, tables, strict=True):
            for plane, to in zip(view, table, strict=True):
                plane[:] = to[plane]
        return
    for start in range(0, len(pixels), VIEWS_AT_ONCE):
        part = slice(start, start + VIEWS_AT_ONCE)
        before = torch.from_numpy(pixels[part])
        after = before.float().flatten(2).mul_(torch.from_numpy(1 + gains[part]))
        after = after.add_(torch.from_numpy(offsets[part])).clamp_(-LIMIT, LIMIT)
        before.copy_(after.view_as(before).masked_fill_(before == 0, 0.0))
