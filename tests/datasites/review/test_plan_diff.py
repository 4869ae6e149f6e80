"""What differs between two plans is shown field by field, and nothing is left out."""

import itertools
import json
from dataclasses import fields, replace

import pytest
from nacl.signing import SigningKey

from datasites.review import plan_diff
from datasites.review.plan_diff import Change
from syft_code.plans.algorithms import (
    Distillation,
    Ewc,
    FedAdagrad,
    FedAdam,
    FedProx,
    FedYogi,
    Scaffold,
)
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import (
    AdaptiveClip,
    Augmentation,
    Compression,
    Evaluation,
    ReleaseSchedule,
    Robust,
    Sgd,
    Sharing,
)
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import Activation, Conv, Pool
from syft_code.recipes.recipe import CrossEntropy
from tests.plans import PURPOSE, Keys, plan, shared_noise_plan

KEYS = Keys()
BEFORE = plan(KEYS)
FIRST, SECOND, THIRD = BEFORE.hospitals


def of(after: Plan, before: Plan = BEFORE) -> list[tuple[str, str, str]]:
    return [(c.field, c.before, c.after) for c in plan_diff.of_plans(before, after)]


def test_two_equal_plans_have_no_row() -> None:
    assert plan_diff.of_plans(BEFORE, plan(KEYS)) == ()


def test_a_changed_number_is_one_row_with_both_values() -> None:
    after = replace(BEFORE, rounds=8, dp_sgd=replace(BEFORE.dp_sgd, noise_multiplier=0.8))
    assert of(after) == [("dp_sgd.noise_multiplier", "1", "0.8"), ("rounds", "3", "8")]


def test_numbers_are_shown_to_the_last_digit() -> None:
    after = replace(BEFORE, dp_sgd=replace(BEFORE.dp_sgd, noise_multiplier=0.9999999))
    assert of(after) == [("dp_sgd.noise_multiplier", "1", "0.9999999")]


def test_who_joins_and_who_leaves_the_roster_are_rows_by_name() -> None:
    fourth = replace(FIRST, name="hospital-4", verify_key="ab" * 32)
    joined, left = of(replace(BEFORE, hospitals=(FIRST, SECOND, fourth)))
    assert joined[0] == "hospitals.hospital-4"
    assert joined[1] == plan_diff.ABSENT
    assert "verify_key abababababababab…" in joined[2]
    assert left[0] == "hospitals.hospital-3"
    assert left[2] == plan_diff.ABSENT


def test_a_member_that_changes_is_one_row_for_each_field() -> None:
    after = replace(BEFORE, hospitals=(FIRST, replace(SECOND, patients=50), THIRD))
    assert of(after) == [("hospitals.hospital-2.patients", "42", "50")]


def test_another_order_of_the_roster_is_a_row_since_the_last_aggregator_gets_the_vector() -> None:
    one, two, three = BEFORE.aggregators
    after = replace(BEFORE, aggregators=(one, three, two))
    assert of(after) == [
        (
            "order of aggregators",
            "aggregator-1, aggregator-2, aggregator-3",
            "aggregator-1, aggregator-3, aggregator-2",
        )
    ]


def test_two_keys_that_begin_alike_are_shown_in_full() -> None:
    first, second = ("ab" * 31 + end for end in ("01", "02"))
    before = replace(BEFORE, researcher_key=first)
    assert of(replace(BEFORE, researcher_key=second), before) == [
        ("researcher_key", json.dumps(first), json.dumps(second))
    ]


def test_a_layer_of_another_kind_is_one_row_and_a_layers_width_another() -> None:
    model = LayerStack(layers=(Conv(channels=8, stride=2), Pool(), *_layers()[2:]))
    after = replace(BEFORE, recipe=replace(BEFORE.recipe, model=model))
    assert of(after) == [
        ("recipe.model.layers.1.channels", "4", "8"),
        ("recipe.model.layers.2", "function relu, kind activation", _pool()),
    ]


def test_a_layer_more_is_a_row_with_all_layers() -> None:
    model = LayerStack(layers=(*_layers(), Activation()))
    (row,) = plan_diff.of_plans(BEFORE, replace(BEFORE, recipe=replace(BEFORE.recipe, model=model)))
    assert row.field == "recipe.model.layers"
    assert row.after.count("activation") == row.before.count("activation") + 1


def test_an_evaluation_that_appears_is_a_row() -> None:
    before = replace(BEFORE, evaluation=None)
    assert of(BEFORE, before) == [
        ("evaluation", plan_diff.ABSENT, "after_rounds 3, noise_multiplier 2")
    ]


def test_how_hospitals_become_one_sum_is_a_row_for_each_field() -> None:
    after = replace(
        BEFORE,
        sharing=replace(BEFORE.sharing, needed=2, ring_bits=64),
        compression=Compression(kept=0.1),
        max_update_norm=0.5,
        frozen_layers=1,
    )
    assert of(after) == [
        ("compression", plan_diff.ABSENT, "error_feedback true, kept 0.1"),
        ("frozen_layers", "0", "1"),
        ("max_update_norm", plan_diff.ABSENT, "0.5"),
        ("sharing.needed", plan_diff.ABSENT, "2"),
        ("sharing.ring_bits", "32", "64"),
    ]
    assert of(replace(BEFORE, algorithm=Scaffold())) == [
        ("algorithm", "kind fedavg", "kind scaffold")
    ]


