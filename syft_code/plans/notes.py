"""A note on a code request: what an owner asked or told, what a researcher answered."""

import unicodedata
from typing import Literal

from syft_code import canonical
from syft_code.errors import InvalidMessage, require

Author = Literal["owner", "researcher"]
MAX_TEXT = 2000
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of characters that steer a terminal or a line, or hide."""


@canonical.message
class Note:
    """One note, as both sides read it."""

    author: Author
    text: str
    at_unix_s: int


@canonical.message
class NoteList:
    """A plan's notes at one hospital, the oldest first."""

    notes: tuple[Note, ...]


@canonical.message
class NoteReply:
    """What a researcher sends: the text of a note."""

    text: str


def check_text(text: str, *, what: str) -> None:
    """Raise `InvalidMessage` unless a text is one paragraph that people can read.

    >>> check_text("Why 40 rounds?", what="A question")
    """
    require(
        len(text.strip()) >= 1 and len(text) <= MAX_TEXT,
        f"{what} must have 1 to {MAX_TEXT} characters, this one has {len(text)}.",
        error=InvalidMessage,
    )
    require(
        not any(unicodedata.category(character) in _UNSEEN for character in text),
        f"{what} must be one paragraph of plain text, without line breaks, control characters and "
        "invisible ones.",
        error=InvalidMessage,
    )
