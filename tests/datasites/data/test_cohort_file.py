"""A cohort on disk holds what its public shape declares, or is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load, save

from datasites.data import cohort_file, mock_cohort
from datasites.data.cohort_file import SplitCohort
from datasites.data.folders.reading import Cells
from syft_code.errors import InvalidData
from syft_code.recipes.recipe import DataSpec
from tests.shapes import SERIES, TABLE

PATIENTS = 6


def split(spec: DataSpec) -> SplitCohort:
    return SplitCohort(
        cohort=mock_cohort.draw(spec, seed=0, slices=2 * PATIENTS),
        held_out=np.arange(PATIENTS) % 3 == 0,
        tokens=np.arange(16 * PATIENTS, dtype=np.uint8).reshape(PATIENTS, 16),
        split_rule="every third",
    )


@pytest.mark.parametrize("spec", [TABLE, SERIES, replace(SERIES, facts=("age",))])
def test_a_cohort_with_facts_comes_back_as_it_was(spec: DataSpec) -> None:
    before = split(spec)
    after = cohort_file.unpack(cohort_file.pack(before), spec)
    for name in ("images", "labels", "patient", "facts"):
        one, two = getattr(before.cohort, name), getattr(after.cohort, name)
        assert one.dtype == two.dtype and np.array_equal(one, two)
    assert after.training().facts.shape == (8, len(spec.facts))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"facts": np.zeros((12, 4), np.float32)}, "must have 5 facts"),
        ({"facts": np.zeros((11, 5), np.float32)}, "one row of facts"),
        ({"facts": np.zeros((12, 5), np.float64)}, "one row of facts"),
        ({"facts": np.full((12, 5), np.nan, np.float32)}, "one row of facts"),
        ({"images": np.zeros((12, 1, 1, 1), np.uint8)}, "Images must be"),
        ({"labels": np.full(12, 9, np.uint8)}, "below the number of classes"),
        ({"more": np.zeros(1, np.uint8)}, "must hold"),
        ({"labels": np.array(1, np.uint8)}, "labels must be uint8 with 1 or 3 axes"),
        ({"patient": np.arange(12.0) // 2}, "patient must be int32"),
        ({"held_out": np.zeros((6, 1), np.uint8)}, "held_out must be"),
    ],
)
def test_a_file_that_differs_from_the_declared_shape_is_refused(
    changes: dict[str, np.ndarray], says: str
) -> None:
    arrays = load(cohort_file.pack(split(TABLE))) | changes
    with pytest.raises(InvalidData, match=says):
        cohort_file.unpack(save(arrays), TABLE)


@pytest.mark.parametrize(
    ("remarks", "says"),
    [(b"\xff\xfe", "must be text"), (b"a" * (2**18 + 1), "at most 262,144 bytes")],
)
def test_remarks_that_are_no_text_or_endless_are_refused(
    remarks: bytes, says: str, tmp_path: Path
) -> None:
    arrays = load(cohort_file.pack(split(TABLE))) | {"remarks": np.frombuffer(remarks, np.uint8)}
    with pytest.raises(InvalidData, match=says):
        cohort_file.unpack(save(arrays), TABLE)
    (tmp_path / "file").write_bytes(save(arrays))
    with pytest.raises(InvalidData, match=says):
        cohort_file.remarks(tmp_path / "file")
    (tmp_path / "file").write_bytes(save({"labels": np.zeros(1)}))
    with pytest.raises(InvalidData, match="must hold remarks"):
        cohort_file.remarks(tmp_path / "file")


def test_a_file_without_facts_is_refused() -> None:
    arrays = load(cohort_file.pack(split(TABLE)))
    del arrays["facts"]
    with pytest.raises(InvalidData, match="must hold"):
        cohort_file.unpack(save(arrays), TABLE)


def test_what_a_tables_rows_say_goes_through_a_file_and_leaves_with_their_patient() -> None:
    values = np.arange(2 * PATIENTS, dtype=np.uint64)[:, None]
    cells = Cells(columns=np.array([2**64 - 1], np.uint64), values=values)
    before = replace(split(TABLE), named=False, cells=cells)
    again = cohort_file.unpack(cohort_file.pack(before), TABLE)
    assert again.cells is not None and not again.named
    assert np.array_equal(again.cells.values, values)
    assert again.cells.columns.tolist() == [2**64 - 1]
    left = again.without({again.names()[0]})
    assert left.cells is not None and left.cells.values.ravel().tolist() == [*range(2, 12)]
    short = replace(before, cells=cells.select(np.arange(2 * PATIENTS) > 0))
    with pytest.raises(InvalidData, match="row of a table must have its cells"):
        cohort_file.unpack(cohort_file.pack(short), TABLE)


@pytest.mark.parametrize(
    ("old", "new"),
    [('"U8"', '"BF16"'), ('"U8"', '"F8_E4M3"'), ('"shape":[', '"shape":[' + "1," * 40)],
)
def test_numbers_and_axes_that_numpy_does_not_know_are_refused(old: str, new: str) -> None:
    data = cohort_file.pack(split(TABLE))
    size = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + size].replace(old.encode(), new.encode(), 1)
    with pytest.raises(InvalidData, match="safetensors"):
        cohort_file.unpack(len(header).to_bytes(8, "little") + header + data[8 + size :], TABLE)
