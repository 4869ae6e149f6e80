"""A rule says yes or no, and a no says what would pass."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.decision import Approve, AskOwner, Deny
from policies.rules import RULES, PolicyCase, forbidden, review, within_budget
from policies.site_policy import AssetBudget, Budget, SitePolicy, StandingApproval
from syft_code.errors import InvalidInput
from syft_code.plans.catalogue import Terms
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import DpSgd, Evaluation, ReleaseSchedule
from syft_code.plans.shared_noise import SharedNoise
from syft_code.privacy import accounting, epsilons
from syft_code.privacy.accounting import DpSgdEvent
from tests.plans import Keys, known, public, shared_noise_plan
from tests.plans import plan as any_plan

KEYS = Keys()
ROUND = DpSgdEvent(noise_multiplier=1.0, sample_rate=0.2, steps=5)
TERMS = Terms(epsilon=8.0, delta=1e-5, min_noise_multiplier=0.5, min_patients=10, most_ticks=0)


def plan(**changes: object) -> Plan:
    return any_plan(KEYS, **changes)


def shared(**changes: object) -> Plan:
    return shared_noise_plan(KEYS, **changes)


KNOWN = known(plan())


def case(asked: Plan | None = None, **changes: object) -> PolicyCase:
    fields = {"plan": asked or plan(), "hospital": "hospital-1", "known": KNOWN, "now_unix_s": 1e9}
    return PolicyCase(**(fields | changes))  # type: ignore[arg-type]


def policy(**changes: object) -> SitePolicy:
    return SitePolicy(terms=replace(TERMS, **changes))  # type: ignore[arg-type]


def test_a_plan_that_no_rule_forbids_is_the_owners_to_weigh() -> None:
    decision = review(case(), policy())
    assert isinstance(decision, AskOwner)
    cost = accounting.epsilon(accounting.plan_events(plan()), delta=1e-5)
    assert epsilons.at_least(cost) in decision.question


FIRST, SECOND, THIRD = plan().hospitals
STRANGER = public(Keys().researcher)
WEAK = DpSgd(noise_multiplier=0.4, max_grad_norm=1.0, sample_rate=0.2, steps=3)
ONE_STEP = DpSgd(noise_multiplier=2.0, max_grad_norm=1.0, sample_rate=0.5, steps=1)
FORBIDDEN: dict[str, tuple[PolicyCase, SitePolicy, str]] = {
    "a stranger": (
        case(known=KNOWN[:-1]),
        policy(),
        "not known: aggregator-3. Ask",
    ),
    "a stranger under a known name": (
        case(plan(hospitals=(FIRST, replace(SECOND, verify_key=STRANGER), THIRD))),
        policy(),
        "not known: hospital-2. Ask",
    ),
    "known keys under each other's names": (
        case(
            plan(
                hospitals=(
                    FIRST,
                    replace(SECOND, name="hospital-3"),
                    replace(THIRD, name="hospital-2"),
                )
            )
        ),
        policy(),
        "not known: hospital-3, hospital-2. Ask",
    ),
    "a hospital's key as an aggregator's": (
        case(known=tuple(replace(k, party=replace(k.party, seal_key="")) for k in KNOWN)),
        policy(),
        "not known: aggregator-1, aggregator-2, aggregator-3. Ask",
    ),
    "hospitals of one operator": (
        case(known=known(plan(), hospital_2="Chain", hospital_3="chain")),
        policy(),
        "so counted, a sum of the plan may hold 2: raise min_hospitals",
    ),
    "aggregators of one operator": (
        case(known=known(plan(), aggregator_1="x", aggregator_2="x", aggregator_3="x")),
        policy(),
        "so counted, 1 can open one of this plan",
    ),
    "the submitter approves": (
        case(approvers=(public(KEYS.researcher),)),
        policy(),
        "let another person",
    ),
    "another model": (case(), policy(recipes=("unet",)), "of the kind unet, the plan has layers"),
    "few aggregators": (case(), policy(min_aggregators=4), "At least 4 aggregators"),
    "few hospitals": (case(), policy(min_hospitals=4), "at least 4 hospitals, the plan says 3"),
    "little noise": (case(plan(dp_sgd=WEAK)), policy(), "at least 0.5, the plan has 0.4"),
    "little noise in evaluations": (
        case(plan(evaluation=Evaluation(noise_multiplier=0.4, after_rounds=(1,)))),
        policy(),
        "the evaluation's noise_multiplier must be at least 0.5",
    ),
    "few patients": (case(), policy(min_patients=1000), "at least 1000 training patients"),
    "no release schedule": (case(), policy(most_ticks=8), "schedule of at most 8 ticks"),
    "many ticks": (
        case(plan(release_schedule=ReleaseSchedule(train_s=1.0, evaluate_s=1.0, ticks=9))),
        policy(most_ticks=8),
        "this one has one of 9",
    ),
    "more operators than may collude": (
        case(shared()),
        policy(min_colluding=2),
        "although 2 of the other operators collude, who run 2 hospitals of this plan; it allows for 1",
    ),
    "little noise of its own": (
        case(shared(dp_sgd=replace(ONE_STEP, noise_multiplier=0.7))),
        policy(),
        "this hospital's part of the noise must be at least 0.5, the plan has 0.494975",
    ),
    "a dear study": (case(), policy(study_epsilon=0.5), "One study may spend epsilon 0.50"),
    "a busy researcher": (
        case(of_researcher=[ROUND]),
        policy(researcher_epsilon=0.5),
        "raise the cap",
    ),
}


@pytest.mark.parametrize("why", FORBIDDEN)
def test_what_a_rule_forbids_is_denied_with_what_would_pass(why: str) -> None:
    asked, rules, words = FORBIDDEN[why]
    decision = review(asked, rules)
    assert isinstance(decision, Deny)
    assert words in decision.reason
    assert forbidden(asked, rules) == decision


def test_every_rule_has_a_case_that_it_alone_forbids() -> None:
    alone = {
        rule
        for asked, rules, _ in FORBIDDEN.values()
        for rule in RULES
        if rule(asked, rules) and not any(r(asked, rules) for r in RULES if r is not rule)
    }
    assert alone == set(RULES)


def test_the_first_refusal_wins() -> None:
    both = policy(min_hospitals=4, min_patients=1000)
    decision = review(case(), both)
    assert isinstance(decision, Deny)
    assert "at least 4" in decision.reason


def test_a_standing_approval_covers_this_very_plan_until_it_expires() -> None:
    standing = StandingApproval(
        plan_hash=plan().hash, researcher="a", asset_version=1, rounds=3, expires_unix_s=2e9
    )
    rules = replace(policy(), standing=(standing,))
    assert review(case(), rules) == Approve()
    assert isinstance(review(case(plan(study="other")), rules), AskOwner)
    assert isinstance(review(case(now_unix_s=2e9), rules), AskOwner)
    old = replace(policy(), standing=(replace(standing, asset_version=2),))
    assert isinstance(review(case(), old), AskOwner)


def test_a_standing_approval_passes_no_rule_and_no_budget() -> None:
    standing = StandingApproval(
        plan_hash=plan().hash, researcher="a", asset_version=1, rounds=3, expires_unix_s=2e9
    )
    strict = replace(policy(min_patients=1000), standing=(standing,))
    assert isinstance(review(case(), strict), Deny)
    spent = replace(policy(epsilon=1.0), standing=(standing,))
    assert isinstance(review(case(spent=[ROUND]), spent), AskOwner)


def test_an_asset_can_have_a_budget_of_its_own() -> None:
    own = AssetBudget(name="skin-lesions", budget=Budget(epsilon=0.1, delta=1e-6))
    rules = replace(policy(), assets=(own,))
    assert rules.budget("skin-lesions").epsilon == 0.1
    assert rules.budget("gliomas").epsilon == 8.0
    decision = review(case(), rules)
    assert isinstance(decision, AskOwner)
    assert "do not fit" in decision.question


def test_a_plan_past_the_budget_is_the_owners_to_weigh() -> None:
    decision = review(case(plan(rounds=100)), policy())
    assert isinstance(decision, AskOwner)
    assert "ledger refuses" in decision.question


def test_a_refusal_says_what_is_spent_and_what_is_left() -> None:
    budget = Budget(epsilon=4.0, delta=1e-5)
    decision = within_budget(asked=[ROUND], spent=[ROUND], budget=budget)
    assert isinstance(decision, Deny)
    spent = accounting.epsilon([ROUND], delta=1e-5)
    said = f"{epsilons.at_least(spent)} is spent and {epsilons.at_most(4.0 - spent)} is left"
    assert said in decision.reason


def test_as_many_operators_as_may_collude_are_allowed() -> None:
    two = shared(shared_noise=SharedNoise(colluding=2))
    assert forbidden(case(two), policy(min_colluding=2)) is None
    assert forbidden(case(shared()), policy()) is None
    assert forbidden(case(), policy(min_colluding=9)) is None, "no noise is shared here"


def test_a_plan_whose_noise_is_shared_must_fit_both_bounds() -> None:
    events = accounting.plan_events(shared())
    seen = accounting.epsilon(events, delta=1e-5)
    worst = accounting.epsilon_alone(events, delta=1e-5)
    assert seen < 0.8 * worst
    for alone, verdict in ((worst + 0.01, "worth epsilon"), (worst - 0.01, "do not fit")):
        decision = review(case(shared()), policy(epsilon=seen + 0.01, epsilon_alone=alone))
        assert isinstance(decision, AskOwner) and verdict in decision.question
    said = f"If all other hospitals collude, epsilon would reach {epsilons.at_least(worst)}"
    assert said in decision.question
    by_default = review(case(shared()), policy(epsilon=seen + 0.01))
    assert isinstance(by_default, AskOwner) and "raise epsilon_alone" in by_default.question


def test_both_bounds_hold_of_everything_together() -> None:
    event = accounting.event(shared(), "train")
    six = accounting.epsilon_alone([event] * 6, delta=1e-5)
    budget = Budget(epsilon=100.0, delta=1e-5, epsilon_alone=six)
    assert within_budget(asked=[event], spent=[event] * 5, budget=budget) == Approve()
    refusal = within_budget(asked=[event], spent=[event] * 6, budget=budget)
    assert isinstance(refusal, Deny) and f"of {six!r}, since noise is shared" in refusal.reason


@settings(max_examples=8)
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
    with pytest.raises(InvalidInput):
        Budget(epsilon=1.0, delta=1e-5, epsilon_alone=value)
