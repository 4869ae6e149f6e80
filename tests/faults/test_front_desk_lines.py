"""Blobs on their way to and from a front desk, over a line that is cut, and one that is killed."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from federation.researcher.blob_client import BlobClient
from federation.transport.growing_file import GrowingFile
from syft_code import canonical
from syft_code.errors import InvalidMessage, Refused, Unavailable
from tests.faults.hospitals import START_S, Hospitals, hospitals
from tests.faults.line import Line
from tests.faults.parties import MIB
from tests.faults.strangers import strangers

ACCOUNT = SigningKey.generate()
SMALL_BYTES = 48 * MIB
SLACK_BYTES = 16 * MIB
"""What one cut may cost: a piece of an upload, and the kernel's buffers at both ends."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospitals]:
    with hospitals(tmp_path_factory.mktemp("desks"), {"berlin": SigningKey.generate()}) as made:
        yield made


@pytest.fixture
def line(site: Hospitals) -> Iterator[Line]:
    (line,) = site.lines.values()
    line.forget()
    yield line
    line.go_on()


@pytest.fixture
def bulk(line: Line) -> Iterator[BlobClient]:
    opened = BlobClient(f"http://{line.address}", ACCOUNT, patience_s=START_S)
    yield opened
    opened.close()


def kept(site: Hospitals, data: bytes) -> str:
    """Put a blob where the front desk keeps this account's."""
    name = canonical.sha256(data)
    folder = site.blobs("berlin", ACCOUNT)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / name).write_bytes(data)
    return name


def fetched(bulk: BlobClient, name: str, size_bytes: int) -> bytes:
    with GrowingFile() as file:
        bulk.download(name, file, limit_bytes=size_bytes)
        return bytes(file.view())


LARGE = pytest.mark.parametrize(
    "size_bytes", [100_000_000, pytest.param(500_000_000, marks=pytest.mark.slow)]
)


@LARGE
def test_a_large_download_that_is_cut_goes_on_where_it_stopped(
    site: Hospitals, line: Line, bulk: BlobClient, size_bytes: int
) -> None:
    data = os.urandom(size_bytes)
    name = kept(site, data)
    for how in ("reset", "end", "reset", "end"):
        line.after(size_bytes // 5, "down", how)  # type: ignore[arg-type]
    assert fetched(bulk, name, size_bytes) == data
    assert line.happened == ["reset", "end", "reset", "end"]
    assert size_bytes <= line.crossed["down"] <= size_bytes + 4 * SLACK_BYTES
    bulk.delete(name)


@LARGE
def test_a_large_upload_that_is_cut_goes_on_where_it_stopped(
    site: Hospitals, line: Line, bulk: BlobClient, size_bytes: int
) -> None:
    data = os.urandom(size_bytes * 2 // 5)
    for how in ("reset", "end", "reset", "end"):
        line.after(len(data) // 5, "up", how)  # type: ignore[arg-type]
    name = bulk.upload(data)
    assert line.happened == ["reset", "end", "reset", "end"]
    assert len(data) <= line.crossed["up"] <= len(data) + 4 * SLACK_BYTES
    assert (site.blobs("berlin", ACCOUNT) / name).read_bytes() == data
    bulk.delete(name)


def test_an_answer_that_is_lost_costs_the_upload_nothing(line: Line, bulk: BlobClient) -> None:
    data = os.urandom(SMALL_BYTES)
    for _ in range(6):
        line.after(300, "down", "reset")  # in the middle of the front desk's headers
    name = bulk.upload(data)
    assert line.happened == ["reset"] * 6
    assert line.crossed["up"] <= len(data) + 6 * SLACK_BYTES
    assert fetched(bulk, name, SMALL_BYTES) == data
    bulk.delete(name)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_front_desk_that_is_killed_goes_on_where_it_stopped(
    site: Hospitals, line: Line, bulk: BlobClient, direction: str
) -> None:
    data = os.urandom(SMALL_BYTES)
    name = canonical.sha256(data) if direction == "up" else kept(site, data)
    line.after(SMALL_BYTES // 2, direction, "hold")  # type: ignore[arg-type]

    with ThreadPoolExecutor(1) as pool:
        if direction == "up":
            carried = pool.submit(lambda: bulk.upload(data).encode())
        else:
            carried = pool.submit(fetched, bulk, name, SMALL_BYTES)
        line.wait_until("hold")
        site.kill()
        line.go_on()
        site.start()
        assert carried.result() in (name.encode(), data)
    assert line.crossed[direction] <= SMALL_BYTES + SLACK_BYTES  # type: ignore[index]
    assert fetched(bulk, name, SMALL_BYTES) == data
    bulk.delete(name)


def test_a_line_that_stays_dead_ends_in_one_sentence(line: Line) -> None:
    impatient = BlobClient(f"http://{line.address}", ACCOUNT, patience_s=0.5)
    for _ in range(100):
        line.after(1, "down", "reset")
    with pytest.raises(Unavailable, match=r"does not answer .*: try again, or ask the hospital"):
        impatient.upload(os.urandom(MIB))
    impatient.close()


def test_a_blob_that_was_changed_on_the_way_is_not_used(
    site: Hospitals, bulk: BlobClient, tmp_path: Path
) -> None:
    data = bytearray(os.urandom(SMALL_BYTES))
    name = kept(site, bytes(data))
    data[SMALL_BYTES // 2] ^= 1
    (site.blobs("berlin", ACCOUNT) / name).write_bytes(data)
    with pytest.raises(InvalidMessage, match="must have the hash that names it"):
        fetched(bulk, name, SMALL_BYTES)
    bulk.delete(name)
    with pytest.raises(Refused, match="no such blob"):
        fetched(bulk, name, SMALL_BYTES)


def test_strangers_half_open_connections_keep_nobody_from_a_front_desk(site: Hospitals) -> None:
    (line,) = site.lines.values()
    assert site.process
    with (
        strangers(line.target, site.process.pid),
        closing(BlobClient(f"http://{line.target}", ACCOUNT, patience_s=1.0)) as bulk,
    ):
        for number in range(3):
            data = os.urandom(MIB)
            assert fetched(bulk, bulk.upload(data), len(data)) == data, number
