"""A round that may run, from its queue to shares that are let out, or to a sentence that says why not.

    grant, still? ─▶ contributions: train, airlock, seal ─▶ grant, still? ─▶ ledger, log, ticket

What it costs is reserved before it comes here (`vault`), and stays spent whatever happens.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from datasites import keeping
from datasites.vault import start_check
from datasites.vault.audit_log import AuditLog
from datasites.vault.carry import Carry
from datasites.vault.contributions import Contributions, Result, Round
from datasites.vault.deciders import Deciders
from datasites.vault.ledger import Ledger
from datasites.vault.mandate import Mandate
from datasites.vault.records import Records
from datasites.vault.store import Store
from datasites.vault.workroom import Workroom
from syft_code import canonical
from syft_code.errors import ConsiliumError, InvalidInput, TrainingFailed

LOG = logging.getLogger("consilium.vault")
MAX_REASON = 2000
"""So much of what went wrong is kept: a training process may say more."""
FAILED = "The round failed inside the hospital; the data owner's log says why."
"""What leaves of an error that nobody foresaw."""


class Rounds:
    """Runs one round at a time, on the one thread that there is for it."""

    def __init__(
        self,
        store: Store,
        sealed: Path,
        *,
        deciders: Deciders,
        mandate: Mandate,
        records: Records,
        ledger: Ledger,
        log: AuditLog,
        carried: Carry,
        contributions: Contributions,
        workroom: Workroom,
        after_rounds: Callable[[Callable[[], None]], object],
    ) -> None:
        self._store = store
        self._sealed = sealed
        self._deciders = deciders
        self._mandate = mandate
        self._records = records
        self._ledger = ledger
        self._log = log
        self._carry = carried
        self._contributions = contributions
        self._workroom = workroom
        self._after_rounds = after_rounds
        self._steps: dict[str, int] = {}
        self._running = ""  # the hash of the plan whose round is under way
        self.closing = threading.Event()

    def step(self, ticket: str) -> int | None:
        """The step at which the round of a ticket is, None if it does not run now."""
        return self._steps.get(ticket)

    def run(self, asked: Round) -> None:
        """Train or evaluate, and leave sealed shares or a sentence behind.

        The grant is worked out anew before, and once more in the transaction that lets the result
        out: it may be taken back while the round is queued, or runs.
        """
        ticket, plan_hash = asked.ticket, asked.call.plan_hash
        self._running = plan_hash
        try:
            self._records.set_state(ticket, "running")
            self._mandate.grant(plan_hash)
            made = self._contributions.make(
                asked, on_step=lambda step: self._steps.update({ticket: step})
            )
            self._release(asked, made)
        except ConsiliumError as problem:
            LOG.warning("round %s failed: %s", ticket, problem)
            hidden = TrainingFailed(FAILED) if isinstance(problem, InvalidInput) else problem
            self._fail(asked, str(problem), public=str(self._deciders.public(hidden)))
        except Exception:
            LOG.exception("round %s failed", ticket)
            self._fail(asked, FAILED, public=str(self._deciders.public(TrainingFailed(FAILED))))
        finally:
            self._running = ""
            self._steps.pop(ticket, None)

    def stop_unless_granted(self) -> None:
        """After the rules or a decision changed: end the round under way if it may not run now.

        What a plan kept that was taken back is deleted when that round is over.
        """
        self._after_rounds(self._carry.forget_others)
        plan_hash = self._running
        try:
            if plan_hash:
                self._mandate.grant(plan_hash)
        except ConsiliumError:
            if self._running == plan_hash:
                self._workroom.stop()

    def _release(self, asked: Round, result: Result) -> None:
        """Write the shares down, then let them out: ledger, log, ticket and state say so together."""
        hashes = tuple(canonical.sha256(share) for share in result.shares)
        for name, share in zip(hashes, result.shares, strict=True):
            keeping.write_private(self._sealed / name, share)
        facts = {"carry": result.after} if result.after else {}
        with self._store.writing():
            self._mandate.grant(asked.call.plan_hash)
            self._ledger.commit(asked.spend)
            self._records.set_state(asked.ticket, "done", shares=hashes)
            if result.after:
                self._records.carry(asked.call.plan_hash, result.after, after=result.before)
            self._end(asked, start_check.RELEASED, shares=" ".join(hashes), **facts)
        self._carry.forget_others()

    def _fail(self, asked: Round, sentence: str, *, public: str) -> None:
        """Say why a round failed; one that is cut by the vault's own end stays unfinished."""
        if self.closing.is_set():
            return
        keeping.forget_others(self._sealed, self._records.shares())
        self._carry.forget_others()
        with self._store.writing():
            self._records.set_state(asked.ticket, "failed", sentence=public[:MAX_REASON])
            self._end(asked, "round failed", reason=sentence[:MAX_REASON])

    def _end(self, asked: Round, kind: str, **facts: str) -> None:
        call = asked.call
        self._log.append(
            kind, plan_hash=call.plan_hash, purpose=call.purpose, round=str(call.round), **facts
        )
