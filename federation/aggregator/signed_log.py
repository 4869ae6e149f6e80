"""The aggregator's signed log: what it took part in, summed and wiped, for anybody to check.

Kept in the store's database, so an entry is committed with the action that it tells of. What an
entry and an export look like, and how anybody checks them, stands in `syft_code.evidence.audit_chain`:

    consilium aggregator log --config FILE --out LOG
    consilium audit verify LOG --key KEY         # the verify_key of its public.json

| kind         | facts                                                                      |
|--------------|----------------------------------------------------------------------------|
| started      | name, address, certificate_sha256, version                                 |
| study opened | plan_hash, study                                                           |
| set chosen   | plan_hash, purpose, round, hospitals                                       |
| sum released | plan_hash, purpose, round, piece, group, hospitals, sum_sha256             |
| study wiped  | plan_hash, study, shares, sums, size_bytes, headers_sha256                 |
"""

import secrets
import sqlite3
import time
from collections.abc import Mapping

from nacl.signing import SigningKey

from syft_code import canonical
from syft_code.errors import InvalidInput, Unavailable, require
from syft_code.evidence import audit_chain
from syft_code.evidence.audit_chain import Entry
from syft_code.plans.messages import LogHead, Signed

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS log (number INTEGER PRIMARY KEY, kind TEXT NOT NULL, "
    "message TEXT NOT NULL, signature TEXT NOT NULL) STRICT",
    "CREATE TRIGGER IF NOT EXISTS log_is_kept BEFORE DELETE ON log "
    "BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END",
    "CREATE TRIGGER IF NOT EXISTS log_is_fixed BEFORE UPDATE ON log "
    "BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END",
)
_LAST = "SELECT number, message, signature FROM log ORDER BY number DESC LIMIT 1"
_ALL = "SELECT message, signature FROM log ORDER BY number"
_OF_KIND = "SELECT message, signature FROM log WHERE kind = ? ORDER BY number DESC"


class AggregatorLog:
    """The log of one aggregator; each method works in a transaction that is under way.

    Guarantee: an entry that was changed, removed or reordered breaks the chain or a signature.
    Does not protect: against the operator, who holds the key: the entries are the aggregator's
        own word, and nobody else holds anchors to it.
    """

    def __init__(self, *, name: str, key: SigningKey) -> None:
        self._name = name
        self._key = key

    def prepare(self, database: sqlite3.Connection) -> None:
        """Make the table, unless it is there, and check the whole chain.

        Raises:
            Unavailable: if the log is not an unbroken chain signed with this aggregator's key.
        """
        for statement in _SCHEMA:
            database.execute(statement)
        if database.execute(_LAST).fetchone() is None:
            return
        verify_key = bytes(self._key.verify_key).hex()
        try:
            problems = audit_chain.verify(self.export(database), verify_key=verify_key).problems
        except InvalidInput as problem:
            problems = (str(problem),)
        require(
            not problems,
            "An aggregator's log must be an unbroken chain of entries that it signed, and is not: "
            f"{' '.join(problems[:1])} Somebody changed the folder: start with an empty one and "
            "new keys.",
            error=Unavailable,
        )

    def append(self, database: sqlite3.Connection, kind: str, facts: Mapping[str, str]) -> None:
        """Add an entry."""
        signed, head = audit_chain.entry_after(
            _head(database),
            kind=kind,
            facts=facts,
            at_unix_s=int(time.time()),
            salt=secrets.token_hex(16),
            key=self._key,
        )
        row = (head.number, kind, signed.message, signed.signature)
        database.execute("INSERT INTO log VALUES (?, ?, ?, ?)", row)

    def export(self, database: sqlite3.Connection) -> bytes:
        """The whole log, for anybody to check with `audit_chain.verify`."""
        rows = database.execute(_ALL)
        return audit_chain.export(
            self._name, self._key, (Signed(message=m, signature=s) for m, s in rows)
        )

    def newest(self, database: sqlite3.Connection, kind: str, *, plan_hash: str) -> Signed | None:
        """The last entry of a kind that is about a plan."""
        for message, signature in database.execute(_OF_KIND, (kind,)):
            entry: Entry = canonical.parse(Entry, message.encode(), what="log entry")
            if entry.facts.get("plan_hash") == plan_hash:
                return Signed(message=message, signature=signature)
        return None


def _head(database: sqlite3.Connection) -> LogHead | None:
    row = database.execute(_LAST).fetchone()
    if row is None:
        return None
    signed = Signed(message=row[1], signature=row[2])
    return LogHead(number=row[0], sha256=audit_chain.entry_sha256(signed))
