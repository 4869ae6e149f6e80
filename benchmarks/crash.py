"""Kill a hospital's vault a thousand times, and see each time whether its folder keeps its word.

    python -m benchmarks.crash --kills 1000

What a kill is, at which moments it falls and what is looked at afterwards stands in
`tests.datasites.crashes` and `tests.datasites.promises`. A broken promise ends the run with
exit code 1, and leaves the folder as it was.
"""

import secrets
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from tests.datasites import crashes
from tests.datasites.crashes import Tally

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    kills: Annotated[int, typer.Option(min=1, help="How many.")] = 1000,
    seed: Annotated[int | None, typer.Option(help="The choices of an earlier run.")] = None,
    loops: Annotated[int, typer.Option(min=1, help="Hospitals side by side.")] = 2,
) -> None:
    """Kill, look, and print what was hit."""
    seed = secrets.randbelow(2**32) if seed is None else seed
    typer.echo(f"seed {seed}, {kills} kills, {loops} hospitals side by side")
    folder = Path(tempfile.mkdtemp(prefix="crash-"))
    tally = crashes.run(folder, kills=kills, seed=seed, loops=loops, told=_progress)
    typer.echo(crashes.in_words(tally))
    if tally.broken:
        typer.echo(f"The folders are kept: {folder}")
        raise typer.Exit(1)
    folder.rmdir()


def _progress(tally: Tally) -> None:
    typer.echo(f"{tally.kills:5d} kills, {tally.rounds} rounds, {tally.seconds:.0f} s", err=True)


if __name__ == "__main__":
    app()
