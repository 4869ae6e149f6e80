"""The vault's interface: every request that it answers, every reply, and how to ask it.

One request goes over one connection of the vault's Unix socket, as a frame (`framing`). The front
desk passes a researcher's signed calls on; an owner sends actions (`owner_actions`).
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from datasites.protocol.framing import receive, send
from policies.known_parties import Known
from policies.site_policy import Budget, SitePolicy
from syft_code import canonical, errors
from syft_code.errors import ConsiliumError, Unavailable
from syft_code.plans.catalogue import Terms
from syft_code.plans.messages import Signed, Ticket
from syft_code.plans.plan import MAX_PLAN_BYTES

SOCKET_NAME = "vault.sock"
MAX_REQUEST_BYTES = 4 * MAX_PLAN_BYTES + 2**16
"""Of a header: the longest has a plan in a signed action, quoted twice."""
LONGEST_SENTENCE = 1000
LONGEST_WAIT_S = 5.0
"""So long an answer may wait for a round's end; a thread of the vault waits with it."""


@canonical.message
class GetHealth:
    """From the front desk or the owner: does the vault answer?"""

    kind: Literal["get_health"] = "get_health"


@canonical.message
class StartRound:
    """From the front desk: a researcher's signed round call; the body is the global weights.

    Units: the answer waits for the round's end, but no longer than `wait_s` seconds.
    """

    call: Signed
    wait_s: Annotated[float, Field(ge=0, le=LONGEST_WAIT_S)] = 0.0
    kind: Literal["start_round"] = "start_round"


@canonical.message
class GetTicket:
    """From the front desk: how far is this ticket, at its end or after `wait_s` seconds?"""

    ticket: str
    wait_s: Annotated[float, Field(ge=0, le=LONGEST_WAIT_S)] = 0.0
    kind: Literal["get_ticket"] = "get_ticket"


@canonical.message
class GetShare:
    """From the front desk: the sealed share of a finished ticket for one aggregator (from 1)."""

    ticket: str
    party: int
    kind: Literal["get_share"] = "get_share"


@canonical.message
class OfferPlan:
    """From the front desk: a plan (canonical JSON) that a standing approval may cover."""

    plan: str
    kind: Literal["offer_plan"] = "offer_plan"


@canonical.message
class GetPlanInForce:
    """Front desk: may the next round of this plan (hash) run here?"""

    plan_hash: str
    kind: Literal["get_plan_in_force"] = "get_plan_in_force"


@canonical.message
class GetTerms:
    """Front desk: what does this hospital ask of a plan?"""

    kind: Literal["get_terms"] = "get_terms"


@canonical.message
class OwnerActionRequest:
    """Owner or approver: a signed action of `datasites.protocol.owner_actions`; the body is a publication's cohort.

    `name` is the action's class, `signer` the key (hex) of who signed it.
    """

    action: Signed
    name: str
    signer: str
    kind: Literal["owner_action"] = "owner_action"


Request = Annotated[
    GetHealth
    | StartRound
    | GetTicket
    | GetShare
    | OfferPlan
    | GetPlanInForce
    | GetTerms
    | OwnerActionRequest,
    Field(discriminator="kind"),
]


@canonical.message
class Healthy:
    """The vault is there; its public key."""

    verify_key: str
    kind: Literal["healthy"] = "healthy"


@canonical.message
class Share:
    """A sealed share is in the body."""

    kind: Literal["share"] = "share"


@canonical.message
class Accepted:
    """An action is recorded; `missing` people must still sign it before it takes force.

    `version` is that of a published asset, else 0.
    """

    version: int = 0
    missing: int = 0
    kind: Literal["accepted"] = "accepted"


@canonical.message
class PlanInForce:
    """Whether the owner's signatures let a plan run now, and nothing of why not."""

    in_force: bool
    kind: Literal["plan_in_force"] = "plan_in_force"


@canonical.message
class TermsInForce:
    """The part of the policy in force that any member may read; None before there is a policy."""

    terms: Terms | None
    kind: Literal["terms_in_force"] = "terms_in_force"


@canonical.message
class LedgerSummary:
    """What the ledger says of one asset, to the owner.

    `events` are all that count for its patients, those of `sharing` assets among them. Epsilons are as
    sums show them, and by the hospital's own noise `alone`, if all others collude.
    """

    asset: str
    spent_epsilon: float
    spent_epsilon_alone: float
    budget: Budget
    events: tuple[str, ...]
    sharing: tuple[str, ...]
    in_force: tuple[str, ...]
    kind: Literal["ledger_summary"] = "ledger_summary"


