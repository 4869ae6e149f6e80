"""Recipes and starting points for each kind of study: what worked when it was measured.

Whoever runs a study writes its privacy parameters out. What stands here is a place to start
from, and the figures it gave; it is no default, and nothing reads it without being asked to.

    skin               pictures: fixed wavelet features, and a linear layer that is trained
    skin with facts    the same, with age, sex and place beside
    glioma             slices of MRI: a small U-Net, with or without facts of the patient
    lower-grade        the maps of a public encoder, and a logistic regression at each place
    tables             heart disease, symptoms: logistic regression
    vitals             a series of hours: a small LSTM
    transfer           a network that was trained on public pictures, frozen but for its end
    encoded            pictures through a public encoder, and a linear layer that is trained
"""

from dataclasses import dataclass, field, fields
from typing import Any

from syft_code.plans.algorithms import Algorithm, FedAvg
from syft_code.plans.plan_parts import Augmentation, DpSgd, Evaluation, Sgd
from syft_code.plans.shared_noise import SharedNoise
from syft_code.recipes.architectures import EncoderDecoder, Fusion, LayerStack, UNet
from syft_code.recipes.encoders import LEAST_PX, Encoder, FixedLayer
from syft_code.recipes.layers import Activation, Conv, GlobalAverage, Layer, Lstm, Pool, Scattering
from syft_code.recipes.recipe import CrossEntropy, DataSpec, DiceCrossEntropy, Recipe
from syft_code.runtime import encoder_files

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
LGG_CLASS_WEIGHTS = (1.0, 3.0)
"""Background, then one region."""
LGG_INPUT_PX = 128
"""At which it was measured; smaller slices stay as they are."""

TRANSFER_FROZEN_LAYERS = 2
"""Both convolutions of `convolutions`: only its last layer is trained."""

ONE_MAY_COLLUDE = SharedNoise(colluding=1)
"""Beside the researcher. Of what is left if all others collude, `epsilon_alone` tells (docs/privacy.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """One starting point: everything of a plan that is a researcher's to choose."""

    recipe: Recipe
    dp_sgd: DpSgd
    optimizer: Sgd
    rounds: int
    evaluation: Evaluation | None
    algorithm: Algorithm = field(default_factory=FedAvg)
    averaging: float | None = None
    augmentation: Augmentation | None = None
    frozen_layers: int = 0
    max_update_norm: float | None = None
    shared_noise: SharedNoise | None = None

    def choices(self, *, evaluated: bool = True) -> dict[str, Any]:
        """The fields of a plan, for `researcher.study(..., **choices)`.

        Without evaluations where fewer hospitals hold patients out than a sum needs: `evaluated=False`.
        """
        chosen = {one.name: getattr(self, one.name) for one in fields(self)}
        return chosen if evaluated else chosen | {"evaluation": None}


def suggested(data: DataSpec) -> Suggestion:
    """A starting point for data of this kind, to copy out and to change.

    Pictures of one's own start as skin lesions do, which was not measured.

    >>> from syft_code.recipes.recipe import DataSpec
    >>> suggested(DataSpec(kind="brats", task="segmentation", channels=("t1",), height_px=64,
    ...     width_px=64, classes=("no", "yes"), patient_unit="patient", stand_in=True)).rounds
    8
    """
    match data.kind:
        case "ham10000" | "images":
            return skin(data)
        case "table":
            return table()
        case "series":
            return series()
        case "lgg":
            return lower_grade_glioma(data)
    return glioma(data)


