"""Decisions that were shown and not signed yet: what is signed is what was shown."""

import secrets
from dataclasses import dataclass, field

from datasites.owner.decision_forms import TOO_OLD, PendingDecision
from syft_code.errors import NotApproved

MOST = 100


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
            NotApproved: if there is none.
        """
        found = self._waiting.pop(number, None)
        if found is None:
            raise NotApproved(TOO_OLD)
        return found
