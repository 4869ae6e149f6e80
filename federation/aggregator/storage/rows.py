"""What the rows of an aggregator's database say, and the rules that they alone decide.

Each function works in a transaction that is under way.
"""

import functools
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from federation.aggregator.storage import db_schema
from federation.aggregator.storage.vector_files import RoundKey
from syft_code import canonical
from syft_code.errors import Refused, require
from syft_code.plans.messages import ShareHeader, Signed
from syft_code.plans.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCommitment:
    """The one set for a round key; `signed` is the SetChoice, once it was signed."""

    hospitals: tuple[str, ...]
    signed: Signed | None
    summed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WipeRecord:
    """What was deleted of a study: shares (whole or in part), sums, and their bytes together."""

    plan_hash: str
    shares: int
    sums: int
    size_bytes: int


decoded_plan = functools.lru_cache(maxsize=64)(Plan.decode)


def signed_of(data: bytes) -> Signed:
    """A signed message as it was kept."""
    signed: Signed = canonical.parse(Signed, data, what="signed message")
    return signed


def round_key_of(row: Sequence[str]) -> RoundKey:
    """The round key in a row's first columns."""
    return RoundKey(plan_hash=row[0], purpose=row[1], round=int(row[2]))  # type: ignore[arg-type]


def commitment_of(database: sqlite3.Connection, round_key: RoundKey) -> SetCommitment | None:
    """The set that was chosen for a round key."""
    row = database.execute(db_schema.CHOICE, round_key.key).fetchone()
    if row is None:
        return None
    signed = signed_of(row[1]) if row[1] else None
    return SetCommitment(hospitals=tuple(row[0].split()), signed=signed, summed=bool(row[2]))


def wiped_of(database: sqlite3.Connection, plan_hash: str) -> WipeRecord:
    """What was deleted of a study that was wiped."""
    shares, sums, size_bytes, _ = database.execute(db_schema.WIPE, (plan_hash,)).fetchone()
    return WipeRecord(plan_hash=plan_hash, shares=shares, sums=sums, size_bytes=size_bytes)


def check_not_wiped(database: sqlite3.Connection, plan_hash: str) -> None:
    """Raise `Refused` if the study was wiped."""
    require(
        database.execute(db_schema.WIPE, (plan_hash,)).fetchone() is None,
        "The study was wiped here: its shares and sums are gone for good, and it can't go on.",
        error=Refused,
    )


def is_taken(database: sqlite3.Connection, header: ShareHeader, signed: Signed) -> bool:
    """Whether exactly this share is here, whole; raise `Refused` if it can't be taken any more."""
    round_key = RoundKey.of(header)
    check_not_wiped(database, round_key.plan_hash)
    for hospital, held in database.execute(db_schema.SHARES, round_key.key).fetchall():
        if hospital == header.hospital:
            require(
                signed_of(held).message == signed.message,
                "A hospital gives one share for a round, and a different one is here already: "
                "send the same bytes as the first time.",
                error=Refused,
            )
            return True
    require(
        database.execute(db_schema.CHOICE, round_key.key).fetchone() is None,
        "A share must arrive before its round's set is chosen; this one is too late.",
        error=Refused,
    )
    return False