def skin(data: DataSpec) -> Suggestion:
    """HAM10000: one noisy step a round over half of the patients, the rounds' models averaged.

    The clip is large, since the gradient of a rare class is as much longer as it is rare, and must
    not be cut down to the others'. Noise is shared, one hospital may collude. Training costs epsilon 7.48
    at delta 1e-5 (11.8 if all other hospitals collude, with sums over at least three), the two evaluations 6.57 for
    patients who are held out.

    What it gives on drawn stand-ins at four sites: benchmarks/grids/skin_stand_ins.toml, which says
    nothing about medicine. On the 5,984 images of HAM10000 with their facts, 200 such steps
    at a learning rate of .5: docs/results.md, "Noise of one's own, and shared".
    """
    return Suggestion(
        recipe=ham10000_recipe(data),
        dp_sgd=DpSgd(noise_multiplier=2.6, max_grad_norm=20.0, sample_rate=0.5, steps=1),
        optimizer=Sgd(learning_rate=0.8),
        rounds=60,
        evaluation=Evaluation(noise_multiplier=1.0, after_rounds=(30, 60)),
        averaging=0.9,
        shared_noise=ONE_MAY_COLLUDE,
    )


def table() -> Suggestion:
    """Heart disease, symptoms: one step over all patients a round, so that hospitals never drift.

    Noise is shared, one hospital may collude. Training costs epsilon 7.5 at delta 1e-5 (11.4 if all other hospitals
    collude). On heart disease at its four true hospitals, means of 5 seeds, balanced accuracy and AUC, where each
    adds all of the noise (benchmarks/grids/heart.toml; shared: docs/results.md):

        epsilon 8   .839 and .913
        epsilon 3   .841 and .912
        no privacy  .836 and .916   pooled the same   best single hospital .803 and .891
    """
    return Suggestion(
        recipe=Recipe(model=LayerStack(layers=()), loss=CrossEntropy()),
        dp_sgd=DpSgd(noise_multiplier=4.5, max_grad_norm=2.0, sample_rate=1.0, steps=1),
        optimizer=Sgd(learning_rate=0.3),
        rounds=50,
        evaluation=Evaluation(noise_multiplier=1.5, after_rounds=(50,)),
        averaging=0.9,
        shared_noise=ONE_MAY_COLLUDE,
    )


def series() -> Suggestion:
    """Vitals: a small LSTM over the hours, one large step over all patients a round.

    Noise is shared, one hospital may collude. Training costs epsilon 7.3 at delta 1e-5 (11.1 if all other
    hospitals collude). On 600 drawn stand-ins at four wards, means of 5 seeds, balanced accuracy and AUC, where
    each adds all of the noise (benchmarks/grids/vitals.toml), which say nothing about medicine:

        epsilon 8   .843 and .939   pooled .874 and .957   best single ward .851 and .939
        epsilon 3   .785 and .918   pooled .832 and .941   (learning rate 2)
        no privacy  .907 and .969   pooled .903 and .966   (100 rounds)
    """
    return Suggestion(
        recipe=Recipe(model=LayerStack(layers=(Lstm(units=8),)), loss=CrossEntropy()),
        dp_sgd=DpSgd(noise_multiplier=4.6, max_grad_norm=1.0, sample_rate=1.0, steps=1),
        optimizer=Sgd(learning_rate=4.0),
        rounds=50,
        evaluation=Evaluation(noise_multiplier=1.5, after_rounds=(50,)),
        averaging=0.8,
        shared_noise=ONE_MAY_COLLUDE,
    )


def glioma(data: DataSpec) -> Suggestion:
    """BraTS: large steps with momentum, clipped where a slice with a tumour has its gradient.

    Ten steps a round ask for each hospital's own noise. Training costs epsilon 7.5 at delta 1e-5. On 240 drawn stand-ins at four hospitals, slices of 48
    px, means of 3 seeds, Dice of the whole tumour, core and enhancing part
    (benchmarks/grids/glioma.toml), which say nothing about medicine:

        epsilon 8   .80, .00 and .00   pooled .87, .16 and .19   best single hospital .86, .10, .12
        epsilon 3   .56, .00 and .00   pooled .46, .00 and .01   (60 steps, learning rate .05)
        no noise    .94, .89 and .80   pooled .94, .91 and .81   (120 steps)
    """
    return Suggestion(
        recipe=brats_recipe(data),
        dp_sgd=DpSgd(noise_multiplier=1.65, max_grad_norm=0.5, sample_rate=0.25, steps=10),
        optimizer=Sgd(learning_rate=0.3, momentum=0.9),
        rounds=8,
        evaluation=Evaluation(noise_multiplier=1.5, after_rounds=(8,)),
        averaging=0.5,
    )


