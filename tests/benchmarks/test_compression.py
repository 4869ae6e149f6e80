"""The simulation is the real thing but for keys and transport, on a federation that learns nothing."""

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from benchmarks import compression as benchmark
from benchmarks.compression import Outcome, Scale, Scenario
from datasites.data.folders.reading import Reading
from datasites.data.readers.images import ham10000
from datasites.demo import stand_ins
from syft_code.secret_sharing import compression

pytestmark = pytest.mark.slow

TINY = Scale(size_px=16, channels=(2, 2), steps=8, sample_rate=0.5)
PLAIN = Scenario(name="plain", rounds=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stand-in") / "ham10000"
    stand_ins.write("ham10000", path, patients=120, seed=0)
    return path


@pytest.fixture(scope="module")
def reading(folder: Path) -> Reading:
    return ham10000.read(folder, size_px=16)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def outcome(reading: Reading, scenario: Scenario) -> Outcome:
    ((_, _, found),) = benchmark.run(reading, [0], scale=TINY, scenarios=[scenario])
    return found


def small(scenario: Scenario) -> Scenario:
    return replace(scenario, rounds=min(scenario.rounds, 4))


@pytest.mark.parametrize("scenario", benchmark.SCENARIOS, ids=lambda s: s.name)
def test_every_scenario_runs_and_costs_the_same_epsilon(
    reading: Reading, scenario: Scenario
) -> None:
    found, plain = outcome(reading, small(scenario)), outcome(reading, PLAIN)
    assert found.epsilon == pytest.approx(plain.epsilon)
    assert 0 <= found.lost < 1 and 0 <= found.balanced_accuracy <= 1


def test_the_same_seed_gives_the_same_outcome_and_another_one_does_not(reading: Reading) -> None:
    assert outcome(reading, PLAIN) == outcome(reading, PLAIN)
    ((_, _, other),) = benchmark.run(reading, [1], scale=TINY, scenarios=[PLAIN])
    assert other != outcome(reading, PLAIN)


def test_fewer_bits_and_fewer_places_are_fewer_bytes(reading: Reading) -> None:
    sizes = [
        outcome(reading, replace(PLAIN, **changes)).bytes_a_round
        for changes in (
            {"ring_bits": 64},
            {},
            {"ring_bits": 16},
            {"ring_bits": 8},
            {"ring_bits": 8, "kept": 0.1, "error_feedback": True},
        )
    ]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == len(sizes)
    halved = outcome(reading, replace(PLAIN, rounds=2))
    assert 2 * halved.bytes_of_study == outcome(reading, PLAIN).bytes_of_study


def test_what_is_past_the_bound_is_lost_without_feedback_and_not_with_it(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "SAFE", 0.5)
    monkeypatch.setattr(benchmark, "TIGHT", 0.5)
    eight = replace(PLAIN, ring_bits=8)
    assert outcome(reading, eight).lost > 0.3
    assert outcome(reading, replace(eight, error_feedback=True)).lost == 0.0


def test_feedback_is_handed_from_round_to_round(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[float] = []
    keep_back = compression.keep_back

    def listening(plan, hospital, number, wanted):  # type: ignore[no-untyped-def]
        values, residual = keep_back(plan, hospital, number, wanted)
        given.append(float(np.abs(residual).max()))
        return values, residual

    monkeypatch.setattr(compression, "keep_back", listening)
    outcome(reading, replace(PLAIN, kept=0.1, error_feedback=True))
    assert len(given) == 4 * benchmark.HOSPITALS and min(given) > 0


def test_the_command_prints_a_table_and_writes_what_it_has(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = (PLAIN, replace(PLAIN, name="8 bits", ring_bits=8))
    run = benchmark.run
    monkeypatch.setattr(
        benchmark, "run", lambda reading, seeds, scale: run(
            reading, seeds, scale=TINY, scenarios=chosen
        )
    )  # fmt: skip
    out = tmp_path / "out.csv"
    arguments = ["--data", str(folder), "--seeds", "2", "--out", str(out)]
    told = CliRunner().invoke(benchmark.app, arguments)
    assert told.exit_code == 0, told.output
    assert "| plain | 4 |" in told.output and " ± " in told.output
    with out.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["name"], row["seed"]) for row in rows] == [
        ("plain", "0"), ("8 bits", "0"), ("plain", "1"), ("8 bits", "1"),
    ]  # fmt: skip
