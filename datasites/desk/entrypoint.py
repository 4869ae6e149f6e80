"""What a thin traveller calls: from the front desk's process to the vault and back.

Runs inside the front desk. It carries a signed call and the blob that the call names to
the vault's socket, and brings back a ticket or a refusal as plain data; it offers a new plan for
the owner's standing approvals, and asks whether a plan is in force. It decides nothing: the vault checks everything.
"""

import os
from pathlib import Path

from datasites.desk.storage.blobs import BlobStore
from datasites.protocol import vault_api
from datasites.site import Site
from syft_code import canonical
from syft_code.errors import ConsiliumError, InvalidMessage, Refused
from syft_code.plans import messages, traveller
from syft_code.plans.messages import RoundCall, Signed, Ticket

HOME_VARIABLE = "CONSILIUM_HOSPITAL_HOME"
"""Set by the front desk for itself: the folder of the hospital that it stands before."""


def start_round(*, patients: dict[str, object], plan_hash: str, call: str) -> dict[str, object]:
    """Hand a signed round call to the vault; return its ticket, or why not, as plain data.

    PySyft runs a function on the mock as well as on the private half of an asset; the
    mock's answer says only that it is the mock.
    """
    if patients.get("kind") != "handle":
        return {"kind": "mock", "plan_hash": plan_hash}
    try:
        ticket = _ask_vault(Site(Path(os.environ[HOME_VARIABLE])), plan_hash, call)
    except ConsiliumError as problem:
        return {"kind": "failure", "error": type(problem).__name__, "sentence": str(problem)}
    return {"kind": "ticket", "ticket": canonical.text(ticket)}


def ticket_of(answer: dict[str, object]) -> str | None:
    """The name of the ticket in an answer of `start_round`, None if it holds none."""
    if answer["kind"] != "ticket":
        return None
    ticket: Ticket = canonical.parse(
        Ticket, str(answer["ticket"]).encode("utf-8", "replace"), what="ticket"
    )
    return ticket.ticket


def signed_call(text: str) -> Signed:
    """A round call as it came, with a signature that is the vault's to check."""
    signed: Signed = canonical.parse(Signed, text.encode("utf-8", "replace"), what="signed call")
    return signed


def offer_plan(site: Site, plan_hash: str) -> bool:
    """Whether the vault says that a standing approval of the owner covers a plan.

    The plan's bytes are those that the researcher uploaded. Any refusal is a quiet no: the
    request then waits for the owner, as every request does.
    """
    try:
        plan = BlobStore(site.desk / "blobs").plan(plan_hash).decode("utf-8", "replace")
        reply, _ = vault_api.ask(site.vault, vault_api.OfferPlan(plan=plan))
    except ConsiliumError:
        return False
    return isinstance(reply, vault_api.Accepted) and not reply.missing


def is_in_force(site: Site, code: str) -> bool:
    """Whether the vault vouches for the plan of a submitted text: it may run here now.

    A vault that does not answer vouches for nothing.
    """
    try:
        plan_hash = traveller.plan_hash_of(code)
        reply, _ = vault_api.ask(site.vault, vault_api.GetPlanInForce(plan_hash=plan_hash))
    except ConsiliumError:
        return False
    return isinstance(reply, vault_api.PlanInForce) and reply.in_force


def _ask_vault(site: Site, plan_hash: str, call: str) -> Ticket:
    signed = signed_call(call)
    inner = messages.claimed(RoundCall, signed)
    if inner.plan_hash != plan_hash:
        raise InvalidMessage("The call must be for the plan of the function that carries it.")
    weights = _blob(site, inner.weights_sha256)
    ticket: Ticket
    ticket, _ = vault_api.ask(site.vault, vault_api.StartRound(call=signed), weights)
    return ticket


def _blob(site: Site, name: str) -> bytes:
    try:
        return BlobStore(site.desk / "blobs").path(name).read_bytes()
    except FileNotFoundError:  # deleted since it was found
        raise Refused("There is no such blob here any more: upload it again.") from None
