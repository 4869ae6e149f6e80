"""How fast secret sharing is, against what the machine can do and against other people's.

    python -m benchmarks.secret_sharing
    python -m benchmarks.secret_sharing --sizes 1M,10M --hospitals 3,10 --repeats 5 --out FILE.csv

Everything runs in one go and takes turns: each repeat times a copy and one run of a row, then the
next row. Times are CPU seconds of one thread, so that a machine that others use too does not
enter; rows on two threads are in seconds of the clock. "copies" is the smallest time over the
smallest of `a.copy()` of 31M uint32, for each parameter: what numpy takes to move a large vector
once. "median" is the same of the turns' own ratios, and "warm" the smallest time over that of a
copy of as many uint32 as the row has to memory that is there already: for 1M parameters that
memory is in the cache, and nothing that encrypts can come near it.

`make bench-peers` makes environments for Flower and TenSEAL, which then run in between.
"""

import csv
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import sharing_operations as operations
from benchmarks.figures import Figure
from benchmarks.sharing_operations import WARM_COPY, Operation
from benchmarks.sharing_peers import Peer
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests import plans

app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
PEERS = Path(__file__).parents[1] / ".bench"
MOST_OF = {"flower": 10_000_000, "tenseal": 262_144}
"""Peers are slow: they run on at most so many parameters, and count for each of them."""
Clock = Callable[[], float]
_SMALL, _SMALL_TURNS = 5_000_000, 5


@dataclass(kw_only=True)
class Row:
    """One thing that was timed, in nanoseconds for each parameter and client."""

    size: int
    name: str
    threads: int
    ns: list[float] = field(default_factory=list)
    copies_ns: list[float] = field(default_factory=list)
    sent_bytes: float | None = None

    def add(self, ns: float, copy_ns: float) -> None:
        """One repeat: this row's time and that of the copy just before it."""
        self.ns.append(ns)
        self.copies_ns.append(copy_ns)

    @property
    def median_ratio(self) -> float:
        """The median of the repeats' ratios to the copy beside each."""
        pairs = zip(self.ns, self.copies_ns, strict=True)
        return statistics.median(ns / copy for ns, copy in pairs)

    @property
    def ratio(self) -> float:
        """The smallest time over the smallest time of the copies beside it."""
        return min(self.ns) / min(self.copies_ns)


@dataclass(kw_only=True)
class Table:
    """All rows of one size."""

    size: int
    rows: dict[tuple[str, int], Row] = field(default_factory=dict)

    def row(self, name: str, threads: int = 1) -> Row:
        """The row of that name, a new one if there is none."""
        row = Row(size=self.size, name=name, threads=threads)
        return self.rows.setdefault((name, threads), row)

    def warm_ratio(self, row: Row) -> float:
        """The smallest time over that of a copy within memory that is there already."""
        return min(row.ns) / min(self.row(WARM_COPY).ns)


def timed(operation: Callable[[], object], clock: Clock) -> float:
    """Seconds of one run."""
    start = clock()
    operation()
    return clock() - start


def measure(table: Table, given: list[Operation], *, size: int, repeats: int) -> None:
    """Each row in turn, so many times, a copy before each; the first turn only warms up.

    The copy leaves no other memory in the cache: a row that would fit runs once untimed after it.
    """
    copy = operations.copy()
    for turn in range(repeats + 1):
        for one in given:
            clock = time.process_time if one.threads == 1 else time.perf_counter
            copied = timed(copy.run, clock) / operations.COPIED * 1e9
            if size < _SMALL:
                one.run()
            ns = timed(one.run, clock) / one.clients / size * 1e9
            if turn:
                table.row(one.name, one.threads).add(ns, copied)


def measure_peer(table: Table, peer: Peer, name: str, hospitals: list[int], repeats: int) -> None:
    """The peer's client and aggregator, a copy of ours before each."""
    size = min(table.size, MOST_OF[name])
    copy = operations.copy()
    labels = {f"{name}, n={n}": {"hospitals": n} for n in hospitals} if name == "flower" else {}
    for _ in range(repeats):
        for label, more in (labels or {name: {}}).items():
            copied = timed(copy.run, time.process_time) / operations.COPIED * 1e9
            found = peer.ask("round", size=size, **more)
            for part in ("client", "aggregator"):
                table.row(f"{label}: {part}").add(found[f"{part}_s"] / size * 1e9, copied)
            table.row(f"{label}: client").sent_bytes = found["sent_bytes"] / size


GOALS = (
    ("client k=2, float32", 4.0),
    ("client k=3, float32", 5.0),
    ("aggregator of seeds, n=10", 1.2),
    ("aggregator of vectors, n=10", 1.2),
)
"""Rows of one thread, and how many copies each may cost."""
OTHERS = (("flower, n=10: client", 20.0), ("tenseal: client", 300.0))
"""Peers, and how many times as long as `client k=2, float32` they should take."""
MOST_BYTES = 4.01
WHOLE = "seal k=3, float32, whole"


def goals(table: Table) -> Iterator[tuple[str, bool]]:
    """Each goal in words, and whether this table meets it."""
    rows = {name: row for (name, threads), row in table.rows.items() if threads == 1}
    for name, most in GOALS:
        if name in rows:
            found = rows[name].ratio
            yield f"{name}: {found:.2f} copies, goal {most}", found <= most
    ours = min(rows[GOALS[0][0]].ns)
    for name, least in OTHERS:
        if name in rows:
            times = min(rows[name].ns) / ours
            yield f"{name}: {times:.0f} times ours, goal {least:.0f}", times >= least
    sent = rows[WHOLE].sent_bytes or 0
    yield f"upload: {sent:.4f} bytes a parameter, goal {MOST_BYTES}", 0 < sent <= MOST_BYTES


