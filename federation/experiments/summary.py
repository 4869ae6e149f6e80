"""What an experiment came to, in words and numbers: means and deviations over the seeds."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from federation.experiments.results_table import Record

EXACT = (
    "**Exact figures of the data as it is, which no epsilon protects: of real data they are for its "
    "owner alone, unless the data are public.**"
)
STAND_IN = "**Stand-in data: drawn, no patient, no medical meaning.**"
SHOWN = ("auc", "balanced_accuracy", "dice_whole", "dice_core", "dice_enhancing", "mean_dice")
SHOWN_TOO = ("hd95",)
ROWS = (
    ("pooled", "pooled"),
    ("best single site", "best single site"),
    ("local only", "local only, mean of sites"),
    ("worst site, pooled", "pooled, worst site"),
    ("worst group, pooled", "pooled, worst group"),
    ("gap, pooled", "pooled, gap between groups"),
    ("federated", "federated"),
    ("worst site, federated", "federated, worst site"),
    ("worst group, federated", "federated, worst group"),
    ("gap, federated", "federated, gap between groups"),
)
"""Scopes in the order of the table, and what it calls them."""

Key = tuple[str, ...]


def last_round(rows: Iterable[Record]) -> list[Record]:
    """The figures at the end of training."""
    return [row for row in rows if row["round"] == row["rounds"]]


def by_seed(rows: Sequence[Record], scope: str, metric: str) -> dict[int, float]:
    """One number for each seed: that of everybody's patients, the mean over sites for "local only"."""
    found: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        if row["scope"] == scope and row["metric"] == metric and _is_main(row):
            found[row["seed"]].append(row["value"])
    return {seed: float(np.mean(values)) for seed, values in sorted(found.items())}


def _is_main(row: Record) -> bool:
    return (
        row["scope"] == "local only"
        or row["scope"].startswith(("worst", "best", "gap"))
        or not row["site"]
    )


def metrics_shown(rows: Iterable[Record]) -> list[str]:
    """The figures that a report shows, of those that are there."""
    there = {row["metric"] for row in rows}
    return [name for name in SHOWN if name in there] + sorted(
        name for name in there if name.startswith(SHOWN_TOO)
    )


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over the seeds.

    >>> spread([0.8, 0.9]), spread([0.8]), spread([])
    ('0.850 ± 0.071', '0.800', '')
    """
    if not values:
        return ""
    mean = f"{np.mean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.3f}"


def markdown(
    name: str, rows: Sequence[Record], *, missing: int = 0, remarks: Sequence[str] = ()
) -> str:
    """The whole report: a table for each study, split and lever, and what is to be known of the data."""
    final = last_round(rows)
    lines = [f"# {name}", ""]
    if missing:
        lines += [f"{missing} cells are missing: the experiment has not ended.", ""]
    for study, split, lever in dict.fromkeys((r["study"], r["split"], r["lever"]) for r in final):
        these = [r for r in final if (r["study"], r["split"], r["lever"]) == (study, split, lever)]
        lines += [f"## {study}, by {split}, {lever}", ""]
        if any(row["stand_in"] for row in these):
            lines += [STAND_IN, ""]
        else:
            lines += [EXACT, ""]
        lines += [_size(these), "", *_table(these), "", *_lost(these)]
    if remarks:
        lines += ["## Remarks on the data", "", *(f"- {sentence}" for sentence in remarks), ""]
    return "\n".join(lines)


def _size(rows: Sequence[Record]) -> str:
    hospitals = sorted({row["hospitals"] for row in rows})
    seeds = sorted({row["seed"] for row in rows})
    count = " to ".join(str(n) for n in dict.fromkeys((hospitals[0], hospitals[-1])))
    return f"{count} hospitals, {len(seeds)} seeds; mean ± standard deviation over the seeds."


def _table(rows: Sequence[Record]) -> list[str]:
    shown = metrics_shown(rows)
    head = ["epsilon", "", *(name.replace("_", " ") for name in shown), "MB up"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for epsilon in dict.fromkeys(row["epsilon"] for row in rows):
        here = [row for row in rows if row["epsilon"] == epsilon]
        for scope, label in ROWS:
            for algorithm in dict.fromkeys(r["algorithm"] for r in here if r["scope"] == scope):
                own = [r for r in here if r["scope"] == scope and r["algorithm"] == algorithm]
                lines.append(_line(epsilon, label, algorithm, own, shown))
    return lines


def _lost(rows: Sequence[Record]) -> list[str]:
    """Which rows are of models that not everybody could contribute to, and so say little."""
    lost: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    for row in rows:
        if row["lost"]:
            lost[row["algorithm"], row["epsilon"]][row["cell"]] = row["lost"]
    return [
        f"**{algorithm} at epsilon {epsilon} lost {sum(cells.values())} contributions** in "
        f"{len(cells)} cells: weights that ran away, or an update past the sharing bound. Such a round "
        "went on without them or, with too few left, left the model as it was, where a real study "
        "would have stopped.\n"
        for (algorithm, epsilon), cells in lost.items()
    ]


def _line(
    epsilon: str, label: str, algorithm: str, rows: Sequence[Record], shown: Sequence[str]
) -> str:
    named = f"{algorithm}, {label}" if "federated" in label else label
    cells = [spread(list(by_seed(rows, rows[0]["scope"], metric).values())) for metric in shown]
    up = rows[0]["bytes_up"] / 1e6
    return f"| {epsilon} | {named} | {' | '.join(cells)} | {f'{up:.2f}' if up else ''} |"
