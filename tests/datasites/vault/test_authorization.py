"""Who may decide, what is in force, and that a grant is worked out anew from signed bytes."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from nacl.signing import SigningKey

from datasites.data import cohort_file
from datasites.protocol import owner_actions, vault_api
from datasites.vault.vault import Vault
from policies.site_policy import AssetBudget, Budget, StandingApproval
from syft_code.errors import (
    BudgetExceeded,
    InvalidData,
    InvalidMessage,
    NotApproved,
    Refused,
)
from syft_code.plans.messages import NO_PART
from syft_code.plans.plan import Plan
from syft_code.privacy import accounting
from tests.datasites.hospitals import (
    BUDGET,
    RESEARCHER,
    OneHospital,
    approval,
    cohort,
    introduction,
    policy,
    publication,
    signed_action,
)
from tests.plans import NEWCOMER, public
from tests.plans import plan as any_plan


@pytest.fixture
def vault(
    hospital: OneHospital, templates: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Vault]:
    """A vault whose rounds are reserved and never begin: these tests are about who may."""
    started = Vault(hospital.site)
    monkeypatch.setattr(started._rounds._queue, "submit", lambda *call: None)
    hospital.publish(started)
    yield started
    started.close()


@pytest.fixture
def second(hospital: OneHospital, vault: Vault) -> SigningKey:
    """Another person who decides, under the two-person rule."""
    key = SigningKey.generate()
    hospital.perform(vault, owner_actions.EnrollApprover(name="second", verify_key=public(key)))
    hospital.perform(vault, owner_actions.AdoptPolicy(policy=policy(approvers=2)))
    return key


def call(hospital: OneHospital, vault: Vault, plan: Plan, number: int = 1) -> object:
    return vault.start_round(hospital.call(plan, number), hospital.weights(plan))


# The two-person rule


def test_one_of_two_approvals_runs_nothing_and_both_run(
    hospital: OneHospital, vault: Vault, second: SigningKey
) -> None:
    plan = hospital.plan()
    assert hospital.perform(vault, approval(plan)).missing == 1
    with pytest.raises(NotApproved, match="2 people must approve this plan here, and 1 did"):
        call(hospital, vault, plan)
    assert hospital.perform(vault, approval(plan)).missing == 1, (
        "the same person twice is one person"
    )
    assert hospital.perform(vault, approval(plan), key=second).missing == 0
    assert call(hospital, vault, plan)


def test_the_strictest_of_two_approvals_counts(
    hospital: OneHospital, vault: Vault, second: SigningKey
) -> None:
    plan = hospital.plan()
    until = time.time() + 60
    tight = Budget(epsilon=0.5, delta=1e-5)
    hospital.perform(vault, approval(plan, rounds=2, budget=tight))
    hospital.perform(vault, approval(plan, rounds=3, expires_unix_s=until), key=second)
    grant = vault._authorizer.grant(plan.hash)
    assert (grant.rounds, grant.expires_unix_s) == (2, until)
    assert tight in grant.budgets
    with pytest.raises(BudgetExceeded, match=r"of 0\.50"):
        call(hospital, vault, plan)


def test_two_approvals_may_not_name_different_researchers(
    hospital: OneHospital, vault: Vault, second: SigningKey
) -> None:
    plan = hospital.plan()
    hospital.perform(vault, approval(plan))
    with pytest.raises(NotApproved, match="must all be for"):
        hospital.perform(vault, approval(plan, researcher="somebody@else.org"), key=second)
    with pytest.raises(NotApproved, match="and 1 did"):
        call(hospital, vault, plan)


def test_an_approval_from_before_the_two_person_rule_is_not_enough(
    hospital: OneHospital, vault: Vault, agreed: Plan, second: SigningKey
) -> None:
    with pytest.raises(NotApproved, match="2 people"):
        call(hospital, vault, agreed)


@pytest.mark.parametrize(
    "change",
    [
        lambda key: owner_actions.AdoptPolicy(policy=policy(approvers=1)),
        lambda key: owner_actions.AdoptPolicy(
            policy=policy(Budget(epsilon=80.0, delta=1e-5), approvers=2)
        ),
        lambda key: owner_actions.RemoveParty(name="hospital-2"),
        lambda key: introduction(replace(NEWCOMER, verify_key=public(key))),
        lambda key: owner_actions.EnrollApprover(
            name="third", verify_key=public(SigningKey.generate())
        ),
    ],
)
def test_one_person_alone_changes_no_rule(
    hospital: OneHospital,
    vault: Vault,
    second: SigningKey,
    change: Callable[[SigningKey], owner_actions.RuleChange],
) -> None:
    before = hospital.perform(vault, owner_actions.GetSiteStatus())
    action = change(second)
    assert hospital.perform(vault, action, key=second).missing == 1
    again = replace(action, action_id="f" * 32)
    assert hospital.perform(vault, again, key=second).missing == 1, "twice the same person"
    status = hospital.perform(vault, owner_actions.GetSiteStatus())
    assert replace(status, waiting=()) == before
    assert {who for _, _, who in status.waiting} == {public(second)}
    assert hospital.perform(vault, replace(action, action_id="e" * 32)).missing == 0
    after = hospital.perform(vault, owner_actions.GetSiteStatus())
    assert after != before
    assert not after.waiting


def test_either_of_two_can_say_no_alone(
    hospital: OneHospital, vault: Vault, second: SigningKey
) -> None:
    plan = hospital.plan()
    hospital.perform(vault, approval(plan))
    hospital.perform(vault, approval(plan), key=second)
    hospital.perform(vault, owner_actions.RevokePlan(plan_hash=plan.hash, reason="No."), key=second)
    with pytest.raises(NotApproved, match="revoked this plan"):
        call(hospital, vault, plan)
    assert hospital.perform(vault, approval(plan)).missing == 1, "both must approve again"


def test_one_approval_does_not_lift_anothers_no_for_a_standing_approval(
    hospital: OneHospital, vault: Vault, second: SigningKey
) -> None:
    plan = hospital.plan()
    standing = StandingApproval(
        plan_hash=plan.hash,
        researcher=RESEARCHER,
        asset_version=1,
        rounds=3,
        expires_unix_s=time.time() + 3600,
    )
    for key in (hospital.owner_key, second):
        wanted = owner_actions.AdoptPolicy(policy=policy(approvers=2, standing=(standing,)))
        hospital.perform(vault, wanted, key=key)
    vault.answer(vault_api.OfferPlan(plan=plan.encode().decode()), b"")
    assert call(hospital, vault, plan, 1)
    hospital.perform(
        vault, owner_actions.DenyPlan(plan_hash=plan.hash, reason="Not any more."), key=second
    )
    hospital.perform(vault, approval(plan))
    with pytest.raises(NotApproved, match="denied this plan"):
        call(hospital, vault, plan, 2)
    hospital.perform(vault, approval(plan), key=second)
    assert call(hospital, vault, plan, 2)


def test_who_leaves_takes_their_approvals_along(
    hospital: OneHospital, vault: Vault, second: SigningKey
) -> None:
    third = SigningKey.generate()
    for key in (hospital.owner_key, second):
        hospital.perform(
            vault, owner_actions.EnrollApprover(name="third", verify_key=public(third)), key=key
        )
    plan = hospital.plan()
    for key in (second, third):
        hospital.perform(vault, approval(plan), key=key)
    assert call(hospital, vault, plan)
    for key in (hospital.owner_key, third):
        hospital.perform(vault, owner_actions.RemoveApprover(verify_key=public(second)), key=key)
    with pytest.raises(NotApproved, match="and 1 did"):
        call(hospital, vault, plan, 2)
    with pytest.raises(InvalidMessage, match="somebody who decides"):
        hospital.perform(vault, approval(plan), key=second)


def test_who_left_may_not_come_back_under_another_name(hospital: OneHospital, vault: Vault) -> None:
    key = SigningKey.generate()
    plan = hospital.plan()
    hospital.perform(vault, owner_actions.EnrollApprover(name="short", verify_key=public(key)))
    hospital.perform(vault, approval(plan), key=key)
    hospital.perform(vault, owner_actions.RemoveApprover(verify_key=public(key)))
    with pytest.raises(Refused, match="nobody else's"):
        hospital.perform(vault, owner_actions.EnrollApprover(name="again", verify_key=public(key)))
    assert not vault._db.approvals.of_plan(plan.hash)


def test_an_act_of_somebody_who_left_meanwhile_does_nothing(
    hospital: OneHospital, vault: Vault, second: SigningKey
) -> None:
    third = SigningKey.generate()
    for key in (hospital.owner_key, second):
        hospital.perform(
            vault, owner_actions.EnrollApprover(name="third", verify_key=public(third)), key=key
        )
    heard = owner_actions.EnrollApprover(name="friend", verify_key=public(SigningKey.generate()))
    signed = signed_action(heard, third)
    vault.check_action(signed)  # they were heard while they still decided here
    for key in (hospital.owner_key, second):
        hospital.perform(vault, owner_actions.RemoveApprover(verify_key=public(third)), key=key)
    with pytest.raises(InvalidMessage, match="somebody who decides"):
        vault._approvers.change_rules(heard, public(third), signed.action)
    with pytest.raises(InvalidMessage, match="somebody who decides"):
        late = owner_actions.RevokePlan(plan_hash="0" * 64, reason="Late.")
        vault._authorizer.refuse(late, public(third), signed_action(late, third).action)
    assert len(vault._approvers.approvers()) == 2


def test_signatures_that_wait_are_void_once_the_rules_are_others(
    hospital: OneHospital, vault: Vault, second: SigningKey
) -> None:
    high = owner_actions.AdoptPolicy(policy=policy(Budget(epsilon=100.0, delta=1e-5), approvers=2))
    low = owner_actions.AdoptPolicy(policy=policy(Budget(epsilon=1.0, delta=1e-5), approvers=2))
    assert hospital.perform(vault, high).missing == 1
    for key in (hospital.owner_key, second):
        hospital.perform(vault, replace(low, action_id=public(key)[:32]), key=key)
    assert hospital.perform(vault, replace(high, action_id="f" * 32), key=second).missing == 1
    assert vault._approvers.policy().terms.epsilon == 1.0


@pytest.mark.parametrize(
    "change",
    [
        {"rounds": 0},
        {"rounds": -5},
        {"expires_unix_s": 1.0},
        {"expires_unix_s": 1e300},
        {"researcher": " "},
    ],
)
def test_an_approval_of_nothing_is_none(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage):
        approval(any_plan(), **change)


def test_the_rule_can_not_be_made_impossible(
    hospital: OneHospital, vault: Vault, second: SigningKey
) -> None:
    with pytest.raises(Refused, match="as many people"):
        hospital.perform(vault, owner_actions.RemoveApprover(verify_key=public(second)))
    with pytest.raises(Refused, match="nobody else's"):
        hospital.perform(vault, owner_actions.EnrollApprover(name="second", verify_key="0" * 64))


def test_a_policy_with_two_approvers_needs_two_people(hospital: OneHospital, vault: Vault) -> None:
    with pytest.raises(Refused, match="enroll another first"):
        hospital.perform(vault, owner_actions.AdoptPolicy(policy=policy(approvers=2)))


def test_whoever_submits_does_not_approve(hospital: OneHospital, vault: Vault) -> None:
    researcher = hospital.keys.researcher
    hospital.perform(
        vault, owner_actions.EnrollApprover(name="both", verify_key=public(researcher))
    )
    for key in (hospital.owner_key, researcher):
        with pytest.raises(NotApproved, match="let another person submit"):
            hospital.perform(vault, approval(hospital.plan()), key=key)


# The policy in force


def test_without_a_policy_nothing_is_published_or_approved(hospital: OneHospital) -> None:
    vault = Vault(hospital.site)
    body = cohort_file.pack(cohort())
    try:
        with pytest.raises(Refused, match="adopt one first"):
            hospital.perform(vault, publication(body), body)
    finally:
        vault.close()


def test_a_budget_is_raised_by_a_signed_act_and_by_nothing_else(
    hospital: OneHospital, vault: Vault
) -> None:
    plan = hospital.plan()
    one = accounting.epsilon([accounting.event(plan, "train")], delta=1e-5)
    hospital.perform(
        vault, owner_actions.AdoptPolicy(policy=policy(Budget(epsilon=one * 1.01, delta=1e-5)))
    )
    hospital.perform(vault, approval(plan, budget=Budget(epsilon=100.0, delta=1e-5)))
    call(hospital, vault, plan, 1)
    with pytest.raises(BudgetExceeded):
        call(hospital, vault, plan, 2)
    hospital.site.policy.write_text("epsilon = 100.0\n")
    body = cohort_file.pack(cohort(seed=3))
    hospital.perform(vault, publication(body, asset="skin-again"), body)
    with pytest.raises(BudgetExceeded):
        call(hospital, vault, plan, 2)
    own = AssetBudget(name="skin-lesions", budget=BUDGET)
    hospital.perform(
        vault,
        owner_actions.AdoptPolicy(policy=policy(Budget(epsilon=one, delta=1e-5), assets=(own,))),
    )
    with pytest.raises(BudgetExceeded):
        call(hospital, vault, plan, 2)  # skin-again holds the same patients, at the old budget
    hospital.perform(vault, owner_actions.AdoptPolicy(policy=policy(BUDGET)))
    assert call(hospital, vault, plan, 2)


def test_the_same_patients_under_another_name_have_one_budget(
    hospital: OneHospital, vault: Vault
) -> None:
    plan = hospital.plan(evaluation=None)
    one = accounting.epsilon([accounting.event(plan, "train")], delta=1e-5)
    hospital.perform(
        vault, owner_actions.AdoptPolicy(policy=policy(Budget(epsilon=one * 1.01, delta=1e-5)))
    )
    body = cohort_file.pack(cohort(seed=3))
    hospital.perform(vault, publication(body, asset="skin-again"), body)
    entries = tuple(replace(h, asset="skin-again") for h in plan.hospitals)
    other = replace(plan, hospitals=entries)
    hospital.perform(vault, approval(plan))
    hospital.perform(vault, approval(other, asset="skin-again"))
    call(hospital, vault, plan)
    with pytest.raises(BudgetExceeded):
        call(hospital, vault, other)
    account = hospital.perform(vault, owner_actions.GetLedger(asset="skin-again"))
    assert account.sharing == ("skin-lesions",)
    assert account.spent_epsilon == pytest.approx(one)


def test_a_new_version_may_not_swap_the_groups_under_the_same_rule(
    hospital: OneHospital, vault: Vault
) -> None:
    swapped = replace(cohort(), held_out=~cohort().held_out)
    body = cohort_file.pack(swapped)
    for asset in ("skin-lesions", "again"):
        with pytest.raises(Refused, match="stay in the group"):
            hospital.perform(vault, publication(body, asset=asset), body)
    assert vault._db.assets.newest_version("skin-lesions") == 1


def test_a_rule_with_a_name_that_can_not_be_written_again_is_refused(
    hospital: OneHospital, vault: Vault
) -> None:
    body = cohort_file.pack(cohort()).replace(b"every fourth", b"every f\xffurth")
    with pytest.raises(InvalidData, match="ASCII"):
        hospital.perform(vault, publication(body), body)


@pytest.mark.parametrize("change", [{"asset": "A/../b"}, {"patients": 0}, {"patients": -5}])
def test_a_publication_of_nonsense_is_none(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessage, match="name its asset"):
        publication(b"x", **change)


def test_the_same_patients_may_not_be_held_out_by_another_rule_elsewhere(
    hospital: OneHospital, vault: Vault
) -> None:
    split = replace(cohort(), split_rule="every fifth")
    body = cohort_file.pack(split)
    with pytest.raises(Refused, match="by the rule of skin-lesions"):
        hospital.perform(vault, publication(body, split_rule="every fifth", asset="again"), body)
    with pytest.raises(InvalidMessage, match="split by the rule"):
        hospital.perform(vault, publication(body, asset="again"), body)


def test_a_policy_that_tightens_stops_plans_that_were_approved_before(
    hospital: OneHospital, vault: Vault, agreed: Plan
) -> None:
    assert call(hospital, vault, agreed)
    hospital.perform(vault, owner_actions.AdoptPolicy(policy=policy(min_noise_multiplier=5.0)))
    with pytest.raises(NotApproved, match="at least 5, the plan has 1"):
        call(hospital, vault, agreed, 2)


def test_a_standing_approval_runs_its_plan_and_no_other(
    hospital: OneHospital, vault: Vault
) -> None:
    plan = hospital.plan()
    standing = StandingApproval(
        plan_hash=plan.hash,
        researcher=RESEARCHER,
        asset_version=1,
        rounds=1,
        expires_unix_s=time.time() + 3600,
    )
    offer = vault_api.OfferPlan(plan=plan.encode().decode())
    with pytest.raises(NotApproved, match="owner will decide"):
        vault.answer(offer, b"")
    hospital.perform(vault, owner_actions.AdoptPolicy(policy=policy(standing=(standing,))))
    with pytest.raises(NotApproved, match="No data owner here"):
        call(hospital, vault, plan)
    vault.answer(offer, b"")
    assert call(hospital, vault, plan, 1)
    with pytest.raises(NotApproved, match="covers 1 rounds"):
        call(hospital, vault, plan, 2)
    other = hospital.plan(study="another")
    with pytest.raises(NotApproved):
        vault.answer(vault_api.OfferPlan(plan=other.encode().decode("ascii")), b"")
    hospital.perform(vault, owner_actions.DenyPlan(plan_hash=plan.hash, reason="Not any more."))
    with pytest.raises(NotApproved, match="denied this plan"):
        call(hospital, vault, plan, 2)
    with pytest.raises(NotApproved):
        vault.answer(offer, b"")


def test_rounds_that_ran_are_not_counted_a_second_time(
    hospital: OneHospital, vault: Vault, agreed: Plan
) -> None:
    asked = owner_actions.GetPlanStatus(plan=agreed.encode().decode("ascii"), researcher=RESEARCHER)
    before = hospital.perform(vault, asked)
    call(hospital, vault, agreed, 1)
    call(hospital, vault, agreed, 2)
    after = hospital.perform(vault, replace(asked, action_id="f" * 32))
    assert (before.after_epsilon, after.after_epsilon) == (before.study_epsilon,) * 2
    assert (before.rounds_called, after.rounds_called) == (0, 2)


# What the researcher reads of a no


def test_a_researcher_reads_a_fixed_sentence_unless_the_policy_tells_why(
    hospital: OneHospital, vault: Vault, agreed: Plan
) -> None:
    hospital.perform(
        vault, owner_actions.RevokePlan(plan_hash=agreed.hash, reason="A secret reason.")
    )
    asked = vault_api.StartRound(call=hospital.call(agreed, 1))
    with pytest.raises(NotApproved, match="A secret reason"):
        vault.answer(asked, hospital.weights(agreed))
    hospital.perform(vault, owner_actions.AdoptPolicy(policy=policy(tell_researchers=False)))
    with pytest.raises(Refused) as refusal:
        vault.answer(asked, hospital.weights(agreed))
    assert (type(refusal.value), str(refusal.value)) == (Refused, NO_PART)
    unknown = hospital.plan(study="never-seen")
    with pytest.raises(Refused) as same:
        vault.answer(
            vault_api.StartRound(call=hospital.call(unknown, 1)), hospital.weights(unknown)
        )
    assert (type(same.value), str(same.value)) == (Refused, NO_PART)


# One changed byte after the approval


def tampered(vault: Vault, sql: str, *values: str) -> None:
    database = sqlite3.connect(vault._db.database._path)
    with database:
        assert database.execute(sql, values).rowcount >= 1
    database.close()


def test_one_changed_byte_of_the_asset_is_refused(
    hospital: OneHospital, vault: Vault, agreed: Plan
) -> None:
    (path,) = (hospital.site.vault / "cohorts").iterdir()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(NotApproved, match="must be the bytes that its owner published"):
        call(hospital, vault, agreed)
    path.unlink()
    with pytest.raises(NotApproved, match="changed or removed"):
        call(hospital, vault, agreed)
    assert not vault._db.ledger.events("skin-lesions")


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE approval SET message = replace(message, ':8', ':9')", "was changed after"),
        ("UPDATE approval SET signature = replace(signature, 'a', 'b')", "was changed after"),
        (
            "UPDATE owner_action SET message = replace(message, ':8,', ':9,') WHERE name = 'AdoptPolicy'",
            "was changed after",
        ),
        (
            "UPDATE owner_action SET message = replace(message, 'of hospital-2', 'of hospital-4') "
            "WHERE name = 'AddParty'",
            "was changed after",
        ),
        ("UPDATE plan SET plan = replace(plan, '\"rounds\":3', '\"rounds\":4')", "bytes"),
    ],
)
def test_one_changed_byte_of_what_the_vault_keeps_is_refused(
    hospital: OneHospital, vault: Vault, agreed: Plan, sql: str, words: str
) -> None:
    tampered(vault, sql)
    with pytest.raises(NotApproved, match=words):
        call(hospital, vault, agreed)


def test_an_approval_moved_to_another_plan_is_refused(
    hospital: OneHospital, vault: Vault, agreed: Plan
) -> None:
    other = hospital.plan(study="other")
    vault._db.approvals.keep_plan(other)
    tampered(vault, "UPDATE approval SET plan_hash = ?", other.hash)
    with pytest.raises(NotApproved, match="must all be for"):
        call(hospital, vault, other)


def test_a_roster_with_a_party_that_was_removed_is_refused(
    hospital: OneHospital, vault: Vault, agreed: Plan
) -> None:
    hospital.perform(vault, owner_actions.RemoveParty(name="aggregator-1"))
    with pytest.raises(NotApproved, match="not known: aggregator-1"):
        call(hospital, vault, agreed)


def test_a_plan_with_another_key_for_this_hospital_is_not_approved(
    hospital: OneHospital, vault: Vault
) -> None:
    plan = hospital.plan()
    first, second, third = plan.hospitals
    crossed = (
        replace(first, verify_key=second.verify_key),
        replace(second, verify_key=first.verify_key),
        third,
    )
    with pytest.raises(NotApproved, match="own key"):
        hospital.perform(vault, approval(replace(plan, hospitals=crossed)))


def test_reading_the_books_needs_a_signature_too(hospital: OneHospital, vault: Vault) -> None:
    for action in (
        owner_actions.GetLedger(asset="skin-lesions"),
        owner_actions.GetRemarks(asset="skin-lesions"),
        owner_actions.GetSiteStatus(),
        owner_actions.ExportAuditLog(),
    ):
        with pytest.raises(InvalidMessage, match="somebody who decides"):
            hospital.perform(vault, action, key=SigningKey.generate())
