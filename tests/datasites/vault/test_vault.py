"""The vault does what an owner's signature covers, at the researcher's word, and no more."""

import contextlib
import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from datasites import private_files
from datasites.data import cohort_file, patient_hashing
from datasites.data.cohort_file import SplitCohort
from datasites.protocol import owner_actions, vault_api
from datasites.vault import airlock
from datasites.vault.vault import Vault
from policies.site_policy import Budget
from syft_code import canonical
from syft_code.errors import (
    BudgetExceeded,
    InvalidData,
    InvalidInput,
    InvalidMessage,
    NotApproved,
    Refused,
    Unavailable,
)
from syft_code.plans import messages
from syft_code.plans.messages import Ticket
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import DpSgd, Sgd
from syft_code.privacy import accounting, epsilons
from syft_code.runtime import durable_files
from syft_code.secret_sharing import envelope, sharing
from tests import opening
from tests.datasites.hospitals import (
    OneHospital,
    approval,
    cohort,
    policy,
    publication,
    signed_action,
)
from tests.plans import public


def test_an_approved_round_ends_in_one_sealed_share_for_each_aggregator(
    hospital: OneHospital, vault: Vault, agreed: Plan
) -> None:
    ticket = vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed))
    assert ticket.epsilon == pytest.approx(
        accounting.epsilon([accounting.event(agreed, "train")], delta=1e-5)
    )
    done = hospital.finished(vault, ticket)
    assert (done.state, done.step, done.steps) == ("done", 3, 3)
    values, weight = envelope.read_sum(agreed, "train", opened(hospital, vault, agreed, done))
    assert weight == 41, "the weight is the declared number of patients"
    assert np.abs(values).max() > 0


def opened(hospital: OneHospital, vault: Vault, plan: Plan, done: Ticket) -> sharing.Ring:
    """What the hospital has shared, as only all aggregators' keys together open it."""
    parties = range(1, len(plan.aggregators) + 1)
    shares = [envelope.SealedShare.from_bytes(vault.share(done.ticket, p)) for p in parties]
    keys = [bytes(seal) for seal in hospital.keys.seals]
    return opening.encoded(plan, done.purpose, shares, keys)


def test_the_shares_add_up_to_what_passed_the_airlock_bit_for_bit(
    hospital: OneHospital, vault: Vault, agreed: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[airlock.Vector] = []
    inspect = airlock.inspect

    def listening(*arguments: Any, **options: Any) -> airlock.Vector:
        passed.append(inspect(*arguments, **options))
        return passed[-1]

    monkeypatch.setattr(airlock, "inspect", listening)
    done = hospital.finished(
        vault, vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed))
    )
    total = opened(hospital, vault, agreed, done)
    (update,) = passed
    encoded = sharing.encode(update, agreed.sharing, hospitals=3, factor=41 / agreed.most_patients)
    assert np.array_equal(total[: len(update)], encoded)


def test_an_evaluation_gives_noised_sums(hospital: OneHospital, vault: Vault, agreed: Plan) -> None:
    call = hospital.call(agreed, 3, "evaluate")
    done = hospital.finished(vault, vault.start_round(call, hospital.weights(agreed)))
    assert done.state == "done"
    _, weight = envelope.read_sum(agreed, "evaluate", opened(hospital, vault, agreed, done))
    assert weight == 1
    with pytest.raises(InvalidMessage, match="no round 1 to evaluate"):
        vault.start_round(hospital.call(agreed, 1, "evaluate"), hospital.weights(agreed))


def strangers(patients: int, **changes: str) -> SplitCohort:
    """A cohort of people who are in no other, all of them to train on."""
    names = [f"stranger-{number}" for number in range(patients)]
    tokens = patient_hashing.tokens(names, bytes(32))
    nobody = np.zeros(patients, np.bool_)
    return replace(cohort(patients, seed=9), held_out=nobody, tokens=tokens, **changes)


