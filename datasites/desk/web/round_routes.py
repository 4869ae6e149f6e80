"""Rounds over HTTP, beside PySyft: called, waited for, and forgotten when their shares have left.

    POST   /rounds                   a signed round call; its weights are here as a blob
    GET    /tickets/TICKET           state, steps, epsilon; once done, the shares' hashes
    DELETE /tickets/TICKET           the round's weights and shares go from the front desk

The first round of a plan comes through PySyft, as a call of the approved code; whose code ran may
call the next ones here. The vault holds every call against its signatures, however it comes. A
call and a ticket are answered at the round's end, or after `WAIT_S` as far as the round is; who waits
`MOST_WAITS` times already is answered at once, and keeps nobody out.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from datasites.desk.storage.blobs import AccountBlobs, BlobStore
from datasites.desk.storage.ticket_owners import TicketOwners
from datasites.desk.web.middleware import sender
from datasites.protocol import vault_api
from datasites.site import Site
from syft_code import canonical
from syft_code.errors import Refused, require
from syft_code.plans import messages
from syft_code.plans.messages import RoundCall, Signed, Ticket
from syft_code.runtime import trace

WAIT_S = 1.0
MOST_WAITS = 4
_JSON = "application/json"


def add(router: APIRouter, site: Site, blobs: BlobStore, tickets: TicketOwners) -> None:
    """Add the routes of rounds."""
    waits = _Waits()

    @router.post("/rounds")
    async def call_round(request: Request) -> Response:
        key, body = sender(request), await request.body()
        found = await run_in_threadpool(_call, site, blobs.room(key), tickets, waits, key, body)
        return Response(canonical.encode(found), media_type=_JSON)

    @router.get("/tickets/{ticket}")
    def read(ticket: str, request: Request) -> Response:
        key = sender(request)
        tickets.check(ticket, key)
        with waits.of(key) as wait_s:
            asked = vault_api.GetTicket(ticket=ticket, wait_s=wait_s)
            found = _with_shares(site, vault_api.ask(site.vault, asked)[0], blobs.room(key))
        return Response(canonical.encode(found), media_type=_JSON)

    @router.delete("/tickets/{ticket}")
    def forget(ticket: str, request: Request) -> Response:
        key = sender(request)
        tickets.check(ticket, key)
        found, _ = vault_api.ask(site.vault, vault_api.GetTicket(ticket=ticket))
        for name in (tickets.weights_sha256(ticket, key), *found.shares):
            blobs.room(key).delete(name)
        return JSONResponse({"deleted": ticket})


class _Waits:
    """How many answers each account waits for."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._changing = threading.Lock()

    @contextmanager
    def of(self, account: str) -> Iterator[float]:
        """So many seconds one more answer may wait: none if the account waits for enough of them."""
        with self._changing:
            self._counts[account] += 1
            wait_s = WAIT_S if self._counts[account] <= MOST_WAITS else 0.0
        try:
            yield wait_s
        finally:
            with self._changing:
                self._counts[account] -= 1


def _call(
    site: Site,
    room: AccountBlobs,
    tickets: TicketOwners,
    waits: _Waits,
    account: str,
    body: bytes,
) -> Ticket:
    signed: Signed = canonical.parse(Signed, body, what="signed call")
    call = messages.claimed(RoundCall, signed)
    tickets.check_plan(call.plan_hash, account)
    with waits.of(account) as wait_s:
        require(
            wait_s > 0,
            f"An account may wait for {MOST_WAITS} answers at a time: wait for one of them.",
            error=Refused,
        )
        weights = room.path(call.weights_sha256).read_bytes()
        asked = vault_api.StartRound(call=signed, wait_s=wait_s)
        with trace.span("desk: call to the vault"):
            found, _ = vault_api.ask(site.vault, asked, weights)
    tickets.give(found.ticket, account, call)
    return _with_shares(site, found, room)


def _with_shares(site: Site, found: Ticket, room: AccountBlobs) -> Ticket:
    """A ticket, its sealed shares, if it is done, put into its owner's room."""
    for party, share in enumerate(found.shares, start=1):
        if room.size(share) is None:
            asked = vault_api.GetShare(ticket=found.ticket, party=party)
            with trace.span("desk: share from the vault"):
                room.put(share, vault_api.ask(site.vault, asked)[1])
    return found
