"""What a demo leaves behind: the model, its certificate and a report, beside the baselines.

Exact figures and baselines need the patients of all hospitals in one place. Only whoever
plays every party can have them, and everything here says so.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nacl.signing import SigningKey
from rich import box
from rich.table import Column, Table

from federation.certificate import certificate
from federation.evaluation import baselines, exact_metrics, model_file
from federation.evaluation.baselines import Baseline
from federation.evaluation.encoded_pictures import EncodedPictures
from federation.evaluation.exact_metrics import Figures, HospitalCohorts
from federation.reporting import noised_figures, plots, report
from federation.researcher.outcome import Outcome
from syft_code.arrays import Weights
from syft_code.cohort import Cohort
from syft_code.models import feature_cache
from syft_code.plans.plan import Plan
from syft_code.privacy import epsilons
from syft_code.recipes.recipe import DataSpec

WORKERS = 2
NAMES_WIDE, COSTS_WIDE, FIGURES_WIDE = 22, 9, len("0.667 ± 0.027")
"""Columns of the table, so that all of it fits on a terminal of 80."""
MEASURED_ROUNDS = 12
"""A report's line has about so many points: each costs a look at everybody's held-out patients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoResults:
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
    key: SigningKey,
    pictures: EncodedPictures,
    on_baseline: Callable[[Baseline], None] = lambda baseline: None,
) -> DemoResults:
    """Compare with the baselines and write model.safetensors, certificate.json, report.html.

    `key` is the researcher's. `pictures` keeps what an encoder says of patients: it must lie where
    patients may, and go with them. `samples` are public or stand-in slices: no picture of a patient goes into a report.
    """
    plan = outcome.plan
    model_file.write(folder / "model.safetensors", plan, outcome.weights)
    hospitals = [
        HospitalCohorts(
            name=one.name,
            training=pictures.cohort(one.training, plan.recipe.model),
            held_out=pictures.cohort(one.held_out, plan.recipe.model),
        )
        for one in hospitals
    ]
    with feature_cache.switched_on():
        measured = _measured_rounds(plan, len(weights_by_round))
        exact_by_round = [
            exact_metrics.exact(plan, weights, hospitals) if number in measured else {}
            for number, weights in enumerate(weights_by_round, start=1)
        ]
    delta = max(max(record.delta.values()) for record in outcome.rounds)
    others = baselines.compare(plan, hospitals, workers=WORKERS, delta=delta, on_done=on_baseline)
    content = certificate.certificate(outcome, exact=exact_by_round[-1], baselines=others)
    certificate.write(folder / "certificate.json", content, key=key)
    report.write(
        folder / "report.html",
        outcome,
        exact_by_round=exact_by_round,
        baselines=others,
        samples=samples,
        budgets=budgets,
        certificate=content,
    )
    return DemoResults(exact=exact_by_round[-1], baselines=tuple(others))


def _measured_rounds(plan: Plan, rounds: int) -> set[int]:
    """The rounds that exact figures are worked out for: some along the way, the evaluated ones, the last."""
    step = -(-rounds // MEASURED_ROUNDS)
    return {*range(rounds, 0, -step), *plan.rounds_of("evaluate")}


def table(outcome: Outcome, found: DemoResults) -> Table:
    """The federated model beside the baselines: exact figures, as only a demo has them."""
    data, last = outcome.plan.data, outcome.rounds[-1]
    shared = outcome.plan.shared_noise is not None
    shown = _shown(data)
    costs = ("ε of a patient", *(("ε if all collude",) if shared else ()))
    drawn = Table(
        Column("Model", min_width=NAMES_WIDE),
        *(Column(head, max_width=COSTS_WIDE) for head in costs),
        *(Column(plots.words(name).replace(" ", "\n"), min_width=FIGURES_WIDE) for name in shown),
        title="Exact figures on held-out patients: possible only in a demo, which owns all data",
        box=box.SIMPLE_HEAD,
        padding=0,
        show_edge=False,
    )

    def add(name: str, spent: str, alone: str, cells: Iterable[str]) -> None:
        drawn.add_row(name, spent, *((alone,) if shared else ()), *cells)

    spent = epsilons.at_least(max(max(record.epsilon.values()) for record in outcome.rounds))
    alone = epsilons.at_least(max(max(record.epsilon_alone.values()) for record in outcome.rounds))
    if last.metrics:
        seen = (noised_figures.noised(last, key, data) for key in shown)
        add("Federated, as the researcher sees it (noised)", spent, alone, seen)
        drawn.caption = noised_figures.PLUS_MINUS
    exact = (noised_figures.exactly(found.exact, key, data) for key in shown)
    add("Federated, this run, exactly", spent, alone, exact)
    chance = [noised_figures.chance_level(key, data) for key in shown]
    if any(level is not None for level in chance):
        levels = ("" if level is None else f"{level:.3f}" for level in chance)
        add("Chance: the level of guessing", "", "", levels)
    for one in found.baselines:
        cost = "none" if one.epsilon is None else epsilons.at_least(one.epsilon)
        cells = (noised_figures.exactly(one.metrics, key, data) for key in shown)
        add(one.name, cost, cost, cells)
    return drawn


def _shown(data: DataSpec) -> list[str]:
    """The columns of the table: those of a report, whether or not they could be measured here."""
    first, *others = plots.shown_metrics(data)
    return [first, *others] if data.task == "classification" else others
