"""docs/architecture.md says what the code is: files, arrows, rooms; docs/renamed.md where it is now."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_rooms import MAY_IMPORT, MODULES, ROOT, allowed, imports

PAGE = (ROOT / "docs" / "architecture.md").read_text()
NAMED = sorted(set(re.findall(r"[a-z0-9_]+(?:/[a-z0-9_]+)+\.py|launch\.py", PAGE)))
ARROWS = re.findall(r"^(\S+\.py) ▶ (\S+\.py)", PAGE, re.MULTILINE)
MESSAGES = re.findall(r"^(\S+) ⇢ (\S+)", PAGE, re.MULTILINE)
RENAMED, _, CLASSES = (ROOT / "docs" / "renamed.md").read_text().partition("## Classes")
MOVED = re.findall(r"^\| (`\S+\.py`) \| ([^|]+) \|", RENAMED, re.MULTILINE)
CALLED = re.findall(r"^\| `\w+` \| `(\w+)` \| `(\S+)` \|$", CLASSES, re.MULTILINE)
ROOMS = re.findall(r"^\| `([a-z_/]+)` \|", PAGE, re.MULTILINE)


def module_of(path: str) -> str:
    (name,) = [name for name, where in MODULES.items() if where == ROOT / path]
    return name


@pytest.mark.parametrize("path", NAMED)
def test_a_file_that_the_page_names_is_there(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize(("importer", "imported"), ARROWS)
def test_an_arrow_of_the_page_is_an_import(importer: str, imported: str) -> None:
    assert module_of(imported) in set(imports(module_of(importer)))


def test_a_message_of_the_page_goes_from_a_file_to_a_file() -> None:
    for message in MESSAGES:
        assert all((ROOT / end).is_file() for end in message), message


def test_a_room_imports_only_rooms_above_it_on_the_map() -> None:
    above: set[str] = set()
    for room in (path.replace("/", ".") for path in ROOMS):
        assert allowed(room) - {room} <= above, room
        above.add(room)


def test_the_page_walks_and_maps() -> None:
    assert len(ARROWS) == PAGE.count(" ▶ ") > 20
    assert len(MESSAGES) == PAGE.count(" ⇢ ") > 3
    assert {Path(room) for room in ROOMS} == {
        Path(room.replace(".", "/")) for room in MAY_IMPORT if room
    }


def test_each_file_of_the_list_of_names_is_where_it_says_or_gone() -> None:
    assert len(MOVED) == RENAMED.count("\n| `") > 100
    for before, now in MOVED:
        files = [] if now == "gone" else [ROOT / name.strip("`") for name in now.split(", ")]
        assert all(file.is_file() for file in files), (before, now)


def test_each_class_of_the_list_of_names_stands_in_its_file() -> None:
    assert len(CALLED) == CLASSES.count("\n| `") > 100
    for name, file in CALLED:
        assert name in set(defined(ROOT / file)), (name, file)


def defined(file: Path) -> Iterator[str]:
    """The names of a file's classes and constants."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (one.id for one in targets if isinstance(one, ast.Name))
