"""The researcher's side of what travels beside PySyft: blobs, tickets, notes, the policy.

Every request is signed with the key of the PySyft account. Uploads and downloads go on
where they stopped when a connection is lost.
"""

import re
from collections.abc import Mapping
from typing import Any

import httpx
from nacl.signing import SigningKey

from syft_code import accounts, canonical, errors
from syft_code.errors import ConsiliumError, InvalidMessage, Unavailable, require
from syft_code.messages import Ticket
from syft_code.notes import Answer, Note, NoteList

CHUNK_BYTES = 4 * 2**20
ATTEMPTS = 5


class Bulk:
    """What one hospital's front desk takes and gives beside PySyft."""

    def __init__(self, url: str, account_key: SigningKey) -> None:
        self._url = url
        self._key = account_key
        self._http = httpx.Client(base_url=url, timeout=60.0, trust_env=False)

    def close(self) -> None:
        """Let the connections go."""
        self._http.close()

    def upload(self, data: bytes) -> str:
        """Store bytes at the hospital under their SHA-256, and return it."""
        name = canonical.sha256(data)
        path = f"/blobs/{name}"
        for attempt in range(ATTEMPTS):
            whole, offset = _received(self._send("HEAD", path).headers)
            if whole:
                return name
            try:
                self._upload_from(path, data, offset)
            except Unavailable:
                if attempt == ATTEMPTS - 1:
                    raise
        return name

    def download(self, name: str) -> bytes:
        """Fetch the blob of this SHA-256; raise `InvalidMessage` if it is something else."""
        data = bytearray()
        path = f"/blobs/{name}"
        for attempt in range(ATTEMPTS):
            try:
                data += self._send("GET", path, {"range": f"bytes={len(data)}-"}).content
                break
            except Unavailable:
                if attempt == ATTEMPTS - 1:
                    raise
        if canonical.sha256(bytes(data)) != name:
            raise InvalidMessage("A blob must have the hash that names it, this one has not.")
        return bytes(data)

    def delete(self, name: str) -> None:
        """Let the hospital forget a blob."""
        self._send("DELETE", f"/blobs/{name}")

    def ticket(self, ticket: str) -> Ticket:
        """How far a round is."""
        content = self._send("GET", f"/tickets/{ticket}").content
        found: Ticket = canonical.parse(Ticket, content, what="ticket")
        return found

    def notes(self, plan_hash: str) -> tuple[Note, ...]:
        """What was written on one's own code request for a plan, the oldest first.

        Raises:
            Refused: if this account has no code request for the plan.
        """
        content = self._send("GET", f"/requests/{plan_hash}/notes").content
        found: NoteList = canonical.parse(NoteList, content, what="list of notes")
        return found.notes

    def answer(self, plan_hash: str, text: str) -> None:
        """Write a note on one's own code request; its hash is part of what is signed."""
        body = canonical.encode(Answer(text=text))
        path = f"/requests/{plan_hash}/notes/{canonical.sha256(body)}"
        self._send("POST", path, content=body)

    def policy(self) -> bytes:
        """What the hospital asks of a plan: canonical JSON, as its owner published it."""
        return self._send("GET", "/policy").content

    def _upload_from(self, path: str, data: bytes, offset: int) -> None:
        while offset < len(data):
            chunk = data[offset : offset + CHUNK_BYTES]
            span = f"bytes {offset}-{offset + len(chunk) - 1}/{len(data)}"
            self._send("PUT", path, {"content-range": span}, chunk)
            offset += len(chunk)

    def _send(
        self, method: str, path: str, headers: dict[str, str] | None = None, content: bytes = b""
    ) -> httpx.Response:
        signed = accounts.headers(self._key, method, path) | (headers or {})
        try:
            response = self._http.request(method, path, headers=signed, content=content)
        except httpx.TransportError as problem:
            raise Unavailable(
                f"The front desk at {self._url} does not answer ({type(problem).__name__}): "
                "try again, or ask the hospital."
            ) from None
        if response.is_error:
            raise _as_error(response)
        return response


def _as_error(response: httpx.Response) -> ConsiliumError:
    """The error that the front desk named, in its words."""
    try:
        told: dict[str, Any] = response.json()
        name, sentence = told["error"], str(told["sentence"])
    except (ValueError, KeyError, TypeError):
        return Unavailable(f"The front desk answered with HTTP status {response.status_code}.")
    return (errors.named(name) or ConsiliumError)(sentence)


def _received(headers: Mapping[str, str]) -> tuple[bool, int]:
    """Whether a blob is whole, and how many bytes of it are there, as a front desk says."""
    offset = headers.get("upload-offset", "")
    require(
        re.fullmatch("[0-9]{1,15}", offset) is not None,
        "A front desk must say how much of a blob it has, and this one does not.",
        error=InvalidMessage,
    )
    return headers.get("upload-complete") == "1", int(offset)
