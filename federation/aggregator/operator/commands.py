"""`aggregator`: what the operator of one aggregator types, who needs to run nothing else.

    consilium aggregator --config FILE         start it, until Ctrl-C
    consilium aggregator show --config FILE    its entry for rosters, and its fingerprint
    ...

`python -m federation.aggregator.operator.commands` is the same, without what only hospitals and researchers
need, and so in a fraction of the time and the memory.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import click
import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text
from typer.core import TyperCommand

from federation.aggregator import config as aggregator_config
from federation.aggregator import data_dir, identity, local_process
from federation.aggregator import study_records as study_records
from federation.aggregator.config import AggregatorConfig
from federation.aggregator.operator import admin_api
from federation.aggregator.study_records import SHORT, StudyFacts
from syft_code import toml_messages
from syft_code.errors import ConsiliumError, InvalidInput, Refused, Unavailable, require
from syft_code.evidence import audit_chain, tls_certificates
from syft_code.evidence.audit_chain import Entry
from syft_code.operation import process_user
from syft_code.operation.process_user import ProcessUser
from syft_code.plans import key_fingerprint, messages
from syft_code.plans.messages import Signed
from syft_code.runtime import addresses, durable_files

ROOT = Path(__file__).resolve().parents[3]
PROCESS = "federation.aggregator.operator.aggregator_process"

File = Annotated[Path, typer.Option("--config", help="The aggregator's TOML file.")]
Perhaps = Annotated[
    Path | None,
    typer.Option("--config", help="The aggregator's TOML file.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def app(command: type[TyperCommand] = TyperCommand) -> typer.Typer:
    """The commands, each of the class that says how a refusal is told."""
    found = typer.Typer(no_args_is_help=False)
    found.callback(invoke_without_command=True)(_start_without_a_word)
    for name, function in (
        ("init", init),
        ("start", start),
        ("show", show),
        ("health", health),
        ("studies", studies),
        ("wipe", wipe),
        ("log", log),
    ):
        found.command(name, cls=command)(function)
    return found


def _start_without_a_word(context: typer.Context, config: Perhaps = None) -> None:
    """Run one aggregator, alone: start it, look after it, wipe a study. See docs/aggregators.md."""
    if context.invoked_subcommand is not None:
        return
    if config is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)
    group = context.command
    named = group.get_command(context, "start") if isinstance(group, click.Group) else None
    if named is not None:
        with named.make_context("start", ["--config", str(config)], parent=context) as inner:
            named.invoke(inner)


def init(
    config: Annotated[Path, typer.Option("--config", help="The TOML file to write.")],
    name: Annotated[str, typer.Option(help="In plans: lower-case letters, digits, '-'.")],
    home: Annotated[str, typer.Option(help="Its folder, on an encrypted disk and in no back-up.")],
    address: Annotated[str, typer.Option(help="host:port, as researchers reach it.")],
    researcher: Annotated[
        list[str] | None,
        typer.Option(
            help="The key of one who may open studies; again for each.", show_default=False
        ),
    ] = None,
) -> None:
    """Write an aggregator's file. deploy/aggregator.toml has every field, to be edited afterwards."""
    port = address.rpartition(":")[2]
    require(
        port.isascii() and port.isdigit(),
        f"--address must be host:port, got {address[:100]!r}.",
        error=InvalidInput,
    )
    made = AggregatorConfig(
        name=name,
        home=home,
        host="0.0.0.0",  # noqa: S104 - an aggregator is for others
        port=int(port),
        public_address=address,
        researchers=tuple(researcher or ()),
    )
    text = toml_messages.text(
        {
            "name": made.name,
            "home": made.home,
            "host": made.host,
            "port": made.port,
            "public_address": made.public_address,
            "researchers": list(made.researchers),
        },
        head="One aggregator: docs/aggregators.md, and deploy/aggregator.toml for every field.",
    )
    _write_new(config, text.encode())
    config.chmod(0o644)  # it holds no secret, and another user may run the aggregator
    typer.echo(f"Wrote {config}. Start it: consilium aggregator --config {config}")


def start(config: File) -> None:
    """Start the aggregator; it serves until Ctrl-C or SIGTERM. At first start it makes its keys."""
    settings = aggregator_config.load(config)
    typer.echo(f"Starting {settings.name}. {_whereabouts(settings)} Stop with Ctrl-C.")
    sys.stdout.flush()
    file = config.resolve()
    environment = _left_root(settings, file)
    os.chdir(ROOT)
    arguments = [sys.executable, "-m", PROCESS, "--config", str(file)]
    os.execve(sys.executable, arguments, environment)  # the same process, without PySyft in it  # noqa: S606


