"""What an aggregator's operator may know of its studies: public metadata, and how much lies here."""

import hashlib
import sqlite3
from pathlib import Path

from federation.aggregator.storage.vector_files import VectorFiles
from syft_code import canonical
from syft_code.errors import InvalidInput, require
from syft_code.plans.plan import Plan

SHORT = 12
LEAST_DIGITS = 4
_STUDIES = "SELECT plan_hash, plan FROM study ORDER BY rowid"
_SUMMED = (
    "SELECT count(*), coalesce(sum(purpose = 'train'), 0) FROM choice "
    "WHERE plan_hash = ? AND summed"
)
_SHARES = "SELECT count(*) FROM share WHERE plan_hash = ?"
_WIPED = "SELECT finished FROM wipe WHERE plan_hash = ?"
_COUNTS = "SELECT (SELECT count(*) FROM study), (SELECT count(*) FROM wipe)"
_HEADERS = "SELECT signed_header FROM share WHERE plan_hash = ?"


@canonical.message
class StudyFacts:
    """One study: training rounds and evaluations whose sum was worked out, shares taken so far.

    `size_bytes` is what lies here of it now.
    """

    plan_hash: str
    study: str
    rounds: int
    summed_rounds: int
    summed_evaluations: int
    shares: int
    size_bytes: int
    wiped: bool

    @property
    def state(self) -> str:
        """In one word or two."""
        return "wiped" if self.wiped else "open"


@canonical.message
class StudyRecords:
    """Several of them, as an answer."""

    studies: tuple[StudyFacts, ...]


def counts(database: sqlite3.Connection) -> tuple[int, int]:
    """How many studies were opened here, and how many of them are wiped."""
    found: tuple[int, int] = database.execute(_COUNTS).fetchone()
    return found


def studies(database: sqlite3.Connection, files: VectorFiles) -> tuple[StudyFacts, ...]:
    """All studies, in the order in which they were opened."""
    rows = database.execute(_STUDIES).fetchall()
    return tuple(_facts(database, files, plan_hash, plan) for plan_hash, plan in rows)


def headers_sha256(database: sqlite3.Connection, plan_hash: str) -> tuple[int, str]:
    """How many shares of a study were ever taken, and a hash of their signed headers.

    The hash is SHA-256 over the canonical signed headers, sorted, each followed by a newline:
    who has a hospital's headers can tell whether they are among those that were wiped.
    """
    headers = sorted(bytes(row[0]) for row in database.execute(_HEADERS, (plan_hash,)))
    return len(headers), hashlib.sha256(b"".join(header + b"\n" for header in headers)).hexdigest()


def named(found: tuple[StudyFacts, ...], text: str) -> StudyFacts:
    """The study whose hash begins so.

    Raises:
        InvalidInput: if none does, or more than one.
    """
    prefix = text.strip().lower()
    require(
        LEAST_DIGITS <= len(prefix) <= 64 and set(prefix) <= set("0123456789abcdef"),
        f"--study must be the first {LEAST_DIGITS} to 64 hexadecimal digits of a study's hash: "
        "`aggregator studies` lists them.",
        error=InvalidInput,
    )
    matching = [one for one in found if one.plan_hash.startswith(prefix)]
    require(
        len(matching) == 1,
        f"--study {prefix[:SHORT]} must name one study here, and names {len(matching)}: "
        "`aggregator studies` lists them.",
        error=InvalidInput,
    )
    return matching[0]


def _facts(
    database: sqlite3.Connection, files: VectorFiles, plan_hash: str, encoded: bytes
) -> StudyFacts:
    plan = Plan.decode(encoded)
    summed, trained = database.execute(_SUMMED, (plan_hash,)).fetchone()
    shares, sums = files.of_study(plan_hash)
    return StudyFacts(
        plan_hash=plan_hash,
        study=plan.study,
        rounds=plan.rounds,
        summed_rounds=trained,
        summed_evaluations=summed - trained,
        shares=database.execute(_SHARES, (plan_hash,)).fetchone()[0],
        size_bytes=sum(_size(path) for path in (*shares, *sums)),
        wiped=database.execute(_WIPED, (plan_hash,)).fetchone() is not None,
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # summed or wiped at this moment
        return 0
