"""The scattering transform is the published one, and its features are the same for everybody."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from syft_code.models import scattering
from syft_code.models.scattering import ScatteringTransform
from syft_code.recipes.layers import Scattering

# By Kymatio 0.3.0, `Scattering2D(J, shape, L)` of `pattern(shape)`, all paths at row 1 of the
# last column. It writes pi as 3.1415, which is 3e-5 off.
PUBLISHED = {
    (17, 22, 2, 4): [
        *(0.43979, 0.0634, 0.06616, 0.10328, 0.09942, 0.02227, 0.05426, 0.07965, 0.05908),
        *(0.0106, 0.00809, 0.01453, 0.00667, 0.01246, 0.01702, 0.0097, 0.01127),
        *(0.01715, 0.0116, 0.00924, 0.01255, 0.01447, 0.01118, 0.01607, 0.02301),
    ],
    (32, 20, 3, 2): [
        *(0.4207, 0.14976, 0.11382, 0.07248, 0.06891, 0.03586, 0.03606),
        *(0.01902, 0.02383, 0.00807, 0.03759, 0.02854, 0.01832, 0.03804, 0.0087),
        *(0.01058, 0.00973, 0.00784, 0.01221),
    ],
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """These transforms are small: more threads get into each other's way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pattern(height: int, width: int) -> torch.Tensor:
    rows, columns = np.mgrid[:height, :width]
    return torch.from_numpy((7 * rows + 3 * columns + rows * columns) % 11 / 11.0)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


@pytest.mark.parametrize("case", PUBLISHED)
def test_the_coefficients_are_those_of_the_published_program(case) -> None:
    height, width, scales, angles = case
    found = scattering.transform(pattern(height, width), scales=scales, angles=angles)
    np.testing.assert_allclose(found[:, 1, -1].numpy(), PUBLISHED[case], atol=5e-5)


