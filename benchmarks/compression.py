"""What a hospital sends in a round against what the model learns: rings, places, layers, steps.

    python -m benchmarks.compression --seeds 3 --out compression.csv
    python -m benchmarks.compression --data FOLDER      # HAM10000 as published; else stand-ins

Four simulated hospitals, split by site, train by the real DP-SGD with its noise; what each shares
is bounded, compressed, encoded, sharded, added and opened by the real functions. Only keys,
transport and processes are left out. Noise and splits follow from the seed, so that scenarios of
one seed differ in nothing but what they say.

The sharing bound is so many times the noise's own standard deviation in one coordinate of an
update, which is public. A number past it stays in the hospital with its whole round ("lost"),
unless error feedback cuts it and sends the rest later.
"""

import csv
import hashlib
import itertools
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import typer
from nacl.signing import SigningKey

from datasites.data import partition, stand_ins
from datasites.data.readers import ham10000
from datasites.data.readers.reading import Reading
from datasites.review import releases
from datasites.vault import airlock, carry
from datasites.vault.airlock import Vector
from federation.figures import together
from federation.studies import suggested
from syft_code import (
    accounting,
    compression,
    control_variates,
    dp_sgd,
    envelope,
    metrics,
    networks,
    sharing,
)
from syft_code.cohort import Cohort
from syft_code.errors import TrainingFailed
from syft_code.noise import NoiseSource
from syft_code.plan import Compression, DpSgd, Plan, Sgd, Sharing
from syft_code.recipes import Activation, Conv, LayerStack, Pool, Recipe
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
    algorithm: Literal["fedavg", "scaffold"] = "fedavg"


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
    Scenario(name="SCAFFOLD", algorithm="scaffold"),
    Scenario(name="SCAFFOLD, four times the steps", algorithm="scaffold", rounds=10),
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Simulation:
    """One plan with its hospitals' patients; `seed` gives the noise."""

    plan: Plan
    seed: int
    training: dict[str, Cohort]
    held_out: Cohort


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
        yield scenario, seed, study(simulation(reading, scenario, scale, seed))


def simulation(reading: Reading, scenario: Scenario, scale: Scale, seed: int) -> Simulation:
    """Hospitals by site, a fifth of the patients held out."""
    held_out = partition.held_out(reading.patient_ids, 0.2, seed.to_bytes(16, "big"))
    parts = partition.by_site(reading, HOSPITALS, seed=seed)
    training = {
        f"hospital-{number}": reading.cohort.select(part & ~held_out)
        for number, part in enumerate(parts, start=1)
    }
    return Simulation(
        plan=_plan(reading, training, scenario, scale),
        seed=seed,
        training=training,
        held_out=together([reading.cohort.select(part & held_out) for part in parts]),
    )


def _plan(reading: Reading, training: dict[str, Cohort], scenario: Scenario, scale: Scale) -> Plan:
    """The scenario's plan, whose keys and so whose places are the same for every run."""
    keys = plans.Keys(
        hospitals=tuple(SigningKey(_digest("hospital", n)) for n in range(HOSPITALS)),
    )
    plan = plans.plan(
        keys,
        data=reading.spec,
        recipe=_recipe(reading, scale),
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
    )
    declared = tuple(replace(h, patients=training[h.name].patients) for h in plan.hospitals)
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
    if plan.algorithm == "scaffold":  # a change of the variate is an update ÷ (K lr), less c
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


def _digest(*what: object) -> bytes:
    return hashlib.sha256(repr(what).encode()).digest()


def study(play: Simulation) -> Outcome:
    """All rounds, then the model on all held-out patients."""
    plan = play.plan
    weights = networks.initial_weights(plan.recipe, plan.data, seed=0).astype(np.float64)
    scaffold = plan.algorithm == "scaffold"
    common = np.zeros(compression.trained_size(plan) if scaffold else 0)
    kept = {name: np.zeros(carry.length(plan, "train")) for name in play.training}
    lost = 0
    for number in range(1, plan.rounds + 1):
        sent = {}
        for name in play.training:
            made = contribution(play, name, number, weights, common=common, kept=kept[name])
            if made is None:
                lost += 1
                continue
            sent[name] = made.values
            kept[name] = kept[name] if made.kept is None else made.kept
        mean = opened(plan, sent)
        moved = mean[: compression.kept_count(plan)]
        weights = weights + compression.spread(plan, number, moved)
        common = common + mean[len(moved) :]
    figures = metrics.exact(_model(plan, weights), play.held_out, plan.data)
    (training,) = releases.of_plan(plan, "hospital-1")
    return Outcome(
        bytes_a_round=training.bytes_each,
        bytes_of_study=training.bytes_in_all,
        epsilon=accounting.epsilon(accounting.plan_events(plan), delta=DELTA),
        lost=lost / (plan.rounds * len(play.training)),
        balanced_accuracy=figures["balanced_accuracy"],
        auc=figures["melanoma_auc"],
    )


def contribution(
    play: Simulation, name: str, number: int, weights: Vector, *, common: Vector, kept: Vector
) -> carry.Contribution | None:
    """What a vault makes of a round; None if its airlock keeps it."""
    plan = play.plan
    update = dp_sgd.train(
        _model(plan, weights),
        play.training[name],
        recipe=plan.recipe,
        dp=plan.dp_sgd,
        optimizer=plan.optimizer,
        declared_patients=plan.hospital(name).patients,
        randomness=NoiseSource.from_key(_digest(play.seed, name, number)),
        frozen=compression.trained(plan).start,
        correction=control_variates.correction(common, kept) if len(common) else None,
    )
    try:
        airlock.check(update, bound=airlock.result_bound(plan, "train"))
        made = carry.contribution(plan, name, number, update, common=common, kept=kept)
        airlock.check(made.values, bound=plan.sharing.bound)
    except TrainingFailed:
        return None
    return made


def opened(plan: Plan, sent: dict[str, Vector]) -> Vector:
    """The mean of what was sent, weighted by declared patients, out of nothing but pieces' sums."""
    length, scheme = envelope.values_length(plan, "train"), envelope.scheme(plan)
    if not sent:
        return np.zeros(length)
    ring = sharing.ring_dtype(plan.sharing.ring_bits)
    sums = [np.zeros(length, ring) for _ in range(scheme.pieces)]
    for name, values in sent.items():
        factor = plan.hospital(name).patients / plan.most_patients
        encoded = sharing.encode(values, plan.sharing, hospitals=len(plan.hospitals), factor=factor)
        seeds = [os.urandom(sharing.SEED_BYTES) for _ in range(scheme.pieces - 1)]
        *masks, vector = sharing.shard(encoded, scheme, seeds=seeds)
        for total, mask in zip(sums, masks, strict=False):
            sharing.add_seeds(total, [bytes(mask)])
        sharing.add_vector(sums[-1], vector)
    total = sharing.decode(sharing.unshard(sums), plan.sharing)
    return total * (plan.most_patients / sum(plan.hospital(name).patients for name in sent))


def write_csv(path: Path, outcomes: Sequence[tuple[Scenario, int, Outcome]]) -> None:
    """One row for each scenario and seed."""
    rows = [asdict(one) | {"seed": seed} | asdict(came) for one, seed, came in outcomes]
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


def _model(plan: Plan, weights: Vector) -> torch.nn.Module:
    model = networks.build(plan.recipe, plan.data)
    networks.from_vector(model, weights)
    return model


if __name__ == "__main__":
    app()
