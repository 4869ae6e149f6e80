"""What is public of an asset is the owner's word: other patients change none of it."""

import dataclasses

import numpy as np
import pytest

from datasites.data import cohort_file, train_test_split
from datasites.data.folders.reading import Reading
from datasites.data.readers import read
from datasites.demo import stand_ins
from datasites.owner import publishing
from datasites.owner.publishing import Declaration
from datasites.protocol.owner_actions import PublishAsset
from syft_code.errors import InvalidInput

PRIVATE = ("cohort_sha256", "action_id", "at_unix_s")


@pytest.fixture(scope="module")
def brains(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    folder = tmp_path_factory.mktemp("brains") / "data"
    stand_ins.write("brats", folder, patients=3, seed=0)
    return read("brats", folder, size_px=16)


def without_t1(reading: Reading) -> Reading:
    images = reading.cohort.images.copy()
    images[:, reading.spec.channels.index("t1")] = 0
    return dataclasses.replace(reading, cohort=dataclasses.replace(reading.cohort, images=images))


def stated(reading: Reading, patients: int, declared: Declaration) -> PublishAsset:
    chosen = np.arange(3) < patients
    split = train_test_split.split(
        reading, chosen, hospital="h", salt=bytes(32), held_out=declared.held_out
    )
    body = cohort_file.pack(split)
    return publishing.statement(split, body, spec=reading.spec, asset="gliomas", declared=declared)


@pytest.mark.parametrize("held_out", [0.0, 0.2])
def test_fewer_patients_and_a_missing_modality_change_nothing_public(
    brains: Reading, held_out: float
) -> None:
    declared = Declaration(patients=20, held_out=held_out)
    public = [
        {
            name: value
            for name, value in dataclasses.asdict(stated(reading, count, declared)).items()
            if name not in PRIVATE
        }
        for reading in (brains, without_t1(brains))
        for count in (1, 2, 3)
    ]
    assert all(one == public[0] for one in public)
    assert public[0]["patients"] == 20 and public[0]["held_out"] == (held_out > 0)


def test_a_modality_that_is_there_can_not_be_declared_as_missing(brains: Reading) -> None:
    declared = Declaration(patients=20, lacks=("t1",))
    assert stated(without_t1(brains), 3, declared).lacks == ("t1",)
    with pytest.raises(InvalidInput, match="do not lack t1: declare others"):
        stated(brains, 3, declared)
