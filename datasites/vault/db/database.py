"""One SQLite file, written durably: where the vault keeps what it must not forget.

Records, ledger and audit log share it, so that what belongs together is committed
together: a round's price, its ticket and its line in the log, or none of them.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Database:
    """The file. Every use opens it anew, so any thread and any process may use it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mine = threading.local()
        self._after: list[Callable[[], None]] = []

    def after_writing(self, action: Callable[[], None]) -> None:
        """Do something after each transaction that was committed."""
        self._after.append(action)

    def create(self, schema: str) -> None:
        """Make the tables of a schema that are not there yet."""
        with self._opened() as connection:
            connection.executescript(schema)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to ask; inside `writing`, the one that writes."""
        current: sqlite3.Connection | None = getattr(self._mine, "connection", None)
        if current is not None:
            yield current
            return
        with self._opened() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, the only one that writes; all of it is on disk afterwards, or nothing.

        A `writing` inside another on the same thread belongs to the outer one.
        """
        current: sqlite3.Connection | None = getattr(self._mine, "connection", None)
        if current is not None:
            yield current
            return
        with self._opened() as connection:
            connection.execute("BEGIN IMMEDIATE")
            self._mine.connection = connection
            try:
                yield connection
                connection.execute("COMMIT")
            finally:
                self._mine.connection = None  # closing rolls back what was not committed
        for action in self._after:
            action()

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=60, isolation_level=None)
        try:
            # FULL may lose a commit, and with it what was spent, to a power cut right after it.
            connection.execute("PRAGMA synchronous = EXTRA")
            yield connection
        finally:
            connection.close()
