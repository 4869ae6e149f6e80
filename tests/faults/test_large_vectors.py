"""A large vector over a line that is cut again and again, in both directions."""

import dataclasses
import shutil
import tempfile
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

ROOMY_BYTES = 10 * 1000 * MIB
CUTS: tuple[How, ...] = ("reset", "end", "reset", "end")


def large_plan(parties: list[Party], size_bytes: int) -> Plan:
    """SCAFFOLD shares two numbers for each parameter, here of 64 bits each."""
    data = dataclasses.replace(plans.SKIN, height_px=128, width_px=128)
    parameters = size_bytes // 16
    plan = make_plan(
        parties,
        data=data,
        features=parameters // (3 * 128 * 128) + 1,
        ring_bits=64,
        algorithm=Scaffold(),
        evaluation=Evaluation(noise_multiplier=2.0, after_rounds=()),
    )
    assert VectorLayout.of(plan).vector_length("train") * 8 >= size_bytes
    return plan


def cut_often(line: Line, direction: Direction, size_bytes: int) -> None:
    line.forget()
    for how in CUTS:
        line.after(size_bytes // (len(CUTS) + 1), direction, how)


def check_crossed(line: Line, direction: Direction, size_bytes: int) -> None:
    assert tuple(line.happened) == CUTS
    crossed = line.crossed[direction]
    assert size_bytes <= crossed <= size_bytes * 1.01 + len(CUTS) * SLACK_BYTES


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


@pytest.mark.parametrize("megabytes", [100, pytest.param(500, marks=pytest.mark.slow)])
def test_a_large_vector_that_is_cut_goes_on_where_it_stopped(folder: Path, megabytes: int) -> None:
    size_bytes = megabytes * 1000 * 1000
    with aggregators(folder, ("agg-a", "agg-b")) as parties:
        line = parties[1].line
        carried = Carrier(large_plan(parties, size_bytes))
        carried.collector.open()
        carried.send(THREE[1:])
        share = carried.share(THREE[0], 2)
        cut_often(line, "up", len(share.sealed))
        carried.send(THREE[:1])
        check_crossed(line, "up", len(share.sealed))
        cut_often(line, "down", size_bytes)
        assert carried.gets_the_plain_sum(THREE)
        check_crossed(line, "down", size_bytes)
        carried.close()
