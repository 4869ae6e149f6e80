"""One cell from its data to its figures, round by round, so that it can be taken up again.

What is finished is one file in `cells/`. Until then the model after each round and the figures so
far are one file in `work/`, beside what the hospitals keep between rounds.
"""

import contextlib
import io
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from federation.evaluation import encoded_pictures
from federation.experiments import cell_metrics, planning, results_table
from federation.experiments.cell import Cell
from federation.experiments.cell_metrics import MetricRow
from federation.simulation import hospital_data as people
from federation.simulation import traffic
from federation.simulation.hospital_data import HospitalData
from federation.simulation.participation import EVERYBODY
from federation.simulation.randomness import Randomness
from federation.simulation.simulation import Simulation
from federation.strategy.server_optimizer import Moments, ServerState
from syft_code import canonical
from syft_code.arrays import Weights
from syft_code.local_training.broadcast import PublicVectors
from syft_code.models import feature_cache
from syft_code.privacy import accounting
from syft_code.runtime.durable_files import write_durably


class Load(Protocol):
    """Where patients come from; a function at the top of a module, since processes import it."""

    def __call__(
        self, study: str, *, data: str, split: str, seed: int, options: Mapping[str, object]
    ) -> HospitalData:
        """The hospitals of a study split in one way; the same arguments, the same patients."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPart:
    """One training run of a cell: the federation, everybody in one place, or one site alone."""

    scope: str
    name: str
    hospitals: HospitalData


def run(cell: Cell, load: Load, folder: Path, *, workers: int = 1, cluster: str = "") -> None:
    """Train and evaluate a cell, and write its file; nothing if it is there.

    Its hospitals' rounds run side by side in `workers` processes, or on the Ray cluster `cluster`.

    Guarantee: the file's bytes follow from the cell, the data and the code alone, however often the
    run was cut short. What depends on the machine (seconds) is in a file of its own.
    """
    target = path(cell, folder)
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    whole = load(
        cell.study, data=cell.data, split=cell.split, seed=cell.seed, options=dict(cell.options)
    )
    model = planning.recipe(cell, whole.spec).model
    everyone = people.encoded(whole, model, encoded_pictures.usual())
    work = folder / "work" / cell.key
    rows: list[MetricRow] = []
    facts: dict[str, Any] = {}
    seconds = 0.0
    for part in _parts(cell, everyone):
        done = _Run(cell, part, everyone, work / part.name, workers=workers, cluster=cluster)
        with feature_cache.switched_on(), contextlib.closing(done):
            done.to_the_end()
        rows += done.rows
        facts = done.facts(lost_before=facts.get("lost", 0))
        seconds += done.seconds
    rows += cell_metrics.derived(rows)
    found = {
        "format": results_table.FORMAT,
        "cell": asdict(cell),
        "stand_in": everyone.spec.stand_in,
        "hospitals": {name: everyone.declared(name) for name in everyone.names},
        "remarks": list(everyone.remarks),
        **facts,
        "rows": [asdict(row) for row in rows],
    }
    times = folder / "times"
    times.mkdir(exist_ok=True)
    write_durably(times / f"{cell.key}.json", canonical.encode({"seconds": seconds}))
    write_durably(target, canonical.encode(found))
    shutil.rmtree(work, ignore_errors=True)


def _parts(cell: Cell, everyone: HospitalData) -> Iterator[CellPart]:
    if cell.algorithm == "pooled":
        yield CellPart(scope="pooled", name="pooled", hospitals=people.pooled(everyone))
    elif cell.algorithm == "alone":
        for name in everyone.names:
            yield CellPart(scope="alone", name=name, hospitals=people.only(everyone, name))
    else:
        yield CellPart(scope="federated", name="federation", hospitals=everyone)


class _Run:
    """The rounds of one part, from wherever they stood."""

    def __init__(
        self,
        cell: Cell,
        part: CellPart,
        everyone: HospitalData,
        folder: Path,
        *,
        workers: int = 1,
        cluster: str = "",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._cell = cell
        self._part = part
        self._everyone = everyone
        self._path = folder / "state.npz"
        cell.check_start()
        self.plan = planning.plan(cell, part.hospitals, whole=part.scope == "federated")
        self._simulation = Simulation(
            self.plan,
            part.hospitals,
            randomness=Randomness(seed=cell.seed, noised=cell.epsilon not in ("none", "clipped")),
            folder=folder / "kept",
            least=None if part.scope == "federated" else 1,
            participation=cell.participation if part.scope == "federated" else EVERYBODY,
            workers=min(workers, len(part.hospitals.names)),
            cluster=cluster if part.scope == "federated" else "",
        )
        self.rows: list[MetricRow] = []
        self.seconds = 0.0
        self._lost = 0
        self._done = 0
        self._model = self._first()
        self._take_up()

    def close(self) -> None:
        """Let the simulation's processes go."""
        self._simulation.close()

    def to_the_end(self) -> None:
        """Every round that is missing; after each one, everything is on disk."""
        for number in range(self._done + 1, self.plan.rounds + 1):
            began = time.monotonic()
            self._model, facts = self._simulation.round(number, self._model)
            self._lost += len(facts.lost)
            self._done = number
            self.seconds += time.monotonic() - began
            if self._is_evaluated(number):
                self.rows += self._evaluated(number)
            self._keep()

    def _evaluated(self, number: int) -> list[MetricRow]:
        """Figures of the model that each site uses; of the only one, if one place trained it."""
        part, everyone = self._part, self._everyone

        def delivered(site: str) -> Weights:
            trained = site if site in part.hospitals.names else part.hospitals.names[0]
            return self._simulation.delivered(trained, number, self._model)

        return cell_metrics.rows(self.plan, delivered, part.scope, part.name, everyone, number)

    def facts(self, *, lost_before: int = 0) -> dict[str, Any]:
        """What a reader wants to know of the plan, besides its figures.

        Contributions that the cell's parts before this one lost are counted in.
        """
        private = self._cell.epsilon not in ("none", "clipped")
        events = accounting.plan_events(self.plan)
        return {
            "rounds": self.plan.rounds,
            "noise_multiplier": self.plan.dp_sgd.noise_multiplier if private else 0.0,
            "epsilon_spent": (
                accounting.epsilon(events, delta=self._cell.delta) if private else None
            ),
            "parameters": len(self._model.weights),
            "lost": lost_before + self._lost,
            **traffic.of_study(self.plan, federated=self._part.scope == "federated"),
        }

    def _is_evaluated(self, number: int) -> bool:
        every = self._cell.evaluate_every
        return number == self.plan.rounds or bool(every and number % every == 0)

    def _first(self) -> ServerState:
        start = planning.start_weights(self._cell, self.plan.recipe, self.plan.data)
        return ServerState.first(self.plan, PublicVectors(start=start))

    def _keep(self) -> None:
        notes = {
            "done": self._done,
            "lost": self._lost,
            "seconds": self.seconds,
            "plan": self.plan.hash,
            "rows": [asdict(row) for row in self.rows],
        }
        buffer = io.BytesIO()
        np.savez(buffer, __notes__=np.array(json.dumps(notes)), **_arrays(self._model))
        _write(self._path, buffer.getvalue())
        note = f"round {self._done}/{self.plan.rounds}"
        _write(self._path.with_name("round"), note.encode())

    def _take_up(self) -> None:
        """Go on from the last round that is whole on disk; from the start if there is none."""
        try:
            with np.load(io.BytesIO(self._path.read_bytes()), allow_pickle=False) as found:
                arrays = {name: found[name] for name in found.files}
        except (OSError, ValueError, BadZipFile):
            return
        notes = json.loads(str(arrays.pop("__notes__")))
        if notes["plan"] != self.plan.hash:
            return
        self._model = _model(self._model, arrays)
        self._done, self._lost = notes["done"], notes["lost"]
        self.seconds = notes["seconds"]
        self.rows = [MetricRow(**row) for row in notes["rows"]]


