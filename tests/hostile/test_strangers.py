"""What it costs a front desk to be reached by everybody: half requests, idle lines, a flood of them."""

import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from datasites.desk.storage.store_quota import MAX_BYTES, MAX_OBJECTS, StoreQuota
from datasites.desk.web import connections
from syft_code.errors import Refused
from syft_code.evidence import http_signatures
from tests.conftest import free_ports

pytestmark = pytest.mark.timeout(120)

ALICE = SigningKey.generate()
CALL = "/api/v2/api_call"
MIB = 2**20


class Desk:
    """A front desk in a process of its own, and bare lines to it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.port = free_ports(1)
        program = [sys.executable, "-m", "tests.hostile.desk_without_pysyft", *options]
        words = [str(folder / "desk"), str(self.port), ALICE.verify_key.encode().hex()]
        self.process = subprocess.Popen([*program, *words])
        self.lines = ExitStack()
        for _ in range(600):
            try:
                self.line().close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the desk does not start")

    def end(self) -> None:
        self.lines.close()
        self.process.terminate()
        self.process.wait(20)

    def line(self, sent: bytes = b"") -> socket.socket:
        """A new connection, on which something is said."""
        line = socket.create_connection(("127.0.0.1", self.port), timeout=15)
        self.lines.callback(line.close)
        line.sendall(sent)
        return line

    def ask(self, key: SigningKey | None = ALICE, body: bytes = b"abc") -> bytes:
        """A whole call over a new connection, and its answer."""
        with self.line(call(key, body)) as line:
            return answer(line)

    @property
    def resident_mib(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    @property
    def open_files(self) -> int:
        return len([*Path(f"/proc/{self.process.pid}/fd").iterdir()])


def call(key: SigningKey | None, body: bytes, size_bytes: int | None = None) -> bytes:
    """A call as it goes over the line, its head signed by `key` if there is one."""
    head = {"host": "x", "content-length": str(len(body) if size_bytes is None else size_bytes)}
    if key:
        head |= http_signatures.headers(key, "POST", CALL, body)
    lines = [f"POST {CALL} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answer(line: socket.socket) -> bytes:
    """What comes back: a whole answer, or what there was of it when the line was closed."""
    said = b""
    with suppress(ConnectionResetError):
        while part := line.recv(65536):
            said += part
            head, _, body = said.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            if length and len(body) >= int(length[1]):
                break
    return said


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk that gives a head, and a short body, one second."""
    started = Desk(tmp_path_factory.mktemp("strangers"), "--hurried")
    yield started
    started.end()


@pytest.fixture(autouse=True)
def _closed(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "desk" in request.fixturenames:
        request.getfixturevalue("desk").lines.close()


def test_a_member_is_heard_and_a_strangers_call_is_refused_by_its_head(desk: Desk) -> None:
    assert desk.ask().endswith(b"\r\n\r\n3")
    assert b"must be signed" in desk.ask(None)
    assert b"Only accounts of this hospital" in desk.ask(SigningKey.generate())


def test_the_head_alone_is_answered_before_any_body_comes(desk: Desk) -> None:
    for key, said in ((None, b"must be signed"), (SigningKey.generate(), b"must be signed")):
        head = call(key, b"", size_bytes=8 * MIB)  # signed for another length
        assert said in answer(desk.line(head))


def test_a_body_that_is_not_the_signed_one_is_not_acted_on(desk: Desk) -> None:
    whole = call(ALICE, b"abc")
    assert b"its head was signed for" in answer(desk.line(whole[:-1] + b"d"))


def test_forty_half_sent_bodies_keep_nothing(desk: Desk) -> None:
    desk.ask()
    before_mib = desk.resident_mib
    for _ in range(40):
        line = desk.line()
        try:
            line.sendall(call(None, b"x" * (8 * MIB - 1), size_bytes=8 * MIB))
        except OSError:
            continue  # it was cut off meanwhile
    assert desk.resident_mib - before_mib < 32, "without a check of the head it is 320"


@pytest.mark.parametrize("sent", [b"", b"POST ", b"GET / HTTP/1.1\r\nx: "])
def test_a_head_that_does_not_end_is_cut_off(desk: Desk, sent: bytes) -> None:
    line = desk.line(sent)
    began_s = time.monotonic()
    said = b""
    while time.monotonic() - began_s < 10:  # a byte now and then does not help
        try:
            line.sendall(b"x" if sent else b"")
            line.settimeout(0.2)
            said += line.recv(65536)
            break
        except TimeoutError:
            continue
    assert b"408" in said
    assert b"must arrive in time" in said


def test_a_short_body_that_does_not_end_is_cut_off(desk: Desk) -> None:
    began_s = time.monotonic()
    line = desk.line(call(ALICE, b"abc")[:-1])
    assert b"must arrive in time" in answer(line)
    assert time.monotonic() - began_s < 10


def test_a_head_without_measure_is_cut_off(desk: Desk) -> None:
    line = desk.line(b"GET / HTTP/1.1\r\nx: " + b"y" * (connections.MAX_HEAD_BYTES + 1))
    assert b"may have at most 32768 bytes" in answer(line)


def idle(desk: Desk) -> None:
    desk.line()


def half_head(desk: Desk) -> None:
    desk.line(b"POST /api/v2/login HTTP/1.1\r\n")


def half_body(desk: Desk) -> None:
    desk.line(call(None, b"x", size_bytes=4000).replace(CALL.encode(), b"/api/v2/login"))


@pytest.mark.parametrize("attack", [idle, half_head, half_body])
def test_a_member_gets_through_however_many_strangers_come(
    desk: Desk, attack: Callable[[Desk], None]
) -> None:
    longest_s = 0.0
    for number in range(400):
        attack(desk)
        if number % 40 == 0:
            began_s = time.monotonic()
            assert desk.ask().endswith(b"\r\n\r\n3")
            longest_s = max(longest_s, time.monotonic() - began_s)
    assert desk.open_files < connections.MAX_STRANGERS + 40
    assert longest_s < 5


def test_a_member_keeps_its_places_and_no_more(desk: Desk) -> None:
    half = call(ALICE, b"abc")[:-1]
    mine = [desk.line(half) for _ in range(connections.MAX_OF_MEMBER)]
    time.sleep(0.3)
    assert b"64 connections at a time" in desk.ask()
    for _ in range(2 * connections.MAX_STRANGERS):
        desk.line()
    mine[0].sendall(b"c")
    assert answer(mine[0]).endswith(b"\r\n\r\n3"), "strangers take no member's place"


def test_an_account_fills_its_own_part_of_the_store_and_no_more(tmp_path: Path) -> None:
    alice, bob = "aa" * 32, "bb" * 32
    quota = StoreQuota(tmp_path)
    for _ in range(MAX_BYTES // (16 * MIB)):
        quota.charge(alice, 16 * MIB)
    with pytest.raises(Refused, match=r"67,108,864 bytes.*has put 4 and 67,108,864 there"):
        StoreQuota(tmp_path).charge(alice, 1)  # a restart forgets nothing
    quota.charge(bob, 1)
    assert (quota.used(bob).objects, quota.used(bob).size_bytes) == (1, 1)


def test_many_small_objects_are_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasites.desk.storage.store_quota.MAX_OBJECTS", 3)
    quota = StoreQuota(tmp_path)
    for _ in range(3):
        quota.charge("aa" * 32, 1)
    with pytest.raises(Refused, match="may put 3 objects"):
        quota.charge("aa" * 32, 1)
    assert MAX_OBJECTS > 3
