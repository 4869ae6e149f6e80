"""Drawn files that no model was trained on, and models of drawn weights to ask about them."""

import dataclasses
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from federation.evaluation import model_file
from federation.prediction.trained_model import TrainedModel
from syft_code.models import networks
from syft_code.recipes.recipe import DataSpec, Recipe

Array = NDArray[Any]
SHAPE = (40, 52, 30)
SPACING_MM = (1.2, 0.9, 2.0)
MODALITIES = ("t1", "t1ce", "t2", "flair")


def untrained(path: Path, recipe: Recipe, data: DataSpec, plan: Any, *, seed: int = 1) -> Path:
    """A model's file with drawn weights, under the hash of some plan."""
    weights = networks.initial_weights(recipe, data, seed=seed)
    own = dataclasses.replace(plan, recipe=recipe, data=data, evaluation=None)
    model_file.write(path, own, weights)
    return path


def picture(path: Path, *, size: tuple[int, int] = (30, 24), seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def oblique() -> Array:
    """An affine of a scan whose axes are stored as left, then up, then back, a little turned."""
    angle = 0.12
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(SPACING_MM)
    affine[:3, 3] = (-20, -25, -30)
    # As RAS to begin with; stored axes are a permutation of it with two of them flipped.
    order, flips = (0, 2, 1), (-1, 1, -1)
    stored = np.eye(4)
    for column, (axis, sign) in enumerate(zip(order, flips, strict=True)):
        stored[:3, column] = affine[:3, axis] * sign
    shift = sum(
        affine[:3, axis] * (SHAPE[axis] - 1) for axis, s in zip(order, flips, strict=True) if s < 0
    )
    stored[:3, 3] = affine[:3, 3] + shift
    return stored


def as_stored(voxels: Array) -> Array:
    """RAS voxels `[x, y, z]` in the axes of `oblique`."""
    return np.ascontiguousarray(voxels[::-1, ::-1, :].transpose(0, 2, 1))


def head(*, middle: tuple[float, float, float] = (0.1, -0.15, 0.05)) -> tuple[Array, Array]:
    """A head's brightness and a mask of classes 0 to 3 in shells, both `[x, y, z]` in RAS."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    whole = np.sqrt(sum(axis**2 for axis in axes))
    inner = np.sqrt(sum((axis - at) ** 2 for axis, at in zip(axes, middle, strict=True)))
    mask = np.select([inner < 0.2, inner < 0.35, inner < 0.55], [3, 1, 2]).astype(np.uint8)
    random = np.random.default_rng(0)
    brain = np.where(whole < 0.85, random.integers(400, 440, SHAPE), 0).astype(np.int16)
    return brain, mask


def case(folder: Path, brightness: dict[str, Array], affine: Array) -> Path:
    folder.mkdir(parents=True)
    for name, voxels in brightness.items():
        image = nib.Nifti1Image(voxels, affine)
        nib.save(image, folder / f"{folder.name}_{name}.nii.gz")
    return folder


def dice(one: Array, other: Array) -> float:
    return float(
        2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))
    )


def with_network(model: TrainedModel, network: Any) -> TrainedModel:
    """The same model with other layers: what a network says is then known."""

    class Told(TrainedModel):
        def network(self) -> Any:
            return network

    return Told(saved=model.saved, standing=model.standing)
