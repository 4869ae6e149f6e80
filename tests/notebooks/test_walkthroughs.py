"""The walkthroughs, each from raw files to a certificate and answers, with a federation of its own."""

import json
from pathlib import Path

import nbformat
import pytest

from tests.conftest import free_ports
from tests.notebooks.test_notebooks import run, text_of

FOLDER = Path(__file__).parents[2] / "researcher_notebooks" / "walkthroughs"
WALKTHROUGHS = sorted(FOLDER.glob("*.ipynb"))
MAX_LINES = 10
SAYS = {
    "1": ("600 patients", "Balanced accuracy", "mel"),
    "2": ("900 patients", "Balanced accuracy", "influenza"),
    "3": ("60 patients", "of the pixels are outlined"),
}


def test_there_are_three() -> None:
    assert [path.name[0] for path in WALKTHROUGHS] == list(SAYS)


@pytest.mark.parametrize("path", WALKTHROUGHS, ids=lambda path: path.stem)
def test_a_walkthrough_is_short_and_says_what_to_change(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    for cell in cells:
        if cell.cell_type == "code":
            lines = [line for line in cell.source.splitlines() if line.strip()]
            assert len(lines) <= MAX_LINES and not cell.outputs, cell.source
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert prose.count("*For your own data*") >= 2 and "**Try to break it:**" in prose


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.timeout(600)
@pytest.mark.parametrize("path", WALKTHROUGHS, ids=lambda path: path.stem)
def test_a_walkthrough_runs_from_raw_files_to_answers(path: Path, tmp_path: Path) -> None:
    done = run(
        path,
        {"CONSILIUM_WALKTHROUGH": str(tmp_path), "CONSILIUM_FIRST_PORT": str(free_ports(20))},
    )
    said = text_of(done)
    for words in (*SAYS[path.name[0]], "no hospital's rules refuse it", "Signed and in force"):
        assert json.dumps(words)[1:-1] in said, words
    for noise in ("Traceback", "Warning", "stderr"):
        assert noise not in said, noise
