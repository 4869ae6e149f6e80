"""`consilium predict` and `consilium model export`, as they are typed."""

import importlib.util
import json
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

import launch
from datasites.data.readers.images import ham10000
from datasites.data.readers.tabular import table_schema, tables
from federation.certificate import certificate
from federation.evaluation import model_file
from federation.prediction import onnx_export, predictions, trained_model
from federation.strategy.presets import suggested
from syft_code.errors import ConsiliumError, InvalidData
from syft_code.models import networks
from tests.federation.prediction import drawn_files as drawn

HAS_ONNX = importlib.util.find_spec("onnx") is not None


@pytest.fixture
def brain(brain_demo, researcher_key, tmp_path: Path) -> Path:
    path = tmp_path / "brain" / "model.safetensors"
    path.parent.mkdir()
    model_file.write(path, brain_demo.outcome.plan, brain_demo.outcome.weights)
    content = certificate.certificate(brain_demo.outcome)
    certificate.write(path.parent / "certificate.json", content, key=researcher_key)
    return path


def run(*words: object) -> Result:
    return CliRunner(mix_stderr=False).invoke(launch.app, [str(word) for word in words])


def refusal(*words: object) -> str:
    found = run(*words)
    assert found.exit_code in (1, 2) and not found.stdout and "Traceback" not in found.stderr
    assert found.stderr.endswith(".\n") and found.stderr.count("\n") == 1
    return found.stderr


def test_a_case_becomes_a_mask_a_picture_and_a_row(brain: Path, tmp_path: Path) -> None:
    brightness, _ = drawn.head()
    folder = drawn.case(tmp_path / "case", {"flair": brightness}, np.diag([1, 1, 2, 1.0]))
    out = tmp_path / "out"
    found = run("predict", brain, folder, "--out", out, "--json")
    facts = json.loads(found.stdout)
    assert facts.keys() == {"standing", "folder", "files", "predicted", "remarks"}
    assert facts["files"] == ["case_mask.nii.gz", "case_overlay.png", "volumes.csv"]
    assert facts["predicted"] == 1 and "has no t1, t1ce, t2" in facts["remarks"][0]
    assert nib.load(out / "case_mask.nii.gz").shape == drawn.SHAPE
    assert (out.stat().st_mode & 0o077) == 0, "what is said of patients is for one user"
    again = refusal("predict", brain, folder, "--out", out)
    assert "new folder or an empty one" in again
    words = run("predict", brain, folder, "--out", tmp_path / "more").stdout
    assert "1 case written to" in words and "0 background, 1 core" in words
    assert "whose they are was not checked" in words and "no diagnosis" in words


def test_without_out_there_is_a_folder_named_by_the_time(
    skin_demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = skin_demo.outcome.plan
    model = drawn.untrained(tmp_path / "m.safetensors", plan.recipe, plan.data, plan)
    drawn.picture(tmp_path / "in" / "=1+1.png")
    assert "must have its certificate" in refusal("predict", model, "in")
    found = run("predict", model, "in", "--unchecked")
    assert "Not checked" in found.stdout and "1 prediction written" in found.stdout
    (written,) = (tmp_path / "predictions").glob("*/probabilities.csv")
    header, row = written.read_text().splitlines()
    assert header == "name,probability of bkl,probability of mel,probability of nv,prediction"
    assert row.startswith("'=1+1.png,0."), "no spreadsheet runs a name"


def test_a_case_that_fails_leaves_nothing_behind(brain: Path, tmp_path: Path) -> None:
    brightness, _ = drawn.head()
    drawn.case(tmp_path / "all" / "a", {"flair": brightness}, np.eye(4))
    drawn.case(tmp_path / "all" / "b", {"flair": np.full_like(brightness, 7)}, np.eye(4))
    said = refusal("predict", brain, tmp_path / "all", "--out", tmp_path / "out")
    assert "'b'" in said
    assert {path.name for path in tmp_path.iterdir()} == {"all", "brain"}
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    for wrong in (link, tmp_path / "all", brain):
        refusal("predict", brain, tmp_path / "all" / "a", "--out", wrong)
    cut = tmp_path / "all" / "a" / "a_flair.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-40])
    with pytest.raises(InvalidData):
        predictions.write_masks(
            tmp_path / "out", trained_model.load(brain), trained_model.load(brain).masks(cut)
        )
    assert not (tmp_path / "out").exists()


def test_a_layer_that_onnx_does_not_know_is_named(skin_demo, tmp_path: Path) -> None:
    data = ham10000.spec(size_px=32, stand_in=True)
    plan = skin_demo.outcome.plan
    model = drawn.untrained(tmp_path / "m.safetensors", suggested(data).recipe, data, plan)
    out = tmp_path / "m.onnx"
    assert "scattering has none" in refusal("model", "export", model, "--out", out, "--unchecked")
    assert not out.exists()
    out.write_text("mine")
    assert "must be a new file" in refusal("model", "export", model, "--out", out, "--unchecked")


@pytest.mark.skipif(HAS_ONNX, reason="onnx is installed")
def test_without_the_package_export_says_how_to_get_it(skin_demo, tmp_path: Path) -> None:
    plan = skin_demo.outcome.plan
    model = drawn.untrained(tmp_path / "m.safetensors", plan.recipe, plan.data, plan)
    said = refusal("model", "export", model, "--out", tmp_path / "m.onnx", "--unchecked")
    assert "pip install 'consilium[onnx]'" in said


@pytest.mark.skipif(not HAS_ONNX, reason="onnx is not installed: pip install 'consilium[onnx]'")
@pytest.mark.parametrize("kind", ["heart_disease", "vitals", "skin", "brain"])
def test_an_exported_model_says_the_same(kind: str, skin_demo, brain_demo, tmp_path: Path) -> None:
    from onnx import checker, load
    from onnx.reference import ReferenceEvaluator

    plan = (brain_demo if kind == "brain" else skin_demo).outcome.plan
    data, recipe = plan.data, plan.recipe
    if kind in ("heart_disease", "vitals"):
        data = tables.spec(table_schema.packaged(kind), stand_in=True)
        recipe = suggested(data).recipe
    saved = model_file.load(drawn.untrained(tmp_path / "m.safetensors", recipe, data, plan))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        onnx_export.write(tmp_path / "m.onnx", saved)
    graph = load(tmp_path / "m.onnx")
    checker.check_model(graph)
    shape = (
        (3, len(data.channels), data.height_px, data.width_px) if data.channels else (3, 0, 0, 0)
    )
    torch.manual_seed(0)
    entering = {"pixels": torch.randn(shape), "facts": torch.randn(3, len(data.facts))}
    wanted = {one.name: entering[one.name].numpy() for one in graph.graph.input}
    (found,) = ReferenceEvaluator(graph).run(None, wanted)
    with torch.inference_mode():
        own = networks.build(recipe, data, saved.weights).eval()(*entering.values())
    assert np.allclose(found, own.numpy(), atol=1e-4)


def test_a_model_and_its_files_may_be_anything(brain: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\0" * 100)
    for model in (tmp_path / "x", tmp_path / "away", tmp_path, brain.parent / "certificate.json"):
        refusal("predict", model, tmp_path, "--unchecked", "--out", tmp_path / "o")
        refusal(
            "predict", model, tmp_path, "--certificate", tmp_path / "x", "--out", tmp_path / "o"
        )
    refusal("predict", brain, tmp_path, "--keys", tmp_path / "x", "--out", tmp_path / "o")
    with pytest.raises(ConsiliumError):
        trained_model.load(tmp_path / "x", unchecked=True)
    assert not (tmp_path / "o").exists()
