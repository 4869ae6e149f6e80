"""A plan: everything that is public about a study, frozen and hashed.

A data owner approves the hash of a plan, so whatever can change what leaves a
hospital stands in it: the recipe (model and loss as data), the privacy
parameters, the rounds, the way shares are made, and who takes part with which
keys. A plan holds no patient value, no secret and no randomness.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from pydantic import Field

from syft_code import canonical
from syft_code.errors import ConsiliumError, InvalidPlan, RangeExceeded, require
from syft_code.messages import Purpose
from syft_code.recipes import DataSpec, Recipe, trained_count

NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
RobustRule = Literal["median", "trimmed_mean", "krum", "multi_krum", "geometric_median"]
MOST_AGGREGATORS = 5
WEIGHT_BITS = 24
MOST_PATIENTS = 2**WEIGHT_BITS - 1
HEX_KEY = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DpSgd:
    """DP-SGD (Abadi et al. 2016, Algorithm 1) of one hospital in one round.

    Units: `noise_multiplier` is noise std ÷ `max_grad_norm`; `sample_rate` is the
    Poisson probability with which one patient is drawn in one step.
    """

    __pydantic_config__ = canonical.STRICT

    noise_multiplier: float
    max_grad_norm: float
    sample_rate: float
    steps: int

    def __post_init__(self) -> None:
        require(
            math.isfinite(self.noise_multiplier) and self.noise_multiplier > 0,
            f"noise_multiplier must be a finite number above 0, got {self.noise_multiplier}.",
        )
        require(
            math.isfinite(self.max_grad_norm) and self.max_grad_norm > 0,
            f"max_grad_norm must be a finite number above 0, got {self.max_grad_norm}.",
        )
        noise_std = self.noise_multiplier * self.max_grad_norm
        require(
            1e-30 <= noise_std <= 1e30,
            f"noise_multiplier x max_grad_norm must lie in [1e-30, 1e30], where noise does not "
            f"round to nothing, got {noise_std:g}.",
        )
        require(
            0 < self.sample_rate <= 1,
            f"sample_rate must be in (0, 1], got {self.sample_rate}.",
        )
        require(
            1 <= self.steps <= 100_000,
            f"steps must be between 1 and 100000, got {self.steps}.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sgd:
    """The optimiser inside a hospital's round; it sees noised gradients only.

    Units: `learning_rate` per step on the mean clipped gradient; `momentum` in [0, 1).
    """

    __pydantic_config__ = canonical.STRICT

    learning_rate: float
    momentum: float = 0.0

    def __post_init__(self) -> None:
        require(
            math.isfinite(self.learning_rate) and self.learning_rate > 0,
            f"learning_rate must be a finite number above 0, got {self.learning_rate}.",
        )
        require(0 <= self.momentum < 1, f"momentum must be in [0, 1), got {self.momentum}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Noised sums over each hospital's held-out patients, after the named rounds.

    Units: `noise_multiplier` is noise std ÷ the L2 sensitivity of the summed vector.
    """

    __pydantic_config__ = canonical.STRICT

    noise_multiplier: float
    after_rounds: tuple[int, ...]

    def __post_init__(self) -> None:
        require(
            math.isfinite(self.noise_multiplier) and self.noise_multiplier > 0,
            f"evaluation noise_multiplier must be a finite number above 0, got {self.noise_multiplier}.",
        )
        require(
            all(a < b for a, b in zip(self.after_rounds, self.after_rounds[1:], strict=False)),
            f"after_rounds must be increasing, got {list(self.after_rounds)}.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """The ring and the fixed point in which vectors are shared, and who can open a sum.

    A coordinate x with |x| ≤ `bound` becomes round(x · 2^fraction_bits) mod 2^ring_bits.
    `needed` of the plan's aggregators suffice to open a sum, and any fewer learn nothing; without
    it, all are needed.
    """

    __pydantic_config__ = canonical.STRICT

    ring_bits: Literal[8, 16, 32, 64] = 32
    fraction_bits: int = 18
    bound: float = 64.0
    needed: int | None = None

    def __post_init__(self) -> None:
        require(
            -64 <= self.fraction_bits <= 64,
            f"fraction_bits must be between -64 and 64, got {self.fraction_bits}.",
        )
        require(
            2.0**-64 <= self.bound <= 2.0**64,
            f"the sharing bound must lie between 2^-64 and 2^64, got {self.bound}.",
        )

    def check_span(self, hospitals: int, *, error: type[ConsiliumError] = RangeExceeded) -> None:
        """Raise `error` if a sum over so many hospitals could wrap.

        hospitals x bound x 2^fraction_bits < 2^(ring_bits - 1), in exact arithmetic, rounded up.
        """
        scale = Fraction(2) ** self.fraction_bits
        largest = math.ceil(Fraction(self.bound) * scale)
        require(
            hospitals * largest < 2 ** (self.ring_bits - 1),
            f"hospitals x bound x 2^fraction_bits must stay below 2^{self.ring_bits - 1}, and with "
            f"{hospitals} hospitals it does not: use fewer fraction bits, a smaller bound or a "
            "ring of more bits.",
            error=error,
        )


EVALUATION = Sharing(ring_bits=64, fraction_bits=24, bound=2.0**20)
"""Evaluations are short vectors of counts: they travel in the widest ring, whatever the plan's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """Fewer coordinates of a training round, and what happens to the others.

    Each round `kept` (a share of 1) of the trained coordinates travel: the same ones for all
    hospitals, drawn from the plan's hash and the round. With `error_feedback` a hospital adds what
    did not travel, rounding and what went past the sharing bound among it, to its next update.

    Source: Stich et al. 2018, "Sparsified SGD with memory", algorithm 1, with random coordinates.
    """

    __pydantic_config__ = canonical.STRICT

    kept: float = 1.0
    error_feedback: bool = True

    def __post_init__(self) -> None:
        require(0 < self.kept <= 1, f"compression must keep a share in (0, 1], got {self.kept}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Robust:
    """A rule that withstands some bad sums, over the sums of groups of hospitals.

    The hospitals of a training round are divided into `groups` of at least `min_hospitals`, drawn
    anew each round; `tolerated` is the number of groups with a bad hospital that the rule must
    withstand.
    """

    __pydantic_config__ = canonical.STRICT

    rule: RobustRule
    groups: int
    tolerated: int = 1

    def __post_init__(self) -> None:
        require(self.tolerated >= 1, f"tolerated must be at least 1, got {self.tolerated}.")
        require(
            self.groups >= self.least_groups,
            f"{self.rule} needs at least {self.least_groups} groups to withstand {self.tolerated} "
            f"bad ones, got {self.groups}.",
        )

    @property
    def least_groups(self) -> int:
        """How many groups the rule needs: 2f + 3 for Krum (Blanchard et al. 2017), else 2f + 1."""
        return 2 * self.tolerated + (3 if self.rule in ("krum", "multi_krum") else 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hospital:
    """One hospital of the roster.

    `verify_key` is its Ed25519 key (hex); `patients` is the number of training patients
    that its owner declared at publication, which is also its weight in the average.
    """

    __pydantic_config__ = canonical.STRICT

    name: str
    verify_key: str
    asset: str
    asset_version: int
    patients: int

    def __post_init__(self) -> None:
        _check_name("hospital", self.name)
        _check_name("asset", self.asset)
        _check_key(f"hospital {self.name}", self.verify_key)
        require(
            1 <= self.patients <= MOST_PATIENTS,
            f"hospital {self.name} must declare from 1 to {MOST_PATIENTS} patients, got "
            f"{self.patients}.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregator:
    """One aggregator of the roster.

    `verify_key` is Ed25519 and `seal_key` X25519 (hex, 32 bytes each); `certificate` is its
    TLS certificate (PEM); `address` is host:port.
    """

    __pydantic_config__ = canonical.STRICT

    name: str
    address: str
    verify_key: str
    seal_key: str
    certificate: str

    def __post_init__(self) -> None:
        _check_name("aggregator", self.name)
        _check_key(f"aggregator {self.name}", self.verify_key)
        _check_key(f"aggregator {self.name}", self.seal_key)
        require(
            _can_seal_to(self.seal_key),
            f"The seal key of aggregator {self.name} must be an X25519 key, and nothing can be sealed "
            "to this one: take it from the aggregator's public.json.",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One study, as every party sees it and as each owner approves it.

    `max_update_norm` is an L2 bound on one hospital's update, kept at the site. The first
    `frozen_layers` layers that have parameters, in the order of the network's vector, are not
    trained and not shared.

    Raises:
        InvalidPlan: with one sentence, if any part is not acceptable.
    """

    __pydantic_config__ = canonical.STRICT

    study: str
    researcher_key: str
    data: DataSpec
    recipe: Recipe
    dp_sgd: DpSgd
    optimizer: Sgd
    rounds: int
    hospitals: tuple[Hospital, ...]
    aggregators: tuple[Aggregator, ...]
    min_hospitals: int
    evaluation: Evaluation | None = None
    sharing: Sharing = field(default_factory=Sharing)
    algorithm: Literal["fedavg", "scaffold"] = "fedavg"
    robust: Robust | None = None
    max_update_norm: float | None = None
    compression: Compression | None = None
    frozen_layers: int = 0
    format: Annotated[int, Field(ge=2, le=2)] = 2

    def __post_init__(self) -> None:
        _check_name("study", self.study)
        _check_key("the researcher", self.researcher_key)
        require(1 <= self.rounds <= 1000, f"rounds must be between 1 and 1000, got {self.rounds}.")
        self.recipe.check(self.data)
        _check_roster(self)
        rounds_ok = self.evaluation is None or all(
            1 <= r <= self.rounds for r in self.evaluation.after_rounds
        )
        require(rounds_ok, f"evaluation rounds must lie between 1 and {self.rounds}.")
        _check_sharing(self)
        _check_robust(self)
        _check_algorithm(self)

    @property
    def hash(self) -> str:
        """SHA-256 over the plan's canonical JSON (hex): what an owner approves."""
        return canonical.sha256(self.encode())

    def encode(self) -> bytes:
        """The plan's canonical JSON."""
        return canonical.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> "Plan":
        """Read a plan from its canonical JSON; raise `InvalidPlan` on anything else."""
        plan: Plan = canonical.parse(cls, data, what="plan", error=InvalidPlan)
        return plan

    def rounds_of(self, purpose: Purpose) -> Sequence[int]:
        """The rounds in which hospitals train, or after which they evaluate."""
        if purpose == "train":
            return range(1, self.rounds + 1)
        return self.evaluation.after_rounds if self.evaluation else ()

    @property
    def needed(self) -> int:
        """How many of the plan's aggregators open a sum; any fewer learn nothing."""
        parties = len(self.aggregators)
        return parties if self.sharing.needed is None else self.sharing.needed

    @property
    def most_patients(self) -> int:
        """The largest declared number of patients: a hospital's weight is its own ÷ this one."""
        return max(hospital.patients for hospital in self.hospitals)

    def sharing_of(self, purpose: Purpose) -> Sharing:
        """The ring and the fixed point of a training or an evaluation."""
        return self.sharing if purpose == "train" else EVALUATION

    def hospital(self, name: str) -> Hospital:
        """The roster's entry for a hospital; raise `InvalidPlan` if it has none."""
        for hospital in self.hospitals:
            if hospital.name == name:
                return hospital
        raise InvalidPlan(f"{name!r} is not a hospital of the study {self.study!r}.")


def _check_name(what: str, name: str) -> None:
    require(
        NAME.fullmatch(name) is not None,
        f"A {what} name must be 1 to 40 lower-case letters, digits, '-' or '_', got {name[:60]!r}.",
    )


def _can_seal_to(seal_key: str) -> bool:
    """Whether a key exchange with it gives a secret: with a point of low order it does not."""
    ours = X25519PrivateKey.from_private_bytes(bytes(range(32)))
    try:
        ours.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(seal_key)))
    except ValueError:
        return False
    return True


