"""Start weights come from public data or stand-ins, say so, and fit the plan that they start."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from federation.evaluation import open_training, pretraining
from federation.evaluation.pretraining import Pretrained, PretrainingSettings
from syft_code.cohort import Cohort
from syft_code.errors import InvalidInput, InvalidPlan
from syft_code.local_training import broadcast
from syft_code.models import networks
from syft_code.plans.plan_parts import Augmentation
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import Activation, Conv, GlobalAverage
from syft_code.recipes.recipe import CrossEntropy, Recipe
from tests.shapes import SKIN

RECIPE = Recipe(
    model=LayerStack(layers=(Conv(channels=3), Activation(), GlobalAverage())), loss=CrossEntropy()
)
PRIVATE = replace(SKIN, stand_in=False)
QUICK = PretrainingSettings(epochs=3, batch_slices=16, learning_rate=0.05)
WHY = "The data set is published under CC BY-NC 4.0."


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    random = np.random.default_rng(0)
    labels = np.arange(40) % 4
    images = random.integers(0, 60, (40, 3, 17, 22)) + 60 * (labels % 3)[:, None, None, None]
    return Cohort(
        images=images.astype(np.uint8),
        labels=labels.astype(np.uint8),
        patient=np.arange(40, dtype=np.int32),
    )


@pytest.fixture(scope="module")
def learned(cohort: Cohort) -> Pretrained:
    return pretraining.pretrain(RECIPE, cohort, SKIN, trained_on="drawn skin", training=QUICK)


def loss(weights: np.ndarray, cohort: Cohort) -> float:
    model = networks.build(RECIPE, SKIN)
    networks.from_vector(model, weights)
    truth = torch.from_numpy(cohort.labels.astype(np.int64))
    with torch.no_grad():
        logits = model(*networks.inputs(cohort.images, cohort.facts))
    return float(networks.loss_per_example(RECIPE, logits, truth).mean())


def test_training_on_stand_ins_learns_and_notes_what_it_saw(learned, cohort) -> None:
    fresh = networks.initial_weights(RECIPE, SKIN, seed=0)
    assert loss(learned.weights, cohort) < 0.9 * loss(fresh, cohort)
    note = learned.note
    assert (note.trained_on, note.patients, note.slices) == ("drawn skin", 40, 40)
    assert note.why_public == "" and note.data == SKIN and note.recipe == RECIPE


@pytest.mark.parametrize(
    "said", [{}, {"public": True}, {"public": True, "why": "yes"}, {"why": WHY}]
)
def test_data_that_nobody_calls_public_are_refused(said, cohort) -> None:
    with pytest.raises(InvalidInput, match="must be trained on stand-ins or on public data"):
        pretraining.pretrain(RECIPE, cohort, PRIVATE, trained_on="ward 7", training=QUICK, **said)


def test_the_sentence_that_calls_data_public_stands_in_the_note(cohort) -> None:
    found = pretraining.pretrain(
        RECIPE,
        cohort,
        PRIVATE,
        trained_on="HAM10000",
        public=True,
        why=WHY,
        training=replace(QUICK, epochs=1),
    )
    assert found.note.why_public == WHY


def test_views_are_slices_of_the_same_patients_and_change_what_is_learned(cohort, learned) -> None:
    turned = replace(QUICK, augmentation=Augmentation(views=2, flips=True))
    found = pretraining.pretrain(RECIPE, cohort, SKIN, trained_on="drawn skin", training=turned)
    again = pretraining.pretrain(RECIPE, cohort, SKIN, trained_on="drawn skin", training=turned)
    assert np.array_equal(found.weights, again.weights)
    assert not np.array_equal(found.weights, learned.weights)
    assert (found.note.patients, found.note.slices) == (40, 40)
    assert found.note.training.augmentation == turned.augmentation


@pytest.mark.parametrize("weights", [(), (1.0, 1.0, 1.0, 1.0)])
def test_each_class_counts_the_same_unless_the_recipe_says_how_much(weights, cohort) -> None:
    """With a third class that is rare: weights of the recipe are not balanced once more."""
    chosen = np.ones(40, dtype=np.bool_)
    chosen[np.flatnonzero(cohort.labels == 2)[1:]] = False
    rare = cohort.select(chosen)
    recipe = replace(RECIPE, loss=CrossEntropy(class_weights=weights))
    found = pretraining.pretrain(recipe, rare, SKIN, trained_on="drawn skin", training=QUICK)
    model = networks.build(recipe, SKIN)
    networks.from_vector(model, networks.initial_weights(recipe, SKIN, seed=0))
    open_training.train_without_privacy(
        model,
        rare,
        recipe=recipe,
        learning_rate=QUICK.learning_rate,
        epochs=QUICK.epochs,
        batch_size=QUICK.batch_slices,
        seed=QUICK.seed,
        balanced=not weights,
    )
    assert np.array_equal(found.weights, networks.to_vector(model))


def test_data_without_a_name_or_a_patient_are_refused(cohort) -> None:
    with pytest.raises(InvalidInput, match="trained_on must name the data"):
        pretraining.pretrain(RECIPE, cohort, SKIN, trained_on=" ", training=QUICK)
    nobody = cohort.select(np.zeros(40, dtype=np.bool_))
    with pytest.raises(InvalidInput, match="must be a patient"):
        pretraining.pretrain(RECIPE, nobody, SKIN, trained_on="drawn", training=QUICK)


def test_a_file_gives_back_what_was_saved_and_the_same_bytes_each_time(learned, tmp_path) -> None:
    path = tmp_path / "start.safetensors"
    first = pretraining.save(path, learned)
    again = pretraining.load(path)
    assert again.note == learned.note
    assert np.array_equal(again.weights, learned.weights)
    assert pretraining.save(path, again) == first


def test_a_broken_file_is_refused_with_a_sentence(learned, tmp_path) -> None:
    path: Path = tmp_path / "start.safetensors"
    pretraining.save(path, learned)
    whole = path.read_bytes()
    note = whole[8 : 8 + int.from_bytes(whole[:8], "little")]
    assert b"drawn skin" in note
    for bad, sentence in (
        (whole[:-4], "can't be read"),
        (b"", "can't be read"),
        (save({"weights": learned.weights}), "note of start weights"),
        (whole.replace(b"drawn skin", b"drawn\xffskin"), "can't be read"),
    ):
        path.write_bytes(bad)
        with pytest.raises(InvalidInput, match=sentence):
            pretraining.load(path)
    with pytest.raises(InvalidInput, match="can't be read"):
        pretraining.load(tmp_path / "none")


@pytest.mark.parametrize("change", ["short", "double", "nan"])
def test_weights_that_are_not_the_recipes_are_refused(change, learned, tmp_path) -> None:
    weights = {
        "short": learned.weights[:-1],
        "double": learned.weights.astype(np.float64),
        "nan": np.append(learned.weights[:-1], np.float32(np.nan)),
    }[change]
    path = tmp_path / "start.safetensors"
    pretraining.save(path, replace(learned, weights=weights))
    with pytest.raises(InvalidInput, match="finite float32 numbers"):
        pretraining.load(path)


def test_start_weights_carry_their_hash_and_say_what_stays(learned) -> None:
    found = pretraining.start(learned, RECIPE, PRIVATE, frozen_layers=1)
    assert np.array_equal(found.weights, learned.weights)
    assert found.sha256 == broadcast.sha256(learned.weights)
    assert found.frozen_layers == 1
    assert "drawn skin (40 patients, drawn stand-ins)" in found.sentence
    assert "first 1 of 2 layers with parameters stay as they are, 84 numbers, and 16" in (
        found.sentence
    )


def test_for_other_classes_the_last_layer_is_drawn_anew(learned) -> None:
    three = replace(PRIVATE, classes=("mel", "nv", "vasc"))
    found = pretraining.start(learned, RECIPE, three, frozen_layers=1, seed=3)
    drawn = networks.initial_weights(RECIPE, three, seed=3)
    assert np.array_equal(found.weights[:84], learned.weights[:84])
    assert np.array_equal(found.weights[84:], drawn[84:])


def test_weights_of_another_model_or_shape_are_refused(learned) -> None:
    other = Recipe(model=LayerStack(layers=(Conv(channels=3),)), loss=CrossEntropy())
    with pytest.raises(InvalidPlan, match="were trained for another one"):
        pretraining.start(learned, other, SKIN, frozen_layers=1)
    with pytest.raises(InvalidPlan, match=r"\(3, 17, 22\) with 0 facts then, \(3, 20, 22\)"):
        pretraining.start(learned, RECIPE, replace(SKIN, height_px=20), frozen_layers=1)
    with pytest.raises(InvalidPlan, match="frozen_layers must be between 0 and 1"):
        pretraining.start(learned, RECIPE, SKIN, frozen_layers=2)
