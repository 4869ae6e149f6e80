"""What lies in a folder of volumes, a first `volumes.toml` for its owner to edit, and a picture of a few cases.

It opens the owner's files and shows what is in them: it is for the owner's eyes alone, and is run where
files of strangers may be opened (`contained_reading`). What it can't make sense of it names, and goes on.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasites.data.folders import safe_files
from datasites.data.folders.reading import counted
from datasites.data.folders.safe_files import printable
from datasites.data.readers.volumes import brats, cases, editions, mapping, training_folders
from datasites.data.readers.volumes.editions import MASK
from datasites.data.readers.volumes.formats import dicom, nifti, unread
from datasites.data.readers.volumes.mapping import MODALITIES
from syft_code.errors import InvalidData

MOST_DEPTH = 8
MOST_MASKS = 5
MOST_DICOM_FILES = 2_000
MOST_NAMED = 12
PICTURE_PX = 256
OUTLINE, BRIGHTEST = 255, 220


@dataclass(slots=True, repr=False, eq=False)
class _Survey:
    """Counts of what was seen; nothing is refused here."""

    nifti: Counter[str] = field(default_factory=Counter)
    series: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    masks: list[Path] = field(default_factory=list)
    folders: set[Path] = field(default_factory=set)
    dicom_files: int = 0
    more_dicom: bool = False


def describe(root: Path) -> tuple[str, ...]:
    """What was found, in sentences for the owner: files by ending, series, labels, and what a reading says.

    Raises:
        InvalidData: if the folder can't be listed.
    """
    root = safe_files.open_folder(root)
    survey = _survey(root)
    said = [counted(len(survey.folders), "{} folder has volumes.", "{} folders have volumes.")]
    if survey.nifti:
        said.append(f"NIfTI files end in {_listed(survey.nifti)}.")
    if survey.series:
        most = (
            f" (the first {MOST_DICOM_FILES:,} files were looked at)" if survey.more_dicom else ""
        )
        said.append(f"DICOM files are of series called {_listed(survey.series)}{most}.")
    stored = _stored_labels(root, survey)
    if stored:
        said.append(
            f"The first {len(survey.masks[:MOST_MASKS])} masks hold the values {', '.join(map(str, stored))}."
        )
    said += [
        f"{counted(count, '{} file', '{} files')} can't be read: the first {why}."
        for why, count in survey.unread.most_common(MOST_NAMED)
    ]
    try:
        found = cases.find(root, mapping.beside(root))
    except InvalidData as refused:
        return (*said, f"As it is, the folder is refused: {refused}")
    patients = len({case.patient for case in found.cases})
    return (
        *said,
        f"{counted(len(found.cases), '{} case', '{} cases')} of {counted(patients, '{} patient', '{} patients')} "
        "are found by their names.",
        *found.remarks,
    )


def first_mapping(root: Path) -> str:
    """A `volumes.toml` with what was found, and comments that say what is left to decide.

    It is TOML that `mapping.parse` takes; what nobody but the owner knows stands in comments.

    Raises:
        InvalidData: if the folder can't be listed.
    """
    root = safe_files.open_folder(root)
    survey = _survey(root)
    lines = [
        "# What the names in this folder mean: see docs/data.md. Lines that begin with # do nothing.",
        "",
        '# affine = "sform"            # if sform and qform of a header differ: which of the two holds',
        '# patient_id = "placeholder"  # if PatientID in DICOM headers names nobody',
        '# ignore = ["*_dwi.nii.gz"]   # files, or descriptions of series, to leave out',
        "",
    ]
    if (root / training_folders.IMAGES).is_dir():
        lines += _channel_lines(root)
    else:
        lines += [*_file_lines(survey), *_series_lines(survey)]
    lines += _label_lines(root, survey)
    lines += [
        "",
        "# [persons]                   # if several cases are of one person",
        "# pattern = '(?P<person>P\\d+)_scan\\d+'   # the part of a case's name that says who it is",
        "# pattern = '(?P<person>[^/]+)(/.*)?'      # with a /: of paths, for P1/2019, P1/2020",
        '# same = ["scan_number"]      # or: what does not make two people (case, leading_zeros, scan_number)',
    ]
    return "\n".join(lines) + "\n"


def preview(root: Path, most: int) -> list[NDArray[np.uint8]]:
    """The middle slice of each of the first cases, its images side by side with the mask outlined.

    Shapes: uint8 `[height, width]`, a picture for each case. For the owner's eyes: they are patients.

    Raises:
        InvalidData: if the folder can't be read as it is.
    """
    root = safe_files.open_folder(root)
    names = mapping.beside(root)
    pictures = []
    for case in cases.find(root, names).cases[:most]:
        slices = brats.cut(root, case, names, size_px=PICTURE_PX, count=1)
        edge = _edge(slices.labels[0])
        shown = [
            np.where(edge, OUTLINE, _gray(image))
            for image, name in zip(slices.images[0], MODALITIES, strict=True)
            if name not in slices.missing
        ]
        pictures.append(np.concatenate(shown, axis=1).astype(np.uint8))
    return pictures


def _gray(image: NDArray[np.float16]) -> NDArray[np.uint8]:
    """From two deviations below the mean to three above, black outside the head."""
    bright = np.clip((image.astype(np.float32) + 2) / 5, 0, 1) * BRIGHTEST
    return np.where(image == 0, 0, bright).astype(np.uint8)


def _edge(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The pixels of a region that border on another."""
    edge = np.zeros(labels.shape, dtype=bool)
    for axis in (0, 1):
        apart = np.diff(labels, axis=axis) != 0
        before: list[Any] = [slice(None), slice(None)]
        before[axis] = slice(None, -1)
        edge[tuple(before)] |= apart
        before[axis] = slice(1, None)
        edge[tuple(before)] |= apart
    return edge & (labels > 0)