def test_a_hospital_whose_card_says_that_it_holds_nobody_out_pays_for_no_evaluation(
    hospital: OneHospital, vault: Vault
) -> None:
    body = cohort_file.pack(strangers(40, split_rule="nobody"))
    shown = publication(body, split_rule="nobody", asset="moles", held_out=False)
    hospital.perform(vault, shown, body)
    mine = replace(hospital.plan().hospitals[0], asset="moles")
    agreed = hospital.plan(study="moles", hospitals=(mine, *hospital.plan().hospitals[1:]))
    hospital.perform(vault, approval(agreed, asset="moles"))
    with pytest.raises(Refused, match="hospital-1 holds no patient out, as its card"):
        vault.start_round(hospital.call(agreed, 3, "evaluate"), hospital.weights(agreed))
    spent = hospital.perform(vault, owner_actions.GetLedger(asset="moles"))
    assert spent.events == ()
    done = vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed))
    assert hospital.finished(vault, done).state == "done"


def test_an_evaluation_over_nobody_is_noise_and_fails_nothing(
    hospital: OneHospital, vault: Vault
) -> None:
    body = cohort_file.pack(strangers(1))
    hospital.perform(vault, publication(body, asset="moles"), body)
    mine = replace(hospital.plan().hospitals[0], asset="moles")
    agreed = hospital.plan(study="moles", hospitals=(mine, *hospital.plan().hospitals[1:]))
    hospital.perform(vault, approval(agreed, asset="moles"))
    call = hospital.call(agreed, 3, "evaluate")
    done = hospital.finished(vault, vault.start_round(call, hospital.weights(agreed)))
    assert done.state == "done"


def test_the_remarks_on_an_assets_patients_are_the_owners_to_read_again(
    hospital: OneHospital, vault: Vault
) -> None:
    remarks = ("4 rows were left out.", "All 40 patients are of the class 'nv'…")
    body = cohort_file.pack(replace(cohort(), remarks=remarks))
    hospital.perform(vault, publication(body, asset="skin-lesions"), body)
    kept = hospital.perform(vault, owner_actions.GetRemarks(asset="skin-lesions"))
    assert (kept.asset, kept.version, kept.remarks) == ("skin-lesions", 2, remarks)
    log = vault._db.log.export()
    ledger = canonical.encode(
        hospital.perform(vault, owner_actions.GetLedger(asset="skin-lesions"))
    )
    assert b"left out" not in log + ledger, "they count patients"
    path = vault._files.cohorts.path(vault._db.assets.newest("skin-lesions").cohort_sha256)
    path.write_bytes(body.replace(b"4 rows", b"5 rows"))
    with pytest.raises(NotApproved, match="must be the bytes that its owner published"):
        hospital.perform(vault, owner_actions.GetRemarks(asset="skin-lesions"))


def test_a_round_again_gives_the_same_ticket_and_the_same_bytes(
    hospital: OneHospital, vault: Vault, agreed: Plan
) -> None:
    done = hospital.finished(
        vault, vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed))
    )
    before = vault.share(done.ticket, 3)
    again = vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed))
    assert again == done
    assert vault.share(again.ticket, 3) == before


def test_the_vault_refuses_past_the_budget_and_still_after_a_restart(tmp_path: Path) -> None:
    one = accounting.event(OneHospital(home=tmp_path / "probe").plan(), "train")
    here = accounting.epsilon([one], delta=1e-5)
    more = accounting.epsilon([one, one], delta=1e-5)
    budget = Budget(epsilon=round((here + more) / 2, 2), delta=1e-5)
    hospital = OneHospital(home=tmp_path / "hospital-1", budget=budget)
    vault = Vault(hospital.site)
    hospital.publish(vault)
    agreed = hospital.plan()
    hospital.perform(vault, approval(agreed))
    hospital.finished(vault, vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed)))
    for _ in range(2):
        left = epsilons.at_most(budget.epsilon - here)
        with pytest.raises(BudgetExceeded, match=f"{left} is left"):
            vault.start_round(hospital.call(agreed, 2), hospital.weights(agreed))
        vault.close()
        vault = Vault(hospital.site)
    vault.close()


def test_a_new_version_of_an_asset_keeps_what_was_spent_and_needs_a_new_approval(
    hospital: OneHospital, vault: Vault, agreed: Plan
) -> None:
    hospital.finished(vault, vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed)))
    body = cohort_file.pack(cohort(seed=1))
    accepted = hospital.perform(vault, publication(body), body)
    assert isinstance(accepted, vault_api.Accepted)
    assert accepted.version == 2
    account = hospital.perform(vault, owner_actions.GetLedger(asset="skin-lesions"))
    assert isinstance(account, vault_api.LedgerSummary)
    assert account.spent_epsilon > 0
    with pytest.raises(NotApproved, match="now at version 2"):
        vault.start_round(hospital.call(agreed, 2), hospital.weights(agreed))


