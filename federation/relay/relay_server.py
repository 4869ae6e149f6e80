"""The relay: hospitals park connections here, and a researcher who comes is joined to one of them.

Guarantee: a hospital's place is taken by who holds the key of its certificate, and by nobody else. What
    passes is TLS between a researcher and the hospital's own certificate, which the researcher pins:
    neither can it be read here nor answered in the hospital's place. Memory is a few pieces a connection, and
    strangers who come for one hospital take no other one's part of the files that may be open.
Does not protect: it learns which address talks with which hospital, when, and how many bytes; it may cut,
    delay or refuse. Strangers can fill one hospital's places, and hospitals' door with handshakes that do not
    end: each is cut off after `HANDSHAKE_S`.
"""

import asyncio
import logging
import resource
import socket
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from contextlib import suppress

from federation.relay.relay_file import RelayConfig, RelayedHospital
from syft_code.errors import InvalidInput, Unavailable, require
from syft_code.evidence import tls_certificates
from syft_code.operation import joined_streams
from syft_code.operation.joined_streams import CONNECTED, HEARTBEAT, HEARTBEAT_S, Stream
from syft_code.runtime import durable_files, tls

KEY, CERTIFICATE = "tls.key", "tls.crt"
HANDSHAKE_S = 10.0
WAIT_S = 10.0
"""So long a researcher waits for a hospital that has no connection parked."""
MOST_PARKED, MOST_JOINED = 64, 256
"""Of one hospital, as far as this process may have files open."""
LOST_MS = 30_000
"""A connection whose other end acknowledges nothing for so long is closed."""
BACKLOG = 128
RESERVE_FILES = 64
log = logging.getLogger("consilium.relay")


def make(config: RelayConfig) -> str:
    """Make the relay's key and certificate, unless they are there; returns the certificate (PEM)."""
    config.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    durable_files.remove_unfinished(config.folder)
    key, certificate = config.folder / KEY, config.folder / CERTIFICATE
    if not key.exists():
        durable_files.write_durably(key, tls_certificates.new_key(), owned_as_folder=True)
    if not certificate.exists():
        made = tls_certificates.self_signed(
            key.read_bytes(), name=config.name, hosts=[config.host_name]
        )
        durable_files.write_durably(certificate, made, owned_as_folder=True)
    return certificate.read_text(encoding="ascii")


class RelayServer:
    """A relay whose certificates are read and whose ports are open, but where nobody is let in yet.

    Raises:
        InvalidInput: if a hospital's certificate can't be read, or is another hospital's, too.
        Unavailable: if a port can't be had.
    """

    def __init__(self, config: RelayConfig) -> None:
        self._config = config
        self._context = tls.server_context(config.folder / CERTIFICATE, config.folder / KEY)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        self._places: dict[str, _Place] = {}
        most = _most_joined(len(config.hospitals))
        for hospital in config.hospitals:
            shown = hospital.shown()
            sha256 = tls_certificates.fingerprint(shown)
            require(
                sha256 not in self._places,
                f"Each hospital must have a certificate of its own, and {hospital.name}'s is another one's: ask the "
                "hospital for its tls.crt.",
                error=InvalidInput,
            )
            self._places[sha256] = _Place(hospital, most_joined=most)
            self._context.load_verify_locations(cadata=shown)
        self._door = self._listening(config.port)
        for place in self._places.values():
            place.listening = self._listening(place.hospital.port)

    def close(self) -> None:
        """Let the ports go."""
        for listening in (self._door, *(place.listening for place in self._places.values())):
            listening.close()

    async def serve(self, ready: Callable[[], None]) -> None:
        """Carry until cancelled; `ready` is called once everybody is let in."""
        servers = [
            await asyncio.start_server(
                self._hospital_came,
                sock=self._door,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_S,
            )
        ]
        try:
            for place in self._places.values():
                servers.append(await asyncio.start_server(place.join, sock=place.listening))
            ready()
            await asyncio.Event().wait()
        finally:
            for server in servers:
                server.close()

    @property
    def numbers(self) -> dict[str, int]:
        """For its operator: hospitals that are there, connections parked and joined, and joined since the start."""
        places = self._places.values()
        return {
            "hospitals": len(places),
            "hospitals_there": sum(place.parked > 0 for place in places),
            "parked": sum(place.parked for place in places),
            "joined": sum(place.joined for place in places),
            "joined_since_start": sum(place.ever_joined for place in places),
        }

    def _listening(self, port: int) -> socket.socket:
        config = self._config
        family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
        try:
            return socket.create_server((config.host, port), family=family, backlog=BACKLOG)
        except OSError as problem:
            raise Unavailable(
                f"{config.name} needs port {port} at {config.host}, and can't have it ({problem.strerror}): stop "
                "what listens there, or give another port in its file."
            ) from None

    async def _hospital_came(self, reader: StreamReader, writer: StreamWriter) -> None:
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        place = self._places.get(tls_certificates.fingerprint(ssl.DER_cert_to_PEM_cert(shown)))
        if place is None:  # an authority's, which vouches for more than one
            await joined_streams.close(writer)
            return
        await place.park((reader, writer))


