"""A public picture is encoded once, by whichever process comes first, and a study trains on its features."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from federation.evaluation.encoded_pictures import EncodedPictures
from federation.evaluation.exact_metrics import HospitalCohorts
from federation.simulation import hospital_data
from federation.simulation.hospital_data import InMemoryHospitals
from federation.simulation.randomness import Randomness
from federation.simulation.simulation import Simulation
from federation.strategy.server_optimizer import ServerState
from syft_code.cohort import Cohort
from syft_code.errors import Unavailable
from syft_code.local_training.broadcast import PublicVectors
from syft_code.models import frozen_features
from syft_code.plans.plan_parts import Sgd
from syft_code.runtime.encoder_files import EncoderFiles
from tests import encoders
from tests.plans import SKIN, plan

FILE = encoders.file()
FACTS = ("age", "sex")
MODEL = encoders.recipe(FILE, axes=4, facts=True).model


@pytest.fixture
def pictures(tmp_path: Path) -> EncodedPictures:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "encoder.pth").write_bytes(FILE)
    return EncodedPictures(tmp_path / "kept", EncoderFiles(tmp_path / "files"))


def cohort(slices: int, *, seed: int) -> Cohort:
    random = np.random.default_rng(seed)
    return Cohort(
        images=random.integers(0, 256, (slices, 3, 16, 16), dtype=np.uint8),
        labels=random.integers(0, 7, slices, dtype=np.uint8),
        patient=np.arange(slices, dtype=np.int32),
        facts=random.random((slices, 2)).astype(np.float32),
    )


def test_a_picture_is_encoded_once_also_among_others_and_by_another_process(
    pictures: EncodedPictures, tmp_path: Path
) -> None:
    whole, done = cohort(6, seed=1), []
    half = whole.select(np.arange(6) < 3)
    first = pictures.cohort(half, MODEL, on_done=done.append)
    other = EncodedPictures(tmp_path / "kept", EncoderFiles(tmp_path / "files"))
    every = other.cohort(whole, MODEL, on_done=done.append)
    assert done == [1, 2, 3, 1, 2, 3]
    np.testing.assert_allclose(every.images[:3], first.images, atol=1e-6)
    layers = MODEL.image  # type: ignore[union-attr]
    features = frozen_features.encoded(layers[0], whole.images, FILE)
    np.testing.assert_allclose(
        every.images, frozen_features.encoded(layers[1], features, b""), atol=1e-3
    )


def test_two_encoders_are_kept_apart_and_stand_side_by_side(
    pictures: EncodedPictures, tmp_path: Path
) -> None:
    (tmp_path / "files" / "second.pth").write_bytes(encoders.file(seed=1))
    model = encoders.recipe(FILE, encoders.file(seed=1), facts=True).model
    whole, done = cohort(3, seed=1), []
    alone = pictures.cohort(whole, encoders.recipe(FILE, facts=True).model, on_done=done.append)
    both = pictures.cohort(whole, model, on_done=done.append)
    assert done == [1, 2, 3, 1, 2, 3]
    assert both.images.shape[1] == 2 * alone.images.shape[1]
    np.testing.assert_array_equal(both.images[:, : alone.images.shape[1]], alone.images)


def test_a_broken_file_of_features_is_computed_again(
    pictures: EncodedPictures, tmp_path: Path
) -> None:
    whole = cohort(2, seed=1)
    before = pictures.cohort(whole, MODEL).images
    (kept,) = (tmp_path / "kept").glob("*.safetensors")
    kept.write_bytes(kept.read_bytes()[:100])
    np.testing.assert_array_equal(pictures.cohort(whole, MODEL).images, before)


def test_a_missing_encoder_is_a_sentence(tmp_path: Path) -> None:
    nothing = EncodedPictures(tmp_path / "kept", EncoderFiles(tmp_path / "none"))
    with pytest.raises(Unavailable, match="must be on this machine, and is not"):
        nothing.cohort(cohort(1, seed=0), MODEL)


def test_a_model_without_a_front_sees_the_pictures_themselves(pictures: EncodedPictures) -> None:
    whole = cohort(2, seed=0)
    assert pictures.cohort(whole, plan().recipe.model) is whole


def test_a_simulated_round_trains_a_head_on_features_and_facts(pictures: EncodedPictures) -> None:
    agreed = plan(
        data=replace(SKIN, facts=FACTS),
        recipe=encoders.recipe(FILE, axes=4, facts=True),
        evaluation=None,
        optimizer=Sgd(learning_rate=0.1),
    )
    parts = {
        entry.name: HospitalCohorts(
            name=entry.name, training=cohort(8, seed=n), held_out=cohort(2, seed=n + 9)
        )
        for n, entry in enumerate(agreed.hospitals)
    }
    raw = InMemoryHospitals(spec=agreed.data, cohorts=parts)
    encoded = hospital_data.encoded(raw, agreed.recipe.model, pictures)
    simulation = Simulation(agreed, encoded, randomness=Randomness(seed=0, noised=False))
    start = ServerState.first(agreed, PublicVectors())
    after, facts = simulation.round(1, start)
    simulation.close()
    assert facts.trained == tuple(parts)
    assert len(after.weights) == (4 + 2 + 1) * 7
    assert not np.array_equal(after.weights, start.weights)
