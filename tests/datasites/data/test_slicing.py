"""What was cut from a scan goes back to where it lay."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datasites.data.readers.volumes import brats, case_volumes, cases, mapping, slicing
from datasites.data.readers.volumes.formats import volume

WAYS = [
    (order, flips)
    for order in itertools.permutations(range(3))
    for flips in itertools.product((1, -1), repeat=3)
]


@pytest.mark.parametrize(("order", "flips"), WAYS)
def test_a_grid_is_given_back_as_its_file_has_it(
    order: tuple[int, ...], flips: tuple[int, ...]
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = 0
    for column, (axis, sign) in enumerate(zip(order, flips, strict=True)):
        affine[axis, column] = sign * (1.5, 0.8, 2.0)[axis]
    affine[:3, 3] = (3, -7, 11)
    stored = np.random.default_rng(0).integers(0, 99, (5, 6, 7))
    turned = volume.turned(stored, affine)
    voxels, back = turned.as_stored(turned.voxels)
    assert np.array_equal(voxels, stored) and np.allclose(back, affine)


@settings(max_examples=40)
@given(
    shape=st.tuples(*[st.integers(16, 40)] * 2, st.integers(2, 6)),
    spacing=st.tuples(*[st.floats(0.7, 1.5)] * 3),
    seed=st.integers(0, 2**16),
    size_px=st.sampled_from([64, 96]),
)
def test_labels_that_were_cut_come_back(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], seed: int, size_px: int
) -> None:
    random = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape[:2]), indexing="ij")
    middle = random.uniform(-0.3, 0.3, 2)
    inner = np.hypot(axes[0] - middle[0], axes[1] - middle[1])
    plane = np.select([inner < 0.25, inner < 0.5], [2, 1]).astype(np.uint8)
    brain = np.repeat((np.hypot(*axes) < 0.9)[:, :, None], shape[2], axis=2)
    frame = slicing.frame_of(brain, spacing, None)
    assert frame.z == tuple(range(shape[2]))
    small = slicing.resized(plane, frame, size_px)
    scores = np.stack([small == number for number in range(3)]).astype(np.float32)
    found = slicing.restored(np.repeat(scores[None], shape[2], axis=0), frame, shape)
    assert found.shape == shape
    for number in (1, 2):
        truth = plane == number
        both = np.count_nonzero(truth & (found[:, :, 0] == number))
        assert 2 * both / (truth.sum() + (found[:, :, 0] == number).sum()) > 0.95


def test_outside_of_the_square_and_of_the_slices_is_background() -> None:
    frame = slicing.Frame(z=(1,), left=2.0, right=6.0, back=1.0, front=5.0)
    scores = np.zeros((1, 2, 8, 8), dtype=np.float32)
    scores[:, 1] = 1
    found = slicing.restored(scores, frame, (9, 7, 3))
    assert found[2:6, 1:5, 1].all() and found.sum() == 16
    front_half = scores.copy()
    front_half[:, 1, 4:] = -1  # rows of a picture go from the front to the back
    assert np.argwhere(slicing.restored(front_half, frame, (9, 7, 3)))[:, 1].min() == 3


def test_one_pixel_and_squares_past_the_volume_are_spread_too() -> None:
    frame = slicing.Frame(z=(0,), left=-2.0, right=4.0, back=-1.0, front=5.0)
    scores = np.array([0.0, 1.0], dtype=np.float32).reshape(1, 2, 1, 1)
    assert slicing.restored(scores, frame, (2, 4, 1)).all()


def test_a_published_mask_comes_back_from_64_pixels(brats2013: Path) -> None:
    names = mapping.beside(brats2013)
    case = cases.find(brats2013, names).cases[0]
    whole = case_volumes.read(brats2013, case, names)
    images, frame = brats.images_of(case, whole, size_px=64, count=None, neighbours=0)
    small = np.stack([slicing.resized(whole.classes[:, :, z], frame, 64) for z in frame.z])
    scores = np.stack([small == number for number in range(4)], axis=1).astype(np.float32)
    found = slicing.restored(scores, frame, whole.classes.shape)
    assert len(images) == len(frame.z) > 100
    both = np.count_nonzero((found > 0) & (whole.classes > 0))
    assert 2 * both / (np.count_nonzero(found) + np.count_nonzero(whole.classes)) > 0.95
