"""From layers as data to layers that compute. Only `networks` builds from here.

Every network takes `(pixels, facts)` and treats each slice alone: no layer mixes patients, none
draws random numbers, none keeps a state.
"""

import itertools
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from syft_code.errors import InvalidData, require
from syft_code.models import feature_cache
from syft_code.models.scattering import ScatteringTransform
from syft_code.recipes import layers
from syft_code.recipes.architectures import EncoderDecoder, Fusion, LayerStack, UNet
from syft_code.recipes.encoders import Encoder, Projection
from syft_code.recipes.layers import (
    Activation,
    Conv,
    GlobalAverage,
    GroupNorm,
    Layer,
    Linear,
    Pool,
    Scattering,
    Shape,
)

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh}


class Stack(nn.Module):
    """Layers one after the other, on the pixels or on the facts alone."""

    def __init__(self, layers: nn.Sequential, *, on_facts: bool) -> None:
        super().__init__()
        self.layers = layers
        self.on_facts = on_facts

    def forward(
        self, pixels: Float[Tensor, "batch ..."], facts: Float[Tensor, "batch facts"]
    ) -> Float[Tensor, "batch classes"]:
        logits: Tensor = self.layers(facts if self.on_facts else pixels)
        return logits


class FusedModule(nn.Module):
    """Two branches side by side, and a head over both."""

    def __init__(self, image: nn.Sequential, facts: nn.Sequential, head: nn.Sequential) -> None:
        super().__init__()
        self.image, self.facts, self.head = image, facts, head

    def forward(
        self, pixels: Float[Tensor, "batch ..."], facts: Float[Tensor, "batch facts"]
    ) -> Float[Tensor, "batch classes"]:
        row = torch.cat([self.image(pixels).flatten(1), self.facts(facts).flatten(1)], dim=1)
        logits: Tensor = self.head(row)
        return logits


class Scaled(nn.Module):
    """What comes in, times a number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, values: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        return values * self.factor


class Prefix(nn.Module):
    """The first layers of a network that no training changes: their outputs need computing once."""

    def __init__(self, image: nn.Sequential, facts: nn.Sequential) -> None:
        super().__init__()
        self.image, self.facts = image, facts

    def forward(
        self, pixels: Float[Tensor, "batch ..."], facts: Float[Tensor, "batch facts"]
    ) -> tuple[Float[Tensor, "batch ..."], Float[Tensor, "batch ..."]]:
        return feature_cache.features(self.image, pixels), self.facts(facts)


class FrontOutput(nn.Module):
    """Where an encoder or a projection stands: its features come in already (`frozen_features`)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features

    def forward(self, entering: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        _require_features(entering, self.features)
        return entering


class MapsOutput(nn.Module):
    """Where an encoder with maps stands: they come in as one row, and leave side by side on its grid."""

    def __init__(self, layer: Encoder) -> None:
        super().__init__()
        self.features, self.maps, self.grid_px = layer.features, layer.maps, layer.grid_px

    def forward(self, entering: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        _require_features(entering, self.features)
        sizes = [channels * side**2 for channels, side in self.maps]
        parts = torch.split(entering.flatten(1), sizes, dim=1)
        maps = (
            part.reshape(-1, channels, side, side)
            for part, (channels, side) in zip(parts, self.maps, strict=True)
        )
        return torch.cat([_enlarged(one, (self.grid_px, self.grid_px)) for one in maps], dim=1)


class DecoderNetwork(nn.Module):
    """What is trained of an encoder-decoder: layers on the maps, and a convolution of one pixel."""

    def __init__(self, model: EncoderDecoder, *, size: tuple[int, int], classes: int) -> None:
        super().__init__()
        built, shape = _chain(model.layers, model.maps)
        self.maps = MapsOutput(model.encoder)
        self.layers = nn.Sequential(*built, nn.Conv2d(shape[0], classes, 1))
        self.size = size

    def forward(
        self, pixels: Float[Tensor, "batch ..."], facts: Float[Tensor, "batch facts"]
    ) -> Float[Tensor, "batch classes height width"]:
        return _enlarged(self.layers(self.maps(pixels)), self.size)


class LstmModule(nn.Module):
    """A long short-term memory over the hours; gives its last hidden state.

    Shapes: `[batch, 1, hours, vitals]` becomes `[batch, units, 1, 1]`. The gates stand in torch's
    order, input, forget, cell, output, with one bias.

    Source: Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000, as torch's
    `nn.LSTM` writes it; that one cannot be mapped over patients (`torch.func.vmap`).
    """

    def __init__(self, vitals: int, units: int) -> None:
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(4 * units, vitals))
        self.weight_hh = nn.Parameter(torch.empty(4 * units, units))
        self.bias = nn.Parameter(torch.empty(4 * units))

    def forward(
        self, series: Float[Tensor, "batch 1 hours vitals"]
    ) -> Float[Tensor, "batch units 1 1"]:
        entering = functional.linear(series[:, 0], self.weight_ih, self.bias)
        hidden = cell = entering.new_zeros(series.shape[0], self.weight_hh.shape[1])
        for hour in entering.unbind(1):
            gates = torch.addmm(hour, hidden, self.weight_hh.t())
            keep, forget, candidate, show = gates.chunk(4, dim=1)
            cell = forget.sigmoid() * cell + keep.sigmoid() * candidate.tanh()
            hidden = show.sigmoid() * cell.tanh()
        return hidden[:, :, None, None]


class FilmModule(nn.Linear):
    """A linear layer from facts to a scale and a shift of each channel; it starts at zero."""


class UNetwork(nn.Module):
    """Ronneberger et al. 2015, figure 1, with padding and GroupNorm."""

    def __init__(self, model: UNet, *, channels: int, facts: int, classes: int) -> None:
        super().__init__()
        widths, groups = model.widths, model.groups
        entering = (channels, *widths)
        levels = list(itertools.pairwise(widths))
        self.pool = nn.MaxPool2d(2)
        self.down = nn.ModuleList(
            _block(a, b, groups) for a, b in zip(entering, widths, strict=False)
        )
        self.film = FilmModule(facts, 2 * widths[-1]) if model.facts else None
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in levels)
        self.merge = nn.ModuleList(_block(2 * a, a, groups) for a, _ in levels)
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(
        self,
        pixels: Float[Tensor, "batch channels height width"],
        facts: Float[Tensor, "batch facts"],
    ) -> Float[Tensor, "batch classes height width"]:
        features = self.down[0](pixels)
        skipped = []
        for block in list(self.down)[1:]:
            skipped.append(features)
            features = block(self.pool(features))
        if self.film is not None:
            scale, shift = self.film(facts)[:, :, None, None].chunk(2, dim=1)
            features = features * (1.0 + scale) + shift
        for up, merge in reversed(list(zip(self.up, self.merge, strict=True))):
            features = merge(torch.cat([skipped.pop(), up(features)], dim=1))
        logits: Tensor = self.head(features)
        return logits


