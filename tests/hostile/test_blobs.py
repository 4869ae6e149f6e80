"""What an outsider or a wicked member can do to the blobs and tickets beside PySyft."""

import contextlib
import hashlib
import os
import random
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from nacl.signing import SigningKey

from datasites.desk.storage.blobs import MAX_BLOB_BYTES, AccountBlobs, BlobStore
from syft_code.errors import InvalidMessage, Refused
from syft_code.evidence import http_signatures
from syft_code.local_training import local_round
from syft_code.plans import messages
from syft_code.plans.messages import RoundCall
from tests.hostile.conftest import HTTP, OurSite, sentence

pytestmark = pytest.mark.timeout(300)

TICKET = "/tickets/" + "0" * 32


def blob(size_bytes: int = 64) -> tuple[str, bytes]:
    """New bytes and their name."""
    data = os.urandom(size_bytes)
    return hashlib.sha256(data).hexdigest(), data


def member(ours: OurSite) -> SigningKey:
    key: SigningKey = ours.alice_key.signing_key
    return key


def send(
    ours: OurSite,
    method: str,
    path: str,
    headers: dict[str, str] | None = None,
    content: bytes = b"",
    *,
    key: SigningKey | None = None,
) -> httpx.Response:
    """A request beside PySyft, signed by a researcher unless `key` says otherwise."""
    signed = http_signatures.headers(key or member(ours), method, path, content)
    return HTTP.request(
        method, ours.desk.url + path, headers=signed | (headers or {}), content=content
    )


def put(
    ours: OurSite, name: str, data: bytes, span: str | None = None, **headers: str
) -> httpx.Response:
    span = span or f"bytes 0-{len(data) - 1}/{len(data)}"
    return send(ours, "PUT", f"/blobs/{name}", {"content-range": span} | headers, data)


def state(ours: OurSite, name: str) -> tuple[str, str]:
    """Offset and completeness of a blob."""
    answer = send(ours, "HEAD", f"/blobs/{name}")
    return answer.headers["upload-offset"], answer.headers["upload-complete"]


