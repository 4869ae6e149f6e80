"""What stands ahead of all training and never changes: an encoder and a projection, or wavelets.

    pictures ─ Encoder, a file ─▶ features ─ Projection, a file or a seed ─▶ fewer ─▶ the network's input
             ─ a second Encoder ─▶ beside them
             ─ Scattering ─▶ means over space ─▶ the same

Each layer is asked about each picture once, and what it says stands in the place of the pictures from
then on: in a cohort beside a vault's own, or in a simulation's memory. All of it is arithmetic on one
picture and on public numbers, so adding or removing a patient changes nothing of the others'.
"""

import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save
from torch import Tensor
from torch.nn import functional

from syft_code.cohort import Cohort, Images
from syft_code.errors import InvalidData, require
from syft_code.models import encoder_networks, encoder_weights, networks
from syft_code.models.scattering import ScatteringTransform
from syft_code.models.threads import one_thread
from syft_code.recipes.encoders import Encoder, FixedLayer, Projection, encoder
from syft_code.recipes.layers import KeptLayer, Scattering

SCATTERED_AT_ONCE = 32
ROWS_AT_ONCE = 1024
EPSILON = 1e-6
FLAT_CHANNEL = 1e-4
"""Of a channel's largest number: float16 tells apart what differs by ten times that, arithmetic in float32 errs by less."""
MOST_AXES_BYTES = 2**26

Row = Float[Tensor, "batch features"]


def encoded(
    layer: KeptLayer,
    images: Images,
    file: bytes,
    *,
    on_done: Callable[[int], None] = lambda pictures: None,
) -> NDArray[np.float32]:
    """What one layer of a front says of each picture; `on_done` hears how many are done.

    Shapes: images uint8 or float16 `[slices, channels, height, width]` for an encoder (three
    channels) or a scattering layer, float32 `[slices, features, 1, 1]` for a projection; gives float32 `[slices, features, 1, 1]`. `file` holds
    the bytes that the layer's `file_sha256` names, nothing if it names none.

    Guarantee: a picture's features follow from the picture, the layer and the file alone, bit for
    bit: an encoder looks at one picture at a time. A projection's rows may differ by rounding, whose
    size nothing after it raises.

    Raises:
        InvalidData: if the file is not the one that the layer names, or does not hold what it needs.
    """
    _check_file(layer, file)
    match layer:
        case Encoder():
            compute, at_once, count = _looking(layer, file), 1, layer.features
        case Projection():
            compute, at_once, count = _projecting(layer, file), ROWS_AT_ONCE, layer.features
        case Scattering():
            compute, at_once = _scattering(layer, *images.shape[2:]), SCATTERED_AT_ONCE
            count = layer.paths * images.shape[1]
    features = np.empty((len(images), count, 1, 1), dtype=np.float32)
    with one_thread(), torch.inference_mode():
        for start in range(0, len(images), at_once):
            part = images[start : start + at_once]
            features[start : start + at_once, :, 0, 0] = compute(part).numpy()
            on_done(start + len(part))
    return features


def apply_front(
    front: tuple[FixedLayer, ...],
    pictures: Images,
    encode: Callable[[FixedLayer, Images], NDArray[np.float32]],
) -> Images:
    """What a whole front makes of pictures, the pictures themselves if it is empty; `encode` asks one layer.

    Encoders all look at the pictures and stand side by side, a projection takes what they say.
    """
    now = pictures
    for layer in front:
        said = encode(layer, now if isinstance(layer, Projection) else pictures)
        beside = isinstance(layer, Encoder) and now is not pictures
        now = np.concatenate([now, said], axis=1) if beside else said
    return now


def with_drawn_features(mock: Cohort, features: int | None) -> Cohort:
    """A mock with so many drawn features a picture, to try out what comes after fixed layers."""
    if features is None:
        return mock
    shape = (len(mock.images), features, 1, 1)
    drawn = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    return replace(mock, images=drawn)


