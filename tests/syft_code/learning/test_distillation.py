"""The teacher's term: zero where the student agrees, and what Li & Hoiem wrote elsewhere."""

import numpy as np
import pytest
import torch
from torch import nn

from syft_code.learning import distillation
from syft_code.learning.distillation import Teacher


def test_one_term_worked_by_hand() -> None:
    """Teacher (0, 2 ln 3) at T = 2 says (1/4, 3/4); the student says (1/2, 1/2)."""
    teacher = Teacher(nn.Identity(), weight=0.5, temperature=2.0)
    taught = torch.tensor([[0.0, 2.0 * np.log(3.0)]], dtype=torch.float64)
    loss = distillation.loss_per_example(teacher, torch.zeros(1, 2, dtype=torch.float64), taught)
    kl = 0.25 * np.log(0.25 / 0.5) + 0.75 * np.log(0.75 / 0.5)
    assert float(loss) == pytest.approx(0.5 * 4.0 * kl, rel=1e-12)


def test_its_gradient_is_that_of_the_papers_cross_entropy_of_soft_labels() -> None:
    teacher = Teacher(nn.Identity(), weight=1.0, temperature=3.0)
    taught = torch.randn(4, 5, dtype=torch.float64)
    student = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    ours = distillation.loss_per_example(teacher, student, taught).sum()
    soft = (taught / 3.0).softmax(1)
    theirs = -9.0 * (soft * (student / 3.0).log_softmax(1)).sum()
    (one,), (other,) = (torch.autograd.grad(loss, student) for loss in (ours, theirs))
    torch.testing.assert_close(one, other)


def test_agreeing_costs_nothing_and_pixels_are_averaged() -> None:
    teacher = Teacher(nn.Identity(), weight=1.0, temperature=2.0)
    taught = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    none = distillation.loss_per_example(teacher, taught + 7.0, taught)
    torch.testing.assert_close(none, torch.zeros(2, dtype=torch.float64))
    student = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    one = distillation.loss_per_example(teacher, student, taught)
    pixels = [t.permute(0, 2, 3, 1).reshape(-1, 3) for t in (student, taught)]
    each = distillation.loss_per_example(teacher, *pixels).view(2, -1).mean(1)
    torch.testing.assert_close(one, each)


def test_a_teacher_is_asked_without_a_gradient_and_in_its_own_precision() -> None:
    teacher = Teacher(nn.Bilinear(2, 3, 4), 1.0, 1.0)
    said = distillation.logits(teacher, torch.randn(5, 2).double(), torch.randn(5, 3).double())
    assert said.dtype == torch.float64
    assert not said.requires_grad
