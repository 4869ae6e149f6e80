"""A front desk's connections: strangers who open many and say little take nobody's place."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HALF_OPEN = 128
"""So many connections may owe the rest of a request; fewer than a process may have files open."""


class BoundedProtocol(HttpToolsProtocol):
    """HTTP, where the half-open connection that was silent longest gives way if there are too many.

    A connection is half open until a whole request is there: from its first moment on, and again
    from the first byte of each later request. One that waits for its answer is not.

    Does not protect: against strangers who send a byte now and then, over more connections than a
    slow request survives. Let only members reach the port.
    """

    heard_at: float | None = None
    """When the last byte of a request came that is not whole yet."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Another one is there."""
        super().connection_made(transport)
        self.heard_at = self.loop.time()
        half_open = [
            one
            for one in self.connections
            if isinstance(one, BoundedProtocol) and one.heard_at is not None
        ]
        if len(half_open) > MOST_HALF_OPEN:
            longest_silent = min(half_open, key=lambda one: one.heard_at or 0.0)
            longest_silent.heard_at = None
            longest_silent.transport.abort()

    def data_received(self, data: bytes) -> None:
        """More of a request, or the first of it."""
        self.heard_at = self.loop.time()
        super().data_received(data)

    def on_message_complete(self) -> None:
        """A whole request is there."""
        self.heard_at = None
        super().on_message_complete()
