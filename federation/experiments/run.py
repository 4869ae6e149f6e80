"""A whole experiment: its cells, wherever they run, then its table and its figures."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from federation.experiments import executors, results_table, run_cell, summary, summary_plots
from federation.experiments.cell import Cell, cells
from federation.experiments.results_table import Record
from federation.experiments.run_cell import Load
from federation.experiments.spec import Experiment
from syft_code.runtime.durable_files import write_durably


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """Where the cells run. `cluster` is a Ray cluster's address, "local", or "" for processes."""

    workers: int = 2
    cluster: str = ""


def run(
    experiment: Experiment, load: Load, folder: Path, how: How, *, console: Console
) -> list[Record]:
    """Run every cell that has no file yet, then write table, report and figures.

    It can be stopped at any time, and goes on where it stood when it is called again.
    """
    every = cells(experiment)
    folder.mkdir(parents=True, exist_ok=True)
    missing = [cell for cell in every if not run_cell.path(cell, folder).exists()]
    done = len(every) - len(missing)
    console.print(f"Cells of the grid: {len(every)}, of them done before: {done}.")
    if missing:
        _run(missing, load, folder, how, console=console)
    return write(experiment, folder)


def write(experiment: Experiment, folder: Path) -> list[Record]:
    """Table, report and figures of what is finished, for this user alone to read."""
    every = cells(experiment)
    rows = results_table.write(every, folder)
    left = sum(not run_cell.path(cell, folder).exists() for cell in every)
    text = summary.markdown(
        experiment.name, rows, missing=left, remarks=results_table.remarks(every, folder)
    )
    write_durably(folder / "report.md", text.encode("utf-8"))
    summary_plots.write(rows, results_table.times(every, folder), folder)
    return rows


def _run(missing: Sequence[Cell], load: Load, folder: Path, how: How, *, console: Console) -> None:
    if how.cluster:
        steps = executors.by_ray(missing, load, folder, address=how.cluster)
    else:
        steps = executors.by_processes(missing, load, folder, workers=how.workers)
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    began = time.monotonic()
    with bars, contextlib.closing(steps):
        task = bars.add_task("cells", total=len(missing), note="")
        for done in steps:
            if done is None:
                bars.update(task, note=run_cell.underway(folder))
                continue
            bars.advance(task)
            console.print(
                f"[dim]{time.monotonic() - began:6.0f} s[/]  {done.key}",
                highlight=False,
                soft_wrap=True,
            )
