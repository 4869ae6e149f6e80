"""What it costs a front desk to be reached by everybody: half requests, idle lines, a flood of them."""

import dataclasses
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

from datasites.desk.storage.store_quota import (
    MAX_BYTES,
    MAX_OBJECTS,
    StoredByAccount,
    StoreQuota,
)
from datasites.desk.web import connections
from syft_code import canonical
from syft_code.errors import Refused
from syft_code.evidence import http_signatures
from syft_code.runtime.quiet_imports import quiet_import
from tests.conftest import free_ports
from tests.hostile.conftest import OurSite, PlainSite, refusal, unpack, value_object
from tests.hostile.vault_behind_desk import processes

with quiet_import():
    from syft.service.response import SyftSuccess

pytestmark = pytest.mark.timeout(300)

ALICE = SigningKey.generate()
CALL = "/api/v2/api_call"
MIB = 2**20


class BareDesk:
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
    def open_files(self) -> int:
        return len([*Path(f"/proc/{self.process.pid}/fd").iterdir()])


def resident_mib(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


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
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareDesk]:
    """A desk that gives a head, and a short body, half a second."""
    started = BareDesk(tmp_path_factory.mktemp("strangers"), "--hurried")
    yield started
    started.end()


@pytest.fixture(autouse=True)
def _closed(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "desk" in request.fixturenames:
        request.getfixturevalue("desk").lines.close()


def test_a_member_is_heard_and_a_strangers_call_is_refused_by_its_head(desk: BareDesk) -> None:
    assert desk.ask().endswith(b"\r\n\r\n3")
    assert desk.ask(None).endswith(b"\r\n\r\n3"), "PySyft's own client signs no head"
    assert b"Only accounts of this hospital" in desk.ask(SigningKey.generate())


def test_the_head_alone_is_answered_before_any_body_comes(desk: BareDesk) -> None:
    for key, said in ((None, b"at most 262144 bytes"), (SigningKey.generate(), b"must be signed")):
        head = call(key, b"", size_bytes=8 * MIB)  # signed for another length
        assert said in answer(desk.line(head))


def test_a_body_that_is_not_the_signed_one_is_not_acted_on(desk: BareDesk) -> None:
    whole = call(ALICE, b"abc")
    assert b"its head was signed for" in answer(desk.line(whole[:-1] + b"d"))


def more_mib(port: int, process: int) -> float:
    """How much a process grows by forty calls of 8 MiB that lack their last byte."""
    before_mib, body = resident_mib(process), b"x" * (8 * MIB - 1)
    with ExitStack() as lines:
        for _ in range(40):
            line = lines.enter_context(socket.create_connection(("127.0.0.1", port), timeout=15))
            with suppress(OSError):  # it was cut off meanwhile
                line.sendall(call(None, body, size_bytes=8 * MIB))
        time.sleep(1)
        return resident_mib(process) - before_mib


def test_n4_forty_half_sent_bodies_fill_memory_there_and_none_here(
    plain: PlainSite, ours: OurSite
) -> None:
    (there,) = processes("tests.hostile.plain_site", plain.home)
    (here,) = processes("datasites.desk.desk_process", ours.site.home)
    assert more_mib(int(plain.desk.url.rpartition(":")[2]), there) > 250
    assert more_mib(ours.site.settings().port, here) < 40
    guest = dataclasses.replace(ours.desk, member=SigningKey.generate())
    assert "Only accounts" in refusal(unpack(guest.post(b"abc")))


def test_what_an_account_puts_into_pysyft_is_counted_and_limited(ours: OurSite) -> None:
    account = str(ours.bob_key.verify_key)
    recorded = ours.desk.sign(ours.bob_key, "action.set", action_object=value_object("text"))
    quota = StoreQuota(ours.site.desk / "stored")
    before = quota.used(account).objects
    assert isinstance(unpack(ours.desk.post(recorded)), SyftSuccess)
    assert quota.used(account).objects == before + 1
    count = ours.site.desk / "stored" / account
    assert "was made here before" in refusal(unpack(ours.desk.post(recorded)))
    assert quota.used(account).objects == before + 1
    kept = count.read_bytes()
    calls = tuple(str(number) for number in range(MAX_OBJECTS))
    count.write_bytes(canonical.encode(StoredByAccount(calls=calls, size_bytes=1)))
    try:
        more = value_object("text")
        answered = ours.desk.call(ours.bob_key, "action.set", action_object=more)
        assert "may put 2,000 objects and 67,108,864 bytes" in refusal(answered)
        assert ours.desk.call(ours.bob_key, "request.get_all").value is not None, "reading is free"
        mine = value_object("text")
        assert isinstance(
            ours.desk.call(ours.alice_key, "action.set", action_object=mine), SyftSuccess
        )
    finally:
        count.write_bytes(kept)


def test_a_call_of_one_account_under_a_head_of_another_is_refused(ours: OurSite) -> None:
    path, alice = "user.get_current_user", ours.alice_key.signing_key
    signed = dataclasses.replace(ours.desk, member=alice)
    assert isinstance(signed.call(ours.alice_key, path), SyftSuccess)
    assert isinstance(ours.desk.call(ours.bob_key, path), SyftSuccess)
    assert "that signed its head" in refusal(signed.call(ours.bob_key, path))


def test_a_head_that_does_not_end_is_cut_off(desk: BareDesk) -> None:
    """A byte now and then does not help."""
    lines = [desk.line(sent) for sent in (b"", b"POST ", b"GET / HTTP/1.1\r\nx: ")]
    for _ in range(4):
        time.sleep(0.1)
        for line in lines[1:]:
            line.sendall(b"x")
    for line in lines:
        said = answer(line)
        assert said.startswith(b"HTTP/1.1 408")
        assert b"must arrive in time" in said


def test_a_short_body_that_does_not_end_is_cut_off(desk: BareDesk) -> None:
    began_s = time.monotonic()
    line = desk.line(call(ALICE, b"abc")[:-1])
    assert b"must arrive in time" in answer(line)
    assert time.monotonic() - began_s < 10


def test_a_head_without_measure_is_cut_off(desk: BareDesk) -> None:
    line = desk.line(b"GET / HTTP/1.1\r\nx: " + b"y" * (connections.MAX_HEAD_BYTES + 1))
    assert b"may have at most 32768 bytes" in answer(line)


def idle(desk: BareDesk) -> None:
    desk.line()


def half_head(desk: BareDesk) -> None:
    desk.line(b"POST /api/v2/login HTTP/1.1\r\n")


def half_body(desk: BareDesk) -> None:
    desk.line(call(None, b"x", size_bytes=4000).replace(CALL.encode(), b"/api/v2/login"))


@pytest.mark.parametrize("attack", [idle, half_head, half_body])
def test_a_member_gets_through_however_many_strangers_come(
    desk: BareDesk, attack: Callable[[BareDesk], None]
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


def test_a_member_keeps_its_places_and_no_more(desk: BareDesk) -> None:
    half = call(ALICE, b"abc")[:-1]
    mine = [desk.line(half) for _ in range(connections.MAX_OF_MEMBER)]
    time.sleep(0.3)
    assert b"64 connections at a time" in desk.ask()
    for _ in range(2 * connections.MAX_STRANGERS):
        desk.line()
    mine[0].sendall(b"c")
    assert answer(mine[0]).endswith(b"\r\n\r\n3"), "strangers take no member's place"


def test_a_members_next_request_waits_from_its_own_first_byte(tmp_path: Path) -> None:
    """Not from the last answer: who has been connected longest would be the first to give way."""
    patient, whole = BareDesk(tmp_path), call(ALICE, b"abc")
    try:
        line = patient.line(whole)
        assert answer(line).endswith(b"\r\n\r\n3")
        for _ in range(connections.MAX_STRANGERS):
            patient.line()
        time.sleep(1.0)  # all of them are in before its next request begins
        line.sendall(whole[:20])
        time.sleep(1.0)
        patient.line()
        time.sleep(1.0)
        line.sendall(whole[20:])
        assert answer(line).endswith(b"\r\n\r\n3")
    finally:
        patient.end()


def test_an_account_fills_its_own_part_of_the_store_and_no_more(tmp_path: Path) -> None:
    alice, bob = "aa" * 32, "bb" * 32
    quota = StoreQuota(tmp_path)
    for number in range(MAX_BYTES // (16 * MIB)):
        quota.charge(alice, bytes([number]) * (16 * MIB))
    with pytest.raises(Refused, match=r"67,108,864 bytes.*has put 4 and 67,108,864 there"):
        StoreQuota(tmp_path).charge(alice, b"x")  # a restart forgets nothing
    quota.charge(bob, b"x")
    assert (quota.used(bob).objects, quota.used(bob).size_bytes) == (1, 1)


def test_many_small_objects_are_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasites.desk.storage.store_quota.MAX_OBJECTS", 3)
    quota = StoreQuota(tmp_path)
    for number in range(3):
        quota.charge("aa" * 32, bytes([number]))
    with pytest.raises(Refused, match="may put 3 objects"):
        quota.charge("aa" * 32, b"x")
    assert MAX_OBJECTS > 3


def test_a_recorded_call_that_is_sent_again_costs_its_account_nothing(tmp_path: Path) -> None:
    alice, bob = "aa" * 32, "bb" * 32
    StoreQuota(tmp_path).charge(alice, b"call")
    before = StoreQuota(tmp_path).used(alice)
    with pytest.raises(Refused, match="was made here before"):
        StoreQuota(tmp_path).charge(alice, b"call")
    assert StoreQuota(tmp_path).used(alice) == before
    StoreQuota(tmp_path).charge(bob, b"call")
