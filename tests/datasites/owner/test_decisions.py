"""An owner's decision says what was signed, and a plan that stops early is signed only on purpose."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from datasites.owner.owner import Owner
from datasites.protocol import owner_actions, vault_api
from datasites.protocol.code_request import CodeRequest
from datasites.vault.vault import Vault
from policies.site_policy import Budget
from syft_code.errors import InvalidInput, NotApproved
from syft_code.plans import traveller
from syft_code.plans.plan import Plan
from syft_code.runtime import durable_files
from tests.datasites.hospitals import RESEARCHER, OneHospital, policy
from tests.plans import NEWCOMER, public


class Desk:
    """A front desk with one request, that does what the owner tells it."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.status = "pending"

    def requests(self) -> list[CodeRequest]:
        code = traveller.source(self._plan.hash)
        return [CodeRequest(id="1234", researcher=RESEARCHER, code=code, status=self.status)]

    def plan(self, plan_hash: str) -> bytes:
        return self._plan.encode()

    def add_note(self, subject: str, text: str) -> None:
        assert subject == self._plan.hash and text

    def approve(self, request_id: str) -> None:
        self.status = "approved"

    def deny(self, request_id: str, reason: str) -> None:
        self.status = "rejected"


@pytest.fixture
def hospital(tmp_path: Path) -> OneHospital:
    return OneHospital(home=tmp_path / "hospital-1")


@pytest.fixture
def vault(
    hospital: OneHospital, templates: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Vault]:
    started = Vault(hospital.site)
    hospital.publish(started)
    monkeypatch.setattr(
        vault_api, "ask", lambda home, asked, body=b"", **_: started.answer(asked, body)
    )
    yield started
    started.close()


@pytest.fixture
def plan(hospital: OneHospital) -> Plan:
    return hospital.plan()


@pytest.fixture
def owner(hospital: OneHospital, vault: Vault, plan: Plan) -> Owner:
    durable_files.write_durably(hospital.site.owner / "salt", bytes(32))
    deciding = Owner(hospital.home)
    deciding.__dict__["_session"] = deciding.__dict__["_desk"] = Desk(plan)
    return deciding


def test_an_approval_says_what_was_signed(owner: Owner, plan: Plan) -> None:
    signed = owner.approve(owner.requests()[0], days=2)
    assert (signed.in_force, signed.missing, signed.draft.rounds) == (True, 0, plan.rounds)
    for words in (
        f"Approved at hospital-1: study 'test-study' of {RESEARCHER}, request 1234.",
        "The whole plan costs a patient epsilon ",
        f" at delta 1e-05; it may spend all of it (the budget is 8.00), in at most {plan.rounds} of "
        f"{plan.rounds} training rounds, until 20",
        "Signed and in force.",
    ):
        assert words in repr(signed)


def test_an_approval_that_another_person_must_sign_says_so(
    owner: Owner, hospital: OneHospital, vault: Vault
) -> None:
    second = public(SigningKey.generate())
    hospital.perform(vault, owner_actions.EnrollApprover(name="second", verify_key=second))
    hospital.perform(vault, owner_actions.AdoptPolicy(policy=policy(approvers=2)))
    signed = owner.approve(owner.requests()[0])
    assert not signed.in_force
    assert "not in force yet: 1 more person must sign the same" in repr(signed)
    assert owner.requests()[0].status == "pending"


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        ({"epsilon": 0.01}, r"It stops before round 1 of 3: round 1 would bring epsilon to"),
        ({"epsilon": 0.01, "rounds": 2}, r"It stops before round 1 of 3: round 1 would bring"),
    ],
)
def test_a_plan_that_would_stop_early_is_signed_only_on_purpose(
    owner: Owner, limits: dict[str, float], why: str
) -> None:
    evidence = owner.requests()[0]
    with pytest.raises(NotApproved, match=why) as said:
        owner.approve(evidence, **limits)  # type: ignore[arg-type]
    assert "--anyway (in Python anyway=True)" in str(said.value)
    assert (state := owner.requests()[0].state) is not None and state.state == "undecided"
    signed = owner.approve(evidence, anyway=True, **limits)  # type: ignore[arg-type]
    assert "It stops " in repr(signed) and signed.in_force
    assert "it may spend at most 0.01 of it" in repr(signed)


def test_fewer_rounds_on_purpose_are_signed_and_said(owner: Owner) -> None:
    signed = owner.approve(owner.requests()[0], rounds=2)
    assert signed.in_force
    assert "It stops after round 2 of 3: the approval covers 2 rounds" in repr(signed)


def test_the_card_of_a_plan_that_does_not_fit_is_red(
    owner: Owner, hospital: OneHospital, vault: Vault
) -> None:
    tight = policy(Budget(epsilon=0.5, delta=1e-5))
    hospital.perform(vault, owner_actions.AdoptPolicy(policy=tight))
    evidence = owner.requests()[0]
    with pytest.raises(NotApproved, match=r"and the budget of skin-lesions is 0\.50"):
        owner.approve(evidence)
    card = evidence._card()
    assert ("bad", "It does not fit: 0 of 3 rounds would run") in card.verdicts
    assert ("ε 0.00", "left after it: it does not fit", "bad") in card.figures
    assert not any("yours to decide" in verdict for _, verdict in card.verdicts)
    assert "It stops before round 1 of 3" in evidence.text()


def test_rounds_that_a_plan_does_not_have_are_refused(owner: Owner) -> None:
    with pytest.raises(InvalidInput, match="rounds must lie between 1 and the plan's 3, got 4"):
        owner.approve(owner.requests()[0], rounds=4)


@pytest.mark.parametrize(
    ("decide", "words"),
    [
        (lambda o, e: o.deny(e, "No."), "Denied at hospital-1: study 'test-study' of "),
        (lambda o, e: o.revoke(e, "No.", tell_researcher=True), "The researcher can read why."),
        (lambda o, e: o.revoke_plan(e.subject, "No."), "The front desk does not show it"),
        (lambda o, e: o.ask(e, "Why?"), "The request stays undecided until you decide."),
        (lambda o, e: o.adopt_policy(policy()), "The policy of hospital-1: Signed and in force."),
        (
            lambda o, e: o.remove_party("hospital-2"),
            "The removal of hospital-2 as a party of hospital-1: Signed and in force.",
        ),
        (
            lambda o, e: o.add_party(NEWCOMER, words=NEWCOMER.words.upper().replace(" ", ", ")),
            "The word for newcomer as a party of hospital-1: Signed and in force.",
        ),
        (
            lambda o, e: o.enroll_approver("second", "ab" * 32),
            "The enrollment of second as approver of hospital-1: Signed and in force.",
        ),
        (
            lambda o, e: o.remove_patient("patient-0"),
            "The patient is out of every cohort of hospital-1",
        ),
    ],
)
def test_every_decision_is_a_sentence(
    owner: Owner, plan: Plan, decide: Callable[..., object], words: str
) -> None:
    assert words in repr(decide(owner, owner.requests()[0]))
