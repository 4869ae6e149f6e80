"""What a process logs: one JSON object a line, for people and for whoever collects logs.

    {"at": "2026-03-01T09:00:00.123Z", "level": "warning", "logger": "consilium.vault", "said": "..."}

Guarantee: of an error that nobody foresaw a line holds its kind and where it was raised, never its words,
    which may quote what was read: a cell of a table, a key. The lines fill at most two files.
Does not protect: what the code says itself is written as it is; it names studies, assets and hospitals.
"""

import json
import logging
import traceback
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

MAX_FILE_BYTES = 10 * 2**20
MAX_FRAMES = 30


class JsonFormatter(logging.Formatter):
    """One line of JSON for each record."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "said": record.getMessage(),
        }
        problem = record.exc_info[1] if record.exc_info else None
        if problem is not None:
            frames = traceback.extract_tb(problem.__traceback__)[-MAX_FRAMES:]
            line["error"] = type(problem).__name__
            line["where"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return json.dumps(line, ensure_ascii=False)


def handler(path: Path) -> logging.Handler:
    """A handler that writes to a file of this user's, which a full disk costs lines and nothing else."""
    logging.raiseExceptions = False
    found = RotatingFileHandler(path, maxBytes=MAX_FILE_BYTES, backupCount=1, encoding="utf-8")
    found.setFormatter(JsonFormatter())
    return found


OURS = ("consilium", "federation")


def start(path: Path, *, level: str = "info") -> None:
    """Log into a file from now on: lines of our own loggers from a level on, of libraries warnings."""
    logging.basicConfig(level=logging.WARNING, handlers=[handler(path)], force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(level.upper())
