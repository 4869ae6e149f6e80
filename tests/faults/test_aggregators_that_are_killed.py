"""An aggregator is killed with SIGKILL and started again, is slow, or is asked twice."""

import dataclasses
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from federation.transport import aggregator_api
from federation.transport.aggregator_client import AggregatorClient
from federation.transport.growing_file import GrowingFile
from syft_code import canonical
from syft_code.plans.messages import Signed
from tests.faults.line import Line
from tests.faults.parties import (
    FOUR,
    LONG,
    THREE,
    Carrier,
    Party,
    call_for,
    make_plan,
    plain_sum,
)
from tests.waiting import until

Carry = Callable[..., Carrier]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


def restart_all(parties: list[Party]) -> None:
    for party in parties:
        party.restart()


def test_an_aggregator_that_is_killed_before_shares_come_takes_them_after(
    parties: list[Party], carrier: Carry
) -> None:
    carried = carrier(make_plan(parties))
    restart_all(parties)
    carried.send(THREE)
    assert carried.gets_the_plain_sum(THREE)


def test_an_aggregator_that_is_killed_in_the_middle_of_an_upload_goes_on_where_it_stopped(
    parties: list[Party], carrier: Carry, pool: ThreadPoolExecutor
) -> None:
    carried = carrier(make_plan(parties, **LONG))
    carried.send(THREE[1:])
    carried.send(THREE[:1], parties=[1, 2])
    share, third = carried.share(THREE[0], 3), parties[2]
    size_bytes, line = len(share.sealed), third.line
    line.forget()
    line.after(size_bytes * 9 // 10, "up", "hold")
    sending = pool.submit(carried.clients[2].submit, share)
    line.wait_until("hold")
    until(lambda: arrived_bytes(third) > size_bytes * 8 // 10)
    third.kill()
    line.go_on()
    third.start()
    sending.result()
    assert carried.gets_the_plain_sum(THREE)
    assert line.crossed["up"] < size_bytes * 12 // 10, "what had arrived was sent once"


def arrived_bytes(party: Party) -> int:
    """How much of shares that are on their way is on an aggregator's disk."""
    return sum(path.stat().st_size for path in (party.home / "incoming").iterdir())


def test_aggregators_that_are_killed_when_all_shares_are_in_have_them_still(
    parties: list[Party], carrier: Carry
) -> None:
    carried = carrier(make_plan(parties))
    carried.send(FOUR)
    restart_all(parties)
    assert carried.gets_the_plain_sum(FOUR)


def test_aggregators_that_are_killed_between_choice_and_release_keep_their_word(
    parties: list[Party], carrier: Carry
) -> None:
    carried = carrier(make_plan(parties))
    carried.send(FOUR)
    chosen = [client.choose(call_for(carried.plan, THREE)) for client in carried.clients]
    restart_all(parties)
    other = call_for(carried.plan, FOUR)
    assert [client.choose(other) for client in carried.clients] == chosen
    assert carried.gets_the_plain_sum(THREE)


def test_an_aggregator_that_is_killed_in_the_middle_of_a_sum_goes_on_where_it_stopped(
    parties: list[Party], carrier: Carry, pool: ThreadPoolExecutor
) -> None:
    carried = carrier(make_plan(parties, **LONG))
    carried.send(THREE)
    plain, third = plain_sum(carried.plan, THREE), parties[2]
    third.line.forget()
    third.line.after(plain.nbytes * 9 // 10, "down", "hold")
    collecting = pool.submit(carried.total, THREE)
    third.line.wait_until("hold")
    time.sleep(1)  # what has crossed arrives
    third.kill()
    third.line.go_on()
    third.start()
    assert np.array_equal(collecting.result(), plain)
    assert third.line.crossed["down"] < plain.nbytes * 15 // 10


def test_an_aggregator_that_is_killed_while_it_sums_gives_the_same_sum(
    parties: list[Party], carrier: Carry, pool: ThreadPoolExecutor
) -> None:
    carried = carrier(make_plan(parties, **LONG))
    carried.send(FOUR)
    collecting = pool.submit(carried.gets_the_plain_sum, FOUR)
    for party in parties:
        party.restart()
    assert collecting.result()


@pytest.mark.slow
def test_an_aggregator_that_is_slow_is_waited_for(
    parties: list[Party], carrier: Carry, pool: ThreadPoolExecutor
) -> None:
    carried = carrier(make_plan(parties, **LONG))
    carried.send(THREE[1:])
    line = parties[2].line
    line.forget()
    line.after(10_000_000, "up", "hold")
    sending = pool.submit(carried.send, THREE[:1])
    line.wait_until("hold")
    parties[2].pause()
    line.go_on()
    time.sleep(3)
    assert not sending.done()
    parties[2].resume()
    sending.result()
    parties[0].pause()
    collecting = pool.submit(carried.gets_the_plain_sum, THREE)
    time.sleep(2)
    assert not collecting.done()
    parties[0].resume()
    assert collecting.result()


@pytest.mark.slow
def test_a_line_that_died_silently_gives_way_to_a_new_one(
    parties: list[Party], carrier: Carry, pool: ThreadPoolExecutor
) -> None:
    carried = carrier(make_plan(parties, **LONG))
    carried.send(THREE[1:])
    carried.send(THREE[:1], parties=[1, 2])
    share, third = carried.share(THREE[0], 3), parties[2]
    third.line.after(10_000_000, "up", "hold")
    waiting = pool.submit(carried.clients[2].submit, share)
    third.line.wait_until("hold")
    second = Line(third.line.target)
    anew = AggregatorClient(dataclasses.replace(third.entry, address=second.address))
    anew.submit(share)
    assert second.crossed["up"] < len(share.sealed) * 3 // 4, "what had arrived was sent once"
    anew.close()
    second.close()
    third.line.go_on()
    waiting.result()
    assert carried.gets_the_plain_sum(THREE)


def test_asked_twice_an_aggregator_says_the_same_byte_for_byte(
    parties: list[Party], carrier: Carry
) -> None:
    carried = carrier(make_plan(parties))
    carried.send(FOUR)
    first = answers(carried)
    assert answers(carried) == first
    carried.send(FOUR)
    assert answers(carried) == first
    restart_all(parties)
    assert answers(carried) == first


def answers(carried: Carrier) -> list[tuple[Signed, bytes]]:
    """Each aggregator's choice, and its sum as it is given from two places on."""
    call = call_for(carried.plan, THREE)
    promises = tuple(client.choose(call)[1] for client in carried.clients)
    found = []
    for party, (client, promise) in enumerate(zip(carried.clients, promises, strict=True), 1):
        demand = aggregator_api.ReleaseSum(
            call=call, choices=promises, piece=party, group=1, offset=0
        )
        size_bytes = plain_sum(carried.plan, THREE).nbytes
        with GrowingFile() as file:
            header = client.release(demand, size_bytes=size_bytes, target=file)
            data = bytes(file.view())
        assert header.sum_sha256 == canonical.sha256(data)
        with GrowingFile() as rest:
            rest.write(data[: size_bytes // 3])
            assert client.release(demand, size_bytes=size_bytes, target=rest) == header
            assert bytes(rest.view()) == data
        found.append((promise, data))
    return found