def test_a_round_that_was_cut_by_a_restart_says_so_and_runs_again_on_its_price(
    hospital: OneHospital, vault: Vault, agreed: Plan
) -> None:
    ticket = vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed))
    vault.close()
    restarted = Vault(hospital.site)
    try:
        with pytest.raises(Refused, match="again"):
            restarted.ticket(ticket.ticket)
        again = restarted.start_round(hospital.call(agreed, 1), hospital.weights(agreed))
        assert hospital.finished(restarted, again).state == "done"
        account = hospital.perform(restarted, owner_actions.GetLedger(asset="skin-lesions"))
        assert isinstance(account, vault_api.LedgerSummary)
        assert len(account.events) == 1, "charged once"
    finally:
        restarted.close()


@pytest.mark.parametrize("who", ["the worker", "its template"])
def test_the_training_process_may_die_and_the_round_fails_with_a_sentence(
    hospital: OneHospital, vault: Vault, who: str
) -> None:
    long = DpSgd(noise_multiplier=5.0, max_grad_norm=1.0, sample_rate=0.5, steps=20_000)
    slow = hospital.plan(dp_sgd=long)
    with pytest.raises(BudgetExceeded):
        hospital.perform(vault, approval(slow))
        vault.start_round(hospital.call(slow, 1), hospital.weights(slow))
    _, ticket = long_round(hospital, vault)
    template = vault._worker._template
    assert template is not None
    family = psutil.Process(template.process.pid).children(recursive=True)
    (worker,) = [one for one in family if not one.children()]
    dying = worker if who == "the worker" else worker.parent()
    assert dying is not None
    dying.kill()
    failed = hospital.finished(vault, ticket)
    assert failed.state == "failed"
    assert "nothing left the hospital" in failed.sentence


def long_round(hospital: OneHospital, vault: Vault) -> tuple[Plan, Ticket]:
    """A round that would take minutes, under way."""
    dp = DpSgd(noise_multiplier=300.0, max_grad_norm=1.0, sample_rate=0.5, steps=20_000)
    plan = hospital.plan(dp_sgd=dp)
    hospital.perform(vault, approval(plan))
    ticket = vault.start_round(hospital.call(plan, 1), hospital.weights(plan))
    deadline = time.monotonic() + 60
    while vault.ticket(ticket.ticket).step == 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return plan, ticket


@pytest.mark.parametrize("how", ["a revocation", "a stricter policy"])
def test_a_round_under_way_ends_when_it_may_not_run_any_more(
    hospital: OneHospital, vault: Vault, how: str
) -> None:
    plan, ticket = long_round(hospital, vault)
    action: owner_actions.OwnerAction = owner_actions.RevokePlan(
        plan_hash=plan.hash, reason="A patient withdrew consent."
    )
    if how == "a stricter policy":
        action = owner_actions.AdoptPolicy(policy=policy(min_noise_multiplier=1000.0))
    hospital.perform(vault, action)
    failed = hospital.finished(vault, ticket)
    assert failed.state == "failed"
    other = hospital.plan(study="other")
    hospital.perform(vault, owner_actions.AdoptPolicy(policy=policy()))
    hospital.perform(vault, approval(other))
    again = vault.start_round(hospital.call(other, 1), hospital.weights(other))
    assert hospital.finished(vault, again).state == "done", "others go on"


def test_a_round_under_way_goes_on_when_another_plan_is_revoked(
    hospital: OneHospital, vault: Vault
) -> None:
    _, ticket = long_round(hospital, vault)
    other = hospital.plan(study="other")
    hospital.perform(vault, approval(other))
    hospital.perform(vault, owner_actions.RevokePlan(plan_hash=other.hash, reason="No."))
    step = vault.ticket(ticket.ticket).step
    deadline = time.monotonic() + 30
    while vault.ticket(ticket.ticket).step <= step:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_was_taken_back_while_it_ran_does_not_leave(
    hospital: OneHospital, vault: Vault, agreed: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = durable_files.write_durably
    revocation = owner_actions.RevokePlan(plan_hash=agreed.hash, reason="Just in time.")

    def revoked_at_the_last_share(path: Path, data: bytes) -> None:
        write(path, data)
        if len(list((hospital.site.vault / "sealed").iterdir())) == len(agreed.aggregators):
            with contextlib.suppress(InvalidMessage):  # the next files find it done
                hospital.perform(vault, revocation)

    monkeypatch.setattr(durable_files, "write_durably", revoked_at_the_last_share)
    ticket = vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed))
    failed = hospital.finished(vault, ticket)
    assert failed.state == "failed"
    assert "Just in time" in failed.sentence
    assert not list((hospital.site.vault / "sealed").iterdir())


