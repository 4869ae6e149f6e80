"""The vectors on an aggregator's disk: one file for each share and each sum, raw bytes.

    HOME/shares/PLAN/PURPOSE-ROUND-NAME   one hospital's payload: noise to whoever has it alone
    HOME/sums/PLAN/PURPOSE-ROUND          one partial sum
    HOME/incoming/                        files that are being written

Does not protect: blocks that a disk keeps after a file is deleted.
"""

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from federation.durable import move_durably, sync_folder, write_synced
from syft_code.errors import Unavailable, require
from syft_code.messages import Purpose, ReleaseCall, ShareHeader

RESERVE_BYTES = 64 * 1024 * 1024
"""Disk space that stays free, so that sums of what is here can still be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One vector to be summed: what was trained or evaluated in one round of one study."""

    plan_hash: str
    purpose: Purpose
    round: int

    @classmethod
    def of(cls, message: ShareHeader | ReleaseCall) -> "Slot":
        """The slot that a message is about."""
        return cls(plan_hash=message.plan_hash, purpose=message.purpose, round=message.round)

    @property
    def key(self) -> tuple[str, str, int]:
        """The first columns of its rows."""
        return self.plan_hash, self.purpose, self.round


class VectorFiles:
    """Shares and sums below one folder. Names come from checked plans: none can leave it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        for folder in ("shares", "sums", "incoming"):
            (home / folder).mkdir(mode=0o700, exist_ok=True)

    def share(self, slot: Slot, hospital: str) -> Path:
        """Where a hospital's payload lies."""
        name = f"{slot.purpose}-{slot.round}-{hospital}"
        return self._home / "shares" / slot.plan_hash / name

    def sum(self, slot: Slot) -> Path:
        """Where a slot's partial sum lies."""
        return self._home / "sums" / slot.plan_hash / f"{slot.purpose}-{slot.round}"

    @contextmanager
    def incoming(self, data: bytes | memoryview) -> Iterator[Path]:
        """Bytes on disk under a passing name, for `settle`; deleted if they were not settled."""
        require(
            shutil.disk_usage(self._home).free > len(data) + RESERVE_BYTES,
            "This aggregator's disk must have room for the vector and has not: ask its operator.",
            error=Unavailable,
        )
        path = self._home / "incoming" / os.urandom(16).hex()
        try:
            write_synced(path, data)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def settle(self, incoming: Path, target: Path) -> None:
        """Give bytes on disk their lasting name, durably."""
        if not target.parent.is_dir():
            target.parent.mkdir(mode=0o700)
            sync_folder(target.parent.parent)
        move_durably(incoming, target)

    def tidy(self, *, shares: Collection[Path], sums: Collection[Path]) -> None:
        """At start: delete what is not needed, and miss what is.

        Raises:
            Unavailable: if a share or a sum that this aggregator answers for is gone.
        """
        for folder, needed in (("incoming", ()), ("shares", shares), ("sums", sums)):
            present = {path for path in (self._home / folder).rglob("*") if path.is_file()}
            for path in present.difference(needed):
                path.unlink()
            require(
                present.issuperset(needed),
                "An aggregator's folder must hold every share and sum that it answers for, and "
                "one is gone: restore it; it can't be made anew.",
                error=Unavailable,
            )


def view(path: Path) -> memoryview:
    """A file's bytes, read from disk as they are used."""
    return np.memmap(path, np.uint8, mode="r").data
