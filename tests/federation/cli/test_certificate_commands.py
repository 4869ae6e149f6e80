"""`certificate verify` says whether a model is the one that was signed for, and by whose keys."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from federation.certificate import certificate, signed_file
from federation.cli import certificate_commands
from federation.evaluation import model_file
from syft_code.errors import ConsiliumError

app = typer.Typer()
app.command()(certificate_commands.verify)


@pytest.fixture
def model(skin_demo, researcher_key, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    model_file.write(path, skin_demo.outcome.plan, skin_demo.outcome.weights)
    content = certificate.certificate(skin_demo.outcome)
    certificate.write(tmp_path / "certificate.json", content, key=researcher_key)
    return path


@pytest.fixture
def keys(skin_demo, tmp_path: Path) -> Path:
    plan = skin_demo.outcome.plan
    path = tmp_path / "keys.json"
    named = {one.name: one.verify_key for one in plan.hospitals}
    path.write_text(json.dumps({"researcher": plan.researcher_key, "hospitals": named}, indent=4))
    return path


def run(*words: object) -> Result:
    return CliRunner(mix_stderr=False).invoke(app, [str(word) for word in words])


def checked(*words: object) -> dict[str, Any]:
    found = run(*words, "--json")
    facts: dict[str, Any] = json.loads(found.stdout)
    assert found.exit_code == (0 if facts["holds"] else 1)
    assert facts.keys() == {"holds", "study", "hospitals", "keys_from", "problems"}
    return facts


def refusal(*words: object) -> str:
    found = run(*words)
    assert isinstance(found.exception, ConsiliumError), found.exception
    text = str(found.exception)
    assert text.endswith(".") and "\n" not in text and not found.stdout
    return text


def test_a_model_with_its_certificate_holds_by_the_parties_keys(model: Path, keys: Path) -> None:
    facts = checked(model, "--keys", keys)
    assert (facts["holds"], facts["study"], facts["keys_from"]) == (True, "a-study", "option")
    assert [own["signed_contributions"] for own in facts["hospitals"]] == [5, 5, 5, 5]
    words = run(model, "--keys", keys).stdout
    assert words.startswith("The certificate holds: study a-study, 3 rounds, 20 contributions")
    assert (
        "  north: 5 contributions, epsilon " in words
        and "at delta 1e-05, whoever colludes." in words
    )
    assert words.endswith("The keys are those that you gave.\n")


def test_without_keys_it_says_whose_word_the_keys_are(skin_demo, model: Path) -> None:
    assert checked(model)["keys_from"] == "certificate"
    words = run(model).stdout
    assert "no more than that somebody signed it" in words
    assert f"  south: {skin_demo.outcome.plan.hospitals[1].verify_key}" in words


def test_another_key_a_changed_model_and_a_changed_certificate_do_not_hold(
    model: Path, keys: Path, tmp_path: Path
) -> None:
    known = json.loads(keys.read_text())
    other = tmp_path / "other.json"
    other.write_text(json.dumps(known | {"researcher": "00" * 32}))
    (problem,) = checked(model, "--keys", other)["problems"]
    assert "The key of the researcher must be the one that you gave" in problem
    data = model.read_bytes()
    model.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert checked(model)["problems"] == [
        "The model's file must have the hash that the certificate gives, and has another."
    ]
    path = tmp_path / "certificate.json"
    path.write_bytes(path.read_bytes().replace(b'"absent": 0', b'"absent": 1', 1))
    facts = checked(model, "--certificate", path)
    assert len(facts["problems"]) == 1 and "was changed since" in facts["problems"][0]
    assert facts["hospitals"] == [] and facts["study"] is None
    assert run(model).stdout.startswith("The certificate does NOT hold:\n  - The certificate must")


def test_a_researcher_who_signs_a_lower_epsilon_is_found(
    model: Path, keys: Path, researcher_key
) -> None:
    path = model.parent / "certificate.json"
    content = certificate.read(path)
    content["hospitals"][0].update(epsilon=0.1, epsilon_stated_by_ledger=0.1)
    path.write_bytes(signed_file.encode(content, researcher_key))
    problems = checked(model, "--keys", keys)["problems"]
    assert any("north: the ledger states epsilon" in one for one in problems)


def test_what_cannot_be_checked_at_all_is_refused(model: Path, tmp_path: Path) -> None:
    assert "There is no certificate" in refusal(model, "--certificate", tmp_path / "none.json")
    assert "There is no model" in refusal(
        tmp_path / "none", "--certificate", tmp_path / "certificate.json"
    )
    bad = tmp_path / "keys"
    for text, named in (("{", "must be JSON"), ("{}", "researcher"), ('{"researcher": 7}', "well")):
        bad.write_text(text)
        assert named in refusal(model, "--keys", bad)


def test_a_wrong_file_in_a_models_place_is_named_itself(model: Path) -> None:
    absent = run(model.with_name("nope.safetensors")).exception
    assert isinstance(absent, ConsiliumError)
    assert str(absent).startswith("There is no model") and "nope.safetensors" in str(absent)
    exchanged = run(model.with_name("certificate.json")).exception
    assert isinstance(exchanged, ConsiliumError) and "is JSON: name the model" in str(exchanged)
