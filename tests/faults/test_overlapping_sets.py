"""A researcher, or two at once, who ask for overlapping sets: one of them is ever summed.

Two sets that differ in one hospital, subtracted, would be that hospital's update.
"""

import itertools
import random
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
import pytest

from federation.aggregator.storage.store import AggregatorStore
from federation.aggregator.storage.vector_files import RoundKey
from federation.transport import aggregator_api
from federation.transport.growing_file import GrowingFile
from syft_code.errors import ConsiliumError, Refused, SharingError
from syft_code.plans.messages import Signed
from syft_code.secret_sharing import envelope, sharing
from tests.faults.parties import (
    FOUR,
    THREE,
    Carrier,
    Party,
    call_for,
    encoded,
    make_plan,
    plain_sum,
)

Carry = Callable[..., Carrier]
Set = tuple[str, ...]
OTHER: Set = ("berlin", "lisbon", "vienna")
SETS: tuple[Set, Set] = (THREE, OTHER)
ASSIGNMENTS = list(itertools.product(SETS, repeat=3))
"""Which set each of three aggregators is asked for first."""


@dataclass(kw_only=True)
class Loot:
    """All that came out of the aggregators for one round, whoever asked for it and how."""

    carried: Carrier
    round_number: int
    promises: dict[tuple[int, Set], Signed] = field(default_factory=dict)
    sums: dict[tuple[Set, int], bytes] = field(default_factory=dict)
    refusals: set[str] = field(default_factory=set)

    def ask(self, party: int, wanted: Set) -> None:
        """Ask an aggregator to choose a set; keep what it promised."""
        call = call_for(self.carried.plan, wanted, round_number=self.round_number)
        choice, signed = self.carried.clients[party - 1].choose(call)
        self.promises[party, choice.hospitals] = signed

    def grab(self) -> None:
        """Ask every aggregator for every piece over every set, with each bundle of promises."""
        scheme = envelope.scheme(self.carried.plan)
        for party, wanted in itertools.product((1, 2, 3), SETS):
            for piece, bundle in itertools.product(scheme.held_by(party), self._bundles(wanted)):
                self._fetch(party, wanted, piece, bundle)

    def _bundles(self, wanted: Set) -> list[tuple[Signed, ...]]:
        """The promises of one set, and all promises there are."""
        fitting = tuple(one for (_, chosen), one in self.promises.items() if chosen == wanted)
        return [fitting, tuple(self.promises.values())]

    def _fetch(self, party: int, wanted: Set, piece: int, choices: tuple[Signed, ...]) -> None:
        plan = self.carried.plan
        call = call_for(plan, wanted, round_number=self.round_number)
        demand = aggregator_api.ReleaseSum(
            call=call, choices=choices, piece=piece, group=1, offset=0
        )
        with GrowingFile() as file:
            try:
                header = self.carried.clients[party - 1].release(
                    demand, size_bytes=plain_sum(plan, THREE).nbytes, target=file
                )
            except ConsiliumError as problem:
                self.refusals.add(str(problem))
                return
            data = bytes(file.view())
        assert self.sums.setdefault((header.hospitals, piece), data) == data

    @property
    def sets(self) -> set[Set]:
        """The sets of which anything was summed."""
        return {hospitals for hospitals, _ in self.sums}

    def vectors(self) -> list[sharing.Ring]:
        """Every different sum that came out."""
        return [np.frombuffer(data, "<u4") for data in sorted(set(self.sums.values()))]

    def updates(self) -> list[sharing.Ring]:
        """What nobody may learn."""
        about = {"round_number": self.round_number}
        return [encoded(self.carried.plan, name, **about) for name in FOUR]  # type: ignore[arg-type]


def can_be_worked_out(vectors: Sequence[sharing.Ring], update: sharing.Ring) -> bool:
    """Whether some of the vectors, added and subtracted, are one hospital's update."""
    for signs in itertools.product((0, 1, -1), repeat=len(vectors)):
        total = np.zeros_like(update)
        for sign, vector in zip(signs, vectors, strict=True):
            total += vector * np.uint32(sign % 2**32)
        if np.array_equal(total, update):
            return True
    return False


def nothing_leaked(loots: Iterable[Loot]) -> bool:
    return not any(
        can_be_worked_out(loot.vectors(), update) for loot in loots for update in loot.updates()
    )


def rounds(carry: Carry, parties: list[Party], *, needed: int | None, count: int) -> list[Loot]:
    """A study whose hospitals have all sent their shares of so many rounds."""
    carried = carry(make_plan(parties, features=1, rounds=max(count, 2), needed=needed))
    for number in range(1, count + 1):
        carried.send(FOUR, round_number=number)
    return [Loot(carried=carried, round_number=number) for number in range(1, count + 1)]


def test_two_sums_that_overlap_would_give_one_update_away(parties: list[Party]) -> None:
    """What the tests below look for is there to be found."""
    plan = make_plan(parties, features=1)
    both = [plain_sum(plan, wanted) for wanted in (FOUR, THREE)]
    assert can_be_worked_out(both, encoded(plan, "vienna"))
    assert not can_be_worked_out(both[:1], encoded(plan, "vienna"))


