"""A mock run tells an owner how a plan behaves, whatever it does, and never in their process."""

import os
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil
import pytest

import tests
from datasites.data import mock_cohort
from datasites.review import mock_run
from datasites.review.mock_result import MockRun
from datasites.sandbox.spec import Spec, python_paths
from datasites.sandbox.template import Template
from datasites.vault.worker import training_worker
from syft_code.errors import TrainingFailed
from syft_code.plans.algorithms import Distillation, Ewc, FedAdam, FedProx, Scaffold
from syft_code.plans.plan import EVALUATION, Plan
from syft_code.plans.plan_parts import AdaptiveClip, Augmentation, Sgd, Sharing
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import Conv, GlobalAverage, GroupNorm
from syft_code.recipes.recipe import Recipe
from tests.plans import plan

pytestmark = pytest.mark.servers

PLAN = plan()
NORMED = Recipe(
    model=LayerStack(layers=(Conv(channels=4, stride=2), GroupNorm(groups=2), GlobalAverage())),
    loss=PLAN.recipe.loss,
)
EWC = Ewc(strength=1.0, reference_sha256="ab" * 32, importance_sha256="cd" * 32)
ADAPTIVE = AdaptiveClip(quantile=0.5, learning_rate=0.2, count_noise_multiplier=5.0)


def run(agreed: Plan = PLAN, **options: Any) -> MockRun:
    return mock_run.run(agreed, **({"hospital": "hospital-1", "slices": 32} | options))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Template]:
    """The templates that mock runs start."""
    found: list[Template] = []

    def noting(spec: Spec, log: IO[bytes]) -> Template:
        found.append(Template(spec, log))
        return found[-1]

    monkeypatch.setattr(training_worker, "Template", noting)
    return found


def pretend(
    monkeypatch: pytest.MonkeyPatch, *, prepare: str = "nothing", entry: str = "die"
) -> None:
    """Behind the walls, let these functions of `stand_in_workers` run instead of a training."""
    paths = (*python_paths(), str(Path(tests.__file__).parent))
    stand_in = "tests.datasites.review.stand_in_workers"
    monkeypatch.setattr(training_worker, "python_paths", lambda: paths)
    monkeypatch.setattr(training_worker, "_PREPARE", {"consilium": f"{stand_in}:{prepare}"})
    monkeypatch.setattr(training_worker, "_ENTRY", f"{stand_in}:{entry}")


def test_a_plan_is_tried_out_in_a_process_of_its_own_and_leaves_nothing_behind(
    started: list[Template], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    long = replace(PLAN, dp_sgd=replace(PLAN.dp_sgd, steps=60))
    others = set(psutil.Process().children(recursive=True))
    tried = run(long)
    assert tried.ok, tried.sentence
    assert len(started) == 1, "one fresh template for all of it"
    assert started[0].process.pid != os.getpid()
    assert not started[0].alive, "and it has ended"
    assert set(psutil.Process().children(recursive=True)) <= others, "with its workers"
    assert list(tmp_path.iterdir()) == []
    assert (tried.steps, tried.steps_a_round) == (mock_run.MOST_STEPS, 60)
    assert (tried.patients, tried.declared_patients) == (13, 41)
    assert tried.peak_mib and tried.seconds_a_step and tried.seconds_a_round, "each is told"
    assert tried.seconds_an_evaluation, "and of an evaluation"
    update, sums = tried.outputs
    assert (update.purpose, update.length, update.bytes, update.finite) == (
        "train",
        147,
        1176,
        True,
    )
    assert update.norm is not None and update.norm > 0
    assert update.bound == PLAN.sharing.bound
    assert (sums.purpose, sums.length, sums.bound) == ("evaluate", 32, EVALUATION.bound)


def test_an_update_past_the_plans_bound_fails_at_the_airlock() -> None:
    narrow = replace(PLAN, sharing=Sharing(bound=1.0), optimizer=Sgd(learning_rate=1000.0))
    tried = run(replace(narrow, evaluation=None))
    assert not tried.ok
    assert [output.purpose for output in tried.outputs] == ["train"], "no evaluation was planned"
    assert not tried.sentence, "the run itself went well"
    assert "past the plan's bound" in tried.outputs[0].sentence


def test_a_change_of_scaffolds_that_is_past_the_bound_is_told_before_anybody_approves() -> None:
    """The update is a thousand times smaller than what SCAFFOLD shares beside it."""
    slow = {"optimizer": Sgd(learning_rate=1e-4), "evaluation": None}
    tight = replace(PLAN, sharing=Sharing(bound=0.01, fraction_bits=24), **slow)
    assert run(tight).ok
    tried = run(replace(tight, algorithm=Scaffold()))
    assert not tried.ok and not tried.sentence, "the run itself went well"
    assert "past the plan's bound" in tried.outputs[0].sentence


@pytest.mark.parametrize(
    "changes",
    [
        {
            "algorithm": FedAdam(learning_rate=0.1),
            "local_norms": True,
            "averaging": 0.9,
            "continual": EWC,
            "dp_sgd": replace(PLAN.dp_sgd, adaptive=ADAPTIVE),
        },
        {
            "algorithm": FedProx(mu=0.1),
            "continual": Distillation(weight=1.0, temperature=2.0, reference_sha256="ab" * 32),
            "start_sha256": "ef" * 32,
            "augmentation": Augmentation(views=2, flips=True),
        },
        {"dp_sgd": replace(PLAN.dp_sgd, engine="opacus")},
    ],
    ids=["adam, norms, EWC", "prox, distillation, views", "Opacus"],
)
def test_every_choice_of_an_algorithm_is_tried_out(changes: dict[str, Any]) -> None:
    """The vectors of an earlier task are the researcher's: stand-ins take their place here."""
    tried = run(replace(PLAN, recipe=NORMED, **changes))
    assert tried.ok, (tried.sentence, tried.outputs)
    assert [output.purpose for output in tried.outputs] == ["train", "evaluate"]


def test_weights_that_run_away_are_a_result_with_the_trainers_sentence() -> None:
    tried = run(replace(PLAN, optimizer=Sgd(learning_rate=1e42)))
    assert not tried.ok
    assert "Lower the learning rate" in tried.sentence
    assert tried.outputs == ()


def test_a_run_that_hangs_is_ended_in_time_and_is_a_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, entry="hang")
    tried = run(limit_s=1.0)
    assert not tried.ok
    assert tried.sentence == "The mock run was not over after 1 s and was ended."
    assert tried.peak_mib > 0, "read before the end"


