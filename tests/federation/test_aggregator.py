"""Three real aggregator processes, spoken to over gRPC and TLS."""

import contextlib
import dataclasses
import os
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest
from nacl.signing import SigningKey

from federation import aggregator_store, collector, wire
from federation.aggregation import Aggregation
from federation.aggregator_files import Slot
from federation.aggregator_store import Store
from federation.collector import AggregatorClient, collect
from syft_code import audit, canonical, envelope, messages, sharing
from syft_code.envelope import SealedShare
from syft_code.errors import InvalidMessage, Refused, SharingError, Unavailable
from syft_code.messages import Purpose, ReleaseCall, ShareHeader, Signed, SumHeader
from syft_code.plan import Aggregator, DpSgd, Evaluation, Hospital, Plan, Sgd
from syft_code.recipes import CrossEntropy, DataSpec, LayerStack, Linear, Recipe

HOSPITALS = {name: SigningKey.generate() for name in ("north", "south", "east", "west")}
THREE = ("north", "south", "east")
RESEARCHER = SigningKey.generate()
LOG_SHA256 = "1a" * 32
START_S = 30


@dataclass
class Party:
    """One aggregator process and its folder."""

    name: str
    home: Path
    process: subprocess.Popen[str]
    address: str

    @property
    def entry(self) -> Aggregator:
        data = (self.home / "public.json").read_bytes()
        return canonical.parse(Aggregator, data, what="entry")

    def restart(self, *, kill: int = signal.SIGKILL) -> None:
        self.process.send_signal(kill)
        self.process.wait(START_S)
        self.process.stdout.close()
        port = int(self.address.rpartition(":")[2])
        self.process, self.address = launch(self.home, name=self.name, port=port)


def command(home: Path, *, name: str, port: int = 0) -> list[str]:
    program = [sys.executable, "-m", "federation.aggregator"]
    return [*program, "--home", str(home), "--name", name, "--port", str(port)]


def launch(
    home: Path, *, name: str, port: int = 0, extra: Sequence[str] = ()
) -> tuple[subprocess.Popen[str], str]:
    with (home.parent / f"{name}.stderr").open("a") as errors:
        process = subprocess.Popen(
            [*command(home, name=name, port=port), *extra],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    line = process.stdout.readline()
    ready = re.fullmatch(rf"ready {name} (127\.0\.0\.1:\d+)\n", line)
    assert ready, f"{line!r}, {(home.parent / f'{name}.stderr').read_text()}"
    return process, ready[1]


def refuse_to_start(home: Path, *, name: str = "agg-1", port: int = 0) -> str:
    """Start an aggregator that must not start; returns its one sentence."""
    done = subprocess.run(
        command(home, name=name, port=port), capture_output=True, text=True, timeout=START_S
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Party]]:
    folder = tmp_path_factory.mktemp("aggregators")
    started = []
    try:
        for name in ("agg-1", "agg-2", "agg-3"):
            process, address = launch(folder / name, name=name)
            started.append(Party(name, folder / name, process, address))
        yield started
        for party in started:
            party.process.terminate()
            rest, _ = party.process.communicate(timeout=START_S)
            assert party.process.returncode == 0
            assert rest == "", "nothing but the ready line is printed"
            assert (folder / f"{party.name}.stderr").read_text() == ""
    finally:
        for party in started:
            party.process.kill()
            party.process.wait()


@pytest.fixture(scope="module")
def clients(parties: list[Party]) -> Iterator[list[AggregatorClient]]:
    opened = [AggregatorClient(party.entry) for party in parties]
    yield opened
    for client in opened:
        client.close()


def make_plan(parties: Sequence[Party], study: str, *, features: int = 64, ring: int = 64) -> Plan:
    return Plan(
        study=study,
        researcher_key=bytes(RESEARCHER.verify_key).hex(),
        data=DataSpec(
            kind="ham10000",
            task="classification",
            channels=("red", "green", "blue"),
            height_px=8,
            width_px=8,
            classes=("benign", "malignant"),
            patient_unit="lesion",
            stand_in=True,
        ),
        recipe=Recipe(model=LayerStack(layers=(Linear(features=features),)), loss=CrossEntropy()),
        dp_sgd=DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=0.1, steps=1),
        optimizer=Sgd(learning_rate=0.1),
        rounds=2,
        hospitals=tuple(
            Hospital(
                name=name,
                verify_key=bytes(key.verify_key).hex(),
                asset="slices",
                asset_version=1,
                patients=100,
            )
            for name, key in HOSPITALS.items()
        ),
        aggregators=tuple(party.entry for party in parties),
        min_hospitals=3,
        evaluation=Evaluation(noise_multiplier=1.0, after_rounds=(2,)),
        sharing=sharing.Sharing()
        if ring == 64
        else sharing.Sharing(ring_bits=32, fraction_bits=16, bound=1000.0),
    )


