"""Hospitals and aggregators that stand in for the real ones: real shares, no process, no network.

What a hospital does in a round is written down beforehand: an error that it raises, the
sentence of a ticket that fails, or a share of another round in place of the right one.
"""

import dataclasses
import json
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from federation.researcher.study import Study
from federation.transport import aggregator_api
from federation.transport.growing_file import GrowingFile
from syft_code import canonical
from syft_code.errors import ConsiliumError, Refused, Unavailable
from syft_code.plans import messages
from syft_code.plans.messages import (
    Purpose,
    ReleaseCall,
    RoundCall,
    RoundStatement,
    SetChoice,
    Signed,
    SumHeader,
    Ticket,
)
from syft_code.plans.plan import Plan
from syft_code.plans.roster import Aggregator
from syft_code.secret_sharing import envelope, sharing
from syft_code.secret_sharing.envelope import SealedShare
from syft_code.secret_sharing.groups import groups
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests.plans import Keys, plan

Turn = tuple[Purpose, int]
FOUR = ("berlin", "lisbon", "oslo", "vienna")


@dataclass(kw_only=True)
class StandInHospital:
    """One hospital as `HospitalClient` offers it; it is its own `bulk`."""

    name: str
    plan: Plan
    key: SigningKey
    researcher_key: str
    approved: bool = True
    raises: dict[Turn, ConsiliumError] = field(default_factory=dict)
    fails: dict[Turn, str] = field(default_factory=dict)
    replays: dict[Turn, Turn] = field(default_factory=dict)
    never_ends: set[Turn] = field(default_factory=set)
    away: bool = False
    said: list[SimpleNamespace] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)
    submitted: list[str] = field(default_factory=list)
    calls: list[Turn] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    vault: dict[str, bytes] = field(default_factory=dict)
    given: dict[Turn, Signed] = field(default_factory=dict)
    update: float = 1.0
    tickets: dict[str, Ticket] = field(default_factory=dict)
    started_with: dict[str, str] = field(default_factory=dict)
    log_sha256: str = ""

    @property
    def bulk(self) -> "StandInHospital":
        return self

    def submit(self, plan: Plan) -> None:
        self._answer()
        self.submitted.append(plan.hash)

    def has_approved(self, plan_hash: str) -> bool:
        self._answer()
        return self.approved

    def notes(self, plan_hash: str) -> list[SimpleNamespace]:
        self._answer()
        return self.said

    def answer(self, plan_hash: str, text: str) -> None:
        self.answers.append(text)

    def upload(self, data: bytes) -> str:
        self._answer()
        name = canonical.sha256(data)
        self.blobs[name] = data
        return name

    def download(self, name: str, target: GrowingFile, *, limit_bytes: int) -> None:
        self._answer()
        if name not in self.blobs:
            raise Refused("There is no such blob here.")
        assert len(self.blobs[name]) <= limit_bytes
        self.fetched.append(name)
        target.write(self.blobs[name])

    def delete(self, name: str) -> None:
        self._answer()
        self.blobs.pop(name, None)

    def ticket(self, name: str) -> Ticket:
        """A ticket; the shares of one that is done are there to be fetched, as often as asked."""
        self._answer()
        return self._with_shares(name)

    def forget(self, name: str) -> None:
        self._answer()
        for one in (self.started_with[name], *self.tickets[name].shares):
            self.blobs.pop(one, None)

    def start_round(self, plan: Plan, call: Signed) -> Ticket:
        self._answer()
        asked = messages.verify(RoundCall, call, self.researcher_key)
        turn = (asked.purpose, asked.round)
        assert asked.weights_sha256 in self.blobs, "the weights come before the call"
        self.calls.append(turn)
        self.started_with[f"{asked.purpose}-{asked.round}"] = asked.weights_sha256
        if turn in self.raises:
            raise self.raises[turn]
        if turn in self.given:
            assert self.given[turn] == call, "a round is called with the same inputs or not at all"
            return self._with_shares(f"{asked.purpose}-{asked.round}")
        state = "failed" if turn in self.fails else "done"
        shares = () if turn in self.fails else self._shares(turn)
        if state == "done" and turn not in self.never_ends:
            self.given[turn] = call
        started = Ticket(
            ticket=f"{asked.purpose}-{asked.round}",
            purpose=asked.purpose,
            round=asked.round,
            state="running",
            step=1,
            steps=3,
            epsilon=float(asked.round),
            epsilon_alone=float(asked.round),
            delta=1e-5,
        )
        ended = Ticket(
            **{name: getattr(started, name) for name in Ticket.__slots__}
            | {"state": state, "shares": shares, "sentence": self.fails.get(turn, "")}
        )
        self.tickets[started.ticket] = started if turn in self.never_ends else ended
        return started

    def _answer(self) -> None:
        if self.away:
            raise Unavailable(f"The front desk of {self.name} does not answer: try again.")

    def _with_shares(self, name: str) -> Ticket:
        self.blobs |= {one: self.vault[one] for one in self.tickets[name].shares}
        return self.tickets[name]

    def _shares(self, turn: Turn) -> tuple[str, ...]:
        if turn in self.replays:
            purpose, number = self.replays[turn]
            return self.tickets[f"{purpose}-{number}"].shares
        return self._seal(turn)

    def _seal(self, turn: Turn) -> tuple[str, ...]:
        """Shares of an update of ones, weighed by the declared patients."""
        values = np.full(VectorLayout.of(self.plan).values_length(turn[0]), self.update)
        self.log_sha256 = canonical.sha256(os.urandom(8))
        pieces = envelope.scheme(self.plan).pieces
        shares = envelope.seal(
            self.plan,
            hospital=self.name,
            purpose=turn[0],
            round_number=turn[1],
            values=values,
            hospital_key=self.key,
            statement=RoundStatement(
                weights_sha256=self.started_with[f"{turn[0]}-{turn[1]}"],
                epsilon=float(turn[1]),
                epsilon_alone=float(turn[1]),
                delta=1e-5,
                log_sha256=self.log_sha256,
            ),
            seeds=[os.urandom(32) for _ in range(pieces - 1)],
            content_keys=[os.urandom(32) for _ in self.plan.aggregators],
        )
        data = [share.to_bytes() for share in shares]
        self.vault |= {canonical.sha256(one): one for one in data}
        return tuple(canonical.sha256(one) for one in data)


