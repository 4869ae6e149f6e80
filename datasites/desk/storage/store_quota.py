"""What each account has put into PySyft's store, which never gives anything back.

PySyft keeps what a call brings for as long as the hospital's folder stands. So a call is counted
before PySyft sees it, whatever becomes of it there, and an account's count outlives a restart.
A call carries no time. So each that was counted is remembered, and passes once: whoever recorded it
uses up nothing of its account's room by sending it again.
"""

import threading
from pathlib import Path
from typing import Annotated

from datasites import private_files
from syft_code import canonical
from syft_code.errors import Refused, require
from syft_code.runtime import durable_files

MAX_OBJECTS = 2000
MAX_BYTES = 64 * 2**20


@canonical.message
class StoredByAccount:
    """What one account has put into PySyft's store so far."""

    calls: Annotated[tuple[canonical.ShortText, ...], canonical.at_most(MAX_OBJECTS)]
    """The SHA-256 of each call that was counted; it puts one object there."""
    size_bytes: int

    @property
    def objects(self) -> int:
        """How many objects it has put there."""
        return len(self.calls)


class StoreQuota:
    """The counts of one front desk, a file for each account."""

    def __init__(self, folder: Path) -> None:
        self._folder = private_files.private_folder(folder)
        self._counting = threading.Lock()

    def charge(self, account: str, call: bytes) -> None:
        """Count a call that an account key (hex) signed.

        Raises:
            Refused: if it was counted before, or the account has put enough there.
        """
        with self._counting:
            before, name = self.used(account), canonical.sha256(call)
            require(
                name not in before.calls,
                "This call was made here before, and one that stores something passes once: make "
                "it anew.",
                error=Refused,
            )
            after = StoredByAccount(
                calls=(*before.calls, name), size_bytes=before.size_bytes + len(call)
            )
            require(
                after.objects <= MAX_OBJECTS and after.size_bytes <= MAX_BYTES,
                f"An account may put {MAX_OBJECTS:,} objects and {MAX_BYTES:,} bytes into this "
                f"hospital's PySyft, and this one has put {before.objects:,} and "
                f"{before.size_bytes:,} there: ask its data owner for another account.",
                error=Refused,
            )
            durable_files.write_durably(self._folder / account, canonical.encode(after))

    def used(self, account: str) -> StoredByAccount:
        """What an account key (hex) has put there."""
        path = self._folder / account
        if not path.exists():
            return StoredByAccount(calls=(), size_bytes=0)
        count: StoredByAccount = canonical.parse(
            StoredByAccount, path.read_bytes(), what="count of an account's objects"
        )
        return count
