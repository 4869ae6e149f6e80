"""An experiment's grid, its noise, its rows; and that stopping it changes nothing."""

import csv
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console
from safetensors.numpy import save as encode
from typer.testing import CliRunner

from federation.cli import experiment_commands
from federation.evaluation import model_file, pretraining
from federation.experiments import (
    cell_metrics,
    planning,
    results_table,
    run,
    run_cell,
    spec,
    summary,
)
from federation.experiments.cell import Cell, cells
from federation.experiments.cell_metrics import MetricRow
from federation.experiments.run import How
from federation.simulation.simulation import UNCLIPPED
from syft_code.errors import ConsiliumError, InvalidInput, InvalidPlan
from syft_code.metrics import evaluation_sums
from syft_code.models import networks
from syft_code.plans.algorithms import Scaffold
from syft_code.privacy import accounting
from syft_code.recipes.architectures import LayerStack
from tests.federation.experiments import toy
from tests.waiting import until

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parents[3]
QUIET = Console(quiet=True)
ENDS_S = 240.0


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in an experiment's processes: sums in another order are other bytes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def written(folder: Path, text: str = toy.TOML) -> Path:
    path = folder / "toy.toml"
    path.write_text(text, encoding="utf-8")
    return path


def grid(tmp_path: Path, text: str = toy.TOML) -> list[Cell]:
    return cells(spec.load(written(tmp_path, text)))


def chosen(tmp_path: Path, algorithm: str, epsilon: object, text: str = toy.TOML) -> Cell:
    return next(c for c in grid(tmp_path, text) if (c.algorithm, c.epsilon) == (algorithm, epsilon))


def people(cell: Cell):  # type: ignore[no-untyped-def]
    return toy.load(
        cell.study, data=cell.data, split=cell.split, seed=cell.seed, options=dict(cell.options)
    )


# The grid


def test_a_grid_is_every_combination_once_with_references_first(tmp_path: Path) -> None:
    every = grid(tmp_path)
    labels = [(c.seed, c.epsilon, c.algorithm) for c in every]
    assert len(set(labels)) == len(labels) == 2 * 2 * 4
    assert labels[:4] == [(0, "none", a) for a in ("pooled", "alone", "SCAFFOLD", "FedAdam")]
    assert len({cell.key for cell in every}) == len(every)


def test_a_cells_name_follows_from_everything_that_its_figures_follow_from(tmp_path: Path) -> None:
    (cell, *_) = grid(tmp_path)
    changed = [
        replace(cell, seed=7),
        replace(cell, changes="{}"),
        replace(cell, delta=1e-6),
        replace(cell, start_sha256="0" * 64),
        replace(cell, options=(("hospitals", 4),)),
        replace(cell, data="elsewhere"),
    ]
    assert len({cell.key, *(one.key for one in changed)}) == 7
    assert replace(cell, start="moved.npy").key == cell.key


