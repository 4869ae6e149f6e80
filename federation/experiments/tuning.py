"""Which learning rate, clip, batch and rounds suit a study at one epsilon: tried on public data.

    suggestion, and settings drawn around it ─▶ a third of the rounds ─▶ the best third of them
    ─▶ to the end ─▶ the best few ─▶ two more splits of the patients ─▶ ranked by their mean

Each try is a whole simulated federation (`federation.simulation`) with the noise that the target
asks for, and is judged by exact figures of held-out patients.

Does not protect: anybody. Each try would cost its patients a whole study's epsilon, and no ledger
is asked: so this is for mocks, stand-ins and data sets that are public, and for no others.

Source: Jamieson & Talwalkar 2016, "Non-stochastic best arm identification", successive halving;
Papernot & Steinke 2022 on what tuning on private patients would cost.
"""

import json
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from federation.evaluation.exact_metrics import main_metric
from federation.experiments import cell_metrics, planning
from federation.experiments.cell import Cell
from federation.experiments.run_cell import Load
from federation.experiments.spec import Option
from federation.simulation.hospital_data import HospitalData
from federation.simulation.participation import EVERYBODY
from federation.simulation.randomness import Randomness
from federation.simulation.simulation import Simulation
from federation.strategy.presets import suggested
from federation.strategy.server_optimizer import ServerState
from syft_code.arrays import Weights
from syft_code.errors import InvalidInput, require
from syft_code.local_training.broadcast import PublicVectors
from syft_code.plans.plan import Plan
from syft_code.plans.shared_noise import SharedNoise

