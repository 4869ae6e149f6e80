"""A patient who leaves is in no cohort any more, and in no later version."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datasites.data import cohort_file, patient_hashing
from datasites.data.cohort_file import SplitCohort
from datasites.protocol import owner_actions
from datasites.vault.vault import Vault
from datasites.vault.worker.job_messages import TrainingJob
from syft_code import canonical
from syft_code.errors import NotApproved, Refused
from syft_code.evidence import audit_chain
from tests.datasites.hospitals import OneHospital, approval, cohort, publication
from tests.plans import SKIN


def token(number: int) -> str:
    return bytes(patient_hashing.tokens([f"patient-{number}"], bytes(32))[0]).hex()


def on_disk(hospital: OneHospital, vault: Vault, asset: str = "skin-lesions") -> SplitCohort:
    """The newest version's file, as the training process reads it."""
    digest = vault._db.assets.newest(asset).cohort_sha256
    path = hospital.site.vault / "cohorts" / f"{digest}.safetensors"
    return cohort_file.unpack(path.read_bytes(), SKIN)


def test_the_next_round_trains_without_a_patient_who_left(
    hospital: OneHospital, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = hospital.plan()
    hospital.perform(vault, approval(plan))
    seen: list[int] = []
    run = vault._worker.run

    def watching(job: TrainingJob, body: bytes, path: Path, **options: Any) -> bytes:
        data = path.read_bytes()
        assert canonical.sha256(data) == job.cohort_sha256
        seen.append(cohort_file.unpack(data, SKIN).training().patients)
        return run(job, body, path, **options)

    monkeypatch.setattr(vault._worker, "run", watching)
    weights = hospital.weights(plan)
    hospital.finished(vault, vault.start_round(hospital.call(plan, 1), weights))
    hospital.perform(vault, owner_actions.RemovePatient(token=token(2)))
    done = hospital.finished(vault, vault.start_round(hospital.call(plan, 2), weights))
    assert done.state == "done", "the approval stands: what was approved has become less"
    assert seen == [30, 29]


def test_nobody_else_changes_groups_and_nothing_of_the_patient_is_left(
    hospital: OneHospital, vault: Vault
) -> None:
    before = on_disk(hospital, vault)
    left = before.cohort.images[2].tobytes()
    hospital.perform(vault, owner_actions.RemovePatient(token=token(2)))
    vault._rounds._queue.submit(lambda: None).result()
    after = on_disk(hospital, vault)
    groups = dict(zip(before.names(), before.held_out, strict=True))
    assert groups.keys() - set(after.names()) == {token(2)}
    assert all(groups[n] == h for n, h in zip(after.names(), after.held_out, strict=True))
    files = list((hospital.site.vault / "cohorts").iterdir())
    assert len(files) == 1
    assert left in cohort_file.pack(before)
    assert left not in files[0].read_bytes()


def test_a_later_version_leaves_the_patient_out_too(hospital: OneHospital, vault: Vault) -> None:
    hospital.perform(vault, owner_actions.RemovePatient(token=token(2)))
    body = cohort_file.pack(cohort(seed=5))
    hospital.perform(vault, publication(body), body)
    assert token(2) not in on_disk(hospital, vault).names()
    assert on_disk(hospital, vault).cohort.patients == 39


def test_a_patient_leaves_every_asset_at_once(hospital: OneHospital, vault: Vault) -> None:
    body = cohort_file.pack(cohort(seed=5))
    hospital.perform(vault, publication(body, asset="again"), body)
    hospital.perform(vault, owner_actions.RemovePatient(token=token(7)))
    for asset in ("skin-lesions", "again"):
        assert token(7) not in on_disk(hospital, vault, asset).names()


def test_every_training_patient_may_leave_and_a_round_is_noise_then(
    hospital: OneHospital, vault: Vault
) -> None:
    plan = hospital.plan()
    hospital.perform(vault, approval(plan))
    few = cohort(patients=4)
    body = cohort_file.pack(few)
    hospital.perform(vault, publication(body, asset="few", patients=41), body)
    entries = tuple(replace(h, asset="few") for h in plan.hospitals)
    small = replace(plan, hospitals=entries, evaluation=None)
    hospital.perform(vault, approval(small, asset="few"))
    for number in range(4):
        hospital.perform(vault, owner_actions.RemovePatient(token=token(number)))
    assert on_disk(hospital, vault, "few").cohort.patients == 0
    call = vault.start_round(hospital.call(small, 1), hospital.weights(small))
    assert hospital.finished(vault, call).state == "done"


def test_an_unknown_patient_is_refused_and_a_second_time_changes_nothing(
    hospital: OneHospital, vault: Vault
) -> None:
    with pytest.raises(Refused, match="identifier"):
        hospital.perform(vault, owner_actions.RemovePatient(token="0" * 32))
    hospital.perform(vault, owner_actions.RemovePatient(token=token(2)))
    digest = vault._db.assets.newest("skin-lesions").cohort_sha256
    hospital.perform(vault, owner_actions.RemovePatient(token=token(2)))
    assert vault._db.assets.newest("skin-lesions").cohort_sha256 == digest


def test_what_was_spent_on_a_patient_who_left_stays_with_the_asset(
    hospital: OneHospital, vault: Vault
) -> None:
    hospital.perform(vault, owner_actions.RemovePatient(token=token(2)))
    body = cohort_file.pack(cohort(seed=5))
    hospital.perform(vault, publication(body, asset="again"), body)
    assert vault._db.ledger.sharing("again") == ["again", "skin-lesions"]


def test_the_log_tells_of_the_strike_by_its_token(hospital: OneHospital, vault: Vault) -> None:
    hospital.perform(vault, owner_actions.RemovePatient(token=token(2)))
    entries = audit_chain.entries(vault._db.log.export())
    (entry,) = [e for e in entries if e.kind == "action: RemovePatient"]
    assert token(2) in entry.facts["message"]
    digest = vault._db.assets.newest("skin-lesions").cohort_sha256
    assert [e.facts["cohort_sha256"] for e in entries if e.kind == "cohort kept"][-1] == digest


def test_a_file_that_was_swapped_is_not_rewritten_as_if_it_were_the_asset(
    hospital: OneHospital, vault: Vault
) -> None:
    (path,) = (hospital.site.vault / "cohorts").iterdir()
    path.write_bytes(cohort_file.pack(cohort(seed=9)))
    with pytest.raises(NotApproved, match="bytes that its owner published"):
        hospital.perform(vault, owner_actions.RemovePatient(token=token(2)))
