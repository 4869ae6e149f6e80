"""Sums of segmentations: one patient's vector stays small, and the figures come back out of it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from syft_code.metrics import segmentation
from syft_code.metrics.segmentation import DISTANCES, HD95_LIMIT_MM, REGIONS
from syft_code.recipes.recipe import DataSpec

BRATS = DataSpec(
    kind="brats",
    task="segmentation",
    channels=("t1",),
    height_px=8,
    width_px=8,
    classes=("background", "core", "edema", "enhancing"),
    patient_unit="patient",
    stand_in=True,
)

LGG = DataSpec(
    kind="lgg",
    task="segmentation",
    channels=("t1",),
    height_px=8,
    width_px=8,
    classes=("background", "abnormality"),
    patient_unit="patient",
    stand_in=True,
)

patients = st.integers(0, 4)


def some_figures(low: float, high: float):
    """Of a few patients; finite or not, within a range or far outside of it."""
    wild = st.floats(-1e300, 1e300) | st.sampled_from([math.nan, math.inf, -math.inf])
    return hnp.arrays(np.float64, st.tuples(patients, st.just(3)), elements=wild) | hnp.arrays(
        np.float64, st.tuples(patients, st.just(3)), elements=st.floats(low, high)
    )


@settings(max_examples=200)
@given(st.data())
def test_one_more_patient_changes_the_sums_by_at_most_the_sensitivity(data) -> None:
    dice = data.draw(some_figures(0, 1))
    distance_mm = data.draw(some_figures(0, 300))
    count = min(len(dice), len(distance_mm))
    dice, distance_mm = dice[:count], distance_mm[:count]
    everyone = segmentation.sums(dice, distance_mm)
    assert everyone.shape == (segmentation.evaluation_length(BRATS),)
    assert np.isfinite(everyone).all()
    for left_out in range(count):
        others = np.arange(count) != left_out
        change = everyone - segmentation.sums(dice[others], distance_mm[others])
        assert np.linalg.norm(change) <= segmentation.sensitivity(BRATS) * (1 + 1e-12)


@pytest.mark.parametrize(("dice", "distance_mm"), [(1.0, 0.0), (0.0, 1e9), (0.0, 0.0)])
def test_the_sensitivity_is_reached_and_so_not_too_large(dice: float, distance_mm: float) -> None:
    sums = segmentation.sums(np.full((1, 3), dice), np.full((1, 3), distance_mm))
    assert np.linalg.norm(sums) == pytest.approx(segmentation.sensitivity(BRATS))


def test_moving_values_by_a_half_saves_four_tenths_of_the_noise() -> None:
    plain = math.sqrt(len(REGIONS) + len(DISTANCES) + 1)
    assert segmentation.sensitivity(BRATS) < 0.6 * plain


@settings(max_examples=100)
@given(
    hnp.arrays(np.float64, (5, 3), elements=st.floats(0, 1)),
    hnp.arrays(np.float64, (5, 3), elements=st.floats(0, 300)),
)
def test_the_report_gives_the_means_over_patients_cut_at_the_limit(dice, distance_mm) -> None:
    found = segmentation.report(segmentation.sums(dice, distance_mm), BRATS)
    assert list(found) == [*REGIONS, *DISTANCES]
    cut_mm = np.minimum(distance_mm, HD95_LIMIT_MM)
    assert [found[name] for name in REGIONS] == pytest.approx(dice.mean(axis=0), abs=1e-9)
    assert [found[name] for name in DISTANCES] == pytest.approx(cut_mm.mean(axis=0), abs=1e-9)


def test_sums_of_several_hospitals_add_up() -> None:
    random = np.random.default_rng(0)
    dice, distance_mm = random.random((10, 3)), 40 * random.random((10, 3))
    parts = [segmentation.sums(dice[p], distance_mm[p]) for p in (slice(4), slice(4, None))]
    whole = segmentation.report(segmentation.sums(dice, distance_mm), BRATS)
    assert segmentation.report(parts[0] + parts[1], BRATS) == pytest.approx(whole)


def test_a_figure_that_is_no_number_counts_as_the_worst() -> None:
    found = segmentation.report(
        segmentation.sums(np.full((1, 3), math.nan), np.full((1, 3), math.nan)), BRATS
    )
    assert all(found[name] == 0.0 for name in REGIONS)
    assert all(found[name] == HD95_LIMIT_MM for name in DISTANCES)


def test_noise_is_unbiased_where_nothing_is_cut() -> None:
    random = np.random.default_rng(1)
    total = segmentation.sums(np.full((200, 3), 0.6), np.full((200, 3), 20.0))
    drawn = [segmentation.report(total + 3 * random.standard_normal(7), BRATS) for _ in range(500)]
    for name, expected, spread in (("dice_core", 0.6, 3 / 200), ("hd95_core", 20.0, 0.75)):
        values = [one[name] for one in drawn]
        assert np.mean(values) == pytest.approx(expected, abs=0.2 * spread)
        assert np.std(values) == pytest.approx(spread, rel=0.15)


def test_one_region_without_a_scale_is_measured_by_dice_alone() -> None:
    assert segmentation.regions(LGG) == {"dice_abnormality": (1,)}
    assert segmentation.distances(LGG) == () and segmentation.evaluation_length(LGG) == 2
    dice, none = np.array([[0.0], [1.0], [0.7]]), np.zeros((3, 0))
    total = segmentation.sums(dice, none)
    assert segmentation.report(total, LGG) == {"dice_abnormality": pytest.approx(1.7 / 3)}
    for patient in range(3):
        change = total - segmentation.sums(np.delete(dice, patient, 0), np.delete(none, patient, 0))
        assert np.linalg.norm(change) <= segmentation.sensitivity(LGG) * (1 + 1e-12)
    assert np.linalg.norm(segmentation.sums(dice[1:2], none[:1])) == pytest.approx(
        segmentation.sensitivity(LGG)
    )
