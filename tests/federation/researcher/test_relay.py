"""What is lost between a researcher and a hospital costs time, and the hospital not its round."""

import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

from federation.researcher import hospital_round
from federation.researcher.collector import Collector
from federation.researcher.relay import Relay, RoundReplies
from federation.strategy.server_optimizer import ServerState
from federation.transport.growing_file import GrowingFile
from syft_code import canonical
from syft_code.errors import Refused, SharingError, Unavailable
from syft_code.plans.messages import NO_PART, Signed, Ticket
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import Sharing
from tests.federation.stand_in_parties import StandInFederation, federation

AWAY = Unavailable("The front desk of vienna does not answer.")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hospital_round, "POLL_S", 0.001)


@pytest.fixture
def parties() -> StandInFederation:
    return federation()


def ask(
    parties: StandInFederation, *, timeout_s: float = 20.0, patience_s: float = 5.0
) -> RoundReplies:
    plan = parties.study.plan
    carrier = Relay(
        plan,
        hospitals=list(parties.hospitals.values()),  # type: ignore[arg-type]
        aggregators=parties.aggregators,  # type: ignore[arg-type]
        key=parties.key,
        on_progress=lambda progress: None,
        timeout_s=timeout_s,
        patience_s=patience_s,
    )
    Collector(plan, parties.aggregators, parties.key).open()  # type: ignore[arg-type]
    return carrier.ask_all("train", 1, ServerState.first(plan).broadcast("train"))


def losing(
    times: int, act: Callable[..., object], problem: Exception = AWAY, *, after: bool = False
) -> Callable[..., object]:
    """The same, but the first few times the way there is lost, or the way back."""
    lost = [0]

    def shaky(*given: object, **named: object) -> object:
        lost[0] += 1
        if lost[0] > times:
            return act(*given, **named)
        if after:
            act(*given, **named)
        raise problem

    return shaky


@pytest.mark.parametrize("after", [False, True])
def test_a_round_call_that_is_lost_on_either_way_is_made_again(
    parties: StandInFederation, after: bool
) -> None:
    vienna = parties.hospitals["vienna"]
    vienna.start_round = losing(2, vienna.start_round, after=after)  # type: ignore[assignment, method-assign]
    answers = ask(parties)
    assert set(answers.done) == set(parties.hospitals)
    assert len(vienna.given) == 1, "it trained once"


def test_polls_that_are_lost_cost_a_hospital_nothing(parties: StandInFederation) -> None:
    vienna = parties.hospitals["vienna"]
    vienna.ticket = losing(20, vienna.ticket)  # type: ignore[assignment, method-assign]
    assert set(ask(parties, patience_s=0.0).done) == set(parties.hospitals)


def test_a_hospital_that_was_stopped_in_its_round_is_called_again(
    parties: StandInFederation,
) -> None:
    """After a restart a vault has forgotten the ticket of a round that was under way."""
    vienna = parties.hospitals["vienna"]
    forgotten = Refused("There is no such ticket here, or the vault was stopped.")
    vienna.ticket = losing(2, vienna.ticket, forgotten)  # type: ignore[assignment, method-assign]
    assert set(ask(parties).done) == set(parties.hospitals)
    assert len(vienna.calls) == 2


def test_a_hospital_that_forgets_each_time_is_not_called_for_ever(
    parties: StandInFederation,
) -> None:
    vienna = parties.hospitals["vienna"]
    vienna.never_ends = {("train", 1)}
    vienna.ticket = losing(10**6, vienna.ticket, Refused(NO_PART))  # type: ignore[assignment, method-assign]
    answers = ask(parties)
    assert "vienna" not in answers.done and answers.reasons == ()
    assert len(vienna.calls) == hospital_round.MOST_STARTS


def test_a_front_desk_that_falls_silent_is_not_waited_for_until_the_round_ends(
    parties: StandInFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hospital_round, "SILENCE_S", 0.2)
    vienna = parties.hospitals["vienna"]
    vienna.ticket = losing(10**6, vienna.ticket)  # type: ignore[assignment, method-assign]
    answers = ask(parties, timeout_s=10_000.0)  # past the test's own limit
    assert set(answers.done) == {"berlin", "lisbon", "oslo"}


