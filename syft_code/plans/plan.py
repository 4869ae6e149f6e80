"""A plan: everything that is public about a study, frozen and hashed.

A data owner approves the hash of a plan, so whatever can change what leaves a
hospital stands in it: the recipe (model and loss as data), the privacy
parameters, the rounds, the algorithm, the way shares are made, and who takes part with
which keys. A plan holds no patient value, no secret and no randomness.
"""

import math
from collections.abc import Sequence
from dataclasses import field
from typing import Annotated

from pydantic import Field

from syft_code import canonical
from syft_code.errors import InvalidPlan, require
from syft_code.plans import roster
from syft_code.plans.algorithms import (
    Algorithm,
    Continual,
    Ewc,
    FedAvg,
    FedProx,
    Scaffold,
    earlier_vectors,
)
from syft_code.plans.messages import Purpose
from syft_code.plans.plan_parts import (
    MOST_ROUNDS,
    Augmentation,
    Compression,
    DpSgd,
    Evaluation,
    ReleaseSchedule,
    Robust,
    Sgd,
    Sharing,
)
from syft_code.plans.roster import (
    HEX_KEY,
    Aggregator,
    Hospital,
)
from syft_code.plans.shared_noise import NoiseGrid, SharedNoise
from syft_code.plans.study_purpose import StudyPurpose
from syft_code.recipes import local_norms
from syft_code.recipes.architectures import Fusion, LayerStack
from syft_code.recipes.encoders import Projection
from syft_code.recipes.layers import KeptLayer, Layer, Lstm
from syft_code.recipes.recipe import (
    MAX_PARAMETERS,
    DataSpec,
    Recipe,
    check_activations,
    computed_once,
    features_after,
    front,
    parameter_count,
    require_recipe,
    trained_count,
)

MAX_PLAN_BYTES = 2**18
"""Some 1,500 hospitals; every party that reads a plan holds it against this first."""
EVALUATION = Sharing(ring_bits=64, fraction_bits=24, bound=2.0**20)
"""Evaluations are short vectors of counts: they travel in the widest ring, whatever the plan's."""


