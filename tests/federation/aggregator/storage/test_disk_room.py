"""An aggregator whose disk is full, or as full as its operator allows."""

import errno
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from federation.aggregator.storage import summation, vector_files
from federation.aggregator.storage.upload_buffer import Quotas
from federation.transport import aggregator_api
from syft_code import canonical
from syft_code.errors import Refused, Unavailable
from syft_code.plans.plan import Plan
from syft_code.secret_sharing import envelope
from tests.federation.aggregator.test_wipe import GIB, OURS, Operated, filled, plan_called
from tests.federation.live_aggregators import (
    HOSPITALS,
    THREE,
    Line,
    Party,
    Played,
    call_for,
    encoded_of,
    launch,
    make_plan,
    make_shares,
)

MIB = 1024 * 1024
DISK_MIB = 160
PEER = Played.new("agg-0")


def can_mount() -> bool:
    """Whether this machine lets us have a small disk of our own."""
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True
    )
    return tried.returncode == 0


# --- a full disk -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Party]:
    """An aggregator on a small disk; `home` is how it looks from outside."""
    if not can_mount():
        pytest.skip("no disk of our own: unshare and mount are not allowed here")
    home = tmp_path_factory.mktemp("small") / "agg-1"
    home.mkdir(mode=0o700)
    mount = f'mount -t tmpfs -o size={DISK_MIB}m,mode=700 tmpfs "{home}" && exec "$@"'
    process, address = launch(home, name="agg-1", before=["unshare", "-rm", "sh", "-c", mount, "-"])
    yield Party("agg-1", Path(f"/proc/{process.pid}/root{home}"), process, address)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)


@pytest.fixture
def line(small: Party) -> Iterator[Line]:
    opened = Line(small.entry)
    yield opened
    opened.close()


def free_bytes(party: Party) -> int:
    return shutil.disk_usage(party.home).free


def fill(party: Party, *, but: int = 0) -> Path:
    """Somebody else's file takes all of the disk but so many bytes."""
    ballast = party.home / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free_bytes(party) - but)
    return ballast


def test_a_disk_that_fills_up_during_an_upload_loses_nothing(small: Party, line: Line) -> None:
    plan = make_plan([PEER, small], "fills-up", features=200, width_px=64)
    line.open_study(plan)
    share, full = make_shares(plan, "north")[1], threading.Event()
    size = len(share.sealed)
    assert size > 15 * MIB

    def parts() -> Iterator[bytes]:
        yield canonical.encode(aggregator_api.UploadShare(header=share.header, offset=0))
        for number, chunk in enumerate(aggregator_api.chunks(share.sealed)):
            if number == 3:
                full.wait(30)
            yield chunk

    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(line.send, parts())
        while not any(path.stat().st_size == 3 * MIB for path in small.files("incoming")):
            time.sleep(0.01)
        ballast = fill(small, but=2 * MIB)
        full.set()
        with pytest.raises(Unavailable, match="its operator must make room"):
            upload.result()
    here = line.received(share)
    assert 3 * MIB <= here.size_bytes <= 5 * MIB
    assert not here.whole
    with pytest.raises(Unavailable, match="its operator must make room"):
        line.upload(share, here.size_bytes)
    assert line.received(share) == here
    ballast.unlink()
    assert line.upload(share, here.size_bytes).whole


