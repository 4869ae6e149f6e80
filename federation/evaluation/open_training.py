"""Training without privacy, for data that one may release: a baseline, or weights to start from."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from syft_code.cohort import Cohort
from syft_code.learning.batches import Batches, Task
from syft_code.models import networks
from syft_code.recipes.recipe import Recipe


def train_without_privacy(
    model: nn.Module,
    cohort: Cohort,
    *,
    recipe: Recipe,
    learning_rate: float,
    epochs: int,
    batch_size: int,
    seed: int,
    balanced: bool = False,
) -> None:
    """Train on all slices with Adam and no noise: a baseline, for data that one may release.

    With `balanced` each class counts the same, however many slices it has, times the weights of
    the recipe's loss (classification).

    Guarantee: none. Never let weights from here leave a hospital.
    Source: Kingma & Ba 2015, as torch implements it.
    """
    random = np.random.default_rng(seed)
    adam = torch.optim.Adam(model.parameters(), lr=learning_rate)
    share = _share_of_each_slice(cohort, balanced)
    prefix, rest = networks.split_prefix(model, 0)
    dtype = next(model.parameters()).dtype
    batches = Batches(cohort, Task(recipe=recipe), prefix=prefix, dtype=dtype, randomness=None)
    for _ in range(epochs):
        order = random.permutation(len(cohort.images))
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            inputs, losses = batches(batch)
            adam.zero_grad()
            (losses(rest(*inputs)) * share[batch]).mean().backward()  # type: ignore[no-untyped-call]
            adam.step()


def _share_of_each_slice(cohort: Cohort, balanced: bool) -> Tensor:
    if not balanced or cohort.labels.ndim > 1:
        return torch.ones(len(cohort.images))
    labels = torch.from_numpy(cohort.labels.astype(np.int64))
    slices = functional.one_hot(labels).sum(0)
    return len(labels) / (int((slices > 0).sum()) * slices[labels])
