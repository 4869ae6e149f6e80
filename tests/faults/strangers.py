"""Strangers: more half-open connections to a party than it may have files open."""

import contextlib
import resource
import socket
from collections.abc import Iterator, Sequence

STRANGERS = 400
FILES = 300
"""A process may have a thousand open on many machines, and a stranger has as many more."""
HTTP = (b"", b"GET / HTTP/1.1\r\n", b"POST /a HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n")
"""Nothing, half a head, and a head without its body."""
TLS = (b"", b"\x16\x03\x01\x02\x00\x01")
"""Nothing, and the beginning of a greeting."""


@contextlib.contextmanager
def strangers(address: str, pid: int, *, say: Sequence[bytes] = HTTP) -> Iterator[None]:
    """Hold the connections open until the block ends."""
    host, _, port = address.rpartition(":")
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (FILES, before[1]))
    try:
        with contextlib.ExitStack() as stack:
            for number in range(STRANGERS):
                one = stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
                with contextlib.suppress(ConnectionError):  # it had to give way already
                    one.send(say[number % len(say)])
            yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
