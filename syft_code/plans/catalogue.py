"""What a hospital says in public: the card of an asset, and the terms of its policy."""

import math
from typing import Literal

from syft_code import canonical
from syft_code.errors import InvalidInput, require
from syft_code.plans.plan_parts import MOST_TICKS, USUAL_TICKS
from syft_code.plans.roster import MOST_AGGREGATORS
from syft_code.recipes.recipe import DataSpec

ModelKind = Literal["layers", "fusion", "unet", "encoder_decoder"]
LEAST_DELTA, LARGEST_DELTA = 1e-15, 0.01
"""Accountants are exact down to the one; past the other, delta itself gives patients away."""
LEAST_HOSPITALS = 3
"""With two, one hospital and the researcher could subtract the other out."""
LEAST_AGGREGATORS = 2
"""One that opens a share alone would read the update in it."""


@canonical.message
class AssetCard:
    """One asset in a front desk's catalogue.

    The owner's word, not computed from patients: `patients` is the number of training patients;
    `held_out` says whether others are kept for evaluation; `lacks` names the modalities that none
    of its cases has, which are zero there.
    """

    hospital: str
    verify_key: str
    asset: str
    version: int
    patients: int
    held_out: bool
    spec: DataSpec
    lacks: tuple[str, ...] = ()


@canonical.message
class Terms:
    """What one hospital asks of every study, readable before anything is submitted.

    `epsilon` at `delta` is what a patient of one asset may lose in all, for ever;
    `study_epsilon` and `researcher_epsilon` cap one study, and all studies of one researcher. Where
    noise is shared these are of what sums show; `epsilon_alone` (none: as `epsilon`) is what a patient
    may lose in all if every other hospital colludes, and `min_colluding` other operators' hospitals at
    least must be among those that a plan allows to.
    Units: `min_noise_multiplier` is noise std ÷ clip norm, of training and of evaluations;
    `min_patients` counts declared training patients; `min_aggregators` is how many of them must
    put their pieces together before anything opens; `approvers` are different people, none of them
    the researcher. Every plan must have a release schedule of at most `most_ticks` ticks; with 0 it needs none.
    """

    epsilon: float
    delta: float
    min_noise_multiplier: float
    min_patients: int
    min_hospitals: int = LEAST_HOSPITALS
    min_aggregators: int = LEAST_AGGREGATORS
    study_epsilon: float | None = None
    researcher_epsilon: float | None = None
    recipes: tuple[ModelKind, ...] = ("layers", "fusion", "unet", "encoder_decoder")
    approvers: int = 1
    most_ticks: int = USUAL_TICKS
    epsilon_alone: float | None = None
    min_colluding: int = 1

    def __post_init__(self) -> None:
        for name in ("epsilon", "study_epsilon", "researcher_epsilon", "epsilon_alone"):
            value = getattr(self, name)
            _require(
                value is None or (math.isfinite(value) and value > 0),
                f"{name} must be a finite number above 0, got {value}.",
            )
        _require(
            LEAST_DELTA <= self.delta <= LARGEST_DELTA,
            f"delta must lie between {LEAST_DELTA:g} and {LARGEST_DELTA:g}, got {self.delta}.",
        )
        _require(
            math.isfinite(self.min_noise_multiplier) and self.min_noise_multiplier > 0,
            f"min_noise_multiplier must be a finite number above 0, got {self.min_noise_multiplier}.",
        )
        _require(
            self.min_patients >= 1, f"min_patients must be at least 1, got {self.min_patients}."
        )
        _require(
            self.min_hospitals >= LEAST_HOSPITALS,
            f"min_hospitals must be at least {LEAST_HOSPITALS}, got {self.min_hospitals}.",
        )
        _require(
            LEAST_AGGREGATORS <= self.min_aggregators <= MOST_AGGREGATORS,
            f"min_aggregators must be from {LEAST_AGGREGATORS} to {MOST_AGGREGATORS}, got "
            f"{self.min_aggregators}.",
        )
        _require(bool(self.recipes), "recipes must allow at least one kind of model.")
        _require(
            1 <= self.approvers <= 2,
            f"approvers must be 1, or 2 for the two-person rule, got {self.approvers}.",
        )
        _require(
            self.min_colluding >= 1, f"min_colluding must be at least 1, got {self.min_colluding}."
        )
        _require(
            0 <= self.most_ticks <= MOST_TICKS,
            f"most_ticks must be from 1 to {MOST_TICKS}, or 0 to ask for no release schedule, got "
            f"{self.most_ticks}.",
        )


def _require(holds: bool, sentence: str) -> None:
    require(holds, f"In a site's policy, {sentence}", error=InvalidInput)
