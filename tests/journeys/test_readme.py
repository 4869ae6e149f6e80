"""The README's Python, word for word, against the live federation."""

import re
import secrets
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from datasites.owner.owner import Owner
from federation.prediction import trained_model
from tests.conftest import Live

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(400)


def approve_one_round(owners: list[Owner], study: str) -> None:
    """Every owner lets the study run for one round, as soon as it is there."""
    waiting = list(owners)
    deadline = time.monotonic() + 120
    while waiting and time.monotonic() < deadline:
        for owner in list(waiting):
            for request in owner.requests():
                if request.plan and request.plan.study == study:
                    owner.approve(request, rounds=1)
                    waiting.remove(owner)
                    break
        time.sleep(0.5)


def test_the_readmes_python_trains_against_a_live_federation(
    live: Live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    (tmp_path / "federation_state").symlink_to(live.state)
    monkeypatch.chdir(tmp_path)
    study = f"readme-{secrets.token_hex(4)}"
    owners = [live.owner(position) for position in range(len(live.homes))]
    approving = threading.Thread(target=approve_one_round, args=(owners, study), daemon=True)
    approving.start()
    names: dict[str, Any] = {}
    exec(compile(block.replace("melanoma-1", study), "README.md", "exec"), names)  # noqa: S102
    approving.join(timeout=30)
    outcome: Any = names["outcome"]
    names["researcher"].close()
    assert [len(record.trained) for record in outcome.rounds] == [len(owners)]
    assert "Round 2 needs 3 hospitals" in outcome.stopped, "the owners allowed one round"
    Image.new("RGB", (40, 32), (180, 120, 130)).save(tmp_path / "new.png")
    model = trained_model.load(tmp_path / "model.safetensors")
    assert "STAND-INS" in model.standing and study in (tmp_path / "model_card.md").read_text()
    assert model.probabilities(tmp_path / "new.png").values.shape == (1, 7)
