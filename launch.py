"""Starts the parties of a federation and prints where they are.

python launch.py up          hospitals and aggregators, until Ctrl-C
python launch.py demo        the whole story, once, with every party on this machine
python launch.py lab         JupyterLab on the notebooks, with the federation running
python launch.py stand-ins   synthetic data in the published layouts
python launch.py requests    the owner's desk: also ledger, policy, approvers, patients, log
python launch.py audit       export a hospital's signed log, or verify one: anybody may
python launch.py aggregator  one aggregator, alone: start it, look after it, wipe a study
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Column, Table
from rich.text import Text

from datasites import hospital
from datasites import site as sites
from datasites.commands import ledgers, requests, rules
from datasites.commands.speech import Spoken
from datasites.data import partition, readers, stand_ins
from datasites.data.cohort_file import SplitCohort
from datasites.data.readers import Reading
from datasites.owner import Owner
from datasites.site import SiteSettings
from federation import audit_command, local_aggregator, results, studies
from federation import config as federations
from federation.aggregator import command as aggregator_command
from federation.baselines import HospitalCohorts
from federation.client import Account
from federation.config import FederationConfig, HospitalEntry, Kind
from federation.parties import Party, require_alive, running
from federation.progress import Display
from federation.researcher import Credentials, Researcher
from federation.study import Outcome, Weights
from policies import site_policy
from policies.rules import KnownParties
from policies.site_policy import SitePolicy
from syft_code.catalogue import Terms
from syft_code.errors import ConsiliumError, InvalidInput, Refused
from syft_code.recipes import DataSpec

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
app.add_typer(requests.app, name="requests")
app.add_typer(rules.policy, name="policy")
app.add_typer(rules.approvers, name="approvers")
app.add_typer(rules.patients, name="patients")
app.add_typer(ledgers.audit, name="audit")
app.add_typer(ledgers.log, name="log")
app.add_typer(aggregator_command.app(Spoken), name="aggregator")
app.command(cls=Spoken)(ledgers.ledger)
ledgers.audit.command(cls=Spoken)(audit_command.verify)
console = Console()

ASSETS: dict[Kind, str] = {"ham10000": "skin-lesions", "brats": "gliomas"}
SIZES_PX: dict[Kind, int] = {"ham10000": 32, "brats": 48}
ROOT = Path(__file__).parent
NOTEBOOKS = (
    "researcher_notebooks/train_a_model.ipynb",
    "datasites/notebooks/review_requests.ipynb",
)
STAND_IN_NOTICE = "[yellow]STAND-IN DATA: synthetic pictures, no patient, no medical meaning.[/]"


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
        console.print(_table(config))
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
        console.print(_table(config))
        for notebook in NOTEBOOKS:
            console.print(f"Notebook: {notebook}", highlight=False)
        console.print("JupyterLab prints its address below. Stop with Ctrl-C.")
        subprocess.run(command, env=environment, cwd=ROOT, check=False)


@app.command("stand-ins")
def write_stand_ins(
    kind: Annotated[str, typer.Option(help="ham10000 or brats")],
    out: Annotated[Path, typer.Option(help="An empty folder.")],
    patients: Annotated[int | None, typer.Option(help="How many patients.")] = None,
    seed: int = 0,
) -> None:
    """Write synthetic data in the layout of a published data set."""
    stand_ins.write(_kind(kind), out, patients=patients, seed=seed)
    console.print(f"Wrote stand-ins for {kind} to {out}. No patient is in them.")


@app.command()
def demo(
    study: Annotated[str, typer.Option(help="ham10000 or brats")] = "ham10000",
    data: Annotated[Path | None, typer.Option(help="A data set as published.")] = None,
    budget: Annotated[float | None, typer.Option(help="Epsilon of each hospital.")] = None,
    out: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs"),
    first_port: Annotated[int, typer.Option(help="First port of the parties.")] = 8301,
    keep: Annotated[bool, typer.Option(help="Keep the parties' folders, patients too.")] = False,
) -> None:
    """Play every party once: publish, request, approve, train, evaluate, report."""
    began = time.monotonic()
    kind = _kind(study)
    folder = out / time.strftime("%Y-%m-%d_%H-%M-%S")
    state = folder / "federation"
    reading = readers.read(kind, _data_folder(state, kind, str(data or "")), size_px=SIZES_PX[kind])
    if reading.spec.stand_in:
        console.print(STAND_IN_NOTICE)
    config = federations.default(
        first_port=first_port,
        hospitals=min(4, len(reading.patient_ids)),
        epsilon=federations.DEFAULT_EPSILON if budget is None else budget,
        kind=kind,
        tell_researchers=True,  # everybody is on this machine: the demo shows the reasons too
    )
    _say(
        began, f"Starting {len(config.hospital)} hospitals and {len(config.aggregator)} aggregators"
    )
    with _federation(config, state):
        owners = _owners(config, state)
        _say(began, "Each owner publishes a cohort to the vault and a mock to the front desk")
        _introduce(config, state, owners)
        splits = _publish_parts(reading, owners)
        researcher = Researcher(_invite(config, state, owners))
        outcome, weights = _research(began, folder, kind, researcher, owners)
    budgets = {entry.name: entry.epsilon for entry in config.hospital}
    _conclude(began, folder, reading, outcome, weights, splits, budgets)
    if not keep:
        shutil.rmtree(state)
    if outcome.stopped:
        raise Refused(" ".join((outcome.stopped, *outcome.reasons)))
    _say(began, "Done")


def _say(began: float, sentence: str) -> None:
    console.print(f"[dim]{time.monotonic() - began:5.0f} s[/]  {sentence}", highlight=False)


def _publish_parts(reading: Reading, owners: Sequence[Owner]) -> dict[str, SplitCohort]:
    """Share one data set out between the hospitals, by true site where it has one."""
    parts = partition.by_site(reading, len(owners))
    splits = {
        owner.name: owner.split(reading, chosen=chosen)
        for owner, chosen in zip(owners, parts, strict=True)
    }
    for owner in owners:
        owner.publish(splits[owner.name], spec=reading.spec, asset=ASSETS[reading.spec.kind])
    return splits


def _research(
    began: float, folder: Path, kind: Kind, researcher: Researcher, owners: Sequence[Owner]
) -> tuple[Outcome, list[Weights]]:
    """The researcher submits, the owners look and approve, the rounds run."""
    cards = researcher.catalogue()
    choices = studies.suggested(cards[0].spec)
    study = researcher.study(
        study=f"{kind}-demo",
        asset=ASSETS[kind],
        recipe=choices.recipe,
        dp_sgd=choices.dp_sgd,
        optimizer=choices.optimizer,
        rounds=choices.rounds,
        evaluation=choices.evaluation if all(card.held_out for card in cards) else None,
    )
    _say(began, "The researcher submits one code request to every hospital")
    study.submit()
    for position, owner in enumerate(owners):
        evidence = owner.requests()[-1]
        if position == 0:
            pack = owner.examine(evidence)
            (folder / "evidence.html").write_text(pack.page(), encoding="utf-8")
            console.print(Panel(Text(pack.brief()), title=f"What the owner of {owner.name} sees"))
            console.print(f"  All of it: {folder / 'evidence.html'}", highlight=False)
        owner.approve(evidence)
    _say(began, f"{len(owners)} owners have approved; training {study.plan.rounds} rounds")
    study.wait_for_approval(timeout_s=60.0)
    weights: list[Weights] = []
    display = Display(console, rounds=study.plan.rounds)
    with display.shown():
        outcome = study.train(
            on_progress=display.on_progress,
            on_round=lambda record, new: (display.on_round(record, new), weights.append(new))[1],
        )
    researcher.close()
    return outcome, weights


def _conclude(
    began: float,
    folder: Path,
    reading: Reading,
    outcome: Outcome,
    weights: list[Weights],
    splits: dict[str, SplitCohort],
    budgets: dict[str, float],
) -> None:
    """Compare with the baselines, write what stays, print the figures."""
    if not outcome.rounds:
        raise Refused(" ".join((outcome.stopped, *outcome.reasons)))
    _say(began, "Comparing with pooled training and with each hospital alone")
    cohorts = [
        HospitalCohorts(name=name, training=split.training(), held_out=split.evaluation())
        for name, split in splits.items()
    ]
    found = results.write(
        folder,
        outcome,
        weights_by_round=weights,
        hospitals=cohorts,
        samples=stand_ins.mock(reading.spec, seed=1, slices=12),
        budgets=budgets,
    )
    console.print(results.table(outcome, found))
    if reading.spec.stand_in:
        console.print(STAND_IN_NOTICE)
    for name in ("model.safetensors", "certificate.json", "report.html"):
        console.print(f"  {folder / name}", highlight=False)


def _kind(text: str) -> Kind:
    for kind in ASSETS:
        if text == kind:
            return kind
    raise InvalidInput(f"The kind of data must be one of {', '.join(ASSETS)}, got {text!r}.")


def _home(state: Path, name: str) -> Path:
    return (state / "hospitals" / name).resolve()


def _aggregator_home(state: Path, name: str) -> Path:
    return (state / "aggregators" / name).resolve()


@contextlib.contextmanager
def _federation(config: FederationConfig, state: Path) -> Iterator[list[Party]]:
    """Every party of a federation, healthy, until the block ends."""
    parties: list[Party] = []
    for entry in config.hospital:
        site = sites.create(
            _home(state, entry.name),
            SiteSettings(name=entry.name, port=entry.port),
            policy=site_policy.text(_policy(config, entry)),
        )
        parties += hospital.parties(site)
    for adder in config.aggregator:
        home = _aggregator_home(state, adder.name)
        parties.append(local_aggregator.party(home, name=adder.name, port=adder.port))
    with running(parties):
        yield parties


def _policy(config: FederationConfig, entry: HospitalEntry) -> SitePolicy:
    terms = Terms(
        epsilon=entry.epsilon,
        delta=entry.delta,
        min_noise_multiplier=entry.min_noise_multiplier,
        min_patients=entry.min_patients,
        min_hospitals=config.min_hospitals,
    )
    return SitePolicy(terms=terms, tell_researchers=entry.tell_researchers)


def _owners(config: FederationConfig, state: Path) -> list[Owner]:
    with ThreadPoolExecutor(len(config.hospital)) as pool:
        return list(pool.map(lambda entry: Owner(_home(state, entry.name)), config.hospital))


def _first_start(config: FederationConfig, state: Path) -> None:
    """Publish every hospital's data and invite a researcher, unless that was done before."""
    path = state / "researcher.json"
    if path.exists():
        return
    owners = _owners(config, state)
    _introduce(config, state, owners)
    for owner, spec, split in _read_all(config, state, owners):
        owner.publish(split, spec=spec, asset=ASSETS[spec.kind])
    _invite(config, state, owners).save(path)


