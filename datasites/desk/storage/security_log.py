"""What the front desk refused: one JSON line each, for the owner to read.

Guarantee: a line holds when, what kind, who, which path and the sentence that was answered;
    never a password, never a body. The lines fill at most two files of `MAX_FILE_BYTES`:
    the older half goes when both are full.
Does not protect: `who` of a request whose signature does not hold is what the sender claimed.
    A flood of refusals pushes older ones out.
"""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from syft_code import canonical
from syft_code.errors import InvalidMessage

MAX_FILE_BYTES = 5 * 2**20
MAX_WHO, MAX_PATH, MAX_SENTENCE = 80, 120, 300
_NAME, _OLDER = "refusals.jsonl", "refusals.1.jsonl"

EventKind = Literal["call", "request", "login"]
"""A PySyft call, an HTTP request beside PySyft or before it, an e-mail with a password."""


@canonical.message
class SecurityEvent:
    """One no; `who` is an account's key (hex) or an e-mail, empty if nobody said who."""

    at_unix_s: float
    kind: EventKind
    who: str
    path: str
    sentence: str


class SecurityLog:
    """The front desk's log of refusals, written by one process; `on_event` is told of each."""

    def __init__(self, desk_folder: Path, *, max_file_bytes: int = MAX_FILE_BYTES) -> None:
        self._folder = desk_folder
        self._max_file_bytes = max_file_bytes
        self._writing = threading.Lock()
        self.on_event: Callable[[EventKind], None] = lambda kind: None
        self._append(b"\n")  # ends a line that a crash cut

    def write(self, kind: EventKind, *, who: str, path: str, sentence: str) -> None:
        """Add one line; texts are cut."""
        refusal = SecurityEvent(
            at_unix_s=time.time(),
            kind=kind,
            who=_cut(who, MAX_WHO),
            path=_cut(path, MAX_PATH),
            sentence=_cut(sentence, MAX_SENTENCE),
        )
        with self._writing:
            self._append(canonical.encode(refusal) + b"\n")
        self.on_event(kind)

    def _append(self, line: bytes) -> None:
        path = self._folder / _NAME
        if path.exists() and path.stat().st_size + len(line) > self._max_file_bytes:
            path.replace(self._folder / _OLDER)
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


def _cut(text: str, most: int) -> str:
    """The beginning of a text, fit to be read back."""
    return text[:most].encode("utf-8", "replace").decode("utf-8")


def read_events(desk_folder: Path) -> list[SecurityEvent]:
    """What the front desk refused, the newest last; a line that is cut is left out."""
    found: list[SecurityEvent] = []
    for name in (_OLDER, _NAME):
        path = desk_folder / name
        for line in path.read_bytes().splitlines() if path.exists() else []:
            try:
                found.append(
                    canonical.parse(SecurityEvent, line, what="line of the log of refusals")
                )
            except InvalidMessage:
                continue
    return found
