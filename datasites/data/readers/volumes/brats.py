"""BraTS brain tumours as axial slices of four standardised modalities.

In 2.5-D a slice also has its neighbours' channels: "t1-1" is T1 one slice further down, "t1+1"
one further up. At the end of a volume the last slice stands for the one that is not there.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasites.data.folders import identifiers, safe_files
from datasites.data.folders.identifiers import Difference, PersonRule
from datasites.data.folders.reading import Reading, counted
from datasites.data.folders.threads import in_threads
from datasites.data.readers.volumes import (
    brats_facts,
    case_volumes,
    cases,
    editions,
    mapping,
    slicing,
)
from datasites.data.readers.volumes.brats_case import BratsCase
from datasites.data.readers.volumes.case_volumes import CaseVolumes
from datasites.data.readers.volumes.editions import BRATS_2013_TO_2021
from datasites.data.readers.volumes.mapping import CLASSES, MAPPING_FILE, MODALITIES, VolumeMapping
from datasites.data.readers.volumes.slicing import Frame
from syft_code.cohort import Cohort
from syft_code.errors import InvalidData, require
from syft_code.recipes.recipe import DataSpec

MOST_NEIGHBOURS = 1  # a slice has 16 channels at most
_SPELLINGS: tuple[Difference, ...] = ("case", "leading_zeros")
_SCORED = {"core": "TC and WT", "edema": "WT", "enhancing": "ET, TC and WT"}
"""The regions of a score that hold a class: enhancing tumour, tumour core, whole tumour."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Slices:
    """The slices of one case, and what its owner is told of it. Private throughout.

    Shapes: `images` float16 `[slices, channels, size, size]`; `labels` uint8 without channels.
    """

    images: NDArray[np.float16]
    labels: NDArray[np.uint8]
    missing: tuple[str, ...]
    stored_labels: frozenset[int]
    patient_id: str
    bearers: frozenset[bytes]
    placed: bool
    contents: dict[str, bytes]
    ignored: int


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
    progress: Callable[[int, int], None] = lambda done, all_of_them: None,
) -> Reading:
    """Read every case; a slice has the front on top and the patient's left on the left.

    A patient has `slices_per_patient` slices at most, shared among the time points, one each
    at least. They follow one another, case by case, from the lowest to the highest. With
    `neighbours` 1, the slices right below and above each are further channels of it. A modality
    that a case lacks is 0 throughout, which is the standardised mean. With `facts` each slice
    comes with what the survival table says of its patient (`brats_facts`). `progress` is told how
    many cases of how many are read. What the owner says in `volumes.toml` holds (`mapping`).

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
    names = mapping.beside(root)
    found = cases.find(root, names)
    time_points = Counter(case.patient for case in found.cases)

    counts = [max(1, slices_per_patient // time_points[case.patient]) for case in found.cases]
    shelf = _Shelf(counts, channels=len(channels(neighbours)), size_px=size_px)

    def cut_one(index: int) -> Slices:
        case, count = found.cases[index], counts[index]
        return shelf.keep(
            index, cut(root, case, names, size_px=size_px, count=count, neighbours=neighbours)
        )

    parts = in_threads(cut_one, range(len(counts)), done=lambda count: progress(count, len(counts)))
    _require_apart(found.cases, parts, names.persons)
    _require_other_names(found.cases, parts)
    copies = _copies(found.cases, parts)
    remarks = (*_remarks(found.cases, parts, names), *copies, *found.remarks)
    patients = sorted(time_points)
    number = {patient: index for index, patient in enumerate(patients)}
    numbers = np.array([number[case.patient] for case in found.cases], dtype=np.int32)
    patient = np.repeat(numbers, [len(part.labels) for part in parts])
    known = brats_facts.read(root, patients) if facts else np.zeros((len(patients), 0), np.float32)
    images, labels = shelf.joined(parts)
    return Reading(
        cohort=Cohort(images=images, labels=labels, patient=patient, facts=known[patient]),
        patient_ids=tuple(patients),
        site=("",) * len(patients),
        spec=spec(size_px=size_px, stand_in=stand_in, neighbours=neighbours, facts=facts),
        remarks=remarks,
    )


def cut(
    root: Path,
    case: BratsCase,
    names: VolumeMapping,
    *,
    size_px: int,
    count: int,
    neighbours: int = 0,
) -> Slices:
    """One case: read, check, standardise, cut into at most so many slices.

    Raises:
        InvalidData: naming the case or the file, and the reason.
    """
    whole = case_volumes.read(root, case, names)
    images, frame = images_of(case, whole, size_px=size_px, count=count, neighbours=neighbours)
    labels = [slicing.resized(whole.classes[:, :, z], frame, size_px) for z in frame.z]
    return Slices(
        images=images,
        labels=np.stack(labels),
        missing=tuple(name for name in MODALITIES if name not in whole.images),
        stored_labels=whole.stored_labels,
        patient_id=whole.patient_id,
        bearers=whole.bearers,
        placed=whole.placed,
        ignored=whole.ignored,
        contents=whole.contents,
    )


def images_of(
    case: BratsCase, whole: CaseVolumes, *, size_px: int, count: int | None, neighbours: int
) -> tuple[NDArray[np.float16], Frame]:
    """A case's slices, standardised, and where they were cut; with no count all that show any brain.

    Shapes: float16 `[slices, channels, size, size]`.
    Raises:
        InvalidData: naming the case and the modality, and the reason.
    """
    brains = {
        name: slicing.brain_of(voxels, f"{case.where}, {name},")
        for name, voxels in whole.images.items()
    }
    brain = np.logical_or.reduce(list(brains.values()))
    frame = slicing.frame_of(brain, whole.grid.spacing_mm, count)
    parts = [
        slicing.channels_of(
            whole.images[name],
            brains[name],
            frame,
            size_px=size_px,
            neighbours=neighbours,
            what=f"{case.where}, {name},",
        )
        if name in whole.images
        else np.zeros((len(frame.z), 2 * neighbours + 1, size_px, size_px), dtype=np.float16)
        for name in MODALITIES
    ]
    return np.concatenate(parts, axis=1), frame


class _Shelf:
    """Room for the slices of all cases, so that none is there twice; what is not used takes no memory."""

    def __init__(self, counts: Sequence[int], *, channels: int, size_px: int) -> None:
        self._begin = np.cumsum([0, *counts]).tolist()
        shape = (self._begin[-1], channels, size_px, size_px)
        self._images = np.empty(shape, dtype=np.float16)
        self._labels = np.empty((shape[0], *shape[2:]), dtype=np.uint8)

    def keep(self, index: int, part: Slices) -> Slices:
        """The same slices, in their place."""
        place = slice(self._begin[index], self._begin[index] + len(part.labels))
        self._images[place], self._labels[place] = part.images, part.labels
        return replace(part, images=self._images[place], labels=self._labels[place])

    def joined(self, parts: Sequence[Slices]) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
        """All slices one after the other; cases with fewer than they might have leave no gap."""
        end = 0
        for begin, part in zip(self._begin, parts, strict=False):
            count = len(part.labels)
            if begin != end:
                self._images[end : end + count] = part.images
                self._labels[end : end + count] = part.labels
            end += count
        return self._images[:end], self._labels[:end]


def _require_apart(found: Sequence[BratsCase], parts: Sequence[Slices], rule: PersonRule) -> None:
    """Two people can't have one identifier in their DICOM headers, nor two spellings of one."""
    spellings = tuple(one for one in _SPELLINGS if one not in rule.different)
    owner: dict[str, tuple[BratsCase, str]] = {}
    for case, part in zip(found, parts, strict=True):
        if not part.patient_id:
            continue
        key = identifiers.without(part.patient_id, spellings)
        first, before = owner.setdefault(key, (case, part.patient_id))
        alike = "" if before == part.patient_id else " but for capital letters or leading zeros"
        require(
            first.patient == case.patient,
            f"{first.where} and '{safe_files.printable(case.name)}' must be two people, and their DICOM headers "
            f"have the same PatientID{alike}. Name their folders by a [persons] rule that makes them one, or say "
            f'patient_id = "placeholder" in {MAPPING_FILE!r} if it names nobody'
            f"{', or [persons] different if they are two' if alike else ''}.",
            error=InvalidData,
        )


