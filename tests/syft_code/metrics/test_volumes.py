"""Dice and HD95 of volumes, against a brute force over all pairs of surface voxels."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from datasites.data.readers import read
from syft_code.cohort import Cohort
from syft_code.metrics import volumes
from syft_code.metrics.segmentation import DISTANCES, HD95_LIMIT_MM, REGIONS
from syft_code.recipes.recipe import DataSpec

REAL = Path(__file__).resolve().parents[3] / ".." / "shared" / "data" / "brats2013"
MONAI_MM = [[8.4544, 8.6469, 8.6469], [9.6906, 9.8589, 9.8589], [8.2031, 8.6469, 8.7901]]
MONAI_DICE = [
    [0.683765, 0.690112, 0.291667],
    [0.588291, 0.246914, 0.202797],
    [0.723196, 0.586345, 0.513064],
]
SHAPES = st.tuples(*[st.integers(1, 5)] * 3)
STEPS = [step for step in itertools.product((-1, 0, 1), repeat=3) if sum(map(abs, step)) == 1]


def surface(mask) -> list[tuple[int, ...]]:
    """The voxels with a neighbour that is outside of the region, or of the volume."""
    inside = set(map(tuple, np.argwhere(mask).tolist()))
    return [
        voxel
        for voxel in inside
        if any(tuple(np.add(voxel, step).tolist()) not in inside for step in STEPS)
    ]


def brute_force_mm(found, true, spacing_mm) -> float:
    a, b = (np.array(surface(mask)) * spacing_mm for mask in (found, true))
    apart = np.linalg.norm(a[:, None] - b[None], axis=2)
    return max(float(np.percentile(apart.min(axis=axis), 95)) for axis in (0, 1))


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


def brains(labels, patient) -> Cohort:
    labels = np.asarray(labels, dtype=np.uint8)
    return Cohort(
        images=np.zeros((len(labels), 1, *labels.shape[1:]), dtype=np.float16),
        labels=labels,
        patient=np.asarray(patient, dtype=np.int32),
    )


@settings(max_examples=200)
@given(st.data())
def test_hd95_is_that_of_all_pairs_of_surface_voxels(data) -> None:
    shape = data.draw(SHAPES)
    masks = hnp.arrays(np.bool_, shape).filter(np.any)
    found, true = data.draw(masks), data.draw(masks)
    spacing_mm = data.draw(st.tuples(*[st.sampled_from([0.5, 1.0, 2.7, 8.0])] * 3))
    expected = brute_force_mm(found, true, spacing_mm)
    assert volumes.hd95_mm(found, true, spacing_mm) == pytest.approx(expected)
    assert volumes.hd95_mm(true, found, spacing_mm) == pytest.approx(expected)


def test_a_cube_moved_by_two_voxels_is_two_voxels_away() -> None:
    true = np.zeros((9, 12, 12), dtype=bool)
    true[2:7, 3:8, 2:7] = True
    assert volumes.hd95_mm(np.roll(true, 2, axis=2), true, (1.0, 1.0, 3.0)) == pytest.approx(6.0)
    assert volumes.hd95_mm(true, true, (1.0, 1.0, 3.0)) == 0.0


def test_one_stray_voxel_in_twenty_does_not_count_and_one_in_ten_does() -> None:
    true = np.zeros((1, 12, 40), dtype=bool)
    true[0, 0, :30] = True
    for stray, expected in ((1, 0.0), (4, 11.0)):
        found = true.copy()
        found[0, 11, :stray] = True
        assert volumes.hd95_mm(found, true, (1.0, 1.0, 1.0)) == expected


def test_a_region_that_nobody_has_costs_nothing_and_one_missed_the_whole_diagonal() -> None:
    nothing, something = np.zeros((2, 2, 4, 4), dtype=bool)
    something[0, 1, 1] = True
    spacing_mm = (6.0, 2.0, 1.0)
    assert volumes.hd95_mm(nothing, nothing, spacing_mm) == 0.0
    diagonal_mm = math.sqrt(12.0**2 + 8.0**2 + 4.0**2)
    assert volumes.hd95_mm(nothing, something, spacing_mm) == pytest.approx(diagonal_mm)
    assert volumes.hd95_mm(something, nothing, spacing_mm) == pytest.approx(diagonal_mm)
    assert volumes.overlap(nothing, nothing) == 1.0
    assert volumes.overlap(nothing, something) == 0.0


def test_a_patient_is_one_volume_whatever_the_order_of_the_cohort() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 4, (12, 8, 8)).astype(np.uint8)
    found = np.where(random.random(labels.shape) < 0.3, 0, labels).astype(np.uint8)
    patient = np.tile([2, 0, 1], 4)
    dice, distance_mm = volumes.figures(found, brains(labels, patient), BRATS)
    assert dice.shape == distance_mm.shape == (3, 3)
    for number, region in itertools.product(range(3), range(3)):
        classes = list(REGIONS.values())[region]
        here, there = (np.isin(maps[patient == number], classes) for maps in (found, labels))
        assert dice[number, region] == volumes.overlap(here, there)
        spacing_mm = volumes.spacing(here.shape)
        expected = brute_force_mm(here, there, spacing_mm)
        assert distance_mm[number, region] == pytest.approx(expected)


def test_enhancing_tumour_is_class_3_core_also_1_and_whole_also_2() -> None:
    labels = np.zeros((1, 4, 4))
    labels[0, 0] = [0, 1, 2, 3]
    for found, expected in ((1, [1, 1, 0]), (2, [1, 0, 0]), (3, [1, 1, 1]), (0, [0, 0, 0])):
        guess = np.where(labels == 0, 0, found).astype(np.uint8)
        dice, _ = volumes.figures(guess, brains(labels, [0]), BRATS)
        assert (dice[0] > 0).tolist() == list(map(bool, expected))


def test_a_typical_brain_fills_the_square_and_the_height() -> None:
    spacing_mm = volumes.spacing((16, 64, 32))
    assert spacing_mm == (8.0, 175 / 64, 175 / 32)
    assert [n * mm for n, mm in zip((16, 64, 32), spacing_mm, strict=True)] == [128, 175, 175]


def test_exact_figures_hold_the_distance_with_and_without_the_limit() -> None:
    dice, distance_mm = np.full((2, 3), 0.5), np.array([[10.0] * 3, [278.0] * 3])
    found = volumes.exact(dice, distance_mm, BRATS)
    assert all(found[name] == 0.5 for name in REGIONS)
    assert all(found[name] == (10 + HD95_LIMIT_MM) / 2 for name in DISTANCES)
    assert found["hd95_uncut_enhancing"] == 144.0


def test_no_patient_gives_no_row() -> None:
    dice, distance_mm = volumes.figures(
        np.zeros((0, 4, 4), np.uint8), brains(np.zeros((0, 4, 4)), []), BRATS
    )
    assert dice.shape == distance_mm.shape == (0, 3)


@pytest.mark.skipif(
    not REAL.is_dir(), reason="needs BraTS 2013 in ../shared/data beside the repository"
)
def test_hd95_of_real_cases_is_what_monai_gives() -> None:
    """Known answers of MONAI 1.6.1's `compute_hausdorff_distance` (percentile=95)."""
    cohort = read("brats", REAL, size_px=64).cohort
    found = np.roll(cohort.labels, (3, -2), axis=(1, 2))
    dice, distance_mm = volumes.figures(found, cohort, BRATS)
    np.testing.assert_allclose(distance_mm, MONAI_MM, rtol=1e-5)
    np.testing.assert_allclose(dice, MONAI_DICE, rtol=1e-5)


