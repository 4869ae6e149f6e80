"""Distillation: a network that learns something new is asked to still answer as its teacher did.

    loss of a slice  +=  weight T^2 KL( softmax(teacher / T) || softmax(student / T) )

with logits at a temperature T, a mean over pixels for segmentation. T^2 keeps the size of the
gradient the same for any T (Hinton et al. 2015, section 2.1). Against the cross-entropy that Li &
Hoiem write, KL differs by what the student cannot change.

Guarantee: the term is in each patient's own loss, so it is in the gradient that is clipped: the
sensitivity is as without it.

Source: Li & Hoiem 2016, "Learning without forgetting", arXiv 1606.09282v3, equation 2.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class Teacher(NamedTuple):
    """Who is asked, how much that counts beside the labels, and at which temperature.

    The network takes the same (pixels, facts) as the student's and is never trained. Its weights
    must be public, or be released under a guarantee of their own.
    """

    network: nn.Module
    weight: float
    temperature: float


def logits(
    teacher: Teacher, pixels: Float[Tensor, "batch ..."], facts: Float[Tensor, "batch facts"]
) -> Float[Tensor, "batch classes *pixels"]:
    """What the teacher says, without a gradient."""
    own = next(teacher.network.parameters()).dtype
    with torch.no_grad():
        answer: Tensor = teacher.network(pixels.to(own), facts.to(own))
    return answer.to(pixels.dtype)


def loss_per_example(
    teacher: Teacher,
    student: Float[Tensor, "batch classes *pixels"],
    taught: Float[Tensor, "batch classes *pixels"],
) -> Float[Tensor, "batch"]:
    """The term of each example alone; 0 where the student says what the teacher said.

    >>> one = torch.tensor([[0.0, 2.0]])
    >>> round(float(loss_per_example(Teacher(nn.Identity(), 1.0, 2.0), 0 * one, one)), 4)
    0.4438
    """
    temperature = teacher.temperature
    wanted = functional.log_softmax(taught / temperature, 1)
    given = functional.log_softmax(student / temperature, 1)
    apart = functional.kl_div(given, wanted, reduction="none", log_target=True).sum(1)
    mean = apart.flatten(1).mean(1) if apart.ndim > 1 else apart
    return teacher.weight * temperature**2 * mean
