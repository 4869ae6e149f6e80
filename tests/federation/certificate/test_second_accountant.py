"""The second opinion on an epsilon is Opacus' where that is quick, and says which it was."""

import pytest

from federation.certificate import second_accountant
from federation.certificate.second_accountant import second_epsilon
from syft_code.privacy import accounting
from syft_code.privacy.accounting import DpSgdEvent, GaussianEvent


def an_event(sigma: float, rate: float, steps: int) -> DpSgdEvent:
    return DpSgdEvent(noise_multiplier=sigma, sample_rate=rate, steps=steps)


@pytest.mark.parametrize(
    "event", [an_event(1.0, 0.1, 50), an_event(4.6, 0.5, 400), an_event(50.0, 0.1, 100)]
)
def test_opacus_agrees_on_one_study(event) -> None:
    events = [event, GaussianEvent(noise_multiplier=30.0)]
    pld = accounting.epsilon(events, delta=1e-5)
    second = second_epsilon(events, delta=1e-5, pld=pld)
    assert second.method == "prv"
    assert second.agrees_with(pld)


def test_the_larger_group_counts() -> None:
    events = [an_event(5.0, 0.1, 5), GaussianEvent(noise_multiplier=1.0)]
    pld = accounting.epsilon(events[1:], delta=1e-5)
    second = second_epsilon(events, delta=1e-5, pld=pld)
    assert second.epsilon == pytest.approx(pld, rel=0.02)


@pytest.mark.parametrize(
    "events",
    [
        [an_event(0.7, 0.2, 1000)],
        [an_event(50.0 + kind, 0.1, 1) for kind in range(second_accountant.MOST_KINDS + 1)],
        [an_event(100.0, 0.001, second_accountant.MOST_STEPS + 1)],
    ],
    ids=["large epsilon", "many noise multipliers", "many steps"],
)
def test_what_opacus_would_take_minutes_for_is_bounded_by_rdp(events) -> None:
    pld = accounting.epsilon(events, delta=1e-5)
    second = second_epsilon(events, delta=1e-5, pld=pld)
    assert (second.method, second.epsilon) == ("rdp", accounting.epsilon_rdp(events, delta=1e-5))


def test_nothing_spent_is_zero_by_both() -> None:
    second = second_epsilon([], delta=1e-5, pld=0.0)
    assert second.epsilon == 0.0 and second.agrees_with(0.0)


def test_a_grid_that_opacus_refuses_is_left_to_rdp(monkeypatch) -> None:
    def refuses(*arguments: object, **options: object) -> float:
        raise RuntimeError("Discrete mean differs significantly from continuous mean.")

    monkeypatch.setattr(second_accountant, "_prv", refuses)
    events = [an_event(1.0, 0.1, 50)]
    assert second_epsilon(events, delta=1e-5, pld=5.15).method == "rdp"
