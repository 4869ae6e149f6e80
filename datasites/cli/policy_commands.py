"""`policy`, `approvers` and `patients`: who decides here, by which rules, and over whom."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from datasites import private_files
from datasites.cli import options
from datasites.cli.options import STATE, Keys, Name, State
from datasites.protocol import owner_actions, vault_api
from policies import site_policy
from policies.site_policy import SitePolicy
from syft_code.errors import InvalidInput, Refused, require
from syft_code.runtime import cli_output
from syft_code.runtime.cli_output import SHORT, AsJson, Command

policy = typer.Typer(no_args_is_help=True, help="The rules of a hospital. Needs the vault.")
approvers = typer.Typer(no_args_is_help=True, help="Who decides at a hospital.")
patients = typer.Typer(no_args_is_help=True, help="Patients who leave. Needs the vault.")
WAITING = {
    "AdoptPolicy": "a policy",
    "AddParty": "a new party",
    "RemoveParty": "a party's removal",
    "EnrollApprover": "a new approver",
    "RemoveApprover": "an approver's leaving",
}
MAX_PATIENT_ID = 500


@policy.command("show", cls=Command)
def show_policy(state: State = STATE, name: Name = "", as_json: AsJson = False) -> None:
    """Show the policy in force as TOML, and what waits for signatures.

    JSON: hospital, policy (its fields; null if none is in force), policy_toml,
    signatures_needed, written_differs, waiting: action, subject, signer, signer_key.
    """
    owner = options.owner(state, name)
    status = owner.site_status()
    differs = _written_differs(options.site(state, name).policy, status.policy)
    toml = site_policy.text(status.policy) if status.policy else None
    if as_json:
        cli_output.document(
            {
                "hospital": owner.name,
                "policy": asdict(status.policy) if status.policy else None,
                "policy_toml": toml,
                "signatures_needed": _needed(status),
                "written_differs": differs,
                "waiting": waiting(status),
            }
        )
        return
    cli_output.sentence(toml or f"{owner.name} has no policy in force, so nothing runs here.")
    if differs:
        cli_output.sentence(
            "policy.toml says something else, which is not in force: adopt it with `policy adopt`."
        )
    for item in waiting(status):
        cli_output.sentence(
            f"{WAITING.get(item['action'], item['action'])} ({item['subject'][:SHORT]}) is signed by "
            f"{item['signer']} and waits for another signature.".capitalize()
        )


@policy.command(cls=Command)
def adopt(
    file: Annotated[
        Path | None, typer.Option(help="The policy's TOML; else the hospital's own policy.toml.")
    ] = None,
    state: State = STATE,
    name: Name = "",
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Sign a policy; it is in force once as many people have signed the very same.

    JSON: hospital, subject (the same for all who sign the same policy), missing_signatures,
    in_force.
    """
    place = options.site(state, name)
    wanted = site_policy.read(_policy_text(file or place.policy))
    owner = options.owner(state, name, keys=keys)
    missing = owner.adopt_policy(wanted).missing
    subject = owner_actions.AdoptPolicy(policy=wanted).subject
    _signed(owner.name, missing, f"The policy {subject[:SHORT]}", as_json, subject=subject)


@approvers.command("list", cls=Command)
def list_approvers(state: State = STATE, name: Name = "", as_json: AsJson = False) -> None:
    """List who decides here, and how many of them must sign. Needs the vault.

    JSON: hospital, signatures_needed, approvers: name, verify_key.
    """
    owner = options.owner(state, name)
    status = owner.site_status()
    if as_json:
        people = [{"name": name, "verify_key": key} for key, name in status.approvers]
        answer = {"signatures_needed": _needed(status), "approvers": people}
        cli_output.document({"hospital": owner.name, **answer})
        return
    cli_output.table(("Name", "Key"), [(name, key) for key, name in status.approvers], kept=2)
    cli_output.sentence(
        f"An approval, and a change of the rules, needs {_needed(status)} of them to sign."
    )


@approvers.command("new", cls=Command)
def new_key(
    keys: Annotated[Path, typer.Option(help="A new folder, for you alone.")],
    as_json: AsJson = False,
) -> None:
    """Make a key of your own, and print its public half for the owner to enroll.

    A folder that holds your key already keeps it. JSON: verify_key, folder, made.
    """
    is_new = not options.is_file(keys / "key")
    if is_new:
        _make_folder(keys)
    key = private_files.signing_key(keys / "key").verify_key.encode().hex()
    if as_json:
        cli_output.document({"verify_key": key, "folder": str(keys.resolve()), "made": is_new})
        return
    there = "Your new key is" if is_new else "Your key was there already,"
    cli_output.sentence(
        f"{there} in {keys.resolve()}: let nobody else read that folder. Give the owner this "
        f"public half of it, to enroll:\n{key}"
    )


