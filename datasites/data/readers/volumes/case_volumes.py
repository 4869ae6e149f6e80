"""The volumes of one case in memory: its images by modality and its mask, all on one grid."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasites.data.folders.safe_files import printable
from datasites.data.readers.volumes import training_folders
from datasites.data.readers.volumes.brats_case import BratsCase
from datasites.data.readers.volumes.editions import BRATS_2023, MASK
from datasites.data.readers.volumes.formats import dicom, nifti
from datasites.data.readers.volumes.formats.dicom import Series
from datasites.data.readers.volumes.formats.volume import Volume
from datasites.data.readers.volumes.mapping import (
    MAPPING_FILE,
    MODALITIES,
    NOTHING,
    VolumeMapping,
)
from syft_code.errors import InvalidData, require

ROUNDING = 1e-3
"""Masks are also stored as floats such as 0.99999997."""
MOST_LABELS = 256
_CONTRAST = re.compile(
    r"(?:^|[\W_])(?:post|gd|gad\w*|contrast\w*|kontrast\w*|km|ce)(?=$|[\W_])|[+] ?c\b|\bc[+]",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class CaseVolumes:
    """Images by modality, and the class (0 to 3) of each voxel. Private throughout.

    Shapes: every image and `classes` (uint8) `[x, y, z]`. `stored_labels` are the values that the mask
    uses for anything but background; `patient_id` is what DICOM headers say, "" if nothing, and
    `bearers` digests of the names and birth dates there; `placed` says
    whether every file tells how it lies. `grid` is the volume whose voxels all the others share. Of a case
    without a mask `classes` are background throughout. `contents` are digests of the images, equal in copies;
    `ignored` counts the DICOM series that the owner leaves out.
    """

    images: dict[str, NDArray[Any]]
    classes: NDArray[np.uint8]
    grid: Volume
    stored_labels: frozenset[int]
    contents: dict[str, bytes]
    patient_id: str
    bearers: frozenset[bytes]
    placed: bool
    ignored: int


def read(root: Path, case: BratsCase, mapping: VolumeMapping) -> CaseVolumes:
    """All volumes of a case, checked; its mask, if it has one.

    Raises:
        InvalidData: naming the case or the file, and the reason.
    """
    series, ignored = _series(root, case, mapping)
    images = _nifti_images(root, case, mapping) | {
        name: dicom.volume(one) for name, one in series.items()
    }
    volumes = _mask(root, case, mapping) | images
    first, grid = next(iter(volumes.items()))
    for name, volume in volumes.items():
        _require_flat(volume, case, name)
        require(
            grid.same_grid(volume),
            f"{case.where} must have all its files on one grid, and {_apart((first, grid), (name, volume))}",
            error=InvalidData,
        )
    classes, stored = np.zeros(grid.voxels.shape, dtype=np.uint8), frozenset[int]()
    if MASK in volumes:
        _require_no_mask_as_image(images, volumes[MASK], case)
        classes, stored = _classes(volumes[MASK].voxels, case)
    ids, bearers = _patient(case, list(series.values()), mapping)
    return CaseVolumes(
        images={name: images[name].voxels for name in MODALITIES if name in images},
        classes=classes,
        grid=grid,
        stored_labels=stored,
        contents={name: volume.content for name, volume in images.items()},
        patient_id=next(iter(ids), ""),
        bearers=bearers,
        placed=all(volume.placed for volume in volumes.values()),
        ignored=ignored,
    )


def _mask(root: Path, case: BratsCase, mapping: VolumeMapping) -> dict[str, Volume]:
    if MASK not in case.files:
        return {}
    return {MASK: nifti.read(root, case.files[MASK], mask=True, placement=mapping.affine)}


def _require_flat(volume: Volume, case: BratsCase, name: str) -> None:
    require(
        volume.voxels.ndim == 3,
        f"{case.where} must have three dimensions in its {name}, and has {' x '.join(map(str, volume.voxels.shape))}: "
        "several volumes in one file. Take out the one that is meant.",
        error=InvalidData,
    )


def _patient(
    case: BratsCase, series: Sequence[Series], mapping: VolumeMapping
) -> tuple[set[str], frozenset[bytes]]:
    """The PatientID of a case's series, and digests of names with birth dates; nothing if both are placeholders."""
    ids = dicom.patient_ids(series)
    require(
        len(ids) <= 1,
        f"{case.where} must be of one patient, and its DICOM series are of {len(ids)} (PatientID). Sort them apart.",
        error=InvalidData,
    )
    if mapping.patient_id:
        return set(), frozenset()
    bearers = {bearer for one in series for bearer in one.bearers}
    require(
        not any(one.differs(other) for one, other in itertools.combinations(bearers, 2)),
        f"{case.where} must be of one patient, and names or birth dates in its DICOM headers differ. Sort its series "
        f'apart, or say patient_id = "placeholder" in {MAPPING_FILE!r} if its headers name nobody.',
        error=InvalidData,
    )
    return ids, frozenset(bearer.key for bearer in bearers) - {b""}


