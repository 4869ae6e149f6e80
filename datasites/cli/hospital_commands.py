"""`hospital`: one hospital alone on its machine, which its operator and its owner run from one file."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from datasites import site_condition, site_processes
from datasites.cli import backup_commands, options
from datasites.cli.backup_commands import File, RequireWhole
from datasites.data import contained_reading, readers
from datasites.hospital import hospital_file, running
from datasites.owner.owner import INVITATION_DAYS, Owner
from datasites.site import Site
from policies import site_policy
from policies.known_parties import Party
from syft_code import canonical, toml_messages
from syft_code.errors import InvalidInput, Refused, require
from syft_code.evidence import tls_certificates
from syft_code.operation import supervisor
from syft_code.operation.supervisor import (
    MAX_START_S,
    START_TIMEOUT_S,
    StartTimeout,
    until_interrupted,
    wait_for_interrupt,
)
from syft_code.plans import key_fingerprint
from syft_code.runtime import addresses, cli_output, durable_files
from syft_code.runtime.cli_input import require_folder, require_positive
from syft_code.runtime.cli_output import AsJson, Command, quoted

MOST_DAYS = 90.0
SAID_TWICE = (
    "epsilon", "epsilon_alone", "delta", "min_noise_multiplier", "min_patients", "min_hospitals",
)  # fmt: skip
"""What both a hospital's file and its first policy say."""
ROOT = Path(__file__).parents[2]
console = Console()


def init(
    config: File = Path("hospital.toml"),
    name: Annotated[str, typer.Option(help="In plans: lower-case letters, digits, '-'.")] = "",
    institution: Annotated[str, typer.Option(help="Whose it is, in full.")] = "",
    address: Annotated[str, typer.Option(help="host:port, as researchers reach it.")] = "",
    home: Annotated[str, typer.Option(help="Its folder, for patients, keys and ledger.")] = "",
    kind: Annotated[str, typer.Option(help="The kind of data: see docs/data.md.")] = "",
    data: Annotated[str, typer.Option(help="The folder of the data, as they are.")] = "",
    asset: Annotated[str, typer.Option(help="The name under which they are published.")] = "",
    patients: Annotated[
        int, typer.Option(help="Training patients, as roughly as the public may read it.")
    ] = 0,
    epsilon: Annotated[float, typer.Option(help="What a patient may lose in all, for ever.")] = 8.0,
    delta: Annotated[float, typer.Option(help="Beside it.")] = 1e-5,
) -> None:
    """Write a hospital's file, if there is none, and make its folder: keys, certificate, policy.toml.

    What is not given is asked for.
    """
    given = (name, institution, address, home, kind, data, asset, patients)
    if config.exists():
        require(
            not any(given),
            f"{quoted(str(config))} is there already and is what counts: edit it, and leave the other options out.",
            error=InvalidInput,
        )
    else:
        _write_file(
            config,
            {
                "name": name or typer.prompt("Name in plans"),
                "institution": institution or typer.prompt("Institution, in full"),
                "address": address or typer.prompt("Address (host:port) that researchers reach"),
                "home": home or typer.prompt("Folder for patients, keys and ledger"),
                "kind": kind or typer.prompt("Kind of data", default="ham10000"),
                "data": data or typer.prompt("Folder of the data"),
                "asset": asset or typer.prompt("Name of the asset", default="skin-lesions"),
                "patients": patients or typer.prompt("Training patients to declare", type=int),
                "epsilon": epsilon,
                "epsilon_alone": hospital_file.ALONE_FACTOR * epsilon,
                "delta": delta,
            },
        )
    settings = hospital_file.load(config)
    made = running.make(settings)
    cli_output.sentence(
        f"{settings.name} is made in {made.home}. A patient may lose epsilon {settings.epsilon:g} in all, and "
        f"{settings.epsilon_alone or settings.epsilon:g} if all other hospitals collude: {made.policy} has the "
        f"rules, and counts from now on, not {config}. Read both, then start it: consilium hospital start "
        f"--config {config}"
    )


def app(require_whole: RequireWhole) -> typer.Typer:
    """The commands, in the order of a hospital's first days."""
    found = typer.Typer(
        no_args_is_help=True,
        help="One hospital alone on its machine: start it, publish, invite. See docs/deploy.md.",
    )
    for command in (
        init,
        start,
        run,
        stop,
        status,
        show,
        publish,
        invite,
        remove_account,
        backup_commands.backup,
    ):
        found.command(cls=Command)(command)
    found.command("restore", cls=Command)(backup_commands.restoring(require_whole))
    return found


