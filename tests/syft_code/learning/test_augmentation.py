"""Augmented views: image and label map stay together, and a view knows no slice but its own."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syft_code import canonical
from syft_code.errors import InvalidData, InvalidMessage, InvalidPlan
from syft_code.learning.augmentation import LIMIT, numbers, views
from syft_code.plans.plan_parts import Augmentation
from syft_code.recipes.recipe import DataSpec

SPEC = {
    "task": "segmentation",
    "classes": ("a", "b"),
    "patient_unit": "patient",
    "stand_in": True,
}
BRAIN = DataSpec(kind="brats", channels=("t1",), height_px=8, width_px=8, **SPEC)
WIDE = DataSpec(kind="brats", channels=("t1",), height_px=8, width_px=16, **SPEC)
CLASSES = SPEC | {"task": "classification"}
TABLE = DataSpec(kind="table", channels=(), height_px=0, width_px=0, facts=("age",), **CLASSES)
SERIES = DataSpec(kind="series", channels=("vitals",), height_px=8, width_px=8, **CLASSES)

anything = st.builds(
    Augmentation,
    views=st.just(1),
    flips=st.booleans(),
    rotations=st.booleans(),
    shift_px=st.integers(0, 5),
    intensity=st.sampled_from([0.0, 0.2, 0.9]),
)
seeds = st.integers(0, 2**32 - 1)


def pictures(seed: int, *, dtype: str, slices: int = 3, channels: int = 4, side: int = 8):
    """Slices whose first channel shows the label map, so that a test sees where it went."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 4, (slices, side, side)).astype(np.uint8)
    if dtype == "uint8":
        images = random.integers(0, 256, (slices, channels, side, side)).astype(np.uint8)
    else:
        images = random.uniform(-LIMIT, LIMIT, (slices, channels, side, side)).astype(np.float16)
        images[:, 1] = 0.0  # a modality that is missing
    images[:, 0] = labels * (60 if dtype == "uint8" else 1)
    return images, labels


def uniforms(seed: int, images, augmentation: Augmentation):
    random = np.random.default_rng([seed, 1])
    return random.random((len(images) * augmentation.views, numbers(images)))


@settings(max_examples=60)
@given(augmentation=anything, seed=seeds, dtype=st.sampled_from(["uint8", "float16"]))
def test_types_shapes_and_ranges_stay(augmentation: Augmentation, seed: int, dtype: str) -> None:
    images, labels = pictures(seed, dtype=dtype)
    before = images.copy(), labels.copy()
    drawn = uniforms(seed, images, augmentation)
    new, truth = views(images, labels, augmentation=augmentation, uniforms=drawn)
    assert new.dtype == images.dtype and new.shape == images.shape
    assert truth.dtype == labels.dtype and truth.shape == labels.shape
    assert set(np.unique(truth)) <= set(np.unique(labels))
    if dtype == "float16":
        assert np.isfinite(new).all() and np.abs(new).max() <= LIMIT
        assert not new[:, 1].any()  # what is missing stays missing
    assert np.array_equal(images, before[0]) and np.array_equal(labels, before[1])


@settings(max_examples=60)
@given(augmentation=anything, seed=seeds, dtype=st.sampled_from(["uint8", "float16"]))
def test_a_label_map_goes_where_its_picture_goes(
    augmentation: Augmentation, seed: int, dtype: str
) -> None:
    still = Augmentation(
        flips=augmentation.flips,
        rotations=augmentation.rotations,
        shift_px=augmentation.shift_px,
    )
    images, labels = pictures(seed, dtype=dtype)
    drawn = uniforms(seed, images, still)
    new, truth = views(images, labels, augmentation=still, uniforms=drawn)
    assert np.array_equal(new[:, 0], truth.astype(new.dtype) * (60 if dtype == "uint8" else 1))


@settings(max_examples=30)
@given(augmentation=anything, seed=seeds, dtype=st.sampled_from(["uint8", "float16"]))
def test_no_slice_has_a_say_in_another_ones_view(
    augmentation: Augmentation, seed: int, dtype: str
) -> None:
    images, labels = pictures(seed, dtype=dtype, slices=12)
    drawn = uniforms(seed, images, augmentation)
    together = views(images, labels, augmentation=augmentation, uniforms=drawn)
    for i in range(len(images)):
        one = slice(i, i + 1)
        alone = views(images[one], labels[one], augmentation=augmentation, uniforms=drawn[one])
        assert np.array_equal(alone[0], together[0][one])
        assert np.array_equal(alone[1], together[1][one])


def test_the_views_of_a_slice_lie_in_a_row_and_differ() -> None:
    images, _ = pictures(1, dtype="uint8")
    labels = np.array([5, 6, 7], dtype=np.uint8)
    augmentation = Augmentation(views=8, flips=True, rotations=True)
    drawn = uniforms(2, images, augmentation)
    new, truth = views(images, labels, augmentation=augmentation, uniforms=drawn)
    assert truth.tolist() == [5] * 8 + [6] * 8 + [7] * 8
    for i, image in enumerate(images):
        own = new[8 * i : 8 * i + 8]
        assert len({one.tobytes() for one in own}) >= 4
        assert all(
            np.array_equal(np.sort(one, axis=None), np.sort(image, axis=None)) for one in own
        )


