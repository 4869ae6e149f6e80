"""A result leaves at a tick of the plan's release schedule: neither its step nor its end tells of the work."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from datasites.protocol import owner_actions
from datasites.vault import airlock
from datasites.vault.release_timer import ReleaseTimer
from datasites.vault.round_executor import LATE
from datasites.vault.vault import Vault
from syft_code.errors import InvalidMessage, InvalidPlan, TrainingFailed
from syft_code.plans import messages
from syft_code.plans.messages import ShareHeader, Ticket
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import DpSgd, ReleaseSchedule
from syft_code.secret_sharing import envelope
from tests.datasites.hospitals import OneHospital, approval
from tests.plans import plan as small_plan

PLAN = small_plan()
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


def after(seconds: float, does: Callable[..., object]) -> Callable[..., object]:
    """The same, later."""

    def slow(*arguments: object, **options: object) -> object:
        time.sleep(seconds)
        return does(*arguments, **options)

    return slow


def holding(vault: Vault, ticket: Ticket) -> None:
    """Wait until a round's shares are written and it waits for its tick."""
    timer = None
    while timer is None or timer._ended_s is None:
        time.sleep(0.02)
        timer = vault._rounds._timers.get(ticket.ticket)


def test_a_result_that_is_there_at_once_waits_for_its_tick(
    hospital: OneHospital, warm: Vault
) -> None:
    seconds, done = end_s(
        hospital, warm, hospital.plan(release_schedule=ReleaseSchedule(train_s=1.5, evaluate_s=1.0))
    )
    assert done.state == "done" and seconds >= 1.5


def test_an_evaluation_waits_for_its_own_tick(hospital: OneHospital, warm: Vault) -> None:
    plan = hospital.plan(release_schedule=ReleaseSchedule(train_s=0.05, evaluate_s=1.5))
    hospital.perform(warm, approval(plan))
    call, began = hospital.call(plan, 3, "evaluate"), time.monotonic()
    ticket = warm.start_round(call, hospital.weights(plan))
    warm._rounds.wait(ticket.ticket, 60.0)
    assert warm.ticket(ticket.ticket).state == "done" and time.monotonic() - began >= 1.5


def test_work_that_does_not_fit_has_failed_in_words_and_stays_paid(
    hospital: OneHospital, warm: Vault
) -> None:
    plan = hospital.plan(
        dp_sgd=LONG, release_schedule=ReleaseSchedule(train_s=0.5, evaluate_s=1.0, ticks=2)
    )
    seconds, failed = end_s(hospital, warm, plan)
    assert (failed.state, failed.sentence) == ("failed", LATE)
    assert seconds >= 1.0
    assert len(warm._db.ledger.events("skin-lesions")) == 2


def test_a_sealing_that_is_over_too_late_fails_and_leaves_no_share(
    hospital: OneHospital, warm: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airlock, "inspect", after(0.6, airlock.inspect))
    plan = hospital.plan(release_schedule=ReleaseSchedule(train_s=0.5, evaluate_s=1.0, ticks=1))
    _, failed = end_s(hospital, warm, plan)
    assert (failed.state, failed.sentence) == ("failed", LATE)
    left = {path.name for path in warm._files.shares._folder.iterdir()}
    assert left == warm._db.tickets.shares()


