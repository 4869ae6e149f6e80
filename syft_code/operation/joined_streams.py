"""Two connections made one, and what a relay and a hospital behind it say before.

hospital ── TLS, outward ──▶ relay    parked: the relay sends HEARTBEAT now and then
                                      a researcher comes: CONNECTED, and from here on their bytes, as they are
"""

import asyncio
from asyncio import StreamReader, StreamWriter
from contextlib import suppress

Stream = tuple[StreamReader, StreamWriter]
HEARTBEAT, CONNECTED = b"\x00", b"\x01"
HEARTBEAT_S = 20.0
SILENT_S = 3 * HEARTBEAT_S
"""A parked connection that hears nothing for so long has lost its other end."""
PIECE_BYTES = 2**16


async def join(one: Stream, other: Stream) -> None:
    """Carry bytes both ways until either end closes, then close both; at most a few pieces are in memory."""
    ways = [
        asyncio.create_task(_carry(one[0], other[1])),
        asyncio.create_task(_carry(other[0], one[1])),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for _, writer in (one, other):
            await close(writer)


async def close(writer: StreamWriter) -> None:
    """Close a connection, whatever its other end does."""
    writer.close()
    with suppress(OSError, TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), 5.0)


async def _carry(reader: StreamReader, writer: StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
