"""What a network is given of drawn slices: their views, or what comes out of its fixed front.

    drawn slices ─ augmentation ─▶ views ─ fixed prefix ─▶ inputs of what is trained, and the losses
                                        └─ teacher ─▶ its answers ───────────────────────┘

Without augmentation the fixed prefix (scattering, frozen layers) and the teacher say the same of
a slice in every step, and are asked once; with it, each view is new and they are asked each time.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from syft_code.cohort import Cohort, Images
from syft_code.errors import TrainingFailed, require
from syft_code.learning import augmentation as augmenting
from syft_code.learning import distillation
from syft_code.learning.distillation import Teacher
from syft_code.models import networks
from syft_code.plans.plan_parts import Augmentation
from syft_code.privacy.noise import NoiseSource
from syft_code.recipes.recipe import Recipe

REMEMBERED_NUMBERS = 1 << 26
"""Of a cohort at most, 256 MB; a larger one is computed anew each time."""

Chosen = NDArray[np.int64]
Losses = Callable[[Tensor], Float[Tensor, "batch"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be learned of each slice: the labels, and what a teacher says of it."""

    recipe: Recipe
    augmentation: Augmentation | None = None
    teacher: Teacher | None = None

    @property
    def views(self) -> int:
        """How many views of a slice the gradient of a patient is the mean over."""
        return 1 if self.augmentation is None else self.augmentation.views

    def losses(self, truth: Tensor, taught: tuple[Tensor, ...]) -> Losses:
        """The loss of each slice or view alone, as a function of what the network says of it."""

        def of(logits: Tensor) -> Float[Tensor, "batch"]:
            loss = networks.loss_per_example(self.recipe, logits, truth)
            if self.teacher is None:
                return loss
            return loss + distillation.loss_per_example(self.teacher, logits, *taught)

        return of


class Batches:
    """Inputs and losses of chosen slices of one cohort, for a task and a network's fixed front.

    Guarantee: what a slice becomes depends on that slice and on random numbers that don't come from
        the data. So for each outcome of those numbers adding or removing a patient changes
        nothing of the others', and a mixture over outcomes keeps the guarantee that holds for each.
    """

    def __init__(
        self,
        cohort: Cohort,
        task: Task,
        *,
        prefix: nn.Module | None,
        dtype: torch.dtype,
        randomness: NoiseSource | None,
        device: str = "cpu",
    ) -> None:
        require(
            task.augmentation is None or randomness is not None,
            "Augmentation must have a source of random numbers.",
            error=TrainingFailed,
        )
        self._cohort, self._task, self._prefix = cohort, task, prefix
        self._dtype, self._randomness, self._device = dtype, randomness, device
        if task.teacher is not None:
            task.teacher.network.to(device)
        fixed = prefix is not None or task.teacher is not None
        self._memory = _Memory(self._plain, len(cohort.images)) if fixed else None

    def __call__(self, chosen: Chosen) -> tuple[tuple[Tensor, Tensor], Losses]:
        """For the network that is trained: its inputs, and the losses of what it says of them."""
        truth = self._cohort.labels[chosen]
        if self._task.augmentation is not None and self._randomness is not None:
            images, truth = self._views(chosen, self._task.augmentation, self._randomness)
            facts = self._cohort.facts[chosen].repeat(self._task.views, axis=0)
            seen = self._seen(*networks.inputs(images, facts))
        else:
            seen = self._plain(chosen) if self._memory is None else self._memory(chosen)
        pixels, numbers, *taught = seen
        labels = torch.from_numpy(truth.astype(np.int64)).to(self._device)
        losses = self._task.losses(labels, tuple(taught))
        return (pixels, numbers), losses

    def _plain(self, chosen: Chosen) -> tuple[Tensor, ...]:
        return self._seen(*networks.inputs(self._cohort.images[chosen], self._cohort.facts[chosen]))

    def _seen(self, pixels: Tensor, facts: Tensor) -> tuple[Tensor, ...]:
        """What is trained sees this, and after it what the teacher says."""
        inputs = (pixels.to(self._device, self._dtype), facts.to(self._device, self._dtype))
        teacher = self._task.teacher
        with torch.no_grad():
            taught = () if teacher is None else (distillation.logits(teacher, *inputs),)
            seen = inputs if self._prefix is None else self._prefix(*inputs)
        return (*seen, *taught)

    def _views(
        self, chosen: Chosen, augmentation: Augmentation, randomness: NoiseSource
    ) -> tuple[Images, augmenting.Labels]:
        """Random choices come from the hospital's own source, as the noise does; from no seed."""
        images, labels = self._cohort.images[chosen], self._cohort.labels[chosen]
        shape = (len(chosen) * augmentation.views, augmenting.numbers(images))
        uniforms = randomness.uniform(math.prod(shape)).reshape(shape)
        return augmenting.views(images, labels, augmentation=augmentation, uniforms=uniforms)


class _Memory:
    """A function of slices whose answers are kept: each slice is asked about once."""

    def __init__(self, compute: Callable[[Chosen], tuple[Tensor, ...]], slices: int) -> None:
        self._compute, self._slices = compute, slices
        self._known = np.zeros(slices, dtype=np.bool_)
        self._kept: list[Tensor] = []

    def __call__(self, chosen: Chosen) -> tuple[Tensor, ...]:
        new = chosen[~self._known[chosen]]
        if self._kept and not len(new):
            return tuple(kept[chosen] for kept in self._kept)
        answers = self._compute(new)
        numbers = sum(a[0].numel() for a in answers if len(a))
        if self._slices * numbers > REMEMBERED_NUMBERS:
            return answers  # none is kept: all of the chosen were new
        if not self._kept:
            self._kept = [a.new_empty((self._slices, *a.shape[1:])) for a in answers]
        for kept, answer in zip(self._kept, answers, strict=True):
            kept[new] = answer
        self._known[new] = True
        return tuple(kept[chosen] for kept in self._kept)