def _introduce(config: FederationConfig, state: Path, owners: Sequence[Owner]) -> None:
    """Put every policy into force, and tell the owners each other's keys, from the parties."""
    aggregators = [
        local_aggregator.public_entry(_aggregator_home(state, entry.name))
        for entry in config.aggregator
    ]
    known = KnownParties(
        hospitals=tuple(owner.verify_key for owner in owners),
        aggregators=tuple((one.verify_key, one.seal_key) for one in aggregators),
    )
    for owner in owners:
        owner.adopt()
        owner.trust(known)


def _read_all(
    config: FederationConfig, state: Path, owners: Sequence[Owner]
) -> Iterator[tuple[Owner, DataSpec, SplitCohort]]:
    """Read each data folder once; hospitals that name the same one share its patients."""
    folders = {(entry.kind, entry.data) for entry in config.hospital}
    for kind, data in sorted(folders):
        reading = readers.read(kind, _data_folder(state, kind, data), size_px=SIZES_PX[kind])
        for remark in reading.remarks:
            console.print(f"{kind}: {remark}", highlight=False, soft_wrap=True)
        sharing = [
            owner
            for owner, entry in zip(owners, config.hospital, strict=True)
            if (entry.kind, entry.data) == (kind, data)
        ]
        parts = partition.by_site(reading, len(sharing))
        for owner, chosen in zip(sharing, parts, strict=True):
            yield owner, reading.spec, owner.split(reading, chosen=chosen)