def _survey(root: Path) -> _Survey:
    survey = _Survey()
    _look(root, root, survey, MOST_DEPTH)
    return survey


def _look(root: Path, folder: Path, survey: _Survey, depth: int) -> None:
    for path in safe_files.entries(root, folder):
        if path.is_dir():
            if depth > 0 and not path.is_symlink():
                _look(root, path, survey, depth - 1)
        elif nifti.is_nifti(path):
            survey.folders.add(folder)
            ending = _ending(path)
            survey.nifti[ending] += 1
            known = editions.content_of(path)
            if (known and known[0] == MASK) or folder.name == training_folders.MASKS:
                survey.masks.append(path)
        else:
            _look_at(root, path, survey)


def _look_at(root: Path, path: Path, survey: _Survey) -> None:
    """A file that is not NIfTI by its name: a slice of a series, a by-stander, or not to be read."""
    try:
        if survey.dicom_files < MOST_DICOM_FILES and dicom.is_dicom(root, path):
            survey.dicom_files += 1
            survey.folders.add(path.parent)
            (series,) = dicom.series_of(root, [path])
            survey.series[series.description or "(without a description)"] += 1
            return
        survey.more_dicom |= survey.dicom_files >= MOST_DICOM_FILES
        if not cases.stands_by(root, path) and (why := unread.reason(root, path)):
            survey.unread[why] += 1
    except InvalidData as refused:
        survey.unread[f"is refused ({str(refused).rstrip('.')})"] += 1


def _ending(path: Path) -> str:
    """What follows the last `_` or `-` of a name, with it."""
    stem = nifti.stem(path)
    cut = max(stem.rfind("_"), stem.rfind("-"))
    return stem[cut:] if cut > 0 else stem


def _listed(counts: Counter[str]) -> str:
    shown = [f"'{printable(name, most=40)}' ({count:,})" for name, count in counts.most_common()]
    more = f" and {len(shown) - MOST_NAMED:,} others" if len(shown) > MOST_NAMED else ""
    return ", ".join(shown[:MOST_NAMED]) + more


def _stored_labels(root: Path, survey: _Survey) -> list[int]:
    """The values of the first masks that can be read, for the owner to name."""
    found: set[int] = set()
    for path in survey.masks[:MOST_MASKS]:
        try:
            found |= set(np.unique(np.rint(nifti.read(root, path, mask=True).voxels)).astype(int))
        except InvalidData:
            survey.unread[f"is a mask that can't be read ({path.name})"] += 1
    return sorted(int(value) for value in found)[:32]


def _file_lines(survey: _Survey) -> list[str]:
    """[files]: endings that are known as what they are, others in comments."""
    lines, open_lines = [], []
    for ending, _ in survey.nifti.most_common(MOST_NAMED):
        known = editions.content_of(Path(f"x{ending}.nii"))
        pattern = _quoted(f"*{ending}.nii*")
        if known is None:
            open_lines.append(f"# t1 = [{pattern}]   # t1, t1ce, t2, flair or mask?")
        else:
            lines.append(
                f"# {pattern} is read as {known[0]} ({known[1].title}) without a word here."
            )
    return ["[files]", *lines, *open_lines, ""] if lines or open_lines else []


def _series_lines(survey: _Survey) -> list[str]:
    lines = []
    for description, _ in survey.series.most_common(MOST_NAMED):
        known = training_folders.modality_of(description)
        line = f"{known or 't1'} = [{_quoted(description)}]"
        lines.append(
            f"# {_quoted(description)} is read as {known} without a word here."
            if known
            else f"# {line}   # t1, t1ce, t2 or flair? Or leave it out with ignore."
        )
    return ["[series]", *lines, ""] if lines else []


def _channel_lines(root: Path) -> list[str]:
    """[channels]: those that `dataset.json` names clearly need no line."""
    named = training_folders.channel_names(root)
    lines = []
    for number, word in sorted(named.items()):
        known = training_folders.modality_of(word)
        said = f"# {number}: {_quoted(word)} is read as {known} without a word here."
        lines.append(
            said
            if known
            else f'# {number} = "t1"   # {_quoted(word)}: t1, t1ce, t2, flair or none?'
        )
    return ["[channels]", *lines, ""]


def _label_lines(root: Path, survey: _Survey) -> list[str]:
    stored = [value for value in _stored_labels(root, survey) if value > 0]
    values = ", ".join(map(str, stored)) or "none seen"
    return [
        f"# [labels]                    # the values of the first masks: {values}",
        "# background = [0]            # also what is no part of the tumour, as a resection cavity",
        "# core = [1]                  # necrosis and tumour that does not enhance",
        "# edema = [2]",
        "# enhancing = [3]",
    ]


def _quoted(text: str) -> str:
    """As TOML writes a text: JSON's way is one of its own."""
    return json.dumps(printable(text), ensure_ascii=False)
