"""Studies for experiments: a data set shared out to hospitals that one computer plays.

For public data sets and stand-ins. A real hospital has its own data, and its own vault.
"""

import functools
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from datasites.data import cohort_remarks, contained_reading, patient_hashing, readers
from datasites.data.folders.reading import Reading
from datasites.data.readers import Kind
from datasites.data.train_test_split import HELD_OUT
from datasites.demo import partitioners, stand_ins
from syft_code.cohort import Cohort
from syft_code.errors import InvalidInput, require
from syft_code.recipes.recipe import DataSpec

Mask = NDArray[np.bool_]
SIZES_PX: dict[Kind, int] = {"ham10000": 32, "brats": 48, "lgg": 48}
"""Of pictures in demos and experiments; a kind with a schema has none."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class FederatedDataset:
    """The hospitals of one data set; cohorts are cut out when they are asked for."""

    reading: Reading
    parts: dict[str, Mask]
    out: Mask

    @property
    def spec(self) -> DataSpec:
        """What all of them look like."""
        return self.reading.spec

    @property
    def names(self) -> Sequence[str]:
        """The hospitals, the first part first; each has a patient to train on."""
        return tuple(self.parts)

    @property
    def remarks(self) -> Sequence[str]:
        """What is to be known of the data, and of each hospital's share of it."""
        return remarks(self.reading, self.parts)

    def declared(self, name: str) -> int:
        """How many training patients a hospital has."""
        return int((self.parts[name] & ~self.out).sum())

    def training(self, name: str) -> Cohort:
        """Its patients to train on."""
        return self.reading.cohort.select(self.parts[name] & ~self.out)

    def held_out(self, name: str) -> Cohort:
        """Its patients that no training sees."""
        return self.reading.cohort.select(self.parts[name] & self.out)


def remarks(reading: Reading, parts: Mapping[str, Mask]) -> tuple[str, ...]:
    """The reader's remarks, and those on each hospital's patients, with the hospitals' names.

    Does not protect: the patients that they count.
    """
    return cohort_remarks.by_hospital(
        {
            name: (
                *reading.remarks,
                *cohort_remarks.remarks(reading.cohort.select(mask), reading.spec),
            )
            for name, mask in parts.items()
        }
    )


def load(
    study: str, *, data: str, split: str, seed: int, options: Mapping[str, object]
) -> FederatedDataset:
    """Read a study once in a process, and share its patients out; a fifth is held out, by seed.

    `study` is a kind of data set that `readers.read` knows; the options are those of `contained_reading.read`
    (`size_px`, `facts`, ...), `hospitals` (how many; for "site" as many as there are), `without`
    (a site whose patients are left out altogether, as if they were public), and for stand-ins
    `patients`. `split` is one of the rules of `partitioners`.

    Raises:
        InvalidInput: if there is no such study, option, site or split.
    """
    asked = Options(**_checked(options))
    reading = _read(_kind(study), data, asked)
    out = patient_hashing.held_out(reading.patient_ids, HELD_OUT, seed.to_bytes(16, "big"))
    masks = _split(reading, split, asked.hospitals, seed)
    for mask in masks:
        if not (mask & ~out).any():  # a site of one patient stays a hospital
            out = out & ~mask
    parts = {f"hospital-{number}": mask for number, mask in enumerate(masks, start=1)}
    return FederatedDataset(reading=reading, parts=parts, out=out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What an experiment may say of a study's data; 0 stands for the usual number."""

    hospitals: int = 0
    patients: int = 0
    size_px: int = 0
    slices_per_patient: int = 16
    neighbours: int = 0
    facts: bool = False
    without: str = ""


def _checked(options: Mapping[str, object]) -> dict[str, Any]:
    known = {field.name: type(field.default) for field in fields(Options)}
    for name, value in options.items():
        require(
            type(value) is known.get(name),
            f"An option of a study must be one of {', '.join(known)}, of its type, got {name!r}.",
            error=InvalidInput,
        )
    return dict(options)


def _split(reading: Reading, split: str, hospitals: int, seed: int) -> list[Mask]:
    """By `partitioners`; data that names no sites is shared out as a demo does."""
    if split == "site" and "" in reading.site:
        count = hospitals or partitioners.DEFAULT_HOSPITALS
        return partitioners.by_site(reading, count, seed=seed)
    return partitioners.split(reading, split, hospitals=hospitals, seed=seed)


@functools.lru_cache(maxsize=4)
def _read(kind: Kind, data: str, asked: Options) -> Reading:
    folder = Path(data) if data else _stand_in(kind, asked.patients)
    found = contained_reading.read(
        kind,
        folder,
        size_px=asked.size_px or SIZES_PX.get(kind, readers.SIZE_PX),
        slices_per_patient=asked.slices_per_patient,
        neighbours=asked.neighbours,
        facts=asked.facts,
    )
    return narrowed(found, ~at_site(found, asked.without)) if asked.without else found


def at_site(reading: Reading, site: str) -> Mask:
    """Which patients are of one true site, bool `[patients]`.

    Raises:
        InvalidInput: if the data names no such site.
    """
    known = sorted(set(reading.site) - {""})
    require(
        site in known,
        f"A site must be one that the data names ({', '.join(known) or 'it names none'}), got "
        f"{site!r}.",
        error=InvalidInput,
    )
    mine: Mask = np.array(reading.site) == site
    return mine


def narrowed(reading: Reading, chosen: Mask) -> Reading:
    """The chosen patients alone, numbered anew."""
    kept = np.flatnonzero(chosen)
    return replace(
        reading,
        cohort=reading.cohort.select(chosen),
        cells=reading.cells_of(chosen),
        patient_ids=tuple(reading.patient_ids[n] for n in kept),
        site=tuple(reading.site[n] for n in kept),
    )


def _kind(study: str) -> Kind:
    for kind in get_args(Kind):
        if study == kind:
            return kind  # type: ignore[no-any-return]
    raise InvalidInput(f"A study must be one of {', '.join(get_args(Kind))}, got {study!r}.")


def _stand_in(kind: Kind, patients: int) -> Path:
    """Drawn once on a machine; the first process renames its copy into place."""
    if kind == "table" or kind == "images":
        raise InvalidInput(
            "There are no stand-ins for one's own table or pictures: name their folder as data."
        )
    count = patients or stand_ins.DEFAULT_PATIENTS[kind]
    root = Path(tempfile.gettempdir()) / f"consilium-stand-ins-{os.getuid()}"
    target = root / f"{kind}-{count}"
    if target.exists():
        return target
    root.mkdir(mode=0o700, exist_ok=True)
    drawn = Path(tempfile.mkdtemp(dir=root)) / "drawn"
    stand_ins.write(kind, drawn, patients=count, seed=0)
    try:
        drawn.rename(target)
    except OSError:
        require(target.exists(), f"{root} must take stand-ins and does not.", error=InvalidInput)
    shutil.rmtree(drawn.parent, ignore_errors=True)
    return target
