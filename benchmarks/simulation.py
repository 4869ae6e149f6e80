"""What one more simulated hospital costs: time of a round and hospital, and memory, at 10 to 10,000.

    python -m benchmarks.simulation --picture docs/figures/simulation-cost.svg
    python -m benchmarks.simulation --rounds 20 --sizes 10,100
    python -m benchmarks.simulation --speed-up 200      # two processes against one, one study

Every size runs in a process of its own with one thread; their rounds take turns, so that all of
them see the same machine. Time is processor time of the round (`time.process_time`), without what
the machine does for others. Each hospital's cohort, 5 to 500 patients of 28 px, is read from disk
when its turn comes, and each keeps SCAFFOLD's control variate from round to round on disk.
"""

import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from matplotlib.figure import Figure as Picture

from benchmarks.figures import Figure
from datasites.data import mock_cohort
from datasites.data.readers.images import ham10000
from federation.simulation import simulated_roster
from federation.simulation.randomness import Randomness
from federation.simulation.simulation import Simulation
from federation.strategy.server_optimizer import ServerState
from syft_code.cohort import Cohort
from syft_code.operation.parent_exit import end_with_parent
from syft_code.plans.algorithms import Algorithm, FedAvg, Scaffold
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import DpSgd, Sgd, Sharing
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import Activation, Conv, Pool
from syft_code.recipes.recipe import CrossEntropy, DataSpec, Recipe

SIZE_PX = 28
SPEC = ham10000.spec(size_px=SIZE_PX, stand_in=True)
DP = DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=0.2, steps=4)
_TANH = Activation(function="tanh")
RECIPE = Recipe(
    model=LayerStack(
        layers=(
            Conv(channels=16, kernel_px=5, stride=2), _TANH, Conv(channels=32, stride=2), _TANH,
            Pool(function="average", size_px=3),
        )
    ),
    loss=CrossEntropy(),
)  # fmt: skip
"""6,759 parameters."""
PATIENTS = (5, 8, 14, 23, 39, 65, 108, 180, 300, 500)
"""Of the cohorts that are drawn; the hospitals take turns with them, 124 patients on average."""
ALGORITHMS: dict[str, Algorithm] = {"FedAvg": FedAvg(), "SCAFFOLD": Scaffold()}


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDisk:
    """Hospitals whose cohorts lie in a folder, read at each turn."""

    folder: Path
    count: int

    @property
    def spec(self) -> DataSpec:
        return SPEC

    @property
    def names(self) -> Sequence[str]:
        return simulated_roster.names(self.count)

    @property
    def remarks(self) -> Sequence[str]:
        return ()

    def declared(self, name: str) -> int:
        return PATIENTS[_cohort(name)]

    def training(self, name: str) -> Cohort:
        with np.load(self.folder / f"{_cohort(name)}.npz") as found:
            return Cohort(**dict(found.items()))

    def held_out(self, name: str) -> Cohort:
        return self.training(name).select(np.zeros(self.declared(name), np.bool_))


