"""A paid round: from the queue to sealed shares that may leave, or to a sentence that says why not.

    grant, still? ─▶ sealer: train, airlock, seal ─▶ tick ─▶ grant, still? ─▶ ledger, log, ticket

What it costs is reserved before it comes here (`vault`), and stays spent whatever happens.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from datasites.vault.authorization import Authorizer
from datasites.vault.db import integrity_check
from datasites.vault.db.vault_database import VaultDatabase
from datasites.vault.release_timer import ReleaseTimer
from datasites.vault.update_sealer import ApprovedRound, SealedUpdate, UpdateSealer
from datasites.vault.vault_files import VaultFiles
from datasites.vault.worker.training_worker import TrainingWorker
from syft_code.errors import ConsiliumError, InvalidInput, TrainingFailed
from syft_code.plans.plan import Plan
from syft_code.runtime import trace

LOG = logging.getLogger("consilium.vault")
MAX_REASON = 2000
"""Characters of an error that are kept: a training process may say more."""
FAILED = "The round failed inside the hospital; the data owner's log says why."
"""What a researcher reads of an unforeseen error."""
LATE = (
    "The round was not over at the last tick of the plan's release schedule; nothing left the hospital "
    "and the round stays paid. Plan longer ticks, or more of them."
)


class _Written(NamedTuple):
    """A sealed update whose shares lie on disk, under these hashes."""

    update: SealedUpdate
    hashes: tuple[str, ...]


class RoundExecutor:
    """The queue of paid rounds, and the one thread that runs them one after the other."""

    def __init__(
        self,
        db: VaultDatabase,
        files: VaultFiles,
        authorizer: Authorizer,
        sealer: UpdateSealer,
        worker: TrainingWorker,
    ) -> None:
        self._db = db
        self._files = files
        self._authorizer = authorizer
        self._sealer = sealer
        self._worker = worker
        self._queue = ThreadPoolExecutor(max_workers=1, thread_name_prefix="round")
        self._timers: dict[str, ReleaseTimer] = {}
        self._under_way: dict[str, threading.Event] = {}  # by ticket, set at the round's end
        self._running = ""  # the hash of the plan whose round is under way
        self.closing = threading.Event()

    def submit(self, approved: ApprovedRound) -> None:
        """Run a round once those before it are over."""
        self._under_way[approved.ticket] = threading.Event()
        self._queue.submit(self._run, approved)

    def wait(self, ticket: str, most_s: float) -> None:
        """Wait for the end of a ticket's round, if it is under way, so many seconds at most."""
        under_way = self._under_way.get(ticket)
        if under_way is not None:
            under_way.wait(most_s)

    def after_rounds(self, action: Callable[[], None]) -> None:
        """Do something between two rounds, when no round reads the vault's files."""
        self._queue.submit(action)

    def encode_ahead(self, plan: Plan, asset: str) -> None:
        """Have a plan's fixed layers look at an asset before the first round; errors go to the log."""
        if plan.computed_once:
            self.after_rounds(lambda: self._encode(plan, asset))

    def _encode(self, plan: Plan, asset: str) -> None:
        try:
            self._sealer.cohort(plan, asset)
        except ConsiliumError as problem:
            LOG.warning("encoding %s failed: %s", asset, problem)

    def close(self) -> None:
        """End the training process and the queue; what was under way is lost and stays paid."""
        self.closing.set()
        self._cut_holds()
        self._worker.close()
        self._queue.shutdown(wait=True, cancel_futures=True)

    def step(self, ticket: str) -> int | None:
        """The step at which the round of a ticket is, None if it does not run now."""
        timer = self._timers.get(ticket)
        return None if timer is None else timer.step

    def stop_unless_granted(self) -> None:
        """After the rules or a decision changed: end the round under way if it may not run now.

        The state of a revoked plan is deleted after that round, which may still read it.
        """
        self.after_rounds(self._files.client_states.delete_unused)
        plan_hash = self._running
        try:
            if plan_hash:
                self._authorizer.grant(plan_hash)
        except ConsiliumError:
            if self._running == plan_hash:
                self._worker.stop()
                self._cut_holds()

    def _cut_holds(self) -> None:
        for timer in list(self._timers.values()):
            timer.cut()

    def _run(self, approved: ApprovedRound) -> None:
        """Train or evaluate, and leave sealed shares or a sentence behind.

        The grant is computed before the round and again in the transaction that releases its result:
        an owner can revoke the plan while the round waits in the queue, and while it trains.
        The timer begins when the training process waits for the job, whose start is nobody's
        patient's doing; whatever comes of the job, shares or a sentence, shows at a tick. What ends
        before a patient is read is said at once.
        """
        ticket, plan_hash = approved.ticket, approved.call.plan_hash
        self._running = plan_hash
        timer = None
        try:
            self._db.tickets.set_state(ticket, "running")
            with trace.span("vault: have a training process"):
                self._worker.ready(approved.engine)
            with trace.span("vault: have the features"):
                self._sealer.cohort(approved.grant.plan, approved.grant.asset)
            begun = self._begin(approved)
            with trace.span("vault: grant again"):
                self._authorizer.grant(plan_hash)
            timer = begun
            self._release(approved, self._in_time(approved, timer), timer)
        except Exception as problem:
            foreseen = problem if isinstance(problem, ConsiliumError) else TrainingFailed(FAILED)
            LOG.warning("round %s failed: %s", ticket, foreseen, exc_info=foreseen is not problem)
            if timer is not None:
                timer.hold()
            told = TrainingFailed(FAILED) if isinstance(foreseen, InvalidInput) else foreseen
            self._fail(approved, str(foreseen), public=str(self._authorizer.public(told)))
        finally:
            self._running = ""
            self._timers.pop(ticket, None)
            self._under_way.pop(ticket).set()

    def _begin(self, approved: ApprovedRound) -> ReleaseTimer:
        timer = ReleaseTimer(approved.grant.plan, approved.call.purpose)
        self._timers[approved.ticket] = timer
        if self.closing.is_set():
            timer.cut()
        return timer

    def _in_time(self, approved: ApprovedRound, timer: ReleaseTimer) -> "_Written":
        """Train, seal and write the shares down, until the schedule's last tick.

        The log's head is read before the work: the one after it would tell when the work ended.
        """
        try:
            update = self._sealer.make(approved, timer, log_sha256=self._db.log.head().sha256)
            with trace.span("vault: write shares"):
                hashes = tuple(self._files.shares.write(share) for share in update.shares)
        finally:
            timer.end()
            if timer.late:
                raise TrainingFailed(LATE)
        return _Written(update=update, hashes=hashes)

    def _release(self, approved: ApprovedRound, written: "_Written", timer: ReleaseTimer) -> None:
        """At the tick, let the shares out: ledger, log, ticket and state say so together.

        What the vault's own end cuts off before that stays unfinished.
        """
        update, hashes = written.update, written.hashes
        with trace.span("vault: wait for the tick"):
            timer.hold()
        if self.closing.is_set():
            return
        facts = {"client_state": update.after} if update.after else {}
        with trace.span("vault: release"), self._db.database.writing():
            self._authorizer.grant(approved.call.plan_hash)
            self._db.ledger.commit(approved.spend)
            self._db.tickets.set_state(approved.ticket, "done", shares=hashes)
            if update.after:
                self._db.approvals.set_client_state(
                    approved.call.plan_hash, update.after, after=update.before
                )
            self._end(approved, integrity_check.RELEASED, shares=" ".join(hashes), **facts)
        self._files.client_states.delete_unused()

    def _fail(self, approved: ApprovedRound, sentence: str, *, public: str) -> None:
        """Say why a round failed; one that is cut by the vault's own end stays unfinished."""
        if self.closing.is_set():
            return
        self._files.shares.delete_unused()
        self._files.client_states.delete_unused()
        with self._db.database.writing():
            self._db.tickets.set_state(approved.ticket, "failed", sentence=public[:MAX_REASON])
            self._end(approved, "round failed", reason=sentence[:MAX_REASON])

    def _end(self, approved: ApprovedRound, kind: str, **facts: str) -> None:
        call = approved.call
        self._db.log.append(
            kind, plan_hash=call.plan_hash, purpose=call.purpose, round=str(call.round), **facts
        )
