"""The rooms: what each may import, how large it is, and where PySyft comes in."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MOST_FILES = 12
EVERYBODYS = {"syft_code"}
"""Errors, canonical JSON, cohorts: any room may import them."""

# A room may import the rooms on its right, all of which stand above it: no cycle is possible.
MAY_IMPORT: dict[str, set[str]] = {
    "syft_code": set(),
    "syft_code.runtime": set(),
    "syft_code.operation": {"runtime"},
    "syft_code.recipes": set(),
    "syft_code.plans": {"recipes"},
    "syft_code.evidence": {"plans"},
    "syft_code.privacy": {"plans"},
    "syft_code.models": {"recipes"},
    "syft_code.metrics": {"models", "recipes"},
    "syft_code.secret_sharing": {"metrics", "plans", "recipes"},
    "syft_code.learning": {"models", "plans", "privacy", "recipes"},
    "syft_code.local_training": {
        "learning", "metrics", "models", "plans", "privacy", "recipes", "secret_sharing",
    },
    "policies": {"syft_code.*"},
    "datasites.protocol": {"policies", "syft_code.*"},
    "datasites": {"datasites.protocol", "syft_code.*"},
    "datasites.data.folders": {"syft_code.*"},
    "datasites.data.readers.csv_files": {"datasites.data.folders", "syft_code.*"},
    "datasites.data.readers.tabular": {"datasites.data.folders", "datasites.data.readers.csv_files", "syft_code.*"},
    "datasites.data.readers.images": {
        "datasites.data.folders", "datasites.data.readers.csv_files", "datasites.data.readers.tabular", "syft_code.*",
    },
    "datasites.data.readers.volumes.formats": {"datasites.data.folders", "syft_code.*"},
    "datasites.data.readers.volumes": {
        "datasites.data.folders", "datasites.data.readers.tabular", "datasites.data.readers.volumes.formats", "syft_code.*",
    },
    "datasites.data.readers": {
        "datasites.data.folders", "datasites.data.readers.images", "datasites.data.readers.tabular",
        "datasites.data.readers.volumes", "syft_code.*",
    },
    "datasites.data": {
        "datasites.data.folders", "datasites.data.readers.*", "datasites.protocol", "datasites.sandbox", "syft_code.*",
    },
    "datasites.vault.db": {"datasites", "datasites.protocol", "policies", "syft_code.*"},
    "datasites.sandbox": {"syft_code.operation"},
    "datasites.vault.worker": {
        "datasites", "datasites.data", "datasites.protocol", "datasites.sandbox", "syft_code.*",
    },
    "datasites.vault": {
        "datasites", "datasites.data", "datasites.protocol", "datasites.sandbox", "datasites.vault.db",
        "datasites.vault.worker", "policies", "syft_code.*",
    },
    "datasites.desk.storage": {"datasites", "syft_code.*"},
    "datasites.desk.web": {
        "datasites", "datasites.desk.storage", "datasites.protocol", "syft_code.*",
    },
    "datasites.desk": {
        "datasites", "datasites.desk.storage", "datasites.desk.web", "datasites.protocol",
        "syft_code.*",
    },
    "datasites.review": {
        "datasites.data", "datasites.protocol", "datasites.vault", "datasites.vault.worker",
        "policies", "syft_code.*",
    },
    "datasites.owner": {
        "datasites", "datasites.data", "datasites.data.folders", "datasites.data.readers",
        "datasites.data.readers.volumes", "datasites.protocol", "datasites.review", "policies",
        "syft_code.*",
    },
    "datasites.hospital": {
        "datasites", "datasites.data", "datasites.data.readers", "datasites.owner", "datasites.vault.db", "policies",
        "syft_code.*",
    },
    "datasites.owner_pages": {"datasites.owner", "datasites.review", "syft_code.*"},
    "datasites.cli": {
        "datasites", "datasites.data", "datasites.data.readers", "datasites.hospital", "datasites.sandbox", "datasites.desk.storage", "datasites.owner", "datasites.owner_pages",
        "datasites.protocol", "datasites.review", "datasites.vault.worker", "policies", "syft_code.*",
    },
    "datasites.demo": {
        "datasites", "datasites.data", "datasites.data.folders", "datasites.data.readers.*", "datasites.owner",
        "datasites.review", "policies", "syft_code.*",
    },
    "federation": set(),
    "federation.transport": {"syft_code.*"},
    "federation.relay": {"syft_code.*"},
    "federation.strategy": {"syft_code.*"},
    "federation.aggregator.storage": {"federation.transport", "syft_code.*"},
    "federation.aggregator": {
        "federation.aggregator.storage", "federation.transport", "syft_code.*",
    },
    "federation.aggregator.operator": {
        "federation.aggregator", "federation.aggregator.storage", "federation.transport",
        "syft_code.*",
    },
    "federation.researcher.storage": {"syft_code.*"},
    "federation.researcher": {
        "federation.researcher.storage", "federation.strategy", "federation.transport", "policies", "syft_code.*",
    },
    "federation.evaluation": {"federation.strategy", "syft_code.*"},
    "federation.simulation": {"federation.evaluation", "federation.strategy", "syft_code.*"},
    "federation.certificate": {
        "federation.evaluation", "federation.researcher", "syft_code.*",
    },
    "federation.reporting": {
        "federation.certificate", "federation.evaluation", "federation.researcher",
        "federation.researcher.storage", "syft_code.*",
    },
    # A file must be read for a model as it was for its training, and by the same code.
    "federation.prediction": {
        "datasites.data.readers", "federation.certificate", "federation.evaluation",
        "federation.reporting", "syft_code.*",
    },
    "federation.experiments": {
        "federation.evaluation", "federation.reporting", "federation.simulation",
        "federation.strategy", "syft_code.*",
    },
    "federation.tutorial": {"datasites.data", "syft_code.*"},
    "federation.privacy_audit": {"federation.evaluation", "federation.simulation", "syft_code.*"},
    "federation.cli": {
        "federation.certificate", "federation.evaluation", "federation.experiments",
        "federation.privacy_audit", "federation.researcher.storage", "federation.strategy", "federation.transport",
        "syft_code.*",
    },
    "federation.local": {
        "datasites.*", "federation.aggregator", "federation.reporting", "federation.researcher.storage",
        "federation.transport", "policies", "syft_code.*",
    },
    "federation.local_demo": {"datasites.*", "federation.*", "syft_code.*"},
    "": {"datasites.*", "federation.*", "syft_code.*"},
}  # fmt: skip
PYSYFT_FILES = {
    "datasites/desk/syft_server.py",
    "datasites/owner/syft_session.py",
    "federation/researcher/syft_client.py",
}
NOT_IN_POLICIES = {"torch", "syft", "sqlite3", "socket", "subprocess", "requests", "httpx"}
BY_NAME = {"import_module", "__import__"}
IMPORT_BY_NAME = {
    "datasites/owner/owner.py",
    "federation/certificate/second_accountant.py",
    "federation/simulation/ray_cluster.py",
    "federation/experiments/mlflow_log.py",
    "launch.py",
    "syft_code/learning/dp_sgd.py",
}
"""Files that call `importlib.import_module`: what they import takes seconds, or may be missing."""
IMPORT_WHAT_THEY_ARE_TOLD = {"datasites/sandbox/inside.py"}
"""Files that import a name that comes to them; it stands as `module:function` where it comes from."""
ENTRY = re.compile(r"([a-z_.]+):[a-z_]+")


def modules() -> dict[str, Path]:
    """Every module of the product by its dotted name."""
    places = [ROOT / "launch.py"]
    for top in ("datasites", "federation", "policies", "syft_code"):
        places += sorted((ROOT / top).rglob("*.py"))
    named = {}
    for path in places:
        parts = path.relative_to(ROOT).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


MODULES = modules()


def room_of(module: str) -> str:
    """The folder that a module lies in; a package's own file lies in the package."""
    return module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]


