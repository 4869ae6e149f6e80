"""What travels beside PySyft over HTTP: blobs, rounds, notes, the site's policy.

    HEAD   /blobs/SHA256             how many bytes are here
    PUT    /blobs/SHA256             Content-Range: bytes FIRST-LAST/TOTAL
    GET    /blobs/SHA256             Range is honoured
    DELETE /blobs/SHA256
           /rounds, /tickets         see `round_routes`
    GET    /requests/PLAN/notes      notes on one's own code request, for a plan's hash
    POST   /requests/PLAN/notes     {"text": ...}, canonical JSON
    GET    /owner/requests           every code request with its notes
    POST   /owner/requests/PLAN/notes   the owner's own note, as above
    GET    /owner/plans/SHA256       the bytes of a plan that somebody uploaded
    GET    /policy                   what the hospital asks of a plan: the terms that are in force

Every request is a member's (`middleware` sees to it), who gets only what is the member's own; what is
below /owner is for the owner's account alone.
An upload's Content-Length is that of its range. An error is a JSON sentence.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse

from datasites.desk.storage.blobs import AccountBlobs, BlobStore
from datasites.desk.storage.notes import Notes
from datasites.desk.storage.ticket_owners import TicketOwners
from datasites.desk.web import round_routes
from datasites.desk.web.middleware import sender
from datasites.protocol import vault_api
from datasites.protocol.code_request import CodeRequests
from datasites.site import Site
from syft_code import canonical
from syft_code.errors import InvalidMessage, Refused, require
from syft_code.evidence import http_signatures
from syft_code.plans.notes import NoteList, NoteReply

_CONTENT_RANGE = re.compile("bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})")
_RANGE = re.compile("bytes=[0-9]{1,15}-([0-9]{1,15})?")
_JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """What PySyft knows of an account key (hex)."""

    submitted: Callable[[str, str], bool]
    """Whether it has submitted a code request for a plan's hash."""
    requests: Callable[[str], CodeRequests]
    """Every code request, if it is the owner's; else raises `Refused`."""
    require_owner: Callable[[str], None]
    """Raises `Refused` unless it is the owner's."""


def routes(site: Site, members: Members, *, tickets: TicketOwners) -> APIRouter:
    """The routes beside PySyft of one hospital."""
    router, blobs = APIRouter(), BlobStore(site.desk / "blobs")
    _add_blobs(router, lambda request: blobs.room(sender(request)))
    round_routes.add(router, site, blobs, tickets)
    notes = Notes(site.desk / "notes")
    _add_notes(router, notes, members)
    _add_owners(router, blobs, notes, members)

    @router.get("/policy")
    def policy() -> Response:
        return Response(_policy(site), media_type=_JSON)

    return router


def _add_blobs(router: APIRouter, room: Callable[[Request], AccountBlobs]) -> None:
    @router.head("/blobs/{name}")
    def size(name: str, request: Request) -> Response:
        mine = room(request)
        whole = mine.size(name) is not None
        headers = {"upload-offset": str(mine.received(name)), "upload-complete": str(int(whole))}
        return Response(headers=headers)

    @router.put("/blobs/{name}")
    async def upload(name: str, request: Request) -> Response:
        mine = room(request)
        first, total = _content_range(request.headers)
        async for chunk in request.stream():
            first = await run_in_threadpool(mine.append, name, chunk, offset=first)
        await run_in_threadpool(mine.finish, name, size_bytes=total)
        return JSONResponse({"received": first})

    @router.get("/blobs/{name}")
    def download(name: str, request: Request) -> Response:
        mine = room(request)
        require(
            _RANGE.fullmatch(request.headers.get("range", "bytes=0-")) is not None,
            "A download may ask for one Range: bytes=FIRST- or bytes=FIRST-LAST.",
            error=InvalidMessage,
        )
        return FileResponse(mine.path(name), media_type="application/octet-stream")

    @router.delete("/blobs/{name}")
    def delete(name: str, request: Request) -> Response:
        room(request).delete(name)
        return JSONResponse({"deleted": name})


def _add_notes(router: APIRouter, notes: Notes, members: Members) -> None:
    def check(request: Request, plan_hash: str) -> None:
        require(
            members.submitted(sender(request), plan_hash),
            "This account has no code request for this plan here: submit the plan first.",
            error=Refused,
        )

    @router.get("/requests/{plan_hash}/notes")
    def read(plan_hash: str, request: Request) -> Response:
        check(request, plan_hash)
        found = NoteList(notes=notes.read(plan_hash))
        return Response(canonical.encode(found), media_type=_JSON)

    @router.post("/requests/{plan_hash}/notes")
    async def add(plan_hash: str, request: Request) -> Response:
        await run_in_threadpool(check, request, plan_hash)
        answer: NoteReply = canonical.parse(NoteReply, await request.body(), what="note")
        await run_in_threadpool(_add_once, notes, plan_hash, answer.text)
        return JSONResponse({"written": plan_hash})


def _add_owners(router: APIRouter, blobs: BlobStore, notes: Notes, members: Members) -> None:
    @router.get("/owner/requests")
    def requests(request: Request) -> Response:
        found = members.requests(sender(request)).requests
        noted = tuple(replace(one, notes=notes.read(one.subject)) for one in found)
        return Response(canonical.encode(CodeRequests(requests=noted)), media_type=_JSON)

    @router.post("/owner/requests/{subject}/notes")
    async def add(subject: str, request: Request) -> Response:
        await run_in_threadpool(members.require_owner, sender(request))
        said: NoteReply = canonical.parse(NoteReply, await request.body(), what="note")
        await run_in_threadpool(notes.add, subject, author="owner", text=said.text)
        return JSONResponse({"written": subject})

    @router.get("/owner/plans/{plan_hash}")
    def plan(plan_hash: str, request: Request) -> Response:
        members.require_owner(sender(request))
        return Response(blobs.plan(plan_hash), media_type="application/octet-stream")


def _add_once(notes: Notes, plan_hash: str, text: str) -> None:
    """Write a researcher's note, unless it is the same request again.

    A signature is good for a minute, so a request can come twice.
    """
    since = time.time() - 2 * http_signatures.MAX_AGE_S
    for note in notes.read(plan_hash):
        if note.author == "researcher" and note.text == text and note.at_unix_s > since:
            return
    notes.add(plan_hash, author="researcher", text=text)


def _policy(site: Site) -> bytes:
    reply, _ = vault_api.ask(site.vault, vault_api.GetTerms())
    if not isinstance(reply, vault_api.TermsInForce) or reply.terms is None:
        raise Refused("This hospital has not published its policy: ask its data owner.")
    return canonical.encode(reply.terms)


def _content_range(headers: Mapping[str, str]) -> tuple[int, int]:
    """First byte and total of an upload whose range is in order and has the body's length."""
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    first, last, total = (int(part) for part in found.groups()) if found else (0, -1, -1)
    require(
        first <= last < total and int(headers["content-length"]) == last - first + 1,
        "An upload must say Content-Range: bytes FIRST-LAST/TOTAL, and have just these bytes.",
        error=InvalidMessage,
    )
    return first, total
