"""The card beside a certificate: what stands in the certificate, and no exact figure of patients."""

import dataclasses
import json
from pathlib import Path

import pytest

from federation.certificate import certificate, model_card
from federation.evaluation import baselines, exact_metrics
from syft_code.errors import InvalidPlan
from syft_code.privacy import epsilons


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_a_card_says_data_sites_epsilon_figures_and_limits(
    skin_demo, researcher_key, tmp_path: Path
) -> None:
    content = certificate.certificate(skin_demo.outcome)
    certificate.write(tmp_path / "certificate.json", content, key=researcher_key)
    text = (tmp_path / "model_card.md").read_text(encoding="utf-8")
    assert text == model_card.text(certificate.read(tmp_path / "certificate.json"))
    assert text.startswith("# Model card: a-study\n") and "STAND-IN" in text
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert titles == ["## Data", "## Sites", "## Privacy", "## Figures", "## Limits", "## Use"]
    table = {row[0]: row[1:] for row in rows(text)}
    for own in content["hospitals"]:
        assert table[own["name"]] == [
            str(own["declared_patients"]), "3", epsilons.at_least(own["epsilon"]),
            epsilons.at_least(own["epsilon_alone"]), "1e-05",
        ]  # fmt: skip
    figure = content["utility"]["noised_by_round"]["3"]["balanced_accuracy"]
    assert table["balanced\\_accuracy"] == [f"{figure:.3f}", "0.040"]
    assert content["model"]["file_sha256"] in text and "lesion" in text
    assert "fit for any patient" in text, "its limits"
    assert "Subgroups (sex, age, site): none were measured." in text


def test_a_figure_that_its_noise_drowns_is_said_not_to_be_measurable(skin_demo) -> None:
    content = certificate.certificate(skin_demo.outcome)
    content["utility"]["noise_error_by_round"]["3"]["balanced_accuracy"] = 0.4
    table = {row[0]: row[1:] for row in rows(model_card.text(content))}
    assert table["balanced\\_accuracy"] == ["not measurable", "0.400"]


def test_exact_figures_stand_in_the_card_of_stand_ins_alone(
    skin_demo, rewritten, researcher_key, tmp_path: Path
) -> None:
    outcome, hospitals = skin_demo.outcome, skin_demo.hospitals
    exact = exact_metrics.exact(outcome.plan, outcome.weights, hospitals)
    other = baselines.Baseline(
        name="Pooled | `data`",
        private=False,
        epsilon=None,
        metrics=exact,
        per_hospital={},
        seconds=1,
    )
    drawn = certificate.certificate(outcome, exact=exact, baselines=[other])
    text = model_card.text(drawn)
    value = f"{exact['balanced_accuracy']:.3f}"
    assert ["balanced\\_accuracy", value, value] in rows(text)
    assert "Pooled \\| \\`data\\`" in text, "no name is markup"
    data = dataclasses.replace(outcome.plan.data, stand_in=False)
    real = rewritten(outcome, dataclasses.replace(outcome.plan, data=data))
    content = certificate.certificate(real, exact=exact, baselines=[other])
    certificate.write(tmp_path / "certificate.json", content, key=researcher_key)
    card = tmp_path / "model_card.md"
    assert "Exact figures" not in card.read_text() and "Pooled" not in card.read_text()
    assert (tmp_path / "certificate.json").stat().st_mode & 0o077 == 0
    assert card.stat().st_mode & 0o044, "it may be passed on"


def test_a_study_that_stopped_or_evaluated_nothing_says_so(skin_demo, rewritten) -> None:
    outcome = skin_demo.outcome
    plan = dataclasses.replace(outcome.plan, evaluation=None)
    rounds = tuple(
        dataclasses.replace(
            one, metrics={}, errors={}, evaluated=(), headers={"train": one.headers["train"]}
        )
        for one in outcome.rounds
    )
    bare = dataclasses.replace(
        rewritten(dataclasses.replace(outcome, rounds=rounds), plan),
        stopped="Too few <b>answered</b>.",
    )
    text = model_card.text(certificate.certificate(bare))
    assert "No figure was paid for" in text and "Too few \\<b\\>answered" in text


def test_a_card_needs_a_plan(skin_demo) -> None:
    content = json.loads(json.dumps(certificate.certificate(skin_demo.outcome)))
    with pytest.raises(InvalidPlan):
        model_card.text(content | {"plan": {"study": "x"}})
