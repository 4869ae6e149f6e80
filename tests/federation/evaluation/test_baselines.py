"""The baselines train as the hospitals do, and are measured on everybody's held-out patients."""

import dataclasses
import functools
import math

import numpy as np
import pytest

from federation.evaluation import baselines, exact_metrics
from federation.evaluation.exact_metrics import HospitalCohorts
from syft_code.cohort import Cohort
from syft_code.errors import InvalidPlan
from syft_code.learning import dp_sgd
from syft_code.learning.dp_sgd import TrainingRun
from syft_code.metrics import evaluation_sums, scoring
from syft_code.models import networks
from syft_code.plans.plan_parts import Augmentation, DpSgd, Evaluation
from syft_code.privacy import accounting
from syft_code.privacy.noise import NoiseSource

pytestmark = pytest.mark.thorough

QUIET = DpSgd(noise_multiplier=1e-6, max_grad_norm=1.0, sample_rate=1.0, steps=4)
QUIET_STEP = dataclasses.replace(QUIET, steps=1)


class KnownNoise:
    """Real noise from a known key, so that two trainings can be compared bit by bit."""

    @staticmethod
    def from_os() -> NoiseSource:
        return NoiseSource.from_key(b"n" * 32)


def trained(plan, monkeypatch, run) -> np.ndarray:
    """The weights that a baseline ends with."""
    seen: list[np.ndarray] = []
    real = exact_metrics.exact

    def exact(plan, weights, hospitals):
        seen.append(weights)
        return real(plan, weights, hospitals)

    monkeypatch.setattr(baselines, "exact", exact)
    monkeypatch.setattr(baselines, "NoiseSource", KnownNoise)
    run()
    return seen[0]


def test_a_hospital_alone_trains_round_by_round_like_in_the_federation(
    skin_demo, monkeypatch
) -> None:
    plan, hospitals = skin_demo.outcome.plan, skin_demo.hospitals
    weights = trained(plan, monkeypatch, lambda: baselines.alone(plan, hospitals[1], hospitals))
    seed = int(plan.hash[:8], 16)
    expected = networks.initial_weights(plan.recipe, plan.data, seed=seed)
    source = KnownNoise.from_os()
    for _ in range(plan.rounds):
        model = networks.build(plan.recipe, plan.data)
        networks.from_vector(model, expected)
        update = dp_sgd.train(
            model,
            hospitals[1].training,
            TrainingRun(
                recipe=plan.recipe,
                dp=plan.dp_sgd,
                optimizer=plan.optimizer,
                declared_patients=40,
            ),
            randomness=source,
        ).update
        expected = (expected + update).astype(np.float32)
    np.testing.assert_allclose(weights, expected, atol=1e-6)


def test_pooled_training_divides_by_everybodys_declared_patients(skin_demo, monkeypatch) -> None:
    hospitals = skin_demo.hospitals
    plan = dataclasses.replace(skin_demo.outcome.plan, dp_sgd=QUIET)
    double = tuple(dataclasses.replace(h, patients=2 * h.patients) for h in plan.hospitals)
    start = networks.initial_weights(plan.recipe, plan.data, seed=0)
    moved = []
    for roster in (plan.hospitals, double):
        one = dataclasses.replace(
            plan, hospitals=roster, rounds=1, evaluation=None, dp_sgd=QUIET_STEP
        )
        monkeypatch.setattr(baselines.networks, "initial_weights", lambda *a, **k: start)
        weights = trained(
            one, monkeypatch, lambda one=one: baselines.pooled(one, hospitals, private=True)
        )
        moved.append(weights - start)
        monkeypatch.undo()
    np.testing.assert_allclose(moved[0], 2 * moved[1], atol=1e-6)


