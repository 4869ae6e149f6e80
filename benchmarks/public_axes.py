"""A projection's axes and a head's start weights for `grids/skin_public_axes.toml`, of one public site.

    python -m benchmarks.public_axes --data FOLDER_OF_HAM10000

    encoders/skin_axes_128.safetensors         the first 128 principal axes of an encoder's features
    runs/start/public_axes_SEED.safetensors    a head learned on them, a file for each seed

The site is that of `pretrain`, regarded as public; the experiment leaves all of its lesions out.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from benchmarks.pretrain import PUBLIC_SITE, WHY
from datasites.data import readers
from datasites.demo import federated_dataset
from federation.evaluation import encoded_pictures, pretraining
from federation.evaluation.pretraining import PretrainingSettings
from federation.strategy import presets
from syft_code import canonical
from syft_code.models import frozen_features
from syft_code.recipes.architectures import Fusion
from syft_code.recipes.encoders import Encoder, Projection
from syft_code.recipes.recipe import Recipe
from syft_code.runtime.encoder_files import FOLDER, PACKAGES

AXES, VIEWS = 128, 8
SIZE_PX = 112
SEEDS = (0, 1, 2, 3, 4)
HEAD = PretrainingSettings(epochs=30, learning_rate=2e-3)

app = typer.Typer(add_completion=False)


@app.command()
def main(
    data: Annotated[Path, typer.Option(help="HAM10000, as published, with its sites.")],
) -> None:
    """Write the axes and the start weights."""
    torch.set_num_threads(1)
    whole = readers.read("ham10000", data, size_px=SIZE_PX, facts=True)
    public = federated_dataset.narrowed(whole, federated_dataset.at_site(whole, PUBLIC_SITE))
    encoder = Encoder(name="efficientnet-lite0", weights_sha256=PACKAGES[0].sha256, views=VIEWS)
    pictures = encoded_pictures.usual()
    rows = pictures.cohort(public.cohort, Fusion(image=(encoder,))).images[:, :, 0, 0]
    projection = _projection(rows.astype(np.float32))
    loss = presets.ham10000_recipe(public.spec).loss
    recipe = Recipe(model=Fusion(image=(encoder, projection)), loss=loss)
    cohort = pictures.cohort(public.cohort, recipe.model)
    start = Path("runs/start")
    start.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS:
        learnt = pretraining.pretrain(
            recipe,
            cohort,
            public.spec,
            trained_on=f"HAM10000's lesions at {PUBLIC_SITE}",
            public=True,
            why=WHY,
            training=replace(HEAD, seed=seed),
        )
        file = start / f"public_axes_{seed}.safetensors"
        typer.echo(f"{file}: {pretraining.save(file, learnt)}")


def _projection(rows: NDArray[np.float32]) -> Projection:
    axes = frozen_features.principal_axes(rows, AXES)
    path = Path(FOLDER) / f"skin_axes_{AXES}.safetensors"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(axes)
    typer.echo(f"{path}: {canonical.sha256(axes)}")
    return Projection(features=AXES, axes_sha256=canonical.sha256(axes))


if __name__ == "__main__":
    app()
