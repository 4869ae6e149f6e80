"""The front desk as a process: `python -m datasites.desk.desk_process --home HOME`."""

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from datasites.desk.syft_server import build
from datasites.desk.web import connections
from datasites.site import Site
from syft_code.errors import ConsiliumError
from syft_code.runtime.parent_exit import end_with_parent

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    home: Annotated[Path, typer.Option(help="The hospital's folder.")],
    end_with_starter: Annotated[bool, typer.Option(help="End when the starter ends.")] = False,
) -> None:
    """Run one hospital's front desk until SIGTERM."""
    if end_with_starter:
        end_with_parent()
    os.umask(0o077)
    site = Site(home.resolve())
    try:
        settings = site.settings()
        application = build(site)
    except ConsiliumError as problem:
        sys.exit(str(problem))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connections.server(application, port=settings.port).run()


if __name__ == "__main__":
    app()
