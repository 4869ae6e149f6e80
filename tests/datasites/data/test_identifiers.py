"""Who is one person, and who is to be asked about."""

import pytest

from datasites.data.folders.identifiers import PersonRule, normal, persons
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


@pytest.mark.parametrize("name", ["", " ", "NA", "n/a", "NaN", "?", "--", "#N/A", "null", "\u200b"])
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
