"""`python -m benchmarks` runs, and writes what it measured; no figure is held to a time here."""

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks.figures import Figure
from syft_code.errors import InvalidInput


def written(folder: Path) -> dict[str, list[str]]:
    content = json.loads((folder / "figures.json").read_text())
    assert content["machine"]["cores"] and (folder / "figures.svg").exists()
    found: dict[str, list[str]] = {}
    for row in content["figures"]:
        assert row["value"] > 0 and row["unit"], row
        found.setdefault(row["benchmark"], []).append(row["what"])
    return found


@pytest.mark.thorough
@pytest.mark.slow
def test_what_needs_no_server_is_measured_and_written(tmp_path: Path) -> None:
    benchmarks.main(["engine", "sharing", "volumes", "reading"], tiny=True, out=tmp_path)
    assert set(written(tmp_path)) == {"engine", "sharing", "volumes", "reading"}


@pytest.mark.slow
def test_a_simulation_is_measured_with_one_process_and_with_two(tmp_path: Path) -> None:
    benchmarks.main(["simulation"], tiny=True, out=tmp_path)
    assert "two processes against one" in written(tmp_path)["simulation"]


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.timeout(400)
def test_a_round_is_measured_through_real_parties(tmp_path: Path) -> None:
    benchmarks.main(["round"], tiny=True, out=tmp_path)
    assert written(tmp_path) == {"round": ["empty"]}


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_start_is_measured_with_what_it_holds_and_what_commands_take(tmp_path: Path) -> None:
    benchmarks.main(["start"], tiny=True, out=tmp_path)
    (found,) = written(tmp_path).values()
    assert {"up, first time", "up, again", "a hospital at rest (PSS)"} <= set(found)


def test_a_benchmark_that_is_none_is_one_sentence() -> None:
    with pytest.raises(InvalidInput, match="A benchmark must be one of round, start"):
        benchmarks.main(["speed"])


@pytest.mark.parametrize(
    ("value", "least", "met"), [(1.0, False, True), (1.3, False, False), (1.3, True, True)]
)
def test_a_goal_is_met_from_one_side(value: float, least: bool, met: bool) -> None:
    one = Figure(benchmark="x", what="y", value=value, unit="s", goal=1.2, least=least)
    assert one.met is met
    assert Figure(benchmark="x", what="y", value=value, unit="s").met is None
