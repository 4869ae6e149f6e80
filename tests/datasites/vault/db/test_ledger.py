"""The ledger reserves before it runs, once, and never forgets."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from datasites.vault.db.database import Database
from datasites.vault.db.ledger import Caps, Ledger, Spend
from policies.site_policy import Budget
from syft_code.errors import BudgetExceeded, NotApproved, Refused
from syft_code.privacy import accounting
from syft_code.privacy.accounting import DpSgdEvent

ROUND = DpSgdEvent(noise_multiplier=1.0, sample_rate=0.2, steps=5)
WIDE = Budget(epsilon=100.0, delta=1e-5)


def spend(
    number: int,
    *,
    study: str = "a",
    weights: str = "w",
    asset: str = "skin",
    researcher: str = "alice",
) -> Spend:
    return Spend(
        asset=asset,
        plan_hash=study,
        researcher=researcher,
        researcher_key=f"key of {researcher}",
        purpose="train",
        round=number,
        weights_sha256=weights,
    )


def caps(
    asset: Budget = WIDE,
    *,
    study: Budget = WIDE,
    researcher: Budget | None = None,
    rounds: int = 1_000_000,
) -> Caps:
    return Caps(of_asset=lambda name: asset, study=(study,), researcher=researcher, rounds=rounds)


def fitting(rounds: int) -> Budget:
    """A budget that so many rounds fit into, and no more."""
    here = accounting.epsilon([ROUND] * rounds, delta=1e-5)
    more = accounting.epsilon([ROUND] * (rounds + 1), delta=1e-5)
    return Budget(epsilon=(here + more) / 2, delta=1e-5)


def test_second_run_past_the_budget_is_denied(tmp_path: Path) -> None:
    ledger = Ledger(Database(tmp_path / "ledger.db"))
    budget = fitting(1)
    assert ledger.reserve(spend(1), ROUND, caps(budget))
    with pytest.raises(BudgetExceeded, match="is left"):
        ledger.reserve(spend(2), ROUND, caps(budget))
    assert ledger.events("skin") == [ROUND]


def test_a_study_can_be_capped_below_the_asset(tmp_path: Path) -> None:
    ledger = Ledger(Database(tmp_path / "ledger.db"))
    assert ledger.reserve(spend(1), ROUND, caps(study=fitting(1)))
    with pytest.raises(BudgetExceeded):
        ledger.reserve(spend(2), ROUND, caps(study=fitting(1)))
    assert ledger.reserve(spend(1, study="b"), ROUND, caps(study=fitting(1)))


def test_studies_share_one_assets_budget(tmp_path: Path) -> None:
    ledger = Ledger(Database(tmp_path / "ledger.db"))
    assert ledger.reserve(spend(1, study="a"), ROUND, caps(fitting(1)))
    with pytest.raises(BudgetExceeded):
        ledger.reserve(spend(1, study="b"), ROUND, caps(fitting(1)))


def test_the_same_round_again_is_charged_once_and_another_input_is_refused(tmp_path: Path) -> None:
    ledger = Ledger(Database(tmp_path / "ledger.db"))
    assert ledger.reserve(spend(1), ROUND, caps())
    assert not ledger.reserve(spend(1), ROUND, caps())
    with pytest.raises(Refused, match="other weights"):
        ledger.reserve(spend(1, weights="v"), ROUND, caps())
    assert len(ledger.events("skin")) == 1


def test_twenty_rounds_at_once_against_a_budget_for_three(tmp_path: Path) -> None:
    ledger = Ledger(Database(tmp_path / "ledger.db"))
    budget = fitting(3)

    def attempt(number: int) -> bool:
        try:
            return ledger.reserve(spend(number), ROUND, caps(budget))
        except BudgetExceeded:
            return False

    with ThreadPoolExecutor(20) as pool:
        granted = sum(pool.map(attempt, range(20)))
    assert granted == len(ledger.events("skin")) == 3


WRITER = """
import sys
from pathlib import Path
from tests.datasites.vault.db.test_ledger import ROUND, caps, spend
from datasites.vault.db.ledger import Ledger
from datasites.vault.db.database import Database
ledger = Ledger(Database(Path(sys.argv[1])))
for number in range(1_000_000):
    ledger.reserve(spend(number), ROUND, caps())
    print(number, flush=True)  # from here on a release could follow
