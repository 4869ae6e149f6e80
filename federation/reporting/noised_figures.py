"""Figures that were paid for, each with its error bar: 0.252 ± 0.041."""

import math
from collections.abc import Mapping

from federation.evaluation.exact_metrics import main_metric, main_name
from federation.researcher.outcome import RoundRecord
from syft_code.recipes.recipe import DataSpec

PLUS_MINUS = (
    "± is how far the noise that protects the held-out patients throws a figure (root mean square, "
    "estimated from the noised sums)."
)


def with_error(value: float, error: float | None) -> str:
    """A figure with its error bar, a dash for one that is not there.

    >>> with_error(0.2517, 0.0412), with_error(0.25, None), with_error(math.nan, 0.1)
    ('0.252 ± 0.041', '0.250 ± ?', '–')
    """
    if not math.isfinite(value):
        return "–"
    return f"{value:.3f} ± {'?' if error is None else f'{error:.3f}'}"


def noised(record: RoundRecord, name: str, data: DataSpec) -> str:
    """One figure of a round's evaluation, as the researcher sees it."""
    found = record.metrics
    value = main_metric(found, data) if name == main_name(data) else found.get(name, math.nan)
    return with_error(value, record.errors.get(name))


def chance_level(name: str, data: DataSpec) -> float | None:
    """What guessing comes to, for the figures that have such a level."""
    levels: Mapping[str, float] = {"balanced_accuracy": 1 / len(data.classes), "auc": 0.5}
    return levels.get(name)
