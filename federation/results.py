"""What a demo leaves behind: the model, its certificate and a report, beside the baselines.

Exact figures and baselines need the patients of all hospitals in one place. Only whoever
plays every party can have them, and everything here says so.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from federation import baselines, certificate, figures, model_file, report
from federation.baselines import Baseline, HospitalCohorts
from federation.figures import Figures
from federation.study import Outcome, Weights
from syft_code.cohort import Cohort

WORKERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """The federated model's exact figures, and those of the baselines."""

    exact: Figures
    baselines: tuple[Baseline, ...]


def write(
    folder: Path,
    outcome: Outcome,
    *,
    weights_by_round: Sequence[Weights],
    hospitals: Sequence[HospitalCohorts],
    samples: Cohort | None,
    budgets: Mapping[str, float],
    on_baseline: Callable[[Baseline], None] = lambda baseline: None,
) -> Results:
    """Compare with the baselines and write model.safetensors, certificate.json, report.html.

    `samples` are public or stand-in slices: no picture of a patient goes into a report.
    """
    plan = outcome.plan
    model_file.write(folder / "model.safetensors", plan, outcome.weights)
    exact_by_round = [figures.exact(plan, weights, hospitals) for weights in weights_by_round]
    delta = max(max(record.delta.values()) for record in outcome.rounds)
    others = baselines.compare(plan, hospitals, workers=WORKERS, delta=delta, on_done=on_baseline)
    content = certificate.certificate(outcome, exact=exact_by_round[-1], baselines=others)
    certificate.write(folder / "certificate.json", content)
    report.write(
        folder / "report.html",
        outcome,
        exact_by_round=exact_by_round,
        baselines=others,
        samples=samples,
        budgets=budgets,
        certificate=content,
    )
    return Results(exact=exact_by_round[-1], baselines=tuple(others))
