"""What the operator decides: who may open studies, what is written down, and that a study is gone."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from federation.aggregator.aggregation import Aggregation
from federation.aggregator.storage import db_schema
from federation.aggregator.storage.rows import WipeRecord
from federation.aggregator.storage.store import AggregatorStore
from federation.aggregator.storage.upload_buffer import Quotas
from federation.transport import aggregator_api
from syft_code.errors import Refused, Unavailable
from syft_code.plans import messages
from syft_code.plans.messages import OpenCall, ShareHeader, SumHeader
from syft_code.plans.plan import Plan
from syft_code.secret_sharing.envelope import SealedShare
from tests.federation.live_aggregators import (
    HOSPITALS,
    RESEARCHER,
    START_S,
    THREE,
    Played,
    call_for,
    make_plan,
    make_shares,
)

LISTED, GIB = frozenset({bytes(RESEARCHER.verify_key).hex()}), 2**30
PEER = Played.new("agg-1")
OURS = Played.new("agg-2")
Facts = dict[str, str]


@dataclass
class Operated:
    """An aggregation without a process around it, and all that it told its operator."""

    home: Path
    entries: list[tuple[str, Facts]] = field(default_factory=list)
    events: list[tuple[str, int]] = field(default_factory=list)
    stop_at: str = ""

    def open(self, **changes: object) -> "Operated":
        rules = {
            "researchers": LISTED,
            "quotas": Quotas(total_bytes=GIB, study_bytes=GIB),
        } | changes
        if not (self.home / db_schema.DATABASE).exists():
            db_schema.create(self.home)
        self.store = AggregatorStore(self.home)
        self.rules = Aggregation(
            OURS.identity,
            self.store,
            OURS.entry,
            on_event=lambda kind, size: self.events.append((kind, size)),
            log=self._log,
            **rules,  # type: ignore[arg-type]
        )
        return self

    def _log(self, kind: str, facts: Facts) -> None:
        if kind == self.stop_at:
            raise Unavailable("The log can't be written.")
        self.entries.append((kind, facts))

    def open_study(self, plan: Plan) -> None:
        call = messages.sign(OpenCall(plan_hash=plan.hash), RESEARCHER)
        self.rules.open_study(aggregator_api.OpenStudy(call=call, plan=plan.encode().decode()))

    def upload(
        self, share: SealedShare, offset: int = 0, end: int | None = None
    ) -> aggregator_api.ReceivedBytes:
        chunks = aggregator_api.chunks(memoryview(share.sealed)[offset:end])
        upload = aggregator_api.UploadShare(header=share.header, offset=offset)
        return self.rules.receive(upload, chunks, cut_off=lambda: None)

    def fill(self, plan: Plan, *, round_number: int = 1) -> None:
        for name in THREE:
            self.upload(make_shares(plan, name, round_number=round_number)[1])

    def ask(self, plan: Plan, *, round_number: int = 1) -> aggregator_api.ReleaseSum:
        call = call_for(plan, round=round_number)
        choices = (PEER.choose(call, party=1), self.rules.choose(call))
        return aggregator_api.ReleaseSum(call=call, choices=choices, piece=2, group=1, offset=0)

    def release(self, asked: aggregator_api.ReleaseSum) -> bytes:
        with self.rules.release(asked) as (_, data):
            return bytes(data)

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.entries]

    def files(self) -> list[Path]:
        folders = [self.home / name for name in ("incoming", "shares", "sums")]
        return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Operated]:
    operated = Operated(tmp_path).open()
    yield operated
    operated.store.close()


def plan_called(study: str, **changes: object) -> Plan:
    return make_plan([PEER, OURS], study, **changes)  # type: ignore[arg-type]


def filled(
    one: Operated, study: str = "a-study"
) -> tuple[Plan, aggregator_api.ReleaseSum, SealedShare]:
    """One round summed, three shares and a part of a fourth waiting for the second."""
    plan = plan_called(study)
    one.open_study(plan)
    one.fill(plan)
    asked = one.ask(plan)
    one.release(asked)
    one.fill(plan, round_number=2)
    part = make_shares(plan, "west", round_number=2)[1]
    one.upload(part, 0, 1000)
    return plan, asked, part


# --- who may open a study, and what is told of it ----------------------------------------------


def test_only_listed_researchers_open_studies(tmp_path: Path) -> None:
    listed = bytes(RESEARCHER.verify_key).hex()
    one = Operated(tmp_path).open(researchers=frozenset({"ab" * 32}))
    with pytest.raises(Refused, match="whom this aggregator's operator has listed"):
        one.open_study(plan_called("unlisted"))
    assert one.kinds() == []
    one.store.close()
    one.open(researchers=frozenset({"ab" * 32, listed})).open_study(plan_called("listed"))
    assert one.kinds() == ["study opened"]
    one.store.close()


def test_an_empty_list_of_researchers_is_nobody(tmp_path: Path) -> None:
    one = Operated(tmp_path).open(researchers=frozenset())
    with pytest.raises(Refused, match="whom this aggregator's operator has listed"):
        one.open_study(plan_called("anybodys"))
    assert one.kinds() == []
    one.store.close()


def test_the_operators_log_tells_each_decision_once_with_public_facts(one: Operated) -> None:
    plan, asked, _ = filled(one)
    one.open_study(plan)
    one.rules.choose(asked.call)
    one.release(asked)
    round_key = {"plan_hash": plan.hash, "purpose": "train", "round": "1"}
    with one.rules.release(asked) as (signed, _):
        summed = messages.verify(SumHeader, signed, OURS.entry.verify_key)
    assert one.entries == [
        (
            "study opened",
            {
                "plan_hash": plan.hash,
                "study": "a-study",
                "researcher_key": bytes(RESEARCHER.verify_key).hex(),
            },
        ),
        ("set chosen", {**round_key, "hospitals": " ".join(THREE)}),
        (
            "sum released",
            {
                **round_key,
                "hospitals": " ".join(THREE),
                "piece": "2",
                "group": "1",
                "sum_sha256": summed.sum_sha256,
            },
        ),
    ]


def test_what_cannot_be_written_down_does_not_happen(one: Operated) -> None:
    plan = plan_called("unwritten")
    one.stop_at = "study opened"
    with pytest.raises(Unavailable, match="can't be written"):
        one.open_study(plan)
    with pytest.raises(Refused, match="opened here first"):
        one.upload(make_shares(plan, "north")[1])
    one.stop_at = "set chosen"
    one.open_study(plan)
    one.fill(plan)
    with pytest.raises(Unavailable, match="can't be written"):
        one.ask(plan)
    assert one.upload(make_shares(plan, "west")[1]).whole, "no set was chosen"
    one.stop_at = "sum released"
    asked = one.ask(plan)
    with pytest.raises(Unavailable, match="can't be written"):
        one.release(asked)
    one.stop_at = "study wiped"
    assert one.release(one.ask(plan))
    with pytest.raises(Unavailable, match="can't be written"):
        one.rules.wipe(plan.hash)
    one.stop_at = ""
    assert one.rules.wipe(plan.hash).sums == 1
    assert one.kinds() == ["study opened", "set chosen", "sum released", "study wiped"]


def test_events_count_what_happened(one: Operated) -> None:
    _, asked, part = filled(one)
    one.release(asked)
    counted = [kind for kind, _ in one.events]
    size = len(part.sealed)
    assert {kind: counted.count(kind) for kind in counted} == {
        "study_opened": 1,
        "upload_bytes": 7,
        "share_taken": 6,
        "set_chosen": 1,
        "sum_released": 1,
        "sum_milliseconds": 1,
    }
    assert sum(n for kind, n in one.events if kind == "upload_bytes") == 6 * size + 1000
    assert sum(n for kind, n in one.events if kind == "share_taken") == 6 * size


# --- wiping ------------------------------------------------------------------------------------


def test_a_wiped_study_is_gone_and_refused_for_ever(one: Operated) -> None:
    kept, _, _ = filled(one, "kept")
    before = one.files()
    plan, asked, part = filled(one)
    gone = [path for path in one.files() if path not in before]
    size = sum(path.stat().st_size for path in gone)
    wiped = one.rules.wipe(plan.hash)
    assert wiped == WipeRecord(plan_hash=plan.hash, shares=4, sums=1, size_bytes=size)
    assert sorted(one.files()) == sorted(before), "nothing else is gone"
    facts = {"plan_hash": plan.hash, "study": "a-study", "shares": "4", "sums": "1"}
    assert one.entries[-1] == ("study wiped", {**facts, "size_bytes": str(size)})
    assert one.events[-1] == ("study_wiped", size)
    one.store.close()
    one.open()
    assert one.rules.wipe(plan.hash) == wiped
    assert one.kinds().count("study wiped") == 1
    refused: list[Callable[[], object]] = [
        lambda: one.open_study(plan),
        lambda: one.upload(part, 1000),
        lambda: one.rules.received(part.header),
        lambda: one.rules.choose(asked.call),
        lambda: one.release(asked),
    ]
    for ask in refused:
        with pytest.raises(Refused, match="was wiped here"):
            ask()
    north = bytes(HOSPITALS["north"].verify_key).hex()
    assert len(one.rules.anchors(north)) == 4, "anchors stay"
    assert len(one.rules.headers(asked.call)) == 3, "and what was signed"
    assert one.release(one.ask(kept))


def test_a_study_finds_its_headers_behind_any_number_of_later_ones(
    one: Operated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a hospital's key over all studies, the newest alone are told."""
    monkeypatch.setattr(aggregator_api, "MAX_ANCHORS", 1)
    first, later = plan_called("first"), plan_called("later")
    for plan in (first, later):
        one.open_study(plan)
        one.fill(plan)
    assert len(one.rules.anchors(bytes(HOSPITALS["north"].verify_key).hex())) == 1
    told = [messages.claimed(ShareHeader, signed) for signed in one.rules.headers(call_for(first))]
    assert {(header.plan_hash, header.hospital) for header in told} == {
        (first.hash, name) for name in THREE
    }


