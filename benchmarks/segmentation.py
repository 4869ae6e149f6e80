"""What helps a U-Net to find tumours, on drawn stand-ins of BraTS or on a folder of real cases.

    python -m benchmarks.segmentation --seeds 3 --out segmentation.csv
    python -m benchmarks.segmentation --data FOLDER --patients 0

Each way of training takes the same number of steps over the same patients; a third of the
patients is held out, by seed. Without privacy by Adam; the rows "DP" by DP-SGD with the noise of
one hospital. Figures on stand-ins say nothing about medicine: they compare ways of training.
"""

import csv
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from datasites.data import patient_hashing
from datasites.data.folders.reading import Reading
from datasites.data.readers import read
from datasites.demo import stand_ins
from syft_code.cohort import Cohort
from syft_code.learning import augmentation as augmenting
from syft_code.learning import dp_sgd
from syft_code.learning.dp_sgd import TrainingRun
from syft_code.metrics import evaluation_sums
from syft_code.models import networks
from syft_code.plans.plan_parts import Augmentation, DpSgd, Sgd
from syft_code.privacy.noise import NoiseSource
from syft_code.recipes.architectures import UNet
from syft_code.recipes.recipe import DataSpec, DiceCrossEntropy, Recipe

HELD_OUT = 1 / 3
SIZE_PX = 48
BATCH_SLICES = 16
LEARNING_RATE = 1e-2
STUDY_WEIGHTS = (0.1, 3.0, 3.0, 3.0)
FLIPS = Augmentation(flips=True)
ALL = Augmentation(flips=True, shift_px=3, intensity=0.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of training: by DP-SGD if `dp` is given, else by Adam without privacy."""

    widths: tuple[int, ...] = (8, 16)
    class_weights: tuple[float, ...] = STUDY_WEIGHTS
    neighbours: int = 0
    augmentation: Augmentation | None = None
    lacking: tuple[str, ...] = ()
    dp: DpSgd | None = None

    @property
    def recipe(self) -> Recipe:
        loss = DiceCrossEntropy(class_weights=self.class_weights)
        return Recipe(model=UNet(widths=self.widths, groups=4), loss=loss)


QUIET = DpSgd(noise_multiplier=1.0, max_grad_norm=0.2, sample_rate=0.5, steps=40)
WAYS = {
    "plain": Way(),
    "2.5-D": Way(neighbours=1),
    "mirrored": Way(augmentation=FLIPS),
    "mirrored, shifted, brightened": Way(augmentation=ALL),
    "narrow (4, 8)": Way(widths=(4, 8)),
    "three levels (8, 16, 32)": Way(widths=(8, 16, 32)),
    "three levels, mirrored": Way(widths=(8, 16, 32), augmentation=FLIPS),
    "equal class weights": Way(class_weights=()),
    "t1 and t2 missing": Way(lacking=("t1", "t2")),
    "DP (4, 8)": Way(widths=(4, 8), dp=QUIET),
    "DP (4, 8), 4 mirrored views": Way(
        widths=(4, 8), dp=QUIET, augmentation=Augmentation(views=4, flips=True)
    ),
    "DP (4, 8), 2.5-D": Way(widths=(4, 8), dp=QUIET, neighbours=1),
}


def main(
    seeds: Annotated[int, typer.Option(help="How many splits and start weights.")] = 3,
    patients: Annotated[int, typer.Option(help="Of stand-ins.")] = 36,
    steps: Annotated[int, typer.Option(help="Of Adam, 16 slices each.")] = 200,
    data: Annotated[Path | None, typer.Option(help="A folder of BraTS; else stand-ins.")] = None,
    only: Annotated[str, typer.Option(help="Ways whose name holds this.")] = "",
    out: Annotated[Path, typer.Option(help="The table.")] = Path("segmentation.csv"),
) -> None:
    """Train in every way with every seed and write the figures of the held-out patients."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = data or Path(scratch) / "stand-ins"
        if data is None:
            stand_ins.write("brats", folder, patients=patients, seed=0)
        readings = {k: read("brats", folder, size_px=SIZE_PX, neighbours=k) for k in (0, 1)}
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for number, row in enumerate(_rows(readings, seeds=seeds, steps=steps, only=only)):
            if number == 0:
                writer.writerow(row)
            writer.writerow(row.values())
            file.flush()


def _rows(
    readings: dict[int, Reading], *, seeds: int, steps: int, only: str
) -> Iterator[dict[str, object]]:
    for seed in range(seeds):
        for name, way in WAYS.items():
            if only not in name:
                continue
            reading = readings[way.neighbours]
            out = patient_hashing.held_out(reading.patient_ids, HELD_OUT, seed.to_bytes(16, "big"))
            cohort = _without(reading.cohort, way.lacking, reading.spec)
            began = time.process_time()
            model = _trained(way, cohort.select(~out), reading.spec, steps=steps, seed=seed)
            cpu_s = time.process_time() - began
            found = evaluation_sums.exact(model, cohort.select(out), reading.spec)
            row = {"way": name, "seed": seed, "stand_in": reading.spec.stand_in, "cpu_s": cpu_s}
            typer.echo(f"{seed} {name}: " + " ".join(f"{k} {v:.3f}" for k, v in found.items()))
            yield row | found


def _without(cohort: Cohort, lacking: tuple[str, ...], data: DataSpec) -> Cohort:
    images = cohort.images.copy()
    images[:, [data.channels.index(name) for name in lacking]] = 0
    return Cohort(images=images, labels=cohort.labels, patient=cohort.patient)


def _trained(way: Way, cohort: Cohort, data: DataSpec, *, steps: int, seed: int) -> torch.nn.Module:
    model = networks.build(way.recipe, data)
    networks.from_vector(model, networks.initial_weights(way.recipe, data, seed=seed))
    if way.dp is None:
        _adam(model, way, cohort, steps=steps, random=np.random.default_rng(seed))
        return model
    dp_sgd.train(
        model,
        cohort,
        TrainingRun(
            recipe=way.recipe,
            dp=way.dp,
            optimizer=Sgd(learning_rate=0.5, momentum=0.5),
            declared_patients=cohort.patients,
            augmentation=way.augmentation,
        ),
        randomness=NoiseSource.from_os(),
    )
    return model


def _adam(
    model: torch.nn.Module, way: Way, cohort: Cohort, *, steps: int, random: np.random.Generator
) -> None:
    adam = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    for _ in range(steps):
        chosen = random.integers(0, len(cohort.images), BATCH_SLICES)
        images, labels = _seen(cohort, chosen, way.augmentation, random)
        logits = model(*networks.inputs(images, cohort.facts[chosen]))
        truth = torch.from_numpy(labels.astype(np.int64))
        adam.zero_grad()
        networks.loss_per_example(way.recipe, logits, truth).mean().backward()  # type: ignore[no-untyped-call]
        adam.step()


def _seen(
    cohort: Cohort,
    chosen: NDArray[np.int64],
    augmentation: Augmentation | None,
    random: np.random.Generator,
) -> tuple[augmenting.Images, augmenting.Labels]:
    images, labels = cohort.images[chosen], cohort.labels[chosen]
    if augmentation is None:
        return images, labels
    uniforms = random.random((len(images), augmenting.numbers(images)))
    return augmenting.views(images, labels, augmentation=augmentation, uniforms=uniforms)


if __name__ == "__main__":
    typer.run(main)
