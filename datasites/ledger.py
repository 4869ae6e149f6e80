"""The privacy ledger of one hospital: what was spent on its patients, for ever.

It stores events, not epsilons, and composes all of them for each question. An event is
committed durably before any data is read (reserve, then run), and nothing is ever
refunded: a crash, a failure or a cancelled run stays spent. One writer holds the
database while it decides, so two runs at once can't spend the same budget.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from policies.decision import Deny
from policies.rules import Budget, within_budget
from syft_code import accounting, canonical
from syft_code.accounting import DpSgdEvent, Event, GaussianEvent
from syft_code.errors import BudgetExceeded, Refused
from syft_code.messages import Purpose

SCHEMA = """
CREATE TABLE IF NOT EXISTS spent (
    number INTEGER PRIMARY KEY,
    asset TEXT NOT NULL,
    plan_hash TEXT NOT NULL,
    purpose TEXT NOT NULL,
    round INTEGER NOT NULL,
    weights_sha256 TEXT NOT NULL,
    event TEXT NOT NULL,
    at_unix_s INTEGER NOT NULL DEFAULT (unixepoch()),
    UNIQUE (plan_hash, purpose, round)
) STRICT;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """One round's claim on the budget of an asset; `weights_sha256` names its input."""

    asset: str
    plan_hash: str
    purpose: Purpose
    round: int
    weights_sha256: str


class Ledger:
    """The ledger's file. Every method opens the database anew, so any process may use it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._open() as database:
            database.executescript(SCHEMA)

    def events(self, asset: str) -> list[DpSgdEvent | GaussianEvent]:
        """Everything that was ever spent on an asset, in order."""
        with self._open() as database:
            return _events(database, "asset", asset)

    def epsilon(self, asset: str, *, delta: float) -> float:
        """What has been spent on an asset so far, as epsilon at this delta."""
        return accounting.epsilon(self.events(asset), delta=delta)

    def study_epsilon(self, plan_hash: str, *, delta: float) -> float:
        """What one study has spent here so far, as epsilon at this delta."""
        with self._open() as database:
            return accounting.epsilon(_events(database, "plan_hash", plan_hash), delta=delta)

    def reserve(
        self,
        spend: Spend,
        event: DpSgdEvent | GaussianEvent,
        *,
        budget: Budget,
        study_budget: Budget,
    ) -> bool:
        """Commit a round's event durably, or refuse; False if this very round is paid already.

        `budget` caps everything that ever left the asset, `study_budget` this plan alone.

        Guarantee: when this returns, the event is on disk; the composition of all events of
            the asset stays within the budget at every moment, whatever runs beside it.
        Raises:
            BudgetExceeded: if the round does not fit; the sentence says what is left.
            Refused: if the round was paid for with other weights.
        """
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            if _already_paid(database, spend):
                return False
            of_study = _events(database, "plan_hash", spend.plan_hash)
            of_asset = _events(database, "asset", spend.asset)
            for spent, cap in ((of_study, study_budget), (of_asset, budget)):
                decision = within_budget(asked=[event], spent=spent, budget=cap)
                if isinstance(decision, Deny):
                    raise BudgetExceeded(decision.reason)
            database.execute(
                "INSERT INTO spent (asset, plan_hash, purpose, round, weights_sha256, event) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    spend.asset,
                    spend.plan_hash,
                    spend.purpose,
                    spend.round,
                    spend.weights_sha256,
                    canonical.encode(event).decode("ascii"),
                ),
            )
            database.commit()
            return True

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self._path, timeout=60, isolation_level=None)
        try:
            database.execute("PRAGMA synchronous = FULL")
            yield database
        finally:
            database.close()


def _already_paid(database: sqlite3.Connection, spend: Spend) -> bool:
    row = database.execute(
        "SELECT weights_sha256 FROM spent WHERE plan_hash = ? AND purpose = ? AND round = ?",
        (spend.plan_hash, spend.purpose, spend.round),
    ).fetchone()
    if row is not None and row[0] != spend.weights_sha256:
        raise Refused(
            f"Round {spend.round} ({spend.purpose}) was called before with other weights, and a "
            "round can be repeated only with the same ones: call the next round."
        )
    return row is not None


def _events(
    database: sqlite3.Connection, column: Literal["asset", "plan_hash"], value: str
) -> list[DpSgdEvent | GaussianEvent]:
    query = {
        "asset": "SELECT event FROM spent WHERE asset = ? ORDER BY number",
        "plan_hash": "SELECT event FROM spent WHERE plan_hash = ? ORDER BY number",
    }[column]
    rows = database.execute(query, (value,))
    return [canonical.parse(Event, text.encode("ascii"), what="ledger entry") for (text,) in rows]
