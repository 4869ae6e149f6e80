"""Who is one person, and who is to be asked about."""

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasites.data.folders.identifiers import Difference, PersonRule, normal, persons, remarks
from syft_code.errors import InvalidData


def _persons(*names: str, rule: PersonRule | None = None) -> list[str]:
    return persons(
        names, rule or PersonRule(), where=lambda i: f"row {i + 2}", mapping="schema.toml"
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [("12", "12.0"), (" A1", "A1 "), ("Mu\u0308ller", "M\u00fcller"), ("A\u00a01", "A 1")],
)
def test_spellings_of_one_identifier_are_one_person(one: str, other: str) -> None:
    assert normal(one) == normal(other)


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "NA",
        "n/a",
        "NaN",
        "?",
        "--",
        "#N/A",
        "null",
        "\u200b",
        "k.A.",
        "#NV",
        "#ZAHL!",
        "(blank)",
        "<NA>",
        "Unbekannt",
    ],
)
def test_a_missing_value_names_nobody(name: str) -> None:
    with pytest.raises(InvalidData, match=r"row 3.*missing value"):
        _persons("A", name)


def test_a_rounded_number_names_nobody() -> None:
    with pytest.raises(InvalidData, match="spreadsheet has rounded"):
        _persons("1.23457E+11")


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        ("p1", "P1", "case"),
        ("001", "1", "leading_zeros"),
        ("A-01", "A-001", "leading_zeros"),
        ("P12_1", "P12_2", "scan_number"),
        ("ada-visit1", "ada-visit2", "scan_number"),
        ("TCGA_CS_4941_19960909", "TCGA_CS_4941_19970101", "scan_number"),
        ("BraTS-GLI-00005-100", "BraTS-GLI-00005-101", "scan_number"),
    ],
)
def test_the_owner_is_asked_and_either_answer_is_kept(
    one: str, other: str, difference: str
) -> None:
    with pytest.raises(InvalidData, match=rf'\[persons\] same = \["{difference}"\]'):
        _persons(one, other)
    same = PersonRule(same=(difference,))  # type: ignore[arg-type]
    assert len(set(_persons(one, other, rule=same))) == 1
    different = PersonRule(different=(difference,))  # type: ignore[arg-type]
    assert _persons(one, other, rule=different) == [one, other]


def test_numbered_patients_are_not_scans_of_one() -> None:
    names = [f"A_{i:03}" for i in range(30)] + [f"case {i}" for i in range(30)]
    assert _persons(*names) == names


def test_a_pattern_names_the_person_within_a_name() -> None:
    rule = PersonRule(pattern=r"TCGA_(?P<person>[A-Z]{2}_\w+)_\d{8}")
    assert _persons("TCGA_CS_4941_19960909", "TCGA_CS_4941_19970101", rule=rule) == ["CS_4941"] * 2
    with pytest.raises(InvalidData, match="must match the pattern"):
        _persons("CS_4941", rule=rule)


@pytest.mark.parametrize("pattern", ["(", "A.*", "(?P<person>" + "a" * 300 + ")"])
def test_a_pattern_without_a_person_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidData, match="pattern must be a regular expression"):
        PersonRule(pattern=pattern)


@pytest.mark.parametrize(
    "other",
    ["P\u20111", "P\u22121", "\uff30-1", "P-\uff11", "P-\u200d1", "P\u00ad-1", "P-1\ufe0f", "P-\u0661", "P-1\u202c"],
)  # fmt: skip
def test_characters_that_look_alike_or_are_unseen_are_one_spelling(other: str) -> None:
    assert normal(other) == normal("P-1")


@pytest.mark.parametrize("name", ["1.23457e11", "1,2E5", "1.2E-05", "12E+3"])
def test_a_number_that_a_spreadsheet_rounded_names_nobody_in_any_notation(name: str) -> None:
    with pytest.raises(InvalidData, match="spreadsheet has rounded"):
        _persons(name)


def test_hexadecimal_identifiers_are_no_rounded_numbers() -> None:
    assert _persons("12e5", "4E11", "a1e-5") == ["12e5", "4E11", "a1e-5"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("P1 (1)", "P1 (2)"),
        ("P1(1)", "P1"),
        ("P1[1]", "P1[2]"),
        ("P1_2019-01-03", "P1_2020-02-04"),
        ("P1_03.01.2019", "P1 4.2.2020"),
        ("ada 2019-01-03", "ada 2020-02-04"),
        ("P1_scan1b", "P1_scan2b"),
    ],
)
def test_dates_copies_and_lettered_scans_are_asked_about(one: str, other: str) -> None:
    with pytest.raises(InvalidData, match=r'same = \["scan_number"\]'):
        _persons(one, other)
    assert len(set(_persons(one, other, rule=PersonRule(same=("scan_number",))))) == 1


@pytest.mark.parametrize(
    ("one", "other", "needed"),
    [
        ("P-007", "p-7", '"case", "leading_zeros"'),
        ("P1_scan1", "p1_scan2", '"case", "scan_number"'),
        ("P01_1", "P1_2", '"leading_zeros", "scan_number"'),
        ("P-001_scan01", "p-1_scan2", '"case", "leading_zeros", "scan_number"'),
    ],
)
def test_two_spellings_that_differ_in_several_ways_are_asked_about(
    one: str, other: str, needed: str
) -> None:
    with pytest.raises(InvalidData) as refusal:
        _persons(one, other)
    assert f"same = [{needed}]" in str(refusal.value)


CHANGES: dict[Difference, Callable[[str], str]] = {
    "case": str.swapcase,
    "leading_zeros": lambda name: re.sub(r"(\d+)", r"00\1", name, count=1),
    "scan_number": lambda name: f"{name}_scan2",
}


@given(
    st.from_regex(r"[a-z]{1,4}-?[1-9][0-9]{0,3}", fullmatch=True),
    st.sets(st.sampled_from(sorted(CHANGES)), min_size=1),
    st.sets(st.sampled_from(sorted(CHANGES))),
)
def test_no_two_changes_together_make_a_second_person_unasked(
    name: str, changes: set[Difference], declared: set[Difference]
) -> None:
    """What is undeclared is asked about; once all of it is `same`, there is one person."""
    other = name
    for change in sorted(changes, reverse=True):
        other = CHANGES[change](other)
    rule = PersonRule(same=tuple(sorted(declared)))
    if changes <= declared:
        assert len(set(_persons(name, other, rule=rule))) == 1
        return
    with pytest.raises(InvalidData) as refusal:
        _persons(name, other, rule=rule)
    assert all(f'"{change}"' in str(refusal.value) for change in changes - declared)


def test_the_order_in_which_differences_are_named_makes_no_other_person() -> None:
    rule = PersonRule(same=("scan_number", "leading_zeros"))
    assert len(set(_persons("P-001_1", "P-1_2", rule=rule))) == 1


def test_a_question_shows_what_one_person_would_be_called() -> None:
    with pytest.raises(InvalidData, match=r"is one person \(here 'site1'\)"):
        _persons("site1-0001", "site1-0002")


def test_a_remark_counts_the_persons_that_the_owners_word_has_made() -> None:
    names, rule = ["site1-0001", "site1-0002", "site2-0001"], PersonRule(same=("scan_number",))
    assert remarks(names, _persons(*names, rule=rule), rule) == (
        "3 identifiers are 2 persons by [persons].",
    )
    rule = PersonRule(different=("scan_number",))
    assert remarks(names, _persons(*names, rule=rule), rule) == ()
