"""Content-addressed blobs on the front desk's disk: weights, plans, sealed shares.

A blob is named by its SHA-256 and appears under its name only when it is whole and the
hash is right. Before that it grows under a name of its own, so that an upload that was
cut goes on where it stopped.
"""

import hashlib
import re
import threading
from pathlib import Path

from datasites import keeping
from syft_code.errors import InvalidMessage, Refused, require

MAX_BLOB_BYTES = 512 * 2**20
MAX_STORED_BYTES = 4 * 2**30
_NAME = re.compile(r"[0-9a-f]{64}")


class Blobs:
    """The blobs of one front desk. One thread at a time changes them."""

    def __init__(self, folder: Path) -> None:
        self._folder = keeping.private_folder(folder)
        self._changing = threading.Lock()

    def size(self, name: str) -> int | None:
        """The size of a whole blob, None if it is not here."""
        path = self._path(name)
        return path.stat().st_size if path.is_file() else None

    def received(self, name: str) -> int:
        """How many bytes of a blob are here, whole or not: where an upload goes on."""
        whole = self.size(name)
        if whole is not None:
            return whole
        partial = self._partial(name)
        return partial.stat().st_size if partial.is_file() else 0

    def path(self, name: str) -> Path:
        """Where a whole blob stands; raise `Refused` if it is not here."""
        path = self._path(name)
        require(path.is_file(), "There is no such blob here: upload it (again).", error=Refused)
        return path

    def append(self, name: str, chunk: bytes, *, offset: int) -> int:
        """Add bytes to an upload at its end, and return how many are here now."""
        with self._changing:
            here = self.received(name)
            require(
                offset == here and self.size(name) is None,
                f"An upload goes on at byte {here}, not at {offset}: ask for the size and go on "
                "there.",
                error=InvalidMessage,
            )
            require(
                here + len(chunk) <= MAX_BLOB_BYTES,
                f"A blob may have at most {MAX_BLOB_BYTES} bytes.",
                error=InvalidMessage,
            )
            require(
                self._stored() + len(chunk) <= MAX_STORED_BYTES,
                "The front desk's room for blobs is full: delete those of finished rounds.",
                error=Refused,
            )
            with self._partial(name).open("ab") as file:
                file.write(chunk)
        return here + len(chunk)

    def finish(self, name: str, *, size_bytes: int) -> None:
        """Give a whole upload its name; forget it if its hash is another's."""
        with self._changing:
            partial = self._partial(name)
            if self.size(name) is not None or self.received(name) < size_bytes:
                return
            with partial.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest == name:
                partial.replace(self._path(name))
                return
            partial.unlink()
        raise InvalidMessage("A blob's bytes must have the hash that names it: upload it again.")

    def put(self, name: str, data: bytes) -> None:
        """Keep a blob that came from the vault, under its hash."""
        with self._changing:
            keeping.write_private(self._path(name), data)

    def delete(self, name: str) -> None:
        """Forget a blob, whole or not."""
        with self._changing:
            self._path(name).unlink(missing_ok=True)
            self._partial(name).unlink(missing_ok=True)

    def _stored(self) -> int:
        return sum(entry.stat().st_size for entry in self._folder.iterdir())

    def _path(self, name: str) -> Path:
        require(
            _NAME.fullmatch(name) is not None,
            "A blob's name must be its SHA-256, 64 lower-case hexadecimal digits.",
            error=InvalidMessage,
        )
        return self._folder / name

    def _partial(self, name: str) -> Path:
        return self._path(name).with_suffix(".part")
