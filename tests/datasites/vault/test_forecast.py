"""Where a plan stops is said before it is signed, and the ledger stops it there."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from datasites.protocol import owner_actions, vault_api
from datasites.vault.vault import Vault
from policies.site_policy import Budget
from syft_code.errors import BudgetExceeded, NotApproved
from syft_code.plans.messages import Purpose
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import DpSgd, Evaluation, Sharing
from syft_code.plans.shared_noise import SharedNoise
from syft_code.privacy import accounting, epsilons
from tests.datasites.hospitals import BUDGET, RESEARCHER, OneHospital, approval, policy

ROUNDS = 6
SHARING, ONE_MAY = Sharing(ring_bits=64, fraction_bits=32), SharedNoise(colluding=1)
DP = DpSgd(noise_multiplier=2.0, max_grad_norm=1.0, sample_rate=0.5, steps=2)


@pytest.fixture
def vault(
    hospital: OneHospital, templates: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Vault]:
    """A vault whose rounds are paid for and never begin."""
    started = Vault(hospital.site)
    monkeypatch.setattr(started._rounds._queue, "submit", lambda *call: None)
    hospital.publish(started)
    yield started
    started.close()


def planned(hospital: OneHospital, study: str = "a-study", sigma: float = 2.0) -> Plan:
    evaluation = Evaluation(noise_multiplier=sigma, after_rounds=(2, 4, 6))
    return hospital.plan(study=study, rounds=ROUNDS, dp_sgd=DP, evaluation=evaluation)


def cost(plan: Plan, purpose: Purpose, count: int) -> float:
    return accounting.epsilon([accounting.event(plan, purpose)] * count, delta=BUDGET.delta)


def run(hospital: OneHospital, vault: Vault, plan: Plan) -> tuple[int, int]:
    """Call everything of a plan in its order; how many rounds and evaluations were given."""
    given = {"train": 0, "evaluate": 0}
    purposes: tuple[Purpose, Purpose] = ("train", "evaluate")
    for number in range(1, ROUNDS + 1):
        for purpose in purposes:
            trained = number - 1 if purpose == "train" else number
            if number in plan.rounds_of(purpose) and given["train"] == trained:
                call = hospital.call(plan, number, purpose)
                with contextlib.suppress(BudgetExceeded, NotApproved):
                    vault.start_round(call, hospital.weights(plan, purpose))
                    given[purpose] += 1
    return given["train"], given["evaluate"]


def status(
    hospital: OneHospital, vault: Vault, plan: Plan, **limits: object
) -> vault_api.PlanStatus:
    question = owner_actions.GetPlanStatus(
        plan=plan.encode().decode(),
        researcher=RESEARCHER,
        **limits,  # type: ignore[arg-type]
    )
    found = hospital.perform(vault, question)
    assert isinstance(found, vault_api.PlanStatus)
    return found


def test_a_plan_that_fits_stops_nowhere(hospital: OneHospital, vault: Vault) -> None:
    plan = planned(hospital)
    said = status(hospital, vault, plan)
    assert (said.rounds_that_fit, said.evaluations_that_fit, said.stops) == (ROUNDS, 3, "")
    hospital.perform(vault, approval(plan))
    assert run(hospital, vault, plan) == (ROUNDS, 3)
    assert status(hospital, vault, plan).stops == "", "what is paid already does not count twice"


def test_the_limit_of_an_approval_stops_a_plan_where_it_was_said(
    hospital: OneHospital, vault: Vault
) -> None:
    plan = planned(hospital, sigma=20.0)
    limit = Budget(epsilon=(cost(plan, "train", 3) + cost(plan, "train", 4)) / 2, delta=1e-5)
    said = status(hospital, vault, plan, budget=limit, rounds=ROUNDS)
    assert said.rounds_that_fit == 3
    assert said.stops == (
        f"It stops after round 3 of 6: round 4 would bring epsilon to "
        f"{epsilons.at_least(cost(plan, 'train', 4))}, and the approval's limit for this study is "
        f"{epsilons.limit(limit.epsilon)}."
    )
    assert status(hospital, vault, plan).stops == "", "nothing is signed yet"
    hospital.perform(vault, approval(plan, budget=limit))
    assert status(hospital, vault, plan).stops == said.stops
    assert run(hospital, vault, plan) == (3, said.evaluations_that_fit)


def test_rounds_that_an_approval_leaves_out_are_said(hospital: OneHospital, vault: Vault) -> None:
    plan = planned(hospital)
    said = status(hospital, vault, plan, rounds=5)
    assert said.stops == "It stops after round 5 of 6: the approval covers 5 rounds."
    hospital.perform(vault, approval(plan, rounds=5))
    assert run(hospital, vault, plan) == (5, said.evaluations_that_fit) == (5, 2)
    wider = status(hospital, vault, plan, rounds=ROUNDS)
    assert wider.stops == "", "a new approval takes the place of one's own"


def test_an_evaluation_that_does_not_fit_is_said(hospital: OneHospital, vault: Vault) -> None:
    plan = planned(hospital, sigma=0.8)
    both = (cost(plan, "evaluate", 1), cost(plan, "evaluate", 2))
    assert cost(plan, "train", ROUNDS) < sum(both) / 2
    limit = Budget(epsilon=sum(both) / 2, delta=1e-5)
    said = status(hospital, vault, plan, budget=limit, rounds=ROUNDS)
    assert said.stops.startswith("The hospital takes no part in the evaluation after round 4")
    hospital.perform(vault, approval(plan, budget=limit))
    assert run(hospital, vault, plan) == (said.rounds_that_fit, said.evaluations_that_fit) == (6, 1)


@pytest.mark.parametrize("whose", ["the budget of skin-lesions", "one researcher's limit"])
def test_what_other_studies_have_spent_stops_a_plan(
    hospital: OneHospital, vault: Vault, whose: str
) -> None:
    first, second = planned(hospital, "first", 20.0), planned(hospital, "second", 20.0)
    hospital.perform(vault, approval(first))
    assert run(hospital, vault, first) == (ROUNDS, 3)
    limit = (cost(first, "train", 8) + cost(first, "train", 9)) / 2
    rules = (
        policy(Budget(epsilon=limit, delta=1e-5))
        if "budget" in whose
        else policy(researcher_epsilon=limit)
    )
    hospital.perform(vault, owner_actions.AdoptPolicy(policy=rules))
    said = status(hospital, vault, second)
    assert said.rounds_that_fit == 2
    assert "stops after round 2 of 6: round 3 would bring epsilon to" in said.stops
    assert f"and {whose} is {epsilons.limit(limit)}." in said.stops
    hospital.perform(vault, approval(second))
    assert run(hospital, vault, second) == (2, said.evaluations_that_fit)


def test_nothing_left_stops_a_plan_before_its_first_round(
    hospital: OneHospital, vault: Vault
) -> None:
    plan = planned(hospital, sigma=20.0)
    limit = Budget(epsilon=cost(plan, "train", 1) / 2, delta=1e-5)
    said = status(hospital, vault, plan, budget=limit, rounds=ROUNDS)
    assert (said.rounds_that_fit, said.evaluations_that_fit) == (0, 0)
    assert said.stops.startswith("It stops before round 1 of 6: round 1 would bring epsilon to")


def test_the_vault_vouches_only_for_a_plan_that_may_run(
    hospital: OneHospital, vault: Vault
) -> None:
    plan = planned(hospital)
    question = vault_api.GetPlanInForce(plan_hash=plan.hash)

    def vouches() -> bool:
        reply = vault.answer(question, b"")[0]
        assert isinstance(reply, vault_api.PlanInForce)
        return reply.in_force

    assert not vouches()
    hospital.perform(vault, approval(plan))
    assert vouches()
    hospital.perform(vault, owner_actions.RevokePlan(plan_hash=plan.hash, reason="No more."))
    assert not vouches()


@pytest.mark.parametrize("whose", ["epsilon", "epsilon_alone"])
def test_noise_that_is_shared_is_paid_for_as_sums_show_it_and_as_it_is_alone(
    hospital: OneHospital, vault: Vault, whose: str
) -> None:
    shape = {"dp_sgd": replace(DP, steps=1), "sharing": SHARING}
    plan = hospital.plan(rounds=ROUNDS, evaluation=None, shared_noise=ONE_MAY, **shape)
    events = [accounting.event(plan, "train")] * ROUNDS
    of = {"epsilon": accounting.epsilon, "epsilon_alone": accounting.epsilon_alone}
    limits = {name: epsilon(events, delta=1e-5) for name, epsilon in of.items()}
    limits[whose] = (limits[whose] + of[whose](events[1:], delta=1e-5)) / 2
    rules = policy(
        replace(BUDGET, epsilon=limits["epsilon"]), epsilon_alone=limits["epsilon_alone"]
    )
    hospital.perform(vault, owner_actions.AdoptPolicy(policy=rules))
    wide = replace(BUDGET, epsilon=99.0, epsilon_alone=99.0)
    said = status(hospital, vault, plan, budget=wide, rounds=ROUNDS)
    assert said.study_epsilon_alone == of["epsilon_alone"](events, delta=1e-5)
    assert said.rounds_that_fit == ROUNDS - 1
    assert ("if all other hospitals collude" in said.stops) == (whose == "epsilon_alone")
    hospital.perform(vault, approval(plan, budget=wide))
    assert run(hospital, vault, plan) == (ROUNDS - 1, 0)
    ledger = hospital.perform(vault, owner_actions.GetLedger(asset="skin-lesions"))
    assert isinstance(ledger, vault_api.LedgerSummary)
    assert ledger.spent_epsilon == accounting.epsilon(events[1:], delta=1e-5)
    assert ledger.spent_epsilon_alone == accounting.epsilon_alone(events[1:], delta=1e-5)
    assert ledger.spent_epsilon < ledger.spent_epsilon_alone <= limits["epsilon_alone"]
