"""What a researcher looks at in a notebook: the catalogue as a table, a mock as pictures."""

import io
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from federation.plots import STYLE, Plot
from federation.plots import epsilon as epsilon
from syft_code.catalogue import AssetCard
from syft_code.cohort import Cohort
from syft_code.plan import Plan
from syft_code.recipes import parameter_count

__all__ = ["Plot", "catalogue", "epsilon", "mock", "plan"]
COLUMNS = 8


def catalogue(cards: Sequence[AssetCard]) -> pd.DataFrame:
    """One row an asset: what it is, and what its hospital asks of a study."""
    rows = [
        {
            "hospital": card.hospital,
            "asset": card.asset,
            "version": card.version,
            "declared training patients": card.patients,
            "one patient is": card.spec.patient_unit,
            "slice": f"{len(card.spec.channels)} x {card.spec.height_px} x {card.spec.width_px}",
            "stand-in": card.spec.stand_in,
            "budget epsilon": card.budget_epsilon,
            "delta": card.delta,
            "least hospitals": card.min_hospitals,
            "least noise": card.min_noise_multiplier,
        }
        for card in cards
    ]
    return pd.DataFrame(rows).set_index("hospital")


def plan(study: Plan) -> pd.DataFrame:
    """A plan in words and numbers, as every owner reads it."""
    dp = study.dp_sgd
    rows = {
        "plan hash": study.hash,
        "model": f"{study.recipe.model.kind}, {parameter_count(study.recipe, study.data):,} parameters",
        "loss": study.recipe.loss.kind,
        "rounds": f"{study.rounds} of {dp.steps} steps each",
        "patients a step": f"each with probability {dp.sample_rate:g}",
        "noise": f"{dp.noise_multiplier:g} x the clip norm {dp.max_grad_norm:g}",
        "hospitals": ", ".join(hospital.name for hospital in study.hospitals),
        "least hospitals in a sum": str(study.min_hospitals),
        "aggregators": ", ".join(aggregator.name for aggregator in study.aggregators),
    }
    return pd.DataFrame({"": rows})


def mock(cohort: Cohort, classes: Sequence[str], *, count: int = 2 * COLUMNS) -> Plot:
    """Pictures of a mock: made from the schema alone, no patient is in them."""
    shown = cohort.images[:count]
    rows = -(-len(shown) // COLUMNS)
    with mpl.rc_context(STYLE | {"axes.grid": False}):
        figure = Figure(figsize=(1.3 * COLUMNS, 1.6 * rows), layout="constrained")
        axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for axis in axes:
            axis.axis("off")
        for axis, image, label in zip(axes, shown, cohort.labels, strict=False):
            colour = image.dtype == np.uint8 and len(image) == 3
            picture = image.transpose(1, 2, 0) if colour else image[-1].astype(np.float32)
            axis.imshow(picture, cmap=None if colour else "gray")
            axis.set_title(classes[int(label)] if label.ndim == 0 else "mock slice")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110)
    alt = "Mock slices, made from the public schema: no patient is in them."
    return Plot(data=buffer.getvalue(), kind="image/png", alt=alt)
