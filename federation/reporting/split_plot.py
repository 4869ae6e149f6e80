"""A picture of how patients were shared out: who has how many of each class, and what differs.

Takes plain counts and numbers, of public data or stand-ins alone: it shows them as they are.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from federation.reporting.plots import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    STYLE,
    VERMILLION,
    Plot,
    svg,
)
from syft_code.errors import InvalidInput, require

COLOURS = (BLUE, ORANGE, GREEN, VERMILLION, SKY, PURPLE, "#F0E442", GREY)
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "++++")
MOST_HOSPITALS = 24
POINTS = 400
Floats = NDArray[np.float64]


def split_picture(
    hospitals: Sequence[str],
    counts: NDArray[np.int64],
    *,
    classes: Sequence[str],
    values: Sequence[Floats] = (),
    quantity: str = "",
) -> Plot:
    """Patients by hospital and class; beside it each hospital's distribution of a quantity.

    With more than `MOST_HOSPITALS` hospitals the first, the last and some between are shown.

    Shapes: `counts` `[hospitals, classes]`; `values` one row of numbers a hospital, NaN for what
    is not known; without values there is one panel.

    Does not protect: anybody. Never draw it of a hospital's own patients.
    """
    require(
        counts.shape == (len(hospitals), len(classes)) and len(values) in (0, len(hospitals)),
        f"There must be a row of counts and of values for each of {len(hospitals)} hospitals.",
        error=InvalidInput,
    )
    shown = np.unique(
        np.linspace(0, len(hospitals) - 1, min(len(hospitals), MOST_HOSPITALS)).astype(int)
    )
    names = [hospitals[i] for i in shown]
    with mpl.rc_context(STYLE):
        panels = 2 if values else 1
        figure = Figure(figsize=(4.6 * panels, 1.5 + 0.3 * len(shown)), layout="constrained")
        axes = figure.subplots(1, panels, squeeze=False, sharey=True)[0]
        _counts(axes[0], counts[shown], classes)
        if values:
            _distributions(axes[1], [values[i] for i in shown], quantity)
        axes[0].set_yticks(range(len(shown)), names)
        axes[0].set_ylim(len(shown) - 0.4, -0.6)
        if len(shown) < len(hospitals):
            axes[0].set_title(f"Patients, at {len(shown)} of {len(hospitals)} hospitals")
        if len(classes) > 1:
            figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
        return svg(figure, _said(hospitals, counts, classes, values, quantity))


def _counts(axis: Axes, counts: NDArray[np.int64], classes: Sequence[str]) -> None:
    """Bars of the classes, one behind the other, and how many patients there are in all."""
    left = np.zeros(len(counts))
    for index, name in enumerate(classes):
        colour, hatch = COLOURS[index % len(COLOURS)], HATCHES[index // len(COLOURS) % len(HATCHES)]
        look: dict[str, Any] = {
            "color": colour,
            "hatch": hatch,
            "edgecolor": "white",
            "linewidth": 0.4,
        }
        axis.barh(range(len(counts)), counts[:, index], left=left, height=0.8, label=name, **look)
        left += counts[:, index]
    for place, total in enumerate(left):
        axis.annotate(
            f"{total:,.0f}",
            (total, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=GREY,
            fontsize=8,
        )
    axis.set(title="Patients", xlim=(0, max(left.max(initial=1) * 1.14, 1)))
    axis.grid(axis="y", visible=False)


def _distributions(axis: Axes, values: Sequence[Floats], quantity: str) -> None:
    """Each patient a dot, the middle half a bar, the median a line."""
    for place, row in enumerate(values):
        known = np.sort(row[np.isfinite(row)])
        if not len(known):
            continue
        dots = known[np.linspace(0, len(known) - 1, min(len(known), POINTS)).astype(int)]
        jitter = np.random.default_rng(place).uniform(-0.26, 0.26, len(dots))
        axis.plot(dots, place + jitter, ".", ms=3.5, color=SKY, alpha=0.5, rasterized=True)
        low, middle, high = np.quantile(known, (0.25, 0.5, 0.75))
        axis.plot([low, high], [place, place], color=BLUE, lw=4, solid_capstyle="butt")
        axis.plot([middle, middle], [place - 0.34, place + 0.34], color=VERMILLION, lw=2)
    axis.set(title=quantity[:1].upper() + quantity[1:])
    axis.set_xlabel("a dot a patient; bar: the middle half; line: the median", color=GREY)
    axis.grid(axis="y", visible=False)


def _said(
    hospitals: Sequence[str],
    counts: NDArray[np.int64],
    classes: Sequence[str],
    values: Sequence[Floats],
    quantity: str,
) -> str:
    """The same in words, for the first hospitals."""
    parts = []
    for index, name in enumerate(hospitals[:MOST_HOSPITALS]):
        of = [f"{c} {n}" for n, c in zip(counts[index], classes, strict=True) if n]
        text = f"{name}: {counts[index].sum()} patients" + (
            f" ({', '.join(of)})" if len(classes) > 1 else ""
        )
        known = values[index][np.isfinite(values[index])] if values else np.zeros(0)
        parts.append(text + (f", {quantity} {np.median(known):.3g}" if len(known) else ""))
    more = len(hospitals) - MOST_HOSPITALS
    ending = f" And {more} more hospitals." if more > 0 else ""
    return f"How {len(hospitals)} hospitals differ. {'; '.join(parts)}.{ending}"