@canonical.message
class CohortRemarks:
    """What was remarked on an asset's patients when they were read, to the owner alone: it counts them."""

    asset: str
    version: int
    remarks: tuple[str, ...]
    kind: Literal["cohort_remarks"] = "cohort_remarks"


@canonical.message
class PlanStatus:
    """What the vault says of one plan, to the owner; `sentence` says the state in words.

    `verdict` and `weighed` are the policy's answer. Units: epsilons at the asset's delta, of
    the whole plan and of everything with it, as sums show them and by the hospital's own noise `alone`. `signers` are the names of those whose approval
    stands; `last_approved` is the newest other plan (canonical JSON) that was approved here,
    empty if there is none. `rounds_that_fit` and `evaluations_that_fit` are how far the ledger lets
    the plan get; `stops` says in words where it ends early, empty if all of it runs. `known` are
    all parties that are known here, oldest first.
    """

    state: Literal["undecided", "waiting", "in force", "not in force", "denied", "revoked"]
    sentence: str
    verdict: Literal["approve", "deny", "ask owner"]
    weighed: str
    study_epsilon: float
    after_epsilon: float
    study_epsilon_alone: float
    after_epsilon_alone: float
    signers: tuple[str, ...] = ()
    signatures_needed: int = 1
    expires_unix_s: float = 0.0
    rounds_called: int = 0
    rounds_that_fit: int = 0
    evaluations_that_fit: int = 0
    stops: str = ""
    last_approved: str = ""
    known: Known = ()
    kind: Literal["plan_status"] = "plan_status"


@canonical.message
class SiteStatus:
    """The rules of one hospital as they are in force, to the owner.

    `approvers` are (key, name); `waiting` are (action, subject, signer's key) of what lacks a
    signature; `assets` are the names that were ever published, oldest first.
    """

    policy: SitePolicy | None
    approvers: tuple[tuple[str, str], ...]
    known: Known
    waiting: tuple[tuple[str, str, str], ...]
    assets: tuple[str, ...] = ()
    kind: Literal["site_status"] = "site_status"


@canonical.message
class AuditLogFile:
    """The audit log is in the body."""

    kind: Literal["log_file"] = "log_file"


@canonical.message
class Failure:
    """The answer is no; `error` names a class of `syft_code.errors`."""

    error: str
    sentence: str
    kind: Literal["failure"] = "failure"


Reply = Annotated[
    Healthy
    | Ticket
    | Share
    | Accepted
    | PlanInForce
    | TermsInForce
    | LedgerSummary
    | CohortRemarks
    | PlanStatus
    | SiteStatus
    | AuditLogFile
    | Failure,
    Field(discriminator="kind"),
]


def ask(
    vault_home: Path, request: object, body: bytes = b"", *, timeout_s: float | None = None
) -> tuple[Any, bytes]:
    """Send one request to a vault's socket and wait for the answer, for ever unless a time is given.

    Raises:
        ConsiliumError: what the vault answered, as the class that it named.
        Unavailable: if nobody listens.
    """
    try:
        with _connected(vault_home, timeout_s) as stream:
            with suppress(BrokenPipeError):  # refused before its body was read: the reply says why
                send(stream, request, body)
            reply, data = receive(stream, Reply)
    except (OSError, EOFError):
        raise Unavailable(
            "The hospital's vault does not answer: ask the data owner to see whether it runs."
        ) from None
    if isinstance(reply, Failure):
        raise as_error(reply)
    return reply, data


def as_error(failure: Failure) -> ConsiliumError:
    """A refusal as an error of the class that it names; what the other end wrote is cut short."""
    return (errors.named(failure.error) or ConsiliumError)(failure.sentence[:LONGEST_SENTENCE])


@contextmanager
def _connected(vault_home: Path, timeout_s: float | None) -> Iterator[Any]:
    """A connection by way of the folder's descriptor: socket paths are limited to 107 bytes.

    The vault's group may pass through its folder, and not read it.
    """
    folder = os.open(vault_home, os.O_PATH | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(timeout_s)
            client.connect(f"/proc/self/fd/{folder}/{SOCKET_NAME}")
            with client.makefile("rwb") as stream:
                yield stream
    finally:
        os.close(folder)
