"""What a model says, as files: a CSV of probabilities, or a mask, a picture and a row for each case.

    probabilities.csv      name, a column for each class, prediction
    volumes.csv            name, slices, millilitres of each class but the first
    NAME_mask.nii.gz       numbers of classes on the case's own grid
    NAME_overlay.png       the slice with most of them

All of it is there, or nothing: files are written beside, and renamed into place at the end.
"""

import contextlib
import csv
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from nibabel.nifti1 import Nifti1Image

from federation.prediction import overlay
from federation.prediction.trained_model import PredictedMask, Probabilities, TrainedModel
from syft_code.errors import InvalidInput, require
from syft_code.runtime.cli_output import quoted

PROBABILITIES, VOLUMES = "probabilities.csv", "volumes.csv"
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet would run a cell that begins so."""


def require_new(folder: Path) -> None:
    """Raise `InvalidInput` unless nothing would be lost by writing a folder of this name."""
    try:
        free = not (folder.is_symlink() or folder.exists()) or (
            folder.is_dir() and not any(folder.iterdir())
        )
    except (OSError, ValueError):
        free = False
    require(
        free,
        f"--out must be a new folder or an empty one, got {quoted(str(folder))}: name another.",
        error=InvalidInput,
    )


def write_probabilities(folder: Path, found: Probabilities) -> None:
    """Write the CSV of a classification into a new folder."""
    with _whole(folder) as work:
        header = ("name", *(f"probability of {name}" for name in found.classes), "prediction")
        best = found.values.argmax(1)
        rows = (
            (name, *(f"{value:.6f}" for value in values), found.classes[index])
            for name, values, index in zip(found.names, found.values, best, strict=True)
        )
        _write_csv(work / PROBABILITIES, [header, *rows])


def write_masks(folder: Path, model: TrainedModel, masks: Iterator[PredictedMask]) -> list[str]:
    """Write masks, pictures and volumes into a new folder, case by case; gives the remarks on them."""
    data = model.saved.data
    remarks: list[str] = []
    with _whole(folder) as work:
        rows = []
        for mask in masks:
            scan = mask.scan
            voxels, affine = scan.as_stored(mask.classes)
            image = Nifti1Image(np.ascontiguousarray(voxels), affine)  # type: ignore[no-untyped-call]
            image.header["descrip"] = f"Consilium {model.saved.plan_hash[:12]}".encode()
            image.to_filename(work / f"{scan.name}_mask.nii.gz")
            (work / f"{scan.name}_overlay.png").write_bytes(overlay.draw(mask, data.classes))
            counts = np.bincount(mask.classes.ravel(), minlength=len(data.classes))[1:]
            rows.append(
                (scan.name, str(len(scan.images)), *(f"{n * scan.voxel_ml:.3f}" for n in counts))
            )
            remarks += scan.remarks
        header = ("name", "slices", *(f"{name} ml" for name in data.classes[1:]))
        _write_csv(work / VOLUMES, [header, *rows])
    return list(dict.fromkeys(remarks))


def _write_csv(path: Path, rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([_cell(cell) for cell in row] for row in rows)


def _cell(text: str) -> str:
    """Text that stays text in a spreadsheet.

    >>> _cell("=1+1"), _cell("a.png")
    ("'=1+1", 'a.png')
    """
    return f"'{text}" if text.startswith(FORMULA) else text


@contextlib.contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder beside, which gets the name at the end; whatever goes wrong, it is gone."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as problem:
        raise InvalidInput(
            f"--out must be a folder that can be written, got {quoted(str(folder))}: {problem.strerror}."
        ) from None
    try:
        yield work
        require_new(folder)
        work.rename(folder)
    except OSError as problem:
        raise InvalidInput(
            f"--out must be a folder that can be written, got {quoted(str(folder))}: {problem.strerror}."
        ) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