def _write_file(path: Path, fields: dict[str, str | int | float]) -> None:
    address = str(fields["address"])
    require(
        addresses.split(address) is not None,
        f"--address must be host:port, as researchers reach the front desk, got {quoted(address)}.",
        error=InvalidInput,
    )
    port = int(address.rpartition(":")[2])
    text = toml_messages.text(
        fields | {"port": port},
        head="One hospital: docs/deploy.md, and deploy/hospital.toml for every field.",
    )
    staged = path.with_name(f".{path.name}.new")
    try:
        staged.write_text(text, encoding="utf-8")
        try:
            hospital_file.load(staged)
        except InvalidInput as problem:
            raise InvalidInput(str(problem).replace(staged.name, path.name)) from None
        staged.rename(path)
    finally:
        staged.unlink(missing_ok=True)


def start(config: File, start_timeout: StartTimeout = START_TIMEOUT_S) -> None:
    """Run vault and front desk until Ctrl-C, `stop` or SIGTERM; what ends by itself is started again.

    As root, each of the two is a user of its own.
    """
    require_positive(start_timeout, "--start-timeout", most=MAX_START_S)
    settings = hospital_file.load(config)
    say = supervisor.timed(console)
    with (
        until_interrupted(cli_output.sentence),
        running.running(settings, start_timeout_s=start_timeout, say=say) as made,
    ):
        cli_output.sentence(
            f"{settings.name} answers at {made.settings().url}. Stop it with Ctrl-C, or `consilium "
            f"hospital stop --config {config}`."
        )
        wait_for_interrupt()


def run(
    process: Annotated[str, typer.Argument(metavar="PROCESS", help="vault or desk.")],
    config: File,
) -> None:
    """Become the vault, or the front desk, as the user who calls this: for systemd and its like."""
    require(
        process in site_processes.MODULES,
        f"PROCESS must be one of {', '.join(site_processes.MODULES)}, got {quoted(process)}.",
        error=InvalidInput,
    )
    settings = hospital_file.load(config)
    options.require_made(Site(settings.folder))
    require(
        Site(settings.folder).settings() == settings.site_settings(),
        f"{quoted(str(config))} was changed since the hospital was made or started: run `consilium hospital init "
        f"--config {config}` as who made it, then start.",
        error=Refused,
    )
    sys.stdout.flush()
    os.chdir(ROOT)
    arguments = [
        sys.executable,
        "-m",
        site_processes.MODULES[process],
        "--home",
        str(settings.folder),
    ]
    os.execv(sys.executable, arguments)  # noqa: S606 - this Python, and a module of ours


def stop(config: File) -> None:
    """Stop a hospital that `start` runs. Rounds under way are cut off; what they cost stays spent."""
    settings = hospital_file.load(config)
    running.stop(settings)
    cli_output.sentence(f"{settings.name} has stopped.")


def status(config: File, as_json: AsJson = False) -> None:
    """Say how the hospital is; exit code 1 if something is wrong.

    JSON: hospital, good, points: name, good, sentence.
    """
    settings = hospital_file.load(config)
    options.require_made(Site(settings.folder))
    site = Site(settings.folder)
    looked = site_condition.look(site)
    found = replace(looked, points=(*looked.points, site_condition.clock()))
    if as_json:
        points = [
            {"name": point.name, "good": point.is_good, "sentence": point.sentence}
            for point in found.points
        ]
        cli_output.document({"hospital": settings.name, "good": found.is_good, "points": points})
    else:
        rows = [(p.name, "yes" if p.is_good else "NO", p.sentence) for p in found.points]
        cli_output.table((settings.name, "good", "what"), rows)
    if not found.is_good:
        raise typer.Exit(1)


