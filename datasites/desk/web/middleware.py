"""What the front desk's HTTP side refuses before anything reads a request, and how it says no.

But for a page, PySyft's public facts and a login, a request is a member's: its head is signed over
length and hash, and both are held against the sender's account before any of its body is read. PySyft's
own client signs no head: its calls may be short, and come from a stranger's place.

Every no is a JSON sentence (packed as PySyft's client shows it, for a call) and a line in the log
of refusals. An error that nobody foresaw stands in the owner's log and leaves as one fixed sentence.
"""

import hashlib
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from datasites.desk.storage.blobs import MAX_BLOB_BYTES
from datasites.desk.storage.security_log import SecurityLog
from datasites.desk.web import connections
from syft_code.errors import ConsiliumError, InvalidMessage, Refused, Unavailable, require
from syft_code.evidence import http_signatures
from syft_code.plans import invitations
from syft_code.runtime import trace

FAILED = "The front desk failed to answer; the data owner's log says why."
"""What leaves of an error that nobody foresaw."""
PREFIX = "/api/v2"
CALL, LOGIN, LISTING = f"{PREFIX}/api_call", f"{PREFIX}/login", f"{PREFIX}/api"
OPEN = {"/", PREFIX, f"{PREFIX}/", f"{PREFIX}/metadata", LISTING, LOGIN, invitations.PATH}
"""What is answered to whoever asks."""
MAX_LOGIN_BYTES = 2**12
MAX_NOTE_BYTES = 2**14
MAX_UNSIGNED_BYTES = 2**18
"""Of a call whose head nobody signed; strangers' places times this is what they can keep in memory."""
_SENDER = "consilium.sender"
_HSTS = (b"strict-transport-security", b"max-age=31536000")

LOG = logging.getLogger("consilium.desk")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """What the middleware asks PySyft's side for."""

    most_call_bytes: Callable[[str], int]
    """How large a call of an account key (hex) may be; 0 if it is nobody's here."""
    listing: Callable[[Mapping[str, str]], None]
    """Raises a `ConsiliumError` unless a query for an API listing is in order."""
    pack_no: Callable[[str], bytes]
    """Packs a sentence as the answer to a call."""


def add_to(app: FastAPI, checks: Checks, *, log: SecurityLog) -> None:
    """Put the limits before an application and the sentences behind it."""

    async def explain(request: Request, problem: Exception) -> Response:
        if isinstance(problem, RequestValidationError):
            problem = InvalidMessage("A request must have the fields that PySyft's client sends.")
        if isinstance(problem, ConsiliumError):
            return _refuse(request, problem, checks, log)
        return JSONResponse({"error": "ConsiliumError", "sentence": FAILED}, status_code=500)

    for kind in (ConsiliumError, RequestValidationError, ClientDisconnect, Exception):
        app.add_exception_handler(kind, explain)
    app.add_middleware(_Gate, checks=checks, log=log)


def sender(request: Request) -> str:
    """The account key (hex) of the member who signed a request."""
    account: str = request.scope[_SENDER]
    return account


def signer(request: Request) -> str | None:
    """The same of a call, whose head PySyft's own client does not sign."""
    return sender(request) if _SENDER in request.scope else None


class ResponseMiddleware:
    """What is done to each answer that leaves: its status is told, and over TLS it bars plain HTTP for a year."""

    def __init__(self, app: ASGIApp, *, on_answer: Callable[[int], None], speaks_tls: bool) -> None:
        self._app = app
        self._on_answer = on_answer
        self._headers = [_HSTS] if speaks_tls else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def leaving(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._on_answer(message["status"])
                message = {**message, "headers": [*message.get("headers", ()), *self._headers]}
            await send(message)

        await self._app(scope, receive, leaving)


class _Gate:
    """Lets a request in, or refuses it by its head alone."""

    def __init__(self, app: ASGIApp, *, checks: Checks, log: SecurityLog) -> None:
        self._app = app
        self._checks = checks
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        try:
            if scope["path"] in OPEN:  # `request.url` would believe the Host header
                _check_size(request, most=MAX_LOGIN_BYTES)
                if scope["path"] == LISTING:
                    await run_in_threadpool(self._checks.listing, request.query_params)
            elif scope["path"] == CALL and http_signatures.KEY_HEADER not in request.headers:
                _check_size(request, most=MAX_UNSIGNED_BYTES)
            else:
                await self._let_member_in(request)
                receive = _held_against(receive, request.headers[http_signatures.BODY_HEADER])
        except ConsiliumError as problem:
            await _refuse(request, problem, self._checks, self._log)(scope, receive, send)
            return
        with trace.span("desk: an HTTP request"):
            await self._app(scope, receive, send)

    async def _let_member_in(self, request: Request) -> None:
        path = request.scope["path"]
        account = http_signatures.account_of(request.headers, request.method, path)
        most_call_bytes = await run_in_threadpool(self._checks.most_call_bytes, account)
        require(
            most_call_bytes > 0,
            "Only accounts of this hospital may do this: ask its data owner to invite you.",
            error=Refused,
        )
        size_bytes = _check_size(request, most=_most_bytes(path, most_call_bytes))
        connections.of_request(request.scope).belongs_to(account, size_bytes=size_bytes)
        request.scope[_SENDER] = account


def _held_against(receive: Receive, sha256: str) -> Receive:
    """A body that ends in an error if it is not the one that was signed."""
    arrived = hashlib.sha256()

    async def receive_next() -> Message:
        message = await receive()
        if message["type"] == "http.request":
            arrived.update(message.get("body", b""))
            require(
                message.get("more_body", False) or arrived.hexdigest() == sha256,
                "A request's body must be the one that its head was signed for: send it again.",
                error=InvalidMessage,
            )
        return message

    return receive_next


def _refuse(
    request: Request, problem: ConsiliumError, checks: Checks, log: SecurityLog
) -> Response:
    """An error as HTTP: its class and its sentence, nothing else."""
    status = (
        503 if isinstance(problem, Unavailable) else 403 if isinstance(problem, Refused) else 400
    )
    who = request.headers.get(http_signatures.KEY_HEADER, "")
    path = f"{request.method} {request.scope['path']}"
    log.write("request", who=who, path=path, sentence=str(problem))
    if request.scope["path"] == CALL:  # PySyft's client reads nothing whose status is not 200
        return Response(checks.pack_no(str(problem)), media_type="application/octet-stream")
    content = {"error": type(problem).__name__, "sentence": str(problem)}
    return JSONResponse(content, status_code=status)


def _most_bytes(path: str, most_call_bytes: int) -> int:
    if path == CALL:
        return most_call_bytes
    return MAX_BLOB_BYTES if path.startswith("/blobs/") else MAX_NOTE_BYTES


def _check_size(request: Request, most: int) -> int:
    """How many bytes a request announces, if it may have so many."""
    without_body = request.method in ("GET", "HEAD", "DELETE")
    size = request.headers.get("content-length", "0" if without_body else "")
    require(
        "transfer-encoding" not in request.headers
        and re.fullmatch("[0-9]{1,15}", size) is not None
        and int(size) <= most,
        f"A request must announce its size (Content-Length), here at most {most} bytes.",
        error=InvalidMessage,
    )
    return int(size)