def test_hd95_takes_the_same_steps_for_every_region(monkeypatch: pytest.MonkeyPatch) -> None:
    """What returns early for an empty region tells a stopwatch that it is empty."""
    steps: list[tuple[str, tuple[int, ...]]] = []
    for name in ("distance_transform_edt", "binary_erosion"):
        real = getattr(volumes.ndimage, name)

        def noting(mask, *rest, name=name, real=real, **options):  # type: ignore[no-untyped-def]
            steps.append((name, mask.shape))
            return real(mask, *rest, **options)

        monkeypatch.setattr(volumes.ndimage, name, noting)
    taken = []
    for size in (0, 1, 3, 8):
        found, true = np.zeros((2, 4, 8, 8), np.bool_)
        found[:, :size, :size], true[0, :size, 0] = True, True
        steps.clear()
        volumes.hd95_mm(found, true, (1.0, 1.0, 1.0))
        volumes.hd95_mm(true, found, (1.0, 1.0, 1.0))
        taken.append(list(steps))
    assert len(taken[0]) == 8 and all(one == taken[0] for one in taken)


def test_the_dice_of_one_region_is_taken_over_a_patients_slices_together() -> None:
    lgg = replace(BRATS, kind="lgg", classes=("background", "abnormality"))
    labels = np.zeros((3, 4, 4))
    labels[0, 0], labels[1, 1, :2], labels[2, 2] = 1, 1, 1
    found = labels.copy().astype(np.uint8)
    found[1] = 0
    dice, distance_mm = volumes.figures(found, brains(labels, [0, 0, 1]), lgg)
    assert dice[:, 0].tolist() == [2 * 4 / (4 + 6), 1.0] and distance_mm.shape == (2, 0)
    assert volumes.exact(dice, distance_mm, lgg) == {"dice_abnormality": pytest.approx(0.9)}
