"""What a thin traveller calls: from the front desk's process to the vault and back.

Runs inside the front desk. It carries a signed call and the blob that the call names to
the vault's socket, and brings back a ticket or a refusal as plain data. It decides
nothing: the vault checks everything.
"""

import os
from pathlib import Path

from datasites import wire
from datasites.blobs import Blobs
from datasites.site import Site
from syft_code import canonical
from syft_code.errors import ConsiliumError, InvalidMessage
from syft_code.messages import RoundCall, Signed, Ticket

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
    return {"kind": "ticket", "ticket": canonical.encode(ticket).decode("ascii")}


def _ask_vault(site: Site, plan_hash: str, call: str) -> Ticket:
    signed: Signed = canonical.parse(Signed, call.encode("ascii", "replace"), what="signed call")
    inner = canonical.parse(RoundCall, signed.message.encode("ascii", "replace"), what="round call")
    if inner.plan_hash != plan_hash:
        raise InvalidMessage("The call must be for the plan of the function that carries it.")
    weights = Blobs(site.desk / "blobs").path(inner.weights_sha256).read_bytes()
    ticket: Ticket
    ticket, _ = wire.ask(site.vault, wire.StartRound(call=signed), weights)
    return ticket
