"""A model is asked about files that it has never seen, once its certificate holds."""

import csv
import dataclasses
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from datasites.data.readers import read, unlabelled
from datasites.data.readers.images import ham10000
from datasites.data.readers.tabular import table_schema, tables
from datasites.demo import stand_ins
from federation.certificate import certificate
from federation.evaluation import model_file
from federation.prediction import predictions, trained_model
from federation.prediction.trained_model import TrainedModel
from syft_code.errors import ConsiliumError, InvalidData, InvalidInput, Refused, Unavailable
from syft_code.models import frozen_features, networks
from syft_code.recipes.architectures import Fusion, LayerStack, UNet
from syft_code.recipes.layers import Activation, Conv, GlobalAverage, Linear, Lstm
from syft_code.recipes.recipe import CrossEntropy, Recipe, front
from syft_code.runtime.encoder_files import EncoderFiles
from tests import encoders
from tests.federation.prediction import drawn_files as drawn

FLAT = Recipe(model=LayerStack(layers=()), loss=CrossEntropy())


@pytest.fixture
def skin(skin_demo, researcher_key, tmp_path: Path) -> Path:
    """A model that was trained, with its certificate beside it."""
    path = tmp_path / "skin" / "model.safetensors"
    path.parent.mkdir()
    model_file.write(path, skin_demo.outcome.plan, skin_demo.outcome.weights)
    content = certificate.certificate(skin_demo.outcome)
    certificate.write(path.parent / "certificate.json", content, key=researcher_key)
    return path


@pytest.fixture
def brain(brain_demo, tmp_path: Path) -> TrainedModel:
    path = tmp_path / "brain.safetensors"
    model_file.write(path, brain_demo.outcome.plan, brain_demo.outcome.weights)
    return trained_model.load(path, unchecked=True)


def sentence(problem: pytest.ExceptionInfo[ConsiliumError]) -> str:
    text = str(problem.value)
    assert text.endswith(".") and "\n" not in text
    return text


def test_a_picture_is_told_as_it_would_be_in_a_cohort(skin: Path, tmp_path: Path) -> None:
    for number in range(3):
        drawn.picture(tmp_path / "seen" / f"{number}.png", seed=number)
    (tmp_path / "seen" / "labels.csv").write_text("a,b\n1,2\n")
    model = trained_model.load(skin)
    found = model.probabilities(tmp_path / "seen")
    assert found.names == ("0.png", "1.png", "2.png") and found.classes == ("bkl", "mel", "nv")
    assert np.allclose(found.values.sum(1), 1, atol=1e-6) and found.values.std() > 0
    alone = model.probabilities(tmp_path / "seen" / "1.png")
    assert alone.names == ("1.png",) and np.allclose(alone.values, found.values[1:2], atol=1e-6)


def test_pictures_are_read_by_the_same_code_as_in_training(tmp_path: Path) -> None:
    folder = stand_ins.write("ham10000", tmp_path / "ham", patients=8, seed=3)
    own = read("ham10000", tmp_path / "ham", size_px=16)
    data = ham10000.spec(size_px=16, stand_in=True)
    found = unlabelled.slices(tmp_path / "ham", data)
    trained = {image.tobytes() for image in own.cohort.images}
    assert {image.tobytes() for image in found.images} == trained and folder is None


def test_a_certificate_that_holds_is_said_and_whose_keys_they_are(
    skin: Path, skin_demo, tmp_path: Path
) -> None:
    assert "whose they are was not checked" in trained_model.load(skin).standing
    plan = skin_demo.outcome.plan
    keys = tmp_path / "keys.json"
    named = {one.name: one.verify_key for one in plan.hospitals}
    keys.write_text(json.dumps({"researcher": plan.researcher_key, "hospitals": named}))
    standing = trained_model.load(skin, keys=keys).standing
    assert standing.startswith("The certificate holds: study a-study, 4 hospitals on STAND-INS")
    assert standing.endswith("signed by the keys that you gave.") and "epsilon " in standing
    keys.write_text(json.dumps({"researcher": "00" * 32, "hospitals": named}))
    with pytest.raises(Refused) as problem:
        trained_model.load(skin, keys=keys)
    assert "not used" in sentence(problem)


