"""One tidy table of an experiment: a row for each cell and figure, as CSV and as Parquet."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from federation.experiments.cell import Cell
from federation.experiments.spec import epsilon_text
from syft_code.errors import InvalidInput, require
from syft_code.runtime.durable_files import write_durably

FORMAT = 2
"""Of a cell's file."""
COLUMNS: dict[str, Any] = {
    "study": pa.string(),
    "algorithm": pa.string(),
    "epsilon": pa.string(),
    "split": pa.string(),
    "lever": pa.string(),
    "seed": pa.int64(),
    "scope": pa.string(),
    "site": pa.string(),
    "trained_at": pa.string(),
    "round": pa.int64(),
    "metric": pa.string(),
    "value": pa.float64(),
    "patients": pa.int64(),
    "hospitals": pa.int64(),
    "rounds": pa.int64(),
    "noise_multiplier": pa.float64(),
    "epsilon_spent": pa.float64(),
    "lost": pa.int64(),
    "bytes_up": pa.int64(),
    "bytes_down": pa.int64(),
    "stand_in": pa.bool_(),
    "cell": pa.string(),
}
"""`bytes_up` and `bytes_down` are of one hospital in all rounds. `epsilon` is "none", "clipped" or
the target; `epsilon_spent` is empty without noise. `lost` counts contributions."""

Record = dict[str, Any]
RESULTS, TIMES = "results.csv", "timings.csv"


def records(cells: Sequence[Cell], folder: Path) -> list[Record]:
    """The rows of all cells that are finished, in the grid's order."""
    found: list[Record] = []
    for cell, finished in _finished(cells, folder):
        found += _records(cell, finished)
    return found


def _finished(cells: Sequence[Cell], folder: Path) -> Iterator[tuple[Cell, Record]]:
    """What stands in the files of the cells that are finished.

    Raises:
        InvalidInput: if another version of the software wrote one.
    """
    for cell in cells:
        path = folder / "cells" / f"{cell.key}.json"
        if path.exists():
            finished = json.loads(path.read_text(encoding="utf-8"))
            require(
                finished["format"] == FORMAT,
                f"A cell's file must be of format {FORMAT}, and {path.name} is of format "
                f"{finished['format']}: run the experiment in a new folder.",
                error=InvalidInput,
            )
            yield cell, finished


def _records(cell: Cell, finished: dict[str, Any]) -> list[Record]:
    common = {
        "study": cell.study,
        "algorithm": cell.algorithm,
        "epsilon": epsilon_text(cell.epsilon),
        "split": cell.split,
        "lever": cell.lever,
        "seed": cell.seed,
        "hospitals": len(finished["hospitals"]),
        "cell": cell.key,
    }
    same = ("rounds", "noise_multiplier", "epsilon_spent", "lost", "bytes_up", "bytes_down")
    common |= {name: finished[name] for name in (*same, "stand_in")}
    rows = [common | row for row in finished["rows"]]
    return [{name: _typed(name, row[name]) for name in COLUMNS} for row in rows]


def _typed(name: str, value: Any) -> Any:
    """A value of a column's type: canonical JSON writes a float without a fraction as an integer."""
    is_number = COLUMNS[name] == pa.float64() and value is not None
    return float(value) if is_number else value


def write(cells: Sequence[Cell], folder: Path) -> list[Record]:
    """Write results.csv, results.parquet and timings.csv, each whole or not at all.

    Guarantee: the results follow from the cells alone: the same bytes, whether or not the
    experiment was stopped in between. Seconds depend on the machine, and so stand apart.
    """
    found = records(cells, folder)
    write_durably(folder / RESULTS, _csv(found, list(COLUMNS)))
    columns = {name: [row[name] for row in found] for name in COLUMNS}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, schema=pa.schema(list(COLUMNS.items()))), buffer)
    write_durably(folder / "results.parquet", buffer.getbuffer())
    write_durably(folder / TIMES, _csv(times(cells, folder), ["cell", "seconds"]))
    return found


def remarks(cells: Sequence[Cell], folder: Path) -> list[str]:
    """What is to be known of the data of all cells that are finished, each sentence once."""
    return list(
        dict.fromkeys(one for _, done in _finished(cells, folder) for one in done["remarks"])
    )


def times(cells: Sequence[Cell], folder: Path) -> list[Record]:
    """Seconds of each cell's training, all hospitals one after the other on one core."""
    paths = [(cell.key, folder / "times" / f"{cell.key}.json") for cell in cells]
    return [{"cell": key} | json.loads(path.read_text()) for key, path in paths if path.exists()]


def _csv(rows: Sequence[Record], columns: Sequence[str]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")
