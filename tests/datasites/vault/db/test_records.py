"""A table and a series are data like any other: published, approved, tried out and trained on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datasites.data import cohort_file, patient_hashing
from datasites.data.cohort_file import SplitCohort
from datasites.data.folders.reading import Reading
from datasites.data.readers import Kind, read
from datasites.demo import stand_ins
from datasites.protocol import owner_actions
from datasites.review import mock_run
from datasites.vault.vault import Vault
from syft_code import canonical
from syft_code.errors import InvalidData
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import DpSgd
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import Activation, Linear, Lstm
from syft_code.recipes.recipe import CrossEntropy, Recipe
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests.datasites.hospitals import OneHospital, approval, policy
from tests.datasites.vault.test_vault import opened
from tests.plans import Keys, plan

pytestmark = pytest.mark.usefixtures("templates")

MODELS = {
    "heart": LayerStack(layers=(Linear(features=4), Activation(function="tanh"))),
    "vitals": LayerStack(layers=(Lstm(units=3),)),
}


def reading(kind: Kind, folder: Path) -> Reading:
    stand_ins.write(stand_ins.drawable(kind), folder, patients=50, seed=0)
    return read(kind, folder)


def split(found: Reading) -> SplitCohort:
    count = len(found.patient_ids)
    return SplitCohort(
        cohort=found.cohort,
        held_out=np.arange(count) % 4 == 3,
        tokens=patient_hashing.tokens(found.patient_ids, bytes(32)),
        split_rule="every fourth",
        named=found.named,
        cells=found.cells,
    )


def agreed(kind: Kind, found: Reading, keys: Keys | None = None) -> Plan:
    recipe = Recipe(model=MODELS[kind], loss=CrossEntropy())
    dp = DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=0.3, steps=2)
    return plan(keys, data=found.spec, recipe=recipe, dp_sgd=dp)


def publication(body: bytes, found: Reading) -> owner_actions.PublishAsset:
    return owner_actions.PublishAsset(
        asset="skin-lesions",  # the name in the plan; any name does
        spec=found.spec,
        patients=41,  # as the plan says
        cohort_sha256=canonical.sha256(body),
        split_rule="every fourth",
    )


@pytest.mark.parametrize("kind", ["heart", "vitals"])
@pytest.mark.servers
def test_a_hospital_trains_on_a_table_and_on_a_series(kind: Kind, tmp_path: Path) -> None:
    found = reading(kind, tmp_path / "data")
    hospital = OneHospital(home=tmp_path / "home")
    vault = Vault(hospital.site)
    try:
        study = agreed(kind, found, hospital.keys)
        hospital.perform(vault, owner_actions.AdoptPolicy(policy=policy(hospital.budget)))
        hospital.vouch(vault, study)
        body = cohort_file.pack(split(found))
        hospital.perform(vault, publication(body, found), body)
        hospital.perform(vault, approval(study))
        ticket = vault.start_round(hospital.call(study, 1), hospital.weights(study))
        done = hospital.finished(vault, ticket)
        assert done.state == "done", done
        shared = opened(hospital, vault, study, done)
        assert len(shared) >= VectorLayout.of(study).kept_length("train") and np.any(shared)
    finally:
        vault.close()


def test_a_table_without_its_facts_is_not_taken(tmp_path: Path) -> None:
    found = reading("heart", tmp_path / "data")
    hospital = OneHospital(home=tmp_path / "home")
    vault = Vault(hospital.site)
    try:
        hospital.perform(vault, owner_actions.AdoptPolicy(policy=policy(hospital.budget)))
        whole = split(found)
        fewer = replace(found.cohort, facts=found.cohort.facts[:, :-1].copy())
        body = cohort_file.pack(replace(whole, cohort=fewer))
        with pytest.raises(InvalidData, match="must have 38 facts"):
            hospital.perform(vault, publication(body, found), body)
    finally:
        vault.close()


@pytest.mark.parametrize("kind", ["heart", "vitals"])
@pytest.mark.servers
def test_a_plan_on_a_table_is_tried_out_on_its_mock(kind: Kind, tmp_path: Path) -> None:
    study = agreed(kind, reading(kind, tmp_path / "data"))
    tried = mock_run.run(study, hospital="hospital-1", slices=24)
    assert tried.ok, tried.sentence
    assert {output.purpose for output in tried.outputs} == {"train", "evaluate"}
