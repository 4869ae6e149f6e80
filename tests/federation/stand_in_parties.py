"""Hospitals and aggregators that stand in for the real ones: real shares, no process, no network.

What a hospital does in a round is written down beforehand: an error that it raises, the
sentence of a ticket that fails, or a share of another round in place of the right one.
"""

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from federation.study import Study
from syft_code import canonical, envelope, messages, sharing
from syft_code.envelope import SealedShare
from syft_code.errors import ConsiliumError, Unavailable
from syft_code.messages import Purpose, RoundCall, Signed, Ticket
from syft_code.plan import Plan
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
    blobs: dict[str, bytes] = field(default_factory=dict)
    tickets: dict[str, Ticket] = field(default_factory=dict)
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

    def download(self, name: str) -> bytes:
        return self.blobs[name]

    def delete(self, name: str) -> None:
        del self.blobs[name]

    def ticket(self, name: str) -> Ticket:
        return self.tickets[name]

    def start_round(self, plan: Plan, call: Signed) -> Ticket:
        asked = messages.verify(RoundCall, call, self.researcher_key)
        turn = (asked.purpose, asked.round)
        if turn in self.raises:
            raise self.raises[turn]
        state = "failed" if turn in self.fails else "done"
        shares = () if turn in self.fails else self._seal(self.replays.get(turn, turn))
        started = Ticket(
            ticket=f"{asked.purpose}-{asked.round}",
            purpose=asked.purpose,
            round=asked.round,
            state="running",
            step=1,
            steps=3,
            epsilon=float(asked.round),
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

    def _seal(self, turn: Turn) -> tuple[str, ...]:
        """Shares of an update of ones, weighed by the declared patients."""
        weight = self.plan.hospital(self.name).patients
        vector = np.full(envelope.vector_length(self.plan, turn[0]), float(weight))
        self.log_sha256 = canonical.sha256(os.urandom(8))
        shares = envelope.seal(
            self.plan,
            hospital=self.name,
            purpose=turn[0],
            round_number=turn[1],
            encoded=sharing.encode(vector, self.plan.sharing, hospitals=len(self.plan.hospitals)),
            hospital_key=self.key,
            log_sha256=self.log_sha256,
            seeds=[os.urandom(32) for _ in self.plan.aggregators[1:]],
        )
        data = [share.to_bytes() for share in shares]
        self.blobs |= {canonical.sha256(one): one for one in data}
        return tuple(canonical.sha256(one) for one in data)


@dataclass(kw_only=True)
class StandInAggregator:
    """One aggregator as `AggregatorClient` offers it."""

    plan: Plan
    party: int
    seal_key: PrivateKey
    away: bool = False
    held: dict[Turn, dict[str, SealedShare]] = field(default_factory=lambda: defaultdict(dict))

    def open_study(self, plan: Plan) -> None:
        assert plan == self.plan

    def submit(self, share: SealedShare) -> None:
        if self.away:
            raise Unavailable(f"Aggregator aggregator-{self.party} must answer and did not.")
        header, _ = envelope.open_share(self.plan, self.party, share, seal_key=self.seal_key)
        self.held[header.purpose, header.round][header.hospital] = share

    def partial_sum(self, turn: Turn, hospitals: Sequence[str]) -> sharing.Ring:
        total = np.zeros(envelope.vector_length(self.plan, turn[0]), np.uint64)
        for name in hospitals:
            header, payload = envelope.open_share(
                self.plan, self.party, self.held[turn][name], seal_key=self.seal_key
            )
            sharing.add_share(total, payload, header.payload)
        return total


def collect(
    plan: Plan,
    clients: Sequence[StandInAggregator],
    *,
    purpose: Purpose,
    round_number: int,
    hospitals: Sequence[str],
    researcher_key: SigningKey,
) -> tuple[np.ndarray, sharing.Ring]:
    """`federation.collector.collect` without the calls between."""
    partials = [client.partial_sum((purpose, round_number), hospitals) for client in clients]
    total = sharing.unshard(partials)
    return sharing.decode(total, plan.sharing), total


@dataclass(frozen=True, kw_only=True)
class StandInFederation:
    """Four hospitals, three aggregators and a study over all of them."""

    study: Study
    hospitals: dict[str, StandInHospital]
    aggregators: list[StandInAggregator]


def federation(**changes: object) -> StandInFederation:
    """A study of three rounds, evaluated after the last one."""
    keys = Keys(hospitals=tuple(SigningKey.generate() for _ in FOUR))
    drawn = plan(keys)
    roster = tuple(
        type(entry)(**{k: getattr(entry, k) for k in entry.__slots__} | {"name": name})
        for entry, name in zip(drawn.hospitals, FOUR, strict=True)
    )
    agreed = plan(keys, hospitals=roster, **changes)
    hospitals = {
        name: StandInHospital(name=name, plan=agreed, key=key, researcher_key=agreed.researcher_key)
        for name, key in zip(FOUR, keys.hospitals, strict=True)
    }
    aggregators = [
        StandInAggregator(plan=agreed, party=party, seal_key=seal)
        for party, seal in enumerate(keys.seals, start=1)
    ]
    study = Study(
        agreed,
        hospitals=list(hospitals.values()),  # type: ignore[arg-type]
        aggregators=aggregators,  # type: ignore[arg-type]
        key=keys.researcher,
    )
    return StandInFederation(study=study, hospitals=hospitals, aggregators=aggregators)
