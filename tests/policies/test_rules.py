"""A rule says yes or no, and a no says what would pass."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.decision import Approve, AskOwner, Deny
from policies.rules import Budget, KnownParties, SitePolicy, review, within_budget
from syft_code import accounting
from syft_code.accounting import DpSgdEvent
from syft_code.errors import InvalidInput
from syft_code.plan import DpSgd, Plan
from tests.plans import Keys
from tests.plans import plan as any_plan

KEYS = Keys()


def plan(**changes: object) -> Plan:
    return any_plan(KEYS, **changes)


KNOWN = KnownParties(
    hospitals=tuple(h.verify_key for h in plan().hospitals),
    aggregators=tuple((a.verify_key, a.seal_key) for a in plan().aggregators),
)
POLICY = SitePolicy(
    budget=Budget(epsilon=8.0, delta=1e-5),
    min_hospitals=3,
    min_noise_multiplier=0.5,
    min_patients=10,
)
ROUND = DpSgdEvent(noise_multiplier=1.0, sample_rate=0.2, steps=5)


def test_a_plan_within_the_policy_is_approved() -> None:
    assert review(plan(), hospital="hospital-1", policy=POLICY, known=KNOWN, spent=[]) == Approve()


def test_too_little_noise_is_denied_with_what_would_pass() -> None:
    weak = plan(dp_sgd=DpSgd(noise_multiplier=0.4, max_grad_norm=1.0, sample_rate=0.2, steps=3))
    decision = review(weak, hospital="hospital-1", policy=POLICY, known=KNOWN, spent=[])
    assert isinstance(decision, Deny)
    assert "at least 0.5" in decision.reason


@pytest.mark.parametrize("change", [{"min_hospitals": 4}, {"min_patients": 1000}])
def test_a_site_that_asks_for_more_denies(change: dict[str, int]) -> None:
    policy = SitePolicy(
        **(
            {
                "budget": POLICY.budget,
                "min_hospitals": 3,
                "min_noise_multiplier": 0.5,
                "min_patients": 10,
            }
            | change
        )  # type: ignore[arg-type]
    )
    assert isinstance(
        review(plan(), hospital="hospital-1", policy=policy, known=KNOWN, spent=[]), Deny
    )


def test_a_plan_with_strangers_is_denied_by_name() -> None:
    nobody = KnownParties(hospitals=KNOWN.hospitals)
    decision = review(plan(), hospital="hospital-1", policy=POLICY, known=nobody, spent=[])
    assert isinstance(decision, Deny)
    assert "aggregator-1, aggregator-2, aggregator-3" in decision.reason


def test_a_plan_past_the_budget_is_the_owners_to_weigh() -> None:
    decision = review(plan(rounds=100), hospital="hospital-1", policy=POLICY, known=KNOWN, spent=[])
    assert isinstance(decision, AskOwner)
    assert "ledger refuses" in decision.question


def test_a_refusal_says_what_is_spent_and_what_is_left() -> None:
    budget = Budget(epsilon=4.0, delta=1e-5)
    decision = within_budget(asked=[ROUND], spent=[ROUND], budget=budget)
    assert isinstance(decision, Deny)
    spent = accounting.epsilon([ROUND], delta=1e-5)
    assert f"{spent:.2f} is spent and {4.0 - spent:.2f} is left" in decision.reason


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.8, 1.0, 2.0]), st.integers(1, 8)), max_size=8),
    st.floats(0.5, 10.0),
)
def test_no_sequence_of_granted_rounds_passes_the_budget(
    asks: list[tuple[float, int]], epsilon: float
) -> None:
    budget = Budget(epsilon=epsilon, delta=1e-5)
    spent: list[DpSgdEvent] = []
    for sigma, steps in asks:
        event = DpSgdEvent(noise_multiplier=sigma, sample_rate=0.2, steps=steps)
        if within_budget(asked=[event], spent=spent, budget=budget) == Approve():
            spent.append(event)
    assert accounting.epsilon(spent, delta=1e-5) <= epsilon


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_must_be_a_real_number_above_zero(value: float) -> None:
    with pytest.raises(InvalidInput):
        Budget(epsilon=value, delta=1e-5)
    with pytest.raises(InvalidInput):
        Budget(epsilon=1.0, delta=value)