def test_a_private_baseline_ends_with_the_average_of_its_rounds_like_the_federation(
    skin_demo, monkeypatch
) -> None:
    hospitals = skin_demo.hospitals
    plan = dataclasses.replace(skin_demo.outcome.plan, dp_sgd=QUIET_STEP, evaluation=None)
    start = networks.initial_weights(plan.recipe, plan.data, seed=0)

    def ends_with(rounds: int, averaging: float | None) -> np.ndarray:
        one = dataclasses.replace(plan, rounds=rounds, averaging=averaging)
        monkeypatch.setattr(baselines.networks, "initial_weights", lambda *a, **k: start)
        found = trained(
            one, monkeypatch, lambda: baselines.alone(one, hospitals[0], hospitals, private=True)
        )
        monkeypatch.undo()
        return found

    first, second, third = (ends_with(rounds, None) for rounds in (1, 2, 3))
    expected = (0.25 * first + 0.5 * second + third) / 1.75
    assert np.abs(expected - third).max() > 1e-3
    np.testing.assert_allclose(ends_with(3, 0.5), expected, atol=1e-6)


def test_a_private_baselines_rounds_are_bounded_like_a_hospitals(skin_demo, monkeypatch) -> None:
    hospitals, plan = skin_demo.hospitals, skin_demo.outcome.plan
    start = networks.initial_weights(plan.recipe, plan.data, seed=0)
    moved = []
    for bound in (None, 1e-3):
        one = dataclasses.replace(
            plan, rounds=1, evaluation=None, dp_sgd=QUIET_STEP, max_update_norm=bound
        )
        monkeypatch.setattr(baselines.networks, "initial_weights", lambda *a, **k: start)
        run = functools.partial(baselines.alone, one, hospitals[0], hospitals)
        moved.append(trained(one, monkeypatch, run) - start)
        monkeypatch.undo()
    free, bounded = moved
    expected = free * (1e-3 / np.linalg.norm(free))
    assert np.linalg.norm(free) > 2e-3
    np.testing.assert_allclose(bounded, expected, atol=1e-6)


def test_a_private_baseline_sees_the_views_that_the_plan_asks_for(skin_demo, monkeypatch) -> None:
    hospitals = skin_demo.hospitals
    start = networks.initial_weights(
        skin_demo.outcome.plan.recipe, skin_demo.outcome.plan.data, seed=0
    )
    ends = []
    for views in (None, Augmentation(views=2, flips=True, shift_px=2)):
        one = dataclasses.replace(
            skin_demo.outcome.plan, rounds=1, evaluation=None, dp_sgd=QUIET, augmentation=views
        )
        monkeypatch.setattr(baselines.networks, "initial_weights", lambda *a, **k: start)
        ends.append(
            trained(one, monkeypatch, lambda one=one: baselines.alone(one, hospitals[0], hospitals))
        )
        monkeypatch.undo()
    assert np.abs(ends[0] - ends[1]).max() > 1e-4


def test_a_u_net_without_privacy_takes_larger_steps_than_a_classifier(
    skin_demo, brain_demo, monkeypatch
) -> None:
    rates: list[float] = []

    def watched(*_, learning_rate, **__) -> None:
        rates.append(learning_rate)

    monkeypatch.setattr(baselines.open_training, "train_without_privacy", watched)
    for demo in (skin_demo, brain_demo):
        baselines.alone(demo.outcome.plan, demo.hospitals[3], demo.hospitals, private=False)
    assert rates == [0.002, 0.01]


def test_training_with_little_noise_and_without_any_learn_what_can_be_learned(skin_demo) -> None:
    hospitals = skin_demo.hospitals
    plan = dataclasses.replace(
        skin_demo.outcome.plan,
        dp_sgd=dataclasses.replace(QUIET, steps=30),
        rounds=1,
        evaluation=None,
    )
    for private in (True, False):
        baseline = baselines.pooled(plan, hospitals, private=private)
        assert baseline.metrics["balanced_accuracy"] > 0.9, baseline
        assert baseline.per_hospital.keys() == {"north", "south", "east", "west"}


def test_a_private_baseline_costs_what_the_federations_training_costs(skin_demo) -> None:
    plan, hospitals = skin_demo.outcome.plan, skin_demo.hospitals
    training = [accounting.event(plan, "train")] * plan.rounds
    expected = accounting.epsilon(training, delta=1e-5)
    assert baselines.pooled(plan, hospitals, private=True, delta=1e-5).epsilon == expected
    assert baselines.alone(plan, hospitals[3], hospitals, delta=1e-5).epsilon == expected
    assert baselines.pooled(plan, hospitals, private=True).epsilon is None
    assert baselines.pooled(plan, hospitals, private=False, delta=1e-5).epsilon is None


