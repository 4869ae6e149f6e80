"""`python -m benchmarks all`: every goal of speed, in one table of what was measured here.

    python -m benchmarks all --out runs/benchmarks     # minutes; also figures.json and figures.svg
    python -m benchmarks round start                   # some of them
    python -m benchmarks all --tiny                    # that they run at all; the figures say nothing

The figures are the machine's: run it while nothing else runs, and give machine and load with them.
What each measures, and how, stands at the head of its file.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import dp_sgd, figures, reading_volumes, sandbox, secret_sharing, simulation, start
from benchmarks import round as rounds
from benchmarks.figures import Figure
from syft_code.errors import InvalidInput, require
from syft_code.runtime.cli_output import Command

BENCHMARKS: dict[str, Callable[..., Iterator[Figure]]] = {
    "round": rounds.figures,
    "start": start.figures,
    "engine": dp_sgd.figures,
    "sharing": secret_sharing.figures,
    "simulation": simulation.figures,
    "sandbox": sandbox.figures,
    "volumes": reading_volumes.figures,
}


def main(
    names: Annotated[list[str], typer.Argument(help=f"all, or of {', '.join(BENCHMARKS)}.")],
    tiny: Annotated[bool, typer.Option("--tiny", help="As little as shows that they run.")] = False,
    out: Annotated[Path | None, typer.Option(help="A folder for figures.json and .svg.")] = None,
) -> None:
    """Measure, print one table, write it down."""
    wanted = list(BENCHMARKS) if names == ["all"] else names
    unknown = sorted(set(wanted) - BENCHMARKS.keys())
    require(
        not unknown,
        f"A benchmark must be one of {', '.join(BENCHMARKS)}, or all; got {', '.join(unknown)}.",
        error=InvalidInput,
    )
    console = Console()
    where = figures.machine()
    console.print(where)
    found: list[Figure] = []
    for name in wanted:
        for one in BENCHMARKS[name](tiny=tiny):
            found.append(one)
            console.print(
                f"[dim]{name}: {one.what}: {one.value:.3g} {one.unit}[/]", highlight=False
            )
            if out:  # what there is, in case the rest is stopped
                figures.write(found, out, where=where)
    console.print(figures.table(found))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(cls=Command)(main)
    app()