def test_a_round_that_takes_too_long_is_left_out_while_its_desk_answers(
    parties: StandInFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hospital_round, "SILENCE_S", 60.0)
    parties.hospitals["vienna"].never_ends = {("train", 1)}
    assert set(ask(parties, timeout_s=0.3).done) == {"berlin", "lisbon", "oslo"}


def test_a_share_that_a_front_desk_has_lost_is_fetched_from_its_vault_again(
    parties: StandInFederation,
) -> None:
    vienna = parties.hospitals["vienna"]
    ask_ticket = vienna.ticket

    def emptied(name: str) -> Ticket:
        found = ask_ticket(name)
        vienna.ticket = ask_ticket  # type: ignore[method-assign]
        vienna.blobs.clear()
        return found

    vienna.ticket = emptied  # type: ignore[method-assign]
    assert set(ask(parties).done) == set(parties.hospitals)


def test_what_was_carried_is_deleted_at_the_front_desk_and_a_lost_delete_costs_nothing(
    parties: StandInFederation,
) -> None:
    vienna = parties.hospitals["vienna"]
    vienna.forget = losing(1, vienna.forget)  # type: ignore[assignment, method-assign]
    assert set(ask(parties).done) == set(parties.hospitals)
    assert all(not one.blobs for name, one in parties.hospitals.items() if name != "vienna")
    assert len(vienna.blobs) == len(parties.aggregators) + 1, "the shares and the weights"


def test_weights_that_a_hospital_said_no_to_are_deleted_there(parties: StandInFederation) -> None:
    vienna = parties.hospitals["vienna"]
    vienna.raises = {("train", 1): Refused(NO_PART)}
    ask(parties)
    assert not vienna.blobs


def test_shares_go_to_all_aggregators_side_by_side(parties: StandInFederation) -> None:
    together = threading.Barrier(len(parties.aggregators), timeout=60)
    for one in parties.aggregators:
        one.submit = met(together, one.submit)  # type: ignore[method-assign]
    assert set(ask(parties).done) == set(parties.hospitals)


def met(together: threading.Barrier, submit: Callable[..., None]) -> Callable[..., None]:
    """Take a share once every aggregator is about to take one."""

    def waits(*given: object) -> None:
        together.wait()
        submit(*given)

    return waits


def test_each_contribution_says_which_aggregators_took_it() -> None:
    parties = federation(sharing=Sharing(needed=2))
    parties.aggregators[1].away = True
    answers = ask(parties)
    assert {one.taken for one in answers.done.values()} == {frozenset({1, 3})}
    assert answers.away == ("Aggregator aggregator-2 must answer and did not.",)
    assert answers.reasons == ()


def test_a_full_disk_here_is_no_hospitals_silence(
    parties: StandInFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: GrowingFile, data: bytes) -> None:
        raise SharingError("This machine must have room in /tmp for what a round carries.")

    monkeypatch.setattr(GrowingFile, "write", full)
    answers = ask(parties)
    assert not answers.done and "must have room" in answers.reasons[0]


def test_a_file_on_the_way_keeps_its_bytes_and_leaves_nothing_behind() -> None:
    with GrowingFile() as file:
        file.write(b"one ")
        file.write(b"two")
        view = file.view()
        assert (file.size_bytes, bytes(view)) == (7, b"one two")
        assert file.sha256 == canonical.sha256(b"one two")
    assert bytes(view) == b"one two", "also when it is closed"
    with GrowingFile() as empty:
        assert bytes(empty.view()) == b""


def test_a_hospital_is_asked_with_the_same_call_in_every_attempt(
    parties: StandInFederation,
) -> None:
    vienna = parties.hospitals["vienna"]
    seen: list[Signed] = []
    start = vienna.start_round

    def looking(plan: Plan, call: Signed) -> Ticket:
        seen.append(call)
        return start(plan, call)

    vienna.start_round = losing(2, looking, after=True)  # type: ignore[assignment, method-assign]
    ask(parties)
    ask(parties)
    assert len(seen) >= 3 and len(set(seen)) == 1


INTERRUPTED = """
import signal, time
from federation.researcher.relay import map_parallel

signal.signal(signal.SIGALRM, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, 0.2)
try:
    map_parallel(["a hospital that never answers"], lambda hospital: time.sleep(600))
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_researcher_who_interrupts_waits_for_no_hospital() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == "interrupted\n"