def _check_key(what: str, key: str) -> None:
    require(
        HEX_KEY.fullmatch(key) is not None,
        f"The key of {what} must be 64 lower-case hexadecimal digits.",
    )


def _check_roster(plan: Plan) -> None:
    """Every party once, with its own key, and enough hospitals for a sum to hide one."""
    for group in (plan.hospitals, plan.aggregators):
        names = [party.name for party in group]
        keys = [party.verify_key for party in group]
        require(
            len(set(names)) == len(names) and len(set(keys)) == len(keys),
            "Each hospital and each aggregator must stand in the roster once, with a key of its own.",
        )
    seals = {aggregator.seal_key for aggregator in plan.aggregators}
    require(len(seals) == len(plan.aggregators), "Each aggregator must have a seal key of its own.")
    require(
        2 <= len(plan.aggregators) <= MOST_AGGREGATORS,
        f"A plan must name 2 to {MOST_AGGREGATORS} aggregators, got {len(plan.aggregators)}.",
    )
    require(
        3 <= plan.min_hospitals <= len(plan.hospitals),
        f"min_hospitals must be at least 3 (with two, one hospital and the researcher could "
        f"subtract the other out) and at most the {len(plan.hospitals)} hospitals of the roster, "
        f"got {plan.min_hospitals}.",
    )


