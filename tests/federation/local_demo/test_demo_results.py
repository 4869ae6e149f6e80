"""What a demo shows: both epsilons, baselines by the same budget, an encoder's study too."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from federation.evaluation import baselines, exact_metrics, model_file
from federation.evaluation.baselines import BEST_ALONE, Baseline
from federation.evaluation.encoded_pictures import EncodedPictures
from federation.evaluation.exact_metrics import PATIENTS, SAMPLING_ERROR, HospitalCohorts
from federation.local_demo import demo_results
from federation.local_demo.demo_results import DemoResults
from federation.reporting.noised_figures import below_a_lone_hospital
from federation.strategy.noise_sharing import with_shared_noise
from syft_code.metrics import segmentation
from syft_code.plans.plan_parts import DpSgd, Evaluation, Sgd
from syft_code.plans.shared_noise import SharedNoise
from syft_code.privacy import epsilons
from syft_code.runtime.encoder_files import EncoderFiles
from tests import encoders
from tests.federation.conftest import BRAIN, RESEARCHER, SKIN, a_plan, run_study, the_hospitals

STEP = DpSgd(noise_multiplier=4.0, max_grad_norm=1.0, sample_rate=0.5, steps=1)
FILE = encoders.file()


def shared_plan(**changes: object):
    own = a_plan(dp_sgd=STEP, optimizer=Sgd(learning_rate=0.5), evaluation=None, **changes)
    return with_shared_noise(own, SharedNoise(colluding=1))


def baseline(name: str, figure: float) -> Baseline:
    return Baseline(
        name=name, private=True, epsilon=1.0, metrics={"balanced_accuracy": figure},
        per_hospital={}, seconds=1.0,
    )  # fmt: skip


def test_an_encoders_study_is_compared_and_pictured_from_its_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "encoders").mkdir()
    (tmp_path / "encoders" / "drawn.pth").write_bytes(FILE)
    monkeypatch.chdir(tmp_path)  # where a report looks for the file
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pictures = EncodedPictures(tmp_path / "features", EncoderFiles(tmp_path / "encoders"))
    plan = shared_plan(recipe=encoders.recipe(FILE, axes=4))
    hospitals = the_hospitals(SKIN)
    encoded = [
        HospitalCohorts(
            name=one.name,
            training=pictures.cohort(one.training, plan.recipe.model),
            held_out=pictures.cohort(one.held_out, plan.recipe.model),
        )
        for one in hospitals
    ]
    demo = run_study(plan, encoded)

    def here(plan, hospitals, *, workers, delta, on_done):
        """Two of the baselines, in this process."""
        return [
            baselines.pooled(plan, hospitals, private=True, delta=delta),
            baselines.alone(plan, hospitals[0], hospitals, delta=delta),
        ]

    monkeypatch.setattr(baselines, "compare", here)
    found = demo_results.write(
        tmp_path, demo.outcome, weights_by_round=demo.weights_by_round, hospitals=hospitals,
        samples=hospitals[0].held_out, budgets={}, key=RESEARCHER, pictures=pictures,
    )  # fmt: skip
    assert found.exact == exact_metrics.exact(plan, demo.outcome.weights, encoded)
    spent = demo.outcome.rounds[-1].epsilon["north"]
    assert [one.epsilon for one in found.baselines] == pytest.approx([spent, spent])
    saved = model_file.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(saved.weights, demo.outcome.weights)
    page = (tmp_path / "report.html").read_text()
    assert "What the model says" in page
    assert "if all other hospitals collude, since noise is shared" in page


def test_the_table_has_both_epsilons_where_noise_is_shared_and_one_where_it_is_not() -> None:
    demo = run_study(shared_plan(), the_hospitals(SKIN))
    found = DemoResults(exact={"balanced_accuracy": 0.5}, baselines=(baseline("alone", 0.4),))
    console = Console(file=io.StringIO(), width=300)
    console.print(demo_results.table(demo.outcome, found))
    last = demo.outcome.rounds[-1]
    (ours,) = [x for x in console.file.getvalue().splitlines() if "this run, exactly" in x]
    assert epsilons.at_least(last.epsilon["north"]) in ours
    assert epsilons.at_least(last.epsilon_alone["north"]) in ours
    assert last.epsilon_alone["north"] > last.epsilon["north"]
    own = run_study(a_plan(evaluation=None), the_hospitals(SKIN))
    assert "collude" not in [str(x.header) for x in demo_results.table(own.outcome, found).columns]


def test_a_federation_below_a_lone_hospital_is_said_with_what_one_run_can_tell() -> None:
    exact = {"balanced_accuracy": 0.5, PATIENTS: 640.0, SAMPLING_ERROR: 0.02}
    others = [baseline("Pooled data, DP-SGD", 0.9), baseline(f"{BEST_ALONE}: a", 0.52)]
    said = below_a_lone_hospital(exact, others, SKIN)
    assert "lies 0.020 below" in said and "640 held-out patients" in said and "0.057" in said
    assert below_a_lone_hospital(exact | {"balanced_accuracy": 0.53}, others, SKIN) == ""
    assert below_a_lone_hospital(exact, others[:1], SKIN) == ""
    dice = [dict.fromkeys(segmentation.regions(BRAIN), figure) for figure in (0.1, 0.5)]
    best = dataclasses.replace(others[1], metrics=dice[1])
    assert "not estimated" in below_a_lone_hospital(dice[0], [best], BRAIN)


def test_a_lone_hospital_that_ranks_better_is_said_too() -> None:
    exact = {"balanced_accuracy": 0.6, "auc": 0.7, PATIENTS: 640.0, SAMPLING_ERROR: 0.02}
    alone = baseline(f"{BEST_ALONE}: a", 0.5)
    better = dataclasses.replace(alone, metrics=alone.metrics | {"auc": 0.75})
    said = below_a_lone_hospital(exact, [better], SKIN)
    assert (
        "AUC lies 0.050 below" in said
        and "balanced accuracy lies" not in said
        and "not estimated" in said
    )


def test_a_long_studys_line_is_measured_at_some_rounds_the_evaluated_and_the_last() -> None:
    plan = dataclasses.replace(
        shared_plan(), rounds=60, evaluation=Evaluation(noise_multiplier=1.0, after_rounds=(31,))
    )
    assert demo_results._measured_rounds(plan, 60) == {*range(5, 61, 5), 31}
    short = dataclasses.replace(shared_plan(), rounds=3)
    assert demo_results._measured_rounds(short, 3) == {1, 2, 3}


def test_the_sampling_error_is_the_spread_of_redrawn_patients() -> None:
    demo = run_study(shared_plan(), the_hospitals(SKIN))
    figures = exact_metrics.exact(demo.outcome.plan, demo.outcome.weights, demo.hospitals)
    everyone = exact_metrics.together([one.held_out for one in demo.hospitals])
    rng = np.random.default_rng(0)
    patients = [
        len(np.unique(everyone.patient[everyone.labels == k])) for k in range(len(SKIN.classes))
    ]
    recalls = [figures[f"recall_{name}"] for name in SKIN.classes]
    redrawn = np.mean(
        [rng.binomial(n, r, 20_000) / n for n, r in zip(patients, recalls, strict=True)], axis=0
    )
    assert figures[SAMPLING_ERROR] == pytest.approx(redrawn.std(), rel=0.03)
