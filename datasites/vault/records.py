"""What a vault remembers beside the ledger: acts, assets, decisions on plans, tickets, states.

Acts are kept as they were signed, so that each can be checked against its signer's key
whenever it is used.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from datasites.acts import Act, Approval, Denial, Publication, Revocation
from datasites.vault.store import Store
from syft_code import canonical
from syft_code.errors import InvalidMessage, NotApproved, Refused, require
from syft_code.messages import Signed, State, Ticket
from syft_code.plan import Plan

SCHEMA = """
CREATE TABLE IF NOT EXISTS act (
    number INTEGER PRIMARY KEY, act_id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
    subject TEXT NOT NULL, signer TEXT NOT NULL, message TEXT NOT NULL, signature TEXT NOT NULL,
    at_unix_s REAL NOT NULL, state TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS asset (
    name TEXT NOT NULL, version INTEGER NOT NULL, publication TEXT NOT NULL,
    cohort_sha256 TEXT NOT NULL, PRIMARY KEY (name, version)
) STRICT;
CREATE TABLE IF NOT EXISTS struck (token TEXT PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS plan (plan_hash TEXT PRIMARY KEY, plan TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS approval (
    plan_hash TEXT NOT NULL, signer TEXT NOT NULL, message TEXT NOT NULL, signature TEXT NOT NULL,
    PRIMARY KEY (plan_hash, signer)
) STRICT;
CREATE TABLE IF NOT EXISTS refusal (
    plan_hash TEXT PRIMARY KEY, kind TEXT NOT NULL, reason TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS ticket (
    ticket TEXT PRIMARY KEY, plan_hash TEXT NOT NULL, purpose TEXT NOT NULL,
    round INTEGER NOT NULL, state TEXT NOT NULL, sentence TEXT NOT NULL, shares TEXT NOT NULL,
    steps INTEGER NOT NULL, epsilon REAL NOT NULL, delta REAL NOT NULL,
    UNIQUE (plan_hash, purpose, round)
) STRICT;
CREATE TABLE IF NOT EXISTS carry (plan_hash TEXT PRIMARY KEY, sha256 TEXT NOT NULL) STRICT;
"""
_ACT = "name, signer, message, signature"
ActState = Literal["waiting", "in force", "counted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAct:
    """An act as it was signed."""

    name: str
    signer: str
    signed: Signed


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAsset:
    """One version of an asset: how it was published, and the hash of its cohort's file now."""

    publication: Publication
    version: int
    cohort_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The last no to a plan."""

    kind: Literal["denied", "revoked"]
    reason: str


class Records:
    """The tables of a vault's records."""

    def __init__(self, store: Store) -> None:
        self._store = store
        store.create(SCHEMA)

    # Acts

    def remember(self, act: Act, signer: str, signed: Signed, *, state: ActState) -> None:
        """Keep an act as it was signed; raise `InvalidMessage` if its id was used before."""
        row = (
            act.act_id, type(act).__name__, act.subject, signer, signed.message, signed.signature,
            act.at_unix_s, state,
        )  # fmt: skip
        columns = "act_id, name, subject, signer, message, signature, at_unix_s, state"
        try:
            with self._store.writing() as database:
                database.execute(f"INSERT INTO act ({columns}) VALUES (?,?,?,?,?,?,?,?)", row)  # noqa: S608
        except sqlite3.IntegrityError:
            raise InvalidMessage(
                "An owner's act can be used once, and this one was used before: sign a new one."
            ) from None

    def acts(self, *names: str, state: ActState = "in force") -> list[KeptAct]:
        """The acts of these names in this state, oldest first."""
        marks = ", ".join("?" * len(names))
        query = f"SELECT {_ACT} FROM act WHERE state = ? AND name IN ({marks}) ORDER BY number"  # noqa: S608
        with self._store.reading() as database:
            rows = database.execute(query, (state, *names)).fetchall()
        return [
            KeptAct(name=name, signer=signer, signed=Signed(message=message, signature=signature))
            for name, signer, message, signature in rows
        ]

    def waiting_signers(self, subject: str, *, since_unix_s: float) -> set[str]:
        """Who has signed a thing that is not in force yet."""
        query = "SELECT signer FROM act WHERE subject = ? AND state = 'waiting' AND at_unix_s >= ?"
        with self._store.reading() as database:
            return {signer for (signer,) in database.execute(query, (subject, since_unix_s))}

    def settle(self) -> None:
        """A rule has come into force: no signature waits any more, for it or for another rule."""
        with self._store.writing() as database:
            database.execute("UPDATE act SET state = 'counted' WHERE state = 'waiting'")

    def forget_approver(self, signer: str) -> None:
        """What somebody who leaves has approved counts no more, also if they came back."""
        with self._store.writing() as database:
            database.execute("DELETE FROM approval WHERE signer = ?", (signer,))

    def every_act(self) -> list[tuple[KeptAct, bool]]:
        """All acts that were kept, oldest first, and whether each took force by itself."""
        query = "SELECT name, signer, message, signature, state FROM act ORDER BY number"
        with self._store.reading() as database:
            rows = database.execute(query).fetchall()
        return [
            (
                KeptAct(
                    name=name, signer=signer, signed=Signed(message=message, signature=signature)
                ),
                state == "in force",
            )
            for name, signer, message, signature, state in rows
        ]

    # Assets

    def publish(self, publication: Publication, *, cohort_sha256: str) -> int:
        """Keep an asset's next version, and return its number."""
        text = canonical.encode(publication).decode("ascii")
        with self._store.writing() as database:
            version = self.newest_version(publication.asset) + 1
            row = (publication.asset, version, text, cohort_sha256)
            database.execute("INSERT INTO asset VALUES (?, ?, ?, ?)", row)
        return version

    def newest_version(self, asset: str) -> int:
        """The number of an asset's newest version, 0 if it was never published."""
        query = "SELECT COALESCE(MAX(version), 0) FROM asset WHERE name = ?"
        with self._store.reading() as database:
            return int(database.execute(query, (asset,)).fetchone()[0])

    def versions(self, asset: str) -> list[KeptAsset]:
        """Every version of an asset, oldest first."""
        query = (
            "SELECT publication, version, cohort_sha256 FROM asset WHERE name = ? ORDER BY version"
        )
        with self._store.reading() as database:
            rows = database.execute(query, (asset,)).fetchall()
        return [
            KeptAsset(
                publication=canonical.parse(Publication, text.encode(), what="publication"),
                version=version,
                cohort_sha256=digest,
            )
            for text, version, digest in rows
        ]

    def assets(self) -> list[str]:
        """The names of all assets, oldest first."""
        with self._store.reading() as database:
            rows = database.execute("SELECT name FROM asset WHERE version = 1 ORDER BY rowid")
            return [name for (name,) in rows]

    def asset(self, name: str) -> KeptAsset:
        """An asset's newest version; raise `Refused` if there is none."""
        versions = self.versions(name)
        if not versions:
            raise Refused(f"There is no asset {name!r} here: see the catalogue.")
        return versions[-1]

    def kept_cohorts(self) -> dict[tuple[str, int], str]:
        """The hash of the cohort file of each asset's version."""
        with self._store.reading() as database:
            rows = database.execute("SELECT name, version, cohort_sha256 FROM asset").fetchall()
        return {(name, version): digest for name, version, digest in rows}

    def cohorts(self) -> set[str]:
        """The hashes of every cohort file that an asset still has."""
        return set(self.kept_cohorts().values())

    def replace_cohort(self, asset: str, version: int, *, cohort_sha256: str) -> None:
        """A version of an asset has another file from now on."""
        with self._store.writing() as database:
            database.execute(
                "UPDATE asset SET cohort_sha256 = ? WHERE name = ? AND version = ?",
                (cohort_sha256, asset, version),
            )

    def strike(self, token: str) -> None:
        """Keep a patient out of everything that is published from now on."""
        with self._store.writing() as database:
            database.execute("INSERT OR IGNORE INTO struck VALUES (?)", (token,))

    def struck(self) -> set[str]:
        """The patients who have left."""
        with self._store.reading() as database:
            return {token for (token,) in database.execute("SELECT token FROM struck")}

    # Decisions on plans

    def keep_plan(self, plan: Plan) -> None:
        """Know a plan from now on; once more does nothing."""
        row = (plan.hash, plan.encode().decode("ascii"))
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

    def approvals(self, plan_hash: str) -> list[KeptAct]:
        """Everybody's approval of a plan."""
        query = "SELECT signer, message, signature FROM approval WHERE plan_hash = ? ORDER BY rowid"
        with self._store.reading() as database:
            rows = database.execute(query, (plan_hash,)).fetchall()
        return [
            KeptAct(
                name=Approval.__name__,
                signer=signer,
                signed=Signed(message=message, signature=signature),
            )
            for signer, message, signature in rows
        ]

    def refuse(self, act: Denial | Revocation) -> None:
        """Let a plan run no longer, whoever approved it, and forget what it kept."""
        kind = "denied" if isinstance(act, Denial) else "revoked"
        with self._store.writing() as database:
            database.execute("DELETE FROM carry WHERE plan_hash = ?", (act.plan_hash,))
            database.execute("DELETE FROM approval WHERE plan_hash = ?", (act.plan_hash,))
            row = (act.plan_hash, kind, act.reason)
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

    def refusal(self, plan_hash: str) -> Refusal | None:
        """What stands against a plan, None if nothing does."""
        with self._store.reading() as database:
            row = database.execute(
                "SELECT kind, reason FROM refusal WHERE plan_hash = ?", (plan_hash,)
            ).fetchone()
        return Refusal(kind=row[0], reason=row[1]) if row else None

    # What plans keep between rounds

    def carry(self, plan_hash: str, digest: str, *, after: str) -> None:
        """A plan's next round starts from the file with this hash.

        Raises:
            NotApproved: if the state that it was made from, `after`, is no longer in force.
        """
        with self._store.writing() as database:
            require(
                self.carried().get(plan_hash, "") == after,
                "A round must go on from what the last one kept, and that is gone: the plan was "
                "taken back while the round ran. Call the next round.",
                error=NotApproved,
            )
            database.execute("INSERT OR REPLACE INTO carry VALUES (?, ?)", (plan_hash, digest))

    def carried(self) -> dict[str, str]:
        """The hash of each plan's file, of those that have one."""
        with self._store.reading() as database:
            return dict(database.execute("SELECT plan_hash, sha256 FROM carry").fetchall())

    # Tickets

    def ticket(self, ticket: str) -> Ticket:
        """Where a ticket stands, as far as the disk knows; raise `Refused` if there is none."""
        query = (
            "SELECT purpose, round, state, sentence, shares, steps, epsilon, delta FROM ticket "
            "WHERE ticket = ?"
        )
        with self._store.reading() as database:
            row = database.execute(query, (ticket,)).fetchone()
        if row is None:
            raise Refused(
                "There is no such ticket here, or the vault was stopped before the round ended: "
                "call the round (again); it is paid for once."
            )
        purpose, number, state, sentence, shares, steps, epsilon, delta = row
        return Ticket(
            ticket=ticket,
            purpose=purpose,
            round=number,
            state=state,
            step=steps if state == "done" else 0,
            steps=steps,
            epsilon=epsilon,
            delta=delta,
            shares=tuple(shares.split()),
            sentence=sentence,
        )

    def shares(self) -> set[str]:
        """The hashes of every sealed share that a ticket has let out."""
        with self._store.reading() as database:
            rows = database.execute("SELECT shares FROM ticket").fetchall()
        return {digest for (hashes,) in rows for digest in hashes.split()}

    def plan_of(self, ticket: str) -> str:
        """The hash of the plan that a ticket's round belongs to, empty if there is no ticket."""
        query = "SELECT plan_hash FROM ticket WHERE ticket = ?"
        with self._store.reading() as database:
            row = database.execute(query, (ticket,)).fetchone()
        return str(row[0]) if row else ""

    def has_ticket(self, ticket: str) -> bool:
        """Whether a round is queued, runs or has ended here."""
        query = "SELECT 1 FROM ticket WHERE ticket = ?"
        with self._store.reading() as database:
            return database.execute(query, (ticket,)).fetchone() is not None

    def open_ticket(self, plan_hash: str, ticket: Ticket) -> None:
        """Write a round down as queued."""
        row: Sequence[str | int | float] = (
            ticket.ticket, plan_hash, ticket.purpose, ticket.round, "queued", "", "",
            ticket.steps, ticket.epsilon, ticket.delta,
        )  # fmt: skip
        with self._store.writing() as database:
            database.execute("INSERT INTO ticket VALUES (?,?,?,?,?,?,?,?,?,?)", row)

    def set_state(
        self, ticket: str, state: State, *, shares: tuple[str, ...] = (), sentence: str = ""
    ) -> None:
        """Write down how far a round is."""
        row = (state, " ".join(shares), sentence, ticket)
        with self._store.writing() as database:
            database.execute(
                "UPDATE ticket SET state = ?, shares = ?, sentence = ? WHERE ticket = ?", row
            )

    def forget_unfinished(self) -> None:
        """After a restart: what was under way left nothing, and can be called again."""
        with self._store.writing() as database:
            database.execute("DELETE FROM ticket WHERE state IN ('queued', 'running')")
