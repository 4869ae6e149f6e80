"""The clip norm follows a quantile, and what that costs is within the step's own noise multiplier."""

import math

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant

from syft_code.learning import adaptive_clip, dp_sgd
from syft_code.learning.adaptive_clip import ClipNorm
from syft_code.learning.dp_sgd import TrainingRun
from syft_code.models import networks
from syft_code.models.compute import HERE
from syft_code.plans.plan_parts import AdaptiveClip, DpSgd, Sgd
from syft_code.privacy.noise import NoiseSource, on_grid
from tests.gradients import ROWS, TABLE, a_cohort, slow_gradients

pytestmark = pytest.mark.thorough

MEDIAN = AdaptiveClip(quantile=0.5, learning_rate=0.2, count_noise_multiplier=5.0)


def a_step(**changes) -> DpSgd:
    fields = {"noise_multiplier": 1.0, "max_grad_norm": 2.0, "sample_rate": 1.0, "steps": 1}
    return DpSgd(**(fields | {"adaptive": MEDIAN} | changes))


def test_three_steps_of_the_clip_norm_worked_by_hand() -> None:
    """10 expected; 7 of 8, then 0 of 12, then 10 of 10 within; noise 0.2, 0, -0.4 times 5."""
    clip = ClipNorm.first(a_step())
    norms = [clip.norm]
    for drawn, unclipped, noise in ((8, 7, 0.2), (12, 0, 0.0), (10, 10, -0.4)):
        clip.follow(unclipped - drawn / 2 + 5.0 * noise, expected=10.0)
        norms.append(clip.norm)
    # Shares: (7 - 4 + 1) / 10 + .5 = .9;  (0 - 6) / 10 + .5 < 0, so 0;  (10 - 5 - 2) / 10 + .5 = .8.
    expected = 2.0 * np.exp(-0.2 * np.cumsum([0.0, 0.4, -0.5, 0.3]))
    np.testing.assert_allclose(norms, expected, rtol=1e-14)


def test_without_an_adaptive_clip_the_norm_and_the_noise_stay() -> None:
    clip = ClipNorm.first(a_step(adaptive=None, noise_multiplier=1.5))
    clip.follow(9.5, expected=10.0)
    assert (clip.norm, clip.noise_std) == (2.0, 3.0)


def test_the_noise_on_the_gradient_follows_the_norm() -> None:
    clip = ClipNorm.first(a_step())
    before = clip.noise_std / clip.norm
    clip.follow(4.5, expected=10.0)
    assert clip.noise_std / clip.norm == pytest.approx(before)
    assert before == pytest.approx(adaptive_clip.gradient_multiplier(1.0, 5.0))


def test_the_norm_goes_on_where_an_earlier_round_left_it() -> None:
    whole, first = ClipNorm.first(a_step()), ClipNorm.first(a_step())
    for clip in (whole, first):
        clip.follow(4.0, expected=10.0)
    second = ClipNorm.first(a_step(), moved=first.moved)
    for clip in (whole, second):
        clip.follow(-6.0, expected=10.0)
    assert second.norm == pytest.approx(whole.norm, rel=1e-14)
    assert ClipNorm.first(a_step()).moved == 0.0
    for far, norm in ((1e30, 2.0 * adaptive_clip.FURTHEST), (-1e30, 2.0 / adaptive_clip.FURTHEST)):
        assert ClipNorm.first(a_step(), moved=far).norm == pytest.approx(norm)


def test_the_norm_never_runs_away() -> None:
    clip = ClipNorm.first(a_step())
    for _ in range(1000):
        clip.follow(-5e9, expected=10.0)
    assert clip.norm == pytest.approx(2.0 * adaptive_clip.FURTHEST)
    for _ in range(1000):
        clip.follow(5e9, expected=10.0)
    assert clip.norm == pytest.approx(2.0 / adaptive_clip.FURTHEST)


