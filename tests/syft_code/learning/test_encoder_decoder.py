"""A decoder on an encoder's maps trains patient by patient, like every other network."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from syft_code.cohort import Cohort
from syft_code.learning import dp_sgd
from syft_code.models import frozen_features, networks
from syft_code.recipes.layers import Activation, Conv, GroupNorm, Layer
from syft_code.recipes.recipe import Recipe, parameter_count
from tests import encoders
from tests.encoders import GLIOMA
from tests.gradients import a_cohort, a_model, clip_and_add, median_norm, slow_gradients

FILE = encoders.file()
LAYERS: dict[str, tuple[Layer, ...]] = {
    "a logistic regression at each place": (),
    "two convolutions": (Conv(channels=4, kernel_px=1), GroupNorm(groups=2), Activation()),
}


def encoded(cohort: Cohort, recipe: Recipe) -> Cohort:
    images = frozen_features.encoded(recipe.model.encoder, cohort.images, FILE)  # type: ignore[union-attr]
    return replace(cohort, images=images)


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_the_clipped_sum_is_that_of_one_patient_after_the_other(layers: tuple[Layer, ...]) -> None:
    recipe = encoders.decoder(FILE, *layers)
    cohort = encoded(a_cohort(GLIOMA, 5), recipe)
    model = a_model(recipe, GLIOMA)
    rows = slow_gradients(a_model(recipe, GLIOMA), cohort, recipe=recipe)
    assert rows.shape == (5, parameter_count(recipe, GLIOMA))
    bound = median_norm(rows)
    found = dp_sgd.clipped_sum(model, cohort, recipe=recipe, max_grad_norm=bound)
    torch.testing.assert_close(found, clip_and_add(rows, bound), rtol=1e-4, atol=1e-5 * bound)


def test_an_answer_is_as_large_as_the_slice_and_knows_no_neighbour() -> None:
    recipe = encoders.decoder(FILE, *LAYERS["two convolutions"])
    cohort = encoded(a_cohort(GLIOMA, 3), recipe)
    model = a_model(recipe, GLIOMA)
    logits = model(*networks.inputs(cohort.images, cohort.facts)).detach()
    assert logits.shape == (3, 2, GLIOMA.height_px, GLIOMA.width_px)
    alone = model(*networks.inputs(cohort.images[1:2], cohort.facts[1:2])).detach()
    np.testing.assert_allclose(alone[0], logits[1], atol=1e-5)
