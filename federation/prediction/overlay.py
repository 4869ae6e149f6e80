"""A predicted mask over the slice of its case that shows most of it, as a PNG."""

import io
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from federation.prediction.trained_model import PredictedMask
from federation.reporting.plots import STYLE
from federation.reporting.sample_plots import OVERLAY

DPI = 150


def draw(mask: PredictedMask, classes: Sequence[str]) -> bytes:
    """The slice twice, as it is and with the mask on it; the front on top, the patient's left on the left.

    Without any prediction it is the slice in the middle.
    """
    area = np.count_nonzero(mask.classes, axis=(0, 1))
    z = int(area.argmax()) if area.any() else mask.classes.shape[2] // 2
    name, picture = mask.scan.picture(z)
    colours = ListedColormap([OVERLAY[i % len(OVERLAY)] for i in range(len(classes))])
    wide, deep, _ = mask.scan.spacing_mm
    with mpl.rc_context(STYLE | {"axes.grid": False, "axes.titleweight": "normal"}):
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.subplots(1, 2, squeeze=False).ravel()
        for axis, shown in zip(axes, (False, True), strict=True):
            axis.axis("off")
            axis.set_title(f"{name}, slice {z + 1}" if not shown else "predicted", fontsize=9)
            axis.imshow(picture.T, cmap="gray", origin="lower", aspect=deep / wide)
            if shown:
                axis.imshow(
                    mask.classes[:, :, z].T, cmap=colours, vmin=0, vmax=colours.N - 1, alpha=0.55,
                    origin="lower", aspect=deep / wide, interpolation="nearest",
                )  # fmt: skip
        marks = [
            mpl.patches.Patch(color=OVERLAY[i % len(OVERLAY)], label=one)
            for i, one in enumerate(classes)
            if i > 0
        ]
        figure.legend(handles=marks, loc="outside lower center", ncols=len(marks))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()
