"""BraTS brain tumours as axial slices of four standardised modalities.

In 2.5-D a slice also has its neighbours' channels: "t1-1" is T1 one slice further down, "t1+1"
one further up. At the end of a volume the last slice stands for the one that is not there.

What is cut out is decided from the images alone, never from the labels: a slice that was
chosen for its tumour would teach a network where to expect one.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasites.data.folders import safe_files
from datasites.data.folders.reading import Reading, counted
from datasites.data.folders.threads import in_threads
from datasites.data.readers.volumes import brats_facts, nifti
from datasites.data.readers.volumes.brats_layouts import (
    BRATS_2013_TO_2021,
    DECATHLON_ORDER,
    MODALITIES,
    BratsCase,
    find_cases,
)
from datasites.data.readers.volumes.nifti import Volume
from syft_code.cohort import Cohort
from syft_code.errors import InvalidData, require
from syft_code.recipes.recipe import DataSpec

CLASSES = ("background", "core", "edema", "enhancing")
CLIP = 5.0  # standard deviations
MIN_BRAIN = 0.1  # a slice counts if it has this share of the brain area of the widest slice
MIN_BORDER = 0.1  # the background's share of the volume's six faces
ROUNDING = 1e-3  # masks are also stored as floats such as 0.99999997
MOST_NEIGHBOURS = 1  # a slice has 16 channels at most


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class _Slices:
    """Shapes: `images` float16 `[slices, channels, size, size]`; `labels` without channels."""

    images: NDArray[np.float16]
    labels: NDArray[np.uint8]
    missing: tuple[str, ...]
    stored_labels: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class _Frame:
    """Where to cut: slices `z`, and a square in mm, from `left` to `right` and `back` to `front`.

    Units: voxels, from the outer edge of the first; the square may reach past the volume.
    """

    z: tuple[int, ...]
    left: float
    right: float
    back: float
    front: float


def channels(neighbours: int) -> tuple[str, ...]:
    """The names of a slice's channels with so many neighbours below and as many above.

    >>> channels(1)[:3]
    ('t1-1', 't1', 't1+1')
    """
    offsets = range(-neighbours, neighbours + 1)
    return tuple(f"{name}{k:+d}" if k else name for name in MODALITIES for k in offsets)


def neighbours_of(channels: Sequence[str]) -> int:
    """How many neighbours on each side such channels tell of."""
    return (len(channels) // len(MODALITIES) - 1) // 2


def lacking(cohort: Cohort, data: DataSpec) -> tuple[str, ...]:
    """The modalities that are missing in every case: for the owner, who may declare them."""
    if data.kind != "brats":
        return ()
    seen = cohort.images.any(axis=(0, 2, 3))
    return tuple(name for name in MODALITIES if not seen[data.channels.index(name)])


def spec(*, size_px: int, stand_in: bool, neighbours: int = 0, facts: bool = False) -> DataSpec:
    """The public shape of a BraTS asset."""
    return DataSpec(
        kind="brats",
        task="segmentation",
        channels=channels(neighbours),
        height_px=size_px,
        width_px=size_px,
        classes=CLASSES,
        patient_unit="patient (BraTS subject)",
        stand_in=stand_in,
        facts=brats_facts.names() if facts else (),
    )


def read(
    folder: Path,
    *,
    size_px: int = 64,
    slices_per_patient: int = 16,
    neighbours: int = 0,
    stand_in: bool = False,
    facts: bool = False,
) -> Reading:
    """Read every case; a slice has the front on top and the patient's left on the left.

    A patient has `slices_per_patient` slices at most, shared among the time points, one each
    at least. They follow one another, case by case, from the lowest to the highest. With
    `neighbours` 1, the slices right below and above each are further channels of it. A modality
    that a case lacks is 0 throughout, which is the standardised mean. With `facts` each slice
    comes with what the survival table says of its patient (`brats_facts`).

    Raises:
        InvalidData: naming the first file or case that is not acceptable, and why.
    """
    require(8 <= size_px <= 512, f"size_px must be 8 to 512, got {size_px}.", error=InvalidData)
    require(
        1 <= slices_per_patient <= 256,
        f"slices_per_patient must be 1 to 256, got {slices_per_patient}.",
        error=InvalidData,
    )
    require(
        0 <= neighbours <= MOST_NEIGHBOURS,
        f"neighbours must be 0 or {MOST_NEIGHBOURS}, got {neighbours}.",
        error=InvalidData,
    )
    root = safe_files.open_folder(folder)
    cases = find_cases(root)
    time_points = Counter(case.patient for case in cases)

    def cut(case: BratsCase) -> _Slices:
        count = max(1, slices_per_patient // time_points[case.patient])
        return _cut(root, case, size_px=size_px, count=count, neighbours=neighbours)

    parts = in_threads(cut, cases)
    patients = sorted(time_points)
    number = {patient: index for index, patient in enumerate(patients)}
    numbers = np.array([number[case.patient] for case in cases], dtype=np.int32)
    patient = np.repeat(numbers, [len(part.labels) for part in parts])
    known = brats_facts.read(root, patients) if facts else np.zeros((len(patients), 0), np.float32)
    return Reading(
        cohort=Cohort(
            images=np.concatenate([part.images for part in parts]),
            labels=np.concatenate([part.labels for part in parts]),
            patient=patient,
            facts=known[patient],
        ),
        patient_ids=tuple(patients),
        site=("",) * len(patients),
        spec=spec(size_px=size_px, stand_in=stand_in, neighbours=neighbours, facts=facts),
        remarks=_remarks(cases, parts),
    )


def _cut(root: Path, case: BratsCase, *, size_px: int, count: int, neighbours: int) -> _Slices:
    """One case: read, check, standardise, cut."""
    images = _images(root, case)
    mask = nifti.read(root, case.files["seg"])
    for volume in images.values():
        require(
            mask.voxels.ndim == 3 and volume.voxels.ndim == 3 and mask.same_grid(volume),
            f"{_where(case)} must have all its files on one grid, and their shapes or affines "
            "differ. Register them to one another.",
            error=InvalidData,
        )
    stored_labels = _stored_labels(mask.voxels, case)
    classes = np.array(case.layout.classes, dtype=np.uint8)
    brains = {name: _brain(volume.voxels, name, case) for name, volume in images.items()}
    frame = _frame(np.logical_or.reduce(list(brains.values())), mask.spacing_mm, count)
    cut = [
        _channels(
            images[name].voxels,
            brains[name],
            frame,
            size_px=size_px,
            neighbours=neighbours,
            what=f"{_where(case)}, {name},",
        )
        if name in images
        else np.zeros((len(frame.z), 2 * neighbours + 1, size_px, size_px), dtype=np.float16)
        for name in MODALITIES
    ]
    labels = [classes[np.rint(mask.voxels[:, :, z]).astype(np.uint8)] for z in frame.z]
    return _Slices(
        images=np.concatenate(cut, axis=1),
        labels=np.stack([_resized(plane, frame, size_px) for plane in labels]),
        missing=tuple(name for name in MODALITIES if name not in images),
        stored_labels=stored_labels,
    )


def _where(case: BratsCase) -> str:
    return f"The case '{safe_files.printable(case.name)}'"


def _images(root: Path, case: BratsCase) -> dict[str, Volume]:
    """The images of a case by modality; a 4-D image is taken apart."""
    if "stack" not in case.files:
        return {
            name: nifti.read(root, case.files[name]) for name in MODALITIES if name in case.files
        }
    stack = nifti.read(root, case.files["stack"])
    require(
        stack.voxels.ndim == 4 and stack.voxels.shape[3] == len(DECATHLON_ORDER),
        f"{_where(case)} must have an image with {len(DECATHLON_ORDER)} channels, and its shape "
        f"is {' x '.join(map(str, stack.voxels.shape))}. Put the published file there.",
        error=InvalidData,
    )
    return {
        name: Volume(voxels=stack.voxels[..., channel], affine=stack.affine)
        for channel, name in enumerate(DECATHLON_ORDER)
    }


def _stored_labels(voxels: NDArray[Any], case: BratsCase) -> frozenset[int]:
    """The labels that a mask uses for tumour; all of its values are checked."""
    known = len(case.layout.classes)
    values = voxels[voxels != 0]
    whole = np.rint(values)
    require(
        bool(((whole >= 0) & (whole < known) & (np.abs(values - whole) <= ROUNDING)).all()),
        f"{_where(case)} must have a mask of whole labels from 0 to {known - 1}, and has another "
        "value. Check which edition of BraTS its names belong to.",
        error=InvalidData,
    )
    tumour = np.count_nonzero(whole)
    require(
        0 < tumour < voxels.size,
        f"{_where(case)} must have a mask with tumour and background, and it is "
        f"{'tumour throughout' if tumour else 'empty'}. Replace its mask or remove the case.",
        error=InvalidData,
    )
    return frozenset(np.unique(whole[whole > 0]).astype(int).tolist())


def _brain(voxels: NDArray[Any], name: str, case: BratsCase) -> NDArray[np.bool_]:
    """Which voxels are not background; the background is what most of the six faces hold.

    It need not be 0: volumes that were standardised before have a negative one.
    """
    ends = [voxels[[0, -1]], voxels[:, [0, -1]], voxels[:, :, [0, -1]]]
    values, counts = np.unique(np.concatenate([end.ravel() for end in ends]), return_counts=True)
    brain: NDArray[np.bool_] = voxels != values[counts.argmax()]
    require(
        bool(counts.max() >= MIN_BORDER * counts.sum()) and bool(brain.any()),
        f"{_where(case)} must have a brain on a constant background in {name}, and has not. "
        "Take the published, skull-stripped file.",
        error=InvalidData,
    )
    return brain


def _frame(brain: NDArray[np.bool_], spacing_mm: tuple[float, float, float], count: int) -> _Frame:
    """Slices evenly over the brain, and the smallest square around it (in mm, not in voxels)."""
    area = np.count_nonzero(brain, axis=(0, 1))
    z = np.flatnonzero(area >= MIN_BRAIN * area.max())
    count = min(count, len(z))
    chosen = z[((np.arange(count) + 0.5) * len(z) / count).astype(int)]
    x = np.flatnonzero(brain.any(axis=(1, 2)))
    y = np.flatnonzero(brain.any(axis=(0, 2)))
    wide, deep, _ = spacing_mm
    half_mm = max((x[-1] + 1 - x[0]) * wide, (y[-1] + 1 - y[0]) * deep) / 2
    middle_x, middle_y = (x[-1] + 1 + x[0]) / 2, (y[-1] + 1 + y[0]) / 2
    return _Frame(
        z=tuple(chosen.tolist()),
        left=float(middle_x - half_mm / wide),
        right=float(middle_x + half_mm / wide),
        back=float(middle_y - half_mm / deep),
        front=float(middle_y + half_mm / deep),
    )


def _channels(
    voxels: NDArray[Any],
    brain: NDArray[np.bool_],
    frame: _Frame,
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
    small = np.array([_resized(plane, frame, size_px) for plane in planes], dtype=np.float16)
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


def _resized(plane: NDArray[Any], frame: _Frame, size_px: int) -> NDArray[Any]:
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


def _remarks(cases: Sequence[BratsCase], parts: Sequence[_Slices]) -> tuple[str, ...]:
    patients = len({case.patient for case in cases})
    remarks = [counted(patients, "{} patient was read.", "{} patients were read.")]
    if patients < len(cases):
        remarks.append(
            f"They have {len(cases):,} cases: time points of one subject are one patient."
        )
    for name in MODALITIES:
        lacking = sum(name in part.missing for part in parts)
        if lacking:
            one, many = f"{{}} case has no {name}", f"{{}} cases have no {name}"
            end = ": that channel is zero there."
            remarks.append(counted(lacking, one + end, many + end))
    old = [
        part.stored_labels
        for case, part in zip(cases, parts, strict=True)
        if case.layout is BRATS_2013_TO_2021
    ]
    if any(3 in stored for stored in old) and not any(4 in stored for stored in old):
        remarks.append(
            "Label 3 was read as core, as in BraTS 2013, yet no case has label 4: if these files "
            "are of 2023 or later, name them so (-t1n, -t1c, -t2w, -t2f)."
        )
    return tuple(remarks)
