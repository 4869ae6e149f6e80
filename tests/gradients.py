"""Networks of every layer, patients for them, and their gradients the slow way: one by one."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from syft_code.cohort import Cohort
from syft_code.learning import distillation
from syft_code.learning.distillation import Teacher
from syft_code.models import networks
from syft_code.recipes.architectures import Fusion, LayerStack, UNet
from syft_code.recipes.layers import (
    Activation,
    Conv,
    GlobalAverage,
    GroupNorm,
    Linear,
    Lstm,
    Pool,
    Scattering,
)
from syft_code.recipes.recipe import CrossEntropy, DataSpec, DiceCrossEntropy, Recipe
from tests import shapes

SKIN = replace(shapes.SKIN, height_px=16, width_px=16, classes=("bkl", "mel", "nv"))
SKIN_AND_FACTS = replace(SKIN, facts=("age", "age?", "sex"))
BRAIN = replace(shapes.BRAIN, width_px=16, facts=("age", "grade"))
TABLE = replace(shapes.TABLE, facts=tuple("abcdefg"))
SERIES = replace(shapes.SERIES, height_px=9, width_px=4)
STACK = Recipe(
    model=LayerStack(
        layers=(
            Conv(channels=6, kernel_px=5, stride=2),
            GroupNorm(groups=2),
            Activation(function="silu"),
            Pool(),
            Conv(channels=8),
            Activation(function="tanh"),
            Linear(features=10),
            GroupNorm(groups=2),
            Activation(),
            Linear(features=6),
        )
    ),
    loss=CrossEntropy(class_weights=(1.0, 4.0, 0.5)),
)
STRIDES = Recipe(
    model=LayerStack(
        layers=(
            Conv(channels=4, kernel_px=1, stride=2),
            Conv(channels=4, kernel_px=7, stride=2),
            Pool(function="average"),
            GlobalAverage(),
        )
    ),
    loss=CrossEntropy(class_priors=(0.9, 0.09, 0.01)),
)
WAVELETS = Recipe(
    model=LayerStack(
        layers=(Scattering(scales=2, angles=2), Conv(channels=4, kernel_px=1), GroupNorm(groups=2))
    ),
    loss=CrossEntropy(),
)
U_NET = Recipe(model=UNet(widths=(4, 8, 8), facts=True), loss=DiceCrossEntropy())
U_NET_PLAIN = Recipe(
    model=UNet(widths=(4, 8)), loss=CrossEntropy(class_weights=(0.1, 1.0, 1.0, 2.0))
)
ROWS = Recipe(
    model=LayerStack(layers=(Linear(features=8), Activation(), Linear(features=5))),
    loss=CrossEntropy(),
)
VITALS = Recipe(
    model=LayerStack(layers=(Lstm(units=5), Linear(features=4), Activation(function="tanh"))),
    loss=CrossEntropy(),
)
BOTH = Recipe(
    model=Fusion(
        image=(Conv(channels=4, stride=2), GroupNorm(groups=2), Activation(), GlobalAverage()),
        facts=(Linear(features=4), Activation()),
        head=(Linear(features=6), Activation(function="silu")),
    ),
    loss=CrossEntropy(class_weights=(1.0, 3.0, 1.0)),
)
CASES = {
    "every layer of a stack": (STACK, SKIN),
    "strides and kernels": (STRIDES, SKIN),
    "scattering": (WAVELETS, SKIN),
    "U-Net with facts, Dice": (U_NET, BRAIN),
    "U-Net, a loss a pixel": (U_NET_PLAIN, BRAIN),
    "table": (ROWS, TABLE),
    "series": (VITALS, SERIES),
    "images and facts": (BOTH, SKIN_AND_FACTS),
}
"""Every layer, both tasks, both losses, images, tables, series, and images with facts."""


def a_cohort(data: DataSpec, patients: int, slices_each: int = 1, *, seed: int = 0) -> Cohort:
    random, slices = np.random.default_rng(seed), patients * slices_each
    shape = (slices, len(data.channels), data.height_px, data.width_px)
    mapped = data.task == "segmentation"
    images = random.integers(0, 256, shape).astype(np.uint8)
    if mapped or data.kind == "series":
        images = random.standard_normal(shape).astype(np.float16)
    labels = random.integers(0, len(data.classes), (slices, *(shape[2:] if mapped else ())))
    return Cohort(
        images=images,
        labels=labels.astype(np.uint8),
        patient=np.tile(np.arange(patients, dtype=np.int32), slices_each),
        facts=random.standard_normal((slices, len(data.facts))).astype(np.float32),
    )


def without(cohort: Cohort, patient: int) -> Cohort:
    return cohort.select(np.arange(cohort.patients) != patient)


def a_model(
    recipe: Recipe, data: DataSpec, *, dtype: torch.dtype = torch.float32, seed: int = 0
) -> nn.Module:
    """Away from the start weights, where much is zero."""
    model = networks.build(recipe, data)
    start = networks.initial_weights(recipe, data, seed=seed)
    moved = start + 0.2 * np.random.default_rng(seed).standard_normal(len(start))
    networks.from_vector(model, moved)
    return model.to(dtype)


def slow_gradients(
    model: nn.Module,
    cohort: Cohort,
    *,
    recipe: Recipe,
    frozen: int = 0,
    views: int = 1,
    teacher: Teacher | None = None,
) -> torch.Tensor:
    """Float64 gradients by one backward pass a patient, of `views` slices each: `[patients, P]`."""
    model, rows = model.double(), []
    for start in range(0, len(cohort.images), views):
        part = slice(start, start + views)
        inputs = networks.inputs(cohort.images[part], cohort.facts[part])
        inputs = tuple(t.double() for t in inputs)
        logits = model(*inputs)
        truth = torch.from_numpy(cohort.labels[part].astype(np.int64))
        loss = networks.loss_per_example(recipe, logits, truth)
        if teacher is not None:
            taught = distillation.logits(teacher, *inputs)
            loss = loss + distillation.loss_per_example(teacher, logits, taught)
        found = torch.autograd.grad(loss.mean(), list(model.parameters()))
        rows.append(torch.cat([g.reshape(-1) for g in found])[frozen:])
    return torch.stack(rows)


def clip_and_add(rows: torch.Tensor, max_grad_norm: float) -> torch.Tensor:
    lengths = rows.norm(dim=1, keepdim=True)
    return (rows * (max_grad_norm / lengths.clamp(min=max_grad_norm))).sum(0)


def median_norm(rows: torch.Tensor) -> float:
    return float(rows.norm(dim=1).median())
