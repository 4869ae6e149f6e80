"""The mean of one or several encoders' features, released under privacy by an ordinary study of one round.

    a head that gives every picture to one class ─ one step over all patients ─▶ that class's weights
                                                                             = minus the mean of the others' rows

What all pictures have in common makes most of a row of features and tells no class from another. Taken off
first, the axes that are drawn from a seed hold what differs (`frozen_features.axes_about`). From weights of
zero and a bias that answers one class, `all_answered`, the gradient of a patient of another class is its
row in that class's weights, and minus its row in its own's: all of one length, so that one clip norm
fits. The other classes' weights and biases are released with it: noised sums of their rows, and how many they are.
The ledger pays for all of it as for any other step, and the release serves any later study.
"""

import math

import numpy as np
from numpy.typing import NDArray

from federation.strategy.presets import ONE_MAY_COLLUDE, Suggestion
from syft_code.arrays import Weights
from syft_code.errors import InvalidInput, require
from syft_code.plans.plan_parts import DpSgd, Sgd
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.encoders import Encoder
from syft_code.recipes.recipe import CrossEntropy, DataSpec, Recipe, layer_parameters

MOST_MEAN = 1e6
ANSWER = 20.0
"""The bias of the class that is always answered: any other has a probability below 1e-8."""


def suggested(*encoders: Encoder, noise_multiplier: float = 5.0) -> Suggestion:
    """The study that releases the mean: one step over all patients, noise shared, nothing evaluated.

    Training costs epsilon .73 at delta 1e-5 by itself (1.33 if all other hospitals collude, with sums over four),
    and far less beside a later study: together with one of epsilon 7.93 it is 8.0. Its start weights are `start`'s.
    """
    return Suggestion(
        recipe=Recipe(model=LayerStack(layers=encoders), loss=CrossEntropy()),
        dp_sgd=DpSgd(
            noise_multiplier=noise_multiplier,
            max_grad_norm=math.ceil(math.sqrt(2 * (_features(encoders) + 1))),
            sample_rate=1.0,
            steps=1,
        ),
        optimizer=Sgd(learning_rate=1.0),
        rounds=1,
        evaluation=None,
        shared_noise=ONE_MAY_COLLUDE,
    )


def start(*encoders: Encoder, data: DataSpec, all_answered: str) -> Weights:
    """The weights to start from: nothing but a bias for one class.

    Patients of that class have no part in the mean, so take one that few have.

    Raises:
        InvalidInput: if the data have no such class.
    """
    require(
        all_answered in data.classes,
        f"The class that is always answered must be one of {', '.join(data.classes)}, got "
        f"{all_answered[:80]!r}: take one that few patients have.",
        error=InvalidInput,
    )
    bias = np.zeros(len(data.classes), np.float32)
    bias[data.classes.index(all_answered)] = ANSWER
    return np.concatenate([np.zeros(len(bias) * _features(encoders), np.float32), bias])


def released(recipe: Recipe, data: DataSpec, weights: Weights) -> NDArray[np.float32]:
    """The mean that the study's model holds; post-processing, which costs nothing.

    How far the bias went tells how many rows the weights are a sum of.

    Shapes: weights `[parameters]`; gives `[features]`.

    Raises:
        InvalidInput: if the model is of another study, or the noise left nothing of it.
    """
    layers = recipe.model.layers if isinstance(recipe.model, LayerStack) else ()
    require(
        bool(layers) and all(isinstance(layer, Encoder) for layer in layers),
        "The model must be that of a study of `feature_mean.suggested`, a linear layer on encoders, and "
        "this one is another.",
        error=InvalidInput,
    )
    classes = len(data.classes)
    require(
        len(weights) == layer_parameters(recipe, data)[0],
        f"The model must hold {layer_parameters(recipe, data)[0]:,} weights, as its recipe has, got {len(weights):,}.",
        error=InvalidInput,
    )
    bias = weights[-classes:]
    answered = int(bias.argmax())
    went = float(bias[answered]) - ANSWER
    require(
        -2.0 < went < -0.1 and bool(np.isfinite(weights).all()),
        "The model must come from one step that started from `feature_mean.start`, and its largest bias is "
        f"{bias[answered]:.3g} in place of about {ANSWER - 1.0:g}: train it from that start, with hospitals that "
        "declare about as many patients as they have, most of them of other classes.",
        error=InvalidInput,
    )
    rows = weights[:-classes].reshape(classes, -1).astype(np.float64)
    mean = rows[answered] / went
    require(
        bool(np.abs(mean).max() < MOST_MEAN),
        f"The mean must be of rows of deviation 1, and has a number of size {np.abs(mean).max():.3g}: the noise "
        "left nothing of it.",
        error=InvalidInput,
    )
    return np.asarray(mean, dtype=np.float32)


def _features(encoders: tuple[Encoder, ...]) -> int:
    return sum(encoder.features for encoder in encoders)