def test_all_eight_ways_to_lay_a_slice_come_up_about_as_often() -> None:
    images = np.arange(4, dtype=np.uint8).reshape(1, 1, 2, 2).repeat(4000, axis=0)
    augmentation = Augmentation(flips=True, rotations=True)
    drawn = uniforms(0, images, augmentation)
    new, _ = views(images, np.zeros(4000, np.uint8), augmentation=augmentation, uniforms=drawn)
    _, counts = np.unique(new.reshape(4000, 4), axis=0, return_counts=True)
    assert len(counts) == 8
    assert np.abs(counts - 500).max() < 5 * math.sqrt(500)


def test_a_shift_reaches_as_far_as_it_may_and_repeats_the_edge() -> None:
    images = np.tile(np.arange(8, dtype=np.uint8), (2000, 1, 8, 1))
    augmentation = Augmentation(shift_px=2)
    drawn = uniforms(0, images, augmentation)
    new, _ = views(images, np.zeros(2000, np.uint8), augmentation=augmentation, uniforms=drawn)
    rows = {tuple(row) for row in new[:, 0, 0].tolist()}
    assert rows == {tuple(np.clip(np.arange(8) - by, 0, 7).tolist()) for by in range(-2, 3)}


def test_intensity_is_one_gain_and_one_offset_for_each_channel() -> None:
    images = np.array([-2.0, -1.0, 0.0, 1.0], np.float16).reshape(1, 1, 2, 2).repeat(3, axis=1)
    drawn = np.full((1, numbers(images)), 0.5)
    drawn[0, 5:8], drawn[0, 8:] = [0.0, 1.0, 0.5], [0.5, 0.5, 1.0]
    changed = Augmentation(intensity=0.5)
    new, _ = views(images, np.zeros(1, np.uint8), augmentation=changed, uniforms=drawn)
    expected = [[-1.0, -0.5, 0, 0.5], [-3.0, -1.5, 0, 1.5], [-1.5, -0.5, 0, 1.5]]
    assert new.reshape(3, 4).tolist() == expected


def test_brightness_of_a_colour_picture_is_cut_to_a_byte() -> None:
    images = np.array([0, 127, 128, 255], dtype=np.uint8).reshape(1, 1, 2, 2)
    drawn = np.full((1, numbers(images)), 1.0)
    changed = Augmentation(intensity=0.5)
    new, _ = views(images, np.zeros(1, np.uint8), augmentation=changed, uniforms=drawn)
    assert new.ravel().tolist() == [0, 147, 148, 255]  # (x - 127.5) 1.5 + 127.5 + 20


def test_without_anything_to_vary_slices_come_back_as_they_are() -> None:
    table = np.zeros((3, 0, 0, 0), dtype=np.uint8)
    labels = np.array([1, 2, 3], dtype=np.uint8)
    new, truth = views(table, labels, augmentation=Augmentation(), uniforms=np.zeros((3, 5)))
    assert new.shape == table.shape and truth.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "fields",
    [
        {"views": 0},
        {"views": 65, "flips": True},
        {"views": 2},
        {"shift_px": -1},
        {"shift_px": 65},
        {"intensity": -0.1},
        {"intensity": 1.0},
        {"intensity": math.nan},
    ],
)
def test_an_absurd_augmentation_is_refused(fields) -> None:
    with pytest.raises(InvalidPlan, match=r"must"):
        Augmentation(**fields)


@pytest.mark.parametrize("data", [TABLE, SERIES])
@pytest.mark.parametrize(
    "fields", [{"flips": True}, {"rotations": True}, {"shift_px": 1}, {"intensity": 0.1}]
)
def test_what_has_no_picture_cannot_be_augmented(data, fields) -> None:
    Augmentation().check(data)
    with pytest.raises(InvalidPlan, match="has no picture"):
        Augmentation(**fields).check(data)


def test_a_slice_that_is_not_square_is_not_turned_and_no_shift_leaves_it() -> None:
    Augmentation(flips=True, rotations=True, shift_px=7, intensity=0.3).check(BRAIN)
    Augmentation(flips=True).check(WIDE)
    with pytest.raises(InvalidPlan, match="as high as wide"):
        Augmentation(rotations=True).check(WIDE)
    with pytest.raises(InvalidPlan, match="smaller than a slice"):
        Augmentation(shift_px=8).check(BRAIN)


def test_data_that_do_not_fit_are_refused_before_anything_is_changed() -> None:
    labels = np.zeros(2, dtype=np.uint8)
    table = np.zeros((2, 0, 0, 0), dtype=np.uint8)
    flips, turns = Augmentation(flips=True), Augmentation(rotations=True)
    with pytest.raises(InvalidData, match="a table has none"):
        views(table, labels, augmentation=flips, uniforms=np.zeros((2, 5)))
    images = np.zeros((2, 1, 4, 4), dtype=np.uint8)
    with pytest.raises(InvalidData, match="must have the shape"):
        views(images, labels, augmentation=flips, uniforms=np.zeros((1, 7)))
    with pytest.raises(InvalidData, match="as high as wide"):
        views(images[:, :, :2], labels, augmentation=turns, uniforms=np.zeros((2, 7)))


def test_it_travels_in_a_plan_and_nothing_unknown_does() -> None:
    one = Augmentation(views=4, flips=True, shift_px=2, intensity=0.1)
    text = canonical.encode(one)
    assert canonical.parse(Augmentation, text, what="augmentation") == one
    with pytest.raises(InvalidMessage):
        canonical.parse(Augmentation, text.replace(b"flips", b"flops"), what="augmentation")
