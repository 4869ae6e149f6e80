"""A front desk that allows no inbound connection: it keeps some open to a relay, outward, for researchers.

    front desk ◀─ loopback ─ this ── TLS, the desk's own certificate ──▶ relay ◀── researchers

Guarantee: the relay is who holds the key of the certificate that the operator put there, and it hears the
    bytes of TLS between a researcher and this front desk, and nothing else.
Does not protect: it sees who connects, when, and how much passes; `federation.relay.relay_server`.
"""

import asyncio
import logging
import socket
import ssl
import threading

from datasites.site import LOOPBACK, Site
from syft_code.errors import Unavailable
from syft_code.operation import joined_streams
from syft_code.operation.joined_streams import CONNECTED, HEARTBEAT, SILENT_S, Stream
from syft_code.runtime import addresses, tls

SPARE = 8
"""Connections that wait for a researcher."""
MOST_JOINED = 128
CONNECT_S = 15.0
PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
BETWEEN_S = 0.02
MAX_HEAD_BYTES = 2**13
LOG = logging.getLogger("consilium.desk")


def start(site: Site) -> None:
    """Keep connections to a hospital's relay until this process ends; nothing if it has none.

    Raises:
        Unavailable: if the relay's or the own certificate can't be used.
    """
    settings = site.settings()
    if not settings.relay:
        return
    try:
        context = tls.pinned(site.relay_certificate.read_text(encoding="ascii"))
        context.load_cert_chain(site.certificate, site.tls_key)
    except (OSError, ValueError) as problem:
        raise Unavailable(
            f"A front desk behind a relay must have the relay's certificate {site.relay_certificate} and its own, "
            f"and can't use them ({problem}): put them there, and run `consilium hospital init`."
        ) from None
    client = RelayClient(settings.relay, context, port=settings.port, proxy=settings.relay_proxy)
    threading.Thread(
        target=lambda: asyncio.run(client.run()), name="relay client", daemon=True
    ).start()


class RelayClient:
    """Connections to a relay at host:port, perhaps by way of an HTTP proxy at another host:port."""

    def __init__(self, relay: str, context: ssl.SSLContext, *, port: int, proxy: str = "") -> None:
        self._relay, self._context = relay, context
        self._port, self._proxy = port, proxy
        self._joined: set[asyncio.Task[None]] = set()
        self._parked = 0
        self._is_there: bool | None = None

    async def run(self) -> None:
        """Keep connections open for ever; what can't be had is tried again, more and more seldom."""
        await asyncio.gather(*(self._keep_spare() for _ in range(SPARE)))

    async def _keep_spare(self) -> None:
        pause_s = PAUSE_S
        while True:
            try:
                stream = await self._wait_for_researcher()
            except Exception as problem:  # whatever it is, the relay is tried again
                if not self._parked and self._is_there is not False:
                    self._is_there = False
                    why = str(problem) or "it is silent"
                    LOG.warning("the relay %s can't be used: %s", self._relay, why)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                continue
            pause_s = PAUSE_S
            while len(self._joined) >= MOST_JOINED:
                await asyncio.wait(self._joined, return_when=asyncio.FIRST_COMPLETED)
            task = asyncio.create_task(self._join(stream))
            self._joined.add(task)
            task.add_done_callback(self._joined.discard)
            await asyncio.sleep(
                BETWEEN_S
            )  # a relay that says CONNECTED without end gets so many and no more

    async def _wait_for_researcher(self) -> Stream:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await self._connect()
        self._parked += 1
        try:
            while True:
                async with asyncio.timeout(SILENT_S):
                    said = await reader.readexactly(1)
                if self._is_there is not True:
                    self._is_there = True
                    LOG.info("the relay %s is there", self._relay)
                if said == CONNECTED:
                    return reader, writer
                if said != HEARTBEAT:
                    raise EOFError("it says what no relay says")
        except BaseException:
            writer.close()
            raise
        finally:
            self._parked -= 1

    async def _connect(self) -> Stream:
        if not self._proxy:
            return await asyncio.open_connection(*_place(self._relay), ssl=self._context)
        line = await self._through_proxy()
        host, _ = _place(self._relay)
        try:
            return await asyncio.open_connection(sock=line, ssl=self._context, server_hostname=host)
        except BaseException:
            line.close()
            raise

    async def _through_proxy(self) -> socket.socket:
        """A line to the relay by way of the proxy, of which nothing is read beyond its answer's head."""
        loop = asyncio.get_running_loop()
        host, port = _place(self._proxy)
        family, kind, number, _, place = (
            await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )[0]
        line = socket.socket(family, kind, number)
        line.setblocking(False)
        try:
            await loop.sock_connect(line, place)
            asked = f"CONNECT {self._relay} HTTP/1.1\r\nHost: {self._relay}\r\n\r\n"
            await loop.sock_sendall(line, asked.encode("ascii"))
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                piece = await loop.sock_recv(line, 1)
                head += piece
                if not piece or len(head) > MAX_HEAD_BYTES:
                    raise OSError(f"the proxy {self._proxy} does not answer as one")
            if head.split(b" ", 2)[1:2] != [b"200"]:
                raise OSError(f"the proxy {self._proxy} says {head[:60].decode('latin1')!r}")
        except BaseException:
            line.close()
            raise
        return line

    async def _join(self, stream: Stream) -> None:
        try:
            own = await asyncio.open_connection(LOOPBACK, self._port)
        except OSError:  # it starts, or stops
            await joined_streams.close(stream[1])
            return
        await joined_streams.join(stream, own)


def _place(address: str) -> tuple[str, int]:
    found = addresses.split(address)
    if found is None:
        raise OSError(f"{address!r} is no address")
    return found
