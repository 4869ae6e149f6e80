"""The report's plots: SVG for lines and bars, PNG for pictures, each with a text for those
who cannot see it.

Colours are those of Okabe & Ito (2008), which colour-blind readers tell apart; markers and
dashes differ as well, so that a grey print can be read.
"""

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from federation.evaluation.baselines import Baseline
from federation.evaluation.exact_metrics import main_name, per_hospital
from federation.reporting import noised_figures
from federation.researcher.outcome import Outcome
from syft_code.metrics import segmentation
from syft_code.metrics.noise_errors import NOT_MEASURABLE
from syft_code.metrics.segmentation import DISTANCES
from syft_code.privacy import epsilons
from syft_code.recipes.recipe import DataSpec

BLUE, VERMILLION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
PURPLE, SKY, GREY = "#CC79A7", "#56B4E9", "#6B7280"
SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
BASELINE_LOOKS = ((GREEN, (0, (1, 1))), (ORANGE, (0, (5, 2))), (PURPLE, (0, (5, 2, 1, 2))))
MARKERS = "osD^vP"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9CA3AF",
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E5E7EB",
    "legend.frameon": False,
    "svg.hashsalt": "consilium",
}
Figures = Mapping[str, float]
DIAGNOSES = {
    "akiec": "actinic keratosis (akiec)",
    "bcc": "basal cell carcinoma (bcc)",
    "bkl": "benign keratosis (bkl)",
    "df": "dermatofibroma (df)",
    "mel": "melanoma (mel)",
    "nv": "mole (nv)",
    "vasc": "vascular lesion (vasc)",
}
"""What HAM10000's short names of diagnoses stand for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A picture to embed; `kind` is its media type, `alt` says in words what it shows."""

    data: bytes
    kind: str
    alt: str

    @property
    def data_uri(self) -> str:
        """The picture as an address that holds it: a page that shows it fetches nothing."""
        return f"data:{self.kind};base64,{base64.b64encode(self.data).decode('ascii')}"

    def _repr_mimebundle_(self, **options: object) -> dict[str, str]:
        """How a notebook shows it."""
        svg = self.kind == "image/svg+xml"
        text = self.data.decode() if svg else base64.b64encode(self.data).decode("ascii")
        return {self.kind: text, "text/plain": self.alt}


def words(name: str, data: DataSpec | None = None) -> str:
    """A figure's name for readers; with the data, the AUC says of which class it is.

    >>> words("balanced_accuracy"), words("auc"), words("hd95_core")
    ('Balanced accuracy', 'AUC', 'HD95 core, mm')
    """
    if name == "auc" and data is not None:
        return f"AUC of {class_words(data.positive)}"
    text = name.replace("_", " ").replace("auc", "AUC").replace("dice", "Dice")
    text = f"{text.replace('hd95', 'HD95')}, mm" if name in DISTANCES else text
    return text[:1].upper() + text[1:]


def class_words(name: str) -> str:
    """A class as readers call it.

    >>> class_words("mel"), class_words("flu")
    ('melanoma (mel)', 'flu')
    """
    return DIAGNOSES.get(name, name)


def shown_metrics(data: DataSpec) -> list[str]:
    """The figures that a report plots and tabulates, the main one first."""
    if data.task == "segmentation":
        return [main_name(data), *segmentation.regions(data)]
    return [main_name(data), *(["auc"] if data.positive else [])]


def tabulated_metrics(data: DataSpec) -> list[str]:
    """The figures of a table: those that are plotted, and distances in millimetres."""
    return [
        *shown_metrics(data),
        *(segmentation.distances(data) if data.task == "segmentation" else ()),
    ]


@mpl.rc_context(STYLE)
def utility(
    outcome: Outcome, exact_by_round: Sequence[Figures], baselines: Sequence[Baseline]
) -> Plot:
    """Each figure round by round: noised marks, the exact line of a demo, baselines across."""
    data, rounds = outcome.plan.data, outcome.rounds
    names = shown_metrics(data)
    figure, axes = _figure(len(names), width=5.0 if len(names) < 3 else 2.45, height=3.1)
    for axis, name in zip(axes, names, strict=True):
        _noised(axis, outcome, name)
        if exact_by_round:
            measured = [
                (r.round, one) for r, one in zip(rounds, exact_by_round, strict=True) if one
            ]
            ys = [noised_figures.value(one, name, data) for _, one in measured]
            label = "Federated, exact (demo only)"
            axis.plot([number for number, _ in measured], ys, color=VERMILLION, lw=1.6, label=label)
        for baseline, (colour, dashes) in zip(baselines, BASELINE_LOOKS, strict=False):
            level = noised_figures.value(baseline.metrics, name, data)
            axis.axhline(level, color=colour, linestyle=dashes, lw=1.6, label=baseline.name)
        chance = noised_figures.chance_level(name, data)
        if chance is not None:
            axis.axhline(chance, color=GREY, linestyle=(0, (1, 3)), lw=1.2, label="Chance")
        axis.set(title=words(name, data), xlabel="round", xlim=(0.5, max(len(rounds), 1) + 0.5))
        axis.set_ylim(0, 1.02)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 3) or 1)
    last = outcome.last_measured
    ends = f" In round {last.round} the noised {words(names[0])} is " if last else ""
    ends += f"{noised_figures.noised(last, names[0], data)}." if last else ""
    return svg(figure, f"{' and '.join(words(n, data) for n in names)} by round.{ends}")


