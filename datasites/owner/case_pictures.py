"""Pictures of a few cases as one PNG, for the owner's eyes: they show patients."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datasites.data.folders.reading import Reading

TILE_PX = 192
GAP_PX = 6
MOST_ACROSS_PX = 1600
COLOURS = ("red", "green", "blue")
OUTLINE = (255, 176, 0)

Picture = NDArray[np.uint8]


def of_reading(reading: Reading, most: int) -> list[Picture]:
    """One slice of each of some patients as it was read, `[height, width, 3]`; of every class if there are so many.

    Channels that are not a colour picture stand side by side; a segmentation's regions are outlined on the
    slice that has most of them.
    """
    cohort, spec = reading.cohort, reading.spec
    if not cohort.images.size or spec.kind == "series":
        return []
    marked = (cohort.labels != 0).reshape(len(cohort.labels), -1).sum(axis=1)
    is_map = spec.task == "segmentation"
    order = np.lexsort((-marked if is_map else np.arange(len(marked)), cohort.patient))
    _, first = np.unique(cohort.patient[order], return_index=True)
    slices = order[first]
    if not is_map:
        classes = cohort.labels[slices]
        turn = np.array([np.sum(classes[:place] == one) for place, one in enumerate(classes)])
        slices = slices[np.argsort(turn, kind="stable")]
    return [
        _shown(cohort.images[one], cohort.labels[one] if is_map else None, spec.channels)
        for one in slices[:most]
    ]


def png(pictures: Sequence[Picture]) -> bytes:
    """The pictures in rows, each enlarged to the height of a tile.

    Shapes: `[height, width]` or `[height, width, 3]`.
    """
    tiles = [_tile(picture) for picture in pictures]
    rows: list[list[Image.Image]] = [[]]
    for tile in tiles:
        if rows[-1] and sum(one.width + GAP_PX for one in rows[-1]) + tile.width > MOST_ACROSS_PX:
            rows.append([])
        rows[-1].append(tile)
    width = max(sum(one.width + GAP_PX for one in row) for row in rows)
    whole = Image.new("RGB", (width, len(rows) * (TILE_PX + GAP_PX)), (32, 32, 32))
    for down, row in enumerate(rows):
        across = 0
        for tile in row:
            whole.paste(tile, (across, down * (TILE_PX + GAP_PX)))
            across += tile.width + GAP_PX
    data = io.BytesIO()
    whole.save(data, "PNG")
    return data.getvalue()


def _tile(picture: Picture) -> Image.Image:
    image = Image.fromarray(picture).convert("RGB")
    width = max(1, round(image.width * TILE_PX / image.height))
    return image.resize((min(width, MOST_ACROSS_PX), TILE_PX), Image.Resampling.NEAREST)


def _shown(image: NDArray[Any], labels: Picture | None, channels: Sequence[str]) -> Picture:
    if tuple(channels) == COLOURS and image.dtype == np.uint8:
        panels = [np.moveaxis(image, 0, 2)]
    else:
        panels = [np.repeat(_grey(one)[:, :, None], 3, axis=2) for one in image]
    if labels is not None:
        larger = max(1, TILE_PX // len(labels))
        edge = _edge(_enlarged(labels, larger))[:, :, None]
        outline = np.array(OUTLINE, np.uint8)
        panels = [np.where(edge, outline, _enlarged(panel, larger)) for panel in panels]
    shown: Picture = np.concatenate(panels, axis=1).astype(np.uint8)
    return shown


def _enlarged(picture: Picture, times: int) -> Picture:
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def _grey(channel: NDArray[Any]) -> Picture:
    """From black to white between the first and the last hundredth."""
    if channel.dtype == np.uint8:
        return channel
    values = channel.astype(np.float32)
    low, high = np.percentile(values, (1, 99))
    scaled: Picture = (np.clip((values - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
    return scaled


def _edge(labels: Picture) -> NDArray[np.bool_]:
    """The pixels of a region at which another one, or nothing, begins."""
    padded = np.pad(labels, 1, mode="edge")
    inner = padded[1:-1, 1:-1]
    apart = [padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]]
    edge: NDArray[np.bool_] = (inner > 0) & np.any([inner != one for one in apart], axis=0)
    return edge