def test_a_model_that_was_changed_or_has_no_certificate_is_refused(
    skin: Path, skin_demo, tmp_path: Path
) -> None:
    weights = skin_demo.outcome.weights * np.float32(1.001)
    model_file.write(skin, skin_demo.outcome.plan, weights)
    with pytest.raises(Refused) as problem:
        trained_model.load(skin)
    assert sentence(problem).startswith("The certificate does not hold")
    (skin.parent / "certificate.json").unlink()
    with pytest.raises(InvalidInput, match=r"no 'certificate\.json' lies beside"):
        trained_model.load(skin)
    assert trained_model.load(skin, unchecked=True).standing == trained_model.UNCHECKED
    with pytest.raises(InvalidInput, match="both checked and unchecked"):
        trained_model.load(skin, unchecked=True, certificate=tmp_path / "c.json")
    for wrong in (tmp_path / "none", tmp_path):
        with pytest.raises(InvalidInput):
            trained_model.load(wrong, unchecked=True)


def test_a_table_is_read_by_its_schema_with_and_without_the_label(
    skin_demo, tmp_path: Path
) -> None:
    schema = table_schema.packaged("heart_disease")
    data = tables.spec(schema, stand_in=True)
    plan = skin_demo.outcome.plan
    model = trained_model.load(
        drawn.untrained(tmp_path / "heart.safetensors", FLAT, data, plan), unchecked=True
    )
    stand_ins.write("heart", tmp_path / "heart", patients=12, seed=0)
    own = read("heart", tmp_path / "heart")
    file = next((tmp_path / "heart").glob("*cleveland*"))
    bare = file.read_text()
    found = model.probabilities(file)
    columns = schema.header[:-1]
    rows = [line.split(",")[:-1] for line in bare.split()]
    named = tmp_path / "named.csv"
    with named.open("w", newline="") as text:
        csv.writer(text).writerows([columns, *rows])
    without = model.probabilities(named)
    assert np.array_equal(found.values, without.values) and len(found.values) == len(rows)
    assert without.names[:2] == ("row 2", "row 3")
    facts = unlabelled.slices(named, data).facts
    trained = {row.tobytes() for row in own.cohort.facts}
    assert {row.tobytes() for row in facts} <= trained


def test_a_table_of_ones_own_wants_its_schema(skin_demo, tmp_path: Path) -> None:
    text = """
title = "Mine"
kind = "table"
file = "table.csv"
patient = "who"
[[column]]
name = "age"
kind = "number"
unit = "years"
lowest = 0
highest = 100
[label]
column = "ill"
classes = ["no", "yes"]
"""
    schema = tmp_path / "mine.toml"
    schema.write_text(text)
    data = tables.spec(table_schema.parse(text.encode(), name="mine"), stand_in=False)
    path = drawn.untrained(tmp_path / "own.safetensors", FLAT, data, skin_demo.outcome.plan)
    model = trained_model.load(path, unchecked=True)
    table = tmp_path / "new.csv"
    table.write_text("who,age\nA,10\nB,90\n")
    with pytest.raises(InvalidData, match="Name it with --schema"):
        model.probabilities(table)
    found = model.probabilities(table, schema=schema)
    assert found.names == ("A", "B") and found.values[0, 1] != found.values[1, 1]
    schema.write_text(text.replace('"yes"', '"sure"'))
    with pytest.raises(InvalidData, match="describes others"):
        model.probabilities(table, schema=schema)
    schema.write_text(text)
    for wrong, said in (
        ("who,age\nA,1000\n", "age must lie between"),
        ("who\nA\n", "must have the column 'age'"),
        ("who,age,height\nA,1,2\n", "does not know 'height'"),
        ("", "is empty"),
        ("who,age\nA,1\0\n", "NUL"),
    ):
        table.write_text(wrong)
        with pytest.raises(InvalidData) as problem:
            model.probabilities(table, schema=schema)
        assert said in sentence(problem)
    with pytest.raises(InvalidData, match="must be one CSV file"):
        model.probabilities(tmp_path, schema=schema)


