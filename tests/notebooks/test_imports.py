"""What a notebook imports, and what it calls of it, is there: a quick look before the long run."""

import ast
import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from datasites.owner.owner import Owner
from federation.researcher.study import Study

ROOT = Path(__file__).parents[2]
NOTEBOOKS = [
    ROOT / "researcher_notebooks" / "train_a_model.ipynb",
    ROOT / "datasites" / "notebooks" / "review_requests.ipynb",
]
OBJECTS: dict[str, Any] = {"owner": Owner, "study": Study}


def imported(module: str, name: str) -> Any:
    """What `from module import name` gives."""
    package = importlib.import_module(module)
    if not hasattr(package, name):
        return importlib.import_module(f"{module}.{name}")
    return getattr(package, name)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_notebook_imports_and_calls_is_there(path: Path) -> None:
    known = dict(OBJECTS)
    cells = json.loads(path.read_text())["cells"]
    text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    nodes = list(ast.walk(ast.parse(text)))
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            for one in node.names:
                known[one.asname or one.name] = imported(node.module, one.name)
    instances = {"owner": {"name", "settings"}, "study": {"plan"}}
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            holder = node.value.id
            if holder in known and node.attr not in instances.get(holder, ()):
                assert hasattr(known[holder], node.attr), f"{holder}.{node.attr}"
