"""Ray and MLflow: not needed, and the same figures with them."""

import importlib.util
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from federation.cli import experiment_commands
from federation.experiments import mlflow_log, run, spec
from federation.experiments.cell import cells
from federation.experiments.run import How
from federation.simulation import ray_cluster
from syft_code.errors import Unavailable
from tests.federation.experiments import toy

QUIET = Console(quiet=True)
HAS_RAY = importlib.util.find_spec("ray") is not None
HAS_MLFLOW = importlib.util.find_spec("mlflow") is not None
SMALL = toy.TOML.replace("seeds = [0, 1]", "seeds = [0]").replace('"none", 8', '"none"')


def written(folder: Path) -> Path:
    path = folder / "toy.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


@pytest.mark.skipif(not HAS_RAY, reason="Ray is not installed: pip install 'consilium[cluster]'")
@pytest.mark.filterwarnings("ignore")  # of Ray's own
@pytest.mark.parametrize("cores", [1, 64], ids=["a cell a task", "hospitals' rounds as tasks"])
def test_a_ray_cluster_gives_the_same_bytes_as_processes_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    experiment = spec.load(written(tmp_path))
    monkeypatch.setattr(ray_cluster, "cores", lambda ray: cores)
    for name, how in (("here", How(workers=1)), ("ray", How(cluster=ray_cluster.LOCAL))):
        run.run(experiment, toy.load, tmp_path / name, how, console=QUIET)
    for name in ("results.csv", "results.parquet", "report.md"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "ray" / name).read_bytes()


@pytest.mark.skipif(HAS_RAY, reason="Ray is installed")
def test_without_ray_a_sentence_says_how_to_get_it_or_do_without(tmp_path: Path) -> None:
    experiment = spec.load(written(tmp_path))
    with pytest.raises(Unavailable, match=r"consilium\[cluster\].*Without --cluster"):
        run.run(experiment, toy.load, tmp_path, How(cluster="local"), console=QUIET)


@pytest.mark.skipif(
    not HAS_MLFLOW, reason="MLflow is not installed: pip install 'consilium[mlflow]'"
)
@pytest.mark.filterwarnings("ignore")  # of MLflow's own
def test_mlflow_has_a_run_for_each_cell_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # no database is needed for a test

    experiment = spec.load(written(tmp_path))
    rows = run.run(experiment, toy.load, tmp_path / "out", How(workers=1), console=QUIET)
    uri = (tmp_path / "mlruns").as_uri()
    for _ in range(2):
        mlflow_log.log(experiment.name, cells(experiment), rows, uri=uri)
    found = mlflow.search_runs(experiment_names=["toy"], output_format="list")
    assert {one.data.tags["cell"] for one in found} == {cell.key for cell in cells(experiment)}
    assert len(found) == len(cells(experiment))
    (pooled,) = [one for one in found if one.data.params["algorithm"] == "pooled"]
    (auc,) = [
        row["value"]
        for row in rows
        if (row["scope"], row["site"], row["metric"]) == ("pooled", "", "auc") and row["round"] == 4
    ]
    assert pooled.data.metrics["pooled/auc"] == pytest.approx(auc)
    assert pooled.data.tags["stand_in"] == "True"


@pytest.mark.skipif(HAS_MLFLOW, reason="MLflow is installed")
def test_without_mlflow_a_sentence_says_so_before_anything_runs(tmp_path: Path) -> None:
    app, out = experiment_commands.app(toy.load), tmp_path / "out"
    told = CliRunner().invoke(
        app, ["run", str(written(tmp_path)), "--out", str(out), "--mlflow", "file:mlruns"]
    )
    assert told.exit_code in (1, 2) and "results.csv" in told.output
    assert not out.exists()
