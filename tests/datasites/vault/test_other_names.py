"""The vault knows patients again who come back under other names, and takes an owner's word."""

import sqlite3
from dataclasses import replace

import numpy as np
import pytest

from datasites.data import cohort_file, patient_hashing
from datasites.data.cohort_file import SplitCohort
from datasites.data.folders.reading import Cells
from datasites.protocol import owner_actions
from datasites.vault.vault import Vault
from syft_code.cohort import Cohort
from syft_code.errors import InvalidMessage, Refused, Unavailable
from syft_code.evidence import audit_chain
from syft_code.recipes.recipe import DataSpec
from tests.datasites.hospitals import OneHospital, cohort, publication

TABLE = DataSpec(
    kind="table",
    task="classification",
    channels=(),
    height_px=0,
    width_px=0,
    classes=("no", "yes"),
    patient_unit="patient (one row is one patient)",
    stand_in=True,
    facts=("age",),
)


def renamed(split: SplitCohort, prefix: str = "other") -> SplitCohort:
    """The same data under new identifiers."""
    names = [f"{prefix}-{number}" for number in range(len(split.tokens))]
    return replace(split, tokens=patient_hashing.tokens(names, bytes(32)))


def rows(first: int, *, named: bool) -> SplitCohort:
    """Ten rows of a table with eight columns, each row a person of its own."""
    values = np.arange(first * 8, first * 8 + 80, dtype=np.uint64).reshape(10, 8)
    names = [f"row-{first + number}" for number in range(10)]
    return SplitCohort(
        cohort=Cohort(
            images=np.zeros((10, 0, 0, 0), np.uint8),
            labels=np.zeros(10, np.uint8),
            patient=np.arange(10, dtype=np.int32),
            facts=np.zeros((10, 1), np.float32),
        ),
        held_out=np.zeros(10, np.bool_),
        tokens=patient_hashing.tokens(names, bytes(32)),
        split_rule="every fourth",
        named=named,
        cells=Cells(columns=np.arange(8, dtype=np.uint64), values=values),
    )


def publish_table(hospital: OneHospital, vault: Vault, split: SplitCohort, asset: str) -> None:
    body = cohort_file.pack(split)
    action = replace(publication(body, asset=asset), spec=TABLE)
    hospital.perform(vault, action, body)


def test_the_same_pictures_under_other_names_are_refused_until_the_owner_signs(
    hospital: OneHospital, vault: Vault
) -> None:
    body = cohort_file.pack(renamed(cohort()))
    with pytest.raises(
        Refused, match=r"40 of again are alike patients .* sign that with other_people=40"
    ):
        hospital.perform(vault, publication(body, asset="again"), body)
    assert vault._db.assets.names() == ["skin-lesions"], "nothing was published"
    for wrong in (1, 39, 41):
        signed = replace(publication(body, asset="again"), other_people=wrong)
        with pytest.raises(Refused, match=f"other_people={wrong} was signed, and 40 of again"):
            hospital.perform(vault, signed, body)
    signed = replace(publication(body, asset="again"), other_people=40)
    hospital.perform(vault, signed, body)
    entries = audit_chain.entries(vault._db.log.export())
    last = [entry for entry in entries if entry.kind == "action: PublishAsset"][-1]
    assert '"other_people":40' in last.facts["message"]
    assert entries[-1].facts["under_other_names"] == "40", "the vault has counted them itself"


def test_a_word_for_more_people_than_there_are_is_refused(
    hospital: OneHospital, vault: Vault
) -> None:
    body = cohort_file.pack(renamed(cohort(seed=9)))
    signed = replace(publication(body, asset="again"), other_people=3)
    with pytest.raises(Refused, match="other_people=3 was signed, and 0 of again"):
        hospital.perform(vault, signed, body)


def test_other_pictures_under_other_names_and_the_same_under_their_own_are_taken(
    hospital: OneHospital, vault: Vault
) -> None:
    for split, asset in ((renamed(cohort(seed=9)), "again"), (cohort(), "skin-lesions")):
        body = cohort_file.pack(split)
        hospital.perform(vault, publication(body, asset=asset), body)


def test_copies_beside_the_originals_gain_nothing_later(
    hospital: OneHospital, vault: Vault
) -> None:
    whole, copies = cohort(), renamed(cohort())
    both = SplitCohort(
        cohort=Cohort(
            images=np.concatenate([whole.cohort.images] * 2),
            labels=np.concatenate([whole.cohort.labels] * 2),
            patient=np.arange(80, dtype=np.int32),
        ),
        held_out=np.concatenate([whole.held_out] * 2),
        tokens=np.concatenate([whole.tokens, copies.tokens]),
        split_rule=whole.split_rule,
    )
    body = cohort_file.pack(both)
    hospital.perform(vault, publication(body, asset="both"), body)
    assert vault._db.ledger.sharing("both") == ["both", "skin-lesions"]
    alone = cohort_file.pack(copies)
    with pytest.raises(Refused, match="40 of copies"):
        hospital.perform(vault, publication(alone, asset="copies"), alone)


def test_a_patient_who_left_does_not_come_back_under_another_name(
    hospital: OneHospital, vault: Vault
) -> None:
    leaving = bytes(cohort().tokens[2]).hex()
    hospital.perform(vault, owner_actions.RemovePatient(token=leaving))
    changed = cohort().tokens.copy()
    changed[2] = 7
    body = cohort_file.pack(replace(cohort(), tokens=changed))
    with pytest.raises(Refused, match="1 of skin-lesions"):
        hospital.perform(vault, publication(body), body)


def test_assets_without_identifiers_have_one_budget_and_others_their_own(
    hospital: OneHospital, vault: Vault
) -> None:
    publish_table(hospital, vault, rows(0, named=False), "first")
    publish_table(hospital, vault, rows(100, named=False), "second")
    publish_table(hospital, vault, rows(200, named=True), "third")
    assert vault._db.ledger.sharing("second") == ["second", "first"]
    assert vault._db.ledger.sharing("third") == ["third"]


def test_a_table_is_taken_only_with_what_its_cells_say(hospital: OneHospital, vault: Vault) -> None:
    with pytest.raises(InvalidMessage, match="what their cells say"):
        publish_table(hospital, vault, replace(rows(0, named=False), cells=None), "first")


def test_a_vault_whose_fingerprints_were_taken_out_does_not_start(
    hospital: OneHospital, vault: Vault
) -> None:
    publish_table(hospital, vault, rows(0, named=False), "first")
    assert not any(
        value in vault._db.fingerprints.every()[-1] for value in _clear(rows(0, named=False))
    )
    vault.close()
    with sqlite3.connect(hospital.site.vault / "vault.db") as connection:
        connection.execute("DELETE FROM fingerprints WHERE asset = 'skin-lesions'")
    with pytest.raises(Unavailable, match="the fingerprints of its patients"):
        Vault(hospital.site)


def _clear(split: SplitCohort) -> list[bytes]:
    assert split.cells is not None
    return [row.tobytes() for row in split.cells.values]
