"""What a vault remembers beside the ledger: actions, assets, decisions on plans, tickets, states.

Actions are kept as they were signed, so that each can be checked against its signer's key
whenever it is used.
"""

import sqlite3
from dataclasses import dataclass
from typing import Literal

from datasites.protocol.owner_actions import ApprovePlan, DenyPlan, OwnerAction, RevokePlan
from datasites.vault.db.assets import AssetTables
from datasites.vault.db.database import Database
from datasites.vault.db.tickets import TicketTable
from syft_code import canonical
from syft_code.errors import InvalidMessage, NotApproved, require
from syft_code.plans.messages import Signed
from syft_code.plans.plan import Plan

SCHEMA = """
CREATE TABLE IF NOT EXISTS owner_action (
    number INTEGER PRIMARY KEY, action_id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
    subject TEXT NOT NULL, signer TEXT NOT NULL, message TEXT NOT NULL, signature TEXT NOT NULL,
    at_unix_s REAL NOT NULL, state TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS plan (plan_hash TEXT PRIMARY KEY, plan TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS approval (
    plan_hash TEXT NOT NULL, signer TEXT NOT NULL, message TEXT NOT NULL, signature TEXT NOT NULL,
    PRIMARY KEY (plan_hash, signer)
) STRICT;
CREATE TABLE IF NOT EXISTS refusal (
    plan_hash TEXT PRIMARY KEY, kind TEXT NOT NULL, reason TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS client_state (plan_hash TEXT PRIMARY KEY, sha256 TEXT NOT NULL) STRICT;
"""
_ACT = "name, signer, message, signature"
INSERT_ACTION = """
INSERT INTO owner_action (action_id, name, subject, signer, message, signature, at_unix_s, state)
VALUES (?,?,?,?,?,?,?,?)
"""
ActionState = Literal["waiting", "in force", "counted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAction:
    """An action as it was signed."""

    name: str
    signer: str
    signed: Signed


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRefusal:
    """The last no to a plan."""

    kind: Literal["denied", "revoked"]
    reason: str


class VaultRecords(AssetTables, TicketTable):
    """The tables of a vault's records: of actions and of decisions on plans, and those above."""

    def __init__(self, store: Database) -> None:
        AssetTables.__init__(self, store)
        TicketTable.__init__(self, store)
        store.create(SCHEMA)

    # Acts

    def remember(
        self, action: OwnerAction, signer: str, signed: Signed, *, state: ActionState
    ) -> None:
        """Keep an action as it was signed; raise `InvalidMessage` if its id was used before."""
        row = (
            action.action_id, type(action).__name__, action.subject, signer, signed.message, signed.signature,
            action.at_unix_s, state,
        )  # fmt: skip
        try:
            with self._store.writing() as database:
                database.execute(INSERT_ACTION, row)
        except sqlite3.IntegrityError:
            raise InvalidMessage(
                "An owner's action can be used once, and this one was used before: sign a new one."
            ) from None

    def actions(self, *names: str, state: ActionState = "in force") -> list[StoredAction]:
        """The actions of these names in this state, oldest first."""
        marks = ", ".join("?" * len(names))
        query = (
            f"SELECT {_ACT} FROM owner_action WHERE state = ? AND name IN ({marks}) ORDER BY number"  # noqa: S608
        )
        with self._store.reading() as database:
            rows = database.execute(query, (state, *names)).fetchall()
        return [
            StoredAction(
                name=name, signer=signer, signed=Signed(message=message, signature=signature)
            )
            for name, signer, message, signature in rows
        ]

    def waiting_signers(self, subject: str, *, since_unix_s: float) -> set[str]:
        """Who has signed a thing that is not in force yet."""
        query = "SELECT signer FROM owner_action WHERE subject = ? AND state = 'waiting' AND at_unix_s >= ?"
        with self._store.reading() as database:
            return {signer for (signer,) in database.execute(query, (subject, since_unix_s))}

    def settle(self) -> None:
        """A rule has come into force: no signature waits any more, for it or for another rule."""
        with self._store.writing() as database:
            database.execute("UPDATE owner_action SET state = 'counted' WHERE state = 'waiting'")

    def forget_approver(self, signer: str) -> None:
        """What somebody who leaves has approved counts no more, also if they came back."""
        with self._store.writing() as database:
            database.execute("DELETE FROM approval WHERE signer = ?", (signer,))

    def every_action(self) -> list[tuple[StoredAction, bool]]:
        """All actions that were kept, oldest first, and whether each took force by itself."""
        query = "SELECT name, signer, message, signature, state FROM owner_action ORDER BY number"
        with self._store.reading() as database:
            rows = database.execute(query).fetchall()
        return [
            (
                StoredAction(
                    name=name, signer=signer, signed=Signed(message=message, signature=signature)
                ),
                state == "in force",
            )
            for name, signer, message, signature, state in rows
        ]

    # Decisions on plans

    def keep_plan(self, plan: Plan) -> None:
        """Know a plan from now on; once more does nothing."""
        row = (plan.hash, plan.encode().decode())
        with self._store.writing() as database:
            database.execute("INSERT OR REPLACE INTO plan VALUES (?, ?)", row)

    def plan(self, plan_hash: str) -> Plan | None:
        """A plan that was approved or offered here, None if it never was.

        Raises:
            NotApproved: if what is kept no longer has the hash that it was kept under.
        """
        with self._store.reading() as database:
            row = database.execute(
                "SELECT plan FROM plan WHERE plan_hash = ?", (plan_hash,)
            ).fetchone()
        if row is None:
            return None
        data = row[0].encode("utf-8")
        require(
            canonical.sha256(data) == plan_hash,
            "A kept plan must be the bytes that were approved, and is not: it was changed since. "
            "Submit and approve it again.",
            error=NotApproved,
        )
        return Plan.decode(data)

    def plans(self) -> list[str]:
        """The hashes of the plans that are known here, oldest first."""
        with self._store.reading() as database:
            rows = database.execute("SELECT plan_hash FROM plan ORDER BY rowid").fetchall()
        return [plan_hash for (plan_hash,) in rows]

    def approve(self, plan: Plan, signer: str, signed: Signed) -> None:
        """Keep one person's approval."""
        row = (plan.hash, signer, signed.message, signed.signature)
        with self._store.writing() as database:
            self.keep_plan(plan)
            database.execute("INSERT OR REPLACE INTO approval VALUES (?, ?, ?, ?)", row)

    def approvals(self, plan_hash: str) -> list[StoredAction]:
        """Everybody's approval of a plan."""
        query = "SELECT signer, message, signature FROM approval WHERE plan_hash = ? ORDER BY rowid"
        with self._store.reading() as database:
            rows = database.execute(query, (plan_hash,)).fetchall()
        return [
            StoredAction(
                name=ApprovePlan.__name__,
                signer=signer,
                signed=Signed(message=message, signature=signature),
            )
            for signer, message, signature in rows
        ]

    def refuse(self, action: DenyPlan | RevokePlan) -> None:
        """Let a plan run no longer, whoever approved it, and forget what it kept."""
        kind = "denied" if isinstance(action, DenyPlan) else "revoked"
        with self._store.writing() as database:
            database.execute("DELETE FROM client_state WHERE plan_hash = ?", (action.plan_hash,))
            database.execute("DELETE FROM approval WHERE plan_hash = ?", (action.plan_hash,))
            row = (action.plan_hash, kind, action.reason)
            database.execute("INSERT OR REPLACE INTO refusal VALUES (?, ?, ?)", row)

    def forget_refusal(self, plan_hash: str) -> bool:
        """Enough people have approved a plan: what was said against it is over; whether it was."""
        with self._store.writing() as database:
            done = database.execute("DELETE FROM refusal WHERE plan_hash = ?", (plan_hash,))
            return done.rowcount == 1

    def refused(self) -> set[str]:
        """The hashes of all plans that something stands against."""
        with self._store.reading() as database:
            return {plan_hash for (plan_hash,) in database.execute("SELECT plan_hash FROM refusal")}

    def refusal(self, plan_hash: str) -> PlanRefusal | None:
        """What stands against a plan, None if nothing does."""
        with self._store.reading() as database:
            row = database.execute(
                "SELECT kind, reason FROM refusal WHERE plan_hash = ?", (plan_hash,)
            ).fetchone()
        return PlanRefusal(kind=row[0], reason=row[1]) if row else None

    # What plans keep between rounds

    def client_state(self, plan_hash: str, digest: str, *, after: str) -> None:
        """A plan's next round starts from the file with this hash.

        Raises:
            NotApproved: if the state that it was made from, `after`, is no longer in force.
        """
        with self._store.writing() as database:
            require(
                self.client_states().get(plan_hash, "") == after,
                "A round must go on from what the last one kept, and that is gone: the plan was "
                "taken back while the round ran. Call the next round.",
                error=NotApproved,
            )
            database.execute(
                "INSERT OR REPLACE INTO client_state VALUES (?, ?)", (plan_hash, digest)
            )

    def client_states(self) -> dict[str, str]:
        """The hash of each plan's file, of those that have one."""
        with self._store.reading() as database:
            return dict(database.execute("SELECT plan_hash, sha256 FROM client_state").fetchall())
