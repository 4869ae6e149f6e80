"""`relay`: what the operator of a relay types, who needs to run nothing else."""

import asyncio
import os
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from federation.relay import relay_file, relay_server
from federation.relay.relay_file import RelayConfig
from federation.relay.relay_metrics import RelayMetrics
from federation.relay.relay_server import RelayServer
from syft_code import toml_messages
from syft_code.errors import InvalidInput, Unavailable, require
from syft_code.evidence import tls_certificates
from syft_code.operation import json_logs, metrics_http, process_user
from syft_code.operation.process_user import ProcessUser
from syft_code.runtime import cli_output, durable_files
from syft_code.runtime.cli_output import Command, quoted

File = Annotated[Path, typer.Option("--config", help="The relay's TOML file.")]
LOG = "relay.log"


def app() -> typer.Typer:
    """The commands, in the order of a relay's first day."""
    found = typer.Typer(
        no_args_is_help=True,
        help="A host between researchers and hospitals that allow no inbound connection. See docs/deploy.md.",
    )
    for command in (init, add, start, show):
        found.command(cls=Command)(command)
    return found


def init(
    config: File,
    name: Annotated[str, typer.Option(help="Lower-case letters, digits, '-'.")],
    home: Annotated[str, typer.Option(help="Its folder, for its key and certificate.")],
    address: Annotated[str, typer.Option(help="host:port, as hospitals reach it.")],
) -> None:
    """Write a relay's file; hospitals are added to it afterwards."""
    require(
        not config.exists(),
        f"--config must be a new file, and {quoted(str(config))} is there already: edit it.",
        error=InvalidInput,
    )
    made = RelayConfig(name=name, home=home, address=address)
    text = toml_messages.text(
        {"name": made.name, "home": made.home, "address": made.address},
        head="One relay: docs/deploy.md.",
    )
    _write(config, text)
    cli_output.sentence(f"Wrote {config}. Add each hospital: consilium relay add --config {config}")


def add(
    config: File,
    hospital: Annotated[str, typer.Option(help="The hospital's name.")],
    certificate: Annotated[Path, typer.Option(help="Its tls.crt.")],
    port: Annotated[int, typer.Option(help="Where researchers find it.")],
) -> None:
    """Add a hospital to the relay's file; it counts from the next start on."""
    before = relay_file.load(config)
    entry = relay_file.RelayedHospital(
        name=hospital, certificate=str(certificate.absolute()), port=port
    )
    sha256 = tls_certificates.fingerprint(entry.shown())
    require(
        sha256 not in [tls_certificates.fingerprint(one.shown()) for one in before.hospitals],
        f"{certificate} is the certificate of another hospital here: ask {quoted(hospital)} for its own tls.crt.",
        error=InvalidInput,
    )
    RelayConfig(
        name=before.name,
        home=before.home,
        address=before.address,
        hospitals=(*before.hospitals, entry),
    )
    lines = toml_messages.text(
        {"name": hospital, "certificate": entry.certificate, "port": port}, head=f"SHA-256 {sha256}"
    )
    _write(config, f"{config.read_text(encoding='utf-8').rstrip()}\n\n[[hospitals]]\n{lines}")
    cli_output.sentence(
        f"{hospital} is found at port {port} from the next start on. Its certificate, SHA-256 {sha256}: have the "
        "hospital read it to you."
    )


def start(config: File) -> None:
    """Carry between researchers and hospitals until Ctrl-C or SIGTERM."""
    settings = relay_file.load(config)
    _require_ours(settings)
    relay_server.make(settings)
    relay = RelayServer(settings)
    if os.geteuid() == 0 and settings.user:
        user = ProcessUser(number=settings.user, home=settings.folder.absolute())
        process_user.leave_root(user, file=config.resolve(), who="a relay")
    json_logs.start(settings.folder / LOG)
    host, port = settings.metrics_host, settings.metrics_port
    try:
        with closing(relay), metrics_http.served(RelayMetrics(relay), host=host, port=port):
            asyncio.run(relay.serve(lambda: _say_ready(settings)))
    except KeyboardInterrupt:
        cli_output.sentence("Stopped.")


def show(config: File) -> None:
    """Print the certificate's fingerprint, to be compared by telephone."""
    settings = relay_file.load(config)
    path = settings.folder / relay_server.CERTIFICATE
    try:
        certificate = path.read_text(encoding="ascii")
    except OSError:
        raise Unavailable(
            f"{settings.name} must have been started once, and was not: start it, or ask as who may read {path}."
        ) from None
    cli_output.sentence(
        f"{settings.name} at {settings.address}\n"
        f"  certificate, SHA-256   {tls_certificates.fingerprint(certificate)}\n"
        f"Send {path} to the hospitals, and read that line to them on the telephone."
    )


def _require_ours(settings: RelayConfig) -> None:
    """Nobody's folder is given away by mistake."""
    process_user.require_own_folder(settings.folder.absolute(), settings.user, who="a relay")
    known = {relay_server.KEY, relay_server.CERTIFICATE, LOG, f"{LOG}.1"}
    there = settings.folder.iterdir() if settings.folder.is_dir() else ()
    others = sorted(
        path.name
        for path in there
        if path.name not in known and not path.name.endswith(".unfinished")
    )
    require(
        not others,
        f"A relay's folder must hold nothing else, and {settings.folder} has {', '.join(others[:3])}: choose an "
        "empty one.",
        error=Unavailable,
    )


def _say_ready(settings: RelayConfig) -> None:
    places = ", ".join(f"{one.name} at port {one.port}" for one in settings.hospitals) or "nobody"
    cli_output.sentence(f"{settings.name} carries for {places}. Stop with Ctrl-C.")
    sys.stdout.flush()


def _write(path: Path, text: str) -> None:
    try:
        durable_files.write_durably(path, text.encode("utf-8"))
        path.chmod(0o644)  # it holds no secret
    except OSError as problem:
        raise InvalidInput(f"{path} can't be written: {problem.strerror}.") from None
