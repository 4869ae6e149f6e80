"""Layers as data, and the shape that each of them leaves.

Nothing here is code: `modules` builds what is described. A layer stands on pixels
`[channels, height, width]` or on a row of numbers `[features]`, and says in a sentence where it
can't.
"""

import itertools
import math
from typing import Annotated, Literal

from pydantic import Field

from syft_code import canonical
from syft_code.errors import require
from syft_code.recipes.encoders import MOST_ENCODERS, Encoder, FixedLayer, Projection

MAX_WIDTH = 1024
MAX_LAYERS = 64
MAX_FIXED_NUMBERS = 1_000_000
_OF_AN_HOUR = 8
"""An lstm's gates, before and after their functions."""

Width = Annotated[int, Field(ge=1, le=MAX_WIDTH)]
Shape = tuple[int, ...]
"""Channels, height and width of pixels; or the length of a row of numbers, alone."""


@canonical.plan_part
class Conv:
    """A convolution with "same" zero padding; the stride divides height and width, rounding up."""

    channels: Width
    kernel_px: Literal[1, 3, 5, 7] = 3
    stride: Literal[1, 2] = 1
    kind: Literal["conv"] = "conv"


@canonical.plan_part
class GroupNorm:
    """Group normalisation (Wu & He 2018): statistics of one image alone."""

    groups: Width
    kind: Literal["group_norm"] = "group_norm"


@canonical.plan_part
class Activation:
    """A pointwise non-linearity."""

    function: Literal["relu", "silu", "tanh"] = "relu"
    kind: Literal["activation"] = "activation"


@canonical.plan_part
class Pool:
    """Pooling over `size_px` squares; what does not fill a square is dropped."""

    function: Literal["max", "average"] = "max"
    size_px: Literal[2, 3, 4] = 2
    kind: Literal["pool"] = "pool"


@canonical.plan_part
class GlobalAverage:
    """The mean over height and width."""

    kind: Literal["global_average"] = "global_average"


@canonical.plan_part
class Linear:
    """A fully connected layer over everything that comes in."""

    features: Width
    kind: Literal["linear"] = "linear"


@canonical.plan_part
class Lstm:
    """A long short-term memory (Hochreiter & Schmidhuber 1997) over the hours of a series.

    It is the first layer, reads one row of vital signs an hour, and leaves its last hidden state.
    """

    units: Width
    kind: Literal["lstm"] = "lstm"


@canonical.plan_part
class Scattering:
    """Fixed wavelet features of an image (Bruna & Mallat 2013), of order 0, 1 and 2.

    It is the first layer and has no parameters, so that no noise falls on it. Height and width
    are divided by `2 ** scales`. Each path is put to mean 0 and deviation 1 by public constants
    (see `scattering`); with `groups` the paths are further put to mean 0 and deviation 1 in so
    many groups of one image alone, as Tramèr & Boneh (2021) do.
    """

    scales: Annotated[int, Field(ge=1, le=4)] = 2
    angles: Annotated[int, Field(ge=1, le=16)] = 8
    groups: Annotated[int, Field(ge=0, le=MAX_WIDTH)] = 0
    kind: Literal["scattering"] = "scattering"

    @property
    def file_sha256(self) -> str:
        """It needs no file."""
        return ""

    @property
    def title(self) -> str:
        """What a sentence calls it."""
        return "the scattering layer"

    @property
    def paths(self) -> int:
        """How many numbers each channel becomes at each place.

        >>> Scattering(scales=2, angles=8).paths
        81
        """
        pairs = self.scales * (self.scales - 1) // 2
        return 1 + self.angles * self.scales + self.angles**2 * pairs


Layer = Annotated[
    Conv
    | GroupNorm
    | Activation
    | Pool
    | GlobalAverage
    | Linear
    | Lstm
    | Scattering
    | Encoder
    | Projection,
    Field(discriminator="kind"),
]
Layers = Annotated[tuple[Layer, ...], canonical.at_most(MAX_LAYERS)]
KeptLayer = FixedLayer | Scattering


def apply(layers: Layers, entering: Shape, *, of: str = "") -> tuple[Shape, list[int]]:
    """The shape after some layers, and how many parameters each of them has.

    Raises:
        InvalidPlan: if a layer can't stand where it does; `of` names the layers in its sentence.
    """
    shape, counts = entering, []
    for position, layer in enumerate(layers, start=1):
        where = f"{of}layer {position} ({layer.kind})"
        if isinstance(layer, Lstm | Scattering):
            require(position == 1, f"An {layer.kind} must be the first layer, but is {where}.")
        ahead = layers[: position - 1]
        only_encoders = all(isinstance(one, Encoder) for one in ahead)
        if isinstance(layer, Encoder):
            require(
                only_encoders and len(ahead) < MOST_ENCODERS,
                f"An encoder must be the first layer, or the second to number {MOST_ENCODERS} after other encoders, "
                f"but is {where}.",
            )
        require(
            not (isinstance(layer, Encoder) and layer.pool == "maps"),
            f'An encoder with the pool "maps" must stand in an encoder-decoder, but is {where}.',
        )
        if isinstance(layer, Projection):
            require(
                position > 1 and only_encoders,
                f"A projection must stand right after an encoder, but is {where}.",
            )
        shape, count = after(layer, shape, where)
        counts.append(count)
    return shape, counts


