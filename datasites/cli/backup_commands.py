"""`hospital backup` and `restore`: a hospital's folder copied, and put back."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from datasites.cli import options
from datasites.hospital import backup as hospital_copy
from datasites.hospital import hospital_file, running
from datasites.site import Site
from syft_code.runtime import cli_output

RequireWhole = Callable[..., int]
"""Of a log and its hospital's key: raises unless certificates and aggregators find all that they have seen."""
File = Annotated[Path, typer.Option("--config", help="The hospital's TOML file.")]


def backup(
    config: File, out: Annotated[Path, typer.Option(help="A new file: as secret as the folder.")]
) -> None:
    """Copy the hospital's folder, also while it runs. Run it as root, or as the folder's user."""
    settings = hospital_file.load(config)
    options.require_made(Site(settings.folder))
    options.require_new(out)
    made = hospital_copy.write(Site(settings.folder), out)
    cli_output.sentence(
        f"Wrote {out}: {settings.name} up to entry {made.log_entries} of its audit log. It holds patients and "
        "keys, so keep it as you keep the folder; what is spent from now on is not in it."
    )


def restoring(require_whole: RequireWhole) -> Callable[..., None]:
    """The command that needs others' word on how far the ledger had come."""

    def restore(
        copy: Annotated[Path, typer.Argument(metavar="FILE", help="What `backup` wrote.")],
        config: File,
        certificates: Annotated[
            list[Path] | None, typer.Option("--certificate", help="A model's certificate.json.")
        ] = None,
        aggregators: Annotated[
            list[Path] | None, typer.Option("--aggregator", help="An aggregator's public.json.")
        ] = None,
        unseen: Annotated[
            bool, typer.Option("--unseen", help="Also if nobody has seen anything of it.")
        ] = False,
    ) -> None:
        """Put a copy back into an empty folder, if its ledger holds all that others have seen of it."""
        settings = hospital_file.load(config)
        whole = functools.partial(
            require_whole,
            certificates=certificates or (),
            aggregators=aggregators or (),
            unseen=unseen,
        )
        made, seen = hospital_copy.restore(
            copy, settings.folder, hospital=settings.name, check=whole
        )
        cli_output.sentence(
            f"{made.hospital} is back in {settings.folder}, up to entry {made.log_entries} of its audit log, of "
            f"which others have seen entry {seen} or an earlier one. Never start another copy of it beside this "
            f"one. Start it: consilium hospital start --config {config}"
        )
        running.make(settings)

    return restore
