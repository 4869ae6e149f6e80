"""`researcher`: credentials that grow from hospitals' invitations and aggregators' files."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from nacl.signing import SigningKey

from federation.researcher.storage import joining
from federation.researcher.storage.credentials import Credentials
from syft_code import canonical
from syft_code.errors import InvalidInput, InvalidMessage, require
from syft_code.evidence import tls_certificates
from syft_code.plans import key_fingerprint
from syft_code.plans.invitations import Invitation
from syft_code.plans.roster import Aggregator
from syft_code.runtime import cli_output, tls
from syft_code.runtime.cli_input import read_file
from syft_code.runtime.cli_output import AsJson, Command, quoted

researcher = typer.Typer(
    no_args_is_help=True,
    help="A researcher's credentials: invitations of hospitals, aggregators, a signing key.",
)
DEFAULT = Path("researcher.json")
File = Annotated[Path, typer.Option("--credentials", help="Your credentials file, yours alone.")]
MAX_FILE_BYTES = 2**16


@researcher.command(cls=Command)
def init(credentials: File = DEFAULT) -> None:
    """Make a new credentials file with a signing key of your own, which plans will name."""
    require(
        not credentials.exists() and credentials.absolute().parent.is_dir(),
        f"--credentials must be a new file in a folder that is there, got {quoted(str(credentials))}.",
        error=InvalidInput,
    )
    made = Credentials(
        accounts=(), aggregators=(), signing_key=SigningKey.generate().encode().hex()
    )
    made.save(credentials)
    cli_output.sentence(
        f"Wrote {credentials}, for you alone. Aggregators' operators put this key into `researchers` of "
        f"their files:\n  {made.verify_key}"
    )


@researcher.command(cls=Command)
def join(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Invitations, and aggregators' public.json."),
    ],
    credentials: File = DEFAULT,
    replace_known: Annotated[
        bool, typer.Option("--replace", help="Also of parties that your credentials hold already.")
    ] = False,
) -> None:
    """Use hospitals' invitations, and take aggregators into your credentials.

    Each file is used by itself: what went well before another was refused stays. A file can be used
    again if its answer was lost.
    """
    for file in files:
        found = _read(file)
        kept = Credentials.load(credentials)
        known = {one.hospital for one in kept.accounts} | {one.name for one in kept.aggregators}
        name = found.hospital if isinstance(found, Invitation) else found.name
        require(
            replace_known or name not in known,
            f"Your credentials must not hold {name} yet, and do: hear from it on the telephone that the new file is "
            "its own, and say --replace.",
            error=InvalidInput,
        )
        if isinstance(found, Invitation):
            login = joining.accept(found, SigningKey(bytes.fromhex(kept.signing_key)))
            others = tuple(one for one in kept.accounts if one.hospital != login.hospital)
            replace(kept, accounts=(*others, login)).save(credentials)
            words = key_fingerprint.words(found.verify_key)
            cli_output.sentence(
                f"Joined {login.hospital} ({found.institution}) at {login.url}. Its key in words, which "
                f"you may hear on the telephone: {words}; its certificate's SHA-256: "
                f"{_certificate(found)}"
            )
        else:
            rest = tuple(one for one in kept.aggregators if one.name != found.name)
            replace(kept, aggregators=(*rest, found)).save(credentials)
            cli_output.sentence(
                f"Took {found.name} at {found.address}. Its keys in words: "
                f"{key_fingerprint.words(found.verify_key, found.seal_key)}; its certificate's SHA-256: "
                f"{tls_certificates.fingerprint(found.certificate)}"
            )


@researcher.command(cls=Command)
def trust(
    hospital: Annotated[str, typer.Argument(metavar="HOSPITAL", help="By its name in plans.")],
    certificate: Annotated[
        Path,
        typer.Option(help="Its new certificate: FOLDER/tls.crt, which its owner hands to you."),
    ],
    credentials: File = DEFAULT,
) -> None:
    """Trust a hospital's new certificate in place of the old one, and no other."""
    kept = Credentials.load(credentials)
    known = {one.hospital: one for one in kept.accounts}
    require(
        hospital in known,
        f"HOSPITAL must be one of {', '.join(known) or 'those that you joined, and there is none'}; got "
        f"{quoted(hospital)}.",
        error=InvalidInput,
    )
    new = tls.first(
        read_file(certificate, "certificate", MAX_FILE_BYTES).decode("ascii", "replace")
    )
    sha256 = tls_certificates.fingerprint(new)
    accounts = tuple(
        replace(one, certificate=new) if one.hospital == hospital else one for one in kept.accounts
    )
    replace(kept, accounts=accounts).save(credentials)
    cli_output.sentence(
        f"{hospital} is trusted by the certificate with SHA-256 {sha256}, and by no other. Hear it on the telephone "
        "before you train there."
    )


@researcher.command(cls=Command)
def show(
    credentials: File = DEFAULT,
    key: Annotated[
        bool, typer.Option("--key", help="Print your public key and nothing else.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Say what the credentials hold; no secret.

    JSON: verify_key, hospitals (name, url, email), aggregators (name, address).
    """
    found = Credentials.load(credentials)
    if key:
        cli_output.sentence(found.verify_key)
        return
    if as_json:
        cli_output.document(
            {
                "verify_key": found.verify_key,
                "hospitals": [
                    {"name": one.hospital, "url": one.url, "email": one.email}
                    for one in found.accounts
                ],
                "aggregators": [
                    {"name": one.name, "address": one.address} for one in found.aggregators
                ],
            }
        )
        return
    cli_output.sentence(f"Your key, for aggregators' operators: {found.verify_key}")
    rows = [("hospital", one.hospital, one.url) for one in found.accounts]
    rows += [("aggregator", one.name, one.address) for one in found.aggregators]
    cli_output.table(("party", "name", "at"), rows)


def _certificate(invitation: Invitation) -> str:
    if not invitation.certificate:
        return "of whoever public authorities vouch for at its address"
    return tls_certificates.fingerprint(invitation.certificate)


def _read(file: Path) -> Invitation | Aggregator:
    """A hospital's invitation, or an aggregator's entry."""
    data = read_file(file, "file", MAX_FILE_BYTES)
    kind = Invitation if b'"code"' in data else Aggregator
    try:
        found: Invitation | Aggregator = canonical.parse(kind, data, what="file")
    except InvalidMessage as problem:
        raise InvalidInput(
            f"{quoted(str(file))} must be a hospital's invitation, or an aggregator's public.json, as it was "
            f"written; {problem}"
        ) from None
    return found
