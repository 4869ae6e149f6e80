"""`experiment`: a grid of simulated studies, by one command.

    consilium experiment run FILE.toml --out FOLDER    run what is missing, then report
    consilium experiment list FILE.toml                the cells in a table; --changes: what each changes
    consilium experiment report FILE.toml --out FOLDER     table and figures of what is there

The data of experiments is public, or drawn: what is reported here is exact, and protects nobody.
"""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown

from federation.experiments import mlflow_log, run, spec
from federation.experiments.cell import cells
from federation.experiments.run import How
from federation.experiments.run_cell import Load
from federation.experiments.spec import epsilon_text
from syft_code.runtime import cli_output
from syft_code.runtime.cli_input import make_folder, require_folder
from syft_code.runtime.cli_output import Command

File = Annotated[Path, typer.Argument(help="The experiment's TOML file.")]
Out = Annotated[Path, typer.Option(help="Where cells, table and figures are kept.")]
HELP = "A grid of simulated studies, by one command. Its data are public, or drawn."
console = Console()


def app(load: Load) -> typer.Typer:
    """The commands, over the studies that a loader knows."""
    found = typer.Typer(no_args_is_help=True, help=HELP)

    @found.command("run", cls=Command)
    def run_all(
        file: File,
        out: Out,
        workers: Annotated[int, typer.Option(min=1, help="Processes, of one thread each.")] = (
            os.cpu_count() or 1
        ),
        cluster: Annotated[str, typer.Option(help="A Ray cluster's address, or local.")] = "",
        mlflow: Annotated[str, typer.Option(help="Log to this MLflow tracking URI, too.")] = "",
    ) -> None:
        """Run every cell that is not there yet; stop it as you like, and run it again."""
        experiment = spec.load(file)
        if mlflow:
            mlflow_log.require_installed()
        make_folder(out, "--out")
        how = How(workers=workers, cluster=cluster)
        rows = run.run(experiment, load, out, how, console=console)
        if mlflow:
            mlflow_log.log(experiment.name, cells(experiment), rows, uri=mlflow)
        _show(out)

    found.command("list", cls=Command)(list_cells)
    found.command("report", cls=Command)(report)
    return found


def list_cells(
    file: File,
    changes: Annotated[
        bool, typer.Option("--changes", help="Each cell's file and what it changes, as JSON lines.")
    ] = False,
) -> None:
    """Show what an experiment would run: its cells, by all but the seed."""
    found = cells(spec.load(file))
    if changes:
        for cell in found:
            words = {"cell": cell.key, "changes": json.loads(cell.changes)}
            console.print(json.dumps(words), highlight=False, soft_wrap=True, markup=False)
        return
    alike = Counter(
        (cell.study, cell.algorithm, epsilon_text(cell.epsilon), cell.split, cell.lever)
        for cell in found
    )
    head = ("Study", "Algorithm", "Epsilon", "Split", "Lever", "Seeds")
    cli_output.table(head, [(*labels, str(seeds)) for labels, seeds in alike.items()])
    cli_output.sentence(
        f"{len(found)} cells; --changes says what each changes of the suggested plan."
    )


def report(file: File, out: Out) -> None:
    """Write table, report and figures anew, of the cells that are finished."""
    experiment = spec.load(file)
    require_folder(out, "--out")
    run.write(experiment, out)
    _show(out)


def _show(out: Path) -> None:
    console.print(Markdown((out / "report.md").read_text(encoding="utf-8")))
    console.print(f"All of it: {out}", highlight=False)
