"""An aggregator's operator wipes a study, or its disk is lost."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from federation.aggregator.config import AggregatorConfig
from federation.aggregator.operator import admin_api
from syft_code.errors import InvalidInput, Refused, Unavailable
from syft_code.evidence import audit_chain
from syft_code.evidence.audit_chain import Entry
from syft_code.plans import messages
from syft_code.plans.messages import Signed
from syft_code.plans.plan import Plan
from tests.faults.parties import (
    FOUR,
    RESEARCHER,
    THREE,
    Carrier,
    Party,
    aggregators,
    call_for,
    make_plan,
)

Carry = Callable[..., Carrier]
GONE = "The study was wiped here: its shares and sums are gone for good"


def config_of(party: Party) -> AggregatorConfig:
    return AggregatorConfig(name=party.name, home=str(party.home), port=0)


def wipe(party: Party, plan: Plan) -> Signed:
    with admin_api.at(config_of(party)) as desk:
        return desk.wipe(plan.hash)


def log_of(party: Party) -> bytes:
    with admin_api.at(config_of(party)) as desk:
        return desk.exported_log()


def requests(carried: Carrier) -> Iterator[Callable[[], object]]:
    """All that a researcher may ask the third aggregator about a round."""
    plan, client = carried.plan, carried.clients[2]
    share, call = carried.share("berlin", 3), call_for(plan, THREE)
    late = carried.share("vienna", 3, round_number=2)
    yield lambda: carried.collector.collect("train", 1, hospitals=THREE)
    yield lambda: client.choose(call)
    yield lambda: client.received(share.header)
    yield lambda: client.submit(share)
    yield lambda: client.submit(late)
    yield lambda: client.open_study(plan, RESEARCHER)


def test_after_a_study_is_wiped_every_request_is_refused_and_the_log_proves_the_wipe(
    parties: list[Party], carrier: Carry
) -> None:
    carried, kept = carrier(make_plan(parties)), carrier(make_plan(parties))
    third = parties[2]
    verify_key = carried.plan.aggregators[2].verify_key
    for one in (carried, kept):
        one.send(THREE)
        one.send(FOUR, round_number=2)
    assert carried.gets_the_plain_sum(THREE)
    proof = wipe(third, carried.plan)
    for restarted in (False, True):
        if restarted:
            third.restart()
        for ask in requests(carried):
            with pytest.raises(Refused, match=GONE):
                ask()
    files = [path for path in third.home.rglob("*") if carried.plan.hash in str(path)]
    assert not any(path.is_file() for path in files)
    assert wipe(third, carried.plan) == proof, "once more does nothing"
    check_proof(log_of(third), proof, verify_key, carried.plan)
    assert kept.gets_the_plain_sum(THREE), "other studies don't feel it"


def check_proof(log: bytes, proof: Signed, verify_key: str, plan: Plan) -> None:
    entry = messages.verify(Entry, proof, verify_key)
    assert (entry.kind, entry.facts["plan_hash"]) == ("study wiped", plan.hash)
    assert (entry.facts["shares"], entry.facts["sums"]) == ("4", "1")
    assert is_sound(log, verify_key)
    assert proof.signature.encode() in log
    for kind in (b"set chosen", b"study wiped"):
        assert kind in log
        assert not is_sound(log.replace(kind, b"x" * len(kind)), verify_key)


def is_sound(log: bytes, verify_key: str) -> bool:
    """Whether a log is an unbroken chain that the aggregator signed."""
    try:
        return audit_chain.verify(log, verify_key=verify_key).problems == ()
    except InvalidInput:
        return False


def test_an_aggregator_that_lost_its_disk_is_another_one_to_the_plan(
    parties: list[Party], carrier: Carry, tmp_path: Path
) -> None:
    with aggregators(tmp_path, ("agg-4",)) as (lost,):
        roster = [*parties[:2], lost]
        carried = carrier(make_plan(roster, needed=2), patience_s=0.5)
        alone = carrier(make_plan(roster), patience_s=0.5)
        for one in (carried, alone):
            one.send(THREE)
        lost.kill()
        shutil.rmtree(lost.home)
        lost.start()
        with pytest.raises(Unavailable, match="certificate are those of the plan"):
            carried.clients[2].health()
        assert carried.gets_the_plain_sum(THREE)
        with pytest.raises(Unavailable, match="agg-4 must answer and did not"):
            alone.total(THREE)
        anew = carrier(make_plan(roster))
        anew.send(THREE)
        assert anew.gets_the_plain_sum(THREE), "a new plan names it with its new keys"
