"""A round that may run, from its queue to shares that are let out, or to a sentence that says why not.

    grant, still? ─▶ sealer: train, airlock, seal ─▶ grant, still? ─▶ ledger, log, ticket

What it costs is reserved before it comes here (`vault`), and stays spent whatever happens.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from datasites import private_files
from datasites.vault.approvers import ApproverRegistry
from datasites.vault.authorization import Authorizer
from datasites.vault.client_state import ClientStateStore
from datasites.vault.db import integrity_check
from datasites.vault.db.audit_log import AuditLog
from datasites.vault.db.database import Database
from datasites.vault.db.ledger import Ledger
from datasites.vault.db.records import VaultRecords
from datasites.vault.update_sealer import ApprovedRound, SealedUpdate, UpdateSealer
from datasites.vault.worker.training_worker import TrainingWorker
from syft_code import canonical
from syft_code.errors import ConsiliumError, InvalidInput, TrainingFailed
from syft_code.runtime import durable_files

LOG = logging.getLogger("consilium.vault")
MAX_REASON = 2000
"""So much of what went wrong is kept: a training process may say more."""
FAILED = "The round failed inside the hospital; the data owner's log says why."
"""What leaves of an error that nobody foresaw."""


class RoundExecutor:
    """Runs one round at a time, on the one thread that there is for it."""

    def __init__(
        self,
        store: Database,
        sealed: Path,
        *,
        approvers: ApproverRegistry,
        authorizer: Authorizer,
        records: VaultRecords,
        ledger: Ledger,
        log: AuditLog,
        client_states: ClientStateStore,
        sealer: UpdateSealer,
        worker: TrainingWorker,
        after_rounds: Callable[[Callable[[], None]], object],
    ) -> None:
        self._store = store
        self._sealed = sealed
        self._approvers = approvers
        self._authorizer = authorizer
        self._records = records
        self._ledger = ledger
        self._log = log
        self._client_states = client_states
        self._sealer = sealer
        self._worker = worker
        self._after_rounds = after_rounds
        self._steps: dict[str, int] = {}
        self._running = ""  # the hash of the plan whose round is under way
        self.closing = threading.Event()

    def step(self, ticket: str) -> int | None:
        """The step at which the round of a ticket is, None if it does not run now."""
        return self._steps.get(ticket)

    def run(self, asked: ApprovedRound) -> None:
        """Train or evaluate, and leave sealed shares or a sentence behind.

        The grant is worked out anew before, and once more in the transaction that lets the result
        out: it may be taken back while the round is queued, or runs.
        """
        ticket, plan_hash = asked.ticket, asked.call.plan_hash
        self._running = plan_hash
        try:
            self._records.set_state(ticket, "running")
            self._authorizer.grant(plan_hash)
            made = self._sealer.make(asked, on_step=lambda step: self._steps.update({ticket: step}))
            self._release(asked, made)
        except ConsiliumError as problem:
            LOG.warning("round %s failed: %s", ticket, problem)
            hidden = TrainingFailed(FAILED) if isinstance(problem, InvalidInput) else problem
            self._fail(asked, str(problem), public=str(self._approvers.public(hidden)))
        except Exception:
            LOG.exception("round %s failed", ticket)
            self._fail(asked, FAILED, public=str(self._approvers.public(TrainingFailed(FAILED))))
        finally:
            self._running = ""
            self._steps.pop(ticket, None)

    def stop_unless_granted(self) -> None:
        """After the rules or a decision changed: end the round under way if it may not run now.

        What a plan kept that was taken back is deleted when that round is over.
        """
        self._after_rounds(self._client_states.forget_others)
        plan_hash = self._running
        try:
            if plan_hash:
                self._authorizer.grant(plan_hash)
        except ConsiliumError:
            if self._running == plan_hash:
                self._worker.stop()

    def _release(self, asked: ApprovedRound, result: SealedUpdate) -> None:
        """Write the shares down, then let them out: ledger, log, ticket and state say so together."""
        hashes = tuple(canonical.sha256(share) for share in result.shares)
        for name, share in zip(hashes, result.shares, strict=True):
            durable_files.write_durably(self._sealed / name, share)
        facts = {"client_state": result.after} if result.after else {}
        with self._store.writing():
            self._authorizer.grant(asked.call.plan_hash)
            self._ledger.commit(asked.spend)
            self._records.set_state(asked.ticket, "done", shares=hashes)
            if result.after:
                self._records.client_state(asked.call.plan_hash, result.after, after=result.before)
            self._end(asked, integrity_check.RELEASED, shares=" ".join(hashes), **facts)
        self._client_states.forget_others()

    def _fail(self, asked: ApprovedRound, sentence: str, *, public: str) -> None:
        """Say why a round failed; one that is cut by the vault's own end stays unfinished."""
        if self.closing.is_set():
            return
        private_files.delete_except(self._sealed, self._records.shares())
        self._client_states.forget_others()
        with self._store.writing():
            self._records.set_state(asked.ticket, "failed", sentence=public[:MAX_REASON])
            self._end(asked, "round failed", reason=sentence[:MAX_REASON])

    def _end(self, asked: ApprovedRound, kind: str, **facts: str) -> None:
        call = asked.call
        self._log.append(
            kind, plan_hash=call.plan_hash, purpose=call.purpose, round=str(call.round), **facts
        )
