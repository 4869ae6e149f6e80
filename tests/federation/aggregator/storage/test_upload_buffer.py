"""Shares that arrive in pieces, over lines that break, at an aggregator that is killed."""

import resource
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from federation.aggregator.storage import upload_buffer as upload_buffer
from federation.aggregator.storage.upload_buffer import Quotas, UploadBuffer
from federation.aggregator.storage.vector_files import RoundKey, VectorFiles
from federation.transport import aggregator_api
from syft_code import canonical
from syft_code.errors import Refused, Unavailable
from syft_code.plans.plan import Plan
from syft_code.secret_sharing import sharing
from syft_code.secret_sharing.envelope import SealedShare
from tests.federation.live_aggregators import (
    THREE,
    Line,
    Party,
    Played,
    aggregators,
    call_for,
    encoded_of,
    lines_to,
    make_plan,
    make_shares,
)
from tests.waiting import until

MIB = 1024 * 1024
PEER = Played.new("agg-0")


@pytest.fixture(scope="module")
def party(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Party]:
    with aggregators(tmp_path_factory.mktemp("aggregators"), count=1) as (started,):
        yield started


@pytest.fixture(scope="module")
def line(party: Party) -> Iterator[Line]:
    with lines_to([party]) as (opened,):
        yield opened


def plan_with(party: Party, study: str, *, features: int = 50) -> Plan:
    """The real aggregator is the last of two, and holds the vector: 98 kB for each feature."""
    return make_plan([PEER, party], study, features=features, width_px=64)


def share_of(plan: Plan, hospital: str = "north") -> SealedShare:
    return make_shares(plan, hospital)[1]


def dripping(
    share: SealedShare, offset: int = 0, *, go_on: threading.Event, step: int = MIB
) -> Iterator[bytes]:
    """One chunk, and the rest of them as slowly as it takes, while the event is not set."""
    yield canonical.encode(aggregator_api.UploadShare(header=share.header, offset=offset))
    view = memoryview(share.sealed)
    for start in range(offset, len(view), step):
        yield bytes(view[start : start + step])
        go_on.wait(60 if start else 0.01)


def payload_on_disk(party: Party, plan: Plan, hospital: str) -> bytes:
    return (party.home / "shares" / plan.hash / f"train-1-{hospital}").read_bytes()


def total_of(plan: Plan, line: Line) -> sharing.Ring:
    """The sum of the real aggregator's piece, with its peer's choice."""
    call = call_for(plan)
    choices = [PEER.choose(call, party=1), line.choose(call)]
    header, data = line.release(call, choices, piece=2)
    assert canonical.sha256(data) == header.sum_sha256
    return np.frombuffer(data, np.uint64)


# --- going on ----------------------------------------------------------------------------------


def test_an_upload_goes_on_at_any_byte_also_after_a_kill(party: Party, line: Line) -> None:
    plan = plan_with(party, "ragged")
    line.open_study(plan)
    share = share_of(plan)
    size = len(share.sealed)
    assert size > 4 * MIB
    stops = [1, 47, 112, 113, MIB - 1, MIB + 16, 3 * MIB + 5, size - 1, size]
    here = 0
    assert line.received(share) == aggregator_api.ReceivedBytes(size_bytes=0, whole=False)
    for number, stop in enumerate(stops):
        received = line.upload(share, here, stop)
        assert received == aggregator_api.ReceivedBytes(size_bytes=stop, whole=stop == size)
        if number % 3 == 1:
            party.restart()
        assert line.received(share) == received
        here = stop
    assert party.files("incoming") == []
    assert len(payload_on_disk(party, plan, "north")) == len(encoded_of(plan, "north").tobytes())


def test_a_kill_in_the_middle_of_an_upload_costs_the_missing_bytes_only(
    party: Party, line: Line
) -> None:
    plan = plan_with(party, "killed", features=300)
    line.open_study(plan)
    share, never = share_of(plan), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(line.send, dripping(share, go_on=never, step=100_000))
        until(lambda: any(path.stat().st_size >= 200_000 for path in party.files("incoming")))
        party.stop()
        never.set()
        with pytest.raises(Unavailable):
            upload.result()
    (file,) = party.files("incoming")
    here = file.stat().st_size
    assert 0 < here < len(share.sealed)
    party.start()
    assert line.received(share) == aggregator_api.ReceivedBytes(size_bytes=here, whole=False)
    assert line.upload(share, here).whole


