"""What is suggested fits the data that it is suggested for, and what it says that it costs."""

from dataclasses import replace

import pytest

from federation.local import federation_file, provisioning
from federation.strategy import presets
from policies import site_policy
from policies.decision import AskOwner
from policies.rules import PolicyCase, review
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import ReleaseSchedule
from syft_code.privacy import accounting
from syft_code.recipes.architectures import Fusion, UNet
from syft_code.recipes.recipe import DataSpec, layer_parameters, parameter_count
from tests.plans import known, plan
from tests.shapes import BRAIN, BRAIN_FACTS, SERIES, SKIN, TABLE

SEVEN = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
SKIN_32 = replace(SKIN, height_px=32, width_px=32, classes=SEVEN)
SKIN_FACTS = replace(SKIN_32, facts=("age", "age?"))
BRAIN_25D = replace(BRAIN_FACTS, channels=tuple(f"{m}{o}" for m in BRAIN.channels for o in "-0+"))
TWO_CLASSES = replace(TABLE, facts=("own",), classes=("no", "yes"), positive="", stand_in=False)
DATA = [SKIN_32, SKIN_FACTS, replace(SKIN, height_px=4), BRAIN, BRAIN_FACTS, TABLE, SERIES]


def planned(data: DataSpec, suggestion: presets.Suggestion, *, evaluated: bool = True) -> Plan:
    return plan(data=data, **suggestion.choices(evaluated=evaluated))


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
    policy = provisioning.policy(config, config.hospital[0])
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


def test_no_noise_of_a_small_hospital_can_pass_the_bound_of_sharing() -> None:
    """Its coordinates' noise would; the whole update is cut to a norm that can't."""
    chosen = presets.suggested(SKIN_32)
    agreed = planned(SKIN_32, chosen)
    assert 6 * _deviation(chosen, patients=12) > agreed.sharing.bound
    assert agreed.max_update_norm is not None
    assert agreed.max_update_norm <= agreed.sharing.bound


def test_the_noise_of_a_hospital_with_350_patients_is_not_cut() -> None:
    chosen = presets.suggested(SKIN_32)
    noise = _deviation(chosen, patients=350) * parameter_count(chosen.recipe, SKIN_32) ** 0.5
    assert noise < planned(SKIN_32, chosen).max_update_norm


def _deviation(chosen: presets.Suggestion, *, patients: int) -> float:
    """Of one coordinate's noise in a round: momentum m makes of T steps a sum of gains s_k."""
    dp, sgd = chosen.dp_sgd, chosen.optimizer
    step = sgd.learning_rate * dp.noise_multiplier * dp.max_grad_norm / (dp.sample_rate * patients)
    gains = [sum(sgd.momentum**k for k in range(n)) for n in range(1, dp.steps + 1)]
    return step * sum(gain**2 for gain in gains) ** 0.5
