"""Starts the parties of a federation and prints where they are.

python launch.py up          hospitals and aggregators, until Ctrl-C
python launch.py demo        the whole story, once, with every party on this machine
python launch.py lab         JupyterLab on the notebooks, with the federation running
python launch.py stand-ins   synthetic data in the published layouts
python launch.py split       a picture of how a data set would be shared out between hospitals
python launch.py requests    the owner's desk: also ledger, policy, approvers, patients, log
python launch.py audit       export a hospital's signed log, or verify one: anybody may
python launch.py experiment  a grid of simulated studies, from one TOML file
python launch.py study       settings for a study at one epsilon, tuned on public data alone
python launch.py aggregator  one aggregator, alone: start it, look after it, wipe a study
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from datasites.cli import ledger_commands, policy_commands, request_commands
from datasites.data import mock_cohort
from datasites.demo import demo_hospitals, federated_dataset, partitioners, stand_ins
from datasites.demo.demo_hospitals import HospitalSpec
from datasites.owner.owner import Owner
from datasites.site import SiteSettings
from federation.aggregator.operator import commands as aggregator_command
from federation.cli import audit_commands, experiment_commands, study_commands
from federation.evaluation.exact_metrics import HospitalCohorts
from federation.local import aggregator_processes
from federation.local import federation_file as federations
from federation.local.demo_study import DemoStudy
from federation.local.federation_file import FederationConfig, HospitalEntry
from federation.local.supervisor import require_alive, running
from federation.reporting import split_plot
from federation.researcher.session import Credentials, Researcher
from federation.researcher.syft_client import HospitalLogin
from policies.site_policy import SitePolicy
from syft_code.errors import ConsiliumError, Refused
from syft_code.plans.catalogue import Terms
from syft_code.runtime.cli_output import Command
from syft_code.runtime.process_spec import ProcessSpec

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
app.add_typer(request_commands.app, name="requests")
app.add_typer(policy_commands.policy, name="policy")
app.add_typer(policy_commands.approvers, name="approvers")
app.add_typer(policy_commands.patients, name="patients")
app.add_typer(ledger_commands.audit, name="audit")
app.add_typer(ledger_commands.log, name="log")
app.add_typer(aggregator_command.app(Command), name="aggregator")
app.add_typer(experiment_commands.app(federated_dataset.load), name="experiment")
app.add_typer(study_commands.app(federated_dataset.load), name="study")
app.command(cls=Command)(ledger_commands.ledger)
ledger_commands.audit.command(cls=Command)(audit_commands.verify)
console = Console()

ROOT = Path(__file__).parent
NOTEBOOKS = (
    "researcher_notebooks/train_a_model.ipynb",
    "datasites/notebooks/review_requests.ipynb",
)


@app.callback()
def _main() -> None:
    """Consilium: hospitals train one model without showing anyone a patient."""


Folder = Annotated[Path, typer.Option(help="Where the parties keep their folders.")]
File = Annotated[Path | None, typer.Option("--federation", help="A federation's TOML file.")]


@app.command()
def up(
    federation: File = None,
    state: Folder = Path("federation_state"),
    reset: Annotated[bool, typer.Option(help="Forget everything and start anew.")] = False,
    first_port: Annotated[int, typer.Option(help="First port, without a file.")] = 8101,
) -> None:
    """Start hospitals and aggregators side by side, and stop them on Ctrl-C."""
    config = (
        federations.load(federation) if federation else federations.default(first_port=first_port)
    )
    if reset:
        shutil.rmtree(state, ignore_errors=True)
    with contextlib.suppress(KeyboardInterrupt), _federation(config, state) as parties:
        _first_start(config, state)
        console.print(aggregator_processes.table(config))
        console.print(
            f"Researcher's credentials: {state / 'researcher.json'}. Stop with Ctrl-C.",
            soft_wrap=True,
        )
        while True:
            time.sleep(2.0)
            require_alive(parties)


@app.command()
def lab(
    state: Folder = Path("federation_state"),
    federation: File = None,
    first_port: Annotated[int, typer.Option(help="First port, without a file.")] = 8101,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Start the federation and JupyterLab on the two notebooks."""
    config = (
        federations.load(federation) if federation else federations.default(first_port=first_port)
    )
    command = [sys.executable, "-m", "jupyterlab", "--ServerApp.log_level=ERROR"]
    command += [f"--LabApp.default_url=/lab/tree/{NOTEBOOKS[0]}"]
    command += [] if browser else ["--no-browser"]
    command += ["--allow-root"] if os.geteuid() == 0 else []
    environment = os.environ | {"CONSILIUM_STATE": str(state.resolve())}
    with contextlib.suppress(KeyboardInterrupt), _federation(config, state):
        _first_start(config, state)
        console.print(aggregator_processes.table(config))
        for notebook in NOTEBOOKS:
            console.print(f"Notebook: {notebook}", highlight=False)
        console.print("JupyterLab prints its address below. Stop with Ctrl-C.")
        subprocess.run(command, env=environment, cwd=ROOT, check=False)


