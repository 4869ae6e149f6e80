import dataclasses
import json
from collections import Counter
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

from syft_code.errors import InvalidPlan
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import Robust
from syft_code.plans.roster import Hospital
from syft_code.secret_sharing.groups import groups
from tests import plans

KNOWN = json.loads((Path(__file__).resolve().parents[2] / "vectors/draws.json").read_text())
ROSTER = tuple(
    Hospital(
        name=f"hospital-{n}",
        verify_key=plans.public(SigningKey(bytes([n]) * 32)),
        asset="skin-lesions",
        asset_version=1,
        patients=10,
    )
    for n in range(1, 31)
)
NAMES = tuple(hospital.name for hospital in ROSTER)


def plan(count: int, *, least: int = 3, planned: int | None = 3) -> Plan:
    """A plan over so many hospitals in so many groups; None: without a robust rule."""
    robust = Robust(rule="median", groups=planned, tolerated=1) if planned else None
    return plans.plan(hospitals=ROSTER[:count], min_hospitals=least, robust=robust)


@pytest.mark.parametrize(
    "case", KNOWN["groups"], ids=lambda c: f"{len(c['hospitals'])}-{c['round']}"
)
def test_the_known_groups_are_drawn(case: dict[str, Any]) -> None:
    stand_in: Any = SimpleNamespace(
        hash=case["plan_hash"],
        min_hospitals=case["least"],
        robust=Robust(rule="median", groups=case["planned"], tolerated=1),
    )
    drawn = groups(stand_in, "train", case["round"], tuple(case["hospitals"]))
    assert [list(group) for group in drawn] == case["groups"]


@settings(max_examples=60)
@given(st.data(), st.integers(3, 5), st.integers(3, 6))
def test_groups_divide_the_set_and_none_is_too_small(
    data: st.DataObject, least: int, planned: int
) -> None:
    one = plan(30, least=least, planned=planned)
    chosen = tuple(data.draw(st.lists(st.sampled_from(NAMES), unique=True, min_size=least)))
    drawn = groups(one, "train", data.draw(st.integers(1, 1000)), chosen)
    assert sorted(name for group in drawn for name in group) == sorted(chosen)
    assert min(map(len, drawn)) >= least
    assert max(map(len, drawn)) - min(map(len, drawn)) <= 1
    assert len(drawn) == min(planned, len(chosen) // least)
    assert all(list(group) == sorted(group) for group in drawn)


def test_the_order_in_which_hospitals_are_named_makes_no_difference() -> None:
    one = plan(9)
    assert groups(one, "train", 1, NAMES[:9]) == groups(one, "train", 1, NAMES[:9][::-1])


def test_round_set_and_plan_each_draw_other_groups() -> None:
    one, nine = plan(20), NAMES[:9]
    first = groups(one, "train", 1, nine)
    assert groups(one, "train", 2, nine) != first
    assert groups(dataclasses.replace(one, study="other"), "train", 1, nine) != first
    swapped = groups(one, "train", 1, (*nine[:8], NAMES[9]))
    renamed = tuple(
        tuple(sorted(nine[8] if name == NAMES[9] else name for name in group)) for group in swapped
    )
    assert set(renamed) != set(first)


def test_without_a_rule_or_in_an_evaluation_there_is_one_group_of_all() -> None:
    everyone = tuple(sorted(NAMES[:9]))
    assert groups(plan(9, planned=None), "train", 1, NAMES[:9]) == (everyone,)
    assert groups(plan(9), "evaluate", 3, NAMES[:9]) == (everyone,)


def test_too_few_hospitals_for_the_planned_groups_make_fewer_and_never_smaller_ones() -> None:
    assert [len(groups(plan(9), "train", 1, NAMES[:count])) for count in (3, 5, 6, 8, 9)] == [
        1, 1, 2, 2, 3,
    ]  # fmt: skip


def test_groups_of_fewer_than_the_least_hospitals_cannot_be_planned() -> None:
    with pytest.raises(InvalidPlan, match="at most 2 groups"):
        plan(8, planned=3)


def test_two_hospitals_meet_as_often_as_chance_says() -> None:
    """Nine hospitals in three groups of three: a pair shares a group with probability 1/4."""
    one, rounds = plan(9), 4000
    met: Counter[tuple[str, ...]] = Counter()
    for number in range(rounds):
        for group in groups(one, "train", number, NAMES[:9]):
            met.update(combinations(group, 2))
    assert len(met) == 36
    assert all(abs(count / rounds - 0.25) < 0.04 for count in met.values())