def _require_other_names(found: Sequence[BratsCase], parts: Sequence[Slices]) -> None:
    """Two people can't have one name and birth date in their DICOM headers, unless PatientID tells them apart."""
    bearers: dict[bytes, list[tuple[BratsCase, str]]] = defaultdict(list)
    for case, part in zip(found, parts, strict=True):
        for key in part.bearers:
            for other, its_id in bearers[key]:
                require(
                    other.patient == case.patient or bool(its_id and part.patient_id),
                    f"{other.where} and '{safe_files.printable(case.name)}' must be two people, and their DICOM headers "
                    "have one name and birth date. Name their folders by a [persons] rule that makes them one, or say "
                    f'patient_id = "placeholder" in {MAPPING_FILE!r} if the headers name nobody.',
                    error=InvalidData,
                )
            bearers[key].append((case, part.patient_id))


def _copies(found: Sequence[BratsCase], parts: Sequence[Slices]) -> tuple[str, ...]:
    """A volume of two people is a file in the wrong place; one that a person has twice is remarked."""
    first: dict[bytes, tuple[BratsCase, str]] = {}
    twice = []
    for case, part in zip(found, parts, strict=True):
        for name, content in part.contents.items():
            other, its_name = first.setdefault(content, (case, name))
            require(
                other.patient == case.patient,
                f"{other.where} and '{safe_files.printable(case.name)}' must be of two people, and {its_name} of the "
                f"one is {name} of the other, the same picture throughout. Put the right file in its place, or leave "
                f"one of them out (ignore in {MAPPING_FILE!r}).",
                error=InvalidData,
            )
            if (other, its_name) != (case, name):
                twice.append((other, its_name, case, name))
    if not twice:
        return ()
    other, its_name, case, name = twice[0]
    one, many = "{} volume is a copy", "{} volumes are copies"
    return (
        f"{counted(len(twice), one, many)} of another of the same person: {name} of "
        f"'{safe_files.printable(case.name)}' is {its_name} of '{safe_files.printable(other.name)}'. Check which of the "
        "two it is.",
    )