def pack_axes(axes: NDArray[np.float32], mean: NDArray[np.float32]) -> bytes:
    """The file of a projection: axes `[axes, features]` and what is taken off first, `[features]`."""
    return save(
        {
            "axes": np.ascontiguousarray(axes, np.float32),
            "mean": np.ascontiguousarray(mean, np.float32),
        }
    )


def principal_axes(rows: NDArray[np.float32], count: int) -> bytes:
    """The file of a projection on the first principal axes of public pictures' features.

    Shapes: rows `[pictures, features]`, as an encoder gave them.

    Raises:
        InvalidData: if there are not more pictures than axes.
    """
    require(
        1 <= count < len(rows) and count <= rows.shape[1],
        f"There must be more public pictures than axes, and at most as many axes as the {rows.shape[1]} "
        f"features, got {len(rows)} pictures for {count} axes.",
        error=InvalidData,
    )
    mean = rows.mean(0, dtype=np.float64)
    _, _, axes = np.linalg.svd(rows.astype(np.float64) - mean, full_matrices=False)
    signs = np.sign(axes[np.arange(count), np.abs(axes[:count]).argmax(1)])
    return pack_axes((axes[:count] * signs[:, None]).astype(np.float32), mean.astype(np.float32))


def axes_about(mean: NDArray[np.float32], count: int, *, seed: int = 0) -> bytes:
    """The file of a projection on axes drawn from a seed, after this mean is taken off.

    Shapes: mean `[features]`.

    Raises:
        InvalidData: if there are more axes than features.
    """
    require(
        1 <= count <= len(mean),
        f"There must be 1 to {len(mean)} axes, as many as features, got {count}.",
        error=InvalidData,
    )
    return pack_axes(_drawn_axes(seed, count, len(mean)), mean)


def _check_file(layer: KeptLayer, file: bytes) -> None:
    wanted = layer.file_sha256
    require(
        hashlib.sha256(file).hexdigest() == wanted if wanted else not file,
        f"The file of {layer.title} must have the SHA-256 {wanted[:16]}... that the plan names, and "
        "this one has another: it is not the same file at all hospitals.",
        error=InvalidData,
    )


def _looking(layer: Encoder, file: bytes) -> Callable[[Images], Row]:
    weights = encoder_weights.read(file, layer.name)

    def look(images: Images) -> Row:
        pixels = _pictures(layer, images)
        if layer.pool == "maps":
            return _maps(layer, weights, pixels)
        rows = []
        for view in itertools.islice(_views(pixels), layer.views):
            means = encoder_networks.means(layer.name, weights, view)
            rows.append(torch.cat(means if layer.pool == "stages" else means[-1:], dim=1))
        return _standardised(torch.stack(rows).mean(0))

    return look


def _views(pixels: Tensor) -> Iterator[Tensor]:
    """A square picture's symmetries: itself, mirrored left and right, up and down, both; the same transposed."""
    for picture in (pixels, pixels.transpose(2, 3)):
        for axes in ((), (3,), (2,), (2, 3)):
            yield picture.flip(axes).contiguous()


def _maps(layer: Encoder, weights: encoder_networks.Weights, pixels: Tensor) -> Row:
    """The picture on the grid, and each map with the channels of a place standardised; in one row.

    Then each channel is normalized over its places: what all places of a slice have in common tells none of
    them from another, and scanners differ in it.
    """
    grid = (layer.grid_px, layer.grid_px)
    kept = [functional.adaptive_avg_pool2d(pixels, grid)]
    for features in encoder_networks.maps(layer.name, weights, pixels):
        large = features.shape[2] > layer.grid_px
        kept.append(
            _standardised(functional.adaptive_avg_pool2d(features, grid) if large else features)
        )
    return torch.cat([_instance_norm(one.flatten(2)).flatten(1) for one in kept], dim=1)


def _instance_norm(
    rows: Float[Tensor, "batch channels places"],
) -> Float[Tensor, "batch channels places"]:
    """Mean 0 and deviation 1 in each channel; 0 in one whose places differ by rounding alone.

    Source: Ulyanov et al. 2016, "Instance normalization", arXiv 1607.08022, without scale and shift.
    """
    exactly = rows.double()
    size = exactly.abs().amax(2, keepdim=True)
    alike = exactly.std(2, correction=0, keepdim=True) <= FLAT_CHANNEL * size
    return _centred(exactly, 2).masked_fill(alike, 0.0).float()


