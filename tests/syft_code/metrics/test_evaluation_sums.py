"""Evaluation: one patient's vector stays small, and the figures are the usual ones."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from syft_code.cohort import Cohort
from syft_code.errors import InvalidMessage
from syft_code.metrics import evaluation_sums, scoring
from syft_code.metrics.segmentation import DISTANCES, HD95_LIMIT_MM
from syft_code.models import networks
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import Activation
from syft_code.recipes.recipe import CrossEntropy, DataSpec, Recipe

SKIN = DataSpec(
    kind="ham10000",
    task="classification",
    channels=("red", "green", "blue"),
    height_px=1,
    width_px=1,
    classes=("bkl", "mel", "nv"),
    patient_unit="lesion",
    stand_in=True,
    positive="mel",
)
NO_MELANOMA = DataSpec(
    kind="ham10000",
    task="classification",
    channels=("red", "green", "blue"),
    height_px=1,
    width_px=1,
    classes=("bkl", "bcc", "nv"),
    patient_unit="lesion",
    stand_in=True,
)
BRAIN = DataSpec(
    kind="brats",
    task="segmentation",
    channels=("t1", "t1ce", "t2", "flair"),
    height_px=4,
    width_px=4,
    classes=("background", "necrotic core", "edema", "enhancing tumour"),
    patient_unit="patient",
    stand_in=True,
)


class Reading(nn.Module):
    """A network whose logits are its input, so that a test writes them as images."""

    def forward(self, images: Tensor, facts: Tensor) -> Tensor:
        return images.flatten(1) if images.shape[-1] == 1 else images


def skin_cohort(logits, labels, patient=None) -> Cohort:
    images = np.asarray(logits, dtype=np.float16)[:, :, None, None]
    patient = range(len(images)) if patient is None else patient
    return Cohort(
        images=images,
        labels=np.asarray(labels, dtype=np.uint8),
        patient=np.asarray(patient, dtype=np.int32),
    )


def random_skin(patients: int, *, slices: int = 1, seed: int = 0) -> Cohort:
    random = np.random.default_rng(seed)
    labels = np.tile(random.integers(0, 3, patients), slices)
    logits = random.standard_normal((len(labels), 3)) + 1.5 * np.eye(3)[labels]
    return skin_cohort(logits, labels, np.tile(np.arange(patients), slices))


def brain_cohort(found, labels, patient) -> Cohort:
    """A cohort whose network output picks the class `found` at each pixel."""
    images = np.eye(4, dtype=np.float16)[np.asarray(found)].transpose(0, 3, 1, 2)
    return Cohort(
        images=images,
        labels=np.asarray(labels, dtype=np.uint8),
        patient=np.asarray(patient, dtype=np.int32),
    )


def random_brain(patients: int, *, slices: int = 3) -> Cohort:
    random = np.random.default_rng(1)
    patient = np.tile(np.arange(patients), slices)
    labels = random.integers(0, 4, (len(patient), 4, 4))
    wrong = random.random(labels.shape) < 0.3
    found = np.where(wrong, random.integers(0, 4, labels.shape), labels)
    return brain_cohort(found, labels, patient)


CASES = [
    (SKIN, random_skin(30)),
    (SKIN, random_skin(9, slices=4)),
    (NO_MELANOMA, random_skin(12, slices=2)),
    (BRAIN, random_brain(5)),
]


@pytest.mark.parametrize(("data", "cohort"), CASES)
def test_sums_have_the_promised_length(data, cohort) -> None:
    sums = evaluation_sums.patient_sums(Reading(), cohort, data)
    assert sums.shape == (scoring.evaluation_length(data),)
    assert sums.dtype == np.float64


@pytest.mark.parametrize(("data", "cohort"), CASES)
def test_one_more_patient_changes_the_sums_by_at_most_the_sensitivity(data, cohort) -> None:
    everyone = evaluation_sums.patient_sums(Reading(), cohort, data)
    for left_out in range(cohort.patients):
        others = cohort.select(np.arange(cohort.patients) != left_out)
        change = everyone - evaluation_sums.patient_sums(Reading(), others, data)
        assert np.linalg.norm(change) <= scoring.sensitivity(data) * (1 + 1e-12)


def test_the_sensitivity_is_reached_and_so_not_too_large() -> None:
    one = skin_cohort([[0.0, 1.0, 0.0]], [1])
    norm = np.linalg.norm(evaluation_sums.patient_sums(Reading(), one, SKIN))
    assert norm == pytest.approx(scoring.sensitivity(SKIN))
    perfect = brain_cohort(np.full((1, 4, 4), 3), np.full((1, 4, 4), 3), [0])
    norm = np.linalg.norm(evaluation_sums.patient_sums(Reading(), perfect, BRAIN))
    assert norm == pytest.approx(scoring.sensitivity(BRAIN))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 65504.0])
def test_a_hostile_output_of_the_network_stays_within_the_sensitivity(bad) -> None:
    for logits in ([[bad, bad, bad]], [[0.0, bad, 0.0]], [[bad, 0.0, -bad]]):
        sums = evaluation_sums.patient_sums(Reading(), skin_cohort(logits, [2]), SKIN)
        assert np.isfinite(sums).all()
        assert np.linalg.norm(sums) <= scoring.sensitivity(SKIN) * (1 + 1e-12)
    brain = random_brain(1)
    brain.images[:, 2] = bad
    sums = evaluation_sums.patient_sums(Reading(), brain, BRAIN)
    assert np.isfinite(sums).all()
    assert np.linalg.norm(sums) <= scoring.sensitivity(BRAIN) * (1 + 1e-12)


@pytest.mark.parametrize("data", [SKIN, BRAIN])
def test_nobody_at_all_sums_to_zero_and_is_still_reported(data) -> None:
    nobody = random_skin(0) if data is SKIN else random_brain(0)
    sums = evaluation_sums.patient_sums(Reading(), nobody, data)
    assert sums.shape == (scoring.evaluation_length(data),) and not sums.any()
    assert set(scoring.report(sums, data).values()) == {0.0}


def test_slices_of_a_patient_share_one_vote() -> None:
    right, wrong = [0.0, 0.0, 9.0], [9.0, 0.0, 0.0]
    cohort = skin_cohort([right, wrong, wrong, wrong, right], [2] * 5, [0, 0, 0, 0, 1])
    sums = evaluation_sums.patient_sums(Reading(), cohort, SKIN)
    assert sums[:6].tolist() == pytest.approx([0, 0, 1.25, 0, 0, 0.75])


def test_accuracies_and_recalls_are_those_counted_by_hand() -> None:
    logits = [[9, 0, 0], [0, 9, 0], [0, 9, 0], [0, 0, 9], [0, 0, 9], [0, 0, 9]]
    cohort = skin_cohort(logits, [0, 0, 1, 2, 2, 1])
    figures = scoring.report(evaluation_sums.patient_sums(Reading(), cohort, SKIN), SKIN)
    assert figures["recall_bkl"] == 0.5
    assert figures["recall_mel"] == 0.5
    assert figures["recall_nv"] == 1.0
    assert figures["balanced_accuracy"] == pytest.approx(2 / 3)
    assert figures["accuracy"] == pytest.approx(4 / 6)


def test_exact_figures_agree_with_the_sums_but_for_the_bins_of_the_curve() -> None:
    cohort = random_skin(500)
    exact = evaluation_sums.exact(Reading(), cohort, SKIN)
    binned = scoring.report(evaluation_sums.patient_sums(Reading(), cohort, SKIN), SKIN)
    assert binned.pop("auc") == pytest.approx(exact.pop("auc"), abs=0.02)
    assert binned == pytest.approx(exact)


def test_the_area_by_ranks_counts_pairs() -> None:
    random = np.random.default_rng(2)
    scores = random.integers(0, 12, 80).astype(np.float64)
    positive = random.random(80) < 0.3
    pairs = scores[positive][:, None] - scores[~positive][None, :]
    expected = float(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert scoring.area_by_ranks(scores, positive) == pytest.approx(expected)
    assert math.isnan(scoring.area_by_ranks(scores, np.ones(80, dtype=bool)))


def test_sums_of_hospitals_add_up_to_the_report_of_all_patients() -> None:
    cohort = random_skin(60)
    first = np.arange(60) < 25
    parts = [
        evaluation_sums.patient_sums(Reading(), cohort.select(c), SKIN) for c in (first, ~first)
    ]
    whole = evaluation_sums.patient_sums(Reading(), cohort, SKIN)
    assert scoring.report(sum(parts), SKIN) == pytest.approx(scoring.report(whole, SKIN))


def test_the_area_from_noised_sums_centres_on_the_area_without_noise() -> None:
    cohort = random_skin(600)
    sums = evaluation_sums.patient_sums(Reading(), cohort, SKIN)
    random = np.random.default_rng(3)
    noised = [
        scoring.report(sums + 2 * random.standard_normal(len(sums)), SKIN)["auc"]
        for _ in range(300)
    ]
    expected = scoring.report(sums, SKIN)["auc"]
    assert np.mean(noised) == pytest.approx(expected, abs=4 * np.std(noised) / math.sqrt(300))


def test_wild_noise_never_gives_a_share_outside_zero_to_one() -> None:
    random = np.random.default_rng(4)
    for data in (SKIN, BRAIN):
        for _ in range(200):
            sums = 50 * random.standard_normal(scoring.evaluation_length(data))
            limits = dict.fromkeys(DISTANCES, HD95_LIMIT_MM)
            figures = scoring.report(sums, data)
            assert all(0.0 <= v <= limits.get(name, 1.0) for name, v in figures.items())


def test_dice_is_one_number_for_a_patient_over_all_its_slices() -> None:
    labels = np.zeros((3, 4, 4), dtype=int)
    labels[0, 0] = [1, 2, 3, 3]
    found = np.zeros_like(labels)
    found[0, 0] = [1, 2, 2, 3]
    found[1, 0, 0] = 1
    figures = scoring.report(
        evaluation_sums.patient_sums(Reading(), brain_cohort(found, labels, [0, 0, 1]), BRAIN),
        BRAIN,
    )
    assert figures["dice_whole"] == pytest.approx((2 * 4 / 9 + 1) / 2)
    assert figures["dice_core"] == pytest.approx((2 * 2 / 6 + 1) / 2)
    assert figures["dice_enhancing"] == pytest.approx((2 * 1 / 3 + 1) / 2)
    exact = evaluation_sums.exact(Reading(), brain_cohort(found, labels, [0, 0, 1]), BRAIN)
    assert {name: exact[name] for name in figures} == pytest.approx(figures)


@pytest.mark.parametrize("wrong", [np.zeros(3), np.full(scoring.evaluation_length(SKIN), np.nan)])
def test_sums_of_wrong_length_or_not_finite_are_refused(wrong) -> None:
    with pytest.raises(InvalidMessage, match="finite numbers"):
        scoring.report(wrong, SKIN)


def test_evaluating_leaves_no_gradients() -> None:
    recipe = Recipe(model=LayerStack(layers=(Activation(),)), loss=CrossEntropy())
    model = networks.build(recipe, SKIN)
    evaluation_sums.patient_sums(model, random_skin(4), SKIN)
    assert all(p.grad is None for p in model.parameters())
    assert torch.is_grad_enabled()
