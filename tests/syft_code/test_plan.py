"""A plan has one byte string, and a bad one is refused in a sentence."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syft_code import canonical
from syft_code.errors import InvalidPlan
from syft_code.plan import DpSgd, Evaluation, Plan, Sgd, Sharing
from syft_code.recipes import Conv, GroupNorm, LayerStack, Pool, Recipe, UNet
from tests.plans import SKIN, TINY, Keys, plan


def test_a_plan_survives_the_journey_through_its_bytes() -> None:
    original = plan()
    assert Plan.decode(original.encode()) == original
    assert Plan.decode(original.encode()).hash == original.hash


def test_an_integer_where_a_float_belongs_gives_the_same_hash() -> None:
    keys = Keys()
    floats = DpSgd(noise_multiplier=1.0, max_grad_norm=2.0, sample_rate=1.0, steps=3)
    integers = DpSgd(noise_multiplier=1, max_grad_norm=2, sample_rate=1, steps=3)
    assert plan(keys, dp_sgd=floats).hash == plan(keys, dp_sgd=integers).hash


@given(st.sampled_from(["rounds", "min_hospitals", "study", "asset", "steps", "bound", "widths"]))
def test_every_field_moves_the_hash(name: str) -> None:
    keys = Keys()
    first = plan(keys)
    changed = {
        "rounds": replace(first, rounds=4),
        "min_hospitals": replace(first, study="other"),
        "study": replace(first, study="another"),
        "asset": replace(
            first, hospitals=(replace(first.hospitals[0], asset_version=2), *first.hospitals[1:])
        ),
        "steps": replace(first, dp_sgd=replace(first.dp_sgd, steps=4)),
        "bound": replace(first, sharing=Sharing(bound=2.0**19)),
        "widths": replace(
            first, recipe=Recipe(model=LayerStack(layers=(Conv(channels=5),)), loss=TINY.loss)
        ),
    }[name]
    assert changed.hash != first.hash


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"rounds": 0}, "rounds"),
        ({"rounds": 1001}, "rounds"),
        ({"min_hospitals": 2}, "min_hospitals"),
        ({"min_hospitals": 4}, "min_hospitals"),
        ({"study": "Über"}, "study"),
        ({"study": "../x"}, "study"),
        ({"researcher_key": "00"}, "researcher"),
        ({"aggregators": ()}, "aggregators"),
        ({"evaluation": Evaluation(noise_multiplier=1.0, after_rounds=(4,))}, "evaluation"),
        ({"sharing": Sharing(ring_bits=32)}, "ring"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(change: dict[str, object], word: str) -> None:
    with pytest.raises(InvalidPlan, match=word):
        plan(**change)


def test_two_parties_with_one_key_are_refused() -> None:
    first = plan()
    twice = (
        first.hospitals[0],
        replace(first.hospitals[1], verify_key=first.hospitals[0].verify_key),
    )
    with pytest.raises(InvalidPlan, match="key of its own"):
        replace(first, hospitals=(*twice, first.hospitals[2]))


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_privacy_parameters_must_be_real_numbers_above_zero(value: float) -> None:
    good = {"noise_multiplier": 1.0, "max_grad_norm": 1.0, "sample_rate": 0.5, "steps": 1}
    for name in ("noise_multiplier", "max_grad_norm", "sample_rate"):
        with pytest.raises(InvalidPlan, match=name):
            DpSgd(**(good | {name: value}))  # type: ignore[arg-type]
    with pytest.raises(InvalidPlan):
        Sgd(learning_rate=value)
    with pytest.raises(InvalidPlan):
        Evaluation(noise_multiplier=value, after_rounds=())


def test_a_clip_norm_so_small_that_noise_rounds_to_nothing_is_refused() -> None:
    assert 0.5 * 5e-324 == 0.0
    with pytest.raises(InvalidPlan, match="round to nothing"):
        DpSgd(noise_multiplier=0.5, max_grad_norm=5e-324, sample_rate=0.01, steps=1)


def test_bytes_that_are_not_canonical_are_refused() -> None:
    data = plan().encode()
    spaced = json.dumps(json.loads(data)).encode()
    for bad in (spaced, data + b" ", data.replace(b'"rounds":3', b'"rounds":"3"'), b"{}", b"\xff"):
        with pytest.raises(InvalidPlan):
            Plan.decode(bad)


def test_an_unknown_field_or_layer_is_refused() -> None:
    table = json.loads(plan().encode())
    for path in (("code",), ("recipe", "hook")):
        changed = json.loads(json.dumps(table))
        place = changed
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = "import os"
        with pytest.raises(InvalidPlan):
            Plan.decode(canonical.encode(changed))
    table["recipe"]["model"]["layers"][0]["kind"] = "lambda"
    with pytest.raises(InvalidPlan):
        Plan.decode(canonical.encode(table))


@pytest.mark.parametrize(
    "model",
    [
        LayerStack(layers=()),
        LayerStack(layers=(Conv(channels=5), GroupNorm(groups=2))),
        LayerStack(layers=tuple(Pool() for _ in range(5))),
        UNet(widths=(4, 8)),
        LayerStack(layers=tuple(Conv(channels=1024, kernel_px=7) for _ in range(3))),
    ],
)
def test_a_model_that_does_not_fit_the_data_is_refused(model: LayerStack | UNet) -> None:
    with pytest.raises(InvalidPlan):
        Recipe(model=model, loss=TINY.loss).check(SKIN)
