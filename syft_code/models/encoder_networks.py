"""The public networks that an `Encoder` layer may name, and how each of them looks at a picture.

    pixels ─ block ─ block ─ ... ─ block ─▶ the last map        a mean over space at each tap

Every network is a chain of blocks of convolutions, batch norm folded in, so it has no state and
treats each picture alone. Where a block has a shortcut, what came in is added to what goes out.

Source: Tan & Le 2019 (EfficientNet) with the Lite builder of its authors, `efficientnet_lite_builder.py`;
Sandler et al. 2018 (MobileNetV2); He et al. 2016 (ResNet), as torchvision builds it.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from syft_code.recipes.encoders import STEM_CHANNELS, EncoderName, Stage, encoder

Weights = Mapping[str, Tensor]
"""`<convolution>.weight` and `<convolution>.bias` for each convolution of a network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution:
    """One convolution with its batch norm; `sources` are the names that both have in known state dicts.

    `active` says whether the network's non-linearity follows.
    """

    name: str
    sources: tuple[tuple[str, str], ...]
    inputs: int
    outputs: int
    kernel_px: int = 1
    stride: int = 1
    groups: int = 1
    active: bool = True

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of its weight."""
        return (self.outputs, self.inputs // self.groups, self.kernel_px, self.kernel_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Convolutions in a row, and what is added to them: nothing, what came in, or a convolution of it."""

    row: tuple[Convolution, ...]
    adds_input: bool = False
    shortcut: Convolution | None = None
    active: bool = False
    pooled: bool = False


@functools.lru_cache(maxsize=16)
def blocks(name: EncoderName) -> tuple[Block, ...]:
    """The chain of blocks of a network: its stem, those of its stages, and its head if it has one."""
    known = encoder(name)
    build = _residual if known.family == "resnet" else _inverted
    return tuple(build(name))


def convolutions(name: EncoderName) -> Iterator[Convolution]:
    """Every convolution of a network."""
    for block in blocks(name):
        yield from block.row
        if block.shortcut is not None:
            yield block.shortcut


def means(
    name: EncoderName, weights: Weights, pixels: Float[Tensor, "batch 3 height width"]
) -> list[Float[Tensor, "batch channels"]]:
    """The mean over space after each tap of a network, the last map's at the end."""
    taps, last = encoder(name).taps, len(blocks(name)) - 1
    return [
        features.mean((2, 3))
        for number, features in _after_blocks(name, weights, pixels)
        if number - 1 in taps or number == last
    ]


def maps(
    name: EncoderName, weights: Weights, pixels: Float[Tensor, "batch 3 height width"]
) -> Iterator[Float[Tensor, "batch channels _ _"]]:
    """The last map of each size but the coarsest, the finest first."""
    last = encoder(name).last_blocks
    for number, features in _after_blocks(name, weights, pixels):
        if number - 1 in last:
            yield features
        if number - 1 == last[-1]:
            return


def _after_blocks(
    name: EncoderName, weights: Weights, pixels: Tensor
) -> Iterator[tuple[int, Tensor]]:
    """The map after each block, its stem's first."""
    known, features = encoder(name), pixels
    for number, block in enumerate(blocks(name)):
        features = _through(block, weights, features, known.same_padding, known.bounded)
        yield number, features


def _through(
    block: Block, weights: Weights, entering: Tensor, same_padding: bool, bounded: bool
) -> Tensor:
    active: Callable[[Tensor], Tensor] = functional.relu6 if bounded else functional.relu
    features = entering
    for convolution in block.row:
        features = _convolved(convolution, weights, features, same_padding)
        features = active(features) if convolution.active else features
    if block.adds_input:
        features = features + entering
    if block.shortcut is not None:
        features = features + _convolved(block.shortcut, weights, entering, same_padding)
    features = active(features) if block.active else features
    return functional.max_pool2d(features, 3, stride=2, padding=1) if block.pooled else features


def _convolved(of: Convolution, weights: Weights, entering: Tensor, same_padding: bool) -> Tensor:
    """With a stride TensorFlow pads what is missing, most of it below and to the right."""
    padding = of.kernel_px // 2
    if same_padding and of.stride > 1:
        height, width = (_missing(side, of) for side in entering.shape[2:])
        entering = functional.pad(entering, (*width, *height))
        padding = 0
    return functional.conv2d(
        entering,
        weights[f"{of.name}.weight"],
        weights[f"{of.name}.bias"],
        stride=of.stride,
        padding=padding,
        groups=of.groups,
    )


def _missing(side: int, of: Convolution) -> tuple[int, int]:
    """
    >>> _missing(224, Convolution(name="", sources=(), inputs=3, outputs=32, kernel_px=3, stride=2))
    (0, 1)
    """
    wanted = (math.ceil(side / of.stride) - 1) * of.stride + of.kernel_px
    missing = max(wanted - side, 0)
    return missing // 2, missing - missing // 2


