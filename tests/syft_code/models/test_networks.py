"""Recipes become networks of the promised size that treat every slice alone."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call, grad, vmap
from torch.nn import functional

from syft_code.errors import InvalidData, InvalidMessage, InvalidPlan
from syft_code.models import modules, networks
from syft_code.recipes import local_norms
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
from syft_code.recipes.recipe import (
    CrossEntropy,
    DataSpec,
    DiceCrossEntropy,
    Recipe,
    layer_parameters,
    parameter_count,
    pixel_shape,
    trained_count,
)
from tests.shapes import BRAIN, BRAIN_FACTS, SERIES, SKIN, SKIN_FACTS, TABLE

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
TABLE_LAYERS = LayerStack(
    layers=(Linear(features=8), GroupNorm(groups=2), Activation(function="tanh"))
)
SCATTERED = LayerStack(layers=(Scattering(scales=2, angles=4, groups=5), Linear(features=3)))
FUSION = Fusion(
    image=(Conv(channels=4, stride=2), GroupNorm(groups=2), Activation(), Pool()),
    facts=(Linear(features=6), Activation(function="tanh")),
    head=(Linear(features=5), Activation()),
)
TWELVE_CHANNELS = replace(BRAIN, channels=tuple(f"slice {i}" for i in range(12)))
SERIES_FACTS = replace(SERIES, facts=("age",))
RECIPES = [
    (Recipe(model=EVERY_LAYER, loss=CrossEntropy(class_weights=(1.0, 2.0, 3.0, 0.5))), SKIN),
    (Recipe(model=LayerStack(layers=(Linear(features=3),)), loss=CrossEntropy()), SKIN),
    (Recipe(model=LayerStack(layers=(Activation(),)), loss=CrossEntropy()), SKIN),
    (Recipe(model=UNet(widths=(4, 8)), loss=DiceCrossEntropy()), BRAIN),
    (Recipe(model=UNet(widths=(4, 8, 12, 16), groups=2), loss=CrossEntropy()), BRAIN),
    (Recipe(model=UNet(widths=(4, 8), facts=True), loss=DiceCrossEntropy()), BRAIN_FACTS),
    (Recipe(model=UNet(widths=(4, 8)), loss=DiceCrossEntropy()), TWELVE_CHANNELS),
    (Recipe(model=TABLE_LAYERS, loss=CrossEntropy()), TABLE),
    (Recipe(model=LayerStack(layers=(Lstm(units=6), Activation())), loss=CrossEntropy()), SERIES),
    (Recipe(model=SCATTERED, loss=CrossEntropy()), SKIN),
    (Recipe(model=FUSION, loss=CrossEntropy()), SKIN_FACTS),
    (Recipe(model=Fusion(image=(Lstm(units=3),)), loss=CrossEntropy()), SERIES_FACTS),
]


def test_scaled_facts_are_facts_times_the_scale() -> None:
    scaled = Recipe(model=replace(FUSION, facts_scale=4.0), loss=CrossEntropy())
    plain = Recipe(model=FUSION, loss=CrossEntropy())
    weights = networks.initial_weights(plain, SKIN_FACTS, seed=1)
    assert parameter_count(scaled, SKIN_FACTS) == len(weights)
    pixels = torch.rand(3, *pixel_shape(SKIN_FACTS))
    facts = torch.randn(3, len(SKIN_FACTS.facts))
    times = networks.build(scaled, SKIN_FACTS, weights)(pixels, facts)
    torch.testing.assert_close(times, networks.build(plain, SKIN_FACTS, weights)(pixels, 4 * facts))
    assert not torch.allclose(times, networks.build(plain, SKIN_FACTS, weights)(pixels, facts))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """These networks are small: more threads get into each other's way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def some_images(data: DataSpec, count: int) -> np.ndarray:
    shape = (count, len(data.channels), data.height_px, data.width_px)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def some_inputs(data: DataSpec, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    facts = np.random.default_rng(1).standard_normal((count, len(data.facts)))
    return networks.inputs(some_images(data, count), facts.astype(np.float32))


def some_labels(data: DataSpec, count: int) -> torch.Tensor:
    shape = (count, data.height_px, data.width_px) if data.task == "segmentation" else (count,)
    seeded = torch.Generator().manual_seed(0)
    return torch.randint(0, len(data.classes), shape, generator=seeded)


def pixels_of(images: np.ndarray) -> torch.Tensor:
    return networks.inputs(images, np.zeros((len(images), 0), dtype=np.float32))[0]


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
    logits = networks.build(recipe, data)(*some_inputs(data, 2))
    pixels = (data.height_px, data.width_px) if data.task == "segmentation" else ()
    assert logits.shape == (2, len(data.classes), *pixels)


@pytest.mark.parametrize(("recipe", "data"), RECIPES)
def test_no_slice_changes_the_logits_of_another(recipe, data) -> None:
    model = networks.build(recipe, data).double()
    pixels, facts = (part.double() for part in some_inputs(data, 3))
    alone = model(pixels[1:2], facts[1:2])
    for part in (pixels, facts):
        part[0], part[2] = 1e6, float("nan")
    torch.testing.assert_close(model(pixels, facts)[1:2], alone)


@pytest.mark.parametrize(("recipe", "data"), RECIPES)
def test_every_parameter_takes_part_in_the_loss(recipe, data) -> None:
    model = networks.build(recipe, data)
    labels = some_labels(data, 4)
    logits = model(*some_inputs(data, 4))
    networks.loss_per_example(recipe, logits, labels).sum().backward()
    assert all(bool(p.grad.abs().sum() > 0) for p in model.parameters())


@pytest.mark.parametrize(("recipe", "data"), RECIPES)
def test_gradients_of_single_slices_can_be_mapped(recipe, data) -> None:
    """`vmap` of `grad` finds what each slice gives alone, so a network runs no rule of its own."""
    model = networks.build(recipe, data).double()
    weights = {name: p.detach() for name, p in model.named_parameters()}
    pixels, facts = (part.double() for part in some_inputs(data, 3))

    def loss(weights, image, row, label):
        logits = functional_call(model, weights, (image.unsqueeze(0), row.unsqueeze(0)))
        return networks.loss_per_example(recipe, logits, label.unsqueeze(0)).squeeze(0)

    labels = some_labels(data, 3)
    model(pixels, facts)  # constants of a size are worked out once, outside a transform
    rows = vmap(grad(loss), in_dims=(None, 0, 0, 0))(weights, pixels, facts, labels)
    alone = grad(loss)(weights, pixels[1], facts[1], labels[1])
    for name, gradient in alone.items():
        torch.testing.assert_close(rows[name][1], gradient)


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
    pixels = pixels_of(images)
    assert pixels.dtype == torch.float32
    assert pixels[0, :, 0, 0].tolist() == pytest.approx([0, 0, 0], abs=0.02)
    assert pixels[0, :, 1, 0].tolist() == pytest.approx([1, 1, 1], abs=0.02)


def test_other_bytes_become_minus_one_to_one_and_half_floats_stay() -> None:
    bytes_in = np.array([0, 255], dtype=np.uint8).reshape(1, 1, 1, 2)
    assert pixels_of(bytes_in).flatten().tolist() == [-1.0, 1.0]
    halves = np.array([-1.5, 3.0, 0.0], dtype=np.float16).reshape(1, 3, 1, 1)
    assert pixels_of(halves).flatten().tolist() == [-1.5, 3.0, 0.0]


def test_images_of_another_type_or_shape_are_refused() -> None:
    with pytest.raises(InvalidData, match="got float64 with 4 dimensions"):
        pixels_of(np.zeros((1, 3, 2, 2)))
    with pytest.raises(InvalidData, match="got uint8 with 3 dimensions"):
        pixels_of(np.zeros((3, 2, 2), dtype=np.uint8))


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


ON_PIXELS = st.one_of(
    st.builds(
        Conv,
        channels=st.sampled_from([2, 3, 4]),
        kernel_px=st.sampled_from([1, 3, 5, 7]),
        stride=st.sampled_from([1, 2]),
    ),
    st.builds(Pool, function=st.sampled_from(["max", "average"]), size_px=st.sampled_from([2, 3])),
    st.just(GlobalAverage()),
)
ANYWHERE = st.one_of(
    st.builds(GroupNorm, groups=st.sampled_from([1, 2])),
    st.builds(Activation, function=st.sampled_from(["relu", "silu", "tanh"])),
    st.builds(Linear, features=st.integers(1, 6)),
)


def rows_of(layers: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(layers, max_size=4).map(tuple)


FIRST = {
    SKIN.kind: st.builds(Scattering, scales=st.sampled_from([1, 2]), angles=st.integers(1, 3)),
    SERIES.kind: st.builds(Lstm, units=st.integers(1, 5)),
}
WIDTHS = st.lists(st.sampled_from([2, 4, 6]), min_size=2, max_size=3).map(tuple)


@st.composite
def any_recipe(draw: st.DrawFn) -> tuple[Recipe, DataSpec]:
    """A recipe that may or may not fit, and data of any kind, with or without facts."""
    data = draw(st.sampled_from([SKIN, SKIN_FACTS, BRAIN, BRAIN_FACTS, TABLE, SERIES]))
    if data.task == "segmentation":
        unet = UNet(widths=draw(WIDTHS), groups=2, facts=draw(st.booleans()))
        return Recipe(model=unet, loss=DiceCrossEntropy()), data
    numbers, pixels = rows_of(ANYWHERE), rows_of(ON_PIXELS | ANYWHERE)
    first = (draw(FIRST[data.kind]),) if data.channels and draw(st.booleans()) else ()
    if data.channels and data.facts and draw(st.booleans()):
        model = Fusion(image=first + draw(pixels), facts=draw(numbers), head=draw(numbers))
        return Recipe(model=model, loss=CrossEntropy()), data
    layers = first + draw(pixels if data.channels else numbers)
    return Recipe(model=LayerStack(layers=layers), loss=CrossEntropy()), data


@settings(max_examples=120)
@given(any_recipe())
def test_any_recipe_is_refused_or_becomes_the_network_that_was_counted(drawn) -> None:
    recipe, data = drawn
    try:
        recipe.check(data)
    except InvalidPlan:
        return
    model = networks.build(recipe, data)
    having = [m for m in model.modules() if list(m.parameters(recurse=False))]
    sizes = [sum(p.numel() for p in m.parameters(recurse=False)) for m in having]
    assert sizes == layer_parameters(recipe, data)
    norms = [isinstance(layer, torch.nn.GroupNorm) for layer in having]
    assert np.array_equal(local_norms.mask(recipe, data), np.repeat(norms, sizes))
    for frozen in range(len(sizes)):
        assert trained_count(recipe, data, frozen_layers=frozen) == sum(sizes[frozen:])
    logits = model(*some_inputs(data, 2))
    assert logits.shape[:2] == (2, len(data.classes))
    assert bool(torch.isfinite(logits).all())


@settings(max_examples=60)
@given(any_recipe(), st.integers(0, 100))
def test_prefix_and_rest_are_the_network_and_only_the_rest_is_trained(drawn, frozen) -> None:
    recipe, data = drawn
    try:
        recipe.check(data)
    except InvalidPlan:
        return
    sizes = layer_parameters(recipe, data)
    model = networks.build(recipe, data)
    numbers = sum(sizes[: frozen % len(sizes)])
    prefix, rest = networks.split_prefix(model, numbers)
    values = some_inputs(data, 2)
    between = values if prefix is None else prefix(*values)
    torch.testing.assert_close(rest(*between), model(*values))
    left = [id(p) for p in rest.parameters()]
    ahead = [] if prefix is None else [p.numel() for p in prefix.parameters()]
    assert left == [id(p) for p in model.parameters()][len(ahead) :] or isinstance(
        recipe.model, Fusion
    )
    trained = sum(p.numel() for p in rest.parameters()) - (numbers - sum(ahead))
    assert trained == sum(sizes) - numbers


def test_frozen_layers_of_both_branches_of_a_fusion_are_ahead() -> None:
    recipe = Recipe(model=FUSION, loss=CrossEntropy())
    model = networks.build(recipe, SKIN_FACTS)
    sizes = layer_parameters(recipe, SKIN_FACTS)
    prefix, rest = networks.split_prefix(model, sum(sizes[:3]))
    assert isinstance(prefix, modules.Prefix)
    assert (len(prefix.image), len(prefix.facts)) == (4, 2)
    head = [p for name, p in model.named_parameters() if name.startswith("head")]
    assert [id(p) for p in rest.parameters()] == [id(p) for p in head]
    values = some_inputs(SKIN_FACTS, 2)
    pixels, facts = prefix(*values)
    assert pixels.shape == (2, 4, 4, 5) and facts.shape == (2, 6)
    torch.testing.assert_close(rest(pixels, facts), model(*values))


def test_a_scattering_layer_is_ahead_of_what_is_trained_with_nothing_frozen() -> None:
    prefix, rest = networks.split_prefix(
        networks.build(Recipe(model=SCATTERED, loss=CrossEntropy()), SKIN), 0
    )
    assert prefix is not None and not list(prefix.parameters())
    assert not any(isinstance(m, modules.ScatteringTransform) for m in rest.modules())


@pytest.mark.parametrize("number", [0, 3])
def test_where_nothing_is_gained_the_rest_is_the_network(number) -> None:
    model = networks.build(*RECIPES[number])
    assert networks.split_prefix(model, 0) == (None, model)


def test_a_half_frozen_layer_is_trained_and_so_in_the_rest() -> None:
    recipe, data = RECIPES[1]
    model = networks.build(recipe, data)
    weight = next(model.parameters()).numel()
    assert networks.split_prefix(model, weight) == (None, model)


def test_the_lstm_is_torchs_lstm_with_one_bias() -> None:
    ours = modules.LstmModule(5, 7).double()
    theirs = torch.nn.LSTM(5, 7, batch_first=True).double()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            mine = ours.bias if "bias" in name else getattr(ours, name.removesuffix("_l0"))
            parameter.copy_(mine.normal_() if "bias_hh" not in name else torch.zeros(28))
    series = torch.randn(4, 12, 5, generator=torch.Generator().manual_seed(0)).double()
    _, (hidden, _) = theirs(series)
    torch.testing.assert_close(ours(series.unsqueeze(1))[:, :, 0, 0], hidden[0])


def test_an_lstm_starts_as_torchs_does_with_a_memory_that_keeps() -> None:
    recipe, data = Recipe(model=LayerStack(layers=(Lstm(units=25),)), loss=CrossEntropy()), SERIES
    lstm = next(
        m for m in networks.build(recipe, data).modules() if isinstance(m, modules.LstmModule)
    )
    for weight in (lstm.weight_ih, lstm.weight_hh):
        assert 0.15 < float(weight.detach().abs().max()) <= 1.0 / math.sqrt(25)
        assert float(weight.detach().std()) == pytest.approx(0.2 / math.sqrt(3), rel=0.1)
    assert lstm.bias.tolist() == [0.0] * 25 + [1.0] * 25 + [0.0] * 50


def test_facts_change_nothing_in_a_unet_until_it_learns_from_them() -> None:
    recipe, data = RECIPES[5]
    model = networks.build(recipe, data)
    pixels, facts = some_inputs(data, 2)
    torch.testing.assert_close(model(pixels, facts), model(pixels, 5.0 * facts + 1.0))
    with torch.no_grad():
        model.film.weight.fill_(0.1)
    assert not torch.allclose(model(pixels, facts), model(pixels, 5.0 * facts + 1.0))


def test_film_scales_and_shifts_each_channel_at_the_bottom() -> None:
    recipe, data = RECIPES[5]
    model = networks.build(recipe, data)
    with torch.no_grad():
        model.film.bias[:8] = -1.0  # 1 + scale is 0
        model.film.bias[8:] = 0.5
    pixels, facts = some_inputs(data, 2)
    seen = []
    model.up[0].register_forward_hook(lambda layer, given, out: seen.append(given[0]))
    model(pixels, facts)
    torch.testing.assert_close(seen[0], torch.full_like(seen[0], 0.5))


def test_a_stack_on_pixels_leaves_the_facts_aside() -> None:
    model = networks.build(RECIPES[0][0], SKIN_FACTS)
    pixels, facts = some_inputs(SKIN_FACTS, 2)
    torch.testing.assert_close(model(pixels, facts), model(pixels, facts + 1.0))


def test_both_branches_of_a_fusion_count() -> None:
    model = networks.build(Recipe(model=FUSION, loss=CrossEntropy()), SKIN_FACTS)
    pixels, facts = some_inputs(SKIN_FACTS, 2)
    before = model(pixels, facts)
    assert not torch.allclose(model(pixels + 1.0, facts), before)
    assert not torch.allclose(model(pixels, facts + 1.0), before)


def test_facts_of_another_type_or_shape_are_refused() -> None:
    images = np.zeros((2, 3, 4, 4), dtype=np.uint8)
    for facts in (np.zeros((1, 2), np.float32), np.zeros(2, np.float32), np.zeros((2, 2))):
        with pytest.raises(InvalidData, match="one row for each of the 2 slices"):
            networks.inputs(images, facts)


def test_tables_have_facts_and_images_without_a_pixel() -> None:
    facts = np.array([[1.5, -2.0]], dtype=np.float32)
    pixels, numbers = networks.inputs(np.zeros((1, 0, 0, 0), dtype=np.uint8), facts)
    assert pixels.shape == (1, 0, 0, 0)
    assert numbers.tolist() == [[1.5, -2.0]]


@pytest.mark.parametrize("data", [SKIN, BRAIN])
def test_priors_are_added_to_the_logits_in_the_loss_alone(data: DataSpec) -> None:
    """Menon et al. 2021, equation 10, by hand."""
    count = len(data.classes)
    priors = torch.arange(1, count + 1) / 10
    model = UNet(widths=(4, 8)) if data.task == "segmentation" else LayerStack(layers=())
    plain, adjusted = (
        Recipe(model=model, loss=CrossEntropy(class_priors=given))
        for given in ((), tuple(priors.tolist()))
    )
    labels = some_labels(data, 5)
    logits = torch.randn(5, count, *labels.shape[1:], generator=torch.Generator().manual_seed(3))
    shifted = logits + priors.log().view(1, -1, *(1 for _ in labels.shape[1:]))
    torch.testing.assert_close(
        networks.loss_per_example(adjusted, logits, labels),
        networks.loss_per_example(plain, shifted, labels),
    )
    rows = some_inputs(data, 2)
    given = networks.initial_weights(plain, data, seed=0)
    for recipe in (plain, adjusted):
        torch.testing.assert_close(
            networks.build(recipe, data, given)(*rows), networks.build(plain, data, given)(*rows)
        )
