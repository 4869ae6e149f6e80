"""Who is known: by name and by keys, and one operator's parties count once."""

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import known_parties
from policies.known_parties import Known, KnownParty, Party
from syft_code.errors import InvalidInput
from syft_code.plans.roster import Hospital
from tests.plans import NEWCOMER


def hospitals(count: int) -> list[Hospital]:
    return [
        Hospital(name=f"h{i}", verify_key=f"{i:064x}", asset="a", asset_version=1, patients=9)
        for i in range(count)
    ]


def vouched_for(entries: list[Hospital], operators: list[int | None]) -> Known:
    """The hospitals by their operators; one without is not known."""
    return tuple(
        KnownParty(
            party=Party(
                name=one.name,
                institution=f"of {one.name}",
                operator=f"operator {operator}",
                verify_key=one.verify_key,
            ),
            added_by="owner",
            added_at_unix_s=0.0,
        )
        for one, operator in zip(entries, operators, strict=True)
        if operator is not None
    )


@given(st.data())
def test_the_fewest_operators_of_a_sum_are_those_of_the_worst_sum(data: st.DataObject) -> None:
    others = data.draw(st.lists(st.one_of(st.none(), st.integers(0, 3)), min_size=2, max_size=6))
    operators = [data.draw(st.integers(0, 3)), *others]
    entries = hospitals(len(operators))
    seats = data.draw(st.integers(2, len(entries)))
    worst = min(
        len({operators[0], *(operators[i] for i in chosen)} - {None})
        for chosen in combinations(range(1, len(entries)), seats - 1)
    )
    known = vouched_for(entries, operators)
    fewest = known_parties.fewest_operators(entries, known, seats=seats, ours="h0")
    strangers = operators.count(None)
    assert fewest == (worst if strangers < seats else 0)


@given(st.data())
def test_the_most_hospitals_of_some_operators_are_those_of_the_largest(data: st.DataObject) -> None:
    others = data.draw(st.lists(st.one_of(st.none(), st.integers(0, 3)), min_size=1, max_size=6))
    operators = [data.draw(st.integers(0, 3)), *others]
    entries = hospitals(len(operators))
    groups = [[one] for one in others if one is None]
    groups += [[o for o in others if o == one] for one in range(4) if one != operators[0]]
    count = data.draw(st.integers(1, 4))
    expected = max(
        sum(len(group) for group in chosen)
        for size in range(count + 1)
        for chosen in combinations(groups, size)
    )
    known = vouched_for(entries, operators)
    assert expected == known_parties.most_hospitals(
        entries, known, operators=count, apart_from="h0"
    )


def test_an_institution_counts_once_too_whoever_runs_its_machines() -> None:
    entries = hospitals(3)
    known = vouched_for(entries, [1, 2, 3])
    chain = [replace(one, party=replace(one.party, institution="Operator 1")) for one in known[1:]]
    assert known_parties.fewest_operators(entries, known, seats=3, ours="h0") == 3
    assert known_parties.fewest_operators(entries, (known[0], *chain), seats=3, ours="h0") == 1


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", "New Hospital", "name must be the one in rosters"),
        ("institution", "", "institution of newcomer must be 1 to 80"),
        ("operator", "x" * 81, "operator of newcomer must be 1 to 80"),
        ("operator", "two  spaces", "operator of newcomer must be"),
        ("institution", "a\u202eb", "institution of newcomer must be"),
        ("verify_key", "ab" * 31, "64 lower-case hexadecimal digits"),
        ("seal_key", "AB" * 32, "64 lower-case hexadecimal digits"),
    ],
)
def test_what_is_no_party_is_refused_in_a_sentence(field: str, value: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        replace(NEWCOMER, **{field: value})
