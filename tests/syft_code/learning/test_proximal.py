"""FedProx and EWC against steps worked by hand on quadratics, where everything has a closed form."""

import numpy as np
import pytest

from syft_code.errors import TrainingFailed
from syft_code.learning import dp_sgd
from syft_code.learning.dp_sgd import TrainingRun
from syft_code.learning.proximal import ProximalTerm, both
from syft_code.models import networks
from syft_code.plans.plan_parts import DpSgd, Sgd
from syft_code.privacy.noise import NoiseSource
from tests.gradients import ROWS, TABLE, a_cohort


def descend(
    curvature, minimum, pull: ProximalTerm, *, steps: int, rate: float, start
) -> np.ndarray:
    """Steps on a (w - m)^2 / 2 with a pull."""
    w = np.asarray(start, dtype=np.float64).copy()
    for _ in range(steps):
        w -= rate * (curvature * (w - minimum) + pull.gradient(w))
    return w


def test_fedprox_on_a_quadratic_is_its_closed_form_after_any_number_of_steps() -> None:
    """h(w) = a (w - m)^2 / 2 + mu (w - x)^2 / 2 has its minimum at (a m + mu x) / (a + mu), and a
    step multiplies what is left to it by 1 - rate (a + mu)."""
    a, m, x, mu, rate = 2.0, 3.0, -1.0, 0.5, 0.1
    best = (a * m + mu * x) / (a + mu)
    pull = ProximalTerm(strength=mu, target=np.array([x]))
    for steps in (1, 2, 17):
        w = descend(a, m, pull, steps=steps, rate=rate, start=[x])
        left = (x - best) * (1 - rate * (a + mu)) ** steps
        assert float(w[0]) == pytest.approx(best + left, rel=1e-12)
    assert float(descend(a, m, pull, steps=999, rate=rate, start=[x])[0]) == pytest.approx(2.2)


def test_fedprox_of_two_hospitals_drifts_less_the_stronger_it_pulls() -> None:
    """Hospital i after many steps stands at (a_i m_i + mu x) / (a_i + mu)."""
    a, m, x = np.array([1.0, 10.0]), np.array([1.0, -1.0]), 0.2
    far = []
    for mu in (0.0, 1.0, 100.0):
        pull = ProximalTerm(strength=mu, target=np.full(2, x))
        w = descend(a, m, pull, steps=4000, rate=0.005, start=[x, x])
        np.testing.assert_allclose(w, (a * m + mu * x) / (a + mu), rtol=1e-6)
        far.append(float(np.abs(w - x).max()))
    assert far[0] > far[1] > far[2]


def test_ewc_forgets_only_what_the_first_task_does_not_mind() -> None:
    """Task one: curvature (4, 0) about (1, 1), so Fisher F = (4, 0). Task two: curvature 1 about 0.
    With lambda = 3 the minimum is lambda F / (1 + lambda F) = (12/13, 0)."""
    importance, reference = np.array([4.0, 0.0]), np.array([1.0, 1.0])
    pull = ProximalTerm(strength=3.0 * importance, target=reference)
    w = descend(np.ones(2), np.zeros(2), pull, steps=2000, rate=0.05, start=reference)
    np.testing.assert_allclose(w, [12 / 13, 0.0], atol=1e-12)


def test_two_steps_of_ewc_by_hand() -> None:
    pull = ProximalTerm(strength=np.array([2.0, 0.0]), target=np.array([1.0, 1.0]))
    w = descend(np.ones(2), np.zeros(2), pull, steps=2, rate=0.25, start=[2.0, 2.0])
    # First: 2 - (2 + 2 (2 - 1)) / 4 = 1;  2 - 2 / 4 = 1.5. Then: 1 - (1 + 0) / 4;  1.5 - 1.5 / 4.
    np.testing.assert_allclose(w, [0.75, 1.125], rtol=1e-15)


def test_both_pulls_are_their_sum_wherever_one_stands() -> None:
    random = np.random.default_rng(0)
    prox = ProximalTerm(strength=0.3, target=random.standard_normal(5))
    ewc = ProximalTerm(
        strength=np.array([0.0, 1.0, 2.0, 0.0, 9.0]), target=random.standard_normal(5)
    )
    nothing = ProximalTerm(strength=0.0, target=random.standard_normal(5))
    for one, other in ((prox, ewc), (ewc, prox), (nothing, ewc), (nothing, nothing)):
        w = random.standard_normal(5)
        expected = one.gradient(w) + other.gradient(w)
        np.testing.assert_allclose(both(one, other).gradient(w), expected, atol=1e-14)


def test_a_pull_takes_no_part_in_clipping_nor_in_the_noise() -> None:
    size = len(networks.to_vector(networks.build(ROWS, TABLE)))
    start = networks.to_vector(networks.build(ROWS, TABLE)).astype(np.float64)
    update = dp_sgd.train(
        networks.build(ROWS, TABLE),
        a_cohort(TABLE, 3),
        TrainingRun(
            recipe=ROWS,
            dp=DpSgd(noise_multiplier=1e-9, max_grad_norm=1e-9, sample_rate=1.0, steps=2),
            optimizer=Sgd(learning_rate=0.5),
            declared_patients=3,
            proximal=ProximalTerm(strength=np.full(size, 0.5), target=start + 8.0),
        ),
        randomness=NoiseSource.from_os(),
    ).update
    # 8 away, then 8 (1 - .5 .5) away, then 8 (1 - .5 .5)^2.
    np.testing.assert_allclose(update, 8.0 * (1 - 0.75**2), atol=1e-6)


@pytest.mark.parametrize(
    ("strength", "target", "sentence"),
    [
        (np.ones(2), np.ones(3), "shapes"),
        (1.0, np.ones((2, 2)), "shapes"),
        (-0.1, np.ones(3), "at least 0"),
        (np.array([0.0, np.nan]), np.ones(2), "finite"),
        (1.0, np.array([np.inf]), "finite"),
    ],
)
def test_a_pull_that_makes_no_sense_is_refused(strength, target, sentence) -> None:
    with pytest.raises(TrainingFailed, match=sentence):
        ProximalTerm(strength=strength, target=target)
