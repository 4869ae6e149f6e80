"""From a recipe to a network, and from a network to one vector and back.

This is the only place where a recipe becomes code. Every layer here treats each slice
alone: no layer mixes patients, none draws random numbers, none keeps a state.
"""

import itertools
import math

import numpy as np
import torch
from jaxtyping import Float, Integer
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from syft_code.errors import InvalidData, InvalidMessage, require
from syft_code.recipes import (
    Activation,
    Conv,
    CrossEntropy,
    DataSpec,
    GlobalAverage,
    GroupNorm,
    Layer,
    LayerStack,
    Linear,
    Pool,
    Recipe,
    UNet,
)

LAST_LAYER_SCALE = 0.1
DICE_SMOOTHING = 1.0
RGB_MEAN = (0.763, 0.546, 0.570)
RGB_DEVIATION = (0.141, 0.153, 0.170)
"""Of HAM10000's red, green and blue pixels in 0..1, as widely published for the whole data set.

They are constants, never computed from a hospital's images. Inputs around 0 let a network take
steps several times larger, and hospitals of different case mix then drift apart far less.
"""


def build(recipe: Recipe, data: DataSpec) -> nn.Module:
    """The recipe's network, with the start weights of seed 0.

    Shapes: takes float32 `[batch, channels, height, width]`; gives logits `[batch, classes]`
    (classification) or `[batch, classes, height, width]` (segmentation).

    Raises:
        InvalidPlan: if the recipe does not fit the data.
    """
    model = _skeleton(recipe, data).to_empty(device="cpu")
    from_vector(model, initial_weights(recipe, data, seed=0))
    return model


def initial_weights(recipe: Recipe, data: DataSpec, *, seed: int) -> NDArray[np.float32]:
    """Public start weights, a pure function of its arguments.

    Weights are Gaussian with variance 2 ÷ fan-in (He et al. 2015), a tenth of that standard
    deviation in the last layer; biases are 0 and the scales of GroupNorm 1.
    """
    random = np.random.default_rng(seed)
    layers = [m for m in _skeleton(recipe, data).modules() if list(m.parameters(recurse=False))]
    parts = [_start(layer, random, last=layer is layers[-1]) for layer in layers]
    return np.concatenate(parts).astype(np.float32)


def to_vector(model: nn.Module) -> NDArray[np.float32]:
    """All parameters as one vector, in the order of `model.parameters()`."""
    vector = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    numbers: NDArray[np.float32] = vector.float().numpy()
    return numbers


def from_vector(model: nn.Module, vector: NDArray[np.float32] | NDArray[np.float64]) -> None:
    """Write a vector into the parameters, in the order of `model.parameters()`.

    Raises:
        InvalidMessage: if its length is wrong or a number is not finite.
    """
    expected = sum(p.numel() for p in model.parameters())
    require(
        vector.shape == (expected,),
        f"The weights must be one vector of {expected} numbers, got the shape {vector.shape}.",
        error=InvalidMessage,
    )
    weights = np.asarray(vector, dtype=np.float32)
    require(
        bool(np.isfinite(weights).all()),
        "The weights must be finite numbers: at least one is not. Send the round's weights again.",
        error=InvalidMessage,
    )
    parameters = list(model.parameters())
    ends = np.cumsum([p.numel() for p in parameters])
    parts = np.split(weights, ends[:-1])
    with torch.no_grad():
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.copy_(torch.from_numpy(part.copy()).view_as(parameter))


def inputs(
    images: NDArray[np.uint8] | NDArray[np.float16],
) -> Float[Tensor, "batch channels height width"]:
    """Images as a network takes them.

    uint8: RGB less the published mean, over the published deviation; with other than three
    channels from 0..255 to -1..1. float16: as it stands, standardised by the reader.

    Raises:
        InvalidData: if the images are of another type or not four-dimensional.
    """
    require(
        images.dtype in (np.uint8, np.float16) and images.ndim == 4,
        "Images must be uint8 or float16 [slices, channels, height, width], "
        f"got {images.dtype} with {images.ndim} dimensions.",
        error=InvalidData,
    )
    pixels = torch.from_numpy(images.astype(np.float32))
    if images.dtype != np.uint8:
        return pixels
    if images.shape[1] != len(RGB_MEAN):
        return pixels / 127.5 - 1.0
    mean, deviation = (torch.tensor(c).view(1, 3, 1, 1) for c in (RGB_MEAN, RGB_DEVIATION))
    return (pixels / 255.0 - mean) / deviation