@pytest.mark.parametrize(
    "needed",
    [pytest.param(None, id="all of 3"), pytest.param(2, id="2 of 3", marks=pytest.mark.slow)],
)
def test_no_order_of_asking_opens_two_sets_of_a_round_over_restarts_too(
    parties: list[Party], carrier: Carry, needed: int | None
) -> None:
    loots = rounds(carrier, parties, needed=needed, count=len(ASSIGNMENTS))
    for loot, assignment in zip(loots, ASSIGNMENTS, strict=True):
        for party in random.sample((1, 2, 3), 3):
            loot.ask(party, assignment[party - 1])
        loot.grab()
    for party in parties:
        party.restart()
    for loot, assignment in zip(loots, ASSIGNMENTS, strict=True):
        for party, wanted in random.sample(list(itertools.product((1, 2, 3), SETS)), 6):
            loot.ask(party, wanted)
        loot.grab()
        assert set(loot.promises) == set(enumerate(assignment, start=1)), "one promise each, ever"
        most = max(map(assignment.count, SETS))
        opened = most >= loot.carried.plan.needed
        assert len(loot.sets) == opened
        if opened:
            (chosen,) = loot.sets
            pieces = [np.frombuffer(loot.sums[chosen, piece], "<u4") for piece in (1, 2, 3)]
            plain = plain_sum(loot.carried.plan, chosen, round_number=loot.round_number)
            assert np.array_equal(sharing.unshard(pieces), plain)
        assert any("asks for another" in said for said in loot.refusals)
    assert nothing_leaked(loots)


def test_aggregators_that_were_asked_at_the_same_moment_open_one_set_or_none(
    parties: list[Party], carrier: Carry
) -> None:
    loots = rounds(carrier, parties, needed=2, count=4)
    asks = [(loot, *one) for loot in loots for one in itertools.product((1, 2, 3), SETS)]
    random.shuffle(asks)
    with ThreadPoolExecutor(8) as pool:
        for _ in pool.map(lambda ask: (ask[0].ask(*ask[1:]), ask[0].grab()), asks):
            pass
    for loot in loots:
        loot.grab()
        assert len(loot.promises) == 3
        assert len(loot.sets) == 1, "of three aggregators two chose the same set"
    assert nothing_leaked(loots)


def test_one_aggregator_that_is_asked_for_two_sets_at_the_same_instant_promises_one(
    parties: list[Party], carrier: Carry
) -> None:
    loots = rounds(carrier, parties, needed=2, count=9)
    lines = [loots[0].carried, *(carrier(loots[0].carried.plan) for _ in range(3))]
    at_once = threading.Barrier(len(lines))

    def ask(one: tuple[Carrier, Set], number: int) -> Set:
        call = call_for(one[0].plan, one[1], round_number=number)
        at_once.wait()
        return one[0].clients[0].choose(call)[0].hospitals

    for number in range(1, 9):
        with ThreadPoolExecutor(len(lines)) as pool:
            told = set(pool.map(ask, zip(lines, SETS * 2, strict=True), [number] * len(lines)))
        assert len(told) == 1
    parties[0].kill()
    round_key = RoundKey(plan_hash=loots[0].carried.plan.hash, purpose="train", round=9)
    with closing(
        AggregatorStore(parties[0].home)
    ) as store:  # both found no choice, and now each makes one
        chosen = [store.choose(round_key, wanted, lambda: None)[0].hospitals for wanted in SETS]
    assert chosen == [SETS[0]] * 2


def test_a_round_whose_aggregators_chose_different_sets_has_no_sum_and_says_so(
    parties: list[Party], carrier: Carry
) -> None:
    (loot,) = rounds(carrier, parties, needed=None, count=1)
    loot.ask(1, THREE)
    for wanted in SETS:
        loot.ask(2, OTHER)
        with pytest.raises(
            SharingError, match=r"for good: its sum can't be had any more\. Write an"
        ):
            loot.carried.collector.collect("train", 1, hospitals=wanted)
    loot.grab()
    assert loot.sums == {}


def test_two_researchers_with_one_key_who_ask_at_once_get_the_same_sum(
    parties: list[Party], carrier: Carry
) -> None:
    loots = rounds(carrier, parties, needed=2, count=4)
    plan = loots[0].carried.plan
    second = carrier(plan)

    def collect(one: Carrier, number: int, wanted: Set) -> tuple[Set, bytes]:
        found = one.collector.collect("train", number, hospitals=wanted)
        return found.hospitals, found.totals[0].tobytes()

    with ThreadPoolExecutor(8) as pool:
        for number in range(1, 5):
            first = pool.submit(collect, loots[0].carried, number, THREE)
            other = pool.submit(collect, second, number, FOUR)
            assert first.result() == other.result()
            chosen, data = first.result()
            assert data == plain_sum(plan, chosen, round_number=number).tobytes()


def test_the_set_of_a_round_that_was_chosen_is_told_to_a_researcher_who_comes_back(
    parties: list[Party], carrier: Carry
) -> None:
    (loot,) = rounds(carrier, parties, needed=2, count=1)
    loot.ask(1, THREE)
    loot.ask(3, THREE)
    anew = carrier(loot.carried.plan)
    assert anew.collector.chosen("train", 1) == {1: THREE, 3: THREE}
    with pytest.raises(Refused):
        anew.clients[1].choose(call_for(loot.carried.plan, ()))
    found = anew.collector.collect("train", 1, hospitals=FOUR)
    assert found.hospitals == THREE
