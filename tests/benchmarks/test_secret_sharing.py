"""The benchmark says what it measures, and the steps that it times give the same bytes."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import secret_sharing, sharing_operations
from benchmarks.secret_sharing import Row, Table
from benchmarks.sharing_operations import WrongSum
from syft_code.errors import RangeExceeded, SharingError
from syft_code.plans.plan_parts import Sharing
from syft_code.secret_sharing import envelope, keystream, sharing
from syft_code.secret_sharing.sharing import Scheme
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests import opening, plans

MILLION = 1_000_000
STEP = keystream.BLOCK_BYTES // 8


def secrets(count: int) -> list[bytes]:
    return [bytes([n]) * 32 for n in range(1, count + 1)]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("ring_bits", [8, 16, 32, 64])
@pytest.mark.parametrize("size", [1, 7, STEP - 1, STEP, 3 * STEP + 5])
def test_one_pass_on_any_number_of_threads_gives_the_bytes_of_the_steps(
    kind: type, ring_bits: int, size: int
) -> None:
    rules = Sharing(ring_bits=ring_bits, fraction_bits=3, bound=1.5)  # type: ignore[arg-type]
    scheme, seeds = Scheme(3, 2), secrets(2)
    values = sharing_operations.update(size).astype(kind)
    steps = np.concatenate(
        [
            sharing.encode(values, rules, hospitals=5, factor=0.3),
            sharing.encode_weight(77, ring_bits, hospitals=5),
        ]
    )
    (*_, vector) = sharing.shard(steps, scheme, seeds=seeds)
    for threads in (1, 2, 3, 5):
        given = {"weight": 77, "seeds": seeds, "hospitals": 5, "factor": 0.3, "threads": threads}
        (*_, other) = sharing.encode_and_shard(values, rules, scheme, **given)  # type: ignore[arg-type]
        assert bytes(other) == bytes(vector)


@pytest.mark.parametrize("threads", [2, 3, 5])
@pytest.mark.parametrize("size", [1, 9, STEP, 2 * STEP + 3, 11 * STEP + 1])
def test_seeds_add_up_to_the_same_on_any_number_of_threads(size: int, threads: int) -> None:
    one, other = np.zeros((2, size), np.uint64)
    sharing.add_seeds(one, secrets(3))
    sharing.add_seeds(other, secrets(3), threads=threads)
    assert np.array_equal(one, other)


def test_no_number_of_threads_below_one_is_taken() -> None:
    with pytest.raises(SharingError, match="one thread or more"):
        sharing.add_seeds(np.zeros(3, np.uint32), secrets(1), threads=0)


def test_a_coordinate_past_the_bound_is_refused_in_any_block_on_any_thread() -> None:
    values = np.zeros(5 * STEP)
    for place, threads in itertools.product((0, 2 * STEP + 1, 5 * STEP - 1), (1, 2)):
        values[place] = np.nan
        with pytest.raises(RangeExceeded):
            sharing.encode_and_shard(
                values, Sharing(), Scheme(2, 2), weight=1, seeds=secrets(1), hospitals=3,
                threads=threads,
            )  # fmt: skip
        values[place] = 0


def test_shares_that_a_second_thread_hashed_are_the_same_and_open() -> None:
    keys = plans.Keys()
    plan = sharing_operations.plan_of(MILLION, keys)
    values = sharing_operations.update(VectorLayout.of(plan).values_length("train"))
    shares = sharing_operations.seal(plan, keys, values, threads=2)
    total = opening.encoded(plan, "train", shares, [bytes(key) for key in keys.seals])
    sums, weight = envelope.read_sum(plan, "train", total)
    factor = plan.hospitals[0].patients / plan.most_patients
    assert weight == plan.hospitals[0].patients
    assert np.abs(sums - values * factor).max() < 2**-18


def wrong_by_one(change: Callable[[sharing.Ring], None]) -> Callable[..., None]:
    real = sharing.add_vector

    def add(total: sharing.Ring, payload: sharing.Payload) -> None:
        real(total, payload)
        change(total)

    return add


def off_by_one(total: sharing.Ring) -> None:
    total[0] += 5


def test_nothing_is_timed_when_a_sum_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "add_vector", wrong_by_one(off_by_one))
    with pytest.raises(WrongSum):
        secret_sharing.all_rows(1000, [3], repeats=2, peers={})


def test_nothing_is_timed_when_a_coordinate_past_the_bound_is_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sharing._Encoder, "_inside", lambda *_: True)
    with pytest.raises(WrongSum, match="was shared"):
        sharing_operations.check(1000, 3)


def test_a_ratio_is_of_the_smallest_times() -> None:
    row = Row(size=1, name="client", threads=1, ns=[6.0, 4.0, 9.0], copies_ns=[2.0, 3.0, 3.0])
    assert (row.ratio, row.median_ratio) == (2.0, 3.0)


def test_a_goal_that_a_row_misses_is_named_as_missed() -> None:
    table = Table(size=1)
    for name, _ in secret_sharing.GOALS:
        table.row(name).add(4.5, 1.0)
    table.row(secret_sharing.WHOLE).add(1, 1)
    met = [words for words, fits in secret_sharing.goals(table) if fits]
    assert met == ["client k=3, float32: 4.50 copies, goal 5.0"]


@pytest.mark.slow
def test_the_command_prints_every_row_and_writes_them(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    given = ["--sizes", "20000", "--hospitals", "3", "--repeats", "2", "--out", str(file)]
    nobody = ["--flower", str(tmp_path / "no"), "--tenseal", str(tmp_path / "no")]
    result = CliRunner().invoke(secret_sharing.app, given + nobody)
    assert result.exit_code == 0, result.output
    assert "make bench-peers" in result.output
    rows = file.read_text().splitlines()
    assert len(rows) > 20
    assert all(row.startswith("20000,") for row in rows[1:])
