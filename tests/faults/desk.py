"""Hospitals' front desks and vaults in one process, so that they can be killed and started again.

    python -m tests.faults.desk FOLDER

Blobs, calls and tickets go by the routes that every front desk has, and the vault answers over the
wire that every vault speaks. Two things stand in for the real ones: the first round call, too, comes
beside PySyft, and training is a draw from the weights. A round is trained once, and what was sealed
then is given again, after a crash too.
"""

import functools
import os
import socket
import socketserver
import sys
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from fastapi import FastAPI
from nacl.signing import SigningKey
from numpy.typing import NDArray

from datasites.desk.storage.security_log import SecurityLog
from datasites.desk.storage.ticket_owners import TicketOwners
from datasites.desk.web import blob_routes, connections, middleware
from datasites.desk.web.blob_routes import Members
from datasites.protocol import framing, vault_api
from datasites.protocol.code_request import CodeRequests
from datasites.site import Site
from syft_code import canonical
from syft_code.errors import ConsiliumError, Refused, require
from syft_code.operation.parent_exit import end_with_parent
from syft_code.plans import messages
from syft_code.plans.messages import RoundCall, RoundStatement, Signed, Ticket
from syft_code.plans.plan import Plan
from syft_code.runtime.durable_files import write_durably
from syft_code.secret_sharing import envelope
from syft_code.secret_sharing.vector_layout import VectorLayout

CHARGED = "charged"


def trained(plan: Plan, call: RoundCall, weights: bytes) -> NDArray[np.float32]:
    """What training comes to at a hospital: a draw from the weights that it began with."""
    seed = zlib.crc32(weights + f"{call.hospital}/{call.purpose}".encode())
    length = VectorLayout.of(plan).values_length(call.purpose)
    return np.random.default_rng(seed).random(length, np.float32) - np.float32(0.5)


class StandInVault:
    """Seals one hospital's shares, once for each round."""

    def __init__(self, site: Site, plan: Plan, key: SigningKey) -> None:
        self._site = site
        self._plan = plan
        self._key = key
        self._training = threading.Lock()

    def answer(self, request: object, body: bytes) -> tuple[object, bytes]:
        """What a vault says to a front desk."""
        if isinstance(request, vault_api.StartRound):
            with self._training:
                return self._start(request.call, body), b""
        if isinstance(request, vault_api.GetTicket):
            return self._ticket(request.ticket), b""
        if isinstance(request, vault_api.GetShare):
            folder = self._site.vault / request.ticket
            return vault_api.Share(), (folder / f"share-{request.party}").read_bytes()
        return vault_api.Failure(error="Refused", sentence="There is no such question."), b""

    def _start(self, signed: Signed, weights: bytes) -> Ticket:
        call = messages.verify(RoundCall, signed, self._plan.researcher_key)
        about = (call.plan_hash, call.purpose, call.round)
        ticket = canonical.sha256(canonical.encode(about))
        folder = self._site.vault / ticket
        if not (folder / "ticket").exists():
            self._train(call, weights, ticket, folder)
        require(
            (folder / "weights").read_text() == call.weights_sha256,
            "A round can be repeated only with the same weights.",
            error=Refused,
        )
        return self._ticket(ticket)

    def _train(self, call: RoundCall, weights: bytes, ticket: str, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        with (self._site.vault / CHARGED).open("a") as file:
            file.write(f"{call.purpose} {call.round}\n")
        shares = envelope.seal(
            self._plan,
            hospital=call.hospital,
            purpose=call.purpose,
            round_number=call.round,
            values=trained(self._plan, call, weights),
            hospital_key=self._key,
            statement=RoundStatement(
                weights_sha256=call.weights_sha256,
                epsilon=float(call.round),
                epsilon_alone=float(call.round),
                delta=1e-5,
                log_sha256=canonical.sha256(os.urandom(8)),
            ),
            seeds=[os.urandom(32) for _ in range(envelope.scheme(self._plan).pieces - 1)],
            content_keys=[os.urandom(32) for _ in self._plan.aggregators],
        )
        names = []
        for party, share in enumerate(shares, start=1):
            data = share.to_bytes()
            write_durably(folder / f"share-{party}", data)
            names.append(canonical.sha256(data))
        write_durably(folder / "weights", call.weights_sha256.encode())
        done = Ticket(
            ticket=ticket,
            purpose=call.purpose,
            round=call.round,
            state="done",
            step=1,
            steps=1,
            epsilon=float(call.round),
            epsilon_alone=float(call.round),
            delta=1e-5,
            shares=tuple(names),
        )
        write_durably(folder / "ticket", canonical.encode(done))

    def _ticket(self, ticket: str) -> Ticket:
        data = (self._site.vault / ticket / "ticket").read_bytes()
        found: Ticket = canonical.parse(Ticket, data, what="ticket")
        return found


class _Conversation(socketserver.StreamRequestHandler):
    """One request on a vault's socket."""

    server: "_VaultSocket"

    def handle(self) -> None:
        request, body = framing.receive(self.rfile, vault_api.Request)
        try:
            reply, data = self.server.vault.answer(request, body)
        except ConsiliumError as problem:
            reply, data = (
                vault_api.Failure(error=type(problem).__name__, sentence=str(problem)),
                b"",
            )
        framing.send(self.wfile, reply, data)


class _VaultSocket(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, path: Path, vault: StandInVault) -> None:
        self.vault = vault
        path.unlink(missing_ok=True)
        super().__init__(str(path), _Conversation)


class _NoPySyft(TicketOwners):
    """No approved code runs here, so every account may call rounds."""

    def check_plan(self, plan_hash: str, account: str) -> None:
        return


def front_desk(site: Site) -> FastAPI:
    """The routes beside PySyft."""
    app = FastAPI()
    tickets = _NoPySyft(site.desk / "tickets")
    everybody = Members(
        submitted=lambda key, plan_hash: True,
        requests=lambda key: CodeRequests(requests=()),
        require_owner=lambda key: None,
    )
    app.include_router(blob_routes.routes(site, everybody, tickets=tickets))
    checks = middleware.Checks(
        most_call_bytes=lambda account: 1, listing=lambda query: None, pack_no=str.encode
    )
    middleware.add_to(app, checks, log=SecurityLog(site.desk))
    return app


def serve(folder: Path, plan: Plan | None) -> None:
    """One hospital: its vault if there is a plan, and its front desk until the process ends.

    The front desk is at the same port again when it is started again.
    """
    site = Site(folder)
    for part in (site.home, site.desk, site.vault):
        part.mkdir(mode=0o700, exist_ok=True)
    if plan:
        key = SigningKey((folder / "key").read_bytes())
        vault = _VaultSocket(site.vault / vault_api.SOCKET_NAME, StandInVault(site, plan, key))
        threading.Thread(target=vault.serve_forever, daemon=True).start()
    port = folder / "port"
    listening = socket.create_server(("127.0.0.1", int(port.read_text()) if port.exists() else 0))
    port.write_text(str(listening.getsockname()[1]))
    server = connections.server(front_desk(site))
    threading.Thread(target=functools.partial(server.run, [listening]), daemon=True).start()


def main(arguments: Sequence[str]) -> None:
    """Serve one hospital for each folder with a key in it; says `ready` when all do."""
    end_with_parent()
    home = Path(arguments[0])
    plan_file = home / "plan.json"
    plan = Plan.decode(plan_file.read_bytes()) if plan_file.exists() else None
    for key in sorted(home.glob("*/key")):
        serve(key.parent, plan)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