def test_a_call_is_judged_by_what_is_in_force_when_it_is_paid(
    hospital: OneHospital, vault: Vault, agreed: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slowly(digest: str) -> None:
        action = owner_actions.RevokePlan(plan_hash=agreed.hash, reason="While you were reading.")
        hospital.perform(vault, action)

    monkeypatch.setattr(vault._files.cohorts, "check", slowly)
    with pytest.raises(NotApproved, match="While you were reading"):
        vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed))
    assert not vault._db.ledger.events("skin-lesions")


def test_weights_that_blow_up_stay_in_the_hospital(hospital: OneHospital, vault: Vault) -> None:
    wild = hospital.plan(optimizer=Sgd(learning_rate=1e30))
    hospital.perform(vault, approval(wild))
    ticket = vault.start_round(hospital.call(wild, 1), hospital.weights(wild))
    failed = hospital.finished(vault, ticket)
    assert failed.state == "failed"
    assert "stays here" in failed.sentence
    with pytest.raises(Refused):
        vault.share(failed.ticket, 1)
    again = vault.start_round(hospital.call(wild, 1), hospital.weights(wild))
    assert again == failed, "whether it fails depends on the noised result: one try is paid for"


def test_shares_that_can_not_be_written_down_fail_the_round_in_words(
    hospital: OneHospital, vault: Vault, agreed: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = durable_files.write_durably

    def full(path: Path, data: bytes) -> None:
        if path.parent.name == "sealed":
            raise OSError("No space left on device")
        write(path, data)

    monkeypatch.setattr(durable_files, "write_durably", full)
    ticket = vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed))
    failed = hospital.finished(vault, ticket)
    assert failed.state == "failed"
    assert "owner's log" in failed.sentence
    assert len(vault._db.ledger.events("skin-lesions")) == 1, "paid, and over"


def test_price_ticket_and_log_are_written_together_or_not_at_all(
    hospital: OneHospital, vault: Vault, agreed: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(vault._db.tickets, "open", crash)
        vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed))
    assert not vault._db.ledger.events("skin-lesions")
    assert vault._db.log.count("round reserved") == 0
    ticket = vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed))
    assert hospital.finished(vault, ticket).state == "done"
    assert len(vault._db.ledger.events("skin-lesions")) == 1


def test_a_round_that_is_queued_when_its_approval_is_revoked_does_not_run(
    hospital: OneHospital, vault: Vault, agreed: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue: list[tuple[object, ...]] = []
    with monkeypatch.context() as patched:
        patched.setattr(vault._rounds._queue, "submit", lambda *call: queue.append(call))
        ticket = vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed))
    hospital.perform(
        vault, owner_actions.RevokePlan(plan_hash=agreed.hash, reason="consent withdrawn")
    )
    vault._rounds._queue.submit(*queue[0])  # type: ignore[arg-type]
    failed = hospital.finished(vault, ticket)
    assert failed.state == "failed"
    assert "revoked this plan: consent withdrawn" in failed.sentence


def test_a_new_version_may_not_move_patients_between_the_groups(
    hospital: OneHospital, vault: Vault
) -> None:
    body = cohort_file.pack(replace(cohort(seed=1), split_rule="every fifth"))
    with pytest.raises(Refused, match="by the rule of skin-lesions"):
        hospital.perform(vault, publication(body, split_rule="every fifth"), body)
    assert vault._db.assets.newest_version("skin-lesions") == 1


@pytest.mark.parametrize("kind", [owner_actions.DenyPlan, owner_actions.RevokePlan])
def test_taking_an_approval_back_needs_a_reason(kind: type[owner_actions.RevokePlan]) -> None:
    with pytest.raises(InvalidMessage, match="The sentence of a"):
        kind(plan_hash="0" * 64, reason=" ")


