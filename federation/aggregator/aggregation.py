"""The rules of an aggregator: which plans, shares, choices and release calls it accepts.

One rule matters most: for each round of a study it chooses one set of at least `min_hospitals`
hospitals, whoever asks and however often, and its sums leave only when as many aggregators as
the plan needs have chosen the same set. Any two such majorities share an aggregator, so sums of
two overlapping sets, which subtracted would be one hospital's update, can't both be opened.

Each share's signed header names the last entry of its hospital's audit log by hash. An
aggregator keeps the headers for good. It gives those hashes to whoever checks that log, and the
headers of a study, which say what it has spent, to its researcher alone.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from federation.aggregator.identity import Identity
from federation.aggregator.share_intake import ShareIntake
from federation.aggregator.storage import summation
from federation.aggregator.storage.rows import WipeRecord
from federation.aggregator.storage.store import AggregatorStore
from federation.aggregator.storage.upload_buffer import Quotas
from federation.aggregator.storage.vector_files import RoundKey, room_needed, view
from federation.aggregator.validation import (
    allowed_set,
    check_choices,
    named_plan,
    party_of,
    signed_call,
)
from federation.transport import aggregator_api
from syft_code.errors import InvalidMessage, Refused, require
from syft_code.plans import messages
from syft_code.plans.messages import OpenCall, ReleaseCall, SetChoice, ShareHeader, Signed
from syft_code.plans.plan import Plan
from syft_code.plans.roster import HEX_KEY, Aggregator
from syft_code.runtime import trace
from syft_code.secret_sharing import envelope

log = logging.getLogger(__name__)
AggregatorEvent = Callable[[str, int], None]
"""Told what happened, and how many bytes it moved: for metrics."""
PublicLog = Callable[[str, dict[str, str]], None]
"""Told a kind and public facts, before what they say becomes final; what it raises stops it."""


def _no_event(_kind: str, _size_bytes: int) -> None:
    return


def _no_log(_kind: str, _facts: dict[str, str]) -> None:
    return


class Aggregation:
    """What one aggregator does with plans, shares and calls; transport lives elsewhere.

    `researchers` are the keys of those who may open studies (none: nobody); `quotas` limits the
    vectors of all studies, of each, and of each hospital in one.

    Guarantee: as long as the aggregators that a plan needs follow these rules and keep their keys
    and disks to themselves, the researcher learns sums over at least `min_hospitals` hospitals,
    for one set in each round.
    Does not protect: against a roster of made-up hospitals around a real one; the real one's owner
    approves the roster. If fewer than all aggregators are needed, two majorities may have only
    one in common: if that one breaks these rules for the researcher, two sets can be opened.
    """

    def __init__(
        self,
        identity: Identity,
        store: AggregatorStore,
        public: Aggregator,
        *,
        researchers: frozenset[str],
        quotas: Quotas,
        on_event: AggregatorEvent = _no_event,
        log: PublicLog = _no_log,
    ) -> None:
        self._identity = identity
        self._store = store
        self._researchers = researchers
        self._quotas = quotas
        self._shares = ShareIntake(
            store,
            public,
            seal_key=bytes(identity.seal_key),
            quotas=quotas,
            on_event=on_event,
        )
        self._log = log
        self._summing = threading.Lock()  # one sum is worked out at a time
        self._wiping = threading.Lock()
        self._counting = threading.Lock()
        self._under_way: Counter[str] = Counter()
        self.public = public
        self.on_event = on_event
        for plan_hash in store.unfinished_wipes():
            self._finish_wipe(plan_hash)

    # --- studies ---

    def open_study(self, request: aggregator_api.OpenStudy) -> None:
        """Take in a plan; once more does nothing."""
        plan = Plan.decode(request.plan.encode("utf-8", "replace"))
        call = messages.verify(OpenCall, request.call, plan.researcher_key)
        require(
            call.plan_hash == plan.hash,
            "A study must be opened by a call for the plan that comes with it.",
            error=InvalidMessage,
        )
        require(
            plan.researcher_key in self._researchers,
            "A study must be of a researcher whom this aggregator's operator has listed: ask the "
            "operator to add the researcher's key.",
            error=Refused,
        )
        self._quotas.check_study(summation.study_room(plan, party_of(plan, self.public)))
        facts = {
            "plan_hash": plan.hash,
            "study": plan.study,
            "researcher_key": plan.researcher_key,
        }
        if self._store.add_study(plan, lambda: self._log("study opened", facts)):
            self.on_event("study_opened", 0)
            log.info("study %s opened (%s)", plan.study, plan.hash[:12])

    def wipe(self, plan_hash: str) -> WipeRecord:
        """Delete every vector of a study for good; once more says the same and does nothing.

        Its choices and signed headers stay, and nothing of it is taken or given any more.

        Raises:
            Refused: while an upload or a sum of it is under way.
        """
        with self._wiping:
            with self._counting:
                require(
                    not self._under_way[plan_hash],
                    "A study must be at rest to be wiped, and an upload or a sum of it is under "
                    "way: wait for its end, or stop this aggregator first.",
                    error=Refused,
                )
                unfinished = self._store.begin_wipe(plan_hash)
            return self._finish_wipe(plan_hash) if unfinished else self._store.wiped(plan_hash)

    # --- shares ---

    def received(self, signed: Signed) -> aggregator_api.ReceivedBytes:
        """How much of a share is here."""
        plan = self._store.plan(named_plan(ShareHeader, signed))
        return self._shares.received(plan, signed)

    def expect(self, signed: Signed) -> None:
        """Raise unless a share with this header is of a study that is open here."""
        plan = self._store.plan(named_plan(ShareHeader, signed))
        envelope.check_header(plan, party_of(plan, self.public), signed)

    def receive(
        self,
        upload: aggregator_api.UploadShare,
        chunks: Iterable[bytes],
        *,
        cut_off: Callable[[], object],
    ) -> aggregator_api.ReceivedBytes:
        """Take the next bytes of a share; with the last ones, keep it for good.

        `cut_off` ends the connection that the chunks come from, if it went silent.

        Does not protect: a hash alone does not tell whether the hospital rewrote its audit log,
        or forked it. `syft_code.evidence.audit_chain.verify` finds it, with the `anchors` and the log.
        """
        plan_hash = named_plan(ShareHeader, upload.header)
        with self._at_work(plan_hash), trace.span("aggregator: take a share"):
            plan = self._store.plan(plan_hash)
            return self._shares.receive(plan, upload, chunks, cut_off=cut_off)

    def headers(self, signed: Signed) -> list[Signed]:
        """The headers of the shares that were taken for a call's round, whatever set it names."""
        plan = self._store.known_plan(named_plan(ReleaseCall, signed))
        return self._store.headers(RoundKey.of(signed_call(plan, signed)))

    def anchors(self, verify_key: str) -> list[str]:
        """The log hashes in the share headers of the hospital with this key, over all studies.

        They are in the order in which they arrived, the newest last; of many, the newest
        `aggregator_api.MAX_ANCHORS`. Of a log that was forked, no export meets all of them.

        Does not protect: anybody may ask, and learns how many shares of that hospital came here.
        """
        require(
            HEX_KEY.fullmatch(verify_key) is not None,
            "A hospital's key must be 64 hexadecimal digits: take it from a plan's roster.",
            error=InvalidMessage,
        )
        newest = self._store.newest_headers(verify_key, at_most=aggregator_api.MAX_ANCHORS)
        return [messages.claimed(ShareHeader, signed).log_sha256 for signed in newest]

    # --- choices and sums ---

    def choose(self, signed: Signed) -> Signed:
        """Choose the set of a call, unless one was chosen before; the signed choice in force.

        A call that names no set, which can't be chosen, asks for the one that was.
        """
        with trace.span("aggregator: choose"):
            return self._choose(signed)

    def _choose(self, signed: Signed) -> Signed:
        plan = self._store.plan(named_plan(ReleaseCall, signed))
        call = signed_call(plan, signed)
        round_key, new = RoundKey.of(call), False
        choice = self._store.choice(round_key)
        if choice is None:
            hospitals = allowed_set(plan, call)
            choice, new = self._store.choose(
                round_key, hospitals, lambda: self._log("set chosen", _facts(round_key, hospitals))
            )
        if choice.signed:
            return choice.signed
        message = SetChoice(
            plan_hash=round_key.plan_hash,
            purpose=round_key.purpose,
            round=round_key.round,
            party=party_of(plan, self.public),
            hospitals=choice.hospitals,
        )
        promise = messages.sign(message, self._identity.sign_key)
        self._store.keep_choice(round_key, promise)
        if new:
            self.on_event("set_chosen", 0)
            log.info(
                "set of %d hospitals chosen (%s, %s, round %d)",
                len(choice.hospitals), round_key.plan_hash[:12], round_key.purpose, round_key.round,
            )  # fmt: skip
        return promise

    @contextmanager
    def release(self, request: aggregator_api.ReleaseSum) -> Iterator[tuple[Signed, memoryview]]:
        """One piece of the sum over one group, from a byte on; asked again, the same bytes."""
        plan_hash = named_plan(ReleaseCall, request.call)
        with self._at_work(plan_hash):
            plan = self._store.plan(plan_hash)
            call = signed_call(plan, request.call)
            round_key, hospitals = RoundKey.of(call), allowed_set(plan, call)
            choice = self._store.choice(round_key)
            require(
                choice is not None and choice.hospitals == hospitals,
                "A sum must be over the one set that was chosen here for its round, and this call "
                "asks for another: ask which one was chosen.",
                error=Refused,
            )
            check_choices(plan, round_key, hospitals, request.choices)
            with self._summing, trace.span("aggregator: sum"):
                self._sum_once(plan, round_key, hospitals)
            header = self._store.sum_header(round_key, request.group, request.piece)
            data = view(self._store.files.sum(round_key, request.group, request.piece))
            require(
                request.offset <= len(data),
                f"A sum must be asked for from a byte on that it has; it has {len(data)}.",
                error=InvalidMessage,
            )
            yield header, data[request.offset :]

    # --- what the above is made of ---

    def _sum_once(self, plan: Plan, round_key: RoundKey, hospitals: tuple[str, ...]) -> None:
        """Work out all sums of a round key, unless they are there."""
        choice = self._store.choice(round_key)
        if choice and choice.summed:
            return
        began_s = time.monotonic()
        sums = summation.add_up(
            plan,
            round_key,
            hospitals,
            party=party_of(plan, self.public),
            files=self._store.files,
            sign_key=self._identity.sign_key,
        )
        self._store.finish(round_key, sums, lambda: self._log_sums(sums))
        self.on_event("sum_released", 0)
        self.on_event("sum_milliseconds", int(1000 * (time.monotonic() - began_s)))
        log.info(
            "sum of %d hospitals released (%s, %s, round %d)",
            len(hospitals), round_key.plan_hash[:12], round_key.purpose, round_key.round,
        )  # fmt: skip

    def _log_sums(self, sums: Sequence[summation.Sum]) -> None:
        for one in sums:
            facts = {
                "piece": str(one.header.piece),
                "group": str(one.header.group),
                "sum_sha256": one.header.sum_sha256,
            }
            self._log("sum released", _facts(RoundKey.of(one.header), one.header.hospitals) | facts)

    def _finish_wipe(self, plan_hash: str) -> WipeRecord:
        study = self._store.known_plan(plan_hash).study

        def before_commit(wiped: WipeRecord) -> None:
            numbers = {"shares": wiped.shares, "sums": wiped.sums, "size_bytes": wiped.size_bytes}
            facts = {"plan_hash": plan_hash, "study": study} | {
                k: str(v) for k, v in numbers.items()
            }
            self._log("study wiped", facts)

        wiped = self._store.finish_wipe(plan_hash, before_commit)
        self.on_event("study_wiped", wiped.size_bytes)
        log.info("study wiped (%s): %d bytes", plan_hash[:12], wiped.size_bytes)
        return wiped

    @contextmanager
    def _at_work(self, plan_hash: str) -> Iterator[None]:
        """While it lasts, the study can't be wiped; a full disk is said to be full."""
        with self._counting:
            self._under_way[plan_hash] += 1
        try:
            with room_needed(self._store.home):
                yield
        finally:
            with self._counting:
                self._under_way[plan_hash] -= 1
                if not self._under_way[plan_hash]:
                    del self._under_way[plan_hash]


def _facts(round_key: RoundKey, hospitals: tuple[str, ...]) -> dict[str, str]:
    """What the operator's log says of a round key and its set."""
    return {
        "plan_hash": round_key.plan_hash,
        "purpose": round_key.purpose,
        "round": str(round_key.round),
        "hospitals": " ".join(hospitals),
    }
