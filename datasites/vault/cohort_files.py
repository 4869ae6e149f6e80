"""The cohort files of a vault, each named by the SHA-256 of its bytes."""

import contextlib
import hashlib
from pathlib import Path

from datasites import private_files
from datasites.vault.db.assets import AssetStore
from syft_code import canonical
from syft_code.errors import NotApproved, require
from syft_code.runtime import durable_files


class CohortFiles:
    """A folder of cohorts. A name is a promise about the bytes, checked before each round."""

    def __init__(self, folder: Path, assets: AssetStore) -> None:
        self._folder = private_files.private_folder(folder)
        self._assets = assets
        self._seen: dict[str, tuple[int, ...]] = {}

    def keep(self, body: bytes) -> str:
        """Write a cohort down durably, and return its hash."""
        digest = canonical.sha256(body)
        durable_files.write_durably(self.path(digest), body)
        self.check(digest)
        return digest

    def read_ahead(self) -> None:
        """Check all cohorts now: the first round of one would else wait as long as its bytes need.

        What is wrong with one is said to the round that needs it.
        """
        for digest in self._assets.cohorts():
            with contextlib.suppress(NotApproved):
                self.check(digest)

    def path(self, digest: str) -> Path:
        """Where a cohort stands."""
        return self._folder / f"{digest}.safetensors"

    def check(self, digest: str) -> None:
        """Raise `NotApproved` unless a cohort's file still has the bytes that were published."""
        path = self.path(digest)
        mark = _mark(path)
        if mark and self._seen.get(digest) == mark:
            return  # the kernel's change time has not moved since the bytes were read
        digest_now = ""
        if mark:
            with path.open("rb") as file:
                digest_now = hashlib.file_digest(file, "sha256").hexdigest()
        require(
            digest_now == digest,
            "The asset's file must be the bytes that its owner published, and is not: it was "
            "changed or removed after that. Publish the asset again.",
            error=NotApproved,
        )
        self._seen[digest] = mark

    def delete_unused(self) -> set[str]:
        """Delete every cohort that no asset has any more; the hashes of those that are left."""
        used = self._assets.cohorts()
        private_files.delete_except(self._folder, {self.path(digest).name for digest in used})
        return used


def _mark(path: Path) -> tuple[int, ...]:
    """What changes when a file does, as the kernel keeps it; empty if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
