import ast
import sys
from pathlib import Path

import pytest

from tests.vectors import make_vectors

FILES = sorted(path.stem for path in make_vectors.FOLDER.glob("*.json"))


@pytest.fixture(scope="module")
def made() -> dict[str, make_vectors.Case]:
    return make_vectors.everything()


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_what_the_second_implementation_makes(
    name: str, made: dict[str, make_vectors.Case]
) -> None:
    assert (make_vectors.FOLDER / f"{name}.json").read_text() == make_vectors.text(made[name])
    assert sorted(made) == FILES


def test_the_second_implementation_imports_nothing_of_the_first() -> None:
    """Its answers would prove nothing."""
    for name in ("second", "studies", "broken", "certificates", "make_vectors"):
        tree = ast.parse((Path(__file__).parent / f"{name}.py").read_text())
        modules = {
            alias.name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        } | {
            (node.module or "").split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
        }
        assert modules <= {*sys.stdlib_module_names, "cryptography", "tests"}
