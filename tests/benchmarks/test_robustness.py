"""The simulation is what it says, on a federation so small that it learns nothing."""

import csv
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import robustness
from benchmarks.robustness import Attack, Bound, Rule, Scale, Scenario, Simulation
from datasites.data.folders.reading import Reading
from datasites.data.readers.images import ham10000
from datasites.demo import stand_ins
from federation.simulation.randomness import Randomness
from federation.simulation.simulated_sums import collected
from syft_code.errors import RangeExceeded
from syft_code.models import networks
from syft_code.plans.plan_parts import DpSgd
from syft_code.secret_sharing.vector_layout import VectorLayout

TINY = Scale(
    hospitals=15,
    groups=5,
    rounds=2,
    size_px=16,
    dp=DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=0.5, steps=1),
    channels=(2, 2),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stand-in") / "ham10000"
    stand_ins.write("ham10000", path, patients=180, seed=0)
    return path


@pytest.fixture(scope="module")
def reading(folder: Path) -> Reading:
    return ham10000.read(folder, size_px=16)


def scenario(attack: Attack, rule: Rule, *, bound: Bound = "none", bad: int = 1) -> Scenario:
    return Scenario(attack=attack, bound=bound, bad=bad, rule=rule, seed=0)


def updates(play: Simulation, *names: str) -> dict[str, np.ndarray]:
    start = networks.initial_weights(play.plan.recipe, play.plan.data, seed=0).astype(np.float64)
    return {name: robustness.sent(play, name, start, 1) for name in names}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in the benchmark: more of them get into each other's way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_groups_means_out_of_shares_are_the_weighted_means(reading: Reading) -> None:
    plan = robustness.simulation(reading, scenario("none", "median", bad=0), TINY).plan
    random, length = np.random.default_rng(0), VectorLayout.of(plan).values_length("train")
    given = {h.name: random.standard_normal(length) for h in plan.hospitals}
    assert len({hospital.patients for hospital in plan.hospitals}) > 1
    found = collected(plan, 1, given.items(), Randomness(seed=0))
    assert found is not None and len(found.groups) == TINY.groups
    step = 3 * 2.0**-plan.sharing.fraction_bits
    for names, row in zip(found.groups, robustness.group_means(plan, found), strict=True):
        weights = [plan.hospital(name).patients for name in names]
        expected = np.average([given[name] for name in names], axis=0, weights=weights)
        np.testing.assert_allclose(row, expected, atol=step)
    first = plan.hospitals[0]
    far = 2 * plan.sharing.bound * plan.most_patients / first.patients
    given[first.name] = np.full(length, far)
    with pytest.raises(RangeExceeded):
        collected(plan, 1, given.items(), Randomness(seed=0))


def test_the_last_hospital_is_bad_and_its_update_huge(reading: Reading) -> None:
    two = ("hospital-14", "hospital-15")
    good = updates(robustness.simulation(reading, scenario("none", "median", bad=0), TINY), *two)
    play = robustness.simulation(reading, scenario("scaled_100", "median"), TINY)
    bad = updates(play, *two)
    assert play.bad == {"hospital-15"}
    np.testing.assert_allclose(bad["hospital-15"], 100 * good["hospital-15"])
    assert np.array_equal(bad["hospital-14"], good["hospital-14"])


@pytest.mark.parametrize(("bound", "held"), [("kept", True), ("past", False)])
def test_a_bad_hospital_keeps_the_bound_or_goes_past_it(
    reading: Reading, bound: Bound, held: bool
) -> None:
    play = robustness.simulation(reading, scenario("scaled_100", "mean", bound=bound), TINY)
    most = play.plan.max_update_norm
    assert most is not None
    tight = replace(play, plan=replace(play.plan, max_update_norm=most / 10))
    sent = updates(tight, "hospital-1", "hospital-15")
    norms = {name: float(np.linalg.norm(update)) for name, update in sent.items()}
    assert norms["hospital-1"] == pytest.approx(most / 10)
    assert (norms["hospital-15"] <= most / 10 * (1 + 1e-9)) is held


def test_poisoned_patients_have_what_the_attack_says(reading: Reading) -> None:
    play = robustness.simulation(reading, scenario("backdoor", "mean"), TINY)
    patients, plan = play.training["hospital-15"], play.plan
    flipped = robustness.poisoned(patients, "label_flip", plan)
    assert np.array_equal(flipped.labels, 6 - patients.labels)
    assert np.array_equal(flipped.images, patients.images)
    marked = robustness.poisoned(patients, "backdoor", plan)
    half = patients.patient % 2 == 0
    assert set(marked.labels[half]) == {plan.data.classes.index("mel")}
    assert (marked.images[half][:, :, -7:, -7:] == 255).all()
    assert np.array_equal(marked.images[~half], patients.images[~half])
    assert np.array_equal(robustness.poisoned(patients, "none", plan).labels, patients.labels)


@pytest.mark.parametrize("attack", robustness.OWN_SOFTWARE)
def test_each_hospital_with_its_own_software_sends_what_no_good_one_would(
    reading: Reading, attack: Attack
) -> None:
    play = robustness.simulation(reading, scenario(attack, "mean"), TINY)
    (sent,) = updates(play, "hospital-15").values()
    (honest,) = updates(replace(play, bad=frozenset()), "hospital-15").values()
    assert not np.allclose(sent, honest, rtol=0.01)
    usual = robustness.SLACK * robustness.usual_norm(play.plan)
    lengths = {"zeros": 0.0, "noise": 1.0, **robustness.TRAINED_WITHOUT_NOISE}
    if attack in lengths:
        assert np.linalg.norm(sent) == pytest.approx(lengths[attack] * usual)


@pytest.mark.slow
def test_a_run_writes_a_line_for_each_scenario_and_sees_the_attack(
    folder: Path, tmp_path: Path
) -> None:
    chosen = [scenario("none", "krum", bad=0), scenario("scaled_100", "krum")]
    outcomes = list(robustness.run(folder, [*chosen, chosen[0]], scale=TINY, workers=1))
    (_, calm), (_, attacked), (_, again) = outcomes
    assert calm == again
    assert attacked.picked_bad == 0.0
    assert calm.apart < 0.5 < attacked.apart
    robustness.write_csv(tmp_path / "out.csv", outcomes[:2])
    rows = list(csv.DictReader((tmp_path / "out.csv").read_text().splitlines()))
    assert [row["attack"] for row in rows] == ["none", "scaled_100"]
    assert all(math.isfinite(float(row["balanced_accuracy"])) for row in rows)
    printed = robustness.table(outcomes)
    assert "| scaled_100 | none | 1 |" in printed and "±" in printed


def test_every_attack_is_tried_with_every_rule() -> None:
    chosen = robustness.scenarios([0, 1])
    assert len(set(chosen)) == len(chosen)
    tried = {(s.attack, s.rule) for s in chosen if s.seed == 1}
    assert tried == {(a, r) for a in robustness.WITHOUT_BOUND for r in robustness.RULES}
    assert all((s.bad == 0) is (s.attack == "none") for s in chosen)
