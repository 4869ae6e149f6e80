"""A researcher before real aggregator processes, over gRPC and TLS, with calls that get lost."""

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
import numpy as np
import pytest

from federation.researcher.collector import Collector, best_set
from federation.transport import aggregator_api, aggregator_client, retry
from federation.transport.aggregator_client import AggregatorClient
from federation.transport.growing_file import GrowingFile
from syft_code import canonical
from syft_code.errors import InvalidMessage, Refused, SharingError, Unavailable
from syft_code.plans import messages
from syft_code.plans.messages import ReleaseCall, SetChoice, Signed, SumHeader
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import Robust
from syft_code.plans.roster import Hospital
from syft_code.secret_sharing.envelope import SealedShare
from syft_code.secret_sharing.groups import groups
from tests.federation.live_aggregators import (
    HOSPITALS,
    RESEARCHER,
    THREE,
    TWO_OF_THREE,
    WIDE,
    Party,
    aggregators,
    encoded_of,
    make_plan,
    make_shares,
    resign,
)
from tests.plans import Keys, plan

pytestmark = pytest.mark.servers

PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def parties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Party]]:
    with aggregators(tmp_path_factory.mktemp("aggregators")) as started:
        yield started


@pytest.fixture(scope="module")
def clients(parties: list[Party]) -> Iterator[list[AggregatorClient]]:
    opened = [AggregatorClient(party.entry, patience_s=PATIENCE_S) for party in parties]
    yield opened
    for client in opened:
        client.close()


def opened(agreed: Plan, clients: Sequence[AggregatorClient]) -> Collector:
    collector = Collector(agreed, clients, RESEARCHER)
    collector.open()
    return collector


def send(
    agreed: Plan, clients: Sequence[AggregatorClient], hospitals: Sequence[str] = THREE
) -> dict[str, list[SealedShare]]:
    shares = {name: make_shares(agreed, name) for name in hospitals}
    for name in hospitals:
        for share, client in zip(shares[name], clients, strict=True):
            client.submit(share)
    return shares


def plain_sum(agreed: Plan, hospitals: Sequence[str]) -> np.ndarray:
    return np.asarray(sum(encoded_of(agreed, name) for name in hospitals))


# --- sums ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rules", [WIDE, TWO_OF_THREE])
def test_the_collected_sum_is_the_plain_one_bit_for_bit(
    parties: list[Party], clients: list[AggregatorClient], rules: object
) -> None:
    agreed = make_plan(parties, f"sum-{int(rules is WIDE)}", sharing=rules)
    collector = opened(agreed, clients)
    send(agreed, clients)
    for _ in range(2):
        found = collector.collect("train", 1, hospitals=THREE)
        assert found.hospitals == THREE and found.groups == (THREE,)
        np.testing.assert_array_equal(found.totals[0], plain_sum(agreed, THREE))


