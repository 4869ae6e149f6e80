"""An experiment's figures, as PNG: one set for each study, split and figure of merit.

utility_*.png    epsilon against the figure: pooled, federated, best single site; bars over seeds
sites_*.png      pooled, federated, best single site, local only, worst site; side by side
levers_*.png     epsilon against the figure, lever by lever (if there are several)
cost_*.png       bytes and seconds of a study, by algorithm and lever
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from federation.experiments.results_table import Record
from federation.experiments.summary import ROWS, by_seed, last_round, metrics_shown
from federation.reporting.plots import GREY, MARKERS, SERIES, STYLE, words
from syft_code.runtime.durable_files import write_durably

REFERENCE_LOOKS: dict[str, dict[str, Any]] = {
    "pooled": {"color": "black", "linestyle": (0, (5, 2)), "marker": "x"},
    "best single site": {"color": GREY, "linestyle": (0, (1, 1)), "marker": "+"},
}
_APART = 0.06
_DPI = 150
Series = tuple[str, dict[str, Any], Callable[[str], list[float]]]


def write(rows: Sequence[Record], times: Sequence[Record], folder: Path) -> list[Path]:
    """Draw every figure that the rows allow; returns the files."""
    final = last_round(rows)
    seconds = {str(one["cell"]): float(one["seconds"]) for one in times}
    written: list[Path] = []
    for study, split in dict.fromkeys((row["study"], row["split"]) for row in final):
        these = [row for row in final if (row["study"], row["split"]) == (study, split)]
        note = " (stand-in data)" if any(row["stand_in"] for row in these) else ""
        name, title = f"{study}_{_plain(split)}", f"{study}, by {split}{note}"
        for metric in metrics_shown(these):
            ending = f"{name}_{metric}.png"
            written.append(_save(folder / f"utility_{ending}", _utility(these, metric, title)))
            written.append(_save(folder / f"sites_{ending}", _sites(these, metric, title)))
            if len({row["lever"] for row in these}) > 1:
                written.append(_save(folder / f"levers_{ending}", _levers(these, metric, title)))
        written.append(_save(folder / f"cost_{name}.png", _cost(these, seconds, title)))
    return written


@mpl.rc_context(STYLE)
def _utility(rows: Sequence[Record], metric: str, title: str) -> Figure:
    """One panel for each lever; one line for each algorithm and reference."""
    levers = list(dict.fromkeys(row["lever"] for row in rows))
    figure, axes = _panels(len(levers), width=4.6, height=3.4)
    for axis, lever in zip(axes, levers, strict=True):
        here = [row for row in rows if row["lever"] == lever]
        lines = [
            (scope, look, _values(here, scope, metric)) for scope, look in REFERENCE_LOOKS.items()
        ]
        lines += [
            (name, _look(number), _values(here, "federated", metric, algorithm=name))
            for number, name in enumerate(_algorithms(here))
        ]
        _against_epsilon(axis, lines, _epsilons(rows))
        axis.set(title=lever if len(levers) > 1 else title)
    return _finished(figure, axes, metric, title if len(levers) > 1 else "")


@mpl.rc_context(STYLE)
def _levers(rows: Sequence[Record], metric: str, title: str) -> Figure:
    """One panel for each algorithm, one line for each lever."""
    algorithms = _algorithms(rows)
    figure, axes = _panels(len(algorithms), width=4.6, height=3.4)
    for axis, name in zip(axes, algorithms, strict=True):
        here = [row for row in rows if row["algorithm"] == name]
        lines = []
        for number, lever in enumerate(dict.fromkeys(row["lever"] for row in here)):
            own = [row for row in here if row["lever"] == lever]
            lines.append((lever, _look(number), _values(own, "federated", metric)))
        _against_epsilon(axis, lines, _epsilons(rows))
        axis.set(title=name)
    return _finished(figure, axes, metric, title)


def _against_epsilon(axis: Axes, lines: Sequence[Series], epsilons: Sequence[str]) -> None:
    """Means with a standard deviation over seeds, each line a little beside the next."""
    drawn = [(label, look, values) for label, look, values in lines if any(map(values, epsilons))]
    for number, (label, look, values) in enumerate(drawn):
        places = [place for place, one in enumerate(epsilons) if values(one)]
        found = [values(epsilons[place]) for place in places]
        beside = (number - (len(drawn) - 1) / 2) * _APART
        spreads = [float(np.std(one, ddof=1)) if len(one) > 1 else 0.0 for one in found]
        means = [float(np.mean(one)) for one in found]
        style: dict[str, Any] = {"capsize": 3, "lw": 1.4, "ms": 5} | look
        axis.errorbar(np.array(places) + beside, means, yerr=spreads, label=label, **style)
    axis.set_xticks(range(len(epsilons)), [_said(one) for one in epsilons])
    axis.set_xlim(-0.4, len(epsilons) - 0.6)
    axis.set(xlabel="epsilon of each patient")


@mpl.rc_context(STYLE)
def _sites(rows: Sequence[Record], metric: str, title: str) -> Figure:
    """Bars by scope, one panel for each epsilon; the first lever, the first algorithm."""
    lever, algorithm = rows[0]["lever"], _algorithms(rows)[:1]
    here = [
        row
        for row in rows
        if row["lever"] == lever and row["algorithm"] in ("pooled", "alone", *algorithm)
    ]
    epsilons = _epsilons(here)
    figure, axes = _panels(len(epsilons), width=3.0, height=3.2)
    for axis, epsilon in zip(axes, epsilons, strict=True):
        bars = [(label, _values(here, scope, metric)(epsilon)) for scope, label in ROWS]
        bars = [(label, values) for label, values in bars if values]
        places = np.arange(len(bars))
        means = [float(np.mean(values)) for _, values in bars]
        spreads = [float(np.std(v, ddof=1)) if len(v) > 1 else 0.0 for _, v in bars]
        colours = [SERIES[0] if "federated" in label else "#CBD5E1" for label, _ in bars]
        axis.barh(places, means, 0.65, xerr=spreads, color=colours, ecolor="#374151", capsize=3)
        for place, (mean, spread) in enumerate(zip(means, spreads, strict=True)):
            end = (mean + spread, place)
            axis.annotate(f"{mean:.3f}", end, (5, 0), textcoords="offset points", va="center")
        axis.margins(x=0.25)
        first = axis is axes[0]
        axis.set_yticks(places, [label for label, _ in bars] if first else [""] * len(bars))
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
        said = _said(epsilon)
        axis.set(title=f"epsilon {said}" if said == epsilon else said, xlabel=words(metric))
        axis.set_xlim(left=0.0)
    named = f", {algorithm[0]}" if algorithm else ""
    figure.suptitle(f"{title}{named}, {lever}", x=0.01, ha="left", fontweight="bold")
    return figure


@mpl.rc_context(STYLE)
def _cost(rows: Sequence[Record], seconds: Mapping[str, float], title: str) -> Figure:
    """What a hospital sends and gets in a study, and how long all of them compute."""
    federated = [row for row in rows if row["scope"] == "federated"]
    several = len({row["lever"] for row in rows}) > 1
    groups: dict[str, list[Record]] = {}
    for row in federated:
        label = f"{row['algorithm']}, {row['lever']}" if several else row["algorithm"]
        groups.setdefault(label, []).append(row)
    height = 1.7 + 0.34 * max(len(groups), 1)
    figure, axes = _panels(2, width=4.4, height=height)
    places = np.arange(len(groups))
    for offset, name, colour in ((-0.2, "bytes_up", SERIES[0]), (0.2, "bytes_down", SERIES[4])):
        sizes = [own[0][name] / 1e6 for own in groups.values()]
        label = "sends" if name == "bytes_up" else "gets"
        axes[0].barh(places + offset, sizes, 0.38, color=colour, label=label)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    axes[0].set(title="One hospital, all rounds", xlabel="MB")
    axes[0].legend()
    for place, own in enumerate(groups.values()):
        taken = [seconds[key] for key in {row["cell"] for row in own} if key in seconds]
        spread = float(np.std(taken, ddof=1)) if len(taken) > 1 else 0.0
        axes[1].barh(place, np.mean(taken or [0.0]), 0.6, xerr=spread, color=SERIES[2], capsize=3)
    axes[1].set(title="Training, all hospitals in a row", xlabel="seconds on one core")
    for axis in axes:
        axis.set_yticks(places, list(groups) if axis is axes[0] else [""] * len(groups))
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
    return figure


def _values(
    rows: Sequence[Record], scope: str, metric: str, *, algorithm: str = ""
) -> Callable[[str], list[float]]:
    """The figures of all seeds at an epsilon."""
    own = [row for row in rows if row["scope"] == scope]
    own = [row for row in own if not algorithm or row["algorithm"] == algorithm]

    def at(epsilon: str) -> list[float]:
        here = [row for row in own if row["epsilon"] == epsilon]
        return list(by_seed(here, scope, metric).values())

    return at


def _algorithms(rows: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(row["algorithm"] for row in rows if row["scope"] == "federated"))


def _epsilons(rows: Sequence[Record]) -> list[str]:
    """The smallest first, then without noise, then without clipping too."""
    last = {"clipped": 1e9, "none": 2e9}
    found = {row["epsilon"] for row in rows}
    return sorted(found, key=lambda one: last[one] if one in last else float(one))


def _said(epsilon: str) -> str:
    return {"none": "no privacy", "clipped": "no noise"}.get(epsilon, epsilon)


def _look(number: int) -> dict[str, Any]:
    return {"color": SERIES[number % len(SERIES)], "marker": MARKERS[number % len(MARKERS)]}


def _panels(count: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(max(width * count, 5.0), height), layout="constrained")
    axes = figure.subplots(1, max(count, 1), squeeze=False, sharey=False)
    return figure, list(axes[0])


def _finished(figure: Figure, axes: Sequence[Axes], metric: str, title: str) -> Figure:
    lows, highs = zip(*(axis.get_ylim() for axis in axes), strict=True)
    for axis in axes:
        axis.set(ylabel=words(metric), ylim=(min(lows), max(highs)))
    found: dict[str, Any] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    if found:
        figure.legend(
            list(found.values()), list(found), loc="outside lower center", ncols=min(len(found), 4)
        )
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    return figure


def _save(path: Path, figure: Figure) -> Path:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    write_durably(path, buffer.getbuffer())
    return path


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")
