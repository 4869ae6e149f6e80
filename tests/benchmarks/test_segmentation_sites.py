"""One site lacks modalities, and nobody else's patients change by it."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks import segmentation_sites as benchmark
from datasites.demo import federated_dataset
from federation.experiments import planning, spec
from federation.experiments.cell import cells
from federation.simulation import hospital_data

GRIDS = benchmark.GRID.parent
OPTIONS = {"hospitals": 3, "patients": 9, "size_px": 16, "slices_per_patient": 2}


@pytest.fixture(scope="module", autouse=True)
def _own_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Stand-ins are drawn into a folder of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("drawn")
        patch.setattr(federated_dataset.tempfile, "gettempdir", lambda: str(folder))
        yield


def loaded(**changes: object):
    named = {"data": "", "split": "site", "seed": 0, "options": OPTIONS} | changes
    return benchmark.load("brats", **named)


def test_the_first_site_lacks_what_it_is_told_to_and_the_others_see_all() -> None:
    whole, less = loaded(), loaded(lacking=("t1", "t2"))
    first, *others = less.names
    assert others and less.names == whole.names and less.spec == whole.spec
    for seen, all_of_it in (
        (less.training(first), whole.training(first)),
        (less.held_out(first), whole.held_out(first)),
    ):
        assert seen.patients == all_of_it.patients
        t1, t1ce, t2, flair = (seen.images[:, k] for k in range(4))
        assert not t1.any() and not t2.any()
        np.testing.assert_array_equal(t1ce, all_of_it.images[:, 1])
        np.testing.assert_array_equal(flair, all_of_it.images[:, 3])
        np.testing.assert_array_equal(seen.labels, all_of_it.labels)
    for name in others:
        np.testing.assert_array_equal(less.training(name).images, whole.training(name).images)
        assert whole.training(name).images.any()


def test_what_one_way_takes_away_is_there_again_for_the_next() -> None:
    people = loaded()
    kept = hospital_data.only(people, people.names[0])
    less = benchmark.Lacking(whole=kept, modalities=("t1",))
    assert not less.training(kept.names[0]).images[:, 0].any()
    assert kept.training(kept.names[0]).images[:, 0].any()


@pytest.mark.parametrize("way", benchmark.WAYS, ids=lambda way: way.name)
def test_every_way_gives_a_plan_for_its_data(way: benchmark.Way) -> None:
    cell = cells(spec.load(benchmark.GRID))[0]
    people = loaded(options=OPTIONS | way.options, lacking=way.lacking)
    found = planning.plan(cell, people)
    assert len(found.data.channels) == (12 if way.options else 4)
    assert found.recipe.model.widths == (16, 16)


def test_the_table_has_a_line_for_everybody_and_one_for_each_site() -> None:
    def row(site: str, metric: str, value: float, seed: int) -> dict[str, object]:
        shared = {"scope": "federated", "round": 2, "rounds": 2}
        return {"site": site, "metric": metric, "value": value, "seed": seed} | shared

    rows = [
        row(site, metric, 0.5 + 0.2 * seed, seed)
        for site in ("", "hospital-1")
        for metric in benchmark.REGIONS
        for seed in (0, 1)
    ]
    early = [row("", metric, 0.1, 0) | {"round": 1} for metric in benchmark.REGIONS]
    worst = [row("hospital-1", "dice_whole", 0.0, 0) | {"scope": "worst site, federated"}]
    found = benchmark.table("2-D", [*rows, *early, *worst])
    assert found == [
        f"2-D | {who} | " + " / ".join(["0.600 ± 0.141"] * 3) for who in ("everybody", "hospital-1")
    ]


@pytest.mark.parametrize("name", ["symptoms", "vitals", "glioma", "glioma_sites"])
def test_the_grids_on_stand_ins_say_so_in_their_name(name: str) -> None:
    experiment = spec.load(Path(GRIDS) / f"{name}.toml")
    assert experiment.name.endswith("stand-ins")
    assert all(study.data == "" for study in experiment.study)
