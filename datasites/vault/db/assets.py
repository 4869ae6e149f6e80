"""What a vault remembers of its assets: their versions, and the patients who have left."""

from dataclasses import dataclass

from datasites.protocol.owner_actions import PublishAsset
from datasites.vault.db.database import Database
from syft_code import canonical
from syft_code.errors import Refused

SCHEMA = """
CREATE TABLE IF NOT EXISTS asset (
    name TEXT NOT NULL, version INTEGER NOT NULL, publication TEXT NOT NULL,
    cohort_sha256 TEXT NOT NULL, PRIMARY KEY (name, version)
) STRICT;
CREATE TABLE IF NOT EXISTS removed_patient (token TEXT PRIMARY KEY) STRICT;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAsset:
    """One version of an asset: how it was published, and the hash of its cohort's file now."""

    publication: PublishAsset
    version: int
    cohort_sha256: str


class AssetStore:
    """The tables of assets and of the patients who left."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.create(SCHEMA)

    def publish(self, publication: PublishAsset, *, cohort_sha256: str) -> int:
        """Keep an asset's next version, and return its number."""
        text = canonical.text(publication)
        with self._database.writing() as connection:
            version = self.newest_version(publication.asset) + 1
            row = (publication.asset, version, text, cohort_sha256)
            connection.execute("INSERT INTO asset VALUES (?, ?, ?, ?)", row)
        return version

    def newest_version(self, asset: str) -> int:
        """The number of an asset's newest version, 0 if it was never published."""
        query = "SELECT COALESCE(MAX(version), 0) FROM asset WHERE name = ?"
        with self._database.reading() as connection:
            return int(connection.execute(query, (asset,)).fetchone()[0])

    def versions(self, asset: str) -> list[StoredAsset]:
        """Every version of an asset, oldest first."""
        query = (
            "SELECT publication, version, cohort_sha256 FROM asset WHERE name = ? ORDER BY version"
        )
        with self._database.reading() as connection:
            rows = connection.execute(query, (asset,)).fetchall()
        return [
            StoredAsset(
                publication=canonical.parse(PublishAsset, text.encode(), what="publication"),
                version=version,
                cohort_sha256=digest,
            )
            for text, version, digest in rows
        ]

    def names(self) -> list[str]:
        """The names of all assets, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT name FROM asset WHERE version = 1 ORDER BY rowid")
            return [name for (name,) in rows]

    def newest(self, name: str) -> StoredAsset:
        """An asset's newest version; raise `Refused` if there is none."""
        versions = self.versions(name)
        if not versions:
            raise Refused(f"There is no asset {name!r} here: see the catalogue.")
        return versions[-1]

    def cohorts_by_version(self) -> dict[tuple[str, int], str]:
        """The hash of the cohort file of each asset's version."""
        with self._database.reading() as connection:
            rows = connection.execute("SELECT name, version, cohort_sha256 FROM asset").fetchall()
        return {(name, version): digest for name, version, digest in rows}

    def cohorts(self) -> set[str]:
        """The hashes of every cohort file that an asset still has."""
        return set(self.cohorts_by_version().values())

    def replace_cohort(self, asset: str, version: int, *, cohort_sha256: str) -> None:
        """A version of an asset has another file from now on."""
        with self._database.writing() as connection:
            connection.execute(
                "UPDATE asset SET cohort_sha256 = ? WHERE name = ? AND version = ?",
                (cohort_sha256, asset, version),
            )

    def remove_patient(self, token: str) -> None:
        """Keep a patient out of everything that is published from now on."""
        with self._database.writing() as connection:
            connection.execute("INSERT OR IGNORE INTO removed_patient VALUES (?)", (token,))

    def removed_patients(self) -> set[str]:
        """The patients who have left."""
        with self._database.reading() as connection:
            return {token for (token,) in connection.execute("SELECT token FROM removed_patient")}
