"""What a model still knows of its first hospitals after it went on to learn at others.

    python -m benchmarks.continual --data FOLDER_OF_HAM10000 --out FOLDER

Task 1 are HAM10000's second and third site (vidir_modern, rosendahl), task 2 the first and the
fourth (vidir_molemax, vienna_dias), where nearly all lesions are naevi. Task 2 goes on from the
model of task 1: with nothing else, with elastic weight consolidation (its importance worked out on
drawn stand-ins) and with distillation. Each is trained without privacy and at epsilon 8 for each
task, through the simulated federation.
"""

import argparse
import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from datasites.data import mock_cohort
from datasites.demo import federated_dataset
from federation.evaluation.exact_metrics import HospitalCohorts, of_cohort, together
from federation.experiments import planning
from federation.experiments.cell import Cell
from federation.simulation.hospital_data import HospitalData, InMemoryHospitals
from federation.simulation.participation import EVERYBODY
from federation.simulation.randomness import Randomness
from federation.simulation.simulation import Simulation
from federation.strategy.server_optimizer import ServerState
from syft_code.arrays import Weights
from syft_code.local_training import broadcast, continual
from syft_code.local_training.broadcast import PublicVectors
from syft_code.models import networks
from syft_code.plans.algorithms import Distillation, Ewc
from syft_code.plans.plan import Plan
from syft_code.recipes.recipe import DataSpec
from syft_code.runtime.durable_files import write_durably

Epsilon = Literal["none"] | float
Way = Ewc | Distillation

FIRST, SECOND = ("hospital-2", "hospital-3"), ("hospital-1", "hospital-4")
SEEDS = (0, 1, 2, 3, 4)
EPSILONS: tuple[Epsilon, ...] = ("none", 8.0)
PUBLIC_SLICES = 200
SECOND_SEED = 1000

