"""The researcher's side of what travels beside PySyft: blobs, tickets, notes, the policy.

Every request is signed with the key of the PySyft account. Uploads and downloads go on
where they stopped when a connection is lost, for as long as they get further or the patience lasts.
"""

import re
import ssl
from collections.abc import Callable
from typing import Any

import httpx
from nacl.signing import SigningKey

from federation.transport.growing_file import GrowingFile
from federation.transport.retry import PATIENCE_S, retry_while_progressing
from syft_code import canonical, errors
from syft_code.errors import ConsiliumError, InvalidMessage, Unavailable, require
from syft_code.evidence import http_signatures
from syft_code.plans.messages import Signed, Ticket
from syft_code.plans.notes import Note, NoteList, NoteReply

CHUNK_BYTES = 4 * 2**20
SILENCE_S = 60.0
"""So long a front desk may say nothing at all, while it is asked or answers."""


class BlobClient:
    """What one hospital's front desk takes and gives beside PySyft."""

    def __init__(
        self,
        url: str,
        account_key: SigningKey,
        *,
        tls: ssl.SSLContext | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._url = url
        self._key = account_key
        self._patience_s = patience_s
        self._http = httpx.Client(
            base_url=url, timeout=SILENCE_S, trust_env=False, verify=tls or True
        )

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def upload(self, data: bytes) -> str:
        """Store bytes at the hospital under their SHA-256, and return it."""
        name = canonical.sha256(data)
        there = [0]
        if len(data) <= CHUNK_BYTES and self._put_whole(name, data):
            return name

        def attempt() -> None:
            whole, offset = self._received(name)
            if not whole and offset >= len(data):  # stopped just before it got its name
                self.delete(name)
                offset = 0
            while not whole and offset < len(data):
                there.append(offset)
                offset += self._put(name, data, offset)

        self._repeat(attempt, reached=lambda: max(there))
        return name

    def download(self, name: str, target: GrowingFile, *, limit_bytes: int) -> None:
        """Fetch the blob of this SHA-256 into a file; it goes on where the file ends.

        Raises:
            InvalidMessage: if it is something else, or longer than it may be.
        """

        def attempt() -> None:
            self._get(name, target, limit_bytes=limit_bytes)

        self._repeat(attempt, reached=lambda: target.size_bytes)
        require(
            target.sha256 == name,
            "A blob must have the hash that names it, this one has not.",
            error=InvalidMessage,
        )

    def delete(self, name: str) -> None:
        """Let the hospital forget a blob."""
        self._send("DELETE", f"/blobs/{name}")

    def call_round(self, call: Signed) -> Ticket:
        """Call a round of a plan whose approved code has run; its weights are there already.

        Raises:
            NotApproved: if the code has not run, or the round may not.
        """
        content = canonical.encode(call)
        return _ticket(self._send("POST", "/rounds", content=content))

    def ticket(self, ticket: str) -> Ticket:
        """How far a round is, at its end or when the front desk has waited long enough for it."""
        return _ticket(self._send("GET", f"/tickets/{ticket}"))

    def forget(self, ticket: str) -> None:
        """Let the front desk forget a round's weights and sealed shares."""
        self._send("DELETE", f"/tickets/{ticket}")

    def notes(self, plan_hash: str) -> tuple[Note, ...]:
        """What was written on one's own code request for a plan, the oldest first.

        Raises:
            Refused: if this account has no code request for the plan.
        """
        content = self._send("GET", f"/requests/{plan_hash}/notes").content
        found: NoteList = canonical.parse(NoteList, content, what="list of notes")
        return found.notes

    def answer(self, plan_hash: str, text: str) -> None:
        """Write a note on one's own code request."""
        body = canonical.encode(NoteReply(text=text))
        self._send("POST", f"/requests/{plan_hash}/notes", content=body)

    def policy(self) -> bytes:
        """What the hospital asks of a plan: canonical JSON, as its owner published it."""
        return self._send("GET", "/policy").content

    # One attempt each

    def _received(self, name: str) -> tuple[bool, int]:
        """Whether a blob is whole, and how many bytes of it are there, as a front desk says."""
        headers = self._send("HEAD", f"/blobs/{name}").headers
        offset = headers.get("upload-offset", "")
        require(
            re.fullmatch("[0-9]{1,15}", offset) is not None,
            "A front desk must say how much of a blob it has, and this one does not.",
            error=InvalidMessage,
        )
        return headers.get("upload-complete") == "1", int(offset)

    def _put_whole(self, name: str, data: bytes) -> bool:
        """Send a small blob without asking first how much of it is there; whether that went well."""
        try:
            self._put(name, data, 0)
        except (InvalidMessage, Unavailable):
            return False
        return True

    def _put(self, name: str, data: bytes, offset: int) -> int:
        chunk = data[offset : offset + CHUNK_BYTES]
        span = f"bytes {offset}-{offset + len(chunk) - 1}/{len(data)}"
        try:
            self._send("PUT", f"/blobs/{name}", {"content-range": span}, chunk)
        except InvalidMessage as problem:
            if self._received(name) == (False, offset):
                raise
            # A request that was given up arrived after all, so that the offset was wrong
            raise Unavailable(str(problem)) from None
        return len(chunk)

    def _get(self, name: str, target: GrowingFile, *, limit_bytes: int) -> None:
        """What a file misses of a blob; bytes that came before a connection was lost stay."""
        path, offset = f"/blobs/{name}", target.size_bytes
        wanted = {"range": f"bytes={offset}-", "accept-encoding": "identity"}
        signed = http_signatures.headers(self._key, "GET", path) | wanted
        try:
            with self._http.stream("GET", path, headers=signed) as response:
                if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                    return  # the file ends where the blob does
                if response.is_error:
                    response.read()
                    raise _as_error(response)
                require(
                    offset == 0 or response.status_code == httpx.codes.PARTIAL_CONTENT,
                    "A front desk must give the part of a blob that is asked for; this one does not.",
                    error=InvalidMessage,
                )
                for chunk in response.iter_raw():
                    _require_room(target.size_bytes + len(chunk) <= limit_bytes)
                    target.write(chunk)
        except httpx.TransportError as problem:
            raise self._away(problem) from None

    def _send(
        self, method: str, path: str, headers: dict[str, str] | None = None, content: bytes = b""
    ) -> httpx.Response:
        signed = http_signatures.headers(self._key, method, path, content) | (headers or {})
        try:
            response = self._http.request(method, path, headers=signed, content=content)
        except httpx.TransportError as problem:
            raise self._away(problem) from None
        if response.is_error:
            raise _as_error(response)
        return response

    def _away(self, problem: Exception) -> Unavailable:
        return Unavailable(
            f"The front desk at {self._url} does not answer ({type(problem).__name__}): "
            "try again, or ask the hospital."
        )

    def _repeat(self, attempt: Callable[[], None], *, reached: Callable[[], int]) -> None:
        retry_while_progressing(
            attempt,
            is_lost=lambda problem: isinstance(problem, Unavailable),
            patience_s=self._patience_s,
            reached=reached,
        )


def _ticket(response: httpx.Response) -> Ticket:
    found: Ticket = canonical.parse(Ticket, response.content, what="ticket")
    return found


def _as_error(response: httpx.Response) -> ConsiliumError:
    """The error that the front desk named, in its words."""
    try:
        told: dict[str, Any] = response.json()
        name, sentence = told["error"], str(told["sentence"])
    except (ValueError, KeyError, TypeError):
        return Unavailable(f"The front desk answered with HTTP status {response.status_code}.")
    return (errors.named(name) or ConsiliumError)(sentence)


def _require_room(holds: bool) -> None:
    require(
        holds, "A blob must have the length that is due; this one is longer.", error=InvalidMessage
    )
