"""PendingDecisions that were shown and not signed yet: what is signed is what was shown."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from datasites.owner.decisions import SignedApproval, SignedDecision
from syft_code.errors import NotApproved

KEPT_S = 600.0
MOST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingDecision:
    """One decision: `words` say all of what will be signed, `sign` signs it.

    `subject` is the hash of the plan (or the code) that it is on; `standing` is what it rested on when it
    was shown.
    """

    words: str
    button: str
    request_id: str
    subject: str
    standing: tuple[object, ...]
    sign: Callable[[], SignedApproval | SignedDecision]
    until: float = field(default_factory=lambda: time.monotonic() + KEPT_S)


@dataclass(kw_only=True)
class PendingDecisions:
    """By a random number each, which its confirmation names; for ten minutes, and once."""

    _waiting: dict[str, PendingDecision] = field(default_factory=dict)

    def add(self, pending: PendingDecision) -> str:
        """Keep a decision until it is confirmed; the oldest goes when there are too many."""
        while len(self._waiting) >= MOST:
            self._waiting.pop(next(iter(self._waiting)))
        number = secrets.token_urlsafe(16)
        self._waiting[number] = pending
        return number

    def take(self, number: str) -> PendingDecision:
        """The decision of this number, which is gone from here on.

        Raises:
            NotApproved: if there is none, or it is too old.
        """
        found = self._waiting.pop(number, None)
        if found is None or time.monotonic() > found.until:
            raise NotApproved(
                "What was shown must be signed within ten minutes, and once: open the request again and "
                "decide there. See there too whether it is signed already."
            )
        return found
