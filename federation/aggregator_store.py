"""What an aggregator must not forget: studies, shares, and which sum it gave away.

`HOME/state.sqlite` holds public metadata only (plans, signed headers, chosen sets); the
vectors lie beside it (`aggregator_files`). The order of writing makes it durable: a file is
on disk before the row that speaks of it, the chosen set is committed before a byte of its
sum leaves, and shares are deleted once their sum is on disk, so that a later thief of all
the disks finds sums only. Signed headers stay for good: they anchor the hospitals' audit logs.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from federation.aggregator_files import Slot, VectorFiles, view
from federation.durable import sync_folder
from syft_code import canonical
from syft_code.errors import Refused, Unavailable, require
from syft_code.messages import ShareHeader, Signed
from syft_code.plan import Plan

DATABASE = "state.sqlite"

_SCHEMA = """
CREATE TABLE study (plan_hash TEXT PRIMARY KEY, plan BLOB NOT NULL) STRICT;
CREATE TABLE share (
    plan_hash TEXT NOT NULL REFERENCES study, purpose TEXT NOT NULL, round INTEGER NOT NULL,
    hospital TEXT NOT NULL, length INTEGER NOT NULL, signed_header BLOB NOT NULL,
    verify_key TEXT NOT NULL,
    PRIMARY KEY (plan_hash, purpose, round, hospital)
) STRICT;
CREATE INDEX share_by_key ON share (verify_key);
CREATE TABLE release (
    plan_hash TEXT NOT NULL REFERENCES study, purpose TEXT NOT NULL, round INTEGER NOT NULL,
    hospitals TEXT NOT NULL, signed_header BLOB,
    PRIMARY KEY (plan_hash, purpose, round)
) STRICT;
PRAGMA user_version = 3;
"""
_ADD_STUDY = "INSERT OR IGNORE INTO study VALUES (?, ?)"
_PLAN = "SELECT plan FROM study WHERE plan_hash = ?"
_ADD_SHARE = "INSERT INTO share VALUES (?, ?, ?, ?, ?, ?, ?)"
_SHARES = (
    "SELECT hospital, length, signed_header FROM share "
    "WHERE plan_hash = ? AND purpose = ? AND round = ?"
)
_HEADERS = "SELECT signed_header FROM share WHERE verify_key = ? ORDER BY rowid DESC LIMIT ?"
_WAITING = (
    "SELECT share.plan_hash, share.purpose, share.round, hospital FROM share LEFT JOIN release "
    "USING (plan_hash, purpose, round) WHERE release.signed_header IS NULL"
)
_ADD_RELEASE = "INSERT INTO release VALUES (?, ?, ?, ?, NULL)"
_RELEASE = (
    "SELECT hospitals, signed_header FROM release WHERE plan_hash = ? AND purpose = ? AND round = ?"
)
_FINISH = "UPDATE release SET signed_header = ? WHERE plan_hash = ? AND purpose = ? AND round = ?"
_FINISHED = "SELECT plan_hash, purpose, round FROM release WHERE signed_header IS NOT NULL"


def create(home: Path) -> None:
    """First start: an empty store."""
    VectorFiles(home)
    database = sqlite3.connect(home / DATABASE, isolation_level=None)
    database.executescript(f"PRAGMA synchronous = FULL; BEGIN; {_SCHEMA} COMMIT;")
    database.close()
    sync_folder(home)


class Store:
    """An aggregator's durable state; may be used from several threads.

    Raises:
        Unavailable: if the folder is damaged, or the disk is full.
    """

    def __init__(self, home: Path) -> None:
        self._files = VectorFiles(home)
        self._lock = threading.Lock()
        self._database = _connect(home / DATABASE)
        with self._transaction() as database:
            waiting = database.execute(_WAITING).fetchall()
            finished = database.execute(_FINISHED).fetchall()
        self._files.tidy(
            shares=[self._files.share(_slot(row), row[3]) for row in waiting],
            sums=[self._files.sum(_slot(row)) for row in finished],
        )

    def close(self) -> None:
        """Let go of the database."""
        with self._lock:
            self._database.close()

    def add_study(self, plan: Plan) -> None:
        """Remember a plan; once more does nothing."""
        with self._transaction() as database:
            database.execute(_ADD_STUDY, (plan.hash, plan.encode()))

    def plan(self, plan_hash: str) -> Plan:
        """The plan of a study that was opened here; raise `Refused` if it was not."""
        with self._transaction() as database:
            row = database.execute(_PLAN, (plan_hash,)).fetchone()
        require(row is not None, "The study must be opened here first.", error=Refused)
        return Plan.decode(row[0])

    def holds(self, header: ShareHeader, signed: Signed) -> bool:
        """Whether exactly this share was taken before.

        Raises:
            Refused: if a share can't be taken any more, because another one of the hospital
                was, the sum was released, or the others have another length.
        """
        with self._transaction() as database:
            return _holds(database, header, signed)

    def keep(self, header: ShareHeader, signed: Signed, payload: bytes, *, verify_key: str) -> None:
        """Take a hospital's payload for good; raise `Refused` as `holds` does."""
        slot = Slot.of(header)
        with self._files.incoming(payload) as incoming, self._transaction() as database:
            if _holds(database, header, signed):
                return
            self._files.settle(incoming, self._files.share(slot, header.hospital))
            row = (*slot.key, header.hospital, header.length, canonical.encode(signed))
            database.execute(_ADD_SHARE, (*row, verify_key))

    def headers(self, verify_key: str, *, at_most: int) -> list[Signed]:
        """The signed share headers of a hospital's key, in the order in which they arrived."""
        with self._transaction() as database:
            rows = database.execute(_HEADERS, (verify_key, at_most)).fetchall()
        return [canonical.parse(Signed, data, what="share header") for (data,) in reversed(rows)]

    def choose(self, slot: Slot, hospitals: tuple[str, ...]) -> int:
        """Commit to the one set that is summed for a slot; returns the vectors' length.

        Raises:
            Refused: if another set was chosen before, or a share of this one is not here.
        """
        with self._transaction() as database:
            release = database.execute(_RELEASE, slot.key).fetchone()
            require(
                release is None or release[0] == " ".join(hospitals),
                "One sum is released for a round, and it was for another set of hospitals: "
                "ask for that set.",
                error=Refused,
            )
            shares = database.execute(_SHARES, slot.key).fetchall()
            lengths = [length for hospital, length, _ in shares if hospital in hospitals]
            require(
                len(lengths) == len(hospitals),
                f"All shares of the set must be here, and {len(lengths)} of {len(hospitals)} are: "
                "send the others, or ask all aggregators for a smaller set.",
                error=Refused,
            )
            if release is None:
                database.execute(_ADD_RELEASE, (*slot.key, " ".join(hospitals)))
        return int(lengths[0])

    def payload(self, slot: Slot, hospital: str) -> memoryview:
        """One hospital's payload."""
        return view(self._files.share(slot, hospital))

    def finish(self, slot: Slot, signed: Signed, total: memoryview) -> None:
        """Keep a sum and its signed header for good, then delete the round's shares."""
        with self._files.incoming(total) as incoming:
            self._files.settle(incoming, self._files.sum(slot))
        with self._transaction() as database:
            database.execute(_FINISH, (canonical.encode(signed), *slot.key))
            shares = database.execute(_SHARES, slot.key).fetchall()
        for hospital, *_ in shares:
            self._files.share(slot, hospital).unlink(missing_ok=True)

    def finished(self, slot: Slot) -> Signed | None:
        """A finished sum's signed header."""
        with self._transaction() as database:
            row = database.execute(_RELEASE, slot.key).fetchone()
        if row is None or row[1] is None:
            return None
        signed: Signed = canonical.parse(Signed, row[1], what="sum header")
        return signed

    def total(self, slot: Slot) -> memoryview:
        """A finished sum's bytes."""
        return view(self._files.sum(slot))

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, one at a time, on disk when it is over."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")


