"""`data check`: what a folder holds, and a first mapping of it, before anything is published."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from datasites.owner import case_pictures, folder_check
from datasites.owner.folder_check import KINDS, FolderCheck
from syft_code.errors import InvalidData, InvalidInput, require
from syft_code.runtime import cli_output, durable_files
from syft_code.runtime.cli_input import require_folder, require_output_file
from syft_code.runtime.cli_output import AsJson, Command

app = typer.Typer(no_args_is_help=True, help="A data folder, before anything is published.")
MOST_PICTURES = 12
PRIVATE = (
    "All of this counts patients or shows them: it is for you alone. Nothing was published, and nothing "
    "left this machine."
)


@app.callback()
def _group() -> None: ...


@app.command(cls=Command)
def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The data folder.")],
    kind: Annotated[
        str, typer.Option(help=f"{', '.join(KINDS)}; else the names of the files say it.")
    ] = "",
    write: Annotated[
        bool, typer.Option("--write", help="Write a first mapping to edit, if there is none.")
    ] = False,
    pictures: Annotated[
        Path | None,
        typer.Option(help="A new PNG file with a few cases, which only you can read."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read a folder as it would be published, and say what is in it: for its owner's eyes alone.

    Files are opened behind walls. Nothing needs to run, and nothing is published. Exit code 1 and
    one sentence if the folder can't be read as it is.

    JSON: folder, kind, recognised, can_be_read, refusal, patients, slices, unit, facts, by_class, by_site,
    remarks, description, mapping (the file's name, or null), written, pictures.
    """
    require_folder(folder, "DIR")
    named = folder_check.kind_of(kind) if kind else None
    if pictures:
        require_output_file(pictures, "--pictures")
        require(
            not pictures.exists() and not pictures.is_symlink(),
            f"--pictures must be a new file, and {cli_output.quoted(str(pictures))} is there already: choose "
            "another name.",
            error=InvalidInput,
        )
    found = folder_check.check(
        folder, named, pictures=MOST_PICTURES if pictures else 0, draft=write
    )
    written = folder_check.write_mapping(found) if write else None
    drawn = _draw(found, pictures) if pictures else None
    if as_json:
        cli_output.document(_facts(found) | {"written": _text(written), "pictures": _text(drawn)})
    elif found.reading is not None or found.survey is not None:
        cli_output.sentence("\n".join(_lines(found, written, drawn)))
    if found.reading is None:
        raise InvalidData(found.refusal + ("" if written else _way_on(found)))


def _draw(found: FolderCheck, path: Path) -> Path | None:
    """Write the pictures of a few cases, mode 0600; None if there are none."""
    if found.reading is not None:
        shown = case_pictures.of_reading(found.reading, MOST_PICTURES)
        require(
            bool(shown),
            f"--pictures must be of data that has pictures, and kind {found.kind} has none: leave it out.",
            error=InvalidInput,
        )
    else:
        shown = list(found.survey.pictures) if found.survey else []
    if shown:
        durable_files.write_durably(path, case_pictures.png(shown))
    return path if shown else None


def _lines(found: FolderCheck, written: Path | None, drawn: Path | None) -> list[str]:
    how = "as its names say" if found.is_recognised else "as you say"
    lines = [f"{cli_output.quoted(found.folder.name)} is of kind {found.kind}, {how}."]
    reading = found.reading
    if reading is not None:
        spec = reading.spec
        stand_in = " STAND-INS: no patient is in them." if spec.stand_in else ""
        lines += [
            f"It can be read: {reading.cohort.patients:,} patients ({spec.patient_unit}), "
            f"{len(reading.cohort.labels):,} slices or rows, {len(spec.facts)} facts.{stand_in}",
            f"Patients by class: {_counts(found.by_class())}.",
            f"Patients by site: {_counts(found.by_site()) or 'the data name no sites'}.",
        ]
        lines += [f"- {remark}" for remark in found.remarks]
    if found.survey is not None:
        lines += [f"- {sentence}" for sentence in found.survey.description]
    if written is not None:
        lines.append(f"Wrote {written.name} into the folder: edit it, then check again.")
    if drawn is not None:
        lines.append(
            f"Pictures of a few cases: {drawn}. Only you can read the file; delete it afterwards."
        )
    return [*lines, PRIVATE]


def _way_on(found: FolderCheck) -> str:
    if found.survey is None:
        return ""
    return f" For a first {found.mapping} to edit, say --write."


def _facts(found: FolderCheck) -> dict[str, object]:
    reading, survey = found.reading, found.survey
    return {
        "folder": str(found.folder),
        "kind": found.kind,
        "recognised": found.is_recognised,
        "can_be_read": reading is not None,
        "refusal": found.refusal,
        "patients": reading.cohort.patients if reading else None,
        "slices": len(reading.cohort.labels) if reading else None,
        "unit": reading.spec.patient_unit if reading else None,
        "facts": list(reading.spec.facts) if reading else [],
        "by_class": dict(found.by_class()),
        "by_site": dict(found.by_site()),
        "remarks": list(found.remarks),
        "description": list(survey.description) if survey else [],
        "mapping": found.mapping or None,
    }


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in counts.items())


def _text(path: Path | None) -> str | None:
    return str(path) if path else None
