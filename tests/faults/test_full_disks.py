"""An aggregator's disk is full: in the middle of an upload, or when it is to sum."""

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from syft_code.errors import Unavailable
from tests.faults.parties import (
    FOUR,
    LONG,
    MIB,
    THREE,
    Carrier,
    Party,
    aggregators,
    call_for,
    make_plan,
)
from tests.waiting import until

DISK_BYTES = 320 * MIB
FULL = "disk must have room for this and has not: its operator must make room"
Fill = Callable[[Party], "contextmanager[None]"]


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of its own, of `DISK_BYTES`; only root may make one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"a small file system can't be mounted here: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full(party: Party) -> Iterator[None]:
    """Not one byte is free."""
    filler = party.home.parent / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(MIB))
        except OSError:
            pass
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def short_files(party: Party) -> Iterator[None]:
    """No file may be longer than 8 MiB, as an operator's limit says it; anybody may do this."""
    assert party.process
    before = resource.prlimit(party.process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(party.process.pid, resource.RLIMIT_FSIZE, (8 * MIB, before[1]))
    try:
        yield
    finally:
        resource.prlimit(party.process.pid, resource.RLIMIT_FSIZE, before)


@pytest.fixture
def crowded(parties: list[Party], tmp_path: Path) -> Iterator[list[Party]]:
    """Two of the usual aggregators, and one on a small disk, which holds the vectors."""
    disk = tmp_path / "disk"
    with small_disk(disk), aggregators(disk, ["agg-crowded"], said_in=tmp_path) as (third,):
        yield [*parties[:2], third]


@pytest.fixture
def limited(parties: list[Party]) -> list[Party]:
    return parties


DISKS = pytest.mark.parametrize(
    ("where", "how"),
    [("crowded", full), ("limited", short_files)],
    ids=["a small disk", "a limit on files"],
)


@DISKS
def test_a_disk_that_fills_up_in_the_middle_of_an_upload_costs_no_byte_that_was_there(
    request: pytest.FixtureRequest, carrier: Callable[..., Carrier], where: str, how: Fill
) -> None:
    parties: list[Party] = request.getfixturevalue(where)
    carried, third = carrier(make_plan(parties, **LONG)), parties[2]
    carried.send(THREE[1:])
    carried.send(THREE[:1], parties=[1, 2])
    share = carried.share(THREE[0], 3)
    third.line.forget()
    third.line.after(len(share.sealed) // 4, "up", "hold")
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(carried.clients[2].submit, share)
        third.line.wait_until("hold")
        with how(third):
            third.line.go_on()
            with pytest.raises(Unavailable, match=FULL):
                sending.result()
    there = carried.clients[2].received(share.header)
    assert 0 < there.size_bytes < len(share.sealed)
    assert not there.whole
    third.line.forget()
    carried.clients[2].submit(share)
    assert third.line.crossed["up"] < len(share.sealed) - there.size_bytes + MIB
    assert carried.gets_the_plain_sum(THREE)


@DISKS
def test_a_disk_that_is_full_when_a_sum_is_due_delays_the_sum(
    request: pytest.FixtureRequest, carrier: Callable[..., Carrier], where: str, how: Fill
) -> None:
    parties: list[Party] = request.getfixturevalue(where)
    carried, third = carrier(make_plan(parties, **LONG)), parties[2]
    carried.send(THREE)
    for client in carried.clients:
        client.choose(call_for(carried.plan, THREE))
    with how(third), pytest.raises(Unavailable, match=FULL):
        carried.total(THREE)
    assert carried.gets_the_plain_sum(THREE)


def test_a_disk_that_is_full_when_a_set_is_to_be_chosen_promises_nothing(
    crowded: list[Party], carrier: Callable[..., Carrier]
) -> None:
    carried, third = carrier(make_plan(crowded)), crowded[2]
    carried.send(FOUR)
    with full(third), pytest.raises(Unavailable, match=FULL):
        carried.clients[2].choose(call_for(carried.plan, FOUR))
    assert carried.clients[2].choose(call_for(carried.plan, THREE))[0].hospitals == THREE
    assert carried.gets_the_plain_sum(THREE)


def test_an_aggregator_starts_again_when_there_is_room_on_its_disk(
    crowded: list[Party], carrier: Callable[..., Carrier]
) -> None:
    carried, third = carrier(make_plan(crowded)), crowded[2]
    carried.send(THREE)
    third.kill()
    with full(third):
        third.spawn()
        assert third.process
        assert third.process.wait(60) == 1
        third.kill()
    assert third.errors.count("\n") == 1
    assert "must have room" in third.errors
    third.start()
    assert carried.gets_the_plain_sum(THREE)


def test_a_share_for_which_there_is_no_room_is_refused_before_it_is_sent(
    crowded: list[Party], carrier: Callable[..., Carrier]
) -> None:
    carried, third = carrier(make_plan(crowded, **LONG)), crowded[2]
    share = carried.share("berlin", 3)
    third.line.forget()
    with full(third), pytest.raises(Unavailable, match=FULL):
        carried.clients[2].submit(share)
    until(lambda: third.line.crossed["up"] > 0)
    assert third.line.crossed["up"] < len(share.sealed) // 2
    carried.send(THREE)
    assert carried.gets_the_plain_sum(THREE)
    assert os.statvfs(third.home).f_bavail * os.statvfs(third.home).f_frsize > DISK_BYTES // 2
