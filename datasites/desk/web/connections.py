"""The front desk's connections: how many there may be, and how long each may keep it waiting.

    opened ─▶ head, in `HEAD_S` ─▶ a member's signature? ─▶ body, as long as its length allows ─▶ answer
     a stranger's               from here on the member's, until its next request begins

Strangers have `MAX_STRANGERS` places, whatever their addresses: behind a proxy they share one. When
these are taken, a new connection takes that of the stranger who has kept the desk waiting longest.
A member's connections have places of their own.

Guarantee: a member whose request's head arrives within t seconds of the connection, or of its own
    first byte on one that was the member's, is heard while strangers open connections, and begin
    and end requests on them, fewer than `MAX_STRANGERS` / t times a second. A connection that says
    nothing, or says it too slowly, is closed; no request's head takes more than `MAX_HEAD_BYTES`.
Does not protect: against a flood that fills the line, or the kernel's queue of connections; nor, where the
    desk speaks TLS itself, against one of handshakes that do not end: each is cut off after `HEAD_S`, and
    before its end has no place that another could take. A proxy before the desk can bound them.
"""

import asyncio
import functools
import json
import socket
import ssl
from asyncio import TimerHandle, Transport
from collections.abc import MutableMapping
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from syft_code.errors import ConsiliumError, InvalidMessage, Refused, Unavailable, require

HEAD_S = 10.0
BODY_S = 20.0
SLOWEST_BYTES_PER_S = 50_000
MAX_HEAD_BYTES = 2**15
MAX_STRANGERS = 64
MAX_OF_MEMBER = 64
_EXTENSION, _CONNECTION = "consilium", "connection"
_LATE = (
    "A request must arrive in time, and this one did not: send it again, on a faster line or in "
    "smaller parts."
)
_LONG = f"A request's head may have at most {MAX_HEAD_BYTES} bytes: send fewer or shorter headers."


class Connection(HttpToolsProtocol):
    """One connection to the front desk, a stranger's until a head on it is signed by a member."""

    _account = ""
    _clock: TimerHandle | None = None
    _in_head = True
    _head_bytes = 0
    _waits_since_s = 0.0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Take a place, if need be that of the stranger who waits longest."""
        super().connection_made(transport)
        self._waits_since_s = self.loop.time()
        self._allow(HEAD_S)
        strangers = [one for one in self._others() if not one._account]
        if len(strangers) >= MAX_STRANGERS:
            idle = [one for one in strangers if one._is_idle]
            min(idle, key=lambda one: one._waits_since_s, default=self).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the place back."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what came; a head that does not end is cut off."""
        super().data_received(data)
        self._head_bytes = self._head_bytes + len(data) if self._in_head else 0
        if self._head_bytes > MAX_HEAD_BYTES:
            self._end(431, InvalidMessage(_LONG))

    def on_message_begin(self) -> None:
        """A head begins: whose it is will be seen."""
        super().on_message_begin()
        self._account, self._in_head, self._waits_since_s = "", True, self.loop.time()
        self._allow(HEAD_S)
        self.scope["extensions"] = {_EXTENSION: {_CONNECTION: self}}

    def on_headers_complete(self) -> None:
        """A head is here; a short body may follow."""
        super().on_headers_complete()
        self._in_head = False
        self._allow(BODY_S)

    def on_message_complete(self) -> None:
        """A request is here: now it is the desk that is waited for."""
        super().on_message_complete()
        self._stop_clock()

    def on_response_complete(self) -> None:
        """An answer has left: the other end is waited for again, and a body without end is not."""
        super().on_response_complete()
        self._waits_since_s = self.loop.time()
        if self._clock is not None and b"transfer-encoding" in dict(self.headers):
            self.transport.close()

    def belongs_to(self, account: str, *, size_bytes: int) -> None:
        """Count this connection as a member's, and give a body of this size its time.

        Raises:
            Refused: if the member has enough of them.
        """
        mine = [one for one in self._others() if one._account == account]
        require(
            len(mine) < MAX_OF_MEMBER,
            f"An account may have {MAX_OF_MEMBER} connections at a time: close one of them.",
            error=Refused,
        )
        self._account = account
        if self._clock is not None:
            self._allow(BODY_S + size_bytes / SLOWEST_BYTES_PER_S)

    @property
    def _is_idle(self) -> bool:
        """Whether its client is waited for, and not its answer."""
        return self._clock is not None or self.cycle is None or self.cycle.response_complete

    def _others(self) -> "list[Connection]":
        return [one for one in self.connections if isinstance(one, Connection) and one is not self]

    def _allow(self, time_s: float) -> None:
        self._stop_clock()
        self._clock = self.loop.call_later(time_s, self._end, 408, Unavailable(_LATE))

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
        self._clock = None

    def _end(self, status: int, problem: ConsiliumError) -> None:
        """End the connection, with a sentence unless an answer is on its way."""
        if self.cycle is None or not self.cycle.response_started:
            error = {"error": type(problem).__name__, "sentence": str(problem)}
            body = json.dumps(error).encode()
            head = f"HTTP/1.1 {status} \r\ncontent-type: application/json\r\nconnection: close\r\n"
            self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        self.transport.close()


def of_request(scope: MutableMapping[str, Any]) -> Connection:
    """The connection that a request came over."""
    connection: Connection = scope["extensions"][_EXTENSION][_CONNECTION]
    return connection


def server(
    app: Any, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> uvicorn.Server:
    """A server of the front desk's application: plain HTTP, or TLS if it is told what to show."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=Connection,
        ws="none",
        log_level="warning",
        log_config=None,  # where its lines go is the process's to say: a traceback may quote what was sent
        timeout_graceful_shutdown=3,
    )
    return uvicorn.Server(config) if tls is None else _TlsServer(config, tls)


class _TlsServer(uvicorn.Server):
    """A server behind TLS, whose handshake has as long as a head."""

    def __init__(self, config: uvicorn.Config, tls: ssl.SSLContext) -> None:
        super().__init__(config)
        self._tls = tls

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen as ever, with our own context in place of the one that uvicorn would make."""
        self.config.ssl = self._tls
        loop = asyncio.get_running_loop()
        plain = loop.create_server
        loop.create_server = functools.partial(  # type: ignore[method-assign]
            plain, ssl_handshake_timeout=HEAD_S
        )
        try:
            await super().startup(sockets)
        finally:
            loop.create_server = plain  # type: ignore[method-assign]
