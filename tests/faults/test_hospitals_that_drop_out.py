"""A hospital goes away before, while or after its shares are sent."""

from collections.abc import Callable

import pytest

from federation.researcher.collector import best_set
from syft_code.errors import Refused, Unavailable
from tests.faults.parties import FOUR, LONG, THREE, Carrier, Party, call_for, make_plan
from tests.waiting import until

Carry = Callable[..., Carrier]
both_schemes = pytest.mark.parametrize("needed", [None, 2], ids=["all of 3", "2 of 3"])


@both_schemes
def test_a_hospital_that_drops_out_before_sending_costs_the_others_nothing(
    parties: list[Party], carrier: Carry, needed: int | None
) -> None:
    carried = carrier(make_plan(parties, needed=needed))
    carried.send(THREE)
    assert carried.gets_the_plain_sum(THREE)


@both_schemes
def test_a_hospital_that_drops_out_in_the_middle_of_its_share_is_left_out(
    parties: list[Party], carrier: Carry, needed: int | None
) -> None:
    carried = carrier(make_plan(parties, needed=needed, **LONG))
    carried.send(FOUR, parties=[1])
    carried.send(THREE, parties=[2, 3])
    share = carried.share("vienna", 3)
    parties[2].line.after(len(share.sealed) // 2, "up", "reset")
    dropped = carrier(carried.plan, patience_s=0.0, opened=False)
    with pytest.raises(Unavailable, match=r"agg-3 must answer and did not \(unavailable\)"):
        dropped.clients[2].submit(share)
    until(lambda: carried.clients[2].received(share.header).size_bytes > 0)
    there = carried.clients[2].received(share.header)
    assert there.size_bytes < len(share.sealed)
    assert not there.whole
    with pytest.raises(Refused, match="All shares of the set must be here whole, and 3 of 4 are"):
        carried.clients[2].choose(call_for(carried.plan, FOUR))
    assert carried.gets_the_plain_sum(THREE)
    carried.clients[2].choose(call_for(carried.plan, THREE))
    left = [path for path in (parties[2].home / "incoming").iterdir() if path.is_file()]
    assert left == [], "the half of a share that is not summed is not kept"
    with pytest.raises(Refused, match="too late"):
        carried.clients[2].submit(share)


def test_a_hospital_whose_share_is_at_one_aggregator_only_is_left_out(
    parties: list[Party], carrier: Carry
) -> None:
    carried = carrier(make_plan(parties))
    carried.send(THREE)
    carried.send(["vienna"], parties=[1])
    taken = dict.fromkeys(THREE, (1, 2, 3)) | {"vienna": (1,)}
    hospitals, holding = best_set(carried.plan, taken, {})
    assert (hospitals, holding) == (THREE, (1, 2, 3))
    assert carried.gets_the_plain_sum(hospitals, parties=holding)


def test_of_three_aggregators_the_two_that_took_every_share_give_the_sum_over_all(
    parties: list[Party], carrier: Carry
) -> None:
    carried = carrier(make_plan(parties, needed=2))
    carried.send(THREE)
    carried.send(["vienna"], parties=[2, 3])
    taken = dict.fromkeys(THREE, (1, 2, 3)) | {"vienna": (2, 3)}
    hospitals, holding = best_set(carried.plan, taken, {})
    assert (hospitals, holding) == (FOUR, (2, 3))
    assert carried.gets_the_plain_sum(hospitals, parties=holding)


@both_schemes
def test_a_hospital_that_drops_out_after_sending_is_in_the_sum(
    parties: list[Party], carrier: Carry, needed: int | None
) -> None:
    carried = carrier(make_plan(parties, needed=needed))
    carried.send(FOUR)
    assert carried.gets_the_plain_sum(FOUR)


def test_too_few_hospitals_make_no_sum(parties: list[Party], carrier: Carry) -> None:
    carried = carrier(make_plan(parties))
    carried.send(THREE[:2])
    with pytest.raises(Refused, match="must be over at least 3 hospitals, and this call names 2"):
        carried.total(THREE[:2])
    with pytest.raises(Refused, match="must be here whole, and 2 of 3 are"):
        carried.total(THREE)
    carried.send(THREE)
    assert carried.gets_the_plain_sum(THREE)
