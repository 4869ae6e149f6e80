"""Pulls towards earlier weights: FedProx's proximal term and EWC's penalty, one formula.

    (s / 2) (w - target)^2, summed over the trained weights, has the gradient  s (w - target)

    FedProx   s = mu, one number                     target = the round's weights
    EWC       s = lambda F, a number for each weight  target = the weights after the task before

Here F is the diagonal of the Fisher information: how much that task's loss minds each weight.

Guarantee: privacy is that of the noised gradients. The pull is added after the noise, and is made
of public numbers (s, target) and of weights that earlier noised steps gave: post-processing.
Does not protect: the task before, if its importance was not itself computed under a guarantee.

Source: Li et al. 2020, "Federated optimization in heterogeneous networks", arXiv 1812.06127v5,
equation 2. Kirkpatrick et al. 2017, "Overcoming catastrophic forgetting", arXiv 1612.00796v2,
equation 3.
"""

from dataclasses import dataclass

import numpy as np

from syft_code.arrays import Vector
from syft_code.errors import TrainingFailed, require


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ProximalTerm:
    """A pull of a given strength towards a target, one number for each trained weight.

    Units: `strength` per step and weight, as the gradient has it; one number is for all weights.

    Raises:
        TrainingFailed: if the two differ in length, a strength is negative, or a number is not
            finite.
    """

    strength: Vector | float
    target: Vector

    def __post_init__(self) -> None:
        strength = np.asarray(self.strength, dtype=np.float64)
        require(
            self.target.ndim == 1 and strength.shape in ((), self.target.shape),
            "A pull must have one strength, or one for each weight of its target, got the shapes "
            f"{strength.shape} and {self.target.shape}.",
            error=TrainingFailed,
        )
        require(
            bool(np.isfinite(self.target).all() and np.isfinite(strength).all())
            and not bool((strength < 0).any()),
            "A pull must have finite targets and finite strengths of at least 0.",
            error=TrainingFailed,
        )

    def gradient(self, weights: Vector) -> Vector:
        """What is added to the noised mean gradient at these weights.

        >>> term = ProximalTerm(strength=0.5, target=np.array([1.0, 2.0]))
        >>> term.gradient(np.array([3.0, 2.0]))
        array([1., 0.])
        """
        gradient: Vector = self.strength * (weights - self.target)
        return gradient


def both(first: ProximalTerm, second: ProximalTerm) -> ProximalTerm:
    """One pull that does what two do: a s (w - a t) + b s (w - b t) = s (w - t).

    >>> at = np.array([1.0])
    >>> weak = ProximalTerm(strength=1.0, target=0 * at)
    >>> strong = ProximalTerm(strength=3.0, target=4 * at)
    >>> both(weak, strong).target, both(weak, strong).gradient(at)
    (array([3.]), array([-8.]))
    """
    strength = np.asarray(first.strength + second.strength, dtype=np.float64)
    moment = first.strength * first.target + second.strength * second.target
    anywhere = np.broadcast_to(strength == 0, moment.shape)
    target = np.where(anywhere, 0.0, moment / np.where(strength == 0, 1.0, strength))
    return ProximalTerm(strength=np.broadcast_to(strength, target.shape), target=target)
