"""Each choice of an algorithm is refused in one sentence if it can't be, and says what it sends."""

from typing import Any

import pytest

from syft_code.errors import InvalidPlan
from syft_code.plans.algorithms import (
    Distillation,
    Ewc,
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedProx,
    FedYogi,
    Scaffold,
    earlier_vectors,
)
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import (
    AdaptiveClip,
    Augmentation,
    Compression,
    DpSgd,
    Evaluation,
    Robust,
    Sgd,
    Sharing,
)
from syft_code.plans.roster import Aggregator, Hospital
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import Conv, GlobalAverage, GroupNorm, Linear
from syft_code.recipes.recipe import MAX_PARAMETERS, Recipe
from tests.plans import TINY, plan

HASH = "ab" * 32
NORMED = Recipe(
    model=LayerStack(layers=(Conv(channels=4), GroupNorm(groups=2), GlobalAverage())),
    loss=TINY.loss,
)
DP: dict[str, Any] = {
    "noise_multiplier": 1.0,
    "max_grad_norm": 1.0,
    "sample_rate": 0.5,
    "steps": 1,
}
WRONG_KINDS: list[tuple[Any, dict[str, Any], str]] = [
    (Sharing, {"needed": "2"}, "needed"),
    (Sharing, {"fraction_bits": 2.5}, "fraction_bits"),
    (Sharing, {"ring_bits": "32"}, "ring_bits"),
    (Compression, {"kept": "half"}, "kept"),
    (Compression, {"kept": None}, "kept"),
    (Compression, {"error_feedback": 1}, "error_feedback"),
    (DpSgd, DP | {"steps": 2.0}, "steps"),
    (DpSgd, DP | {"noise_multiplier": None}, "noise_multiplier"),
    (DpSgd, DP | {"sample_rate": "0.5"}, "sample_rate"),
    (DpSgd, DP | {"adaptive": 0.5}, "adaptive"),
    (AdaptiveClip, {"quantile": None, "learning_rate": 0.2, "count_noise_multiplier": 1.0}, "quan"),
    (Sgd, {"learning_rate": "fast"}, "learning_rate"),
    (Evaluation, {"noise_multiplier": 1.0, "after_rounds": 3}, "after_rounds"),
    (Evaluation, {"noise_multiplier": 1.0, "after_rounds": [3]}, "after_rounds"),
    (Robust, {"rule": "mean", "groups": 3}, "rule"),
    (Robust, {"rule": "median", "groups": None}, "groups"),
    (Augmentation, {"views": "two"}, "views"),
    (Augmentation, {"flips": 1}, "flips"),
    (FedProx, {"mu": "0.1"}, "mu"),
    (FedAdam, {"learning_rate": None}, "learning_rate"),
    (FedYogi, {"learning_rate": 0.1, "beta1": "0.9"}, "beta1"),
    (Ewc, {"strength": 1.0, "reference_sha256": 5, "importance_sha256": HASH}, "reference_sha256"),
    (Distillation, {"weight": [], "temperature": 1.0, "reference_sha256": HASH}, "weight"),
    (
        Hospital,
        {"name": 1, "verify_key": HASH, "asset": "a", "asset_version": 1, "patients": 1},
        "name",
    ),
    (
        Aggregator,
        {"name": "a", "address": None, "verify_key": HASH, "seal_key": HASH, "certificate": "-"},
        "address",
    ),
]


@pytest.mark.parametrize(
    ("kind", "fields", "named"), WRONG_KINDS, ids=[f"{k.__name__}.{n}" for k, _, n in WRONG_KINDS]
)
def test_a_part_of_a_wrong_type_is_refused_in_a_sentence_that_names_it(
    kind: Any, fields: dict[str, Any], named: str
) -> None:
    with pytest.raises(
        InvalidPlan, match=rf"{kind.__name__} must have fields .* in {named}"
    ) as said:
        kind(**fields)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"algorithm": "scaffold"}, "algorithm"),
        ({"rounds": "3"}, "rounds"),
        ({"rounds": 2.0}, "rounds"),
        ({"dp_sgd": None}, "dp_sgd"),
        ({"hospitals": []}, "hospitals"),
        ({"averaging": "0.9"}, "averaging"),
        ({"local_norms": None}, "local_norms"),
        ({"start_sha256": None}, "start_sha256"),
        ({"frozen_layers": None}, "frozen_layers"),
        ({"evaluation": 3}, "evaluation"),
        ({"format": 3}, "format"),
    ],
)
def test_a_plan_of_wrong_types_is_refused_in_a_sentence(
    changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidPlan, match=rf"Plan must have fields of the right types; in {named}"):
        plan(**changes)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), 1e-20, 1e20])
