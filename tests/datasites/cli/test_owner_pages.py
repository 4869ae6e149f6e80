"""The owner's pages: what is decided there is what was shown, and nobody else decides."""

import re
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from html import unescape

import httpx
import pytest
import uvicorn
from fastapi.testclient import TestClient
from playwright import sync_api

from datasites.owner import decision_forms
from datasites.owner.decision_forms import PendingDecision
from datasites.owner.desk_client import DeskClient
from datasites.owner_pages import page_access, pages, pending_decisions
from datasites.owner_pages.page_access import COOKIE, ENTER, MAX_FORM_BYTES, PageAccess
from datasites.owner_pages.pending_decisions import PendingDecisions
from datasites.protocol.code_request import CodeRequest
from syft_code.errors import NotApproved
from tests.datasites.command_line import Ours, refusal, run

pytestmark = [pytest.mark.servers, pytest.mark.timeout(400)]
PORT = 4711
CHROMIUM = shutil.which("chromium")
HERE = f"http://127.0.0.1:{PORT}"


class Browser:
    """One browser; `let_in` follows the link."""

    def __init__(self, ours: Ours) -> None:
        self.door = PageAccess(port=PORT)
        self.http = TestClient(pages.build(ours.north, self.door), base_url=HERE)

    def let_in(self) -> "Browser":
        assert self.http.get(self.door.link).status_code == 200
        return self

    def look(self, path: str, *, status: int = 200) -> str:
        answer = self.http.get(self.door.path_prefix + path)
        assert answer.status_code == status, answer.text
        return unescape(answer.text)

    def fields(self, path: str) -> dict[str, str]:
        """What a form of the page for this path carries along."""
        (page,) = re.findall(r"^/requests/[^/]+", path) or [""]
        found = re.findall(
            r'name="subject" value="([^"]+)"', self.http.get(self.door.path_prefix + page).text
        )
        return {"form_key": self.door.form_key, "subject": (found or [""])[0]}

    def send(self, path: str, *, status: int = 200, **fields: str) -> str:
        """A form of ours."""
        answer = self.http.post(self.door.path_prefix + path, data=self.fields(path) | fields)
        assert answer.status_code == status, answer.text
        return unescape(answer.text)

    def confirm(self, shown: str, *, status: int = 200) -> str:
        (path,) = re.findall(r'action="[^"]*(/confirm/[^"]+)"', shown)
        return self.send(path, status=status)


@pytest.fixture
def browser(ours: Ours) -> Iterator[Browser]:
    yield Browser(ours).let_in()


def newest(ours: Ours) -> tuple[str, str]:
    """The id of a new request, and its plan's hash."""
    wanted = ours.asked()
    (evidence,) = [one for one in ours.north.submitted() if one.request.plan_hash == wanted.hash]
    return evidence.request_id, wanted.hash


def state(ours: Ours, plan_hash: str) -> str:
    (found,) = [one for one in ours.north.submitted() if one.request.plan_hash == plan_hash]
    weighed = ours.north.weigh(found)
    assert weighed.state is not None
    return weighed.state.state


def test_an_owner_sees_a_new_request_reads_it_approves_it_and_takes_it_back(
    ours: Ours, browser: Browser
) -> None:
    number, plan_hash = newest(ours)
    home = browser.look("/")
    assert f"/requests/{number}" in home and 'http-equiv="refresh"' in home
    assert "<meter" in home and "skin-lesions" in home
    card = browser.look(f"/requests/{number}")
    assert "What would leave" in card and "What it would cost" in card
    shown = browser.send(f"/requests/{number}/approve", days="7", epsilon="", rounds="2")
    assert "the budget is 8.00), in at most 2 of 3 training rounds" in shown
    assert state(ours, plan_hash) == "undecided", "shown is not signed"
    assert "Signed and in force" in browser.confirm(shown)
    assert state(ours, plan_hash) == "in force"
    browser.confirm(shown, status=403)
    assert "Stop it" in browser.look(f"/requests/{number}")
    shown = browser.send(f"/requests/{number}/revoke", text="It has changed.", tell="on")
    assert "It has changed." in shown and "reads the reason" in shown
    assert "Revoked at north" in browser.confirm(shown)
    assert state(ours, plan_hash) == "revoked"


def test_an_owner_asks_denies_and_tries_out(ours: Ours, browser: Browser) -> None:
    number, plan_hash = newest(ours)
    assert "Mock run ok" in browser.send(f"/requests/{number}/try")
    shown = browser.send(f"/requests/{number}/ask", text="Why <b>two</b> rounds?")
    assert "Why <b>two</b> rounds?" in shown
    browser.confirm(shown)
    assert "Why" in browser.look(f"/requests/{number}")
    shown = browser.send(f"/requests/{number}/deny", text="Not this year.")
    assert "is not told" in shown
    browser.confirm(shown)
    assert state(ours, plan_hash) == "denied"


