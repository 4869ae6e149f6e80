"""`up` and `lab`: a whole federation on this machine, from one command (`demo`: `demo_command`).

Each checks everything that a person wrote before it starts, draws or deletes anything.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from datasites.demo import demo_hospitals, played_owners
from datasites.site_users import FIRST_USER
from federation.local import (
    aggregator_processes,
    federation_file,
    party_users,
    provisioning,
    state_folder,
)
from federation.local.federation_file import FederationConfig
from federation.local.party_users import FirstUser
from syft_code.errors import InvalidInput, require
from syft_code.operation import supervisor
from syft_code.operation.supervisor import (
    MAX_START_S,
    START_TIMEOUT_S,
    StartTimeout,
    until_interrupted,
    wait_for_interrupt,
)
from syft_code.runtime.cli_input import require_positive
from syft_code.runtime.cli_output import quoted

ROOT = Path(__file__).parents[2]
NOTEBOOKS = (
    "researcher_notebooks/train_a_model.ipynb",
    "datasites/notebooks/review_requests.ipynb",
)
STATE = Path("federation_state")
READY = "Stop with Ctrl-C"
"""How `up` ends what it says once all is ready."""
console = Console()

State = Annotated[Path, typer.Option(help="Where the parties keep their folders.")]
File = Annotated[Path | None, typer.Option("--federation", help="A federation's TOML file.")]
FirstPort = Annotated[
    int | None,
    typer.Option(
        help=f"First port of the parties, without a file; else {federation_file.FIRST_PORT}."
    ),
]
Reset = Annotated[
    bool, typer.Option("--reset", help="Delete what the folder's federation keeps, ledgers too.")
]
Follow = Annotated[
    str,
    typer.Option(
        help="You are this hospital's owner; the others are played, and approve what you approve."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Don't ask whether to reset.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a federation is started in a folder that stays."""

    config: FederationConfig
    state: Path
    reset: bool
    yes: bool
    timeout_s: float
    first_user: int
    follow: str

    def __post_init__(self) -> None:
        names = [entry.name for entry in self.config.hospital]
        require(
            self.follow in ("", *names),
            f"--follow must be one of the hospitals {', '.join(names)}, got {quoted(self.follow)}.",
            error=InvalidInput,
        )


def up(
    federation: File = None,
    state: State = STATE,
    reset: Reset = False,
    yes: Yes = False,
    first_port: FirstPort = None,
    first_user: FirstUser = FIRST_USER,
    start_timeout: StartTimeout = START_TIMEOUT_S,
    follow: Follow = "",
) -> None:
    """Start hospitals and aggregators side by side, and stop them on Ctrl-C."""
    start = Start(
        config=_config(federation, first_port),
        state=state,
        reset=reset,
        yes=yes,
        timeout_s=start_timeout,
        first_user=first_user,
        follow=follow,
    )
    with (
        until_interrupted(_print),
        _started(start),
        _played(start),
    ):
        _print(f"Researcher's credentials: {state / state_folder.CREDENTIALS}. {READY}.")
        wait_for_interrupt()


def lab(
    state: State = STATE,
    federation: File = None,
    reset: Reset = False,
    yes: Yes = False,
    first_port: FirstPort = None,
    first_user: FirstUser = FIRST_USER,
    start_timeout: StartTimeout = START_TIMEOUT_S,
    follow: Follow = "",
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Start the federation and JupyterLab on the two notebooks."""
    start = Start(
        config=_config(federation, first_port),
        state=state,
        reset=reset,
        yes=yes,
        timeout_s=start_timeout,
        first_user=first_user,
        follow=follow,
    )
    command = [sys.executable, "-m", "jupyterlab", "--ServerApp.log_level=ERROR"]
    command += [f"--LabApp.default_url=/lab/tree/{NOTEBOOKS[0]}"]
    command += [] if browser else ["--no-browser"]
    command += ["--allow-root"] if os.geteuid() == 0 else []
    environment = os.environ | {"CONSILIUM_STATE": str(state.resolve())}
    environment |= {"CONSILIUM_HOSPITAL": follow} if follow else {}
    with (
        until_interrupted(_print),
        _started(start),
        _played(start),
    ):
        for notebook in NOTEBOOKS:
            _print(f"Notebook: {notebook}")
        _print("JupyterLab prints its address below. Stop with Ctrl-C.")
        run_jupyter(command, environment)


def run_jupyter(command: list[str], environment: Mapping[str, str]) -> None:
    """Run JupyterLab until somebody shuts it down; if it fails, the parties go on without it."""
    code = subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode
    if code:
        _print(
            f"JupyterLab ended with exit code {code}; the parties keep running. Stop them with "
            "Ctrl-C and start again, or open the notebooks in another JupyterLab, with "
            f"CONSILIUM_STATE={environment['CONSILIUM_STATE']}."
        )
        wait_for_interrupt()


@contextlib.contextmanager
def _started(start: Start) -> Iterator[None]:
    """A federation in its folder, provisioned and shown, until the block ends."""
    require_positive(start.timeout_s, "--start-timeout", most=MAX_START_S)
    party_users.require_number(start.first_user)
    state_folder.require_usable(start.state, reset=start.reset)
    say = supervisor.timed(console)
    with state_folder.held(start.state):
        provisioning.require_free_ports(start.config)
        if start.reset or not (start.state / state_folder.CREDENTIALS).exists():
            provisioning.require_data(start.config)
            provisioning.require_declared(start.config)
        provisioning.hospitals(start.config, start.state)  # refuses what their folders would
        if start.reset:
            state_folder.reset(start.state, confirmed=start.yes, say=_print)
        choice = party_users.choose(start.config, start.state, first=start.first_user)
        with provisioning.running_federation(
            start.config,
            start.state,
            users=choice.users,
            start_timeout_s=start.timeout_s,
            say=say,
        ):
            provisioning.provision(start.config, start.state, say=say)
            console.print(aggregator_processes.table(start.config, choice))
            yield


def _played(start: Start) -> contextlib.AbstractContextManager[None]:
    """The owners of all hospitals but the learner's own, if there is a learner."""
    if not start.follow:
        return contextlib.nullcontext()
    owners = demo_hospitals.owners(provisioning.hospitals(start.config, start.state))
    return played_owners.following(start.follow, owners, say=_print)


def _config(federation: Path | None, first_port: int | None) -> FederationConfig:
    if federation is None:
        chosen = federation_file.FIRST_PORT if first_port is None else first_port
        return federation_file.default(first_port=chosen)
    require(
        first_port is None,
        "A federation's file names each port: leave out --first-port, or --federation.",
        error=InvalidInput,
    )
    return federation_file.load(federation)


def _print(sentence: str) -> None:
    console.print(sentence, highlight=False, markup=False, soft_wrap=True)
