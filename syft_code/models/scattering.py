"""The scattering transform: wavelet features that are fixed, so that privacy costs them nothing.

    image ─ * psi(j1, angle) ─ modulus ─ * psi(j2, angle) ─ modulus ─┐      j2 > j1
      └───────── order 0 ───────┴─────── order 1 ─────────┴─ order 2 ┴─ * phi, every 2^scales-th ─▶

Source: Bruna & Mallat 2013, "Invariant scattering convolution networks", sections 2.1 to 2.3, with
the Morlet wavelets, the sizes and the order of paths of Andreux et al. 2020 (Kymatio). Tramèr &
Boneh 2021, "Differentially private learning needs better features", train small heads on it.

The features of a path differ in size by orders of magnitude, and a clipped gradient listens to the
large ones only. So each path is put to mean 0 and deviation 1 by constants that no image of a
patient had a part in: its mean and deviation over drawn images of mean 0 and deviation 1, whose
amplitude falls as frequency^-2.5. Photographs of scenes fall as frequency^-1 (Field 1987); pictures
of skin through a dermatoscope are much smoother.
"""

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Complex, Float
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

FIRST_WIDTH_PX = 0.8
FIRST_FREQUENCY = 0.75 * math.pi
PICTURES = 64
SPECTRUM_NUMBERS = 1 << 16
"""Of a scale's spectra at a time: half a megabyte, which stays near the processor."""
STEEPNESS = 2.5
"""Of the amplitude over frequency. Chosen on HAM10000, a public data set."""
EPSILON = 1e-5

Filter = NDArray[np.float64]


