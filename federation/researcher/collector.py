"""The researcher as collector: agrees with the aggregators on a round's set, and adds up its sums.

    collector = Collector(plan, clients, key)
    collector.open()
    ... every hospital's shares go to the aggregators (`relay`) ...
    found = collector.collect("train", 1, hospitals=..., parties=...)

An aggregator sums one set of a round, ever. As many aggregators as the plan needs must have chosen
the same set before one of them lets a sum out. Which set that is, the first to ask decides; after
that, who is asked, in which order and how often makes no difference.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from typing import TypeVar

import numpy as np
from nacl.signing import SigningKey

from federation.transport import aggregator_api
from federation.transport.aggregator_client import AggregatorClient
from federation.transport.growing_file import GrowingFile
from syft_code.errors import ConsiliumError, SharingError, Unavailable, require
from syft_code.plans import messages
from syft_code.plans.messages import Purpose, ReleaseCall, SetChoice, Signed, SumHeader
from syft_code.plans.plan import Plan
from syft_code.secret_sharing import envelope, sharing
from syft_code.secret_sharing.groups import groups
from syft_code.secret_sharing.sharing import Ring
from syft_code.secret_sharing.vector_layout import VectorLayout

T = TypeVar("T")
Set = tuple[str, ...]
Choices = dict[int, Signed]
"""What aggregators (by party, from 1) chose for one round, all of them the same set."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Collected:
    """What a round came to: the set that was summed, its groups, and the ring sum of each."""

    hospitals: Set
    groups: tuple[Set, ...]
    totals: tuple[Ring, ...]