@dataclass(kw_only=True)
class StandInAggregator:
    """One aggregator as `AggregatorClient` offers it: it adds up real shares, in memory.

    It is `away` for every call, or for those that are named in `away_for`.
    """

    plan: Plan
    party: int
    seal_key: PrivateKey
    key: SigningKey
    away: bool = False
    away_for: set[str] = field(default_factory=set)
    opened: set[str] = field(default_factory=set)
    held: dict[Turn, dict[str, SealedShare]] = field(default_factory=lambda: defaultdict(dict))
    choices: dict[Turn, Signed] = field(default_factory=dict)

    @property
    def aggregator(self) -> Aggregator:
        return self.plan.aggregators[self.party - 1]

    def open_study(self, plan: Plan, researcher_key: SigningKey) -> None:
        self._answer("open")
        assert plan == self.plan
        self.opened.add(plan.hash)

    def submit(self, share: SealedShare) -> None:
        self._answer("submit")
        assert self.plan.hash in self.opened
        header = envelope.check_header(self.plan, self.party, share.header)
        turn = (header.purpose, header.round)
        if header.hospital in self.held[turn]:
            if self.held[turn][header.hospital].header != share.header:
                raise Refused("A hospital gives one share for a round.")
            return
        if turn in self.choices:
            raise Refused("A share must arrive before its round's set is chosen.")
        self._open(share)
        kept = SealedShare(header=share.header, sealed=bytes(share.sealed))
        self.held[turn][header.hospital] = kept

    def choose(self, call: Signed) -> tuple[SetChoice, Signed]:
        self._answer("choose")
        asked = messages.verify(ReleaseCall, call, self.plan.researcher_key)
        turn = (asked.purpose, asked.round)
        if turn not in self.choices:
            if len(asked.hospitals) < self.plan.min_hospitals:
                raise Refused("A set must have more hospitals.")
            if not set(asked.hospitals) <= self.held[turn].keys():
                raise Refused("All shares of a set must be here.")
            self.choose_for_good(turn, asked.hospitals)
        signed = self.choices[turn]
        return messages.verify(SetChoice, signed, self.aggregator.verify_key), signed

    def choose_for_good(self, turn: Turn, hospitals: tuple[str, ...]) -> None:
        choice = SetChoice(
            plan_hash=self.plan.hash,
            purpose=turn[0],
            round=turn[1],
            party=self.party,
            hospitals=tuple(sorted(hospitals)),
        )
        self.choices[turn] = messages.sign(choice, self.key)

    def release(
        self, demand: aggregator_api.ReleaseSum, *, size_bytes: int, target: GrowingFile
    ) -> SumHeader:
        self._answer("release")
        asked = messages.verify(ReleaseCall, demand.call, self.plan.researcher_key)
        turn = (asked.purpose, asked.round)
        self._check_choices(turn, asked.hospitals, demand.choices)
        members = groups(self.plan, *turn, asked.hospitals)[demand.group - 1]
        total = self._sum(turn, members, demand.piece)
        target.write(total.tobytes())
        assert target.size_bytes == size_bytes
        return SumHeader(
            plan_hash=self.plan.hash,
            purpose=turn[0],
            round=turn[1],
            party=self.party,
            piece=demand.piece,
            group=demand.group,
            hospitals=members,
            length=len(total),
            ring_bits=total.itemsize * 8,
            sum_sha256=target.sha256,
        )

    def headers(self, call: Signed, *, at_most: int) -> list[Signed]:
        self._answer("headers")
        asked = messages.verify(ReleaseCall, call, self.plan.researcher_key)
        held = self.held[asked.purpose, asked.round]
        assert len(held) <= at_most
        return [one.header for one in held.values()]

    def _answer(self, what: str) -> None:
        if self.away or what in self.away_for:
            raise Unavailable(f"Aggregator aggregator-{self.party} must answer and did not.")

    def _open(self, share: SealedShare) -> bytes:
        return b"".join(
            envelope.open_share(
                self.plan, self.party, share.header, share.sealed, seal_key=bytes(self.seal_key)
            )
        )

    def _check_choices(
        self, turn: Turn, hospitals: tuple[str, ...], choices: Sequence[Signed]
    ) -> None:
        """The rule of all aggregators: as many promises as the plan needs, for this set."""
        promised = set()
        for signed in choices:
            party = json.loads(signed.message)["party"]
            verify_key = self.plan.aggregators[party - 1].verify_key
            choice = messages.verify(SetChoice, signed, verify_key)
            assert (choice.purpose, choice.round) == turn and choice.hospitals == hospitals
            promised.add(party)
        assert len(promised) >= self.plan.needed
        assert json.loads(self.choices[turn].message)["hospitals"] == list(hospitals)

    def _sum(self, turn: Turn, members: Sequence[str], piece: int) -> sharing.Ring:
        dtype = sharing.ring_dtype(self.plan.sharing_of(turn[0]).ring_bits)
        total = np.zeros(VectorLayout.of(self.plan).vector_length(turn[0]), dtype)
        seeds = envelope.scheme(self.plan).seeds_of(self.party)
        for name in members:
            payload = self._open(self.held[turn][name])
            if piece in seeds:
                start = 32 * seeds.index(piece)
                sharing.add_seeds(total, [payload[start : start + 32]])
            else:
                sharing.add_vector(total, payload[32 * len(seeds) :])
        return total