def test_a_robust_rule_that_appears_and_one_that_changes_are_rows() -> None:
    crowd = Keys(hospitals=tuple(SigningKey.generate() for _ in range(9)))
    rule = Robust(rule="median", groups=3, tolerated=1)
    before, after = plan(crowd), plan(crowd, robust=rule)
    assert of(after, before) == [("robust", plan_diff.ABSENT, "groups 3, rule median, tolerated 1")]
    other = plan(crowd, robust=replace(rule, rule="trimmed_mean"))
    assert of(other, after) == [("robust.rule", "median", "trimmed_mean")]


ADAPTIVE = AdaptiveClip(quantile=0.5, learning_rate=0.2, count_noise_multiplier=10.0)
CERTIFIED = replace(BEFORE.aggregators[0], certificate="x" * 300)
CHANGED: dict[str, tuple[object, ...]] = {
    "study": ("another-study",),
    "researcher_key": ("cd" * 32,),
    "data": (replace(BEFORE.data, stand_in=False),),
    "recipe": (replace(BEFORE.recipe, loss=CrossEntropy(class_weights=(2.0,) * 7)),),
    "dp_sgd": (
        replace(BEFORE.dp_sgd, noise_multiplier=0.8),
        replace(BEFORE.dp_sgd, adaptive=ADAPTIVE),
        replace(BEFORE.dp_sgd, engine="opacus"),
    ),
    "optimizer": (Sgd(learning_rate=0.5, momentum=0.9),),
    "rounds": (8,),
    "algorithm": (
        Scaffold(),
        FedProx(mu=0.1),
        FedProx(mu=0.2),
        FedAdam(learning_rate=0.1),
        FedYogi(learning_rate=0.1),
        FedAdagrad(learning_rate=0.1),
    ),
    "averaging": (0.9,),
    "release_schedule": (
        ReleaseSchedule(train_s=1.0, evaluate_s=2.0),
        ReleaseSchedule(train_s=1.0, evaluate_s=2.0, ticks=1),
    ),
    "start_sha256": ("ab" * 32,),
    "augmentation": (Augmentation(views=2, flips=True),),
    "continual": (
        Ewc(strength=1.0, reference_sha256="ab" * 32, importance_sha256="cd" * 32),
        Distillation(weight=1.0, temperature=2.0, reference_sha256="ab" * 32),
    ),
    "sharing": (Sharing(fraction_bits=23), Sharing(needed=2)),
    "purpose": (
        PURPOSE,
        replace(PURPOSE, aim="Another."),
        replace(PURPOSE, aim="x" * 1000),
        replace(PURPOSE, aim="x" * 999 + "y"),
        replace(PURPOSE, people=("Ada", "Grace")),
        replace(PURPOSE, ethics_approval="EK 1/2026"),
    ),
    "max_update_norm": (0.5,),
    "frozen_layers": (1,),
    "compression": (
        Compression(kept=0.5),
        Compression(kept=0.5, error_feedback=False),
    ),
    "evaluation": (None, Evaluation(noise_multiplier=2.0, after_rounds=(2, 3))),
    "aggregators": (
        (CERTIFIED, *BEFORE.aggregators[1:]),
        (replace(CERTIFIED, certificate="y" * 300), *BEFORE.aggregators[1:]),
    ),
    "hospitals": ((FIRST, SECOND, replace(THIRD, patients=50)),),
}
NEVER_CHANGED_HERE = {"format", "min_hospitals", "robust", "local_norms", "shared_noise"}
"""One value is legal, or this small plan allows no other."""


@pytest.mark.parametrize("field", CHANGED)
def test_whatever_changes_the_hash_is_a_row_of_that_field_with_two_different_sides(
    field: str,
) -> None:
    plans = [BEFORE, *(replace(BEFORE, **{field: value}) for value in CHANGED[field])]  # type: ignore[arg-type]
    for before, after in itertools.permutations(plans, 2):
        rows = plan_diff.of_plans(before, after)
        assert rows
        assert all(field in row.field.replace(" ", ".").split(".") for row in rows)
        assert all(isinstance(row, Change) and row.before != row.after for row in rows)
        assert all(len(row.before) < 300 for row in rows), "a certificate is shown by its hash"


def test_each_field_of_a_plan_is_among_them() -> None:
    assert {field.name for field in fields(Plan)} == set(CHANGED) | NEVER_CHANGED_HERE


def test_noise_that_is_shared_is_a_row() -> None:
    after = shared_noise_plan()
    rows = plan_diff.of_plans(replace(after, shared_noise=None), after)
    assert [(row.field, row.before, row.after) for row in rows] == [
        ("shared_noise", plan_diff.ABSENT, "colluding 1")
    ]


def test_the_same_code_has_no_diff() -> None:
    assert plan_diff.of_code("a\nb\n", "a\nb\n") == ""


def test_a_line_separator_of_unicode_ends_no_line_of_a_diff() -> None:
    assert "+a\u2028b" in plan_diff.of_code("a", "a\u2028b").split("\n")


def _layers() -> tuple[object, ...]:
    model = BEFORE.recipe.model
    assert isinstance(model, LayerStack)
    return model.layers


def _pool() -> str:
    return "function max, kind pool, size_px 2"
