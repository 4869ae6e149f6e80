"""Which parameters are scales and shifts of normalisation layers, so that a hospital can keep its own.

Knows no torch: an aggregator counts what travels without a network.

Source: Li et al. 2021, "FedBN", arXiv 2102.07623, with group normalisation (Wu & He 2018), which
has no statistics over patients.
"""

import numpy as np
from numpy.typing import NDArray

from syft_code.errors import require
from syft_code.recipes.architectures import Architecture, EncoderDecoder, Fusion, LayerStack, UNet
from syft_code.recipes.layers import Conv, GroupNorm, Linear, Lstm
from syft_code.recipes.recipe import DataSpec, Recipe, layer_parameters

_BLOCK = [False, True, False, True]
"""A U-Net's two convolutions, each with its normalisation."""


def mask(recipe: Recipe, data: DataSpec) -> NDArray[np.bool_]:
    """True for each scale and shift of a normalisation layer, over the vector of parameters."""
    return np.repeat(norm_layers(recipe.model), layer_parameters(recipe, data))


def norm_layers(model: Architecture) -> list[bool]:
    """Of each layer that has parameters, in the vector's order, whether it normalises.

    >>> norm_layers(LayerStack(layers=(Conv(channels=4), GroupNorm(groups=2))))
    [False, True, False]
    """
    match model:
        case UNet(widths=widths, facts=facts):
            levels = len(widths) - 1
            up = [False] * levels + _BLOCK * levels
            return [*_BLOCK * len(widths), *([False] if facts else []), *up, False]
        case Fusion(image=image, facts=numbers, head=head):
            layers = (*image, *numbers, *head)
        case LayerStack() | EncoderDecoder():
            layers = model.layers
    have = [layer for layer in layers if isinstance(layer, Conv | GroupNorm | Linear | Lstm)]
    return [*(isinstance(layer, GroupNorm) for layer in have), False]


def check(model: Architecture, *, frozen_layers: int) -> None:
    """Raise `InvalidPlan` unless normalisation is trained; the last layer always is, and shared."""
    require(
        any(norm_layers(model)[frozen_layers:]),
        "local_norms needs a normalisation layer that is trained: add group_norm to the recipe, "
        "freeze fewer layers, or set local_norms to false.",
    )
