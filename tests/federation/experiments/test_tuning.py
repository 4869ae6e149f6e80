"""Settings are tried on public data alone, within the epsilon and the time that were asked for."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from federation.cli import study_commands
from federation.experiments import tuning
from federation.experiments.tuning import Search, Settings, TuningTrial
from federation.simulation.hospital_data import InMemoryHospitals
from federation.strategy.presets import suggested
from syft_code.errors import InvalidInput
from syft_code.plans.plan_parts import Evaluation
from syft_code.privacy import accounting
from tests.federation.experiments import toy

SMALL = Settings(learning_rate=0.3, max_grad_norm=1.0, sample_rate=0.5, steps=2, rounds=3)
WANTED = Search(study="toy", epsilon=4.0, candidates=4, limit_s=600.0)


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A suggestion of three rounds and two steps, each hospital with its own noise, so that a whole search takes seconds."""
    start = suggested(toy.SPEC)
    dp = replace(start.dp_sgd, max_grad_norm=1.0, sample_rate=0.5, steps=2)
    small = replace(
        start,
        dp_sgd=dp,
        optimizer=replace(start.optimizer, learning_rate=0.3),
        rounds=3,
        evaluation=Evaluation(noise_multiplier=1.0, after_rounds=(3,)),
        shared_noise=None,
    )
    for module in (tuning, tuning.planning):
        monkeypatch.setattr(module, "suggested", lambda data: small)
    monkeypatch.setattr(tuning, "ROUNDS", (2, 3))
    monkeypatch.setattr(tuning, "STEPS", (1, 2))


def noting(seeds: list[int]) -> tuning.Load:
    """The toy's patients, and which seeds were asked for."""

    def load(
        study: str, *, data: str, split: str, seed: int, options: Mapping[str, object]
    ) -> InMemoryHospitals:
        seeds.append(seed)
        return toy.load(study, data=data, split=split, seed=seed, options=options)

    return load


def test_a_search_ranks_whole_studies_within_the_epsilon_the_suggestion_among_them() -> None:
    seeds: list[int] = []
    ranked = tuning.search(WANTED, noting(seeds))
    assert seeds == [0, 1, 2]
    assert len(ranked) == 2, "the suggestion, and the best of the three others"
    assert [one.suggested for one in ranked].count(True) == 1
    assert all(len(one.scores) == 3 and 0 <= one.score <= 1 for one in ranked)
    assert ranked[0].score >= ranked[1].score
    for one in ranked:
        plan = one.plan
        assert (plan.rounds, plan.dp_sgd.steps) == (one.settings.rounds, one.settings.steps)
        assert plan.optimizer.learning_rate == one.settings.learning_rate
        training = [accounting.event(plan, "train")] * plan.rounds
        assert 3.98 < accounting.epsilon(training, delta=1e-5) <= 4.0


def test_a_search_whose_time_is_over_has_tried_the_suggestion_once() -> None:
    (only,) = tuning.search(replace(WANTED, limit_s=1e-6), noting([]))
    assert only.suggested and len(only.scores) == 1


def test_the_same_seed_tries_the_same_settings_and_none_draws_far_more_patients() -> None:
    hospitals = toy.load("toy", data="", split="site", seed=0, options={})
    many = replace(WANTED, candidates=40)
    found = tuning.candidates(many, hospitals)
    assert found == tuning.candidates(many, hospitals)
    assert found[0] == SMALL
    assert found[1:] != tuning.candidates(replace(many, seed=1), hospitals)[1:]
    assert max(one.work for one in found) <= tuning.MOST_WORK * SMALL.work
    assert len(set(found)) == 40


@pytest.mark.parametrize("mark", tuning.HOSPITAL_FILES)
def test_a_hospitals_folder_is_refused_whatever_is_said_of_it(tmp_path: Path, mark: str) -> None:
    (tmp_path / mark).touch()
    inner = tmp_path / "vault" / "cohorts"
    inner.mkdir(parents=True)
    for folder in (tmp_path, inner):
        with pytest.raises(InvalidInput, match="must not see a hospital's patients"):
            tuning.require_public(folder, "published")


@pytest.mark.parametrize("why", ["", "  "])
def test_a_folder_of_which_nobody_says_why_it_is_public_is_refused(
    tmp_path: Path, why: str
) -> None:
    with pytest.raises(InvalidInput, match="say where it is published"):
        tuning.require_public(tmp_path, why)
    tuning.require_public(tmp_path, "UCI, CC BY 4.0")


@pytest.mark.parametrize("changes", [{"candidates": 0}, {"limit_s": 0.0}, {"limit_s": math.nan}])
def test_a_search_for_nothing_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="at least one try"):
        replace(WANTED, **changes)  # type: ignore[arg-type]


def test_the_lines_to_paste_ask_for_the_settings_that_were_found() -> None:
    plan = tuning._Bench(WANTED, toy.load, seed=0).trial(SMALL).plan
    best = TuningTrial(settings=SMALL, plan=plan, suggested=False, scores=(0.5,))
    asked: dict[str, object] = {}
    researcher = SimpleNamespace(
        catalogue=lambda: [SimpleNamespace(spec=toy.SPEC)], study=lambda **all_: asked.update(all_)
    )
    exec(study_commands.lines(best, epsilon=4.0), {"researcher": researcher})  # noqa: S102
    assert asked["epsilon"] == 4.0
    assert asked["dp_sgd"] == plan.dp_sgd
    assert asked["optimizer"] == plan.optimizer
    assert asked["rounds"] == plan.rounds == 3
    assert asked["evaluation"].after_rounds == (3,)  # type: ignore[attr-defined]


def test_the_command_prints_a_table_the_lines_and_that_nothing_was_spent() -> None:
    words = ["tune", "--study", "toy", "--epsilon", "4", "--tries", "2", "--hospitals", "3"]
    told = CliRunner().invoke(study_commands.app(toy.load), words)
    assert told.exit_code == 0, told.output
    parts = ("suggested", "Balanced", "stand-ins", "Nothing was spent", "researcher.study(")
    for part in (*parts, toy.REMARK):
        assert part in told.output


def test_the_command_takes_a_folder_only_with_a_reason(tmp_path: Path) -> None:
    words = ["tune", "--study", "toy", "--epsilon", "4", "--data", str(tmp_path)]
    told = CliRunner().invoke(study_commands.app(toy.load), words)
    assert (
        told.exit_code in (1, 2)
        and "--public" in told.output
        and len(told.output.splitlines()) == 1
    )
