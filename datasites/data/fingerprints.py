"""By what a hospital knows rows, pictures and volumes again that come back under another name.

A row of a table is known by its cells: alike are rows that say the same in all columns which both
tables have, or in all but one. A picture, or a slice of a volume, is known by a sketch of its
decoded pixels: a grid of means without their slow changes, on the sides of secret planes. So
neither the size, the compression nor the brightness of a picture hides it.

Guarantee: without the key a fingerprint reveals which rows and pictures are alike, and nothing
    else of them.
Does not protect: a row with two changed cells, or of columns with new names; a picture that was
    turned, mirrored or cropped; a volume of which other slices were cut.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from datasites.data.cohort_file import SplitCohort
from syft_code.recipes.recipe import DataSpec

SIDE = 12
"""A sketch sees a picture as so many fields across and down."""
PLANES = 1024
ALIKE_PLANES = 64
"""Pictures are alike that lie on different sides of so many planes at most. On HAM10000's images of
5,984 lesions it holds for no two of them, and for all but few after JPEG at quality 75."""
LEAST_COLUMNS = 6
"""With fewer columns in common, rows are alike only if they say the same in all of them."""
BLOCK = 2048
NEAR = [(down, right) for down in range(3) for right in range(3)]

Bits = NDArray[np.bool_]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Fingerprints:
    """Those of one cohort, in the order of its rows or pictures.

    Shapes: `tokens` uint8 `[slices, 16]`, of the patients; `columns` uint64 `[columns]` and
    `cells` uint64 `[slices, columns]`, of a table; `sketches` uint8 `[slices, PLANES / 8]`, of
    pictures, 0 throughout for one of a single colour; without rows for a table.
    """

    tokens: NDArray[np.uint8]
    columns: NDArray[np.uint64]
    cells: NDArray[np.uint64]
    sketches: NDArray[np.uint8]

    def names(self) -> list[str]:
        """The token (hex) of each row's or picture's patient."""
        return [bytes(token).hex() for token in self.tokens]

    def encode(self) -> bytes:
        """As bytes; read them again with `decode`."""
        return save({name: np.ascontiguousarray(getattr(self, name)) for name in self.__slots__})


def decode(data: bytes) -> Fingerprints:
    """Read what `Fingerprints.encode` wrote."""
    return Fingerprints(**load(data))


def take(split: SplitCohort, spec: DataSpec, key: bytes) -> Fingerprints:
    """The fingerprints of a cohort, by a secret key of 32 bytes."""
    tokens = split.tokens[split.cohort.patient]
    if split.cells is not None:
        columns, cells = _keyed(split.cells.columns, key), _keyed(split.cells.values, key)
        sketches = np.zeros((0, PLANES // 8), np.uint8)
    else:
        columns, cells = np.zeros(0, np.uint64), np.zeros((len(tokens), 0), np.uint64)
        sketches = _sketches(_middle(split.cohort.images, spec), key)
    return Fingerprints(tokens=tokens, columns=columns, cells=cells, sketches=sketches)


def under_other_names(new: Fingerprints, earlier: Sequence[Fingerprints]) -> set[str]:
    """The patients (tokens) of a cohort who are alike others that were there before them.

    Two patients are not compared whom the new cohort itself tells apart, nor those who came in the
    same cohort: what was spent on the one was then spent on an asset of the other.
    """
    since: dict[str, int] = {}
    for number, old in enumerate(earlier):
        for name in old.names():
            since.setdefault(name, number)
    names = new.names()
    present = set(names)
    mine = np.array([since.get(name, len(earlier)) for name in names], dtype=np.int64)
    alike = np.zeros(len(names), dtype=np.bool_)
    for old in earlier:
        others = old.names()
        absent = np.array([name not in present for name in others], dtype=np.bool_)
        theirs = np.array([since[name] for name in others], dtype=np.int64)[absent]
        if len(new.sketches) and len(old.sketches):
            alike |= _pictures_alike(new.sketches, old.sketches[absent], mine, theirs)
        alike |= _rows_alike(new, old, absent, mine, theirs)
    return {name for name, found in zip(names, alike.tolist(), strict=True) if found}


def _rows_alike(
    new: Fingerprints, old: Fingerprints, absent: Bits, mine: Numbers, theirs: Numbers
) -> Bits:
    """Which rows say the same as an earlier one, in the columns that both have, but one.

    Cells are keyed by their column too, so that the sum of a row's cells stands for all of them.
    """
    _, here, there = np.intersect1d(new.columns, old.columns, return_indices=True)
    alike = np.zeros(len(mine), dtype=np.bool_)
    if 2 * len(here) < max(1, min(len(new.columns), len(old.columns))) or not len(theirs):
        return alike
    ours, others = new.cells[:, here], old.cells[absent][:, there]
    sums, other_sums = (cells.sum(axis=1, dtype=np.uint64) for cells in (ours, others))
    alike |= _earlier(sums, other_sums, mine, theirs)
    if len(here) >= LEAST_COLUMNS:
        for column in range(len(here)):
            rest, other_rest = sums - ours[:, column], other_sums - others[:, column]
            alike |= _earlier(rest, other_rest, mine, theirs)
    return alike


def _earlier(
    ours: NDArray[np.uint64], others: NDArray[np.uint64], mine: Numbers, theirs: Numbers
) -> Bits:
    """Which of ours are among the others, of whom one was there before."""
    known, place = np.unique(others, return_inverse=True)
    first = np.full(len(known), np.iinfo(np.int64).max)
    np.minimum.at(first, place.ravel(), theirs)
    at = np.searchsorted(known, ours).clip(max=len(known) - 1)
    found: Bits = (known[at] == ours) & (first[at] < mine)
    return found


def _pictures_alike(
    ours: NDArray[np.uint8], others: NDArray[np.uint8], mine: Numbers, theirs: Numbers
) -> Bits:
    """Which pictures lie on nearly the same sides as an earlier one."""
    alike = np.zeros(len(ours), dtype=np.bool_)
    for rows in _blocks(len(ours)):
        here = _signs(ours[rows])
        for columns in _blocks(len(others)):
            apart = (PLANES - here @ _signs(others[columns]).T) / 2
            before = theirs[columns][None, :] < mine[rows][:, None]
            alike[rows] |= ((apart <= ALIKE_PLANES) & before).any(axis=1)
    varies: Bits = ours.any(axis=1)
    return alike & varies


def _blocks(count: int) -> list[slice]:
    return [slice(start, start + BLOCK) for start in range(0, count, BLOCK)]


def _signs(sketches: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.unpackbits(sketches, axis=1).astype(np.float32) * 2 - 1


def _keyed(values: NDArray[np.uint64], key: bytes) -> NDArray[np.uint64]:
    """Each number's keyed hash, the same for the same number."""
    known, place = np.unique(values, return_inverse=True)
    hashes = [
        hashlib.blake2b(int(value).to_bytes(8, "big"), key=key, digest_size=8).digest()
        for value in known
    ]
    keyed = np.frombuffer(b"".join(hashes), ">u8").astype(np.uint64)
    return keyed[place].reshape(values.shape)


