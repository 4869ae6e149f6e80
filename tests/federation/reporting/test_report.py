"""The report is one file that fetches nothing, escapes everything and says what is a demo's."""

import base64
import dataclasses
from html.parser import HTMLParser

import pytest

from federation.certificate import certificate
from federation.evaluation import baselines, exact_metrics
from federation.reporting import plots, report
from syft_code.errors import InvalidInput
from syft_code.privacy import epsilons

VOID = {"meta", "img"}


class Page(HTMLParser):
    """What stands on a page; fails on a tag that is not closed in its place."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str, name: str) -> list[str]:
        return [value for t, n, value in self.attributes if (t, n) == (tag, name)]


def a_page(tmp_path, outcome, **choices) -> Page:
    content = choices.pop("certificate", None) or certificate.certificate(outcome)
    path = tmp_path / "report.html"
    report.write(path, outcome, certificate=content, **choices)
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module", params=["skin_demo", "brain_demo"])
def full(request, tmp_path_factory) -> Page:
    return full_page(tmp_path_factory.mktemp("report"), request.getfixturevalue(request.param))


def full_page(tmp_path, demo) -> Page:
    plan = demo.outcome.plan
    exact = [
        exact_metrics.exact(plan, weights, demo.hospitals) for weights in demo.weights_by_round
    ]
    others = [baselines.alone(plan, demo.hospitals[3], demo.hospitals, delta=1e-5)]
    return a_page(
        tmp_path,
        demo.outcome,
        certificate=certificate.certificate(demo.outcome, exact=exact[-1], baselines=others),
        exact_by_round=exact,
        baselines=others,
        samples=demo.hospitals[0].held_out,  # synthetic here
        budgets={"north": 8.0, "south": 8.0, "east": 4.0, "west": 8.0},
    )


def test_exact_figures_of_real_data_are_for_their_owner_alone(
    skin_demo, researcher_key, tmp_path
) -> None:
    drawn = skin_demo.outcome.plan
    last = exact_metrics.exact(drawn, skin_demo.outcome.weights, skin_demo.hospitals)
    exact = [last] * len(skin_demo.outcome.rounds)
    real = dataclasses.replace(drawn, data=dataclasses.replace(drawn.data, stand_in=False))
    for plan, with_figures in ((real, True), (real, False), (drawn, True)):
        outcome = dataclasses.replace(skin_demo.outcome, plan=plan)
        figures = exact if with_figures else []
        content = certificate.certificate(outcome, exact=figures[-1] if figures else None)
        folder = tmp_path / f"{plan.data.stand_in}-{with_figures}"
        folder.mkdir()
        certificate.write(folder / "certificate.json", content, key=researcher_key)
        page = a_page(folder, outcome, certificate=content, exact_by_round=figures)
        private = plan is real and with_figures
        assert ("for the owner of the data alone" in page.text) == private
        assert (certificate.OWNER_ONLY in (folder / "certificate.json").read_text()) == private
        for path in folder.iterdir():
            for_everybody = (
                path.name == certificate.CARD_FILE
            )  # it holds no exact figure of real data
            assert (path.stat().st_mode & 0o777 == 0o600) == (private and not for_everybody), path


def test_a_full_report_is_one_file_that_fetches_nothing(full) -> None:
    assert not {"script", "link", "iframe", "object", "base", "form"} & set(full.tags)
    assert not any(name in ("href", "action") for _, name, _ in full.attributes)
    assert not any(name.startswith("on") for _, name, _ in full.attributes)
    sources = full.all("img", "src")
    assert len(sources) == 4
    for source in sources:
        kind, data = source.removeprefix("data:").split(";base64,")
        start = {"image/svg+xml": b"<?xml", "image/png": b"\x89PNG"}[kind]
        assert base64.b64decode(data).startswith(start)
    assert b"<script" not in b"".join(base64.b64decode(s.split(",")[1]) for s in sources)


def test_every_picture_says_in_words_what_it_shows(full) -> None:
    alts = full.all("img", "alt")
    assert len(alts) == 4 and all(len(alt) > 40 for alt in alts)
    assert any("Epsilon by round" in alt for alt in alts)


def test_it_says_what_it_cost_who_saw_what_and_what_is_not_promised(skin_demo, tmp_path) -> None:
    page = full_page(tmp_path, skin_demo)
    content = certificate.certificate(skin_demo.outcome)
    for sentences in [*content["what_each_party_saw"].values(), content["not_promised"]]:
        for sentence in sentences:
            assert sentence in page.text
    assert "STAND-IN DATA" in page.text
    assert content["plan_hash"] in page.text
    assert content["privacy"]["unit_sentence"] in page.text
    assert "Federated (this study)" in page.text and "west alone, DP-SGD" in page.text
    assert "worked out anew, and holds" in page.text
    assert "nan" not in page.text.split()


def test_it_opens_with_what_left_what_it_cost_and_what_it_came_to(skin_demo, tmp_path) -> None:
    page = full_page(tmp_path, skin_demo)
    outcome = skin_demo.outcome
    dearest = max(own["epsilon"] for own in certificate.certificate(outcome)["hospitals"])
    fewest = min(len(record.trained) for record in outcome.rounds)
    said = [
        f"What left the hospitals: noised sums over at least {fewest}",
        f"What it cost: at most epsilon {epsilons.at_least(dearest)} of a patient's budget",
        "What it came to: balanced accuracy ",
    ]
    words = " ".join(page.text.split())
    assert sorted(said, key=words.index) == said
    assert words.index(said[-1]) < words.index("How good the model is")
    assert "Compare balanced accuracy with chance 0.333, west alone, DP-SGD " in words
    nothing = a_page(tmp_path, dataclasses.replace(outcome, rounds=()))
    assert "no sum: no round was summed." in nothing.text


def test_each_class_has_its_recall_noised_and_of_a_demo_exactly(skin_demo, tmp_path) -> None:
    words = full_page(tmp_path, skin_demo).text
    assert "Class by class" in words
    head = (
        "Class Federated, as the researcher sees it (noised) Federated, exactly west alone, DP-SGD"
    )
    assert head in words
    below = words.split(head)[1]
    for name in skin_demo.outcome.plan.data.classes:
        assert plots.class_words(name) in below.split("What the model says")[0]
    assert "Class by class" in a_page(tmp_path, skin_demo.outcome).text


def test_pictures_have_no_table_of_classes_when_pixels_are_told(brain_demo, tmp_path) -> None:
    assert "Class by class" not in full_page(tmp_path, brain_demo).text


def test_a_real_study_has_no_banner_no_exact_figure_and_no_demo(
    skin_demo, rewritten, tmp_path
) -> None:
    data = dataclasses.replace(skin_demo.outcome.plan.data, stand_in=False)
    plan = dataclasses.replace(skin_demo.outcome.plan, data=data)
    outcome = rewritten(skin_demo.outcome, plan)
    page = a_page(tmp_path, outcome)
    assert "STAND-IN" not in page.text
    assert "exact" not in page.text.lower()
    assert "demo" not in page.text.lower()
    assert len(page.all("img", "src")) == 3


def test_whatever_others_wrote_is_escaped(skin_demo, tmp_path) -> None:
    evil = "<script>alert('x')</script><img src=x onerror=alert(1)>"
    rounds = skin_demo.outcome.rounds[:2]
    outcome = dataclasses.replace(skin_demo.outcome, rounds=rounds, stopped=evil)
    page = a_page(tmp_path, outcome)
    assert "script" not in page.tags
    assert "onerror" not in {name for _, name, _ in page.attributes}
    assert page.text.count("alert('x')") == 1
    assert "The study stopped early." in page.text


def test_it_says_how_many_took_no_part_and_where_each_log_stood(skin_demo, tmp_path) -> None:
    rounds = list(skin_demo.outcome.rounds)
    rounds[1] = dataclasses.replace(
        rounds[1],
        trained=("north", "south", "east"),
        groups=(("east", "north", "south"),),
        evaluated=("north", "south", "east"),
        absent=1,
        reasons=("Our board has not met.",),
        **{
            name: {k: v for k, v in getattr(rounds[1], name).items() if k != "west"}
            for name in ("epsilon", "delta")
        },
        headers={
            purpose: {name: one for name, one in signed.items() if name != "west"}
            for purpose, signed in rounds[1].headers.items()
        },
    )
    outcome = dataclasses.replace(skin_demo.outcome, rounds=tuple(rounds))
    page = a_page(tmp_path, outcome)
    assert "worked out anew, and holds" in page.text
    assert "2 east, north, south 1 1.5 123,456" in page.text
    assert "1 east, north, south, west 0 1.5 123,456" in page.text
    assert "Our board" not in page.text
    for own in certificate.certificate(outcome)["hospitals"]:
        assert f"{own['name']} {own['log_sha256']}" in page.text


def test_a_plots_description_stays_inside_its_attribute(skin_demo, tmp_path, monkeypatch) -> None:
    evil = plots.Plot(data=b"x", kind="image/png", alt='"><script>')
    monkeypatch.setattr(plots, "utility", lambda *arguments: evil)
    page = a_page(tmp_path, skin_demo.outcome)
    assert evil.alt in page.all("img", "alt")
    assert "script" not in page.tags


def test_a_study_without_any_round_still_gets_a_report(skin_demo, tmp_path) -> None:
    outcome = dataclasses.replace(skin_demo.outcome, rounds=(), stopped="Nobody took part.")
    page = a_page(tmp_path, outcome)
    assert "0 of 3" in page.text and "Nobody took part." in page.text


def test_a_certificate_that_does_not_hold_is_called_out(skin_demo, tmp_path) -> None:
    content = certificate.certificate(skin_demo.outcome)
    content["hospitals"][0]["epsilon"] *= 0.5
    page = a_page(tmp_path, skin_demo.outcome, certificate=content)
    assert "The certificate does not hold:" in page.text
    assert "north: epsilon must be no less" in page.text


def test_figures_of_another_study_are_refused(skin_demo, brain_demo, tmp_path) -> None:
    content = certificate.certificate(skin_demo.outcome)
    path = tmp_path / "report.html"
    with pytest.raises(InvalidInput, match="certificate must be the study's own"):
        report.write(path, brain_demo.outcome, certificate=content)
    with pytest.raises(InvalidInput, match="each of 3 rounds"):
        report.write(path, skin_demo.outcome, certificate=content, exact_by_round=[{}])
    assert not path.exists()


def test_an_epsilon_is_never_shown_smaller_than_it_is() -> None:
    shown = [epsilons.at_least(value) for value in (1.001, 1.0, 0.999999, 6.6701, None)]
    assert shown == ["1.01", "1.00", "1.00", "6.68", "–"]


def test_hospitals_that_spent_alike_share_a_line_and_others_do_not(skin_demo) -> None:
    assert "north, south, east, west: " in plots.epsilon(skin_demo.outcome, {}).alt
    rounds = tuple(
        dataclasses.replace(r, epsilon=r.epsilon | {"east": 2 * r.epsilon["east"]})
        for r in skin_demo.outcome.rounds
    )
    alt = plots.epsilon(dataclasses.replace(skin_demo.outcome, rounds=rounds), {}).alt
    assert "north, south, west: " in alt and "east: " in alt
