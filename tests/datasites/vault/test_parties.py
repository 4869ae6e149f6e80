"""An owner vouches for parties, by name, key and words; nobody is trusted because a plan says so."""

import time
from dataclasses import replace

import pytest
from nacl.signing import SigningKey

from datasites.protocol import owner_actions, vault_api
from datasites.vault.vault import Vault
from syft_code.errors import NotApproved, Refused
from syft_code.evidence import audit_chain
from syft_code.plans.plan import Plan
from tests.datasites.hospitals import OneHospital, approval, introduction, policy
from tests.plans import NEWCOMER, parties, public


def status(hospital: OneHospital, vault: Vault) -> vault_api.SiteStatus:
    answer: vault_api.SiteStatus = hospital.perform(vault, owner_actions.GetSiteStatus())
    return answer


def names(hospital: OneHospital, vault: Vault) -> list[str]:
    return [one.party.name for one in status(hospital, vault).known]


def with_second_key(agreed: Plan, key: str) -> Plan:
    """The plan with somebody else's key under the name of hospital-2."""
    first, second, third = agreed.hospitals
    return replace(agreed, hospitals=(first, replace(second, verify_key=key), third))


def test_a_party_has_its_institution_its_operator_who_added_it_and_when(
    hospital: OneHospital, vault: Vault
) -> None:
    before = time.time()
    hospital.perform(vault, introduction(NEWCOMER))
    newest = status(hospital, vault).known[-1]
    assert (newest.party, newest.added_by) == (NEWCOMER, "owner")
    assert before <= newest.added_at_unix_s <= time.time()


def test_a_plan_that_brings_a_stranger_as_a_known_party_makes_nobody_known(
    hospital: OneHospital, vault: Vault
) -> None:
    before = status(hospital, vault)
    plan = with_second_key(hospital.plan(), NEWCOMER.verify_key)
    question = owner_actions.GetPlanStatus(plan=plan.encode().decode(), researcher="alice")
    said = hospital.perform(vault, question)
    assert said.verdict == "deny" and "not known: hospital-2. Ask" in said.weighed
    with pytest.raises(NotApproved, match="not known: hospital-2"):
        hospital.perform(vault, approval(plan))
    with pytest.raises(NotApproved):
        vault.answer(vault_api.OfferPlan(plan=plan.encode().decode()), b"")
    assert status(hospital, vault) == before


def test_known_parties_under_each_others_names_are_strangers(
    hospital: OneHospital, vault: Vault
) -> None:
    plan = hospital.plan()
    first, second, third = plan.hospitals
    swapped = (first, replace(second, name=third.name), replace(third, name=second.name))
    with pytest.raises(NotApproved, match="not known: hospital-3, hospital-2"):
        hospital.perform(vault, approval(replace(plan, hospitals=swapped)))


def test_one_operators_hospitals_do_not_hide_this_one(hospital: OneHospital, vault: Vault) -> None:
    for party in parties(hospital.plan(), hospital_2="Chain", hospital_3="Chain")[1:3]:
        hospital.perform(vault, owner_actions.RemoveParty(name=party.name))
        hospital.perform(vault, introduction(party))
    with pytest.raises(NotApproved, match=r"one operator's counting once; .* may hold 2"):
        hospital.perform(vault, approval(hospital.plan()))


def test_a_party_whose_words_were_not_heard_is_refused(hospital: OneHospital, vault: Vault) -> None:
    first, second, *rest = NEWCOMER.words.split()
    anothers = parties(hospital.plan())[1].words
    missing, exchanged = " ".join([second, *rest]), " ".join([second, first, *rest])
    for heard in (anothers, missing, exchanged, ""):
        with pytest.raises(Refused, match=r"a word was misheard|12 words are needed") as refused:
            hospital.perform(vault, owner_actions.AddParty(party=NEWCOMER, words=heard))
        assert NEWCOMER.words not in str(refused.value), "the right words come from the party"
    assert "newcomer" not in names(hospital, vault)


KEY = public(SigningKey(bytes([7]) * 32))


TAKEN: list[tuple[dict[str, str], str]] = [
    ({"verify_key": KEY}, "hospital-2 is known here already, as another institution"),
    ({"institution": "Another"}, "hospital-2 is known here already, as another institution"),
    ({}, "hospital-2 is known here already, as this one"),
    ({"name": "another"}, "one of another's is known here as hospital-2's"),
    ({"name": "another", "seal_key": KEY}, "one of another's is known here as hospital-2's"),
    ({"name": "aggregator-1", "verify_key": KEY}, "aggregator-1 is known here already"),
]


def test_a_name_is_one_party_and_a_key_is_one_partys(hospital: OneHospital, vault: Vault) -> None:
    before = status(hospital, vault)
    for change, words in TAKEN:
        with pytest.raises(Refused, match=words):
            hospital.perform(vault, introduction(replace(parties(hospital.plan())[1], **change)))
    assert status(hospital, vault) == before


def test_a_removal_is_signed_logged_and_stops_a_plan_until_the_party_is_added_anew(
    hospital: OneHospital, vault: Vault, agreed: Plan
) -> None:
    hospital.perform(vault, owner_actions.RemoveParty(name="hospital-2"))
    assert "hospital-2" not in names(hospital, vault)
    with pytest.raises(NotApproved, match="not known: hospital-2"):
        vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed))
    entries = audit_chain.entries(vault._db.log.export())
    (removal,) = [entry for entry in entries if entry.kind == "action: RemoveParty"]
    assert removal.facts["signer"] == public(hospital.owner_key)
    with pytest.raises(Refused, match="must be known here, and 'hospital-2' is not"):
        hospital.perform(vault, owner_actions.RemoveParty(name="hospital-2"))
    hospital.perform(vault, introduction(parties(agreed)[1]))
    assert vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed))


def test_two_people_add_several_parties_side_by_side(hospital: OneHospital, vault: Vault) -> None:
    second = SigningKey.generate()
    enroll = owner_actions.EnrollApprover(name="second", verify_key=public(second))
    hospital.perform(vault, enroll)
    hospital.perform(vault, owner_actions.AdoptPolicy(policy=policy(approvers=2)))
    both = [NEWCOMER, replace(NEWCOMER, name="other", verify_key=KEY)]
    assert [hospital.perform(vault, introduction(one)).missing for one in both] == [1, 1]
    assert not {"newcomer", "other"} & set(names(hospital, vault))
    for one in both:
        assert hospital.perform(vault, introduction(one), key=second).missing == 0
    known = status(hospital, vault)
    assert [one.added_by for one in known.known[-2:]] == ["second", "second"]
    assert not known.waiting
    hospital.perform(vault, owner_actions.RemoveParty(name="other"))
    assert "other" in names(hospital, vault), "one alone removes nobody"
    assert (
        hospital.perform(
            vault, introduction(replace(NEWCOMER, name="x", verify_key="0" * 64))
        ).missing
        == 1
    )
