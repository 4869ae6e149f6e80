"""However hospitals' rounds are worked out, the bytes are the same; and who takes part, and how often."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from federation.simulation import ray_cluster
from federation.simulation.client_states import ClientStateFiles
from federation.simulation.hospital_data import InMemoryHospitals
from federation.simulation.participation import Participation
from federation.simulation.randomness import Randomness
from federation.simulation.simulation import Simulation
from federation.strategy.server_optimizer import ServerState
from syft_code.errors import InvalidInput
from syft_code.plans.algorithms import Algorithm, FedAvg, Scaffold
from syft_code.plans.plan import Plan
from tests.federation.simulation.test_simulation import PUBLIC, plan, toys

pytestmark = pytest.mark.thorough
HOSPITALS = 12


def federation(algorithm: Algorithm) -> tuple[Plan, InMemoryHospitals]:
    hospitals = toys(HOSPITALS)
    return plan(hospitals, algorithm=algorithm), hospitals


def played(agreed: Plan, hospitals: object, rounds: int = 3, **how: object) -> list[bytes]:
    """The model after each round."""
    simulation = Simulation(agreed, hospitals, randomness=Randomness(seed=3), **how)  # type: ignore[arg-type]
    model, seen = ServerState.first(agreed, PUBLIC), []
    try:
        for number in range(1, rounds + 1):
            model, facts = simulation.round(number, model)
            seen.append(model.delivered.tobytes() + ",".join(facts.trained).encode())
    finally:
        simulation.close()
    return seen


@pytest.mark.parametrize(
    "algorithm",
    [
        pytest.param(FedAvg(), id="FedAvg"),
        pytest.param(Scaffold(), id="SCAFFOLD", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("workers", [pytest.param(2, marks=pytest.mark.slow), 3])
def test_processes_give_the_bytes_of_one_process(algorithm: Algorithm, workers: int) -> None:
    agreed, hospitals = federation(algorithm)
    who = Participation(sampled=7, drop_out=0.2)
    alone = played(agreed, hospitals, participation=who)
    assert played(agreed, hospitals, participation=who, workers=workers) == alone
    assert len(set(alone)) == len(alone), "each round moves the model"


@pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="Ray is not installed: pip install 'consilium[cluster]'",
)
@pytest.mark.servers
def test_ray_gives_the_bytes_of_one_process() -> None:
    agreed, hospitals = federation(Scaffold())
    assert played(agreed, hospitals, cluster=ray_cluster.LOCAL) == played(agreed, hospitals)


def test_a_sample_is_drawn_anew_each_round_and_the_same_again() -> None:
    names, randomness = [f"h{i}" for i in range(40)], Randomness(seed=5)
    who = Participation(sampled=10)
    rounds = [who.of_round(names, number, randomness) for number in range(1, 30)]
    assert all(len(one) == 10 and list(one) == sorted(one, key=names.index) for one in rounds)
    assert rounds == [who.of_round(names, number, randomness) for number in range(1, 30)]
    assert len({name for one in rounds for name in one}) == len(names)


def test_a_line_that_is_down_stays_down_for_its_rounds() -> None:
    names, randomness = [f"h{i}" for i in range(200)], Randomness(seed=5)
    who = Participation(drop_out=0.3, for_rounds=4)
    there = [set(who.of_round(names, number, randomness)) for number in range(1, 9)]
    assert there[0] == there[1] == there[2] == there[3] != there[4] == there[7]
    assert 110 < len(there[0]) < 170


@pytest.mark.parametrize(
    "wrong", [{"sampled": -1}, {"drop_out": 1.0}, {"drop_out": -0.1}, {"for_rounds": 0}]
)
def test_a_participation_that_is_none_is_one_sentence(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="A participation must have"):
        Participation(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("in_files", [True, False])
def test_a_hospital_that_was_away_goes_on_with_what_it_kept(in_files: bool, tmp_path: Path) -> None:
    states = ClientStateFiles(tmp_path if in_files else None, size=2)
    assert states.before("north", 4).tolist() == [0, 0]
    states.after("north", 4, np.array([4.0, 4]))
    states.after("north", 9, np.array([9.0, 9]))
    assert states.before("north", 12).tolist() == [9, 9]
    assert states.before("north", 9).tolist() == [4, 4], "round 9 can run again"
    states.after("north", 9, np.array([9.5, 9]))
    states.after("north", 12, np.array([12.0, 12]))
    assert states.before("north", 12).tolist() == [9.5, 9]
    assert states.before("north", 13).tolist() == [12, 12]


def test_a_plan_stays_as_it_was_without_enough_hospitals() -> None:
    agreed, hospitals = federation(FedAvg())
    agreed = replace(agreed, min_hospitals=5)
    alone = Simulation(
        agreed, hospitals, randomness=Randomness(seed=3), participation=Participation(sampled=4)
    )
    model = ServerState.first(agreed, PUBLIC)
    assert alone.round(1, model)[0] is model
