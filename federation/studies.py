"""Recipes and starting points for the two data sets: what worked when it was measured.

Whoever runs a study writes its privacy parameters out. What stands here is a place to start
from, and the figures it gave; it is no default, and nothing reads it without being asked to.

Measured on the 5,984 images of HAM10000 at 32 px, four hospitals by true site (2,527, 1,077,
1,007 and 176 lesions to train on, one fifth more held out), and on drawn stand-ins of BraTS
(slices of 48 px, four hospitals of 70, 59, 41 and 15 patients to train on).
"""

from dataclasses import dataclass

from syft_code.plan import DpSgd, Evaluation, Sgd
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

BRATS_CLASS_WEIGHTS = (0.1, 3.0, 3.0, 3.0)
"""Background, then tumour, which fills about one pixel in thirty of an axial slice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """One starting point: everything of a plan that is a researcher's to choose."""

    recipe: Recipe
    dp_sgd: DpSgd
    optimizer: Sgd
    rounds: int
    evaluation: Evaluation


def suggested(data: DataSpec) -> Suggestion:
    """A starting point for data of this kind, to copy out and to change.

    HAM10000: epsilon 3.96 at delta 1e-5 for training, 6.57 for the two evaluations (the larger
    counts). Over four splits and seeds melanoma AUC .78 to .81, balanced accuracy .27 to .29;
    without any noise no better, so that the noise is not what limits it.

    BraTS: epsilon 6.91 for all rounds. On drawn stand-ins of 185 training patients at four
    hospitals the Dice of the whole tumour was .43 and .44 (two seeds), of its parts 0; with a
    dozen patients a hospital it was .37, .20 and 0 (three seeds). More patients help, other
    settings hardly.

    >>> from syft_code.recipes import DataSpec
    >>> suggested(DataSpec(kind="brats", task="segmentation", channels=("t1",), height_px=64,
    ...     width_px=64, classes=("no", "yes"), patient_unit="patient", stand_in=True)).rounds
    6
    """
    if data.kind == "ham10000":
        return Suggestion(
            recipe=ham10000_recipe(data),
            dp_sgd=DpSgd(noise_multiplier=2.0, max_grad_norm=6.0, sample_rate=0.2, steps=8),
            optimizer=Sgd(learning_rate=0.4),
            rounds=8,
            evaluation=Evaluation(noise_multiplier=1.0, after_rounds=(4, 8)),
        )
    return Suggestion(
        recipe=brats_recipe(data),
        dp_sgd=DpSgd(noise_multiplier=5.25, max_grad_norm=0.2, sample_rate=1.0, steps=10),
        optimizer=Sgd(learning_rate=0.5),
        rounds=6,
        evaluation=Evaluation(noise_multiplier=1.5, after_rounds=(6,)),
    )


def ham10000_recipe(data: DataSpec) -> Recipe:
    """Two strided convolutions with tanh, 2 x 2 averages; 6,759 parameters at 28 or 32 px.

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
    return Recipe(model=UNet(widths=(4, 8), groups=4), loss=DiceCrossEntropy(class_weights=weights))


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
