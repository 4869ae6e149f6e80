"""A cohort on disk: one safetensors file, which can hold arrays and nothing that runs."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from datasites.data.folders.reading import Cells
from syft_code.cohort import Cohort
from syft_code.errors import InvalidData, require
from syft_code.recipes.recipe import DataSpec

NAMES = {
    "images", "labels", "patient", "facts", "held_out", "tokens", "split_rule", "named", "columns",
    "cells", "remarks",
}  # fmt: skip
_LAYOUT: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
    "labels": ((1, 3), np.uint8),
    "patient": ((1,), np.int32),
    "held_out": ((1,), np.uint8),
    "split_rule": ((1,), np.uint8),
    "named": ((1,), np.uint8),
    "remarks": ((1,), np.uint8),
    "columns": ((1,), np.uint64),
    "cells": ((2,), np.uint64),
}
"""How many axes an array has, and of what; `Cohort` and `_check` look at the others."""
TOKEN_BYTES = 16
MAX_RULE_BYTES = 200
MAX_REMARK_BYTES = 1 << 18
"""Of all remarks together."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class SplitCohort:
    """A cohort and, for each patient, whether it is held out (bool `[patients]`).

    `tokens` (uint8 `[patients, 16]`) are keyed hashes of the patients' identifiers, by which the
    hospital knows a patient again: `patient_hashing.tokens`. `split_rule` names the rule of the
    held-out: `patient_hashing.rule`. `named` says whether the data gave the identifiers, or only
    the rows' own content; `cells` are what a table's rows say, none for pictures. `remarks` are
    sentences for the owner, of the cohort as it was published: what the reader left out, and what
    `cohort_remarks` says. They count patients, and are as private as they are.
    """

    cohort: Cohort
    held_out: NDArray[np.bool_]
    tokens: NDArray[np.uint8]
    split_rule: str
    named: bool = True
    cells: Cells | None = None
    remarks: tuple[str, ...] = ()

    def training(self) -> Cohort:
        """The patients to train on."""
        return self.cohort.select(~self.held_out)

    def evaluation(self) -> Cohort:
        """The patients that no training ever sees."""
        return self.cohort.select(self.held_out)

    def names(self) -> list[str]:
        """Each patient's token (hex)."""
        return [bytes(token).hex() for token in self.tokens]

    def without(self, removed: Collection[str]) -> "SplitCohort":
        """The same without the patients of these tokens; nobody else changes groups."""
        kept = np.array([name not in removed for name in self.names()], dtype=np.bool_)
        return replace(
            self,
            cohort=self.cohort.select(kept),
            held_out=self.held_out[kept],
            tokens=self.tokens[kept],
            cells=self.cells and self.cells.select(kept[self.cohort.patient]),
        )


def pack(split: SplitCohort) -> bytes:
    """Write a cohort and its split as bytes; read them again with `unpack`."""
    return save(
        arrays(split.cohort, split.cells)
        | {
            "held_out": split.held_out.astype(np.uint8),
            "tokens": np.ascontiguousarray(split.tokens),
            "split_rule": np.frombuffer(split.split_rule.encode("ascii"), dtype=np.uint8),
            "named": np.array([split.named], dtype=np.uint8),
            "remarks": np.frombuffer("\n".join(split.remarks).encode("utf-8"), dtype=np.uint8),
        }
    )


def arrays(cohort: Cohort, cells: Cells | None) -> dict[str, NDArray[Any]]:
    """A cohort's arrays by name, as safetensors want them, with those of a table's cells."""
    columns = np.zeros(0, np.uint64) if cells is None else cells.columns
    values = np.zeros((len(cohort.images), 0), np.uint64) if cells is None else cells.values
    return {
        "images": np.ascontiguousarray(cohort.images),
        "labels": np.ascontiguousarray(cohort.labels),
        "patient": np.ascontiguousarray(cohort.patient),
        "facts": np.ascontiguousarray(cohort.facts),
        "columns": np.ascontiguousarray(columns),
        "cells": np.ascontiguousarray(values),
    }


def cells_of(found: Mapping[str, NDArray[Any]]) -> Cells | None:
    """What a table's rows say, out of such arrays."""
    columns, values = found["columns"], found["cells"]
    return Cells(columns=columns, values=values) if columns.size else None


def unpack(data: bytes, spec: DataSpec, *, features: int | None = None) -> SplitCohort:
    """Read a cohort and check it against its public shape.

    With `features` it is one whose pictures fixed layers have looked at: so many numbers each.

    Raises:
        InvalidData: with one sentence that names what differs.
    """
    split = _split(_loaded(data))
    _check(split, spec, features)
    return split


def unpack_encoded(data: bytes) -> SplitCohort:
    """A cohort of features that this hospital has written itself; raise `InvalidData` on other files."""
    return _split(_loaded(data))


