"""Models as data, and how many parameters each of their layers has.

    pixels ─ image layers ─┐
                           ├─ side by side ─ head layers ─ linear ─▶ logits     (Fusion)
    facts ── facts layers ─┘

A `LayerStack` is one such branch with its last linear layer. A `UNet` gives logits a pixel.
"""

import itertools
import math
from typing import Annotated, Literal

from pydantic import Field

from syft_code import canonical
from syft_code.errors import require
from syft_code.recipes import layers
from syft_code.recipes.encoders import Encoder
from syft_code.recipes.layers import Activation, Conv, GroupNorm, Layers, Shape, Width

MOST_LEVELS = 6
LEAST_FACTS_SCALE, MOST_FACTS_SCALE = 0.01, 100.0
_OF_A_LEVEL = 16
"""A U-Net's level: three numbers a convolution on the way down and up, what is pooled and put together."""


@canonical.plan_part
class LayerStack:
    """Layers one after the other; a linear layer to the classes is added at the end.

    It stands on the pixels and leaves the facts aside; on the facts where there are no pixels.
    Without any layer it is a logistic regression.
    """

    layers: Layers
    kind: Literal["layers"] = "layers"


@canonical.plan_part
class Fusion:
    """Features of an image beside features of its facts, and a head over both.

    Each branch is laid out in a row, the image's before the facts'; the head's layers stand on
    that row, and a linear layer to the classes is added at the end. A branch without layers gives
    what came in. Parameters stand in the order image, facts, head. The facts are multiplied by
    `facts_scale` as they come in: hundreds of features of a picture move the head's weights so much
    faster that a few facts, mostly zeros and ones, would hardly be learned in as many steps.
    """

    image: Layers
    facts: Layers = ()
    head: Layers = ()
    facts_scale: Annotated[float, Field(ge=LEAST_FACTS_SCALE, le=MOST_FACTS_SCALE)] = 1.0
    kind: Literal["fusion"] = "fusion"


@canonical.plan_part
class UNet:
    """A U-Net (Ronneberger et al. 2015) with GroupNorm, two convolutions a level.

    `widths` are the channels of each level, from the top to the bottom; each level halves
    height and width. With `facts`, a linear layer turns the facts of a patient into a scale and a
    shift of each channel at the bottom (FiLM, Perez et al. 2018, equation 2, with 1 + scale).
    """

    widths: Annotated[tuple[Width, ...], canonical.at_most(MOST_LEVELS)]
    groups: Width = 4
    facts: bool = False
    kind: Literal["unet"] = "unet"


@canonical.message
class EncoderDecoder:
    """A public encoder's maps on one grid, and a small decoder over them that alone is trained.

    The maps of all sizes are enlarged to the encoder's `grid_px` and stand side by side, the picture's
    own channels first. The decoder's layers stand on them; a convolution of one pixel to the classes is
    added at the end, and its answer is enlarged to the slice. Without any layer the decoder is a
    logistic regression at each place.

    Source: Hariharan et al. 2015, "Hypercolumns", arXiv 1411.5752, with a frozen network.
    """

    encoder: Encoder
    layers: Layers = ()
    kind: Literal["encoder_decoder"] = "encoder_decoder"

    def __post_init__(self) -> None:
        canonical.require_types(self)
        require(
            self.encoder.pool == "maps",
            f'The encoder of an encoder-decoder must have the pool "maps", got "{self.encoder.pool}".',
        )
        require(
            all(isinstance(layer, Conv | GroupNorm | Activation) for layer in self.layers)
            and all(layer.stride == 1 for layer in self.layers if isinstance(layer, Conv)),
            "A decoder's layers must be convolutions of stride 1, group_norm and activation, so that its "
            "answer has a place for each of the encoder's.",
        )

    @property
    def maps(self) -> Shape:
        """What the decoder stands on."""
        side_px = self.encoder.grid_px
        return (sum(channels for channels, _ in self.encoder.maps), side_px, side_px)


Architecture = Annotated[LayerStack | UNet | Fusion | EncoderDecoder, Field(discriminator="kind")]


