"""A hospital that nobody can connect to, reached through a relay that reads nothing."""

import asyncio
import contextlib
import dataclasses
import hashlib
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from typer.testing import CliRunner

from datasites.desk.web import relay_client
from datasites.desk.web.relay_client import RelayClient
from federation.relay import commands, relay_file, relay_server
from federation.relay.relay_file import RelayConfig, RelayedHospital
from federation.relay.relay_metrics import RelayMetrics
from federation.relay.relay_server import RelayServer
from syft_code.errors import InvalidInput
from syft_code.operation import joined_streams
from syft_code.runtime import tls
from tests import tls_scan
from tests.conftest import free_ports
from tests.datasites.hospital.test_tls import Desk, Party, party
from tests.other_users import ROOT

pytestmark = pytest.mark.servers
BIG = bytes(range(256)) * 2**14
"""4 MiB."""


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def begin(self, work: Coroutine[Any, Any, object]) -> Callable[[], None]:
        """Start it; what is returned ends it, and waits until it has."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)

        def end() -> None:
            future.cancel()
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0.05), self._loop).result(5)

        return end


class Network:
    """A relay, and hospitals behind it whose desks listen on the loopback address."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.loop = Loop()
        self.desks: dict[str, httpx.URL] = {}
        self.parties = {name: party(folder, name) for name in ("north", "south")}
        port = free_ports(3)
        self.config = RelayConfig(
            name="relay",
            home=str(folder / "relay"),
            address=f"127.0.0.1:{port}",
            host="127.0.0.1",
            hospitals=tuple(
                RelayedHospital(name=name, certificate=str(shown.certificate), port=port + number)
                for number, (name, shown) in enumerate(self.parties.items(), 1)
            ),
        )
        self.certificate = relay_server.make(self.config)
        self._end: Callable[[], None] | None = None

    def switch_on(self) -> None:
        ready = threading.Event()
        self.relay = RelayServer(self.config)
        self._end = self.loop.begin(self.relay.serve(ready.set))
        assert ready.wait(10)

    def switch_off(self) -> None:
        if self._end is not None:
            self._end()
        self._end = None

    def port(self, name: str) -> int:
        return next(one.port for one in self.config.hospitals if one.name == name)

    def go_out(self, name: str, desk_port: int, *, proxy: str = "") -> Callable[[], None]:
        """Have a hospital's front desk hold connections to the relay."""
        shown = self.parties[name]
        context = tls.pinned(self.certificate)
        context.load_cert_chain(shown.certificate, shown.key)
        made = RelayClient(self.config.address, context, port=desk_port, proxy=proxy)
        return self.loop.begin(made.run())

    def client(self, name: str, *, trusts: str = "") -> httpx.Client:
        shown = self.parties[trusts or name]
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.port(name)}",
            verify=tls.pinned(shown.pem),
            trust_env=False,
            timeout=20,
        )


def desk_of(name: str, shown: Party) -> Desk:
    """A front desk's HTTP side: it says its name, and gives back the hash of what it was sent."""
    app = FastAPI()
    app.add_api_route("/name", lambda: {"name": name})
    app.add_api_route("/big", lambda: Response(BIG))

    async def digest(request: Request) -> dict[str, str]:
        return {"sha256": hashlib.sha256(await request.body()).hexdigest()}

    app.add_api_route("/digest", digest, methods=["POST"])
    return Desk(shown, app)


