"""What a network is given: its fixed front is asked about each slice once, and says the same."""

import numpy as np
import pytest
import torch
from torch import nn

from syft_code.learning import batches
from syft_code.learning.batches import Batches, Task
from syft_code.learning.distillation import Teacher
from syft_code.models import networks
from syft_code.plans.plan_parts import Augmentation
from syft_code.privacy.noise import NoiseSource
from tests.gradients import CASES, a_cohort, a_model


class Counting(nn.Module):
    """A fixed front, and how many slices it was asked about."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside, self.asked = inside, 0

    def forward(self, pixels: torch.Tensor, facts: torch.Tensor) -> tuple[torch.Tensor, ...]:
        self.asked += len(pixels)
        return self.inside(pixels, facts)


def some(*, augmentation: Augmentation | None = None) -> tuple[Batches, Counting, nn.Module]:
    recipe, data = CASES["scattering"]
    cohort, model = a_cohort(data, 6), a_model(recipe, data)
    prefix, rest = networks.split_prefix(model, 0)
    assert prefix is not None
    front = Counting(prefix)
    task = Task(
        recipe=recipe,
        augmentation=augmentation,
        teacher=Teacher(a_model(recipe, data, seed=3), 1.0, 2.0),
    )
    source = NoiseSource.from_key(b"k" * 32)
    found = Batches(cohort, task, prefix=front, dtype=torch.float32, randomness=source)
    return found, front, rest


def losses(found: Batches, rest: nn.Module, chosen: list[int]) -> torch.Tensor:
    inputs, loss = found(np.array(chosen))
    return loss(rest(*inputs)).detach()


def test_the_front_is_asked_once_about_each_slice_in_whatever_order_they_come() -> None:
    found, front, rest = some()
    whole = losses(some()[0], rest, [0, 1, 2, 3, 4, 5])
    for chosen in ([3, 1], [1, 3], [5, 3, 0], [2], [4, 5, 2, 1, 0, 3]):
        torch.testing.assert_close(losses(found, rest, chosen), whole[chosen])
    assert front.asked == 6


@pytest.mark.parametrize("room", [0, 100])
def test_a_cohort_too_large_to_remember_is_computed_anew_and_says_the_same(
    room, monkeypatch
) -> None:
    remembered = losses(*some()[::2], [4, 0])
    monkeypatch.setattr(batches, "REMEMBERED_NUMBERS", room)
    found, front, rest = some()
    for _ in range(3):
        torch.testing.assert_close(losses(found, rest, [4, 0]), remembered)
    assert front.asked == 6


def test_views_are_new_each_time_and_never_remembered() -> None:
    found, front, rest = some(augmentation=Augmentation(views=2, flips=True, shift_px=3))
    first, second = (losses(found, rest, [0, 1, 2]) for _ in range(2))
    assert front.asked == 12
    assert first.shape == (6,)
    assert not torch.allclose(first, second)