def test_changes_apply_in_their_order_and_at_their_epsilon(tmp_path: Path) -> None:
    text = toy.TOML.replace("rounds = 4", "rounds = 4\nmax_update_norm = 5.0") + (
        "[[lever]]\nname = 'late'\nplan = { rounds = 9, dp_sgd = { steps = 1 } }\n"
        "at = [{ epsilon = 8, plan = { rounds = 7 } }]\nreferences = []\n"
    )
    found = {
        epsilon: planning.plan(chosen(tmp_path, "SCAFFOLD", epsilon, text), people_of(epsilon))
        for epsilon in ("none", 8.0)
        for people_of in [lambda e: people(chosen(tmp_path, "SCAFFOLD", e, text))]
    }
    assert (found["none"].rounds, found[8.0].rounds) == (9, 7)
    assert found[8.0].dp_sgd.steps == 1 and found[8.0].dp_sgd.sample_rate == 0.5
    assert found[8.0].max_update_norm == 5.0 and isinstance(found[8.0].algorithm, Scaffold)
    assert {cell.algorithm for cell in grid(tmp_path, text)} == {"SCAFFOLD", "FedAdam"}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("name = 1\n", "In .*toy.toml, name"),
        (toy.TOML.replace("seeds", "seedz"), "seedz"),
        (toy.TOML.replace('"none", 8', '"some"'), "epsilons.0: an epsilon must be a finite number"),
        (toy.TOML.replace('"none", 8', "-1"), "above 0, or 'none'"),
        (toy.TOML.replace('"none", 8', "nan"), "above 0, or 'none'"),
        (toy.TOML.replace('"none", 8', ""), "epsilons must be at least one"),
        (toy.TOML.replace("[0, 1]", "[]"), "seeds must be at least one"),
        (toy.TOML.replace("[0, 1]", "[1, 1]"), "each another"),
        (toy.TOML.replace("[0, 1]", "[0, -1]"), "whole number from 0"),
        (toy.TOML.replace('"SCAFFOLD"', '"pooled"'), "references"),
        (toy.TOML.replace('"SCAFFOLD"', '"FedAdam"'), "name of its own"),
        ("][", "must be a TOML file"),
        (toy.TOML + "start = 'nowhere.npy'\n", "nowhere.npy"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_in_a_sentence(
    tmp_path: Path, wrong: str, told: str
) -> None:
    with pytest.raises(InvalidInput, match=told):
        grid(tmp_path, wrong)


def test_a_plan_that_can_not_be_is_told_in_a_sentence(tmp_path: Path) -> None:
    cell = chosen(tmp_path, "pooled", 8.0, toy.TOML.replace("rounds = 4", "roundz = 4"))
    with pytest.raises(InvalidPlan, match="roundz"):
        planning.plan(cell, people(cell))


# Privacy


@pytest.mark.parametrize("target", [1.0, 8.0])
def test_the_noise_is_the_least_that_keeps_to_the_epsilon(tmp_path: Path, target: float) -> None:
    cell = replace(chosen(tmp_path, "SCAFFOLD", 8.0), epsilon=target)
    found = planning.plan(cell, people(cell))
    spent = accounting.epsilon(accounting.plan_events(found), delta=cell.delta)
    assert 0.98 * target <= spent <= target


def test_a_reference_without_privacy_neither_clips_nor_noises(tmp_path: Path) -> None:
    cell = chosen(tmp_path, "pooled", "none")
    assert planning.plan(cell, people(cell)).dp_sgd.max_grad_norm == UNCLIPPED
    run_cell.run(cell, toy.load, tmp_path)
    finished = json.loads(run_cell.path(cell, tmp_path).read_text())
    assert finished["noise_multiplier"] == 0.0 and finished["epsilon_spent"] is None
    assert finished["lost"] == 0
    auc = [row["value"] for row in finished["rows"] if row["metric"] == "auc"]
    assert max(auc) > 0.8


def test_start_weights_of_a_file_are_where_training_starts(tmp_path: Path) -> None:
    drawn = planning.plan(one := chosen(tmp_path, "FedAdam", "none"), people(one))
    size = len(planning.start_weights(one, drawn.recipe, drawn.data))
    np.save(tmp_path / "start_0.npy", np.full(size, 0.5, np.float32))
    np.save(tmp_path / "start_1.npy", np.full(size, 0.25, np.float32))
    text = toy.TOML + f"start = '{tmp_path}/start_{{seed}}.npy'\n"
    (cell,) = [c for c in grid(tmp_path, text) if c.key.startswith("toy_fedadam_none_site_plain_1")]
    assert (planning.start_weights(cell, drawn.recipe, drawn.data) == 0.25).all()
    assert planning.plan(cell, people(cell)).start_sha256 != drawn.start_sha256
    np.save(tmp_path / "start_1.npy", np.full(size + 1, 0.25, np.float32))
    with pytest.raises(InvalidInput, match=f"{size} finite numbers"):
        planning.start_weights(cell, drawn.recipe, drawn.data)


def test_axes_may_be_a_file_for_each_seed_and_a_cell_is_known_by_their_bytes(
    tmp_path: Path,
) -> None:
    axes = f"axes_sha256 = '{tmp_path}/axes_{{seed}}.safetensors'"
    layers = f"[{{ kind = 'projection', features = 2, {axes} }}]"
    plan = f"plan = {{ recipe = {{ model = {{ layers = {layers} }} }} }}"
    text = f"{toy.TOML}[[algorithm]]\nname = 'along axes'\n{plan}\n"
    with pytest.raises(InvalidInput, match=r"axes_0.safetensors must hold the axes of a proj"):
        grid(tmp_path, text)
    for odd in ("{0}", "{", "{seed.x}", "{study!r:>9}"):
        with pytest.raises(InvalidInput, match="must hold the axes of a projection"):
            grid(tmp_path, text.replace("{seed}", odd))
    for seed in (0, 1):
        (tmp_path / f"axes_{seed}.safetensors").write_bytes(bytes([seed]))
    first = [one for one in grid(tmp_path, text) if one.algorithm == "along axes"]
    for one in first:
        assert hashlib.sha256(bytes([one.seed])).hexdigest() in one.changes
    (tmp_path / "axes_1.safetensors").write_bytes(b"other")
    again = {one.key for one in grid(tmp_path, text)}
    assert [one.key in again for one in first] == [one.seed == 0 for one in first]


def test_a_file_of_pre_trained_weights_and_a_trained_model_start_a_cell_too(tmp_path: Path) -> None:
    cell = chosen(tmp_path, "FedAdam", "none")
    found = planning.plan(cell, people(cell))
    learnt = pretraining.pretrain(
        found.recipe, toy.cohort(20, [7]), found.data, trained_on="drawn rows"
    )
    pretraining.save(path := tmp_path / "start.safetensors", learnt)
    cell = replace(cell, start=str(path))
    assert np.array_equal(planning.start_weights(cell, found.recipe, found.data), learnt.weights)
    model_file.write(path, found, learnt.weights + 1)
    ended = planning.start_weights(cell, found.recipe, found.data)
    assert np.array_equal(ended, learnt.weights + 1)


def test_weights_pre_trained_for_another_network_are_refused(tmp_path: Path) -> None:
    cell = chosen(tmp_path, "FedAdam", "none")
    found = planning.plan(cell, people(cell))
    other = replace(found.recipe, model=LayerStack(layers=()))
    learnt = pretraining.pretrain(other, toy.cohort(20, [7]), found.data, trained_on="drawn rows")
    pretraining.save(path := tmp_path / "start.safetensors", learnt)
    with pytest.raises(InvalidPlan, match="were trained for another one"):
        planning.start_weights(replace(cell, start=str(path)), found.recipe, found.data)


@pytest.mark.parametrize("name", ["start.safetensors", "start.npy"])
def test_a_file_that_holds_no_start_weights_is_refused_in_a_sentence(
    tmp_path: Path, name: str
) -> None:
    cell = replace(chosen(tmp_path, "FedAdam", "none"), start=str(tmp_path / name))
    plan = planning.plan(replace(cell, start=""), people(cell))
    results_table = io.BytesIO()
    np.savez(results_table, weights=np.zeros(3))
    for bad in (
        b"",
        b"no weights",
        b"PK\x03\x04",
        results_table.getvalue(),
        encode({"weights": np.zeros(3, np.float32)}, metadata={"consilium": '{"format": "x"}'}),
        encode({"weights": np.zeros(3, np.float32)}, metadata={"consilium": "[1]"}),
    ):
        Path(cell.start).write_bytes(bad)
        with pytest.raises(InvalidInput, match=r"must be start weights: .* It is none of them"):
            planning.start_weights(cell, plan.recipe, plan.data)


def test_start_weights_that_are_not_finite_or_have_changed_since_are_refused(
    tmp_path: Path,
) -> None:
    cell = chosen(tmp_path, "FedAdam", "none")
    plan = planning.plan(cell, people(cell))
    start = planning.start_weights(cell, plan.recipe, plan.data)
    np.save(path := tmp_path / "start.npy", start)
    text = toy.TOML + f"start = '{path}'\n"
    chosen(tmp_path, "FedAdam", "none", text).check_start()
    changed = chosen(tmp_path, "FedAdam", "none", text)
    np.save(path, start * np.nan)
    with pytest.raises(InvalidInput, match="must stay as it was when the grid began"):
        run_cell.run(changed, toy.load, tmp_path)
    with pytest.raises(InvalidInput, match="finite numbers in float32"):
        planning.start_weights(changed, plan.recipe, plan.data)


# Rows


def row(
    scope: str, site: str, value: float, metric: str = "auc", trained_at: str = ""
) -> MetricRow:
    return MetricRow(
        scope=scope,
        site=site,
        metric=metric,
        value=value,
        patients=5,
        round=1,
        trained_at=trained_at,
    )


def test_best_and_worst_are_the_other_way_round_for_a_distance() -> None:
    rows = [row("alone", "", v, m, f"h{v}") for v in (0.2, 0.9) for m in ("auc", "hd95_whole")]
    rows += [row("federated", f"h{v}", v, m) for v in (0.3, 0.8) for m in ("auc", "hd95_whole")]
    rows += [row("federated", "", 0.1), row("local only", "h1", 0.99)]
    found = {(r.scope, r.metric): r.value for r in cell_metrics.derived(rows)}
    assert found == {
        ("best single site", "auc"): 0.9,
        ("best single site", "hd95_whole"): 0.2,
        ("worst site, federated", "auc"): 0.3,
        ("worst site, federated", "hd95_whole"): 0.8,
    }


def test_the_worst_group_and_the_largest_gap_are_of_one_fact() -> None:
    groups = {"sex=f": 0.8, "sex=m": 0.7, "age, lower third": 0.6, "age, upper third": 0.65}
    rows = [row("group, federated", name, value) for name, value in groups.items()]
    worst, gap = cell_metrics.derived(rows)
    assert (worst.scope, worst.site, worst.value) == (
        "worst group, federated",
        "age, lower third",
        0.6,
    )
    assert (gap.scope, gap.site) == ("gap, federated", "sex")
    assert gap.value == pytest.approx(0.1)


def test_a_fact_with_one_group_that_is_large_enough_has_no_gap() -> None:
    (worst,) = cell_metrics.derived([row("group, federated", "sex=f", 0.8)])
    assert worst.scope == "worst group, federated"


def test_with_local_normalisation_each_site_is_measured_with_its_own_model(tmp_path: Path) -> None:
    text = toy.TOML.replace(
        'layers = [{ kind = "linear", features = 3 }]',
        'layers = [{ kind = "linear", features = 4 }, { kind = "group_norm", groups = 2 }]',
    ).replace('{ kind = "scaffold" }', '{ kind = "fedprox", mu = 0.1 }, local_norms = true')
    cell = chosen(tmp_path, "SCAFFOLD", "none", text)
    everyone = people(cell)
    part = run_cell.CellPart(scope="federated", name="federation", hospitals=everyone)
    done = run_cell._Run(cell, part, everyone, tmp_path / "work")
    done.to_the_end()
    used = [done._simulation.delivered(name, 4, done._model) for name in everyone.names]
    assert len({weights.tobytes() for weights in used}) == 3
    last = [row for row in done.rows if row.round == 4 and row.metric == "auc"]
    (mean,) = [row for row in last if not row.site]
    sites = {row.site: row for row in last if row.site}
    weights = [row.patients for row in sites.values()]
    assert mean.value == pytest.approx(
        np.average([r.value for r in sites.values()], weights=weights)
    )
    for name, own in zip(everyone.names, used, strict=True):
        network = networks.build(done.plan.recipe, done.plan.data)
        networks.from_vector(network, own)
        found = evaluation_sums.exact(network, everyone.held_out(name), done.plan.data)
        assert sites[name].value == pytest.approx(found["auc"])


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole toy experiment, in one go."""
    folder = tmp_path_factory.mktemp("whole")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    finish(written(folder), folder / "out")
    torch.set_num_threads(before)
    return folder / "out"


def finish(file: Path, out: Path) -> None:
    """Run in this process what is not there yet: what the processes of an experiment run."""
    for cell in cells(spec.load(file)):
        run_cell.run(cell, toy.load, out)
    run.write(spec.load(file), out)


def test_the_table_has_every_scope_and_is_the_same_as_csv_and_parquet(uninterrupted: Path) -> None:
    with (uninterrupted / "results.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(results_table.COLUMNS)
    parquet = pq.read_table(uninterrupted / "results.parquet").to_pylist()
    assert len(parquet) == len(rows)
    for one, other in zip(rows, parquet, strict=True):
        assert {k: "" if v is None else str(v) for k, v in other.items()} == one
    assert {r["scope"] for r in rows} == {
        "pooled", "alone", "local only", "best single site", "federated",
        "worst site, federated", "worst site, pooled", "group, federated", "group, pooled",
        "worst group, federated", "worst group, pooled",
    }  # fmt: skip
    assert {r["stand_in"] for r in rows} == {"True"}
    assert {r["round"] for r in rows} == {"2", "4"}
    federated = [r for r in rows if r["scope"] == "federated"]
    assert {r["site"] for r in federated} == {"", "hospital-1", "hospital-2", "hospital-3"}
    sent = {r["algorithm"]: int(r["bytes_up"]) for r in federated}
    assert sent["SCAFFOLD"] > sent["FedAdam"] > 0
    assert all(float(r["epsilon_spent"]) <= 8 for r in rows if r["epsilon"] == "8")
    with (uninterrupted / "timings.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 16


def test_the_report_says_stand_in_and_has_means_over_seeds(uninterrupted: Path) -> None:
    text = (uninterrupted / "report.md").read_text(encoding="utf-8")
    assert summary.STAND_IN in text and "2 seeds" in text
    (line,) = [one for one in text.splitlines() if one.startswith("| 8 | pooled | ")]
    with (uninterrupted / "results.csv").open(encoding="utf-8") as file:
        values = [
            float(r["value"])
            for r in csv.DictReader(file)
            if (r["scope"], r["site"], r["metric"]) == ("pooled", "", "auc")
            and (r["epsilon"], r["round"]) == ("8", "4")
        ]
    assert f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}" in line
    assert "FedAdam, federated, worst site" in text
    assert text.count(toy.REMARK) == 1 and "## Remarks on the data" in text


def test_a_cell_of_another_format_is_named(tmp_path: Path) -> None:
    alone = chosen(tmp_path, "alone", "none")
    path = run_cell.path(alone, tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text('{"format": 1}')
    with pytest.raises(InvalidInput, match="of format 1: run the experiment in a new folder"):
        results_table.records([alone], tmp_path)


def test_the_report_says_which_models_not_everybody_could_contribute_to(
    tmp_path: Path, uninterrupted: Path
) -> None:
    assert "lost" not in (uninterrupted / "report.md").read_text(encoding="utf-8")
    text = toy.TOML.replace("learning_rate = 0.3", "learning_rate = 1e300")
    alone = chosen(tmp_path, "alone", "none", text)
    run_cell.run(alone, toy.load, tmp_path)
    said = summary.markdown("x", results_table.records([alone], tmp_path))
    assert "**alone at epsilon none lost 12 contributions** in 1 cells" in said
    assert "went on without them or" in said


def test_every_figure_is_a_picture(uninterrupted: Path) -> None:
    pictures = sorted(path.name for path in uninterrupted.glob("*.png"))
    assert "cost_toy_site.png" in pictures and "utility_toy_site_auc.png" in pictures
    assert "sites_toy_site_balanced_accuracy.png" in pictures
    for name in pictures:
        assert (uninterrupted / name).read_bytes().startswith(b"\x89PNG")


# Stopping and going on


def same_bytes(one: Path, other: Path) -> None:
    """All but what says how long it took."""
    names = {p.relative_to(one) for p in one.rglob("*") if p.is_file()}
    assert names == {p.relative_to(other) for p in other.rglob("*") if p.is_file()}
    for name in sorted(names):
        if name.parts[0] != "times" and not name.name.startswith(("timings", "cost")):
            assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize(
    "how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
@pytest.mark.servers
def test_an_experiment_that_is_stopped_goes_on_and_ends_with_the_same_bytes(
    uninterrupted: Path, tmp_path: Path, how: signal.Signals
) -> None:
    """Takes its time: it starts real processes, and ends them in the middle of a cell."""
    out = tmp_path / "out"
    file = written(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", SLOWED, "run", str(file), "--out", str(out), "--workers", "1"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            until(lambda: "round 1/4" in underway(out), within_s=ENDS_S)
            workers = children(process.pid)
            process.send_signal(how)
            process.wait(timeout=ENDS_S)
        finally:
            process.kill()
    until(lambda: not any(map(alive, workers)), within_s=ENDS_S)  # or they would write on
    assert underway(out) and list(out.glob("cells/*.json"))
    assert not (out / "results.csv").exists()
    finish(file, out)
    same_bytes(uninterrupted, out)


SLOWED = """
import signal
import sys
from tests.federation.experiments import toy
from federation.cli import experiment_commands
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` ignores it
experiment_commands.app(toy.load_slowly)(sys.argv[1:])
"""


def underway(out: Path) -> list[str]:
    """How far SCAFFOLD's cells are, which are slow, if some of their rounds are on disk and not all."""
    found = []
    for note in out.glob("work/*_scaffold_*/*/round"):
        try:
            found.append(note.read_text())
        except OSError:
            continue
    return [text for text in found if text != "round 4/4"]


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("what", ["torn", "of another plan"])
def test_a_state_that_is_not_its_own_or_not_whole_is_not_taken_up(
    tmp_path: Path, what: str
) -> None:
    cell = chosen(tmp_path, "FedAdam", 8.0)
    run_cell.run(cell, toy.load, tmp_path / "whole")
    work = tmp_path / "again" / "work" / cell.key / "federation"
    work.mkdir(parents=True)
    (work / "state.npz").write_bytes(b"PK\x03\x04 torn" if what == "torn" else _other(tmp_path))
    run_cell.run(cell, toy.load, tmp_path / "again")
    assert (
        run_cell.path(cell, tmp_path / "whole").read_bytes()
        == run_cell.path(cell, tmp_path / "again").read_bytes()
    )


def _other(tmp_path: Path) -> bytes:
    """The state at the end of the same cell without noise."""
    cell = chosen(tmp_path, "FedAdam", "none")
    everyone = people(cell)
    part = run_cell.CellPart(scope="federated", name="federation", hospitals=everyone)
    run_cell._Run(cell, part, everyone, tmp_path / "other").to_the_end()
    return (tmp_path / "other" / "state.npz").read_bytes()


def test_a_cell_that_is_done_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = chosen(tmp_path, "pooled", "none")
    run_cell.run(cell, toy.load, tmp_path)
    monkeypatch.setattr(toy, "cohort", lambda *_: pytest.fail("it was run again"))
    run_cell.run(cell, toy.load, tmp_path)


def test_a_cell_that_fails_ends_the_experiment_and_says_why(tmp_path: Path) -> None:
    text = toy.TOML.replace('name = "toy"\noptions', 'name = "unknown"\noptions')
    experiment = spec.load(written(tmp_path, text))
    with pytest.raises(ConsiliumError, match="unknown"):
        run.run(experiment, toy.load, tmp_path / "out", How(workers=1), console=QUIET)


# The command


def test_the_commands_list_and_report_what_is_there(uninterrupted: Path, tmp_path: Path) -> None:
    app, file = experiment_commands.app(toy.load), written(tmp_path)
    listed = CliRunner().invoke(app, ["list", str(file), "--changes"])
    assert listed.exit_code == 0 and listed.output.count("toy_scaffold_8_site_plain_") == 2
    assert all("changes" in json.loads(line) for line in listed.output.splitlines())
    table = CliRunner().invoke(app, ["list", str(file)])
    assert (
        table.exit_code == 0 and "16 cells" in table.output and "scaffold" in table.output.lower()
    )
    (tmp_path / "out" / "cells").mkdir(parents=True)
    done = sorted((uninterrupted / "cells").glob("*.json"))[0]
    os.link(done, tmp_path / "out" / "cells" / done.name)
    told = CliRunner().invoke(app, ["report", str(file), "--out", str(tmp_path / "out")])
    assert told.exit_code == 0 and "15 cells are missing" in told.output