def _connect(path: Path) -> sqlite3.Connection:
    sound = False
    try:
        database = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA foreign_keys = ON")
        answers = [
            database.execute(f"PRAGMA {name}").fetchone()
            for name in ("quick_check", "user_version")
        ]
        sound = answers == [("ok",), (3,)]
    except sqlite3.DatabaseError:
        sound = False
    require(
        sound,
        f"An aggregator's folder must hold a sound {DATABASE}: restore it, or start with an "
        "empty folder and new keys.",
        error=Unavailable,
    )
    return database


def _slot(row: tuple[str, ...]) -> Slot:
    return Slot(plan_hash=row[0], purpose=row[1], round=int(row[2]))  # type: ignore[arg-type]


def _holds(database: sqlite3.Connection, header: ShareHeader, signed: Signed) -> bool:
    slot = Slot.of(header)
    shares = database.execute(_SHARES, slot.key).fetchall()
    for hospital, _, held in shares:
        if hospital == header.hospital:
            first: Signed = canonical.parse(Signed, held, what="share header")
            require(
                first.message == signed.message,
                "A hospital gives one share for a round, and a different one is here already: "
                "send the same bytes as the first time.",
                error=Refused,
            )
            return True
    require(
        database.execute(_RELEASE, slot.key).fetchone() is None,
        "A share must arrive before its round's sum is released; this one is too late.",
        error=Refused,
    )
    require(
        all(length == header.length for _, length, _ in shares),
        "All shares of a round must have the same length; this one differs from the first.",
        error=Refused,
    )
    return False