def without_images(path: Path) -> SplitCohort:
    """A cohort from its file, with images of no channels: those are not read, however many they are."""
    with safe_open(path, "numpy") as file:
        slices = file.get_slice("images").get_shape()[0]
        found = {name: file.get_tensor(name) for name in NAMES - {"images"}}
    return _split(found | {"images": np.zeros((slices, 0, 0, 0), np.uint8)})


def _loaded(data: bytes) -> dict[str, NDArray[Any]]:
    try:
        return load(data)
    except (SafetensorError, KeyError, ValueError):  # numbers or axes that numpy does not know
        raise InvalidData(
            "A cohort file must be safetensors, and this one can't be read."
        ) from None


def _split(found: Mapping[str, NDArray[Any]]) -> SplitCohort:
    require(
        set(found) == NAMES,
        f"A cohort file must hold {sorted(NAMES)}, this one holds {sorted(found)[:8]}.",
        error=InvalidData,
    )
    for name, (axes, kind) in _LAYOUT.items():
        require(
            found[name].ndim in axes and found[name].dtype == kind,
            f"In a cohort file {name} must be {kind.__name__} with {' or '.join(map(str, axes))} axes.",
            error=InvalidData,
        )
    return SplitCohort(
        cohort=Cohort(
            images=found["images"],
            labels=found["labels"],
            patient=found["patient"],
            facts=found["facts"],
        ),
        held_out=found["held_out"].astype(np.bool_),
        tokens=found["tokens"],
        split_rule=_rule(found["split_rule"].tobytes()),
        named=bool(found["named"].all()),
        cells=cells_of(found),
        remarks=_remarks(found["remarks"].tobytes()),
    )


def remarks(path: Path) -> tuple[str, ...]:
    """The remarks of a cohort file alone; no other array is read.

    Raises:
        InvalidData: if it is none.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            return _remarks(file.get_tensor("remarks").tobytes())
    except (OSError, SafetensorError):
        raise InvalidData("A cohort file must hold remarks, and this one can't be read.") from None


def _remarks(data: bytes) -> tuple[str, ...]:
    require(
        len(data) <= MAX_REMARK_BYTES,
        f"The remarks of a cohort file must have at most {MAX_REMARK_BYTES:,} bytes.",
        error=InvalidData,
    )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidData("The remarks of a cohort file must be text.") from None
    return tuple(text.split("\n")) if text else ()


def _rule(data: bytes) -> str:
    require(
        data.isascii() and len(data) <= MAX_RULE_BYTES,
        f"The name of a split's rule must be at most {MAX_RULE_BYTES} ASCII characters.",
        error=InvalidData,
    )
    return data.decode("ascii")


def check_shape(cohort: Cohort, spec: DataSpec, *, features: int | None = None) -> None:
    """Raise `InvalidData` if a cohort's arrays are not as its public shape says."""
    image_shape = (len(spec.channels), spec.height_px, spec.width_px)
    label_shape = () if spec.task == "classification" else image_shape[1:]
    if features is None:
        _check_pixels(cohort, image_shape)
    else:
        _check_features(cohort, features)
    require(
        cohort.labels.shape[1:] == label_shape and cohort.labels.dtype == np.uint8,
        f"Labels must be uint8 of shape {label_shape}.",
        error=InvalidData,
    )
    require(
        int(cohort.labels.max(initial=0)) < len(spec.classes),
        f"Labels must be below the number of classes, {len(spec.classes)}.",
        error=InvalidData,
    )
    require(
        cohort.facts.shape == (len(cohort.images), len(spec.facts)),
        f"Each slice must have {len(spec.facts)} facts, as the asset declares.",
        error=InvalidData,
    )


def _check_pixels(cohort: Cohort, shape: tuple[int, ...]) -> None:
    require(
        cohort.images.shape[1:] == shape and cohort.images.dtype in (np.uint8, np.float16),
        f"Images must be uint8 or float16 of shape {shape}.",
        error=InvalidData,
    )


def _check_features(cohort: Cohort, features: int) -> None:
    require(
        cohort.images.shape[1:] == (features, 1, 1) and cohort.images.dtype == np.float32,
        f"Encoded images must be float32 with {features} features each.",
        error=InvalidData,
    )
    require(
        bool(np.isfinite(cohort.images).all()),
        "Encoded images must be finite numbers, and at least one is not.",
        error=InvalidData,
    )


def _check(split: SplitCohort, spec: DataSpec, features: int | None) -> None:
    cohort = split.cohort
    check_shape(cohort, spec, features=features)
    require(
        split.held_out.shape == (cohort.patients,),
        "Each patient must be held out or not.",
        error=InvalidData,
    )
    require(
        split.cells is None or len(split.cells.values) == len(cohort.images),
        "Each row of a table must have its cells.",
        error=InvalidData,
    )
    require(
        split.tokens.shape == (cohort.patients, TOKEN_BYTES)
        and split.tokens.dtype == np.uint8
        and len(set(split.names())) == cohort.patients,
        f"Each patient must have a token of {TOKEN_BYTES} bytes, and no two the same.",
        error=InvalidData,
    )
