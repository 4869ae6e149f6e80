"""The cost of a simulated hospital: what is measured is a real round of hospitals read from disk."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import simulation as benchmark
from benchmarks.simulation import Cost, OnDisk
from federation.simulation.randomness import Randomness
from federation.simulation.simulation import Simulation
from federation.strategy.server_optimizer import ServerState


@pytest.mark.parametrize("algorithm", benchmark.ALGORITHMS)
def test_hospitals_on_disk_train_and_move_the_model(tmp_path: Path, algorithm: str) -> None:
    benchmark.draw(tmp_path, patients=4)
    hospitals = OnDisk(folder=tmp_path, count=12, patients=4)
    plan = benchmark.plan(hospitals, algorithm)
    first, last = hospitals.training("hospital-1"), hospitals.training("hospital-11")
    assert first.patients == 4 and np.array_equal(first.images, last.images)
    assert not np.array_equal(first.images, hospitals.training("hospital-2").images)
    simulation = Simulation(plan, hospitals, randomness=Randomness(seed=0), folder=tmp_path / "own")
    before = ServerState.first(plan)
    after, came = simulation.round(1, before)
    assert len(came.trained) == 12 and not np.array_equal(before.weights, after.weights)
    assert len(list((tmp_path / "own").glob("*.npy"))) == (12 if algorithm == "SCAFFOLD" else 0)


def test_the_table_sets_each_size_against_the_smallest() -> None:
    costs = [
        Cost(hospitals=size, algorithm="FedAvg", seconds=(s, s, 2 * s), peak_mib=300.0)
        for size, s in ((10, 0.010), (1000, 0.011))
    ]
    assert benchmark.table(costs).splitlines()[2:] == [
        "| FedAvg | 10 | 10.00 ± 5.00 | 1.00 | 300 |",
        "| FedAvg | 1,000 | 11.00 ± 5.50 | 1.10 | 300 |",
    ]


@pytest.mark.slow
def test_the_command_measures_processes_of_their_own() -> None:
    """Takes its time: two processes load torch."""
    arguments = ["--sizes", "2,3", "--rounds", "2", "--patients", "4", "--algorithms", "SCAFFOLD"]
    told = CliRunner().invoke(benchmark.app, arguments)
    assert told.exit_code == 0, told.output
    assert [line.split("|")[2].strip() for line in told.output.splitlines()[2:]] == ["2", "3"]
