"""The log tells of everything, together with what it tells of, and a change in it is found."""

import re
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from datasites.protocol import owner_actions
from datasites.vault.vault import Vault
from policies.site_policy import Budget
from syft_code import canonical
from syft_code.errors import BudgetExceeded, ConsiliumError, InvalidMessage, Unavailable
from syft_code.evidence import audit_chain
from syft_code.evidence.audit_chain import Anchor
from syft_code.plans.plan import Plan
from syft_code.privacy import accounting
from syft_code.secret_sharing import envelope
from tests.datasites.hospitals import OneHospital, approval, cohort

pytestmark = pytest.mark.usefixtures("templates")


def kinds(vault: Vault) -> list[str]:
    return [entry.kind for entry in audit_chain.entries(vault._db.log.export())]


def test_a_study_can_be_told_from_the_log(
    hospital: OneHospital, vault: Vault, agreed: Plan
) -> None:
    hospital.finished(vault, vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed)))
    hospital.perform(vault, owner_actions.RevokePlan(plan_hash=agreed.hash, reason="Enough."))
    for _ in range(3):
        with pytest.raises(ConsiliumError):
            vault.start_round(hospital.call(agreed, 2), hospital.weights(agreed))
    assert kinds(vault) == [
        "vault started",
        "action: AdoptPolicy",
        *["action: AddParty"] * 6,
        "action: PublishAsset",
        "cohort kept",
        "action: ApprovePlan",
        "round reserved",
        "round released",
        "action: RevokePlan",
        "round refused",  # once, however often it is asked for
    ]
    told = audit_chain.entries(vault._db.log.export())[10].facts
    assert agreed.researcher_key in told["message"], "the approval stands there as it was signed"


def test_the_export_verifies_and_a_shares_anchor_is_met(
    hospital: OneHospital, vault: Vault, agreed: Plan
) -> None:
    done = hospital.finished(
        vault, vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed))
    )
    share = envelope.SealedShare.from_bytes(vault.share(done.ticket, 1))
    header = envelope.check_header(agreed, 1, share.header)
    anchor = Anchor(sha256=header.log_sha256, source="a share")
    verdict = audit_chain.verify(
        vault._db.log.export(), verify_key=vault.verify_key, anchors=[anchor]
    )
    assert not verdict.problems
    reserved = audit_chain.entries(vault._db.log.export())[verdict.anchored - 1]
    assert reserved.kind == "round reserved", "the anchor covers the round's own price"
    weights = hospital.weights(agreed)
    assert header.weights_sha256 == canonical.sha256(weights) == reserved.facts["weights_sha256"]
    spent = accounting.epsilon([accounting.event(agreed, "train")], delta=header.delta)
    assert header.epsilon == done.epsilon == pytest.approx(spent)
    assert header.delta == done.delta


def header_of_round_2(hospital: OneHospital, *, busy: bool) -> tuple[bytes, int]:
    """A share's packed header with its hashes blanked, and how many entries the log had."""
    vault = Vault(hospital.site)
    try:
        hospital.publish(vault)
        agreed, other = hospital.plan(), hospital.plan(study="another-study")
        hospital.perform(vault, approval(agreed))
        for number in (1, 2):
            call = hospital.call(agreed, number)
            done = hospital.finished(vault, vault.start_round(call, hospital.weights(agreed)))
            if busy and number == 1:
                hospital.perform(vault, approval(other))
                start = hospital.call(other, 1)
                hospital.finished(vault, vault.start_round(start, hospital.weights(other)))
                hospital.perform(
                    vault, owner_actions.RevokePlan(plan_hash=other.hash, reason="Enough.")
                )
                with pytest.raises(ConsiliumError):
                    vault.start_round(hospital.call(other, 2), hospital.weights(other))
                for study in ("third", "fourth"):
                    hospital.perform(vault, approval(hospital.plan(study=study)))
        header = envelope.SealedShare.from_bytes(vault.share(done.ticket, 1)).header
        return re.sub(rb"[0-9a-f]{64,}", b"#", canonical.encode(header)), len(kinds(vault))
    finally:
        vault.close()


