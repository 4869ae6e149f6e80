"""A front desk's numbers and health: what they say, and what they never do."""

import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from datasites import site, site_condition
from datasites.desk.storage.security_log import SecurityLog
from datasites.desk.web.desk_metrics import DeskMetrics
from datasites.desk.web.middleware import ResponseMiddleware
from datasites.site import Site, SiteSettings
from datasites.site_condition import Point, SiteCondition
from syft_code.operation import metrics_http
from tests.conftest import free_ports

pytestmark = pytest.mark.servers


def condition(*, is_good: bool) -> SiteCondition:
    return SiteCondition(points=(Point(name="vault", is_good=is_good, sentence="does not answer"),))


def asked(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as problem:
        return problem.code, problem.read().decode()


def test_what_is_wrong_is_said_over_http_and_as_a_number() -> None:
    port = free_ports(1)
    for good, status in ((True, 200), (False, 503)):
        metrics = DeskMetrics(lambda good=good: condition(is_good=good))
        with metrics_http.served(metrics, host="127.0.0.1", port=port):
            code, sentence = asked(port, "/healthz")
            assert code == status
            assert sentence == (
                "All is in order.\n" if good else "Not in order: vault: does not answer.\n"
            )
            number = f'consilium_hospital_in_order{{what="vault"}} {float(good)}'
            assert number in asked(port, "/metrics")[1]


def test_a_hospital_whose_folder_is_broken_is_not_in_order(tmp_path: Path) -> None:
    metrics = DeskMetrics(lambda: site_condition.look(Site(tmp_path)))
    good, sentence = metrics.health()
    assert not good and "site.json is missing" in sentence
    assert 'in_order{what="folder"} 0.0' in metrics.text().decode()


def test_a_look_that_fails_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    def look() -> SiteCondition:
        raise ZeroDivisionError

    port = free_ports(1)
    with metrics_http.served(DeskMetrics(look), host="127.0.0.1", port=port):
        assert asked(port, "/healthz") == (503, "It can't be looked at.\n")
    assert "a look at the metrics failed" in caplog.text


def test_each_answer_is_counted_the_unforeseen_ones_too_and_bars_plain_http() -> None:
    app = FastAPI()
    app.add_api_route("/good", lambda: "yes")

    def fail() -> None:
        raise RuntimeError("Ada Lovelace, 36")

    app.add_api_route("/bad", fail)
    told: Counter[int] = Counter()
    wrapped = ResponseMiddleware(
        app, on_answer=lambda status: told.update([status]), speaks_tls=True
    )
    client = TestClient(wrapped, raise_server_exceptions=False)
    for path, status in (("/good", 200), ("/none", 404), ("/bad", 500)):
        answer = client.get(path)
        assert answer.status_code == status
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert told == {200: 1, 404: 1, 500: 1}


def test_refusals_are_counted_by_kind_and_nobody_is_named(tmp_path: Path) -> None:
    metrics = DeskMetrics(lambda: condition(is_good=True))
    log = SecurityLog(tmp_path)
    log.on_event = metrics.on_refusal
    log.write("login", who="ada@university.example", path="/api/v2/login", sentence="No.")
    text = metrics.text().decode()
    assert 'consilium_hospital_refusals_total{kind="login"} 1.0' in text
    assert "ada" not in text and "/api" not in text


def test_a_hospital_that_does_not_run_is_told_point_by_point(tmp_path: Path) -> None:
    made = site.create(tmp_path / "north", SiteSettings(name="north", port=free_ports(1)))
    found = {point.name: point.is_good for point in site_condition.look(made).points}
    assert found == {"vault": False, "front desk": False, "disk": True}
    assert site_condition.clock().is_good
