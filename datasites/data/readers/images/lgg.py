"""Lower-grade gliomas with FLAIR abnormalities (Buda et al. 2019, doi 10.1016/j.compbiomed.2019.05.002).

Axial slices of three channels, each standardised case by case, and a mask of two classes. One
person is `TCGA_<institution>_<patient>`, with all of their scans; the institution is the site. A
sequence that a case lacks is replaced by FLAIR, as it is published: a remark says in how many cases.

Slices are chosen from the images alone, never from the masks.
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
from datasites.data.readers.images import lgg_cases, picture_files
from datasites.data.readers.images.lgg_cases import LggCase
from datasites.data.readers.tabular import feature_coding, table_schema
from datasites.data.readers.tabular.csv_rows import Row
from syft_code.cohort import Cohort
from syft_code.errors import InvalidData, require
from syft_code.recipes.recipe import DataSpec

CHANNELS = ("pre-contrast", "flair", "post-contrast")
CLASSES = ("background", "abnormality")
FLAIR = CHANNELS.index("flair")
FACTS = "lgg_facts"
PUBLISHED = {"age": "age_at_initial_pathologic", "gender": "gender"}
"""Our names of facts, and those of `data.csv`."""
CLIP = 5.0  # standard deviations
MIN_HEAD = 0.1  # a slice counts if it has this share of the head's area in the widest slice


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class _Slices:
    """Shapes: `images` float16 `[slices, channels, size, size]`; `labels` without channels."""

    images: NDArray[np.float16]
    labels: NDArray[np.uint8]
    replaced: tuple[str, ...]


def spec(*, size_px: int, stand_in: bool, facts: bool = False) -> DataSpec:
    """The public shape of an asset of lower-grade gliomas."""
    return DataSpec(
        kind="lgg",
        task="segmentation",
        channels=CHANNELS,
        height_px=size_px,
        width_px=size_px,
        classes=CLASSES,
        patient_unit="patient (TCGA_<institution>_<patient>)",
        stand_in=stand_in,
        facts=feature_coding.names(table_schema.packaged(FACTS).column) if facts else (),
    )


def read(
    folder: Path,
    *,
    size_px: int = 64,
    slices_per_patient: int = 16,
    stand_in: bool = False,
    facts: bool = False,
) -> Reading:
    """Read every case.

    A patient has `slices_per_patient` slices at most, shared among the scans, one each at least,
    from the lowest number to the highest. With `facts` each comes with age and gender as in `data.csv`.

    Raises:
        InvalidData: naming the first file or case that is not acceptable, and why.
    """
    require(8 <= size_px <= 512, f"size_px must be 8 to 512, got {size_px}.", error=InvalidData)
    require(
        1 <= slices_per_patient <= 256,
        f"slices_per_patient must be 1 to 256, got {slices_per_patient}.",
        error=InvalidData,
    )
    root = safe_files.open_folder(folder)
    cases, table = lgg_cases.find(root)
    scans = Counter(case.person for case in cases)

    def cut(case: LggCase) -> _Slices:
        count = max(1, slices_per_patient // scans[case.person])
        return _cut(root, case, size_px=size_px, count=count)

    parts = in_threads(cut, cases)
    persons = sorted(scans)
    number = {person: index for index, person in enumerate(persons)}
    patient = np.repeat(
        np.array([number[case.person] for case in cases], dtype=np.int32),
        [len(part.labels) for part in parts],
    )
    known = _facts(root, table, persons) if facts else np.zeros((len(persons), 0), np.float32)
    site = {case.person: case.site for case in cases}
    return Reading(
        cohort=Cohort(
            images=np.concatenate([part.images for part in parts]),
            labels=np.concatenate([part.labels for part in parts]),
            patient=patient,
            facts=known[patient],
        ),
        patient_ids=tuple(persons),
        site=tuple(site[person] for person in persons),
        spec=spec(size_px=size_px, stand_in=stand_in, facts=facts),
        remarks=_remarks(cases, parts, persons=len(persons)),
    )


def _cut(root: Path, case: LggCase, *, size_px: int, count: int) -> _Slices:
    """One case: read, check, standardise, choose slices, resize."""
    pixels, mask = lgg_cases.read_slices(root, case)
    require(
        pixels.shape[1] == pixels.shape[2],
        f"The case {case.name!r} must have square slices, and they are {pixels.shape[2]} x "
        f"{pixels.shape[1]}. Replace them by the published files.",
        error=InvalidData,
    )
    share = float(mask.mean())
    require(
        0 < share < 1,
        f"The case {case.name!r} must have masks with abnormality and background, and they are "
        f"{'abnormal throughout' if share else 'empty'}. Replace them or move the case out.",
        error=InvalidData,
    )
    chosen = _chosen(pixels[..., FLAIR], count)
    channels = [_standardised(pixels[..., n], case, name) for n, name in enumerate(CHANNELS)]
    return _Slices(
        images=np.stack(
            [np.stack([_resized(channel[z], size_px) for channel in channels]) for z in chosen]
        ).astype(np.float16),
        labels=np.stack([_resized(mask[z].astype(np.uint8), size_px) for z in chosen]),
        replaced=tuple(
            name
            for n, name in enumerate(CHANNELS)
            if n != FLAIR and np.array_equal(pixels[..., n], pixels[..., FLAIR])
        ),
    )


def _chosen(flair: NDArray[np.uint8], count: int) -> list[int]:
    """Slices evenly over the head: those with enough pixels brighter than the scan's mean."""
    area = (flair > flair.mean()).sum(axis=(1, 2))
    z = np.flatnonzero(area >= MIN_HEAD * area.max())
    count = min(count, len(z))
    return [int(z[int((place + 0.5) * len(z) / count)]) for place in range(count)]


