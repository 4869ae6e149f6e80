"""Stand-ins pass for the published data sets, and say that they are none; mocks likewise."""

import ast
import csv
import inspect
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from datasites.data import mock_cohort, phantoms
from datasites.data.folders.reading import Reading
from datasites.data.readers import read
from datasites.data.readers.images import ham10000
from datasites.data.readers.volumes import brats
from datasites.demo import stand_ins
from syft_code.errors import InvalidData

pytestmark = pytest.mark.thorough

Kind = Literal["ham10000", "brats"]
KINDS: tuple[Kind, ...] = ("ham10000", "brats")


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default stand-in of HAM10000."""
    folder = tmp_path_factory.mktemp("stand_in") / "ham"
    stand_ins.write("ham10000", folder, seed=1)
    return folder


@pytest.fixture(scope="module")
def reading(lesions: Path) -> Reading:
    return read("ham10000", lesions, size_px=32)


@pytest.mark.slow
def test_the_default_brats_stand_in_is_read_whole(tmp_path: Path) -> None:
    stand_ins.write("brats", tmp_path / "brats", seed=1)
    assert read("brats", tmp_path / "brats", size_px=64).cohort.patients == 240


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bytes(kind: Kind, tmp_path: Path) -> None:
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        stand_ins.write(kind, tmp_path / name, patients=4, seed=seed)
    first, again, other = (contents(tmp_path / name) for name in "abc")
    assert first == again
    assert not set(first.values()) & set(other.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_stand_in_says_in_words_that_it_is_synthetic(kind: Kind, tmp_path: Path) -> None:
    stand_ins.write(kind, tmp_path / "data", patients=3, seed=0)
    notice = (tmp_path / "data" / "STAND_IN.txt").read_text(encoding="utf-8")
    assert "everything in this folder is synthetic" in notice and "No patient" in notice
    assert read(kind, tmp_path / "data", size_px=32).spec.stand_in


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_that_holds_anything_is_left_alone(kind: Kind, tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("mine")
    with pytest.raises(InvalidData, match="must be an empty folder"):
        stand_ins.write(kind, tmp_path, patients=3, seed=0)
    with pytest.raises(InvalidData, match="must be an empty folder"):
        stand_ins.write(kind, tmp_path / "diary.txt", patients=3, seed=0)
    assert contents(tmp_path) == {"diary.txt": b"mine"}


@pytest.mark.slow
def test_lesions_come_in_the_proportions_of_the_published_table(
    lesions: tuple[Path, float], reading: Reading
) -> None:
    with (lesions / "HAM10000_metadata.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(reading.cohort.images) and reading.cohort.patients == 3200
    share = Counter(row["dx"] for row in rows)
    published = {
        "nv": 0.67, "mel": 0.11, "bkl": 0.11, "bcc": 0.05, "akiec": 0.033, "vasc": 0.014, "df": 0.011,
    }  # fmt: skip
    assert all(abs(share[dx] / len(rows) - p) < 0.03 for dx, p in published.items())
    assert min(share.values()) > 0
    sites = [site for site, _ in Counter(reading.site).most_common()]
    assert sites == ["vidir_molemax", "vidir_modern", "rosendahl", "vienna_dias"]
    assert set(Counter(row["lesion_id"] for row in rows).values()) == {1, 2}
    assert any(row["age"] == "" for row in rows)


def test_classes_can_be_learned_melanoma_among_them(reading: Reading) -> None:
    cohort = reading.cohort
    tiles = cohort.images.reshape(-1, 3, 8, 4, 8, 4).astype(np.float64)
    features = np.concatenate([tiles.mean((3, 5)), tiles.std((3, 5))], axis=1).reshape(
        len(tiles), -1
    )
    features = (features - features.mean(0)) / features.std(0)
    train, labels = cohort.patient % 4 != 0, cohort.labels
    centres = np.stack([features[train & (labels == c)].mean(0) for c in range(7)])
    rest = features[train] - centres[labels[train]]
    precision = np.linalg.inv(rest.T @ rest / len(rest) + 0.3 * np.eye(rest.shape[1]))
    scores = features @ precision @ centres.T
    scores -= 0.5 * np.einsum("ci,ij,cj->c", centres, precision, centres)
    hits = (scores.argmax(axis=1) == labels)[~train]
    test_labels = labels[~train]
    balanced = np.mean([hits[test_labels == c].mean() for c in np.unique(test_labels)])
    assert balanced > 2 / 7
    mel, nv = (ham10000.CLASSES.index(dx) for dx in ("mel", "nv"))
    margin = scores[:, mel] - scores[:, nv]
    auc = (margin[~train & (labels == mel)][:, None] > margin[~train & (labels == nv)]).mean()
    assert auc > 0.6


def test_two_images_of_one_lesion_are_alike_and_not_the_same(reading: Reading) -> None:
    images, patient = reading.cohort.images.astype(float), reading.cohort.patient
    seconds = np.flatnonzero(patient[1:] == patient[:-1])
    pairs = np.abs(images[seconds] - images[seconds + 1]).mean()
    strangers = np.abs(images[seconds] - images[seconds - 7]).mean()
    assert 0 < pairs < 0.6 * strangers


def test_every_brain_has_a_nested_tumour(tmp_path: Path) -> None:
    for seed in range(20):
        _, classes = phantoms.brain(np.random.default_rng(seed), (64, 64, 24))
        counts = np.bincount(classes.ravel(), minlength=4)
        assert (counts[[0, 2, 3]] > 0).all()
        assert counts[0] > 0.9 * classes.size


@pytest.mark.parametrize("kind", KINDS)
def test_a_mock_has_the_shape_that_the_spec_declares(kind: Kind) -> None:
    make = {"ham10000": ham10000.spec, "brats": brats.spec}[kind]
    spec = replace(make(size_px=32, stand_in=False), width_px=48)
    mock = mock_cohort.draw(spec, seed=2, slices=41)
    assert mock.images.shape == (41, len(spec.channels), 32, 48)
    assert mock.images.dtype == (np.uint8 if kind == "ham10000" else np.float16)
    assert mock.labels.dtype == np.uint8 and mock.labels.max() < len(spec.classes)
    assert mock.labels.shape == ((41,) if kind == "ham10000" else (41, 32, 48))
    assert mock.patients == 21 and np.isfinite(mock.images).all()
    assert len(np.unique(mock.labels)) > 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_mock_looks_like_what_the_reader_gives(kind: Kind, tmp_path: Path) -> None:
    stand_ins.write(kind, tmp_path / "data", patients=4, seed=0)
    real = read(kind, tmp_path / "data", size_px=32)
    mock = mock_cohort.draw(real.spec, seed=0, slices=20)
    assert mock.images.dtype == real.cohort.images.dtype
    assert mock.labels.dtype == real.cohort.labels.dtype
    means = [cohort.images.astype(float).mean() for cohort in (mock, real.cohort)]
    spread = real.cohort.images.astype(float).std()
    assert abs(means[0] - means[1]) < spread


@pytest.mark.parametrize("kind", KINDS)
def test_a_mock_depends_on_the_spec_and_the_seed_alone(kind: Kind) -> None:
    spec = {"ham10000": ham10000.spec, "brats": brats.spec}[kind](size_px=16, stand_in=False)
    one, same, other = (mock_cohort.draw(spec, seed=seed, slices=6) for seed in (1, 1, 2))
    assert np.array_equal(one.images, same.images) and np.array_equal(one.labels, same.labels)
    assert not np.array_equal(one.images, other.images)


def test_drawing_takes_no_file() -> None:
    tree = ast.parse(inspect.getsource(phantoms))
    imports = {
        name.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert imports == {"dataclasses", "numpy", "numpy.random", "numpy.typing"}


def test_a_mock_of_unknown_classes_or_of_nothing_is_refused() -> None:
    spec = ham10000.spec(size_px=16, stand_in=False)
    with pytest.raises(InvalidData, match="channels and classes"):
        mock_cohort.draw(replace(spec, classes=("yes", "no"), positive=""), seed=0, slices=4)
    with pytest.raises(InvalidData, match="at least one slice"):
        mock_cohort.draw(spec, seed=0, slices=0)
