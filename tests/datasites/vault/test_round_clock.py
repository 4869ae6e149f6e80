"""A result leaves at a tick of the plan's clock: neither its step nor its end tells of the work."""

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from datasites.vault import airlock
from datasites.vault.round_executor import LATE
from datasites.vault.vault import Vault
from syft_code.errors import InvalidPlan, TrainingFailed
from syft_code.plans.messages import Ticket
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import Clock, DpSgd
from tests.datasites.hospitals import OneHospital, approval

LONG = DpSgd(noise_multiplier=600.0, max_grad_norm=1.0, sample_rate=0.5, steps=100_000)


@pytest.fixture
def warm(hospital: OneHospital, vault: Vault) -> Iterator[Vault]:
    """A vault whose training process has trained before."""
    agreed = hospital.plan(study="before")
    hospital.perform(vault, approval(agreed))
    hospital.finished(vault, vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed)))
    yield vault


def started(hospital: OneHospital, vault: Vault, plan: Plan) -> Ticket:
    hospital.perform(vault, approval(plan))
    return vault.start_round(hospital.call(plan, 1), hospital.weights(plan))


def end_s(hospital: OneHospital, vault: Vault, plan: Plan) -> tuple[float, Ticket]:
    """Seconds from the call to the end of its round."""
    began = time.monotonic()
    ticket = started(hospital, vault, plan)
    vault._rounds.wait(ticket.ticket, 60.0)
    return time.monotonic() - began, vault.ticket(ticket.ticket)


def test_a_result_that_is_there_at_once_waits_for_its_tick(
    hospital: OneHospital, warm: Vault
) -> None:
    plan = hospital.plan(clock=Clock(train_s=1.5, evaluate_s=1.0))
    seconds, done = end_s(hospital, warm, plan)
    assert done.state == "done" and 1.5 <= seconds < 2.9


def test_steps_are_those_of_the_clock(hospital: OneHospital, warm: Vault) -> None:
    plan = hospital.plan(clock=Clock(train_s=3.0, evaluate_s=1.0))
    ticket = started(hospital, warm, plan)
    time.sleep(0.7)
    early = warm.ticket(ticket.ticket)
    assert (early.state, early.step, early.steps) == ("running", 0, 3), "its work is long over"
    time.sleep(1.6)
    assert warm.ticket(ticket.ticket).step == 2


def test_work_that_does_not_fit_has_failed_at_the_last_tick_and_stays_paid(
    hospital: OneHospital, warm: Vault
) -> None:
    plan = hospital.plan(dp_sgd=LONG, clock=Clock(train_s=0.5, evaluate_s=1.0, ticks=2))
    seconds, failed = end_s(hospital, warm, plan)
    assert (failed.state, failed.sentence) == ("failed", LATE)
    assert 1.0 <= seconds < 1.9
    assert len(warm._db.ledger.events("skin-lesions")) == 2


def test_work_that_misses_a_tick_leaves_at_the_next(
    hospital: OneHospital, warm: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspect = airlock.inspect

    def slow(raw: bytes, **rest: float) -> object:
        time.sleep(1.1)
        return inspect(raw, **rest)  # type: ignore[arg-type]

    monkeypatch.setattr(airlock, "inspect", slow)
    plan = hospital.plan(clock=Clock(train_s=0.8, evaluate_s=1.0))
    seconds, done = end_s(hospital, warm, plan)
    assert done.state == "done" and 1.6 <= seconds < 2.4


def test_a_failure_waits_for_the_tick_like_a_result(
    hospital: OneHospital, warm: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(raw: bytes, **rest: float) -> object:
        raise TrainingFailed("not finite")

    monkeypatch.setattr(airlock, "inspect", refuse)
    plan = hospital.plan(clock=Clock(train_s=1.5, evaluate_s=1.0))
    seconds, failed = end_s(hospital, warm, plan)
    assert failed.state == "failed" and 1.5 <= seconds < 2.9


def test_a_vault_that_closes_before_the_tick_lets_nothing_out_and_the_round_runs_again(
    hospital: OneHospital, warm: Vault
) -> None:
    plan = hospital.plan(clock=Clock(train_s=60.0, evaluate_s=1.0))
    ticket = started(hospital, warm, plan)
    time.sleep(1.0)
    began = time.monotonic()
    warm.close()
    assert time.monotonic() - began < 10.0
    again = Vault(hospital.site)
    try:
        assert not again._db.tickets.has(ticket.ticket), "it was not released"
        left = {path.name for path in again._files.shares._folder.iterdir()}
        assert left == again._db.tickets.shares(), "its shares are gone"
        assert again.start_round(hospital.call(plan, 1), hospital.weights(plan)).state != "done"
    finally:
        again.close()


def test_without_a_clock_a_result_leaves_when_it_is_ready(
    hospital: OneHospital, warm: Vault
) -> None:
    seconds, done = end_s(hospital, warm, hospital.plan(study="at-once"))
    assert done.state == "done" and seconds < 1.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train_s": 0.0}, "train_s of the clock must lie between 0.05 and 86400"),
        ({"evaluate_s": float("nan")}, "evaluate_s of the clock"),
        ({"train_s": 86_401.0}, "train_s"),
        ({"ticks": 0}, "ticks of the clock must lie between 1 and 64, got 0"),
        ({"ticks": 65}, "ticks"),
    ],
)
def test_a_clock_that_is_none_is_refused(change: dict[str, float], words: str) -> None:
    with pytest.raises(InvalidPlan, match=words):
        replace(Clock(train_s=1.0, evaluate_s=1.0), **change)  # type: ignore[arg-type]


def test_ticks_are_whole_and_never_before_the_first() -> None:
    clock = Clock(train_s=0.5, evaluate_s=2.0, ticks=3)
    ends = [clock.next_tick_s("train", elapsed) for elapsed in (0.0, 0.49, 0.51, 1.4)]
    assert np.allclose(ends, [0.5, 0.5, 1.0, 1.5])
    assert (clock.last_s("train"), clock.last_s("evaluate")) == (1.5, 6.0)