def _cohort(hospital: str) -> int:
    """Which of the drawn cohorts a hospital has."""
    return int(hospital.removeprefix("hospital-")) % len(PATIENTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one size and algorithm: seconds of processor a hospital and round, memory at its peak."""

    hospitals: int
    algorithm: str
    seconds: tuple[float, ...]
    peak_mib: float


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    sizes: Annotated[
        str, typer.Option(help="Hospitals, separated by commas.")
    ] = "10,100,1000,10000",
    rounds: Annotated[int, typer.Option(min=2, help="Rounds that are measured.")] = 3,
    algorithms: Annotated[str, typer.Option(help="Separated by commas.")] = "FedAvg,SCAFFOLD",
    picture: Annotated[Path | None, typer.Option(help="Draw cost against hospitals, here.")] = None,
    speed_up: Annotated[
        int, typer.Option(help="Hospitals of one study, in one process and in two.")
    ] = 0,
) -> None:
    """Measure and print the table."""
    with tempfile.TemporaryDirectory(prefix="simulation-") as folder:
        draw(Path(folder))
        if speed_up:
            ratio = faster(Path(folder), speed_up, rounds=rounds)
            typer.echo(f"{speed_up} hospitals, two processes: {ratio:.2f} x as fast as one")
            return
        counts = [int(one) for one in sizes.split(",")]
        costs = [
            cost
            for name in algorithms.split(",")
            for cost in measure(Path(folder), name, counts, rounds=rounds)
        ]
    typer.echo(table(costs))
    if picture is not None:
        draw_costs(costs).savefig(picture, metadata={"Date": None})


def draw(folder: Path) -> None:
    """Write the cohorts that hospitals read."""
    for number, patients in enumerate(PATIENTS):
        cohort = mock_cohort.draw(SPEC, seed=number, slices=2 * patients)
        np.savez(
            folder / f"{number}.npz",
            images=cohort.images,
            labels=cohort.labels,
            patient=cohort.patient,
            facts=cohort.facts,
        )


def measure(folder: Path, algorithm: str, sizes: Sequence[int], *, rounds: int) -> Iterator[Cost]:
    """Every size in a process of its own; their rounds take turns."""
    lines = {size: _started(folder, algorithm, size) for size in sizes}
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    for number in range(1, rounds + 2):
        for size, line in lines.items():
            line.send(number)
            taken = line.recv()
            seconds[size] += [taken] if number > 1 else []  # the first one loads libraries, too
    for size, line in lines.items():
        line.send(0)
        yield Cost(
            hospitals=size,
            algorithm=algorithm,
            seconds=tuple(seconds[size]),
            peak_mib=line.recv(),
        )


def figures(*, tiny: bool) -> Iterator[Figure]:
    """What one more hospital costs at 10,000 against 10, and two processes against one."""
    sizes = [3, 6] if tiny else [10, 100, 1_000, 10_000]
    with tempfile.TemporaryDirectory(prefix="simulation-") as name:
        folder = Path(name)
        draw(folder)
        costs = list(measure(folder, "FedAvg", sizes, rounds=2 if tiny else 3))
        first, last = costs[0], costs[-1]
        yield Figure(
            benchmark="simulation",
            what=f"cost of a hospital, {last.hospitals:,} to {first.hospitals}",
            value=statistics.median(last.seconds) / statistics.median(first.seconds),
            unit="x",
            goal=1.1,
        )
        yield Figure(
            benchmark="simulation",
            what=f"memory, {last.hospitals:,} to {first.hospitals}",
            value=last.peak_mib / first.peak_mib,
            unit="x",
            goal=1.1,
        )
        yield Figure(
            benchmark="simulation",
            what="two processes against one",
            value=faster(folder, sizes[1], rounds=2 if tiny else 5),
            unit="x",
            goal=1.7,
            least=True,
            limit=2.0,
        )


def faster(folder: Path, size: int, *, rounds: int) -> float:
    """How many times as fast two processes are as one, by the clock; their rounds take turns."""
    hospitals = OnDisk(folder=folder, count=size)
    found = plan(hospitals, "FedAvg")
    torch.set_num_threads(1)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    simulations = {
        workers: Simulation(found, hospitals, randomness=Randomness(seed=0), workers=workers)
        for workers in seconds
    }
    model = ServerState.first(found)
    for number in range(1, rounds + 2):
        for workers, simulation in simulations.items():
            began = time.monotonic()
            simulation.round(number, model)
            seconds[workers] += [time.monotonic() - began] if number > 1 else []
    for simulation in simulations.values():
        simulation.close()
    return statistics.median(seconds[1]) / statistics.median(seconds[2])


def _started(folder: Path, algorithm: str, size: int) -> Connection:
    """A process with so many hospitals, and the line to it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    own = folder / f"{algorithm}-{size}"
    arguments = (theirs, os.getpid(), folder, own, size, algorithm)
    context.Process(target=_serve, args=arguments, daemon=True).start()
    return ours


def _serve(
    line: Connection,
    parent_pid: int,
    folder: Path,
    own: Path,
    size: int,
    algorithm: str,
) -> None:
    """One round when a number comes, the memory when 0 comes."""
    end_with_parent(parent_pid)
    torch.set_num_threads(1)
    hospitals = OnDisk(folder=folder, count=size)
    found = plan(hospitals, algorithm)
    simulation = Simulation(found, hospitals, randomness=Randomness(seed=0), folder=own)
    model = ServerState.first(found)
    while number := line.recv():
        began = time.process_time()
        model, _ = simulation.round(number, model)
        line.send((time.process_time() - began) / size)
    line.send(peak_mib())


def plan(hospitals: OnDisk, algorithm: str) -> Plan:
    """One plan for so many hospitals."""
    entries = simulated_roster.hospitals(hospitals)
    return Plan(
        study="cost",
        researcher_key=entries[0].verify_key,
        data=SPEC,
        recipe=RECIPE,
        dp_sgd=DP,
        optimizer=Sgd(learning_rate=0.3),
        rounds=1000,
        hospitals=entries,
        aggregators=simulated_roster.aggregators(),
        min_hospitals=simulated_roster.LEAST_HOSPITALS,
        algorithm=ALGORITHMS[algorithm],
        sharing=simulated_roster.fitting(Sharing(), len(entries)),
    )


def peak_mib() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def table(costs: Sequence[Cost]) -> str:
    """Markdown: medians over the rounds, each size against the smallest."""
    lines = [
        "| algorithm | hospitals | ms of processor a hospital and round | of the smallest | peak MiB |",
        "|---|---|---|---|---|",
    ]
    for cost in costs:
        first = next(one for one in costs if one.algorithm == cost.algorithm)
        median, least = statistics.median(cost.seconds), statistics.median(first.seconds)
        spread = (max(cost.seconds) - min(cost.seconds)) / 2.0
        lines.append(
            f"| {cost.algorithm} | {cost.hospitals:,} | {1000 * median:.2f} ± {1000 * spread:.2f} "
            f"| {median / least:.2f} | {cost.peak_mib:.0f} |"
        )
    return "\n".join(lines)


def draw_costs(costs: Sequence[Cost]) -> Picture:
    """Cost of a hospital and round, and memory, against the number of hospitals."""
    picture = Picture(figsize=(8, 3.2), layout="constrained")
    cost_axes, memory_axes = picture.add_subplot(1, 2, 1), picture.add_subplot(1, 2, 2)
    for algorithm in dict.fromkeys(one.algorithm for one in costs):
        found = [one for one in costs if one.algorithm == algorithm]
        sizes = [one.hospitals for one in found]
        medians = [1000 * statistics.median(one.seconds) for one in found]
        cost_axes.plot(sizes, medians, "o-", label=algorithm)
        memory_axes.plot(sizes, [one.peak_mib for one in found], "o-", label=algorithm)
    for axes, what in ((cost_axes, "ms of processor a hospital and round"), (memory_axes, "MiB")):
        axes.set(xscale="log", xlabel="hospitals", ylabel=what)
        axes.set_ylim(bottom=0)
    cost_axes.legend()
    return picture


if __name__ == "__main__":
    app()