def test_clients_in_another_order_than_the_rosters_make_no_difference(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    agreed = make_plan(parties, "order")
    opened(agreed, clients)
    send(agreed, clients)
    found = Collector(agreed, clients[::-1], RESEARCHER).collect("train", 1, hospitals=THREE)
    np.testing.assert_array_equal(found.totals[0], plain_sum(agreed, THREE))
    with pytest.raises(SharingError, match="one client for each"):
        Collector(agreed, clients[:2], RESEARCHER)


def test_each_group_has_a_sum_of_its_own(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    four = make_plan(parties, "four").hospitals
    more = [
        dataclasses.replace(four[0], name=f"more-{n}", verify_key=os.urandom(32).hex())
        for n in range(5)
    ]
    rule = Robust(rule="median", groups=3, tolerated=1)
    agreed = make_plan(parties, "groups", hospitals=(*four, *more), robust=rule)
    names = tuple(sorted(h.name for h in agreed.hospitals))
    assert len(groups(agreed, "train", 1, names)) == 3
    collector = opened(agreed, clients)
    send(agreed, clients, tuple(HOSPITALS))
    found = collector.collect("train", 1, hospitals=tuple(HOSPITALS))
    assert found.groups == (tuple(sorted(HOSPITALS)),), "too few for several groups"
    np.testing.assert_array_equal(found.totals[0], plain_sum(agreed, tuple(HOSPITALS)))


def test_two_aggregators_do_without_a_third_that_is_down(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    agreed = make_plan(parties, "two-of-three", sharing=TWO_OF_THREE)
    opened(agreed, clients)
    send(agreed, clients)
    impatient = AggregatorClient(parties[0].entry, patience_s=0.3)
    parties[0].stop()
    try:
        found = Collector(agreed, [impatient, *clients[1:]], RESEARCHER).collect(
            "train", 1, hospitals=THREE
        )
    finally:
        parties[0].start()
        impatient.close()
    np.testing.assert_array_equal(found.totals[0], plain_sum(agreed, THREE))


def test_a_set_that_was_chosen_before_is_the_one_that_is_summed(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    agreed = make_plan(parties, "before")
    collector = opened(agreed, clients)
    send(agreed, clients, tuple(HOSPITALS))
    collector.collect("train", 1, hospitals=THREE)
    found = collector.collect("train", 1, hospitals=tuple(HOSPITALS))
    assert found.hospitals == THREE
    np.testing.assert_array_equal(found.totals[0], plain_sum(agreed, THREE))


def test_who_asks_for_no_set_is_told_the_one_that_was_chosen(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    agreed = make_plan(parties, "told")
    collector = opened(agreed, clients)
    assert collector.chosen("train", 1) == {}
    send(agreed, clients)
    assert collector.chosen("train", 1) == {}
    collector.collect("train", 1, hospitals=THREE)
    assert collector.chosen("train", 1) == dict.fromkeys((1, 2, 3), THREE)
    assert collector.chosen("train", 2) == {}


def test_aggregators_that_chose_different_sets_give_no_sum(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    agreed = make_plan(parties, "split")
    collector = opened(agreed, clients)
    send(agreed, clients, tuple(HOSPITALS))
    clients[0].choose(call_of(agreed, THREE))
    clients[1].choose(call_of(agreed, ("north", "south", "west")))
    with pytest.raises(SharingError, match="different ones for good"):
        collector.collect("train", 1, hospitals=THREE)


def call_of(agreed: Plan, hospitals: Sequence[str]) -> Signed:
    ordered = tuple(sorted(hospitals))
    call = ReleaseCall(plan_hash=agreed.hash, purpose="train", round=1, hospitals=ordered)
    return messages.sign(call, RESEARCHER)


def test_the_headers_of_a_round_come_from_aggregators_too(
    parties: list[Party], clients: list[AggregatorClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    agreed = make_plan(parties, "headers")
    collector = opened(agreed, clients)
    shares = send(agreed, clients)
    found = {name: sent[-1].header for name, sent in shares.items()}
    assert collector.headers("train", 1) == found
    assert collector.headers("train", 2) == {}
    another = make_shares(agreed, "north", round_number=2)[-1]
    for told in ([], [another.header], [resign(shares["north"][-1], by="south").header]):
        monkeypatch.setattr(clients[2], "headers", lambda call, *, at_most, told=told: told)
        assert collector.headers("train", 1) == {n: sent[1].header for n, sent in shares.items()}


def test_headers_are_the_rounds_of_a_study_however_many_there_are(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    """A list longer than the roster is cut off at once."""
    agreed = make_plan(parties, "many-headers")
    opened(agreed, clients)
    shares = send(agreed, clients)
    call = call_of(agreed, ())
    assert len(clients[0].headers(call, at_most=len(shares))) == len(shares)
    with pytest.raises(InvalidMessage, match="it is longer"):
        clients[0].headers(call, at_most=len(shares) - 1)


# --- connections that are lost ---------------------------------------------------------------


def test_an_aggregator_that_is_killed_in_an_upload_costs_the_missing_bytes_only(
    parties: list[Party], clients: list[AggregatorClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    agreed = make_plan(parties, "killed-upload", features=300, width_px=48)
    opened(agreed, clients)
    share = make_shares(agreed, "north")[2]
    assert len(share.sealed) > 12 * aggregator_api.CHUNK_BYTES
    honest, sent = aggregator_api.chunks, []

    def killing(data: memoryview) -> Iterator[bytes]:
        for number, chunk in enumerate(honest(data)):
            if number == 8 and len(sent) == 8:
                time.sleep(0.5)  # what was sent arrives
                parties[2].restart()
            sent.append(len(chunk))
            yield chunk

    monkeypatch.setattr(aggregator_api, "chunks", killing)
    clients[2].submit(share)
    assert clients[2].received(share.header).whole
    assert len(share.sealed) <= sum(sent) < 1.7 * len(share.sealed)


def test_aggregators_that_are_restarted_before_and_after_a_choice_change_nothing(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    agreed = make_plan(parties, "restarts")
    collector = opened(agreed, clients)
    send(agreed, clients)
    parties[0].restart()
    clients[0].choose(call_of(agreed, THREE))
    parties[0].restart(signal.SIGTERM)
    found = collector.collect("train", 1, hospitals=THREE)
    np.testing.assert_array_equal(found.totals[0], plain_sum(agreed, THREE))


def test_nobody_waits_longer_than_the_patience_and_later_hardly_at_all(
    parties: list[Party], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aggregator_client, "GLANCE_S", 0.1)
    nowhere = dataclasses.replace(parties[0].entry, address="127.0.0.1:9")
    client = AggregatorClient(nowhere, patience_s=1.0)
    honest, patiences = aggregator_client.retry_while_progressing, []

    def noting(attempt: Callable[[], bytes], *, patience_s: float, **rest: Any) -> bytes:
        patiences.append(patience_s)
        return honest(attempt, patience_s=patience_s, **rest)

    monkeypatch.setattr(aggregator_client, "retry_while_progressing", noting)
    for _ in range(2):
        with pytest.raises(Unavailable, match="agg-1 must answer and did not"):
            client.health()
    assert patiences[0] == 1.0 and patiences[-1] == 0.1
    client.close()


def test_an_aggregator_with_another_certificate_is_not_spoken_to(parties: list[Party]) -> None:
    first, second = parties[0].entry, parties[1].entry
    swapped = dataclasses.replace(first, certificate=second.certificate)
    client = AggregatorClient(swapped, patience_s=0.5)
    with pytest.raises(Unavailable, match="must answer and did not"):
        client.health()
    client.close()


class Lost(grpc.RpcError):
    """A call that failed on its way."""

    def __init__(self, code: grpc.StatusCode, details: str = "") -> None:
        super().__init__()
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details


class Shaky(AggregatorClient):
    """An aggregator that takes some bytes of each upload and then loses the connection."""

    per_call = 100
    progress = True
    code = grpc.StatusCode.UNAVAILABLE
    there = 0
    uploads = 0
    taken = b""

    def _received(self, header: Signed) -> aggregator_api.ReceivedBytes:
        return aggregator_api.ReceivedBytes(size_bytes=self.there, whole=False)

    def _upload(self, share: SealedShare, offset: int) -> aggregator_api.ReceivedBytes:
        assert offset == self.there
        self.uploads += 1
        arrived = bytes(share.sealed[offset : offset + self.per_call])
        if self.progress:
            self.taken += arrived
            self.there += len(arrived)
        if self.there < len(share.sealed):
            raise Lost(self.code)
        return aggregator_api.ReceivedBytes(size_bytes=self.there, whole=True)


def shaky(patience_s: float = 0.3) -> tuple[Shaky, SealedShare]:
    share = SealedShare(header=Signed(message="", signature=""), sealed=os.urandom(1000))
    entry = dataclasses.replace(plan().aggregators[0], certificate=PEM)
    return Shaky(entry, patience_s=patience_s), share


PEM = "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("code", ["UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "ABORTED"])
def test_an_upload_that_gets_further_each_time_is_never_given_up(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "LEAST_PROGRESS", 1)  # the share is small
    client, share = shaky()
    client.code = grpc.StatusCode[code]
    client.submit(share)
    assert client.taken == share.sealed and client.uploads == 10


def test_an_upload_that_gets_no_further_is_given_up() -> None:
    client, share = shaky()
    client.progress = False
    with pytest.raises(Unavailable):
        client.submit(share)
    assert client.uploads > 1


def test_an_upload_that_drips_is_given_up() -> None:
    client, share = shaky()  # each step is far below what counts as progress
    with pytest.raises(Unavailable):
        client.submit(share)
    assert client.uploads < 10


def test_a_no_is_asked_again_only_where_nobody_asked_what_is_there() -> None:
    client, share = shaky()
    client.progress, client.code = False, grpc.StatusCode.FAILED_PRECONDITION
    with pytest.raises(Refused):
        client.submit(share)
    assert client.uploads == 2


def test_a_small_share_is_sent_without_a_question_and_a_large_one_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Signed] = []
    received = Shaky._received
    monkeypatch.setattr(
        Shaky, "_received", lambda self, header: asked.append(header) or received(self, header)
    )
    client, share = shaky()
    client.per_call = len(share.sealed)
    client.submit(share)
    assert (client.uploads, asked) == (1, [])
    monkeypatch.setattr(aggregator_client, "AT_ONCE_BYTES", len(share.sealed) - 1)
    client, share = shaky()
    client.per_call = len(share.sealed)
    client.submit(share)
    assert (client.uploads, len(asked)) == (1, 1)


def test_a_small_share_of_which_a_part_is_there_goes_on_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, share = shaky()
    client.there, client.taken, client.per_call = 400, bytes(share.sealed[:400]), 1000
    real = Shaky._upload

    def refused(self: Shaky, share: SealedShare, offset: int) -> aggregator_api.ReceivedBytes:
        if offset != self.there:
            raise Lost(grpc.StatusCode.FAILED_PRECONDITION)
        return real(self, share, offset)

    monkeypatch.setattr(Shaky, "_upload", refused)
    client.submit(share)
    assert client.taken == share.sealed


def test_a_share_that_is_never_whole_is_not_taken_for_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, share = shaky()
    monkeypatch.setattr(
        client,
        "_upload",
        lambda share, offset: aggregator_api.ReceivedBytes(size_bytes=1000, whole=False),
    )
    with pytest.raises(InvalidMessage, match="must take a share whole"):
        client.submit(share)


def test_a_download_goes_on_where_it_stopped(
    parties: list[Party], clients: list[AggregatorClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    agreed = make_plan(parties, "download", features=300, width_px=48)
    opened(agreed, clients)
    send(agreed, clients)
    call = call_of(agreed, THREE)
    choices = tuple(client.choose(call)[1] for client in clients)
    demand = aggregator_api.ReleaseSum(call=call, choices=choices, piece=1, group=1, offset=0)
    size_bytes = plain_sum(agreed, THREE).nbytes
    arrived: list[int] = []
    written = GrowingFile.write

    def cut(file: GrowingFile, data: bytes) -> None:
        written(file, data)
        arrived.append(len(data))
        if len(arrived) in (3, 7):
            raise Lost(grpc.StatusCode.UNAVAILABLE)

    monkeypatch.setattr(GrowingFile, "write", cut)
    with GrowingFile() as file:
        header = clients[0].release(demand, size_bytes=size_bytes, target=file)
        assert header.sum_sha256 == canonical.sha256(file.view())
    assert sum(arrived) == size_bytes, "no byte came twice"


# --- what is not believed --------------------------------------------------------------------


class Liar(AggregatorClient):
    """The first aggregator of a roster, whose word is changed on its way."""

    def __init__(self, of: Party, **changes: object) -> None:
        super().__init__(of.entry, patience_s=PATIENCE_S)
        self._changes = changes

    def release(
        self, demand: aggregator_api.ReleaseSum, *, size_bytes: int, target: GrowingFile
    ) -> SumHeader:
        header = super().release(demand, size_bytes=size_bytes, target=target)
        return dataclasses.replace(header, **self._changes)


LIES: dict[str, dict[str, object]] = {
    "another round": {"round": 2},
    "another purpose": {"purpose": "evaluate"},
    "another plan": {"plan_hash": "00" * 32},
    "another party": {"party": 2},
    "another piece": {"piece": 2},
    "another group": {"group": 2},
    "another set": {"hospitals": ("east", "north", "west")},
    "another length": {"length": 1},
    "another ring": {"ring_bits": 32},
    "another sum": {"sum_sha256": "00" * 32},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_sum_that_is_not_what_was_asked_for_is_not_used(
    parties: list[Party], clients: list[AggregatorClient], lie: str
) -> None:
    agreed = make_plan(parties, "liar")
    opened(agreed, clients)
    send_once(agreed, clients)
    liar = Liar(parties[0], **LIES[lie])
    with pytest.raises(SharingError, match="agg-1 must be for the round, the set and the length"):
        Collector(agreed, [liar, *clients[1:]], RESEARCHER).collect("train", 1, hospitals=THREE)
    liar.close()


SENT: set[str] = set()


def send_once(agreed: Plan, clients: Sequence[AggregatorClient]) -> None:
    if agreed.hash not in SENT:
        SENT.add(agreed.hash)
        send(agreed, clients)


def test_a_liar_among_three_is_left_out_if_two_suffice(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    agreed = make_plan(parties, "liar-of-three", sharing=TWO_OF_THREE)
    opened(agreed, clients)
    send(agreed, clients)
    liar = Liar(parties[0], round=2)
    found = Collector(agreed, [liar, *clients[1:]], RESEARCHER).collect("train", 1, hospitals=THREE)
    np.testing.assert_array_equal(found.totals[0], plain_sum(agreed, THREE))
    liar.close()


def test_a_sum_that_was_changed_or_cut_or_is_too_long_is_not_used(
    parties: list[Party], clients: list[AggregatorClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    agreed = make_plan(parties, "changed")
    opened(agreed, clients)
    send(agreed, clients)
    call = call_of(agreed, THREE)
    choices = tuple(client.choose(call)[1] for client in clients)
    demand = aggregator_api.ReleaseSum(call=call, choices=choices, piece=1, group=1, offset=0)
    size_bytes = plain_sum(agreed, THREE).nbytes
    written = GrowingFile.write
    changes = {
        "flipped": lambda data: bytes([data[0] ^ 1]) + data[1:],
        "cut": lambda data: data[:-1],
    }
    for change in changes.values():
        with monkeypatch.context() as patched, GrowingFile() as file:
            patched.setattr(GrowingFile, "write", lambda f, data, c=change: written(f, c(data)))
            with pytest.raises(InvalidMessage, match="whole and unchanged"):
                clients[0].release(demand, size_bytes=size_bytes, target=file)
    with GrowingFile() as file, pytest.raises(InvalidMessage, match="it is longer"):
        clients[0].release(demand, size_bytes=size_bytes - 1, target=file)


def test_the_choice_of_another_round_or_of_a_set_that_no_plan_allows_is_not_used(
    parties: list[Party], clients: list[AggregatorClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    agreed = make_plan(parties, "false-choice")
    collector = opened(agreed, clients)
    send(agreed, clients)
    honest = AggregatorClient.choose

    def lying(changes: dict[str, object]) -> object:
        def choose(client: AggregatorClient, call: Signed) -> tuple[SetChoice, Signed]:
            choice, signed = honest(client, call)
            return dataclasses.replace(choice, **changes), signed  # type: ignore[arg-type]

        return choose

    for changes in (
        {"round": 2},
        {"party": 3},
        {"purpose": "evaluate"},
        {"plan_hash": "00" * 32},
        {"hospitals": ("east", "north")},
        {"hospitals": ("north", "east", "south")},
        {"hospitals": ("east", "north", "stranger")},
    ):
        monkeypatch.setattr(AggregatorClient, "choose", lying(changes))
        with pytest.raises(SharingError, match="must be for the plan and the round"):
            collector.collect("train", 1, hospitals=THREE)


def test_an_answer_signed_by_somebody_else_is_not_used(
    parties: list[Party], clients: list[AggregatorClient]
) -> None:
    agreed = make_plan(parties, "forged")
    opened(agreed, clients)
    send(agreed, clients)
    client = AggregatorClient(
        dataclasses.replace(parties[0].entry, verify_key=parties[1].entry.verify_key)
    )
    with pytest.raises(InvalidMessage, match="signature of the key"):
        client.choose(call_of(agreed, THREE))
    client.close()


@pytest.mark.parametrize("told", [b"{}", b"", b"ab" * 31, b"AB" * 32, b"\xff" * 64])
def test_anchors_that_are_no_hashes_are_not_used(
    clients: list[AggregatorClient], monkeypatch: pytest.MonkeyPatch, told: bytes
) -> None:
    good, key = b"ab" * 32, bytes(HOSPITALS["north"].verify_key).hex()
    monkeypatch.setattr(clients[0], "_listed", lambda *_, **__: [good])
    assert clients[0].anchors(key) == [good.decode()]
    monkeypatch.setattr(clients[0], "_listed", lambda *_, **__: [good, told])
    with pytest.raises(InvalidMessage, match="don't use"):
        clients[0].anchors(key)


# --- which set -------------------------------------------------------------------------------


def over(names: Sequence[str], needed: int | None, parties: int = 3) -> Plan:
    drawn = plan(Keys())
    roster = tuple(
        Hospital(
            name=name,
            verify_key=f"{n:064x}",
            asset="skin-lesions",
            asset_version=1,
            patients=10,
        )
        for n, name in enumerate(names)
    )
    rules = dataclasses.replace(WIDE, needed=needed)
    return plan(hospitals=roster, sharing=rules, aggregators=drawn.aggregators[:parties])


FIVE = ("a", "b", "c", "d", "e")


@pytest.mark.parametrize(
    ("needed", "taken", "chosen", "expected", "able"),
    [
        (None, {"a": {1, 2, 3}, "b": {1, 2, 3}, "c": {1, 2}}, {}, "ab", (1, 2, 3)),
        (2, {"a": {1, 2, 3}, "b": {2, 3}, "c": {2, 3}, "d": {1, 2}}, {}, "abc", (2, 3)),
        (2, {"a": {1, 2}, "b": {2, 3}}, {}, "a", (1, 2)),
        (2, {"a": {1, 2, 3}, "b": {1, 2, 3}}, {}, "ab", (1, 2, 3)),
        (2, {"a": {1, 2, 3}, "b": {1, 2, 3}, "c": {1, 2, 3}}, {1: "ab"}, "abc", (2, 3)),
        (None, {"a": {1, 2, 3}, "b": {1, 2, 3}, "c": {1, 2, 3}}, {1: "ab"}, "ab", (1, 2, 3)),
        (None, {"a": {1, 2, 3}}, {1: "ab"}, "", ()),
        (None, {"a": {2, 3}, "b": {2, 3}}, {1: "ab"}, "ab", (1, 2, 3)),
        (2, {"a": {3}, "b": {3}}, {1: "ab"}, "ab", (1, 3)),
        (2, {}, {1: "ab", 2: "abc"}, "", ()),
        (None, {}, {}, "", ()),
    ],
)
def test_the_set_is_the_largest_that_enough_aggregators_can_open(
    needed: int | None,
    taken: dict[str, set[int]],
    chosen: dict[int, str],
    expected: str,
    able: tuple[int, ...],
) -> None:
    bound = {party: tuple(names) for party, names in chosen.items()}
    found = best_set(over(FIVE, needed), taken, bound)
    assert found == (tuple(expected), able)


def test_many_vectors_wait_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    client, share = shaky()
    busy, most = [0], [0]
    lock = threading.Lock()

    def slow(share: SealedShare, offset: int) -> aggregator_api.ReceivedBytes:
        with lock:
            busy[0] += 1
            most[0] = max(most[0], busy[0])
        time.sleep(0.02)
        with lock:
            busy[0] -= 1
        return aggregator_api.ReceivedBytes(size_bytes=1000, whole=True)

    monkeypatch.setattr(client, "_upload", slow)
    threads = [threading.Thread(target=client.submit, args=(share,)) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most[0] == aggregator_client.MOST_VECTORS