def test_words_of_others_are_shown_and_never_run(ours: Ours, browser: Browser) -> None:
    number, _ = newest(ours)
    path = f"/requests/{number}/ask"
    text = browser.http.post(
        browser.door.path_prefix + path,
        data=browser.fields(path) | {"text": "<script>alert(1)</script>"},
    ).text
    assert "<script" not in text and "&lt;script&gt;" in text


@pytest.mark.parametrize("path", ["/ledger", "/rules", "/log"])
def test_ledger_rules_and_log_are_there_to_be_read(browser: Browser, path: str) -> None:
    said = browser.look(path)
    assert {"/ledger": "spent, for ever", "/rules": "The rules of north", "/log": "action: "}[
        path
    ] in said


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"days": "soon"}, "days must be a number, got 'soon'"),
        ({"days": "nan"}, "days of an approval must be"),
        ({"days": "-1"}, "days of an approval must be"),
        ({"epsilon": "inf"}, "epsilon of an approval must be"),
        ({"rounds": "2.5"}, "rounds must be a whole number"),
        ({"rounds": "4"}, "rounds must lie between 1 and the plan's 3"),
        ({"epsilon": "0.01"}, "An approval must let the whole plan run"),
        ({"epsilon": "8.01"}, "at most the asset's budget of 8"),
        ({"days": "0"}, "days of an approval must be"),
    ],
)
def test_limits_that_can_not_be_are_a_sentence_and_nothing_is_signed(
    ours: Ours, browser: Browser, fields: dict[str, str], words: str
) -> None:
    number, plan_hash = newest(ours)
    status = 403 if "let the whole" in words else 400
    assert words in browser.send(f"/requests/{number}/approve", status=status, **fields)
    assert state(ours, plan_hash) == "undecided"


@pytest.mark.parametrize("path", ["/", "/ledger", "/rules", "/log", "/requests/x", "/nowhere"])
def test_who_did_not_come_by_the_link_sees_nothing(ours: Ours, path: str) -> None:
    stranger = Browser(ours)
    for cookie in ("", "x", "x" * 43):
        stranger.http.cookies.set(COOKIE, cookie)
        for whole in (path, stranger.door.path_prefix + path):
            answer = stranger.http.get(whole)
            assert answer.status_code == 403 and "works once" in answer.text
            assert "north" not in answer.text and stranger.door.path_prefix not in answer.text


def test_the_link_works_once(ours: Ours) -> None:
    first = Browser(ours).let_in()
    second = TestClient(first.http.app, base_url=HERE)
    for token in (first.door.link.partition("=")[2], "", "x", "é"):
        answer = second.get(ENTER, params={"token": token})
        assert answer.status_code == 403 and COOKIE not in answer.cookies
        assert first.door.path_prefix not in answer.text
    assert "Budgets" in first.look("/")


def test_a_cookie_without_its_path_opens_nothing_and_goes_nowhere_else(
    ours: Ours, browser: Browser
) -> None:
    """A browser sends a cookie to every port of a machine: what it is bound to is a path."""
    (cookie,) = [one for one in browser.http.cookies.jar if one.name == COOKIE]
    assert cookie.path == browser.door.path_prefix and len(cookie.path) > 30
    thief = TestClient(browser.http.app, base_url=HERE, cookies={COOKIE: cookie.value or ""})
    for path in ("/", "/requests/x", "/x/requests"):
        assert thief.get(path).status_code == 403
    other = Browser(ours)
    other.http.cookies = browser.http.cookies
    other.let_in()
    assert "Budgets" in browser.look("/") and "Budgets" in other.look("/"), "both stay open"


