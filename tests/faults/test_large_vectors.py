"""A vector of 500 MB over a line that is cut again and again, in both directions."""

import dataclasses
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from syft_code.plans.algorithms import Scaffold
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import Evaluation
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests import plans
from tests.faults.line import Direction, How, Line
from tests.faults.parties import (
    MIB,
    SLACK_BYTES,
    THREE,
    Carrier,
    Party,
    aggregators,
    make_plan,
)

pytestmark = pytest.mark.timeout(600)

VECTOR_BYTES = 500 * 1000 * 1000
ROOMY_BYTES = 10 * 1000 * MIB
CUTS: tuple[How, ...] = ("reset", "end", "reset", "end")


def large_plan(parties: list[Party]) -> Plan:
    """SCAFFOLD shares two numbers for each of 31 million parameters, here of 64 bits each."""
    data = dataclasses.replace(plans.SKIN, height_px=128, width_px=128)
    plan = make_plan(
        parties,
        data=data,
        features=637,
        ring_bits=64,
        algorithm=Scaffold(),
        evaluation=Evaluation(noise_multiplier=2.0, after_rounds=()),
    )
    assert VectorLayout.of(plan).vector_length("train") * 8 >= VECTOR_BYTES
    return plan


def cut_often(line: Line, direction: Direction, size_bytes: int) -> None:
    line.forget()
    for how in CUTS:
        line.after(size_bytes // (len(CUTS) + 1), direction, how)


def check_crossed(line: Line, direction: Direction, size_bytes: int) -> None:
    assert tuple(line.happened) == CUTS
    crossed = line.crossed[direction]
    assert size_bytes <= crossed <= size_bytes * 1.01 + len(CUTS) * SLACK_BYTES


class Memory:
    """The most memory of its own that each process had: files that it maps are not among it."""

    def __init__(self, parties: list[Party]) -> None:
        self._parties = parties
        self._over = threading.Event()
        self._watching = threading.Thread(target=self._watch)
        self.most_bytes = 0

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            now = max(party.memory("RssAnon") for party in self._parties)
            self.most_bytes = max(self.most_bytes, now)

    def __enter__(self) -> "Memory":
        self._watching.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._over.set()
        self._watching.join()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Memory as a disk where there is plenty of it: the test is about lines, and 4 GB are written."""
    memory = Path("/dev/shm")  # noqa: S108
    if not memory.is_dir() or min(shutil.disk_usage(memory).free, available_bytes()) < ROOMY_BYTES:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as made:
        yield Path(made)


def available_bytes() -> int:
    (line,) = [
        line
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemAvailable:")
    ]
    return int(line.split()[1]) * 1024


def test_a_vector_of_500_mb_that_is_cut_goes_on_where_it_stopped(folder: Path) -> None:
    with aggregators(folder, ("agg-a", "agg-b")) as parties, Memory(parties) as memory:
        line = parties[1].line
        carried = Carrier(large_plan(parties))
        carried.collector.open()
        carried.send(THREE[1:])
        share = carried.share(THREE[0], 2)
        cut_often(line, "up", len(share.sealed))
        carried.send(THREE[:1])
        check_crossed(line, "up", len(share.sealed))
        cut_often(line, "down", VECTOR_BYTES)
        assert carried.gets_the_plain_sum(THREE)
        check_crossed(line, "down", VECTOR_BYTES)
        carried.close()
    assert 0 < memory.most_bytes < VECTOR_BYTES // 3