@approvers.command(cls=Command)
def enroll(
    person: Annotated[str, typer.Argument(metavar="NAME", help="Their name, in small letters.")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="The public half of their key.")],
    state: State = STATE,
    name: Name = "",
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Let another person approve here. Needs the vault.

    JSON: hospital, name, verify_key, missing_signatures, in_force.
    """
    owner = options.owner(state, name, keys=keys)
    missing = owner.enroll_approver(person, key).missing
    what = f"The enrollment of {person}"
    _signed(owner.name, missing, what, as_json, name=person, verify_key=key)


@approvers.command("remove", cls=Command)
def remove_approver(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Their key, or their name.")],
    state: State = STATE,
    name: Name = "",
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Let an approver leave, and their approvals with them. Needs the vault.

    JSON: hospital, name, verify_key, missing_signatures, in_force.
    """
    owner = options.owner(state, name, keys=keys)
    people = owner.site_status().approvers
    leaving = {name: key for key, name in people}.get(key, key)
    missing = owner.remove_approver(leaving).missing
    person = dict(people).get(leaving, "")
    what = f"The removal of {person}"
    _signed(owner.name, missing, what, as_json, name=person, verify_key=leaving)


@patients.command("remove", cls=Command)
def remove_patient(
    patient: Annotated[
        str, typer.Argument(metavar="PATIENT_ID", help="The identifier as the data has it.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask again.")] = False,
    state: State = STATE,
    name: Name = "",
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Take a patient out of every cohort, now and in later versions. It can't be taken back.

    JSON: hospital, removed.
    """
    require(
        patient.isprintable() and bool(patient.strip()) and len(patient) <= MAX_PATIENT_ID,
        f"A patient's identifier must be 1 to {MAX_PATIENT_ID} characters of plain text: write it "
        "as the data has it.",
        error=InvalidInput,
    )
    require(
        yes or not as_json,
        "With --json nobody is asked whether they are sure, and it can't be taken back: say --yes.",
        error=InvalidInput,
    )
    owner = options.owner(state, name, keys=keys)
    if not yes and not cli_output.confirmed(
        f"Take this patient out of every cohort of {owner.name}? It can't be taken back."
    ):
        raise Refused("Nothing was done: the patient stays.")
    owner.remove_patient(patient)
    if as_json:
        cli_output.document({"hospital": owner.name, "removed": True})
        return
    cli_output.sentence(
        f"The patient has left every cohort of {owner.name}: from the next round on nothing trains "
        "on them. What earlier rounds have spent stays spent."
    )


def waiting(status: vault_api.SiteStatus) -> list[dict[str, str]]:
    """What lacks a signature, with the names of those who have signed."""
    names = dict(status.approvers)
    return [
        {
            "action": action,
            "subject": subject,
            "signer": names.get(key, "former"),
            "signer_key": key,
        }
        for action, subject, key in status.waiting
    ]


def _needed(status: vault_api.SiteStatus) -> int:
    return status.policy.terms.approvers if status.policy else 1


def _written_differs(path: Path, in_force: SitePolicy | None) -> bool:
    """Whether policy.toml is there and is not what is in force."""
    if not options.is_file(path):
        return False
    try:
        return site_policy.read(_policy_text(path)) != in_force
    except InvalidInput:
        return True


def _policy_text(path: Path) -> str:
    """A policy's file; one that is no text is refused in words."""
    what = f"The policy {cli_output.quoted(str(path))}"
    require(options.is_file(path), f"{what} must be a file, and there is none.", error=InvalidInput)
    try:
        with path.open("rb") as file:
            return file.read(site_policy.MAX_TOML_BYTES + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        raise InvalidInput(f"{what} must be a text that you may read, and is not.") from None


def _make_folder(keys: Path) -> None:
    """A folder of one's own; one that somebody uses for other things is left alone."""
    try:
        if keys.is_dir() and any(keys.iterdir()):
            raise InvalidInput(
                f"The folder {cli_output.quoted(str(keys))} must be new or empty, and holds other "
                "things: name another."
            )
        private_files.private_folder(keys)
    except OSError as problem:
        raise InvalidInput(
            f"The folder {cli_output.quoted(str(keys))} can't be made: {problem.strerror}."
        ) from None


def _signed(hospital: str, missing: int, what: str, as_json: bool, **facts: Any) -> None:
    signed = {"missing_signatures": missing, "in_force": not missing}
    if as_json:
        cli_output.document({"hospital": hospital, **facts, **signed})
    else:
        cli_output.sentence(f"{what} at {hospital}: {cli_output.in_force(missing).lower()}")
