"""The public mock of an asset: what a researcher looks at instead of patients.

Guarantee: a mock follows from the public schema of its asset alone; nothing private is read.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from datasites.data import mock_facts, phantoms
from datasites.data.readers.images import ham10000, lgg, pictures
from datasites.data.readers.tabular import tables
from datasites.data.readers.volumes import brats, slicing
from syft_code.cohort import Cohort
from syft_code.errors import InvalidData, require
from syft_code.recipes.recipe import DataSpec

MOCK_SPACING = 0.02  # between a mock's slice and its neighbours, of half a brain's height


def draw(spec: DataSpec, *, seed: int, slices: int) -> Cohort:
    """Drawn slices of the shape that `spec` declares, two to a patient, every class as likely.

    Guarantee: a function of its arguments, which are public; nothing private is read.
    """
    require(slices >= 1, f"A mock must have at least one slice, got {slices}.", error=InvalidData)
    rng = np.random.default_rng([seed, 0])
    images, labels = _draw(spec, rng, slices)
    classes = labels.reshape(slices, -1)[:, 0]
    return Cohort(
        images=images,
        labels=labels,
        patient=np.arange(slices, dtype=np.int32) // 2,
        facts=mock_facts.rows(np.random.default_rng([seed, 1]), spec.facts, classes),
    )


Drawn = tuple[NDArray[np.uint8] | NDArray[np.float16], NDArray[np.uint8]]


def _draw(spec: DataSpec, rng: Generator, slices: int) -> "Drawn":
    """Pictures and labels; a table has no pictures, and its facts are drawn for its labels."""
    if spec.kind == "table":
        return np.zeros((slices, 0, 0, 0), np.uint8), _mock_labels(spec, rng, slices)
    if spec.kind == "series":
        labels = _mock_labels(spec, rng, slices)
        names = spec.channels[0].split(tables.COLUMN_BREAK)
        if len(names) != spec.width_px:
            names = [f"column {number}" for number in range(spec.width_px)]
        return mock_facts.series(rng, names, labels, hours=spec.height_px), labels
    require(
        _is_as_read(spec) and min(spec.height_px, spec.width_px) >= 8,
        f"A mock of {spec.kind} must have the channels and classes of its reader and at least "
        "8 x 8 pixels. Publish the spec that the reader gave.",
        error=InvalidData,
    )
    if spec.kind == "brats":
        return _mock_brains(spec, rng, slices)
    if spec.kind == "lgg":
        return _mock_gliomas(spec, rng, slices)
    return _mock_lesions(spec, rng, slices)


def _is_as_read(spec: DataSpec) -> bool:
    """Whether the reader of this kind gives slices of these channels, classes and facts."""
    if spec.kind == "images":  # classes and facts are the owner's
        return spec.channels in (pictures.COLOURS, pictures.GREY)
    size, stand_in, facts = spec.height_px, spec.stand_in, bool(spec.facts)
    if spec.kind == "ham10000":
        like = ham10000.spec(size_px=size, stand_in=stand_in, facts=facts)
    elif spec.kind == "lgg":
        like = lgg.spec(size_px=size, stand_in=stand_in, facts=facts)
    else:
        neighbours = brats.neighbours_of(spec.channels)
        like = brats.spec(size_px=size, stand_in=stand_in, neighbours=neighbours, facts=facts)
    return (spec.channels, spec.classes, spec.facts) == (like.channels, like.classes, like.facts)


def _mock_labels(spec: DataSpec, rng: Generator, slices: int) -> NDArray[np.uint8]:
    """Every class as likely, one for the two slices of a patient."""
    return rng.integers(0, len(spec.classes), -(-slices // 2)).repeat(2)[:slices].astype(np.uint8)


def _mock_lesions(spec: DataSpec, rng: Generator, slices: int) -> Drawn:
    """A lesion a picture; classes that are not HAM10000's take its looks in turn."""
    labels = _mock_labels(spec, rng, slices)
    shape, others = (spec.height_px, spec.width_px), list(phantoms.LOOKS.values())
    images = np.empty((slices, len(spec.channels), *shape), dtype=np.uint8)
    for index, label in enumerate(labels):
        look = phantoms.LOOKS.get(spec.classes[label], others[label % len(others)])
        drawn = phantoms.lesion(look, body=rng, view=rng, shape=shape, cast=(1, 1, 1))
        grey = drawn.mean(axis=2, keepdims=True).astype(np.uint8)
        images[index] = (drawn if len(spec.channels) == 3 else grey).transpose(2, 0, 1)
    return images, labels


def _mock_gliomas(spec: DataSpec, rng: Generator, slices: int) -> Drawn:
    images = np.zeros((slices, len(spec.channels), spec.height_px, spec.width_px), np.float16)
    labels = np.zeros((slices, spec.height_px, spec.width_px), np.uint8)
    for index in range(slices):
        volumes, classes = phantoms.brain(rng, (spec.width_px, spec.height_px, 1))
        planes = volumes[list(phantoms.LGG), :, ::-1, 0].transpose(0, 2, 1)
        means, deviations = (f(planes, axis=(1, 2), keepdims=True) for f in (np.mean, np.std))
        images[index] = np.clip((planes - means) / deviations, -lgg.CLIP, lgg.CLIP)
        labels[index] = classes[:, ::-1, 0].T > 0
    return images, labels


def _mock_brains(spec: DataSpec, rng: Generator, slices: int) -> Drawn:
    images = np.zeros((slices, len(spec.channels), spec.height_px, spec.width_px), np.float16)
    labels = np.zeros((slices, spec.height_px, spec.width_px), np.uint8)
    middle = brats.neighbours_of(spec.channels)
    shape = (spec.width_px, spec.height_px, 2 * middle + 1)
    for index in range(slices):
        volumes, classes = phantoms.brain(rng, shape, height=MOCK_SPACING * middle)
        inside = volumes > 0
        means, deviations = (f(volumes, axis=(1, 2, 3), where=inside) for f in (np.mean, np.std))
        planes = (volumes - means[:, None, None, None]) / deviations[:, None, None, None]
        planes = np.where(inside, np.clip(planes, -slicing.CLIP, slicing.CLIP), 0)
        # [modality, x, y, z] to [modality, z, height, width], front on top, as the reader turns it.
        turned = planes.transpose(0, 3, 2, 1)[:, :, ::-1]
        images[index] = turned.reshape(images.shape[1:])
        labels[index] = classes[..., middle].T[::-1]
    return images, labels
