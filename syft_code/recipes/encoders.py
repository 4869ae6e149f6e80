"""A frozen public network as a layer, and the axes that its features are laid along.

    picture ─ Encoder ─▶ a row of features ─ Projection ─▶ a shorter row ─ what is trained ─▶ ...

Both are computed once for each picture, before any training (`models.frozen_features`), from files that
all hospitals have and a plan names by their hash. Here they are plain numbers, and no torch is needed
to count. Source of the stages: `models.encoder_networks`.
"""

import functools
import itertools
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from syft_code import canonical
from syft_code.errors import require

LEAST_PX, MOST_PX = 32, 512
MOST_AXES = 1024
FEATURES_VERSION = 2
"""Raised with each change of what fixed layers say of a picture: features that were kept are computed anew."""
MOST_SEED = 2**32 - 1
EncoderName = Literal[
    "efficientnet-lite0",
    "efficientnet-lite1",
    "efficientnet-lite2",
    "efficientnet-lite3",
    "efficientnet-lite4",
    "mobilenet-v2",
    "resnet18",
    "resnet34",
    "resnet50",
]
Family = Literal["efficientnet-lite", "mobilenet", "resnet"]
Pool = Literal["last", "stages", "maps"]
Views = Literal[1, 2, 4, 8]
CHANNELS, STEM_CHANNELS = 3, 32
GRID_STRIDE = 4
_SHA256 = re.compile(r"[0-9a-f]{64}")
_HEAD = 1280
_BATCH_NORM_EPSILON = {"efficientnet-lite": 1e-3, "mobilenet": 1e-5, "resnet": 1e-5}


