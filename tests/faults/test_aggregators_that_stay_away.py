"""An aggregator is away for good: with 2 of 3 the study goes on, with all of 3 it waits."""

from collections.abc import Callable

import pytest

from federation.transport.retry import retry_while_progressing
from syft_code.errors import SharingError, Unavailable
from tests.faults.parties import FOUR, THREE, Carrier, Party, call_for, make_plan
from tests.faults.strangers import TLS, strangers

Carry = Callable[..., Carrier]
IMPATIENT_S = 0.5
PATIENT_S = 20.0
AWAY = r"Aggregator agg-{} must answer and did not \(unavailable\): check that it runs"


def restart(party: Party, carried: Carrier) -> None:
    """Start an aggregator again, and wait until its client has found it; however busy the machine."""
    party.start()
    client = next(one for one in carried.clients if one.aggregator.name == party.name)
    retry_while_progressing(
        client.health, is_lost=lambda problem: isinstance(problem, Unavailable), patience_s=60.0
    )


def others(party: int) -> list[int]:
    return [one for one in (1, 2, 3) if one != party]


@pytest.mark.parametrize(
    "gone", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
def test_of_three_aggregators_any_one_may_go_away_at_any_moment(
    parties: list[Party], carrier: Carry, gone: int
) -> None:
    plans = [make_plan(parties, needed=2) for _ in range(3)]
    chosen, sent, unopened = (
        carrier(plan, patience_s=IMPATIENT_S, opened=plan is not plans[2]) for plan in plans
    )
    for carried in (chosen, sent):
        carried.send(FOUR)
    for client in chosen.clients:
        client.choose(call_for(chosen.plan, THREE))
    parties[gone - 1].kill()
    assert chosen.gets_the_plain_sum(THREE), "it had promised"
    assert sent.gets_the_plain_sum(FOUR), "it had its shares"
    unopened.collector.open()
    unopened.send(THREE, parties=others(gone))
    with pytest.raises(Unavailable, match=AWAY.format(gone)):
        unopened.send(THREE, parties=[gone])
    assert unopened.gets_the_plain_sum(THREE, parties=others(gone)), "it knew nothing of it"


def test_an_aggregator_that_comes_back_takes_part_in_the_next_round(
    parties: list[Party], carrier: Carry
) -> None:
    plan = make_plan(parties, needed=2)
    parties[0].kill()
    carried = carrier(plan, patience_s=IMPATIENT_S)
    carried.send(THREE, parties=[2, 3])
    assert carried.gets_the_plain_sum(THREE, parties=[2, 3])
    restart(parties[0], carried)
    carried.collector.open()
    parties[1].kill()
    carried.send(FOUR, parties=[1, 3], round_number=2)
    assert carried.gets_the_plain_sum(FOUR, parties=[1, 3], round_number=2)


def test_with_two_of_three_aggregators_away_there_is_no_sum_until_one_is_back(
    parties: list[Party], carrier: Carry
) -> None:
    carried = carrier(make_plan(parties, needed=2), patience_s=IMPATIENT_S)
    carried.send(FOUR)
    parties[1].kill()
    parties[2].kill()
    with pytest.raises(Unavailable, match=AWAY.format("[23]")):
        carried.total(FOUR)
    restart(parties[2], carried)
    assert carried.gets_the_plain_sum(FOUR)


@pytest.mark.parametrize(
    "moment",
    [
        "after the shares",
        pytest.param("before the study", marks=pytest.mark.slow),
        pytest.param("after the choice", marks=pytest.mark.slow),
    ],
)
def test_if_all_are_needed_a_study_stops_with_one_sentence_and_goes_on_after_the_restart(
    parties: list[Party], carrier: Carry, moment: str
) -> None:
    plan = make_plan(parties)
    if moment == "before the study":
        parties[2].kill()
    carried = carrier(plan, patience_s=IMPATIENT_S, opened=False)
    if moment == "before the study":
        with pytest.raises(Unavailable, match=AWAY.format(3)):
            carried.collector.open()
        restart(parties[2], carried)
    carried.collector.open()
    carried.send(THREE)
    if moment == "after the choice":
        for client in carried.clients:
            client.choose(call_for(plan, THREE))
    if moment != "before the study":
        parties[2].kill()
        with pytest.raises((Unavailable, SharingError), match=AWAY.format(3)):
            carried.total(THREE)
        restart(parties[2], carried)
    assert carried.gets_the_plain_sum(THREE)


def test_strangers_half_open_connections_keep_nobody_from_an_aggregator(
    parties: list[Party], carrier: Carry
) -> None:
    struck = parties[0]
    assert struck.process
    with strangers(struck.line.target, struck.process.pid, say=TLS):
        carried = carrier(make_plan(parties), patience_s=PATIENT_S)
        carried.send(FOUR)
        assert carried.gets_the_plain_sum(FOUR)