def _apart(one: tuple[str, Volume], other: tuple[str, Volume]) -> str:
    """How the grids of two volumes differ, and the way out."""
    names = (one[0], other[0])
    shapes = [" x ".join(map(str, volume.voxels.shape)) for _, volume in (one, other)]
    if shapes[0] != shapes[1]:
        return (
            f"the {names[0]}'s shape is {shapes[0]}, {names[1]}'s {shapes[1]}. If a slice was lost, export the whole "
            "series again; else register them to one another."
        )
    return f"the {names[0]}'s and {names[1]}'s affines differ. Register them to one another."


def _require_no_mask_as_image(images: dict[str, Volume], mask: Volume, case: BratsCase) -> None:
    for name, volume in images.items():
        require(
            not _shows_mask(volume.voxels, mask.voxels),
            f"{case.where} must have an image of the patient as its {name}, and that is the mask again: within each "
            "label, and outside them, it has one value. Put the image in its place.",
            error=InvalidData,
        )


def _shows_mask(voxels: NDArray[Any], mask: NDArray[Any]) -> bool:
    """Whether an image says no more than the mask; what it shows outside the labels is looked at last."""
    tumour = mask != 0
    inside = voxels[tumour]
    if not inside.size:
        return False
    labels = mask[tumour]
    values = np.unique(labels)
    regions = (inside[labels == value] for value in values)
    if len(values) > MOST_LABELS or not all(
        bool(region.min() == region.max()) for region in regions
    ):
        return False
    outside = voxels[~tumour]
    if outside.size and outside.min() != outside.max():
        return False
    return bool((inside != voxels[0, 0, 0]).any())  # a constant image is another fault


def _nifti_images(root: Path, case: BratsCase, mapping: VolumeMapping) -> dict[str, Volume]:
    """The NIfTI images of a case by modality; a 4-D image is taken apart."""
    if "stack" not in case.files:
        return {
            name: nifti.read(root, case.files[name], placement=mapping.affine)
            for name in MODALITIES
            if name in case.files
        }
    stack = nifti.read(root, case.files["stack"], placement=mapping.affine)
    require(
        stack.voxels.ndim == 4 and stack.voxels.shape[3] == len(case.channels),
        f"{case.where} must have an image with {len(case.channels)} channels, and its shape "
        f"is {' x '.join(map(str, stack.voxels.shape))}. Put the published file there.",
        error=InvalidData,
    )
    return {
        name: replace(stack, voxels=stack.voxels[..., channel])
        for channel, name in enumerate(case.channels)
        if name != NOTHING
    }


def _series(root: Path, case: BratsCase, mapping: VolumeMapping) -> tuple[dict[str, Series], int]:
    """The DICOM series of a case by modality, each of them one; and how many the owner leaves out."""
    groups: dict[str, list[Series]] = {}
    uids: dict[str, Series] = {}
    ignored = 0
    for series in dicom.series_of(root, case.dicom):
        if mapping.ignores(series.description) and series.description:
            ignored += 1
            continue
        other = uids.setdefault(series.uid, series)
        require(
            other is series,
            f"{case.where} must have series of one description each, and {other.shown} and {series.shown} have one "
            f"SeriesInstanceUID. Export them as series of their own, or leave one out (ignore in {MAPPING_FILE!r}).",
            error=InvalidData,
        )
        groups.setdefault(_modality(series, case, mapping), []).append(series)
    for name, several in groups.items():
        require(
            len(several) == 1 and name not in case.files,
            f"{case.where} must have one series or file for {name}, and has {_listed(several, case, name)}. Leave out "
            f"all but one (ignore in {MAPPING_FILE!r}, or other patterns under [series]).",
            error=InvalidData,
        )
    return {name: several[0] for name, several in groups.items()}, ignored


