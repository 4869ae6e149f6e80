"""A layer says what shape it leaves, and refuses in a sentence where it can't stand."""

import pytest

from syft_code.errors import InvalidPlan
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import (
    MAX_LAYERS,
    Activation,
    Conv,
    GlobalAverage,
    GroupNorm,
    Linear,
    Lstm,
    Pool,
    Scattering,
    after,
    apply,
)


@pytest.mark.parametrize(
    ("layer", "shape", "left", "parameters"),
    [
        (Conv(channels=8, kernel_px=5, stride=2), (3, 17, 22), (8, 9, 11), 8 * (3 * 25 + 1)),
        (GroupNorm(groups=2), (4, 3, 3), (4, 3, 3), 8),
        (GroupNorm(groups=2), (4,), (4,), 8),
        (Activation(), (4,), (4,), 0),
        (Pool(size_px=3), (2, 10, 11), (2, 3, 3), 0),
        (GlobalAverage(), (5, 4, 4), (5, 1, 1), 0),
        (Linear(features=7), (2, 3, 3), (7, 1, 1), 7 * 19),
        (Linear(features=7), (12,), (7,), 7 * 13),
        (Lstm(units=6), (1, 48, 9), (6, 1, 1), 4 * 6 * (9 + 6 + 1)),
        (Scattering(scales=2, angles=4), (3, 28, 31), (3 * 25, 7, 7), 0),
    ],
)
def test_a_layer_leaves_a_shape_and_has_parameters(layer, shape, left, parameters) -> None:
    assert after(layer, shape) == (left, parameters)


@pytest.mark.parametrize(
    ("layer", "shape", "sentence"),
    [
        (Conv(channels=2), (9,), "there must be pixels, and here are 9 numbers in a row"),
        (Pool(), (9,), "use linear, group_norm and activation on facts"),
        (GlobalAverage(), (9,), "numbers in a row"),
        (Scattering(), (9,), "numbers in a row"),
        (Lstm(units=2), (9,), "numbers in a row"),
        (Lstm(units=2), (3, 28, 28), "one channel, hours by vital signs, got 3"),
        (GroupNorm(groups=4), (6, 2, 2), "6 channels must be a multiple of the 4 groups"),
        (GroupNorm(groups=6), (6,), "each group must hold more than one value"),
        (Pool(size_px=4), (3, 3, 9), "nothing is left of 3 x 9 pixels"),
        (Scattering(scales=3), (3, 8, 30), "more than 8 pixels for 3 scales, got 8 x 30"),
        (Scattering(scales=2, angles=16), (16, 512, 512), "at most 1000000 numbers"),
        (Scattering(scales=2, angles=4, groups=7), (3, 28, 28), "75 paths must be a multiple"),
    ],
)
def test_a_layer_that_cannot_stand_there_says_why(layer, shape, sentence) -> None:
    with pytest.raises(InvalidPlan, match=sentence):
        after(layer, shape)


@pytest.mark.parametrize("layer", [Lstm(units=2), Scattering()])
def test_what_reads_the_data_itself_must_be_the_first_layer(layer) -> None:
    assert apply((layer, Activation()), (1, 20, 20))
    with pytest.raises(
        InvalidPlan, match=rf"must be the first layer, but is layer 2 \({layer.kind}"
    ):
        apply((Activation(), layer), (1, 20, 20))


def test_the_sentence_names_the_branch_and_the_position() -> None:
    with pytest.raises(InvalidPlan, match=r"In facts layer 2 \(conv\) there must be pixels"):
        apply((Linear(features=4), Conv(channels=2)), (9,), of="facts ")


def test_a_row_of_too_many_layers_is_refused() -> None:
    LayerStack(layers=(Activation(),) * MAX_LAYERS)
    with pytest.raises(
        InvalidPlan, match=r"in layers, .* at most 64 items after validation, not 65"
    ):
        LayerStack(layers=(Activation(),) * (MAX_LAYERS + 1))