class Collector:
    """The researcher before the aggregators of one plan, whom it calls parties 1 to k."""

    def __init__(self, plan: Plan, clients: Sequence[AggregatorClient], key: SigningKey) -> None:
        self._plan = plan
        self._clients = dict(enumerate(_in_roster_order(plan, clients), start=1))
        self._key = key
        self._opened: set[int] = set()

    def open(self) -> None:
        """Tell every aggregator about the plan that has not heard of it yet.

        Raises:
            ConsiliumError: what one of them said, if fewer than the plan needs are ready.
        """
        waiting = sorted(self._clients.keys() - self._opened)
        told = _side_by_side(
            waiting, lambda party: self._clients[party].open_study(self._plan, self._key)
        )
        problems = {p: one for p, one in told.items() if isinstance(one, ConsiliumError)}
        self._opened.update(told.keys() - problems.keys())
        if len(self._opened) < self._plan.needed:
            self._require_enough(len(self._opened), problems)

    def chosen(self, purpose: Purpose, round_number: int) -> dict[int, Set]:
        """The sets that aggregators chose for a round before, as far as they tell.

        They are asked for a set without hospitals, which none of them ever chooses.

        Raises:
            Unavailable: if fewer than the plan needs answer.
            SharingError: if they chose so differently that as many can't agree any more.
        """
        call = self._call(purpose, round_number, ())
        told = _side_by_side(sorted(self._clients), lambda party: self._choose(party, call))
        away = {p: one for p, one in told.items() if isinstance(one, Unavailable)}
        if len(told) - len(away) < self._plan.needed:
            raise next(iter(away.values()))
        found = {p: one[0] for p, one in told.items() if not isinstance(one, ConsiliumError)}
        free = len(self._clients) - len(found)
        most = max(map(list(found.values()).count, found.values()), default=0)
        if free + most < self._plan.needed:
            raise _split(self._plan)
        return found

    def headers(self, purpose: Purpose, round_number: int) -> dict[str, Signed]:
        """By hospital, the header of its last share of a round that an aggregator here tells.

        Guarantee: the hospital signed it, for this round. Does not protect: against aggregators
        that keep some to themselves, or whose answer is not used since they made one up.
        """
        call = self._call(purpose, round_number, ())
        found: dict[str, Signed] = {}
        for answer in _side_by_side(
            sorted(self._clients), lambda party: self._headers(party, call)
        ).values():
            found |= {} if isinstance(answer, ConsiliumError) else answer
        return found

    def collect(
        self,
        purpose: Purpose,
        round_number: int,
        *,
        hospitals: Collection[str],
        parties: Collection[int] | None = None,
    ) -> Collected:
        """Have a set chosen and its sums released, and put them together.

        `parties` are the aggregators that hold all of the set's shares, without it all of them.
        If another set was chosen before, by as many as the plan needs, that one is summed.

        Raises:
            Refused, Unavailable: as an aggregator says, if too few others can take its place.
            InvalidMessage, SharingError: if a sum is forged, or the aggregators chose different
                sets.
        """
        usable = sorted(self._clients if parties is None else parties)
        problems: dict[int, ConsiliumError] = {}
        call = self._call(purpose, round_number, tuple(sorted(hospitals)))
        while True:
            agreed, choices = self._agree(call, usable, problems)
            try:
                return self._release(self._call(purpose, round_number, agreed), choices)
            except _PartyFailed as failure:
                problems[failure.party] = failure.problem

    def _agree(
        self, call: Signed, usable: Sequence[int], problems: dict[int, ConsiliumError]
    ) -> tuple[Set, Choices]:
        """Ask aggregators to choose, no more than necessary, until enough chose one set."""
        found: dict[Set, Choices] = defaultdict(dict)
        asking = [party for party in usable if party not in problems]
        while asking:
            short = self._plan.needed - max(map(len, found.values()), default=0)
            now, asking = asking[:short], asking[short:]
            for party, one in _side_by_side(now, lambda p: self._choose(p, call)).items():
                if isinstance(one, ConsiliumError):
                    problems[party] = one
                else:
                    chosen, signed = one
                    found[chosen][party] = signed
            for chosen, choices in found.items():
                if len(choices) >= self._plan.needed:
                    return chosen, choices
        self._require_enough(sum(map(len, found.values())), problems)
        raise _split(self._plan)

    def _choose(self, party: int, call: Signed) -> tuple[Set, Signed]:
        """The set that one aggregator chose, with its signed word."""
        choice, signed = self._clients[party].choose(call)
        asked = messages.verify(ReleaseCall, call, self._plan.researcher_key)
        fits = (
            (choice.plan_hash, asked.plan_hash),
            (choice.purpose, asked.purpose),
            (choice.round, asked.round),
            (choice.party, party),
        )
        require(
            all(got == wanted for got, wanted in fits) and self._is_a_set(choice),
            f"The choice of aggregator {self._name(party)} must be for the plan and the round that "
            "were asked for; it is not, and can't be used.",
            error=SharingError,
        )
        return choice.hospitals, signed

    def _headers(self, party: int, call: Signed) -> dict[str, Signed]:
        """The headers of a round's shares that one aggregator took."""
        asked = messages.verify(ReleaseCall, call, self._plan.researcher_key)
        found = {}
        for signed in self._clients[party].headers(call, at_most=len(self._plan.hospitals)):
            header = envelope.check_header(self._plan, party, signed)
            require(
                (header.purpose, header.round) == (asked.purpose, asked.round),
                f"The headers of aggregator {self._name(party)} must be for the round that was "
                "asked for; one is not, and none can be used.",
                error=SharingError,
            )
            found[header.hospital] = signed
        return found

    def _is_a_set(self, choice: SetChoice) -> bool:
        names = {hospital.name for hospital in self._plan.hospitals}
        ordered = tuple(sorted(set(choice.hospitals)))
        return (
            choice.hospitals == ordered
            and names.issuperset(ordered)
            and len(ordered) >= self._plan.min_hospitals
        )

    def _release(self, call: Signed, choices: Choices) -> Collected:
        """The sum of each group, one after the other, its pieces side by side."""
        asked = messages.verify(ReleaseCall, call, self._plan.researcher_key)
        drawn = groups(self._plan, asked.purpose, asked.round, asked.hospitals)
        totals = [
            self._total(call, choices, group, members)
            for group, members in enumerate(drawn, start=1)
        ]
        return Collected(hospitals=asked.hospitals, groups=drawn, totals=tuple(totals))

    def _total(self, call: Signed, choices: Choices, group: int, members: Set) -> Ring:
        scheme = envelope.scheme(self._plan)

        def fetch(piece: int) -> Ring:
            holders = [party for party in scheme.holders(piece) if party in choices]
            party = holders[piece % len(holders)]
            try:
                return self._piece(party, call, choices, (piece, group, members))
            except ConsiliumError as problem:
                raise _PartyFailed(party, problem) from problem

        with ThreadPoolExecutor(scheme.pieces) as pool:
            return sharing.unshard(list(pool.map(fetch, range(1, scheme.pieces + 1))))

    def _piece(
        self, party: int, call: Signed, choices: Choices, wanted: tuple[int, int, Set]
    ) -> Ring:
        """The sum of one piece over one group, from a file."""
        piece, group, members = wanted
        asked = messages.verify(ReleaseCall, call, self._plan.researcher_key)
        length = VectorLayout.of(self._plan).vector_length(asked.purpose)
        dtype = sharing.ring_dtype(self._plan.sharing_of(asked.purpose).ring_bits)
        demand = aggregator_api.ReleaseSum(
            call=call, choices=tuple(choices.values()), piece=piece, group=group, offset=0
        )
        with GrowingFile() as file:
            header = self._clients[party].release(
                demand, size_bytes=length * dtype.itemsize, target=file
            )
            expected = SumHeader(
                plan_hash=asked.plan_hash,
                purpose=asked.purpose,
                round=asked.round,
                party=party,
                piece=piece,
                group=group,
                hospitals=members,
                length=length,
                ring_bits=dtype.itemsize * 8,
                sum_sha256=file.sha256,
            )
            require(
                header == expected,
                f"The sum of aggregator {self._name(party)} must be for the round, the set and the "
                "length that were asked for; it is not, and can't be used.",
                error=SharingError,
            )
            return np.frombuffer(file.view(), dtype)

    def _call(self, purpose: Purpose, round_number: int, hospitals: Set) -> Signed:
        call = ReleaseCall(
            plan_hash=self._plan.hash, purpose=purpose, round=round_number, hospitals=hospitals
        )
        return messages.sign(call, self._key)

    def _require_enough(self, ready: int, problems: Mapping[int, ConsiliumError]) -> None:
        """Raise what one aggregator said if too few are ready, or if one that is away may help."""
        away = [one for one in problems.values() if isinstance(one, Unavailable)]
        others = list(problems.values()) if ready < self._plan.needed else []
        for problem in away + others:
            raise problem

    def _name(self, party: int) -> str:
        return self._plan.aggregators[party - 1].name


