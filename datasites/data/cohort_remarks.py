"""Remarks on a cohort that teaches little or nothing: for its owner, before anything is published.

    cohort, its public shape ─▶ sentences: what it is, how many, what to do

A remark counts patients, names none, and is as private as they are: it is said to the owner and kept with
the cohort in the vault (`cohort_file`); an experiment, whose data one person has, keeps it with its results.
Nothing is refused here: the owner decides.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from datasites.data.folders.reading import counted
from datasites.data.readers.tabular.parsed_columns import MISSING
from datasites.data.readers.tabular.tables import COLUMN_BREAK
from syft_code.cohort import Cohort
from syft_code.recipes.recipe import DataSpec

LARGE_REGION = 0.3
"""Part of a picture; the largest of 3,153 lesions that Buda et al. (2019) drew takes 0.12."""
RARE = 0.05
"""Part of the patients: a class this rare can be missed altogether by the likeliest class's rule."""
MOST_NAMES = 8
MOST_REMARKS = 40
PIXELS_AT_ONCE = 1 << 24


def remarks(cohort: Cohort, spec: DataSpec) -> tuple[str, ...]:
    """What the owner should know of a cohort before it is published; none for most cohorts.

    Vectorised: a table of millions of rows takes seconds.
    """
    checks = [_one_patient(cohort)]
    if spec.task == "classification":
        checks += [_classes(cohort, spec), _contradictions(cohort, spec)]
    else:
        checks += [_regions(cohort, spec)]
    checks += [_pictures(cohort, spec), _columns(cohort, spec)]
    return tuple(sentence for found in checks for sentence in found)


