"""A simulated federation: what is lost, what is kept, what is forgotten, and what it learns."""

import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from federation.simulation import hospital_data as people
from federation.simulation import simulated_roster, traffic
from federation.simulation.client_states import ClientStateFiles
from federation.simulation.hospital_data import InMemoryHospitals
from federation.simulation.randomness import Randomness
from federation.simulation.simulated_sums import collected
from federation.simulation.simulation import Simulation, without_privacy
from federation.strategy.server_optimizer import ServerState
from syft_code.cohort import Cohort
from syft_code.local_training import broadcast
from syft_code.local_training.broadcast import PublicVectors
from syft_code.models import networks
from syft_code.plans.algorithms import Scaffold
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import DpSgd, Robust, Sgd, Sharing
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import Activation, Linear
from syft_code.recipes.recipe import CrossEntropy, Recipe
from syft_code.secret_sharing import envelope
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests import plans
from tests.federation.experiments import toy

RECIPE = Recipe(
    model=LayerStack(layers=(Linear(features=3), Activation(function="tanh"))),
    loss=CrossEntropy(),
)
START = networks.initial_weights(RECIPE, toy.SPEC, seed=0)
PUBLIC = PublicVectors(start=START)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def toys(count: int = 3) -> InMemoryHospitals:
    return toy.load("toy", data="", split="site", seed=0, options={"hospitals": count})


def plan(hospitals: InMemoryHospitals, **changes: Any) -> Plan:
    entries = simulated_roster.hospitals(hospitals)
    fields: dict[str, Any] = {
        "data": toy.SPEC,
        "recipe": RECIPE,
        "hospitals": entries,
        "aggregators": simulated_roster.aggregators(),
        "dp_sgd": DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=0.5, steps=2),
        "optimizer": Sgd(learning_rate=0.2),
        "evaluation": None,
        "start_sha256": broadcast.sha256(START),
        "sharing": simulated_roster.fitting(Sharing(), len(entries)),
    }
    return plans.plan(None, **(fields | changes))


def one_round(agreed: Plan, hospitals: InMemoryHospitals, **how: Any) -> ServerState:
    simulation = Simulation(agreed, hospitals, randomness=Randomness(seed=3), **how)
    return simulation.round(1, ServerState.first(agreed, PUBLIC))[0]


def test_hospitals_together_take_the_step_that_everybodys_patients_in_one_place_would() -> None:
    """One step on every patient, without clip and noise: the weighted mean of gradients."""
    everyone = toys()
    whole = DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=1.0, steps=1)
    found = {}
    for name, hospitals in (("federated", everyone), ("pooled", people.pooled(everyone))):
        agreed = without_privacy(plan(hospitals, dp_sgd=whole))
        quiet = Randomness(seed=0, noised=False)
        simulation = Simulation(agreed, hospitals, randomness=quiet, least=1)
        found[name] = simulation.round(1, ServerState.first(agreed, PUBLIC))[0].weights
    np.testing.assert_allclose(found["federated"], found["pooled"], atol=2.0**-17)
    assert np.abs(found["pooled"] - START).max() > 0.01


def test_what_a_vault_would_keep_is_lost_and_the_others_go_on() -> None:
    everyone = toys(4)
    agreed = plan(everyone)
    small = replace(agreed, sharing=Sharing(bound=2.0**-64, fraction_bits=64, ring_bits=64))
    first = ServerState.first(small, PUBLIC)
    simulation = Simulation(small, everyone, randomness=Randomness(seed=3))
    model, came = simulation.round(1, first)
    assert came.lost == tuple(everyone.names) and came.trained == ()
    assert model is first

    class OneTooFar(InMemoryHospitals):
        __slots__ = ()

        def training(self, name: str) -> Cohort:
            cohort = InMemoryHospitals.training(self, name)
            facts = cohort.facts * (1e6 if name == "hospital-2" else 1.0)
            return replace(cohort, facts=facts.astype(np.float32))

    far = OneTooFar(spec=toy.SPEC, cohorts=everyone.cohorts)
    quiet = Randomness(seed=0, noised=False)
    linear = replace(RECIPE, model=LayerStack(layers=(Linear(features=3),)))
    loose = without_privacy(replace(agreed, recipe=linear))
    _, came = Simulation(loose, far, randomness=quiet).round(1, ServerState.first(loose, PUBLIC))
    assert came.lost == ("hospital-2",)
    assert came.trained == ("hospital-1", "hospital-3", "hospital-4")


def test_with_fewer_than_a_round_needs_the_model_stays_as_it_was() -> None:
    two = InMemoryHospitals(spec=toy.SPEC, cohorts=dict(list(toys().cohorts.items())[:2]))
    agreed = plan(two)
    assert [h.name for h in agreed.hospitals] == ["hospital-1", "hospital-2", "nobody-3"]
    assert np.array_equal(one_round(agreed, two).weights, START)
    assert not np.array_equal(one_round(agreed, two, least=1).weights, START)


