"""`stand-ins` and `split`: data to try things out on, and how it would be shared out."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from datasites.demo import demo_hospitals, federated_dataset, partitioners, stand_ins
from federation.reporting import split_plot
from syft_code.errors import InvalidInput
from syft_code.runtime.cli_input import (
    require_count,
    require_folder,
    require_output_file,
    require_output_folder,
)

MAX_PATIENTS = 99_999
MAX_SEED = 2**63 - 1
console = Console()

Seed = Annotated[int, typer.Option(help="The same seed draws the same.")]


def write_stand_ins(
    kind: Annotated[str, typer.Option(help=", ".join(stand_ins.DEFAULT_PATIENTS))],
    out: Annotated[Path, typer.Option(help="A new or an empty folder.")],
    patients: Annotated[int | None, typer.Option(help="How many; else as many as suit.")] = None,
    seed: Seed = 0,
) -> None:
    """Write synthetic data in the layout of a published data set."""
    known = stand_ins.drawable(kind)
    require_count(patients, "--patients", most=MAX_PATIENTS)
    require_count(seed, "--seed", least=0, most=MAX_SEED)
    require_output_folder(out, "--out")
    stand_ins.write(known, out, patients=patients, seed=seed)
    console.print(
        f"Wrote stand-ins for {kind} to {out}. No patient is in them.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def draw_split(
    kind: Annotated[str, typer.Option(help=", ".join(demo_hospitals.ASSETS))],
    rule: Annotated[str, typer.Option(help="site, quantity, dirichlet:0.3, tumour, age, ...")],
    out: Annotated[Path, typer.Option(help="An SVG file.")],
    data: Annotated[Path | None, typer.Option(help="Public data; stand-ins without it.")] = None,
    hospitals: Annotated[int, typer.Option(help="How many; 0: by the rule.")] = 0,
    seed: Seed = 0,
) -> None:
    """Draw who would have how many of each class. Never draw it of a hospital's own patients."""
    known = demo_hospitals.data_kind(kind)
    require_count(hospitals, "--hospitals", least=0, most=MAX_PATIENTS)
    require_count(seed, "--seed", least=0, most=MAX_SEED)
    require_output_file(out, "--out")
    partitioners.require_rule(rule)
    if data:
        require_folder(data, "--data")
    with tempfile.TemporaryDirectory() as folder:
        reading = demo_hospitals.read(known, str(data or ""), Path(folder), facts=rule == "age")
    parts = partitioners.split(reading, rule, hospitals=hospitals, seed=seed)
    names = [f"hospital-{number}" for number in range(1, len(parts) + 1)]
    drawn = split_plot.split_picture(
        names,
        partitioners.class_counts(reading, parts),
        classes=reading.spec.classes if reading.spec.task == "classification" else ["patients"],
        values=partitioners.values_of(reading, rule, parts),
        quantity=partitioners.SORTED_BY.get(rule, ""),
    )
    try:
        out.touch(mode=0o600)
        out.write_bytes(drawn.data)
    except OSError as problem:
        raise InvalidInput(f"--out can't be written: {problem.strerror}, {out}.") from None
    for sentence in federated_dataset.remarks(reading, dict(zip(names, parts, strict=True))):
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)
    whose = "" if reading.spec.stand_in else " Its counts are exact: for the data's owner alone."
    console.print(
        f"{drawn.alt} Drawn in {out}.{whose}", highlight=False, markup=False, soft_wrap=True
    )