def lower_grade_glioma(data: DataSpec) -> Suggestion:
    """Slices of three channels: a decoder on the maps of the encoder that the install brings along.

    One step a round, on the mean gradient of four slices of a patient; small steps under a small clip norm. Noise is
    shared, one hospital may collude. Training costs epsilon 7.33 at delta 1e-5 (11.2 if all other hospitals collude, with
    sums over at least three). On 87 patients of four institutions at 128 px, means of 5 seeds, Dice of the
    abnormality (benchmarks/grids/lgg.toml):

        epsilon 8   .555   pooled .575   best single institution .376
        no privacy  .621   pooled .626   best single institution .602   (200 rounds on 2 slices, learning rate .1)
    """
    (package,) = (one for one in encoder_files.PACKAGES if one.encoder == "efficientnet-lite0")
    encoder = Encoder(
        name="efficientnet-lite0",
        weights_sha256=package.sha256,
        input_px=min(max(data.height_px, data.width_px, LEAST_PX), LGG_INPUT_PX),
        pool="maps",
    )
    weights = LGG_CLASS_WEIGHTS if len(data.classes) == len(LGG_CLASS_WEIGHTS) else ()
    return Suggestion(
        recipe=Recipe(
            model=EncoderDecoder(encoder=encoder), loss=DiceCrossEntropy(class_weights=weights)
        ),
        dp_sgd=DpSgd(noise_multiplier=5.0, max_grad_norm=0.25, sample_rate=1.0, steps=1, slices=4),
        optimizer=Sgd(learning_rate=0.5),
        rounds=60,
        evaluation=Evaluation(noise_multiplier=1.5, after_rounds=(60,)),
        averaging=0.9,
        shared_noise=ONE_MAY_COLLUDE,
    )


def transfer(data: DataSpec) -> Suggestion:
    """Skin: convolutions that were trained on public pictures, frozen; their last layer is trained.

    Train them with `pretraining.pretrain(replace(convolutions(data), loss=CrossEntropy()), ...)` on
    turned and shifted views, as `benchmarks.pretrain` does, and take the `start_sha256` of
    `pretraining.start`. Training costs epsilon 7.4 at delta 1e-5.

    On HAM10000 at 32 px, one true site as the public pictures, the three others as hospitals, means
    of 5 seeds, balanced accuracy and melanoma AUC (benchmarks/grids/transfer.toml):

        epsilon 8   .438 and .879   from scratch .320 and .866   all layers trained .397 and .816
        epsilon 3   .398 and .869   from scratch .298 and .860   all layers trained .373 and .814

    Where pictures and facts are alike enough, `skin` started from a layer of its own that was
    trained in public is better, with a learning rate of .05 and nothing frozen: .574 and .869 at
    epsilon 8, .547 and .839 at epsilon 3; from scratch .524 and .868, .457 and .832.
    """
    return Suggestion(
        recipe=convolutions(data),
        dp_sgd=DpSgd(noise_multiplier=4.6, max_grad_norm=6.0, sample_rate=0.5, steps=10),
        optimizer=Sgd(learning_rate=0.1, momentum=0.8),
        rounds=20,
        evaluation=Evaluation(noise_multiplier=1.0, after_rounds=(10, 20)),
        averaging=0.8,
        frozen_layers=TRANSFER_FROZEN_LAYERS,
    )