def test_a_series_is_told_once_for_each_patient(skin_demo, tmp_path: Path) -> None:
    data = tables.spec(table_schema.packaged("vitals"), stand_in=True)
    recipe = Recipe(model=LayerStack(layers=(Lstm(units=3),)), loss=CrossEntropy())
    path = drawn.untrained(tmp_path / "v.safetensors", recipe, data, skin_demo.outcome.plan)
    stand_ins.write("vitals", tmp_path / "vitals", patients=6, seed=0)
    own = read("vitals", tmp_path / "vitals")
    (table,) = (tmp_path / "vitals").glob("*.csv")
    found = trained_model.load(path, unchecked=True).probabilities(table)
    assert found.names == own.patient_ids
    network = trained_model.load(path, unchecked=True).network()
    with torch.inference_mode():
        logits = network(*networks.inputs(own.cohort.images, own.cohort.facts))
    assert np.allclose(found.values, logits.softmax(1).numpy(), atol=1e-6)


def test_facts_that_are_not_there_count_as_missing(skin_demo, tmp_path: Path) -> None:
    data = ham10000.spec(size_px=12, stand_in=True, facts=True)
    model = Fusion(
        image=(Conv(channels=2), GlobalAverage()), facts=(Linear(features=2), Activation()), head=()
    )
    recipe = Recipe(model=model, loss=CrossEntropy())
    path = drawn.untrained(tmp_path / "f.safetensors", recipe, data, skin_demo.outcome.plan)
    found = trained_model.load(path, unchecked=True).probabilities(
        drawn.picture(tmp_path / "a.png")
    )
    assert "each counts as missing" in found.remarks[0]
    own = dataclasses.replace(data, kind="images", facts=("age",))
    path = drawn.untrained(tmp_path / "g.safetensors", recipe, own, skin_demo.outcome.plan)
    with pytest.raises(InvalidData, match="may not be missing"):
        trained_model.load(path, unchecked=True).probabilities(tmp_path / "a.png")


def test_an_encoder_looks_at_a_picture_first(skin_demo, tmp_path: Path) -> None:
    weights, second = encoders.file(), encoders.file(seed=1)
    recipe, data = (
        encoders.recipe(weights, second, axes=4),
        ham10000.spec(size_px=16, stand_in=True),
    )
    path = drawn.untrained(tmp_path / "e.safetensors", recipe, data, skin_demo.outcome.plan)
    picture = drawn.picture(tmp_path / "a.png")
    model = trained_model.load(path, unchecked=True)
    with pytest.raises(Unavailable, match="efficientnet-lite0"):
        model.probabilities(picture)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "encoder.pth").write_bytes(weights)
    (tmp_path / "files" / "second.pth").write_bytes(second)
    found = dataclasses.replace(model, encoders=EncoderFiles(tmp_path / "files")).probabilities(
        picture
    )
    images = unlabelled.slices(picture, data).images
    one, other, along = front(recipe.model)
    rows = [
        frozen_features.encoded(one, images, weights),
        frozen_features.encoded(other, images, second),
    ]
    images = frozen_features.encoded(along, np.concatenate(rows, axis=1), b"")
    with torch.inference_mode():
        logits = model.network()(*networks.inputs(images, np.zeros((1, 0), np.float32)))
    assert np.allclose(found.values, logits.softmax(1).numpy(), atol=1e-5)


class _Bright(torch.nn.Module):
    """Says of each pixel the class that its brightness in four channels stands for."""

    def forward(self, pixels: torch.Tensor, facts: torch.Tensor) -> torch.Tensor:
        return 8.0 * pixels