def test_a_member_stores_reads_and_deletes_a_blob(ours: OurSite) -> None:
    name, data = blob()
    assert put(ours, name, data).status_code == 200
    assert send(ours, "GET", f"/blobs/{name}").content == data
    part = send(ours, "GET", f"/blobs/{name}", {"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, data[10:20])
    assert send(ours, "DELETE", f"/blobs/{name}").status_code == 200
    assert state(ours, name) == ("0", "0")


# Who may


def odd_headers(
    key: SigningKey,
    method: str,
    path: str,
    body: bytes = b"",
    *,
    age_s: float = 0.0,
    size_bytes: int | None = None,
) -> dict[str, str]:
    """Headers signed at another time, or for another size."""
    now, digest = f"{time.time() - age_s:.3f}", hashlib.sha256(body).hexdigest()
    length = f"{len(body) if size_bytes is None else size_bytes}"
    signed = http_signatures._signed_bytes(method, path, now, length, digest)
    return {
        http_signatures.KEY_HEADER: key.verify_key.encode().hex(),
        http_signatures.TIME_HEADER: now,
        http_signatures.BODY_HEADER: digest,
        http_signatures.SIGNATURE_HEADER: key.sign(signed).signature.hex(),
    }


Headers = Callable[[SigningKey, str, str, bytes], dict[str, str]]

UNSIGNED: dict[str, Headers] = {
    "without a signature": lambda key, method, path, body: {},
    "with a guest's key": lambda key, method, path, body: http_signatures.headers(
        SigningKey.generate(), method, path
    ),
    "signed two minutes ago": lambda key, method, path, body: odd_headers(
        key, method, path, body, age_s=120
    ),
    "signed for later": lambda key, method, path, body: odd_headers(
        key, method, path, body, age_s=-120
    ),
    "signed at no time": lambda key, method, path, body: (
        http_signatures.headers(key, method, path, body) | {http_signatures.TIME_HEADER: "nan"}
    ),
    "signed for another path": lambda key, method, path, body: http_signatures.headers(
        key, method, path + "0", body
    ),
    "signed for another method": lambda key, method, path, body: http_signatures.headers(
        key, "PATCH", path, body
    ),
    "signed for another body": lambda key, method, path, body: http_signatures.headers(
        key, method, path, body + b"?"
    ),
    "with another's key": lambda key, method, path, body: (
        http_signatures.headers(SigningKey.generate(), method, path, body)
        | {http_signatures.KEY_HEADER: key.verify_key.encode().hex()}
    ),
    "with a short key": lambda key, method, path, body: (
        http_signatures.headers(key, method, path, body) | {http_signatures.KEY_HEADER: "00"}
    ),
    "with half a signature": lambda key, method, path, body: (
        http_signatures.headers(key, method, path, body)
        | {http_signatures.SIGNATURE_HEADER: "00" * 32}
    ),
    "with the weakest key": lambda key, method, path, body: (
        http_signatures.headers(key, method, path, body)
        | {http_signatures.KEY_HEADER: "00" * 32, http_signatures.SIGNATURE_HEADER: "00" * 64}
    ),
}


@pytest.mark.parametrize("how", UNSIGNED)
def test_no_request_passes(ours: OurSite, how: str) -> None:
    name, data = blob()
    here, kept = blob()
    assert put(ours, here, kept).status_code == 200
    span = {"content-range": f"bytes 0-{len(data) - 1}/{len(data)}"}
    for method, path, content in (
        ("GET", f"/blobs/{here}", b""),
        ("HEAD", f"/blobs/{here}", b""),
        ("DELETE", f"/blobs/{here}", b""),
        ("PUT", f"/blobs/{name}", data),
        ("GET", TICKET, b""),
    ):
        headers = UNSIGNED[how](member(ours), method, path, content)
        answer = HTTP.request(method, ours.desk.url + path, headers=headers | span, content=content)
        assert answer.status_code in (400, 403)
        if method != "HEAD":
            sentence(answer)
    assert send(ours, "GET", f"/blobs/{here}").content == kept
    assert state(ours, name) == ("0", "0")


def test_the_root_key_is_nobody_here_either(ours: OurSite) -> None:
    root = SigningKey((ours.site.desk / "key").read_bytes())
    assert "Only accounts" in sentence(send(ours, "GET", TICKET, key=root))


@pytest.mark.parametrize("host", ["h{path}?", "h{path}#", "h{path}?x=", "u@h{path}?"])
def test_the_host_header_does_not_change_what_a_signature_is_for(ours: OurSite, host: str) -> None:
    name, _ = blob()
    signed_path = f"/blobs/{name}"
    headers = http_signatures.headers(member(ours), "GET", signed_path)
    answer = HTTP.get(
        ours.desk.url + TICKET, headers=headers | {"host": host.format(path=signed_path)}
    )
    assert "must be signed" in sentence(answer)


# Names and spans


@pytest.mark.parametrize(
    "path",
    [
        "/blobs/../site.json",
        "/blobs/../../site.json",
        "/blobs/..%2f..%2fsite.json",
        "/blobs/%2e%2e%2f%2e%2e%2fsite.json",
        "/blobs/..\\..\\site.json",
        "/blobs/" + "A" * 64,
        "/blobs/" + "a" * 63,
        "/blobs/" + "a" * 65,
        "/blobs/" + "a" * 64 + ".part",
        "/blobs/" + "a" * 64 + "%0a",
        "/blobs/" + "a" * 64 + "%00",
        "/blobs/%EF%BD%81" + "a" * 63,
        "/blobs/.",
        "/blobs/%00",
        "/tickets/..%2f..%2fvault%2fkey",
        "/tickets/" + "0" * 100_0,
        "/tickets/%00",
        "/tickets/' OR 1=1 --",
    ],
)
def test_no_name_leads_out_of_the_folder(ours: OurSite, path: str) -> None:
    """Sent by hand, signed for the path as the server decodes it; a client would tidy it up."""
    decoded = httpx.URL(ours.desk.url + "/").copy_with(raw_path=path.encode()).path
    for method in ("GET", "PUT", "DELETE"):
        headers = http_signatures.headers(member(ours), method, decoded, b"x")
        lines = [f"{method} {path.replace(' ', '%20')} HTTP/1.1", "host: 127.0.0.1"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += ["content-length: 1", "content-range: bytes 0-0/1", "connection: close"]
        port = ours.site.settings().port
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sent:
            sent.sendall("\r\n".join(lines).encode() + b"\r\n\r\nx")
            answer = b""
            while chunk := sent.recv(65536):
                answer += chunk
        status = int(answer.split()[1])
        assert status in (400, 403, 404, 405), answer[:300]
        assert b"Traceback" not in answer
        assert b"policy" not in answer
    assert not [name.name for name in (ours.site.desk / "blobs").rglob("*") if len(name.name) < 64]


@pytest.mark.parametrize(
    "span",
    [
        "bytes -1-63/64",
        "bytes 0-63/32",
        "bytes 0-63/63",
        "bytes 0-31/64",
        "bytes 0-127/128",
        "bytes 63-0/64",
        "bytes 1-64/65",
        "bytes 64-127/128",
        "bytes 0-63/*",
        "bytes */64",
        "bytes 0-63",
        "bytes=0-63/64",
        "Bytes 0-63/64",
        "bytes 0-63/64, bytes 0-63/64",
        "bytes 0x0-0x3f/0x40",
        "bytes 0-6_3/6_4",
        "bytes 0-" + "9" * 16 + "/64",
        "none",
    ],
)
def test_a_span_that_is_not_the_bodys_stores_nothing(ours: OurSite, span: str) -> None:
    name, data = blob()
    answer = put(ours, name, data, span)
    sentence(answer)
    assert state(ours, name) == ("0", "0")
    assert put(ours, name, data).status_code == 200
    assert send(ours, "GET", f"/blobs/{name}").content == data


def test_a_gap_or_an_overlap_is_refused_and_the_upload_goes_on(ours: OurSite) -> None:
    name, data = blob(90)
    assert put(ours, name, data[:30], "bytes 0-29/90").status_code == 200
    for first in (0, 29, 31, 60):
        answer = put(ours, name, data[first : first + 30], f"bytes {first}-{first + 29}/90")
        assert "goes on at byte 30" in sentence(answer)
    assert state(ours, name) == ("30", "0")
    assert put(ours, name, data[30:], "bytes 30-89/90").status_code == 200
    assert send(ours, "GET", f"/blobs/{name}").content == data
    assert "goes on at byte 90" in sentence(put(ours, name, b"x", "bytes 90-90/91"))
    assert send(ours, "GET", f"/blobs/{name}").content == data


def test_a_total_that_lies_never_makes_a_blob(ours: OurSite) -> None:
    name, data = blob(60)
    assert put(ours, name, data[:30], "bytes 0-29/90").status_code == 200
    assert put(ours, name, data[30:], "bytes 30-59/90").status_code == 200
    assert state(ours, name) == ("60", "0")  # whole, but said to be longer: it waits
    assert send(ours, "GET", f"/blobs/{name}").status_code == 403
    assert "must have the hash" in sentence(put(ours, name, b"x", "bytes 60-60/61"))
    assert state(ours, name) == ("0", "0")
    assert put(ours, name, data[:30], "bytes 0-29/30").status_code == 400
    assert state(ours, name) == ("0", "0")


def test_an_upload_with_another_hash_vanishes(ours: OurSite) -> None:
    name, data = blob()
    assert "must have the hash" in sentence(put(ours, name, data[::-1]))
    assert state(ours, name) == ("0", "0")
    assert not list((ours.site.desk / "blobs").rglob(f"{name}*"))


def test_an_upload_past_the_limit_is_refused_before_it_is_read(ours: OurSite) -> None:
    name, _ = blob()
    total = MAX_BLOB_BYTES + 1
    headers = odd_headers(member(ours), "PUT", f"/blobs/{name}", size_bytes=total)
    lines = [f"PUT /blobs/{name} HTTP/1.1", "Host: x"]
    lines += [f"{header}: {value}" for header, value in headers.items()]
    lines += [f"content-range: bytes 0-{total - 1}/{total}", f"content-length: {total}"]
    with socket.create_connection(("127.0.0.1", ours.site.settings().port), timeout=20) as sent:
        sent.sendall("\r\n".join(lines).encode() + b"\r\n\r\n")
        answer = sent.recv(65536)
        while b"}" not in answer and (more := sent.recv(65536)):
            answer += more
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"here at most" in answer


def test_uploads_of_one_blob_at_once_never_make_a_wrong_one(tmp_path: Path) -> None:
    """One thread finishes an honest upload while others append to it, many times over."""
    room = BlobStore(tmp_path).room("ab" * 32)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def append_more(name: str, ready: threading.Barrier) -> None:
        ready.wait()
        time.sleep(random.random() / 2000)
        for offset in (64, 65):
            with contextlib.suppress(InvalidMessage):
                room.append(name, b"x", offset=offset)

    def finish(name: str, ready: threading.Barrier) -> None:
        ready.wait()
        with contextlib.suppress(InvalidMessage):
            room.finish(name, size_bytes=64)

    try:
        with ThreadPoolExecutor(3) as pool:
            for _ in range(600):
                name, data = blob()
                room.append(name, data, offset=0)
                ready = threading.Barrier(3)
                works = [
                    pool.submit(work, name, ready) for work in (finish, append_more, append_more)
                ]
                for work in works:
                    work.result()
    finally:
        sys.setswitchinterval(interval)
    whole = [path for path in (tmp_path / ("ab" * 32)).iterdir() if len(path.name) == 64]
    assert whole
    for path in whole:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


@pytest.mark.parametrize(
    "span",
    ["bytes=0-0,1-1", "bytes=" + ",".join(["0-"] * 9000), "bytes=-5", "bytes=a-b", "items=0-1"],
)
def test_a_download_of_many_ranges_is_refused(ours: OurSite, span: str) -> None:
    name, data = blob()
    assert put(ours, name, data).status_code == 200
    answer = send(ours, "GET", f"/blobs/{name}", {"range": span})
    assert answer.status_code in (400, 431)


# One's own and other people's


def other(ours: OurSite) -> SigningKey:
    key: SigningKey = ours.bob_key.signing_key
    return key


def test_a_member_reads_and_deletes_no_blob_of_another(ours: OurSite) -> None:
    name, data = blob()
    assert put(ours, name, data).status_code == 200
    assert "no such blob" in sentence(send(ours, "GET", f"/blobs/{name}", key=other(ours)))
    found = send(ours, "HEAD", f"/blobs/{name}", key=other(ours)).headers
    assert (found["upload-offset"], found["upload-complete"]) == ("0", "0")
    assert send(ours, "DELETE", f"/blobs/{name}", key=other(ours)).status_code == 200
    assert send(ours, "GET", f"/blobs/{name}").content == data


def test_two_members_store_the_same_blob_each_for_themselves(ours: OurSite) -> None:
    name, data = blob(100)
    assert put(ours, name, data[:50], "bytes 0-49/100").status_code == 200
    span = {"content-range": "bytes 0-99/100"}
    assert send(ours, "PUT", f"/blobs/{name}", span, data, key=other(ours)).status_code == 200
    assert state(ours, name) == ("50", "0")  # half an upload is one's own, too
    assert put(ours, name, data[50:], "bytes 50-99/100").status_code == 200
    assert send(ours, "DELETE", f"/blobs/{name}").status_code == 200
    assert send(ours, "GET", f"/blobs/{name}", key=other(ours)).content == data
    assert BlobStore(ours.site.desk / "blobs").path(name).read_bytes() == data
    assert send(ours, "DELETE", f"/blobs/{name}", key=other(ours)).status_code == 200
    with pytest.raises(Refused):
        BlobStore(ours.site.desk / "blobs").path(name)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rooms of ten blocks, and a desk of twenty."""
    monkeypatch.setattr("datasites.desk.storage.blobs.MAX_MEMBER_BYTES", 10 * 4096)
    monkeypatch.setattr("datasites.desk.storage.blobs.MAX_STORED_BYTES", 20 * 4096)


def fill(room: AccountBlobs, *, blocks: int) -> list[str]:
    """Store tiny blobs until they are refused; each takes a block of the disk."""
    names = []
    for _ in range(blocks):
        name, data = blob()
        room.append(name, data, offset=0)
        room.finish(name, size_bytes=len(data))
        names.append(name)
    return names


@pytest.mark.usefixtures("small")
def test_a_member_fills_the_own_room_and_no_other(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    mine, yours = blobs.room("aa" * 32), blobs.room("bb" * 32)
    names = fill(mine, blocks=10)
    name, data = blob()
    with pytest.raises(Refused, match="A member's blobs"):
        mine.append(name, data, offset=0)
    with pytest.raises(Refused, match="A member's blobs"):
        mine.put(name, data)
    yours.put(name, data)
    fill(yours, blocks=9)
    with pytest.raises(Refused, match="is full"):
        blobs.room("cc" * 32).append(name, data, offset=0)
    mine.delete(names[0])
    mine.append(name, data, offset=0)


@pytest.mark.usefixtures("small")
def test_what_is_deleted_refused_or_put_twice_leaves_no_trace_in_the_count(tmp_path: Path) -> None:
    room = BlobStore(tmp_path).room("aa" * 32)
    for _ in range(50):
        name, data = blob(3 * 4096)
        for offset in range(0, len(data), 1000):
            room.append(name, data[offset : offset + 1000], offset=offset)
        room.finish(name, size_bytes=len(data))
        room.put(name, data)
        room.delete(name)
        room.delete(name)
        name, data = blob()
        room.append(name, data[::-1], offset=0)
        with pytest.raises(InvalidMessage):
            room.finish(name, size_bytes=len(data))
    fill(room, blocks=10)


@pytest.mark.usefixtures("small")
def test_a_restart_counts_what_is_on_the_disk(tmp_path: Path) -> None:
    names = fill(BlobStore(tmp_path).room("aa" * 32), blocks=10)
    room = BlobStore(tmp_path).room("aa" * 32)
    name, data = blob()
    with pytest.raises(Refused, match="A member's blobs"):
        room.append(name, data, offset=0)
    room = BlobStore(tmp_path).room("aa" * 32)
    room.delete(names[0])  # the first thing that this process does
    room.append(name, data, offset=0)
    with pytest.raises(Refused, match="A member's blobs"):
        room.append(blob()[0], data, offset=0)


@pytest.mark.parametrize("account", ["", "..", "../vault", "A" * 64, "aa" * 31])
def test_a_room_is_named_by_a_key_alone(tmp_path: Path, account: str) -> None:
    with pytest.raises(InvalidMessage):
        BlobStore(tmp_path).room(account)


def test_a_ticket_is_for_the_account_that_started_the_round(ours: OurSite) -> None:
    weights = local_round.first_weights(ours.agreed)
    call = RoundCall(
        plan_hash=ours.agreed.hash,
        hospital="north",
        purpose="train",
        round=1,
        weights_sha256=ours.alice.bulk.upload(weights.astype("<f4").tobytes()),
    )
    ticket = ours.alice.start_round(ours.agreed, messages.sign(call, ours.keys.researcher)).ticket
    assert ours.alice.bulk.ticket(ticket).ticket == ticket
    path = f"/tickets/{ticket}"
    assert "no such ticket" in sentence(send(ours, "GET", path, key=other(ours)))
    assert "no such ticket" in sentence(send(ours, "GET", path, key=ours.owner_account.signing_key))
    room = ours.site.desk / "blobs" / str(ours.bob_key.verify_key)
    assert not room.exists() or not {path.name for path in room.iterdir()} & set(
        ours.alice.bulk.ticket(ticket).shares
    )


def test_a_ticket_that_nobody_got_is_refused(ours: OurSite) -> None:
    assert "no such ticket" in sentence(send(ours, "GET", TICKET))