def _noised(axis: Axes, outcome: Outcome, name: str) -> None:
    """Noised marks, with bars of what the noise does to them."""
    marks = [record for record in outcome.rounds if record.metrics]
    if not marks:
        return
    ys = [noised_figures.value(record.metrics, name, outcome.plan.data) for record in marks]
    stds = [record.errors.get(name, 0.0) for record in marks]
    bars = [[min(std, y) for std, y in zip(stds, ys, strict=True)]]
    bars += [[min(std, 1.0 - y) for std, y in zip(stds, ys, strict=True)]]
    label = "Federated, noised: what a real study sees"
    look: dict[str, Any] = {
        "fmt": "o",
        "ms": 6,
        "color": BLUE,
        "capsize": 3,
        "lw": 1.2,
        "zorder": 3,
    }
    axis.errorbar([record.round for record in marks], ys, yerr=bars, label=label, **look)


@mpl.rc_context(STYLE)
def epsilon(outcome: Outcome, budgets: Mapping[str, float]) -> Plot:
    """What each hospital's ledger stated, round by round; hospitals that agree share a line."""
    figure, (axis,) = _figure(1, width=8.2, height=3.0)
    lines: dict[tuple[tuple[int, float], ...], list[str]] = {}
    for hospital in outcome.plan.hospitals:
        own = tuple(
            (r.round, r.epsilon[hospital.name])
            for r in outcome.rounds
            if hospital.name in r.epsilon
        )
        lines.setdefault(own, []).append(hospital.name)
    drawn = [(points, names) for points, names in lines.items() if points]
    for i, (points, names) in enumerate(drawn):
        xs, ys = zip(*points, strict=True)
        look: dict[str, Any] = {
            "color": SERIES[i % len(SERIES)],
            "marker": MARKERS[i % len(MARKERS)],
        }
        axis.plot(xs, ys, label=", ".join(names), lw=1.8, ms=5, **look)
    for budget in sorted(set(budgets.values())):
        names = [name for name, own in budgets.items() if own == budget]
        who = "every hospital" if len(names) == len(outcome.plan.hospitals) else ", ".join(names)
        axis.axhline(budget, color=GREY, linestyle="--", lw=1.4)
        axis.annotate(
            f"budget of {who}: {budget:g}", (1.0, budget), (-4, 4), ha="right", **_AT_RIGHT
        )
    axis.set(title="Epsilon spent, as the ledgers stated it", xlabel="round")
    axis.set_ylim(0, max([1.0, *budgets.values(), *(p[1] for ps, _ in drawn for p in ps)]) * 1.15)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if drawn:
        figure.legend(loc="outside lower center", ncols=min(len(drawn), 3))
    ends = "; ".join(
        f"{', '.join(n)}: {epsilons.at_least(p[-1][1])} after round {p[-1][0]}" for p, n in drawn
    )
    return svg(figure, f"Epsilon by round and hospital. {ends}.")


@mpl.rc_context(STYLE)
def hospitals(outcome: Outcome, exact: Figures, baselines: Sequence[Baseline]) -> Plot:
    """For each hospital its declared patients, and the main metric there of each model."""
    data, names = outcome.plan.data, [h.name for h in outcome.plan.hospitals]
    series = {"Federated": per_hospital(exact, data)} if exact else {}
    series |= {baseline.name: baseline.per_hospital for baseline in baselines}
    panels = 2 if series else 1
    figure, axes = _figure(panels, width=4.6, height=1.2 + 0.62 * len(names))
    places = np.arange(len(names))
    axes[0].barh(places, [h.patients for h in outcome.plan.hospitals], color=SKY, height=0.6)
    for place, hospital in zip(places, outcome.plan.hospitals, strict=True):
        axes[0].annotate(f"{hospital.patients:,}", (hospital.patients, place), (4, 0), **_BESIDE)
    axes[0].margins(x=0.18)
    axes[0].set(title="Declared training patients")
    thick = 0.8 / max(len(series), 1)
    colours = (BLUE, *(colour for colour, _ in BASELINE_LOOKS))
    for i, (label, own) in enumerate(series.items()):
        values = [own.get(name, math.nan) for name in names]
        offset = (i - (len(series) - 1) / 2) * thick
        look: dict[str, Any] = {
            "color": colours[i % len(colours)],
            "hatch": ("", "///", "...", "xx")[i % 4],
        }
        axes[1].barh(places + offset, values, thick * 0.9, label=label, edgecolor="white", **look)
    for axis in axes:
        axis.set_yticks(places, names)
        axis.invert_yaxis()
        axis.grid(axis="y", visible=False)
    if series:
        axes[1].set(title=f"{words(main_name(data))}, exact (demo only)", xlim=(0, 1))
        figure.legend(loc="outside lower center", ncols=2)
    said = "; ".join(
        f"{h.name}: {h.patients} patients"
        + (f", {_said(series['Federated'], h.name)}" if exact else "")
        for h in outcome.plan.hospitals
    )
    return svg(figure, f"Hospitals: declared patients and {words(main_name(data))}. {said}.")


def _said(figures: Figures, name: str) -> str:
    return f"{figures[name]:.2f}" if name in figures else NOT_MEASURABLE


_AT_RIGHT: dict[str, Any] = {
    "xycoords": ("axes fraction", "data"),
    "textcoords": "offset points",
    "color": GREY,
}
_BESIDE: dict[str, Any] = {"textcoords": "offset points", "va": "center", "color": GREY}


def _figure(panels: int, *, width: float, height: float) -> tuple[Figure, list[Axes]]:
    """A row of panels, sizes in inches."""
    figure = Figure(figsize=(width * panels, height), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)
    return figure, list(axes[0])


def svg(figure: Figure, alt: str) -> Plot:
    """The finished figure as SVG, without the date, so that the same figure has the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return Plot(data=buffer.getvalue(), kind="image/svg+xml", alt=alt)
