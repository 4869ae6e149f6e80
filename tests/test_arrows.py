"""The rooms may import each other along the arrows, and PySyft in two files."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "syft_code": set(),
    "policies": {"syft_code"},
    "datasites": {"policies", "syft_code"},
    "federation": {"syft_code"},
}
ROOMS = {*MAY_IMPORT, "launch", "tests", "benchmarks"}
PLAYS_ALL = "federation/local/"
"""The one room that may import hospitals: it plays a whole federation on one machine."""
PYSYFT_FILES = {"datasites/desk/syft_server.py", "federation/researcher/syft_client.py"}
NOT_IN_POLICIES = {"torch", "syft", "sqlite3", "socket", "subprocess", "requests", "httpx"}


def imports(path: Path) -> Iterator[str]:
    """The top-level names that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield (node.module or "").split(".")[0]


def files(room: str) -> list[Path]:
    found = sorted((ROOT / room).rglob("*.py"))
    assert found, f"the room {room} is empty"
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_along_the_arrows(room: str) -> None:
    for path in files(room):
        plays_all = str(path.relative_to(ROOT)).startswith(PLAYS_ALL)
        allowed = {"datasites", "policies"} if plays_all else set()
        wrong = set(imports(path)) & (ROOMS - MAY_IMPORT[room] - {room} - allowed)
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_nothing_but_the_starter_and_tests_imports_the_room_that_plays_all() -> None:
    for path in (file for room in MAY_IMPORT for file in files(room)):
        if not str(path.relative_to(ROOT)).startswith(PLAYS_ALL):
            assert "federation.local" not in path.read_text(), path


@pytest.mark.parametrize(
    ("part", "others"),
    [
        ("desk", {"vault", "review", "data", "owner", "commands"}),
        ("vault", {"desk", "review", "owner", "server", "commands"}),
        ("data", {"desk", "vault", "review", "owner", "server", "commands"}),
    ],
)
def test_a_hospitals_parts_know_each_other_by_messages_alone(part: str, others: set[str]) -> None:
    for path in files(f"datasites/{part}"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("datasites"):
                _, *inner = str(node.module).split(".")
                named = set(inner[:1]) or {alias.name for alias in node.names}
                assert not named & others, f"{path.relative_to(ROOT)} imports {named & others}"


def test_an_aggregator_knows_the_wire_and_nothing_of_the_researchers_side() -> None:
    for path in files("federation/aggregator"):
        allowed = {"aggregator", "durable", "wire"}
        if path.name == "command.py":
            allowed |= {"local_aggregator"}  # which asks whether it serves, as anybody may
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("federation"):
                _, *inner = str(node.module).split(".")
                named = set(inner[:1]) or {alias.name for alias in node.names}
                assert named <= allowed, f"{path.relative_to(ROOT)} imports {named - allowed}"


ROOMS_OF_SYFT_CODE: dict[str, set[str]] = {
    "plans": set(),
    "processes": set(),
    "evidence": {"plans"},
    "privacy": {"plans"},
    "prediction": {"plans"},
    "secret_sharing": {"plans", "prediction"},
    "learning": {"plans", "privacy", "prediction", "secret_sharing"},
}
EVERYBODYS = {"errors", "canonical", "cohort"}


@pytest.mark.parametrize("room", ROOMS_OF_SYFT_CODE)
def test_the_shared_mathematics_imports_one_way(room: str) -> None:
    for path in files(f"syft_code/{room}"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith("syft_code") for alias in node.names), path
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("syft_code"):
                _, *inner = str(node.module).split(".")
                named = set(inner[:1]) or {alias.name for alias in node.names}
                wrong = named - ROOMS_OF_SYFT_CODE[room] - EVERYBODYS - {room}
                assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_every_file_of_the_shared_mathematics_is_in_a_room_or_everybodys() -> None:
    found = {path.name for path in (ROOT / "syft_code").iterdir() if path.name != "__pycache__"}
    assert found == ROOMS_OF_SYFT_CODE.keys() | {f"{name}.py" for name in EVERYBODYS} | {
        "__init__.py"
    }


def test_two_files_import_pysyft_and_no_others() -> None:
    importing = {
        str(path.relative_to(ROOT))
        for room in MAY_IMPORT
        for path in files(room)
        if "syft" in set(imports(path))
    }
    assert importing == PYSYFT_FILES


def test_policies_do_no_io() -> None:
    for path in files("policies"):
        assert not set(imports(path)) & NOT_IN_POLICIES, path


def test_nothing_that_travels_asserts_or_imports_inside_a_function() -> None:
    for room in MAY_IMPORT:
        for path in files(room):
            for node in ast.walk(ast.parse(path.read_text())):
                assert not isinstance(node, ast.Assert), f"{path}:{node.lineno} asserts"
