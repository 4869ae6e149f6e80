"""TOML that somebody wrote, read in bounded time; what it must hold is its reader's business."""

import tomllib
from typing import Any

MOST_DOTS = 200
"""In a line. Python's parser takes a second for a key of 5,000 parts, and hours for one of a million bytes."""


def loads(text: str) -> dict[str, Any]:
    """A table, or a `ValueError` in words. The mark with which editors on Windows begin a file is not read.

    >>> loads("a.b = 1"), loads("\\ufeffa = 1")
    ({'a': {'b': 1}}, {'a': 1})
    """
    text = text.removeprefix("\ufeff")
    if any(line.count(".") > MOST_DOTS for line in text.split("\n")):
        raise ValueError(f"a line may have at most {MOST_DOTS} dots")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it nests too deep") from None
