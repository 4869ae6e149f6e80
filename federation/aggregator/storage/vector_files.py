"""The vectors on an aggregator's disk: one file for each, raw bytes.

    HOME/incoming/SHA256                      a sealed share, as far as it has arrived
    HOME/incoming/*.new                       a vector that is being written
    HOME/shares/PLAN/PURPOSE-ROUND-NAME       one hospital's payload: noise to whoever has it alone
    HOME/sums/PLAN/PURPOSE-ROUND-GROUP-PIECE  the sum of one piece over one group

Does not protect: blocks that a disk keeps after a file is deleted.
"""

import errno
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from syft_code.errors import Unavailable, require
from syft_code.plans.messages import Purpose, ReleaseCall, SetChoice, ShareHeader, SumHeader
from syft_code.runtime.durable_files import move_durably, sync_folder
from syft_code.secret_sharing import sharing

FOLDERS = ("incoming", "shares", "sums")
RESERVE_BYTES = 64 * 1024 * 1024
"""Disk space that stays free, for the database and the logs."""
FULL = (
    "This aggregator's disk must have room for this and has not: its operator must make room; "
    "nothing is lost, ask again then."
)
_FULL_FILE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # EFBIG: a limit on files, as by ulimit
_FULL_DATABASE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundKey:
    """One vector to be summed: what was trained or evaluated in one round of one study."""

    plan_hash: str
    purpose: Purpose
    round: int

    @classmethod
    def of(cls, message: ShareHeader | ReleaseCall | SetChoice | SumHeader) -> "RoundKey":
        """The round key that a message is about."""
        return cls(plan_hash=message.plan_hash, purpose=message.purpose, round=message.round)

    @property
    def key(self) -> tuple[str, str, int]:
        """The first columns of its rows."""
        return self.plan_hash, self.purpose, self.round


@contextmanager
def room_needed(home: Path) -> Iterator[None]:
    """What fails because an aggregator's disk is full fails as `Unavailable`, for its operator."""
    try:
        yield
    except OSError as problem:
        if problem.errno in _FULL_FILE:
            raise Unavailable(FULL) from None
        raise
    except sqlite3.OperationalError as problem:
        code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
        crowded = shutil.disk_usage(home).free < RESERVE_BYTES
        if code == sqlite3.SQLITE_FULL or (code in _FULL_DATABASE and crowded):
            raise Unavailable(FULL) from None
        raise


class VectorFiles:
    """The vectors below one folder. Names come from checked plans: none can leave it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        for folder in FOLDERS:
            (home / folder).mkdir(mode=0o700, exist_ok=True)

    def incoming(self, name: str) -> Path:
        """Where a sealed share with this name grows."""
        return self._home / "incoming" / name

    def arrived_bytes(self, name: str) -> int:
        """How much of a sealed share is here."""
        return _size(self.incoming(name))

    def share(self, round_key: RoundKey, hospital: str) -> Path:
        """Where a hospital's payload lies."""
        name = f"{round_key.purpose}-{round_key.round}-{hospital}"
        return self._home / "shares" / round_key.plan_hash / name

    def sum(self, round_key: RoundKey, group: int, piece: int) -> Path:
        """Where the sum of a piece over a group lies."""
        name = f"{round_key.purpose}-{round_key.round}-{group}-{piece}"
        return self._home / "sums" / round_key.plan_hash / name

    def size_bytes(self) -> int:
        """What all vectors together take."""
        return sum(_size(path) for folder in FOLDERS for path in _files(self._home / folder))

    def require_room(self, size_bytes: int) -> None:
        """Raise `Unavailable` if the disk can't take so many bytes more."""
        free = shutil.disk_usage(self._home).free
        require(free > size_bytes + RESERVE_BYTES, FULL, error=Unavailable)

    @contextmanager
    def written(self, chunks: Iterable[bytes], size_bytes: int) -> Iterator[Path]:
        """Bytes on disk under a passing name, for `settle`; deleted if they were not settled."""
        with self._passing(size_bytes) as (path, descriptor):
            for chunk in chunks:
                write_all(descriptor, chunk)
            os.fsync(descriptor)
            yield path

    @contextmanager
    def zeros(self, length: int, ring_bits: int) -> Iterator[tuple[Path, sharing.Ring]]:
        """A vector of zeros that lives on disk, for `settle`; sync it with `sync`."""
        dtype = sharing.ring_dtype(ring_bits)
        size_bytes = length * dtype.itemsize
        with self._passing(size_bytes) as (path, descriptor):
            os.posix_fallocate(descriptor, 0, size_bytes)  # a full disk fails here, not later
            yield path, np.asarray(np.memmap(path, dtype, mode="r+", shape=(length,)))

    def settle(self, passing: Path, target: Path) -> None:
        """Give bytes on disk their lasting name, durably."""
        if not target.parent.is_dir():
            target.parent.mkdir(mode=0o700)
            sync_folder(target.parent.parent)
        move_durably(passing, target)

    def of_study(self, plan_hash: str) -> tuple[list[Path], list[Path]]:
        """A study's payloads and sums."""
        return (
            _files(self._home / "shares" / plan_hash),
            _files(self._home / "sums" / plan_hash),
        )

    def settled_bytes(self, plan_hash: str) -> Counter[str]:
        """What a study's payloads take, by hospital, and "" for its sums."""
        shares, sums = self.of_study(plan_hash)
        found: Counter[str] = Counter({"": sum(_size(path) for path in sums)})
        for path in shares:
            _purpose, _round, hospital = path.name.split("-", 2)
            found[hospital] += _size(path)
        return found

    def delete_durably(self, paths: Iterable[Path]) -> None:
        """Delete files for good: their names are off the disk when this returns."""
        for path in paths:
            path.unlink(missing_ok=True)
        for folder in FOLDERS:
            for parent in (self._home / folder, *(self._home / folder).iterdir()):
                if parent.is_dir():
                    sync_folder(parent)

    def tidy(self, **needed: Collection[Path]) -> None:
        """At start: delete what is not needed, and miss what is; an upload may not have begun.

        Raises:
            Unavailable: if a share or a sum that this aggregator answers for is gone.
        """
        for folder in FOLDERS:
            present, wanted = set(_files(self._home / folder)), set(needed[folder])
            for path in present - wanted:
                path.unlink()
            require(
                folder == "incoming" or present >= wanted,
                "An aggregator's folder must hold every share and sum that it answers for, and "
                "one is gone, which can't be made anew: start with an empty folder and new keys.",
                error=Unavailable,
            )

    @contextmanager
    def _passing(self, size_bytes: int) -> Iterator[tuple[Path, int]]:
        self.require_room(size_bytes)
        path = self._home / "incoming" / f"{os.urandom(16).hex()}.new"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            yield path, descriptor
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)


def write_all(descriptor: int, data: bytes) -> None:
    """Write bytes to the last one, or raise; what fitted stays."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync(path: Path) -> None:
    """Force a file's content to disk, also what was written through memory."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def view(file: Path | int) -> memoryview:
    """A file's bytes, read from disk as they are used; of an open one also once it is deleted."""
    if isinstance(file, Path):
        return np.memmap(file, np.uint8, mode="r").data
    with open(file, "rb", closefd=False) as opened:
        return np.memmap(opened, np.uint8, mode="r").data


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _files(folder: Path) -> list[Path]:
    """All files below a folder; none if it is not there."""
    found = []
    for root, _, names in os.walk(folder):
        found += [Path(root) / name for name in names]
    return found
