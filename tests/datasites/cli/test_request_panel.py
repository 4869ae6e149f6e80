"""The owner's widgets: a button shows what it would sign, a second one signs just that."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from datasites.owner import decision_forms
from datasites.owner.desk_client import DeskClient
from datasites.owner.owner import Owner
from datasites.owner.request_panel import RequestPanel
from datasites.protocol.code_request import CodeRequest
from datasites.review.evidence import Evidence
from syft_code.errors import Unavailable
from tests.datasites.command_line import Ours
from tests.waiting import until

pytestmark = [pytest.mark.servers, pytest.mark.timeout(400)]
NEVER_S = 3600.0


@pytest.fixture
def panel(ours: Ours) -> Iterator[RequestPanel]:
    ours.asked()
    found = RequestPanel(ours.north, look_again_s=NEVER_S)
    yield found
    found.stop()


def state(ours: Ours, panel: RequestPanel) -> str:
    found = decision_forms.weighed(ours.north, panel.choice.value or "").state
    assert found is not None
    return found.state


def visible(panel: RequestPanel) -> set[str]:
    return {name for name, one in panel.buttons.items() if one.layout.display != "none"}


def test_an_owner_approves_sees_the_rounds_and_stops_it(ours: Ours, panel: RequestPanel) -> None:
    assert "skin-lesions" in panel.budgets.value and "<meter" in panel.budgets.value
    assert "What would leave" in panel.card.value and "What it would cost" in panel.card.value
    assert visible(panel) == {"try", "approve", "ask", "deny"}
    panel.rounds.value = "2"
    panel.buttons["approve"].click()
    assert "at most 2 of 3" in panel.asked.value and panel.confirm.layout.display == ""
    assert panel.sign.description == "Sign this approval"
    assert state(ours, panel) == "undecided", "shown is not signed"
    panel.sign.click()
    assert "Signed and in force" in panel.said.value
    assert state(ours, panel) == "in force"
    assert (panel.progress.value, panel.progress.max) == (0, 3)
    assert visible(panel) == {"try", "approve", "ask", "revoke"}
    panel.text.value = "It has changed."
    panel.buttons["revoke"].click()
    assert "is not told" in panel.asked.value
    panel.sign.click()
    assert "Revoked at north" in panel.said.value and state(ours, panel) == "revoked"
    assert (panel.text.value, panel.rounds.value) == ("", ""), "what was written is of one decision"


def test_a_decision_that_is_not_confirmed_is_none(ours: Ours, panel: RequestPanel) -> None:
    panel.buttons["approve"].click()
    panel.cancel.click()
    assert panel.said.value == "<p>Nothing was signed.</p>"
    panel.sign.click()
    assert state(ours, panel) == "undecided"


WRONG = (
    ("days", "soon", "approve", "days must be a number, got &#x27;soon&#x27;"),
    ("rounds", "4", "approve", "rounds must lie between 1 and the plan&#x27;s 3"),
    ("epsilon", "inf", "approve", "epsilon of an approval must be"),
    ("text", "", "deny", "A reason must be 1 to"),
    ("text", "<script>\x1b", "ask", "A question must be 1 to"),
)


def test_what_can_not_be_is_a_sentence_and_nothing_waits(ours: Ours, panel: RequestPanel) -> None:
    for field, value, button, words in WRONG:
        before = getattr(panel, field).value
        panel.buttons["approve"].click()
        assert panel.confirm.layout.display == "", "an earlier one waits"
        getattr(panel, field).value = value
        panel.buttons[button].click()
        assert words in panel.said.value and "<script" not in panel.said.value
        assert panel.confirm.layout.display == "none"
        panel.sign.click()
        getattr(panel, field).value = before
    assert state(ours, panel) == "undecided"


def test_a_new_request_is_said_and_what_waits_for_a_signature_stays(
    ours: Ours, panel: RequestPanel
) -> None:
    first = panel.choice.value
    panel.buttons["approve"].click()
    ours.asked()
    panel.look()
    assert "New: " in panel.news.value and len(panel.choice.options) > 1
    assert panel.choice.value == first and panel.confirm.layout.display == ""
    panel.sign.click()
    assert state(ours, panel) == "in force"


def test_what_was_shown_long_ago_is_not_signed(
    ours: Ours, panel: RequestPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel.buttons["approve"].click()
    later = time.monotonic() + decision_forms.KEPT_S + 1
    with monkeypatch.context() as patch:
        patch.setattr(decision_forms.time, "monotonic", lambda: later)
        panel.sign.click()
    assert "within ten minutes" in panel.said.value
    assert state(ours, panel) == "undecided"


@pytest.mark.parametrize("fits", [True, False])
def test_what_another_study_spends_meanwhile_voids_a_decision_only_if_less_fits(
    ours: Ours, panel: RequestPanel, monkeypatch: pytest.MonkeyPatch, fits: bool
) -> None:
    weighed = decision_forms.weighed

    def later(owner: Owner, request_id: str) -> Evidence:
        found = weighed(owner, request_id)
        assert found.state is not None
        spent = {"weighed": "Epsilon 7.99 of 8.", "after_epsilon": 7.99}
        less = {} if fits else {"rounds_that_fit": found.state.rounds_that_fit - 1}
        return replace(found, state=replace(found.state, **spent, **less))

    panel.text.value = "Not now."
    panel.buttons["deny"].click()
    with monkeypatch.context() as patch:
        patch.setattr(decision_forms, "weighed", later)
        panel.sign.click()
    assert state(ours, panel) == ("denied" if fits else "undecided")
    assert fits or "since then the request" in panel.said.value


def test_another_plan_under_the_same_request_is_said_and_not_signed(
    ours: Ours, panel: RequestPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = panel.choice.value
    other = ours.asked()
    given = DeskClient.requests

    def swapped(desk: DeskClient) -> list[CodeRequest]:
        found = given(desk)
        (plan,) = [one for one in found if one.plan_hash == other.hash]
        rest = [one for one in found if one.id not in (number, plan.id)]
        return [*rest, replace(plan, id=number or "")]

    panel.epsilon.value, panel.tell.value = "7.5", True
    panel.buttons["approve"].click()
    assert panel._pending is not None and panel._pending.subject in panel.asked.value
    monkeypatch.setattr(DeskClient, "requests", swapped)
    panel.look()
    assert "is for another plan now" in panel.said.value and panel.confirm.layout.display == "none"
    assert (panel.epsilon.value, panel.tell.value) == ("", False)
    panel.sign.click()
    monkeypatch.undo()
    states = {one.state.state for one in ours.north.requests()[-2:] if one.state}
    assert states == {"undecided"}


def test_what_a_decision_said_stays_whatever_the_watch_meets(
    ours: Ours, panel: RequestPanel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(DeskClient, "requests", _away)
        panel._safely(panel.look, panel.news)
    assert "front desk is away" in panel.news.value
    panel.buttons["approve"].click()
    panel.sign.click()
    assert "Signed and in force" in panel.said.value and panel.news.value == "<p></p>"
    ours.asked()
    panel._safely(panel.look, panel.news)
    assert "Signed and in force" in panel.said.value and "New: " in panel.news.value


def _away(desk: DeskClient) -> list[CodeRequest]:
    raise Unavailable("The front desk is away.")


def test_another_panel_of_the_hospital_takes_the_watch_over(
    ours: Ours, panel: RequestPanel
) -> None:
    other = RequestPanel(ours.north, look_again_s=NEVER_S)
    assert panel._stopped.is_set() and not other._stopped.is_set()
    other.stop()


def test_what_was_shown_before_another_decision_is_not_signed(
    ours: Ours, panel: RequestPanel
) -> None:
    panel.buttons["approve"].click()
    ours.north.deny(ours.north.requests()[-1], "No.")
    panel.sign.click()
    assert "must be what was shown" in panel.said.value
    assert state(ours, panel) == "denied"


def test_a_question_reaches_the_researcher_and_the_log_says_so(
    ours: Ours, panel: RequestPanel
) -> None:
    panel.text.value = "Why <b>three</b> rounds?"
    panel.buttons["ask"].click()
    assert "Why &lt;b&gt;three" in panel.asked.value and "<b>three" not in panel.asked.value
    panel.sign.click()
    assert "Why &lt;b&gt;three" in panel.card.value
    for page in (1, 2, 3):
        panel.tabs.selected_index = page
    assert "spent, for ever" in panel.pages["Ledger"].value
    assert "The rules of north" in panel.pages["Rules"].value
    assert "each signed and chained" in panel.pages["Log"].value


def test_requests_appear_by_themselves(ours: Ours) -> None:
    ours.asked()
    panel = RequestPanel(ours.north, look_again_s=0.2)
    before = len(panel.choice.options)
    ours.asked()
    until(lambda: len(panel.choice.options) > before)
    panel.stop()
