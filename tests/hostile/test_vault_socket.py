"""What whoever owns the front desk can do at the vault's socket: nothing but be refused."""

import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from nacl.signing import SigningKey

from datasites.protocol import framing, owner_actions, vault_api
from datasites.protocol.vault_api import OwnerActionRequest, StartRound
from syft_code import canonical
from syft_code.errors import (
    BudgetExceeded,
    ConsiliumError,
    InvalidInput,
    InvalidMessage,
    NotApproved,
    Refused,
)
from syft_code.models import networks
from syft_code.plans import messages
from syft_code.plans.messages import RoundCall, Signed
from syft_code.plans.plan import Plan
from tests.datasites.hospitals import POLICY, approval, introduction, publication, signed_action
from tests.hostile.conftest import OurSite
from tests.plans import parties, plan, public

pytestmark = pytest.mark.timeout(300)


@contextmanager
def connected(ours: OurSite) -> Iterator[socket.socket]:
    folder = os.open(ours.site.vault, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(f"/proc/self/fd/{folder}/{vault_api.SOCKET_NAME}")
            yield client
    finally:
        os.close(folder)


def answer_to(ours: OurSite, data: bytes) -> Any:
    """What the vault says to raw bytes; None if it hangs up."""
    with connected(ours) as client:
        try:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            with client.makefile("rb") as stream:
                return framing.receive(stream, vault_api.Reply)[0]
        except (EOFError, ConnectionError):
            return None


def ask(ours: OurSite, request: object, body: bytes = b"") -> Any:
    reply, _ = vault_api.ask(ours.site.vault, request, body)
    return reply


def lives(ours: OurSite) -> bool:
    return isinstance(ask(ours, vault_api.GetHealth()), vault_api.Healthy)


def frame(header: bytes, body: bytes = b"", *, says: tuple[int, int] | None = None) -> bytes:
    return struct.pack(">IQ", *(says or (len(header), len(body)))) + header + body


HEALTH = canonical.encode(vault_api.GetHealth())
FRAMES: dict[str, bytes] = {
    "no bytes": b"",
    "half a length": b"\x00\x00",
    "garbage": os.urandom(500),
    "a pickle": frame(b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93."),
    "a cut header": frame(HEALTH[:5], says=(len(HEALTH), 0)),
    "a cut body": frame(HEALTH, b"x", says=(len(HEALTH), 10)),
    "a body that is not due": frame(HEALTH, b"x" * 10),
    "a header of gigabytes": frame(HEALTH, says=(2**32 - 1, 0)),
    "a body of exabytes": frame(HEALTH, says=(len(HEALTH), 2**63)),
    "no header": frame(b""),
    "no object": frame(b"[]"),
    "an unknown kind": frame(b'{"kind":"open_sesame"}'),
    "a reply's kind": frame(canonical.encode(vault_api.Accepted())),
    "no kind": frame(b"{}"),
    "a field more": frame(b'{"kind":"get_health","more":1}'),
    "a field twice": frame(b'{"kind":"get_health","kind":"get_health"}'),
    "spaces": frame(b'{"kind": "get_health"}'),
    "a number for a text": frame(b'{"kind":"get_ticket","ticket":1}'),
    "bytes that are no text": frame(b'{"kind":"\xff\xfe"}'),
    "half a surrogate": frame(b'{"kind":"get_ticket","ticket":"\\ud800"}'),
    "a zero in a text": frame(b'{"kind":"get_ticket","ticket":"\\u0000"}'),
    "deep nesting": frame(b"[" * 100_000 + b"]" * 100_000),
    "a huge number": frame(b'{"kind":"get_share","party":' + b"9" * 5000 + b',"ticket":"a"}'),
    "not a number": frame(b'{"kind":"get_share","party":NaN,"ticket":"a"}'),
    "weights of gigabytes": frame(
        canonical.encode(StartRound(call=Signed(message="", signature=""))), says=(74, 2**32)
    ),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_that_is_not_right_is_refused_and_the_vault_lives_on(
    ours: OurSite, name: str
) -> None:
    reply = answer_to(ours, FRAMES[name])
    if reply is not None:
        assert isinstance(reply, vault_api.Failure)
        assert reply.sentence.endswith(".")
        assert "Traceback" not in reply.sentence
    assert reply is not None or name == "no bytes"
    assert lives(ours)


def test_connections_that_stay_silent_keep_nobody_out(ours: OurSite) -> None:
    with connected(ours) as one, connected(ours) as two:
        one.sendall(b"\x00")
        two.sendall(struct.pack(">IQ", 100, 0))
        assert lives(ours)


def test_a_cohort_is_read_only_after_the_owners_signature(ours: OurSite) -> None:
    stranger = SigningKey.generate()
    as_stranger = signed_action(publication(b"x"), stranger)
    for request, words in (
        (as_stranger, "somebody who decides"),
        (replace(as_stranger, signer=public(ours.owner_key)), "must carry the signature"),
        (signed_action(publication(b"x", at_unix_s=0.0), ours.owner_key), "at most 300 s old"),
    ):
        header = canonical.encode(request)
        with connected(ours) as client:
            client.sendall(struct.pack(">IQ", len(header), 2**31) + header)
            with client.makefile("rb") as stream:
                reply, _ = framing.receive(stream, vault_api.Reply)
        assert isinstance(reply, vault_api.Failure)
        assert words in reply.sentence


# Owner's acts


def fresh(ours: OurSite, study: str) -> Plan:
    """A plan like the agreed one, under another name."""
    return plan(ours.keys, study=study, hospitals=ours.agreed.hospitals)


def acts_of(ours: OurSite) -> list[owner_actions.OwnerAction]:
    body = b"x"
    return [
        publication(body),
        approval(fresh(ours, "unsigned")),
        owner_actions.DenyPlan(plan_hash=ours.agreed.hash, reason="no"),
        owner_actions.RevokePlan(plan_hash=ours.agreed.hash, reason="no"),
        owner_actions.GetLedger(asset="skin-lesions"),
        owner_actions.GetRemarks(asset="skin-lesions"),
        introduction(parties(plan())[0]),
        owner_actions.RemoveParty(name="hospital-2"),
        owner_actions.AdoptPolicy(policy=POLICY),
        owner_actions.EnrollApprover(name="thief", verify_key="0" * 64),
        owner_actions.RemoveApprover(verify_key="0" * 64),
        owner_actions.RemovePatient(token="0" * 32),
        owner_actions.AskResearcher(plan_hash=ours.agreed.hash, reason="why"),
        owner_actions.GetPlanStatus(plan=ours.agreed.encode().decode("ascii"), researcher="x"),
        owner_actions.GetSiteStatus(),
        owner_actions.ExportAuditLog(),
    ]


def test_every_kind_of_act_is_attacked(ours: OurSite) -> None:
    assert {type(action).__name__ for action in acts_of(ours)} == set(owner_actions.ACTIONS)


@pytest.mark.parametrize("number", range(len(owner_actions.ACTIONS)))
def test_an_act_that_the_owner_did_not_sign_is_refused(ours: OurSite, number: int) -> None:
    action = acts_of(ours)[number]
    right = messages.sign(action, ours.owner_key)
    account = ours.owner_account.signing_key
    wrong = [
        Signed(message=right.message, signature=""),
        Signed(message=right.message, signature="00" * 64),
        Signed(message=right.message, signature="no hexadecimal"),
        Signed(message=right.message.replace("no", "on").replace("x", "y"), signature="11" * 64),
        Signed(message="", signature=right.signature),
        Signed(message="{}", signature=right.signature),
        Signed(message="\u00e9", signature=right.signature),
        messages.sign(action, SigningKey.generate()),
        messages.sign(action, ours.keys.researcher),
        messages.sign(action, account),
        messages.sign(action, SigningKey((ours.site.vault / "key").read_bytes())),
    ]
    name = type(action).__name__
    body = b"x" if name == "PublishAsset" else b""
    for signed in wrong:
        with pytest.raises(InvalidMessage, match="must carry the signature"):
            ask(
                ours,
                OwnerActionRequest(action=signed, name=name, signer=public(ours.owner_key)),
                body,
            )
    for key in (SigningKey.generate(), ours.keys.researcher, account):
        with pytest.raises(InvalidMessage, match="somebody who decides"):
            ask(ours, signed_action(action, key), body)
    assert lives(ours)


@pytest.mark.parametrize("name", ["PublishAsset", "ApprovePlan", "RevokePlan", "GetLedger"])
def test_a_signature_over_one_kind_of_act_is_none_over_another(ours: OurSite, name: str) -> None:
    action = owner_actions.DenyPlan(plan_hash=ours.agreed.hash, reason="no")
    with pytest.raises(InvalidMessage, match="must carry the signature"):
        ask(ours, replace(signed_action(action, ours.owner_key), name=name))


def test_an_act_is_done_once_and_soon(ours: OurSite) -> None:
    agreed = fresh(ours, "once")
    once = signed_action(approval(agreed), ours.owner_key)
    assert isinstance(ask(ours, once), vault_api.Accepted)
    revoking = signed_action(
        owner_actions.RevokePlan(plan_hash=agreed.hash, reason="no"), ours.owner_key
    )
    assert isinstance(ask(ours, revoking), vault_api.Accepted)
    for again in (once, revoking):
        with pytest.raises(InvalidMessage, match="used once"):
            ask(ours, again)
    for age_s in (owner_actions.MAX_ACTION_AGE_S + 5, -owner_actions.MAX_ACTION_AGE_S - 5):
        late = approval(fresh(ours, "late"), at_unix_s=time.time() - age_s)
        with pytest.raises(InvalidMessage, match="at most 300 s old"):
            ask(ours, signed_action(late, ours.owner_key))
    with pytest.raises(NotApproved):
        ask(ours, *round_call(ours, agreed))


def test_the_owner_alone_publishes_and_only_what_was_signed(ours: OurSite) -> None:
    signed = signed_action(publication(b"a cohort"), ours.owner_key)
    with pytest.raises(InvalidMessage, match="must be the bytes"):
        ask(ours, signed, b"another cohort")
    assert len(list((ours.site.vault / "cohorts").iterdir())) == 1


# Round calls


def round_call(
    ours: OurSite, agreed: Plan, *, key: SigningKey | None = None, **changes: Any
) -> tuple[StartRound, bytes]:
    """A right call, but for the changes; `weights` are the bytes beside it."""
    vector = networks.initial_weights(agreed.recipe, agreed.data, seed=1)
    weights = changes.pop("weights", vector.astype("<f4").tobytes())
    fields: dict[str, Any] = {
        "plan_hash": agreed.hash,
        "hospital": "north",
        "purpose": "train",
        "round": 2,
        "weights_sha256": canonical.sha256(weights),
    }
    call = RoundCall(**(fields | changes))
    return StartRound(call=messages.sign(call, key or ours.keys.researcher)), weights


WRONG_CALLS: dict[str, Callable[[OurSite], tuple[StartRound, bytes]]] = {
    "a stranger's signature": lambda ours: round_call(ours, ours.agreed, key=SigningKey.generate()),
    "the owner's signature": lambda ours: round_call(ours, ours.agreed, key=ours.owner_key),
    "the account's signature": lambda ours: round_call(
        ours, ours.agreed, key=ours.alice_key.signing_key
    ),
    "another hospital": lambda ours: round_call(
        ours, ours.agreed, hospital=ours.agreed.hospitals[1].name
    ),
    "no hospital": lambda ours: round_call(ours, ours.agreed, hospital="nowhere"),
    "a plan that waits": lambda ours: round_call(ours, ours.pending),
    "a plan that nobody knows": lambda ours: round_call(ours, fresh(ours, "unknown")),
    "no plan": lambda ours: round_call(ours, ours.agreed, plan_hash="../../key"),
    "round zero": lambda ours: round_call(ours, ours.agreed, round=0),
    "a round too many": lambda ours: round_call(ours, ours.agreed, round=4),
    "a negative round": lambda ours: round_call(ours, ours.agreed, round=-1),
    "an evaluation too early": lambda ours: round_call(ours, ours.agreed, purpose="evaluate"),
    "other weights": lambda ours: (round_call(ours, ours.agreed)[0], b"\x00" * 100),
    "no weights": lambda ours: (round_call(ours, ours.agreed)[0], b""),
    "short weights": lambda ours: round_call(ours, ours.agreed, weights=b"\x00" * 4),
    "long weights": lambda ours: round_call(ours, ours.agreed, weights=b"\x00" * 4096),
    "no signature": lambda ours: (
        StartRound(
            call=Signed(message=round_call(ours, ours.agreed)[0].call.message, signature="")
        ),
        b"",
    ),
    "no call": lambda ours: (StartRound(call=Signed(message="[]", signature="")), b""),
}


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_a_round_call_that_is_not_right_is_refused_and_costs_nothing(
    ours: OurSite, name: str
) -> None:
    before = ours.owner.ledger_summary("skin-lesions").events
    with pytest.raises(ConsiliumError) as refused:
        ask(ours, *WRONG_CALLS[name](ours))
    assert isinstance(refused.value, InvalidInput | Refused)
    assert not isinstance(refused.value, BudgetExceeded)
    assert str(refused.value).endswith(".")
    assert "/" not in str(refused.value).replace("../../key", "")
    assert ours.owner.ledger_summary("skin-lesions").events == before
    assert lives(ours)


def test_an_approval_that_expired_or_was_taken_back_runs_nothing(ours: OurSite) -> None:
    short, withdrawn = fresh(ours, "short"), fresh(ours, "withdrawn")
    soon = approval(short, expires_unix_s=time.time() + 0.5)
    assert isinstance(ask(ours, signed_action(soon, ours.owner_key)), vault_api.Accepted)
    assert isinstance(
        ask(ours, signed_action(approval(withdrawn), ours.owner_key)), vault_api.Accepted
    )
    taken = owner_actions.RevokePlan(plan_hash=withdrawn.hash, reason="We found a mistake.")
    assert isinstance(ask(ours, signed_action(taken, ours.owner_key)), vault_api.Accepted)
    time.sleep(0.6)
    with pytest.raises(NotApproved, match="expired"):
        ask(ours, *round_call(ours, short))
    with pytest.raises(NotApproved, match="revoked this plan: We found a mistake"):
        ask(ours, *round_call(ours, withdrawn))


def test_tickets_and_shares_that_are_not_there_are_refused(ours: OurSite) -> None:
    for request in (
        vault_api.GetTicket(ticket="0" * 32),
        vault_api.GetTicket(ticket="../../key"),
        vault_api.GetShare(ticket="0" * 32, party=1),
        vault_api.GetShare(ticket="../../key", party=-1),
        vault_api.GetShare(ticket="' OR 1=1 --", party=2**52),
    ):
        with pytest.raises(Refused, match="no such ticket"):
            ask(ours, request)
