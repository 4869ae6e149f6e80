"""A data folder checked before anything is published: what was found in it, for its owner's eyes alone.

    folder ─ names ─▶ kind ─ contained reader ─▶ counts, remarks, a picture
                         └─ refused, no mapping yet ─▶ what lies there, a first mapping to edit

Nothing here reaches the vault, the front desk or anybody else.
"""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np

from datasites.data import cohort_remarks, contained_reading, contained_survey
from datasites.data.contained_survey import Survey
from datasites.data.folders import safe_files
from datasites.data.folders.reading import Reading
from datasites.data.readers import Kind, mapping_drafts, recognition
from syft_code.errors import InvalidData, InvalidInput, require

KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class FolderCheck:
    """What a folder holds. Never published: it counts patients.

    `reading` is there if the folder can be read as it is, else `refusal` says why not. `mapping` is the
    file of the kind's mapping, "" if it takes none; `survey` is there if such a file was asked for or
    is missing.
    """

    folder: Path
    kind: Kind
    is_recognised: bool
    mapping: str
    has_mapping: bool
    reading: Reading | None = None
    refusal: str = ""
    survey: Survey | None = None
    remarks: tuple[str, ...] = field(default=())

    def by_class(self) -> Mapping[str, int]:
        """How many patients have each class, or each region of a segmentation."""
        if self.reading is None:
            return {}
        cohort, spec = self.reading.cohort, self.reading.spec
        if spec.task == "classification":
            counts = cohort_remarks.patients_by_class(cohort, len(spec.classes))
            return dict(zip(spec.classes, counts.tolist(), strict=True))
        return {
            name: len(np.unique(cohort.patient[(cohort.labels == index).any(axis=(1, 2))]))
            for index, name in enumerate(spec.classes)
            if index
        }

    def by_site(self) -> Mapping[str, int]:
        """How many patients are of each site; empty if the data name none."""
        counts = Counter(self.reading.site if self.reading else ())
        return {site: counts[site] for site in sorted(counts) if site}


def check(folder: Path, kind: Kind | None, *, pictures: int, draft: bool) -> FolderCheck:
    """Read a folder as its owner would publish it; look into it if it can't be read and has no mapping.

    Without a kind, the names of the files say which it is. `pictures` are made of so many cases that
    can't be read yet. With `draft` a first mapping is made even if the folder can be read without one.

    Raises:
        InvalidData: if the folder can't be searched, or its names are those of no kind.
        Unavailable: if this machine has no way to contain a reader.
    """
    root = safe_files.open_folder(folder)
    found = kind or recognition.recognise(root)
    if found is None:
        raise InvalidData(
            f"The names in {safe_files.printable(folder.name)!r} must be those of a kind of data, and are of "
            f"none that is known: name it with --kind, one of {', '.join(KINDS)}."
        )
    mapping = mapping_drafts.FILES.get(found, "")
    has_mapping = bool(mapping) and (root / mapping).exists()
    reading, refusal = None, ""
    try:
        reading = contained_reading.read(found, root)
    except InvalidData as problem:
        refusal = str(problem)
    is_open = bool(mapping) and not has_mapping and (draft or reading is None)
    return FolderCheck(
        folder=root,
        kind=found,
        is_recognised=kind is None,
        mapping=mapping,
        has_mapping=has_mapping,
        reading=reading,
        refusal=refusal,
        survey=contained_survey.survey(found, root, pictures=pictures) if is_open else None,
        remarks=()
        if reading is None
        else (*reading.remarks, *cohort_remarks.remarks(reading.cohort, reading.spec)),
    )


def kind_of(text: str) -> Kind:
    """The kind of data that somebody names; raise `InvalidInput` if there is none."""
    for known in KINDS:
        if text == known:
            return known
    raise InvalidInput(f"--kind must be one of {', '.join(KINDS)}, got {text[:40]!r}.")


def write_mapping(check: FolderCheck) -> Path:
    """Write the first mapping beside the data, for the owner alone (mode 0600); nothing is ever overwritten.

    Raises:
        InvalidInput: if the kind takes none, there is one, or the folder can't be written.
    """
    require(
        bool(check.mapping),
        f"A folder of kind {check.kind} takes no mapping that could be drafted: leave out --write, or see "
        "docs/data.md.",
        error=InvalidInput,
    )
    path = check.folder / check.mapping
    if check.survey is None:
        raise InvalidInput(
            f"{check.mapping!r} is there already and is yours: edit it, or move it away for another first one."
        )
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(check.survey.mapping)
    except OSError as problem:
        raise InvalidInput(
            f"{check.mapping!r} can't be written into the folder: {problem.strerror}."
        ) from None
    return path