def loss_per_example(
    recipe: Recipe, logits: Float[Tensor, "batch classes *pixels"], labels: Integer[Tensor, "..."]
) -> Float[Tensor, "batch"]:
    """The recipe's loss of each example alone.

    Cross-entropy times the weight of the true class, a mean over pixels; with
    `DiceCrossEntropy` plus one minus the soft Dice, a mean over the classes after the first
    (the background), computed over each slice.

    Source: Milletari et al. 2016, section 3, with squares in the denominator and 1 added above
    and below, so that a class that is neither there nor predicted costs nothing.
    """
    weights = logits.new_tensor(recipe.loss.class_weights) if recipe.loss.class_weights else None
    entropy = functional.cross_entropy(logits, labels, weight=weights, reduction="none")
    entropy = entropy.flatten(1).mean(1) if entropy.ndim > 1 else entropy
    if isinstance(recipe.loss, CrossEntropy):
        return entropy
    return entropy + 1.0 - _soft_dice(logits, labels).mean(1)


def _soft_dice(
    logits: Float[Tensor, "batch classes *pixels"], labels: Integer[Tensor, "batch *pixels"]
) -> Float[Tensor, "batch foreground"]:
    classes = torch.arange(1, logits.shape[1])
    predicted = logits.softmax(1)[:, 1:].flatten(2)
    true = (labels.flatten(1).unsqueeze(1) == classes.view(1, -1, 1)).to(logits.dtype)
    overlap = 2.0 * (predicted * true).sum(2) + DICE_SMOOTHING
    return overlap / (predicted.square().sum(2) + true.sum(2) + DICE_SMOOTHING)


def _skeleton(recipe: Recipe, data: DataSpec) -> nn.Module:
    """The network without memory for its weights; draws nothing from torch's generator."""
    recipe.check(data)
    with torch.device("meta"):
        if isinstance(recipe.model, UNet):
            return _UNetwork(recipe.model, channels=len(data.channels), classes=len(data.classes))
        return _stack(recipe.model, data)


def _start(layer: nn.Module, random: np.random.Generator, *, last: bool) -> NDArray[np.float64]:
    """Start weights of one layer, its weight before its bias, as torch orders them."""
    weight, bias = layer.parameters(recurse=False)
    if isinstance(layer, nn.GroupNorm):
        return np.concatenate([np.ones(weight.numel()), np.zeros(bias.numel())])
    # A 2x2 transposed convolution of stride 2 adds up one square of each input channel.
    transposed = isinstance(layer, nn.ConvTranspose2d)
    fan_in = weight.shape[0] if transposed else math.prod(weight.shape[1:])
    deviation = (LAST_LAYER_SCALE if last else 1.0) * math.sqrt(2.0 / fan_in)
    gaussian = deviation * random.standard_normal(weight.numel())
    return np.concatenate([gaussian, np.zeros(bias.numel())])


def _stack(model: LayerStack, data: DataSpec) -> nn.Sequential:
    shape = (len(data.channels), data.height_px, data.width_px)
    layers = []
    for description in model.layers:
        layer, shape = _layer(description, shape)
        layers.append(layer)
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(math.prod(shape), len(data.classes)))


def _layer(layer: Layer, shape: tuple[int, int, int]) -> tuple[nn.Module, tuple[int, int, int]]:
    """One layer, and the shape after it."""
    channels, height, width = shape
    match layer:
        case Conv(channels=out, kernel_px=kernel, stride=stride):
            conv = nn.Conv2d(channels, out, kernel, stride=stride, padding=kernel // 2)
            return conv, (out, -(-height // stride), -(-width // stride))
        case GroupNorm(groups=groups):
            return nn.GroupNorm(groups, channels), shape
        case Activation(function=function):
            return {"relu": nn.ReLU, "silu": nn.SiLU, "tanh": nn.Tanh}[function](), shape
        case Pool(function=function, size_px=size):
            pool = nn.MaxPool2d(size) if function == "max" else nn.AvgPool2d(size)
            return pool, (channels, height // size, width // size)
        case GlobalAverage():
            return nn.AdaptiveAvgPool2d(1), (channels, 1, 1)
        case Linear(features=features):
            linear = nn.Linear(math.prod(shape), features)
            after = (features, 1, 1)
            return nn.Sequential(nn.Flatten(), linear, nn.Unflatten(1, after)), after


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


class _UNetwork(nn.Module):
    """Ronneberger et al. 2015, figure 1, with padding and GroupNorm."""

    def __init__(self, model: UNet, *, channels: int, classes: int) -> None:
        super().__init__()
        widths, groups = model.widths, model.groups
        entering = (channels, *widths)
        levels = list(itertools.pairwise(widths))
        self.down = nn.ModuleList(
            _block(a, b, groups) for a, b in zip(entering, widths, strict=False)
        )
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in levels)
        self.merge = nn.ModuleList(_block(2 * a, a, groups) for a, _ in levels)
        self.head = nn.Conv2d(widths[0], classes, 1)

    def forward(
        self, images: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch classes height width"]:
        features = self.down[0](images)
        skipped = []
        for block in list(self.down)[1:]:
            skipped.append(features)
            features = block(functional.max_pool2d(features, 2))
        for up, merge in reversed(list(zip(self.up, self.merge, strict=True))):
            features = merge(torch.cat([skipped.pop(), up(features)], dim=1))
        logits: Tensor = self.head(features)
        return logits