def _require_features(entering: Tensor, features: int) -> None:
    require(
        entering.shape[1:] == (features, 1, 1),
        f"This network must be given the {features} features of its front for each picture, "
        f"got {' x '.join(map(str, entering.shape[1:]))}: encode the pictures first, by "
        "frozen_features.encoded.",
        error=InvalidData,
    )


def _enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def stack(model: LayerStack, *, pixels: Shape, facts: int, classes: int) -> Stack:
    """A layer stack with its last linear layer; on the facts where there are no pixels."""
    built, shape = _chain(model.layers, pixels or (facts,))
    last = nn.Linear(math.prod(shape), classes)
    return Stack(nn.Sequential(*built, nn.Flatten(), last), on_facts=not pixels)


def fused(model: Fusion, *, pixels: Shape, facts: int, classes: int) -> FusedModule:
    """Both branches and the head with its last linear layer."""
    image, image_shape = _chain(model.image, pixels)
    table, table_shape = _chain(model.facts, (facts,))
    if model.facts_scale != 1.0:
        table.insert(0, Scaled(model.facts_scale))
    head, shape = _chain(model.head, (math.prod(image_shape) + table_shape[0],))
    last = nn.Linear(shape[0], classes)
    return FusedModule(nn.Sequential(*image), nn.Sequential(*table), nn.Sequential(*head, last))


def _chain(described: tuple[Layer, ...], shape: Shape) -> tuple[list[nn.Module], Shape]:
    """Of a front only the last layer is there, as the place where its features come in."""
    built, first = [], max(0, len(layers.front(described)) - 1)
    for place, layer in enumerate(described):
        if place >= first:
            built.append(_layer(layer, shape))
        shape, _ = layers.after(layer, shape)
    return built, shape


def _layer(layer: Layer, shape: Shape) -> nn.Module:
    """One layer for what comes in with this shape."""
    match layer:
        case Activation(function=function):
            return ACTIVATIONS[function]()
        case GroupNorm(groups=groups):
            return nn.GroupNorm(groups, shape[0])
        case Linear(features=features):
            linear = nn.Linear(math.prod(shape), features)
            if len(shape) == 1:
                return linear
            return nn.Sequential(nn.Flatten(), linear, nn.Unflatten(1, (features, 1, 1)))
        case Conv(channels=out, kernel_px=kernel, stride=stride):
            return nn.Conv2d(shape[0], out, kernel, stride=stride, padding=kernel // 2)
        case Pool(function=function, size_px=size):
            return nn.MaxPool2d(size) if function == "max" else nn.AvgPool2d(size)
        case GlobalAverage():
            return nn.AdaptiveAvgPool2d(1)
        case Encoder() | Projection():
            row, _ = layers.after(layer, shape)
            return FrontOutput(row[0])
        case Scattering(scales=scales, angles=angles, groups=groups):
            return ScatteringTransform(
                height=shape[1], width=shape[2], scales=scales, angles=angles, groups=groups
            )
    return LstmModule(shape[2], layer.units)


def _block(channels: int, width: int, groups: int) -> nn.Sequential:
    """Two 3x3 convolutions, each followed by GroupNorm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        nn.GroupNorm(groups, width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.GroupNorm(groups, width),
        nn.ReLU(),
    )