def test_compare_runs_all_and_returns_the_three_that_matter(skin_demo) -> None:
    plan, hospitals = skin_demo.outcome.plan, skin_demo.hospitals
    told: list[str] = []
    found = baselines.compare(
        plan, hospitals, workers=2, delta=1e-5, on_done=lambda b: told.append(b.name)
    )
    assert [b.private for b in found] == [False, True, True]
    assert [b.name for b in found[:2]] == ["Pooled data, no privacy", "Pooled data, DP-SGD"]
    assert len(told) == 6
    best = found[2].name.removeprefix("Best single hospital: ")
    assert best in told and best.endswith(" alone, DP-SGD")
    assert all(b.metrics[exact_metrics.PATIENTS] == 48 for b in found)


@pytest.mark.slow
def test_the_best_single_hospital_is_the_best_by_the_main_metric(brain_demo) -> None:
    # Enough steps that some hospital finds a tumour, whatever weights the plan's hash starts from.
    dp = DpSgd(noise_multiplier=0.01, max_grad_norm=1.0, sample_rate=0.5, steps=12)
    plan = dataclasses.replace(brain_demo.outcome.plan, rounds=1, evaluation=None, dp_sgd=dp)
    told: list[baselines.Baseline] = []
    *_, best = baselines.compare(plan, brain_demo.hospitals, on_done=told.append)
    alone = [one.metrics["mean_dice"] for one in told if one.name.endswith(" alone, DP-SGD")]
    assert len(alone) == 4
    assert best.metrics["mean_dice"] == max(alone) > min(alone)


def test_a_failing_baseline_ends_the_comparison_with_its_sentence(skin_demo) -> None:
    hospitals = [dataclasses.replace(h, name=f"{h.name}-x") for h in skin_demo.hospitals]
    with pytest.raises(InvalidPlan, match="is not a hospital of the study"):
        baselines.compare(skin_demo.outcome.plan, hospitals, workers=1)


def test_exact_figures_are_those_over_all_held_out_patients_together(skin_demo) -> None:
    plan, hospitals = skin_demo.outcome.plan, skin_demo.hospitals
    found = exact_metrics.exact(plan, skin_demo.outcome.weights, hospitals)
    everyone = Cohort(
        images=np.concatenate([h.held_out.images for h in hospitals]),
        labels=np.concatenate([h.held_out.labels for h in hospitals]),
        patient=np.concatenate(
            [h.held_out.patient + 12 * i for i, h in enumerate(hospitals)]
        ).astype(np.int32),
    )
    model = networks.build(plan.recipe, plan.data)
    networks.from_vector(model, skin_demo.outcome.weights)
    expected = evaluation_sums.exact(model, everyone, plan.data)
    assert {key: found[key] for key in expected} == pytest.approx(expected)
    assert found[exact_metrics.PATIENTS] == 48
    assert found[exact_metrics.ON_TRAINING_PATIENTS] == 0.0
    own = evaluation_sums.exact(model, hospitals[2].held_out, plan.data)["balanced_accuracy"]
    assert found["east/balanced_accuracy"] == pytest.approx(own)


def test_without_held_out_patients_the_flag_says_that_these_are_training_patients(
    skin_demo,
) -> None:
    plan = skin_demo.outcome.plan
    nobody = skin_demo.hospitals[0].held_out.select(np.zeros(12, dtype=np.bool_))
    bare = [dataclasses.replace(h, held_out=nobody) for h in skin_demo.hospitals]
    found = exact_metrics.exact(plan, skin_demo.outcome.weights, bare)
    assert found[exact_metrics.ON_TRAINING_PATIENTS] == 1.0
    assert found[exact_metrics.PATIENTS] == 150
    some = [skin_demo.hospitals[0], *bare[1:]]
    found = exact_metrics.exact(plan, skin_demo.outcome.weights, some)
    assert (found[exact_metrics.ON_TRAINING_PATIENTS], found[exact_metrics.PATIENTS]) == (0.0, 12)
    assert "north/balanced_accuracy" in found and "south/balanced_accuracy" not in found