def test_a_disk_that_is_full_when_a_share_is_opened_or_a_set_chosen_or_summed(
    small: Party, line: Line
) -> None:
    plan = make_plan([PEER, small], "later", features=100, width_px=64)
    line.open_study(plan)
    shares = [make_shares(plan, name)[1] for name in THREE]
    size = len(shares[0].sealed)
    for share in shares[1:]:
        assert line.upload(share).whole
    last, held = shares[0], threading.Event()
    line.upload(last, 0, size - 1)

    def byte() -> Iterator[bytes]:
        yield canonical.encode(aggregator_api.UploadShare(header=last.header, offset=size - 1))
        held.wait(30)
        yield bytes(last.sealed[size - 1 :])

    with ThreadPoolExecutor(1) as pool:
        upload = pool.submit(line.send, byte())
        time.sleep(0.5)
        ballast = fill(small, but=MIB)  # for the byte, and not for what is in the share
        held.set()
        with pytest.raises(Unavailable, match="its operator must make room"):
            upload.result()
    assert line.received(last) == aggregator_api.ReceivedBytes(size_bytes=size, whole=False)
    ballast.unlink()
    assert line.upload(last, size).whole

    call = call_for(plan)
    ballast = fill(small)
    with pytest.raises(Unavailable, match="its operator must make room"):
        line.choose(call)
    ballast.unlink()
    choices = [PEER.choose(call, party=1), line.choose(call)]
    ballast = fill(small, but=MIB)
    with pytest.raises(Unavailable, match="its operator must make room"):
        line.release(call, choices, piece=2)
    assert line.choose(call) == choices[1]
    ballast.unlink()
    header, data = line.release(call, choices, piece=2)
    assert len(data) == len(encoded_of(plan, "north").tobytes())
    assert canonical.sha256(data) == header.sum_sha256
    assert small.files("incoming") == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_write_that_fails_for_want_of_room_says_so(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Operated(tmp_path).open()
    plan = plan_called("no-room")
    one.open_study(plan)
    share = make_shares(plan, "north")[1]
    for name in ("write", "fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(vector_files.os, name, failing(number))
            with pytest.raises(Unavailable, match="its operator must make room"):
                one.upload(share, one.rules.received(share.header).size_bytes)
    assert one.upload(share, one.rules.received(share.header).size_bytes).whole
    one.store.close()


def failing(number: int) -> object:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_a_database_without_room_says_so_and_works_again(tmp_path: Path) -> None:
    one = Operated(tmp_path).open()
    _, asked, part = filled(one)
    pages = one.store.database.execute("PRAGMA page_count").fetchone()[0]
    one.store.database.execute(f"PRAGMA max_page_count = {pages}")
    refused = 0
    for number in range(40):  # until the last page is full
        try:
            one.open_study(plan_called(f"more-{number}"))
        except Unavailable as problem:
            assert "its operator must make room" in str(problem)
            refused += 1
    assert refused > 0
    assert one.release(asked)
    one.store.database.execute("PRAGMA max_page_count = 1000000")
    one.open_study(plan_called("more-39"))
    assert one.upload(part, 1000).whole
    one.store.close()


# --- the operator's limit ----------------------------------------------------------------------


def test_all_studies_together_store_no_more_than_the_operator_allows(tmp_path: Path) -> None:
    """Room for three shares and their sum, and for the last share twice: sealed and open."""
    plan, other = plan_called("first"), plan_called("second")
    header = envelope.check_header(plan, 2, make_shares(plan, "north")[1].header)
    payload, sealed = envelope.payload_bytes(header), envelope.sealed_bytes(header)
    limit = 3 * payload + sealed + payload
    one = Operated(tmp_path).open(quotas=Quotas(total_bytes=limit - 1, study_bytes=GIB))
    for study in (plan, other):
        one.open_study(study)
    for name in THREE[:2]:
        one.upload(make_shares(plan, name)[1])
    last = make_shares(plan, THREE[2])[1]
    for share in (last, make_shares(other, "north")[1]):
        with pytest.raises(Refused, match="operator's limit for all studies"):
            one.upload(share)
    assert one.rules.received(last.header).size_bytes == 0
    one.store.close()

    one.open(quotas=Quotas(total_bytes=limit, study_bytes=GIB))
    assert one.upload(last).whole
    with pytest.raises(Refused, match="operator's limit for all studies"):
        one.upload(make_shares(other, "north")[1])
    assert one.release(one.ask(plan)), "a sum always has room"
    assert one.store.files.size_bytes() == payload
    assert one.upload(make_shares(other, "north")[1]).whole
    one.store.close()


def test_shares_on_their_way_count_as_if_they_were_here(tmp_path: Path) -> None:
    plan = plan_called("together")
    header = envelope.check_header(plan, 2, make_shares(plan, "north")[1].header)
    payload, sealed = envelope.payload_bytes(header), envelope.sealed_bytes(header)
    one = Operated(tmp_path).open(
        quotas=Quotas(total_bytes=2 * (payload + sealed) + payload - 1, study_bytes=GIB)
    )
    one.open_study(plan)
    first, second = (make_shares(plan, name)[1] for name in ("north", "south"))
    coming, go_on = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        coming.set()
        go_on.wait(30)
        yield bytes(first.sealed)

    upload = aggregator_api.UploadShare(header=first.header, offset=0)
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(lambda: one.rules.receive(upload, slowly(), cut_off=lambda: None))
        assert coming.wait(30)
        with pytest.raises(Refused, match="operator's limit for all studies"):
            one.upload(second)
        go_on.set()
        assert done.result().whole
    assert one.upload(second).whole
    one.store.close()


def test_the_sum_of_another_study_is_not_crowded_out(tmp_path: Path) -> None:
    """OURS has room for one study's shares and sum; the second study may not eat the sum's."""
    assert OURS.entry.name == "agg-2"
    plan, other = plan_called("first"), plan_called("second")
    header = envelope.check_header(plan, 2, make_shares(plan, "north")[1].header)
    payload, sealed = envelope.payload_bytes(header), envelope.sealed_bytes(header)
    one = Operated(tmp_path).open(
        quotas=Quotas(total_bytes=3 * payload + 2 * payload + sealed, study_bytes=GIB)
    )
    one.open_study(plan)
    one.open_study(other)
    one.fill(plan)
    with pytest.raises(Refused, match="operator's limit for all studies"):
        one.upload(make_shares(other, "north")[1])
    one.store.close()


# --- a study's and a hospital's part -----------------------------------------------------------


def sizes() -> tuple[int, int]:
    """One share of these plans: open, and sealed."""
    plan = plan_called("sizes")
    header = envelope.check_header(plan, 2, make_shares(plan, "north")[1].header)
    return envelope.payload_bytes(header), envelope.sealed_bytes(header)


def quotas(study_bytes: int) -> Quotas:
    return Quotas(total_bytes=GIB, study_bytes=study_bytes)


def test_a_hospital_that_sends_all_its_rounds_at_once_keeps_the_others_room(
    tmp_path: Path,
) -> None:
    """Of four hospitals each has a quarter of what the sums leave: here one share that comes."""
    plan = plan_called("greedy")
    one = Operated(tmp_path).open(quotas=quotas(just_enough(plan)))
    one.open_study(plan)
    one.upload(make_shares(plan, "north")[1])
    with pytest.raises(Refused, match="A hospital's shares that wait for their sums may take"):
        one.upload(make_shares(plan, "north", round_number=2)[1])
    for name in THREE[:2]:
        one.upload(make_shares(plan, "south" if name == "north" else name)[1])
    one.store.close()


def just_enough(plan: Plan) -> int:
    """A plan's sums, and a share that comes from each hospital, sealed and open."""
    payload, sealed = sizes()
    sums = plan.rounds * payload + summation.sums_bytes(plan, "evaluate", 2)
    return sums + 4 * (payload + sealed)


def test_a_study_that_is_opened_has_room_to_its_last_share(tmp_path: Path) -> None:
    """All hospitals in all rounds, the earlier sums still here; a byte less opens nothing."""
    plan = plan_called("long", rounds=6)
    one = Operated(tmp_path).open(quotas=quotas(just_enough(plan) - 1))
    with pytest.raises(Refused, match=r"sums of all its rounds, .* fewer rounds"):
        one.open_study(plan)
    assert one.kinds() == []
    one.store.close()

    one.open(quotas=quotas(just_enough(plan)))
    one.open_study(plan)
    for number in plan.rounds_of("train"):
        for name in HOSPITALS:
            assert one.upload(make_shares(plan, name, round_number=number)[1]).whole
        one.release(one.ask(plan, round_number=number))
    for name in HOSPITALS:
        assert one.upload(make_shares(plan, name, purpose="evaluate", round_number=2)[1]).whole
    one.store.close()
