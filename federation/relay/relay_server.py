"""The relay: hospitals park connections here, and a researcher who comes is joined to one of them.

Guarantee: a hospital's place is taken by who holds the key of its certificate, and by nobody else. What
    passes is TLS between a researcher and the hospital's own certificate, which the researcher pins:
    neither can it be read here nor answered in the hospital's place. Memory is a few pieces a connection.
Does not protect: it learns which address talks with which hospital, when, and how many bytes; it may cut,
    delay or refuse. A flood of researchers fills the places of one hospital, not of the others.
"""

import asyncio
import logging
import socket
import ssl
from asyncio import StreamReader, StreamWriter
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from federation.relay.relay_file import RelayConfig, RelayedHospital
from syft_code.errors import Unavailable
from syft_code.evidence import tls_certificates
from syft_code.operation import joined_streams
from syft_code.operation.joined_streams import BEAT, BEAT_S, GO, Stream
from syft_code.runtime import durable_files, tls

KEY, CERTIFICATE = "tls.key", "tls.crt"
HANDSHAKE_S = 10.0
WAIT_S = 10.0
"""So long a researcher waits for a hospital that has no connection parked."""
MOST_PARKED, MOST_JOINED = 64, 256
"""Of one hospital."""
log = logging.getLogger("consilium.relay")


def make(config: RelayConfig) -> str:
    """Make the relay's key and certificate, unless they are there; returns the certificate (PEM)."""
    config.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key, certificate = config.folder / KEY, config.folder / CERTIFICATE
    if not key.exists():
        durable_files.write_durably(key, tls_certificates.new_key(), owned_as_folder=True)
    if not certificate.exists():
        made = tls_certificates.self_signed(
            key.read_bytes(), name=config.name, hosts=[config.name_of_host]
        )
        durable_files.write_durably(certificate, made, owned_as_folder=True)
    return certificate.read_text(encoding="ascii")


class RelayServer:
    """A relay whose certificates are read, but whose ports are not open yet.

    Raises:
        InvalidInput: if a hospital's certificate can't be read.
    """

    def __init__(self, config: RelayConfig) -> None:
        self._config = config
        self._context = tls.server_context(config.folder / CERTIFICATE, config.folder / KEY)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        self._places: dict[str, _Place] = {}
        for hospital in config.hospitals:
            shown = hospital.shown()
            self._places[tls_certificates.fingerprint(shown)] = _Place(hospital)
            self._context.load_verify_locations(cadata=shown)

    async def serve(self, ready: Callable[[], None]) -> None:
        """Carry until cancelled; `ready` is called once all ports are open.

        Raises:
            Unavailable: if one of them is in use.
        """
        servers: list[asyncio.Server] = []
        door = {"ssl": self._context, "ssl_handshake_timeout": HANDSHAKE_S}
        try:
            servers.append(await self._listen(self._config.port, self._hospital_came, **door))
            for place in self._places.values():
                servers.append(await self._listen(place.hospital.port, place.join))
            ready()
            await asyncio.Event().wait()
        finally:
            for server in servers:
                server.close()

    async def _hospital_came(self, reader: StreamReader, writer: StreamWriter) -> None:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        place = self._places.get(tls_certificates.fingerprint(ssl.DER_cert_to_PEM_cert(shown)))
        if place is None:  # an authority's, which vouches for more than one
            await joined_streams.close(writer)
            return
        await place.park((reader, writer))

    async def _listen(
        self, port: int, came: Callable[..., object], **options: Any
    ) -> asyncio.Server:
        config = self._config
        try:
            return await asyncio.start_server(came, config.host, port, **options)  # type: ignore[arg-type]
        except OSError as problem:
            raise Unavailable(
                f"{config.name} needs port {port} at {config.host}, and can't have it ({problem.strerror}): stop "
                "what listens there, or give another port in its file."
            ) from None


class _Place:
    """One hospital's connections."""

    def __init__(self, hospital: RelayedHospital) -> None:
        self.hospital = hospital
        self._parked: deque[_Parked] = deque()
        self._came = asyncio.Condition()
        self._joined = 0

    async def park(self, stream: Stream) -> None:
        """Keep a connection of the hospital until it is taken, or closes."""
        if len(self._parked) >= MOST_PARKED:
            await joined_streams.close(stream[1])
            return
        parked = _Parked(stream)
        async with self._came:
            self._parked.append(parked)
            self._came.notify()
        log.debug("%s has %d connections parked", self.hospital.name, len(self._parked))
        await parked.wait()
        if not parked.is_taken:
            with suppress(ValueError):
                self._parked.remove(parked)
            await joined_streams.close(stream[1])

    async def join(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Join a researcher to a parked connection; without one they are hung up on."""
        if self._joined >= MOST_JOINED:
            await joined_streams.close(writer)
            return
        self._joined += 1
        try:
            _keep_alive(writer)
            stream = await self._take()
            if stream is None:
                await joined_streams.close(writer)
                return
            await joined_streams.join((reader, writer), stream)
        finally:
            self._joined -= 1

    async def _take(self) -> Stream | None:
        deadline = asyncio.get_running_loop().time() + WAIT_S
        while True:
            while self._parked:
                found = self._parked.popleft()
                if await found.take():
                    return found.stream
            left = deadline - asyncio.get_running_loop().time()
            try:
                async with self._came:
                    await asyncio.wait_for(self._came.wait(), max(left, 0.0))
            except TimeoutError:
                return None


class _Parked:
    """One connection of a hospital that waits."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.is_taken = False
        self._waiting: asyncio.Task[None] = asyncio.create_task(self._beat())
        _keep_alive(stream[1])

    async def wait(self) -> None:
        """Wait until it is taken, or has closed."""
        await asyncio.wait([self._waiting])

    async def take(self) -> bool:
        """Have it for a researcher; whether its other end is still there."""
        if self._waiting.done():
            return False
        self.is_taken = True
        self._waiting.cancel()
        await asyncio.wait([self._waiting])
        try:
            self.stream[1].write(GO)
            await self.stream[1].drain()
        except OSError:
            await joined_streams.close(self.stream[1])
            return False
        return True

    async def _beat(self) -> None:
        """Say now and then that this end is there, until the hospital says anything or closes: it may not."""
        reader, writer = self.stream
        while True:
            try:
                await asyncio.wait_for(reader.read(1), BEAT_S)
                return
            except TimeoutError:
                with suppress(OSError):
                    writer.write(BEAT)
                    await writer.drain()
            except OSError:
                return


def _keep_alive(writer: StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
