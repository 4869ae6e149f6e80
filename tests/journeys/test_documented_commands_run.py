"""Each command of docs/commands.md that takes under a minute does what it says, in the order of the page."""

import json
import secrets
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from datasites.demo import stand_ins
from federation.certificate import certificate
from federation.evaluation import model_file
from federation.researcher.session import Researcher
from syft_code.plans.plan_parts import DpSgd, Sgd
from tests.conftest import Live
from tests.plans import TINY
from tests.test_documented_commands import commands

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "commands.md"
SERVES, LONG = "runs until Ctrl-C", "takes minutes"
NOT_RUN = {
    "up": SERVES,
    "lab": SERVES,
    "owner": SERVES,
    "aggregator": "reads a file of root's; its own tests run it",
    "demo": LONG,
    "study tune": LONG,
    "experiment run": LONG,
    "audit privacy": LONG,
    "model export": "needs onnx",
    "patients remove": "changes a cohort that other tests share",
}


def told(folder: Path, words: list[str]) -> str:
    """A command as a person pastes it, in a folder of theirs."""
    done = subprocess.run(
        [sys.executable, "-m", "launch", *words],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


@pytest.fixture
def folder(live: Live, tmp_path: Path) -> Path:
    """What the page's commands find: a federation's state, a trained model, a folder of pictures."""
    (tmp_path / "federation_state").symlink_to(live.state)
    stand_ins.write("ham10000", tmp_path / "data" / "skin", patients=30, seed=3)
    case = tmp_path / "scans" / "case-7"
    case.mkdir(parents=True)
    picture = next((tmp_path / "data" / "skin").rglob("*.jpg"))
    shutil.copy(picture, case)
    researcher = Researcher.connect(live.credentials)
    study = researcher.study(
        study=f"commands-{secrets.token_hex(4)}",
        asset="skin-lesions",
        recipe=TINY,
        dp_sgd=DpSgd(noise_multiplier=2.0, max_grad_norm=1.0, sample_rate=0.25, steps=1),
        optimizer=Sgd(learning_rate=0.5),
        rounds=1,
    )
    study.submit()
    for position in range(len(live.homes)):
        owner = live.owner(position)
        owner.approve(next(one for one in owner.requests() if one.plan == study.plan))
    study.wait_for_approval(timeout_s=60)
    outcome = study.train()
    researcher.close()
    model_file.write(tmp_path / "model.safetensors", outcome.plan, outcome.weights)
    certificate.write(
        tmp_path / "certificate.json", certificate.certificate(outcome), key=researcher.key
    )
    return tmp_path


def test_each_command_of_the_page_does_what_it_says(folder: Path) -> None:
    ran: dict[str, str] = {}
    for line in dict.fromkeys(commands(PAGE)):
        _, *words = shlex.split(line, comments=True)
        if any(" ".join(words).startswith(one) for one in NOT_RUN):
            continue
        here = [
            str(folder) + word if word.startswith(("/data/", "/tmp/")) else word  # noqa: S108
            for word in words
        ]
        (folder / "tmp").mkdir(exist_ok=True)
        ran[" ".join(words[:2])] = told(folder, here)
    assert len(ran) > 12, list(ran)
    assert "skin-lesions" in ran["ledger --hospital"] and "ham10000" in ran["data check"]
    assert (
        "holds" in ran["certificate verify"].lower() or "certificate" in ran["certificate verify"]
    )
    (answers,) = (folder / "predictions").iterdir()
    assert (answers / "probabilities.csv").read_text().count("\n") == 2
    assert json.loads((folder / "log.jsonl").read_text().splitlines()[0])
    assert "Article 35" in (folder / "dpia.md").read_text()
