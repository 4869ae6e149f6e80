"""Strangers: more half-open connections to a party than it may have files open."""

import contextlib
import resource
import socket
from collections.abc import Iterator

STRANGERS = 400
FILES = 300
"""A process may have a thousand open on many machines, and a stranger has as many more."""
HALVES = (
    b"",
    b"GET / HTTP/1.1\r\n",
    b"POST /blobs HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n",
)
"""Nothing, half a head, and a head without its body."""


@contextlib.contextmanager
def strangers(address: str, pid: int) -> Iterator[None]:
    """Hold the connections open until the block ends."""
    host, _, port = address.rpartition(":")
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (FILES, before[1]))
    try:
        with contextlib.ExitStack() as stack:
            for number in range(STRANGERS):
                one = stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
                with contextlib.suppress(ConnectionError):  # it had to give way already
                    one.send(HALVES[number % len(HALVES)])
            yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