def update_of(plan: Plan, hospital: str, *, length: int | None = None) -> np.ndarray:
    """What a hospital would share: a weighted update, then its weight."""
    seed = int.from_bytes(f"{plan.study}/{hospital}".encode(), "little") % 2**63
    values = np.random.default_rng(seed).normal(
        size=length or envelope.vector_length(plan, "train")
    )
    values[-1] = 100.0
    return values


def encoded_of(plan: Plan, hospital: str, *, length: int | None = None) -> sharing.Ring:
    values = update_of(plan, hospital, length=length)
    return sharing.encode(values, plan.sharing, hospitals=len(plan.hospitals))


def make_shares(
    plan: Plan,
    hospital: str,
    *,
    purpose: Purpose = "train",
    round_number: int = 1,
    length: int | None = None,
    log_sha256: str = LOG_SHA256,
) -> list[SealedShare]:
    return envelope.seal(
        plan,
        hospital=hospital,
        purpose=purpose,
        round_number=round_number,
        encoded=encoded_of(plan, hospital, length=length),
        hospital_key=HOSPITALS[hospital],
        log_sha256=log_sha256,
        seeds=[os.urandom(32) for _ in plan.aggregators[1:]],
    )


def open_and_submit(
    plan: Plan, clients: Sequence[AggregatorClient], hospitals: Sequence[str], **about: object
) -> dict[str, list[SealedShare]]:
    shares = {name: make_shares(plan, name, **about) for name in hospitals}  # type: ignore[arg-type]
    for party, client in enumerate(clients):
        client.open_study(plan)
        for name in hospitals:
            client.submit(shares[name][party])
    return shares


def call_for(
    plan: Plan, hospitals: Sequence[str] = THREE, *, key: SigningKey = RESEARCHER, **changes: object
) -> Signed:
    call = ReleaseCall(plan_hash=plan.hash, purpose="train", round=1, hospitals=tuple(hospitals))
    return messages.sign(dataclasses.replace(call, **changes), key)  # type: ignore[arg-type]


def total_of(
    plan: Plan, clients: Sequence[AggregatorClient], hospitals: Sequence[str], **about: object
) -> tuple[np.ndarray, sharing.Ring]:
    wanted = {"purpose": "train", "round_number": 1, **about}
    return collect(plan, clients, hospitals=hospitals, researcher_key=RESEARCHER, **wanted)  # type: ignore[arg-type]


def resign(share: SealedShare, *, by: str = "north", **changes: object) -> SealedShare:
    header = canonical.parse(ShareHeader, share.header.message.encode(), what="header")
    changed = dataclasses.replace(header, **changes)
    return dataclasses.replace(share, header=messages.sign(changed, HOSPITALS[by]))


# --- a whole round ---------------------------------------------------------------------------


@pytest.mark.parametrize(("ring", "features"), [(64, 900), (32, 64)])
def test_four_hospitals_of_which_one_drops_out_give_the_exact_sum(
    parties: list[Party], clients: list[AggregatorClient], ring: int, features: int
) -> None:
    plan = make_plan(parties, f"whole-{ring}", features=features, ring=ring)
    shares = open_and_submit(plan, clients, THREE)
    half_sent = make_shares(plan, "west")
    clients[0].submit(half_sent[0])  # and then west is gone
    vector, raw = total_of(plan, clients, THREE)
    plain = sum(encoded_of(plan, name) for name in THREE)
    assert np.array_equal(raw, plain)
    exact = sum(update_of(plan, name) for name in THREE)
    assert np.abs(vector - exact).max() <= 3 * 2.0 ** -(plan.sharing.fraction_bits + 1) + 1e-12
    assert vector[-1] == 300.0
    largest = max(sum(len(s.to_bytes()) for s in shares[name]) for name in THREE)
    assert largest <= raw.nbytes + 4000, "on the wire: about one vector for any k"


