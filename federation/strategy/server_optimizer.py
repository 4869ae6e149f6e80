"""The researcher's half of an algorithm: from a round's sums to the next model.

    sums ─ mean, or robust rule ─▶ D ─ FedAvg, FedProx, SCAFFOLD: x + D
                                     └ FedAdam, FedYogi, FedAdagrad: x + eta m / (root v + tau) ─▶ x' ─▶ average

It is a pure function of the plan, the model before and the round's sums, all of which are noised or
public: post-processing. A study that is run anew gets the same sums, and so the same model, moments
and average; none of them is kept anywhere.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from syft_code.arrays import Vector, Weights
from syft_code.errors import SharingError, require
from syft_code.local_training.broadcast import Broadcast, PublicVectors
from syft_code.local_training.local_round import first_weights
from syft_code.plans.algorithms import FedAdagrad, FedAdam, FedYogi
from syft_code.plans.messages import Purpose
from syft_code.plans.plan import Plan
from syft_code.secret_sharing import compression, envelope, robust
from syft_code.secret_sharing.sharing import Ring
from syft_code.secret_sharing.vector_layout import VectorLayout


class RoundTotals(Protocol):
    """A round's sums, one for each group of hospitals."""

    @property
    def hospitals(self) -> Sequence[str]: ...

    @property
    def groups(self) -> Sequence[Sequence[str]]: ...

    @property
    def totals(self) -> Sequence[Ring]: ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Moments:
    """FedAdam's, FedYogi's and FedAdagrad's m and v, of the trained parameters."""

    first: Vector
    second: Vector


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServerState:
    """The weights that hospitals go on from, and what else an algorithm carries from round to round.

    `control` is SCAFFOLD's control variate of the shared parameters; `average` the moving average
    of the rounds' weights (float64), None where the plan has none or before the first round.
    """

    weights: Weights
    control: Weights = field(default_factory=lambda: np.zeros(0, np.float32))
    moments: Moments | None = None
    average: Vector | None = None
    public: PublicVectors = field(default_factory=PublicVectors)

    @classmethod
    def first(cls, plan: Plan, public: PublicVectors | None = None) -> "ServerState":
        """The model before the first round: drawn from the plan's hash, or handed in.

        Raises:
            InvalidInput: if what is handed in is not what the plan names.
        """
        layout = VectorLayout.of(plan)
        given = public or PublicVectors()
        given.check(plan)
        trained = layout.trained_count
        moments = None
        if isinstance(plan.algorithm, FedAdam | FedYogi | FedAdagrad):
            second = np.full(trained, plan.algorithm.adaptivity**2)
            moments = Moments(first=np.zeros(trained), second=second)
        return cls(
            weights=given.start if plan.start_sha256 else first_weights(plan),
            control=np.zeros(layout.broadcast("train")["control"], np.float32),
            moments=moments,
            public=given,
        )

    @property
    def delivered(self) -> Weights:
        """The weights that are evaluated, certified and delivered: the average, if there is one."""
        return self.weights if self.average is None else self.average.astype(np.float32)

    def broadcast(self, purpose: Purpose) -> Weights:
        """What hospitals get: the delivered weights to evaluate, else all that training needs."""
        if purpose == "evaluate":
            return self.delivered
        return Broadcast(
            weights=self.weights,
            control=self.control,
            reference=self.public.reference,
            importance=self.public.importance,
        ).joined()


def step(plan: Plan, number: int, model: ServerState, collected: RoundTotals) -> ServerState:
    """From a round's sums to the next model.

    The mean of the updates, weighted by declared patients, or what a robust rule makes of the
    groups' means, is added to the weights (FedAvg, FedProx, SCAFFOLD), or is the gradient of a step
    of Adam, Yogi or Adagrad. SCAFFOLD's control variate moves by the weighted changes that were summed over
    the weight of the whole roster.

    Source: McMahan et al. 2017, algorithm 1; Karimireddy et al. 2020, "SCAFFOLD", algorithm 1,
    lines 16 and 17, weighted, with a global step of 1; Reddi et al. 2021, algorithm 2.
    """
    layout = VectorLayout.of(plan)
    travelled = layout.sent_count
    rows = np.empty((len(collected.groups), layout.values_length("train")))
    for row, names, total in zip(rows, collected.groups, collected.totals, strict=True):
        row[:] = _mean(plan, names, total)
    moved = rows[0] if plan.robust is None else robust.combine(rows, plan.robust)
    update = compression.spread(plan, number, moved[:travelled])
    stepped = _stepped(plan, model, update)
    if model.control.size:
        share = _patients(plan, collected.hospitals) / _patients(plan)
        control = (model.control + share * moved[travelled:]).astype(np.float32)
        stepped = replace(stepped, control=control)
    if plan.averaging is None:
        return stepped
    return replace(
        stepped, average=averaged(model.average, stepped.weights, number, plan.averaging)
    )


