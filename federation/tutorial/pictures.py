"""Drawn pictures for lessons, and how a notebook shows some side by side."""

import io
from collections.abc import Mapping

import numpy as np
import torch
from IPython.display import Image, display
from matplotlib.figure import Figure
from torch import Tensor

from datasites.data import phantoms

SIDE_PX = 24
CLASSES = tuple(phantoms.LOOKS)


def lesion(*, seed: int) -> tuple[Tensor, int]:
    """A drawn lesion, float32 `[1, 3, 24, 24]` in 0..1, and its class as a number."""
    label = seed % len(CLASSES)
    body, view = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    drawn = phantoms.lesion(
        phantoms.LOOKS[CLASSES[label]],
        body=body,
        view=view,
        shape=(SIDE_PX, SIDE_PX),
        cast=(1.0, 1.0, 1.0),
    )
    return torch.from_numpy(drawn.astype(np.float32) / 255).permute(2, 0, 1)[None], label


def show(pictures: Mapping[str, Tensor]) -> None:
    """Show pictures side by side under their names, in a notebook."""
    figure = Figure(figsize=(2.0 * len(pictures), 2.3), layout="constrained")
    for axis, (name, picture) in zip(
        figure.subplots(1, len(pictures), squeeze=False)[0], pictures.items(), strict=True
    ):
        axis.imshow(picture[0].permute(1, 2, 0).clamp(0, 1).numpy())
        axis.set_title(name)
        axis.axis("off")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    display(Image(data=buffer.getvalue()))  # type: ignore[no-untyped-call]