def test_an_upload_that_begins_elsewhere_is_told_what_is_here(party: Party, line: Line) -> None:
    plan = plan_with(party, "offsets")
    line.open_study(plan)
    share = share_of(plan)
    line.upload(share, 0, 1000)
    for offset in (0, 999, 1001, len(share.sealed), 2**53 - 1):
        with pytest.raises(Refused, match="1000 bytes of this share are here"):
            line.upload(share, offset)
    assert line.received(share).size_bytes == 1000
    assert line.upload(share, 1000).whole


def test_a_share_that_was_all_here_when_the_aggregator_stopped_is_taken_without_a_byte(
    party: Party, line: Line
) -> None:
    plan = plan_with(party, "all-here")
    line.open_study(plan)
    share = share_of(plan)
    line.upload(share, 0, 10)
    (file,) = party.files("incoming")
    party.stop()
    file.write_bytes(share.sealed)  # the last chunk was written, and nothing more
    party.start()
    size = len(share.sealed)
    assert line.received(share) == aggregator_api.ReceivedBytes(size_bytes=size, whole=False)
    assert line.upload(share, size).whole


def test_bytes_that_went_bad_on_the_disk_are_thrown_away_and_sent_again(
    party: Party, line: Line
) -> None:
    plan = plan_with(party, "bad-disk")
    line.open_study(plan)
    share = share_of(plan)
    line.upload(share, 0, 2 * MIB)
    (file,) = party.files("incoming")
    with file.open("r+b") as opened:
        opened.seek(MIB)
        opened.write(b"\0" * 4096)
    with pytest.raises(aggregator_api.InvalidMessage, match="whole and unchanged"):
        line.upload(share, 2 * MIB)
    assert party.files("incoming") == []
    assert line.received(share).size_bytes == 0
    assert line.upload(share).whole


def test_of_a_hospitals_two_unfinished_shares_the_newer_one_is_kept(
    party: Party, line: Line
) -> None:
    plan = plan_with(party, "two-unfinished")
    line.open_study(plan)
    older, newer = share_of(plan), share_of(plan)
    line.upload(older, 0, 1000)
    line.upload(newer, 0, 2000)
    assert [path.stat().st_size for path in party.files("incoming")] == [2000]
    assert line.received(older).size_bytes == 0
    assert line.upload(newer, 2000).whole


def test_at_start_only_unfinished_shares_that_may_go_on_are_kept(party: Party, line: Line) -> None:
    going, chosen = plan_with(party, "goes-on"), plan_with(party, "is-chosen")
    unfinished = {plan.hash: share_of(plan, "west") for plan in (going, chosen)}
    for plan in (going, chosen):
        line.open_study(plan)
        for name in THREE:
            line.upload(share_of(plan, name))
        line.upload(unfinished[plan.hash], 0, 1000)
    two = party.files("incoming")
    assert len(two) == 2
    line.choose(call_for(chosen))
    (kept,) = party.files("incoming")
    (gone,) = set(two) - {kept}
    party.stop()
    gone.write_bytes(b"as if it had been deleted too late")
    for name in ("ab" * 32, "half.new"):
        (party.home / "incoming" / name).write_bytes(b"a stray")
    (party.home / "shares" / going.hash / "train-1-west").write_bytes(b"a stray")
    party.start()
    assert party.files("incoming") == [kept]
    assert kept.stat().st_size == 1000
    names = {path.name for path in (party.home / "shares" / going.hash).iterdir()}
    assert names == {f"train-1-{name}" for name in THREE}
    assert line.upload(unfinished[going.hash], 1000).whole


# --- one writer --------------------------------------------------------------------------------


def test_a_line_that_went_silent_gives_way_to_a_new_one(party: Party, line: Line) -> None:
    plan = plan_with(party, "silent")
    line.open_study(plan)
    share, never = share_of(plan), threading.Event()
    with ThreadPoolExecutor(1) as pool, lines_to([party]) as (other,):
        silent = pool.submit(other.send, dripping(share, go_on=never, step=1000))
        until(lambda: any(path.stat().st_size >= 2000 for path in party.files("incoming")))
        here = line.received(share)
        assert here == aggregator_api.ReceivedBytes(size_bytes=2000, whole=False)
        assert line.upload(share, here.size_bytes).whole
        never.set()
        with pytest.raises(Unavailable):
            silent.result()