def _modality(series: Series, case: BratsCase, mapping: VolumeMapping) -> str:
    own = mapping.modalities_of(series.description)
    known = own or tuple(
        dict.fromkeys(
            name
            for word in (series.description, series.folder.name)
            if (name := training_folders.modality_of(word)) and name not in mapping.series
        )
    )
    if len(known) != 1:
        why = f"could be {' or '.join(known)}" if known else "is none that is known"
        raise InvalidData(
            f"{case.where} must have series of known modalities, and {series.shown} {why}. Name it by its "
            f'description under [series] in {MAPPING_FILE!r} (t1 = ["*MPRAGE*"]), or leave it out with ignore.'
        )
    said = f"{series.description} {series.folder.name}"
    require(
        bool(own) or known[0] != "t1" or not (series.has_contrast_agent or _CONTRAST.search(said)),
        f"{case.where} must say whether {series.shown} is T1 before or after contrast: its header or description names "
        f'an agent. Say it by its description under [series] in {MAPPING_FILE!r} (t1ce = ["T1*"]).',
        error=InvalidData,
    )
    return known[0]


def _listed(several: Sequence[Series], case: BratsCase, name: str) -> str:
    files = [f"'{printable(case.files[name].name)}'"] if name in case.files else []
    return " and ".join([*files, *(series.shown for series in several)])


def _classes(voxels: NDArray[Any], case: BratsCase) -> tuple[NDArray[np.uint8], frozenset[int]]:
    """The class of each voxel, and the stored labels; every value must be known."""
    inside = voxels != 0
    values = voxels[inside]
    whole = np.rint(values)
    stored = {int(value) for value in np.unique(whole)} - {0}
    strange = sorted(stored - case.labels.keys())
    require(
        not strange and bool((np.abs(values - whole) <= ROUNDING).all()),
        f"{case.where} must have a mask of whole labels {_range(case.labels)}, and has another value"
        f"{f' ({strange[0]})' if strange else ''}. {_way_out(case, strange)}",
        error=InvalidData,
    )
    table = np.zeros(max(case.labels) + 1, dtype=np.uint8)
    for value, number in case.labels.items():
        table[value] = number
    classes = np.zeros(voxels.shape, dtype=np.uint8)
    classes[inside] = table[whole.astype(np.intp)]
    tumour = int(np.count_nonzero(classes))
    if not tumour and stored:
        raise InvalidData(
            f"{case.where} must have a mask with tumour, and all that it has counts as background: "
            f"{', '.join(map(str, sorted(stored)))}. Leave the case out (ignore in {MAPPING_FILE!r}), or give its values "
            "there under [labels]."
        )
    require(
        0 < tumour < voxels.size,
        f"{case.where} must have a mask with tumour and background, and it is "
        f"{'tumour throughout' if tumour else 'empty'}. Replace its mask or leave the case out.",
        error=InvalidData,
    )
    return classes, frozenset(stored)


def _range(labels: dict[int, int]) -> str:
    values = sorted(labels)
    return (
        f"from 0 to {values[-1]}"
        if values == list(range(len(values)))
        else f"of {', '.join(map(str, values))}"
    )


def _way_out(case: BratsCase, strange: Sequence[int]) -> str:
    if strange == [4] and case.edition == BRATS_2023.title:
        return (
            "If it is the resection cavity of 2024, or enhancing tumour as until 2021, say so under [labels] in "
            f"{MAPPING_FILE!r}."
        )
    return f"Check which edition its names belong to, or give its values under [labels] in {MAPPING_FILE!r}."