@pytest.mark.servers
def test_a_share_does_not_tell_how_much_else_a_hospital_did(tmp_path: Path) -> None:
    quiet, few = header_of_round_2(OneHospital(home=tmp_path / "quiet"), busy=False)
    busy, many = header_of_round_2(OneHospital(home=tmp_path / "busy"), busy=True)
    assert quiet == busy
    assert many > few + 5, "any number of entries would differ"
    assert b"log_sha256" in busy


def test_guesses_at_entries_cannot_be_tried_against_an_anchor(
    hospital: OneHospital, vault: Vault, agreed: Plan
) -> None:
    """Of its own rounds a researcher knows every fact: each entry's salt is random all the same."""
    hospital.finished(vault, vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed)))
    salts = [entry.salt for entry in audit_chain.entries(vault._db.log.export())]
    assert len(set(salts)) == len(salts) >= 8


def test_acts_that_are_refused_leave_no_line(hospital: OneHospital, vault: Vault) -> None:
    before = kinds(vault)
    with pytest.raises(ConsiliumError):
        hospital.perform(vault, approval(hospital.plan(), code_sha256="0" * 64))
    with pytest.raises(InvalidMessage):
        action = owner_actions.RemovePatient(token="0" * 32, at_unix_s=0.0)
        hospital.perform(vault, action)
    assert kinds(vault) == before


def changed(hospital: OneHospital, *sql: str) -> None:
    """Change the log's table behind the vault's back, past its triggers."""
    database = sqlite3.connect(hospital.site.vault / "vault.db")
    with database:
        for trigger in ("log_is_kept", "log_is_fixed"):
            database.execute(f"DROP TRIGGER {trigger}")
        for statement in sql:
            database.execute(statement)
    database.close()


