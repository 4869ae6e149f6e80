"""A volume as every reader gives it: finite voxels, axes turned to RAS, and where they lie."""

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from nibabel.orientations import (
    apply_orientation,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)
from numpy.typing import NDArray
from scipy import ndimage

from syft_code.errors import InvalidData, require

MIN_BORDER = 0.1
"""The background's share of the voxels of a volume's six faces, at least."""
MAX_SHIFT_VOXELS = 0.01
"""Two affines that place every voxel alike but for this are one grid, rounded."""
MAX_INTENSITY = 1e9
MAX_ORIGIN_MM = 10_000.0
MIN_SPACING_MM, MAX_SPACING_MM = 0.1, 20.0


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Volume:
    """Finite voxels, axes turned to RAS: x to the right, y to the front, z to the top.

    Shapes: `voxels` `[x, y, z]` or `[x, y, z, channel]`. Units: `affine` from voxel to mm. `placed` says
    whether the file tells how it lies; else right and left are taken as NIfTI's default has them. `turn` is
    nibabel's orientation of the axes as they are stored.
    """

    voxels: NDArray[Any]
    affine: NDArray[np.float64]
    turn: NDArray[np.float64]
    placed: bool = True

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """The size of a voxel along x, y and z."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z

    @property
    def content(self) -> bytes:
        """A digest of every second voxel along each axis, alike in all copies of a volume, however stored."""
        voxels = np.ascontiguousarray(self.voxels[::2, ::2, ::2], dtype=np.float32)
        return hashlib.sha256(repr(self.voxels.shape).encode() + voxels.tobytes()).digest()

    def same_grid(self, other: "Volume") -> bool:
        """Whether both have the same voxels at the same places, to a hundredth of a voxel."""
        shape = self.voxels.shape[:3]
        return shape == other.voxels.shape[:3] and bool(
            shift_voxels(self.affine, other.affine, shape) <= MAX_SHIFT_VOXELS
        )

    def as_stored(self, voxels: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Voxels of this grid and its affine with the axes as the file has them."""
        back = ornt_transform(  # type: ignore[no-untyped-call]
            np.array([[0, 1], [1, 1], [2, 1]]), self.turn
        )
        stored = apply_orientation(voxels, back)  # type: ignore[no-untyped-call]
        return stored, self.affine @ inv_ornt_aff(back, voxels.shape[:3])  # type: ignore[no-untyped-call]


def shift_voxels(
    one: NDArray[np.float64], other: NDArray[np.float64], shape: tuple[int, ...]
) -> float:
    """How far two affines place the same corner of a volume apart, at most, in its smallest voxel edge.

    >>> shift_voxels(np.eye(4), np.eye(4) + 0.5 * np.eye(4, k=3), (2, 2, 2))
    0.5
    """
    corners = np.array([(*at, 1) for at in itertools.product(*((0, n - 1) for n in shape[:3]))])
    apart_mm = np.linalg.norm(((one - other) @ corners.T)[:3], axis=0).max()
    return float(apart_mm / np.linalg.norm(one[:3, :3], axis=0).min())


def turned(voxels: NDArray[Any], affine: NDArray[np.float64], *, placed: bool = True) -> Volume:
    """What `nibabel.as_closest_canonical` does: axes swapped and flipped, no voxel changed."""
    turn = io_orientation(affine)  # type: ignore[no-untyped-call]
    return Volume(
        voxels=apply_orientation(voxels, turn),  # type: ignore[no-untyped-call]
        affine=affine @ inv_ornt_aff(turn, voxels.shape[:3]),  # type: ignore[no-untyped-call]
        turn=turn,
        placed=placed,
    )


def require_sound(affine: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """The affine, if its voxels have a usual size and right angles; or raise `InvalidData`."""
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


def border(voxels: NDArray[Any]) -> NDArray[Any]:
    """The voxels of the six faces, in one row."""
    ends = [voxels[[0, -1]], voxels[:, [0, -1]], voxels[:, :, [0, -1]]]
    return np.concatenate([end.ravel() for end in ends])


def without_nan(voxels: NDArray[Any], name: str, *, mask: bool) -> NDArray[Any]:
    """Voxels with a number where NaN is the background: 0 in a mask, else one below all others.

    Raises:
        InvalidData: if there is NaN that the background does not explain.
    """
    if voxels.dtype.kind != "f":
        return voxels
    nan = np.isnan(voxels)
    count = int(np.count_nonzero(nan))
    if count == 0:
        return voxels
    require(
        count < voxels.size,
        f"{name!r} must hold finite voxels, and is NaN (not a number) throughout. Replace it.",
        error=InvalidData,
    )
    # What the faces do not reach is a hole in the head, not the background around it.
    planes = nan.reshape(*nan.shape[:3], -1)
    holes = sum(
        int(np.count_nonzero(ndimage.binary_fill_holes(~plane) & plane))
        for plane in np.moveaxis(planes, 3, 0)
    )
    require(
        holes == 0 and bool(border(nan).mean() >= MIN_BORDER),
        f"{name!r} must hold finite voxels but for the background, and has NaN (not a number) at "
        f"{holes or count:,} places that are no background. Replace them by what was measured.",
        error=InvalidData,
    )
    if not mask:
        _require_one_background(voxels, name)
    return np.where(nan, 0 if mask else np.nanmin(voxels) - 1, voxels).astype(voxels.dtype)


def _require_one_background(voxels: NDArray[Any], name: str) -> None:
    """Where NaN is background, nothing else is: a part of the head may have been lost in the one."""
    outside = border(voxels)
    values, counts = np.unique(outside[~np.isnan(outside)], return_counts=True)
    most = int(counts.max(initial=0))
    require(
        most < MIN_BORDER * len(outside),
        f"{name!r} must have one background, and has two, NaN (not a number) and "
        f"{values[counts.argmax()] if most else 0:g}: a part of the head may be lost. Replace the file, or give its "
        "background one value.",
        error=InvalidData,
    )


def require_usual(ends: Sequence[float], name: str) -> None:
    """Refuse a volume whose lowest or highest number is not finite, or absurd."""
    require(
        all(abs(end) <= MAX_INTENSITY for end in ends),
        f"{name!r} must hold finite voxels of at most {MAX_INTENSITY:g}, and does not. "
        "Replace it by the published file.",
        error=InvalidData,
    )
