"""The fingerprints of every cohort that was ever published here, patients who left included.

They are keyed (`datasites.data.fingerprints`), so that the table alone tells nobody's values.
"""

import hashlib

from nacl.signing import SigningKey

from datasites.vault.db.database import Database
from syft_code import canonical

SCHEMA = """
CREATE TABLE IF NOT EXISTS fingerprints (
    number INTEGER PRIMARY KEY, asset TEXT NOT NULL, version INTEGER NOT NULL, data BLOB NOT NULL,
    UNIQUE (asset, version)
) STRICT;
"""


class FingerprintStore:
    """The table, and the key by which its fingerprints are taken."""

    def __init__(self, database: Database, key: SigningKey) -> None:
        self._database = database
        self.key = hashlib.blake2b(bytes(key), digest_size=32, person=b"fingerprints").digest()
        database.create(SCHEMA)

    def keep(self, asset: str, version: int, data: bytes) -> str:
        """Keep those of an asset's version, and return their hash."""
        with self._database.writing() as connection:
            row = (asset, version, data)
            connection.execute(
                "INSERT INTO fingerprints (asset, version, data) VALUES (?, ?, ?)", row
            )
        return canonical.sha256(data)

    def every(self) -> list[bytes]:
        """Those of each cohort, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT data FROM fingerprints ORDER BY number").fetchall()
        return [data for (data,) in rows]

    def hashes(self) -> dict[tuple[str, int], str]:
        """The hash of those of each asset's version."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT asset, version, data FROM fingerprints").fetchall()
        return {(asset, version): canonical.sha256(data) for asset, version, data in rows}
