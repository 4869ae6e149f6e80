"""What a hospital shares of a round and what it keeps, with its own normalisation and without."""

from dataclasses import replace

import numpy as np
import pytest

from syft_code.local_training import client_update, control_variates
from syft_code.models import networks
from syft_code.plans.algorithms import Scaffold
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import AdaptiveClip, Compression
from syft_code.recipes import local_norms
from syft_code.recipes.architectures import Architecture, Fusion, LayerStack, UNet
from syft_code.recipes.layers import Conv, GlobalAverage, GroupNorm, Linear, Lstm, Scattering
from syft_code.recipes.recipe import CrossEntropy, DataSpec, DiceCrossEntropy, Recipe
from syft_code.secret_sharing import compression
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests.plans import SKIN, Keys, plan

KEYS = Keys()
NORMED = Recipe(
    model=LayerStack(layers=(Conv(channels=2, stride=2), GroupNorm(groups=1), GlobalAverage())),
    loss=CrossEntropy(),
)
OWN = local_norms.mask(NORMED, SKIN)
SHARED = int((~OWN).sum())


def small(**changes: object) -> Plan:
    return plan(KEYS, **({"recipe": NORMED, "local_norms": True} | changes))


def made(agreed: Plan, update: np.ndarray, **given: np.ndarray) -> client_update.ClientUpdate:
    nothing = {
        "common": np.zeros(0),
        "kept": np.zeros(VectorLayout.of(agreed).kept_length("train")),
    }
    return client_update.from_result(agreed, "hospital-1", 1, update, **(nothing | given))


UPDATE = np.random.default_rng(2).standard_normal(len(OWN))


def test_local_normalisation_stays_and_adds_up() -> None:
    agreed = small()
    first = made(agreed, UPDATE)
    assert first.kept is not None
    np.testing.assert_array_equal(first.values, UPDATE[~OWN])
    np.testing.assert_array_equal(first.kept, UPDATE[OWN])
    second = made(agreed, UPDATE, kept=first.kept)
    np.testing.assert_allclose(second.kept, 2 * UPDATE[OWN])
    assert len(first.values) == VectorLayout.of(agreed).values_length("train") == SHARED
    assert (
        VectorLayout.of(agreed).kept_length("train")
        == VectorLayout.of(agreed).kept_length("evaluate")
        == 4
    )


def test_the_norm_bound_is_of_what_is_shared_and_local_normalisation_is_not_cut() -> None:
    one = made(small(max_update_norm=0.5), UPDATE)
    assert np.linalg.norm(one.values) == pytest.approx(0.5)
    np.testing.assert_array_equal(one.kept, UPDATE[OWN])


def test_error_feedback_and_local_normalisation_are_kept_side_by_side() -> None:
    agreed = small(compression=Compression(kept=0.25))
    one = made(agreed, UPDATE)
    kept = client_update.divided(agreed, one.kept)
    arrived = compression.spread(agreed, 1, one.values)
    np.testing.assert_allclose(arrived[~OWN] + kept.memory, UPDATE[~OWN], atol=1e-5)
    assert not arrived[OWN].any()
    np.testing.assert_array_equal(kept.norms, UPDATE[OWN])
    assert np.count_nonzero(arrived) == VectorLayout.of(agreed).sent_count == round(0.25 * SHARED)
    assert VectorLayout.of(agreed).kept_length("train") == SHARED + 4


def test_scaffolds_variate_is_of_what_is_shared() -> None:
    agreed, common = small(algorithm=Scaffold()), np.linspace(-1, 1, SHARED)
    before = np.concatenate([np.ones(SHARED), np.zeros(4)])
    one = made(agreed, UPDATE, common=common, kept=before)
    change = control_variates.change(UPDATE[~OWN], common, steps=3, learning_rate=0.5)
    np.testing.assert_allclose(one.values, np.concatenate([UPDATE[~OWN], change]))
    np.testing.assert_allclose(one.kept, np.concatenate([1 + change, UPDATE[OWN]]))
    assert VectorLayout.of(agreed).values_length("train") == 2 * SHARED