def parameters(model: Architecture, *, pixels: Shape, facts: int, classes: int) -> list[int]:
    """The parameters of each layer that has some, in the order of the network's vector.

    `pixels` is the shape of an image, without any number where there are none.

    Raises:
        InvalidPlan: if the model can't be built for data of this shape.
    """
    match model:
        case UNet():
            return _of_unet(model, pixels, facts, classes)
        case Fusion():
            counts = _of_fusion(model, pixels, facts, classes)
        case EncoderDecoder():
            layers.after(model.encoder, pixels, "the encoder")
            shape, counts = layers.apply(model.layers, model.maps)
            counts.append((shape[0] + 1) * classes)
        case _:
            counts = _of_stack(model, pixels or (facts,), classes)
    return [count for count in counts if count]


def activations(model: Architecture, *, pixels: Shape, facts: int) -> int:
    """How many numbers the layers make of one slice before the last one: what a training holds.

    `pixels` is the shape of what the network sees: after an encoder, its features.
    """
    match model:
        case UNet(widths=widths):
            places = math.prod(pixels[1:])
            return sum(_OF_A_LEVEL * w * places // 4**level for level, w in enumerate(widths))
        case Fusion():
            image, _ = layers.apply(model.image[len(layers.front(model.image)) :], pixels)
            table, _ = layers.apply(model.facts, (facts,))
            both = (math.prod(image) + table[0],)
            return (
                layers.activations(model.image, pixels)
                + layers.activations(model.facts, (facts,))
                + layers.activations(model.head, both)
            )
        case EncoderDecoder(layers=decoder, maps=maps):
            return math.prod(maps) + layers.activations(decoder, maps)
        case _:
            return layers.activations(model.layers, pixels or (facts,))


def _of_stack(model: LayerStack, entering: Shape, classes: int) -> list[int]:
    shape, counts = layers.apply(model.layers, entering)
    return [*counts, (math.prod(shape) + 1) * classes]


def _of_fusion(model: Fusion, pixels: Shape, facts: int, classes: int) -> list[int]:
    require(
        bool(pixels) and facts >= 1,
        "A fusion must have both pixels and facts to bring together: use a layer stack on data "
        f"with only one of them. These have {facts} facts and {'' if pixels else 'no '}pixels.",
    )
    image, of_image = layers.apply(model.image, pixels, of="image ")
    table, of_facts = layers.apply(model.facts, (facts,), of="facts ")
    both, of_head = layers.apply(model.head, (math.prod(image) + table[0],), of="head ")
    return [*of_image, *of_facts, *of_head, (both[0] + 1) * classes]


def _of_unet(model: UNet, pixels: Shape, facts: int, classes: int) -> list[int]:
    channels, height, width = pixels
    _check_unet(model, height, width)
    require(
        facts >= 1 or not model.facts,
        "A U-Net with facts must have data with facts, and these have none: take facts = false.",
    )
    entering = (channels, *model.widths)
    counts = []
    for inputs, outputs in zip(entering, model.widths, strict=False):
        counts += _of_block(inputs, outputs)
    if model.facts:
        counts.append((facts + 1) * 2 * model.widths[-1])
    levels = list(itertools.pairwise(model.widths))
    counts += [(lower * 4 + 1) * upper for upper, lower in levels]
    for upper, _ in levels:
        counts += _of_block(2 * upper, upper)
    return [*counts, (model.widths[0] + 1) * classes]


def _check_unet(model: UNet, height: int, width: int) -> None:
    levels = len(model.widths)
    require(levels >= 2, f"A U-Net must have 2 to {MOST_LEVELS} levels, got {levels}.")
    factor = 2 ** (levels - 1)
    require(
        height % factor == 0 and width % factor == 0,
        f"Height and width must be multiples of {factor} for a U-Net of {levels} levels.",
    )
    require(
        all(channels % model.groups == 0 for channels in model.widths),
        f"Every width of a U-Net must be a multiple of its {model.groups} groups.",
    )
    bottom = model.widths[-1] // model.groups * height * width // factor**2
    require(bottom > 1, "At the bottom of a U-Net each group must hold more than one value.")


def _of_block(inputs: int, outputs: int) -> list[int]:
    """Two 3x3 convolutions, each followed by GroupNorm."""
    norm = 2 * outputs
    return [(inputs * 9 + 1) * outputs, norm, (outputs * 9 + 1) * outputs, norm]
