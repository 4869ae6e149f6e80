"""A network line that a test can cut: TCP on the loopback address, from a port of its own.

    whoever connects ── up ──▶ Line ── up ──▶ target
                     ◀─ down ──      ◀─ down ──

What is to happen is told beforehand, to the byte: after so many bytes in one direction the line
breaks (with RST or with FIN), holds still, or changes a bit. It counts what crosses it.
"""

import asyncio
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal

from tests.waiting import PATIENCE_S, until

Direction = Literal["up", "down"]
How = Literal["reset", "end", "hold", "flip"]
READ_BYTES = 256 * 1024
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(kw_only=True)
class Event:
    """What happens to the line after so many more bytes in one direction."""

    how: How
    left_bytes: int


class Line:
    """A line to `target` (host:port), which may listen or not, and may change."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.bytes_per_s = 0.0  # 0: as fast as it goes
        self.crossed: dict[Direction, int] = {"up": 0, "down": 0}
        self.happened: list[How] = []
        self._events: dict[Direction, deque[Event]] = {"up": deque(), "down": deque()}
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        start = asyncio.start_server(self._connected, sock=self._socket, limit=READ_BYTES)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result()

    @property
    def address(self) -> str:
        """Where to connect."""
        return f"127.0.0.1:{self.port}"

    def after(self, size_bytes: int, direction: Direction, how: How) -> None:
        """Plan an event, so many bytes after now or after the one before in that direction."""
        self._events[direction].append(Event(how=how, left_bytes=size_bytes))

    def forget(self) -> None:
        """Start anew: nothing is planned, nothing has crossed."""
        for direction in self.crossed:
            self._events[direction].clear()
            self.crossed[direction] = 0
        self.happened.clear()

    def hold(self) -> None:
        """Let nothing through from now on; nobody is told."""
        self._call(self._flowing.clear)

    def go_on(self) -> None:
        """Let everything through again."""
        self._call(self._flowing.set)

    def cut(self) -> None:
        """Break every connection now, with RST."""
        self._call(lambda: [self._break(writer, "reset") for writer in list(self._writers)])

    def wait_until(self, how: How, *, times: int = 1) -> None:
        """Wait until an event of this kind has happened so often."""
        until(lambda: self.happened.count(how) >= times)

    def close(self) -> None:
        """The line is no more."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(PATIENCE_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_S)
        self._loop.close()

    # In the line's own thread

    def _call(self, action: Callable[[], object]) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (action(), done.set()))
        assert done.wait(PATIENCE_S)

    async def _close(self) -> None:
        self._server.close()
        for writer in list(self._writers):
            self._break(writer, "reset")
        self._flowing.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._writers.add(writer)
        host, _, port = self.target.rpartition(":")
        try:
            far_reader, far_writer = await asyncio.open_connection(
                host, int(port), limit=READ_BYTES
            )
        except OSError:
            self._break(writer, "reset")
            self._tasks.discard(task)
            return
        self._writers.add(far_writer)
        await asyncio.gather(
            self._pump("up", reader, far_writer, writer),
            self._pump("down", far_reader, writer, far_writer),
        )
        self._tasks.discard(task)

    async def _pump(
        self,
        direction: Direction,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
    ) -> None:
        """Carry bytes one way until either end, or the plan, breaks the connection."""
        how: How | None = None
        with suppress(OSError):
            while how is None and (data := await source.read(READ_BYTES)):
                while data and how is None:
                    await self._flowing.wait()
                    if self.bytes_per_s:
                        await asyncio.sleep(len(data) / self.bytes_per_s)
                    data, how = self._carry(direction, data, sink)
                    await sink.drain()
        for writer in (sink, back):
            self._break(writer, how or "end")

    def _carry(
        self, direction: Direction, data: bytes, sink: asyncio.StreamWriter
    ) -> tuple[bytes, How | None]:
        """Send as much as may cross before the next event; what is left, and how it ended."""
        events = self._events[direction]
        event = events[0] if events else None
        if event is None or event.left_bytes > len(data):
            self._send(direction, data, sink)
            if event:
                event.left_bytes -= len(data)
            return b"", None
        events.popleft()
        self._send(direction, data[: event.left_bytes], sink)
        self.happened.append(event.how)
        rest = data[event.left_bytes :]
        if event.how == "hold":
            self._flowing.clear()
            return rest, None
        if event.how == "flip":
            return bytes([rest[0] ^ 1]) + rest[1:] if rest else rest, None
        return b"", event.how

    def _send(self, direction: Direction, data: bytes, sink: asyncio.StreamWriter) -> None:
        self.crossed[direction] += len(data)
        sink.write(data)

    def _break(self, writer: asyncio.StreamWriter, how: How) -> None:
        self._writers.discard(writer)
        if how == "reset":
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE
                )
            writer.transport.abort()
        else:
            writer.close()


@contextmanager
def line(target: str) -> Iterator[Line]:
    """A line for the length of a block."""
    made = Line(target)
    try:
        yield made
    finally:
        made.close()
