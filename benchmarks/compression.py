"""What a hospital sends in a round against what the model learns: rings, places, layers, steps.

    python -m benchmarks.compression --seeds 3 --out compression.csv
    python -m benchmarks.compression --data FOLDER      # HAM10000 as published; else stand-ins

Four simulated hospitals, split by site, train by the real DP-SGD with its noise; what each shares
is bounded, compressed, encoded, sharded, added and opened by the real functions
(`federation.simulation`). Only keys, transport and processes are left out. Noise and splits follow from the seed, so that scenarios of
one seed differ in nothing but what they say.

The sharing bound is so many times the noise's own standard deviation in one coordinate of an
update, which is public. A number past it stays in the hospital with its whole round ("lost"),
unless error feedback cuts it and sends the rest later.
"""

import csv
import hashlib
import itertools
import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import typer
from nacl.signing import SigningKey
from numpy.typing import NDArray

from datasites.data import patient_hashing
from datasites.data.folders.reading import Reading
from datasites.data.readers.images import ham10000
from datasites.demo import partitioners, stand_ins
from datasites.review import disclosures
from federation.evaluation.exact_metrics import HospitalCohorts, together
from federation.simulation.hospital_data import InMemoryHospitals
from federation.simulation.randomness import Randomness
from federation.simulation.simulation import Simulation
from federation.strategy.presets import suggested
from federation.strategy.server_optimizer import ServerState
from syft_code.local_training import broadcast
from syft_code.local_training.broadcast import PublicVectors
from syft_code.metrics import evaluation_sums
from syft_code.models import networks
from syft_code.plans.algorithms import FedAvg, Scaffold
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import Compression, DpSgd, Sgd, Sharing
from syft_code.privacy import accounting
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import Activation, Conv, Pool
from syft_code.recipes.recipe import DataSpec, Recipe
from tests import plans

HOSPITALS = 4
STAND_IN_PATIENTS = 2000
DELTA = 1e-5
SAFE, TIGHT = 9.0, 4.0
"""The sharing bound ÷ the noise's standard deviation in a coordinate: without, with feedback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large the study is. `steps` is of all rounds together."""

    size_px: int = 28
    channels: tuple[int, int] = (8, 16)
    steps: int = 160
    noise_multiplier: float = 1.0
    sample_rate: float = 0.06
    max_grad_norm: float = 4.0
    learning_rate: float = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One way to send less. `kept` without `error_feedback` set is without compression."""

    name: str
    ring_bits: Literal[8, 16, 32, 64] = 32
    kept: float = 1.0
    error_feedback: bool | None = None
    frozen_layers: int = 0
    rounds: int = 40
    algorithm: FedAvg | Scaffold = field(default_factory=FedAvg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a study cost and came to. Bytes are sealed shares of one hospital to all aggregators.

    `lost` is the share of contributions that stayed in their hospital, past the sharing bound.
    """

    bytes_a_round: int
    bytes_of_study: int
    epsilon: float
    lost: float
    balanced_accuracy: float
    auc: float


