"""A recipe fits the data or is refused with a sentence, before anybody builds it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from torch import Tensor, nn

from syft_code import canonical
from syft_code.errors import InvalidInput, InvalidPlan
from syft_code.models import networks
from syft_code.plans.plan_parts import Augmentation, Compression, DpSgd, Sharing
from syft_code.recipes.architectures import Architecture, EncoderDecoder, Fusion, LayerStack, UNet
from syft_code.recipes.encoders import Encoder, Projection
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
    activation_count,
    layer_parameters,
    parameter_count,
    trained_count,
)
from tests.encoders import GLIOMA
from tests.plans import plan
from tests.shapes import BRAIN, SERIES, SKIN, SKIN_FACTS, TABLE

CONV = LayerStack(layers=(Conv(channels=4),))
FUSION = Fusion(
    image=(Conv(channels=4), Activation()), facts=(Linear(features=6), Activation()), head=()
)
ENCODER = Encoder(name="resnet18", weights_sha256="ab" * 32, input_px=64, pool="maps")
LARGE = replace(ENCODER, name="resnet50", input_px=512)
LOOKING = replace(ENCODER, pool="stages")
ALONG = Projection(features=9)
MAPS = EncoderDecoder(encoder=ENCODER, layers=(Conv(channels=4), GroupNorm(groups=2)))


def recipe(model: Architecture) -> Recipe:
    mapped = isinstance(model, UNet | EncoderDecoder)
    loss = DiceCrossEntropy() if mapped else CrossEntropy()
    return Recipe(model=model, loss=loss)


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (LayerStack(layers=(Linear(features=8), GroupNorm(groups=2), Activation())), TABLE),
        (LayerStack(layers=()), TABLE),
        (LayerStack(layers=()), SKIN),
        (LayerStack(layers=(Lstm(units=8), Linear(features=4))), SERIES),
        (LayerStack(layers=(Conv(channels=4),)), SERIES),
        (LayerStack(layers=(Scattering(),)), SKIN),
        (CONV, SKIN_FACTS),
        (FUSION, SKIN_FACTS),
        (Fusion(image=(Lstm(units=3),)), replace(SERIES, facts=("age",))),
        (UNet(widths=(4, 8)), BRAIN),
        (UNet(widths=(4, 8)), replace(BRAIN, facts=("age",))),
        (UNet(widths=(4, 8), facts=True), replace(BRAIN, facts=("age",))),
        (MAPS, GLIOMA),
        (LayerStack(layers=(LOOKING, replace(LOOKING, views=2), ALONG)), SKIN),
        (Fusion(image=(LOOKING, LOOKING), facts_scale=5.0), SKIN_FACTS),
        (UNet(widths=(8, 8)), replace(BRAIN, channels=tuple(f"c{i}" for i in range(12)))),
    ],
)
def test_a_recipe_that_fits_its_data_passes_and_survives_json(model, data) -> None:
    good = recipe(model)
    good.check(data)
    again = canonical.parse(Recipe, canonical.encode(good), what="recipe")
    assert again == good


@pytest.mark.parametrize(
    ("model", "data", "sentence"),
    [
        (CONV, TABLE, r"In layer 1 \(conv\) there must be pixels, and here are 5 numbers"),
        (LayerStack(layers=(Scattering(),)), TABLE, "In layer 1 .scattering. there must be pixels"),
        (LayerStack(layers=(Lstm(units=2),)), TABLE, "An lstm must read a series"),
        (LayerStack(layers=(Lstm(units=2),)), SKIN, "these data are ham10000"),
        (LayerStack(layers=(Scattering(),)), SERIES, "must look at pictures"),
        (
            LayerStack(layers=(Scattering(),)),
            replace(SKIN, height_px=1, width_px=1),
            "pictures of more than one pixel",
        ),
        (
            LayerStack(layers=(LOOKING,)),
            replace(SKIN, height_px=1, width_px=1, channels=tuple("abcd")),
            "pictures of more than one pixel",
        ),
        (LayerStack(layers=(Activation(), Lstm(units=2))), SERIES, "must be the first layer"),
        (LayerStack(layers=(Conv(channels=3), Scattering())), SKIN, "must be the first layer"),
        (Fusion(image=(Activation(), Scattering())), SKIN_FACTS, "but is image layer 2"),
        (FUSION, SKIN, "both pixels and facts to bring together.* have 0 facts and pixels"),
        (FUSION, TABLE, "5 facts and no pixels"),
        (Fusion(image=(), facts=(Conv(channels=3),)), SKIN_FACTS, r"facts layer 1 \(conv\)"),
        (Fusion(image=(), head=(Lstm(units=3),)), SKIN_FACTS, r"head layer 1 \(lstm\)"),
        (Fusion(image=(Lstm(units=3),)), SKIN_FACTS, "these data are ham10000"),
        (UNet(widths=(4, 8), facts=True), BRAIN, "A U-Net with facts must have data with facts"),
        (UNet(widths=(4, 8)), SKIN, "must be a layer stack or a fusion"),
        (CONV, BRAIN, "A segmentation recipe must be a U-Net"),
        (FUSION, replace(BRAIN, facts=("age",)), "A segmentation recipe must be a U-Net"),
        (UNet(widths=(4, 6)), BRAIN, "must be a multiple of its 4 groups"),
        (UNet(widths=(4,)), BRAIN, "2 to 6 levels, got 1"),
        (UNet(widths=(4, 4, 4, 4, 4)), BRAIN, "multiples of 16"),
        (MAPS, BRAIN, "In the encoder there must be three channels, red, green and blue, got 4"),
        (MAPS, SKIN, "must be a layer stack or a fusion"),
        (EncoderDecoder(encoder=LARGE), GLIOMA, "at most 1,000,000 numbers may come of one image"),
        (LayerStack(layers=(MAPS.encoder,)), SKIN, 'with the pool "maps" must stand in an enc'),
        (
            LayerStack(layers=(LOOKING, ALONG, LOOKING)),
            SKIN,
            "first layer, or the second to number 4",
        ),
        (LayerStack(layers=(LOOKING,) * 5), SKIN, "after other encoders, but is layer 5 .encoder."),
        (
            LayerStack(layers=(LOOKING, ALONG, ALONG)),
            SKIN,
            "right after an encoder, but is layer 3",
        ),
        (LayerStack(layers=(ALONG,)), SKIN, "right after an encoder, but is layer 1"),
        (LayerStack(layers=(LOOKING, LOOKING)), SERIES, "must look at pictures|three channels"),
    ],
)
def test_a_recipe_that_does_not_fit_says_why(model, data, sentence) -> None:
    with pytest.raises(InvalidPlan, match=sentence):
        recipe(model).check(data)


@pytest.mark.parametrize(
    "layers", [(Pool(),), (Conv(channels=4, stride=2),), (GlobalAverage(),), (ENCODER,)]
)
def test_a_decoder_keeps_the_places_of_its_maps(layers) -> None:
    with pytest.raises(InvalidPlan, match="A decoder's layers must be convolutions of stride 1"):
        EncoderDecoder(encoder=ENCODER, layers=layers)


@pytest.mark.parametrize("scale", [0.0, -1.0, 101.0, 5e-324, float("nan"), float("inf")])
def test_facts_are_scaled_by_a_number_that_leaves_something_of_them(scale) -> None:
    with pytest.raises(InvalidPlan, match="facts_scale"):
        Fusion(image=(), facts_scale=scale)


def test_a_decoder_stands_on_maps() -> None:
    with pytest.raises(InvalidPlan, match='must have the pool "maps", got "stages"'):
        EncoderDecoder(encoder=replace(ENCODER, pool="stages"))


def test_what_a_decoder_holds_of_a_slice_is_counted() -> None:
    channels = 3 + 64 + 128 + 256
    assert MAPS.maps == (channels, 16, 16)
    assert layer_parameters(recipe(MAPS), GLIOMA) == [(channels * 9 + 1) * 4, 8, 10]
    numbers = (channels + 4 + 4) * 16**2 + 2 * GLIOMA.height_px * GLIOMA.width_px
    assert activation_count(recipe(MAPS), GLIOMA) == numbers


def test_too_many_parameters_are_refused_with_their_number() -> None:
    wide = LayerStack(layers=(Linear(features=1024),) * 49)
    large = replace(SKIN, height_px=64, width_px=64)
    count = parameter_count(recipe(wide), large)
    with pytest.raises(InvalidPlan, match=f"at most 50000000 parameters, this one has {count}"):
        recipe(wide).check(large)


@pytest.mark.parametrize("width", [0, -1, 1025])
def test_widths_out_of_range_are_refused_as_they_are_read(width) -> None:
    for model in (
        {"kind": "layers", "layers": [{"kind": "lstm", "units": width}]},
        {"kind": "fusion", "image": [{"kind": "linear", "features": width}]},
        {"kind": "layers", "layers": [{"kind": "scattering", "angles": 16 + width * width}]},
    ):
        table = canonical.encode({"model": model, "loss": {"kind": "cross_entropy"}})
        with pytest.raises(InvalidInput, match="recipe"):
            canonical.parse(Recipe, table, what="recipe")


def test_a_fusions_layers_are_frozen_image_first() -> None:
    pixels = SKIN_FACTS.height_px * SKIN_FACTS.width_px
    counts = [4 * (3 * 9 + 1), 6 * (2 + 1), (4 * pixels + 6 + 1) * 4]
    assert layer_parameters(recipe(FUSION), SKIN_FACTS) == counts
    for frozen in range(3):
        left = trained_count(recipe(FUSION), SKIN_FACTS, frozen_layers=frozen)
        assert left == sum(counts[frozen:])
    with pytest.raises(InvalidPlan, match="frozen_layers must be between 0 and 2"):
        trained_count(recipe(FUSION), SKIN_FACTS, frozen_layers=3)


def test_a_scattering_layer_is_no_layer_to_freeze() -> None:
    model = recipe(LayerStack(layers=(Scattering(angles=2), Linear(features=3))))
    assert len(layer_parameters(model, SKIN)) == 2


def test_facts_of_a_unet_stand_between_the_way_down_and_the_way_up() -> None:
    data: DataSpec = replace(BRAIN, facts=("age", "age?", "kps"))
    without = layer_parameters(recipe(UNet(widths=(4, 8))), data)
    with_facts = layer_parameters(recipe(UNet(widths=(4, 8), facts=True)), data)
    assert with_facts == [*without[:8], (3 + 1) * 2 * 8, *without[8:]]


@pytest.mark.parametrize(
    ("wrong", "got"),
    [
        (nn.Linear(2, 2), "a Linear"),
        ("resnet18", "a str"),
        (nn.Linear, "the class Linear"),
        (Recipe, "the class Recipe"),
        (None, "a NoneType"),
    ],
)
def test_what_is_no_recipe_is_answered_with_how_to_write_one(wrong: object, got: str) -> None:
    for write in (
        lambda: plan(recipe=wrong),
        lambda: Recipe(model=wrong, loss=CrossEntropy()),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidPlan) as said:
            write()
        assert f", got {got}. " in str(said.value)
        assert "Write it as Recipe(model=LayerStack(" in str(said.value)


@pytest.mark.parametrize(
    "write",
    [
        lambda: Recipe(model=LayerStack(layers=()), loss="cross_entropy"),
        lambda: LayerStack(layers=(nn.Linear(2, 2),)),
        lambda: Fusion(image=3),
        lambda: UNet(widths=("8", "16")),
        lambda: CrossEntropy(class_weights="1"),
        lambda: Conv(channels="16"),
        lambda: Sharing(ring_bits="64"),
        lambda: Compression(kept="0.1"),
        lambda: DpSgd(noise_multiplier="1", max_grad_norm=1.0, sample_rate=0.5, steps=1),
    ],
)
def test_a_part_of_the_wrong_type_is_one_sentence(write: Callable[[], object]) -> None:
    with pytest.raises(InvalidPlan, match="must have fields of the right types; in ") as said:
        write()
    assert ", got " in str(said.value)
    assert "\n" not in str(said.value) and "the whole" not in str(said.value)


@pytest.mark.parametrize("name", ["class_weights", "class_priors"])
def test_weights_and_priors_are_one_a_class(name: str) -> None:
    loss = CrossEntropy(**{name: (1.0, 2.0)})
    with pytest.raises(InvalidPlan, match=f"{name} must be empty or one a class"):
        Recipe(model=LayerStack(layers=()), loss=loss).check(SKIN)


@pytest.mark.parametrize("prior", [0.0, 1e-50, -1.0, float("nan"), float("inf"), 1e9])
def test_a_prior_is_a_number_whose_logarithm_is_one(prior: float) -> None:
    with pytest.raises(InvalidPlan, match="class_priors"):
        CrossEntropy(class_priors=(prior, 1.0))


MODELS: list[tuple[Architecture, DataSpec]] = [
    (LayerStack(layers=(Conv(channels=4, stride=2), GroupNorm(groups=2), Activation())), SKIN),
    (LayerStack(layers=(Scattering(), Linear(features=8))), SKIN),
    (LayerStack(layers=(Linear(features=8), Activation())), TABLE),
    (LayerStack(layers=(Lstm(units=8), Linear(features=4))), SERIES),
    (FUSION, SKIN_FACTS),
    (UNet(widths=(4, 8)), BRAIN),
    (UNet(widths=(4, 8), facts=True), replace(BRAIN, facts=("age",))),
]


@pytest.mark.parametrize(("model", "data"), MODELS)
def test_the_numbers_that_a_network_makes_are_counted_before_it_is_built(model, data) -> None:
    """At least those that come out of its layers, and not many times as many."""
    network, made = networks.build(recipe(model), data), 0

    def note(_layer: nn.Module, _inputs: object, out: Tensor) -> None:
        nonlocal made
        made += out.numel()

    for layer in network.modules():
        if not list(layer.children()) and not isinstance(layer, nn.Flatten | nn.Unflatten):
            layer.register_forward_hook(note)
    shape = (len(data.channels), data.height_px, data.width_px) if data.channels else (0, 0, 0)
    images = np.zeros((1, *shape), np.uint8 if data.kind != "brats" else np.float16)
    network(*networks.inputs(images, np.zeros((1, len(data.facts)), np.float32)))
    count = activation_count(recipe(model), data)
    assert made <= count
    assert count <= 3 * made or data.kind == "series"  # what an lstm makes inside shows to no hook


LARGE = replace(SKIN, height_px=1024, width_px=1024)
WIDE = LayerStack(layers=(Conv(channels=1024), GlobalAverage()))


def test_a_short_plan_that_wants_eight_gigabytes_is_refused() -> None:
    """Of 1024 channels of 1024 x 1024 pixels; it has 30,000 parameters and 3 kB."""
    recipe(WIDE).check(LARGE)
    with pytest.raises(InvalidPlan, match=r"at most 268,435,456 numbers .* makes 1,073,7\d\d,\d+:"):
        plan(data=LARGE, recipe=recipe(WIDE))


def test_each_view_of_a_slice_counts() -> None:
    medium = recipe(LayerStack(layers=(Conv(channels=256), GlobalAverage())))
    data = replace(SKIN, height_px=128, width_px=128)
    assert plan(data=data, recipe=medium, augmentation=Augmentation(views=60, flips=True))
    with pytest.raises(InvalidPlan, match="use fewer of them"):
        plan(data=data, recipe=medium, augmentation=Augmentation(views=64, flips=True))
