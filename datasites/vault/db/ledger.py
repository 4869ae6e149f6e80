"""The privacy ledger of one hospital: what was spent on its patients, for ever.

It stores events, not epsilons, and composes all of them for each question. An event is
committed durably before any data is read (reserve), marked when its result may leave
(commit), and nothing is ever refunded: a crash, a failure or a cancelled run stays spent.

The unit is the patient, not the name under which patients are published: the ledger knows
by keyed hashes which assets share a patient, and what is spent on one counts for all. A row
without an identifier may be any other such row: all assets with such rows share the patient `ANYBODY`.

Does not protect: a person in an asset without identifiers and in one with them, who has two budgets.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from datasites.vault.db.database import Database
from policies.decision import Deny
from policies.rules import within_budget
from policies.site_policy import Budget
from syft_code import canonical
from syft_code.errors import BudgetExceeded, NotApproved, Refused, require
from syft_code.plans.messages import Purpose, RoundCall
from syft_code.privacy.accounting import DpSgdEvent, Event, GaussianEvent

SCHEMA = """
CREATE TABLE IF NOT EXISTS spent (
    number INTEGER PRIMARY KEY,
    asset TEXT NOT NULL,
    plan_hash TEXT NOT NULL,
    researcher TEXT NOT NULL,
    researcher_key TEXT NOT NULL,
    purpose TEXT NOT NULL,
    round INTEGER NOT NULL,
    weights_sha256 TEXT NOT NULL,
    event TEXT NOT NULL,
    released INTEGER NOT NULL DEFAULT 0,
    UNIQUE (plan_hash, purpose, round)
) STRICT;
CREATE TABLE IF NOT EXISTS patient (
    token TEXT NOT NULL, asset TEXT NOT NULL, held_out INTEGER NOT NULL,
    PRIMARY KEY (token, asset)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS patient_of_asset ON patient (asset);
"""
Events = list[DpSgdEvent | GaussianEvent]
ANYBODY = "anybody"
"""Stands in the place of a token in every asset whose data has no identifiers of patients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """One round's claim on the budget of an asset; `weights_sha256` names its input.

    `researcher` is the account that the approval says runs the study, `researcher_key` the key
    (hex) that the plan names.
    """

    asset: str
    plan_hash: str
    researcher: str
    researcher_key: str
    purpose: Purpose
    round: int
    weights_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What a round must fit into, all of them at once.

    `of_asset` gives the budget of each asset that a patient of this one is also in; each of `study`
    caps the study. Units: `rounds` counts training rounds of the study.
    """

    of_asset: Callable[[str], Budget]
    study: tuple[Budget, ...]
    researcher: Budget | None = None
    rounds: int = 1000


FACTS = (
    "asset", "plan_hash", "researcher", "researcher_key", "purpose", "round", "weights_sha256",
    "event",
)  # fmt: skip
"""What the ledger and the audit log both say of a round that was paid for."""


def facts(spend: Spend, event: DpSgdEvent | GaussianEvent) -> dict[str, str]:
    """A round that was paid for, in words for the ledger and for the audit log."""
    named = {name: str(getattr(spend, name)) for name in FACTS[:-1]}
    return named | {"event": canonical.text(event)}


class Ledger:
    """The ledger's tables."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create(SCHEMA)

    def register(self, asset: str, held_out: Mapping[str, bool]) -> str:
        """Note which patients an asset holds, by token; those of earlier versions stay noted.

        Returns the hash of all that are noted for the asset.

        Raises:
            Refused: if a patient was ever in the other group, training or held-out, under any
                name: the groups are paid for in parallel.
        """
        with self._database.writing() as connection:
            for token, out in held_out.items():
                row = connection.execute(
                    "SELECT 1 FROM patient WHERE token = ? AND held_out <> ?", (token, out)
                ).fetchone()
                require(
                    row is None,
                    "A patient must stay in the group, training or held-out, that they were in "
                    "before, under any asset's name: split the cohort as before.",
                    error=Refused,
                )
            rows = ((token, asset, out) for token, out in held_out.items())
            connection.executemany("INSERT OR IGNORE INTO patient VALUES (?, ?, ?)", rows)
            return _registered(connection, asset)

    def registered_sha256(self, asset: str) -> str:
        """The hash of the patients, with their groups, that are noted for an asset."""
        with self._database.reading() as connection:
            return _registered(connection, asset)

    def sharing(self, asset: str, tokens: Iterable[str] = ()) -> list[str]:
        """The assets that hold a patient of this one, or of these; the asset itself first."""
        with self._database.reading() as connection:
            own = _assets_with_shared_patients(connection, asset)
            others = {
                name
                for token in tokens
                for (name,) in connection.execute(
                    "SELECT asset FROM patient WHERE token = ?", (token,)
                )
            }
        return own + sorted(others - set(own))

    def holding(self, token: str) -> list[str]:
        """The assets that hold a patient."""
        with self._database.reading() as connection:
            query = "SELECT asset FROM patient WHERE token = ? ORDER BY asset"
            return [asset for (asset,) in connection.execute(query, (token,))]

    def events(self, asset: str, *, apart_from: str = "") -> Events:
        """Everything that was ever spent on an asset's patients, apart from one plan's part."""
        with self._database.reading() as connection:
            return _of_asset(connection, asset, apart_from=apart_from)

    def of_researcher(
        self, asset: str, researcher: str, key: str, *, apart_from: str = ""
    ) -> Events:
        """The part of it that a researcher's studies took: those of the account or of the key."""
        with self._database.reading() as connection:
            return _of_researcher(connection, asset, researcher, key, apart_from=apart_from)

    def of_study(self, plan_hash: str) -> Events:
        """What one study has spent here so far."""
        with self._database.reading() as connection:
            return _of_study(connection, plan_hash)

    def count(self, plan_hash: str | None = None, *, purpose: Purpose | None = None) -> int:
        """How many rounds were paid for: all, or those of a plan and a purpose."""
        query = (
            "SELECT COUNT(*) FROM spent "
            "WHERE plan_hash = COALESCE(?, plan_hash) AND purpose = COALESCE(?, purpose)"
        )
        with self._database.reading() as connection:
            return int(connection.execute(query, (plan_hash, purpose)).fetchone()[0])

    def rows(self) -> list[dict[str, str]]:
        """Every round that was paid for, as the audit log has it, oldest first."""
        query = f"SELECT {', '.join(FACTS)} FROM spent ORDER BY number"  # noqa: S608 - fixed names
        with self._database.reading() as connection:
            rows = connection.execute(query).fetchall()
        return [dict(zip(FACTS, map(str, row), strict=True)) for row in rows]

    def is_paid(self, call: RoundCall) -> bool:
        """Whether this very round is paid; raise `Refused` if it was with other weights."""
        with self._database.reading() as connection:
            return _already_paid(connection, call)

    def reserve(self, spend: Spend, event: DpSgdEvent | GaussianEvent, caps: Caps) -> bool:
        """Commit a round's event durably, or refuse; False if this very round is paid already.

        Guarantee: when this returns (and a transaction around it is over), the event is on disk;
            for each asset the composition of all events on its patients stays within the
            asset's budget at every moment, whatever runs beside it.
        Raises:
            BudgetExceeded: if the round does not fit; the sentence says what is left.
            Refused: if the round was paid for with other weights.
            NotApproved: if the approved number of rounds has run.
        """
        with self._database.writing() as connection:
            if _already_paid(connection, spend):
                return False
            _check_rounds(connection, spend, caps)
            for spent, budget in _accounts(connection, spend, caps):
                decision = within_budget(asked=[event], spent=spent, budget=budget)
                if isinstance(decision, Deny):
                    raise BudgetExceeded(decision.reason)
            connection.execute(
                f"INSERT INTO spent ({', '.join(FACTS)}) VALUES (?,?,?,?,?,?,?,?)",  # noqa: S608
                tuple(facts(spend, event).values()),
            )
            return True

    def commit(self, spend: Spend) -> None:
        """Note that a reserved round's result may leave; raise `Refused` if it is not paid."""
        with self._database.writing() as connection:
            changed = connection.execute(
                "UPDATE spent SET released = 1 WHERE plan_hash = ? AND purpose = ? AND round = ?",
                (spend.plan_hash, spend.purpose, spend.round),
            ).rowcount
        require(changed == 1, "A round must be paid for before its result leaves.", error=Refused)


def _accounts(
    connection: sqlite3.Connection, spend: Spend, caps: Caps
) -> Iterable[tuple[Events, Budget]]:
    """Everything that a round adds to: its study, its researcher, each asset of its patients."""
    for budget in caps.study:
        yield _of_study(connection, spend.plan_hash), budget
    if caps.researcher is not None:
        theirs = _of_researcher(connection, spend.asset, spend.researcher, spend.researcher_key)
        yield theirs, caps.researcher
    for asset in _assets_with_shared_patients(connection, spend.asset):
        yield _of_asset(connection, asset), caps.of_asset(asset)


def _check_rounds(connection: sqlite3.Connection, spend: Spend, caps: Caps) -> None:
    query = "SELECT COUNT(*) FROM spent WHERE plan_hash = ? AND purpose = 'train'"
    (run,) = connection.execute(query, (spend.plan_hash,)).fetchone()
    require(
        spend.purpose != "train" or run < caps.rounds,
        f"The approval covers {caps.rounds} rounds, and {run} were called: ask the data owner for "
        "more.",
        error=NotApproved,
    )


def _already_paid(connection: sqlite3.Connection, spend: Spend | RoundCall) -> bool:
    row = connection.execute(
        "SELECT weights_sha256 FROM spent WHERE plan_hash = ? AND purpose = ? AND round = ?",
        (spend.plan_hash, spend.purpose, spend.round),
    ).fetchone()
    if row is not None and row[0] != spend.weights_sha256:
        raise Refused(
            f"Round {spend.round} ({spend.purpose}) was called before with other weights, and a "
            "round can be repeated only with the same ones: call the next round."
        )
    return row is not None


def _assets_with_shared_patients(connection: sqlite3.Connection, asset: str) -> list[str]:
    rows = connection.execute(
        "SELECT DISTINCT other.asset FROM patient AS own JOIN patient AS other USING (token) "
        "WHERE own.asset = ? AND other.asset <> own.asset ORDER BY other.asset",
        (asset,),
    )
    return [asset, *(name for (name,) in rows)]


def _of_study(connection: sqlite3.Connection, plan_hash: str) -> Events:
    query = "SELECT event FROM spent WHERE plan_hash = ? ORDER BY number"
    return _events(connection.execute(query, (plan_hash,)))


def _of_asset(connection: sqlite3.Connection, asset: str, *, apart_from: str = "") -> Events:
    """What was spent on an asset and on those that share a patient with it."""
    where, names = _of_patients(connection, asset)
    query = f"SELECT event FROM spent WHERE {where} AND plan_hash <> ? ORDER BY number"  # noqa: S608
    return _events(connection.execute(query, (*names, apart_from)))


def _of_researcher(
    connection: sqlite3.Connection, asset: str, researcher: str, key: str, *, apart_from: str = ""
) -> Events:
    where, names = _of_patients(connection, asset)
    query = (
        f"SELECT event FROM spent WHERE {where} AND (researcher = ? OR researcher_key = ?) "  # noqa: S608
        "AND plan_hash <> ? ORDER BY number"
    )
    return _events(connection.execute(query, (*names, researcher, key, apart_from)))


def _of_patients(connection: sqlite3.Connection, asset: str) -> tuple[str, list[str]]:
    """A condition of question marks alone, and what they stand for."""
    names = _assets_with_shared_patients(connection, asset)
    return f"asset IN ({', '.join('?' * len(names))})", names


def _registered(connection: sqlite3.Connection, asset: str) -> str:
    query = "SELECT token, held_out FROM patient WHERE asset = ? ORDER BY token"
    return canonical.sha256(canonical.encode(connection.execute(query, (asset,)).fetchall()))


def _events(rows: Iterable[tuple[str]]) -> Events:
    return [canonical.parse(Event, text.encode(), what="ledger entry") for (text,) in rows]
