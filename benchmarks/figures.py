"""One measured figure beside its goal, the physical limit and a peer; tables, JSON and a picture."""

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure as Picture
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What was measured; `goal` is the most that it may be, or with `least` the least.

    `limit` is what physics asks for in the same unit (bytes moved, hashed, encrypted), `peer` what
    another library takes, with its name; None if there is none.
    """

    benchmark: str
    what: str
    value: float
    unit: str
    goal: float | None = None
    least: bool = False
    limit: float | None = None
    peer: float | None = None
    peer_name: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is met, None if there is none."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.least else self.value <= self.goal


def machine() -> dict[str, object]:
    """Where and when it was measured."""
    return {
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        "at_unix_s": int(time.time()),
    }


def table(figures: Sequence[Figure]) -> Table:
    """One line for each figure."""
    shown = Table("benchmark", "what", "measured", "goal", "met", "limit", "peer")
    words = {True: "yes", False: "NO", None: ""}
    for one in figures:
        shown.add_row(
            one.benchmark,
            one.what,
            f"{one.value:.3g} {one.unit}",
            "" if one.goal is None else f"{'>=' if one.least else '<='} {one.goal:g}",
            words[one.met],
            "" if one.limit is None else f"{one.limit:.2g}",
            "" if one.peer is None else f"{one.peer:.3g} ({one.peer_name})",
        )
    return shown


def write(
    figures: Sequence[Figure], folder: Path, *, where: Mapping[str, object] | None = None
) -> None:
    """`figures.json`, and `figures.svg`: each figure over its goal; `where` is `machine()` before."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [asdict(one) | {"met": one.met} for one in figures]
    text = json.dumps({"machine": where or machine(), "figures": rows}, indent=2)
    (folder / "figures.json").write_text(f"{text}\n")
    wanted = [one for one in figures if one.goal]
    picture = Picture(figsize=(8, 0.4 * len(wanted) + 1.2), layout="constrained")
    axes = picture.subplots()
    over = [
        one.goal / one.value if one.least and one.goal else one.value / (one.goal or 1.0)
        for one in wanted
    ]
    names = [f"{one.benchmark}: {one.what}" for one in wanted]
    axes.barh(names, over, color=["#2a7" if one.met else "#c43" for one in wanted])
    axes.axvline(1.0, color="black", linewidth=1)
    axes.invert_yaxis()
    axes.set_xlabel("of the goal (left of the line: met)")
    picture.savefig(folder / "figures.svg")
