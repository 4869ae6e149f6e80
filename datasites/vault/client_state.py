"""What a hospital keeps of a plan between its rounds: one file for each plan that keeps anything.

With error feedback it is the residual, with SCAFFOLD the hospital's own control variate, with local
normalisation its own scales and shifts, with an adaptive clip norm how far that has moved
(`syft_code.local_training.client_update`); other plans keep nothing. A file of float64 is named by its
SHA-256, and takes force in the transaction that releases the round's shares: a round that is cut
runs again from the old state, and no state advances twice or without its shares.

Guarantee: the file is made of noised updates and public numbers alone; it never leaves the vault.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasites import private_files
from datasites.vault.db.approvals import ApprovalStore
from syft_code import canonical
from syft_code.arrays import Vector
from syft_code.errors import NotApproved, require
from syft_code.plans.messages import Purpose
from syft_code.plans.plan import Plan
from syft_code.runtime import durable_files
from syft_code.secret_sharing.vector_layout import VectorLayout

LOG = logging.getLogger("consilium.vault")
CHANGED = (
    "What this hospital keeps of the plan between rounds must be the bytes that its last round "
    "left, and is not: the file was changed or removed. The data owner can revoke the plan and "
    "approve it again; it then goes on with nothing kept."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientState:
    """What a plan keeps between two rounds; `sha256` names its file, empty before the first."""

    sha256: str
    numbers: Vector


class ClientStateStore:
    """The files, and which of them is in force for which plan."""

    def __init__(self, folder: Path, approvals: ApprovalStore) -> None:
        self._folder = private_files.private_folder(folder)
        self._approvals = approvals

    def read(self, plan: Plan, purpose: Purpose) -> ClientState:
        """What the last round of a plan kept; zeros before the first one.

        Raises:
            NotApproved: if the file has not the bytes that were written, or is gone.
        """
        size = VectorLayout.of(plan).kept_length(purpose)
        digest = self._approvals.client_states().get(plan.hash, "") if size else ""
        if not digest:
            return ClientState(sha256="", numbers=np.zeros(size))
        try:
            data = (self._folder / digest).read_bytes()
        except OSError:
            data = b""
        require(
            canonical.sha256(data) == digest and len(data) == 8 * size, CHANGED, error=NotApproved
        )
        return ClientState(sha256=digest, numbers=np.frombuffer(data, "<f8").astype(np.float64))

    def write(self, stored: Vector) -> str:
        """Write a state down durably; it is in force once the records name its hash."""
        data = stored.astype("<f8").tobytes()
        digest = canonical.sha256(data)
        durable_files.write_durably(self._folder / digest, data)
        return digest

    def delete_unused(self) -> None:
        """Delete every file that no plan has any more; one that stays is deleted at a start."""
        try:
            private_files.delete_except(self._folder, set(self._approvals.client_states().values()))
        except OSError:
            LOG.exception("an old state between rounds was not deleted")
