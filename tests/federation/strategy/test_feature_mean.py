"""The mean of an encoder's features comes out of an ordinary step, and its price is that step's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load
from typer.testing import CliRunner

from federation.cli import encoder_commands
from federation.evaluation import model_file
from federation.strategy import feature_mean
from syft_code import canonical
from syft_code.arrays import Weights
from syft_code.errors import InvalidData, InvalidInput
from syft_code.models import frozen_features, networks
from syft_code.privacy import accounting
from syft_code.recipes.encoders import Encoder, Projection
from tests import encoders, plans

FILE = encoders.file()
ENCODER = encoders.layer(FILE)
STUDY = feature_mean.suggested(ENCODER)
START = feature_mean.start(ENCODER, data=plans.SKIN, all_answered="df")
COMMON = 2.0
"""What all rows of the tests have in common, beside what differs."""


def rows(count: int, *, seed: int = 0) -> NDArray[np.float32]:
    """Features as an encoder gives them: mean 0 and deviation 1 in each row."""
    random = np.random.default_rng(seed)
    shared = COMMON * random.standard_normal(ENCODER.features)
    drawn = shared + random.standard_normal((count, ENCODER.features))
    drawn -= drawn.mean(1, keepdims=True)
    return (drawn / drawn.std(1, keepdims=True)).astype(np.float32)


def gradients(features: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float32]:
    """Each patient's gradient at the start, `[patients, parameters]`."""
    network = networks.build(STUDY.recipe, plans.SKIN, START)
    found = []
    for row, label in zip(features, labels, strict=True):
        logits = network(torch.from_numpy(row)[None, :, None, None], torch.zeros(1, 0))
        loss = networks.loss_per_example(STUDY.recipe, logits, torch.tensor([label]))
        parts = torch.autograd.grad(loss.sum(), list(network.parameters()))
        found.append(torch.cat([part.reshape(-1) for part in parts]).numpy())
    return np.stack(found)


def stepped(noise: float = 0.0, *, patients: int = 60) -> tuple[Weights, NDArray[np.float32]]:
    """The weights after the study's one step, and the rows of all but the class left out."""
    features = rows(patients)
    labels = np.arange(patients) % len(plans.SKIN.classes)
    step = gradients(features, labels).sum(0)
    step += noise * np.random.default_rng(1).standard_normal(len(step))
    weights = (START - step / patients).astype(np.float32)
    return weights, features[labels != plans.SKIN.classes.index("df")]


def test_every_patients_gradient_is_within_the_clip_norm_and_uses_nearly_all_of_it() -> None:
    labels = np.arange(14) % 7
    lengths = np.linalg.norm(gradients(rows(14), labels), axis=1)
    answered = labels == plans.SKIN.classes.index("df")
    assert lengths[answered].max() < 1e-3
    clip = STUDY.dp_sgd.max_grad_norm
    assert 0.98 * clip < lengths[~answered].min() <= lengths.max() <= clip


def test_the_model_after_the_step_holds_the_mean_of_everybody_elses_rows() -> None:
    weights, others = stepped()
    mean = feature_mean.released(STUDY.recipe, plans.SKIN, weights)
    np.testing.assert_allclose(mean, others.mean(0), atol=1e-4)


def test_with_noise_the_mean_is_as_far_off_as_the_noise_is_large() -> None:
    weights, others = stepped(noise=0.5)
    mean = feature_mean.released(STUDY.recipe, plans.SKIN, weights)
    away = (mean - others.mean(0)).std()
    assert (
        0.9 * 0.5 / len(others) < away < 2.0 * 0.5 / len(others)
    )  # the number of rows is noised too


def test_beside_a_later_study_the_mean_costs_a_small_part() -> None:
    """The figures of the docstring, and of `grids/skin_centred_axes.toml`."""
    mean = accounting.DpSgdEvent(noise_multiplier=5.0, sample_rate=1.0, steps=1)
    assert accounting.epsilon([mean], delta=1e-5) == pytest.approx(0.726, abs=0.002)
    for first, whole in ((7.93, 8.0), (2.86, 3.0), (0.64, 1.0)):
        sigma = accounting.sigma_for(first, delta=1e-5, sample_rate=1.0, steps=1, rounds=100)
        later = accounting.DpSgdEvent(noise_multiplier=sigma, sample_rate=1.0, steps=100)
        assert 0.98 * whole < accounting.epsilon([mean, later], delta=1e-5) <= whole


