"""Files on the researcher's disk that grow with what arrives: sealed shares, sums of pieces.

A vector passes through a file, not through memory, and a download goes on where the file ends. A
file has no name, so that nothing is left of it when the process ends, however it ends.
"""

import hashlib
import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from syft_code.errors import SharingError


class GrowingFile:
    """A nameless file that grows at its end, with the size and the SHA-256 of what it holds.

    Raises:
        SharingError: if the disk takes no more.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.size_bytes = 0
        with _explained():
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed in __exit__

    def __enter__(self) -> "GrowingFile":
        return self

    def __exit__(self, *problem: object) -> None:
        self._file.close()

    def write(self, data: bytes) -> None:
        """Add bytes at the end."""
        rest = memoryview(data)
        with _explained():
            while rest:
                written = self._file.write(rest)
                self._digest.update(rest[:written])
                self.size_bytes += written
                rest = rest[written:]

    @property
    def sha256(self) -> str:
        """The hash of all that was written (hex)."""
        return self._digest.hexdigest()

    def view(self) -> memoryview:
        """The bytes, read from disk as they are used; they stay readable when the file is closed."""
        if not self.size_bytes:
            return memoryview(b"")
        with _explained():
            return memoryview(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ))


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise SharingError(
            f"This machine must have room in {tempfile.gettempdir()} for what a round carries, and "
            f"writing there failed ({problem.strerror}): free some, or set TMPDIR to another folder."
        ) from None
