"""The same rows as runs of MLflow, for those who look at their experiments there."""

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any

from federation.experiments.cell import Cell
from federation.experiments.results_table import Record
from federation.experiments.spec import epsilon_text
from syft_code.errors import Unavailable, require


def require_installed() -> None:
    """Raise `Unavailable` unless MLflow can be imported."""
    require(
        importlib.util.find_spec("mlflow") is not None,
        "MLflow must be installed to log to it, and is not: pip install 'consilium[mlflow]'. The "
        "same figures are in results.csv without it.",
        error=Unavailable,
    )


def log(name: str, cells: Sequence[Cell], rows: Sequence[Record], *, uri: str) -> None:
    """One run for each finished cell that has none yet, by its key; figures of every round."""
    mlflow: Any = importlib.import_module("mlflow")
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment(name)
    for cell in cells:
        own = [row for row in rows if row["cell"] == cell.key]
        if not own or _is_there(mlflow, cell.key):
            continue
        with mlflow.start_run(run_name=cell.key):
            mlflow.set_tags({"cell": cell.key, "stand_in": str(own[0]["stand_in"])})
            mlflow.log_params(_params(cell, own[0]))
            for row in own:
                mlflow.log_metric(_metric(row), row["value"], step=row["round"])


def _is_there(mlflow: Any, key: str) -> bool:
    found = mlflow.search_runs(
        filter_string=f"tags.cell = '{key}'", max_results=1, output_format="list"
    )
    return bool(found)


def _params(cell: Cell, row: Record) -> dict[str, object]:
    labels = ("study", "algorithm", "split", "lever", "seed")
    found: dict[str, object] = {name: getattr(cell, name) for name in labels}
    found["epsilon"] = epsilon_text(cell.epsilon)
    return found | {name: row[name] for name in ("rounds", "noise_multiplier", "hospitals")}


def _metric(row: Record) -> str:
    """A name that MLflow takes: letters, digits, spaces, slashes and the like."""
    parts = (row["scope"].replace(",", ""), row["site"], row["trained_at"], row["metric"])
    return "/".join(part for part in parts if part)