def _middle(images: NDArray[Any], spec: DataSpec) -> NDArray[Any]:
    """The channels of the slices themselves, without those of neighbours ("t1-1", "t1+1")."""
    own = [not name.endswith(("-1", "+1")) for name in spec.channels]
    return images[:, own] if images.shape[1] == len(own) else images


def _sketches(images: NDArray[Any], key: bytes) -> NDArray[np.uint8]:
    """Shapes: `[slices, channels, height, width]` to `[slices, PLANES / 8]`."""
    down, across = _means(images.shape[2]), _means(images.shape[3])
    drawn = hashlib.shake_256(key + b"planes").digest(SIDE * SIDE * PLANES // 8)
    planes = np.unpackbits(np.frombuffer(drawn, np.uint8)).reshape(SIDE * SIDE, PLANES)
    signs = planes.astype(np.float32) * 2 - 1
    parts = [
        _sides(down @ images[rows].mean(axis=1, dtype=np.float32) @ across.T, signs)
        for rows in _blocks(len(images))
    ]
    return np.concatenate([np.zeros((0, PLANES // 8), np.uint8), *parts])


def _sides(fields: NDArray[np.float32], signs: NDArray[np.float32]) -> NDArray[np.uint8]:
    """On which side of each plane a picture's fields lie, less the mean of those around each."""
    padded = np.pad(fields, ((0, 0), (1, 1), (1, 1)), mode="edge")
    shifts = [padded[:, down : down + SIDE, right : right + SIDE] for down, right in NEAR]
    sharp = (fields - np.mean(shifts, axis=0)).reshape(len(fields), SIDE * SIDE)
    sharp -= sharp.mean(axis=1, keepdims=True)
    varies = np.linalg.norm(sharp, axis=1) > 1e-3
    sides: NDArray[np.uint8] = np.packbits(sharp @ signs > 0, axis=1)
    sides[~varies] = 0
    return sides


def _means(size: int) -> NDArray[np.float32]:
    """The weights by which `size` pixels become the means of SIDE fields, `[SIDE, size]`."""
    edges = np.linspace(0, size, SIDE + 1)
    low, high = edges[:-1, None], edges[1:, None]
    pixel = np.arange(size)
    inside = np.minimum(high, pixel + 1) - np.maximum(low, pixel)
    weights: NDArray[np.float32] = (inside.clip(min=0) / (high - low)).astype(np.float32)
    return weights
