"""What a vault remembers beside the ledger: acts of its owner, assets, tickets.

One SQLite file, `synchronous=FULL`, opened anew for each question. Acts are kept as they
were signed, so that the record can be checked against the owner's key at any time.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from datasites.acts import Act, Approval, Denial, Publication, Revocation, Trust
from policies.rules import KnownParties
from syft_code import canonical
from syft_code.errors import InvalidMessage, NotApproved, Refused
from syft_code.messages import Signed, State, Ticket
from syft_code.plan import Plan

SCHEMA = """
CREATE TABLE IF NOT EXISTS act (
    act_id TEXT PRIMARY KEY, name TEXT NOT NULL, message TEXT NOT NULL, signature TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS asset (
    name TEXT NOT NULL, version INTEGER NOT NULL, publication TEXT NOT NULL,
    PRIMARY KEY (name, version)
) STRICT;
CREATE TABLE IF NOT EXISTS approval (
    plan_hash TEXT PRIMARY KEY, approval TEXT NOT NULL, withdrawn TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE IF NOT EXISTS ticket (
    ticket TEXT PRIMARY KEY, plan_hash TEXT NOT NULL, purpose TEXT NOT NULL,
    round INTEGER NOT NULL, state TEXT NOT NULL, sentence TEXT NOT NULL, shares TEXT NOT NULL,
    steps INTEGER NOT NULL, epsilon REAL NOT NULL, delta REAL NOT NULL,
    UNIQUE (plan_hash, purpose, round)
) STRICT;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """An approval that stands, with the plan that it covers."""

    approval: Approval
    plan: Plan


class Records:
    """The file of a vault's records."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._open() as database:
            database.executescript(SCHEMA)

    def remember(self, act: Act, signed: Signed) -> None:
        """Keep an act as it was signed; raise `InvalidMessage` if its id was used before."""
        row = (act.act_id, type(act).__name__, signed.message, signed.signature)
        try:
            with self._open() as database:
                database.execute("INSERT INTO act VALUES (?, ?, ?, ?)", row)
        except sqlite3.IntegrityError:
            raise InvalidMessage(
                "An owner's act can be used once, and this one was used before: sign a new one."
            ) from None

    def publish(self, publication: Publication) -> int:
        """Keep an asset's next version, and return its number."""
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            query = "SELECT COALESCE(MAX(version), 0) + 1 FROM asset WHERE name = ?"
            (version,) = database.execute(query, (publication.asset,)).fetchone()
            text = canonical.encode(publication).decode("ascii")
            row = (publication.asset, version, text)
            database.execute("INSERT INTO asset VALUES (?, ?, ?)", row)
            database.commit()
        return int(version)

    def publication(self, asset: str, version: int | None = None) -> Publication:
        """How an asset was published (its newest version, unless told); raise `Refused` if not."""
        query = (
            "SELECT publication FROM asset WHERE name = ? AND version = COALESCE(?, version) "
            "ORDER BY version DESC LIMIT 1"
        )
        with self._open() as database:
            row = database.execute(query, (asset, version)).fetchone()
        if row is None:
            raise Refused(f"There is no asset {asset!r} of that version here: see the catalogue.")
        found: Publication = canonical.parse(Publication, row[0].encode(), what="publication")
        return found

    def newest_version(self, asset: str) -> int:
        """The number of an asset's newest version, 0 if it was never published."""
        query = "SELECT COALESCE(MAX(version), 0) FROM asset WHERE name = ?"
        with self._open() as database:
            (version,) = database.execute(query, (asset,)).fetchone()
        return int(version)

    def known_parties(self) -> KnownParties:
        """The parties that the owner named last; nobody, if no owner ever did."""
        query = "SELECT message FROM act WHERE name = 'Trust' ORDER BY rowid DESC LIMIT 1"
        with self._open() as database:
            row = database.execute(query).fetchone()
        if row is None:
            return KnownParties()
        act: Trust = canonical.parse(Trust, row[0].encode("ascii"), what="act of trust")
        return act.parties

    def approve(self, approval: Approval, plan: Plan) -> None:
        """Let a plan run; an approval after a denial or a revocation stands again."""
        text = canonical.encode(approval).decode("ascii")
        with self._open() as database:
            database.execute(
                "INSERT INTO approval (plan_hash, approval) VALUES (?, ?) ON CONFLICT (plan_hash) "
                "DO UPDATE SET approval = excluded.approval, withdrawn = ''",
                (plan.hash, text),
            )

    def withdraw(self, act: Denial | Revocation) -> None:
        """Let a plan run no longer."""
        with self._open() as database:
            database.execute(
                "UPDATE approval SET withdrawn = ? WHERE plan_hash = ?", (act.reason, act.plan_hash)
            )

    def approved(self, plan_hash: str, *, now_unix_s: float) -> Approved:
        """The approval that covers a plan now; raise `NotApproved` if there is none."""
        with self._open() as database:
            row = database.execute(
                "SELECT approval, withdrawn FROM approval WHERE plan_hash = ?", (plan_hash,)
            ).fetchone()
        if row is None or row[1]:
            raise NotApproved(
                "The data owner has not approved this plan, or has taken the approval back: ask "
                "the data owner."
            )
        approval: Approval = canonical.parse(Approval, row[0].encode(), what="approval")
        if not now_unix_s < approval.expires_unix_s:
            raise NotApproved("The approval of this plan has expired: ask the data owner.")
        return Approved(approval=approval, plan=Plan.decode(approval.plan.encode("ascii")))

    def standing(self, asset: str, *, now_unix_s: float) -> tuple[str, ...]:
        """The hashes of the plans that may run on an asset now."""
        query = "SELECT plan_hash, approval FROM approval WHERE withdrawn = '' ORDER BY rowid"
        with self._open() as database:
            rows = database.execute(query).fetchall()
        approvals: list[tuple[str, Approval]] = [
            (plan_hash, canonical.parse(Approval, text.encode(), what="approval"))
            for plan_hash, text in rows
        ]
        return tuple(
            plan_hash
            for plan_hash, approval in approvals
            if approval.asset == asset and now_unix_s < approval.expires_unix_s
        )

    def ticket(self, ticket: str) -> Ticket:
        """Where a ticket stands, as far as the disk knows; raise `Refused` if there is none."""
        query = (
            "SELECT purpose, round, state, sentence, shares, steps, epsilon, delta FROM ticket "
            "WHERE ticket = ?"
        )
        with self._open() as database:
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

    def has_ticket(self, ticket: str) -> bool:
        """Whether a round is queued, runs or has ended here."""
        query = "SELECT 1 FROM ticket WHERE ticket = ?"
        with self._open() as database:
            return database.execute(query, (ticket,)).fetchone() is not None

    def open_ticket(self, plan_hash: str, ticket: Ticket) -> None:
        """Write a round down as queued."""
        row = (
            ticket.ticket,
            plan_hash,
            ticket.purpose,
            ticket.round,
            "queued",
            "",
            "",
            ticket.steps,
            ticket.epsilon,
            ticket.delta,
        )
        with self._open() as database:
            database.execute("INSERT INTO ticket VALUES (?,?,?,?,?,?,?,?,?,?)", row)

    def set_state(
        self, ticket: str, state: State, *, shares: tuple[str, ...] = (), sentence: str = ""
    ) -> None:
        """Write down how far a round is."""
        row = (state, " ".join(shares), sentence, ticket)
        with self._open() as database:
            database.execute(
                "UPDATE ticket SET state = ?, shares = ?, sentence = ? WHERE ticket = ?", row
            )

    def forget_unfinished(self) -> None:
        """After a restart: what was under way left nothing, and can be called again."""
        with self._open() as database:
            database.execute("DELETE FROM ticket WHERE state IN ('queued', 'running')")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self._path, timeout=60, isolation_level=None)
        try:
            database.execute("PRAGMA synchronous = FULL")
            yield database
        finally:
            database.close()
