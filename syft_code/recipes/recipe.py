"""Recipes: a model and a loss as data.

A researcher describes the model as a list of layers (`layers`), as two lists brought together or
as a U-Net of given widths (`architectures`). Nothing of it is code: `networks.build` is the only place
where a recipe becomes a network, and it knows only layers that never mix patients (no BatchNorm).
A recipe is checked against the shape of the data before anybody builds it.
"""

import math
from typing import Annotated, Literal

from pydantic import Field

from syft_code import canonical
from syft_code.errors import require
from syft_code.recipes import architectures, layers
from syft_code.recipes.architectures import Architecture, EncoderDecoder, Fusion, LayerStack, UNet
from syft_code.recipes.encoders import Encoder, FixedLayer, Projection
from syft_code.recipes.layers import (
    Activation,
    Conv,
    GlobalAverage,
    GroupNorm,
    KeptLayer,
    Layer,
    Linear,
    Lstm,
    Pool,
    Scattering,
    Shape,
)

__all__ = [
    "Activation",
    "Architecture",
    "Conv",
    "CrossEntropy",
    "DataSpec",
    "DiceCrossEntropy",
    "Encoder",
    "EncoderDecoder",
    "Fusion",
    "GlobalAverage",
    "GroupNorm",
    "Layer",
    "LayerStack",
    "Linear",
    "Loss",
    "Lstm",
    "Pool",
    "Projection",
    "Recipe",
    "Scattering",
    "UNet",
    "computed_once",
    "features_after",
    "front",
    "input_shape",
    "layer_parameters",
    "parameter_count",
    "pixel_shape",
    "trained_count",
]

MAX_PARAMETERS = 50_000_000
MAX_ACTIVATIONS = 2**28
"""Of one patient's views, in all layers: 1 GiB, of which a step holds two or three."""
MAX_FACTS = 256
MAX_FACT_NAME = 80
MOST_CHANNELS, MOST_CLASSES = 16, 100
MAX_CHANNEL_NAME = 2**16
"""The one channel of a series names all of its columns."""


@canonical.message
class DataSpec:
    """The public shape of an asset: what one slice is, and what counts as one patient.

    `facts` names the numbers that stand beside a slice, in order: the columns of a table, or
    what the clinic knows beside a picture. A table has facts and no pixels; a series has one
    channel, of as many rows as hours and as many columns as vital signs. `positive` is the class
    whose area under the ROC curve is reported, "" for none.

    Shapes: an image is `[len(channels), height_px, width_px]`; a label is one class index
    (classification) or `[height_px, width_px]` class indices (segmentation); `[len(facts)]`.
    """

    kind: Literal["ham10000", "images", "brats", "lgg", "table", "series"]
    task: Literal["classification", "segmentation"]
    channels: Annotated[
        tuple[Annotated[str, Field(max_length=MAX_CHANNEL_NAME)], ...],
        canonical.at_most(MOST_CHANNELS),
    ]
    height_px: int
    width_px: int
    classes: Annotated[tuple[canonical.ShortText, ...], canonical.at_most(MOST_CLASSES)]
    patient_unit: canonical.ShortText
    stand_in: bool
    facts: Annotated[tuple[canonical.ShortText, ...], canonical.at_most(MAX_FACTS)] = ()
    positive: canonical.ShortText = ""

    def __post_init__(self) -> None:
        if self.kind == "table":
            self._check_table()
        else:
            self._check_pixels()
        require(
            2 <= len(self.classes) <= MOST_CLASSES, f"There must be 2 to {MOST_CLASSES} classes."
        )
        require(
            len(self.facts) <= MAX_FACTS and len(set(self.facts)) == len(self.facts),
            f"There may be at most {MAX_FACTS} facts, each under a name of its own, got "
            f"{len(self.facts)}.",
        )
        require(
            all(1 <= len(name) <= MAX_FACT_NAME and name.isprintable() for name in self.facts),
            f"The name of a fact must be 1 to {MAX_FACT_NAME} printable characters.",
        )
        require(
            self.positive == ""
            or (self.task == "classification" and self.positive in self.classes),
            "The positive class must be one of the classes of a classification, or empty.",
        )

    def _check_table(self) -> None:
        require(
            self.channels == () and self.height_px == 0 and self.width_px == 0,
            "A table must have no channels and no pixels: its numbers are facts.",
        )
        require(
            bool(self.facts) and self.task == "classification",
            "A table must have facts, and classes to tell apart.",
        )

    def _check_pixels(self) -> None:
        require(
            1 <= self.height_px <= 1024 and 1 <= self.width_px <= 1024,
            f"A slice must be 1 to 1024 pixels wide and high, got {self.height_px} x {self.width_px}.",
        )
        require(
            1 <= len(self.channels) <= MOST_CHANNELS,
            f"A slice must have 1 to {MOST_CHANNELS} channels.",
        )
        require(
            self.kind != "series" or (len(self.channels) == 1 and self.task == "classification"),
            "A series must have one channel, hours by vital signs, and classes to tell apart.",
        )