def encoded(data: DataSpec, front: tuple[FixedLayer, ...]) -> Suggestion:
    """Pictures through public encoders and perhaps along axes, facts beside them, a linear layer trained.

    Class priors lengthen no gradient, as weights do, so that a small clip norm fits; facts are scaled up, so that
    they are learned as fast as a picture's features. Take axes about a mean, released (`feature_mean`) or public.
    Noise is shared, one hospital may collude. Training costs epsilon 7.85 at delta 1e-5 (12.0 if all other
    hospitals collude, with sums over at least three). On HAM10000 at its four true sites with two encoders
    and 384 axes, means of 5 seeds, balanced accuracy and AUC, with the mean's own cost
    (benchmarks/grids/skin_centred_axes.toml):

        epsilon 8   .612 and .900   pooled .630 and .903
        epsilon 3   .570 and .885   pooled .573 and .893   (learning rate .2)
        no privacy  .665 and .900   (1,024 axes, facts_scale 12, 150 rounds, learning rate .1)
    """
    shares = _published_shares(data.classes)
    model = Fusion(image=front, facts_scale=5.0) if data.facts else LayerStack(layers=front)
    return Suggestion(
        recipe=Recipe(model=model, loss=CrossEntropy(class_priors=shares)),
        dp_sgd=DpSgd(noise_multiplier=6.1, max_grad_norm=10.0, sample_rate=1.0, steps=1),
        optimizer=Sgd(learning_rate=0.5),
        rounds=100,
        evaluation=Evaluation(noise_multiplier=1.5, after_rounds=(100,)),
        averaging=0.95,
        shared_noise=ONE_MAY_COLLUDE,
    )


def ham10000_recipe(data: DataSpec) -> Recipe:
    """The means of 25 scattering paths of each colour, and a linear layer to the classes.

    The features are fixed, so that no privacy is spent on finding them; tanh bounds what one
    picture can weigh (Papernot et al. 2021, tempered sigmoids). Facts stand beside them as they
    are. Classes weigh as much as they are rare in the published table.
    """
    image: tuple[Layer, ...] = (
        Scattering(scales=2 if min(data.height_px, data.width_px) > 4 else 1, angles=4),
        GlobalAverage(),
        Activation(function="tanh"),
    )
    model = Fusion(image=image) if data.facts else LayerStack(layers=image)
    return Recipe(model=model, loss=CrossEntropy(class_weights=_balanced(data.classes)))


def convolutions(data: DataSpec) -> Recipe:
    """Two strided convolutions with tanh, 2 x 2 averages; 6,759 parameters at 28 or 32 px.

    tanh keeps the features around 0 (Papernot et al. 2021), so that large steps stay stable.
    """
    layers = (
        Conv(channels=16, kernel_px=5, stride=2),
        Activation(function="tanh"),
        Conv(channels=32, stride=2),
        Activation(function="tanh"),
        _last_pool(min(data.height_px, data.width_px)),
    )
    loss = CrossEntropy(class_weights=_balanced(data.classes))
    return Recipe(model=LayerStack(layers=layers), loss=loss)


def brats_recipe(data: DataSpec) -> Recipe:
    """A U-Net of two levels, 15,796 parameters on four modalities without facts.

    Noise on a gradient grows with the root of their number, while one patient's gradient stays
    clipped to the same length. Even so wider was better (docs/segmentation.md): a narrow network
    needs more steps than the budget has. Facts of the patient enter at its bottom.
    """
    weights = BRATS_CLASS_WEIGHTS if len(data.classes) == len(BRATS_CLASS_WEIGHTS) else ()
    model = UNet(widths=(16, 16), groups=4, facts=bool(data.facts))
    return Recipe(model=model, loss=DiceCrossEntropy(class_weights=weights))


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
    return tuple(round(1 / len(classes) / share, 4) for share in _published_shares(classes))


def _published_shares(classes: tuple[str, ...]) -> tuple[float, ...]:
    """The share of each class in the published table; nothing if it does not have all of them.

    >>> [round(share, 4) for share in _published_shares(("mel", "nv"))]
    [0.1424, 0.8576]
    """
    if not set(classes) <= set(PUBLISHED_CASES):
        return ()
    whole = sum(PUBLISHED_CASES[name] for name in classes)
    return tuple(PUBLISHED_CASES[name] / whole for name in classes)
