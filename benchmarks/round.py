"""What a round costs through real parties, and where its time goes: `python -m benchmarks.round`.

    python -m benchmarks.round                                  # an empty round: 78 numbers
    python -m benchmarks.round --parameters 1000000 --rounds 5
    python -m benchmarks.round --skin --rounds 200              # the suggested skin study, a step a round

A federation of four hospitals and three aggregators starts on this machine, on the UCI heart
schema drawn at random; the owners approve, and one study trains a step a round. The first table
has a line for each hop (`syft_code.runtime.trace`), the second the processor time of each process.
The floor is what the bytes alone cost: every share copied, encrypted and hashed once.
"""

import contextlib
import hashlib
import math
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
import typer
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure
from datasites.data.readers import Kind
from datasites.data.readers.images import ham10000
from datasites.demo import demo_hospitals
from datasites.owner.owner import Owner
from federation.local import federation_file, provisioning
from federation.local.federation_file import FederationConfig
from federation.local.state_folder import CREDENTIALS
from federation.researcher.outcome import RoundRecord
from federation.researcher.session import Researcher
from federation.strategy import presets
from syft_code.plans.plan_parts import DpSgd, Sgd
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import Linear
from syft_code.recipes.recipe import CrossEntropy, Recipe
from syft_code.runtime import trace

