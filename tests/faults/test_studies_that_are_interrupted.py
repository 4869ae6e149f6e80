"""A whole study while its parties fail: the researcher is killed, a hospital or an aggregator goes."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from federation.researcher.collector import Collected
from federation.researcher.outcome import model_sha256
from federation.researcher.study import GO_ON
from federation.strategy.server_optimizer import ServerState, step
from syft_code.arrays import Weights
from syft_code.plans.messages import RoundCall
from syft_code.plans.plan import Plan
from tests.faults.desk import trained
from tests.faults.hospitals import Hospitals, hospitals
from tests.faults.parties import (
    FOUR,
    HOSPITALS,
    LONG,
    RESEARCHER,
    THREE,
    Party,
    in_the_ring,
    make_plan,
)
from tests.faults.researcher import study

MIDDLING = LONG | {"features": 100}
SHARE_BYTES = 5_000_000
ROUNDS = 2


def the_model(plan: Plan, sets: Mapping[int, tuple[str, ...]]) -> Weights:
    """What a study comes to that is never interrupted: plain sums over these sets."""
    model = ServerState.first(plan)
    for number, names in sets.items():
        broadcast = model.broadcast("train").astype("<f4").tobytes()
        total = np.zeros(0)
        for place, name in enumerate(names):
            call = RoundCall(
                plan_hash=plan.hash, hospital=name, purpose="train", round=number, weights_sha256=""
            )
            mine = in_the_ring(plan, name, trained(plan, call, broadcast))
            total = total + mine if place else mine
        summed = Collected(hospitals=tuple(sorted(names)), groups=(names,), totals=(total,))
        model = step(plan, number, model, summed)
    return model.weights


@contextmanager
def roster(folder: Path, plan: Plan) -> Iterator[Hospitals]:
    with hospitals(folder, HOSPITALS, plan) as made:
        (folder / "addresses.json").write_text(json.dumps(addresses_of(made)))
        (folder / "researcher.key").write_bytes(bytes(RESEARCHER))
        yield made


def addresses_of(made: Hospitals) -> dict[str, str]:
    return {name: line.address for name, line in made.lines.items()}


def each_round_once(made: Hospitals) -> bool:
    """Whether every hospital trained and evaluated each round once."""
    once = ["train 1", "train 2", "evaluate 2"]
    return all(made.charged(name) == once for name in FOUR)


@contextmanager
def researcher(folder: Path) -> "Iterator[subprocess.Popen[str]]":
    command = [sys.executable, "-m", "tests.faults.researcher", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_a_researcher_who_is_killed_in_the_middle_of_a_round_goes_on_when_started_again(
    parties: list[Party], tmp_path: Path
) -> None:
    plan, line = make_plan(parties, rounds=ROUNDS, **MIDDLING), parties[2].line
    with roster(tmp_path, plan) as made:
        line.after(SHARE_BYTES * 5 // 2, "up", "hold")  # in the middle of round 1's shares
        line.after(SHARE_BYTES * 3 // 2, "down", "hold")  # in the middle of round 2's sum
        for killed in (1, 2):
            with researcher(tmp_path):
                line.wait_until("hold", times=killed)
            line.go_on()
        with researcher(tmp_path) as process:
            said, _ = process.communicate(timeout=120)
        assert said.splitlines()[:-1] == ["round 1", "round 2"]
        model = model_sha256(the_model(plan, dict.fromkeys((1, 2), FOUR)))
        assert said.splitlines()[-1] == f"model {model}"
        assert each_round_once(made)
        assert line.crossed["up"] < 4 * ROUNDS * SHARE_BYTES * 1.5


def test_a_hospital_that_goes_away_in_the_middle_of_a_share_misses_that_round_only(
    parties: list[Party], tmp_path: Path
) -> None:
    plan = make_plan(parties, rounds=ROUNDS, **MIDDLING)
    with roster(tmp_path, plan) as made:
        line = made.lines["vienna"]
        there = line.target
        line.after(SHARE_BYTES // 2, "down", "hold")
        with (
            study(plan, addresses_of(made), RESEARCHER, patience_s=1.0) as running,
            ThreadPoolExecutor(1) as pool,
        ):
            training = pool.submit(
                running.train, on_round=lambda *_: setattr(line, "target", there)
            )
            line.wait_until("hold")
            line.target = "127.0.0.1:1"  # where nobody listens
            line.cut()
            line.go_on()
            outcome = training.result()
    assert outcome.stopped == ""
    assert [record.trained for record in outcome.rounds] == [THREE, FOUR]
    assert [record.absent for record in outcome.rounds] == [1, 0]
    assert np.array_equal(outcome.weights, the_model(plan, {1: THREE, 2: FOUR}))


@pytest.mark.parametrize("needed", [None, 2], ids=["all of 3", "2 of 3"])
def test_a_study_whose_aggregator_goes_away_stops_or_goes_on_as_its_plan_says(
    parties: list[Party], tmp_path: Path, needed: int | None
) -> None:
    plan = make_plan(parties, rounds=ROUNDS, needed=needed)
    with (
        roster(tmp_path, plan) as made,
        study(plan, addresses_of(made), RESEARCHER, patience_s=1.0) as running,
    ):
        outcome = running.train(
            on_round=lambda record, _: parties[2].kill() if record.round == 1 else None
        )
        if needed is None:
            assert outcome.stopped.startswith("Aggregator agg-3 must answer and did not")
            assert outcome.stopped.endswith(GO_ON)
            assert len(outcome.rounds) == 1
            parties[2].start()
            outcome = running.train()
        assert outcome.stopped == ""
        assert [record.trained for record in outcome.rounds] == [FOUR] * ROUNDS
        assert np.array_equal(outcome.weights, the_model(plan, dict.fromkeys((1, 2), FOUR)))
        assert each_round_once(made)