def best_set(
    plan: Plan, taken: Mapping[str, Collection[int]], chosen: Mapping[int, Set]
) -> tuple[Set, tuple[int, ...]]:
    """The most hospitals whose sum as many aggregators can open as the plan needs.

    `taken` are the parties that took a hospital's shares, `chosen` the sets that parties chose
    before and can't leave. Returns the set in alphabetical order and all parties that can sum it;
    nothing if there is none. Of two sets of one size, the one of aggregators earlier in the roster.
    """
    everyone = range(1, len(plan.aggregators) + 1)
    taking = {
        party: set(chosen.get(party, ())) | {name for name in taken if party in taken[name]}
        for party in everyone
    }
    best: Set = ()
    for parties in combinations(everyone, plan.needed):
        held = set.intersection(*(taking[party] for party in parties))
        bound = {chosen[party] for party in parties if party in chosen} or {tuple(sorted(held))}
        if len(bound) == 1:
            wanted = bound.pop()
            best = wanted if held.issuperset(wanted) and len(wanted) > len(best) else best
    able = [p for p in everyone if taking[p].issuperset(best) and chosen.get(p, best) == best]
    return best, tuple(able) if best else ()


def _split(plan: Plan) -> SharingError:
    return SharingError(
        f"{plan.needed} aggregators must choose the same set for a round, and they chose different "
        "ones for good: its sum can't be had any more. Write another plan."
    )


class _PartyFailed(Exception):
    """One aggregator's sum can't be had; perhaps another one holds the same piece."""

    def __init__(self, party: int, problem: ConsiliumError) -> None:
        super().__init__(party)
        self.party = party
        self.problem = problem


def _side_by_side(parties: Sequence[int], ask: Callable[[int], T]) -> dict[int, T | ConsiliumError]:
    """Ask several aggregators at once; what one of them raises is its answer."""

    def answer(party: int) -> T | ConsiliumError:
        try:
            return ask(party)
        except ConsiliumError as problem:
            return problem

    with ThreadPoolExecutor(max(len(parties), 1)) as pool:
        return dict(zip(parties, pool.map(answer, parties), strict=True))


def _in_roster_order(plan: Plan, clients: Sequence[AggregatorClient]) -> list[AggregatorClient]:
    by_key = {client.aggregator.verify_key: client for client in clients}
    keys = [aggregator.verify_key for aggregator in plan.aggregators]
    require(
        len(clients) == len(keys) and set(by_key) == set(keys),
        f"There must be one client for each of the plan's {len(keys)} aggregators.",
        error=SharingError,
    )
    return [by_key[key] for key in keys]