def test_along_axes_about_the_mean_what_all_have_in_common_is_gone(tmp_path: Path) -> None:
    weights, others = stepped()
    saved = tmp_path / "model.safetensors"
    plan = replace(plans.plan(plans.Keys()), recipe=STUDY.recipe, start_sha256="", evaluation=None)
    model_file.write(saved, plan, weights)
    words = ["axes", str(saved), "--count", "64", "--out", str(tmp_path / "encoders")]
    done = CliRunner().invoke(encoder_commands.app(), words)
    assert done.exit_code == 0, done.output
    (path,) = (tmp_path / "encoders").iterdir()
    sha256 = canonical.sha256(path.read_bytes())
    assert done.output.split()[-1] == sha256
    known = Projection(features=64, axes_sha256=sha256)
    along = frozen_features.encoded(known, others[:, :, None, None], path.read_bytes())
    drawn = frozen_features.encoded(Projection(features=64), others[:, :, None, None], b"")
    np.testing.assert_array_equal(load(path.read_bytes())["axes"].shape, (64, ENCODER.features))

    def alike(found: NDArray[np.float32]) -> float:
        return float(np.corrcoef(found[:, :, 0, 0])[np.triu_indices(len(found), 1)].mean())

    assert alike(drawn) > 0.7 and abs(alike(along)) < 0.05


def test_a_model_of_another_study_holds_no_mean() -> None:
    with pytest.raises(InvalidInput, match=r"that of a study of `feature_mean.suggested`"):
        feature_mean.released(plans.TINY, plans.SKIN, START)
    with pytest.raises(InvalidInput, match=r"one step that started from `feature_mean.start`"):
        feature_mean.released(STUDY.recipe, plans.SKIN, START)
    with pytest.raises(InvalidInput, match="one step that started from"):
        feature_mean.released(STUDY.recipe, plans.SKIN, np.zeros_like(START))
    weights, _ = stepped()
    weights[3] = np.nan
    with pytest.raises(InvalidInput, match="one step that started from"):
        feature_mean.released(STUDY.recipe, plans.SKIN, weights)


def test_weights_of_another_length_or_without_end_hold_no_mean() -> None:
    with pytest.raises(InvalidInput, match=r"must hold 14,399 weights.* got 14,398"):
        feature_mean.released(STUDY.recipe, plans.SKIN, START[:-1])
    weights, _ = stepped()
    weights[:-7] = 3.4e38
    with pytest.raises(InvalidInput, match="the noise left nothing of it"):
        feature_mean.released(STUDY.recipe, plans.SKIN, weights)


def test_the_class_that_is_left_out_must_be_one_of_the_datas() -> None:
    with pytest.raises(InvalidInput, match=r"must be one of akiec, bcc, .* got 'none'"):
        feature_mean.start(ENCODER, data=plans.SKIN, all_answered="none")


def test_more_axes_than_features_are_one_sentence() -> None:
    with pytest.raises(InvalidData, match="There must be 1 to 4 axes, as many as features, got 5"):
        frozen_features.axes_about(np.zeros(4, np.float32), 5)


def test_the_clip_norm_follows_the_encoder() -> None:
    wide = Encoder(name="resnet50", weights_sha256="0" * 64)
    assert feature_mean.suggested(wide).dp_sgd.max_grad_norm == 88
    assert feature_mean.suggested(wide, wide).dp_sgd.max_grad_norm == 124


def test_of_two_encoders_the_mean_is_of_both_rows() -> None:
    second = encoders.layer(encoders.file(seed=1))
    study = feature_mean.suggested(ENCODER, second)
    start = feature_mean.start(ENCODER, second, data=plans.SKIN, all_answered="df")
    assert len(start) == 7 * (2 * ENCODER.features + 1)
    weights = start.copy()
    mean = np.arange(2 * ENCODER.features, dtype=np.float32)
    answered = plans.SKIN.classes.index("df")
    weights.reshape(-1)[:-7].reshape(7, -1)[answered] = -0.5 * mean
    weights[-7 + answered] -= 0.5
    found = feature_mean.released(study.recipe, plans.SKIN, weights)
    np.testing.assert_allclose(found, mean, rtol=1e-5)
