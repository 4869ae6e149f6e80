"""From a recipe to a network, and from a network to one vector and back.

This is the only place where a recipe becomes code. Every layer treats each slice alone: no layer
mixes patients, none draws random numbers, none keeps a state (`modules`).
"""

import math

import numpy as np
import torch
from jaxtyping import Float, Integer
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from syft_code.cohort import Images
from syft_code.errors import InvalidData, InvalidMessage, require
from syft_code.models import modules
from syft_code.models.modules import (
    DecoderNetwork,
    FilmModule,
    FusedModule,
    LstmModule,
    Prefix,
    Stack,
    UNetwork,
)
from syft_code.models.scattering import ScatteringTransform
from syft_code.recipes.architectures import EncoderDecoder, Fusion, UNet
from syft_code.recipes.recipe import CrossEntropy, DataSpec, Recipe, pixel_shape

LAST_LAYER_SCALE = 0.1
DICE_SMOOTHING = 1.0
RGB_MEAN = (0.763, 0.546, 0.570)
RGB_DEVIATION = (0.141, 0.153, 0.170)
"""Of HAM10000's red, green and blue pixels in 0..1, as widely published for the whole data set.

They are constants, never computed from a hospital's images. Inputs around 0 let a network take
steps several times larger, and hospitals of different case mix then drift apart far less.
"""


def build(
    recipe: Recipe,
    data: DataSpec,
    weights: NDArray[np.float32] | NDArray[np.float64] | None = None,
) -> nn.Module:
    """The recipe's network with these weights, in the order of `parameters()`, or seed 0's.

    Shapes: takes float32 `[batch, channels, height, width]` and `[batch, facts]`, which `inputs`
    gives; gives logits `[batch, classes]` (classification) or `[batch, classes, height, width]`
    (segmentation).

    Raises:
        InvalidPlan: if the recipe does not fit the data.
        InvalidMessage: if there are not as many finite weights as the network has parameters.
    """
    model = _skeleton(recipe, data).to_empty(device="cpu")
    from_vector(model, initial_weights(recipe, data, seed=0) if weights is None else weights)
    return model


def initial_weights(recipe: Recipe, data: DataSpec, *, seed: int) -> NDArray[np.float32]:
    """Public start weights, a pure function of its arguments.

    Weights are Gaussian with variance 2 ÷ fan-in (He et al. 2015), a tenth of that standard
    deviation in the last layer; biases are 0 and the scales of GroupNorm 1. An LSTM starts as
    torch's does, but for a forget gate that keeps; what facts do to a U-Net starts as nothing.
    """
    random = np.random.default_rng(seed)
    layers = [m for m in _skeleton(recipe, data).modules() if list(m.parameters(recurse=False))]
    parts = [_start(layer, random, last=layer is layers[-1]) for layer in layers]
    return np.concatenate(parts).astype(np.float32)


def to_vector(model: nn.Module) -> NDArray[np.float32]:
    """All parameters as one vector, in the order of `model.parameters()`."""
    vector = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    numbers: NDArray[np.float32] = vector.float().cpu().numpy()
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
    images: Images, facts: NDArray[np.float32]
) -> tuple[Float[Tensor, "batch channels height width"], Float[Tensor, "batch facts"]]:
    """Images and facts as a network takes them: `model(*inputs(images, facts))`.

    uint8 images: RGB less the published mean, over the published deviation; with other than
    three channels from 0..255 to -1..1. float16: as they stand, standardised by the reader. float32:
    as they stand, what fixed layers say of a picture (`frozen_features.encoded`). Data
    without pixels have images of no channels. Facts stay as they are; without any they are
    `[slices, 0]`.

    Raises:
        InvalidData: if the images or the facts are of another type or shape.
    """
    require(
        facts.dtype == np.float32 and facts.ndim == 2 and len(facts) == len(images),
        f"Facts must be float32 [slices, facts], one row for each of the {len(images)} slices, "
        f"got {facts.dtype} of the shape {facts.shape}.",
        error=InvalidData,
    )
    return pixels(images), torch.from_numpy(facts)


