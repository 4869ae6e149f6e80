"""How often somebody may try to log in, on a clock of the test's own."""

import pytest

from datasites.desk.web.rate_limit import (
    FORGET_S,
    FREE_TRIES,
    MAX_WAIT_S,
    MAX_WRONG_A_MINUTE,
    LoginRateLimit,
)

ALICE, OWNER = "alice@example.org", "owner@north.example.org"


class Clock:
    """A clock that stands until a test moves it."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> LoginRateLimit:
    return LoginRateLimit(spared=frozenset({OWNER}), clock=clock)


def test_five_wrong_tries_are_free_and_then_each_doubles_the_waiting(
    throttle: LoginRateLimit, clock: Clock
) -> None:
    assert [throttle.admit(ALICE) for _ in range(FREE_TRIES)] == [0.0] * FREE_TRIES
    waits = []
    for _ in range(13):
        wait_s = throttle.admit(ALICE)
        waits.append(wait_s)
        clock.now_s += wait_s
        assert throttle.admit(ALICE) == 0.0
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, MAX_WAIT_S, MAX_WAIT_S, MAX_WAIT_S]


def test_a_try_that_comes_too_early_adds_no_waiting(throttle: LoginRateLimit, clock: Clock) -> None:
    for _ in range(FREE_TRIES + 1):
        throttle.admit(ALICE)
    for _ in range(100):
        assert throttle.admit(ALICE) == 1.0
    clock.now_s += 1.0
    assert throttle.admit(ALICE) == 0.0


def test_a_right_password_after_the_waiting_forgets_the_wrong_ones(
    throttle: LoginRateLimit, clock: Clock
) -> None:
    for _ in range(FREE_TRIES + 1):
        throttle.admit(ALICE)
    clock.now_s += 1.0
    assert throttle.admit(ALICE) == 0.0
    throttle.succeeded(ALICE)
    assert len(throttle) == 0
    assert [throttle.admit(ALICE) for _ in range(FREE_TRIES)] == [0.0] * FREE_TRIES


def test_tries_under_way_count_as_wrong(throttle: LoginRateLimit) -> None:
    """Nobody has an answer yet, and the sixth at once must wait."""
    assert [throttle.admit(ALICE) > 0 for _ in range(40)] == [False] * 5 + [True] * 35


def test_all_e_mails_together_have_a_cap_that_right_passwords_do_not_use(
    throttle: LoginRateLimit, clock: Clock
) -> None:
    for number in range(1000):
        assert throttle.admit(f"{number}@example.org") == 0.0
        throttle.succeeded(f"{number}@example.org")
    for number in range(MAX_WRONG_A_MINUTE):
        clock.now_s += 0.5
        assert throttle.admit(f"{number}@example.org") == 0.0
    assert 0 < throttle.admit(ALICE) <= 60.0
    clock.now_s += throttle.admit(ALICE)
    assert throttle.admit(ALICE) == 0.0


def test_strangers_do_not_use_up_the_owners_tries(throttle: LoginRateLimit) -> None:
    for number in range(2 * MAX_WRONG_A_MINUTE):
        throttle.admit(f"{number}@example.org")
    assert throttle.admit(ALICE) > 0
    assert throttle.admit(OWNER) == 0.0
    for _ in range(FREE_TRIES):
        throttle.admit(OWNER)
    assert throttle.admit(OWNER) > 0  # but has a count of its own


def test_who_attacks_the_owner_does_not_use_up_the_tries_of_others(
    throttle: LoginRateLimit,
) -> None:
    for _ in range(FREE_TRIES):
        throttle.admit(OWNER)
    for number in range(MAX_WRONG_A_MINUTE):
        assert throttle.admit(f"{number}@example.org") == 0.0
    throttle.succeeded(OWNER)
    assert throttle.admit(ALICE) > 0  # the owner's right password is not a stranger's


def test_a_flood_of_made_up_e_mails_is_not_remembered_for_ever(
    throttle: LoginRateLimit, clock: Clock
) -> None:
    most = 0
    for number in range(200_000):
        clock.now_s += 0.1
        throttle.admit(f"{number}@example.org")
        most = max(most, len(throttle))
    assert most <= MAX_WRONG_A_MINUTE * (FORGET_S / 60 + 1)
    clock.now_s += FORGET_S
    throttle.admit(ALICE)
    assert len(throttle) == 1


def test_a_flood_does_not_make_the_throttle_forget_an_e_mail_that_waits(
    throttle: LoginRateLimit, clock: Clock
) -> None:
    wait_s = 0.0
    while wait_s < 500:
        clock.now_s += wait_s
        wait_s = throttle.admit(ALICE)
    for number in range(5000):
        throttle.admit(f"{number}@example.org")
        clock.now_s += 0.01
    assert throttle.admit(ALICE) >= wait_s - 60
