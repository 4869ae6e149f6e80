"""How hospitals' updates become one model, and how an earlier task is kept: a plan's choices.

| kind     | at the hospital                          | at the researcher                       |
|----------|------------------------------------------|-----------------------------------------|
| fedavg   | DP-SGD                                   | adds the mean update                    |
| fedprox  | DP-SGD, pulled to the round's weights    | adds the mean update                    |
| scaffold | DP-SGD, corrected by where all drift to  | adds the mean update, and of the drift  |
| fedadam  | DP-SGD                                   | Adam on the mean update                 |
| fedyogi  | DP-SGD                                   | Yogi on the mean update                 |
| fedadagrad | DP-SGD                                 | Adagrad on the mean update              |

Data only; docs/algorithms.md has the equations, and where each of them is computed.
"""

import math
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from syft_code import canonical
from syft_code.errors import require

_HEX = re.compile(r"[0-9a-f]{64}")


@canonical.message
class FedAvg:
    """The weighted mean of the updates. Source: McMahan et al. 2017, algorithm 1."""

    kind: Literal["fedavg"] = "fedavg"


@canonical.message
class FedProx:
    """Each step is pulled back to the round's weights w_t: the loss gains mu/2 |w - w_t|^2.

    Source: Li et al. 2020, "Federated optimization in heterogeneous networks", arXiv 1812.06127,
    equation 2.
    """

    mu: float
    kind: Literal["fedprox"] = "fedprox"

    def __post_init__(self) -> None:
        canonical.require_types(self)
        _require_positive("FedProx's mu", self.mu)


@canonical.message
class Scaffold:
    """Control variates against drift. Source: Karimireddy et al. 2020, algorithm 1."""

    kind: Literal["scaffold"] = "scaffold"


@canonical.message
class _Adaptive:
    """An adaptive step at the researcher, on the mean update as a gradient.

    Units: `learning_rate` (eta) of the researcher's step; `adaptivity` (tau) is added to the root
    of the second moment, which starts at its square.
    Source: Reddi et al. 2021, "Adaptive federated optimization", arXiv 2003.00295, algorithm 2.
    """

    learning_rate: float
    beta1: float = 0.9
    beta2: float = 0.99
    adaptivity: float = 1e-3

    def __post_init__(self) -> None:
        canonical.require_types(self)
        _require_adaptive(self.learning_rate, self.adaptivity, beta1=self.beta1, beta2=self.beta2)


@dataclass(frozen=True, slots=True, kw_only=True)
class FedAdam(_Adaptive):
    """Adam at the researcher: its second moment is a running mean of squares."""

    kind: Literal["fedadam"] = "fedadam"


@dataclass(frozen=True, slots=True, kw_only=True)
class FedYogi(_Adaptive):
    """Yogi at the researcher: its second moment changes by no more than a square at a time."""

    kind: Literal["fedyogi"] = "fedyogi"


@canonical.message
class FedAdagrad:
    """Adagrad at the researcher: its second moment is the sum of squares, and never shrinks.

    Units and source: as FedAdam's; nothing is forgotten, so there is no beta2.
    """

    learning_rate: float
    beta1: float = 0.9
    adaptivity: float = 1e-3
    kind: Literal["fedadagrad"] = "fedadagrad"

    def __post_init__(self) -> None:
        canonical.require_types(self)
        _require_adaptive(self.learning_rate, self.adaptivity, beta1=self.beta1)


@canonical.message
class Ewc:
    """Elastic weight consolidation: the loss gains strength/2 sum F_i (w_i - r_i)^2.

    r are the reference weights, those of an earlier task's model, and F_i >= 0 how much the earlier
    task depends on weight i (`continual`). Both are float32 vectors that travel with each round.

    Source: Kirkpatrick et al. 2017, "Overcoming catastrophic forgetting", equation 3.
    """

    strength: float
    reference_sha256: canonical.ShortText
    importance_sha256: canonical.ShortText
    kind: Literal["ewc"] = "ewc"

    def __post_init__(self) -> None:
        canonical.require_types(self)
        _require_positive("The strength of EWC", self.strength)
        _require_hash("reference_sha256", self.reference_sha256)
        _require_hash("importance_sha256", self.importance_sha256)


@canonical.message
class Distillation:
    """Learning without forgetting: each patient's loss gains a distance to an earlier model.

    The earlier model's weights (float32) travel with each round. The distance is `weight` times
    temperature^2 times the Kullback-Leibler divergence of the two models' softened answers, inside
    the gradient that is clipped.

    Source: Li & Hoiem 2016, "Learning without forgetting", arXiv 1606.09282; Hinton et al. 2015.
    """

    weight: float
    temperature: float
    reference_sha256: canonical.ShortText
    kind: Literal["distillation"] = "distillation"

    def __post_init__(self) -> None:
        canonical.require_types(self)
        _require_positive("The weight of distillation", self.weight)
        _require_positive("The temperature of distillation", self.temperature)
        _require_hash("reference_sha256", self.reference_sha256)


Algorithm = Annotated[
    FedAvg | FedProx | Scaffold | FedAdam | FedYogi | FedAdagrad, Field(discriminator="kind")
]
Continual = Annotated[Ewc | Distillation, Field(discriminator="kind")]


def earlier_vectors(continual: Ewc | Distillation | None) -> int:
    """How many vectors of an earlier task travel with each round, one number a parameter."""
    match continual:
        case Ewc():
            return 2
        case Distillation():
            return 1
        case _:
            return 0


def _require_adaptive(learning_rate: float, adaptivity: float, **betas: float) -> None:
    _require_positive("The researcher's learning_rate", learning_rate)
    _require_positive("adaptivity", adaptivity)
    for name, beta in betas.items():
        require(0 <= beta < 1, f"{name} must be in [0, 1), got {beta}.")


def _require_positive(name: str, value: float) -> None:
    require(
        math.isfinite(value) and 1e-12 <= value <= 1e12,
        f"{name} must be a number from 1e-12 to 1e12, got {value}.",
    )


def _require_hash(name: str, value: str) -> None:
    require(
        _HEX.fullmatch(value) is not None,
        f"{name} must be a SHA-256, 64 lower-case hexadecimal digits, got {value[:70]!r}.",
    )
