"""What the front desk's HTTP side refuses before anything reads a request, and how it says no.

Every no is a JSON sentence and a line in the log of refusals. An error that nobody foresaw
stands in the owner's log and leaves as one fixed sentence.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from datasites.desk.storage.blobs import MAX_BLOB_BYTES
from datasites.desk.storage.security_log import SecurityLog
from syft_code.errors import ConsiliumError, InvalidMessage, Refused, Unavailable, require
from syft_code.evidence import http_signatures
from syft_code.runtime import trace

FAILED = "The front desk failed to answer; the data owner's log says why."
"""What leaves of an error that nobody foresaw."""
PREFIX = "/api/v2"
MAX_CALL_BYTES = 8 * 2**20
MAX_LOGIN_BYTES = 2**12
MAX_NOTE_BYTES = 2**14

LOG = logging.getLogger("consilium.desk")
Check = Callable[[Mapping[str, str]], None]
"""Raises a `ConsiliumError` unless a query for an API listing is in order."""


def add_to(app: FastAPI, *, check_listing: Check, log: SecurityLog) -> None:
    """Put the limits before an application and the sentences behind it."""

    async def limit(request: Request, call_next: Callable[..., Awaitable[Response]]) -> Response:
        path = request.scope["path"]  # `request.url` would believe the Host header
        try:
            _check_size(request, most=_most_bytes(path))
            if path == f"{PREFIX}/api":
                check_listing(request.query_params)
        except ConsiliumError as problem:
            return _refuse(request, problem, log)
        with trace.span("desk: an HTTP request"):
            return await call_next(request)

    async def explain(request: Request, problem: Exception) -> Response:
        if isinstance(problem, RequestValidationError):
            problem = InvalidMessage("A request must have the fields that PySyft's client sends.")
        if isinstance(problem, ConsiliumError):
            return _refuse(request, problem, log)
        return JSONResponse({"error": "ConsiliumError", "sentence": FAILED}, status_code=500)

    for kind in (ConsiliumError, RequestValidationError, Exception):
        app.add_exception_handler(kind, explain)
    app.middleware("http")(limit)


def _refuse(request: Request, problem: ConsiliumError, log: SecurityLog) -> JSONResponse:
    """An error as HTTP: its class and its sentence, nothing else."""
    status = (
        503 if isinstance(problem, Unavailable) else 403 if isinstance(problem, Refused) else 400
    )
    who = request.headers.get(http_signatures.KEY_HEADER, "")
    path = f"{request.method} {request.scope['path']}"
    log.write("request", who=who, path=path, sentence=str(problem))
    content = {"error": type(problem).__name__, "sentence": str(problem)}
    return JSONResponse(content, status_code=status)


def _most_bytes(path: str) -> int:
    if path == f"{PREFIX}/login":
        return MAX_LOGIN_BYTES
    if path.startswith(PREFIX):
        return MAX_CALL_BYTES
    return MAX_BLOB_BYTES if path.startswith("/blobs/") else MAX_NOTE_BYTES


def _check_size(request: Request, most: int) -> None:
    without_body = request.method in ("GET", "HEAD", "DELETE")
    size = request.headers.get("content-length", "0" if without_body else "")
    require(
        "transfer-encoding" not in request.headers
        and re.fullmatch("[0-9]{1,15}", size) is not None
        and int(size) <= most,
        f"A request must announce its size (Content-Length), here at most {most} bytes.",
        error=InvalidMessage,
    )
