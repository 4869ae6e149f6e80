"""No figure that was paid for is shown without its error bar."""

import dataclasses
import io
import re

from rich.console import Console

from federation.certificate import certificate
from federation.evaluation import baselines, exact_metrics
from federation.local_demo import demo_results
from federation.local_demo.demo_results import DemoResults
from federation.reporting import notebook_views, plots, report
from federation.reporting.noised_figures import PLUS_MINUS
from federation.reporting.progress_bar import Display

NOISED = re.compile(r"\d\.\d{3} ± 0\.040")


def printed(show) -> str:
    console = Console(file=io.StringIO(), width=300)
    show(console)
    return console.file.getvalue()


def test_the_line_of_a_round_says_each_figure_with_its_error_and_once_what_it_is(
    skin_demo,
) -> None:
    outcome = skin_demo.outcome
    weights = skin_demo.weights_by_round[0]

    def show(console: Console) -> None:
        display = Display(console, rounds=outcome.plan.rounds)
        for record in outcome.rounds:
            display.on_round(record, weights)

    said = printed(show)
    for line in said.splitlines():
        _, _, figures = line.partition("noised: ")
        assert len(NOISED.findall(figures)) == figures.count(",") + bool(figures), line
    assert NOISED.search(said)
    assert said.count(PLUS_MINUS) == 1


def test_the_table_of_a_demo_has_error_bars_and_the_level_of_chance(skin_demo) -> None:
    outcome = skin_demo.outcome
    exact = exact_metrics.exact(outcome.plan, outcome.weights, skin_demo.hospitals)
    found = DemoResults(exact=exact, baselines=())
    said = printed(lambda console: console.print(demo_results.table(outcome, found)))
    seen, ours, chance = (
        next(line for line in said.splitlines() if words in line)
        for words in ("as the researcher sees it (noised)", "this run, exactly", "Chance:")
    )
    assert NOISED.search(seen) and "±" not in ours
    assert f"{1 / len(outcome.plan.data.classes):.3f}" in chance
    assert "± is how far" in said


def test_a_notebook_shows_each_figure_with_its_error_and_chance(skin_demo, brain_demo) -> None:
    for demo in (skin_demo, brain_demo):
        shown = notebook_views.figures(demo.outcome)
        assert all(NOISED.fullmatch(text) or "±" in text for text in shown["noised figure"])
        assert shown.index.name == PLUS_MINUS
    shown = notebook_views.figures(skin_demo.outcome)
    classes = len(skin_demo.outcome.plan.data.classes)
    assert shown.loc["Balanced accuracy", "chance"] == f"{1 / classes:.3f}"


def test_studies_side_by_side_show_costs_and_each_figure_with_its_error(
    skin_demo, brain_demo
) -> None:
    outcome = skin_demo.outcome
    nothing = dataclasses.replace(outcome, rounds=())
    shown = notebook_views.compare(
        {"skin": outcome, "brain": brain_demo.outcome, "nothing": nothing}
    )
    assert list(shown.columns) == ["skin", "brain", "nothing"]
    assert shown.loc["rounds", "skin"] == f"{len(outcome.rounds)} of {outcome.plan.rounds}"
    assert NOISED.fullmatch(shown.loc["Balanced accuracy", "skin"])
    assert shown.loc["Balanced accuracy", "brain"] == ""
    assert set(shown["nothing"]) == {"", f"0 of {outcome.plan.rounds}"}


def test_a_report_of_a_real_study_heads_with_the_noised_figure_its_error_and_chance(
    skin_demo, tmp_path
) -> None:
    outcome, path = skin_demo.outcome, tmp_path / "report.html"
    report.write(path, outcome, certificate=certificate.certificate(outcome))
    head = path.read_text().split("How good the model is")[0]
    assert NOISED.search(head) and PLUS_MINUS in head
    assert "noised, as the researcher sees it, round 3; chance 0." in head
    assert re.search(r"the noised Balanced accuracy is -?\d\.\d{3} ± 0\.040", path.read_text())


def test_a_report_of_a_demo_holds_the_noised_figure_against_the_baselines(
    skin_demo, tmp_path
) -> None:
    outcome, path = skin_demo.outcome, tmp_path / "report.html"
    exact = [
        exact_metrics.exact(outcome.plan, weights, skin_demo.hospitals)
        for weights in skin_demo.weights_by_round
    ]
    alone = baselines.alone(outcome.plan, skin_demo.hospitals[3], skin_demo.hospitals, delta=1e-5)
    report.write(
        path,
        outcome,
        certificate=certificate.certificate(outcome, exact=exact[-1], baselines=[alone]),
        exact_by_round=exact,
        baselines=[alone],
    )
    head, rest = path.read_text().split("How good the model is")
    assert f"; {alone.name} " in head
    row = rest.split("Federated, as the researcher sees it (noised)")[1].split("</tr>")[0]
    assert NOISED.search(row)


def test_a_certificate_gives_the_error_beside_each_noised_figure(skin_demo) -> None:
    utility = certificate.certificate(skin_demo.outcome)["utility"]
    for number, figures in utility["noised_by_round"].items():
        assert figures.keys() <= utility["noise_error_by_round"][number].keys()
    assert "noise_error_by_round" in utility["noised_note"]


def test_a_diagnosis_is_spelled_out(skin_demo) -> None:
    assert plots.words("auc", skin_demo.outcome.plan.data) == "AUC of melanoma (mel)"


def test_what_cannot_be_measured_is_said_in_words_and_not_as_a_number(skin_demo) -> None:
    outcome, weights = skin_demo.outcome, skin_demo.outcome.weights
    of_one_class = [
        dataclasses.replace(
            one, held_out=dataclasses.replace(one.held_out, labels=0 * one.held_out.labels)
        )
        for one in skin_demo.hospitals
    ]
    exact = exact_metrics.exact(outcome.plan, weights, of_one_class)
    found = DemoResults(exact=exact, baselines=())
    said = printed(lambda console: console.print(demo_results.table(outcome, found)))
    (ours,) = [line for line in said.splitlines() if "this run, exactly" in line]
    assert ours.count("not measurable") == 2 and "nan" not in said and "1.000" not in ours

    last = outcome.rounds[-1]
    lost = dataclasses.replace(last, errors=dict.fromkeys(last.errors, 0.35))
    noisy = dataclasses.replace(outcome, rounds=(*outcome.rounds[:-1], lost))
    assert "not measurable (± 0.350)" in notebook_views.figures(noisy).to_string()
    assert "accuracy not measurable" in str(noisy)


def test_a_report_says_that_a_class_is_ranked_and_never_found(skin_demo, tmp_path) -> None:
    outcome = skin_demo.outcome
    last = outcome.rounds[-1]
    metrics = last.metrics | {"auc": 0.9, f"recall_{outcome.plan.data.positive}": 0.0}
    errors = dict.fromkeys(metrics, 0.02)
    unfound = dataclasses.replace(last, metrics=metrics, errors=errors)
    outcome = dataclasses.replace(outcome, rounds=(*outcome.rounds[:-1], unfound))
    content = certificate.certificate(outcome)
    report.write(tmp_path / "report.html", outcome, certificate=content)
    assert "hardly ever names" in (tmp_path / "report.html").read_text()
    assert "hardly ever names" in str(outcome)
