"""What a vault remembers of its rounds: a ticket for each, with what it came to."""

from collections.abc import Sequence

from datasites.vault.db.database import Database
from syft_code.errors import Refused
from syft_code.plans.messages import State, Ticket

SCHEMA = """
CREATE TABLE IF NOT EXISTS ticket (
    ticket TEXT PRIMARY KEY, plan_hash TEXT NOT NULL, purpose TEXT NOT NULL,
    round INTEGER NOT NULL, state TEXT NOT NULL, sentence TEXT NOT NULL, shares TEXT NOT NULL,
    steps INTEGER NOT NULL, epsilon REAL NOT NULL, epsilon_alone REAL NOT NULL, delta REAL NOT NULL,
    UNIQUE (plan_hash, purpose, round)
) STRICT;
"""


class TicketStore:
    """The table of tickets."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create(SCHEMA)

    def read(self, ticket: str) -> Ticket:
        """Where a ticket stands, as far as the disk knows; raise `Refused` if there is none."""
        query = (
            "SELECT purpose, round, state, sentence, shares, steps, epsilon, epsilon_alone, delta "
            "FROM ticket WHERE ticket = ?"
        )
        with self._database.reading() as connection:
            row = connection.execute(query, (ticket,)).fetchone()
        if row is None:
            raise Refused(
                "There is no such ticket here, or the vault was stopped before the round ended: "
                "call the round (again); it is paid for once."
            )
        purpose, number, state, sentence, shares, steps, epsilon, alone, delta = row
        return Ticket(
            ticket=ticket,
            purpose=purpose,
            round=number,
            state=state,
            step=steps if state == "done" else 0,
            steps=steps,
            epsilon=epsilon,
            epsilon_alone=alone,
            delta=delta,
            shares=tuple(shares.split()),
            sentence=sentence,
        )

    def shares(self) -> set[str]:
        """The hashes of every sealed share that a ticket has let out."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT shares FROM ticket").fetchall()
        return {digest for (hashes,) in rows for digest in hashes.split()}

    def plan_of(self, ticket: str) -> str:
        """The hash of the plan that a ticket's round belongs to, empty if there is no ticket."""
        query = "SELECT plan_hash FROM ticket WHERE ticket = ?"
        with self._database.reading() as connection:
            row = connection.execute(query, (ticket,)).fetchone()
        return str(row[0]) if row else ""

    def has(self, ticket: str) -> bool:
        """Whether a round is queued, runs or has ended here."""
        query = "SELECT 1 FROM ticket WHERE ticket = ?"
        with self._database.reading() as connection:
            return connection.execute(query, (ticket,)).fetchone() is not None

    def open(self, plan_hash: str, ticket: Ticket) -> None:
        """Write a round down as queued."""
        row: Sequence[str | int | float] = (
            ticket.ticket, plan_hash, ticket.purpose, ticket.round, "queued", "", "",
            ticket.steps, ticket.epsilon, ticket.epsilon_alone, ticket.delta,
        )  # fmt: skip
        with self._database.writing() as connection:
            connection.execute("INSERT INTO ticket VALUES (?,?,?,?,?,?,?,?,?,?,?)", row)

    def set_state(
        self, ticket: str, state: State, *, shares: tuple[str, ...] = (), sentence: str = ""
    ) -> None:
        """Write down how far a round is."""
        row = (state, " ".join(shares), sentence, ticket)
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE ticket SET state = ?, shares = ?, sentence = ? WHERE ticket = ?", row
            )

    def forget_unfinished(self) -> None:
        """After a restart: what was under way left nothing, and can be called again."""
        with self._database.writing() as connection:
            connection.execute("DELETE FROM ticket WHERE state IN ('queued', 'running')")