@app.command("stand-ins")
def write_stand_ins(
    kind: Annotated[str, typer.Option(help="ham10000, brats, heart, symptoms or vitals")],
    out: Annotated[Path, typer.Option(help="An empty folder.")],
    patients: Annotated[int | None, typer.Option(help="How many patients.")] = None,
    seed: int = 0,
) -> None:
    """Write synthetic data in the layout of a published data set."""
    stand_ins.write(stand_ins.drawable(kind), out, patients=patients, seed=seed)
    console.print(f"Wrote stand-ins for {kind} to {out}. No patient is in them.")


@app.command("split")
def picture_of_a_split(
    kind: Annotated[str, typer.Option(help="ham10000, brats, heart, symptoms, vitals, table")],
    rule: Annotated[str, typer.Option(help="site, quantity, dirichlet:0.3, tumour, age, ...")],
    out: Annotated[Path, typer.Option(help="An SVG file.")],
    data: Annotated[Path | None, typer.Option(help="Public data; stand-ins without it.")] = None,
    hospitals: Annotated[int, typer.Option(help="How many; 0: by the rule.")] = 0,
    seed: int = 0,
) -> None:
    """Draw who would have how many of each class. Never draw it of a hospital's own patients."""
    with tempfile.TemporaryDirectory() as folder:
        known = demo_hospitals.data_kind(kind)
        reading = demo_hospitals.read(known, str(data or ""), Path(folder), facts=rule == "age")
    parts = partitioners.split(reading, rule, hospitals=hospitals, seed=seed)
    drawn = split_plot.split_picture(
        [f"hospital-{number}" for number in range(1, len(parts) + 1)],
        partitioners.class_counts(reading, parts),
        classes=reading.spec.classes if reading.spec.task == "classification" else ["patients"],
        values=partitioners.values_of(reading, rule, parts),
        quantity=partitioners.SORTED_BY.get(rule, ""),
    )
    out.write_bytes(drawn.data)
    console.print(f"{drawn.alt} Drawn in {out}.", highlight=False, soft_wrap=True)