EXTRA_SPLITS = 2
"""So many other splits of the patients each of the finalists is tried on."""
FINALISTS = 3
SURVIVORS = 3
"""One in so many goes on after a third of its rounds."""
FIRST_RUNG, SECOND_RUNG = 0.5, 0.8
"""Parts of the time limit after which no try of the rung is begun any more."""
MOST_WORK = 3.0
"""A try draws at most so many times the patients that the suggestion draws."""
SAMPLE_RATES = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
STEPS = (2, 4, 8, 16, 32)
ROUNDS = (4, 8, 16, 32)
ONE_STEP_ROUNDS = (25, 50, 100, 200)
"""Where noise is shared, a round has one step."""
HOSPITAL_FILES = ("site.json", "vault.db")
"""A folder with one of them belongs to a hospital."""
PRIVATE = (
    "Tuning must not see a hospital's patients: each try would cost them a whole study's epsilon, "
    "and no ledger is asked. "
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is tuned. Units: as in `syft_code.plans.plan.DpSgd` and `Sgd`."""

    learning_rate: float
    max_grad_norm: float
    sample_rate: float
    steps: int
    rounds: int

    @property
    def work(self) -> float:
        """How often one patient is drawn in a study, on average."""
        return self.sample_rate * self.steps * self.rounds


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is asked for. Units: `limit_s` is seconds for the whole search."""

    study: str
    epsilon: float
    delta: float = 1e-5
    data: str = ""
    split: str = "site"
    options: Mapping[str, Option] = field(default_factory=dict)
    candidates: int = 24
    limit_s: float = 300.0
    seed: int = 0

    def __post_init__(self) -> None:
        require(
            self.candidates >= 1 and self.limit_s > 0,
            f"A search needs at least one try and a time limit above 0, got {self.candidates} and "
            f"{self.limit_s:g} s.",
            error=InvalidInput,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningTrial:
    """How one choice of settings did; `scores` are those of whole studies, one for each split."""

    settings: Settings
    plan: Plan
    suggested: bool
    scores: tuple[float, ...]

    @property
    def score(self) -> float:
        """The mean over the splits; minus infinity if one of them came to no number."""
        return sum(self.scores) / len(self.scores)


def require_public(data: Path, why: str) -> None:
    """Raise `InvalidInput` unless somebody says why a folder of data is public.

    Does not protect: against somebody who says what is not so.
    """
    folder = data.resolve()
    require(
        not any(_is_hospitals(one) for one in (folder, *folder.parents)),
        f"{PRIVATE}{data} lies in a hospital's folder: use stand-ins, or a public data set.",
        error=InvalidInput,
    )
    require(
        bool(why.strip()),
        f"{PRIVATE}If everybody may have what is in {data}, say where it is published: "
        '--public "..."; else leave --data out, and stand-ins are drawn.',
        error=InvalidInput,
    )


def _is_hospitals(folder: Path) -> bool:
    return any((folder / name).exists() for name in HOSPITAL_FILES)


def search(
    wanted: Search, load: Load, *, on_step: Callable[[str], None] = lambda sentence: None
) -> list[TuningTrial]:
    """Try settings until the time is over; the best first, the suggestion always among them.

    A try that was begun ends, so that it can take somewhat longer. Only tries that were trained to their end are ranked, those on more splits before the others.
    """
    began = time.monotonic()

    def over(part: float) -> bool:
        return time.monotonic() - began > part * wanted.limit_s

    first = _Bench(wanted, load, seed=wanted.seed)
    for sentence in first.hospitals.remarks:
        on_step(sentence)
    trials: list[_Trial] = []
    for settings in candidates(wanted, first.hospitals):
        if trials and over(FIRST_RUNG):
            break
        trials.append(first.trial(settings))
        early = trials[-1].run_to(math.ceil(settings.rounds / 3))
        on_step(f"{len(trials)} of {wanted.candidates}: {early:.3f} after a third of its rounds")
    ranked = _trained(trials, lambda: over(SECOND_RUNG))
    on_step(f"{len(ranked)} of {len(trials)} trained to their end, the best: {ranked[0].score:.3f}")
    for extra in range(1, EXTRA_SPLITS + 1):
        if over(1.0):
            break
        bench = _Bench(wanted, load, seed=wanted.seed + extra)
        for place, one in enumerate(ranked):
            if (place < FINALISTS or one.suggested) and not over(1.0):
                ranked[place] = _again(one, bench)
        on_step(f"the best of them tried on another split, {extra} of {EXTRA_SPLITS}")
    return sorted(ranked, key=lambda one: (len(one.scores), one.score), reverse=True)


def _trained(trials: Sequence["_Trial"], over: Callable[[], bool]) -> list[TuningTrial]:
    """The suggestion and the best of the others, to their end while there is time; best first."""
    suggestion, *others = trials
    others.sort(key=lambda one: one.score, reverse=True)
    found: list[TuningTrial] = []
    for trial in (suggestion, *others[: math.ceil(len(others) / SURVIVORS)]):
        if trial is suggestion or not over():
            score = trial.run_to(trial.settings.rounds)
            found.append(
                TuningTrial(
                    settings=trial.settings,
                    plan=trial.plan,
                    suggested=trial is suggestion,
                    scores=(score,),
                )
            )
    return sorted(found, key=lambda one: one.score, reverse=True)


def _again(one: TuningTrial, bench: "_Bench") -> TuningTrial:
    score = bench.trial(one.settings).run_to(one.settings.rounds)
    return replace(one, scores=(*one.scores, score))


def candidates(wanted: Search, hospitals: HospitalData) -> list[Settings]:
    """The suggestion, then settings around it.

    How far a step moves goes with learning rate x clip, so that product and clip are drawn, each
    on a logarithmic scale.
    """
    start = suggested(hospitals.spec)
    found = [
        Settings(
            learning_rate=start.optimizer.learning_rate,
            max_grad_norm=start.dp_sgd.max_grad_norm,
            sample_rate=start.dp_sgd.sample_rate,
            steps=start.dp_sgd.steps,
            rounds=start.rounds,
        )
    ]
    rng = random.Random(wanted.seed)  # noqa: S311 (no secret: which settings are tried)
    one_step = start.shared_noise is not None
    while len(found) < wanted.candidates:
        one = _drawn(rng, found[0], one_step=one_step)
        if one.work <= MOST_WORK * found[0].work:
            found.append(one)
    return found


def _drawn(rng: random.Random, start: Settings, *, one_step: bool) -> Settings:
    clip = start.max_grad_norm * 10 ** rng.uniform(-1.0, 0.5)
    moved = start.learning_rate * start.max_grad_norm * 10 ** rng.uniform(-0.7, 0.7)
    return Settings(
        learning_rate=_short(moved / clip),
        max_grad_norm=_short(clip),
        sample_rate=rng.choice(SAMPLE_RATES),
        steps=1 if one_step else rng.choice(STEPS),
        rounds=rng.choice(ONE_STEP_ROUNDS if one_step else ROUNDS),
    )


def _short(value: float) -> float:
    """Two digits: nobody can tell a third one's use.

    >>> _short(0.01234)
    0.012
    """
    return float(f"{value:.2g}")


class _Bench:
    """The hospitals of one split, to try settings on."""

    def __init__(self, wanted: Search, load: Load, *, seed: int) -> None:
        self._wanted = wanted
        self._seed = seed
        self.hospitals = load(
            wanted.study, data=wanted.data, split=wanted.split, seed=seed, options=wanted.options
        )

    def trial(self, settings: Settings) -> "_Trial":
        """A federation that trains with these settings, before its first round."""
        cell = Cell(
            study=self._wanted.study,
            algorithm="tuning",
            epsilon=self._wanted.epsilon,
            split=self._wanted.split,
            lever="",
            seed=self._seed,
            data=self._wanted.data,
            options=tuple(sorted(self._wanted.options.items())),
            delta=self._wanted.delta,
            changes=json.dumps(_changes(settings, suggested(self.hospitals.spec).shared_noise)),
            start="",
            start_sha256="",
            evaluate_every=0,
            participation=EVERYBODY,
        )
        return _Trial(cell, settings, self.hospitals)


def _changes(settings: Settings, shared: SharedNoise | None) -> dict[str, object]:
    """The settings as changes to the suggestion, whose noise is shared or not."""
    fields = asdict(settings)
    rate, rounds = fields.pop("learning_rate"), fields.pop("rounds")
    found: dict[str, object] = {
        "dp_sgd": fields,
        "optimizer": {"learning_rate": rate},
        "rounds": rounds,
    }
    return found if shared is None else found | {"shared_noise": asdict(shared)}


class _Trial:
    """A simulated federation, some of whose rounds are done."""

    def __init__(self, cell: Cell, settings: Settings, hospitals: HospitalData) -> None:
        self.settings = settings
        self.plan = planning.plan(cell, hospitals)
        self._hospitals = hospitals
        self._simulation = Simulation(self.plan, hospitals, randomness=Randomness(seed=cell.seed))
        start = planning.start_weights(cell, self.plan.recipe, self.plan.data)
        self._model = ServerState.first(self.plan, PublicVectors(start=start))
        self._done = 0
        self.score = -math.inf

    def run_to(self, last: int) -> float:
        """Train until a round is done; what everybody's held-out patients say of the model."""
        for number in range(self._done + 1, last + 1):
            self._model, _ = self._simulation.round(number, self._model)
        self._done = last

        def delivered(site: str) -> Weights:
            return self._simulation.delivered(site, last, self._model)

        rows = cell_metrics.rows(self.plan, delivered, "federated", "", self._hospitals, last)
        figures = {row.metric: row.value for row in rows if row.site == cell_metrics.EVERYONE}
        found = main_metric(figures, self.plan.data)
        self.score = found if math.isfinite(found) else -math.inf
        return self.score