def all_rows(size: int, hospitals: list[int], *, repeats: int, peers: dict[str, Peer]) -> Table:
    """Check the sums, then time everything for one size."""
    for count in hospitals:
        error = operations.check(size, count)
        typer.echo(f"{size:,} parameters, {count} hospitals: sums right, off by {error:.1e}")
    table, keys = Table(size=size), plans.Keys()
    given = [*operations.limits(size), *operations.clients(size), *operations.researcher(size)]
    for count in hospitals:
        given += operations.aggregators(size, count)
    turns = repeats * (_SMALL_TURNS if size < _SMALL else 1)
    measure(table, given, size=size, repeats=turns)
    plan = operations.plan_of(size, keys)
    length = VectorLayout.of(plan).values_length("train")
    measure(table, list(operations.shares(plan, keys)), size=length, repeats=turns)
    table.row(WHOLE).sent_bytes = operations.upload_bytes(plan, keys)
    for name, peer in peers.items():
        measure_peer(table, peer, name, hospitals, max(2, repeats // 3))
    return table


def figures(*, tiny: bool) -> Iterator[Figure]:
    """Clients and aggregators in numpy copies, at 31 million parameters."""
    found = all_rows(100_000 if tiny else 31_000_000, [3, 10], repeats=2 if tiny else 9, peers={})
    rows = {name: row for (name, threads), row in found.rows.items() if threads == 1}
    for name, most in GOALS:
        yield Figure(
            benchmark="sharing", what=name, value=rows[name].ratio, unit="copies", goal=most,
            limit=1.0,
        )  # fmt: skip
    sent = rows[WHOLE].sent_bytes or math.inf
    yield Figure(
        benchmark="sharing", what="upload a parameter", value=sent, unit="bytes", goal=MOST_BYTES,
        limit=4.0,
    )  # fmt: skip


def lines(table: Table) -> Iterator[str]:
    """The table of one size, in words."""
    yield f"\n{table.size:,} parameters"
    yield f"{'':36s}{'threads':>8s}{'ns/param':>10s}{'copies':>8s}{'median':>8s}{'warm':>7s}{'bytes':>8s}"
    for row in table.rows.values():
        yield (
            f"{row.name:36s}{row.threads:8d}{min(row.ns):10.3f}{row.ratio:8.2f}"
            f"{row.median_ratio:8.2f}{table.warm_ratio(row):7.2f}"
            f"{_number(row.sent_bytes)}"
        )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:8.3f}"


def write(tables: list[Table], file: Path) -> None:
    """Every row, as CSV."""
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(
            ("parameters", "what", "threads", "ns_min", "ns_median", "copies_min", "copies_median")
        )
        for table in tables:
            for row in table.rows.values():
                figures = (min(row.ns), statistics.median(row.ns), row.ratio, row.median_ratio)
                writer.writerow((row.size, row.name, row.threads, *(f"{x:.4f}" for x in figures)))


def numbers(text: str) -> list[int]:
    """`1M,10M` or `3,10`, in words that a person writes.

    >>> numbers("1M,31M"), numbers("3,10")
    ([1000000, 31000000], [3, 10])
    """
    return [int(part.removesuffix("M")) * (10**6 if "M" in part else 1) for part in text.split(",")]


@app.command()
def main(
    sizes: Annotated[str, typer.Option(help="How many parameters.")] = "1M,10M,31M",
    hospitals: Annotated[str, typer.Option(help="How many hospitals.")] = "3,10,30",
    repeats: Annotated[int, typer.Option(min=2, help="Runs of each row.")] = 9,
    flower: Annotated[Path, typer.Option(help="A Python with flwr.")] = PEERS / "flower/bin/python",
    tenseal: Annotated[Path, typer.Option(help="A Python with tenseal.")] = PEERS
    / "tenseal/bin/python",
    out: Annotated[Path | None, typer.Option(help="Write all figures here too.")] = None,
) -> None:
    """Check, time and print."""
    busy = os.getloadavg()[0]
    typer.echo(f"{os.cpu_count()} cores; {busy:.1f} processes wanted one in the last minute")
    tables = []
    with ExitStack() as stack:
        peers = {}
        for name, interpreter in (("flower", flower), ("tenseal", tenseal)):
            if interpreter.exists():
                peers[name] = stack.enter_context(Peer(name, interpreter))
                _must_add_up(name, peers[name])
            else:
                typer.echo(f"{name} is not here: `make bench-peers` fetches it")
        for size in numbers(sizes):
            counts = numbers(hospitals)
            tables.append(all_rows(size, counts, repeats=repeats, peers=peers))
            typer.echo("\n".join(lines(tables[-1])))
            for words, met in goals(tables[-1]):
                typer.echo(f"{'met    ' if met else 'NOT MET'} {words}")
    if out:
        write(tables, out)


def _must_add_up(name: str, peer: Peer) -> None:
    """A peer whose sums are wrong is driven wrongly, and gets no row."""
    error = peer.ask("check", size=10_000, **({"hospitals": 3} if name == "flower" else {}))[
        "error"
    ]
    if not error < 1e-4:
        raise operations.WrongSum(f"{name}'s sum is off by {error}.")


if __name__ == "__main__":
    app()
