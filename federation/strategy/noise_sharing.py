"""A plan's noise shared among its hospitals, in the ring and the fixed point that suit it."""

import math
from dataclasses import replace

from syft_code.plans.plan import Plan
from syft_code.plans.shared_noise import SharedNoise, fitting_sharing

_ROUNDED_UP = 1 + 1e-9


def with_shared_noise(
    plan: Plan, shared: SharedNoise, *, least_noise: float = 0.0, keep_sharing: bool = False
) -> Plan:
    """The same plan with shared noise; ring, fraction bits and bound follow from its public numbers.

    A hospital's own part of the noise is at least `least_noise`, a noise multiplier. With
    `keep_sharing` ring and fixed point stay those of the plan.

    Raises:
        InvalidPlan: if such noise can't be shared, and why.
    """
    honest = max(plan.min_hospitals - shared.colluding, 1)
    least = _ROUNDED_UP * least_noise * math.sqrt(honest)
    dp = replace(plan.dp_sgd, noise_multiplier=max(plan.dp_sgd.noise_multiplier, least))
    sharing = plan.sharing
    if not keep_sharing:
        patients = [hospital.patients for hospital in plan.hospitals]
        sharing = fitting_sharing(dp, plan.optimizer, patients=patients, honest=honest)
    return replace(plan, dp_sgd=dp, shared_noise=shared, sharing=sharing)
