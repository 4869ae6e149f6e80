"""The table of faults in docs/faults.md names real tests, and leaves none out."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / "docs" / "faults.md"
COLUMNS = 4
CONTROLS = {"test_two_sums_that_overlap_would_give_one_update_away"}
"""Tests of no fault: they show that another test can fail."""


def rows() -> list[list[str]]:
    """The cells of each row below the table's head."""
    lines = [line for line in TABLE.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def fault_tests() -> dict[str, str]:
    """The file in which each test of this folder stands, by its name."""
    found = {}
    for path in HERE.glob("test_*.py"):
        text = path.read_text()
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found[node.name] = text
    own = {name for name, text in found.items() if text == Path(__file__).read_text()}
    return {name: text for name, text in found.items() if name not in own | CONTROLS}


def test_no_cell_is_empty() -> None:
    assert rows()
    assert all(len(row) == COLUMNS and all(row) for row in rows())


def test_each_test_of_a_fault_has_one_row_and_each_row_a_test() -> None:
    named = [row[-1].strip("`") for row in rows()]
    assert sorted(named) == sorted(fault_tests())


def test_each_sentence_in_the_table_is_one_that_its_test_reads() -> None:
    for *_, told, cell in rows():
        source = fault_tests()[cell.strip("`")]
        for sentence in re.findall(r'"([^"]+)"', told):
            assert sentence in source, f"{cell}: nothing checks {sentence!r}"