def _remarks(
    found: Sequence[BratsCase], parts: Sequence[Slices], names: VolumeMapping
) -> tuple[str, ...]:
    patients = len({case.patient for case in found})
    remarks = [counted(patients, "{} patient was read.", "{} patients were read.")]
    if patients < len(found):
        remarks.append(
            f"They have {len(found):,} cases: time points of one subject are one patient."
        )
    for name in MODALITIES:
        lacking = sum(name in part.missing for part in parts)
        if lacking:
            one, many = f"{{}} case has no {name}", f"{{}} cases have no {name}"
            end = ": that channel is zero there."
            remarks.append(counted(lacking, one + end, many + end))
    lost = sum(not part.placed for part in parts)
    if lost:
        one, many = "{} case does not", "{} cases do not"
        remarks.append(
            f"{counted(lost, one, many)} say how the patient lies (no sform, no qform): right and left are a guess there."
        )
    ignored = sum(part.ignored for part in parts)
    if ignored:
        one, many = "{} DICOM series is", "{} DICOM series are"
        remarks.append(
            f"{counted(ignored, one, many)} left out, as {MAPPING_FILE!r} says (ignore)."
        )
    return (*remarks, *_label_remarks(found, parts, names))


def _label_remarks(
    found: Sequence[BratsCase], parts: Sequence[Slices], names: VolumeMapping
) -> list[str]:
    """What stored labels were read as, where that is not plain."""
    remarks = []
    pairs = list(zip(found, parts, strict=True))
    old = [part.stored_labels for case, part in pairs if case.edition == BRATS_2013_TO_2021.title]
    if any(3 in stored for stored in old) and not any(4 in stored for stored in old):
        remarks.append(
            "Label 3 was read as core, as in BraTS 2013, yet no case has label 4: if these files "
            "are of 2023 or later, name them so (-t1n, -t1c, -t2w, -t2f)."
        )
    cavities = sum(
        case.edition != ""
        and editions.is_post_treatment(case.folder)
        and editions.CAVITY in part.stored_labels
        for case, part in pairs
    )
    if cavities:
        one, many = "{} case has", "{} cases have"
        remarks.append(
            f"{counted(cavities, one, many)} label 4, the resection cavity of BraTS 2024: it counts as background, "
            "since it is part of no region that is scored."
        )
    for region in CLASSES[1:]:
        if names.labels and not names.labels.get(region):
            remarks.append(
                f"No stored value stands for {region} in {MAPPING_FILE!r}: figures of {_SCORED[region]} are those of "
                "the other classes alone."
            )
    return remarks