def show(config: File, as_json: AsJson = False) -> None:
    """Print the entry for rosters and the fingerprint, to be compared by telephone.

    JSON: entry (what public.json holds), words, certificate_sha256, file.
    """
    settings = aggregator_config.load(config)
    data_dir.require_begun(settings.folder)
    entry = identity.published(settings.folder)
    certificate_sha256 = tls_certificates.fingerprint(entry.certificate)
    words = key_fingerprint.words(entry.verify_key, entry.seal_key)
    file = settings.folder / identity.PUBLIC
    if as_json:
        facts = {"certificate_sha256": certificate_sha256, "file": str(file)}
        _document({"entry": asdict(entry), "words": words, **facts})
        return
    typer.echo(
        f"{entry.name} at {entry.address}\n"
        f"  signs sums with        {_spaced(entry.verify_key)}\n"
        f"  opens shares with      {_spaced(entry.seal_key)}\n"
        f"  both keys in words     {words}\n"
        f"  certificate, SHA-256   {certificate_sha256}\n"
        f"Send {file} to researchers and owners. It is public, but whoever can change it on its way "
        "can put\nanother aggregator in this one's place: read the words to owners on the telephone, and have "
        "researchers\nread the other three lines back to you."
    )


def health(config: File, as_json: AsJson = False) -> None:
    """Say in one sentence how the running aggregator is; exit code 1 if it can't take shares.

    JSON: healthy, sentence, and the numbers behind it.
    """
    settings = aggregator_config.load(config)
    require(
        admin_api.runs(settings)
        and local_process.is_healthy(settings.folder, address=_local_address(settings)),
        f"{settings.name} does not answer at {_local_address(settings)}: start it, or see "
        f"{settings.folder / data_dir.LOG}.",
        error=Unavailable,
    )
    with admin_api.at(settings) as admin:
        found = admin.condition()
    if as_json:
        _document({"healthy": not found.problem, "sentence": found.sentence, **asdict(found)})
    else:
        typer.echo(found.sentence)
    if found.problem:
        raise typer.Exit(1)


def studies(config: File, as_json: AsJson = False) -> None:
    """List the studies that were opened here. The aggregator may run or not.

    JSON: studies: plan_hash, study, rounds, summed_rounds, summed_evaluations, shares, size_bytes,
    wiped.
    """
    with admin_api.at(aggregator_config.load(config)) as admin:
        found = admin.studies()
    if as_json:
        _document({"studies": [asdict(one) for one in found]})
    elif not found:
        typer.echo("No study was opened here yet.")
    else:
        _print_studies(found)


