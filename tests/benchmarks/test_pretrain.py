"""Start weights of the transfer grids: of the public site alone, and for the grids' own networks."""

import itertools
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter
from typer.testing import CliRunner

from benchmarks import pretrain as benchmark
from datasites.data import readers
from datasites.demo import federated_dataset, stand_ins
from federation.evaluation import pretraining
from federation.experiments import spec
from federation.experiments.spec import Experiment, Variant
from federation.strategy import presets
from syft_code import canonical
from syft_code.recipes.architectures import Architecture
from syft_code.recipes.recipe import layer_parameters

GRIDS = Path(benchmark.__file__).parent / "grids"
FILES = ("transfer.toml", "transfer_drawn.toml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stand-ins in the place of HAM10000."""
    drawn = tmp_path_factory.mktemp("drawn") / "ham10000"
    stand_ins.write("ham10000", drawn, patients=60, seed=0)
    return drawn


def test_what_is_learned_from_is_the_public_site_and_no_other(folder: Path) -> None:
    whole = readers.read("ham10000", folder, size_px=32, facts=True)
    source = benchmark.at_public_site(folder)
    own = sum(site == benchmark.PUBLIC_SITE for site in whole.site)
    assert 0 < source.cohort.patients == own < len(whole.site)
    rest = federated_dataset.load(
        "ham10000",
        data=str(folder),
        split="site",
        seed=0,
        options={"facts": True, "without": benchmark.PUBLIC_SITE},
    )
    public = {picture.tobytes() for picture in source.cohort.images}
    assert not public & {picture.tobytes() for picture in rest.reading.cohort.images}


def test_each_grid_leaves_out_the_site_whose_weights_it_starts_from() -> None:
    for name in FILES:
        grid = spec.load(GRIDS / name)
        starts = {lever.start for lever in grid.lever} - {""}
        without = grid.study[0].options.get("without", "")
        public = any(Path(start).name.startswith("public") for start in starts)
        assert starts and without == (benchmark.PUBLIC_SITE if public else "")


def test_a_file_is_made_for_every_start_of_the_grids_and_fits_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Takes its time: three networks are trained, as briefly as they can be."""
    for name in ("CONVOLUTIONS", "DRAWN_CONVOLUTIONS", "SCATTERING"):
        monkeypatch.setattr(benchmark, name, replace(getattr(benchmark, name), epochs=1))
    monkeypatch.setattr(benchmark, "DRAWN_SLICES", 8)
    asked = ["--data", str(folder), "--out", str(tmp_path), "--seeds", "1"]
    told = CliRunner().invoke(benchmark.app, asked)
    assert told.exit_code == 0, told.output
    named = set()
    for grid in (spec.load(GRIDS / name) for name in FILES):
        for lever, seed in itertools.product(grid.lever, (1,)):
            if lever.start:
                named.add(path := tmp_path / Path(lever.start.format(seed=seed)).name)
                note = pretraining.load(path).note
                assert note.recipe.model == model(grid, lever)
                assert note.training.seed == seed
                frozen = lever.plan.get("frozen_layers", 0)
                assert 0 <= frozen < len(layer_parameters(note.recipe, note.data))
    assert set(tmp_path.iterdir()) == named


def test_the_suggestion_for_transfer_is_what_the_grids_measured(folder: Path) -> None:
    data = benchmark.at_public_site(folder).spec
    suggestion = presets.transfer(data)
    for name in FILES:
        grid = spec.load(GRIDS / name)
        (lever,) = [one for one in grid.lever if one.start and "frozen_layers" in one.plan]
        plan = spec.merged(grid.plan, lever.plan)
        assert model(grid, lever) == suggestion.recipe.model
        assert plan["optimizer"] == asdict(suggestion.optimizer)
        assert plan["dp_sgd"].items() <= asdict(suggestion.dp_sgd).items()
        for field in ("rounds", "averaging", "frozen_layers"):
            assert plan[field] == getattr(suggestion, field)


def model(grid: Experiment, lever: Variant) -> object:
    changes = spec.merged(grid.plan, lever.plan)["recipe"]["model"]
    return TypeAdapter(Architecture).validate_json(canonical.encode(changes), strict=True)