def test_a_folder_has_one_vault_at_a_time(hospital: OneHospital, vault: Vault) -> None:
    with pytest.raises(Unavailable, match="another one uses it"):
        Vault(hospital.site)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"hospital": "hospital-2"}, InvalidMessage),
        ({"plan_hash": "0" * 64}, NotApproved),
        ({"weights_sha256": "0" * 64}, InvalidMessage),
    ],
)
def test_a_call_for_something_else_is_refused(
    hospital: OneHospital,
    vault: Vault,
    agreed: Plan,
    changes: dict[str, str],
    error: type[Exception],
) -> None:
    with pytest.raises(error):
        vault.start_round(hospital.call(agreed, 1, **changes), hospital.weights(agreed))
    assert not vault._db.ledger.events("skin-lesions"), "nothing is spent on a refusal"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_cost_nothing(
    hospital: OneHospital, vault: Vault, agreed: Plan, value: float
) -> None:
    weights = np.frombuffer(hospital.weights(agreed), "<f4").copy()
    weights[-1] = value
    call = hospital.call(agreed, 1, weights_sha256=canonical.sha256(weights.tobytes()))
    with pytest.raises(InvalidMessage, match="finite"):
        vault.start_round(call, weights.tobytes())
    assert not vault._db.ledger.events("skin-lesions")


@pytest.mark.parametrize("number", [0, -1, 4, 10**9])
def test_a_round_that_the_plan_does_not_have_is_refused(
    hospital: OneHospital, vault: Vault, agreed: Plan, number: int
) -> None:
    with pytest.raises(InvalidMessage, match="no round"):
        vault.start_round(hospital.call(agreed, number), hospital.weights(agreed))
    assert vault._db.log.count("round refused") == 0, "there is no end of such rounds"


def test_a_finished_share_that_was_not_fetched_stays_when_the_approval_is_revoked(
    hospital: OneHospital, vault: Vault, agreed: Plan
) -> None:
    done = hospital.finished(
        vault, vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed))
    )
    assert vault.share(done.ticket, 1)
    hospital.perform(
        vault, owner_actions.RevokePlan(plan_hash=agreed.hash, reason="consent withdrawn")
    )
    with pytest.raises(Refused, match="takes no part"):
        vault.share(done.ticket, 1)


def test_a_call_by_another_researcher_is_refused(
    hospital: OneHospital, vault: Vault, agreed: Plan
) -> None:
    signed = hospital.call(agreed, 1)
    forged = replace(signed, signature=messages.sign(agreed, SigningKey.generate()).signature)
    with pytest.raises(InvalidMessage, match="signature"):
        vault.start_round(forged, hospital.weights(agreed))


def test_an_expired_approval_covers_nothing(hospital: OneHospital, vault: Vault) -> None:
    agreed = hospital.plan()
    hospital.perform(vault, approval(agreed, expires_unix_s=time.time() + 0.2))
    time.sleep(0.3)
    with pytest.raises(NotApproved, match="expired"):
        vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed))


def test_a_revoked_approval_covers_nothing_until_the_owner_approves_again(
    hospital: OneHospital, vault: Vault, agreed: Plan
) -> None:
    inquiry = owner_actions.GetLedger(asset="skin-lesions")
    assert hospital.perform(vault, inquiry).in_force == (agreed.hash,)
    hospital.perform(
        vault, owner_actions.RevokePlan(plan_hash=agreed.hash, reason="consent withdrawn")
    )
    assert hospital.perform(vault, inquiry).in_force == ()
    with pytest.raises(NotApproved):
        vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed))
    hospital.perform(vault, approval(agreed))
    assert vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed))


@pytest.mark.parametrize(
    "change",
    [
        {"asset_version": 2},
        {"asset": "other"},
        {"code_sha256": "0" * 64},
    ],
)
def test_an_approval_that_does_not_fit_is_not_kept(
    hospital: OneHospital, vault: Vault, change: dict[str, object]
) -> None:
    with pytest.raises((NotApproved, Refused)):
        hospital.perform(vault, approval(hospital.plan(), **change))