def test_a_study_that_was_never_opened_is_not_wiped(one: Operated) -> None:
    with pytest.raises(Refused, match="opened here to be wiped"):
        one.rules.wipe("ab" * 32)


def test_a_study_is_not_wiped_under_an_upload_or_a_sum(one: Operated) -> None:
    plan, asked, part = filled(one)
    coming, go_on = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        coming.set()
        go_on.wait(30)
        yield bytes(part.sealed[1000:])

    upload = aggregator_api.UploadShare(header=part.header, offset=1000)
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(lambda: one.rules.receive(upload, slowly(), cut_off=lambda: None))
        assert coming.wait(30)
        with pytest.raises(Refused, match="must be at rest"):
            one.rules.wipe(plan.hash)
        go_on.set()
        assert done.result().whole
    with one.rules.release(asked) as (_, data):
        with pytest.raises(Refused, match="must be at rest"):
            one.rules.wipe(plan.hash)
        assert len(data) > 0
    with one.rules._summing, ThreadPoolExecutor(1) as pool:  # and one that waits for its turn
        waits = pool.submit(lambda: one.release(asked))
        while not one.rules._under_way[plan.hash]:
            pass
        with pytest.raises(Refused, match="must be at rest"):
            one.rules.wipe(plan.hash)
        one.rules._summing.release()
        assert waits.result()
        one.rules._summing.acquire()
    assert one.rules.wipe(plan.hash).sums == 1