def _write(path: Path, data: bytes) -> None:
    """Whole or not there after a kill; not forced to disk, since a lost round can be run again."""
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(data)
    new.replace(path)


def _arrays(model: ServerState) -> dict[str, NDArray[Any]]:
    """What of a model changes from round to round."""
    found: dict[str, NDArray[Any]] = {"weights": model.weights, "control": model.control}
    if model.moments is not None:
        found |= {"first": model.moments.first, "second": model.moments.second}
    return found if model.average is None else found | {"average": model.average}


def _model(first: ServerState, arrays: Mapping[str, NDArray[Any]]) -> ServerState:
    """The model of a round, from the first one and what has changed since."""
    moments = first.moments
    if moments is not None:
        moments = Moments(first=arrays["first"], second=arrays["second"])
    return replace(
        first,
        weights=arrays["weights"],
        control=arrays["control"],
        moments=moments,
        average=arrays.get("average"),
    )


def path(cell: Cell, folder: Path) -> Path:
    """The file of a finished cell."""
    return folder / "cells" / f"{cell.key}.json"


def underway(folder: Path) -> str:
    """Which cells run, and the round that each has on disk."""
    found = []
    for state in sorted((folder / "work").glob("*/*/round")):
        with contextlib.suppress(OSError):
            found.append(f"{state.parent.parent.name} {state.read_text()}")
    return "; ".join(found[:3])