def test_a_process_that_never_starts_is_ended_in_time_and_is_a_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, prepare="never_ready")
    tried = run(start_limit_s=1.0)
    assert not tried.ok
    assert tried.sentence == "The training process did not start within 1 s."


def test_a_process_that_dies_in_the_middle_is_a_result(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, entry="die")
    assert run().sentence == "The training process died on the mock: RuntimeError: killed"


def test_loading_the_libraries_does_not_count_for_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pretend(monkeypatch, prepare="ready_late", entry="die")
    tried = run(limit_s=4.0)
    assert tried.sentence == "The training process died on the mock: RuntimeError: killed"
    assert tried.seconds > 4.5, "longer than the limit of a run"


def test_a_process_that_dies_is_a_result_with_its_last_words(
    monkeypatch: pytest.MonkeyPatch, started: list[Template]
) -> None:
    pretend(monkeypatch, prepare="out_of_memory")
    tried = run()
    assert len(started) == 1, "what can't start is not started again"
    assert not tried.ok
    assert tried.sentence == "The training process died on the mock: out of memory"


def test_data_that_no_mock_can_be_drawn_for_is_a_result() -> None:
    strange = replace(PLAN, data=replace(PLAN.data, channels=("grey",)))
    assert "must have the channels" in run(strange).sentence


def test_a_plan_whose_estimate_fails_is_still_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    perform = mock_run._Bench._perform

    def failing(bench: Any, agreed: Plan, purpose: Any, **options: Any) -> bytes:
        if agreed.dp_sgd.sample_rate == 1.0:
            raise TrainingFailed("too late")
        return perform(bench, agreed, purpose, **options)

    monkeypatch.setattr(mock_run._Bench, "_perform", failing)
    tried = run()
    assert tried.ok, tried.sentence
    assert tried.seconds_a_round is None


def test_large_slices_are_drawn_in_small_number(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def noting(spec: object, *, seed: int, slices: int) -> Any:
        drawn.append(slices)
        raise TrainingFailed("enough")

    monkeypatch.setattr(mock_cohort, "draw", noting)
    for size_px in (16, 1024):
        run(replace(PLAN, data=replace(PLAN.data, height_px=size_px, width_px=size_px)))
    assert drawn == [32, mock_run.LEAST_SLICES]


def test_the_mock_is_the_one_of_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[int] = []

    def noting(spec: object, *, seed: int, slices: int) -> Any:
        seeds.append(seed)
        raise TrainingFailed("enough")

    monkeypatch.setattr(mock_cohort, "draw", noting)
    second = tuple(replace(hospital, asset_version=2) for hospital in PLAN.hospitals)
    run(replace(PLAN, hospitals=second))
    assert seeds == [2]


def test_an_output_of_the_wrong_size_or_with_a_nan_does_not_pass() -> None:
    cut = mock_run.weighed("train", bytes(15), length=2, bound=1.0)
    assert (cut.length, cut.bytes) == (1, 15)
    assert "not the size" in cut.sentence
    broken = mock_run.weighed("train", np.array([np.nan, 0.0]).tobytes(), length=2, bound=1.0)
    assert (broken.finite, broken.norm) == (False, None)
    assert "not finite" in broken.sentence