@dataclass(frozen=True, kw_only=True)
class StandInFederation:
    """Four hospitals, three aggregators and a study over all of them."""

    study: Study
    hospitals: dict[str, StandInHospital]
    aggregators: list[StandInAggregator]
    key: SigningKey

    def new_process(self) -> Study:
        """The study as a researcher has it who knows the plan and nothing of what was done."""
        return _study(self.study.plan, self.hospitals, self.aggregators, self.key)


def federation(*, names: Sequence[str] = FOUR, **changes: object) -> StandInFederation:
    """A study of three rounds, evaluated after the last one."""
    keys = Keys(hospitals=tuple(SigningKey.generate() for _ in names))
    drawn = plan(keys)
    roster = tuple(
        dataclasses.replace(entry, name=name)
        for entry, name in zip(drawn.hospitals, names, strict=True)
    )
    agreed = plan(keys, **({"hospitals": roster} | changes))
    hospitals = {
        name: StandInHospital(name=name, plan=agreed, key=key, researcher_key=agreed.researcher_key)
        for name, key in zip(names, keys.hospitals, strict=True)
    }
    aggregators = [
        StandInAggregator(plan=agreed, party=party, seal_key=seal, key=key)
        for party, (seal, key) in enumerate(zip(keys.seals, keys.aggregators, strict=True), start=1)
    ]
    return StandInFederation(
        study=_study(agreed, hospitals, aggregators, keys.researcher),
        hospitals=hospitals,
        aggregators=aggregators,
        key=keys.researcher,
    )


def _study(
    agreed: Plan,
    hospitals: dict[str, StandInHospital],
    aggregators: list[StandInAggregator],
    key: SigningKey,
) -> Study:
    return Study(
        agreed,
        hospitals=list(hospitals.values()),  # type: ignore[arg-type]
        aggregators=aggregators,  # type: ignore[arg-type]
        key=key,
        patience_s=0.05,
    )
