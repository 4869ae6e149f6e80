"""Start weights that were learned from data which anybody may see: public, or stand-ins.

    public cohort ─ pretrain ─▶ Pretrained ─ save ─▶ file ─ load ─▶ Pretrained ─ start ─▶ Start
                                                                                           │
                      a plan's `start_sha256` and `frozen_layers`, `PublicVectors(start=...)`

What is frozen costs no privacy at all: it has no gradient and no noise, and is not shared.

Source: Tramèr & Boneh 2021, section 5, on features from public data; De et al. 2022, section 4.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as encode

from federation.evaluation import open_training
from federation.evaluation.model_file import METADATA
from syft_code import canonical
from syft_code.arrays import Weights
from syft_code.cohort import Cohort
from syft_code.errors import InvalidInput, InvalidPlan, require
from syft_code.learning import augmentation as augmenting
from syft_code.local_training import broadcast
from syft_code.models import networks
from syft_code.plans.plan_parts import Augmentation
from syft_code.recipes.recipe import (
    CrossEntropy,
    DataSpec,
    Recipe,
    layer_parameters,
    parameter_count,
    pixel_shape,
    trained_count,
)

TENSOR = "weights"
LEAST_WORDS = 3


@canonical.message
class PretrainingSettings:
    """How to train on public data: Adam without noise.

    Each class counts the same, unless the recipe's loss says how much. With an `augmentation` its
    views of each slice are drawn once, and each is a slice of its own.
    """

    learning_rate: float = 2e-3
    epochs: int = 10
    batch_slices: int = 64
    augmentation: Augmentation | None = None
    seed: int = 0


@canonical.message
class PretrainingNote:
    """What start weights say of themselves, in the file that holds them.

    `why_public` is the sentence of whoever said that the data are public; empty for stand-ins.
    """

    trained_on: str
    why_public: str
    slices: int
    patients: int
    recipe: Recipe
    data: DataSpec
    training: PretrainingSettings
    format: Literal["consilium-start-1"] = "consilium-start-1"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pretrained:
    """A network's weights, float32 `[parameters]`, and what they were trained on."""

    note: PretrainingNote
    weights: Weights


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StartWeights:
    """Start weights of a plan: `sha256` is its `start_sha256`, `sentence` for its readers."""

    weights: Weights
    sha256: str
    frozen_layers: int
    sentence: str


def pretrain(
    recipe: Recipe,
    cohort: Cohort,
    data: DataSpec,
    *,
    trained_on: str,
    public: bool = False,
    why: str = "",
    training: PretrainingSettings | None = None,
) -> Pretrained:
    """Train the recipe's network on data that are public or stand-ins, without privacy.

    Guarantee: none for anybody in `cohort`. Stand-ins hold nobody.
    Does not protect: against a caller who calls private data public.

    Raises:
        InvalidInput: unless the data are marked as stand-ins, or `public` is true and `why` says
            in a sentence what makes them so; or if `trained_on` does not name them.
    """
    how = training or PretrainingSettings()
    require(
        bool(trained_on.strip()),
        "trained_on must name the data that the weights are trained on, and is empty.",
        error=InvalidInput,
    )
    _check_public(data, public=public, why=why)
    require(cohort.patients > 0, "There must be a patient to train on.", error=InvalidInput)
    model = networks.build(recipe, data)
    networks.from_vector(model, networks.initial_weights(recipe, data, seed=how.seed))
    open_training.train_without_privacy(
        model,
        _varied(cohort, how),
        recipe=recipe,
        learning_rate=how.learning_rate,
        epochs=how.epochs,
        batch_size=how.batch_slices,
        seed=how.seed,
        balanced=data.task == "classification" and recipe.loss == CrossEntropy(),
    )
    note = PretrainingNote(
        trained_on=trained_on,
        why_public="" if data.stand_in else why,
        slices=len(cohort.images),
        patients=cohort.patients,
        recipe=recipe,
        data=data,
        training=how,
    )
    return Pretrained(note=note, weights=networks.to_vector(model))