class ScatteringTransform(nn.Module):
    """The features of each channel, path after path; no parameters and nothing to learn.

    Shapes: `[batch, channels, height, width]` becomes `[batch, channels * paths, height ÷ 2^scales,
    width ÷ 2^scales]`, rounded down. The paths of a channel stand together: order 0, order 1 by
    scale and angle, order 2 by the first wavelet and then the second. Features of one place are the
    means over space that a hospital has kept (`frozen_features`): they pass as they are.
    """

    def __init__(self, *, height: int, width: int, scales: int, angles: int, groups: int) -> None:
        super().__init__()
        self.size = (height, width)
        self.scales, self.angles, self.groups = scales, angles, groups

    def forward(
        self, pixels: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch features rows columns"]:
        if pixels.shape[2:] == (1, 1):
            return pixels
        mean, deviation = (
            torch.from_numpy(numbers).to(pixels).view(-1, 1, 1)
            for numbers in path_constants(*self.size, self.scales, self.angles)
        )
        features = transform(pixels, scales=self.scales, angles=self.angles)
        features = ((features - mean) / deviation).flatten(1, 2)
        return functional.group_norm(features, self.groups) if self.groups else features


def transform(
    pixels: Float[Tensor, "*batch height width"], *, scales: int, angles: int
) -> Float[Tensor, "*batch paths rows columns"]:
    """The scattering coefficients of order 0, 1 and 2, as they are.

    Height and width must be more than 2^scales, which a recipe makes sure of.
    """
    height, width = pixels.shape[-2:]
    rows, columns = _padding(height, scales), _padding(width, scales)
    bank = filter_bank(height + sum(rows), width + sum(columns), scales, angles)
    flat = pixels.reshape(-1, 1, height, width)
    padded: Tensor = functional.pad(flat, (*columns, *rows), mode="reflect")[:, 0]
    at_once = max(1, SPECTRUM_NUMBERS // (angles * padded[0].numel())) if len(padded) else 1
    parts = (padded[start : start + at_once] for start in range(0, len(padded), at_once))
    features = torch.cat([_orders(part, bank) for part in parts])
    return features.reshape(*pixels.shape[:-2], *features.shape[1:])


def _orders(
    padded: Float[Tensor, "images height width"], bank: "FilterBank"
) -> Float[Tensor, "images paths rows columns"]:
    """All paths of some padded images; the angles of a scale go through together.

    A signal of scale j is kept at every 2^j-th pixel only: its wavelet leaves nothing finer.
    """
    whole = torch.fft.fft2(padded).unsqueeze(1)
    first, second = [], []
    for j1, waves in enumerate(bank.waves):
        u1 = _modulus(whole, waves[0], 2**j1)
        first.append(bank.averaged(u1, j1))
        later = range(j1 + 1, len(bank.waves))
        spectrum = torch.fft.fft2(u1).unsqueeze(2) if later else whole
        pairs = [
            bank.averaged(_modulus(spectrum, bank.waves[j2][j1], 2 ** (j2 - j1)), j2)
            for j2 in later
        ]
        if pairs:
            second.append(torch.cat(pairs, dim=2).flatten(1, 2))
    return torch.cat([bank.averaged(padded.unsqueeze(1), 0), *first, *second], dim=1)


def _modulus(
    spectrum: Complex[Tensor, "*images height width"], waves: Filter, every: int
) -> Float[Tensor, "*images _ _"]:
    """|signal * wave| at every so many pixels for each of the waves, from the signal's Fourier transform.

    To take every k-th pixel is to add up the k x k tiles of the spectrum.
    """
    product = spectrum * torch.from_numpy(waves).to(spectrum.real)
    *images, height, width = product.shape
    if every > 1:
        tiles = product.view(-1, every, height // every, every, width // every)
        product = tiles.sum(1).sum(2).view(*images, height // every, width // every) / every**2
    signal: Tensor = torch.fft.ifft2(product)
    # Half as long as the absolute value, which keeps squares from overflowing: here none can.
    return (signal.real.square() + signal.imag.square()).sqrt_()


def _padding(side: int, scales: int) -> tuple[int, int]:
    """Mirrored pixels before and after, so that the padded side is a multiple of 2^scales.

    >>> _padding(28, 2)
    (4, 4)
    """
    factor: int = 2**scales
    extra = (side // factor + 2) * factor - side
    return extra // 2, extra - extra // 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FilterBank:
    """What is fixed: the spectra of the wavelets, and local means as matrices.

    `waves[j][g]` are the wavelets of scale j, an angle each, on the grid of every 2^g-th pixel; `rows[g] @ signal @ columns[g].T`
    is the local mean of a signal on that grid, without the mirrored edge. The low pass is a round
    Gaussian, so it works on rows and columns apart.
    """

    waves: tuple[tuple[Filter, ...], ...]
    rows: tuple[Filter, ...]
    columns: tuple[Filter, ...]

    def averaged(
        self, signal: Float[Tensor, "*images height width"], grid: int
    ) -> Float[Tensor, "*images rows columns"]:
        rows, columns = (
            torch.from_numpy(side[grid]).to(signal) for side in (self.rows, self.columns)
        )
        means: Tensor = rows @ signal @ columns.T
        return means


@functools.lru_cache(maxsize=8)
def filter_bank(height: int, width: int, scales: int, angles: int) -> FilterBank:
    """The filters for padded images of this size.

    A wavelet of scale j has a Gaussian of 0.8 * 2^j pixels, longer across its direction, and the
    frequency `3/4 pi / 2^j`; the low pass is a Gaussian of 0.8 * 2^(scales - 1) pixels.

    Source: Andreux et al. 2020 with its program, Kymatio 0.3, `scattering2d/filter_bank.py`.
    """
    waves = []
    for j in range(scales):
        sigma, frequency = FIRST_WIDTH_PX * 2**j, FIRST_FREQUENCY / 2**j
        of_scale = []
        for number in range(angles):
            angle = (int(angles - angles / 2 - 1) - number) * math.pi / angles
            wave = _morlet(
                (height, width), sigma=sigma, angle=angle, frequency=frequency, slant=4.0 / angles
            )
            of_scale.append([_folded(wave, grid) for grid in range(j + 1)])
        waves.append(tuple(np.stack(on_grid) for on_grid in zip(*of_scale, strict=True)))
    return FilterBank(
        waves=tuple(waves),
        rows=tuple(_means(height, scales, grid) for grid in range(scales)),
        columns=tuple(_means(width, scales, grid) for grid in range(scales)),
    )


def _means(side: int, scales: int, grid: int) -> Filter:
    """The low pass on a grid, at every 2^scales-th pixel, as a matrix; its first and last row cut."""
    line = _gabor(
        (side, 1), sigma=FIRST_WIDTH_PX * 2 ** (scales - 1), angle=0.0, frequency=0.0, slant=1.0
    )
    spectrum = np.fft.fft(line[:, 0] / line.sum()).real
    kept = _folded(spectrum, grid)
    every = 2 ** (scales - grid)
    means: Filter = np.fft.ifft(kept[:, None] * np.fft.fft(np.eye(len(kept)), axis=0), axis=0).real
    return means[every:-every:every]


def _morlet(
    size: tuple[int, int], *, sigma: float, angle: float, frequency: float, slant: float
) -> Filter:
    """A Gabor less so much of its Gaussian that the mean is 0; its Fourier transform, which is real."""
    wave = _gabor(size, sigma=sigma, angle=angle, frequency=frequency, slant=slant)
    bump = _gabor(size, sigma=sigma, angle=angle, frequency=0.0, slant=slant)
    spectrum: Filter = np.fft.fft2(wave - wave.sum() / bump.sum() * bump).real
    return spectrum


def _gabor(
    size: tuple[int, int], *, sigma: float, angle: float, frequency: float, slant: float
) -> NDArray[np.complex128]:
    """A Gaussian times a plane wave, wrapped around the edges of the grid."""
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    curvature = turn @ np.diag([1.0, slant**2]) @ turn.T / (2.0 * sigma**2)
    total = np.zeros(size, dtype=np.complex128)
    for down, right in itertools.product(range(-2, 3), repeat=2):
        rows, columns = np.mgrid[: size[0], : size[1]]
        x, y = rows + down * size[0], columns + right * size[1]
        bowl = curvature[0, 0] * x**2 + 2.0 * curvature[0, 1] * x * y + curvature[1, 1] * y**2
        wave = frequency * (x * math.cos(angle) + y * math.sin(angle))
        total += np.exp(-bowl + 1j * wave)
    scaled: NDArray[np.complex128] = total / (2.0 * math.pi * sigma**2 / slant)
    return scaled


def _folded(spectrum: Filter, grid: int) -> Filter:
    """A filter's spectrum on a grid coarser by 2^grid, without the frequencies that it can't hold."""
    factor: int = 2**grid
    for axis, side in enumerate(spectrum.shape):
        lines = np.moveaxis(spectrum, axis, 0).copy()
        start = side // (2 * factor)
        lines[start : start + side - side // factor] = 0.0
        tiles = lines.reshape(factor, side // factor, *lines.shape[1:])
        spectrum = np.moveaxis(tiles.sum(axis=0), 0, axis)
    return np.ascontiguousarray(spectrum)


@functools.lru_cache(maxsize=8)
def path_constants(
    height: int, width: int, scales: int, angles: int
) -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
    """The mean and deviation of each path over drawn pictures: public, and the same everywhere."""
    pictures = torch.from_numpy(_pictures(height, width))
    coefficients = transform(pictures, scales=scales, angles=angles).movedim(1, 0).flatten(1)
    mean, deviation = coefficients.mean(1).numpy(), coefficients.std(1).numpy()
    return mean.astype(np.float32), np.maximum(deviation, EPSILON).astype(np.float32)


def _pictures(height: int, width: int) -> NDArray[np.float64]:
    """Noise whose amplitude falls with frequency; each picture of mean 0 and deviation 1."""
    noise = np.random.default_rng(0).standard_normal((PICTURES, height, width))
    vertical, horizontal = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :]
    frequency = np.hypot(vertical, horizontal)
    frequency[0, 0] = np.inf
    drawn = np.fft.ifft2(np.fft.fft2(noise) / frequency**STEEPNESS).real
    scaled: NDArray[np.float64] = drawn / drawn.std(axis=(1, 2), keepdims=True)
    return scaled