"""


def test_what_was_granted_is_on_disk_when_the_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    for attempt in range(3):
        path.unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[4],
        )
        assert process.stdout is not None
        granted = [process.stdout.readline() for _ in range(2 + attempt)]
        time.sleep(0.01 * attempt)
        os.kill(process.pid, signal.SIGKILL)
        with process:  # closes the pipe and waits
            granted += process.stdout.readlines()
        told = [line for line in granted if line.endswith(b"\n")]
        assert len(Ledger(Database(path)).events("skin")) >= len(told) >= 2


def test_one_researchers_studies_share_a_cap_and_anothers_do_not(tmp_path: Path) -> None:
    ledger = Ledger(Database(tmp_path / "ledger.db"))
    limits = caps(researcher=fitting(1))
    assert ledger.reserve(spend(1, study="a"), ROUND, limits)
    with pytest.raises(BudgetExceeded):
        ledger.reserve(spend(1, study="b"), ROUND, limits)
    assert ledger.reserve(spend(1, study="c", researcher="bob"), ROUND, limits)


def test_an_approval_covers_so_many_rounds_and_no_more(tmp_path: Path) -> None:
    ledger = Ledger(Database(tmp_path / "ledger.db"))
    for number in (1, 2):
        assert ledger.reserve(spend(number), ROUND, caps(rounds=2))
    assert not ledger.reserve(spend(2), ROUND, caps(rounds=2)), "the same round again is no third"
    with pytest.raises(NotApproved, match="covers 2 rounds"):
        ledger.reserve(spend(3), ROUND, caps(rounds=2))


def test_what_is_spent_on_a_patient_counts_under_every_name_of_theirs(tmp_path: Path) -> None:
    ledger = Ledger(Database(tmp_path / "ledger.db"))
    ledger.register("skin", {"anna": False, "ben": False})
    ledger.register("skin-again", {"ben": False, "carl": True})
    ledger.register("lungs", {"dora": False})
    assert ledger.reserve(spend(1), ROUND, caps(fitting(1)))
    with pytest.raises(BudgetExceeded):
        ledger.reserve(spend(1, study="b", asset="skin-again"), ROUND, caps(fitting(1)))
    assert ledger.reserve(spend(1, study="c", asset="lungs"), ROUND, caps(fitting(1)))
    assert ledger.events("skin-again") == [ROUND]
    assert ledger.sharing("skin") == ["skin", "skin-again"]


def test_the_tightest_budget_among_assets_that_share_a_patient_holds(tmp_path: Path) -> None:
    ledger = Ledger(Database(tmp_path / "ledger.db"))
    ledger.register("skin", {"anna": False})
    ledger.register("trial", {"anna": False})
    budgets = {"skin": WIDE, "trial": fitting(1)}
    limits = Caps(of_asset=budgets.__getitem__, study=(WIDE,))
    assert ledger.reserve(spend(1), ROUND, limits)
    with pytest.raises(BudgetExceeded):
        ledger.reserve(spend(2), ROUND, limits)


def test_a_patient_stays_in_one_group_under_every_name_and_for_ever(tmp_path: Path) -> None:
    ledger = Ledger(Database(tmp_path / "ledger.db"))
    ledger.register("skin", {"anna": False, "ben": True})
    for asset in ("skin", "skin-again"):
        with pytest.raises(Refused, match="stay in the group"):
            ledger.register(asset, {"carl": False, "ben": False})
    assert ledger.holding("carl") == [], "all of it or nothing"


def test_a_researcher_is_the_account_and_the_key(tmp_path: Path) -> None:
    ledger = Ledger(Database(tmp_path / "ledger.db"))
    limits = caps(researcher=fitting(1))
    assert ledger.reserve(spend(1, study="a"), ROUND, limits)
    renamed = replace(spend(1, study="b", researcher="bob"), researcher_key="key of alice")
    with pytest.raises(BudgetExceeded):
        ledger.reserve(renamed, ROUND, limits)
    with pytest.raises(BudgetExceeded):
        ledger.reserve(replace(spend(1, study="c"), researcher_key="new"), ROUND, limits)


def test_each_approvers_cap_on_a_study_holds_at_its_own_delta(tmp_path: Path) -> None:
    ledger = Ledger(Database(tmp_path / "ledger.db"))
    strict = Budget(epsilon=accounting.epsilon([ROUND], delta=1e-9) * 1.01, delta=1e-9)
    limits = Caps(of_asset=lambda name: WIDE, study=(fitting(5), strict))
    assert ledger.reserve(spend(1), ROUND, limits)
    with pytest.raises(BudgetExceeded):
        ledger.reserve(spend(2), ROUND, limits)


def test_only_what_was_paid_for_may_leave(tmp_path: Path) -> None:
    ledger = Ledger(Database(tmp_path / "ledger.db"))
    with pytest.raises(Refused, match="paid for"):
        ledger.commit(spend(1))
    ledger.reserve(spend(1), ROUND, caps())
    ledger.commit(spend(1))
