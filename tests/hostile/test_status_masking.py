"""What a researcher can find out about a no that the owner keeps to themselves: nothing."""

from dataclasses import dataclass
from typing import Any

import pytest

from syft_code.plans import traveller
from syft_code.plans.plan import Plan
from syft_code.runtime.quiet_imports import quiet_import
from tests.hostile.conftest import HTTP, OurSite, pack, refusal, travelling, value_object
from tests.plans import plan

with quiet_import():
    from syft.service.request.request import RequestStatus

pytestmark = pytest.mark.timeout(300)

OWN = {"id", "request_time", "request_hash", "changes"}
"""What two requests differ in, whatever becomes of them."""
REASON = "Because of the Xylophone affair."


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """Three requests of one researcher: nobody looked, denied, approved and revoked."""

    pending: Plan
    denied: Plan
    revoked: Plan

    @property
    def said_no(self) -> tuple[Plan, Plan]:
        return self.denied, self.revoked


@pytest.fixture(scope="module")
def quiet(ours: OurSite) -> Quiet:
    plans = {
        study: plan(ours.keys, study=f"quiet-{study}", hospitals=ours.agreed.hospitals)
        for study in ("pending", "denied", "revoked")
    }
    for wanted in plans.values():
        ours.alice.submit(wanted)
    evidence = ours.evidence(plans["revoked"])
    ours.owner.deny(ours.evidence(plans["denied"]), REASON)
    ours.owner.approve(evidence)
    ours.owner.revoke(evidence, REASON)
    return Quiet(**plans)


def as_alice(ours: OurSite, wanted: Plan) -> Any:
    """A plan's request as Alice gets it, straight from the wire."""
    requests = ours.desk.call(ours.alice_key, "request.get_all").value
    assert REASON.encode() not in pack(requests)
    links = {request.id: request.changes[0].linked_user_code for request in requests}
    name = traveller.function_name(wanted.hash)
    (found,) = [r for r in requests if code_of(ours, links[r.id]).service_func_name == name]
    return found


def code_of(ours: OurSite, link: Any) -> Any:
    return ours.desk.call(ours.alice_key, "notifications.resolve_object", linked_obj=link).value


def test_the_owner_sees_what_was_decided(ours: OurSite, quiet: Quiet) -> None:
    status = {each.request.plan_hash: each.request.status for each in ours.owner.submitted()}
    assert status[quiet.pending.hash] == "pending"
    assert [status[each.hash] for each in quiet.said_no] == ["rejected", "rejected"]
    assert status[ours.agreed.hash] == "approved"


def test_a_denied_request_looks_as_if_nobody_had_seen_it(ours: OurSite, quiet: Quiet) -> None:
    waiting = as_alice(ours, quiet.pending)
    for wanted in quiet.said_no:
        request = as_alice(ours, wanted)
        assert (request.history, request.updated_at) == (waiting.history, waiting.updated_at)
        assert request.history == []
        for name in set(type(waiting).model_fields) - OWN:
            assert getattr(request, name) == getattr(waiting, name), name
        (change,), (other,) = request.changes, waiting.changes
        for name in set(type(other).model_fields) - {"id", "linked_obj", "linked_user_code"}:
            assert getattr(change, name) == getattr(other, name), name
        assert len(pack(request)) == len(pack(waiting))
    assert as_alice(ours, ours.agreed).history  # an approval shows
    client = {r.code.raw_code: r for r in ours.alice._client.requests.get_all()}
    for wanted in (quiet.pending, *quiet.said_no):
        assert client[traveller.source(wanted.hash)].status == RequestStatus.PENDING
    assert client[traveller.source(ours.agreed.hash)].status == RequestStatus.APPROVED


def test_a_denied_function_says_word_for_word_what_a_pending_one_says(
    ours: OurSite, quiet: Quiet
) -> None:
    said = set()
    for wanted in (quiet.pending, *quiet.said_no):
        code = code_of(ours, as_alice(ours, wanted).changes[0].linked_user_code)
        for call in (value_object("a"), ours.asset):
            answer = ours.desk.call(
                ours.alice_key, "code.call", uid=code.id, patients=ours.asset, call=call
            )
            said.add(refusal(answer))
    assert len(said) == 1, said
    assert "waiting for approval" in said.pop()


def test_the_code_of_a_denied_request_and_the_listing_tell_nothing(
    ours: OurSite, quiet: Quiet
) -> None:
    waiting = code_of(ours, as_alice(ours, quiet.pending).changes[0].linked_user_code)
    for wanted in quiet.said_no:
        code = code_of(ours, as_alice(ours, wanted).changes[0].linked_user_code)
        assert REASON.encode() not in pack(code)
        assert len(pack(code)) == len(pack(waiting))
        assert code.output_policy_state == waiting.output_policy_state
        assert code.input_policy_state == waiting.input_policy_state
    key = str(ours.alice_key.verify_key)
    protocol = ours.alice._client.communication_protocol
    listing = HTTP.get(
        f"{ours.desk.url}/api/v2/api",
        params={"verify_key": key, "communication_protocol": protocol},
    )
    assert listing.status_code == 200
    assert REASON.encode() not in listing.content
    for wanted in (quiet.pending, *quiet.said_no):
        assert traveller.function_name(wanted.hash).encode() in listing.content


def test_asking_again_for_a_denied_plan_says_what_it_says_of_a_pending_one(
    ours: OurSite, quiet: Quiet
) -> None:
    said = set()
    for wanted in (quiet.pending, *quiet.said_no):
        answer = ours.desk.call(
            ours.alice_key, "code.request_code_execution", code=travelling(ours, wanted)
        )
        request = as_alice(ours, wanted)
        said.add(refusal(answer).replace(str(request.id), "ID"))
    assert len(said) == 1, said


@pytest.mark.slow
def test_an_approval_does_not_show_that_there_was_a_denial_before(ours: OurSite) -> None:
    wanted = plan(ours.keys, study="quiet-changed", hospitals=ours.agreed.hospitals)
    ours.alice.submit(wanted)
    evidence = ours.evidence(wanted)
    ours.owner.deny(evidence, REASON)
    ours.owner.approve(evidence)
    history = as_alice(ours, wanted).history
    assert [status.applied for status in history] == [True]
    assert len(history) == len(as_alice(ours, ours.agreed).history)


@pytest.mark.slow
def test_what_the_front_desk_alone_approved_waits_for_the_owners_signature(ours: OurSite) -> None:
    wanted = plan(ours.keys, study="quiet-unsigned", hospitals=ours.agreed.hospitals)
    ours.alice.submit(wanted)
    evidence = ours.evidence(wanted)
    ours.owner._session.approve(evidence.request_id)
    seen = ours.evidence(wanted)
    assert seen.status == "approved" and "in the vault the plan is undecided" in seen.disagreement
    assert as_alice(ours, wanted).history == []
    assert not ours.alice.has_approved(wanted.hash)
    ours.owner.approve(evidence)
    assert ours.alice.has_approved(wanted.hash)