def by_hospital(said: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Remarks of several hospitals, each sentence once, after the names of those that it is about.

    >>> by_hospital({"north": ["A."], "south": ["A.", "B."]})
    ('north, south: A.', 'south: B.')
    """
    names: dict[str, list[str]] = {}
    for hospital, sentences in said.items():
        for sentence in sentences:
            names.setdefault(sentence, []).append(hospital)
    found = [f"{_listed(those)}: {sentence}" for sentence, those in names.items()]
    left = len(found) - MOST_REMARKS
    more = (f"{left:,} more remarks are not shown: read each hospital's by itself.",)
    return (*found[:MOST_REMARKS], *(more if left > 0 else ()))


def patients_by_class(cohort: Cohort, classes: int) -> NDArray[np.int64]:
    """How many patients have a slice of each class, `[classes]`."""
    has = np.zeros((cohort.patients, classes), dtype=np.bool_)
    has[cohort.patient, cohort.labels] = True
    counts: NDArray[np.int64] = has.sum(axis=0)
    return counts


def _one_patient(cohort: Cohort) -> Iterator[str]:
    if cohort.patients == 1:
        yield (
            "All of it is one patient: the noise that protects them hides what there is to learn, and "
            "nobody else can be held out. Publish more patients, or leave this asset out of studies."
        )


def _classes(cohort: Cohort, spec: DataSpec) -> Iterator[str]:
    counts = patients_by_class(cohort, len(spec.classes))
    patients = cohort.patients
    if np.count_nonzero(counts) == 1:
        only = spec.classes[int(counts.argmax())]
        yield counted(
            patients,
            f"The one patient is of the class '{only}'",
            f"All {{}} patients are of the class '{only}'",
        ) + (
            ": a model learns from them that everybody is, and nothing measured on them tells how "
            "well it tells the classes apart. Add patients of the other classes, or see whether the "
            "labels were read as they are meant."
        )
        return
    few = [f"{name} ({n})" for name, n in zip(spec.classes, counts.tolist(), strict=True) if n < 2]
    if few:
        yield (
            f"Fewer than 2 patients are of {_listed(few)}: next to nothing is learnt of a class of "
            "which nobody or one is here, and its recall can't be measured. Add patients, or agree "
            "with the other hospitals on fewer classes."
        )
    yield from _rare(counts, patients, spec)


def _rare(counts: NDArray[np.int64], patients: int, spec: DataSpec) -> Iterator[str]:
    if not spec.positive:
        return
    positive = int(counts[spec.classes.index(spec.positive)])
    if 1 < positive <= RARE * patients:
        yield (
            f"{positive:,} of {patients:,} patients ({positive / patients:.1%}) are of the class "
            f"'{spec.positive}' that is looked for: a rule that names the likeliest class may never name "
            "it, however well the model ranks the patients. Read AUC and recall together, and ask for a "
            "plan that weighs the classes (class_weights, class_priors)."
        )


def _contradictions(cohort: Cohort, spec: DataSpec) -> Iterator[str]:
    """Slices that are the same to the byte, and of several classes."""
    what = "picture" if spec.channels and spec.kind != "series" else "row"
    seen = cohort.images if cohort.images.size else cohort.facts + np.float32(0)  # no -0
    data = np.ascontiguousarray(seen).reshape(len(seen), -1)
    if not data.size:
        return
    width = data.itemsize * data.shape[1]
    _, group = np.unique(data.view(np.dtype((np.void, width))).ravel(), return_inverse=True)
    pairs, times = np.unique(group.ravel() * len(spec.classes) + cohort.labels, return_counts=True)
    _, starts, labels = np.unique(pairs // len(spec.classes), return_index=True, return_counts=True)
    torn = np.add.reduceat(times, starts)[labels > 1].sum()
    if not torn:
        return
    best = np.maximum.reduceat(times, starts).sum() / len(data)
    yield (
        f"{torn:,} of {len(data):,} {what}s are the same as another to the last digit and of another "
        f"class: no model gets more than {best:.1%} of all of them right. See whether a label is "
        "wrong, or whether what tells them apart was left out."
    )


def _regions(cohort: Cohort, spec: DataSpec) -> Iterator[str]:
    """Of segmentations: label maps that mark nothing, or too much."""
    shares = np.concatenate(
        [(part != 0).mean(axis=(1, 2)) for part in _parts(cohort.labels)] or [np.zeros(0)]
    )
    marked = np.bincount(cohort.labels.ravel(), minlength=len(spec.classes))
    if not shares.any():
        yield (
            "No picture marks anything: a model that finds nothing is right everywhere, and no Dice "
            "can be measured. See whether the label files are those of these pictures."
        )
        return
    named = zip(spec.classes[1:], marked[1:].tolist(), strict=True)
    absent = [name for name, n in named if n == 0]
    if absent:
        yield (
            f"No picture has {_listed(absent)}: nothing is learnt of that, and its Dice can't be "
            "measured here. See whether the labels' numbers mean what the mapping says."
        )
    large = shares > LARGE_REGION
    if large.any():
        patients = len(np.unique(cohort.patient[large]))
        whole = int((shares == 1).sum())
        covers = f", and {whole:,} of them all of it" if whole else ""
        yield (
            f"{np.count_nonzero(large):,} of {len(shares):,} pictures, of {patients:,} patients, are "
            f"marked over more than {LARGE_REGION:.0%} (at most {shares.max():.1%}){covers}: a tumour "
            "is rarely so large. See whether a brain mask, or its background, was taken for the label."
        )


def _pictures(cohort: Cohort, spec: DataSpec) -> Iterator[str]:
    """Pictures in which every pixel is the same."""
    if not cohort.images.size or spec.kind == "series":
        return
    flat = np.concatenate(
        [part.min(axis=(2, 3)) == part.max(axis=(2, 3)) for part in _parts(cohort.images)]
    ).all(axis=1)
    if flat.any():
        patients = len(np.unique(cohort.patient[flat]))
        whose = counted(patients, "{} patient", "{} patients")
        yield counted(
            int(flat.sum()),
            "{} picture is black, or of one colour all over",
            "{} pictures are black, or of one colour all over",
        ) + (
            f" (of {whose}; {len(flat):,} were read): there is nothing to learn from. Look at the files, and "
            "leave out those that are broken."
        )


def _columns(cohort: Cohort, spec: DataSpec) -> Iterator[str]:
    """Columns that say the same of everybody, or nothing of anybody."""
    table, names = cohort.facts, spec.facts
    if spec.kind == "series":
        table = cohort.images[:, 0].reshape(-1, spec.width_px).astype(np.float32)
        names = tuple(spec.channels[0].split(COLUMN_BREAK))
    if len(table) < 2:
        return
    gone = {name[: -len(MISSING)]: j for j, name in enumerate(names) if name.endswith(MISSING)}
    empty = [base for base, j in gone.items() if table[:, j].all()]
    same = []
    for j, name in enumerate(names):
        base = next((one for one in (name, name.rpartition("=")[0]) if one in gone), "")
        if name.endswith(MISSING) or base in empty:
            continue
        known = table[:, j] if not base else table[table[:, gone[base]] == 0, j]
        is_word = name not in gone and "=" in name
        if known.min() == known.max() and not (is_word and known[0] == 0):
            same.append(name.replace("=", " = ") if is_word else name)
    if empty:
        yield (
            f"Nobody has a value of {_listed(empty)}: what is missing throughout teaches nothing. See "
            "whether the column was exported, and whether the schema's words for missing are right."
        )
    if same:
        yield (
            f"Everybody of whom it is known has the same value of {_listed(same)}: it tells nobody "
            "apart. See whether the export is right, or take it out of the mapping."
        )


def _parts(array: NDArray[np.generic]) -> Iterator[NDArray[np.generic]]:
    """A long array in pieces of some 16 million numbers."""
    step = max(1, PIXELS_AT_ONCE // max(1, int(np.prod(array.shape[1:]))))
    for start in range(0, len(array), step):
        yield array[start : start + step]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES:,} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