def _most_joined(hospitals: int) -> int:
    """How many researchers' connections each hospital may have: none takes another's part of the open files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    each = (most - RESERVE_FILES) // max(hospitals, 1) - MOST_PARKED
    return max(min(MOST_JOINED, each // 2), 1)


class _Place:
    """One hospital's connections."""

    listening: socket.socket

    def __init__(self, hospital: RelayedHospital, *, most_joined: int) -> None:
        self.hospital = hospital
        self.joined = self.ever_joined = 0
        self._most_joined = most_joined
        self._parked: list[_Parked] = []
        self._came = asyncio.Event()

    @property
    def parked(self) -> int:
        """How many connections wait."""
        return len(self._parked)

    async def park(self, stream: Stream) -> None:
        """Keep a connection of the hospital until it is taken, or closes."""
        if len(self._parked) >= MOST_PARKED:
            await joined_streams.close(stream[1])
            return
        parked = _Parked(stream)
        if not self._parked:
            log.info("%s is there", self.hospital.name)
        self._parked.append(parked)
        self._came.set()
        await parked.wait()
        if not parked.is_taken:
            with suppress(ValueError):
                self._parked.remove(parked)
                if not self._parked:
                    log.info("%s has no connection here any more", self.hospital.name)
            await joined_streams.close(stream[1])

    async def join(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Join a researcher to a parked connection; without one they are hung up on."""
        if self.joined >= self._most_joined:
            await joined_streams.close(writer)
            return
        self.joined += 1
        try:
            _end_if_lost(writer)
            stream = await self._take()
            if stream is None:
                log.info("%s was not there for a researcher", self.hospital.name)
                await joined_streams.close(writer)
                return
            self.ever_joined += 1
            await joined_streams.join((reader, writer), stream)
        finally:
            self.joined -= 1

    async def _take(self) -> Stream | None:
        """The newest first: older ones may have lost their other end without a word."""
        deadline = asyncio.get_running_loop().time() + WAIT_S
        while True:
            while self._parked:
                found = self._parked.pop()
                if await found.take():
                    return found.stream
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return None
            self._came.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._came.wait(), left)


class _Parked:
    """One connection of a hospital that waits."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.is_taken = False
        self._waiting: asyncio.Task[None] = asyncio.create_task(self._heartbeat())
        _end_if_lost(stream[1])

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
            self.stream[1].write(CONNECTED)
            await self.stream[1].drain()
        except OSError:
            await joined_streams.close(self.stream[1])
            return False
        return True

    async def _heartbeat(self) -> None:
        """Say now and then that this end is there, until the hospital says anything or closes: it may not."""
        reader, writer = self.stream
        while True:
            try:
                await asyncio.wait_for(reader.read(1), HEARTBEAT_S)
                return
            except TimeoutError:
                with suppress(OSError):
                    writer.write(HEARTBEAT)
                    await writer.drain()
            except OSError:
                return


def _end_if_lost(writer: StreamWriter) -> None:
    """Have the kernel end a connection whose other end has gone without a word."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": LOST_MS,
    }  # fmt: skip
    for option, value in options.items():
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
