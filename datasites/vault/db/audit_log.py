"""The hospital's audit log: append-only, each entry chained to the one before and signed.

The log is a table of the vault's database, so one transaction commits an entry with the action or
the spending that it records. `syft_code.evidence.audit_chain` defines entry and export, and
checks both.
"""

import logging
import secrets
import threading
import time
from pathlib import Path

from nacl.signing import SigningKey

from datasites import private_files
from datasites.vault.db.database import Database
from syft_code import canonical
from syft_code.errors import InvalidInput, Unavailable, require
from syft_code.evidence import audit_chain
from syft_code.evidence.audit_chain import Entry
from syft_code.plans.messages import LogHead, Signed
from syft_code.runtime import durable_files

LOG = logging.getLogger("consilium.vault")
SCHEMA = """
CREATE TABLE IF NOT EXISTS log (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, message TEXT NOT NULL, signature TEXT NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS log_is_kept BEFORE DELETE ON log
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER IF NOT EXISTS log_is_fixed BEFORE UPDATE ON log
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
"""


class AuditLog:
    """The log of one hospital.

    Guarantee: an entry that was changed, removed or reordered breaks the chain or a signature;
        a tail that was cut is missing where an anchor stands, in shares and certificates. An
        anchor reveals nothing of the log: each entry holds a random salt, so no guess at what was
        written since the last anchor can be tried against the next one.
    Does not protect: entries since the last anchor, against a thief of the hospital's key.
    """

    def __init__(
        self, database: Database, *, hospital: str, key: SigningKey, head_path: Path
    ) -> None:
        self._database = database
        self._head_path = head_path
        self._hospital = hospital
        self._written: LogHead | None = None
        self._heads = threading.Lock()
        self._key = key
        database.create(SCHEMA)
        database.after_writing(self._write_head)

    def append(self, kind: str, **facts: str) -> LogHead:
        """Add an entry, in the transaction under way if there is one; return the new head."""
        with self._database.writing() as connection:
            signed, head = audit_chain.entry_after(
                self._last(),
                kind=kind,
                facts=facts,
                at_unix_s=int(time.time()),
                salt=secrets.token_hex(16),
                key=self._key,
            )
            row = (head.number, kind, signed.message, signed.signature)
            connection.execute("INSERT INTO log VALUES (?, ?, ?, ?)", row)
            return head

    def head(self) -> LogHead:
        """The head of the log as it stands; raise `Unavailable` if it is empty."""
        last = self._last()
        if last is None:
            raise Unavailable("The audit log must begin with the vault's start, and is empty.")
        return last

    def count(self, kind: str) -> int:
        """How many entries are of a kind."""
        with self._database.reading() as connection:
            query = "SELECT COUNT(*) FROM log WHERE kind = ?"
            return int(connection.execute(query, (kind,)).fetchone()[0])

    def has(self, kind: str, **facts: str) -> bool:
        """Whether an entry of this kind with exactly these facts was written before."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT message FROM log WHERE kind = ?", (kind,)).fetchall()
        return any(_entry(message).facts == facts for (message,) in rows)

    def export(self) -> bytes:
        """The whole log for anybody to check: `audit_chain.verify`."""
        with self._database.reading() as connection:
            rows = connection.execute(
                "SELECT message, signature FROM log ORDER BY number"
            ).fetchall()
        entries = [Signed(message=message, signature=signature) for message, signature in rows]
        return audit_chain.export(self._hospital, self._key, entries)

    def entries(self) -> list[Entry]:
        """All entries, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT message FROM log ORDER BY number").fetchall()
        return [_entry(message) for (message,) in rows]

    def reaches_its_head(self) -> bool:
        """Whether the log still has the entry that was the last when its head was written down."""
        if not self._head_path.exists():
            return True
        head = private_files.read_required(self._head_path).decode("ascii", "replace")
        with self._database.reading() as connection:
            rows = connection.execute("SELECT message FROM log ORDER BY number DESC").fetchall()
        return any(canonical.sha256(message.encode()) == head for (message,) in rows)

    def _write_head(self) -> None:
        """Beside the database, after each transaction: a shorter log is noticed at a start.

        What the transaction did stands whatever happens here: a head that could not be written is
        written after the next one, and until then the file names an earlier entry of this log.
        """
        with self._heads:
            last = self._last()
            if last is None or last == self._written:
                return
            try:
                durable_files.write_durably(self._head_path, last.sha256.encode("ascii"))
            except OSError:
                LOG.exception("the log's head could not be written")
            else:
                self._written = last

    def check(self) -> None:
        """Raise `Unavailable` unless the log is an unbroken, signed chain."""
        if self._last() is None:
            return
        try:
            problems = audit_chain.verify(
                self.export(), verify_key=bytes(self._key.verify_key).hex()
            ).problems
        except InvalidInput as problem:
            problems = (str(problem),)
        require(
            not problems,
            "The vault's audit log must be an unbroken chain of signed entries, and is not: "
            f"{' '.join(problems[:3])} Put the vault's folder back from a copy.",
            error=Unavailable,
        )

    def _last(self) -> LogHead | None:
        with self._database.reading() as connection:
            query = "SELECT number, message, signature FROM log ORDER BY number DESC LIMIT 1"
            row = connection.execute(query).fetchone()
        if row is None:
            return None
        signed = Signed(message=row[1], signature=row[2])
        return LogHead(number=row[0], sha256=audit_chain.entry_sha256(signed))


def _entry(message: str) -> Entry:
    entry: Entry = canonical.parse(Entry, message.encode(), what="log entry")
    return entry