TAMPERED = {
    "the last line made nonsense": [
        "UPDATE log SET message = 'x' WHERE number = (SELECT MAX(number) FROM log)"
    ],
    "changed": ["UPDATE log SET message = replace(message, 'alice', 'carol') WHERE number = 11"],
    "removed": ["DELETE FROM log WHERE number = 4"],
    "removed and closed up": [
        "DELETE FROM log WHERE number = 4",
        "UPDATE log SET number = -(number - 1) WHERE number > 4",
        "UPDATE log SET number = -number WHERE number < 0",
    ],
    "reordered": [
        "UPDATE log SET number = 1000 WHERE number = 3",
        "UPDATE log SET number = 3 WHERE number = 4",
        "UPDATE log SET number = 4 WHERE number = 1000",
    ],
    "beginning cut": ["DELETE FROM log WHERE number < 3"],
    "end cut past a round": ["DELETE FROM log WHERE number > 11"],
    "a round taken out of the ledger": ["DELETE FROM spent"],
    "a round made cheap": [
        """UPDATE spent SET event = replace(event, 'multiplier":1,', 'multiplier":9,')"""
    ],
    "a round moved to another asset": ["UPDATE spent SET asset = 'other'"],
    "everything emptied": ["DELETE FROM log", "DELETE FROM spent", "DELETE FROM owner_action"],
    "the end cut by a line": ["DELETE FROM log WHERE number = (SELECT MAX(number) FROM log)"],
    "an action taken out": ["DELETE FROM owner_action WHERE name = 'AddParty'"],
    "an action that waits put into force": [
        "UPDATE owner_action SET state = 'waiting' WHERE name = 'AddParty'"
    ],
    "a refusal taken out": ["DELETE FROM refusal"],
    "a patient brought back": ["DELETE FROM removed_patient"],
    "the patients of an asset forgotten": ["DELETE FROM patient"],
    "a patient's group changed": ["UPDATE patient SET held_out = 1 - held_out"],
    "another file for an asset": [
        "UPDATE asset SET cohort_sha256 = replace(cohort_sha256, 'a', 'b')"
    ],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> OneHospital:
    """A hospital that has run a round, lost a patient and denied a plan; its vault is closed."""
    hospital = OneHospital(home=tmp_path_factory.mktemp("trained") / "hospital-1")
    vault = Vault(hospital.site)
    hospital.publish(vault)
    plan = hospital.plan()
    hospital.perform(vault, approval(plan))
    hospital.finished(vault, vault.start_round(hospital.call(plan, 1), hospital.weights(plan)))
    hospital.perform(vault, owner_actions.RemovePatient(token=cohort().names()[2]))
    hospital.perform(vault, owner_actions.DenyPlan(plan_hash="0" * 64, reason="No."))
    vault.close()
    return hospital


@pytest.mark.servers
@pytest.mark.parametrize("how", TAMPERED)
def test_a_vault_does_not_start_on_a_log_that_was(
    trained: OneHospital, tmp_path: Path, how: str
) -> None:
    shutil.copytree(trained.home, tmp_path / "hospital-1")
    hospital = OneHospital(home=tmp_path / "hospital-1")
    changed(hospital, *TAMPERED[how])
    with pytest.raises(Unavailable, match=r"folder back from (a|its newest) copy"):
        Vault(hospital.site)


def test_a_vault_that_nobody_touched_starts_again(
    hospital: OneHospital, vault: Vault, agreed: Plan
) -> None:
    hospital.finished(vault, vault.start_round(hospital.call(agreed, 1), hospital.weights(agreed)))
    hospital.perform(vault, owner_actions.RemovePatient(token=cohort().names()[2]))
    hospital.perform(vault, owner_actions.DenyPlan(plan_hash=agreed.hash, reason="No."))
    hospital.perform(vault, approval(agreed))
    hospital.perform(vault, owner_actions.DenyPlan(plan_hash="0" * 64, reason="No."))
    for _ in range(2):
        vault.close()
        vault = Vault(hospital.site)
    assert vault._authorizer.grant(agreed.hash)
    vault.close()


def test_the_log_can_not_be_changed_by_accident(vault: Vault) -> None:
    for statement in ("UPDATE log SET kind = 'x'", "DELETE FROM log"):
        with (
            pytest.raises(sqlite3.IntegrityError, match="append-only"),
            vault._db.database.writing() as database,
        ):
            database.execute(statement)


def test_a_log_that_grows_from_many_threads_is_one_chain(vault: Vault) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: vault._db.log.append("test", number=str(i)), range(40)))
    assert not audit_chain.verify(vault._db.log.export(), verify_key=vault.verify_key).problems
    assert kinds(vault).count("test") == 40


@pytest.mark.servers
def test_twenty_rounds_at_once_against_a_budget_for_three(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = OneHospital(home=tmp_path / "probe").plan(rounds=20)
    price = accounting.event(plan, "train")
    here, more = (accounting.epsilon([price] * n, delta=1e-5) for n in (3, 4))
    hospital = OneHospital(
        home=tmp_path / "hospital-1", budget=Budget(epsilon=(here + more) / 2, delta=1e-5)
    )
    vault = Vault(hospital.site)
    monkeypatch.setattr(vault._rounds._queue, "submit", lambda *call: None)
    hospital.publish(vault)
    agreed = hospital.plan(rounds=20)
    hospital.perform(vault, approval(agreed))

    def attempt(number: int) -> bool:
        try:
            vault.start_round(hospital.call(agreed, number), hospital.weights(agreed))
        except BudgetExceeded:
            return False
        return True

    try:
        with ThreadPoolExecutor(20) as pool:
            granted = sum(pool.map(attempt, range(1, 21)))
        assert granted == 3
        assert len(vault._db.ledger.events("skin-lesions")) == 3
        assert kinds(vault).count("round reserved") == 3
        assert kinds(vault).count("round refused") == 17
    finally:
        vault.close()
