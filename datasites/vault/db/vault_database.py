"""Everything that a vault must not forget: one SQLite file, and a store for each kind of record."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from nacl.signing import SigningKey

from datasites.vault.db.actions import ActionStore
from datasites.vault.db.approvals import ApprovalStore
from datasites.vault.db.assets import AssetStore
from datasites.vault.db.audit_log import AuditLog
from datasites.vault.db.database import Database
from datasites.vault.db.fingerprints import FingerprintStore
from datasites.vault.db.ledger import Ledger
from datasites.vault.db.tickets import TicketStore


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultDatabase:
    """The stores of one vault, all in `database`: what one transaction writes commits together."""

    database: Database
    actions: ActionStore
    approvals: ApprovalStore
    assets: AssetStore
    fingerprints: FingerprintStore
    tickets: TicketStore
    ledger: Ledger
    log: AuditLog

    @classmethod
    def open(cls, folder: Path, *, hospital: str, key: SigningKey) -> Self:
        """The database in a vault's folder; a new one if there is none yet."""
        database = Database(folder / "vault.db")
        return cls(
            database=database,
            actions=ActionStore(database),
            approvals=ApprovalStore(database),
            assets=AssetStore(database),
            fingerprints=FingerprintStore(database, key),
            tickets=TicketStore(database),
            ledger=Ledger(database),
            log=AuditLog(database, hospital=hospital, key=key, head_path=folder / "log_head"),
        )