def _stepped(plan: Plan, model: ServerState, update: Vector) -> ServerState:
    """The model moved by an update of all parameters, with moments where the algorithm has some."""
    algorithm = plan.algorithm
    if model.moments is None or not isinstance(algorithm, FedAdam | FedYogi | FedAdagrad):
        return replace(model, weights=(model.weights + update).astype(np.float32))
    part = VectorLayout.of(plan).trained
    moments, change = adaptive_step(algorithm, model.moments, update[part])
    weights = model.weights.astype(np.float64)
    weights[part] += change
    return replace(model, weights=weights.astype(np.float32), moments=moments)


def adaptive_step(
    algorithm: FedAdam | FedYogi | FedAdagrad, before: Moments, update: Vector
) -> tuple[Moments, Vector]:
    """The moments after an update D, and by how much the weights move.

        m = beta1 m + (1 - beta1) D
        v = beta2 v + (1 - beta2) D^2                       FedAdam
        v = v - (1 - beta2) D^2 sign(v - D^2)               FedYogi
        v = v + D^2                                         FedAdagrad
        x moves by eta m / (root v + tau)

    Before the first round m is 0 and v is tau^2. There is no correction of the first rounds' bias,
    as in the paper. Where nothing moved so far, in what is frozen or has not travelled, D is 0.

    Source: Reddi et al. 2021, arXiv 2003.00295, algorithm 2.
    """
    square = update**2
    first = algorithm.beta1 * before.first + (1 - algorithm.beta1) * update
    match algorithm:
        case FedAdam(beta2=beta2):
            second = beta2 * before.second + (1 - beta2) * square
        case FedYogi(beta2=beta2):
            second = before.second - (1 - beta2) * square * np.sign(before.second - square)
        case FedAdagrad():
            second = before.second + square
    change = algorithm.learning_rate * first / (np.sqrt(second) + algorithm.adaptivity)
    return Moments(first=first, second=second), change


def averaged(before: Vector | None, weights: Weights, number: int, decay: float) -> Vector:
    """The moving average of the models after rounds 1 to `number`, without weight on the start.

    a_r = a_(r-1) + (1 - d) / (1 - d^r) (w_r - a_(r-1)), which is the sum of d^(r-s) w_s over the
    rounds s, over the sum of d^(r-s).

    >>> averaged(np.array([1.0]), np.array([4.0], np.float32), 2, 0.5)
    array([3.])
    """
    exact = weights.astype(np.float64)
    if before is None:
        return exact
    average: Vector = before + (1 - decay) / (1 - decay**number) * (exact - before)
    return average


def _mean(plan: Plan, hospitals: Sequence[str], total: Ring) -> Vector:
    """The mean of one group's vectors, weighted by the patients that the plan declares."""
    values, weight = envelope.read_sum(plan, "train", total)
    declared = _patients(plan, hospitals)
    if plan.robust is None:  # a rule withstands a group that is not as it should be
        require_weight(weight, declared)
    values *= plan.most_patients / declared
    return values


def _patients(plan: Plan, hospitals: Collection[str] | None = None) -> int:
    """The declared patients of some hospitals, of the whole roster without names."""
    return sum(h.patients for h in plan.hospitals if hospitals is None or h.name in hospitals)


def require_weight(weight: int, declared: int) -> None:
    """Raise `SharingError` unless a sum has the weight of its hospitals."""
    require(
        weight == declared,
        f"A sum must have the weight of its hospitals, {declared}, and has {weight}: a hospital or "
        "an aggregator does not keep to the plan, and the sum is not used.",
        error=SharingError,
    )