@app.command()
def demo(
    study: Annotated[
        str, typer.Option(help="ham10000, brats, heart, symptoms, vitals, or table: your own")
    ] = "ham10000",
    data: Annotated[Path | None, typer.Option(help="A data set as published.")] = None,
    budget: Annotated[float | None, typer.Option(help="Epsilon of each hospital.")] = None,
    out: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs"),
    first_port: Annotated[int, typer.Option(help="First port of the parties.")] = 8301,
    keep: Annotated[bool, typer.Option(help="Keep the parties' folders, patients too.")] = False,
) -> None:
    """Play every party once: publish, request, approve, train, evaluate, report."""
    kind = demo_hospitals.data_kind(study)
    folder = out / time.strftime("%Y-%m-%d_%H-%M-%S")
    state = folder / "federation"
    reading = demo_hospitals.read(kind, str(data or ""), state / "stand-ins")
    told = DemoStudy(console, folder, stand_in=reading.spec.stand_in)
    config = federations.default(
        first_port=first_port,
        hospitals=min(4, len(reading.patient_ids)),
        epsilon=federations.DEFAULT_EPSILON if budget is None else budget,
        kind=kind,
        tell_researchers=True,  # everybody is on this machine: the demo shows the reasons too
    )
    told.say(f"Starting {len(config.hospital)} hospitals and {len(config.aggregator)} aggregators")
    with _federation(config, state):
        owners = demo_hospitals.owners(_neighbours(config, state))
        told.say("Each owner publishes a cohort to the vault and a mock to the front desk")
        _introduce(config, state, owners)
        splits = demo_hospitals.partition_patients(reading, owners)
        demo_hospitals.publish(owners, splits, reading.spec, asset=demo_hospitals.ASSETS[kind])
        researcher = Researcher(_invite(config, state, owners))
        asked = told.study(researcher, name=f"{kind}-demo", asset=demo_hospitals.ASSETS[kind])
        demo_hospitals.approve_all(owners, folder, console)
        outcome, weights = told.train(asked)
        researcher.close()
    told.conclude(
        outcome,
        weights,
        [
            HospitalCohorts(name=name, training=split.training(), held_out=split.evaluation())
            for name, split in splits.items()
        ],
        samples=mock_cohort.draw(reading.spec, seed=1, slices=12),
        budgets={entry.name: entry.epsilon for entry in config.hospital},
    )
    if not keep:
        shutil.rmtree(state)
    if outcome.stopped:
        raise Refused(" ".join((outcome.stopped, *outcome.reasons)))
    told.say("Done")


@contextlib.contextmanager
def _federation(config: FederationConfig, state: Path) -> Iterator[list[ProcessSpec]]:
    """Every party of a federation, healthy, until the block ends."""
    parties = [party for one in _neighbours(config, state) for party in one.parties()]
    parties += aggregator_processes.parties(config, state)
    with running(parties):
        yield parties


def _neighbours(config: FederationConfig, state: Path) -> list[HospitalSpec]:
    return [
        HospitalSpec(
            home=(state / "hospitals" / entry.name).resolve(),
            settings=SiteSettings(
                name=entry.name, port=entry.port, round_limit_s=entry.round_limit_s
            ),
            policy=_policy(config, entry),
            kind=entry.kind,
            data=entry.data,
        )
        for entry in config.hospital
    ]


def _policy(config: FederationConfig, entry: HospitalEntry) -> SitePolicy:
    terms = Terms(
        epsilon=entry.epsilon,
        delta=entry.delta,
        min_noise_multiplier=entry.min_noise_multiplier,
        min_patients=entry.min_patients,
        min_hospitals=config.min_hospitals,
    )
    return SitePolicy(terms=terms, tell_researchers=entry.tell_researchers)


def _first_start(config: FederationConfig, state: Path) -> None:
    """Publish every hospital's data and invite a researcher, unless that was done before."""
    path = state / "researcher.json"
    if path.exists():
        return
    hospitals = _neighbours(config, state)
    owners = demo_hospitals.owners(hospitals)
    _introduce(config, state, owners)
    demo_hospitals.publish_all(
        hospitals,
        owners,
        state / "stand-ins",
        remark=lambda text: console.print(text, highlight=False, soft_wrap=True),
    )
    _invite(config, state, owners).save(path)


def _introduce(config: FederationConfig, state: Path, owners: Sequence[Owner]) -> None:
    keys = [(one.verify_key, one.seal_key) for one in aggregator_processes.entries(config, state)]
    demo_hospitals.exchange_keys(owners, keys)


def _invite(config: FederationConfig, state: Path, owners: Sequence[Owner]) -> Credentials:
    """An account at every hospital and a signing key, for one researcher."""
    email = f"researcher-{secrets.token_hex(3)}@example.org"
    accounts = tuple(
        HospitalLogin(hospital=o.name, url=o.settings.url, email=email, password=o.invite(email))
        for o in owners
    )
    return Credentials(
        accounts=accounts,
        aggregators=aggregator_processes.entries(config, state),
        signing_key=secrets.token_bytes(32).hex(),
    )


def main() -> None:
    """Run a command; an error that was raised on purpose is one sentence and exit code 1."""
    signal.signal(signal.SIGTERM, _stop_quietly)
    try:
        app()
    except ConsiliumError as problem:
        console.print(f"[red]{escape(str(problem))}[/]", highlight=False, soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(0)


def _stop_quietly(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
