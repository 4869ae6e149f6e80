"""The doctor tries each way to contain a process, says which is used, and what mends what is missing."""

import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from datasites import site_users
from datasites.sandbox import offers, template
from launch import app

pytestmark = pytest.mark.servers


@pytest.fixture(autouse=True)
def untried() -> Iterator[None]:
    """What a machine offers is remembered in a process: for nobody else after these tests."""
    offers._tried.cache_clear()
    yield
    offers._tried.cache_clear()


def test_a_machine_without_bubblewrap_uses_what_comes_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template.shutil, "which", {}.get)
    found = CliRunner().invoke(app, ["doctor", "--json"])
    assert found.exit_code == 0, (found.output, found.exception)
    told = json.loads(found.output)
    by_name = {offer["mechanism"]: offer for offer in told["offers"]}
    assert by_name["bubblewrap"] == {
        "mechanism": "bubblewrap",
        "works": False,
        "reason": "bubblewrap must be installed for this: apt install bubblewrap.",
        "remedy": "apt install bubblewrap",
    }
    assert told["used"] != "bubblewrap"


def test_a_machine_that_offers_nothing_is_told_so_and_what_allows_it_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(offers.system_calls, "supported", lambda: False)
    told = CliRunner().invoke(app, ["doctor"])
    assert told.exit_code == 1
    assert "offers no way to contain a training" in told.output
    monkeypatch.setenv(offers.UNSAFE, offers.UNSAFE_WORD)
    told = CliRunner().invoke(app, ["doctor"])
    assert told.exit_code == 0 and "Nothing contains a training here" in told.output


def test_it_says_whether_parties_have_users_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for why, words in (
        ("", "Each process that `consilium up` starts here is a user of its own, from 60800 on"),
        ("that needs Linux", "starts here are one user, since that needs Linux. Install"),
    ):
        monkeypatch.setattr(site_users, "obstacle", lambda numbers, places, why=why: why)
        assert words in " ".join(CliRunner().invoke(app, ["doctor"]).output.split())
        assert json.loads(CliRunner().invoke(app, ["doctor", "--json"]).output)["one_user"] == why
