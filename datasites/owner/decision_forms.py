"""What an owner is about to sign, from what a page or a widget was told; signed only as it was shown.

request id ─ weighed ─▶ Evidence ─ drafted, with the fields of a form ─▶ PendingDecision ─ signed ─▶ a sentence
"""

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from datasites.owner import decisions
from datasites.owner.decisions import SignedApproval, SignedDecision
from datasites.owner.owner import APPROVAL_DAYS, Owner
from datasites.review.evidence import Evidence
from syft_code.errors import InvalidInput, NotApproved, Refused, require
from syft_code.runtime import cli_output

Decision = Literal["approve", "ask", "deny", "revoke"]
Fields = Mapping[str, str]
KEPT_S = 600.0
TOO_OLD = (
    "What was shown must be signed within ten minutes, and once: open the request again and "
    "decide there. See there too whether it is signed already."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingDecision:
    """One decision: `words` say all of what will be signed, `sign` signs it.

    `subject` is the hash of the plan (or the code) that it is on; `standing` is what it rested on when it
    was shown.
    """

    words: str
    button: str
    request_id: str
    subject: str
    standing: tuple[object, ...]
    sign: Callable[[], SignedApproval | SignedDecision]
    until: float = field(default_factory=lambda: time.monotonic() + KEPT_S)


def weighed(owner: Owner, request_id: str) -> Evidence:
    """A request with what the rules and the vault say of it now; raise `Refused` if it is not there."""
    for request in owner.submitted():
        if request.request_id == request_id:
            return owner.weigh(request)
    raise Refused("There is no such request here: go back to the requests.")


def drafted(
    owner: Owner, evidence: Evidence, decision: Decision, fields: Fields
) -> PendingDecision:
    """What a form asks for, in the words that would be signed.

    `fields` are texts: `subject` of the card that was read; `days`, `epsilon`, `rounds` and `anyway` of an approval, `text` and `tell` of any other.

    Raises:
        InvalidInput: if a field can't be what it says.
        NotApproved: if the card was of another plan, or the request can't be approved so.
    """
    require(
        fields.get("subject", "") == evidence.subject,
        "What is decided on must be what the card showed, and the front desk gives another plan "
        "for this request now: open the request again, and read it anew.",
        error=NotApproved,
    )
    pending = functools.partial(
        PendingDecision,
        request_id=evidence.request_id,
        subject=evidence.subject,
        standing=_standing(owner, evidence),
    )
    if decision == "approve":
        days = _number(fields, "days", float)
        draft = owner.draft_approval(
            evidence,
            days=APPROVAL_DAYS if days is None else days,
            epsilon=_number(fields, "epsilon", float),
            rounds=_number(fields, "rounds", int),
            anyway="anyway" in fields,
        )
        return pending(
            words=str(draft),
            button="Sign this approval",
            sign=lambda: owner.sign_approval(draft),
        )
    tell = "tell" in fields
    act = {"deny": owner.deny, "revoke": owner.revoke}.get(decision)
    what = "question" if act is None else "reason"
    words = cli_output.paragraph(fields.get("text", ""), what=what)
    if act is None:
        return pending(
            words=f"To be asked about {decisions.subject(evidence)}: {words}\nThe researcher reads "
            "this; the request stays undecided.",
            button="Send this question",
            sign=lambda: owner.ask(evidence, words),
        )
    reads = "The researcher reads the reason." if tell else "The researcher is not told."
    done = "refused" if decision == "deny" else "taken back"
    return pending(
        words=f"To be {done} at {evidence.hospital}: {decisions.subject(evidence)}.\nReason: "
        f"{words}\n{reads}",
        button="Sign this refusal" if decision == "deny" else "Take the approval back",
        sign=lambda: act(evidence, words, tell_researcher=tell),
    )


def signed(owner: Owner, pending: PendingDecision) -> SignedApproval | SignedDecision:
    """Sign what was shown; raise `NotApproved` if it is too old, or what it rested on has changed since."""
    require(time.monotonic() <= pending.until, TOO_OLD, error=NotApproved)
    require(
        _standing(owner, weighed(owner, pending.request_id)) == pending.standing,
        "What is signed must be what was shown, and since then the request, the rules or a "
        "decision on it have changed: open the request again, and decide there.",
        error=NotApproved,
    )
    return pending.sign()


def _standing(owner: Owner, evidence: Evidence) -> tuple[object, ...]:
    """What a decision rests on, to see whether it is still so when it is signed.

    What other studies spend meanwhile is a part of it only if fewer rounds fit: one that trains here spends every second.
    """
    state = evidence.state
    said: tuple[object, ...] = ()
    if state is not None:
        fits = (state.rounds_that_fit, state.evaluations_that_fit)
        said = (state.state, state.verdict, state.signers, *fits)
    return (evidence.subject, evidence.problem, *said, owner.site_status().policy)


def _number(fields: Fields, name: str, kind: Callable[[str], Any]) -> Any:
    text = fields.get(name, "").strip()
    if not text:
        return None
    try:
        return kind(text)
    except ValueError:
        whole = "a whole number" if kind is int else "a number"
        raise InvalidInput(f"{name} must be {whole}, got {cli_output.quoted(text)}.") from None
