"""The vault as a process: `python -m datasites.vault.vault_process --home HOME`.

Listens on the Unix socket in the vault's folder, one thread a connection, one request a
connection. An error that was raised on purpose goes back as its sentence; any other goes
to the owner's log, and only the fact goes back.
"""

import contextlib
import logging
import os
import signal
import socketserver
import stat
import sys
import threading
from pathlib import Path
from typing import Annotated, cast

import typer

from datasites.protocol import framing, vault_api
from datasites.sandbox import offers
from datasites.site import Site
from datasites.vault.vault import Vault
from syft_code.errors import ConsiliumError, Refused
from syft_code.operation import json_logs
from syft_code.operation.parent_exit import end_with_parent

LOG = logging.getLogger("consilium.vault")
LOG_FILE = "vault.log"


class _Connection(socketserver.StreamRequestHandler):
    """One request and its answer; `wfile` is unbuffered, so `makefile` is used instead."""

    wbufsize = -1
    timeout = 60.0

    def handle(self) -> None:
        """Answer one request, or say why not; a client that hangs up or stays silent gets nothing."""
        with contextlib.suppress(TimeoutError, ConnectionError):
            self._answer()

    def _answer(self) -> None:
        server = cast("_Server", self.server)
        body: bytes = b""
        reply: object
        try:
            request, sent = framing.receive(
                self.rfile,
                vault_api.Request,
                max_header_bytes=vault_api.MAX_REQUEST_BYTES,
                max_body_bytes=server.max_body_bytes,
            )
            reply, body = server.vault.answer(request, sent)
        except (EOFError, TimeoutError, ConnectionError):
            return
        except ConsiliumError as problem:
            LOG.info("refused: %s", problem)
            reply = vault_api.Failure(error=type(problem).__name__, sentence=str(problem))
        except Exception:
            LOG.exception("a request failed")
            sentence = "The vault failed to answer; the data owner's log says why."
            reply = vault_api.Failure(error=Refused.__name__, sentence=sentence)
        framing.send(self.wfile, reply, body)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, folder: Path, vault: Vault) -> None:
        self.vault = vault
        os.chdir(folder)  # a socket's path is limited to 107 bytes; its folder's is not
        Path(vault_api.SOCKET_NAME).unlink(missing_ok=True)
        super().__init__(vault_api.SOCKET_NAME, _Connection)
        _admit(folder)

    def max_body_bytes(self, request: object) -> int:
        """A plan's broadcast for a round, a cohort for a publication, both after a signature; else nothing."""
        match request:
            case vault_api.StartRound():
                return self.vault.broadcast_bytes(request.call)
            case vault_api.OwnerActionRequest(name="PublishAsset"):
                self.vault.check_action(request)
                return framing.MAX_BODY_BYTES
            case _:
                return 0


def _admit(folder: Path) -> None:
    """Let the folder's group knock if it may pass through the folder, else this user alone."""
    found, path = folder.stat(), Path(vault_api.SOCKET_NAME)
    shared = bool(found.st_mode & stat.S_IXGRP)
    if shared:
        os.chown(path, -1, found.st_gid)
    path.chmod(0o660 if shared else 0o600)


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)


@app.command()
def main(
    home: Annotated[Path, typer.Option(help="The hospital's folder.")],
    end_with_starter: Annotated[bool, typer.Option(help="End when the starter ends.")] = False,
) -> None:
    """Run one hospital's vault until SIGTERM."""
    if end_with_starter:
        end_with_parent()
    os.umask(0o077)
    home = home.resolve()
    try:
        offers.mechanism()  # who can't contain a training does not start
        vault = Vault(Site(home))
    except ConsiliumError as problem:
        sys.exit(str(problem))
    json_logs.start(home / "vault" / LOG_FILE)
    LOG.info("trainings compute on %s: %s", vault.device.device, vault.device.reason)
    server = _Server(home / "vault", vault)
    signal.signal(
        signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown, daemon=True).start()
    )
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server.serve_forever(poll_interval=0.1)
    vault.close()


if __name__ == "__main__":
    app()
