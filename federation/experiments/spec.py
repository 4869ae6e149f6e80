"""An experiment as a TOML file: what is compared with what.

    name = "skin-by-site"
    seeds = [0, 1, 2, 3, 4]
    epsilons = ["none", 8, 3]       # "none": neither clipped nor noised. "clipped": not noised
    delta = 1e-5
    references = ["pooled", "alone"]

    [plan]                          # what all cells share: any fields of a plan
    rounds = 20
    dp_sgd = { sample_rate = 0.1, steps = 4, max_grad_norm = 1.0 }

    [participation]                 # without it all hospitals are in each round
    sampled = 100                   # so many are asked, drawn anew each round
    drop_out = 0.1                  # and each of those gives nothing with this probability
    for_rounds = 1                  # for so many rounds at a time

    [[study]]
    name = "ham10000"               # what the loader knows
    data = "/data/ham10000"         # without it, drawn stand-ins
    splits = ["site", "dirichlet:0.1"]
    options = { hospitals = 4, size_px = 32 }

    [[algorithm]]
    name = "FedAvg"

    [[algorithm]]
    name = "FedProx"
    plan = { algorithm = { kind = "fedprox", mu = 0.1 } }

    [[lever]]
    name = "pre-trained"
    start = "weights.npy"           # float32, or a model.safetensors; may hold {seed}
    plan = { frozen_layers = 1 }
    at = [{ epsilon = 3, plan = { optimizer = { learning_rate = 0.2 } } }]

A projection's `axes_sha256` may be a file in its place, and hold {seed} too. Everything that has a
`plan` may have `at`: changes for one epsilon alone. Changes apply in this order: the suggestion for the study's data, `[plan]`, the study's, the algorithm's (or the
reference's), the lever's. The noise multiplier is found for each epsilon, and needs no word.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError

from federation.simulation.participation import EVERYBODY, Participation
from syft_code import canonical, toml_text
from syft_code.errors import InvalidInput, require


def _epsilon(found: object) -> object:
    """Refuse in words what is no epsilon; pydantic would name only the first of its kinds."""
    number = isinstance(found, int | float) and not isinstance(found, bool) and 0 < found < math.inf
    if not number and found not in ("none", "clipped"):
        raise ValueError("an epsilon must be a finite number above 0, or 'none', or 'clipped'")
    return found


Epsilon = Annotated[Literal["none", "clipped"] | float, BeforeValidator(_epsilon)]
Changes = dict[str, Any]
Option = bool | int | float | str
_PARSED = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """What changes at one epsilon."""

    __pydantic_config__ = _PARSED
    epsilon: Epsilon
    plan: Changes


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyEntry:
    """Whose patients: a study that the loader knows, and the ways to split it into hospitals."""

    __pydantic_config__ = _PARSED
    name: str
    data: str = ""
    splits: tuple[str, ...] = ("site",)
    options: dict[str, Option] = field(default_factory=dict)
    plan: Changes = field(default_factory=dict)
    at: tuple[At, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """An algorithm, a lever or a reference: a name, and what it changes of the plan.

    A lever may name the weights that it starts from, and the references that it is compared with
    (without that, all of the experiment's).
    """

    __pydantic_config__ = _PARSED
    name: str
    plan: Changes = field(default_factory=dict)
    at: tuple[At, ...] = ()
    start: str = ""
    references: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """A whole grid."""

    __pydantic_config__ = _PARSED
    name: str
    study: tuple[StudyEntry, ...]
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    epsilons: tuple[Epsilon, ...] = ("none", 8.0, 3.0)
    delta: float = 1e-5
    references: tuple[Literal["pooled", "alone"], ...] = ("pooled", "alone")
    algorithm: tuple[Variant, ...] = (Variant(name="FedAvg"),)
    lever: tuple[Variant, ...] = (Variant(name="plain"),)
    reference: tuple[Variant, ...] = ()
    plan: Changes = field(default_factory=dict)
    at: tuple[At, ...] = ()
    evaluate_every: int = 0
    participation: Participation = EVERYBODY

    def __post_init__(self) -> None:
        for what, names in (
            ("study", [one.name for one in self.study]),
            ("algorithm", [one.name for one in self.algorithm]),
            ("lever", [one.name for one in self.lever]),
        ):
            require(
                bool(names) and len(set(names)) == len(names),
                f"An experiment must have at least one {what}, each with a name of its own, got "
                f"{names}.",
                error=InvalidInput,
            )
        for what, values in (("seeds", self.seeds), ("epsilons", self.epsilons)):
            require(
                bool(values) and len(set(values)) == len(values),
                f"An experiment's {what} must be at least one, each another, got {list(values)}.",
                error=InvalidInput,
            )
        require(
            all(0 <= seed < 2**63 for seed in self.seeds),
            f"A seed must be a whole number from 0 to 2^63 - 1, got {list(self.seeds)}.",
            error=InvalidInput,
        )
        require(
            not {one.name for one in self.algorithm} & {"pooled", "alone"},
            "'pooled' and 'alone' are references: give the algorithm another name.",
            error=InvalidInput,
        )
        require(
            0 < self.delta < 1,
            f"delta must lie in (0, 1), got {self.delta}.",
            error=InvalidInput,
        )


def load(path: Path) -> Experiment:
    """Read an experiment.

    Raises:
        InvalidInput: with one sentence that names the first field that is wrong.
    """
    try:
        raw = toml_text.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise InvalidInput(f"{path} must be a TOML file, and can't be read: {problem}.") from None
    try:
        found: Experiment = TypeAdapter(Experiment).validate_python(raw)
    except ValidationError as problem:
        raise InvalidInput(f"In {path}, {canonical.first_problem(problem)}.") from None
    return found


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Changes:
    """A table with changes in it, tables inside merged too; a table of another `kind` replaces.

    >>> merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}})
    {'a': {'b': 1, 'c': 4}, 'd': 3}
    >>> merged({"a": {"kind": "x", "b": 1}}, {"a": {"kind": "y"}})
    {'a': {'kind': 'y'}}
    """
    found = dict(base)
    for key, value in changes.items():
        old = found.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping) and _same_kind(old, value):
            found[key] = merged(old, value)
        else:
            found[key] = value
    return found


def _same_kind(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return bool(new.get("kind", old.get("kind")) == old.get("kind"))


def epsilon_text(epsilon: str | float) -> str:
    """As the table writes it.

    >>> epsilon_text("none"), epsilon_text(8.0)
    ('none', '8')
    """
    return epsilon if isinstance(epsilon, str) else f"{epsilon:g}"