def start(
    pretrained: Pretrained, recipe: Recipe, data: DataSpec, *, frozen_layers: int, seed: int = 0
) -> StartWeights:
    """The start weights of a plan with this recipe on these data.

    The model must be the one that was trained, on slices of the same shape. For other classes the
    last layer is drawn anew from `seed`. The first `frozen_layers` layers with parameters stay as
    they are; `sentence` says which part that is.

    Raises:
        InvalidPlan: if the weights don't fit, or nothing were left to train.
    """
    note = pretrained.note
    _check_same_network(note, recipe, data)
    counts = layer_parameters(recipe, data)
    weights = pretrained.weights.copy()
    if data.classes != note.data.classes:
        drawn = networks.initial_weights(recipe, data, seed=seed)
        weights = np.concatenate([weights[: sum(counts[:-1])], drawn[sum(counts[:-1]) :]])
    trained = trained_count(recipe, data, frozen_layers=frozen_layers)
    stay = sum(counts) - trained
    sentence = (
        f"The weights start from training on {note.trained_on} ({note.patients} patients"
        f"{', drawn stand-ins' if note.data.stand_in else ''}); the first {frozen_layers} of "
        f"{len(counts)} layers with parameters stay as they are, {stay} numbers, and {trained} "
        "are trained and shared."
    )
    sha256 = broadcast.sha256(weights)
    return StartWeights(
        weights=weights, sha256=sha256, frozen_layers=frozen_layers, sentence=sentence
    )


def save(path: Path, pretrained: Pretrained) -> str:
    """Write weights and note as one safetensors file; return the file's SHA-256."""
    note = canonical.text(pretrained.note)
    data: bytes = encode({TENSOR: pretrained.weights}, metadata={METADATA: note})
    path.write_bytes(data)
    return canonical.sha256(data)


def load(path: Path) -> Pretrained:
    """Read what `save` wrote.

    Raises:
        InvalidInput: with one sentence, if it is not a whole file of start weights.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(METADATA, "")
            names = list(file.keys())
            found: Weights = file.get_tensor(TENSOR) if names == [TENSOR] else np.zeros(0, "f4")
    except (OSError, SafetensorError) as problem:
        raise InvalidInput(f"{path} must be start weights, and can't be read: {problem}.") from None
    note: PretrainingNote = canonical.parse(
        PretrainingNote,
        text.encode("utf-8", "replace"),
        what="note of start weights",
        error=InvalidInput,
    )
    expected = parameter_count(note.recipe, note.data)
    require(
        found.dtype == np.float32 and found.shape == (expected,) and bool(np.isfinite(found).all()),
        f"{path} must hold {expected} finite float32 numbers, the weights of its recipe's network, "
        "and does not: get it again.",
        error=InvalidInput,
    )
    return Pretrained(note=note, weights=found)


def _varied(cohort: Cohort, training: PretrainingSettings) -> Cohort:
    """All views of each slice, as slices of the same patient; the cohort itself without any."""
    changes = training.augmentation
    if changes is None:
        return cohort
    rows = (len(cohort.images) * changes.views, augmenting.numbers(cohort.images))
    uniforms = np.random.default_rng(training.seed).random(rows)
    images, labels = augmenting.views(
        cohort.images, cohort.labels, augmentation=changes, uniforms=uniforms
    )
    return Cohort(
        images=images,
        labels=labels,
        patient=cohort.patient.repeat(changes.views),
        facts=cohort.facts.repeat(changes.views, axis=0),
    )


def _check_public(data: DataSpec, *, public: bool, why: str) -> None:
    require(
        data.stand_in or (public and len(why.split()) >= LEAST_WORDS),
        "Start weights must be trained on stand-ins or on public data, and these data are not "
        "marked as stand-ins: weights that are trained without noise give patients away. If the "
        "data are public, say public=True and in `why` a sentence of what makes them so.",
        error=InvalidInput,
    )


def _check_same_network(note: PretrainingNote, recipe: Recipe, data: DataSpec) -> None:
    recipe.check(data)
    require(
        recipe.model == note.recipe.model,
        "Start weights must be of the plan's own model, and were trained for another one: write "
        "the recipe with the model of the file's note.",
        error=InvalidPlan,
    )
    now, then = ((pixel_shape(d), len(d.facts)) for d in (data, note.data))
    require(
        now == then,
        "Start weights must have been trained on slices of the plan's shape; the shapes are "
        f"{then[0]} with {then[1]} facts then, {now[0]} with {now[1]} facts now.",
        error=InvalidPlan,
    )