def _check_sharing(plan: Plan) -> None:
    """No sum wraps, and fewer than the needed aggregators are never a majority."""
    parties, needed = len(plan.aggregators), plan.needed
    require(
        2 <= needed <= parties < 2 * needed,
        f"More than half of the {parties} aggregators must be needed, and at least 2, got {needed}: "
        "with fewer, two different sums of one round could be opened.",
    )
    for sharing in (plan.sharing, EVALUATION):
        sharing.check_span(len(plan.hospitals), error=InvalidPlan)
    norm, rules = plan.max_update_norm, plan.sharing
    require(
        norm is None or 2.0**-64 <= norm <= 2.0**64,
        f"max_update_norm must lie between 2^-64 and 2^64, got {norm}.",
    )
    largest = rules.bound if norm is None else min(rules.bound, norm)
    require(
        largest * 2.0**rules.fraction_bits >= 1,
        "The largest update that a hospital may share must be worth at least one step of the fixed "
        "point, else only zeros would travel: use more fraction bits.",
    )


def _check_robust(plan: Plan) -> None:
    require(
        plan.robust is None or plan.robust.groups * plan.min_hospitals <= len(plan.hospitals),
        f"Groups of at least {plan.min_hospitals} hospitals must be possible: plan at most "
        f"{len(plan.hospitals) // plan.min_hospitals} groups, or more hospitals.",
    )


def _check_algorithm(plan: Plan) -> None:
    trained_count(plan.recipe, plan.data, frozen_layers=plan.frozen_layers)
    plain = plan.compression is None and plan.robust is None and plan.optimizer.momentum == 0
    require(
        plan.algorithm != "scaffold" or plain,
        "SCAFFOLD goes with plain SGD, all coordinates and the weighted mean: set momentum to 0 and "
        "leave out compression and robust, or use fedavg.",
    )
