"""Recipes and starting points for the two data sets: what worked when it was measured.

Whoever runs a study writes its privacy parameters out. What stands here is a place to start
from, and the figures it gave; it is no default, and nothing reads it without being asked to.

Measured on the 5,984 images of HAM10000 at 32 px, four hospitals by true site (2,527, 1,077,
1,007 and 176 lesions to train on, one fifth more held out), and on drawn stand-ins of BraTS
(four hospitals of 12 patients, 16 slices of 64 px each).
"""

from dataclasses import dataclass
from typing import Literal, assert_never

from syft_code.plan import DpSgd, Sgd
from syft_code.recipes import (
    Activation,
    Conv,
    CrossEntropy,
    DataSpec,
    DiceCrossEntropy,
    GlobalAverage,
    Layer,
    LayerStack,
    Pool,
    Recipe,
    UNet,
)

PUBLISHED_CASES = {
    "akiec": 327,
    "bcc": 514,
    "bkl": 1099,
    "df": 115,
    "mel": 1113,
    "nv": 6705,
    "vasc": 142,
}
"""Images by diagnosis in the published HAM10000. Source: Tschandl et al. 2018, table 2."""

BRATS_CLASS_WEIGHTS = (0.2, 3.0, 3.0, 3.0)
"""Background and tumour: tumour fills about one pixel in thirty of an axial slice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyDefaults:
    """One starting point: everything of a plan that tuning can change, but its recipe."""

    dp_sgd: DpSgd
    optimizer: Sgd
    rounds: int


def ham10000_recipe(data: DataSpec) -> Recipe:
    """Two strided convolutions with tanh, 2 x 2 averages, 14,000 parameters at 28 or 32 px.

    tanh keeps the features around 0 (Papernot et al. 2021, tempered sigmoids), so that large
    steps stay stable; GroupNorm learned more slowly here. Classes weigh as much as they are
    rare in the published table; clipping then bounds what the rarest add.
    """
    return Recipe(
        model=LayerStack(
            layers=(
                Conv(channels=16, kernel_px=5, stride=2),
                Activation(function="tanh"),
                Conv(channels=32, stride=2),
                Activation(function="tanh"),
                _last_pool(min(data.height_px, data.width_px)),
            )
        ),
        loss=CrossEntropy(class_weights=_balanced(data.classes)),
    )


def brats_recipe(data: DataSpec) -> Recipe:
    """A U-Net of two narrow levels: with a dozen patients noise drowns anything wider.

    The noise on a gradient grows with the root of the number of parameters, while the gradient
    of one patient stays clipped to the same length.
    """
    weights = BRATS_CLASS_WEIGHTS if len(data.classes) == len(BRATS_CLASS_WEIGHTS) else ()
    return Recipe(
        model=UNet(widths=(4, 8), groups=4), loss=DiceCrossEntropy(class_weights=weights)
    )


def recipe(data: DataSpec) -> Recipe:
    """The recipe for data of this kind."""
    return ham10000_recipe(data) if data.kind == "ham10000" else brats_recipe(data)


def _last_pool(side_px: int) -> Layer:
    """Averages that leave 2 x 2 of an image of 28 or 32 px, after two strides of 2."""
    left = -(-side_px // 4)
    if left < 3:
        return GlobalAverage()
    return Pool(function="average", size_px=4 if left % 4 == 0 else 3)


def _balanced(classes: tuple[str, ...]) -> tuple[float, ...]:
    """One over the published share of each class, over the number of classes.

    >>> _balanced(("mel", "nv"))
    (3.5121, 0.583)
    """
    if not set(classes) <= set(PUBLISHED_CASES):
        return ()
    cases = [PUBLISHED_CASES[name] for name in classes]
    return tuple(round(sum(cases) / len(cases) / number, 4) for number in cases)
