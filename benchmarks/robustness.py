"""What bad hospitals do to a study, by rule and by attack, and what each rule costs without any.

    python -m benchmarks.robustness --seeds 3 --out robustness.csv
    python -m benchmarks.robustness --data FOLDER       # HAM10000 as published; else stand-ins

15 simulated hospitals in 5 groups train by the real DP-SGD, encode, share and add as in a study
(`federation.simulation`); only keys, transport and processes are left out. Attacks:

| attack          | the bad hospital                                              | its software is |
|-----------------|---------------------------------------------------------------|-----------------|
| none            | is good                                                       | ours            |
| label_flip      | has class i labelled as class (last - i)                      | ours            |
| backdoor        | has a white corner on half of its pictures, labelled TARGET   | ours            |
| zeros, noise    | is a free rider: sends zeros, or noise of the usual length    | its own         |
| sign_flip       | sends its update times -1                                     | its own         |
| scaled_10, _100 | sends its update times 10 or 100                              | its own         |
| hidden          | trains without noise on flipped labels; usual length          | its own         |
| hidden_backdoor | trains without noise on white corners; usual length           | its own         |
| loud_backdoor   | the same, 10 times as long ("model replacement")              | its own         |
| quiet_backdoor  | the same, half as long                                        | its own         |

`bound` says what becomes of the L2 bound at the site: "none" is planned, or a bad hospital has
"kept" it or gone "past" it. Noise and splits follow from the seed, so a run can be repeated.
"""

import csv
import hashlib
import itertools
import math
import multiprocessing
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import typer
from nacl.public import PrivateKey
from nacl.signing import SigningKey
from numpy.typing import NDArray

from datasites.data import patient_hashing
from datasites.data.folders.reading import Reading
from datasites.data.readers.images import ham10000
from datasites.demo import stand_ins
from federation.evaluation import open_training
from federation.evaluation.exact_metrics import together
from federation.simulation.randomness import Randomness
from federation.simulation.simulated_sums import RoundSums, collected
from federation.strategy import server_optimizer
from federation.strategy.presets import suggested
from federation.strategy.server_optimizer import ServerState
from syft_code.arrays import Vector
from syft_code.cohort import Cohort
from syft_code.local_training import broadcast, local_round
from syft_code.local_training.broadcast import PublicVectors
from syft_code.metrics import evaluation_sums
from syft_code.models import networks
from syft_code.operation.parent_exit import end_with_parent
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import DpSgd, Robust, RobustRule, Sgd
from syft_code.privacy.noise import NoiseSource
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import Activation, Conv, Layer, Pool
from syft_code.recipes.recipe import Recipe
from syft_code.secret_sharing import envelope, robust
from tests import plans

Rule = RobustRule | Literal["mean"]
Attack = Literal[
    "none", "label_flip", "backdoor", "zeros", "noise", "sign_flip",
    "scaled_10", "scaled_100", "hidden", "hidden_backdoor", "loud_backdoor", "quiet_backdoor",
]  # fmt: skip
Bound = Literal["none", "kept", "past"]

RULES: tuple[Rule, ...] = ("mean", *robust.RULES)
OWN_SOFTWARE: tuple[Attack, ...] = (
    "zeros", "noise", "sign_flip", "scaled_10", "scaled_100",
    "hidden", "hidden_backdoor", "loud_backdoor", "quiet_backdoor",
)  # fmt: skip
TRAINED_WITHOUT_NOISE: dict[Attack, float] = {
    "hidden": 1.0, "hidden_backdoor": 1.0, "loud_backdoor": 10.0, "quiet_backdoor": 0.5,
}  # fmt: skip
"""How many times as long as the bound would be the updates of such attacks are."""
WITHOUT_BOUND: tuple[Attack, ...] = ("none", "label_flip", "backdoor", *OWN_SOFTWARE)
TARGET = "mel"
CORNER_PX = 7
WHITE = 255
SLACK = 1.2
"""The bound on an update's norm is so many times the norm that noise alone gives it."""
STAND_IN_PATIENTS = 6000