def front(layers: Layers) -> tuple[FixedLayer, ...]:
    """The first layers that are computed once for each picture, before any training."""
    fixed = itertools.takewhile(lambda layer: isinstance(layer, Encoder | Projection), layers)
    return tuple(layer for layer in fixed if isinstance(layer, Encoder | Projection))


def computed_once(layers: Layers) -> tuple[KeptLayer, ...]:
    """What a hospital computes once for each picture, and keeps: the front, or means of wavelets.

    A scattering layer is worth it where the mean over space follows: its means are few, its maps larger
    than the picture.

    >>> computed_once((Scattering(), GlobalAverage(), Activation())) == (Scattering(),)
    True
    >>> computed_once((Scattering(), Linear(features=3)))
    ()
    """
    match layers:
        case (Scattering() as scattering, GlobalAverage(), *_):
            return (scattering,)
    return front(layers)


def activations(layers: Layers, entering: Shape) -> int:
    """How many numbers some layers make of one slice, all of them together, but for the front.

    >>> activations((Conv(channels=8, stride=2), Activation()), (3, 28, 28)) == 2 * 8 * 14 * 14
    True
    """
    shape, numbers = entering, 0
    for layer in layers[len(front(layers)) :]:
        if isinstance(layer, Lstm):
            numbers += _OF_AN_HOUR * layer.units * shape[1]
        shape, _ = after(layer, shape)
        numbers += math.prod(shape)
    return numbers


def after(layer: Layer, shape: Shape, where: str = "the layer") -> tuple[Shape, int]:
    """The shape after a layer, and the layer's number of parameters.

    >>> after(Conv(channels=8, stride=2), (3, 28, 28))
    ((8, 14, 14), 224)
    >>> after(Linear(features=5), (9,))
    ((5,), 50)
    """
    match layer:
        case Activation():
            return shape, 0
        case GroupNorm():
            return _after_group_norm(layer, shape, where)
        case Linear():
            row = (layer.features, *(1 for _ in shape[1:]))
            return row, (math.prod(shape) + 1) * layer.features
    require(
        len(shape) == 3,
        f"In {where} there must be pixels, and here are {shape[0]} numbers in a row: use linear, "
        "group_norm and activation on facts.",
    )
    return _after_pixels(layer, shape, where)


def _after_pixels(layer: Layer, shape: Shape, where: str) -> tuple[Shape, int]:
    channels, height, width = shape
    match layer:
        case Conv():
            new = (layer.channels, -(-height // layer.stride), -(-width // layer.stride))
            return new, (channels * layer.kernel_px**2 + 1) * layer.channels
        case Pool():
            new = (channels, height // layer.size_px, width // layer.size_px)
            require(min(new) >= 1, f"In {where} nothing is left of {height} x {width} pixels.")
            return new, 0
        case Lstm():
            require(
                channels == 1,
                f"In {where} there must be one channel, hours by vital signs, got {channels}.",
            )
            return (layer.units, 1, 1), 4 * layer.units * (width + layer.units + 1)
        case Scattering():
            return _after_scattering(layer, shape, where), 0
        case Encoder() if (height, width) == (1, 1):
            # Features of the encoders before it: no picture has one pixel (`recipe._check_first_layer`).
            return (channels + layer.features, 1, 1), 0
        case Encoder():
            require(
                channels == 3,
                f"In {where} there must be three channels, red, green and blue, got {channels}.",
            )
            require(
                layer.features <= MAX_FIXED_NUMBERS,
                f"In {where} at most {MAX_FIXED_NUMBERS:,} numbers may come of one image, got "
                f"{layer.features:,}: use a smaller input_px, or another pool.",
            )
            return (layer.features, 1, 1), 0
        case Projection():
            require(
                layer.features <= channels,
                f"In {where} there may be at most {channels} axes, one for each feature, got "
                f"{layer.features}.",
            )
            return (layer.features, 1, 1), 0
    return (channels, 1, 1), 0


def _after_group_norm(layer: GroupNorm, shape: Shape, where: str) -> tuple[Shape, int]:
    channels = shape[0]
    require(
        channels % layer.groups == 0,
        f"In {where} the {channels} channels must be a multiple of the {layer.groups} groups.",
    )
    require(
        math.prod(shape) > layer.groups,
        f"In {where} each group must hold more than one value.",
    )
    return shape, 2 * channels


def _after_scattering(layer: Scattering, shape: Shape, where: str) -> Shape:
    """Means over space that were computed once pass as they are."""
    channels, height, width = shape
    if (height, width) == (1, 1):
        return shape
    factor: int = 2**layer.scales
    require(
        min(height, width) > factor,
        f"In {where} height and width must be more than {factor} pixels for {layer.scales} scales, "
        f"got {height} x {width}.",
    )
    new = (channels * layer.paths, height // factor, width // factor)
    require(
        math.prod(new) <= MAX_FIXED_NUMBERS,
        f"In {where} at most {MAX_FIXED_NUMBERS} numbers may come of one image, got "
        f"{math.prod(new)}: use fewer angles, or more scales.",
    )
    require(
        layer.groups == 0 or (new[0] % layer.groups == 0 and math.prod(new) > layer.groups),
        f"In {where} the {new[0]} paths must be a multiple of the {layer.groups} groups.",
    )
    return new