@canonical.message
class Encoder:
    """A public network that nobody here trains, and what it says of a picture.

    It is the first layer. Another encoder right after it looks at the same picture, and its numbers stand
    beside those of the first. The picture is brought to `input_px` by bilinear interpolation. With `pool`
    "last" the means over space of the network's last map are taken, with "stages" also those after
    its later stages (`KnownEncoder.taps`). Each number becomes the root of its size with its sign, then
    all numbers of one picture are put to mean 0 and deviation 1. With "maps", which an `EncoderDecoder`
    stands on, these are all numbers of one place of a map, and each of its channels is then put to the same
    over the slice's places (instance normalization, Ulyanov et al. 2016). With `views` the network looks at so many of the picture's mirror images and
    quarter turns, the picture itself first, and the means are those over all of them; not with "maps",
    whose places would be mixed. `weights_sha256` is of the file that the weights come from. No patient had a
    part in any of it, so it costs no privacy.
    """

    name: EncoderName
    weights_sha256: canonical.ShortText
    input_px: Annotated[int, Field(ge=LEAST_PX, le=MOST_PX)] = 224
    pool: Pool = "stages"
    views: Views = 1
    kind: Literal["encoder"] = "encoder"

    def __post_init__(self) -> None:
        canonical.require_types(self)
        _check_sha256("weights_sha256", self.weights_sha256)
        require(
            self.views == 1 or self.pool != "maps",
            f"An encoder must look at one view where its maps are kept, got {self.views} views.",
        )

    @property
    def features(self) -> int:
        """How many numbers a picture becomes."""
        if self.pool == "maps":
            return sum(channels * side_px**2 for channels, side_px in self.maps)
        return encoder(self.name).features(self.pool)

    @property
    def grid_px(self) -> int:
        """The side of the finest map that is kept, a quarter of the picture's."""
        return -(-self.input_px // GRID_STRIDE)

    @property
    def maps(self) -> tuple[tuple[int, int], ...]:
        """Channels and side of what is kept with "maps": the picture, and the last map of each size.

        Larger ones are brought to the grid. The coarsest, which hardly tells one place from the next
        and has the most channels, is left out.
        """
        pixels = (CHANNELS, self.grid_px)
        of_network = encoder(self.name).maps(self.input_px)
        return (pixels, *((channels, min(side, self.grid_px)) for channels, side in of_network))

    @property
    def file_sha256(self) -> str:
        """The hash of the file that it needs."""
        return self.weights_sha256

    @property
    def title(self) -> str:
        """What a sentence calls it."""
        return f"the encoder {self.name}"


@canonical.message
class Projection:
    """Features along fixed axes, each picture's row put to a mean square of 1.

    It stands right after an encoder, or several. With `axes_sha256` the axes are those of a file with that
    hash, learned from public pictures, or drawn about a mean that a study has released; without it they are
    drawn from `seed`, orthogonal to each other.
    What privacy costs grows with the number of trained parameters, so fewer axes cost less.
    """

    features: Annotated[int, Field(ge=1, le=MOST_AXES)]
    axes_sha256: canonical.ShortText = ""
    seed: Annotated[int, Field(ge=0, le=MOST_SEED)] = 0
    kind: Literal["projection"] = "projection"

    def __post_init__(self) -> None:
        canonical.require_types(self)
        if self.axes_sha256:
            _check_sha256("axes_sha256", self.axes_sha256)
        require(
            not (self.axes_sha256 and self.seed),
            "A projection must have axes from a file or from a seed, not both.",
        )

    @property
    def file_sha256(self) -> str:
        """The hash of the file that it needs, "" if its axes are drawn."""
        return self.axes_sha256

    @property
    def title(self) -> str:
        """What a sentence calls it."""
        return f"the projection on {self.features} axes"


FixedLayer = Encoder | Projection
MOST_ENCODERS = 4
"""So many encoders may stand side by side."""
AnyLayer = TypeVar("AnyLayer")


def steps(layers: tuple[AnyLayer, ...]) -> Iterator[tuple[AnyLayer, ...]]:
    """Layers as they are computed: the first alone, then the first two.

    >>> [len(step) for step in steps((Projection(features=2), Projection(features=1)))]
    [1, 2]
    """
    for end in range(1, len(layers) + 1):
        yield layers[:end]


def _check_sha256(name: str, value: str) -> None:
    require(
        _SHA256.fullmatch(value) is not None,
        f"{name} must be the SHA-256 of a file, 64 lower-case hexadecimal digits, got {value[:80]!r}: "
        "`consilium encoder list` shows it.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Blocks of one width; the first of them has the stride."""

    blocks: int
    channels: int
    kernel_px: int = 3
    stride: int = 1
    widening: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownEncoder:
    """A network: its stages, and the `taps`, blocks from 0 whose means `pool="stages"` takes too.

    `head` is the width of a last convolution of one pixel, 0 for none. `mean` and `deviation` are
    of red, green and blue in 0..1, as the network was trained.
    """

    family: Family
    stages: tuple[Stage, ...]
    taps: tuple[int, ...]
    head: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]

    @property
    def last_stages(self) -> tuple[int, ...]:
        """Of each size of map but the coarsest the last stage, from 0."""
        strides = [stage.stride for stage in self.stages[1:]]
        return tuple(number for number, after in enumerate(strides) if after == 2)

    @property
    def last_blocks(self) -> tuple[int, ...]:
        """Of each size of map but the coarsest the last block, from 0."""
        ends = list(itertools.accumulate(stage.blocks for stage in self.stages))
        return tuple(ends[number] - 1 for number in self.last_stages)

    def maps(self, input_px: int) -> tuple[tuple[int, int], ...]:
        """Channels and side in pixels of the last map of each size but the coarsest.

        >>> encoder("efficientnet-lite0").maps(128)
        ((16, 64), (24, 32), (40, 16), (112, 8))
        """
        side, sides = -(-input_px // (4 if self.family == "resnet" else 2)), []
        for stage in self.stages:
            side = -(-side // stage.stride)
            sides.append(side)
        return tuple((self.stages[n].channels, sides[n]) for n in self.last_stages)

    @property
    def bounded(self) -> bool:
        """Whether its ReLU ends at 6."""
        return self.family != "resnet"

    @property
    def same_padding(self) -> bool:
        """Whether it pads as TensorFlow does."""
        return self.family == "efficientnet-lite"

    @property
    def batch_norm_epsilon(self) -> float:
        """What its batch norm adds to a variance."""
        return _BATCH_NORM_EPSILON[self.family]

    def features(self, pool: Pool) -> int:
        """How many numbers a picture becomes.

        >>> encoder("efficientnet-lite0").features("stages")
        2056
        """
        widths = [stage.channels for stage in self.stages for _ in range(stage.blocks)]
        last = self.head or widths[-1]
        return last + (sum(widths[tap] for tap in self.taps) if pool == "stages" else 0)


@functools.lru_cache(maxsize=16)
def encoder(name: EncoderName) -> KnownEncoder:
    """A network by its name."""
    if name.startswith("efficientnet-lite"):
        return _lite(*_LITE[name])
    if name == "mobilenet-v2":
        return _known("mobilenet", _MOBILE, head=_HEAD, mean=_IMAGENET[0], deviation=_IMAGENET[1])
    return _known("resnet", _RESNETS[name], head=0, mean=_IMAGENET[0], deviation=_IMAGENET[1])


_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_LITE = {
    "efficientnet-lite0": (1.0, 1.0),
    "efficientnet-lite1": (1.0, 1.1),
    "efficientnet-lite2": (1.1, 1.2),
    "efficientnet-lite3": (1.2, 1.4),
    "efficientnet-lite4": (1.4, 1.8),
}
"""By how much a network is wider and deeper than the first."""
_LITE_STAGES = (
    Stage(blocks=1, channels=16),
    Stage(blocks=2, channels=24, stride=2, widening=6),
    Stage(blocks=2, channels=40, kernel_px=5, stride=2, widening=6),
    Stage(blocks=3, channels=80, stride=2, widening=6),
    Stage(blocks=3, channels=112, kernel_px=5, widening=6),
    Stage(blocks=4, channels=192, kernel_px=5, stride=2, widening=6),
    Stage(blocks=1, channels=320, widening=6),
)
_MOBILE = (
    Stage(blocks=1, channels=16),
    Stage(blocks=2, channels=24, stride=2, widening=6),
    Stage(blocks=3, channels=32, stride=2, widening=6),
    Stage(blocks=4, channels=64, stride=2, widening=6),
    Stage(blocks=3, channels=96, widening=6),
    Stage(blocks=3, channels=160, stride=2, widening=6),
    Stage(blocks=1, channels=320, widening=6),
)


def _resnet(blocks: tuple[int, int, int, int], widening: int) -> tuple[Stage, ...]:
    return tuple(
        Stage(
            blocks=count,
            channels=64 * 2**level * widening,
            stride=1 if level == 0 else 2,
            widening=widening,
        )
        for level, count in enumerate(blocks)
    )


_RESNETS = {
    "resnet18": _resnet((2, 2, 2, 2), 1),
    "resnet34": _resnet((3, 4, 6, 3), 1),
    "resnet50": _resnet((3, 4, 6, 3), 4),
}


def _lite(width: float, depth: float) -> KnownEncoder:
    """The first and the last stage are never deeper, as the authors' builder has it."""
    ends = (0, len(_LITE_STAGES) - 1)
    stages = tuple(
        Stage(
            blocks=stage.blocks if place in ends else math.ceil(depth * stage.blocks),
            channels=_rounded(stage.channels * width),
            kernel_px=stage.kernel_px,
            stride=stage.stride,
            widening=stage.widening,
        )
        for place, stage in enumerate(_LITE_STAGES)
    )
    half = (127.0 / 255.0,) * 3, (128.0 / 255.0,) * 3
    return _known("efficientnet-lite", stages, head=_HEAD, mean=half[0], deviation=half[1])


def _known(
    family: Family,
    stages: tuple[Stage, ...],
    *,
    head: int,
    mean: tuple[float, float, float],
    deviation: tuple[float, float, float],
) -> KnownEncoder:
    """Taps: of the stages from the third on their last block, and of the fifth the one before, too."""
    ends = [
        sum(stage.blocks for stage in stages[: number + 1]) - 1 for number in range(len(stages))
    ]
    taps = ends[:-1] if family == "resnet" else sorted([*ends[2:3], ends[4] - 1, *ends[4:]])
    return KnownEncoder(
        family=family, stages=stages, taps=tuple(taps), head=head, mean=mean, deviation=deviation
    )


def _rounded(channels: float) -> int:
    """To a multiple of 8, and never down by more than a tenth.

    >>> _rounded(26.4), _rounded(35.2)
    (24, 32)
    """
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near