def test_strengths_must_be_real_numbers_above_zero(value: float) -> None:
    for make in (
        lambda: FedProx(mu=value),
        lambda: FedAdam(learning_rate=value),
        lambda: FedYogi(learning_rate=0.1, adaptivity=value),
        lambda: FedAdagrad(learning_rate=value),
        lambda: FedAdagrad(learning_rate=0.1, adaptivity=value),
        lambda: Ewc(strength=value, reference_sha256=HASH, importance_sha256=HASH),
        lambda: Distillation(weight=value, temperature=1.0, reference_sha256=HASH),
        lambda: Distillation(weight=1.0, temperature=value, reference_sha256=HASH),
    ):
        with pytest.raises(InvalidPlan, match="must be a number from"):
            make()


@pytest.mark.parametrize("beta", [-0.1, 1.0, float("nan")])
def test_a_beta_lies_below_one(beta: float) -> None:
    with pytest.raises(InvalidPlan, match="beta1 must be in"):
        FedAdam(learning_rate=1.0, beta1=beta)
    with pytest.raises(InvalidPlan, match="beta1 must be in"):
        FedAdagrad(learning_rate=1.0, beta1=beta)
    with pytest.raises(InvalidPlan, match="beta2 must be in"):
        FedYogi(learning_rate=1.0, beta2=beta)


@pytest.mark.parametrize("name", ["", "AB" * 32, "ab" * 31, HASH + "\n"])
def test_vectors_are_named_by_a_hash(name: str) -> None:
    with pytest.raises(InvalidPlan, match="reference_sha256 must be a SHA-256"):
        Distillation(weight=1.0, temperature=1.0, reference_sha256=name)
    with pytest.raises(InvalidPlan, match="importance_sha256 must be a SHA-256"):
        Ewc(strength=1.0, reference_sha256=HASH, importance_sha256=name)
    if name:
        with pytest.raises(InvalidPlan, match="start_sha256 must be"):
            plan(start_sha256=name)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"quantile": 0.0}, "quantile"),
        ({"quantile": 1.0}, "quantile"),
        ({"learning_rate": 0.0}, "learning rate of a clip norm"),
        ({"learning_rate": 1.5}, "learning rate of a clip norm"),
        ({"count_noise_multiplier": 0.0}, "count_noise_multiplier"),
        ({"count_noise_multiplier": float("nan")}, "count_noise_multiplier"),
    ],
)
def test_an_adaptive_clip_norm_that_cannot_be_is_refused(fields: dict[str, Any], word: str) -> None:
    good = {"quantile": 0.5, "learning_rate": 0.2, "count_noise_multiplier": 1.0}
    assert AdaptiveClip(**good)
    with pytest.raises(InvalidPlan, match=word):
        AdaptiveClip(**(good | fields))


def test_the_count_may_not_take_all_of_a_steps_privacy() -> None:
    def of(count: float) -> DpSgd:
        clip = AdaptiveClip(quantile=0.5, learning_rate=0.2, count_noise_multiplier=count)
        return DpSgd(**DP, adaptive=clip)

    assert of(0.51).adaptive is not None
    with pytest.raises(InvalidPlan, match="more than half of the noise_multiplier"):
        of(0.5)


def test_fedprox_may_not_jump_past_what_it_is_pulled_to() -> None:
    assert plan(algorithm=FedProx(mu=2.0), optimizer=Sgd(learning_rate=0.5))
    with pytest.raises(InvalidPlan, match="times the learning rate must be at most 1"):
        plan(algorithm=FedProx(mu=2.1), optimizer=Sgd(learning_rate=0.5))


def test_local_norms_need_normalisation_that_is_trained() -> None:
    assert plan(recipe=NORMED, local_norms=True)
    with pytest.raises(InvalidPlan, match="needs a normalisation layer"):
        plan(local_norms=True)
    with pytest.raises(InvalidPlan, match="needs a normalisation layer"):
        plan(recipe=NORMED, local_norms=True, frozen_layers=2)


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.5, float("nan")])
def test_an_average_has_a_decay_between_zero_and_one(decay: float) -> None:
    with pytest.raises(InvalidPlan, match="averaging must be a decay"):
        plan(averaging=decay)


def test_an_augmentation_must_fit_the_data() -> None:
    assert plan(augmentation=Augmentation(views=2, shift_px=4))
    with pytest.raises(InvalidPlan, match="shift_px must be smaller"):
        plan(augmentation=Augmentation(shift_px=16))


def test_what_travels_with_a_round_has_a_limit() -> None:
    wide = Recipe(model=LayerStack(layers=(Linear(features=1024),) * 40), loss=TINY.loss)
    ewc = Ewc(strength=1.0, reference_sha256=HASH, importance_sha256=HASH)
    one = plan(recipe=wide, algorithm=Scaffold())
    assert isinstance(one, Plan)
    for continual in (ewc, Distillation(weight=1.0, temperature=1.0, reference_sha256=HASH)):
        vectors = 2 + earlier_vectors(continual)
        with pytest.raises(InvalidPlan, match=f"The {vectors} vectors .* {2 * MAX_PARAMETERS}"):
            plan(recipe=wide, algorithm=Scaffold(), continual=continual)
    assert earlier_vectors(None) == 0
    assert FedAvg() == FedAvg(kind="fedavg")