@canonical.message
class Plan:
    """One study, as every party sees it and as each owner approves it.

    `max_update_norm` is an L2 bound on one hospital's update, kept at the site. The first
    `frozen_layers` layers that have parameters, in the order of the network's vector, are not
    trained and not shared. With `local_norms` the scales and shifts of normalisation layers are
    trained, stay at each hospital and are not shared. `start_sha256` is of the float32 weights from
    which the first round starts; without it they are drawn from the plan's hash. `averaging` is the
    decay of the moving average of the rounds' models that is evaluated and delivered. Without a
    `release_schedule` results leave when they are ready, and the time that the work took shows. With
    `shared_noise` each hospital adds a part of the noise that `dp_sgd` names, else all of it. `purpose`
    is what it is for, in the researcher's words.

    Raises:
        InvalidPlan: with one sentence, if any part is not acceptable.
    """

    study: canonical.ShortText
    researcher_key: canonical.ShortText
    data: DataSpec
    recipe: Recipe
    dp_sgd: DpSgd
    optimizer: Sgd
    rounds: int
    hospitals: Annotated[tuple[Hospital, ...], canonical.at_most(roster.MOST_HOSPITALS)]
    aggregators: Annotated[tuple[Aggregator, ...], canonical.at_most(roster.MOST_AGGREGATORS)]
    min_hospitals: int
    evaluation: Evaluation | None = None
    sharing: Sharing = field(default_factory=Sharing)
    algorithm: Algorithm = field(default_factory=FedAvg)
    robust: Robust | None = None
    max_update_norm: float | None = None
    compression: Compression | None = None
    frozen_layers: int = 0
    local_norms: bool = False
    augmentation: Augmentation | None = None
    continual: Continual | None = None
    start_sha256: canonical.ShortText = ""
    averaging: float | None = None
    release_schedule: ReleaseSchedule | None = None
    shared_noise: SharedNoise | None = None
    purpose: StudyPurpose | None = None
    format: Annotated[int, Field(ge=10, le=10)] = 10

    def __post_init__(self) -> None:
        require_recipe(self.recipe)
        canonical.require_types(self)
        roster.check_name("study", self.study)
        roster.check_key("the researcher", self.researcher_key)
        require(
            1 <= self.rounds <= MOST_ROUNDS,
            f"rounds must be between 1 and {MOST_ROUNDS}, got {self.rounds}.",
        )
        self.recipe.check(self.data)
        roster.check(self.hospitals, self.aggregators, self.min_hospitals)
        rounds_ok = self.evaluation is None or all(
            1 <= r <= self.rounds for r in self.evaluation.after_rounds
        )
        require(rounds_ok, f"evaluation rounds must lie between 1 and {self.rounds}.")
        _check_sharing(self)
        _check_robust(self)
        _check_training(self)
        _check_algorithm(self)
        _check_shared_noise(self)

    def __hash__(self) -> int:
        """Of what is short: a roster may have ten thousand hospitals, and caches ask at each round."""
        return hash((self.study, self.researcher_key, self.rounds, self.start_sha256))

    @property
    def hash(self) -> str:
        """SHA-256 over the plan's canonical JSON (hex): what an owner approves."""
        return canonical.sha256(self.encode())

    def encode(self) -> bytes:
        """The plan's canonical JSON."""
        return canonical.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> "Plan":
        """Read a plan from its canonical JSON; raise `InvalidPlan` on anything else.

        What is longer than `MAX_PLAN_BYTES` is not looked at.
        """
        require(
            len(data) <= MAX_PLAN_BYTES,
            f"A plan may have at most {MAX_PLAN_BYTES:,} bytes, this one has {len(data):,}: plan fewer "
            "hospitals, or a recipe of fewer layers.",
        )
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

    @property
    def computed_once(self) -> tuple[KeptLayer, ...]:
        """What each hospital computes once for each picture, and trains on from then on."""
        return computed_once(self.recipe.model, augmented=self.augmentation is not None)

    def kept_features(self, layers: int | None = None) -> int | None:
        """How many numbers a picture is after so many of these layers, or all; None of pixels."""
        fixed = self.computed_once[:layers]
        return features_after(fixed, self.data) if fixed else None

    def output_features(self, place: int) -> int:
        """How many numbers the one layer of `computed_once` with this number, from 0, says of a picture."""
        before = 0 if self.input_features(place) else self.kept_features(place) or 0
        return (self.kept_features(place + 1) or 0) - before

    def input_features(self, place: int) -> int | None:
        """How many numbers a picture is where that layer takes it; None of pixels."""
        along = isinstance(self.computed_once[place], Projection)
        return self.kept_features(place) if along else None

    @property
    def noise_grid(self) -> NoiseGrid | None:
        """What shared noise comes to at each hospital; None if each adds all of it."""
        if self.shared_noise is None:
            return None
        return NoiseGrid.of(
            self.dp_sgd,
            self.optimizer,
            self.sharing,
            numbers=trained_count(self.recipe, self.data, frozen_layers=self.frozen_layers),
            most_patients=self.most_patients,
            honest=self.min_hospitals - self.shared_noise.colluding,
        )

    @property
    def noise_multiplier_alone(self) -> float:
        """Noise std ÷ sensitivity of what one hospital shares: all of it, or its part of a shared one."""
        noise = self.dp_sgd.noise_multiplier
        if self.shared_noise is None:
            return noise
        return noise / math.sqrt(self.min_hospitals - self.shared_noise.colluding)

    def sharing_of(self, purpose: Purpose) -> Sharing:
        """The ring and the fixed point of a training or an evaluation."""
        return self.sharing if purpose == "train" else EVALUATION

    def hospital(self, name: str) -> Hospital:
        """The roster's entry for a hospital; raise `InvalidPlan` if it has none."""
        for hospital in self.hospitals:
            if hospital.name == name:
                return hospital
        raise InvalidPlan(f"{name!r} is not a hospital of the study {self.study!r}.")


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


