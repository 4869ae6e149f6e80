"""Start weights for `grids/transfer.toml` and `grids/transfer_drawn.toml`, a file for each seed.

    python -m benchmarks.pretrain --data FOLDER_OF_HAM10000 --out FOLDER

    public_convolutions_SEED.safetensors    learned at HAM10000's site vidir_modern
    public_scattering_SEED.safetensors      the same, for the network of the skin study
    drawn_convolutions_SEED.safetensors     learned on drawn lesions

vidir_modern is regarded as public: an experiment that starts from its weights leaves all of its
lesions out (`options = { without = "vidir_modern" }`). Training is without noise, by Adam.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import typer

from datasites.data import mock_cohort, readers
from datasites.demo import federated_dataset
from federation.evaluation import pretraining
from federation.evaluation.pretraining import PretrainingSettings
from federation.strategy import presets
from syft_code.cohort import Cohort
from syft_code.plans.plan_parts import Augmentation
from syft_code.recipes.recipe import CrossEntropy, DataSpec, Recipe

PUBLIC_SITE = "vidir_modern"
WHY = "HAM10000 is published under CC BY-NC 4.0, doi 10.7910/DVN/DBW86T."
DRAWN_SLICES = 4000
SEEDS = (0, 1, 2, 3, 4)
VIEWS = Augmentation(views=8, flips=True, rotations=True, shift_px=2)
CONVOLUTIONS = PretrainingSettings(epochs=20, augmentation=VIEWS)
DRAWN_CONVOLUTIONS = PretrainingSettings(epochs=10)
SCATTERING = PretrainingSettings(epochs=30)

app = typer.Typer(add_completion=False)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Source:
    """Data that anybody may see, and what to call them."""

    name: str
    cohort: Cohort
    spec: DataSpec
    public: bool


@app.command()
def main(
    data: Annotated[Path, typer.Option(help="HAM10000, as published, with its sites.")],
    out: Annotated[Path, typer.Option(help="Where the files are written.")],
    seeds: Annotated[str, typer.Option(help="Commas between.")] = ",".join(map(str, SEEDS)),
) -> None:
    """Train and save all networks for each seed."""
    torch.set_num_threads(1)  # sums in another order are other bytes
    out.mkdir(parents=True, exist_ok=True)
    public = at_public_site(data)
    for seed in map(int, seeds.split(",")):
        for name, source, recipe, training in trainings(public, drawn(public.spec, seed)):
            learnt = pretraining.pretrain(
                recipe,
                source.cohort,
                source.spec,
                trained_on=source.name,
                public=source.public,
                why=WHY if source.public else "",
                training=replace(training, seed=seed),
            )
            path = out / f"{name}_{seed}.safetensors"
            typer.echo(f"{path}: {pretraining.save(path, learnt)}")


def trainings(
    public: Source, drawn: Source
) -> Iterator[tuple[str, Source, Recipe, PretrainingSettings]]:
    """What is trained on what; classes count the same, however many slices they have."""
    convolutions, scattering = (
        replace(make(public.spec), loss=CrossEntropy())
        for make in (presets.convolutions, presets.ham10000_recipe)
    )
    yield "public_convolutions", public, convolutions, CONVOLUTIONS
    yield "public_scattering", public, scattering, SCATTERING
    yield "drawn_convolutions", drawn, convolutions, DRAWN_CONVOLUTIONS


def at_public_site(data: Path) -> Source:
    """All lesions of the site that is regarded as public, with their facts."""
    whole = readers.read(
        "ham10000", data, size_px=federated_dataset.SIZES_PX["ham10000"], facts=True
    )
    part = federated_dataset.narrowed(whole, federated_dataset.at_site(whole, PUBLIC_SITE))
    return Source(
        name=f"HAM10000's lesions at {PUBLIC_SITE}", cohort=part.cohort, spec=part.spec, public=True
    )


def drawn(spec: DataSpec, seed: int) -> Source:
    """Drawn lesions of the same shape, each class as often."""
    cohort = mock_cohort.draw(spec, seed=seed, slices=DRAWN_SLICES)
    return Source(
        name="drawn lesions", cohort=cohort, spec=replace(spec, stand_in=True), public=False
    )


if __name__ == "__main__":
    app()
