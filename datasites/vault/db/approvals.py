"""What a hospital has decided on plans: approvals, refusals, and the state that a plan keeps.

A refusal deletes the plan's approvals and its state, so the three share this file. An approval
is kept as it was signed, so that it can be checked whenever it is used.
"""

from dataclasses import dataclass
from typing import Literal

from datasites.protocol.owner_actions import ApprovePlan, DenyPlan, RevokePlan
from datasites.vault.db.actions import StoredAction
from datasites.vault.db.database import Database
from syft_code import canonical
from syft_code.errors import NotApproved, require
from syft_code.plans.messages import Signed
from syft_code.plans.plan import Plan

SCHEMA = """
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRefusal:
    """The last no to a plan."""

    kind: Literal["denied", "revoked"]
    reason: str


class ApprovalStore:
    """The tables of plans, of their approvals and refusals, and of what they keep."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create(SCHEMA)

    def keep_plan(self, plan: Plan) -> None:
        """Know a plan from now on; once more does nothing."""
        row = (plan.hash, plan.encode().decode())
        with self._database.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO plan VALUES (?, ?)", row)

    def plan(self, plan_hash: str) -> Plan | None:
        """A plan that was approved or offered here, None if it never was.

        Raises:
            NotApproved: if what is kept no longer has the hash that it was kept under.
        """
        with self._database.reading() as connection:
            row = connection.execute(
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
        with self._database.reading() as connection:
            rows = connection.execute("SELECT plan_hash FROM plan ORDER BY rowid").fetchall()
        return [plan_hash for (plan_hash,) in rows]

    def approve(self, plan: Plan, signer: str, signed: Signed) -> None:
        """Keep one person's approval."""
        row = (plan.hash, signer, signed.message, signed.signature)
        with self._database.writing() as connection:
            self.keep_plan(plan)
            connection.execute("INSERT OR REPLACE INTO approval VALUES (?, ?, ?, ?)", row)

    def of_plan(self, plan_hash: str) -> list[StoredAction]:
        """Everybody's approval of a plan."""
        query = "SELECT signer, message, signature FROM approval WHERE plan_hash = ? ORDER BY rowid"
        with self._database.reading() as connection:
            rows = connection.execute(query, (plan_hash,)).fetchall()
        return [
            StoredAction(
                name=ApprovePlan.__name__,
                signer=signer,
                signed=Signed(message=message, signature=signature),
            )
            for signer, message, signature in rows
        ]

    def refuse(self, action: DenyPlan | RevokePlan) -> None:
        """End a plan: delete every approval of it and the state that it keeps, and record the reason."""
        kind = "denied" if isinstance(action, DenyPlan) else "revoked"
        with self._database.writing() as connection:
            connection.execute("DELETE FROM client_state WHERE plan_hash = ?", (action.plan_hash,))
            connection.execute("DELETE FROM approval WHERE plan_hash = ?", (action.plan_hash,))
            row = (action.plan_hash, kind, action.reason)
            connection.execute("INSERT OR REPLACE INTO refusal VALUES (?, ?, ?)", row)

    def lift_refusal(self, plan_hash: str) -> bool:
        """Enough people have approved a plan: what was said against it is over; whether it was."""
        with self._database.writing() as connection:
            done = connection.execute("DELETE FROM refusal WHERE plan_hash = ?", (plan_hash,))
            return done.rowcount == 1

    def refused_plans(self) -> set[str]:
        """The hashes of all plans that something stands against."""
        with self._database.reading() as connection:
            return {
                plan_hash for (plan_hash,) in connection.execute("SELECT plan_hash FROM refusal")
            }

    def refusal(self, plan_hash: str) -> PlanRefusal | None:
        """What stands against a plan, None if nothing does."""
        with self._database.reading() as connection:
            row = connection.execute(
                "SELECT kind, reason FROM refusal WHERE plan_hash = ?", (plan_hash,)
            ).fetchone()
        return PlanRefusal(kind=row[0], reason=row[1]) if row else None

    def remove_signer(self, signer: str) -> None:
        """What somebody who leaves has approved counts no more, also if they came back."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM approval WHERE signer = ?", (signer,))

    # What plans keep between rounds

    def set_client_state(self, plan_hash: str, digest: str, *, after: str) -> None:
        """A plan's next round starts from the file with this hash.

        Raises:
            NotApproved: if the state that it was made from, `after`, is no longer in force.
        """
        with self._database.writing() as connection:
            require(
                self.client_states().get(plan_hash, "") == after,
                "A round must go on from what the last one kept, and that is gone: the plan was "
                "taken back while the round ran. Call the next round.",
                error=NotApproved,
            )
            connection.execute(
                "INSERT OR REPLACE INTO client_state VALUES (?, ?)", (plan_hash, digest)
            )

    def client_states(self) -> dict[str, str]:
        """The hash of each plan's file, of those that have one."""
        with self._database.reading() as connection:
            return dict(connection.execute("SELECT plan_hash, sha256 FROM client_state").fetchall())