ClassWeights = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1000)], ...], canonical.at_most(MOST_CLASSES)
]


ClassPriors = Annotated[
    tuple[Annotated[float, Field(ge=1e-6, le=1e6)], ...], canonical.at_most(MOST_CLASSES)
]


@canonical.plan_part
class CrossEntropy:
    """Weighted cross-entropy, a mean over pixels for segmentation.

    `class_weights` are public numbers, one a class in the order of the data's classes; none
    means all equal. Take them from publications or from the mock, never from private labels.

    `class_priors` are public shares of the classes, in the same order; whatever they add up to. In training
    alone their logarithms are added to the logits, so that the model itself answers as if all classes
    were equally frequent; so its probabilities are not those of a population. A weight lengthens the gradients of
    rare classes, which a clip norm then cuts down; a prior does not.

    Source: Menon et al. 2021, "Long-tail learning via logit adjustment", arXiv 2007.07314, equation 10.
    """

    class_weights: ClassWeights = ()
    class_priors: ClassPriors = ()
    kind: Literal["cross_entropy"] = "cross_entropy"


@canonical.plan_part
class DiceCrossEntropy:
    """Soft Dice (Milletari et al. 2016) of each slice plus weighted cross-entropy."""

    class_weights: ClassWeights = ()
    kind: Literal["dice_cross_entropy"] = "dice_cross_entropy"


Loss = Annotated[CrossEntropy | DiceCrossEntropy, Field(discriminator="kind")]


HOW_TO_WRITE = (
    "A recipe says model and loss as data, and each hospital builds them itself; no code of a "
    "researcher runs there. Write it as Recipe(model=LayerStack(layers=(Conv(channels=16), "
    "Activation(), GlobalAverage())), loss=CrossEntropy()), or take the recipe of "
    "federation.strategy.presets.suggested(data)."
)


def require_recipe(recipe: object) -> None:
    """Raise `InvalidPlan`, in a sentence that says how to write one, unless this is a `Recipe`."""
    require(
        isinstance(recipe, Recipe),
        f"The recipe of a study must be a Recipe, got {_kind(recipe)}. {HOW_TO_WRITE}",
    )