SCENARIOS = (
    Scenario(name="ring of 64 bits", ring_bits=64),
    Scenario(name="ring of 32 bits (the default)"),
    Scenario(name="ring of 16 bits", ring_bits=16),
    Scenario(name="ring of 16 bits, feedback", ring_bits=16, error_feedback=True),
    Scenario(name="ring of 8 bits", ring_bits=8),
    Scenario(name="ring of 8 bits, feedback", ring_bits=8, error_feedback=True),
    *(
        Scenario(
            name=f"{kept:.0%} kept, {'feedback' if feedback else 'the rest dropped'}",
            kept=kept,
            error_feedback=feedback,
        )
        for kept in (0.5, 0.1, 0.02)
        for feedback in (True, False)
    ),
    Scenario(name="10% kept in 8 bits, feedback", ring_bits=8, kept=0.1, error_feedback=True),
    Scenario(name="first layer frozen", frozen_layers=1),
    Scenario(name="first two layers frozen", frozen_layers=2),
    Scenario(name="twice the steps, half the rounds", rounds=20),
    Scenario(name="four times the steps", rounds=10),
    Scenario(name="SCAFFOLD", algorithm=Scaffold()),
    Scenario(name="SCAFFOLD, four times the steps", algorithm=Scaffold(), rounds=10),
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Play:
    """One plan with its hospitals' patients; `seed` gives the noise."""

    plan: Plan
    seed: int
    hospitals: InMemoryHospitals


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    data: Annotated[Path | None, typer.Option(help="HAM10000 as published.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many splits, from 0.")] = 1,
    out: Annotated[Path | None, typer.Option(help="All outcomes as CSV.")] = None,
) -> None:
    """Run all scenarios, print their means over the seeds."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="compression-") as folder:
        source = data or Path(folder, "stand-in")
        if data is None:
            typer.echo(f"Stand-ins: {STAND_IN_PATIENTS} drawn patients.")
            stand_ins.write("ham10000", source, patients=STAND_IN_PATIENTS, seed=0)
        reading = ham10000.read(source, size_px=Scale().size_px)
        outcomes = []
        for scenario, seed, outcome in run(reading, range(seeds), scale=Scale()):
            outcomes.append((scenario, seed, outcome))
            typer.echo(f"seed {seed}, {scenario.name}: {outcome}", err=True)
            if out is not None:
                write_csv(out, outcomes)
    typer.echo(table(outcomes))


def run(
    reading: Reading,
    seeds: Iterable[int],
    *,
    scale: Scale,
    scenarios: Sequence[Scenario] = SCENARIOS,
) -> Iterator[tuple[Scenario, int, Outcome]]:
    """Each scenario with each seed."""
    for seed, scenario in itertools.product(seeds, scenarios):
        yield scenario, seed, study(play(reading, scenario, scale, seed))


def play(reading: Reading, scenario: Scenario, scale: Scale, seed: int) -> Play:
    """Hospitals by site, a fifth of the patients held out."""
    held_out = patient_hashing.held_out(reading.patient_ids, 0.2, seed.to_bytes(16, "big"))
    cohorts = {
        f"hospital-{number}": HospitalCohorts(
            name=f"hospital-{number}",
            training=reading.cohort.select(part & ~held_out),
            held_out=reading.cohort.select(part & held_out),
        )
        for number, part in enumerate(partitioners.by_site(reading, HOSPITALS, seed=seed), start=1)
    }
    hospitals = InMemoryHospitals(spec=reading.spec, cohorts=cohorts)
    return Play(plan=_plan(reading, hospitals, scenario, scale), seed=seed, hospitals=hospitals)


def _plan(reading: Reading, hospitals: InMemoryHospitals, scenario: Scenario, scale: Scale) -> Plan:
    """The scenario's plan, whose keys and so whose places are the same for every run."""
    keys = plans.Keys(
        hospitals=tuple(SigningKey(_digest("hospital", n)) for n in range(HOSPITALS)),
    )
    recipe = _recipe(reading, scale)
    plan = plans.plan(
        keys,
        data=reading.spec,
        recipe=recipe,
        dp_sgd=DpSgd(
            noise_multiplier=scale.noise_multiplier,
            max_grad_norm=scale.max_grad_norm,
            sample_rate=scale.sample_rate,
            steps=scale.steps // scenario.rounds,
        ),
        optimizer=Sgd(learning_rate=scale.learning_rate),
        rounds=scenario.rounds,
        evaluation=None,
        frozen_layers=scenario.frozen_layers,
        algorithm=scenario.algorithm,
        start_sha256=broadcast.sha256(_start(recipe, reading.spec)),
    )
    declared = tuple(replace(h, patients=hospitals.declared(h.name)) for h in plan.hospitals)
    plan = replace(plan, hospitals=declared)
    rule = None
    if scenario.error_feedback is not None:
        rule = Compression(kept=scenario.kept, error_feedback=scenario.error_feedback)
    tight = scenario.error_feedback and scenario.ring_bits == 8
    rules = fixed_point(plan, scenario.ring_bits, TIGHT if tight else SAFE)
    return replace(plan, sharing=rules, compression=rule)


