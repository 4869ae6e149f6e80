"""Drawn tables and series lie in their readers' layouts, can be learned from, and say what they are."""

from pathlib import Path

import numpy as np
import pytest

from datasites.data import mock_cohort, mock_facts
from datasites.data.folders.reading import Reading
from datasites.data.readers import read
from datasites.data.readers.images import ham10000
from datasites.data.readers.tabular import table_schema, tables
from datasites.demo import stand_ins
from datasites.demo.stand_ins import Kind
from syft_code.errors import InvalidData, InvalidInput
from syft_code.metrics.scoring import area_by_ranks

KINDS: tuple[Kind, ...] = ("heart", "symptoms", "vitals")
SITES = {
    "heart": {"cleveland", "hungarian", "switzerland", "va"},
    "symptoms": {"north", "harbour", "south", "airport"},
    "vitals": {"st-anna", "river", "hill", "old-town"},
}


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reading]:
    root = tmp_path_factory.mktemp("tables")
    for kind in KINDS:
        stand_ins.write(kind, root / kind, patients=300, seed=4)
    return {kind: read(kind, root / kind) for kind in KINDS}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bytes(kind: Kind, tmp_path: Path) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        stand_ins.write(kind, tmp_path / name, patients=12, seed=seed)
    first, again, other = (contents(tmp_path / name) for name in "abc")
    assert first == again
    assert not set(first.values()) & set(other.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_drawn_table_is_read_and_says_that_it_is_synthetic(
    kind: Kind, readings: dict[str, Reading]
) -> None:
    reading = readings[kind]
    assert reading.spec.stand_in and reading.cohort.patients == 300
    assert set(reading.site) == SITES[kind]
    shares = [np.mean(reading.cohort.labels[np.array(reading.site) == s]) for s in SITES[kind]]
    assert max(shares) - min(shares) > 0.1, "hospitals differ in how many are ill"


@pytest.mark.parametrize("patients", [1, 3, 5])
@pytest.mark.parametrize("kind", ["symptoms", "vitals"])
def test_a_handful_of_patients_is_drawn_too(kind: Kind, patients: int, tmp_path: Path) -> None:
    stand_ins.write(kind, tmp_path / "data", patients=patients, seed=0)
    assert read(kind, tmp_path / "data").cohort.patients == patients


def learned(reading: Reading) -> float:
    """The area under the curve of a linear rule, fitted on three quarters."""
    cohort = reading.cohort
    rows = cohort.facts if cohort.facts.size else cohort.images.reshape(len(cohort.labels), -1)
    rows = np.concatenate([rows.astype(np.float64), np.ones((len(rows), 1))], axis=1)
    train = np.arange(len(rows)) % 4 != 0
    target = 2.0 * cohort.labels[train] - 1
    square = rows[train].T @ rows[train] + 5 * np.eye(rows.shape[1])
    scores = rows @ np.linalg.solve(square, rows[train].T @ target)
    return area_by_ranks(scores[~train], cohort.labels[~train] == 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_can_learn_from_a_drawn_table(kind: Kind, readings: dict[str, Reading]) -> None:
    assert learned(readings[kind]) > 0.75


def test_hours_and_cells_are_missing_in_drawn_vital_signs(readings: dict[str, Reading]) -> None:
    flags = readings["vitals"].cohort.images[:, 0, :, 1::2]
    assert 0.1 < flags.mean() < 0.4
    assert (flags.min(axis=2) == 1).any(), "some hours have no row"


def test_drawn_hearts_lack_what_the_published_ones_lack(readings: dict[str, Reading]) -> None:
    reading = readings["heart"]
    gone = reading.cohort.facts[:, reading.spec.facts.index("chol?")]
    at = np.array(reading.site) == "switzerland"
    assert gone[at].all() and gone[~at].mean() < 0.2


def test_facts_of_drawn_lesions_tell_something_of_the_diagnosis(tmp_path: Path) -> None:
    stand_ins.write("ham10000", tmp_path / "data", patients=250, seed=3)
    reading = read("ham10000", tmp_path / "data", size_px=8, facts=True)
    ages = reading.cohort.facts[:, reading.spec.facts.index("age")]
    nevus = reading.cohort.labels == ham10000.CLASSES.index("nv")
    assert ages[nevus].mean() < ages[~nevus].mean() - 0.2
    assert read("ham10000", tmp_path / "data", size_px=8).spec.facts == ()


@pytest.mark.parametrize("kind", KINDS)
def test_a_mock_looks_like_what_the_reader_gives(kind: Kind, readings: dict[str, Reading]) -> None:
    spec = readings[kind].spec
    mock, real = mock_cohort.draw(spec, seed=2, slices=41), readings[kind].cohort
    assert mock.patients == 21 and len(mock.labels) == 41
    for name in ("images", "facts", "labels"):
        drawn, read_in = getattr(mock, name), getattr(real, name)
        assert drawn.dtype == read_in.dtype and drawn.shape[1:] == read_in.shape[1:]
    assert set(np.unique(mock.labels)) == {0, 1}
    again = mock_cohort.draw(spec, seed=2, slices=41)
    assert np.array_equal(mock.facts, again.facts) and np.array_equal(mock.images, again.images)


def test_a_mock_with_facts_has_those_of_the_reader_or_is_refused(tmp_path: Path) -> None:
    spec = ham10000.spec(size_px=16, stand_in=False, facts=True)
    assert mock_cohort.draw(spec, seed=0, slices=4).facts.shape == (4, len(spec.facts))
    plain = ham10000.spec(size_px=16, stand_in=False)
    drawn = [mock_cohort.draw(one, seed=0, slices=4).images for one in (spec, plain)]
    assert np.array_equal(*drawn), "facts change no picture"
    strange = ham10000.spec(size_px=16, stand_in=False, facts=True)
    object.__setattr__(strange, "facts", ("income",))
    with pytest.raises(InvalidData, match="must have the channels"):
        mock_cohort.draw(strange, seed=0, slices=4)


def test_drawn_facts_are_as_their_names_say() -> None:
    names = tables.spec(table_schema.packaged("heart_disease"), stand_in=True).facts
    labels = np.arange(400, dtype=np.uint8) % 2
    rows = mock_facts.rows(np.random.default_rng(0), names, labels)
    at = {name: rows[:, index] for index, name in enumerate(names)}
    words = at["cp=1"] + at["cp=2"] + at["cp=3"] + at["cp=4"]
    assert np.array_equal(words, 1 - at["cp?"]) and 0.02 < at["cp?"].mean() < 0.3
    assert not at["chol"][at["chol?"] == 1].any() and at["chol"][at["chol?"] == 0].all()
    gaps = [abs(at[name][labels == 0].mean() - at[name][labels == 1].mean()) for name in names]
    assert max(gaps) > 0.15, "a model has something to learn"


def test_stand_ins_of_ones_own_table_are_refused() -> None:
    with pytest.raises(InvalidInput, match="name a folder with data of your own"):
        stand_ins.drawable("table")
