"""Which account started a round: only it may read the round's state and fetch its sealed shares.

A ticket is a hash of plan, purpose and round, so who knows the plan can compute it. The front
desk writes down to whom it gave one, as an empty file, and answers nobody else.
"""

import re
from pathlib import Path

from datasites import private_files
from syft_code.errors import Refused, require

_NAME = re.compile(r"[0-9a-f]{1,64}")


class TicketOwners:
    """The tickets that one front desk gave, by account key (hex)."""

    def __init__(self, folder: Path) -> None:
        self._folder = private_files.private_folder(folder)

    def give(self, ticket: str, account: str) -> None:
        """Write down that an account got a ticket."""
        private_files.private_folder(self._folder / account)
        (self._folder / account / ticket).touch(mode=0o600)

    def check(self, ticket: str, account: str) -> None:
        """Raise `Refused` unless the account got this ticket here."""
        require(
            _NAME.fullmatch(ticket) is not None and (self._folder / account / ticket).exists(),
            "There is no such ticket here for this account: start the round again, which changes "
            "nothing if it runs.",
            error=Refused,
        )