def _standardised(channel: NDArray[np.uint8], case: LggCase, name: str) -> NDArray[np.float32]:
    """Mean 0 and deviation 1 over the scan, clipped."""
    mean, deviation = float(channel.mean()), float(channel.std())
    require(
        deviation > 0,
        f"The case {case.name!r} must vary in {name}, and is of one grey throughout. Replace it by "
        "the published files.",
        error=InvalidData,
    )
    scaled: NDArray[np.float32] = np.clip(
        (channel.astype(np.float32) - mean) / deviation, -CLIP, CLIP
    )
    return scaled


def _resized(plane: NDArray[Any], size_px: int) -> NDArray[Any]:
    """Images (float32) by an area-weighted linear filter, labels (uint8) by the nearest pixel."""
    filter_ = Image.Resampling.NEAREST if plane.dtype == np.uint8 else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(plane).resize((size_px, size_px), filter_))


def _facts(root: Path, table: Path | None, persons: Sequence[str]) -> NDArray[np.float32]:
    """What `data.csv` says of each person, `[persons, facts]`; of some it says nothing."""
    if table is None:
        raise InvalidData(
            f"{lgg_cases.TABLE!r} must lie in the folder, and does not. Put the published table there, "
            "or read without facts."
        )
    schema = table_schema.packaged(FACTS)
    found: dict[str, Row] = {}
    for row in picture_files.table_rows(root, table):
        for column in (schema.patient, *PUBLISHED.values()):
            require(
                column in row.cells,
                f"{lgg_cases.TABLE!r} must have the column {column!r}, and has not. Put the published "
                "table there.",
                error=InvalidData,
            )
        person = row.cells[schema.patient]
        require(
            person not in found,
            f"{row.where}: the table must have one row for each patient, and has two for "
            f"'{safe_files.printable(person)}'. Remove one of them.",
            error=InvalidData,
        )
        cells = {ours: row.cells[theirs] for ours, theirs in PUBLISHED.items()}
        found[person] = Row(cells=cells, where=row.where)
    require(
        bool(found.keys() & set(persons)),
        f"{lgg_cases.TABLE!r} must name patients of this folder, and names none of them. Put the "
        "published table there.",
        error=InvalidData,
    )
    unknown = feature_coding.nothing(schema.column)
    return np.stack(
        [
            feature_coding.coded([found[one]], schema.column)[0] if one in found else unknown
            for one in persons
        ]
    )


def _remarks(
    cases: Sequence[LggCase], parts: Sequence[_Slices], *, persons: int
) -> tuple[str, ...]:
    remarks = [counted(persons, "{} patient was read.", "{} patients were read.")]
    if persons < len(cases):
        remarks.append(f"They have {len(cases):,} scans: those of one patient count together.")
    for name in CHANNELS:
        if replaced := sum(name in part.replaced for part in parts):
            remarks.append(
                counted(
                    replaced,
                    f"{{}} case has FLAIR in place of {name}.",
                    f"{{}} cases have FLAIR in place of {name}.",
                )
            )
    return tuple(remarks)
