"""The tables of an aggregator's database, and every statement that touches them.

A round key is (plan_hash, purpose, round). `share.signed_header`, `choice` and `sum` stay for good;
`upload` names the file in which a share that is not whole grows.
"""

import sqlite3
from pathlib import Path

from federation.aggregator.storage.vector_files import VectorFiles
from syft_code.errors import Unavailable, require
from syft_code.runtime.durable_files import sync_folder

DATABASE = "state.sqlite"
VERSION = 4

_SCHEMA = f"""
CREATE TABLE study (plan_hash TEXT PRIMARY KEY, plan BLOB NOT NULL) STRICT;
CREATE TABLE wipe (
    plan_hash TEXT PRIMARY KEY REFERENCES study, shares INTEGER NOT NULL, sums INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL, finished INTEGER NOT NULL
) STRICT;
CREATE TABLE share (
    plan_hash TEXT NOT NULL REFERENCES study, purpose TEXT NOT NULL, round INTEGER NOT NULL,
    hospital TEXT NOT NULL, signed_header BLOB NOT NULL, verify_key TEXT NOT NULL,
    PRIMARY KEY (plan_hash, purpose, round, hospital)
) STRICT;
CREATE INDEX share_by_key ON share (verify_key);
CREATE TABLE upload (
    plan_hash TEXT NOT NULL REFERENCES study, purpose TEXT NOT NULL, round INTEGER NOT NULL,
    hospital TEXT NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (plan_hash, purpose, round, hospital)
) STRICT;
CREATE TABLE choice (
    plan_hash TEXT NOT NULL REFERENCES study, purpose TEXT NOT NULL, round INTEGER NOT NULL,
    hospitals TEXT NOT NULL, signed BLOB, summed INTEGER NOT NULL,
    PRIMARY KEY (plan_hash, purpose, round)
) STRICT;
CREATE TABLE sum (
    plan_hash TEXT NOT NULL REFERENCES study, purpose TEXT NOT NULL, round INTEGER NOT NULL,
    group_number INTEGER NOT NULL, piece INTEGER NOT NULL, signed_header BLOB NOT NULL,
    PRIMARY KEY (plan_hash, purpose, round, group_number, piece)
) STRICT;
PRAGMA user_version = {VERSION};
"""

_OF_ROUND_KEY = "WHERE plan_hash = ? AND purpose = ? AND round = ?"
_NOT_WIPED = "plan_hash NOT IN (SELECT plan_hash FROM wipe)"
_NOT_SUMMED = (
    f"{_NOT_WIPED} AND (plan_hash, purpose, round) NOT IN "  # noqa: S608
    "(SELECT plan_hash, purpose, round FROM choice WHERE summed)"
)

ADD_STUDY = "INSERT INTO study VALUES (?, ?)"
PLAN = "SELECT plan FROM study WHERE plan_hash = ?"

ADD_SHARE = "INSERT INTO share VALUES (?, ?, ?, ?, ?, ?)"
SHARES = f"SELECT hospital, signed_header FROM share {_OF_ROUND_KEY}"  # noqa: S608
WAITING = f"SELECT plan_hash, purpose, round, hospital FROM share WHERE {_NOT_SUMMED}"  # noqa: S608
NEWEST_HEADERS = "SELECT signed_header FROM share WHERE verify_key = ? ORDER BY rowid DESC LIMIT ?"
OPEN_SLOTS = (
    f"SELECT plan_hash, purpose, round FROM share WHERE {_NOT_SUMMED} "  # noqa: S608
    f"UNION SELECT plan_hash, purpose, round FROM upload WHERE {_NOT_SUMMED}"
)

UPLOAD = f"SELECT name FROM upload {_OF_ROUND_KEY} AND hospital = ?"  # noqa: S608
SET_UPLOAD = "INSERT OR REPLACE INTO upload VALUES (?, ?, ?, ?, ?)"
DROP_UPLOAD = f"DELETE FROM upload {_OF_ROUND_KEY} AND hospital = ? AND name = ?"  # noqa: S608
UPLOADS_OF = f"SELECT name FROM upload {_OF_ROUND_KEY}"  # noqa: S608
DROP_UPLOADS_OF = f"DELETE FROM upload {_OF_ROUND_KEY}"  # noqa: S608
UPLOADS_OF_STUDY = "SELECT name FROM upload WHERE plan_hash = ?"
HOSPITALS_UPLOADS = "SELECT hospital, name FROM upload WHERE plan_hash = ?"
DROP_UPLOADS_OF_STUDY = "DELETE FROM upload WHERE plan_hash = ?"
FORGET_UPLOADS = (
    f"DELETE FROM upload WHERE NOT ({_NOT_WIPED}) OR "  # noqa: S608
    "(plan_hash, purpose, round) IN (SELECT plan_hash, purpose, round FROM choice)"
)
UPLOADS = "SELECT name FROM upload"

ADD_CHOICE = "INSERT INTO choice VALUES (?, ?, ?, ?, NULL, 0)"
CHOICE = f"SELECT hospitals, signed, summed FROM choice {_OF_ROUND_KEY}"  # noqa: S608
SIGN_CHOICE = f"UPDATE choice SET signed = ? {_OF_ROUND_KEY}"  # noqa: S608
SUMMED = f"UPDATE choice SET summed = 1 {_OF_ROUND_KEY}"  # noqa: S608
ADD_SUM = "INSERT INTO sum VALUES (?, ?, ?, ?, ?, ?)"
SUM = f"SELECT signed_header FROM sum {_OF_ROUND_KEY} AND group_number = ? AND piece = ?"  # noqa: S608
SUMS = f"SELECT plan_hash, purpose, round, group_number, piece FROM sum WHERE {_NOT_WIPED}"  # noqa: S608

WIPE = "SELECT shares, sums, size_bytes, finished FROM wipe WHERE plan_hash = ?"
ADD_WIPE = "INSERT INTO wipe VALUES (?, ?, ?, ?, 0)"
FINISH_WIPE = "UPDATE wipe SET finished = 1 WHERE plan_hash = ?"
UNFINISHED_WIPES = "SELECT plan_hash FROM wipe WHERE NOT finished"


def create(home: Path) -> None:
    """First start: an empty store."""
    VectorFiles(home)
    database = sqlite3.connect(home / DATABASE, isolation_level=None)
    database.executescript(f"PRAGMA synchronous = EXTRA; BEGIN; {_SCHEMA} COMMIT;")
    database.close()
    sync_folder(home)


def connect(home: Path) -> sqlite3.Connection:
    """The database of a folder, for several threads under a lock; `Unavailable` if not sound."""
    sound = False
    try:
        database = sqlite3.connect(
            f"{(home / DATABASE).absolute().as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
        database.execute("PRAGMA synchronous = EXTRA")  # FULL may lose a commit to a power cut
        database.execute("PRAGMA foreign_keys = ON")
        answers = [
            database.execute(f"PRAGMA {name}").fetchone()
            for name in ("quick_check", "user_version")
        ]
        sound = answers == [("ok",), (VERSION,)]
    except sqlite3.DatabaseError:
        sound = False
    require(
        sound,
        f"An aggregator's folder must hold a sound {DATABASE} of this version: start with an empty "
        "folder and new keys. An older copy would forget what was promised since.",
        error=Unavailable,
    )
    return database