async def proxy(port: int, network: Network, heads: list[bytes], *, adds: bytes = b"") -> None:
    """An HTTP proxy at a port that leads to the relay, and adds something after its answer's head."""

    async def came(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        there = await asyncio.open_connection("127.0.0.1", network.config.port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n" + adds)
        await joined_streams.join((reader, writer), there)

    server = await asyncio.start_server(came, "127.0.0.1", port)
    await server.serve_forever()


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    found = Network(tmp_path_factory.mktemp("relay"))
    found.switch_on()
    desks = {name: desk_of(name, shown) for name, shown in found.parties.items()}
    ends = [found.go_out(name, desk.port) for name, desk in desks.items()]
    found.desk_ports = {name: desk.port for name, desk in desks.items()}  # type: ignore[attr-defined]
    yield found
    for end in ends:
        end()
    for desk in desks.values():
        desk.end()
    found.switch_off()


def test_a_researcher_reaches_each_hospital_through_the_relay(network: Network) -> None:
    for name in network.parties:
        with network.client(name) as client:
            assert client.get("/name").json() == {"name": name}
            assert client.get("/big").content == BIG
            digest = client.post("/digest", content=BIG).json()["sha256"]
            assert digest == hashlib.sha256(BIG).hexdigest()


def test_many_researchers_at_once_get_each_their_own_answer(network: Network) -> None:
    def ask(number: int) -> bool:
        name = ("north", "south")[number % 2]
        with network.client(name) as client:
            sent = str(number).encode() * 1000
            digest = client.post("/digest", content=sent).json()["sha256"]
            same: bool = digest == hashlib.sha256(sent).hexdigest()
            return same and client.get("/name").json() == {"name": name}

    with ThreadPoolExecutor(24) as pool:
        assert all(pool.map(ask, range(72)))


def test_the_relay_can_not_answer_in_a_hospitals_place(network: Network) -> None:
    """A relay that ends TLS itself, with its own certificate or another hospital's."""
    with (
        network.client("north", trusts="south") as client,
        pytest.raises(httpx.ConnectError, match="certificate verify failed"),
    ):
        client.get("/name")


def park(network: Network, shown: Party | None) -> bytes:
    """What the relay says to who comes with this certificate, in half a beat."""
    context = tls.pinned(network.certificate)
    if shown is not None:
        context.load_cert_chain(shown.certificate, shown.key)
    with (
        socket.create_connection(("127.0.0.1", network.config.port), timeout=10) as plain,
        context.wrap_socket(plain) as wrapped,
    ):
        wrapped.settimeout(3)
        return wrapped.recv(1)


def test_only_who_holds_a_hospitals_key_takes_its_place(network: Network) -> None:
    stranger = party(network.folder, "stranger")
    stolen = Party(key=stranger.key, certificate=network.parties["north"].certificate)
    for shown in (None, stranger):
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            assert park(network, shown) == b"", "it is hung up on"
    with pytest.raises(ssl.SSLError, match=r"(?i)key values mismatch"):
        park(network, stolen)
    with pytest.raises(TimeoutError):  # a true one waits
        park(network, network.parties["north"])


@pytest.mark.slow
@tls_scan.needs_openssl
def test_the_door_for_hospitals_speaks_tls_1_3_and_its_sound_ciphers(network: Network) -> None:
    port = network.config.port
    assert tls_scan.old_versions(port) == []
    assert tls_scan.ciphers_1_2(port) == set()
    assert tls_scan.ciphers_1_3(port) <= tls_scan.SOUND


def test_a_client_of_old_tls_or_of_none_is_hung_up_on(network: Network) -> None:
    context = tls.pinned(network.certificate)
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    address = ("127.0.0.1", network.config.port)
    with (
        socket.create_connection(address, timeout=10) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(plain)
    with socket.create_connection(address, timeout=10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP" not in plain.recv(1000)


def test_a_hospital_that_is_away_has_the_researcher_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_server, "WAIT_S", 0.5)
    network = Network(tmp_path)
    network.switch_on()
    try:
        began = time.monotonic()
        with network.client("north") as client, pytest.raises(httpx.TransportError):
            client.get("/name")
        assert time.monotonic() - began < 10
    finally:
        network.switch_off()


@pytest.mark.slow
def test_after_the_relays_host_lost_power_the_hospital_is_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_client, "LONGEST_PAUSE_S", 1.0)
    network = Network(tmp_path)
    file = tmp_path / "relay.toml"
    named = ("--name", "relay", "--home", network.config.home, "--address", network.config.address)
    assert run("init", "--config", str(file), *named).exit_code == 0
    file.write_text(f"{file.read_text()}user = 0\n")  # pytest's folder is root's alone
    for one in network.config.hospitals:
        added = ("--hospital", one.name, "--certificate", one.certificate, "--port", str(one.port))
        assert run("add", "--config", str(file), *added).exit_code == 0
    desk = desk_of("north", network.parties["north"])
    end = network.go_out("north", desk.port)  # the relay comes later
    try:
        for _ in range(2):
            command = [sys.executable, "launch.py", "relay", "start", "--config", str(file)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True)
            assert process.stdout is not None
            assert "carries for north at port" in process.stdout.readline()
            with network.client("north") as client:
                assert client.get("/name").json() == {"name": "north"}
                process.kill()
                process.communicate(timeout=20)
                with pytest.raises(httpx.TransportError):
                    client.get("/name")
    finally:
        end()
        desk.end()


@pytest.mark.slow
def test_a_connection_that_was_parked_for_long_is_kept_and_one_whose_relay_is_silent_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_server, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(relay_client, "SILENT_S", 0.6)
    network = Network(tmp_path)
    network.switch_on()
    desk = desk_of("north", network.parties["north"])
    end = network.go_out("north", desk.port)
    try:
        time.sleep(2)
        with network.client("north") as client:
            assert client.get("/name").json() == {"name": "north"}
        monkeypatch.setattr(relay_server, "HEARTBEAT_S", 3600.0)
        time.sleep(2)  # left and opened again, each time
        with network.client("north") as client:
            assert client.get("/name").json() == {"name": "north"}
    finally:
        end()
        desk.end()
        network.switch_off()


def test_a_hospital_leaves_the_house_through_a_proxy(tmp_path: Path) -> None:
    network = Network(tmp_path)
    network.switch_on()
    desk = desk_of("north", network.parties["north"])
    port, heads = free_ports(1), list[bytes]()
    stop = network.loop.begin(proxy(port, network, heads))
    time.sleep(0.2)
    end = network.go_out("north", desk.port, proxy=f"127.0.0.1:{port}")
    try:
        with network.client("north") as client:
            assert client.get("/name").json() == {"name": "north"}
        assert heads[0].startswith(f"CONNECT {network.config.address} HTTP/1.1\r\n".encode())
    finally:
        end()
        stop()
        desk.end()
        network.switch_off()


def test_what_a_proxy_says_before_tls_is_nobodys_word(tmp_path: Path) -> None:
    """It adds a relay's CONNECTED and a request after its answer's head, and is honest from there on."""
    network = Network(tmp_path)
    network.switch_on()
    port, heard, heads = free_ports(1), list[bytes](), list[bytes]()

    async def desk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(100))

    desk_port = free_ports(1)

    async def listen() -> None:
        server = await asyncio.start_server(desk, "127.0.0.1", desk_port)
        await server.serve_forever()

    added = joined_streams.CONNECTED + b"GET /injected"
    ends = [
        network.loop.begin(listen()),
        network.loop.begin(proxy(port, network, heads, adds=added)),
    ]
    time.sleep(0.2)
    ends.append(network.go_out("north", desk_port, proxy=f"127.0.0.1:{port}"))
    try:
        time.sleep(2)
        assert heads and heard == []
    finally:
        for end in reversed(ends):
            end()
        network.switch_off()


# The operator's file and commands


def run(*words: str) -> Any:
    return CliRunner(mix_stderr=False).invoke(commands.app(), words)


def test_a_relays_file_is_made_and_hospitals_are_added(tmp_path: Path) -> None:
    file, shown = tmp_path / "relay.toml", party(tmp_path, "north")
    home = str(tmp_path / "relay")
    named = ("--name", "relay", "--home", home, "--address", "relay.example.org:8600")
    assert run("init", "--config", str(file), *named).exit_code == 0
    added = ("--hospital", "north", "--certificate", str(shown.certificate), "--port", "8601")
    assert run("add", "--config", str(file), *added).exit_code == 0
    config = relay_file.load(file)
    assert config.hospitals[0].shown() == shown.pem
    again = run("add", "--config", str(file), *added)
    assert (again.exit_code, "is the certificate of another hospital" in again.stderr) == (2, True)
    assert relay_file.load(file) == config
    relay_server.make(config)
    RelayServer(config).close()


def test_a_folder_with_other_files_is_no_relays(tmp_path: Path) -> None:
    file = tmp_path / "relay.toml"
    named = ("--name", "relay", "--home", str(tmp_path), "--address", "relay.example.org:8600")
    run("init", "--config", str(file), *named)
    told = run("start", "--config", str(file))
    assert (told.exit_code, "must hold nothing else" in told.stderr) == (1, True)
    assert {path.name for path in tmp_path.iterdir()} == {"relay.toml"}


@pytest.mark.parametrize(
    "change",
    [
        {"address": "relay"},
        {"name": "A relay"},
        {"hospitals": (RelayedHospital(name="north", certificate="x", port=8600),)},
        {"hospitals": (RelayedHospital(name="north", certificate="x", port=8601),) * 2},
    ],
    ids=["address", "name", "the door's port", "twice"],
)
def test_a_relays_file_that_can_not_be_is_refused(change: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"name": "relay", "home": "r", "address": "relay.example.org:8600"}
    with pytest.raises(InvalidInput):
        RelayConfig(**(fields | change))


def test_the_example_in_deploy_is_one() -> None:
    example = ROOT / "deploy" / "relay.toml"
    found = relay_file.load(example)
    assert found.port == 8600 and found.hospitals[0].port == 8601
    names = {field.name for field in dataclasses.fields(RelayConfig)} - {"hospitals"}
    text = example.read_text(encoding="utf-8")
    assert not {name for name in names if f"{name} = " not in text}


def test_two_hospitals_with_one_certificate_are_refused(tmp_path: Path) -> None:
    network = Network(tmp_path)
    first, second = network.config.hospitals
    same = dataclasses.replace(second, certificate=first.certificate)
    with pytest.raises(InvalidInput, match="certificate of its own"):
        RelayServer(dataclasses.replace(network.config, hospitals=(first, same)))


@pytest.mark.slow
def test_an_older_connection_that_lost_its_other_end_without_a_word_is_not_the_one_that_is_taken(
    tmp_path: Path,
) -> None:
    """A hospital's network is gone, and it comes back by another way: what it parked before is dead, unseen."""
    network = Network(tmp_path)
    network.switch_on()
    north = network.parties["north"]
    context = tls.pinned(network.certificate)
    context.load_cert_chain(north.certificate, north.key)
    address = ("127.0.0.1", network.config.port)
    dead = [
        context.wrap_socket(socket.create_connection(address), do_handshake_on_connect=True)
        for _ in range(8)
    ]
    time.sleep(0.5)
    desk = desk_of("north", north)
    end = network.go_out("north", desk.port)
    try:
        time.sleep(1)
        for _ in range(3):
            with network.client("north") as client:
                assert client.get("/name").json() == {"name": "north"}
    finally:
        end()
        desk.end()
        network.switch_off()
        for one in dead:
            one.close()


def test_a_relays_numbers_name_nobody(network: Network) -> None:
    relay = network.relay
    metrics = RelayMetrics(relay)
    with network.client("north") as client:
        client.get("/name")
        text = metrics.text().decode()
    assert "consilium_relay_hospitals_there 2.0" in text
    assert "north" not in text and "127.0.0.1" not in text
    assert metrics.health() == (True, "2 of 2 hospitals are there.")