def test_two_lines_that_bring_the_same_share_at_once_corrupt_nothing(
    party: Party, line: Line
) -> None:
    plan = plan_with(party, "same-at-once", features=150)
    line.open_study(plan)
    shares = {name: share_of(plan, name) for name in THREE}

    def bring(name: str) -> bool:
        while True:
            here = line.received(shares[name])
            if here.whole:
                return True
            try:
                end = here.size_bytes + 3 * MIB + 17
                line.upload(shares[name], here.size_bytes, end)
            except Unavailable:
                continue  # on a busy machine a call may look silent, and is made again
            except Refused as problem:
                assert "bytes of this share are here" in str(problem)

    with ThreadPoolExecutor(9) as pool:
        assert all(pool.map(bring, [*THREE] * 3))
    assert party.files("incoming") == []
    masked = sum(np.frombuffer(payload_on_disk(party, plan, name), np.uint64) for name in THREE)
    assert np.array_equal(total_of(plan, line), masked)


def test_whoever_waits_too_long_for_a_writer_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_buffer, "WAIT_S", 0.3)
    uploads = UploadBuffer(VectorFiles(tmp_path), Quotas(total_bytes=2**30, study_bytes=2**30))
    key = (RoundKey(plan_hash="ab", purpose="train", round=1), "north")
    cut_off: list[int] = []
    with uploads.turn(key, lambda: cut_off.append(1)):
        with (
            pytest.raises(aggregator_api.Busy, match="one connection at a time"),
            uploads.turn(key),
        ):
            pass
        with uploads.turn((key[0], "south")):
            pass  # another hospital's share does not wait
    assert cut_off == [], "it was not silent"
    with uploads.turn(key):
        pass


def test_an_upload_past_its_deadline_keeps_what_arrived(party: Party, line: Line) -> None:
    plan = plan_with(party, "deadline")
    line.open_study(plan)
    share, never = share_of(plan), threading.Event()
    with pytest.raises(Unavailable, match="deadline"):
        line.send(dripping(share, go_on=never, step=5000), timeout_s=1)
    never.set()
    here = line.received(share)
    assert here == aggregator_api.ReceivedBytes(size_bytes=10_000, whole=False)
    assert line.upload(share, here.size_bytes).whole


# --- summing -----------------------------------------------------------------------------------


def test_a_kill_in_the_middle_of_a_sum_changes_nothing(party: Party, line: Line) -> None:
    plan = plan_with(party, "killed-sum", features=1000)
    line.open_study(plan)
    for name in THREE:
        line.upload(share_of(plan, name))
    payloads = [payload_on_disk(party, plan, name) for name in THREE]
    call = call_for(plan)
    choices = [PEER.choose(call, party=1), line.choose(call)]
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(lambda: line.release(call, choices, piece=2))
        until(lambda: any(path.suffix == ".new" for path in party.files("incoming")))
        party.stop()
        with pytest.raises(Unavailable):
            asked.result()
    assert not any(plan.hash in str(path) for path in party.files("sums")), "it was in the middle"
    party.start()
    assert party.files("incoming") == []
    assert line.choose(call) == choices[1]
    assert line.chosen(call_for(plan, ("north", "south", "west"))) == THREE
    header, data = line.release(call, choices, piece=2)
    expected = sum(np.frombuffer(payload, np.uint64) for payload in payloads)
    assert data == expected.tobytes()  # type: ignore[union-attr]
    assert line.release(call, choices, piece=2) == (header, data)


@pytest.mark.slow
def test_an_aggregator_that_may_not_hold_a_vector_in_memory_sums_vectors(
    party: Party, line: Line
) -> None:
    """Shares of 100 MB arrive, are opened, summed and given with 90 MiB that it may take, threads included."""
    plan = plan_with(party, "memory", features=1024)
    line.open_study(plan)
    shares = [share_of(plan, name) for name in THREE]
    assert len(shares[0].sealed) > 95 * MIB
    line.unary("Health", b"")
    pid = party.process.pid
    before = resource.prlimit(pid, resource.RLIMIT_DATA)
    resource.prlimit(pid, resource.RLIMIT_DATA, (writable_bytes(pid) + 90 * MIB, before[1]))
    try:
        for share in shares:
            line.upload(share)
        assert len(total_of(plan, line)) * 8 > 95 * MIB
    finally:
        resource.prlimit(pid, resource.RLIMIT_DATA, before)


def writable_bytes(pid: int) -> int:
    """The private memory that a process may write to, of which `RLIMIT_DATA` is a limit."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmData"))
    return int(line.split()[1]) * 1024
