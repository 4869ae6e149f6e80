"""A cohort on disk: one safetensors file, which can hold arrays and nothing that runs."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from syft_code.cohort import Cohort
from syft_code.errors import InvalidData, require
from syft_code.recipes.recipe import DataSpec

NAMES = {"images", "labels", "patient", "facts", "held_out", "tokens", "split_rule"}
_LAYOUT: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
    "labels": ((1, 3), np.uint8),
    "patient": ((1,), np.int32),
    "held_out": ((1,), np.uint8),
    "split_rule": ((1,), np.uint8),
}
"""How many axes an array has, and of what; `Cohort` and `_check` look at the others."""
TOKEN_BYTES = 16
MAX_RULE_BYTES = 200


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class SplitCohort:
    """A cohort and, for each patient, whether it is held out (bool `[patients]`).

    `tokens` (uint8 `[patients, 16]`) are keyed hashes of the patients' identifiers, by which the
    hospital knows a patient again: `patient_hashing.tokens`. `split_rule` names the rule of the
    held-out: `patient_hashing.rule`.
    """

    cohort: Cohort
    held_out: NDArray[np.bool_]
    tokens: NDArray[np.uint8]
    split_rule: str

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
        return SplitCohort(
            cohort=self.cohort.select(kept),
            held_out=self.held_out[kept],
            tokens=self.tokens[kept],
            split_rule=self.split_rule,
        )


def pack(split: SplitCohort) -> bytes:
    """Write a cohort and its split as bytes; read them again with `unpack`."""
    return save(
        {
            "images": np.ascontiguousarray(split.cohort.images),
            "labels": np.ascontiguousarray(split.cohort.labels),
            "patient": np.ascontiguousarray(split.cohort.patient),
            "facts": np.ascontiguousarray(split.cohort.facts),
            "held_out": split.held_out.astype(np.uint8),
            "tokens": np.ascontiguousarray(split.tokens),
            "split_rule": np.frombuffer(split.split_rule.encode("ascii"), dtype=np.uint8),
        }
    )


def unpack(data: bytes, spec: DataSpec) -> SplitCohort:
    """Read a cohort and check it against its public shape.

    Raises:
        InvalidData: with one sentence that names what differs.
    """
    try:
        arrays = load(data)
    except (SafetensorError, KeyError, ValueError):  # numbers or axes that numpy does not know
        raise InvalidData(
            "A cohort file must be safetensors, and this one can't be read."
        ) from None
    require(
        set(arrays) == NAMES,
        f"A cohort file must hold {sorted(NAMES)}, this one holds {sorted(arrays)[:8]}.",
        error=InvalidData,
    )
    for name, (axes, kind) in _LAYOUT.items():
        require(
            arrays[name].ndim in axes and arrays[name].dtype == kind,
            f"In a cohort file {name} must be {kind.__name__} with {' or '.join(map(str, axes))} axes.",
            error=InvalidData,
        )
    split = SplitCohort(
        cohort=Cohort(
            images=arrays["images"],
            labels=arrays["labels"],
            patient=arrays["patient"],
            facts=arrays["facts"],
        ),
        held_out=arrays["held_out"].astype(np.bool_),
        tokens=arrays["tokens"],
        split_rule=_rule(arrays["split_rule"].tobytes()),
    )
    _check(split, spec)
    return split


def _rule(data: bytes) -> str:
    require(
        data.isascii() and len(data) <= MAX_RULE_BYTES,
        f"The name of a split's rule must be at most {MAX_RULE_BYTES} ASCII characters.",
        error=InvalidData,
    )
    return data.decode("ascii")


def _check(split: SplitCohort, spec: DataSpec) -> None:
    image_shape = (len(spec.channels), spec.height_px, spec.width_px)
    label_shape = () if spec.task == "classification" else image_shape[1:]
    cohort = split.cohort
    require(
        cohort.images.shape[1:] == image_shape and cohort.images.dtype in (np.uint8, np.float16),
        f"Images must be uint8 or float16 of shape {image_shape}.",
        error=InvalidData,
    )
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
    require(
        split.held_out.shape == (cohort.patients,),
        "Each patient must be held out or not.",
        error=InvalidData,
    )
    require(
        split.tokens.shape == (cohort.patients, TOKEN_BYTES)
        and split.tokens.dtype == np.uint8
        and len(set(split.names())) == cohort.patients,
        f"Each patient must have a token of {TOKEN_BYTES} bytes, and no two the same.",
        error=InvalidData,
    )
