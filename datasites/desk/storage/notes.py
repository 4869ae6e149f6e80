"""Notes on a code request: the owner's question or shown reason, the researcher's answer.

They stand beside PySyft, one file of JSON lines for each plan. Two processes write them, the
owner's and the front desk's: each adds a whole line at the end while it holds the file's lock.

Does not protect: notes are neither encrypted nor signed. An attacker who owns the front desk can read
    and write them, so no decision hangs on one. Everybody who submitted a plan reads its notes.
"""

import fcntl
import os
import time
from pathlib import Path

from datasites import private_files
from syft_code import canonical
from syft_code.errors import InvalidMessage, Refused, require
from syft_code.plans.notes import Author, Note, check_text
from syft_code.plans.roster import HEX_KEY

MAX_NOTES = 50
"""Notes on one plan; each side may fill half of them."""


class Notes:
    """The notes of one hospital, in the front desk's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = private_files.private_folder(folder)

    def add(self, plan_hash: str, *, author: Author, text: str) -> Note:
        """Write a note at the end.

        Raises:
            InvalidMessage: if the text is empty, too long or holds control characters.
            Refused: if the author has said enough on this plan.
        """
        check_text(text, what="A note")
        note = Note(author=author, text=text, at_unix_s=int(time.time()))
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
        descriptor = os.open(self._path(plan_hash), flags, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            here = file.read()
            mine = sum(other.author == author for other in _parse(here))
            require(
                mine < MAX_NOTES // 2,
                f"Each side may write {MAX_NOTES // 2} notes on one plan, and these are written: "
                "go on by other means.",
                error=Refused,
            )
            end_cut_line = b"" if not here or here.endswith(b"\n") else b"\n"
            file.write(end_cut_line + canonical.encode(note) + b"\n")
            os.fsync(file.fileno())
        return note

    def read(self, plan_hash: str) -> tuple[Note, ...]:
        """A plan's notes, the oldest first; none if nobody wrote one."""
        path = self._path(plan_hash)
        return _parse(path.read_bytes()) if path.exists() else ()

    def _path(self, plan_hash: str) -> Path:
        require(
            HEX_KEY.fullmatch(plan_hash) is not None,
            "A plan is named by its SHA-256, 64 lower-case hexadecimal digits.",
            error=InvalidMessage,
        )
        return self._folder / f"{plan_hash}.jsonl"


def _parse(lines: bytes) -> tuple[Note, ...]:
    """The notes of a file; a line that a crash cut is left out."""
    notes: list[Note] = []
    for line in lines.splitlines():
        try:
            notes.append(canonical.parse(Note, line, what="note"))
        except InvalidMessage:
            continue
    return tuple(notes)
