"""The files that a vault keeps beside its database: cohorts and their features, states between rounds, sealed shares.

Each file is named by the SHA-256 of its bytes and is valid once the database names it, so a
transaction decides which files count, and those that no row names can be deleted at any time. Features
are the exception: no row names them, and they live as long as their cohort.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from datasites import private_files
from datasites.vault.client_state import ClientStateStore
from datasites.vault.cohort_files import CohortFiles
from datasites.vault.db.tickets import TicketStore
from datasites.vault.db.vault_database import VaultDatabase
from datasites.vault.worker.encoded_cohorts import EncodedCohorts
from datasites.vault.worker.training_worker import TrainingWorker
from syft_code import canonical
from syft_code.runtime import durable_files
from syft_code.runtime.encoder_files import EncoderFiles


class ShareFiles:
    """The sealed shares of finished rounds."""

    def __init__(self, folder: Path, tickets: TicketStore) -> None:
        self._folder = private_files.private_folder(folder)
        self._tickets = tickets

    def write(self, share: bytes) -> str:
        """Write a share durably; return its hash. No ticket names it yet, so nobody gets it."""
        digest = canonical.sha256(share)
        durable_files.write_durably(self._folder / digest, share)
        return digest

    def read(self, digest: str) -> bytes:
        """The share with this hash; raise `Unavailable` if its file is gone."""
        return private_files.read_required(self._folder / digest)

    def delete_unused(self) -> None:
        """Delete the shares that no ticket names."""
        private_files.delete_except(self._folder, self._tickets.shares())


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultFiles:
    """The folders of one vault."""

    cohorts: CohortFiles
    encoded: EncodedCohorts
    client_states: ClientStateStore
    shares: ShareFiles

    @classmethod
    def open(
        cls, folder: Path, db: VaultDatabase, worker: TrainingWorker, encoders: EncoderFiles
    ) -> Self:
        """The folders inside a vault's folder; new ones if there are none yet."""
        return cls(
            cohorts=CohortFiles(folder / "cohorts", db.assets),
            encoded=EncodedCohorts(folder / "encoded", worker, encoders),
            client_states=ClientStateStore(folder / "client_state", db.approvals),
            shares=ShareFiles(folder / "sealed", db.tickets),
        )

    def delete_unused(self) -> None:
        """Delete what an earlier run of the vault left behind."""
        self.delete_unused_cohorts()
        self.shares.delete_unused()
        self.client_states.delete_unused()

    def delete_unused_cohorts(self) -> None:
        """Delete every cohort that no asset has any more, and all that an encoder has said of it."""
        self.encoded.delete_except_of(self.cohorts.delete_unused())
