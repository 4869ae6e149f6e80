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
def test_hospitals_on_disk_train_and_move_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    monkeypatch.setattr(benchmark, "PATIENTS", (4, 5, 6))
    benchmark.draw(tmp_path)
    hospitals = OnDisk(folder=tmp_path, count=12)
    plan = benchmark.plan(hospitals, algorithm)
    first, last = hospitals.training("hospital-1"), hospitals.training("hospital-10")
    assert first.patients == hospitals.declared("hospital-10") == 5 and np.array_equal(
        first.images, last.images
    )
    assert not np.array_equal(first.images, hospitals.training("hospital-2").images)
    simulation = Simulation(plan, hospitals, randomness=Randomness(seed=0), folder=tmp_path / "own")
    before = ServerState.first(plan)
    after, came = simulation.round(1, before)
    assert len(came.trained) == 12 and not np.array_equal(before.weights, after.weights)
    assert len(list((tmp_path / "own").glob("*.f8"))) == (12 if algorithm == "SCAFFOLD" else 0)


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
def test_the_command_measures_processes_of_their_own(tmp_path: Path) -> None:
    """Takes its time: two processes load torch."""
    arguments = ["--sizes", "2,3", "--rounds", "2", "--algorithms", "SCAFFOLD"]
    arguments += ["--picture", str(tmp_path / "cost.svg")]
    told = CliRunner().invoke(benchmark.app, arguments)
    assert "SCAFFOLD" in (tmp_path / "cost.svg").read_text()
    assert told.exit_code == 0, told.output
    assert [line.split("|")[2].strip() for line in told.output.splitlines()[2:]] == ["2", "3"]
