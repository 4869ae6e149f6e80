"""`requests`: look at code requests and decide on them. Needs the vault and the front desk."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from datasites import site_processes
from datasites.cli import options
from datasites.cli.options import STATE, Keys, Name, State
from datasites.owner import decisions, request_selection
from datasites.owner.decisions import ApprovalDraft
from datasites.owner.owner import APPROVAL_DAYS, Owner
from datasites.owner.request_selection import SeenRequests, chosen, facts, plan_hash, to_decide
from datasites.review.evidence import Evidence
from syft_code.errors import InvalidInput, require
from syft_code.plans.roster import HEX_KEY
from syft_code.runtime import cli_output
from syft_code.runtime.cli_output import AsJson, Command

app = typer.Typer(no_args_is_help=True, help="Look at code requests, and decide on them.")
Id = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The request's id or its plan's hash, or how one of them begins; 'latest' for the "
        "newest.",
    ),
]
Tell = Annotated[bool, typer.Option("--tell", help="Let the researcher read the reason.")]


@app.command("list", cls=Command)
def list_requests(state: State = STATE, name: Name = "", as_json: AsJson = False) -> None:
    """List every code request, the oldest first.

    JSON: hospital, requests: id, plan_hash, study, researcher, asset, front_desk, vault,
    sentence, study_epsilon, after_epsilon, study_epsilon_alone, after_epsilon_alone (if all other
    hospitals collude), problem. What a request without a plan lacks is null.
    """
    owner = options.owner(state, name, desk=True)
    requests = owner.requests()
    _seen(state, name).note(*(request.request_id for request in requests))
    if as_json:
        cli_output.document(
            {"hospital": owner.name, "requests": [facts(request) for request in requests]}
        )
        return
    if not requests:
        cli_output.sentence(f"Nobody has asked {owner.name} for anything yet.")
        return
    columns = ("Request", "Study", "State", "Costs", "Rounds", "Researcher")
    cli_output.table(columns, [request_selection.row(request) for request in requests], kept=3)


@app.command(cls=Command)
def show(
    wanted: Id,
    state: State = STATE,
    name: Name = "",
    mock: Annotated[bool, typer.Option(help="Try the plan out on the public mock.")] = True,
    as_json: AsJson = False,
) -> None:
    """Show all that there is to know about a request, before you decide.

    JSON: the evidence pack, as datasites.review.evidence writes it.
    """
    owner = options.owner(state, name, desk=True)
    evidence = owner.weigh(chosen(owner.submitted(), wanted))
    _seen(state, name).note(evidence.request_id)
    if mock and evidence.plan is not None:
        evidence = owner.examine(evidence)
    if as_json:
        cli_output.document(json.loads(evidence.as_json()))
    else:
        cli_output.lines(evidence.text())


@app.command(cls=Command)
def approve(
    wanted: Id,
    days: Annotated[
        float | None, typer.Option(help=f"How long it may run; else {APPROVAL_DAYS:g} days.")
    ] = None,
    epsilon: Annotated[
        float | None, typer.Option(help="Most that it may spend; else the asset's budget.")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="Most training rounds; else the plan's.")
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Sign a plan that will stop before its last round.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask again.")] = False,
    state: State = STATE,
    name: Name = "",
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Let a plan run here, within limits. Shows what will be signed and asks; --yes: it does not.

    What you have approved already is not signed again, unless you name other limits.

    JSON: decision, hospital, request, plan_hash, study, researcher, rounds, epsilon,
    expires_unix_s, stops (where the plan ends early; empty if it does not), missing_signatures,
    in_force. Of what is approved already: decision "already approved", and null limits.
    """
    decisions.check_limits(days=days, epsilon=epsilon)
    options.site(state, name)
    require(
        yes or is_terminal(),
        "Without a terminal nobody is asked whether they are sure: read what there is to know with "
        "`consilium requests show`, then say --yes.",
        error=InvalidInput,
    )
    owner = options.owner(state, name, keys=keys, desk=True)
    seen = _seen(state, name)
    evidence = owner.weigh(to_decide(owner.submitted(), wanted, seen))
    if days is epsilon is rounds is None and owner.has_approved(evidence):
        _tell_approved(evidence, owner.name, as_json=as_json)
        return
    draft = owner.draft_approval(
        evidence,
        days=APPROVAL_DAYS if days is None else days,
        epsilon=epsilon,
        rounds=rounds,
        anyway=anyway,
    )
    _confirm(draft, yes=yes, as_json=as_json)
    signed = owner.sign_approval(draft)
    limits = {
        "rounds": draft.rounds,
        "epsilon": draft.budget.epsilon,
        "expires_unix_s": draft.expires_unix_s,
        "stops": draft.stops,
    }
    force = {"missing_signatures": signed.missing, "in_force": signed.in_force}
    answer = _decision("approve", owner.name, evidence) | limits | force
    _tell(answer, str(signed), as_json=as_json)