def test_a_roster_with_a_party_that_the_owner_does_not_know_is_not_approved(
    hospital: OneHospital, vault: Vault
) -> None:
    agreed = hospital.plan()
    sybil = replace(agreed.hospitals[2], name="sybil", verify_key=public(SigningKey.generate()))
    tapped = replace(agreed.aggregators[0], seal_key=bytes(PrivateKey.generate().public_key).hex())
    for roster in (
        {"hospitals": (*agreed.hospitals[:2], sybil)},
        {"aggregators": (tapped, *agreed.aggregators[1:])},
    ):
        with pytest.raises(NotApproved, match="not known"):
            hospital.perform(vault, approval(replace(agreed, **roster)))


def test_one_changed_byte_of_a_plan_is_another_plan(
    hospital: OneHospital, vault: Vault, agreed: Plan
) -> None:
    changed = replace(agreed, optimizer=replace(agreed.optimizer, learning_rate=0.25))
    with pytest.raises(NotApproved):
        vault.start_round(hospital.call(changed, 1), hospital.weights(changed))


def test_an_act_that_the_owner_did_not_sign_just_now_is_refused(
    hospital: OneHospital, vault: Vault
) -> None:
    action = approval(hospital.plan())
    with pytest.raises(InvalidMessage, match="somebody who decides"):
        hospital.perform(vault, action, key=SigningKey.generate())
    forged = replace(
        signed_action(action, SigningKey.generate()), signer=public(hospital.owner_key)
    )
    with pytest.raises(InvalidMessage, match="signature"):
        vault.answer(forged, b"")
    hospital.perform(vault, action)
    with pytest.raises(InvalidMessage, match="used before"):
        hospital.perform(vault, action)
    with pytest.raises(InvalidMessage, match="old"):
        hospital.perform(vault, approval(hospital.plan(), at_unix_s=time.time() - 3600))
    denial = owner_actions.DenyPlan(plan_hash="0" * 64, reason="y")
    renamed = replace(signed_action(denial, hospital.owner_key), name="RevokePlan")
    with pytest.raises(InvalidMessage, match="signature"):
        vault.answer(renamed, b"")


def test_a_cohort_that_is_not_what_was_signed_is_not_published(
    hospital: OneHospital, vault: Vault
) -> None:
    body = cohort_file.pack(cohort())
    with pytest.raises(InvalidMessage, match="bytes that the publication names"):
        hospital.perform(vault, publication(body), body + b"x")
    with pytest.raises(InvalidData):
        hospital.perform(vault, publication(b"no cohort"), b"no cohort")
    assert vault._db.assets.newest_version("skin-lesions") == 1
    assert len(list((hospital.site.vault / "cohorts").iterdir())) == 1


def test_a_half_written_folder_is_refused_with_what_to_do(
    hospital: OneHospital, vault: Vault
) -> None:
    vault.close()
    (hospital.site.owner / "key").unlink()
    with pytest.raises(Unavailable, match="half written"):
        OneHospital(home=hospital.home, keys=hospital.keys)


def test_a_request_of_an_unknown_kind_is_refused(vault: Vault) -> None:
    with pytest.raises(InvalidInput):
        vault.answer(object(), b"")
    with pytest.raises(Refused, match="no such ticket"):
        vault.ticket("0" * 32)
    with pytest.raises(InvalidMessage):
        canonical.parse(vault_api.Request, b'{"kind":"eval"}', what="request")


def test_the_vaults_files_are_its_owners_alone(
    hospital: OneHospital, vault: Vault, agreed: Plan
) -> None:
    hospital.finished(vault, vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed)))
    for path in (hospital.site.vault / "cohorts").iterdir():
        assert path.stat().st_mode & 0o077 == 0
    for path in (hospital.site.vault / "sealed").iterdir():
        assert path.stat().st_mode & 0o077 == 0
    assert private_files.read_required(hospital.site.vault / "key") == bytes(
        hospital.keys.hospitals[0]
    )


def test_no_round_waits_for_the_bytes_of_a_cohort_to_be_read(
    hospital: OneHospital, vault: Vault, agreed: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.close()
    again = Vault(hospital.site)
    read: list[object] = []
    monkeypatch.setattr(hashlib, "file_digest", lambda *file: read.append(file))
    try:
        again.start_round(hospital.call(agreed, 1), hospital.weights(agreed))
    finally:
        again.close()
    assert not read, "the time that a hash takes tells how many slices there are"
