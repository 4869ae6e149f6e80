"""What rows say as a whole: a name for a row that has none, cells to compare, rows that contradict each other."""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datasites.data.folders.reading import Cells
from datasites.data.readers.tabular.parsed_columns import Parsed
from datasites.data.readers.tabular.people import Numbers, People

NAME_DIGITS = 6
"""A row without an identifier is named by its numbers with so many digits."""
ALIKE_DIGITS = 3
"""Rows are compared by their numbers with so many digits."""
_MOST_KEYS = 2**62


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Said:
    """What a column says: `texts`, and int `[rows]` which of them a row says."""

    texts: list[str]
    codes: NDArray[np.int32] | Numbers


def of_columns(parsed: Sequence[Parsed], digits: int) -> dict[str, Said]:
    """What each column says, by our names of columns; numbers with so many digits."""
    return {one.column.name: Said(texts=one.said(digits), codes=one.codes) for one in parsed}


def people(said: Mapping[str, Said]) -> People:
    """Each row a person of its own, named by a hash of what the row says and a count of those that say the same.

    So a row that comes or goes changes nobody else's name, and neither the spelling of a number
    nor the order of columns changes its own.
    """
    columns = dict(sorted(said.items()))
    first, of_row = _alike(list(columns.values()))
    spoken = [[one.texts[code] for code in one.codes[first].tolist()] for one in columns.values()]
    hashes = [
        hashlib.sha256(
            "\x1f".join(f"{k}={v}" for k, v in zip(columns, row, strict=True)).encode("utf-8")
        ).hexdigest()[:32]
        for row in zip(*spoken, strict=True)
    ]
    order = sorted(range(len(hashes)), key=hashes.__getitem__)
    sizes = np.bincount(of_row, minlength=len(hashes))
    starts = np.zeros(len(hashes), dtype=np.int64)
    starts[order] = np.cumsum(sizes[order]) - sizes[order]
    names = [f"{hashes[at]}-{count}" for at in order for count in range(1, int(sizes[at]) + 1)]
    return People(names=tuple(names), of_row=starts[of_row] + _counts(of_row, sizes))


def cells(said: Mapping[str, Said], rows: Numbers) -> Cells:
    """What is compared, as hashes, of some rows: `[rows, columns]`."""
    columns = sorted(said)
    values = np.empty((len(rows), len(columns)), dtype=np.uint64)
    for at, name in enumerate(columns):
        values[:, at] = hashes(name, said[name].texts)[said[name].codes[rows]]
    return Cells(columns=np.array([hashed(name) for name in columns], np.uint64), values=values)


def hashes(name: str, texts: Sequence[str]) -> NDArray[np.uint64]:
    """64 bits for each text of a column."""
    cached = functools.cache(lambda text: hashed(name, text))
    return np.array([cached(text) for text in texts], dtype=np.uint64)


def hashed(*texts: str) -> int:
    """64 bits that stand for texts."""
    data = "\x1f".join(texts).encode("utf-8")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def _alike(columns: Sequence[Said]) -> tuple[Numbers, Numbers]:
    """The first row of each group of rows that say the same, and int `[rows]` the group of each."""
    keys = np.zeros(len(columns[0].codes), dtype=np.int64)
    size = 1
    for one in columns:
        number = {text: at for at, text in enumerate(dict.fromkeys(one.texts))}
        by_text = np.array([number[text] for text in one.texts], dtype=np.int64)
        if size * len(number) >= _MOST_KEYS:
            keys = np.unique(keys, return_inverse=True)[1]
            size = int(keys.max(initial=0)) + 1
        keys = keys * len(number) + by_text[one.codes]
        size *= len(number)
    _, first, of_row = np.unique(keys, return_index=True, return_inverse=True)
    return first, of_row


def _counts(of_row: Numbers, sizes: Numbers) -> Numbers:
    """For each row how many of its group stand before it."""
    order = np.argsort(of_row, kind="stable")
    starts = np.cumsum(sizes) - sizes
    count = np.empty(len(of_row), dtype=np.int64)
    count[order] = np.arange(len(of_row)) - np.repeat(starts, sizes)
    return count