@pytest.mark.parametrize("case", [(28, 28, 2, 8), (31, 29, 1, 3), (40, 33, 3, 5)])
def test_there_are_so_many_paths_and_places_as_the_layer_says(case) -> None:
    height, width, scales, angles = case
    found = scattering.transform(noise(2, 3, height, width), scales=scales, angles=angles)
    paths = Scattering(scales=scales, angles=angles).paths
    assert found.shape == (2, 3, paths, height // 2**scales, width // 2**scales)


def test_an_even_image_has_its_value_in_order_0_and_nothing_in_the_wavelets() -> None:
    found = scattering.transform(torch.full((28, 28), 3.0).double(), scales=2, angles=8)
    torch.testing.assert_close(found[0], torch.full((7, 7), 3.0).double())
    assert float(found[1:].abs().max()) < 1e-9


def test_stripes_answer_most_to_the_wavelet_across_them() -> None:
    """Rows vary at the first wavelets' frequency: angle number 3 of 8 is theirs, angle 0."""
    rows = torch.arange(32).double() * scattering.FIRST_FREQUENCY
    found = scattering.transform(rows.cos()[:, None].expand(32, 32), scales=2, angles=8)
    assert int(found[1:9].mean((1, 2)).argmax()) == 3
    turned = scattering.transform(rows.cos()[None, :].expand(32, 32), scales=2, angles=8)
    assert int(turned[1:9].mean((1, 2)).argmax()) == 7


def test_order_2_is_the_wavelet_of_the_modulus_of_a_wavelet_by_slow_convolution() -> None:
    """One path, straight from the definition, away from the mirrored edge."""
    size, scales, angles = 64, 2, 4
    image = noise(size, size)
    found = scattering.transform(image, scales=scales, angles=angles)
    padded = np.pad(image.numpy(), 4, mode="reflect")
    side = padded.shape[0]
    first, second = angle_of(0, angles), angle_of(3, angles)
    wave1 = scattering._morlet(
        (side, side), sigma=0.8, angle=first, frequency=0.75 * math.pi, slant=1.0
    )
    wave2 = scattering._morlet(
        (side, side), sigma=1.6, angle=second, frequency=0.375 * math.pi, slant=1.0
    )
    low = np.fft.fft2(
        scattering._gabor((side, side), sigma=1.6, angle=0.0, frequency=0.0, slant=1.0)
    )
    signal = padded
    for spectrum in (wave1, wave2):
        signal = np.abs(np.fft.ifft2(np.fft.fft2(signal) * spectrum))
    slow = np.fft.ifft2(np.fft.fft2(signal) * low).real[4:-4:4, 4:-4:4]
    number = 1 + scales * angles + 0 * angles + 3
    # The fast way keeps every second pixel between the two; what folds over is some percent.
    np.testing.assert_allclose(found[number].numpy(), slow, rtol=0.1)
    assert abs(found[number].numpy() / slow - 1.0).mean() < 0.02


def angle_of(number: int, angles: int) -> float:
    return (angles // 2 - 1 - number) * math.pi / angles


def test_a_shift_by_the_step_of_the_grid_shifts_the_features() -> None:
    image = torch.zeros(72, 72).double()
    image[28:40, 28:40] = noise(12, 12)
    here = scattering.transform(image, scales=2, angles=6)
    there = scattering.transform(image.roll((4, 4), (0, 1)), scales=2, angles=6)
    torch.testing.assert_close(there, here.roll((1, 1), (1, 2)), atol=2e-6, rtol=0)


def test_each_image_is_looked_at_alone() -> None:
    images = noise(70, 20, 24)
    together = scattering.transform(images, scales=2, angles=4)
    for number in (0, 40, 69):
        alone = scattering.transform(images[number], scales=2, angles=4)
        torch.testing.assert_close(together[number], alone)


def test_features_of_drawn_pictures_have_mean_0_and_deviation_1() -> None:
    pictures = torch.from_numpy(scattering._pictures(28, 28)).view(32, 2, 28, 28)
    assert pictures.std().item() == pytest.approx(1.0, abs=0.01)
    layer = ScatteringTransform(height=28, width=28, scales=2, angles=8, groups=0)
    paths = layer(pictures).view(64, 81, 7, 7).transpose(0, 1).flatten(1)
    assert paths.mean(1).abs().max().item() < 1e-4
    assert (paths.std(1) - 1.0).abs().max().item() < 1e-3


def test_the_constants_do_not_depend_on_what_was_looked_at_before() -> None:
    before = scattering.path_constants(24, 20, 2, 4)
    scattering.path_constants.cache_clear()
    ScatteringTransform(height=24, width=20, scales=2, angles=4, groups=0)(noise(3, 1, 24, 20))
    np.random.default_rng(5).standard_normal(3)
    after = scattering.path_constants(24, 20, 2, 4)
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one, other)


def test_groups_bring_each_image_to_mean_0_and_deviation_1() -> None:
    layer = ScatteringTransform(height=20, width=20, scales=2, angles=4, groups=5)
    features = layer(50.0 * noise(3, 1, 20, 20) + 7.0).view(3, 5, -1)
    torch.testing.assert_close(features.mean(2), torch.zeros(3, 5).double(), atol=2e-6, rtol=0)
    torch.testing.assert_close(
        features.std(2, correction=0), torch.ones(3, 5).double(), atol=1e-3, rtol=0
    )


def test_there_is_nothing_to_learn_and_nothing_to_save() -> None:
    layer = ScatteringTransform(height=20, width=20, scales=2, angles=4, groups=0)
    assert not list(layer.parameters()) and not layer.state_dict()


def test_single_precision_agrees_with_double() -> None:
    image = noise(2, 28, 28)
    exact = scattering.transform(image, scales=3, angles=4)
    rough = scattering.transform(image.float(), scales=3, angles=4)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough.double(), exact, atol=1e-5, rtol=1e-4)


def test_the_pictures_are_as_smooth_as_they_say() -> None:
    """Power as frequency^-5, over a plane: each octave holds about an eighth of the one below."""
    spectrum = np.abs(np.fft.fft2(scattering._pictures(64, 64))) ** 2
    rings = np.hypot(np.fft.fftfreq(64)[:, None], np.fft.fftfreq(64)[None, :])
    octaves = [(1 / 16, 1 / 8), (1 / 8, 1 / 4), (1 / 4, 1 / 2)]
    powers = [spectrum[:, (rings >= a) & (rings < b)].sum() for a, b in octaves]
    assert powers[0] / powers[1] == pytest.approx(8.0, rel=0.25)
    assert powers[1] / powers[2] == pytest.approx(8.0, rel=0.25)
    assert math.isclose(scattering._pictures(64, 64).mean(), 0.0, abs_tol=1e-9)
