"""Drawn facts and series: from the names that a spec declares, and from nothing else.

A name such as "chol" is a number, "cp=4" one word of a category, "chol?" whether it is
missing. Each class has means and favourite words of its own, drawn too, so that a model has
something to learn; what it learns says nothing of any hospital.
"""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float32]
MISSING = 0.1  # the share of what may be missing that is
SPREAD = 0.5
APART = 0.4


def rows(rng: Generator, names: Sequence[str], labels: NDArray[np.uint8]) -> Floats:
    """Facts of these names for rows of these classes: `[rows, names]`."""
    drawn = np.zeros((len(labels), len(names)), dtype=np.float32)
    for columns in _columns(names):
        known = [index for index in columns if not names[index].endswith("?")]
        flags = [index for index in columns if names[index].endswith("?")]
        values = _numbers(rng, labels) if len(known) == 1 else _words(rng, labels, len(known))
        gone = rng.random(len(labels)) < MISSING if flags else np.zeros(len(labels), dtype=bool)
        drawn[:, known] = np.where(gone[:, None], 0.0, values)
        drawn[:, flags] = gone[:, None]
    return drawn


def series(
    rng: Generator, names: Sequence[str], labels: NDArray[np.uint8], *, hours: int
) -> NDArray[np.float16]:
    """Hours of such numbers: `[series, 1, hours, names]`."""
    each = rows(rng, names, np.repeat(labels, hours))
    return each.reshape(len(labels), 1, hours, len(names)).astype(np.float16)


def _columns(names: Sequence[str]) -> list[list[int]]:
    """The places of each column's numbers: its words, and whether it is missing."""
    places: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        places.setdefault(name.removesuffix("?").partition("=")[0], []).append(index)
    return list(places.values())


def _numbers(rng: Generator, labels: NDArray[np.uint8]) -> Floats:
    means = rng.normal(0, APART, 256)[labels]
    return (means + rng.normal(0, SPREAD, len(labels)))[:, None].astype(np.float32)


def _words(rng: Generator, labels: NDArray[np.uint8], words: int) -> Floats:
    """One 1 in each row, by the class's favour and by chance (the Gumbel trick)."""
    favour = rng.normal(0, 2 * APART, (256, words))[labels]
    chosen = (favour + rng.gumbel(size=favour.shape)).argmax(axis=1)
    rows: Floats = np.eye(words, dtype=np.float32)[chosen]
    return rows