def pixels(images: Images) -> Float[Tensor, "batch channels height width"]:
    """Images alone, as `inputs` gives them."""
    require(
        images.dtype in (np.uint8, np.float16, np.float32) and images.ndim == 4,
        "Images must be uint8, float16 or encoded float32 [slices, channels, height, width], "
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

    Cross-entropy times the weight of the true class, of logits to which the logarithms of `class_priors` are
    added, a mean over pixels; with
    `DiceCrossEntropy` plus one minus the soft Dice, a mean over the classes after the first
    (the background), computed over each slice.

    Source: Milletari et al. 2016, section 3, with squares in the denominator and 1 added above
    and below, so that a class that is neither there nor predicted costs nothing.
    """
    weights = logits.new_tensor(recipe.loss.class_weights) if recipe.loss.class_weights else None
    adjusted = logits
    if isinstance(recipe.loss, CrossEntropy) and recipe.loss.class_priors:
        priors = logits.new_tensor(recipe.loss.class_priors).log()
        adjusted = logits + priors.view(-1, *(1 for _ in logits.shape[2:]))
    entropy = functional.cross_entropy(adjusted, labels, weight=weights, reduction="none")
    entropy = entropy.flatten(1).mean(1) if entropy.ndim > 1 else entropy
    if isinstance(recipe.loss, CrossEntropy):
        return entropy
    return entropy + 1.0 - _soft_dice(logits, labels).mean(1)


def _soft_dice(
    logits: Float[Tensor, "batch classes *pixels"], labels: Integer[Tensor, "batch *pixels"]
) -> Float[Tensor, "batch foreground"]:
    classes = torch.arange(1, logits.shape[1], device=logits.device)
    predicted = logits.softmax(1)[:, 1:].flatten(2)
    true = (labels.flatten(1).unsqueeze(1) == classes.view(1, -1, 1)).to(logits.dtype)
    overlap = 2.0 * (predicted * true).sum(2) + DICE_SMOOTHING
    return overlap / (predicted.square().sum(2) + true.sum(2) + DICE_SMOOTHING)


def split_prefix(model: nn.Module, frozen: int) -> tuple[nn.Module | None, nn.Module]:
    """Part a network into first layers that stay as they are, and the rest: `(prefix, rest)`.

    `rest(*prefix(pixels, facts))` is `model(pixels, facts)`. The first `frozen` parameters stay,
    whole tensors of them. No trained parameter is in the prefix, so what it gives for a slice can
    be computed once, without gradients. The rest shares its parameters with the model, in the same
    order; its own first `frozen` less those of the prefix stay too. A fusion has a prefix in both
    branches. The prefix is None, and the rest the model itself, where there is nothing to gain: no
    first layer is frozen or a scattering layer, or the model is a U-Net or
    an encoder-decoder.

    Shapes: a prefix takes what a network takes and gives two tensors, slices along the first axis.
    """
    trained = {id(p) for p in _last(model, frozen)}
    if isinstance(model, Stack):
        fixed, rest = _divide(model.layers, trained)
        nothing = nn.Sequential()
        prefix = Prefix(nothing, fixed) if model.on_facts else Prefix(fixed, nothing)
        tail: nn.Module = Stack(rest, on_facts=model.on_facts)
    elif isinstance(model, FusedModule):
        (fixed, image), (table, facts) = (
            _divide(branch, trained) for branch in (model.image, model.facts)
        )
        prefix, tail = Prefix(fixed, table), FusedModule(image, facts, model.head)
    else:
        return None, model
    worth = any(isinstance(m, ScatteringTransform) for m in prefix.modules())
    return (prefix, tail) if worth or any(True for _ in prefix.parameters()) else (None, model)


def _last(model: nn.Module, frozen: int) -> list[nn.Parameter]:
    """The parameters after the first `frozen` numbers."""
    parameters = list(model.parameters())
    starts = np.cumsum([0, *(p.numel() for p in parameters)])
    return [p for p, start in zip(parameters, starts, strict=False) if start >= frozen]


def _divide(layers: nn.Sequential, trained: set[int]) -> tuple[nn.Sequential, nn.Sequential]:
    """The layers before the first one that is trained, and the others."""
    is_trained = [any(id(p) in trained for p in layer.parameters()) for layer in layers]
    cut = is_trained.index(True) if True in is_trained else len(is_trained)
    return nn.Sequential(*list(layers)[:cut]), nn.Sequential(*list(layers)[cut:])


def _skeleton(recipe: Recipe, data: DataSpec) -> nn.Module:
    """The network without memory for its weights; draws nothing from torch's generator."""
    recipe.check(data)
    pixels, facts, classes = pixel_shape(data), len(data.facts), len(data.classes)
    with torch.device("meta"):
        match recipe.model:
            case UNet():
                channels = len(data.channels)
                return UNetwork(recipe.model, channels=channels, facts=facts, classes=classes)
            case EncoderDecoder():
                size = (data.height_px, data.width_px)
                return DecoderNetwork(recipe.model, size=size, classes=classes)
            case Fusion():
                return modules.fused(recipe.model, pixels=pixels, facts=facts, classes=classes)
            case _:
                return modules.stack(recipe.model, pixels=pixels, facts=facts, classes=classes)


def _start(layer: nn.Module, random: np.random.Generator, *, last: bool) -> NDArray[np.float64]:
    """Start weights of one layer, its weight before its bias, as torch orders them."""
    if isinstance(layer, LstmModule):
        return _start_lstm(layer, random)
    weight, bias = layer.parameters(recurse=False)
    if isinstance(layer, nn.GroupNorm):
        return np.concatenate([np.ones(weight.numel()), np.zeros(bias.numel())])
    if isinstance(layer, FilmModule):
        return np.zeros(weight.numel() + bias.numel())
    # A 2x2 transposed convolution of stride 2 adds up one square of each input channel.
    transposed = isinstance(layer, nn.ConvTranspose2d)
    fan_in = weight.shape[0] if transposed else math.prod(weight.shape[1:])
    deviation = (LAST_LAYER_SCALE if last else 1.0) * math.sqrt(2.0 / fan_in)
    gaussian = deviation * random.standard_normal(weight.numel())
    return np.concatenate([gaussian, np.zeros(bias.numel())])


def _start_lstm(layer: LstmModule, random: np.random.Generator) -> NDArray[np.float64]:
    """Weights uniform within 1 ÷ root of the units, as torch does; the forget gate's bias is 1.

    Source: Jozefowicz et al. 2015, section 2.2, on that bias: the memory starts by keeping.
    """
    gates, units = layer.weight_hh.shape
    bound = 1.0 / math.sqrt(units)
    weights = random.uniform(-bound, bound, layer.weight_ih.numel() + gates * units)
    bias = np.zeros(gates)
    bias[units : 2 * units] = 1.0
    return np.concatenate([weights, bias])