HOSPITALS, PORT = 4, 18_101
FACTS, CLASSES, WIDEST = 38, 2, 1024
DP = DpSgd(noise_multiplier=20.0, max_grad_norm=1.0, sample_rate=0.1, steps=1)
ROLES = {
    "desk_process": "front desk", "vault_process": "vault", "datasites.sandbox.inside": "trainer",
    "aggregator": "aggregator",
}  # fmt: skip
"""What a process is, by a part of its command line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """What some rounds took: seconds of each, and processor seconds of each process a round."""

    seconds: tuple[float, ...]
    processor: dict[str, float]
    spans: list[trace.Span]


def recipe(parameters: int) -> Recipe:
    """A network of about so many parameters on the heart schema: linear, or with wide layers."""
    layers: tuple[Linear, ...] = ()
    if parameters > (FACTS + 1) * CLASSES:
        between = max(round(parameters / WIDEST**2), 1)
        width = min(round(math.sqrt(parameters / between)), WIDEST)
        layers = (Linear(features=width),) * (between + 1)
    return Recipe(model=LayerStack(layers=layers), loss=CrossEntropy())


def by_role() -> dict[str, float]:
    """Processor seconds so far of each kind of process of this federation, with its ended children."""
    used: dict[str, float] = defaultdict(float)
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            times, command = process.cpu_times(), " ".join(process.cmdline())
            name = next((role for part, role in ROLES.items() if part in command), "other")
            used[name] += sum(times[:4])  # a worker that has ended is among its template's children
    used["researcher"] = time.process_time()
    return dict(used)


@contextlib.contextmanager
def federation(state: Path, *, kind: Kind, hospitals: int, port: int) -> Iterator[FederationConfig]:
    """A running federation with drawn patients, published and with a researcher."""
    names = [f"hospital-{number}" for number in range(1, hospitals + 1)]
    config = federation_file.default(first_port=port, names=names, epsilon=1e6, kind=kind)
    config = replace(config, hospital=tuple(replace(one, delta=1e-3) for one in config.hospital))
    with provisioning.running_federation(config, state):
        provisioning.provision(config, state, say=lambda sentence: None)
        yield config


def measure(
    state: Path, traces: Path, *, config: FederationConfig, choices: dict[str, object], rounds: int
) -> Rounds:
    """Train so many rounds of one study, and see what they cost."""
    researcher = Researcher.connect(state / CREDENTIALS)
    study = researcher.study(study="round", rounds=rounds + 1, **choices)
    study.submit()
    for one in config.hospital:
        owner = Owner(state / "hospitals" / one.name)
        owner.approve(owner.requests()[-1])
    study.wait_for_approval(on_change=lambda status: None)
    before: list[dict[str, float]] = []

    def note(record: RoundRecord, weights: object) -> None:
        if record.round == 1:  # the first one starts the training processes
            before.append(by_role() | {"clock": time.monotonic()})

    outcome = study.train(on_round=note)
    if outcome.stopped:
        raise SystemExit(outcome.stopped)
    after = by_role()
    researcher.close()
    spans = trace.read(traces)
    return Rounds(
        seconds=tuple(record.seconds for record in outcome.rounds[1:]),
        processor={
            name: (used - before[0].get(name, 0.0)) / rounds for name, used in after.items()
        },
        spans=[one for one in spans if one.began > before[0]["clock"]],
    )


def table_of_spans(spans: Sequence[trace.Span], rounds: int) -> Table:
    """A line for each hop: how often a round, its mean and greatest wall time, its processor time."""
    table = Table("hop", "a round", "mean ms", "most ms", "processor ms a round")
    names = list(dict.fromkeys(one.name for one in spans))
    for name in names:
        mine = [one for one in spans if one.name == name]
        wall = [1000 * (one.ended - one.began) for one in mine]
        table.add_row(
            name, f"{len(mine) / rounds:.1f}", f"{statistics.mean(wall):.1f}", f"{max(wall):.1f}",
            f"{1000 * sum(one.processor for one in mine) / rounds:.1f}",
        )  # fmt: skip
    return table


def empty(parameters: int) -> dict[str, object]:
    """A study of rounds with hardly any work: a step over some rows of numbers."""
    return {
        "asset": demo_hospitals.ASSETS["heart"], "recipe": recipe(parameters), "dp_sgd": DP,
        "optimizer": Sgd(learning_rate=0.1),
    }  # fmt: skip


def skin() -> dict[str, object]:
    """The suggested skin study, a step a round, without evaluations."""
    spec = ham10000.spec(size_px=demo_hospitals.SIZES_PX["ham10000"], stand_in=True)
    choices = presets.suggested(spec).choices(evaluated=False)
    choices["dp_sgd"] = replace(choices["dp_sgd"], steps=1, noise_multiplier=20.0)
    del choices["rounds"]
    return choices | {"asset": demo_hospitals.ASSETS["ham10000"]}


def floor_s(parameters: int, hospitals: int) -> float:
    """What the bytes alone cost all hospitals on one core: a share copied, encrypted and hashed once."""
    data = np.zeros(max(parameters, 1), np.uint32)
    began = time.process_time()
    copied = data.copy().tobytes()
    AESGCM(bytes(32)).encrypt(bytes(12), copied, None)
    hashlib.sha256(copied).digest()
    return hospitals * (time.process_time() - began)


def run(
    kind: Kind,
    choices: dict[str, object],
    rounds: int,
    *,
    hospitals: int = HOSPITALS,
    port: int = PORT,
) -> Rounds:
    """Start a federation, train a study, and say what its rounds cost."""
    with tempfile.TemporaryDirectory() as folder:
        state, traces = Path(folder) / "state", Path(folder) / "trace"
        for made in (state, traces):
            made.mkdir()
        with (
            trace.switched_on(traces),
            federation(state, kind=kind, hospitals=hospitals, port=port) as config,
        ):
            return measure(state, traces, config=config, choices=choices, rounds=rounds)


def figures(*, tiny: bool) -> Iterator[Figure]:
    """An empty round, and rounds of 1 and 31 million numbers."""
    for parameters, goal, rounds in ((0, 0.6, 10), (1_000_000, 1.2, 5), (31_000_000, 12.0, 3)):
        found = run("heart", empty(parameters), 1 if tiny else rounds, hospitals=3 if tiny else 4)
        yield Figure(
            benchmark="round",
            what=f"{parameters // 1_000_000} M parameters" if parameters else "empty",
            value=statistics.median(found.seconds),
            unit="s",
            goal=goal,
            limit=floor_s(parameters, HOSPITALS),
        )
        if tiny:
            return
    found = run("ham10000", skin(), 200)
    yield Figure(
        benchmark="round", what="200 rounds of skin", value=sum(found.seconds), unit="s", goal=150.0
    )


def main(
    parameters: Annotated[int, typer.Option(help="Of the network, about.")] = 0,
    rounds: Annotated[int, typer.Option(min=1, help="Measured, after a first one.")] = 10,
    hospitals: Annotated[int, typer.Option(min=3, max=4)] = HOSPITALS,
    skin_study: Annotated[bool, typer.Option("--skin", help="The suggested skin study.")] = False,
    port: Annotated[int, typer.Option(help="The first of the ports.")] = PORT,
) -> None:
    """Print what a round costs and where its time goes."""
    console = Console()
    kind: Kind = "ham10000" if skin_study else "heart"
    choices = skin() if skin_study else empty(parameters)
    found = run(kind, choices, rounds, hospitals=hospitals, port=port)
    console.print(table_of_spans(found.spans, rounds))
    used = Table("process", "processor ms a round")
    for name, seconds in sorted(found.processor.items()):
        used.add_row(name, f"{1000 * seconds:.0f}")
    used.add_row("all", f"{1000 * sum(found.processor.values()):.0f}")
    console.print(used)
    console.print(
        f"a round: median {statistics.median(found.seconds):.2f} s, "
        f"{min(found.seconds):.2f} to {max(found.seconds):.2f} s, all {sum(found.seconds):.1f} s; the bytes alone "
        f"{floor_s(parameters, hospitals):.2f} s of one core"
    )


if __name__ == "__main__":
    typer.run(main)
