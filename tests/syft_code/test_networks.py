"""Recipes become networks of the promised size that treat every slice alone."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from syft_code import networks
from syft_code.errors import InvalidData, InvalidMessage, InvalidPlan
from syft_code.recipes import (
    Activation,
    Conv,
    CrossEntropy,
    DataSpec,
    DiceCrossEntropy,
    GlobalAverage,
    GroupNorm,
    LayerStack,
    Linear,
    Pool,
    Recipe,
    UNet,
    layer_parameters,
    parameter_count,
)

SKIN = DataSpec(
    kind="ham10000",
    task="classification",
    channels=("red", "green", "blue"),
    height_px=17,
    width_px=22,
    classes=("akiec", "bcc", "mel", "nv"),
    patient_unit="lesion",
    stand_in=True,
)
BRAIN = DataSpec(
    kind="brats",
    task="segmentation",
    channels=("t1", "t1ce", "t2", "flair"),
    height_px=16,
    width_px=24,
    classes=("background", "necrotic core", "edema", "enhancing tumour"),
    patient_unit="patient",
    stand_in=True,
)
EVERY_LAYER = LayerStack(
    layers=(
        Conv(channels=6, kernel_px=5, stride=2),
        GroupNorm(groups=3),
        Activation(function="silu"),
        Pool(function="average", size_px=2),
        Conv(channels=8, kernel_px=1),
        Activation(function="tanh"),
        Conv(channels=8, kernel_px=7, stride=2),
        Pool(function="max", size_px=2),
        Linear(features=12),
        GroupNorm(groups=4),
        Activation(),
        Conv(channels=5),
        GlobalAverage(),
        Linear(features=9),
    )
)
RECIPES = [
    (Recipe(model=EVERY_LAYER, loss=CrossEntropy(class_weights=(1.0, 2.0, 3.0, 0.5))), SKIN),
    (Recipe(model=LayerStack(layers=(Linear(features=3),)), loss=CrossEntropy()), SKIN),
    (Recipe(model=LayerStack(layers=(Activation(),)), loss=CrossEntropy()), SKIN),
    (Recipe(model=UNet(widths=(4, 8)), loss=DiceCrossEntropy()), BRAIN),
    (Recipe(model=UNet(widths=(4, 8, 12, 16), groups=2), loss=CrossEntropy()), BRAIN),
]


def some_images(data: DataSpec, count: int) -> np.ndarray:
    shape = (count, len(data.channels), data.height_px, data.width_px)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize(("recipe", "data"), RECIPES)
def test_a_networks_vector_is_its_layers_in_the_order_that_recipes_count_them(recipe, data) -> None:
    layers = (
        m for m in networks.build(recipe, data).modules() if list(m.parameters(recurse=False))
    )
    sizes = [sum(p.numel() for p in layer.parameters(recurse=False)) for layer in layers]
    assert sizes == layer_parameters(recipe, data)


@pytest.mark.parametrize(("recipe", "data"), RECIPES)
def test_a_network_has_as_many_parameters_as_its_recipe_counts(recipe, data) -> None:
    model = networks.build(recipe, data)
    assert sum(p.numel() for p in model.parameters()) == parameter_count(recipe, data)
    assert not list(model.buffers())


@pytest.mark.parametrize(("recipe", "data"), RECIPES)
def test_logits_have_one_number_for_each_class_and_pixel(recipe, data) -> None:
    logits = networks.build(recipe, data)(networks.inputs(some_images(data, 2)))
    pixels = (data.height_px, data.width_px) if data.task == "segmentation" else ()
    assert logits.shape == (2, len(data.classes), *pixels)


@pytest.mark.parametrize(("recipe", "data"), RECIPES)
def test_no_slice_changes_the_logits_of_another(recipe, data) -> None:
    model = networks.build(recipe, data).double()
    images = networks.inputs(some_images(data, 3)).double()
    alone = model(images[1:2])
    images[0], images[2] = 1e6, float("nan")
    torch.testing.assert_close(model(images)[1:2], alone)


@pytest.mark.parametrize(("recipe", "data"), RECIPES)
def test_every_parameter_takes_part_in_the_loss(recipe, data) -> None:
    model = networks.build(recipe, data)
    shape = (4, data.height_px, data.width_px) if data.task == "segmentation" else (4,)
    labels = torch.randint(0, 4, shape, generator=torch.Generator().manual_seed(0))
    logits = model(networks.inputs(some_images(data, 4)))
    networks.loss_per_example(recipe, logits, labels).sum().backward()
    assert all(bool(p.grad.abs().sum() > 0) for p in model.parameters())


def test_a_recipe_that_does_not_fit_the_data_is_refused() -> None:
    with pytest.raises(InvalidPlan, match="U-Net"):
        networks.build(RECIPES[0][0], BRAIN)


def test_building_leaves_the_global_generator_of_torch_alone() -> None:
    state = torch.random.get_rng_state()
    networks.build(*RECIPES[0])
    networks.initial_weights(*RECIPES[3], seed=5)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_start_weights_depend_on_the_seed_alone() -> None:
    recipe, data = RECIPES[0]
    first = networks.initial_weights(recipe, data, seed=1)
    assert first.dtype == np.float32 and first.shape == (parameter_count(recipe, data),)
    assert np.array_equal(first, networks.initial_weights(recipe, data, seed=1))
    assert not np.array_equal(first, networks.initial_weights(recipe, data, seed=2))
    assert np.array_equal(
        networks.to_vector(networks.build(recipe, data)),
        networks.initial_weights(recipe, data, seed=0),
    )


def test_start_weights_keep_norm_scales_at_one_and_biases_at_zero() -> None:
    model = networks.build(*RECIPES[4])
    for layer in model.modules():
        if isinstance(layer, torch.nn.GroupNorm):
            assert bool((layer.weight == 1).all())
        if hasattr(layer, "bias"):
            assert bool((layer.bias == 0).all())
    first = next(m for m in model.modules() if isinstance(m, torch.nn.Conv2d))
    assert float(first.weight.detach().std()) == pytest.approx(math.sqrt(2 / 36), rel=0.2)
    assert float(model.head.weight.detach().std()) == pytest.approx(0.1 * math.sqrt(2 / 4), rel=0.6)


def test_a_vector_goes_into_a_network_and_comes_back_in_the_order_of_its_parameters() -> None:
    recipe, data = RECIPES[3]
    model = networks.build(recipe, data)
    vector = np.arange(parameter_count(recipe, data), dtype=np.float32)
    networks.from_vector(model, vector)
    assert np.array_equal(networks.to_vector(model), vector)
    assert networks.to_vector(model)[1] == 1.0
    vector[:] = 0
    assert networks.to_vector(model)[1] == 1.0


def test_a_vector_of_wrong_length_or_with_a_number_that_is_not_finite_is_refused() -> None:
    recipe, data = RECIPES[1]
    model = networks.build(recipe, data)
    good = networks.to_vector(model)
    for bad in (good[:-1], np.append(good, 0.0), good.reshape(1, -1)):
        with pytest.raises(InvalidMessage, match=f"one vector of {len(good)} numbers"):
            networks.from_vector(model, bad)
    for value in (np.nan, np.inf, -np.inf, 1e39):
        with pytest.raises(InvalidMessage, match="finite"), np.errstate(over="ignore"):
            networks.from_vector(model, np.append(good[:-1].astype(np.float64), value))
    assert np.array_equal(networks.to_vector(model), good)


def test_colours_become_deviations_from_the_published_mean() -> None:
    images = np.zeros((1, 3, 2, 1), dtype=np.uint8)
    images[0, :, 0, 0] = [195, 139, 145]
    images[0, :, 1, 0] = [195 + 36, 139 + 39, 145 + 43]
    pixels = networks.inputs(images)
    assert pixels.dtype == torch.float32
    assert pixels[0, :, 0, 0].tolist() == pytest.approx([0, 0, 0], abs=0.02)
    assert pixels[0, :, 1, 0].tolist() == pytest.approx([1, 1, 1], abs=0.02)


def test_other_bytes_become_minus_one_to_one_and_half_floats_stay() -> None:
    bytes_in = np.array([0, 255], dtype=np.uint8).reshape(1, 1, 1, 2)
    assert networks.inputs(bytes_in).flatten().tolist() == [-1.0, 1.0]
    halves = np.array([-1.5, 3.0, 0.0], dtype=np.float16).reshape(1, 3, 1, 1)
    assert networks.inputs(halves).flatten().tolist() == [-1.5, 3.0, 0.0]


def test_images_of_another_type_or_shape_are_refused() -> None:
    with pytest.raises(InvalidData, match="got float64 with 4 dimensions"):
        networks.inputs(np.zeros((1, 3, 2, 2)))
    with pytest.raises(InvalidData, match="got uint8 with 3 dimensions"):
        networks.inputs(np.zeros((3, 2, 2), dtype=np.uint8))


def test_weighted_cross_entropy_is_the_weight_times_minus_the_log_probability() -> None:
    recipe, logits = RECIPES[0][0], torch.tensor([[0.0, 0.0, math.log(6.0), 0.0]])
    loss = networks.loss_per_example(recipe, logits, torch.tensor([2]))
    assert loss.tolist() == pytest.approx([3.0 * math.log(9 / 6)])


def test_the_loss_of_a_slice_is_the_mean_over_its_pixels() -> None:
    recipe, _ = RECIPES[4]
    logits = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 4, (2, 3, 5), generator=torch.Generator().manual_seed(1))
    each = functional.cross_entropy(logits, labels, reduction="none")
    expected = [float(each[0].mean()), float(each[1].mean())]
    loss = networks.loss_per_example(recipe, logits, labels)
    assert loss.tolist() == pytest.approx(expected)


def test_dice_costs_nothing_for_a_sure_right_answer_and_one_for_a_sure_miss() -> None:
    recipe = Recipe(model=UNet(widths=(4, 8)), loss=DiceCrossEntropy())
    labels = torch.ones(1, 40, 50, dtype=torch.int64)
    sure = torch.full((1, 2, 40, 50), -50.0)
    sure[:, 1] = 50.0
    assert float(networks.loss_per_example(recipe, sure, labels)) == pytest.approx(0.0, abs=1e-5)
    miss = networks.loss_per_example(recipe, sure.flip(1), labels)
    assert float(miss) == pytest.approx(100.0 + 1.0, abs=1e-2)
