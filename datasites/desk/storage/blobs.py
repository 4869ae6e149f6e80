"""Content-addressed blobs on the front desk's disk: weights, plans, sealed shares.

A blob is named by its SHA-256 and appears under its name only when it is whole and the
hash is right. Before that it grows under a name of its own, so that an upload that was
cut goes on where it stopped. Each account has a room of its own, a folder named by its key:
what one member stores, no other fills, deletes or reads.

Does not protect: the total is less than the rooms of many members together; then who comes
    first is served.
"""

import hashlib
import re
import threading
from pathlib import Path

from datasites import private_files
from syft_code.errors import InvalidMessage, Refused, require
from syft_code.plans.plan import MAX_PLAN_BYTES
from syft_code.runtime import durable_files

MAX_BLOB_BYTES = 512 * 2**20
MAX_MEMBER_BYTES = 2**30
MAX_STORED_BYTES = 4 * 2**30
_BLOCK_BYTES = 4096
_NAME = re.compile(r"[0-9a-f]{64}")


class BlobStore:
    """The blobs of one front desk. One process changes them, one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = private_files.private_folder(folder)
        self._space = _Space(folder)

    def path(self, name: str) -> Path:
        """Where a whole blob stands, in whatever room; raise `Refused` if it is not here."""
        _check_name(name)
        found = next((path for path in self._folder.glob(f"*/{name}") if path.is_file()), None)
        if found is None:
            raise _missing()
        return found

    def plan(self, name: str) -> bytes:
        """The bytes of a plan; raise `Refused` if they are not here, or too many to be one."""
        path = self.path(name)
        size = path.stat().st_size
        require(
            size <= MAX_PLAN_BYTES,
            f"A plan may have at most {MAX_PLAN_BYTES:,} bytes, the one that was sent has {size:,}.",
            error=Refused,
        )
        return path.read_bytes()

    def room(self, account: str) -> "AccountBlobs":
        """The room of an account key (hex)."""
        _check_name(account)
        return AccountBlobs(self._folder / account, self._space)


class _Space:
    """What each room takes of the disk: read from it once, then counted; `changing` is held."""

    def __init__(self, folder: Path) -> None:
        self.changing = threading.Lock()
        self._folder = folder
        self._known: dict[str, int] | None = None

    def check(self, room: str, more_bytes: int) -> None:
        """Raise `Refused` if a room or all of them have no place for so many bytes more."""
        used = self._used()
        require(
            used.get(room, 0) + more_bytes <= MAX_MEMBER_BYTES,
            f"A member's blobs may have {MAX_MEMBER_BYTES} bytes together: delete those of "
            "finished rounds.",
            error=Refused,
        )
        require(
            sum(used.values()) + more_bytes <= MAX_STORED_BYTES,
            "The front desk's room for blobs is full: delete those of finished rounds, or ask "
            "the data owner.",
            error=Refused,
        )

    def charge(self, room: str, more_bytes: int) -> None:
        """Count bytes that a room is about to take, or to give back if they are negative."""
        used = self._used()
        used[room] = used.get(room, 0) + more_bytes

    def _used(self) -> dict[str, int]:
        if self._known is None:
            self._known = {
                room.name: sum(_charged(entry.stat().st_size) for entry in room.iterdir())
                for room in self._folder.iterdir()
                if room.is_dir()
            }
        return self._known


class AccountBlobs:
    """One account's blobs."""

    def __init__(self, folder: Path, space: _Space) -> None:
        self._folder = folder
        self._space = space

    def size(self, name: str) -> int | None:
        """The size of a whole blob, None if it is not here."""
        path = self._path(name)
        return path.stat().st_size if path.is_file() else None

    def received(self, name: str) -> int:
        """How many bytes of a blob are here, whole or not: where an upload goes on."""
        whole = self.size(name)
        return _size(self._partial(name)) if whole is None else whole

    def path(self, name: str) -> Path:
        """Where a whole blob of this room stands; raise `Refused` if it is not here."""
        if self.size(name) is None:
            raise _missing()
        return self._path(name)

    def append(self, name: str, chunk: bytes, *, offset: int) -> int:
        """Add bytes to an upload at its end, and return how many are here now."""
        with self._space.changing:
            here = self.received(name)
            require(
                offset == here and self.size(name) is None,
                f"An upload goes on at byte {here}, not at {offset}: ask for the size and go on "
                "there.",
                error=InvalidMessage,
            )
            after = here + len(chunk)
            require(
                after <= MAX_BLOB_BYTES,
                f"A blob may have at most {MAX_BLOB_BYTES} bytes.",
                error=InvalidMessage,
            )
            more_bytes = _charged(after) - (_charged(here) if self._partial(name).exists() else 0)
            self._take(more_bytes)
            with self._partial(name).open("ab") as file:
                file.write(chunk)
        return after

    def finish(self, name: str, *, size_bytes: int) -> None:
        """Give a whole upload its name; forget it if its hash is another's."""
        with self._space.changing:
            partial = self._partial(name)
            if self.size(name) is not None or self.received(name) < size_bytes:
                return
            with partial.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest == name:
                partial.replace(self._path(name))
                return
            self._remove(partial)
        raise InvalidMessage("A blob's bytes must have the hash that names it: upload it again.")

    def put(self, name: str, data: bytes) -> None:
        """Keep a blob that came from the vault, under its hash."""
        with self._space.changing:
            if self.size(name) is None:
                self._take(_charged(len(data)))
                durable_files.write_durably(self._path(name), data)

    def delete(self, name: str) -> None:
        """Forget a blob, whole or not."""
        with self._space.changing:
            self._remove(self._path(name))
            self._remove(self._partial(name))

    def _take(self, more_bytes: int) -> None:
        self._space.check(self._folder.name, more_bytes)
        self._space.charge(self._folder.name, more_bytes)
        private_files.private_folder(self._folder)

    def _remove(self, path: Path) -> None:
        if path.is_file():
            self._space.charge(self._folder.name, -_charged(_size(path)))
            path.unlink()

    def _path(self, name: str) -> Path:
        _check_name(name)
        return self._folder / name

    def _partial(self, name: str) -> Path:
        return self._path(name).with_suffix(".part")


def _charged(size_bytes: int) -> int:
    """What a file takes on the disk: whole blocks, at least one, so that tiny ones count too."""
    return max(-(-size_bytes // _BLOCK_BYTES), 1) * _BLOCK_BYTES


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _check_name(name: str) -> None:
    require(
        _NAME.fullmatch(name) is not None,
        "A blob's name must be its SHA-256, 64 lower-case hexadecimal digits.",
        error=InvalidMessage,
    )


def _missing() -> Refused:
    return Refused("There is no such blob here: upload it (again).")