def test_an_evaluation_is_summed_at_the_length_that_follows_from_the_plan(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    plan = make_plan(parties, "evaluation")
    length = envelope.vector_length(plan, "evaluate")
    open_and_submit(plan, clients, THREE, purpose="evaluate", round_number=2, length=length)
    longer = make_shares(plan, "west", purpose="evaluate", round_number=2, length=length + 1)
    with pytest.raises(InvalidMessage, match="as many elements"):
        clients[0].submit(longer[0])
    vector, raw = total_of(plan, clients, THREE, purpose="evaluate", round_number=2)
    assert np.array_equal(raw, sum(encoded_of(plan, name, length=length) for name in THREE))
    assert vector[-1] == 300.0
    with pytest.raises(InvalidMessage, match="round that the plan names"):
        clients[0].submit(make_shares(plan, "west", purpose="evaluate", length=length)[0])


def test_health_tells_the_entry_of_the_roster(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    assert [client.health() for client in clients] == [party.entry for party in parties]


# --- shares that must not be taken -----------------------------------------------------------


def test_shares_that_are_forged_or_out_of_place_are_refused(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    plan = make_plan(parties, "hostile")
    clients[0].open_study(plan)
    share, second, _ = make_shares(plan, "north")
    flipped = bytes([share.sealed[0] ^ 1]) + share.sealed[1:]
    wrong = {
        "signature of the key": resign(share, by="south"),
        "roster": resign(share, hospital="stranger"),
        "round that the plan names": resign(share, round=3),
        "meant for this aggregator": second,
        "whole and unchanged": dataclasses.replace(share, sealed=flipped),
        "cut off": dataclasses.replace(share, sealed=share.sealed[:-1]),
        "end where its header says": dataclasses.replace(share, sealed=share.sealed + b"\0"),
        "sealed under the header": resign(share, round=2),
        "well formed": dataclasses.replace(share, header=Signed(message="{}", signature="00")),
    }
    for sentence, bad in wrong.items():
        with pytest.raises(InvalidMessage, match=sentence):
            clients[0].submit(bad)
    clients[0].submit(share)  # none of them took its place


def test_a_captured_share_is_not_opened_for_a_study_made_up_around_it(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    """Without the digest inside the seal, this would give the researcher one hospital's update."""
    plan, trap = make_plan(parties, "honest"), make_plan(parties, "trap")
    captured = make_shares(plan, "north")
    for client, share in zip(clients, captured, strict=True):
        client.open_study(trap)
        with pytest.raises(InvalidMessage, match="sealed under the header"):
            client.submit(resign(share, by="east", hospital="east", plan_hash=trap.hash))


def test_a_share_for_another_study_is_refused(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    unopened = make_plan(parties, "unopened")
    with pytest.raises(Refused, match="opened here first"):
        clients[0].submit(make_shares(unopened, "north")[0])
    other = make_plan(parties, "other")
    clients[0].open_study(other)
    replayed = resign(make_shares(unopened, "north")[0], plan_hash=other.hash)
    with pytest.raises(InvalidMessage, match="sealed under the header"):
        clients[0].submit(replayed)


def test_the_same_share_again_is_accepted_and_a_different_one_refused(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    plan = make_plan(parties, "duplicates")
    shares = open_and_submit(plan, clients, THREE)
    for client, share in zip(clients, shares["north"], strict=True):
        client.submit(share)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(client.submit, [share] * 4))
    with pytest.raises(Refused, match="different one is here already"):
        clients[0].submit(make_shares(plan, "north")[0])
    _, raw = total_of(plan, clients, THREE)
    assert np.array_equal(raw, sum(encoded_of(plan, name) for name in THREE))
    clients[0].submit(shares["north"][0])  # still true after the release


def test_of_different_shares_at_once_one_is_taken(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    plan = make_plan(parties, "race-of-shares")
    clients[0].open_study(plan)
    rivals = [make_shares(plan, "north")[0] for _ in range(6)]

    def taken(share: SealedShare) -> bool:
        try:
            clients[0].submit(share)
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(taken, rivals)) == 1


def test_a_share_after_the_release_is_too_late(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    plan = make_plan(parties, "late")
    open_and_submit(plan, clients, THREE)
    before = clients[0].release(call_for(plan))
    with pytest.raises(Refused, match="too late"):
        clients[0].submit(make_shares(plan, "west")[0])
    assert clients[0].release(call_for(plan)) == before


def test_a_plan_that_does_not_name_this_aggregator_is_refused(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    plan = make_plan(parties[1:], "without-the-first")
    with pytest.raises(Refused, match="with its own keys"):
        clients[0].open_study(plan)
    first = parties[0].entry
    stolen = dataclasses.replace(first, seal_key="0f" * 32)
    roster = (stolen, *make_plan(parties, "stolen").aggregators[1:])
    with pytest.raises(Refused, match="with its own keys"):
        clients[0].open_study(dataclasses.replace(plan, aggregators=roster))


# --- sums that must not be released ----------------------------------------------------------


def test_a_second_set_is_refused_and_the_first_gives_the_same_bytes(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    plan = make_plan(parties, "two-sets")
    open_and_submit(plan, clients, tuple(HOSPITALS))
    before = [client.release(call_for(plan)) for client in clients]
    for other in (tuple(HOSPITALS), ("north", "south", "west")):
        with pytest.raises(Refused, match="another set of hospitals"):
            clients[0].release(call_for(plan, other))
        with pytest.raises(Refused, match="another set of hospitals"):
            total_of(plan, clients, other)
    for party in parties:
        party.restart()
    assert [client.release(call_for(plan)) for client in clients] == before
    assert clients[0].release(call_for(plan, ("east", "north", "south"))) == before[0]
    with pytest.raises(Refused, match="another set of hospitals"):
        clients[0].release(call_for(plan, tuple(HOSPITALS)))


def test_of_two_sets_at_once_one_is_released(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    plan = make_plan(parties, "race-of-sets")
    open_and_submit(plan, clients[:1], tuple(HOSPITALS))
    sets = [THREE, ("north", "south", "west"), tuple(HOSPITALS), ("south", "east", "west")]

    def ask(hospitals: Sequence[str]) -> SumHeader | None:
        try:
            return clients[0].release(call_for(plan, hospitals))[0]
        except Refused:
            return None

    with ThreadPoolExecutor(8) as pool:
        headers = [header for header in pool.map(ask, sets * 2) if header]
    assert len(headers) == 2
    assert headers[0] == headers[1]


def test_sums_that_no_plan_allows_are_refused(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    plan = make_plan(parties, "refusals")
    open_and_submit(plan, clients, THREE)
    release = clients[0].release
    with pytest.raises(Refused, match="at least 3 hospitals"):
        release(call_for(plan, ("north", "south")))
    with pytest.raises(InvalidMessage, match="each once"):
        release(call_for(plan, ("north", "south", "south")))
    with pytest.raises(InvalidMessage, match="each once"):
        release(call_for(plan, ("north", "south", "stranger")))
    with pytest.raises(Refused, match="3 of 4 are"):
        release(call_for(plan, tuple(HOSPITALS)))
    with pytest.raises(Refused, match="0 of 3 are"):
        release(call_for(plan, round=2))
    with pytest.raises(Refused, match="opened here first"):
        release(call_for(make_plan(parties, "never-opened")))
    with pytest.raises(InvalidMessage, match="signature of the key"):
        release(call_for(plan, key=HOSPITALS["north"]))
    release(call_for(plan))  # no refusal chose a set


def test_shares_survive_a_kill_before_the_release(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    plan = make_plan(parties, "killed")
    open_and_submit(plan, clients, THREE)
    for party in parties:
        party.restart()
    _, raw = total_of(plan, clients, THREE)
    assert np.array_equal(raw, sum(encoded_of(plan, name) for name in THREE))


def test_a_set_that_was_chosen_just_before_a_kill_stays_chosen(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    plan = make_plan(parties, "chosen")
    open_and_submit(plan, clients, tuple(HOSPITALS))
    party = parties[0]
    party.process.kill()
    party.process.wait(START_S)
    store = Store(party.home)
    store.choose(Slot(plan_hash=plan.hash, purpose="train", round=1), tuple(sorted(THREE)))
    store.close()
    party.restart()
    with pytest.raises(Refused, match="another set of hospitals"):
        clients[0].release(call_for(plan, tuple(HOSPITALS)))
    _, raw = total_of(plan, clients, THREE)
    assert np.array_equal(raw, sum(encoded_of(plan, name) for name in THREE))


# --- what the collector must not believe -----------------------------------------------------


class Liar(AggregatorClient):
    """A client whose aggregator's answer is changed on the way."""

    lie = staticmethod(lambda answer: answer)

    def _stream(self, name: str, request: bytes, limit_bytes: int) -> list[bytes]:
        return self.lie(super()._stream(name, request, limit_bytes))


def flip_a_bit(answer: list[bytes]) -> list[bytes]:
    return [answer[0], bytes([answer[1][0] ^ 1]) + answer[1][1:], *answer[2:]]


def sign_anew(answer: list[bytes]) -> list[bytes]:
    signed = envelope.read_signed(answer[0], what="sum header")
    header = canonical.parse(SumHeader, signed.message.encode(), what="sum header")
    return [canonical.encode(messages.sign(header, RESEARCHER)), *answer[1:]]


@pytest.mark.parametrize(
    ("lie", "sentence"),
    [
        (flip_a_bit, "whole and unchanged"),
        (lambda answer: answer[:1], "whole and unchanged"),
        (lambda answer: [], "well formed"),
        (sign_anew, "signature of the key"),
    ],
)
def test_a_sum_that_was_changed_is_not_used(
    parties: list[Party], clients: list[AggregatorClient], lie: object, sentence: str
) -> None:
    plan = make_plan(parties, "changed-sums")
    with contextlib.suppress(Refused):  # the study stands from the case before
        open_and_submit(plan, clients, THREE)
    liar = Liar(parties[2].entry)
    liar.lie = lie  # type: ignore[assignment]
    with pytest.raises(InvalidMessage, match=sentence):
        total_of(plan, [*clients[:2], liar], THREE)
    liar.close()


def test_sums_that_do_not_belong_together_are_not_added(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    plan = make_plan(parties, "mixed-rounds")
    open_and_submit(plan, clients, THREE)
    open_and_submit(plan, clients, THREE, round_number=2)
    of_round_two = clients[2]._stream("Release", canonical.encode(call_for(plan, round=2)), 2**30)
    liar = Liar(parties[2].entry)
    liar.lie = lambda answer: of_round_two  # type: ignore[assignment, method-assign]
    with pytest.raises(SharingError, match="set and the length that were asked for"):
        total_of(plan, [*clients[:2], liar], THREE)
    liar.close()


def test_a_sum_without_end_is_cut_off(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    plan = make_plan(parties, "endless", features=900)
    open_and_submit(plan, clients[:1], THREE)
    with pytest.raises(InvalidMessage, match="it is longer"):
        clients[0].release(call_for(plan), limit_bytes=1000)


def test_all_aggregators_of_the_plan_are_needed(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    plan = make_plan(parties, "all-needed")
    for some in (clients[:2], [*clients, clients[0]], [clients[0], clients[1], clients[1]]):
        with pytest.raises(SharingError, match="each of the plan's 3 aggregators"):
            total_of(plan, some, THREE)


# --- anchors of the hospitals' audit logs ----------------------------------------------------


@pytest.fixture
def north(monkeypatch: pytest.MonkeyPatch) -> SigningKey:
    """A hospital that no aggregator has met."""
    key = SigningKey.generate()
    monkeypatch.setitem(HOSPITALS, "north", key)
    return key


def hex_of(key: SigningKey) -> str:
    return bytes(key.verify_key).hex()


def share_with(plan: Plan, sha256: str, **about: object) -> SealedShare:
    """The first aggregator's share, made by north when its log ended with this hash."""
    return make_shares(plan, "north", log_sha256=sha256, **about)[0]  # type: ignore[arg-type]


def make_log(count: int, key: SigningKey) -> list[Signed]:
    log: list[Signed] = []
    for number in range(1, count + 1):
        before = audit.entry_sha256(log[-1]) if log else audit.START
        entry = audit.Entry(
            number=number, at_unix_s=0, kind="round", salt="5a" * 16, previous_sha256=before
        )
        log.append(messages.sign(entry, key))
    return log


def test_an_aggregator_holds_the_anchors_of_a_hospital_over_all_studies(
    parties: list[Party], clients: list[AggregatorClient], north: SigningKey
) -> None:
    plans = [make_plan(parties, f"anchors-{n}") for n in (1, 2)]
    for plan in plans:
        clients[0].open_study(plan)
    assert clients[0].anchors(hex_of(north)) == []
    hashes = [f"{n:064x}" for n in (7, 3, 2**40)]  # in the order in which they arrive
    clients[0].submit(share_with(plans[1], hashes[0], round_number=2))
    clients[0].submit(share_with(plans[1], hashes[1]))
    clients[0].submit(share_with(plans[0], hashes[2]))
    clients[0].submit(make_shares(plans[0], "south")[0])  # another hospital's
    assert clients[0].anchors(hex_of(north)) == hashes
    parties[0].restart()
    assert clients[0].anchors(hex_of(north)) == hashes
    assert clients[1].anchors(hex_of(north)) == [], "of what it holds itself"


def test_anchors_stay_after_the_release_and_find_a_log_that_was_cut(
    parties: list[Party], clients: list[AggregatorClient], north: SigningKey
) -> None:
    plan = make_plan(parties, "anchors-of-a-cut-log")
    log = make_log(9, north)
    open_and_submit(plan, clients[:1], THREE, log_sha256=audit.entry_sha256(log[-1]))
    clients[0].release(call_for(plan))
    (anchor,) = clients[0].anchors(hex_of(north))
    anchors = [audit.Anchor(sha256=anchor, source="agg-1")]
    for count, problems in ((9, 0), (8, 1)):
        data = audit.export("north", north, log[:count])
        verdict = audit.verify(data, verify_key=hex_of(north), anchors=anchors)
        assert len(verdict.problems) == problems
        assert all("No entry has the hash that agg-1 holds" in text for text in verdict.problems)


def test_of_many_anchors_the_last_that_arrived_are_given(
    tmp_path: Path, parties: list[Party], north: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_ANCHORS", 3)
    aggregator_store.create(tmp_path)
    store = Store(tmp_path)
    for number in (4, 9, 2, 7, 5):
        plan = make_plan(parties, f"many-{number}")
        store.add_study(plan)
        share = share_with(plan, f"{number:064x}")
        header = messages.verify(ShareHeader, share.header, hex_of(north))
        store.keep(header, share.header, bytes(32), verify_key=hex_of(north))
    given = Aggregation(None, store, parties[0].entry).anchors(hex_of(north))  # type: ignore[arg-type]
    hashes = [messages.verify(ShareHeader, signed, hex_of(north)).log_sha256 for signed in given]
    assert [int(sha256, 16) for sha256 in hashes] == [2, 7, 5]
    store.close()


@pytest.mark.parametrize("key", ["", "ab" * 31, "AB" * 32, "é" * 64, "0" * 65, "a b" * 32])
def test_anchors_are_asked_for_by_a_whole_key(clients: list[AggregatorClient], key: str) -> None:
    with pytest.raises(InvalidMessage, match="64 hexadecimal digits"):
        clients[0].anchors(key)


def test_anchors_that_the_hospital_did_not_sign_are_not_believed(
    parties: list[Party], clients: list[AggregatorClient], north: SigningKey
) -> None:
    plan = make_plan(parties, "made-up-anchors")
    clients[0].open_study(plan)
    share = share_with(plan, "aa" * 32)
    clients[0].submit(share)
    forged = canonical.encode(resign(share, by="south", log_sha256="bb" * 32).header)
    wrong = {
        "one is not": [[forged], [b"{}"]],
        "at most 1000": [[canonical.encode(share.header)] * 1001],
    }
    liar = Liar(parties[0].entry)
    for sentence, additions in wrong.items():
        for more in additions:
            liar.lie = lambda answer, more=more: [*answer, *more]  # type: ignore[method-assign]
            with pytest.raises(InvalidMessage, match=sentence):
                liar.anchors(hex_of(north))
    liar.close()


# --- the wire --------------------------------------------------------------------------------


def test_an_aggregator_with_another_certificate_is_not_spoken_to(parties: list[Party]) -> None:
    swapped = dataclasses.replace(parties[0].entry, certificate=parties[1].entry.certificate)
    client = AggregatorClient(swapped, connect_timeout_s=1.0)
    with pytest.raises(Unavailable, match="address and certificate"):
        client.health()
    client.close()


def test_an_aggregator_that_is_not_there_is_unavailable(parties: list[Party]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = dataclasses.replace(
            parties[0].entry, address=f"127.0.0.1:{free.getsockname()[1]}"
        )
        client = AggregatorClient(nowhere, connect_timeout_s=0.5)
        with pytest.raises(Unavailable, match="check that it runs"):
            client.health()
        client.close()


def test_calls_that_could_hold_a_worker_or_fill_its_memory_are_refused(
    parties: list[Party],
) -> None:
    entry = parties[0].entry
    credentials = grpc.ssl_channel_credentials(entry.certificate.encode())
    with grpc.secure_channel(entry.address, credentials, options=wire.LIMITS) as channel:
        health = channel.unary_unary(wire.method("Health"))
        for timeout_s in (None, 100_000):
            with pytest.raises(grpc.RpcError) as caught:
                health(b"", timeout=timeout_s)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        open_study = channel.unary_unary(wire.method("OpenStudy"))
        with pytest.raises(grpc.RpcError) as caught:
            open_study(bytes(wire.MAX_PLAN_BYTES + 1), timeout=5)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        for garbage in (b"", b"\0" * 100, b'{"a":' * 2000):
            with pytest.raises(grpc.RpcError) as caught:
                open_study(garbage, timeout=5)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        submit = channel.stream_unary(wire.method("SubmitShare"))
        for stream in ([], [b""], [b"{}", b"x" * 100]):
            with pytest.raises(grpc.RpcError) as caught:
                submit(iter(stream), timeout=5)
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_client_finds_an_aggregator_again_after_it_was_killed(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    clients[0].health()
    parties[0].restart()
    assert clients[0].health() == parties[0].entry


# --- the disk --------------------------------------------------------------------------------


def chi_square_z(data: bytes) -> float:
    """Standardised chi-square of the byte histogram; about N(0, 1) for uniform bytes."""
    counts = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
    expected = len(data) / 256
    return float((((counts - expected) ** 2 / expected).sum() - 255) / np.sqrt(2 * 255))


def monobit_z(data: bytes) -> float:
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    return float((2 * bits.sum(dtype=np.int64) - len(bits)) / np.sqrt(len(bits)))


def serial_z(data: bytes) -> float:
    """Largest standardised correlation of the bits with themselves, some places on."""
    signs = 1.0 - 2.0 * np.unpackbits(np.frombuffer(data, np.uint8))
    lags = (1, 2, 7, 8, 31, 32, 64)
    return float(max(abs(signs[:-lag] @ signs[lag:]) / np.sqrt(len(signs) - lag) for lag in lags))


def looks_uniform(data: bytes) -> bool:
    """Six standard deviations: a uniform file fails once in some ten million runs."""
    return chi_square_z(data) < 7 and abs(monobit_z(data)) < 6 and serial_z(data) < 6


class Secret:
    """Finds any 16 consecutive bytes of some vectors, at any offset of a file.

    Such a run holds a whole aligned word of 8 bytes of the vector: look for words first.
    """

    def __init__(self, vectors: Sequence[bytes]) -> None:
        self.words = np.unique(np.concatenate([np.frombuffer(v, "<u8") for v in padded(vectors)]))
        self.runs = {v[i : i + 16] for v in vectors for i in range(len(v) - 15)}

    def is_in(self, data: bytes) -> bool:
        places = [
            shift + 8 * place
            for shift in range(8)
            for place in np.flatnonzero(np.isin(words_from(data, shift), self.words))
        ]
        starts = {start for place in places for start in range(max(place - 8, 0), place + 1)}
        return any(data[start : start + 16] in self.runs for start in starts)


def padded(vectors: Sequence[bytes]) -> list[bytes]:
    return [vector + bytes(-len(vector) % 8) for vector in vectors]


def words_from(data: bytes, shift: int) -> np.ndarray:
    count = (len(data) - shift) // 8
    return np.frombuffer(data, "<u8", count, shift) if count > 0 else np.empty(0, "<u8")


@pytest.mark.parametrize("ring", [32, 64])
def test_a_thief_of_one_disk_finds_noise_and_public_text(
    parties: list[Party], clients: list[AggregatorClient], ring: int
) -> None:
    plan = make_plan(parties, f"thief-{ring}", ring=ring)
    plain = {name: encoded_of(plan, name).tobytes() for name in HOSPITALS}
    assert not any(looks_uniform(data) for data in plain.values())
    secret = Secret(list(plain.values()))

    def find_secrets() -> list[str]:
        files = [path for party in parties for path in party.home.rglob("*") if path.is_file()]
        assert len(files) >= 3 * 8, "keys, state, log and vectors of all three"
        return [path.name for path in files if secret.is_in(path.read_bytes())]

    open_and_submit(plan, clients, tuple(HOSPITALS))
    for party, held in enumerate(parties, start=1):
        files = sorted((held.home / "shares" / plan.hash).iterdir())
        assert [path.name for path in files] == sorted(f"train-1-{name}" for name in HOSPITALS)
        contents = [path.read_bytes() for path in files]
        if party == len(parties):
            assert [len(data) for data in contents] == [len(plain["north"])] * 4
            assert all(looks_uniform(data) for data in contents)
        else:
            assert [len(data) for data in contents] == [32] * 4
            assert len(set(contents)) == 4
            assert abs(monobit_z(b"".join(contents))) < 6
    assert find_secrets() == []
    total_of(plan, clients, THREE)
    for held in parties:
        assert not any((held.home / "shares" / plan.hash).iterdir()), "deleted with the release"
        assert looks_uniform((held.home / "sums" / plan.hash / "train-1").read_bytes())
    assert find_secrets() == []


def test_the_test_for_secrets_on_disk_would_find_one(parties: list[Party]) -> None:
    for ring in (32, 64):
        plain = encoded_of(make_plan(parties, "control", ring=ring), "north").tobytes()
        secret = Secret([plain])
        for start in range(1000, 1016):
            run = plain[start : start + 16]
            before = b"\xa5" * start
            assert secret.is_in(before + run + b"more")
            assert not secret.is_in(before + run[:-1] + bytes([run[-1] ^ 1]))


def test_everything_on_disk_is_for_its_owner_alone(parties: list[Party]) -> None:
    for party in parties:
        for path in [party.home, *party.home.rglob("*")]:
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode == (0o700 if path.is_dir() else 0o600), path.name


def test_the_log_names_no_key_and_no_traceback(parties: list[Party]) -> None:
    for party in parties:
        text = (party.home / "aggregator.log").read_text()
        assert "released" in text
        assert "Traceback" not in text
        for file in ("sign.key", "seal.key"):
            assert (party.home / "identity" / file).read_text() not in text


# --- start and stop --------------------------------------------------------------------------


def test_a_port_in_use_is_refused_with_one_sentence(tmp_path: Path, parties: list[Party]) -> None:
    port = int(parties[0].address.rpartition(":")[2])
    assert "choose another port" in refuse_to_start(tmp_path / "new", port=port)


def test_a_folder_serves_one_process_under_one_name(parties: list[Party]) -> None:
    assert "another one uses it" in refuse_to_start(parties[0].home)


def test_a_folder_with_strange_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o755)
    (home / "thesis.txt").write_text("mine")
    assert "must be empty at its first start" in refuse_to_start(home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o755
    assert [path.name for path in home.iterdir()] == ["thesis.txt"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("not a folder")
    assert "read and write its folder" in refuse_to_start(tmp_path / "home")


def test_bad_names_are_refused(tmp_path: Path) -> None:
    assert "lower-case" in refuse_to_start(tmp_path / "home", name="../Agg")


@pytest.fixture(scope="module")
def stopped_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("stopped") / "home"
    process, _ = launch(home, name="agg-1")
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=START_S)
    assert (process.returncode, rest) == (0, "")
    return home


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda home: (home / "identity" / "seal.key").unlink(), "identity/seal.key"),
        (lambda home: (home / "identity" / "tls.key").chmod(0o644), "its owner alone"),
        (lambda home: (home / "identity" / "sign.key").write_text("00"), "keys must be whole"),
        (lambda home: (home / "state.sqlite").unlink(), "sound state.sqlite"),
        (lambda home: (home / "state.sqlite").write_text("broken" * 999), "sound state.sqlite"),
        (lambda home: (home / "state.sqlite").write_text(""), "sound state.sqlite"),
        (lambda home: (home / "identity").rename(home / "elsewhere"), "no keys"),
    ],
)
def test_a_half_written_folder_is_refused_with_one_sentence(
    stopped_home: Path, tmp_path: Path, damage: object, sentence: str
) -> None:
    home = tmp_path / "copy"
    subprocess.run(["cp", "-a", str(stopped_home), str(home)], check=True)
    damage(home)  # type: ignore[operator]
    assert sentence in refuse_to_start(home)


def test_a_lost_share_is_noticed_at_start(
    tmp_path: Path, parties: list[Party], clients: list[AggregatorClient]
) -> None:
    plan = make_plan(parties, "lost")
    open_and_submit(plan, clients, THREE)
    home = tmp_path / "copy"
    subprocess.run(["cp", "-a", str(parties[0].home), str(home)], check=True)
    (home / "shares" / plan.hash / "train-1-north").unlink()
    assert "every share and sum" in refuse_to_start(home)


def test_a_first_start_that_was_interrupted_begins_again(
    stopped_home: Path, tmp_path: Path
) -> None:
    home = tmp_path / "copy"
    subprocess.run(["cp", "-a", str(stopped_home), str(home)], check=True)
    (home / "identity").rename(home / "identity.new")
    (home / "identity.new" / "seal.key").unlink()
    process, _ = launch(home, name="agg-1")
    process.terminate()
    process.communicate(timeout=START_S)
    assert process.returncode == 0


def test_a_restarted_aggregator_keeps_its_keys(parties: list[Party]) -> None:
    before = parties[1].entry
    parties[1].restart(kill=signal.SIGTERM)
    assert parties[1].entry == before


def test_an_aggregator_dies_with_its_parent_if_asked(tmp_path: Path) -> None:
    arguments = [*command(tmp_path / "home", name="agg-1"), "--end-with-starter"]
    program = f"import subprocess; p = subprocess.Popen({arguments!r}); print(p.pid, flush=True); p.wait()"
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    try:
        assert parent.stdout.readline().startswith("ready agg-1 ")
        parent.kill()
        parent.wait()
        ended, _, _ = select.select([parent.stdout], [], [], START_S)
        assert ended, "the pipe ends when the aggregator is gone too"
        assert parent.stdout.read() == ""
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        parent.stdout.close()


def test_an_upload_that_stops_halfway_leaves_nothing_behind(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    plan = make_plan(parties, "halfway", features=900)
    clients[2].open_study(plan)
    share = make_shares(plan, "north")[2]
    entry = parties[2].entry
    credentials = grpc.ssl_channel_credentials(entry.certificate.encode())

    def stuck() -> Iterator[bytes]:
        yield canonical.encode(share.header)
        yield next(wire.chunks(share.sealed))
        time.sleep(3)

    with grpc.secure_channel(entry.address, credentials, options=wire.LIMITS) as channel:
        submit = channel.stream_unary(wire.method("SubmitShare"))
        with pytest.raises(grpc.RpcError) as caught:
            submit(stuck(), timeout=0.5)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert not any((parties[2].home / "incoming").iterdir())
    clients[2].submit(share)


def test_the_largest_sum_may_take_its_time_and_the_longest_wait_is_allowed(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    largest = wire.deadline_s(collector.LARGEST_SUM_BYTES)
    assert largest == 30 + collector.LARGEST_SUM_BYTES / wire.SLOWEST_BYTES_PER_S
    plan = make_plan(parties, "patience")
    open_and_submit(plan, clients[:1], THREE)
    assert wire.deadline_s(2**40) == wire.LONGEST_ASKED_S
    clients[0].release(call_for(plan), limit_bytes=2**40)