@app.command(cls=Command)
def deny(
    wanted: Id,
    reason: Annotated[str, typer.Option(help="Why, in a sentence.")],
    tell: Tell = False,
    state: State = STATE,
    name: Name = "",
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Refuse a request; untold, the researcher can't tell a no from a request not yet read.

    JSON: decision, hospital, request, plan_hash, study, researcher, told_researcher.
    """
    why = cli_output.paragraph(reason, what="reason")
    owner = options.owner(state, name, keys=keys, desk=True)
    evidence = owner.weigh(to_decide(owner.submitted(), wanted, _seen(state, name)))
    signed = owner.deny(evidence, why, tell_researcher=tell)
    answer = _decision("deny", owner.name, evidence) | {"told_researcher": tell}
    _tell(answer, str(signed), as_json=as_json)


@app.command(cls=Command)
def ask(
    wanted: Id,
    question: Annotated[str, typer.Option(help="What you want to know, in a sentence.")],
    state: State = STATE,
    name: Name = "",
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Ask the researcher something; the request stays undecided.

    JSON: decision, hospital, request, plan_hash, study, researcher.
    """
    text = cli_output.paragraph(question, what="question")
    owner = options.owner(state, name, keys=keys, desk=True)
    evidence = owner.weigh(to_decide(owner.submitted(), wanted, _seen(state, name)))
    signed = owner.ask(evidence, text)
    _tell(_decision("ask", owner.name, evidence), str(signed), as_json=as_json)


@app.command(cls=Command)
def revoke(
    wanted: Id,
    reason: Annotated[str, typer.Option(help="Why, in a sentence.")],
    tell: Tell = False,
    state: State = STATE,
    name: Name = "",
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Take an approval back: from now on no round of the plan runs here.

    By the plan's whole hash it works without the front desk too, and the researcher is not told.

    JSON: decision, hospital, request, plan_hash, study, researcher, told_researcher.
    """
    why = cli_output.paragraph(reason, what="reason")
    owner = options.owner(state, name, keys=keys)
    seen = _seen(state, name)
    evidence = _shown(owner, options.site(state, name).home, wanted, seen)
    if evidence is None:
        _revoke_unshown(owner, wanted, why, as_json=as_json)
        return
    signed = owner.revoke(evidence, why, tell_researcher=tell)
    answer = _decision("revoke", owner.name, evidence) | {"told_researcher": tell}
    _tell(answer, str(signed), as_json=as_json)


def _shown(owner: Owner, home: Path, wanted: str, seen: SeenRequests) -> Evidence | None:
    """The request as the front desk shows it; None if it shows none of a plan named in full."""
    if HEX_KEY.fullmatch(wanted) is None:
        options.require_desk(home)
        return owner.weigh(to_decide(owner.submitted(), wanted, seen))
    if not site_processes.desk_is_healthy(home):
        return None
    matches = (request for request in owner.submitted()[::-1] if plan_hash(request) == wanted)
    return next((owner.weigh(request) for request in matches), None)


def _revoke_unshown(owner: Owner, wanted: str, why: str, *, as_json: bool) -> None:
    signed = owner.revoke_plan(wanted, why)
    unknown = dict.fromkeys(("request", "study", "researcher"))
    _tell(
        {"decision": "revoke", "hospital": owner.name, "plan_hash": wanted, **unknown}
        | {"told_researcher": False},
        str(signed),
        as_json=as_json,
    )


def _decision(decision: str, name: str, evidence: Evidence) -> dict[str, Any]:
    shown = facts(evidence)
    return {
        "decision": decision,
        "hospital": name,
        "request": shown["id"],
        "plan_hash": shown["plan_hash"],
        "study": shown["study"],
        "researcher": shown["researcher"],
    }


def _seen(state: Path, name: str) -> SeenRequests:
    """The record of the requests that were listed or shown on the owner's machine."""
    return SeenRequests(options.site(state, name).owner)


def is_terminal() -> bool:
    """Whether a person sits at standard input."""
    return sys.stdin.isatty()


def _tell_approved(evidence: Evidence, name: str, *, as_json: bool) -> None:
    """Say that a plan runs already, by this person's signature too."""
    limits = dict.fromkeys(("rounds", "epsilon", "expires_unix_s"))
    force = {"stops": "", "missing_signatures": 0, "in_force": True}
    state = evidence.state.sentence if evidence.state else ""
    _tell(
        _decision("already approved", name, evidence) | limits | force,
        f"Already approved at {name}: {decisions.subject(evidence)} ({state}). Nothing was signed; for "
        "other limits, name them (--days, --epsilon, --rounds).",
        as_json=as_json,
    )


def _confirm(draft: ApprovalDraft, *, yes: bool, as_json: bool) -> None:
    """Show what will be signed, and ask; raise `Exit` if the answer is no."""
    if not (yes and as_json):
        cli_output.sentence(str(draft), err=as_json)
    if not yes and not cli_output.confirmed("Sign this?"):
        cli_output.sentence("Nothing was signed.", err=True)
        raise typer.Exit(1)


def _tell(answer: dict[str, Any], words: str, *, as_json: bool) -> None:
    if as_json:
        cli_output.document(answer)
    else:
        cli_output.sentence(words)