def _kind(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    return f"a {type(value).__name__}"


@canonical.message
class Recipe:
    """A model and the loss that trains it."""

    model: Architecture
    loss: Loss

    def __post_init__(self) -> None:
        require(
            isinstance(self.model, LayerStack | Fusion | UNet | EncoderDecoder),
            f"A recipe's model must be a LayerStack, a Fusion, a UNet or an EncoderDecoder, got {_kind(self.model)}. "
            f"{HOW_TO_WRITE}",
        )
        canonical.require_types(self)

    def check(self, data: DataSpec) -> None:
        """Raise `InvalidPlan` unless this recipe can be built for data of this shape."""
        for name in ("class_weights", "class_priors"):
            count = len(getattr(self.loss, name, ()))
            require(
                count in (0, len(data.classes)),
                f"{name} must be empty or one a class ({len(data.classes)}), got {count}.",
            )
        of_places = isinstance(self.model, UNet | EncoderDecoder)
        if data.task == "classification":
            require(
                not of_places and isinstance(self.loss, CrossEntropy),
                "A classification recipe must be a layer stack or a fusion, with cross_entropy.",
            )
        else:
            require(of_places, "A segmentation recipe must be a U-Net or an encoder-decoder.")
        _check_first_layer(self.model, data)
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
    counts = layer_parameters(recipe, data)
    require(
        0 <= frozen_layers < len(counts),
        f"frozen_layers must be between 0 and {len(counts) - 1}, so that one of the {len(counts)} "
        f"layers with parameters is trained, got {frozen_layers}.",
    )
    return sum(counts[frozen_layers:])


def layer_parameters(recipe: Recipe, data: DataSpec) -> list[int]:
    """The parameters of each layer that has some, in the order of the network's vector."""
    return architectures.parameters(
        recipe.model, pixels=pixel_shape(data), facts=len(data.facts), classes=len(data.classes)
    )


def activation_count(recipe: Recipe, data: DataSpec) -> int:
    """How many numbers the recipe's network makes of one slice, the logits among them."""
    pixels = input_shape(recipe, data)
    places = math.prod(pixel_shape(data)[1:]) if data.task == "segmentation" else 1
    inside = architectures.activations(recipe.model, pixels=pixels, facts=len(data.facts))
    return inside + len(data.classes) * places


def check_activations(recipe: Recipe, data: DataSpec, *, views: int) -> None:
    """Raise `InvalidPlan` if what a network makes of a patient's so many views fits no memory."""
    count = views * activation_count(recipe, data)
    require(
        count <= MAX_ACTIVATIONS,
        f"A network may make at most {MAX_ACTIVATIONS:,} numbers of one patient's slices and views, and "
        f"this one makes {count:,}: use fewer of them, fewer or narrower layers, or smaller pictures.",
    )


def pixel_shape(data: DataSpec) -> Shape:
    """Channels, height and width of an image; nothing for a table."""
    return (len(data.channels), data.height_px, data.width_px) if data.channels else ()


def front(model: Architecture) -> tuple[FixedLayer, ...]:
    """What stands ahead of the network: an encoder, a projection after it, or nothing."""
    return layers.front(_on_pixels(model))


def computed_once(model: Architecture, *, augmented: bool) -> tuple[KeptLayer, ...]:
    """What a hospital computes once for each picture, before any training (`layers.computed_once`).

    Nothing where augmentation makes new pictures in each step.
    """
    return () if augmented else layers.computed_once(_on_pixels(model))


def features_after(fixed: tuple[KeptLayer, ...], data: DataSpec) -> int:
    """How many numbers a picture is after some layers that are computed once."""
    return _after(fixed, data)[0]


def input_shape(recipe: Recipe, data: DataSpec) -> Shape:
    """What the network sees of a picture: its pixels, or what the front has made of it."""
    return _after(front(recipe.model), data)


def _after(fixed: tuple[KeptLayer, ...], data: DataSpec) -> Shape:
    shape = pixel_shape(data)
    for layer in fixed:
        shape, _ = layers.after(layer, shape)
    return shape


def _on_pixels(model: Architecture) -> tuple[Layer, ...]:
    match model:
        case UNet():
            return ()
        case EncoderDecoder():
            return (model.encoder, *model.layers)
        case Fusion():
            return model.image
        case LayerStack():
            return model.layers


def _check_first_layer(model: Architecture, data: DataSpec) -> None:
    """Hours are no picture and a picture has no hours; one pixel has no waves and shows nothing."""
    kinds = {layer.kind for layer in _on_pixels(model)}
    require(
        data.kind == "series" or "lstm" not in kinds,
        f"An lstm must read a series, hours by vital signs, and these data are {data.kind}.",
    )
    require(
        data.kind != "series" or not kinds & {"scattering", "encoder"},
        "A scattering layer or an encoder must look at pictures, and these data are a series: use an "
        "lstm.",
    )
    require(
        (data.height_px, data.width_px) != (1, 1) or not kinds & {"scattering", "encoder"},
        "A scattering layer or an encoder must look at pictures of more than one pixel.",
    )