def fixed_point(plan: Plan, ring_bits: Literal[8, 16, 32, 64], deviations: float) -> Sharing:
    """The finest fixed point of a ring whose bound is so many of the noise's deviations."""
    dp, patients = plan.dp_sgd, min(hospital.patients for hospital in plan.hospitals)
    noise = dp.noise_multiplier * dp.max_grad_norm / (dp.sample_rate * patients)
    bound = deviations * plan.optimizer.learning_rate * noise * math.sqrt(dp.steps)
    if isinstance(
        plan.algorithm, Scaffold
    ):  # a change of the variate is an update ÷ (K lr), less c
        bound *= max(1.0, 2.0 / (plan.optimizer.learning_rate * dp.steps))
    room = (2 ** (ring_bits - 1) - 1) // len(plan.hospitals)
    finest = min(math.floor(math.log2(room / bound)), 40)
    return Sharing(ring_bits=ring_bits, fraction_bits=finest, bound=bound)


def _recipe(reading: Reading, scale: Scale) -> Recipe:
    first, second = scale.channels
    tanh = Activation(function="tanh")
    layers = (
        Conv(channels=first, kernel_px=5, stride=2), tanh, Conv(channels=second, stride=2), tanh,
        Pool(function="average", size_px=3),
    )  # fmt: skip
    return Recipe(model=LayerStack(layers=layers), loss=suggested(reading.spec).recipe.loss)


def _start(recipe: Recipe, data: DataSpec) -> NDArray[np.float32]:
    """The same for every scenario."""
    return networks.initial_weights(recipe, data, seed=0)


def _digest(*what: object) -> bytes:
    return hashlib.sha256(repr(what).encode()).digest()


def study(play: Play) -> Outcome:
    """All rounds, then the model on all held-out patients."""
    plan, hospitals = play.plan, play.hospitals
    simulation = Simulation(plan, hospitals, randomness=Randomness(seed=play.seed), least=1)
    model, lost = ServerState.first(plan, PublicVectors(start=_start(plan.recipe, plan.data))), 0
    for number in range(1, plan.rounds + 1):
        model, came = simulation.round(number, model)
        lost += len(came.lost)
    everyone = together([hospitals.held_out(name) for name in hospitals.names])
    network = networks.build(plan.recipe, plan.data)
    networks.from_vector(network, model.delivered)
    figures = evaluation_sums.exact(network, everyone, plan.data)
    (training,) = disclosures.of_plan(plan, "hospital-1")
    return Outcome(
        bytes_a_round=training.bytes_each,
        bytes_of_study=training.bytes_in_all,
        epsilon=accounting.epsilon(accounting.plan_events(plan), delta=DELTA),
        lost=lost / (plan.rounds * len(hospitals.names)),
        balanced_accuracy=figures["balanced_accuracy"],
        auc=figures["auc"],
    )


def write_csv(path: Path, outcomes: Sequence[tuple[Scenario, int, Outcome]]) -> None:
    """One row for each scenario and seed."""
    rows = [
        asdict(one) | {"algorithm": one.algorithm.kind, "seed": seed} | asdict(came)
        for one, seed, came in outcomes
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def table(outcomes: Sequence[tuple[Scenario, int, Outcome]]) -> str:
    """Means over the seeds as Markdown, ± the standard deviation where there are several seeds."""
    lines = [
        "| scenario | rounds | bytes a round | bytes of the study | lost | balanced accuracy | AUC |",
        "|---|---|---|---|---|---|---|",
    ]
    for scenario in dict.fromkeys(one for one, _, _ in outcomes):
        came = [outcome for one, _, outcome in outcomes if one == scenario]
        lines.append(
            f"| {scenario.name} | {scenario.rounds} | {came[0].bytes_a_round:,} | "
            f"{came[0].bytes_of_study:,} | {np.mean([c.lost for c in came]):.0%} | "
            f"{_spread([c.balanced_accuracy for c in came])} | {_spread([c.auc for c in came])} |"
        )
    (epsilon,) = {round(outcome.epsilon, 6) for _, _, outcome in outcomes}
    return "\n".join([*lines, "", f"Epsilon of every scenario: {epsilon:.2f} at delta {DELTA:g}."])


def _spread(values: Sequence[float]) -> str:
    mean = f"{np.mean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.3f}"


if __name__ == "__main__":
    app()