def test_a_known_mask_comes_back_on_the_cases_own_grid(brain: TrainedModel, tmp_path: Path) -> None:
    brightness, mask = drawn.head()
    # A channel is bright where its class is: what the network says is then the mask itself.
    images = {
        name: drawn.as_stored(
            brightness + 2000 * (mask == number).astype(np.int16) * (brightness > 0)
        )
        for number, name in enumerate(drawn.MODALITIES)
    }
    data = dataclasses.replace(brain.saved.data, height_px=64, width_px=64)
    model = drawn.with_network(
        TrainedModel(saved=dataclasses.replace(brain.saved, data=data), standing=""), _Bright()
    )
    folder = drawn.case(tmp_path / "case_1", images, drawn.oblique())
    predictions.write_masks(tmp_path / "out", model, model.masks(folder))
    stored = nib.load(tmp_path / "out" / "case_1_mask.nii.gz")
    assert np.allclose(stored.affine, drawn.oblique(), atol=1e-4)
    truth = drawn.as_stored(mask * (brightness > 0))
    voxels = np.asarray(stored.dataobj)
    assert voxels.shape == truth.shape and voxels.dtype == np.uint8
    for number in (1, 2, 3):
        assert drawn.dice(voxels == number, truth == number) > 0.95
    assert drawn.dice(voxels > 0, truth > 0) > 0.97
    (row,) = csv.DictReader((tmp_path / "out" / "volumes.csv").read_text().splitlines())
    voxel_ml = np.prod(drawn.SPACING_MM) / 1000
    for number, name in enumerate(data.classes[1:], start=1):
        assert float(row[f"{name} ml"]) == pytest.approx(
            np.count_nonzero(voxels == number) * voxel_ml, abs=1e-3
        )
    shows = np.count_nonzero((brightness > 0).any(axis=(0, 1)))
    assert int(row["slices"]) == shows, "all slices that show any of the brain"
    assert (tmp_path / "out" / "case_1_overlay.png").read_bytes().startswith(b"\x89PNG")


def test_cases_of_a_folder_lack_what_they_lack_and_a_mask_is_not_looked_at(
    brain: TrainedModel, tmp_path: Path
) -> None:
    brightness, _ = drawn.head()
    random = np.random.default_rng(5)
    images = {
        name: (brightness * random.uniform(1, 2, brightness.shape)).astype(np.int16)
        for name in drawn.MODALITIES
    }
    affine = np.diag([*drawn.SPACING_MM, 1.0])
    drawn.case(tmp_path / "all" / "one", images, affine)
    drawn.case(tmp_path / "all" / "two", {"flair": images["flair"]}, affine)
    before = [mask.classes for mask in brain.masks(tmp_path / "all")]
    nib.save(
        nib.Nifti1Image(np.full(drawn.SHAPE, 77, np.uint8), affine),
        tmp_path / "all" / "one" / "one_seg.nii.gz",
    )
    masks = list(brain.masks(tmp_path / "all"))
    assert [mask.scan.name for mask in masks] == ["one", "two"]
    assert all(np.array_equal(a, b.classes) for a, b in zip(before, masks, strict=True))
    assert "has no t1, t1ce, t2: zero there" in masks[1].scan.remarks[0]
    alone = next(brain.masks(tmp_path / "all" / "two" / "two_flair.nii.gz"))
    assert np.array_equal(alone.classes, masks[1].classes)
    (tmp_path / "all" / "one" / "strange.nii.gz").write_bytes(b"x")
    for wrong in (tmp_path / "all", tmp_path / "all" / "one" / "strange.nii.gz"):
        with pytest.raises(InvalidData, match="must be named by what it holds"):
            list(brain.masks(wrong))


def test_what_a_model_is_not_made_for_is_one_sentence(
    brain: TrainedModel, skin: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match="must be one of classification"):
        brain.probabilities(tmp_path)
    model = trained_model.load(skin)
    with pytest.raises(InvalidInput, match="must be one of segmentation"):
        list(model.masks(tmp_path))
    (tmp_path / "words.png").write_text("no picture")
    (tmp_path / "empty").mkdir()
    (tmp_path / "scan").mkdir()
    (tmp_path / "scan" / "a.dcm").write_text("")
    (tmp_path / "away.png").symlink_to(Path("/etc/passwd"))
    for wrong in ("none.png", "words.png", "empty", "scan", "away.png", "a\0b"):
        with pytest.raises(ConsiliumError) as problem:
            model.probabilities(tmp_path / wrong)
        sentence(problem)
    lower = dataclasses.replace(brain.saved.data, kind="lgg")
    other = TrainedModel(saved=dataclasses.replace(brain.saved, data=lower), standing="")
    with pytest.raises(InvalidInput, match="cases in NIfTI"):
        list(other.masks(tmp_path))
    assert isinstance(brain.saved.recipe.model, UNet)
