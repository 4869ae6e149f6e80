"""Recipes: a model and a loss as data.

A researcher describes the model as a list of layers or as a U-Net of given widths.
Nothing of it is code: `networks.build` is the only place where a recipe becomes a
network, and it knows only layers that never mix patients (no BatchNorm). A recipe is
checked against the shape of the data before anybody builds it.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from syft_code import canonical
from syft_code.errors import require

MAX_PARAMETERS = 50_000_000
MAX_WIDTH = 1024
MAX_LAYERS = 64

Width = Annotated[int, Field(ge=1, le=MAX_WIDTH)]
Shape = tuple[int, int, int]
"""Channels, height, width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSpec:
    """The public shape of an asset: what one slice is, and what counts as one patient.

    Shapes: an image is `[len(channels), height_px, width_px]`; a label is one class index
    (classification) or `[height_px, width_px]` class indices (segmentation).
    """

    __pydantic_config__ = canonical.STRICT

    kind: Literal["ham10000", "brats"]
    task: Literal["classification", "segmentation"]
    channels: tuple[str, ...]
    height_px: int
    width_px: int
    classes: tuple[str, ...]
    patient_unit: str
    stand_in: bool

    def __post_init__(self) -> None:
        require(
            1 <= self.height_px <= 1024 and 1 <= self.width_px <= 1024,
            f"A slice must be 1 to 1024 pixels wide and high, got {self.height_px} x {self.width_px}.",
        )
        require(1 <= len(self.channels) <= 16, "A slice must have 1 to 16 channels.")
        require(2 <= len(self.classes) <= 100, "There must be 2 to 100 classes.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv:
    """A convolution with "same" zero padding; the stride divides height and width, rounding up."""

    __pydantic_config__ = canonical.STRICT
    channels: Width
    kernel_px: Literal[1, 3, 5, 7] = 3
    stride: Literal[1, 2] = 1
    kind: Literal["conv"] = "conv"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupNorm:
    """Group normalisation (Wu & He 2018): statistics of one image alone."""

    __pydantic_config__ = canonical.STRICT
    groups: Width
    kind: Literal["group_norm"] = "group_norm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """A pointwise non-linearity."""

    __pydantic_config__ = canonical.STRICT
    function: Literal["relu", "silu", "tanh"] = "relu"
    kind: Literal["activation"] = "activation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Pooling over `size_px` squares; what does not fill a square is dropped."""

    __pydantic_config__ = canonical.STRICT
    function: Literal["max", "average"] = "max"
    size_px: Literal[2, 3, 4] = 2
    kind: Literal["pool"] = "pool"


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalAverage:
    """The mean over height and width."""

    __pydantic_config__ = canonical.STRICT
    kind: Literal["global_average"] = "global_average"


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """A fully connected layer over everything that comes in."""

    __pydantic_config__ = canonical.STRICT
    features: Width
    kind: Literal["linear"] = "linear"


Layer = Annotated[
    Conv | GroupNorm | Activation | Pool | GlobalAverage | Linear, Field(discriminator="kind")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerStack:
    """Layers one after the other; a linear layer to the classes is added at the end."""

    __pydantic_config__ = canonical.STRICT
    layers: tuple[Layer, ...]
    kind: Literal["layers"] = "layers"


@dataclass(frozen=True, slots=True, kw_only=True)
class UNet:
    """A U-Net (Ronneberger et al. 2015) with GroupNorm, two convolutions a level.

    `widths` are the channels of each level, from the top to the bottom; each level halves
    height and width.
    """

    __pydantic_config__ = canonical.STRICT
    widths: tuple[Width, ...]
    groups: Width = 4
    kind: Literal["unet"] = "unet"


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossEntropy:
    """Weighted cross-entropy, a mean over pixels for segmentation.

    `class_weights` are public numbers, one a class in the order of the data's classes; none
    means all equal. Take them from publications or from the mock, never from private labels.
    """

    __pydantic_config__ = canonical.STRICT
    class_weights: tuple[Annotated[float, Field(gt=0, le=1000)], ...] = ()
    kind: Literal["cross_entropy"] = "cross_entropy"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiceCrossEntropy:
    """Soft Dice (Milletari et al. 2016) of each slice plus weighted cross-entropy."""

    __pydantic_config__ = canonical.STRICT
    class_weights: tuple[Annotated[float, Field(gt=0, le=1000)], ...] = ()
    kind: Literal["dice_cross_entropy"] = "dice_cross_entropy"


Model = Annotated[LayerStack | UNet, Field(discriminator="kind")]
Loss = Annotated[CrossEntropy | DiceCrossEntropy, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A model and the loss that trains it."""

    __pydantic_config__ = canonical.STRICT
    model: Model
    loss: Loss

    def check(self, data: DataSpec) -> None:
        """Raise `InvalidPlan` unless this recipe can be built for data of this shape."""
        weights = len(self.loss.class_weights)
        require(
            weights in (0, len(data.classes)),
            f"class_weights must be empty or one a class ({len(data.classes)}), got {weights}.",
        )
        if data.task == "classification":
            require(
                isinstance(self.model, LayerStack) and isinstance(self.loss, CrossEntropy),
                "A classification recipe must be a layer stack with cross_entropy.",
            )
        else:
            require(isinstance(self.model, UNet), "A segmentation recipe must be a U-Net.")
        count = parameter_count(self, data)
        require(
            count <= MAX_PARAMETERS,
            f"A model may have at most {MAX_PARAMETERS} parameters, this one has {count}.",
        )


def parameter_count(recipe: Recipe, data: DataSpec) -> int:
    """How many parameters the recipe's network has; raise `InvalidPlan` if it has no shape."""
    return sum(layer_parameters(recipe, data))


def trained_count(recipe: Recipe, data: DataSpec, *, frozen_layers: int) -> int:
    """How many parameters are trained when the first layers that have some stay as they start.

    They are the last ones of a network's vector of parameters.
    """
    layers = layer_parameters(recipe, data)
    require(
        0 <= frozen_layers < len(layers),
        f"frozen_layers must be between 0 and {len(layers) - 1}, so that one of the {len(layers)} "
        f"layers with parameters is trained, got {frozen_layers}.",
    )
    return sum(layers[frozen_layers:])


def layer_parameters(recipe: Recipe, data: DataSpec) -> list[int]:
    """The parameters of each layer that has some, in the order of the network's vector."""
    if isinstance(recipe.model, UNet):
        return _unet_parameters(recipe.model, data)
    return _stack_parameters(recipe.model, data)


def _stack_parameters(model: LayerStack, data: DataSpec) -> list[int]:
    require(
        1 <= len(model.layers) <= MAX_LAYERS,
        f"A layer stack must have 1 to {MAX_LAYERS} layers, got {len(model.layers)}.",
    )
    shape: Shape = (len(data.channels), data.height_px, data.width_px)
    counts = []
    for position, layer in enumerate(model.layers, start=1):
        shape, count = _apply(layer, shape, position)
        counts.append(count)
    counts.append((math.prod(shape) + 1) * len(data.classes))
    return [count for count in counts if count]


def _apply(layer: Layer, shape: Shape, position: int) -> tuple[Shape, int]:
    """The shape after a layer, and the layer's number of parameters."""
    channels, height, width = shape
    where = f"layer {position} ({layer.kind})"
    match layer:
        case Conv():
            after = (layer.channels, -(-height // layer.stride), -(-width // layer.stride))
            return after, (channels * layer.kernel_px**2 + 1) * layer.channels
        case GroupNorm():
            require(
                channels % layer.groups == 0,
                f"In {where} the {channels} channels must be a multiple of the {layer.groups} groups.",
            )
            require(
                channels // layer.groups * height * width > 1,
                f"In {where} each group must hold more than one value.",
            )
            return shape, 2 * channels
        case Pool():
            after = (channels, height // layer.size_px, width // layer.size_px)
            require(min(after) >= 1, f"In {where} nothing is left of {height} x {width} pixels.")
            return after, 0
        case GlobalAverage():
            return (channels, 1, 1), 0
        case Linear():
            return (layer.features, 1, 1), (math.prod(shape) + 1) * layer.features
        case _:
            return shape, 0


def _unet_parameters(model: UNet, data: DataSpec) -> list[int]:
    require(
        2 <= len(model.widths) <= 6, f"A U-Net must have 2 to 6 levels, got {len(model.widths)}."
    )
    factor = 2 ** (len(model.widths) - 1)
    require(
        data.height_px % factor == 0 and data.width_px % factor == 0,
        f"Height and width must be multiples of {factor} for a U-Net of {len(model.widths)} levels.",
    )
    require(
        all(width % model.groups == 0 for width in model.widths),
        f"Every width of a U-Net must be a multiple of its {model.groups} groups.",
    )
    bottom = model.widths[-1] // model.groups * data.height_px * data.width_px // factor**2
    require(bottom > 1, "At the bottom of a U-Net each group must hold more than one value.")
    entering = (len(data.channels), *model.widths)
    counts = []
    for inputs, outputs in zip(entering, model.widths, strict=False):
        counts += _block_parameters(inputs, outputs)
    levels = list(itertools.pairwise(model.widths))
    counts += [(lower * 4 + 1) * upper for upper, lower in levels]
    for upper, _ in levels:
        counts += _block_parameters(2 * upper, upper)
    return [*counts, (model.widths[0] + 1) * len(data.classes)]


def _block_parameters(inputs: int, outputs: int) -> list[int]:
    """Two 3x3 convolutions, each followed by GroupNorm."""
    norm = 2 * outputs
    return [(inputs * 9 + 1) * outputs, norm, (outputs * 9 + 1) * outputs, norm]
