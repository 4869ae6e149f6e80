"""`ledger`, `audit export` and `log refusals`: what was spent, what was done, what was refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from datasites.cli import options
from datasites.cli.options import STATE, Keys, Name, State
from datasites.desk.storage import security_log
from datasites.desk.storage.security_log import SecurityEvent
from datasites.protocol import vault_api
from datasites.review import ledger_card
from syft_code.errors import InvalidInput, Refused, require
from syft_code.evidence import audit_chain as audit_log
from syft_code.runtime import cli_output, durable_files
from syft_code.runtime.cli_output import AsJson, Command

log = typer.Typer(no_args_is_help=True, help="The front desk's own log.")
SHOWN = 20


def ledger(
    state: State = STATE, name: Name = "", keys: Keys = None, as_json: AsJson = False
) -> None:
    """Show what each asset's patients have lost, what is left, and the remarks on them. Needs the vault.

    The remarks count patients: they are for the owner alone.

    JSON: hospital, assets: asset, budget (epsilon, epsilon_alone, delta), spent_epsilon,
    left_epsilon, spent_epsilon_alone and left_epsilon_alone (if all other hospitals collude), events,
    in_force (plan hashes), sharing (assets with patients in common), remarks.
    """
    owner = options.owner(state, name, keys=keys)
    assets = owner.site_status().assets
    if as_json:
        summaries = [
            ledger_facts(owner.ledger_summary(asset)) | {"remarks": list(owner.remarks(asset))}
            for asset in assets
        ]
        cli_output.document({"hospital": owner.name, "assets": summaries})
        return
    if not assets:
        cli_output.sentence(f"{owner.name} has published nothing yet.")
    for asset in assets:
        cli_output.lines(f"{owner.ledger_card(asset).text()}\n")


def audit(verify: Callable[..., None], privacy: Callable[..., None]) -> typer.Typer:
    """The commands on audit logs, with the one that verifies an export, and that on epsilons."""
    found = typer.Typer(
        no_args_is_help=True,
        help="The signed log of what a hospital did; an audit of its epsilons.",
    )
    found.command("export", cls=Command)(export)
    found.command("verify", cls=Command)(verify)
    found.command("privacy", cls=Command)(privacy)
    return found


def export(
    out: Annotated[Path, typer.Option(help="A new file.")],
    state: State = STATE,
    name: Name = "",
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Write the whole audit log to a file that anybody can check. Needs the vault.

    JSON: hospital, file, bytes, verify_key, entries, head (number, sha256).
    """
    owner = options.owner(state, name, keys=keys)
    data = owner.audit_log()
    verdict = audit_log.verify(data, verify_key=owner.verify_key)
    head = verdict.head
    if verdict.problems or head is None:
        raise Refused(f"The log is not sound, so nothing was written: {verdict.problems[0]}")
    _write_new(out, data)
    if as_json:
        answer = {"file": str(out.resolve()), "bytes": len(data), "verify_key": verdict.verify_key}
        anchor = {"number": head.number, "sha256": head.sha256}
        entries = {"entries": verdict.entries, "head": anchor}
        cli_output.document({"hospital": owner.name, **answer, **entries})
        return
    cli_output.sentence(
        f"Wrote {verdict.entries} entries to {out}. It holds your decisions and reasons: choose "
        f"who gets it. Anybody who has it checks it with\n  consilium audit verify {out} "
        f"--key {verdict.verify_key}"
    )


@log.command("refusals", cls=Command)
def list_refusals(
    state: State = STATE,
    name: Name = "",
    last: Annotated[int, typer.Option(help="How many, the newest.")] = SHOWN,
    as_json: AsJson = False,
) -> None:
    """List what the front desk refused, the newest last. Nothing needs to run.

    JSON: hospital, refusals: at_unix_s, kind, who, path, sentence.
    """
    require(last >= 1, f"--last must be at least 1, got {last}.", error=InvalidInput)
    place = options.site(state, name)
    hospital = place.settings().name
    try:
        events = security_log.read_events(place.desk)
    except OSError as problem:
        raise Refused(
            f"The log of refusals of {hospital} can't be read ({problem.strerror}): ask as the user "
            "that the front desk runs as, or as root."
        ) from None
    if as_json:
        cli_output.document(
            {"hospital": hospital, "refusals": [_line(event) for event in events[-last:]]}
        )
        return
    if not events:
        cli_output.sentence(f"The front desk of {hospital} has refused nothing yet.")
        return
    shown = events[-last:]
    for event in shown:
        when = ledger_card.format_time(event.at_unix_s)
        who = event.who or "nobody named"
        cli_output.sentence(f"{when}, {event.kind} {event.path} of {who}:\n    {event.sentence}")
    cli_output.sentence(f"The last {len(shown)} of {len(events)} that are kept.")


def ledger_facts(summary: vault_api.LedgerSummary) -> dict[str, Any]:
    """An asset's ledger as `ledger --json` writes it; what is left is by subtraction."""
    budget = summary.budget
    return {
        "asset": summary.asset,
        "budget": {
            "epsilon": budget.epsilon,
            "epsilon_alone": budget.alone,
            "delta": budget.delta,
        },
        "spent_epsilon": summary.spent_epsilon,
        "left_epsilon": max(budget.epsilon - summary.spent_epsilon, 0.0),
        "spent_epsilon_alone": summary.spent_epsilon_alone,
        "left_epsilon_alone": max(budget.alone - summary.spent_epsilon_alone, 0.0),
        "events": [json.loads(event) for event in summary.events],
        "in_force": list(summary.in_force),
        "sharing": list(summary.sharing),
    }


def _write_new(out: Path, data: bytes) -> None:
    """A new file that this user alone may read; nothing that is there is overwritten."""
    try:
        require(
            not out.exists() and not out.is_symlink(),
            f"{cli_output.quoted(str(out))} must be a new file, and is there already: choose another "
            "name.",
            error=InvalidInput,
        )
        durable_files.write_durably(out, data)
    except OSError as problem:
        raise InvalidInput(
            f"{cli_output.quoted(str(out))} can't be written: {problem.strerror}."
        ) from None


def _line(refusal: SecurityEvent) -> dict[str, Any]:
    return {
        "at_unix_s": refusal.at_unix_s,
        "kind": refusal.kind,
        "who": refusal.who,
        "path": refusal.path,
        "sentence": refusal.sentence,
    }
