"""`owner`: the owner's pages in a browser of this machine, until Ctrl-C."""

import socket
from typing import Annotated

import typer
import uvicorn

from datasites.cli import options
from datasites.cli.options import STATE, Keys, Name, State
from datasites.owner_pages import pages
from datasites.owner_pages.page_access import PageAccess
from syft_code.errors import Unavailable
from syft_code.runtime import cli_output

HOST = "127.0.0.1"


def owner(
    state: State = STATE,
    name: Name = "",
    keys: Keys = None,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Where it listens; else any free port.")
    ] = 0,
) -> None:
    """The pages of a hospital's owner in a browser: look, and decide.

    Listens on this machine alone. Prints a link that lets one browser in, once; Ctrl-C ends it.
    """
    decider = options.owner(state, name, keys=keys, desk=True)
    with _listening(port) as listener:
        access = PageAccess(port=listener.getsockname()[1])
        cli_output.sentence(
            f"The pages of {decider.name} are open until Ctrl-C. This link works once; open it in a "
            f"browser on this machine, and give it to nobody:\n{access.link}"
        )
        app = pages.build(decider, access)
        uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none")).run(sockets=[listener])


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as problem:
        raise Unavailable(
            f"The pages can't listen on port {port} of this machine ({problem.strerror}): name "
            "another with --port, or leave it out."
        ) from None
