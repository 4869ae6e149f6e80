"""Slices out of the volumes of one case: which, what part of them, and their numbers.

What is cut out is decided from the images alone, never from the labels: a slice that was
chosen for its tumour would teach a network where to expect one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasites.data.readers.volumes.formats.volume import MIN_BORDER, border
from syft_code.errors import InvalidData, require

CLIP = 5.0  # standard deviations
MIN_BRAIN = 0.1  # a slice counts if it has this share of the brain area of the widest slice


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Frame:
    """Where to cut: slices `z`, and a square in mm, from `left` to `right` and `back` to `front`.

    Units: voxels, from the outer edge of the first; the square may reach past the volume.
    """

    z: tuple[int, ...]
    left: float
    right: float
    back: float
    front: float


def brain_of(voxels: NDArray[Any], what: str) -> NDArray[np.bool_]:
    """Which voxels are not background; the background is what most of the six faces hold.

    It need not be 0: volumes that were standardised before have a negative one.
    """
    values, counts = np.unique(border(voxels), return_counts=True)
    brain: NDArray[np.bool_] = voxels != values[counts.argmax()]
    require(
        bool(counts.max() >= MIN_BORDER * counts.sum()) and bool(brain.any()),
        f"{what} must have a brain on a constant background, and has not. "
        "Take the published, skull-stripped file.",
        error=InvalidData,
    )
    return brain


def frame_of(
    brain: NDArray[np.bool_], spacing_mm: tuple[float, float, float], count: int | None
) -> Frame:
    """Slices evenly over the brain, and the smallest square around it (in mm, not in voxels).

    With no count these are all slices that show any of the brain, else those with enough of it.
    """
    area = np.count_nonzero(brain, axis=(0, 1))
    z = np.flatnonzero(area > 0 if count is None else area >= MIN_BRAIN * area.max())
    count = len(z) if count is None else min(count, len(z))
    chosen = z[((np.arange(count) + 0.5) * len(z) / count).astype(int)]
    x = np.flatnonzero(brain.any(axis=(1, 2)))
    y = np.flatnonzero(brain.any(axis=(0, 2)))
    wide, deep, _ = spacing_mm
    half_mm = max((x[-1] + 1 - x[0]) * wide, (y[-1] + 1 - y[0]) * deep) / 2
    middle_x, middle_y = (x[-1] + 1 + x[0]) / 2, (y[-1] + 1 + y[0]) / 2
    return Frame(
        z=tuple(chosen.tolist()),
        left=float(middle_x - half_mm / wide),
        right=float(middle_x + half_mm / wide),
        back=float(middle_y - half_mm / deep),
        front=float(middle_y + half_mm / deep),
    )


def channels_of(
    voxels: NDArray[Any],
    brain: NDArray[np.bool_],
    frame: Frame,
    *,
    size_px: int,
    neighbours: int,
    what: str,
) -> NDArray[np.float16]:
    """One modality's channels of each slice of the frame, from the lowest neighbour up."""
    z = np.array(frame.z)[:, None] + np.arange(-neighbours, neighbours + 1)
    z = np.clip(z, 0, voxels.shape[2] - 1)
    needed, place = np.unique(z, return_inverse=True)
    planes = _standardised(voxels, brain, needed.tolist(), what)
    small = np.array([resized(plane, frame, size_px) for plane in planes], dtype=np.float16)
    stacked: NDArray[np.float16] = small[place.reshape(z.shape)]
    return stacked


def _standardised(
    voxels: NDArray[Any], brain: NDArray[np.bool_], slices: Sequence[int], what: str
) -> list[NDArray[np.float32]]:
    """Slices with mean 0 and deviation 1 over the brain, clipped; 0 outside it."""
    inside = voxels[brain].astype(np.float64)
    mean, deviation = float(inside.mean()), float(inside.std())
    require(
        deviation > 1e-6 * abs(mean),
        f"{what} must vary inside the brain, and is constant. Replace the file or remove it.",
        error=InvalidData,
    )
    planes = [(voxels[:, :, z].astype(np.float64) - mean) / deviation for z in slices]
    return [
        np.where(brain[:, :, z], np.clip(plane, -CLIP, CLIP), 0).astype(np.float32)
        for z, plane in zip(slices, planes, strict=True)
    ]


def resized(plane: NDArray[Any], frame: Frame, size_px: int) -> NDArray[Any]:
    """Cut the frame's square from `[x, y]` and resize it to `[height, width]`, front on top.

    Images (float32) by an area-weighted linear filter, labels (uint8) by the nearest voxel.
    """
    wide, deep = plane.shape
    reach = max(0.0, -frame.left, -frame.back, frame.right - wide, frame.front - deep)
    pad = int(np.ceil(reach))
    picture = Image.fromarray(np.ascontiguousarray(np.pad(plane, pad).T[::-1]))
    filter_ = Image.Resampling.NEAREST if plane.dtype == np.uint8 else Image.Resampling.BILINEAR
    top, bottom = deep + pad - frame.front, deep + pad - frame.back
    box = (frame.left + pad, top, frame.right + pad, bottom)
    return np.asarray(picture.resize((size_px, size_px), filter_, box=box))


def restored(
    scores: NDArray[np.float32], frame: Frame, shape: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """The class of each voxel of a whole volume, from what a network says of the frame's slices.

    Scores are spread over the square that `resized` cut, linearly between the middles of pixels,
    before the highest is taken; outside of the square and of the slices is the first class.
    Shapes: `scores` `[slices, classes, size, size]`, in the order of `frame.z`; `shape` and what comes back
    `[x, y, z]`.
    """
    wide, deep, _ = shape
    size_px = scores.shape[-1]
    across = _spread(frame.left, frame.right, wide, size_px)
    down = _spread(frame.front, frame.back, deep, size_px)
    inside = np.outer(across.any(axis=1), down.any(axis=1))
    found = np.zeros(shape, dtype=np.uint8)
    for z, planes in zip(frame.z, scores, strict=True):
        found[:, :, z] = np.where(inside, (down @ planes @ across.T).argmax(axis=0).T, 0)
    return found


def _spread(start: float, end: float, voxels: int, pixels: int) -> NDArray[np.float32]:
    """How much of each pixel each voxel takes, `[voxels, pixels]`; nothing outside of the square."""
    place = (np.arange(voxels) + 0.5 - start) / (end - start)
    at = np.clip(place * pixels - 0.5, 0, pixels - 1)
    first = np.minimum(at.astype(np.int64), max(pixels - 2, 0))
    part = (at - first).astype(np.float32)
    weights = np.zeros((voxels, pixels), dtype=np.float32)
    rows = np.arange(voxels)
    weights[rows, first] += 1 - part
    weights[rows, np.minimum(first + 1, pixels - 1)] += part
    weights[(place < 0) | (place > 1)] = 0
    return weights