def show(
    config: File,
    out: Annotated[
        Path | None, typer.Option(help="A file for the owners of the other hospitals.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What others need to know of it: its key with its words, its address, its certificate's fingerprint.

    JSON: hospital, institution, verify_key, words, url, certificate_sha256 (null behind a proxy).
    """
    settings = hospital_file.load(config)
    owner = _owner(settings)
    words = key_fingerprint.words(owner.verify_key)
    site = Site(settings.folder)
    sha256 = (
        tls_certificates.fingerprint(site.shown_certificate()) if settings.tls == "own" else None
    )
    if out is not None:
        party = Party(
            name=settings.name,
            institution=settings.institution,
            operator=settings.institution,
            verify_key=owner.verify_key,
        )
        durable_files.write_durably(out, canonical.encode(party))
    if as_json:
        cli_output.document(
            {
                "hospital": settings.name,
                "institution": settings.institution,
                "verify_key": owner.verify_key,
                "words": words,
                "url": owner.settings.url,
                "certificate_sha256": sha256,
            }
        )
        return
    cli_output.sentence(
        f"{settings.name} ({settings.institution}) at {owner.settings.url}\n"
        f"  signs with             {owner.verify_key}\n"
        f"  that key in words      {words}\n"
        f"  certificate, SHA-256   {sha256 or 'of the proxy at its address'}\n"
        "Send what --out wrote to the owners of the other hospitals, and read the words to them on the "
        "telephone: they run `consilium parties add --file`."
    )


def publish(config: File) -> None:
    """Read the data folder behind walls, and hand the patients to the vault; at first sign policy.toml.

    Card and mock become public, nothing else. Published again, an asset has its next version.
    """
    settings = hospital_file.load(config)
    declared = settings.declaration()
    if declared is None or not settings.data:
        raise InvalidInput(
            f"{config} must name data, asset and patients before anything is published."
        )
    require_folder(Path(settings.data), "data")
    owner = _owner(settings, desk=True)
    reading = contained_reading.read(
        settings.kind,
        Path(settings.data),
        size_px=settings.size_px or readers.SIZE_PX,
        facts=settings.facts,
    )
    for sentence in reading.remarks:
        cli_output.sentence(f"- {sentence}")
    split = owner.split(reading, held_out=settings.held_out)
    if owner.site_status().policy is None:
        _adopt(owner, settings)
    card = owner.publish(split, spec=reading.spec, asset=settings.asset, declared=declared)
    cli_output.sentence(
        f"Published: {card.asset}, version {card.version}. Researchers read {card.patients:,} training "
        "patients, as declared."
    )


def _adopt(owner: Owner, settings: hospital_file.HospitalConfig) -> None:
    """Sign the first policy, which must say of the budget what the hospital's file says."""
    written = site_policy.read(Site(settings.folder).policy.read_text(encoding="utf-8"))
    wanted = settings.policy(min_hospitals=settings.min_hospitals)
    differ = [
        f"{name} {getattr(written.terms, name)} and {getattr(wanted.terms, name)}"
        for name in SAID_TWICE
        if getattr(written.terms, name) != getattr(wanted.terms, name)
    ]
    require(
        not differ,
        "policy.toml and the hospital's file must say the same before the first policy is signed, and differ in "
        f"{', '.join(differ)}. Edit one of them, or sign what policy.toml says by `consilium policy adopt "
        f"--state {settings.home}`.",
        error=InvalidInput,
    )
    terms = written.terms
    cli_output.sentence(
        f"To be signed: a patient may lose epsilon {terms.epsilon:g} in all, {terms.epsilon_alone or terms.epsilon:g} "
        f"if all other hospitals collude, at delta {terms.delta:g}; sums over at least {terms.min_hospitals} hospitals."
    )
    cli_output.sentence(owner.adopt_policy().sentence)


def invite(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="The researcher's.")],
    config: File,
    out: Annotated[Path, typer.Option(help="A new file, for the researcher alone.")],
    days: Annotated[float, typer.Option(help="So long it can be used.")] = INVITATION_DAYS,
) -> None:
    """Write a one-time invitation: it makes one account, once. Who has an account can't be invited again."""
    require_positive(days, "--days", most=MOST_DAYS)
    options.require_new(out)
    settings = hospital_file.load(config)
    invitation = _owner(settings, desk=True).invite(email, days=days)
    durable_files.write_durably(out, canonical.encode(invitation))
    cli_output.sentence(
        f"Wrote {out}. Give it to {email} and to nobody else: whoever uses it first has the account. "
        f"They run: consilium researcher join {out.name}"
    )


def remove_account(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="The researcher's.")], config: File
) -> None:
    """Remove a researcher's account, or an invitation that waits: password and key are nobody's from now on."""
    settings = hospital_file.load(config)
    _owner(settings, desk=True).remove_account(email)
    cli_output.sentence(
        f"{email} has no account at {settings.name} any more. Approvals stay: revoke what shall not run."
    )


def _owner(settings: hospital_file.HospitalConfig, *, desk: bool = False) -> Owner:
    """The hospital's owner; its processes must run."""
    options.require_made(Site(settings.folder))
    return options.owner_at(Site(settings.folder), desk=desk)