def _data_folder(state: Path, kind: Kind, data: str) -> Path:
    """The named folder; without one, stand-ins made on the spot."""
    if data:
        return Path(data)
    folder = state / "stand-ins" / kind
    if not folder.exists():
        stand_ins.write(kind, folder, seed=0)
    return folder


def _invite(config: FederationConfig, state: Path, owners: Sequence[Owner]) -> Credentials:
    """An account at every hospital and a signing key, for one researcher."""
    email = f"researcher-{secrets.token_hex(3)}@example.org"
    accounts = tuple(
        Account(hospital=o.name, url=o.settings.url, email=email, password=o.invite(email))
        for o in owners
    )
    aggregators = tuple(
        local_aggregator.public_entry(_aggregator_home(state, entry.name))
        for entry in config.aggregator
    )
    return Credentials(
        accounts=accounts, aggregators=aggregators, signing_key=secrets.token_bytes(32).hex()
    )


def _table(config: FederationConfig) -> Table:
    table = Table(Column("Name", no_wrap=True), Column("URL", no_wrap=True), "Data", "Budget")
    for entry in config.hospital:
        budget = f"ε {entry.epsilon:g}, δ {entry.delta:g}"
        table.add_row(
            entry.name,
            f"http://127.0.0.1:{entry.port}",
            f"{entry.kind}: {entry.data or 'stand-ins'}",
            budget,
        )
    for aggregator in config.aggregator:
        table.add_row(aggregator.name, f"127.0.0.1:{aggregator.port}", "secret shares", "")
    return table


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