@pytest.mark.parametrize("rate", [1.0, pytest.param(0.05, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("whole", "count"), [(1.0, 5.0), pytest.param(0.8, 0.5, marks=pytest.mark.slow), (3.0, 2.0)]
)
def test_gradient_and_count_together_cost_one_gaussian_of_the_stated_multiplier(
    whole, count, rate
) -> None:
    """Two Gaussians on the same drawn patients against one, by the accountant."""
    own = adaptive_clip.gradient_multiplier(whole, count)
    both = dp_accounting.ComposedDpEvent(
        [dp_accounting.GaussianDpEvent(own), dp_accounting.GaussianDpEvent(2.0 * count)]
    )
    if rate < 1.0:
        # The accountant takes no composition below a sample, but a joint Gaussian is one Gaussian.
        joint = (own**-2 + (2.0 * count) ** -2) ** -0.5
        both = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(joint))
    one = dp_accounting.GaussianDpEvent(whole)
    if rate < 1.0:
        one = dp_accounting.PoissonSampledDpEvent(rate, one)
    found = []
    for event in (both, one):
        accountant = PLDAccountant(dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
        accountant.compose(event, 20)
        found.append(accountant.get_epsilon(1e-5))
    assert own > whole
    assert found[0] == pytest.approx(found[1], rel=2e-3)


def test_two_gaussians_on_one_sample_are_one_by_simulation() -> None:
    """Log likelihood ratios of (S, B) under neighbours have the mean and variance of one Gaussian's."""
    whole, count, norm = 1.3, 2.0, 0.7
    own = adaptive_clip.gradient_multiplier(whole, count)
    random = np.random.default_rng(0)
    gradient = random.standard_normal(400_000) * own * norm
    counted = random.standard_normal(400_000) * count
    ratio = (norm * gradient - norm**2 / 2) / (own * norm) ** 2
    ratio += (0.5 * counted - 0.125) / count**2
    assert float(ratio.mean()) == pytest.approx(-0.5 / whole**2, abs=0.005)
    assert float(ratio.std()) == pytest.approx(1.0 / whole, rel=0.01)


def test_a_step_in_training_uses_the_followed_norm_and_its_noise() -> None:
    dp = a_step(steps=2, max_grad_norm=0.4, noise_multiplier=0.5)
    cohort, model = a_cohort(TABLE, 6), networks.build(ROWS, TABLE).double()
    start = networks.to_vector(model).astype(np.float64)
    twin, rate = NoiseSource.from_key(b"k" * 32), 0.1
    weights, norm, own = start.copy(), 0.4, adaptive_clip.gradient_multiplier(0.5, 5.0)
    for _ in range(2):
        networks.from_vector(model, weights)
        rows = slow_gradients(model, cohort, recipe=ROWS).numpy()
        lengths = np.linalg.norm(rows, axis=1)
        total = (rows * (norm / np.maximum(lengths, norm))[:, None]).sum(0)
        twin.uniform(6), twin.choice(np.ones(6, dtype=np.int64))
        noised = on_grid(total + own * norm * twin.normal(len(total)), std=own * norm)
        weights = weights - rate * noised / 8
        centred = (lengths <= norm).sum() - 3 + 5.0 * twin.normal(1)
        share = float(on_grid(centred, std=5.0)[0]) / 8 + 0.5
        norm *= math.exp(-0.2 * (min(max(share, 0.0), 1.0) - 0.5))
    assert norm != pytest.approx(0.4)
    fresh = networks.build(ROWS, TABLE).double()
    update = dp_sgd.train(
        fresh,
        cohort,
        TrainingRun(
            recipe=ROWS,
            dp=dp,
            optimizer=Sgd(learning_rate=rate),
            declared_patients=8,
        ),
        randomness=NoiseSource.from_key(b"k" * 32),
    ).update
    np.testing.assert_allclose(update, weights - start, rtol=1e-6, atol=1e-7)


def test_the_norm_finds_the_median_of_the_gradients() -> None:
    cohort, model = a_cohort(TABLE, 200), networks.build(ROWS, TABLE)
    lengths = slow_gradients(networks.build(ROWS, TABLE), cohort, recipe=ROWS).norm(dim=1).numpy()
    clip = ClipNorm.first(a_step(max_grad_norm=100.0))
    source = NoiseSource.from_key(b"k" * 32)
    gradients = dp_sgd._Gradients(
        model,
        cohort,
        dp_sgd.Task(recipe=ROWS),
        frozen=0,
        randomness=source,
        engine="consilium",
        compute=HERE,
    )
    for _ in range(120):
        _, unclipped = gradients.clipped_sum(np.arange(200)[:, None], clip.norm)
        assert unclipped == (lengths <= clip.norm).sum()
        count = source.add_noise(np.array([unclipped - 100.0]), std=5.0)
        clip.follow(float(count[0]), expected=200.0)
    assert clip.norm == pytest.approx(float(np.median(lengths)), rel=0.1)
