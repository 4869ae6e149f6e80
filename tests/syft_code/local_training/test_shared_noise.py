"""A hospital's part of a sum whose noise is shared: whole steps, exactly, and as much as it should be."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from syft_code.cohort import Cohort
from syft_code.learning import dp_sgd
from syft_code.local_training import client_update, local_round, round_time
from syft_code.models import networks
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import DpSgd
from syft_code.privacy.noise import NoiseSource
from syft_code.secret_sharing import sharing
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests.plans import shared_noise_plan

EVERYBODY = DpSgd(noise_multiplier=2.0, max_grad_norm=1.0, sample_rate=1.0, steps=1)
KEPT = np.zeros(0)


def people(plan: Plan, count: int, *, seed: int = 0) -> Cohort:
    random = np.random.default_rng(seed)
    shape = (count, len(plan.data.channels), plan.data.height_px, plan.data.width_px)
    return Cohort(
        images=random.integers(0, 256, shape).astype(np.uint8),
        labels=random.integers(0, len(plan.data.classes), count).astype(np.uint8),
        patient=np.arange(count, dtype=np.int32),
    )


def update(plan: Plan, hospital: str, cohort: Cohort, source: NoiseSource) -> np.ndarray:
    sent = round_time.first_broadcast(plan, "train").joined()
    return local_round.train(plan, hospital, cohort, sent=sent, kept=KEPT, randomness=source)


def encoded(plan: Plan, hospital: str, values: np.ndarray) -> np.ndarray:
    """What a vault shares of it, as signed whole numbers."""
    made = client_update.from_result(plan, hospital, 1, values, common=np.zeros(0), kept=KEPT)
    assert made.kept is None
    ring = sharing.encode(
        made.values,
        plan.sharing,
        hospitals=len(plan.hospitals),
        factor=plan.hospital(hospital).patients / plan.most_patients,
    )
    return ring.view("<i8").astype(np.int64)


class Recorded(NoiseSource):
    """A source that remembers what it gave to a sum."""

    __slots__ = ("given",)

    def add_discrete_noise(self, exact, *, variance):
        noised = super().add_discrete_noise(exact, variance=variance)
        self.given = (exact, noised.copy(), variance)
        return noised


@pytest.mark.parametrize("hospital", ["hospital-1", "hospital-2", "hospital-3"])
def test_the_ring_holds_exactly_the_whole_numbers_that_were_noised(hospital: str) -> None:
    """However odd the weight: 41 of 43 patients is no fraction of a power of two."""
    plan = shared_noise_plan()
    source = Recorded.from_os()
    made = update(plan, hospital, people(plan, 40), source)
    exact, noised, variance = source.given
    assert variance == plan.noise_grid.variance
    assert np.array_equal(noised, np.rint(noised))
    assert np.array_equal(encoded(plan, hospital, made), -noised.astype(np.int64))
    assert np.abs(noised - exact).max() < 20 * variance**0.5


def test_the_sum_of_the_hospitals_is_one_gradient_step_on_all_of_their_patients() -> None:
    """Against DP-SGD's own clipped sum over everybody, with noise so small that the step shows."""
    plan = shared_noise_plan(
        dp_sgd=replace(EVERYBODY, noise_multiplier=1e-3),
        sharing=replace(shared_noise_plan().sharing, fraction_bits=36, bound=16.0),
    )
    cohorts = {one.name: people(plan, one.patients, seed=n) for n, one in enumerate(plan.hospitals)}
    total = sum(
        encoded(plan, name, update(plan, name, cohort, NoiseSource.from_os()))
        for name, cohort in cohorts.items()
    )
    patients = sum(one.patients for one in plan.hospitals)
    mean = total * 2.0**-plan.sharing.fraction_bits * plan.most_patients / patients
    model = networks.build(plan.recipe, plan.data, local_round.first_weights(plan))
    gradients = sum(
        dp_sgd.clipped_sum(model, cohort, recipe=plan.recipe, max_grad_norm=1.0).numpy()
        for cohort in cohorts.values()
    )
    step = -plan.optimizer.learning_rate * gradients / patients
    assert np.abs(mean - step).max() < 6 * 1e-3 * 0.5 / patients * 1.5**0.5


def test_the_noise_of_one_hospital_and_of_a_sum_have_the_variances_of_the_plan() -> None:
    plan = shared_noise_plan()
    nobody = people(plan, 1)
    grid = plan.noise_grid
    drawn = []
    for _ in range(60):
        source = Recorded.from_os()
        update(plan, "hospital-1", nobody, source)
        exact, noised, _ = source.given
        drawn.append(noised - np.rint(exact))
    numbers = np.concatenate(drawn)
    assert numbers.var() / grid.variance == pytest.approx(1.0, abs=0.08)
    assert numbers.var() * grid.honest >= 0.9 * float(2 * grid.sensitivity) ** 2


def test_neighbours_differ_by_less_than_the_sensitivity_rounding_included() -> None:
    plan = shared_noise_plan(dp_sgd=EVERYBODY)
    sums = []
    whole = people(plan, 30)
    for cohort in (whole, whole.select(np.arange(30) < 29)):
        source = Recorded.from_os()
        update(plan, "hospital-1", cohort, source)
        sums.append(np.rint(source.given[0]))
    distance = np.linalg.norm(sums[0] - sums[1])
    assert 0.5 * float(plan.noise_grid.sensitivity) < distance
    assert distance <= float(plan.noise_grid.sensitivity)


def test_far_more_patients_than_declared_are_cut_before_the_noise(monkeypatch) -> None:
    """So that no number is ever refused for its size: that would show what own noise alone hides."""
    plan = shared_noise_plan(dp_sgd=EVERYBODY)

    class Loud:
        def clipped_sum(self, chosen, norm):
            numbers = VectorLayout.of(plan).trained_count
            return dp_sgd.Clipped(total=torch.full((numbers,), 1e9).double(), unclipped=0)

    monkeypatch.setattr(dp_sgd, "_Gradients", lambda *a, **k: Loud())
    made = update(plan, "hospital-1", people(plan, 5), NoiseSource.from_os())
    assert np.abs(made).max() < plan.sharing.bound
    declared = plan.hospital("hospital-1").patients
    expected = -plan.optimizer.learning_rate * 2 * declared / declared
    assert made.mean() == pytest.approx(expected, rel=0.05)


def test_start_weights_of_any_size_leave_the_update_exact() -> None:
    """Weights after minus weights before would lose its last digits, and so would tell of them."""
    plan = shared_noise_plan()
    huge = np.full(VectorLayout.of(plan).trained_count, 1e30, dtype=np.float32)
    source = Recorded.from_os()
    made = local_round.train(
        plan, "hospital-1", people(plan, 10), sent=huge, kept=KEPT, randomness=source
    )
    assert np.array_equal(encoded(plan, "hospital-1", made), -source.given[1].astype(np.int64))