@pytest.mark.parametrize("problem", [TrainingFailed("not finite"), ValueError("unforeseen")])
def test_a_failure_waits_for_the_tick_like_a_result(
    hospital: OneHospital, warm: Vault, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    def refuse(raw: bytes, **rest: float) -> object:
        raise problem

    monkeypatch.setattr(airlock, "inspect", refuse)
    seconds, failed = end_s(
        hospital, warm, hospital.plan(release_schedule=ReleaseSchedule(train_s=1.5, evaluate_s=1.0))
    )
    assert failed.state == "failed" and seconds >= 1.5


def test_an_owner_who_revokes_meanwhile_ends_the_wait_and_the_log_says_why(
    hospital: OneHospital, warm: Vault
) -> None:
    plan = hospital.plan(release_schedule=ReleaseSchedule(train_s=600.0, evaluate_s=1.0, ticks=1))
    ticket = started(hospital, warm, plan)
    holding(warm, ticket)
    hospital.perform(warm, owner_actions.RevokePlan(plan_hash=plan.hash, reason="enough"))
    warm._rounds.wait(ticket.ticket, 60.0)
    failed = warm.ticket(ticket.ticket)
    assert failed.state == "failed" and LATE not in failed.sentence
    reasons = [dict(entry.facts).get("reason", "") for entry in warm._db.log.entries()]
    assert not any(LATE in reason for reason in reasons)


def test_a_share_names_the_log_as_it_was_before_the_work(
    hospital: OneHospital, warm: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = hospital.plan(release_schedule=ReleaseSchedule(train_s=1.0, evaluate_s=1.0))

    def noting(raw: bytes, **rest: float) -> object:
        warm._db.log.append("something else", study="another")
        return inspect(raw, **rest)  # type: ignore[arg-type]

    inspect = airlock.inspect
    monkeypatch.setattr(airlock, "inspect", noting)
    _, done = end_s(hospital, warm, plan)
    signed = envelope.SealedShare.from_bytes(warm.share(done.ticket, 1)).header
    header = messages.claimed(ShareHeader, signed)
    entries = warm._db.log.entries()
    own = next(n for n, entry in enumerate(entries) if entry.kind == "something else")
    assert header.log_sha256 == entries[own].previous_sha256


def test_a_vault_that_closes_before_the_tick_lets_nothing_out_and_the_round_runs_again(
    hospital: OneHospital, warm: Vault
) -> None:
    plan = hospital.plan(release_schedule=ReleaseSchedule(train_s=600.0, evaluate_s=1.0))
    ticket = started(hospital, warm, plan)
    holding(warm, ticket)
    warm.close()
    again = Vault(hospital.site)
    try:
        assert not again._db.tickets.has(ticket.ticket), "it was not released"
        left = {path.name for path in again._files.shares._folder.iterdir()}
        assert left == again._db.tickets.shares(), "its shares are gone"
        assert again.start_round(hospital.call(plan, 1), hospital.weights(plan)).state != "done"
    finally:
        again.close()


def test_a_schedule_that_is_longer_than_the_hospitals_limit_is_refused_before_it_is_paid(
    hospital: OneHospital, warm: Vault
) -> None:
    plan = hospital.plan(release_schedule=ReleaseSchedule(train_s=7200.0, evaluate_s=1.0))
    hospital.perform(warm, approval(plan))
    with pytest.raises(InvalidMessage, match="limit of 21600 s, and takes up to 57600 s"):
        warm.start_round(hospital.call(plan, 1), hospital.weights(plan))
    assert len(warm._db.ledger.events("skin-lesions")) == 1


class Made:
    """Time that a test makes; whoever waits is there at once."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.waited: list[float] = []

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        self.now_s += seconds

    def timer(self, schedule: ReleaseSchedule | None, *, steps: int = 10) -> ReleaseTimer:
        dp = replace(PLAN.dp_sgd, steps=steps)
        planned = replace(PLAN, release_schedule=schedule, dp_sgd=dp)
        return ReleaseTimer(planned, "train", now=lambda: self.now_s, wait=self.wait)


@pytest.mark.parametrize(
    ("work_s", "shows_s", "late"),
    [
        (0.0, 2.0, False), (1.9, 2.0, False), (2.1, 4.0, False), (5.9, 6.0, False),
        (6.1, 8.0, True), (9.0, 10.0, True),
    ],
)  # fmt: skip
def test_an_end_shows_at_the_first_tick_after_the_work(
    work_s: float, shows_s: float, late: bool
) -> None:
    made = Made()
    timer = made.timer(ReleaseSchedule(train_s=2.0, evaluate_s=9.0, ticks=3))
    made.now_s += work_s
    timer.hold()
    assert made.now_s == pytest.approx(100.0 + shows_s)
    assert timer.late is late
    timer.hold()
    assert made.now_s == pytest.approx(100.0 + shows_s), "what fails after the tick waits no more"
    assert timer.late is late, "waiting makes nothing late"


def test_steps_are_those_of_the_schedule_and_not_of_the_work() -> None:
    made = Made()
    timer = made.timer(ReleaseSchedule(train_s=2.0, evaluate_s=9.0))
    timer.note(10)
    shown = []
    for _ in range(5):
        shown.append(timer.step)
        made.now_s += 0.7
    assert shown == [0, 3, 7, 9, 9]
    bare = made.timer(None)
    bare.note(4)
    assert bare.step == 4


def test_without_a_schedule_nothing_waits_and_nothing_is_late() -> None:
    made = Made()
    timer = made.timer(None)
    made.now_s += 1e6
    timer.hold()
    assert made.waited == [] and not timer.late and timer.left_s is None


def test_a_hold_that_is_cut_ends_at_once() -> None:
    timer = ReleaseTimer(
        replace(PLAN, release_schedule=ReleaseSchedule(train_s=86_400.0, evaluate_s=1.0)), "train"
    )
    timer.cut()
    timer.hold()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train_s": 0.0}, "train_s of the release schedule must lie between 0.05 and 86400"),
        ({"evaluate_s": float("nan")}, "evaluate_s of the release schedule"),
        ({"train_s": 86_401.0}, "train_s"),
        ({"ticks": 0}, "ticks of the release schedule must lie between 1 and 64, got 0"),
        ({"ticks": 65}, "ticks"),
    ],
)
def test_a_schedule_that_is_none_is_refused(change: dict[str, float], words: str) -> None:
    with pytest.raises(InvalidPlan, match=words):
        replace(ReleaseSchedule(train_s=1.0, evaluate_s=1.0), **change)  # type: ignore[arg-type]
