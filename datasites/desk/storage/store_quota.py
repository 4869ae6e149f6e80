"""What each account has put into PySyft's store, which never gives anything back.

PySyft keeps what a call brings for as long as the hospital's folder stands. So a call is counted
before PySyft sees it, whatever becomes of it there, and an account's count outlives a restart.
"""

import threading
from pathlib import Path

from datasites import private_files
from syft_code import canonical
from syft_code.errors import Refused, require
from syft_code.runtime import durable_files

MAX_OBJECTS = 2000
MAX_BYTES = 64 * 2**20


@canonical.message
class StoredByAccount:
    """What one account has put into PySyft's store so far."""

    objects: int
    size_bytes: int


class StoreQuota:
    """The counts of one front desk, a file for each account."""

    def __init__(self, folder: Path) -> None:
        self._folder = private_files.private_folder(folder)
        self._counting = threading.Lock()

    def charge(self, account: str, size_bytes: int) -> None:
        """Count one object more of an account key (hex); raise `Refused` if it has enough."""
        with self._counting:
            before = self.used(account)
            after = StoredByAccount(
                objects=before.objects + 1, size_bytes=before.size_bytes + size_bytes
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
            return StoredByAccount(objects=0, size_bytes=0)
        count: StoredByAccount = canonical.parse(
            StoredByAccount, path.read_bytes(), what="count of an account's objects"
        )
        return count
