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
CREATE TABLE IF NOT EXISTS struck (token TEXT PRIMARY KEY) STRICT;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAsset:
    """One version of an asset: how it was published, and the hash of its cohort's file now."""

    publication: PublishAsset
    version: int
    cohort_sha256: str


class AssetTables:
    """The tables of assets."""

    def __init__(self, store: Database) -> None:
        self._store = store
        store.create(SCHEMA)

    def publish(self, publication: PublishAsset, *, cohort_sha256: str) -> int:
        """Keep an asset's next version, and return its number."""
        text = canonical.text(publication)
        with self._store.writing() as database:
            version = self.newest_version(publication.asset) + 1
            row = (publication.asset, version, text, cohort_sha256)
            database.execute("INSERT INTO asset VALUES (?, ?, ?, ?)", row)
        return version

    def newest_version(self, asset: str) -> int:
        """The number of an asset's newest version, 0 if it was never published."""
        query = "SELECT COALESCE(MAX(version), 0) FROM asset WHERE name = ?"
        with self._store.reading() as database:
            return int(database.execute(query, (asset,)).fetchone()[0])

    def versions(self, asset: str) -> list[StoredAsset]:
        """Every version of an asset, oldest first."""
        query = (
            "SELECT publication, version, cohort_sha256 FROM asset WHERE name = ? ORDER BY version"
        )
        with self._store.reading() as database:
            rows = database.execute(query, (asset,)).fetchall()
        return [
            StoredAsset(
                publication=canonical.parse(PublishAsset, text.encode(), what="publication"),
                version=version,
                cohort_sha256=digest,
            )
            for text, version, digest in rows
        ]

    def assets(self) -> list[str]:
        """The names of all assets, oldest first."""
        with self._store.reading() as database:
            rows = database.execute("SELECT name FROM asset WHERE version = 1 ORDER BY rowid")
            return [name for (name,) in rows]

    def asset(self, name: str) -> StoredAsset:
        """An asset's newest version; raise `Refused` if there is none."""
        versions = self.versions(name)
        if not versions:
            raise Refused(f"There is no asset {name!r} here: see the catalogue.")
        return versions[-1]

    def stored_cohorts(self) -> dict[tuple[str, int], str]:
        """The hash of the cohort file of each asset's version."""
        with self._store.reading() as database:
            rows = database.execute("SELECT name, version, cohort_sha256 FROM asset").fetchall()
        return {(name, version): digest for name, version, digest in rows}

    def cohorts(self) -> set[str]:
        """The hashes of every cohort file that an asset still has."""
        return set(self.stored_cohorts().values())

    def replace_cohort(self, asset: str, version: int, *, cohort_sha256: str) -> None:
        """A version of an asset has another file from now on."""
        with self._store.writing() as database:
            database.execute(
                "UPDATE asset SET cohort_sha256 = ? WHERE name = ? AND version = ?",
                (cohort_sha256, asset, version),
            )

    def remove_patient(self, token: str) -> None:
        """Keep a patient out of everything that is published from now on."""
        with self._store.writing() as database:
            database.execute("INSERT OR IGNORE INTO struck VALUES (?)", (token,))

    def struck(self) -> set[str]:
        """The patients who have left."""
        with self._store.reading() as database:
            return {token for (token,) in database.execute("SELECT token FROM struck")}
