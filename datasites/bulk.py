"""What travels beside PySyft over HTTP: blobs and tickets.

    HEAD   /blobs/SHA256             how many bytes are here
    PUT    /blobs/SHA256             Content-Range: bytes FIRST-LAST/TOTAL
    GET    /blobs/SHA256             Range is honoured
    DELETE /blobs/SHA256
    GET    /tickets/TICKET           state, steps, epsilon; once done, the shares' hashes

Every request is signed by the key of a PySyft account of this hospital; a guest gets
nothing. An upload's Content-Length is that of its range. An error is a JSON sentence.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse

from datasites import wire
from datasites.blobs import Blobs
from syft_code import accounts, canonical
from syft_code.errors import ConsiliumError, InvalidMessage, Refused, Unavailable, require

_CONTENT_RANGE = re.compile("bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})")
_RANGE = re.compile("bytes=[0-9]{1,15}-([0-9]{1,15})?")

Members = Callable[[str], bool]
"""Whether an account key (hex) belongs to a member of this hospital's front desk."""


def error_response(problem: ConsiliumError) -> JSONResponse:
    """An error as HTTP: its class and its sentence, nothing else."""
    status = (
        503 if isinstance(problem, Unavailable) else 403 if isinstance(problem, Refused) else 400
    )
    content = {"error": type(problem).__name__, "sentence": str(problem)}
    return JSONResponse(content, status_code=status)


def routes(blobs: Blobs, vault: Path, members: Members) -> APIRouter:
    """The routes for blobs and tickets of one hospital."""
    router = APIRouter()

    def check(request: Request) -> None:
        path = request.scope["path"]  # `request.url` would believe the Host header
        account = accounts.account_of(request.headers, request.method, path)
        require(
            members(account),
            "Only accounts of this hospital may do this: ask its data owner to invite you.",
            error=Refused,
        )

    @router.head("/blobs/{name}")
    def size(name: str, request: Request) -> Response:
        check(request)
        whole = blobs.size(name) is not None
        headers = {"upload-offset": str(blobs.received(name)), "upload-complete": str(int(whole))}
        return Response(headers=headers)

    @router.put("/blobs/{name}")
    async def upload(name: str, request: Request) -> Response:
        check(request)
        first, total = _content_range(request.headers)
        async for chunk in request.stream():
            first = await run_in_threadpool(blobs.append, name, chunk, offset=first)
        await run_in_threadpool(blobs.finish, name, size_bytes=total)
        return JSONResponse({"received": first})

    @router.get("/blobs/{name}")
    def download(name: str, request: Request) -> Response:
        check(request)
        require(
            _RANGE.fullmatch(request.headers.get("range", "bytes=0-")) is not None,
            "A download may ask for one Range: bytes=FIRST- or bytes=FIRST-LAST.",
            error=InvalidMessage,
        )
        return FileResponse(blobs.path(name), media_type="application/octet-stream")

    @router.delete("/blobs/{name}")
    def delete(name: str, request: Request) -> Response:
        check(request)
        blobs.delete(name)
        return JSONResponse({"deleted": name})

    @router.get("/tickets/{ticket}")
    def ticket(ticket: str, request: Request) -> Response:
        check(request)
        found, _ = wire.ask(vault, wire.AskTicket(ticket=ticket))
        for party, share in enumerate(found.shares, start=1):
            if blobs.size(share) is None:
                _, sealed = wire.ask(vault, wire.FetchShare(ticket=ticket, party=party))
                blobs.put(share, sealed)
        return Response(canonical.encode(found), media_type="application/json")

    return router


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
