"""`demo`: it checks everything that a person wrote, then plays every party once."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from datasites.demo import demo_hospitals
from datasites.site_users import FIRST_USER
from federation.local import (
    federation_file,
    party_users,
    provisioning,
)
from federation.local.party_users import FirstUser
from federation.local_demo import demo_run
from syft_code.operation import supervisor
from syft_code.operation.supervisor import MAX_START_S, START_TIMEOUT_S, StartTimeout
from syft_code.runtime.cli_input import require_folder, require_output_folder, require_positive

INTERRUPTED = 130
"""The exit code of a command that was stopped by Ctrl-C, as shells have it."""
console = Console()


def demo(
    study: Annotated[
        str,
        typer.Option(help=f"{', '.join(demo_hospitals.ASSETS)}. A table and images are your own."),
    ] = "ham10000",
    data: Annotated[Path | None, typer.Option(help="A data set as published.")] = None,
    budget: Annotated[
        float, typer.Option(help="Epsilon of each hospital.")
    ] = federation_file.DEFAULT_EPSILON,
    out: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs"),
    first_port: Annotated[int, typer.Option(help="First port of the parties.")] = 8301,
    keep: Annotated[bool, typer.Option(help="Keep the parties' folders, patients too.")] = False,
    first_user: FirstUser = FIRST_USER,
    start_timeout: StartTimeout = START_TIMEOUT_S,
) -> None:
    """Play every party once: publish, request, approve, train, evaluate, report."""
    kind = demo_hospitals.data_kind(study)
    require_positive(budget, "--budget")
    require_positive(start_timeout, "--start-timeout", most=MAX_START_S)
    party_users.require_number(first_user)
    require_output_folder(out, "--out")
    if data:
        require_folder(data, "--data")
    config = federation_file.default(
        first_port=first_port,
        epsilon=budget,
        kind=kind,
        tell_researchers=True,  # everybody is on this machine: the demo shows the reasons too
    )
    config = replace(
        config, hospital=tuple(replace(entry, data=str(data or "")) for entry in config.hospital)
    )
    provisioning.require_free_ports(config)
    provisioning.require_data(config)
    say = supervisor.timed(console)
    try:
        with demo_run.run_folder(out, keep=keep) as folder:
            reading = demo_run.read(kind, str(data or ""), folder)
            config = demo_run.fitted(config, reading, say=say)
            choice = party_users.choose(config, folder / demo_run.STATE, first=first_user)
            say(choice.sentence)
            demo_run.play(
                reading, kind, config, folder, users=choice.users, console=console, say=say,
                start_timeout_s=start_timeout,
            )  # fmt: skip
    except KeyboardInterrupt:
        kept = f"The parties' folders are in {folder}." if keep else "No party's data was kept."
        console.print(f"Interrupted. {kept}", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