def _check_training(plan: Plan) -> None:
    """What is trained, from which weights, on which views, and what is delivered."""
    trained_count(plan.recipe, plan.data, frozen_layers=plan.frozen_layers)
    if plan.local_norms:
        local_norms.check(plan.recipe.model, frozen_layers=plan.frozen_layers)
    if plan.augmentation is not None:
        plan.augmentation.check(plan.data)
    require(
        plan.augmentation is None or not front(plan.recipe.model),
        "An encoder must look at each picture once, as it is, and augmentation makes new pictures in each "
        "step: leave out one of the two.",
    )
    views = 1 if plan.augmentation is None else plan.augmentation.views
    check_activations(plan.recipe, plan.data, views=plan.dp_sgd.slices * views)
    require(
        plan.dp_sgd.engine == "consilium" or not _trains_lstm(plan),
        'Opacus has no rule for the gradients of this lstm: set engine to "consilium", or freeze '
        "the lstm with frozen_layers.",
    )
    require(
        plan.start_sha256 == "" or HEX_KEY.fullmatch(plan.start_sha256) is not None,
        "start_sha256 must be the SHA-256 of the start weights, 64 lower-case hexadecimal digits, or "
        "empty for weights that are drawn from the plan's hash.",
    )
    require(
        plan.averaging is None or 0 < plan.averaging < 1,
        f"averaging must be a decay above 0 and below 1, or none, got {plan.averaging}.",
    )


def _trains_lstm(plan: Plan) -> bool:
    """Whether an lstm is trained: it is the first layer wherever it stands, or there is none."""
    model = plan.recipe.model
    first: tuple[Layer, ...] = ()
    if isinstance(model, LayerStack | Fusion):
        first = model.layers if isinstance(model, LayerStack) else model.image
    return plan.frozen_layers == 0 and any(isinstance(layer, Lstm) for layer in first)


def _check_algorithm(plan: Plan) -> None:
    plain = plan.compression is None and plan.robust is None and plan.optimizer.momentum == 0
    require(
        not isinstance(plan.algorithm, Scaffold) or plain,
        "SCAFFOLD goes with plain SGD, all coordinates and the weighted mean: set momentum to 0 and "
        "leave out compression and robust, or use FedAvg.",
    )
    vectors = 1 + isinstance(plan.algorithm, Scaffold) + earlier_vectors(plan.continual)
    require(
        vectors * parameter_count(plan.recipe, plan.data) <= 2 * MAX_PARAMETERS,
        f"The {vectors} vectors that travel with a round may have {2 * MAX_PARAMETERS} numbers "
        "together: use a smaller model, or an algorithm that sends fewer.",
    )
    mu = plan.algorithm.mu if isinstance(plan.algorithm, FedProx) else 0.0
    require(
        plan.optimizer.learning_rate * mu <= 1,
        f"FedProx's mu times the learning rate must be at most 1, else a step jumps past the "
        f"weights that it is pulled to; got {mu:g} x {plan.optimizer.learning_rate:g}.",
    )


def _check_shared_noise(plan: Plan) -> None:
    """What is shared is a plain sum of clipped gradients and noise, and follows from public weights.

    With several steps, or anything that a hospital keeps from round to round, a gradient would depend
    on noise that is a part only of what the sum holds, and steps would not compose.
    """
    if plan.shared_noise is None:
        return
    colluding, least = plan.shared_noise.colluding, plan.min_hospitals
    require(
        colluding < least,
        f"Of the {least} hospitals of the smallest sum, one at least must not collude, and "
        f"{colluding} may: raise min_hospitals.",
    )
    refused = {
        "dp_sgd.steps above 1": plan.dp_sgd.steps > 1,
        "an adaptive clip norm": plan.dp_sgd.adaptive is not None,
        "momentum at the hospitals": plan.optimizer.momentum > 0,
        "FedProx or SCAFFOLD": isinstance(plan.algorithm, FedProx | Scaffold),
        "EWC": isinstance(plan.continual, Ewc),
        "robust rules": plan.robust is not None,
        "max_update_norm": plan.max_update_norm is not None,
        "compression": plan.compression is not None,
        "local_norms": plan.local_norms,
    }
    named = [what for what, is_there in refused.items() if is_there]
    require(
        not named,
        "Noise can be shared only in plain sums of one step's gradients, at the weights of the round: "
        f"leave out {', '.join(named)}. Momentum is possible as FedAdam's, at the researcher.",
    )
    require(
        plan.needed == len(plan.aggregators),
        "With shared noise all aggregators must be needed to open a sum, since two different sums of "
        f"one round would show a hospital's own noise alone; the plan needs {plan.needed} of "
        f"{len(plan.aggregators)}: leave sharing.needed out.",
    )
    grid = plan.noise_grid
    if grid is not None:
        fewest = min(hospital.patients for hospital in plan.hospitals)
        grid.check(plan.dp_sgd, plan.sharing, least_patients=fewest)
