"""A round has a time limit: the training process is ended, the reason told, the budget spent."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from datasites import site
from datasites.sandbox.template import Template, Worker
from datasites.site import ROUND_LIMIT_S, SiteSettings
from datasites.vault.vault import Vault
from datasites.vault.worker.training_worker import TrainingWorker
from syft_code.errors import InvalidInput, TrainingFailed
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import DpSgd
from tests.datasites.hospitals import OneHospital, approval

LIMIT_S = 1.0  # less than the start of a training process alone
LONG = DpSgd(noise_multiplier=600.0, max_grad_norm=1.0, sample_rate=0.5, steps=100_000)


@pytest.fixture
def hurried(hospital: OneHospital) -> Iterator[Vault]:
    """A vault whose rounds may take a second."""
    site.create(hospital.home, SiteSettings(name="hospital-1", port=1, round_limit_s=LIMIT_S))
    started = Vault(hospital.site)
    hospital.publish(started)
    yield started
    started.close()


def approved(hospital: OneHospital, vault: Vault) -> Plan:
    long = hospital.plan(dp_sgd=LONG)
    hospital.perform(vault, approval(long))
    return long


def test_a_round_that_takes_too_long_is_ended_in_words_and_stays_paid(
    hospital: OneHospital, hurried: Vault
) -> None:
    plan = approved(hospital, hurried)
    ticket = hurried.start_round(hospital.call(plan, 1), hospital.weights(plan))
    failed = hospital.finished(hurried, ticket)
    assert failed.state == "failed"
    assert "within this hospital's time limit" in failed.sentence
    assert "stays paid" in failed.sentence
    assert len(hurried._db.ledger.events("skin-lesions")) == 1
    assert hurried._worker.peak_mib() == 0, "its process is gone"


def test_a_round_within_the_limit_is_not_ended_later(
    hospital: OneHospital, vault: Vault, agreed: Plan
) -> None:
    vault._worker._limit_s = 60.0
    for number in (1, 2):
        ticket = vault.start_round(hospital.call(agreed, number), hospital.weights(agreed))
        assert hospital.finished(vault, ticket).state == "done"


def test_settings_without_a_limit_have_the_usual_one(hospital: OneHospital) -> None:
    (hospital.home / "site.json").write_text(json.dumps({"name": "hospital-1", "port": 1}))
    assert hospital.site.settings().round_limit_s == ROUND_LIMIT_S


@pytest.mark.parametrize("limit_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_that_is_no_time_is_refused(limit_s: float) -> None:
    with pytest.raises(InvalidInput, match="round_limit_s"):
        SiteSettings(name="north", port=1, round_limit_s=limit_s)


def children(worker: TrainingWorker) -> list[psutil.Process]:
    """All processes below its template."""
    assert worker._template is not None
    return psutil.Process(worker._template.process.pid).children(recursive=True)


@pytest.mark.servers
def test_a_hospital_may_train_on_several_processes(hospital: OneHospital) -> None:
    site.create(hospital.home, SiteSettings(name="hospital-1", port=1, training_processes=2))
    vault = Vault(hospital.site)
    try:
        hospital.publish(vault)
        agreed = hospital.plan()
        hospital.perform(vault, approval(agreed))
        for number in (1, 2):
            call = hospital.call(agreed, number)
            done = hospital.finished(vault, vault.start_round(call, hospital.weights(agreed)))
            assert done.state == "done", done.sentence
        ranks = children(vault._worker)
        assert len(ranks) >= 2, "two workers wait for the next job"
    finally:
        vault.close()
    _, alive = psutil.wait_procs(ranks, timeout=30)
    assert not alive, "the ranks end with their vault"


@pytest.mark.servers
def test_a_hospital_may_train_in_bf16_and_its_log_says_so(hospital: OneHospital) -> None:
    settings = SiteSettings(name="hospital-1", port=1, device="auto", precision="bf16")
    site.create(hospital.home, settings)
    vault = Vault(hospital.site)
    try:
        hospital.publish(vault)
        ours = hospital.plan()
        theirs = hospital.plan(study="other", dp_sgd=replace(ours.dp_sgd, engine="opacus"))
        for agreed in (ours, theirs):
            hospital.perform(vault, approval(agreed))
            call = hospital.call(agreed, 1)
            done = hospital.finished(vault, vault.start_round(call, hospital.weights(agreed)))
            assert done.state == "done", done.sentence
        assert vault._db.log.has(
            "vault started",
            verify_key=vault.verify_key,
            device=vault.device.device,
            precision="bf16",
        )
    finally:
        vault.close()


@pytest.mark.servers
def test_a_training_with_another_engine_gets_a_template_that_has_loaded_it(
    hospital: OneHospital, vault: Vault
) -> None:
    """An evaluation takes the one that there is, whatever its plan's engine."""
    ours = hospital.plan()
    theirs = hospital.plan(study="other", dp_sgd=replace(ours.dp_sgd, engine="opacus"))
    for one in (ours, theirs):
        hospital.perform(vault, approval(one))
    templates: list[int] = []
    for one, number, purpose in (
        (ours, 1, "train"), (theirs, 1, "train"), (ours, 3, "evaluate"), (theirs, 2, "train"),
        (ours, 2, "train"),
    ):  # fmt: skip
        call = hospital.call(one, number, purpose)
        done = hospital.finished(vault, vault.start_round(call, hospital.weights(one, purpose)))
        assert done.state == "done", done.sentence
        assert vault._worker._template is not None
        templates.append(vault._worker._template.process.pid)
    first, second, *same, last = templates
    assert first != second and second != last
    assert same == [second, second]


@pytest.mark.servers
def test_workers_that_come_as_their_template_is_ended_are_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = TrainingWorker(tmp_path / "log")
    made: list[Worker] = []
    one_more = Template.worker

    def ended_meanwhile(template: Template) -> Worker:
        made.append(one_more(template))
        worker.close()
        return made[-1]

    monkeypatch.setattr(Template, "worker", ended_meanwhile)
    with pytest.raises(TrainingFailed):
        worker.ready()
    assert made and all(one.answers.closed for one in made)
    assert not worker._waiting
