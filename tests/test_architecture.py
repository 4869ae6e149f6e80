"""docs/architecture.md says what the code is: files, arrows, rooms."""

import re
from pathlib import Path

import pytest

from tests.test_rooms import MAY_IMPORT, MODULES, ROOT, imports

PAGE = (ROOT / "docs" / "architecture.md").read_text()
NAMED = sorted(set(re.findall(r"[a-z_]+(?:/[a-z_]+)+\.py|launch\.py", PAGE)))
ARROWS = re.findall(r"^(\S+\.py) ▶ (\S+\.py)", PAGE, re.MULTILINE)
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


def test_the_page_walks_and_maps() -> None:
    assert len(ARROWS) > 20
    assert {Path(room) for room in ROOMS} == {
        Path(room.replace(".", "/")) for room in MAY_IMPORT if room
    }
