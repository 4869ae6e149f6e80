"""The rules of an aggregator: which plans, shares and release calls it accepts.

One rule matters most: for each round of a study it releases one partial sum, for one set
of at least `min_hospitals` hospitals, whoever asks and however often. With two sums of
overlapping sets, all aggregators' sums subtracted would be one hospital's update.

Each share's signed header names the last entry of its hospital's audit log by hash. An
aggregator keeps the headers for good and gives them to whoever checks that log.
"""

import hashlib
import logging
import threading

import numpy as np

from federation import wire
from federation.aggregator_files import Slot
from federation.aggregator_identity import Identity
from federation.aggregator_store import Store
from syft_code import canonical, envelope, messages, sharing
from syft_code.envelope import SealedShare
from syft_code.errors import InvalidMessage, Refused, require
from syft_code.messages import ReleaseCall, ShareHeader, Signed, SumHeader
from syft_code.plan import HEX_KEY, Aggregator, Plan

log = logging.getLogger(__name__)


class Aggregation:
    """What one aggregator does with plans, shares and calls; transport lives elsewhere.

    Guarantee: as long as this aggregator follows these rules and keeps its keys and disk to
    itself, all other aggregators together with the researcher learn sums over at least
    `min_hospitals` hospitals, one set for each round.
    Does not protect: against a roster of made-up hospitals around a real one. The real one's
    owner approves the roster.
    """

    def __init__(self, identity: Identity, store: Store, public: Aggregator) -> None:
        self._identity = identity
        self._store = store
        self._summing = threading.Lock()  # one sum in memory at a time
        self.public = public

    def open_study(self, plan_bytes: bytes) -> None:
        """Take in a plan; once more does nothing."""
        plan = Plan.decode(plan_bytes)
        self._party(plan)
        self._store.add_study(plan)
        log.info("study %s opened (%s)", plan.study, plan.hash[:12])

    def admit(self, signed: Signed) -> tuple[ShareHeader, bool]:
        """Judge a share by its header, before its body is read; and whether it is here already."""
        plan = self._store.plan(_named_plan(ShareHeader, signed))
        header = envelope.check_header(plan, self._party(plan), signed)
        return header, self._store.holds(header, signed)

    def submit(self, share: SealedShare) -> None:
        """Open a share and keep its payload for good.

        Does not protect: a hash alone does not tell whether the hospital rewrote its audit log,
        or forked it. `syft_code.audit.verify` finds it, with the `anchors` and the log.
        """
        plan = self._store.plan(_named_plan(ShareHeader, share.header))
        header, payload = envelope.open_share(
            plan, self._party(plan), share, seal_key=self._identity.seal_key
        )
        verify_key = plan.hospital(header.hospital).verify_key
        self._store.keep(header, share.header, payload, verify_key=verify_key)
        log.info(
            "share of %s taken (%s, %s, round %d)",
            header.hospital, plan.hash[:12], header.purpose, header.round,
        )  # fmt: skip

    def release(self, signed: Signed) -> tuple[Signed, memoryview]:
        """The one partial sum of a round; asked again, the same bytes."""
        plan = self._store.plan(_named_plan(ReleaseCall, signed))
        call = messages.verify(ReleaseCall, signed, plan.researcher_key)
        hospitals = _checked_set(plan, call)
        slot = Slot.of(call)
        length = self._store.choose(slot, hospitals)
        with self._summing:
            header = self._store.finished(slot) or self._add_up(plan, slot, hospitals, length)
        log.info(
            "sum of %d hospitals released (%s, %s, round %d)",
            len(hospitals), plan.hash[:12], slot.purpose, slot.round,
        )  # fmt: skip
        return header, self._store.total(slot)

    def anchors(self, verify_key: str) -> list[Signed]:
        """The share headers that the hospital with this key signed, over all studies.

        They are in the order in which they arrived, the newest last; of many, the newest
        `wire.MAX_ANCHORS`. Of a log that was forked, no export meets all of them.

        Does not protect: anybody may ask, and learns the plan hashes and rounds of that hospital.
        """
        require(
            HEX_KEY.fullmatch(verify_key) is not None,
            "A hospital's key must be 64 hexadecimal digits: take it from a plan's roster.",
            error=InvalidMessage,
        )
        return self._store.headers(verify_key, at_most=wire.MAX_ANCHORS)

    def _add_up(self, plan: Plan, slot: Slot, hospitals: tuple[str, ...], length: int) -> Signed:
        party = self._party(plan)
        kind = envelope.payload_kind(party, len(plan.aggregators))
        total = np.zeros(length, sharing.ring_dtype(plan.sharing.ring_bits))
        for hospital in hospitals:
            sharing.add_share(total, self._store.payload(slot, hospital), kind)
        data = total.data.cast("B")
        header = SumHeader(
            plan_hash=slot.plan_hash,
            purpose=slot.purpose,
            round=slot.round,
            party=party,
            hospitals=hospitals,
            length=length,
            ring_bits=plan.sharing.ring_bits,
            sum_sha256=hashlib.sha256(data).hexdigest(),
        )
        signed = messages.sign(header, self._identity.sign_key)
        self._store.finish(slot, signed, data)
        return signed

    def _party(self, plan: Plan) -> int:
        """This aggregator's place in a plan, from 1."""
        keys = (self.public.verify_key, self.public.seal_key)
        places = [
            party
            for party, aggregator in enumerate(plan.aggregators, start=1)
            if (aggregator.verify_key, aggregator.seal_key) == keys
        ]
        require(
            len(places) == 1,
            "A plan must name this aggregator with its own keys: take the entry from its "
            "public.json.",
            error=Refused,
        )
        return places[0]


def _named_plan(kind: type[ShareHeader] | type[ReleaseCall], signed: Signed) -> str:
    """The plan that a message claims to belong to; its signature is checked against that plan."""
    data = signed.message.encode("ascii", "replace")
    claimed: ShareHeader | ReleaseCall = canonical.parse(kind, data, what=kind.__name__)
    return claimed.plan_hash


def _checked_set(plan: Plan, call: ReleaseCall) -> tuple[str, ...]:
    """The hospitals of a release call in a fixed order, if the plan allows that set."""
    chosen = set(call.hospitals)
    require(
        len(chosen) == len(call.hospitals) and chosen <= {h.name for h in plan.hospitals},
        "A release call must name hospitals of the plan's roster, each once.",
        error=InvalidMessage,
    )
    require(
        len(chosen) >= plan.min_hospitals,
        f"A sum must be over at least {plan.min_hospitals} hospitals, and this call names "
        f"{len(chosen)}.",
        error=Refused,
    )
    return tuple(sorted(chosen))