def test_the_noise_follows_from_seed_hospital_and_round() -> None:
    seeds = {
        (s, h, r): Randomness(seed=s).noise(h, r) for s in (0, 1) for h in "ab" for r in (1, 2)
    }
    drawn = {key: tuple(source.normal(2)) for key, source in seeds.items()}
    assert len(set(drawn.values())) == len(drawn)
    assert tuple(Randomness(seed=0).noise("a", 1).normal(2)) == drawn[0, "a", 1]
    quiet, loud = (Randomness(seed=0, noised=noised).noise("a", 1) for noised in (False, True))
    exact = np.linspace(0.0, 1.0, 9)
    assert np.array_equal(quiet.add_noise(exact, std=1e9), exact)
    assert np.array_equal(quiet.uniform(4), Randomness(seed=0).noise("a", 1).uniform(4))
    assert (loud.add_noise(exact, std=1e9) != exact).all()


def test_a_round_that_was_cut_short_runs_again_from_where_it_began(tmp_path: Path) -> None:
    everyone = toys()
    agreed = plan(everyone, algorithm=Scaffold())
    model = ServerState.first(agreed, PUBLIC)
    randomness = Randomness(seed=3)
    simulation = Simulation(agreed, everyone, randomness=randomness, folder=tmp_path)
    for number in (1, 2):
        model, _ = simulation.round(number, model)
    once, _ = simulation.round(3, model)
    again = Simulation(agreed, everyone, randomness=randomness, folder=tmp_path)
    twice, _ = again.round(3, model)
    assert once.broadcast("train").tobytes() == twice.broadcast("train").tobytes()
    in_memory = Simulation(agreed, everyone, randomness=randomness)
    other = ServerState.first(agreed, PUBLIC)
    for number in (1, 2, 3):
        other, _ = in_memory.round(number, other)
    assert other.broadcast("train").tobytes() == once.broadcast("train").tobytes()
    kept = ClientStateFiles(tmp_path, size=VectorLayout.of(agreed).kept_length("train"))
    assert kept.before("hospital-1", 4).any() and not kept.before("hospital-1", 1).any()


@pytest.mark.parametrize("robust", [None, Robust(rule="median", groups=3)])
def test_one_cohort_after_the_other_is_forgotten(robust: Robust | None) -> None:
    count = 12
    alive: set[int] = set()
    most: list[int] = []

    class Counted(InMemoryHospitals):
        __slots__ = ()

        def training(self, name: str) -> Cohort:
            cohort = toy.cohort(30, [0, int(name.removeprefix("hospital-"))])
            key = id(cohort.facts)
            alive.add(key)
            weakref.finalize(cohort.facts, alive.discard, key)
            most.append(len(alive))
            return cohort

    everyone = toys(count)
    agreed = plan(everyone, robust=robust)
    counted = Counted(spec=toy.SPEC, cohorts=everyone.cohorts)
    agreed = replace(
        agreed, hospitals=tuple(replace(hospital, patients=30) for hospital in agreed.hospitals)
    )
    model = one_round(agreed, counted)
    assert not np.array_equal(model.weights, START)
    assert len(most) == count and max(most) <= 2


def test_one_vector_after_the_other_is_added_and_forgotten() -> None:
    everyone = toys(12)
    agreed = plan(everyone)
    alive: set[int] = set()
    most: list[int] = []

    def given() -> Iterator[tuple[str, np.ndarray]]:
        for number, name in enumerate(everyone.names):
            values = np.full(VectorLayout.of(agreed).values_length("train"), number / 64)
            alive.add(number)
            weakref.finalize(values, alive.discard, number)
            most.append(len(alive))
            yield name, values
            del values

    found = collected(agreed, 1, given(), Randomness(seed=0))
    assert found is not None and max(most) <= 2
    sums, weight = envelope.read_sum(agreed, "train", found.totals[0])
    assert weight == sum(hospital.patients for hospital in agreed.hospitals)
    mean = sum(n * h.patients for n, h in enumerate(agreed.hospitals)) / 64 / weight
    np.testing.assert_allclose(sums * agreed.most_patients / weight, mean, atol=2.0**-17)


def test_bytes_are_those_of_sealed_shares() -> None:
    keys = plans.Keys()
    agreed = plans.plan(keys)
    sealed = envelope.seal(
        agreed,
        hospital="hospital-1",
        purpose="train",
        round_number=3,
        values=np.zeros(VectorLayout.of(agreed).values_length("train")),
        hospital_key=keys.hospitals[0],
        statement=envelope.LONGEST_STATEMENT,
        seeds=[bytes([n]) * 32 for n in range(2)],
        content_keys=[bytes([n]) * 32 for n in range(3)],
    )
    assert traffic.up_bytes(agreed, "hospital-1") == sum(len(one.to_bytes()) for one in sealed)
    assert traffic.down_bytes(agreed) == ServerState.first(agreed).broadcast("train").nbytes