def test_with_a_frozen_layer_its_own_part_is_still_found() -> None:
    agreed = small(frozen_layers=1)
    part = VectorLayout.of(agreed).trained
    one = made(agreed, UPDATE[part])
    np.testing.assert_array_equal(one.kept, UPDATE[OWN])
    spread = compression.spread(agreed, 1, one.values)
    np.testing.assert_array_equal(spread[part][4:], UPDATE[part][4:])
    assert not spread[: part.start + 4].any()


def test_how_far_an_adaptive_clip_norm_has_moved_is_kept_and_not_shared() -> None:
    adaptive = AdaptiveClip(quantile=0.5, learning_rate=0.2, count_noise_multiplier=5.0)
    dp = replace(small().dp_sgd, adaptive=adaptive)
    agreed = small(dp_sgd=dp, max_update_norm=1e-3)
    assert VectorLayout.of(agreed).result_length("train") == len(UPDATE) + 1
    one = made(agreed, np.append(UPDATE, -0.75))
    assert len(one.values) == SHARED and np.abs(one.values).max() < 1e-3
    kept = client_update.divided(agreed, one.kept)
    np.testing.assert_array_equal(kept.norms, UPDATE[OWN])
    np.testing.assert_array_equal(kept.clip, [-0.75])
    assert (
        VectorLayout.of(agreed).kept_length("train")
        == VectorLayout.of(agreed).kept_length("evaluate")
        == 5
    )


def test_a_plain_plan_keeps_nothing() -> None:
    agreed = small(local_norms=False)
    one = made(agreed, UPDATE)
    np.testing.assert_array_equal(one.values, UPDATE)
    assert one.kept is None
    assert (
        VectorLayout.of(agreed).kept_length("train")
        == VectorLayout.of(agreed).kept_length("evaluate")
        == 0
    )


BRAIN = DataSpec(
    kind="brats",
    task="segmentation",
    channels=("t1", "t2"),
    height_px=16,
    width_px=16,
    classes=("background", "tumour"),
    patient_unit="patient",
    stand_in=True,
    facts=("age",),
)
HEART = DataSpec(
    kind="ham10000",
    task="classification",
    channels=("red",),
    height_px=16,
    width_px=16,
    classes=("no", "yes"),
    patient_unit="patient",
    stand_in=True,
    facts=("age", "sex", "pain", "thal"),
)
VITALS = DataSpec(
    kind="series",
    task="classification",
    channels=("vitals",),
    height_px=12,
    width_px=3,
    classes=("no", "yes"),
    patient_unit="stay",
    stand_in=True,
)
NORM = GroupNorm(groups=1)


@pytest.mark.parametrize(
    ("model", "data"),
    [
        (
            LayerStack(layers=(Conv(channels=2), NORM, Conv(channels=4), NORM, GlobalAverage())),
            SKIN,
        ),
        (LayerStack(layers=(Linear(features=4), NORM)), SKIN),
        (LayerStack(layers=(Scattering(scales=2, angles=2), NORM, Linear(features=3))), SKIN),
        (LayerStack(layers=(Lstm(units=4), NORM)), VITALS),
        (UNet(widths=(4, 8, 8)), BRAIN),
        (UNet(widths=(4, 8), facts=True), BRAIN),
        (
            Fusion(
                image=(Conv(channels=2), NORM, GlobalAverage()),
                facts=(NORM, Linear(features=3)),
                head=(Linear(features=2), NORM),
            ),
            HEART,
        ),
        (Fusion(image=(Conv(channels=2), GlobalAverage()), facts=(), head=(NORM,)), HEART),
    ],
)
def test_the_scales_and_shifts_are_those_of_the_network(
    model: Architecture, data: DataSpec
) -> None:
    """The network itself says which of its parameters are of a module that normalises."""
    loss = DiceCrossEntropy() if data.task == "segmentation" else CrossEntropy()
    recipe = Recipe(model=model, loss=loss)
    network = networks.build(recipe, data)
    of_norms = {
        id(parameter)
        for module in network.modules()
        if "Norm" in type(module).__name__
        for parameter in module.parameters(recurse=False)
    }
    expected = [id(p) in of_norms for p in network.parameters() for _ in range(p.numel())]
    found = local_norms.mask(recipe, data)
    np.testing.assert_array_equal(found, expected)
    assert 0 < found.sum() < len(found)
