"""`audit privacy` says in a table and by its exit code whether claims hold."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from federation.cli import privacy_commands
from federation.privacy_audit import settings
from syft_code.errors import InvalidInput
from syft_code.privacy.noise import NoiseSource

app = typer.Typer()
app.command()(privacy_commands.privacy)
ONE = settings._setting("mlp", 1.0)


def test_a_claim_that_holds_is_within_and_one_that_does_not_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(privacy_commands, "SETTINGS", (ONE,))
    said = CliRunner().invoke(app, ["--runs", "100"])
    assert said.exit_code == 0 and "All 1 are within their claims" in said.stdout
    monkeypatch.setattr(NoiseSource, "add_noise", lambda self, exact, *, std: exact.astype(float))
    said = CliRunner().invoke(app, ["--runs", "100"])
    assert said.exit_code == 1 and "Do not train" in said.stdout


def test_a_plan_of_ones_own_is_audited(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_bytes(ONE.plan.encode())
    said = CliRunner().invoke(app, ["--plan", str(file), "--runs", "100", "--seed", "3", "--json"])
    assert said.exit_code == 0, said.output
    (found,) = json.loads(said.stdout[said.stdout.index("{") :])["findings"]
    assert found["name"] == "privacy-audit, one round" and not found["above"]
    assert found["one_run"] is None and found["many_runs"]["claimed"] > 4.0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--runs", "3"], "--runs must be a whole number from 100"),
        (["--seed", "-1"], "--seed must be a whole number from 0"),
        (
            ["--plan", "/nowhere"],
            "--plan must be a file with a plan's JSON, and '/nowhere' is none",
        ),
        (["--plan", __file__], "--plan must be a file with a plan's JSON"),
    ],
)
def test_what_is_wrong_is_one_sentence(words: list[str], sentence: str) -> None:
    said = CliRunner().invoke(app, words)
    assert isinstance(said.exception, InvalidInput) and sentence in str(said.exception)