def imports(module: str) -> Iterator[str]:
    """The product's modules that one of them imports, wherever in the file."""
    tree = ast.parse(MODULES[module].read_text())
    yield from (name for name in (*imported_by_name(tree), *told_by_name(tree)) if name in MODULES)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in MODULES or node.module in MODULES:
                    yield inner if inner in MODULES else str(node.module)


def imported_by_name(tree: ast.Module) -> Iterator[str]:
    """The modules that a file imports by a name that stands there as it is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and node_name(node) in BY_NAME:
            calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and n.func is node]
            assert calls, f"line {node.lineno}: call it where it stands"
            (name,) = calls[0].args
            if isinstance(name, ast.Constant):
                yield str(name.value)


def told_by_name(tree: ast.Module) -> Iterator[str]:
    """The modules that a file tells another process to import: texts like `module:function`."""
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and (told := ENTRY.fullmatch(text)):
            yield told[1]


def imports_what_it_is_told(tree: ast.Module) -> bool:
    """Whether a file imports by a name that does not stand there."""
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute | ast.Name)
        and node_name(node.func) in BY_NAME
        and not isinstance(node.args[0], ast.Constant)
        for node in ast.walk(tree)
    )


def node_name(node: ast.Attribute | ast.Name) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id


def allowed(room: str) -> set[str]:
    """The rooms that a room may import."""
    found = {room} | EVERYBODYS
    for name in MAY_IMPORT[room]:
        if name.endswith(".*"):
            found |= {one for one in MAY_IMPORT if f"{one}.".startswith(name[:-1])}
        else:
            found.add(name if "." in name or name in MAY_IMPORT else f"syft_code.{name}")
    return found


def test_the_map_names_every_room_and_no_other() -> None:
    assert {room_of(module) for module in MODULES} == set(MAY_IMPORT)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_along_the_arrows(room: str) -> None:
    for module in MODULES:
        if room_of(module) == room:
            wrong = {room_of(one) for one in imports(module)} - allowed(room)
            assert not wrong, f"{module} imports from {wrong}"


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_each_room_that_it_may_by_name(room: str) -> None:
    named = {name for name in MAY_IMPORT[room] if not name.endswith(".*")}
    inside = [module for module in MODULES if room_of(module) == room]
    used = {room_of(one) for module in inside for one in imports(module)}
    assert named <= used | {one.removeprefix("syft_code.") for one in used}


def test_no_two_rooms_import_each_other_by_any_way() -> None:
    arrows = {
        room: {room_of(one) for m in MODULES if room_of(m) == room for one in imports(m)} - {room}
        for room in MAY_IMPORT
    }
    below: set[str] = set()
    while below != set(arrows):
        free = {room for room, others in arrows.items() if others <= below} - below
        assert free, f"a cycle among {set(arrows) - below}"
        below |= free


@pytest.mark.parametrize("room", [room for room in MAY_IMPORT if room])
def test_a_room_has_at_most_a_dozen_files(room: str) -> None:
    files = [m for m in MODULES if room_of(m) == room and MODULES[m].name != "__init__.py"]
    assert len(files) <= MOST_FILES, files


@pytest.mark.parametrize("room", [room for room in MAY_IMPORT if room])
def test_a_room_says_in_a_few_lines_what_it_is_and_what_it_may_import(room: str) -> None:
    words = ast.get_docstring(ast.parse(MODULES[room].read_text())) or ""
    assert 2 <= len(words.splitlines()) <= 10
    assert "import" in words.lower() and "Start " in words


def test_three_files_import_pysyft_and_no_others() -> None:
    importing = {
        str(path.relative_to(ROOT))
        for path in MODULES.values()
        if "syft" in set(top_level_names(path))
    }
    assert importing == PYSYFT_FILES


def test_policies_do_no_io() -> None:
    for path in (ROOT / "policies").rglob("*.py"):
        assert not set(top_level_names(path)) & NOT_IN_POLICIES, path


def test_no_file_asserts_or_imports_inside_a_function() -> None:
    for path in MODULES.values():
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            assert not isinstance(node, ast.Assert), f"{path}:{node.lineno} asserts"
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                inner = [n for n in ast.walk(node) if isinstance(n, ast.Import | ast.ImportFrom)]
                assert not inner, f"{path}:{node.lineno} imports"


def test_one_file_imports_what_it_is_told_and_the_others_a_name_that_stands_there() -> None:
    telling = {
        str(path.relative_to(ROOT))
        for path in MODULES.values()
        if imports_what_it_is_told(ast.parse(path.read_text()))
    }
    assert telling == IMPORT_WHAT_THEY_ARE_TOLD


def test_these_files_import_by_name_and_no_others() -> None:
    importing = {
        str(path.relative_to(ROOT))
        for path in MODULES.values()
        if list(imported_by_name(ast.parse(path.read_text())))
    }
    assert importing == IMPORT_BY_NAME


def test_no_list_of_words_and_no_table_is_written_twice_under_one_name() -> None:
    seen: dict[tuple[str, str], str] = {}
    for module, path in MODULES.items():
        for name, value in tables(ast.parse(path.read_text())):
            other = seen.setdefault((name, ast.dump(value)), module)
            assert other == module, f"{module} and {other} both write {name}: import it"


def tables(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    """A module's `Literal` types, and its tables of two entries or more."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name, value = node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            name, value = node.target.id, node.value
        else:
            continue
        is_literal = isinstance(value, ast.Subscript) and ast.unparse(value.value) == "Literal"
        if is_literal or (isinstance(value, ast.Dict) and len(value.keys) > 1):
            yield name, value


def test_no_public_class_name_stands_in_two_files() -> None:
    seen: dict[str, Path] = {}
    for path in MODULES.values():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                assert node.name not in seen, f"{node.name}: {path} and {seen[node.name]}"
                seen[node.name] = path


def top_level_names(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    yield from (name.split(".")[0] for name in imported_by_name(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").split(".")[0]
