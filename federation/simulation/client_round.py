"""What one simulated hospital does in a round: what a vault does, without the vault."""

import numpy as np
from numpy.typing import NDArray

from syft_code.arrays import Vector
from syft_code.cohort import Cohort
from syft_code.errors import TrainingFailed
from syft_code.local_training import broadcast, client_update, local_round
from syft_code.local_training.client_update import ClientUpdate
from syft_code.plans.plan import Plan
from syft_code.privacy.noise import NoiseSource


def contribute(
    plan: Plan,
    hospital: str,
    number: int,
    cohort: Cohort,
    *,
    sent: NDArray[np.float32],
    kept: Vector,
    randomness: NoiseSource,
) -> ClientUpdate | None:
    """Train, bound, correct or compress; None if a vault's airlock would keep what comes out."""
    common = broadcast.unpack(plan, "train", sent).control.astype(np.float64)
    try:
        update = local_round.train(
            plan, hospital, cohort, sent=sent, kept=kept, randomness=randomness
        )
        made = client_update.from_result(plan, hospital, number, update, common=common, kept=kept)
    except TrainingFailed:
        return None
    largest = float(np.max(np.abs(made.values), initial=0.0))
    return made if largest <= plan.sharing.bound else None
