"""The two notebooks, run as people run them, against a live federation."""

import asyncio
import itertools
import json
import threading
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from datasites.demo import stand_ins
from tests.conftest import Live

ROOT = Path(__file__).parents[2]
REVIEW = ROOT / "datasites" / "notebooks" / "review_requests.ipynb"
TRAIN = ROOT / "researcher_notebooks" / "train_a_model.ipynb"
PUBLISH = ROOT / "datasites" / "notebooks" / "publish.ipynb"
OWNER = ROOT / "researcher_notebooks" / "tutorial" / "6_be_the_owner.ipynb"
MAX_CODE_CELLS = 12
MAX_LINES = 10


def run(path: Path, environment: dict[str, str]) -> Any:
    """Run a notebook in its own folder and return it with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    lines = [f"import os; os.environ[{key!r}] = {value!r}" for key, value in environment.items()]
    notebook.cells.insert(0, nbformat.v4.new_code_cell("\n".join(lines)))
    client = NotebookClient(notebook, timeout=400, resources={"metadata": {"path": path.parent}})
    return asyncio.run(client.async_execute())  # closes its event loop, as execute() does not


def text_of(notebook: Any) -> str:
    return json.dumps([cell.get("outputs", []) for cell in notebook.cells])


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_a_researcher_trains_while_the_owners_review(live: Live) -> None:
    state = {"CONSILIUM_STATE": str(live.state)}
    trained: list[Any] = []
    before = len(live.owner(0).requests())
    researcher = threading.Thread(target=lambda: trained.append(run(TRAIN, state)), daemon=True)
    researcher.start()
    owners = [live.owner(position) for position in range(len(live.homes))]
    deadline = time.monotonic() + 120
    while not all(len(owner.requests()) > before for owner in owners):
        assert time.monotonic() < deadline, "the researcher's request must arrive"
        time.sleep(0.5)
    reviewed = run(REVIEW, state | {"CONSILIUM_HOSPITAL": owners[2].name})
    assert "To be signed at" in text_of(reviewed)
    for owner in owners:
        assert not owner.has_approved(owner.requests()[-1]), "who runs all cells signs nothing"
        owner.approve(owner.requests()[-1])
    researcher.join(timeout=400)
    assert trained, "the researcher's notebook must end"
    assert "No code of the researcher runs" in text_of(reviewed)
    assert "Balanced accuracy" in text_of(trained[0])
    assert "\\u00b1" in text_of(trained[0]), "a noised figure has its error bar"
    for notebook in (reviewed, trained[0]):
        for noise in ("Traceback", "Warning", "stderr", "Logged into", "SyftSuccess"):
            assert noise not in text_of(notebook), noise


@pytest.mark.timeout(300)
def test_an_owner_publishes_a_folder(live: Live, tmp_path: Path) -> None:
    stand_ins.write("heart", tmp_path / "heart", patients=90, seed=5)
    owner = live.owner(1)
    done = run(
        PUBLISH,
        {
            "CONSILIUM_STATE": str(live.state),
            "CONSILIUM_HOSPITAL": owner.name,
            "CONSILIUM_DATA": str(tmp_path / "heart"),
            "CONSILIUM_ASSET": "heart-of-a-notebook",
        },
    )
    said = text_of(done)
    for words in ("heart: 90 patients", "by class", "held out", "version 1", "Nothing yet."):
        assert words in said, words
    assert "Traceback" not in said and "heart-of-a-notebook" in owner.site_status().assets


@pytest.mark.timeout(300)
@pytest.mark.slow
def test_a_learner_denies_approves_revokes_and_runs_dry(live: Live) -> None:
    state = {"CONSILIUM_STATE": str(live.state), "CONSILIUM_HOSPITAL": live.owner(0).name}
    said = text_of(run(OWNER, state))
    for words in ("names no purpose", "at most 2 of", "Revoked at", "nothing: ", "approve"):
        assert words in said, words
    assert "Traceback" not in said


@pytest.mark.parametrize("path", [REVIEW, TRAIN, PUBLISH], ids=lambda path: path.name)
def test_a_notebook_is_short_prose_first_and_without_outputs(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert len(code) <= MAX_CODE_CELLS
    for before, cell in itertools.pairwise(cells):
        if cell.cell_type == "code":
            assert before.cell_type == "markdown", "prose before every cell"
            assert len(cell.source.splitlines()) <= MAX_LINES
            assert not cell.outputs
            assert "def " not in cell.source
            assert "class " not in cell.source
    assert "Try to break it" in cells[-1].source
