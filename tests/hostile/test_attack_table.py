"""The table of attacks in docs/attacks.md names real tests, and leaves no attack out."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / "docs" / "attacks.md"
ATTACKS = [f"S{n}" for n in range(1, 16)] + [f"N{n}" for n in range(1, 6)]
COLUMNS = 5


def rows() -> list[list[str]]:
    """The cells of each row below the first table's head."""
    table, _, _ = TABLE.read_text().partition("\n## ")
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def hostile_tests() -> dict[str, str]:
    """The source of every test of this folder, by its name."""
    found = {}
    for path in HERE.glob("test_*.py"):
        text = path.read_text()
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found[node.name] = ast.get_source_segment(text, node) or ""
    return found


def test_each_attack_has_one_row_and_no_cell_is_empty() -> None:
    assert [row[0] for row in rows()] == ATTACKS
    assert all(len(row) == COLUMNS and all(row) for row in rows())


def test_each_row_names_a_test_that_attacks_a_plain_site_and_ours() -> None:
    known = hostile_tests()
    for attack, *_, cell in rows():
        name = cell.strip("`")
        assert name in known, f"{attack}: there is no {name} in tests/hostile"
        assert name.startswith(f"test_{attack.lower()}_"), f"{attack} names another row's test"
        assert re.search(r"\bplain\b|plain_site_of_its_own", known[name]), f"{name}: not there"
        assert re.search(r"\bours\b", known[name]), f"{name}: not here"


def test_each_sentence_in_the_table_is_one_that_its_test_reads() -> None:
    for attack, _, _, told, cell in rows():
        (path,) = [
            path for path in HERE.glob("test_*.py") if f"def {cell.strip('`')}(" in path.read_text()
        ]
        for sentence in re.findall(r'"([^"]+)"', told):
            assert sentence in path.read_text(), f"{attack}: nothing checks {sentence!r}"


def test_each_attack_that_is_tested_has_its_row() -> None:
    told = {row[-1].strip("`") for row in rows()}
    tested = {name for name in hostile_tests() if re.match(r"test_[sn]\d+_", name)}
    assert tested == told


def test_each_test_of_the_second_table_is_there() -> None:
    named = re.findall(r"`(tests/[a-z_/]+\.py)::(test_\w+)`", TABLE.read_text())
    assert len(named) > 12
    for path, name in named:
        assert f"def {name}(" in (HERE.parents[1] / path).read_text(), f"{path} has no {name}"
