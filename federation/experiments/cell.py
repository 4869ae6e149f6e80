"""One cell of a grid: everything that its figures follow from, and its name on disk."""

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from federation.experiments.spec import (
    Changes,
    Epsilon,
    Experiment,
    Option,
    StudyEntry,
    Variant,
    epsilon_text,
    merged,
)
from federation.simulation.participation import Participation
from syft_code import canonical
from syft_code.errors import InvalidInput, require

AXES_ENDING = ".safetensors"
_NOT_PLAIN = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One training run, or for the reference "alone" one at each site.

    `changes` is JSON of what differs from the suggested plan; `start_sha256` is of the file of start
    weights, "" if the weights are drawn from the seed.
    """

    study: str
    algorithm: str
    epsilon: Epsilon
    split: str
    lever: str
    seed: int
    data: str
    options: tuple[tuple[str, Option], ...]
    delta: float
    changes: str
    start: str
    start_sha256: str
    evaluate_every: int
    participation: Participation

    @property
    def key(self) -> str:
        """A name for files: the labels in short, then a hash of everything."""
        labels = (
            self.study,
            self.algorithm,
            epsilon_text(self.epsilon),
            self.split,
            self.lever,
            self.seed,
        )
        words = (_NOT_PLAIN.sub("-", str(label).lower()).strip("-") for label in labels)
        settings = asdict(self)
        del settings["start"]  # its hash says what is in it
        digest = canonical.sha256(canonical.encode(settings))
        return f"{'_'.join(words)}_{digest[:10]}"

    def check_start(self) -> None:
        """Raise `InvalidInput` unless the start weights are still the bytes that the grid named."""
        require(
            not self.start or _sha256(self.start, "start weights") == self.start_sha256,
            f"{self.start} must stay as it was when the grid began, and has changed: run it again.",
            error=InvalidInput,
        )


def cells(experiment: Experiment) -> list[Cell]:
    """The whole grid, cells of one study and split next to each other, so that data is read once.

    Raises:
        InvalidInput: if a file of start weights or of axes can't be read.
    """
    found: dict[str, Cell] = {}
    for study in experiment.study:
        for split, seed in itertools.product(study.splits, experiment.seeds):
            for lever, epsilon in itertools.product(experiment.lever, experiment.epsilons):
                for variant in _variants(experiment, lever):
                    cell = _cell(experiment, study, split, seed, lever, epsilon, variant)
                    found[cell.key] = cell
    return list(found.values())


def _variants(experiment: Experiment, lever: Variant) -> Iterator[Variant]:
    """References first: what they say is known early."""
    wanted = experiment.references if lever.references is None else lever.references
    changed = {one.name: one for one in experiment.reference}
    for name in wanted:
        yield changed.get(name, Variant(name=name))
    yield from experiment.algorithm


def _cell(
    experiment: Experiment,
    study: StudyEntry,
    split: str,
    seed: int,
    lever: Variant,
    epsilon: Epsilon,
    variant: Variant,
) -> Cell:
    start = (lever.start or variant.start).replace("{seed}", str(seed))
    start = start.replace("{study}", study.name)
    changes = _with_axes(_changes(epsilon, experiment, study, variant, lever), seed)
    return Cell(
        study=study.name,
        algorithm=variant.name,
        epsilon=epsilon,
        split=split,
        lever=lever.name,
        seed=seed,
        data=study.data,
        options=tuple(sorted(study.options.items())),
        delta=experiment.delta,
        changes=json.dumps(changes, sort_keys=True),
        start=start,
        start_sha256=_sha256(start, "start weights") if start else "",
        evaluate_every=experiment.evaluate_every,
        participation=experiment.participation,
    )


def _changes(epsilon: Epsilon, *layers: Experiment | StudyEntry | Variant) -> Changes:
    found: Changes = {}
    for layer in layers:
        found = merged(found, layer.plan)
        for at in layer.at:
            if at.epsilon == epsilon:
                found = merged(found, at.plan)
    return found


def _with_axes(changes: Changes, seed: int) -> Changes:
    """The same changes with the SHA-256 in the place of each file of a projection's axes."""
    return {name: _hashed(name, value, seed) for name, value in changes.items()}


def _hashed(name: str, value: object, seed: int) -> object:
    match value:
        case dict():
            return _with_axes(value, seed)
        case list():
            return [_hashed("", one, seed) for one in value]
        case str() if name == "axes_sha256" and value.endswith(AXES_ENDING):
            return _sha256(value.replace("{seed}", str(seed)), "the axes of a projection")
    return value


def _sha256(path: str, what: str) -> str:
    try:
        return canonical.sha256(Path(path).read_bytes())
    except OSError as problem:
        raise InvalidInput(f"{path} must hold {what}, and can't be read: {problem}.") from None
