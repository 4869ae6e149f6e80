"""Axes about a mean released under privacy, for `grids/skin_centred_axes.toml`: a file for each seed.

    python -m benchmarks.feature_means

    encoders/skin_centred_COUNT_SEED.safetensors    384 or 1,024 drawn axes, and the mean that `grids/skin_mean.toml` releases

The study of the mean is simulated as any other, over the same hospitals and the same training patients
as the seed's cells of the grid, with the noise that its epsilon asks for, drawn apart from theirs.
"""

import contextlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from datasites.demo import federated_dataset
from federation.evaluation import encoded_pictures
from federation.experiments import cell, planning, spec
from federation.experiments.cell import Cell
from federation.experiments.spec import Experiment
from federation.simulation import hospital_data as people
from federation.simulation.hospital_data import HospitalData
from federation.simulation.randomness import Randomness
from federation.simulation.simulation import Simulation
from federation.strategy import feature_mean
from federation.strategy.server_optimizer import ServerState
from syft_code import canonical
from syft_code.errors import InvalidInput
from syft_code.local_training.broadcast import PublicVectors
from syft_code.models import frozen_features
from syft_code.privacy import accounting
from syft_code.recipes.encoders import Encoder
from syft_code.runtime.encoder_files import FOLDER

GRID = Path(__file__).parent / "grids" / "skin_mean.toml"
START = Path("runs/start/feature_mean.npy")
AXES = (384, 1024)
NOISE_SEED = 1000
"""What the noise of these studies is drawn from lies so far from the grid's seeds."""
RARE = "df"
"""Of whom few lesions are: they have no part in the mean."""

app = typer.Typer(add_completion=False)


@app.command()
def main() -> None:
    """Release the mean once for each seed, and write the axes about it."""
    experiment = spec.load(GRID)
    study = experiment.study[0]
    torch.set_num_threads(1)
    Path(FOLDER).mkdir(exist_ok=True)
    START.parent.mkdir(parents=True, exist_ok=True)
    for seed in experiment.seeds:
        whole = federated_dataset.load(
            study.name, data=study.data, split=study.splits[0], seed=seed, options=study.options
        )
        np.save(
            START, feature_mean.start(*_encoders(experiment), data=whole.spec, all_answered=RARE)
        )
        (one,) = cell.cells(replace(experiment, seeds=(seed,)))
        mean = _mean(one, whole)
        for count in AXES:
            file = Path(FOLDER) / f"skin_centred_{count}_{seed}.safetensors"
            file.write_bytes(frozen_features.axes_about(mean, count))
            typer.echo(str(file))


def _encoders(experiment: Experiment) -> list[Encoder]:
    layers = experiment.plan["recipe"]["model"]["layers"]
    return [
        canonical.parse(Encoder, canonical.encode(layer), what="encoder", error=InvalidInput)
        for layer in layers
    ]


def _mean(one: Cell, whole: HospitalData) -> NDArray[np.float32]:
    """What the cell's one round releases; how many hospitals were in it and the cost are printed."""
    recipe = planning.recipe(one, whole.spec)
    hospitals = people.encoded(whole, recipe.model, encoded_pictures.usual())
    plan = planning.plan(one, hospitals)
    start = PublicVectors(start=planning.start_weights(one, recipe, whole.spec))
    simulation = Simulation(
        plan, hospitals, randomness=Randomness(seed=NOISE_SEED + one.seed, noised=True)
    )
    with contextlib.closing(simulation):
        model, facts = simulation.round(1, ServerState.first(plan, start))
    spent = accounting.epsilon(accounting.plan_events(plan), delta=one.delta)
    typer.echo(f"seed {one.seed}: a sum of {len(facts.trained)} hospitals, epsilon {spent:.3g}")
    return feature_mean.released(recipe, whole.spec, model.delivered)


if __name__ == "__main__":
    app()
