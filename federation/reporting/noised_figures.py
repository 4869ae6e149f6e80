"""Figures that were paid for, each with its error bar: 0.252 ± 0.041."""

import math
from collections.abc import Mapping, Sequence

from federation.evaluation.baselines import BEST_ALONE, Baseline
from federation.evaluation.exact_metrics import PATIENTS, SAMPLING_ERROR, main_metric, main_name
from federation.researcher.outcome import Outcome, RoundRecord
from syft_code.metrics import noise_errors, scoring
from syft_code.metrics.noise_errors import NOT_MEASURABLE
from syft_code.recipes.recipe import DataSpec

PLUS_MINUS = (
    "± is how far the noise that protects the held-out patients throws a figure (root mean square, "
    "estimated from the noised sums). Not measurable is what it throws as far as a guess."
)


def with_error(name: str, value: float, error: float | None) -> str:
    """A figure with its error bar, or that it can't be measured.

    >>> with_error("auc", 0.2517, 0.0412), with_error("auc", 0.25, None), with_error("auc", 1.0, 0.4)
    ('0.252 ± 0.041', '0.250 ± ?', 'not measurable (± 0.400)')
    """
    if not noise_errors.is_measurable(name, value, error):
        return NOT_MEASURABLE + (f" (± {error:.3f})" if error is not None else "")
    return f"{value:.3f} ± {'?' if error is None else f'{error:.3f}'}"


def noised(record: RoundRecord, name: str, data: DataSpec) -> str:
    """One figure of a round's evaluation, as the researcher sees it."""
    found = record.metrics
    return with_error(name, value(found, name, data), record.errors.get(name))


def exactly(figures: Mapping[str, float], name: str, data: DataSpec) -> str:
    """One of a model's exact figures; a dash where there are none at all."""
    if not figures:
        return "–"
    found = value(figures, name, data)
    return f"{found:.3f}" if math.isfinite(found) else NOT_MEASURABLE


def never_found(outcome: Outcome) -> str:
    """`scoring.never_found` of the last evaluation, as the researcher sees it."""
    last = outcome.last_measured
    return scoring.never_found(last.metrics, outcome.plan.data, last.errors) if last else ""


def below_a_lone_hospital(
    exact: Mapping[str, float], baselines: Sequence[Baseline], data: DataSpec
) -> str:
    """What one run can tell of each main figure in which a hospital alone did as well as all together; else ""."""
    names = [main_name(data), *(["auc"] if data.positive else [])]
    found = [
        (name, _best_alone(name, baselines, data) - value(exact, name, data)) for name in names
    ]
    worse = [(name, apart) for name, apart in found if apart >= 0]
    if not worse:
        return ""
    names = [name.replace("_", " ").replace("auc", "AUC") for name, _ in worse]
    said = " and ".join(
        f"{name} lies {apart:.3f}" for name, (_, apart) in zip(names, worse, strict=True)
    )
    error = exact.get(SAMPLING_ERROR) if worse[0][0] == main_name(data) else None
    told = (
        f"how large a difference of {names[-1]} one run tells was not estimated"
        if error is None
        else f"one run tells differences of {names[0]} of about {2 * math.sqrt(2) * error:.3f} and more (two "
        "standard errors)"
    )
    return (
        f"The federated model's {said} below the best single hospital's (best by {main_name(data).replace('_', ' ')}) "
        f"in this run over {exact.get(PATIENTS, 0):,.0f} held-out patients; {told}: look at several runs before you "
        "conclude."
    )


def _best_alone(name: str, baselines: Sequence[Baseline], data: DataSpec) -> float:
    alone = [one.metrics for one in baselines if one.name.startswith(BEST_ALONE)]
    return max((value(metrics, name, data) for metrics in alone), default=-math.inf)


def value(figures: Mapping[str, float], name: str, data: DataSpec) -> float:
    """One of a model's figures; NaN if it is not there."""
    return main_metric(figures, data) if name == main_name(data) else figures.get(name, math.nan)


def chance_level(name: str, data: DataSpec) -> float | None:
    """What guessing comes to, for the figures that have such a level."""
    levels: Mapping[str, float] = {"balanced_accuracy": 1 / len(data.classes), "auc": 0.5}
    return levels.get(name)
