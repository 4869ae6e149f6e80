"""Reading an owner's table: rows a second and peak memory, beside `pandas.read_csv` alone.

The table is drawn in the shape of the register of `symptoms`: ten columns of words, no identifiers. Each
reading has a process of its own, our reader's and pandas' in turns; a figure is the best of them in time, and
the most in memory. Pandas parses cells; the reader checks each against the schema, names the rows, codes them
and says what they say. Memory is the most that the process ever holds, libraries included.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.figures import Figure
from datasites.data import readers

ROWS = 2_700_000
REPEATS = 3
ROWS_PER_S = 50_000.0
PEAK_MIB = 2048.0
SIGNS = ("cough", "fever", "sore_throat", "shortness_of_breath", "head_ache")
_SCHEMA = """title = "A drawn register"
kind = "table"
file = "register.csv"
ignore = ["test_date"]
[label]
column = "corona_result"
classes = ["negative", "positive"]
leave_out = ["other"]
"""
_COLUMN = '[[column]]\nname = "{name}"\nkind = "category"\nvalues = {values}\nmissing = ["NULL"]\n'


def figures(*, tiny: bool) -> Iterator[Figure]:
    """Time and memory of both, in turns."""
    rows = 5_000 if tiny else ROWS
    with tempfile.TemporaryDirectory(prefix="consilium-reading-") as folder:
        _draw(Path(folder), rows)
        measured: dict[str, list[tuple[float, float]]] = {"reader": [], "pandas": []}
        for _ in range(1 if tiny else REPEATS):
            for who, found in measured.items():
                found.append(_apart(who, folder))
    seconds = {who: min(time_s for time_s, _ in found) for who, found in measured.items()}
    memory = {who: max(mib for _, mib in found) for who, found in measured.items()}
    yield Figure(
        benchmark="reading",
        what=f"a table of {rows:,} rows",
        value=rows / seconds["reader"],
        unit="rows/s",
        goal=None if tiny else ROWS_PER_S,
        least=True,
        peer=rows / seconds["pandas"],
        peer_name="pandas.read_csv",
    )
    yield Figure(
        benchmark="reading",
        what="its peak memory",
        value=memory["reader"],
        unit="MiB",
        goal=None if tiny else PEAK_MIB,
        peer=memory["pandas"],
        peer_name="pandas.read_csv",
    )


def _draw(folder: Path, rows: int) -> None:
    """A register and its schema; no patient stands behind it."""
    rng = np.random.default_rng(0)
    table = {
        "test_date": _words(
            rng,
            rows,
            [f"2020-{month:02}-{day:02}" for month in range(3, 9) for day in range(1, 29)],
        )
    }
    table |= {name: _words(rng, rows, ["0"] * 8 + ["1", "NULL"]) for name in SIGNS}
    table["corona_result"] = _words(rng, rows, ["negative"] * 45 + ["positive"] * 4 + ["other"])
    table["age_60_and_above"] = _words(rng, rows, ["No", "No", "Yes", "NULL"])
    table["gender"] = _words(rng, rows, ["female", "male"])
    pd.DataFrame(table).to_csv(folder / "register.csv", index=False)
    known = {name: ["0", "1"] for name in SIGNS}
    known |= {"age_60_and_above": ["No", "Yes"], "gender": ["female", "male"]}
    columns = [
        _COLUMN.format(name=name, values=json.dumps(values)) for name, values in known.items()
    ]
    (folder / "schema.toml").write_text(_SCHEMA + "".join(columns))


def _words(rng: np.random.Generator, rows: int, words: list[str]) -> NDArray[np.object_]:
    """Words drawn with the odds of their number in a list."""
    return np.array(words, dtype=object)[rng.integers(0, len(words), rows)]


def _apart(who: str, folder: str) -> tuple[float, float]:
    """Seconds and MiB of one reading in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.reading", who, folder]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    time_s, mib = json.loads(done.stdout)
    return float(time_s), float(mib)


def _read(who: str, folder: Path) -> None:
    start = time.perf_counter()
    if who == "pandas":
        pd.read_csv(folder / "register.csv")
    else:
        readers.read("table", folder)
    print(json.dumps([time.perf_counter() - start, _peak_mib()]))  # noqa: T201


def _peak_mib() -> float:
    """Of this process since its program began; what `getrusage` says also holds its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    _read(sys.argv[1], Path(sys.argv[2]))