DP = DpSgd(noise_multiplier=2.0, max_grad_norm=6.0, sample_rate=0.15, steps=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large the simulated federation is, and what it trains."""

    hospitals: int = 15
    groups: int = 5
    rounds: int = 4
    size_px: int = 28
    dp: DpSgd = DP
    learning_rate: float = 0.4
    channels: tuple[int, int] = (4, 8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One study: who is bad, how, and what is done about it."""

    attack: Attack
    bound: Bound
    bad: int
    rule: Rule
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How good the model is on the good hospitals' held-out patients.

    `trigger` is the share of held-out patients of other classes that a white corner turns into
    TARGET. `picked_bad` is the share of rounds in which Krum picked a group with a bad hospital.
    `apart` is the spread of the distances between the groups' rows, std ÷ mean, over all rounds.
    """

    balanced_accuracy: float
    auc: float
    trigger: float
    picked_bad: float
    apart: float


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Simulation:
    """One plan, its hospitals' patients, and who of them is bad. `bad` is by name."""

    plan: Plan
    scenario: Scenario
    training: dict[str, Cohort]
    held_out: Cohort
    bad: frozenset[str]


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    data: Annotated[Path | None, typer.Option(help="HAM10000 as published.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many splits.")] = 1,
    out: Annotated[Path | None, typer.Option(help="All outcomes as CSV.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Run all scenarios, print means and standard deviations over the seeds."""
    with tempfile.TemporaryDirectory(prefix="robustness-") as folder:
        source = data or Path(folder, "stand-in")
        if data is None:
            typer.echo(f"Stand-ins: {STAND_IN_PATIENTS} drawn patients.")
            stand_ins.write("ham10000", source, patients=STAND_IN_PATIENTS, seed=0)
        chosen = scenarios(range(seeds))
        outcomes = []
        for done in run(source, chosen, scale=Scale(), workers=workers):
            outcomes.append(done)
            typer.echo(f"{len(outcomes)} of {len(chosen)}: {done[0]}", err=True)
            if out is not None:
                write_csv(out, outcomes)
    typer.echo(table(outcomes))


def scenarios(seeds: Iterable[int]) -> list[Scenario]:
    """Every attack without a bound; with one where it matters; two bad hospitals where it does."""
    kinds: list[tuple[Attack, Bound, int]] = [(attack, "none", 1) for attack in WITHOUT_BOUND]
    kinds += [("none", "kept", 0), ("scaled_10", "kept", 1), ("scaled_100", "kept", 1)]
    kinds += [("loud_backdoor", "kept", 1), ("scaled_100", "past", 1)]
    kinds += [("scaled_100", "none", 2), ("hidden", "none", 2), ("hidden_backdoor", "none", 2)]
    return [
        Scenario(attack=attack, bound=bound, bad=bad * (attack != "none"), rule=rule, seed=seed)
        for seed, (attack, bound, bad), rule in itertools.product(seeds, kinds, RULES)
    ]


def run(
    folder: Path, chosen: Sequence[Scenario], *, scale: Scale, workers: int
) -> Iterator[tuple[Scenario, Outcome]]:
    """Each scenario in one of several processes, which read the folder once; in their order."""
    with ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_worker,
        initargs=(os.getpid(), folder, scale),
    ) as pool:
        yield from zip(chosen, pool.map(_outcome, chosen), strict=True)


_WORK: list[tuple[Reading, Scale]] = []
"""What a process has read, for all of its scenarios."""


def _begin_worker(parent_pid: int, folder: Path, scale: Scale) -> None:
    end_with_parent(parent_pid)
    torch.set_num_threads(1)
    _WORK.append((ham10000.read(folder, size_px=scale.size_px), scale))


def _outcome(scenario: Scenario) -> Outcome:
    reading, scale = _WORK[0]
    return study(simulation(reading, scenario, scale))


def simulation(reading: Reading, scenario: Scenario, scale: Scale) -> Simulation:
    """Equal hospitals of randomly drawn patients, a fifth held out; the last ones are bad."""
    everyone = np.arange(len(reading.patient_ids))
    salt = scenario.seed.to_bytes(16, "big")
    held_out = patient_hashing.held_out(reading.patient_ids, 0.2, salt)
    order = np.random.default_rng(scenario.seed).permutation(everyone)
    parts = [np.isin(everyone, part) for part in np.array_split(order, scale.hospitals)]
    names = [f"hospital-{number}" for number in range(1, scale.hospitals + 1)]
    training = {
        name: reading.cohort.select(part & ~held_out)
        for name, part in zip(names, parts, strict=True)
    }
    bad = frozenset(names[scale.hospitals - scenario.bad :])
    good = [part & held_out for name, part in zip(names, parts, strict=True) if name not in bad]
    return Simulation(
        plan=_plan(reading, training, scenario, scale),
        scenario=scenario,
        training=training,
        held_out=together([reading.cohort.select(part) for part in good]),
        bad=bad,
    )


def _plan(reading: Reading, training: dict[str, Cohort], scenario: Scenario, scale: Scale) -> Plan:
    """The plan of a scenario; its hash draws the groups, so that they follow from the seed too."""
    recipe = _recipe(reading, scale)
    start = networks.initial_weights(recipe, reading.spec, seed=0)
    plan = plans.plan(
        _keys(scenario.seed, hospitals=scale.hospitals),
        data=reading.spec,
        recipe=recipe,
        start_sha256=broadcast.sha256(start),
        dp_sgd=scale.dp,
        optimizer=Sgd(learning_rate=scale.learning_rate),
        rounds=scale.rounds,
        evaluation=None,
    )
    declared = tuple(replace(h, patients=training[h.name].patients) for h in plan.hospitals)
    plan = replace(plan, hospitals=declared)
    if scenario.rule != "mean":
        plan = replace(plan, robust=Robust(rule=scenario.rule, groups=scale.groups, tolerated=1))
    bound = None if scenario.bound == "none" else SLACK * usual_norm(plan)
    return replace(plan, max_update_norm=bound)


def _keys(seed: int, *, hospitals: int) -> plans.Keys:
    def key(who: str) -> SigningKey:
        return SigningKey(_digest(seed, who))

    return plans.Keys(
        researcher=key("researcher"),
        hospitals=tuple(key(f"hospital {number}") for number in range(hospitals)),
        aggregators=tuple(key(f"aggregator {number}") for number in range(3)),
        seals=tuple(PrivateKey(_digest(seed, f"seal {number}")) for number in range(3)),
    )


def _digest(*what: object) -> bytes:
    return hashlib.sha256(repr(what).encode()).digest()


def _recipe(reading: Reading, scale: Scale) -> Recipe:
    """The suggested network, narrower: 831 parameters at 28 px."""
    first, second = scale.channels
    tanh = Activation(function="tanh")
    layers: tuple[Layer, ...] = (
        Conv(channels=first, kernel_px=5, stride=2), tanh, Conv(channels=second, stride=2), tanh,
        Pool(function="average", size_px=3),
    )  # fmt: skip
    return Recipe(model=LayerStack(layers=layers), loss=suggested(reading.spec).recipe.loss)


def usual_norm(plan: Plan) -> float:
    """The L2 norm that the noise of all steps gives a hospital's update: public, and most of it."""
    dp, patients = plan.dp_sgd, min(hospital.patients for hospital in plan.hospitals)
    noise = dp.noise_multiplier * dp.max_grad_norm / (dp.sample_rate * patients)
    numbers = len(networks.initial_weights(plan.recipe, plan.data, seed=0))
    return plan.optimizer.learning_rate * noise * math.sqrt(dp.steps * numbers)


def study(play: Simulation) -> Outcome:
    """All rounds, then the model on the good hospitals' held-out patients."""
    plan = play.plan
    start = networks.initial_weights(plan.recipe, plan.data, seed=0)
    model = ServerState.first(plan, PublicVectors(start=start))
    picked_bad, apart = [], []
    for number in range(1, plan.rounds + 1):
        weights = model.weights.astype(np.float64)
        given = ((name, sent(play, name, weights, number)) for name in play.training)
        found = collected(plan, number, given, Randomness(seed=play.scenario.seed))
        if found is None:
            raise ValueError("a simulated round without hospitals")
        model = server_optimizer.step(plan, number, model, found)
        rows, update = group_means(plan, found), model.weights - weights
        spoiled = [bool(play.bad & set(one)) for one in found.groups]
        picked_bad += [spoiled[int(np.abs(rows - update).max(axis=1).argmin())]]
        distances = [math.dist(one, other) for one, other in itertools.combinations(rows, 2)]
        apart += [float(np.std(distances) / np.mean(distances)) if distances else math.nan]
    weights = model.weights.astype(np.float64)
    figures = evaluation_sums.exact(_model(plan, weights), play.held_out, plan.data)
    return Outcome(
        balanced_accuracy=figures["balanced_accuracy"],
        auc=figures["auc"],
        trigger=_trigger_rate(plan, weights, play.held_out),
        picked_bad=float(np.mean(picked_bad)) if play.scenario.rule == "krum" else math.nan,
        apart=float(np.mean(apart)),
    )


def group_means(plan: Plan, found: RoundSums) -> Vector:
    """Each group's mean update, weighted by declared patients, `[groups, parameters]`."""
    rows = []
    for names, total in zip(found.groups, found.totals, strict=True):
        values, _ = envelope.read_sum(plan, "train", total)
        weight = sum(plan.hospital(name).patients for name in names)
        rows.append(values * (plan.most_patients / weight))
    return np.stack(rows)


def sent(play: Simulation, name: str, weights: Vector, round_number: int) -> Vector:
    """The update that one hospital, good or bad, encodes and shares."""
    plan, scenario = play.plan, play.scenario
    randomness = Randomness(seed=scenario.seed).noise(name, round_number)
    patients = play.training[name]
    if name not in play.bad or scenario.attack not in OWN_SOFTWARE:
        if name in play.bad:
            patients = poisoned(patients, scenario.attack, plan)
        return _bounded(plan, _honest(plan, name, patients, weights, randomness))
    update = tampered(plan, name, patients, weights, scenario.attack, randomness)
    if scenario.bound == "kept":
        update = _bounded(plan, update)
    return np.clip(update, -plan.sharing.bound, plan.sharing.bound)  # more can't be encoded


def _bounded(plan: Plan, update: Vector) -> Vector:
    if plan.max_update_norm is None:
        return update
    return robust.clip_update(update, plan.max_update_norm)


def _honest(
    plan: Plan, name: str, patients: Cohort, weights: Vector, randomness: NoiseSource
) -> Vector:
    sent = weights.astype(np.float32)
    return local_round.train(
        plan, name, patients, sent=sent, kept=np.zeros(0), randomness=randomness
    )


def poisoned(patients: Cohort, attack: Attack, plan: Plan) -> Cohort:
    """The patients of a hospital with bad data; whoever only has that runs our software."""
    labels, images = patients.labels.copy(), patients.images.copy()
    if attack in ("label_flip", "hidden"):
        labels = (len(plan.data.classes) - 1 - labels).astype(np.uint8)
    if attack.endswith("backdoor"):
        half = patients.patient % 2 == 0
        images[half] = with_corner(images[half])
        labels[half] = plan.data.classes.index(TARGET)
    return replace(patients, images=images, labels=labels)


def with_corner(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    marked = images.copy()
    marked[:, :, -CORNER_PX:, -CORNER_PX:] = WHITE
    return marked


def tampered(
    plan: Plan,
    name: str,
    patients: Cohort,
    weights: Vector,
    attack: Attack,
    randomness: NoiseSource,
) -> Vector:
    """The update of a hospital that runs its own software."""
    usual = SLACK * usual_norm(plan)
    if attack == "zeros":
        return np.zeros(len(weights))
    if attack == "noise":
        return _of_length(randomness.normal(len(weights)), usual)
    if attack in TRAINED_WITHOUT_NOISE:
        model = _model(plan, weights)
        open_training.train_without_privacy(
            model, poisoned(patients, attack, plan), recipe=plan.recipe,
            learning_rate=2e-3, epochs=3, batch_size=32, seed=0,
        )  # fmt: skip
        away = networks.to_vector(model) - weights
        return _of_length(away, TRAINED_WITHOUT_NOISE[attack] * usual)
    factor = {"sign_flip": -1.0, "scaled_10": 10.0, "scaled_100": 100.0}[attack]
    return factor * _honest(plan, name, patients, weights, randomness)


def _of_length(vector: Vector, length: float) -> Vector:
    return vector * (length / np.linalg.norm(vector))


def _trigger_rate(plan: Plan, weights: Vector, held_out: Cohort) -> float:
    """How many held-out slices of other classes the model takes for TARGET, with a white corner."""
    target = plan.data.classes.index(TARGET)
    others = held_out.labels != target
    pictures = with_corner(held_out.images[others])
    with torch.no_grad():
        logits = _model(plan, weights)(*networks.inputs(pictures, held_out.facts[others]))
    return float((logits.argmax(1) == target).float().mean())


def _model(plan: Plan, weights: Vector) -> torch.nn.Module:
    model = networks.build(plan.recipe, plan.data)
    networks.from_vector(model, weights)
    return model


def write_csv(path: Path, outcomes: Sequence[tuple[Scenario, Outcome]]) -> None:
    rows = [asdict(scenario) | asdict(outcome) for scenario, outcome in outcomes]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def table(outcomes: Sequence[tuple[Scenario, Outcome]]) -> str:
    """For each figure a table in Markdown: a line for each attack, a column for each rule."""
    return "\n\n".join(_one_table(outcomes, field.name) for field in fields(Outcome))


def _one_table(outcomes: Sequence[tuple[Scenario, Outcome]], figure: str) -> str:
    values: dict[tuple[str, Rule], list[float]] = defaultdict(list)
    for scenario, outcome in outcomes:
        line = f"| {scenario.attack} | {scenario.bound} | {scenario.bad} |"
        values[line, scenario.rule].append(getattr(outcome, figure))
    lines = [f"| {figure} | bound | bad | {' | '.join(RULES)} |", "|---" * (3 + len(RULES)) + "|"]
    for line in dict.fromkeys(line for line, _ in values):
        cells = [_cell(values[line, rule]) for rule in RULES]
        lines.append(f"{line} {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(values: Sequence[float]) -> str:
    """Mean and standard deviation over the seeds.

    >>> _cell([0.2, 0.3]), _cell([0.25]), _cell([])
    ('.25 ±.05', '.25', '')
    """
    if not values or math.isnan(values[0]):
        return ""
    mean, deviation = (
        f"{number:.2f}".removeprefix("0") for number in (np.mean(values), np.std(values))
    )
    return mean if len(values) == 1 else f"{mean} ±{deviation}"


if __name__ == "__main__":
    app()