def _inverted(name: EncoderName) -> Iterator[Block]:
    """EfficientNet-Lite and MobileNetV2: widen, look at each channel apart, narrow."""
    known = encoder(name)
    stem = Convolution(
        name="stem",
        sources=(("_conv_stem", "_bn0"), ("conv_stem", "bn1"), ("features.0.0", "features.0.1")),
        inputs=3,
        outputs=STEM_CHANNELS,
        kernel_px=3,
        stride=2,
    )
    yield Block(row=(stem,))
    entering, number = STEM_CHANNELS, 0
    for stage_number, stage in enumerate(known.stages):
        for place in range(stage.blocks):
            step = replace(stage, stride=stage.stride if place == 0 else 1)
            yield _inverted_block(step, entering, number, f"blocks.{stage_number}.{place}")
            entering, number = stage.channels, number + 1
    head = Convolution(
        name="head",
        sources=(
            ("_conv_head", "_bn1"),
            ("conv_head", "bn2"),
            (f"features.{number + 1}.0", f"features.{number + 1}.1"),
        ),
        inputs=entering,
        outputs=known.head,
    )
    yield Block(row=(head,))


def _inverted_block(stage: Stage, entering: int, number: int, timm: str) -> Block:
    inside = entering * stage.widening
    ours, lite, torchvision = (
        f"block{number}",
        f"_blocks.{number}",
        f"features.{number + 1}.conv",
    )
    wide = stage.widening > 1
    first = 1 if wide else 0
    in_timm = ("conv_pw", "conv_dw", "conv_pwl") if wide else ("", "conv_dw", "conv_pw")
    widen = Convolution(
        name=f"{ours}.widen",
        sources=(
            (f"{lite}._expand_conv", f"{lite}._bn0"),
            (f"{timm}.conv_pw", f"{timm}.bn1"),
            (f"{torchvision}.0.0", f"{torchvision}.0.1"),
        ),
        inputs=entering,
        outputs=inside,
    )
    look = Convolution(
        name=f"{ours}.look",
        sources=(
            (f"{lite}._depthwise_conv", f"{lite}._bn1"),
            (f"{timm}.{in_timm[1]}", f"{timm}.bn{first + 1}"),
            (f"{torchvision}.{first}.0", f"{torchvision}.{first}.1"),
        ),
        inputs=inside,
        outputs=inside,
        kernel_px=stage.kernel_px,
        stride=stage.stride,
        groups=inside,
    )
    narrow = Convolution(
        name=f"{ours}.narrow",
        sources=(
            (f"{lite}._project_conv", f"{lite}._bn2"),
            (f"{timm}.{in_timm[2]}", f"{timm}.bn{first + 2}"),
            (f"{torchvision}.{first + 1}", f"{torchvision}.{first + 2}"),
        ),
        inputs=inside,
        outputs=stage.channels,
        active=False,
    )
    return Block(
        row=(widen, look, narrow) if wide else (look, narrow),
        adds_input=stage.stride == 1 and entering == stage.channels,
    )


def _residual(name: EncoderName) -> Iterator[Block]:
    """ResNet: two convolutions of 3 pixels a block, or one of them between two of 1 pixel."""
    known = encoder(name)
    stem = Convolution(
        name="stem",
        sources=(("conv1", "bn1"),),
        inputs=3,
        outputs=64,
        kernel_px=7,
        stride=2,
    )
    yield Block(row=(stem,), pooled=True)
    entering, numbers = 64, itertools.count()
    for stage_number, stage in enumerate(known.stages, start=1):
        for place in range(stage.blocks):
            step = replace(stage, stride=stage.stride if place == 0 else 1)
            yield _residual_block(step, entering, next(numbers), f"layer{stage_number}.{place}")
            entering = stage.channels


def _residual_block(stage: Stage, entering: int, number: int, source: str) -> Block:
    narrow = stage.channels // stage.widening
    shapes = (
        [(entering, stage.channels, 3, stage.stride), (stage.channels, stage.channels, 3, 1)]
        if stage.widening == 1
        else [
            (entering, narrow, 1, 1),
            (narrow, narrow, 3, stage.stride),
            (narrow, stage.channels, 1, 1),
        ]
    )
    row = tuple(
        Convolution(
            name=f"block{number}.{place}",
            sources=((f"{source}.conv{place}", f"{source}.bn{place}"),),
            inputs=inputs,
            outputs=outputs,
            kernel_px=kernel,
            stride=stride,
            active=place < len(shapes),
        )
        for place, (inputs, outputs, kernel, stride) in enumerate(shapes, start=1)
    )
    changes = stage.stride != 1 or entering != stage.channels
    shortcut = Convolution(
        name=f"block{number}.shortcut",
        sources=((f"{source}.downsample.0", f"{source}.downsample.1"),),
        inputs=entering,
        outputs=stage.channels,
        stride=stage.stride,
        active=False,
    )
    return Block(
        row=row,
        adds_input=not changes,
        shortcut=shortcut if changes else None,
        active=True,
    )