CHILD = """
import os, signal, sys
from pathlib import Path
from nacl.public import PrivateKey
from nacl.signing import SigningKey
from federation.aggregator.aggregation import Aggregation
from federation.aggregator.storage.store import AggregatorStore
from federation.aggregator.storage.upload_buffer import Quotas
from tests.federation.live_aggregators import Played

home, plan_hash, sign_key, seal_key, where = sys.argv[1:]
ours = Played("agg-2", SigningKey(bytes.fromhex(sign_key)), PrivateKey(bytes.fromhex(seal_key)))

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

unlink, count = Path.unlink, []

def die_at_the_third(path, missing_ok=False):
    count.append(path)
    if len(count) == 3:
        die()
    unlink(path, missing_ok)

store = AggregatorStore(Path(home))
rules = Aggregation(
    ours.identity,
    store,
    ours.entry,
    researchers=frozenset(),
    quotas=Quotas(total_bytes=2**30, study_bytes=2**30),
    log=die if where == "log" else lambda *_: None,
)
if where == "files":
    Path.unlink = die_at_the_third
rules.wipe(plan_hash)
"""


@pytest.mark.parametrize(("where", "left"), [("files", 3), ("log", 0)])
def test_a_wipe_that_was_killed_is_finished_at_the_next_start(
    one: Operated, where: str, left: int
) -> None:
    plan, _, part = filled(one)
    size = sum(path.stat().st_size for path in one.files())
    one.store.close()
    keys = (bytes(OURS.sign_key).hex(), bytes(OURS.seal_key).hex())
    killed = subprocess.run(
        [sys.executable, "-c", CHILD, str(one.home), plan.hash, *keys, where], timeout=START_S
    )
    assert killed.returncode == -9
    assert len(one.files()) == left
    assert "study wiped" not in one.kinds()
    one.open()
    assert one.files() == []
    facts = {"plan_hash": plan.hash, "study": "a-study", "shares": "4", "sums": "1"}
    assert one.entries[-1] == ("study wiped", {**facts, "size_bytes": str(size)})
    with pytest.raises(Refused, match="was wiped here"):
        one.upload(part, 1000)
    one.store.close()
    one.open()
    assert one.kinds().count("study wiped") == 1
