"""What is suggested fits the data that it is suggested for, and what it says that it costs."""

from dataclasses import replace
from pathlib import Path

import pytest

from federation.local import federation_file
from federation.strategy import presets
from federation.strategy.noise_sharing import with_shared_noise
from policies import site_policy
from policies.decision import AskOwner
from policies.rules import PolicyCase, review
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import ReleaseSchedule
from syft_code.plans.shared_noise import SharedNoise
from syft_code.privacy import accounting
from syft_code.recipes.architectures import Fusion, UNet
from syft_code.recipes.encoders import Encoder, Projection
from syft_code.recipes.recipe import DataSpec, layer_parameters, parameter_count
from syft_code.runtime.encoder_files import EncoderFiles
from tests.encoders import GLIOMA
from tests.plans import known, plan
from tests.shapes import BRAIN, BRAIN_FACTS, SERIES, SKIN, TABLE

SEVEN = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
SKIN_32 = replace(SKIN, height_px=32, width_px=32, classes=SEVEN)
SKIN_FACTS = replace(SKIN_32, facts=("age", "age?"))
BRAIN_25D = replace(BRAIN_FACTS, channels=tuple(f"{m}{o}" for m in BRAIN.channels for o in "-0+"))
TWO_CLASSES = replace(TABLE, facts=("own",), classes=("no", "yes"), positive="", stand_in=False)
DATA = [SKIN_32, SKIN_FACTS, replace(SKIN, height_px=4), BRAIN, BRAIN_FACTS, TABLE, SERIES, GLIOMA]


def planned(data: DataSpec, suggestion: presets.Suggestion, *, evaluated: bool = True) -> Plan:
    choices = suggestion.choices(evaluated=evaluated)
    shared = choices.pop("shared_noise")
    agreed = plan(data=data, **choices)
    return agreed if shared is None else with_shared_noise(agreed, shared)


@pytest.mark.parametrize("data", DATA)
def test_what_is_suggested_is_a_plan_for_such_data(data) -> None:
    suggestion = presets.suggested(data)
    agreed = planned(data, suggestion)
    assert agreed.evaluation == suggestion.evaluation
    assert agreed.averaging == suggestion.averaging
    assert planned(data, suggestion, evaluated=False).evaluation is None


@pytest.mark.parametrize("data", DATA)
def test_training_as_suggested_costs_less_than_a_hospitals_usual_budget_of_8(data) -> None:
    agreed = planned(data, presets.suggested(data), evaluated=False)
    assert 6.5 < accounting.epsilon(accounting.plan_events(agreed), delta=1e-5) < 7.6


@pytest.mark.parametrize("data", DATA)
def test_evaluating_as_suggested_does_too(data) -> None:
    agreed = planned(data, presets.suggested(data))
    training = accounting.plan_events(planned(data, presets.suggested(data), evaluated=False))
    alone = accounting.plan_events(agreed)[len(training) :]
    assert 0 < accounting.epsilon(alone, delta=1e-5) < 8


@pytest.mark.parametrize("data", [*DATA, BRAIN_25D, TWO_CLASSES])
@pytest.mark.parametrize("kind", ["ham10000", "heart"])
def test_what_is_suggested_is_allowed_where_nobody_changed_the_policy(data, kind) -> None:
    agreed = replace(
        planned(data, presets.suggested(data)),
        release_schedule=ReleaseSchedule(train_s=1.0, evaluate_s=1.0),
    )
    config = federation_file.default(kind=kind)
    case = PolicyCase(
        plan=agreed,
        hospital=agreed.hospitals[0].name,
        known=known(agreed),
    )
    policy = config.hospital[0].policy(min_hospitals=config.min_hospitals)
    for rules in (policy, site_policy.read(site_policy.text(policy))):
        decision = review(case, rules)
        assert isinstance(decision, AskOwner), decision
        assert decision.question.startswith("The rules allow it"), decision.question


def test_facts_are_used_where_there_are_some() -> None:
    assert isinstance(presets.suggested(SKIN_FACTS).recipe.model, Fusion)
    assert presets.suggested(BRAIN_FACTS).recipe.model == UNet(
        widths=(16, 16), groups=4, facts=True
    )
    assert not presets.suggested(BRAIN).recipe.model.facts


@pytest.mark.parametrize(("side", "input_px"), [(20, 32), (48, 48), (256, 128)])
def test_gliomas_of_three_channels_start_on_the_maps_of_the_encoder_that_is_installed(
    side: int, input_px: int
) -> None:
    model = presets.suggested(replace(GLIOMA, height_px=side, width_px=side)).recipe.model
    assert model.encoder.input_px == input_px
    assert EncoderFiles(Path("nowhere")).has(model.encoder.weights_sha256)


def test_a_transfer_trains_the_last_layer_alone() -> None:
    suggestion = presets.transfer(SKIN_32)
    agreed = planned(SKIN_32, suggestion)
    assert len(layer_parameters(agreed.recipe, SKIN_32)) == agreed.frozen_layers + 1
    assert parameter_count(suggestion.recipe, SKIN_32) == 6_759


def test_classes_weigh_one_over_their_share_so_that_all_count_the_same() -> None:
    weights = presets.suggested(SKIN_32).recipe.loss.class_weights
    cases = [presets.PUBLISHED_CASES[name] for name in SEVEN]
    assert all(
        w * n == pytest.approx(sum(cases) / 7, rel=1e-3)
        for w, n in zip(weights, cases, strict=True)
    )
    assert presets.suggested(replace(SKIN_32, classes=("a", "b"))).recipe.loss.class_weights == ()


def test_priors_are_the_published_shares_where_an_encoder_is_suggested() -> None:
    front = (Encoder(name="efficientnet-lite0", weights_sha256="0" * 64), Projection(features=256))
    suggestion = presets.encoded(SKIN_FACTS, front)
    assert sum(suggestion.recipe.loss.class_priors) == pytest.approx(1.0)
    assert suggestion.recipe.loss.class_priors[SEVEN.index("nv")] == pytest.approx(0.669, abs=1e-3)
    agreed = planned(SKIN_FACTS, suggestion, evaluated=False)
    spent = accounting.epsilon(accounting.plan_events(agreed), delta=1e-5)
    assert spent == pytest.approx(7.85, abs=0.02)


@pytest.mark.parametrize("data", [SKIN_32, SKIN_FACTS, TABLE, SERIES, GLIOMA])
def test_noise_is_shared_where_a_round_is_one_step_and_the_second_figure_is_what_is_said(
    data,
) -> None:
    agreed = planned(data, presets.suggested(data), evaluated=False)
    assert agreed.shared_noise == SharedNoise(colluding=1)
    worst = accounting.epsilon_alone(accounting.plan_events(agreed), delta=1e-5)
    assert f"{worst:.1f} if all other" in " ".join((_made_by(data).__doc__ or "").split())


def _made_by(data: DataSpec) -> object:
    by_kind = {"table": presets.table, "series": presets.series, "lgg": presets.lower_grade_glioma}
    return by_kind.get(data.kind, presets.skin)