NAMED_LATER = "0" * 64
WAYS: Mapping[str, Way | None] = {
    "nothing": None,
    "EWC": Ewc(strength=20.0, reference_sha256=NAMED_LATER, importance_sha256=NAMED_LATER),
    "distillation": Distillation(weight=1.0, temperature=2.0, reference_sha256=NAMED_LATER),
}
CHANGES: dict[str, Any] = {
    "rounds": 12,
    "dp_sgd": {"sample_rate": 0.5, "steps": 5, "max_grad_norm": 20.0},
    "optimizer": {"learning_rate": 0.25, "momentum": 0.0},
    "recipe": {
        "model": {
            "kind": "fusion",
            "image": [
                {"kind": "scattering", "scales": 2, "angles": 4},
                {"kind": "global_average"},
                {"kind": "activation", "function": "tanh"},
            ],
            "facts": [],
            "head": [],
        }
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Which model: trained in which way, up to which round of task 1 or 2."""

    epsilon: str
    way: str
    seed: int
    trained_on: int
    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures(Labels):
    """How good it is on one task's held-out patients."""

    tested_on: int
    balanced_accuracy: float
    auc: float


def main() -> None:
    """Run all of it and write `continual.csv`, `continual.md` and `continual.png`."""
    parser = argparse.ArgumentParser(description="Forgetting, and what helps.")
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    found: list[Figures] = []
    for seed in asked.seeds:
        for epsilon in EPSILONS:
            found += _one(asked.data, seed, epsilon)
            _write(found, asked.out)
            typer.echo(f"seed {seed}, epsilon {epsilon}: done")


def _one(data: str, seed: int, epsilon: Epsilon) -> list[Figures]:
    """Task 1, then task 2 in each way."""
    everyone = federated_dataset.load(
        "ham10000", data=data, split="site", seed=seed, options={"facts": True}
    )
    tasks = (_only(everyone, FIRST), _only(everyone, SECOND))
    cell = _cell(seed, epsilon)
    plan = planning.plan(cell, tasks[0])
    learnt = planning.start_weights(cell, plan.recipe, plan.data)
    start = ServerState.first(plan, PublicVectors(start=learnt))
    found: list[Figures] = []
    for number, model in _rounds(plan, tasks[0], start, seed, epsilon):
        labels = Labels(epsilon=str(epsilon), way="nothing", seed=seed, trained_on=1, round=number)
        found += _figures(plan, model, tasks, labels)
        learnt = model.weights
    for name, way in WAYS.items():
        second, before = _second(planning.plan(cell, tasks[1]), learnt, way, everyone.spec)
        for number, model in _rounds(second, tasks[1], before, seed + SECOND_SEED, epsilon):
            labels = Labels(epsilon=str(epsilon), way=name, seed=seed, trained_on=2, round=number)
            found += _figures(second, model, tasks, labels)
    return found


def _second(
    plan: Plan, earlier: Weights, way: Way | None, data: DataSpec
) -> tuple[Plan, ServerState]:
    """The plan of task 2, which starts from task 1's weights, and the model before its rounds."""
    plan = replace(plan, start_sha256=broadcast.sha256(earlier))
    if way is None:
        return plan, ServerState.first(plan, PublicVectors(start=earlier))
    named = replace(way, reference_sha256=broadcast.sha256(earlier))
    public = PublicVectors(start=earlier, reference=earlier)
    if isinstance(named, Ewc):
        drawn = mock_cohort.draw(data, seed=0, slices=PUBLIC_SLICES)
        importance = continual.fisher(plan.recipe, data, earlier, drawn, seed=0)
        named = replace(named, importance_sha256=broadcast.sha256(importance))
        public = replace(public, importance=importance)
    plan = replace(plan, continual=named)
    return plan, ServerState.first(plan, public)


def _rounds(
    plan: Plan, task: HospitalData, model: ServerState, seed: int, epsilon: Epsilon
) -> Iterator[tuple[int, ServerState]]:
    randomness = Randomness(seed=seed, noised=epsilon != "none")
    simulation = Simulation(plan, task, randomness=randomness, least=1)
    for number in range(1, plan.rounds + 1):
        model, _ = simulation.round(number, model)
        yield number, model


def _figures(
    plan: Plan,
    model: ServerState,
    tasks: tuple[InMemoryHospitals, InMemoryHospitals],
    labels: Labels,
) -> list[Figures]:
    """On the held-out patients of both tasks."""
    network = networks.build(plan.recipe, plan.data)
    networks.from_vector(network, model.weights)
    found = []
    for number, task in enumerate(tasks, start=1):
        patients = together([task.held_out(name) for name in task.names])
        figures = of_cohort(network, patients, plan.data)
        found.append(
            Figures(
                **asdict(labels),
                tested_on=number,
                balanced_accuracy=figures["balanced_accuracy"],
                auc=figures["auc"],
            )
        )
    return found


def _only(everyone: HospitalData, names: tuple[str, ...]) -> InMemoryHospitals:
    cohorts = {
        name: HospitalCohorts(
            name=name, training=everyone.training(name), held_out=everyone.held_out(name)
        )
        for name in names
    }
    return InMemoryHospitals(spec=everyone.spec, cohorts=cohorts)


def _cell(seed: int, epsilon: Epsilon) -> Cell:
    """What `planning.plan` needs to know."""
    rate = {"learning_rate": 0.25 if epsilon == "none" else 0.1, "momentum": 0.0}
    return Cell(
        study="ham10000",
        algorithm="FedAvg",
        epsilon=epsilon,
        split="site",
        lever="plain",
        seed=seed,
        data="",
        options=(),
        delta=1e-5,
        changes=json.dumps(CHANGES | {"optimizer": rate}),
        start="",
        start_sha256="",
        evaluate_every=0,
        participation=EVERYBODY,
    )


def _write(found: list[Figures], folder: Path) -> None:
    text = io.StringIO()
    table = csv.DictWriter(text, [field.name for field in fields(Figures)])
    table.writeheader()
    table.writerows(asdict(one) for one in found)
    write_durably(folder / "continual.csv", text.getvalue().encode())
    write_durably(folder / "continual.md", "\n".join(_table(found)).encode() + b"\n")
    picture = io.BytesIO()
    _picture(found).savefig(picture, format="png", dpi=110)
    write_durably(folder / "continual.png", picture.getvalue())


def _table(found: list[Figures]) -> Iterator[str]:
    """Markdown: after task 1, and after task 2 in each way, on each task."""
    yield "| epsilon | after | balanced accuracy, task 1 | AUC, task 1 | balanced accuracy, task 2 |"
    yield "|---|---|---|---|---|"
    for epsilon in dict.fromkeys(one.epsilon for one in found):
        yield _line(found, epsilon, "task 1", 1, "nothing")
        for way in WAYS:
            yield _line(found, epsilon, f"task 2, {way}", 2, way)


def _line(found: list[Figures], epsilon: str, label: str, task: int, way: str) -> str:
    last = CHANGES["rounds"]
    mine = [
        one
        for one in found
        if (one.epsilon, one.way, one.trained_on, one.round) == (epsilon, way, task, last)
    ]
    cells = []
    for tested, metric in ((1, "balanced_accuracy"), (1, "auc"), (2, "balanced_accuracy")):
        values = [getattr(one, metric) for one in mine if one.tested_on == tested]
        cells.append(f"{np.mean(values):.3f} ± {_deviation(values):.3f}")
    return f"| {epsilon} | {label} | {' | '.join(cells)} |"


def _deviation(values: Sequence[float]) -> float:
    """Of the seeds, as a sample; 0 for a single one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _picture(found: list[Figures]) -> Figure:
    """Balanced accuracy on task 1, round by round."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels: list[Axes] = []
    for place in range(1, len(EPSILONS) + 1):
        first = panels[0] if panels else None
        panels.append(figure.add_subplot(1, len(EPSILONS), place, sharey=first))
    for axes, epsilon in zip(panels, EPSILONS, strict=True):
        for way in WAYS:
            rows = [
                one
                for one in found
                if (one.epsilon, one.way, one.tested_on) == (str(epsilon), way, 1)
                or (one.epsilon, one.trained_on, one.tested_on) == (str(epsilon), 1, 1)
            ]
            times = sorted({(one.trained_on, one.round) for one in rows})
            lines = [
                [one.balanced_accuracy for one in rows if (one.trained_on, one.round) == time]
                for time in times
            ]
            middle = np.array([np.mean(line) for line in lines])
            spread = np.array([_deviation(line) for line in lines])
            axes.plot(range(1, len(times) + 1), middle, label=way)
            axes.fill_between(
                range(1, len(times) + 1), middle - spread, middle + spread, alpha=0.15
            )
        axes.axvline(CHANGES["rounds"] + 0.5, color="grey", linestyle=":")
        title = "without privacy" if epsilon == "none" else f"epsilon {epsilon:g} a task"
        axes.set(title=title, xlabel="round: task 1, then task 2")
    panels[0].set_ylabel("balanced accuracy on task 1")
    panels[-1].legend()
    return figure


if __name__ == "__main__":
    main()