def test_another_plan_under_the_same_request_is_not_signed(
    ours: Ours, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    number, plan_hash = newest(ours)
    other, other_hash = newest(ours)
    carried = browser.fields(f"/requests/{number}/approve")
    shown = browser.send(f"/requests/{number}/approve")
    given = DeskClient.requests

    def swapped(desk: DeskClient) -> tuple[CodeRequest, ...]:
        found = {one.id: one for one in given(desk)}
        return (*found.values(), replace(found[other], id=number))[::-1]

    monkeypatch.setattr(DeskClient, "requests", swapped)
    path = browser.door.path_prefix + f"/requests/{number}/approve"
    answer = browser.http.post(path, data=carried)
    assert answer.status_code == 403 and "another plan for this request" in unescape(answer.text)
    assert "must be what was shown" in browser.confirm(shown, status=403)
    monkeypatch.undo()
    assert {state(ours, plan_hash), state(ours, other_hash)} == {"undecided"}


def test_what_was_shown_before_another_decision_or_other_rules_is_not_signed(
    ours: Ours, browser: Browser
) -> None:
    number, plan_hash = newest(ours)
    approval = browser.send(f"/requests/{number}/approve")
    browser.confirm(browser.send(f"/requests/{number}/deny", text="No."))
    assert "must be what was shown" in browser.confirm(approval, status=403)
    assert state(ours, plan_hash) == "denied"
    number, plan_hash = newest(ours)
    approval = browser.send(f"/requests/{number}/approve", epsilon="7.5")
    rules = ours.north.policy()
    ours.north.adopt_policy(replace(rules, tell_researchers=not rules.tell_researchers))
    assert "must be what was shown" in browser.confirm(approval, status=403)
    ours.north.adopt_policy(rules)
    assert state(ours, plan_hash) == "undecided"


def test_a_wrong_method_or_form_is_a_page_with_a_sentence(browser: Browser) -> None:
    room = browser.door.path_prefix
    for answer in (
        browser.http.put(f"{room}/log"),
        browser.http.get(f"{room}/confirm/x"),
        browser.http.post(f"{room}/requests/x/nope", data={"form_key": browser.door.form_key}),
    ):
        assert answer.status_code == 403 and "There is no such page here" in answer.text


def test_a_form_of_another_page_decides_nothing(ours: Ours, browser: Browser) -> None:
    number, plan_hash = newest(ours)
    path, key = f"{browser.door.path_prefix}/requests/{number}/approve", browser.door.form_key
    tries: list[tuple[dict[str, str], dict[str, str]]] = [
        ({}, {}),
        ({"form_key": "x"}, {}),
        ({"form_key": key}, {"origin": "http://evil.example"}),
        ({"form_key": key}, {"origin": "null"}),
        ({"form_key": key}, {"host": f"evil.example:{PORT}"}),
        ({"form_key": key, "days": "9" * MAX_FORM_BYTES}, {}),
        ({"form_key": key} | {str(one): "" for one in range(30)}, {}),
    ]
    for fields, headers in tries:
        answer = browser.http.post(path, data=fields, headers=headers)
        assert answer.status_code == 403, (fields, headers)
        assert "/confirm/" not in answer.text
    assert state(ours, plan_hash) == "undecided"


def test_no_page_is_framed_kept_or_runs_anything(browser: Browser) -> None:
    for path in ("/", browser.door.path_prefix + "/nowhere", browser.door.path_prefix + "/log"):
        headers = browser.http.get(path).headers
        assert "script" not in headers["content-security-policy"]
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
    assert page_access.HEADERS.keys() <= browser.http.get("/").headers.keys()


@contextmanager
def served(ours: Ours) -> Iterator[str]:
    """The pages over HTTP, as `consilium owner` serves them; gives the link."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        door = PageAccess(port=listener.getsockname()[1])
        app = pages.build(ours.north, door)
        config = uvicorn.Config(app, log_level="warning", ws="none", loop="asyncio")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield door.link
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt install chromium")
def test_in_a_browser_a_request_arrives_by_itself_and_is_signed_and_another_is_denied(
    ours: Ours, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "REFRESH_S", 1)
    with served(ours) as link, sync_api.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.goto(link)
        page.wait_for_selector("text=Budgets")
        number, plan_hash = newest(ours)
        page.wait_for_selector(f"a[href$='/requests/{number}']", timeout=20_000)
        page.click(f"a[href$='/requests/{number}']")
        page.fill("input[name=rounds]", "2")
        page.click("text=Approve …")
        page.wait_for_selector("text=at most 2 of 3")
        assert state(ours, plan_hash) == "undecided"
        page.click("text=Sign this approval")
        page.wait_for_selector("text=Signed and in force")
        assert state(ours, plan_hash) == "in force"
        other, other_hash = newest(ours)
        page.goto(f"{page.url.partition('/confirm')[0]}/requests/{other}")
        page.locator("textarea[aria-label=Reason]").fill("Our board meets in March.")
        page.click("text=the researcher may read")
        page.click("text=Deny …")
        page.click("text=Sign this refusal")
        page.wait_for_selector("text=The researcher can read why")
        assert state(ours, other_hash) == "denied"
        notes = [note.text for note in ours.alice.bulk.notes(other_hash)]
        assert notes == ["Our board meets in March."]
        stranger = browser.new_context().new_page()
        stranger.goto(link)
        stranger.wait_for_selector("text=works once")
        assert said == [], "nothing is blocked, and nothing runs"
        browser.close()


def test_what_was_shown_is_signed_within_ten_minutes_and_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def never() -> None:
        raise AssertionError

    kept = PendingDecisions()
    one = PendingDecision(
        words="w",
        button="b",
        request_id="r",
        subject="s",
        standing=(),
        sign=never,  # type: ignore[arg-type]
    )
    number = kept.add(one)
    assert kept.take(number) is one
    with pytest.raises(NotApproved, match="within ten minutes, and once"):
        kept.take(number)
    old = kept.add(one)
    for _ in range(pending_decisions.MOST):
        kept.add(one)
    with pytest.raises(NotApproved):
        kept.take(old)
    late = kept.take(kept.add(one))
    monkeypatch.setattr(decision_forms.time, "monotonic", lambda: one.until + 1)
    with pytest.raises(NotApproved, match="within ten minutes, and once"):
        decision_forms.signed(None, late)  # type: ignore[arg-type]


def test_a_port_that_is_taken_is_a_sentence(ours: Ours) -> None:
    port = httpx.URL(ours.north.settings.url).port
    said = refusal(run("owner", "--state", ours.state, "--hospital", "north", "--port", port))
    assert "name another with --port" in said
