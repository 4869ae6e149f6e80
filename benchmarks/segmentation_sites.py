"""What a federation makes of neighbouring slices, and of modalities that one site does not have.

    python -m benchmarks.segmentation_sites --out runs/segmentation_sites

The grid `grids/glioma_sites.toml`, once for each way, over the same drawn patients; the site that
lacks modalities is the largest. There they are 0 throughout, the standardised mean, in training and
in what is held out, as the reader leaves them. Figures on stand-ins say nothing about medicine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from datasites.demo import federated_dataset
from federation.experiments import run, spec, summary
from federation.experiments.results_table import Record
from federation.experiments.run import How
from federation.simulation.hospital_data import HospitalData
from syft_code.cohort import Cohort
from syft_code.recipes.recipe import DataSpec

GRID = Path(__file__).parent / "grids" / "glioma_sites.toml"
REGIONS = ("dice_whole", "dice_core", "dice_enhancing")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False, eq=False)
class Lacking:
    """Hospitals of which the first has no pictures of some modalities."""

    whole: HospitalData
    modalities: tuple[str, ...]

    @property
    def spec(self) -> DataSpec:
        """As before: a channel that is 0 is still a channel."""
        return self.whole.spec

    @property
    def names(self) -> Sequence[str]:
        """The first is the one that lacks something."""
        return self.whole.names

    @property
    def remarks(self) -> Sequence[str]:
        """As before."""
        return self.whole.remarks

    def declared(self, name: str) -> int:
        """As before."""
        return self.whole.declared(name)

    def training(self, name: str) -> Cohort:
        """Its training patients, as this hospital sees them."""
        return self._seen(name, self.whole.training(name))

    def held_out(self, name: str) -> Cohort:
        """Its held-out patients, as this hospital sees them."""
        return self._seen(name, self.whole.held_out(name))

    def _seen(self, name: str, cohort: Cohort) -> Cohort:
        if name != self.names[0]:
            return cohort
        images = cohort.images.copy()
        images[:, [self.spec.channels.index(one) for one in self.modalities]] = 0
        return replace(cohort, images=images)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What differs: options of the reader, and the modalities that the first site lacks."""

    name: str
    options: dict[str, spec.Option] = field(default_factory=dict)
    lacking: tuple[str, ...] = ()


WAYS = (
    Way(name="2-D"),
    Way(name="2.5-D", options={"neighbours": 1}),
    Way(name="without T1 and T2", lacking=("t1", "t2")),
    Way(name="without T1ce and FLAIR", lacking=("t1ce", "flair")),
)


def load(
    study: str,
    *,
    data: str,
    split: str,
    seed: int,
    options: Mapping[str, object],
    lacking: tuple[str, ...] = (),
) -> HospitalData:
    """As `federated_dataset.load`; the first hospital lacks some modalities."""
    whole = federated_dataset.load(study, data=data, split=split, seed=seed, options=options)
    return Lacking(whole=whole, modalities=lacking)


def main(
    out: Annotated[Path, typer.Option(help="A folder for each way.")] = Path(
        "runs/segmentation_sites"
    ),
    grid: Annotated[Path, typer.Option(help="An experiment of one study.")] = GRID,
    workers: Annotated[int, typer.Option(min=1, help="Processes, of one thread each.")] = 1,
) -> None:
    """Run what is missing, and print the Dice of everybody's and of the first site's patients."""
    console = Console()
    for way in WAYS:
        experiment = spec.load(grid)
        study = replace(experiment.study[0], options=experiment.study[0].options | way.options)
        rows = run.run(
            replace(experiment, name=f"{experiment.name}, {way.name}", study=(study,)),
            partial(load, lacking=way.lacking),
            out / way.name.replace(" ", "_"),
            How(workers=workers),
            console=console,
        )
        for line in table(way.name, rows):
            typer.echo(line)


def table(name: str, rows: Sequence[Record]) -> list[str]:
    """One line for everybody's held-out patients, and one for each site's."""
    last = [row for row in summary.last_round(rows) if row["scope"] == "federated"]
    sites = dict.fromkeys(row["site"] for row in last)
    return [f"{name} | {site or 'everybody'} | {_dice(last, site)}" for site in sites]


def _dice(rows: Sequence[Record], site: str) -> str:
    found = [
        summary.spread([r["value"] for r in rows if (r["site"], r["metric"]) == (site, region)])
        for region in REGIONS
    ]
    return " / ".join(found)


if __name__ == "__main__":
    typer.run(main)
