"""Training without privacy: what it learns, and what a class counts."""

import numpy as np
import pytest
import torch

from federation.evaluation import open_training
from syft_code.models import networks
from tests.gradients import CASES, ROWS, TABLE, a_cohort


@pytest.mark.parametrize("case", ["every layer of a stack", "table"])
def test_training_without_privacy_learns_what_can_be_learned(case) -> None:
    recipe, data = CASES[case]
    cohort = a_cohort(data, 60)
    for label in range(len(data.classes)):
        if data.facts:
            cohort.facts[cohort.labels == label, label] = 5.0
        else:
            cohort.images[cohort.labels == label, label] = 255
    model = networks.build(recipe, data)
    open_training.train_without_privacy(
        model, cohort, recipe=recipe, learning_rate=0.01, epochs=20, batch_size=16, seed=0
    )
    with torch.no_grad():
        found = model(*networks.inputs(cohort.images, cohort.facts)).argmax(1).numpy()
    assert (found == cohort.labels).mean() > 0.95


def test_balanced_training_counts_each_class_the_same() -> None:
    cohort = a_cohort(TABLE, 40)
    cohort.labels[:] = np.arange(40) < 4  # nine wells for each ill, and nothing tells them apart
    cohort.facts[:] = 0.0
    share_ill = {}
    for balanced in (False, True):
        model = networks.build(ROWS, TABLE)
        open_training.train_without_privacy(
            model,
            cohort,
            recipe=ROWS,
            learning_rate=0.05,
            epochs=60,
            batch_size=40,
            seed=0,
            balanced=balanced,
        )
        with torch.no_grad():
            answer = model(*networks.inputs(cohort.images[:1], cohort.facts[:1]))
        share_ill[balanced] = float(answer.softmax(1)[0, 1])
    assert share_ill[False] == pytest.approx(0.1, abs=0.02)
    assert share_ill[True] == pytest.approx(0.5, abs=0.02)
