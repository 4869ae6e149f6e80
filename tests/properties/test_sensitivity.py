"""One patient more or less changes the clipped sum by at most the bound: for any network and loss."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from syft_code.learning import dp_sgd
from syft_code.learning.distillation import Teacher
from syft_code.models import networks
from syft_code.plans.plan_parts import Augmentation
from syft_code.privacy.noise import NoiseSource
from tests.gradients import CASES, a_cohort, a_model, without

PICTURES = {name for name, (_, data) in CASES.items() if data.kind not in ("table", "series")}
ANYHOW = Augmentation(views=3, flips=True, shift_px=2, intensity=0.2)


@settings(max_examples=30)
@given(
    case=st.sampled_from(sorted(CASES)),
    patients=st.integers(1, 5),
    seed=st.integers(0, 2**16),
    size=st.sampled_from([1e-6, 0.1, 1.0, 30.0, 1e12]),
    max_grad_norm=st.sampled_from([1e-9, 1e-3, 1.0, 1e5]),
    with_views=st.booleans(),
    with_teacher=st.booleans(),
    loud=st.booleans(),
)
def test_the_last_patient_changes_the_sum_by_at_most_the_bound(
    case, patients, seed, size, max_grad_norm, with_views, with_teacher, loud
) -> None:
    recipe, data = CASES[case]
    cohort, model = a_cohort(data, patients, seed=seed), a_model(recipe, data, seed=seed)
    weights = networks.to_vector(model).astype(np.float64) * size
    networks.from_vector(model, np.clip(weights, -3e38, 3e38))
    if loud:
        cohort.images[-1] = 255 if cohort.images.dtype == np.uint8 else 6e4
        cohort.facts[-1] = 1e30
    views = ANYHOW if with_views and case in PICTURES else None
    teacher = Teacher(a_model(recipe, data, seed=seed + 1), 1.5, 2.0) if with_teacher else None

    def total(of) -> torch.Tensor:
        # The same key gives the patients before the last the same views with and without it.
        return dp_sgd.clipped_sum(
            model,
            of,
            recipe=recipe,
            max_grad_norm=max_grad_norm,
            augmentation=views,
            teacher=teacher,
            randomness=NoiseSource.from_key(b"k" * 32),
        )

    changed = float((total(cohort) - total(without(cohort, patients - 1))).norm())
    assert changed <= 1.0001 * max_grad_norm