def wipe(
    config: File,
    study: Annotated[str, typer.Option(help="A study's hash, or its first digits.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a study's shares and sums for ever, and print the proof. It may run or not.

    JSON: file (what the log says, as signed), entry: number, at_unix_s, kind, facts, sha256.
    """
    settings = aggregator_config.load(config)
    with admin_api.at(settings) as admin:
        verify_key = identity.published(settings.folder).verify_key
        chosen = study_records.named(admin.studies(), study)
        if not yes and not chosen.wiped:
            _confirm(chosen)
        signed = admin.wipe(chosen.plan_hash)
    entry = messages.verify(Entry, signed, verify_key)
    if as_json:
        told = {**asdict(entry), "sha256": audit_chain.entry_sha256(signed)}
        _document({"entry": told, "signed": asdict(signed), "verify_key": verify_key})
        return
    _print_proof(chosen, entry, signed)


def log(
    config: File,
    out: Annotated[Path, typer.Option(help="A new file.")],
    as_json: AsJson = False,
) -> None:
    """Write the signed log to a file that anybody can check. The aggregator may run or not.

    JSON: file, verify_key, entries, head (number, sha256).
    """
    settings = aggregator_config.load(config)
    with admin_api.at(settings) as admin:
        data = admin.exported_log()
    verify_key = identity.published(settings.folder).verify_key
    verdict = audit_chain.verify(data, verify_key=verify_key)
    if verdict.problems or verdict.head is None:
        raise Refused(f"The log is not sound, so nothing was written: {verdict.problems[0]}")
    _write_new(out, data)
    if as_json:
        head = asdict(verdict.head)
        facts = {"verify_key": verify_key, "entries": verdict.entries, "head": head}
        _document({"file": str(out.resolve()), **facts})
        return
    typer.echo(
        f"Wrote {verdict.entries} entries to {out}. It names studies and hospitals: choose who gets "
        f"it. Whoever has it checks it with\n  consilium audit verify {out} "
        f"--key {verify_key}"
    )


def _left_root(settings: AggregatorConfig, file: Path) -> Mapping[str, str]:
    """Root becomes the aggregator's user; returns the variables that go on."""
    if os.geteuid() != 0 or settings.user == 0:
        return os.environ
    home = settings.folder.absolute()
    process_user.require_own_folder(home, settings.user, who="an aggregator")
    data_dir.require_free_or_ours(home)
    user = ProcessUser(number=settings.user, home=home)
    return process_user.leave_root(user, file=file, who="an aggregator")


def _whereabouts(settings: AggregatorConfig) -> str:
    where = f"Keys, shares and {data_dir.LOG} are in {settings.folder}."
    if not settings.metrics_port:
        return f"{where} No metrics: metrics_port is 0."
    address = addresses.joined(settings.metrics_host, settings.metrics_port)
    return f"{where} Metrics are at http://{address}/metrics, health at /healthz."


def _local_address(settings: AggregatorConfig) -> str:
    return addresses.joined(settings.local_host, settings.port)


def _spaced(key: str) -> str:
    """Hexadecimal digits as they are read aloud.

    >>> _spaced("0123456789")
    '0123 4567 89'
    """
    return " ".join(key[start : start + 4] for start in range(0, len(key), 4))


def _print_studies(found: Sequence[StudyFacts]) -> None:
    heads = [Column(name, no_wrap=True) for name in ("Study", "Hash")]
    numbers = [Column(n, justify="right") for n in ("Rounds summed", "Shares taken", "Bytes here")]
    table = Table(*heads, *numbers, "State")
    for one in found:
        rounds = f"{one.summed_rounds} of {one.rounds}"
        if one.summed_evaluations:
            rounds += f", {one.summed_evaluations} evaluated"
        cells = (one.study, one.plan_hash[:SHORT], rounds, str(one.shares), f"{one.size_bytes:,}")
        table.add_row(*(Text(cell) for cell in (*cells, one.state)))
    Console().print(table)


def _confirm(chosen: StudyFacts) -> None:
    typer.echo(
        f"{chosen.study} ({chosen.plan_hash[:SHORT]}): {chosen.summed_rounds} of {chosen.rounds} "
        f"rounds summed, {chosen.size_bytes:,} bytes here.\nIts shares and sums will be deleted "
        "for ever, and this aggregator takes no more part in it."
    )
    if not typer.confirm("Wipe it?", default=False):
        raise Refused("Nothing was wiped.")


def _print_proof(chosen: StudyFacts, entry: Entry, signed: Signed) -> None:
    facts = entry.facts
    when = datetime.fromtimestamp(entry.at_unix_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
    already = "was wiped before" if chosen.wiped else "is wiped"
    typer.echo(
        f"{chosen.study} ({chosen.plan_hash[:SHORT]}) {already}. Deleted: shares {facts['shares']}, "
        f"sums {facts['sums']}, bytes {int(facts['size_bytes']):,}.\n"
        f"Proof, entry {entry.number} of this aggregator's signed log, in the hour from {when}:\n"
        f"  {signed.message}\n"
        f"  signature {signed.signature}\n"
        f"  SHA-256 {audit_chain.entry_sha256(signed)}\n"
        "Give the whole log to whoever wants to check it: aggregator log --out FILE"
    )


def _write_new(out: Path, data: bytes) -> None:
    """A new file that this user alone may read; nothing that is there is overwritten."""
    require(
        not out.exists() and not out.is_symlink(),
        f"{out} must be a new file, and is there already: choose another name.",
        error=InvalidInput,
    )
    try:
        durable_files.write_durably(out, data)
    except OSError as problem:
        raise InvalidInput(f"{out} can't be written: {problem.strerror}.") from None


def _document(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, indent=2))


def main() -> None:
    """Run a command; an error that was raised on purpose is one sentence and exit code 1."""
    try:
        app()()
    except ConsiliumError as problem:
        sys.stderr.write(f"{problem}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
