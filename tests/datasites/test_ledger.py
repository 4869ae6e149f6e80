"""The ledger reserves before it runs, once, and never forgets."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from datasites.ledger import Ledger, Spend
from policies.rules import Budget
from syft_code import accounting
from syft_code.accounting import DpSgdEvent
from syft_code.errors import BudgetExceeded, Refused

ROUND = DpSgdEvent(noise_multiplier=1.0, sample_rate=0.2, steps=5)
WIDE = Budget(epsilon=100.0, delta=1e-5)


def spend(number: int, *, study: str = "a", weights: str = "w") -> Spend:
    return Spend(
        asset="skin", plan_hash=study, purpose="train", round=number, weights_sha256=weights
    )


def fitting(rounds: int) -> Budget:
    """A budget that so many rounds fit into, and no more."""
    here = accounting.epsilon([ROUND] * rounds, delta=1e-5)
    more = accounting.epsilon([ROUND] * (rounds + 1), delta=1e-5)
    return Budget(epsilon=(here + more) / 2, delta=1e-5)


def test_second_run_past_the_budget_is_denied(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    budget = fitting(1)
    assert ledger.reserve(spend(1), ROUND, budget=budget, study_budget=WIDE)
    with pytest.raises(BudgetExceeded, match="is left"):
        ledger.reserve(spend(2), ROUND, budget=budget, study_budget=WIDE)
    assert ledger.events("skin") == [ROUND]


def test_a_study_can_be_capped_below_the_asset(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    assert ledger.reserve(spend(1), ROUND, budget=WIDE, study_budget=fitting(1))
    with pytest.raises(BudgetExceeded):
        ledger.reserve(spend(2), ROUND, budget=WIDE, study_budget=fitting(1))
    assert ledger.reserve(spend(1, study="b"), ROUND, budget=WIDE, study_budget=fitting(1))


def test_studies_share_one_assets_budget(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    assert ledger.reserve(spend(1, study="a"), ROUND, budget=fitting(1), study_budget=WIDE)
    with pytest.raises(BudgetExceeded):
        ledger.reserve(spend(1, study="b"), ROUND, budget=fitting(1), study_budget=WIDE)


def test_the_same_round_again_is_charged_once_and_another_input_is_refused(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    assert ledger.reserve(spend(1), ROUND, budget=WIDE, study_budget=WIDE)
    assert not ledger.reserve(spend(1), ROUND, budget=WIDE, study_budget=WIDE)
    with pytest.raises(Refused, match="other weights"):
        ledger.reserve(spend(1, weights="v"), ROUND, budget=WIDE, study_budget=WIDE)
    assert len(ledger.events("skin")) == 1


def test_twenty_rounds_at_once_against_a_budget_for_three(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    budget = fitting(3)

    def attempt(number: int) -> bool:
        try:
            return ledger.reserve(spend(number), ROUND, budget=budget, study_budget=WIDE)
        except BudgetExceeded:
            return False

    with ThreadPoolExecutor(20) as pool:
        granted = sum(pool.map(attempt, range(20)))
    assert granted == len(ledger.events("skin")) == 3


WRITER = """
import sys
from pathlib import Path
from tests.datasites.test_ledger import ROUND, WIDE, spend
from datasites.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
for number in range(1_000_000):
    ledger.reserve(spend(number), ROUND, budget=WIDE, study_budget=WIDE)
    print(number, flush=True)  # from here on a release could follow
"""


def test_what_was_granted_is_on_disk_when_the_process_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    for attempt in range(3):
        path.unlink(missing_ok=True)
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        assert process.stdout is not None
        granted = [process.stdout.readline() for _ in range(2 + attempt)]
        time.sleep(0.01 * attempt)
        os.kill(process.pid, signal.SIGKILL)
        with process:  # closes the pipe and waits
            granted += process.stdout.readlines()
        told = [line for line in granted if line.endswith(b"\n")]
        assert len(Ledger(path).events("skin")) >= len(told) >= 2