def _pictures(layer: Encoder, images: Images) -> Float[Tensor, "batch 3 height width"]:
    """Pictures as the network was trained on them; float16 ones are standardised already."""
    pixels = torch.from_numpy(images.astype(np.float32))
    size = (layer.input_px, layer.input_px)
    if pixels.shape[2:] != size:
        pixels = functional.interpolate(
            pixels,
            size=size,
            mode="bilinear",
            align_corners=False,
            antialias=max(pixels.shape[2:]) > layer.input_px,
        )
    if images.dtype != np.uint8:
        return pixels
    known = encoder(layer.name)
    mean, deviation = (torch.tensor(c).view(1, 3, 1, 1) for c in (known.mean, known.deviation))
    return (pixels / 255.0 - mean) / deviation


def _standardised(rows: Float[Tensor, "batch features ..."]) -> Float[Tensor, "batch features ..."]:
    """Signed roots, then mean 0 and deviation 1 in each picture's row, or at each place of a map."""
    return _centred(rows.sign() * rows.abs().sqrt(), 1)


def _centred(values: Float[Tensor, "..."], dim: int) -> Float[Tensor, "..."]:
    """Mean 0 and deviation 1 along an axis."""
    centred = values - values.mean(dim, keepdim=True)
    return centred / centred.square().mean(dim, keepdim=True).sqrt().clamp(min=EPSILON)


def _scattering(layer: Scattering, height: int, width: int) -> Callable[[Images], Row]:
    transform = ScatteringTransform(
        height=height,
        width=width,
        scales=layer.scales,
        angles=layer.angles,
        groups=layer.groups,
    )

    def scatter(images: Images) -> Row:
        maps = transform(networks.pixels(images))
        return functional.adaptive_avg_pool2d(maps, 1).flatten(1)

    return scatter


def _projecting(layer: Projection, file: bytes) -> Callable[[Images], Row]:
    def project(images: Images) -> Row:
        rows = torch.from_numpy(images.astype(np.float32)).flatten(1)
        axes, mean = _axes(layer, file, rows.shape[1])
        along = (rows - torch.from_numpy(mean)) @ torch.from_numpy(axes).T
        size = along.square().mean(1, keepdim=True).sqrt()
        return along / size.clamp(min=EPSILON)

    return project


@functools.lru_cache(maxsize=4)
def _axes(
    layer: Projection, file: bytes, features: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if not layer.axes_sha256:
        return _drawn_axes(layer.seed, layer.features, features), np.zeros(features, np.float32)
    try:
        found = load(file)
    except (SafetensorError, KeyError, ValueError):
        found = {}
    axes, mean = (found.get(name, np.zeros(0)) for name in ("axes", "mean"))
    require(
        axes.shape == (layer.features, features)
        and mean.shape == (features,)
        and axes.dtype == mean.dtype == np.float32
        and bool(np.isfinite(axes).all() and np.isfinite(mean).all()),
        f"The file of a projection must be safetensors with {layer.features} axes of {features} finite "
        "numbers and their mean, float32, and this one is not: write it with "
        "frozen_features.principal_axes, or `consilium encoder axes`.",
        error=InvalidData,
    )
    return axes, mean


def _drawn_axes(seed: int, count: int, features: int) -> NDArray[np.float32]:
    """Orthogonal axes from a public seed, `[count, features]`.

    Source: the Q of a Gaussian matrix's QR decomposition is uniform once R's diagonal is positive
    (Mezzadri 2007, "How to generate random matrices from the classical compact groups").
    """
    drawn = np.random.default_rng(seed).standard_normal((features, count))
    orthogonal, triangle = np.linalg.qr(drawn)
    axes = (orthogonal * np.sign(np.diag(triangle))).T
    return np.ascontiguousarray(axes, np.float32)