def test_a_class_that_nobody_has_does_not_lower_balanced_accuracy(skin_demo) -> None:
    plan = skin_demo.outcome.plan
    cohort = skin_demo.hospitals[0].held_out

    def figures(*classes: int) -> exact_metrics.Figures:
        chosen = np.zeros(12, dtype=np.bool_)
        chosen[np.unique(cohort.patient[np.isin(cohort.labels, classes)])] = True
        one = HospitalCohorts(name="north", training=cohort, held_out=cohort.select(chosen))
        return exact_metrics.exact(plan, skin_demo.outcome.weights, [one])

    two = figures(0, 2)
    recalls = {name for name in two if name.startswith("recall_")}
    assert len(recalls) == 2
    assert two["balanced_accuracy"] == pytest.approx(np.mean([two[name] for name in recalls]))
    one = figures(2)
    assert one["recall_nv"] == one["accuracy"]
    unmeasured = {"recall_mel", "auc", "balanced_accuracy", "north/balanced_accuracy"}
    assert not unmeasured & one.keys()


def test_a_region_that_nobody_has_has_no_dice(brain_demo) -> None:
    plan, weights = brain_demo.outcome.plan, brain_demo.outcome.weights

    def figures(most: int) -> exact_metrics.Figures:
        there = [
            dataclasses.replace(
                one,
                held_out=dataclasses.replace(
                    one.held_out,
                    labels=np.where(one.held_out.labels > most, 0, one.held_out.labels),
                ),
            )
            for one in brain_demo.hospitals
        ]
        return exact_metrics.exact(plan, weights, there)

    known = figures(2)
    assert not {"dice_enhancing", "hd95_enhancing", "hd95_uncut_enhancing"} & known.keys()
    assert known["mean_dice"] == pytest.approx((known["dice_whole"] + known["dice_core"]) / 2)
    assert not any("dice" in name for name in figures(0) if "noise_error" not in name)


def test_the_stated_noise_of_accuracy_is_that_of_the_delta_method(skin_demo) -> None:
    plan = dataclasses.replace(
        skin_demo.outcome.plan, evaluation=Evaluation(noise_multiplier=0.4, after_rounds=(1,))
    )
    model = networks.build(plan.recipe, plan.data)
    always_the_first = np.zeros_like(networks.to_vector(model))
    networks.from_vector(model, always_the_first)
    found = exact_metrics.exact(plan, always_the_first, skin_demo.hospitals)
    std, patients, classes = 0.4 * math.sqrt(2) * math.sqrt(4), 48, 3
    right = scoring.report(
        sum(
            evaluation_sums.patient_sums(model, h.held_out, plan.data) for h in skin_demo.hospitals
        ),
        plan.data,
    )["accuracy"]
    expected = std * math.sqrt(classes * ((1 - right) ** 2 + right**2)) / patients
    assert found["noise_error/accuracy"] == pytest.approx(expected, rel=0.15)


def test_segmentation_is_judged_by_the_mean_of_its_regions(brain_demo) -> None:
    plan = brain_demo.outcome.plan
    found = exact_metrics.exact(plan, brain_demo.outcome.weights, brain_demo.hospitals)
    regions = [found["dice_whole"], found["dice_core"], found["dice_enhancing"]]
    assert found["mean_dice"] == pytest.approx(np.mean(regions))
    assert exact_metrics.per_hospital(found, plan.data).keys() == {"north", "south", "east", "west"}
    assert math.isnan(exact_metrics.main_metric({}, plan.data))


def test_cohorts_put_together_keep_every_patient_apart(brain_demo) -> None:
    parts = [hospital.training for hospital in brain_demo.hospitals]
    whole = exact_metrics.together(parts)
    assert whole.patients == 150
    assert len(whole.images) == sum(len(part.images) for part in parts)
    np.testing.assert_array_equal(whole.patient[120:200], parts[1].patient + 60)
    np.testing.assert_array_equal(whole.images[120:200], parts[1].images)


def test_patients_are_never_printed(skin_demo) -> None:
    text = repr(skin_demo.hospitals[0])
    assert "array" not in text and "labels" not in text
