"""What the people who decide at a hospital have signed, kept as they signed it.

Each action can be checked against its signer's key whenever it is used.
"""

import sqlite3
from dataclasses import dataclass
from typing import Literal

from datasites.protocol.owner_actions import OwnerAction
from datasites.vault.db.database import Database
from syft_code.errors import InvalidMessage
from syft_code.plans.messages import Signed

SCHEMA = """
CREATE TABLE IF NOT EXISTS owner_action (
    number INTEGER PRIMARY KEY, action_id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
    subject TEXT NOT NULL, signer TEXT NOT NULL, message TEXT NOT NULL, signature TEXT NOT NULL,
    at_unix_s REAL NOT NULL, state TEXT NOT NULL
) STRICT;
"""
_COLUMNS = "name, signer, message, signature"
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


class ActionStore:
    """The table of signed actions."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create(SCHEMA)

    def add(self, action: OwnerAction, signer: str, signed: Signed, *, state: ActionState) -> None:
        """Keep an action as it was signed; raise `InvalidMessage` if its id was used before."""
        row = (
            action.action_id, type(action).__name__, action.subject, signer, signed.message, signed.signature,
            action.at_unix_s, state,
        )  # fmt: skip
        try:
            with self._database.writing() as connection:
                connection.execute(INSERT_ACTION, row)
        except sqlite3.IntegrityError:
            raise InvalidMessage(
                "An owner's action can be used once, and this one was used before: sign a new one."
            ) from None

    def named(self, *names: str, state: ActionState = "in force") -> list[StoredAction]:
        """The actions of these names in this state, oldest first."""
        marks = ", ".join("?" * len(names))
        query = f"SELECT {_COLUMNS} FROM owner_action WHERE state = ? AND name IN ({marks}) ORDER BY number"  # noqa: S608
        with self._database.reading() as connection:
            rows = connection.execute(query, (state, *names)).fetchall()
        return [
            StoredAction(
                name=name, signer=signer, signed=Signed(message=message, signature=signature)
            )
            for name, signer, message, signature in rows
        ]

    def waiting_signers(self, subject: str, *, since_unix_s: float) -> set[str]:
        """Who has signed a thing that is not in force yet."""
        query = "SELECT signer FROM owner_action WHERE subject = ? AND state = 'waiting' AND at_unix_s >= ?"
        with self._database.reading() as connection:
            return {signer for (signer,) in connection.execute(query, (subject, since_unix_s))}

    def void_waiting(self, subject: str | None = None) -> None:
        """A rule has come into force: no signature waits any more for this subject, or for any."""
        query = (
            "UPDATE owner_action SET state = 'counted' "
            "WHERE state = 'waiting' AND subject = coalesce(?, subject)"
        )
        with self._database.writing() as connection:
            connection.execute(query, (subject,))

    def every(self) -> list[tuple[StoredAction, bool]]:
        """All actions that were kept, oldest first, and whether each took force by itself."""
        query = "SELECT name, signer, message, signature, state FROM owner_action ORDER BY number"
        with self._database.reading() as connection:
            rows = connection.execute(query).fetchall()
        return [
            (
                StoredAction(
                    name=name, signer=signer, signed=Signed(message=message, signature=signature)
                ),
                state == "in force",
            )
            for name, signer, message, signature, state in rows
        ]
