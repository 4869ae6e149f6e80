"""What a hospital keeps of a plan between its rounds, and what it shares of a round with it.

    noised update ─ norm bound ─▶ compression, or SCAFFOLD ─▶ values to share
                                   ▲ what the last round kept ─▶ what this one keeps

With error feedback it is the residual, with SCAFFOLD the hospital's own control variate; other
plans keep nothing. It is one file of float64 for each plan, named by its SHA-256, and takes force
in the transaction that releases the round's shares: a round that is cut runs again from the old
state, and no state advances twice or without its shares.

Guarantee: the file is made of noised updates and public numbers alone (`compression`,
    `control_variates`); it never leaves the vault.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasites import keeping
from datasites.vault.airlock import Vector
from datasites.vault.records import Records
from syft_code import canonical, compression, control_variates, robust
from syft_code.errors import NotApproved, require
from syft_code.messages import Purpose
from syft_code.plan import Plan
from syft_code.recipes import parameter_count

LOG = logging.getLogger("consilium.vault")
CHANGED = (
    "What this hospital keeps of the plan between rounds must be the bytes that its last round "
    "left, and is not: the file was changed or removed. The data owner can revoke the plan and "
    "approve it again; it then goes on with nothing kept."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What a plan keeps between two rounds; `sha256` names its file, empty before the first."""

    sha256: str
    numbers: Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What one round of training shares, and what the hospital keeps for the next one."""

    values: Vector
    kept: Vector | None = None


def contribution(
    plan: Plan, hospital: str, round_number: int, update: Vector, *, common: Vector, kept: Vector
) -> Contribution:
    """Bound, compress or correct the trained part's noised update.

    `common` is the researcher's control variate (SCAFFOLD), `kept` what the last round left; each
    is empty where the plan has none. All of it is post-processing of the update.

    Does not protect: with error feedback, `max_update_norm` bounds each round's update, and a
    round's values hold what earlier rounds kept back too; all rounds so far share at most so many
    times the bound, and what rounding adds.
    """
    if plan.max_update_norm is not None:
        update = robust.clip_update(update, plan.max_update_norm)
    if plan.algorithm == "scaffold":
        change = control_variates.change(
            update,
            common,
            steps=plan.dp_sgd.steps,
            learning_rate=plan.optimizer.learning_rate,
        )
        return Contribution(values=np.concatenate([update, change]), kept=kept + change)
    if compression.has_memory(plan):
        values, residual = compression.keep_back(plan, hospital, round_number, update + kept)
        return Contribution(values=values, kept=residual)
    return Contribution(values=compression.pick(plan, round_number, update))


def divided(plan: Plan, purpose: Purpose, broadcast: bytes) -> tuple[bytes, Vector]:
    """What a round call brings: the weights (float32 bytes), then the common control variate."""
    end = 4 * parameter_count(plan.recipe, plan.data)
    return broadcast[:end], np.frombuffer(broadcast[end:], "<f4").astype(np.float64)


def length(plan: Plan, purpose: Purpose) -> int:
    """How many numbers a plan keeps between rounds."""
    keeps = plan.algorithm == "scaffold" or compression.has_memory(plan)
    return compression.trained_size(plan) if keeps and purpose == "train" else 0


class Carry:
    """The files, and which of them is in force for which plan."""

    def __init__(self, folder: Path, records: Records) -> None:
        self._folder = keeping.private_folder(folder)
        self._records = records

    def read(self, plan: Plan, purpose: Purpose) -> State:
        """What the last round of a plan kept; zeros before the first one.

        Raises:
            NotApproved: if the file has not the bytes that were written, or is gone.
        """
        size = length(plan, purpose)
        digest = self._records.carried().get(plan.hash, "") if size else ""
        if not digest:
            return State(sha256="", numbers=np.zeros(size))
        try:
            data = (self._folder / digest).read_bytes()
        except OSError:
            data = b""
        require(
            canonical.sha256(data) == digest and len(data) == 8 * size, CHANGED, error=NotApproved
        )
        return State(sha256=digest, numbers=np.frombuffer(data, "<f8").astype(np.float64))

    def write(self, kept: Vector) -> str:
        """Write a state down durably; it is in force once the records name its hash."""
        data = kept.astype("<f8").tobytes()
        digest = canonical.sha256(data)
        keeping.write_private(self._folder / digest, data)
        return digest

    def forget_others(self) -> None:
        """Delete every file that no plan has any more; one that stays is deleted at a start."""
        try:
            keeping.forget_others(self._folder, set(self._records.carried().values()))
        except OSError:
            LOG.exception("an old state between rounds was not deleted")
