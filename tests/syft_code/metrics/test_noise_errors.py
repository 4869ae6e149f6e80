"""The ± beside a figure is about what the noise really does to it."""

import numpy as np
import pytest

from syft_code.metrics import noise_errors, scoring
from tests.plans import SKIN as SEVEN
from tests.shapes import BRAIN


def counts(patients: int) -> np.ndarray:
    """Sums of a classification: each class as frequent, two in three right, scores spread."""
    each = patients / len(SEVEN.classes)
    tally = np.concatenate([np.full(7, each * 2 / 3), np.full(7, each / 3)])
    bins = np.arange(scoring.SCORE_BINS) + 1.0
    with_it = bins / bins.sum() * each
    without = bins[::-1] / bins.sum() * (patients - each)
    return np.concatenate([tally, with_it, without])


@pytest.mark.parametrize("patients", [300, 3000])
def test_noised_sums_tell_what_the_noise_does_about_as_well_as_exact_ones(patients: int) -> None:
    sums, std = counts(patients), 3.0
    true = noise_errors.noise_errors(sums, SEVEN, noise_std=std)
    rng = np.random.default_rng(1)
    for name in ("balanced_accuracy", "accuracy", "auc"):
        told = [
            noise_errors.noise_errors(sums + rng.normal(0.0, std, len(sums)), SEVEN, noise_std=std)[
                name
            ]
            for _ in range(8)
        ]
        assert np.mean(told) == pytest.approx(true[name], rel=0.35), name


def test_more_patients_have_a_smaller_error_and_no_noise_has_none() -> None:
    few, many = (noise_errors.noise_errors(counts(n), SEVEN, noise_std=3.0) for n in (300, 3000))
    assert all(many[name] < few[name] for name in ("balanced_accuracy", "auc"))
    assert set(few) == set(scoring.report(counts(300), SEVEN))
    assert set(noise_errors.noise_errors(counts(300), SEVEN, noise_std=0.0).values()) == {0.0}


def test_a_segmentation_has_the_error_of_its_main_figure_too() -> None:
    sums = np.append(np.zeros(scoring.evaluation_length(BRAIN) - 1), 40.0)
    errors = noise_errors.noise_errors(sums, BRAIN, noise_std=2.0)
    assert 0 < errors[noise_errors.MEAN_DICE] < errors["dice_core"]


def test_a_figure_whose_patients_may_be_nobody_is_as_far_off_as_a_guess() -> None:
    """Also where the noise has pressed it to 0, and a second draw would leave it there."""
    std = 3.0
    one = counts(600)
    one[[6, 13]] = -20.0  # of a class with nobody in it, the noise made this
    errors = noise_errors.noise_errors(one, SEVEN, noise_std=std)
    absent = f"recall_{SEVEN.classes[6]}"
    assert errors[absent] >= noise_errors.GUESS_ERROR
    assert not noise_errors.is_measurable(absent, 0.0, errors[absent])
    there = {name for name in errors if noise_errors.is_measurable(name, 0.5, errors[name])}
    assert there == set(errors) - {absent}
    alone = np.zeros_like(one)
    alone[0], alone[14 : 14 + scoring.SCORE_BINS] = 200.0, -4.0
    errors = noise_errors.noise_errors(alone, SEVEN, noise_std=std)
    assert noise_errors.is_measurable("accuracy", 1.0, errors["accuracy"])
    for name in ("balanced_accuracy", "auc"):
        assert not noise_errors.is_measurable(name, 1.0, errors[name]), "all are of one class"


def test_distances_and_dice_over_nobody_are_not_measurable() -> None:
    sums = np.zeros(scoring.evaluation_length(BRAIN))
    errors = noise_errors.noise_errors(sums, BRAIN, noise_std=2.0)
    for name, error in errors.items():
        assert not noise_errors.is_measurable(name, 0.0, error), name


def test_a_decision_rule_that_never_finds_the_class_is_said_to() -> None:
    recall = f"recall_{SEVEN.positive}"
    said = scoring.never_found({"auc": 0.87, recall: 0.0003}, SEVEN)
    assert said.startswith(f"The AUC of {SEVEN.positive} is 0.87, and its recall 0.000: ")
    for auc, found, error in ((0.87, 0.4, 0.0), (0.5, 0.0, 0.0), (0.87, 0.0, 0.3)):
        assert scoring.never_found({"auc": auc, recall: found}, SEVEN, {recall: error}) == ""
    assert scoring.never_found({"accuracy": 1.0}, SEVEN) == ""
    assert scoring.never_found({"dice_whole": 1.0}, BRAIN) == ""


def test_the_noise_of_a_sum_grows_with_the_root_of_its_hospitals() -> None:
    one, four = (
        noise_errors.count_noise_std(SEVEN, noise_multiplier=2.0, hospitals=n) for n in (1, 4)
    )
    assert one == pytest.approx(2.0 * 2**0.5)
    assert four == pytest.approx(2 * one)
