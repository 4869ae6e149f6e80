"""One hospital's requests as widgets of a notebook: a list that grows by itself, cards, buttons, gauges.

    RequestPanel(owner)      # as the last line of a cell

Every button shows what it would sign and asks again (`decision_forms`); plain calls of `Owner` do the same.
A thread looks for new requests and rounds until `stop` is called, another panel of the hospital is made, or the
kernel ends. One look or decision at a time: the vault answers in turn.
"""

import functools
import html
import threading
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
from IPython.display import display

from datasites.owner import decision_forms, request_selection
from datasites.owner.decision_forms import Decision, PendingDecision
from datasites.owner.owner import APPROVAL_DAYS, Owner
from datasites.protocol.vault_api import LedgerSummary
from datasites.review import ledger_card
from datasites.review.evidence import Evidence
from syft_code.errors import ConsiliumError
from syft_code.runtime.visible_text import visible

LOOK_AGAIN_S = 5.0
WIDE = widgets.Layout(width="98%")
HIDDEN, SHOWN = "none", ""
TABS = ("Requests", "Ledger", "Rules", "Log")
WRONG = ' style="color:#b00020"'
OTHER = (
    "The request that you looked at is not there any more, or is for another plan now: below stands another. "
    "Nothing that you wrote is kept; read it anew."
)
_watching: dict[str, threading.Event] = {}
"""By a front desk's address: what stops the panel that watches it."""


class RequestPanel:
    """The widgets of one owner, or of an approver beside them; nothing is signed without a second click."""

    def __init__(self, owner: Owner, *, look_again_s: float = LOOK_AGAIN_S) -> None:
        self._owner = owner
        self._one_at_a_time = threading.RLock()
        self._stopped = threading.Event()
        self._requests: dict[str, Evidence] = {}
        self._shown: Evidence | None = None
        self._pending: PendingDecision | None = None
        self._listing = False
        self._looked = False
        self._build()
        self._safely(self.look, self.news)
        earlier = _watching.pop(owner.settings.url, None)
        if earlier is not None:
            earlier.set()
        _watching[owner.settings.url] = self._stopped
        thread = threading.Thread(target=self._watch, args=(look_again_s,), daemon=True)
        thread.start()

    def stop(self) -> None:
        """Look no more; the buttons still work."""
        self._stopped.set()

    def look(self) -> None:
        """Ask for requests and budgets anew, and keep what is chosen; a new request is said."""
        with self._one_at_a_time:
            found = {one.request_id: self._weighed(one) for one in self._owner.submitted()}
            assets = self._owner.site_status().assets
            gauges = [_gauge(self._owner.ledger_summary(asset)) for asset in assets]
            new = [one for number, one in found.items() if number not in self._requests]
            if self._looked and new:
                _say(self.news, f"New: {_line(new[-1])}")
            self._requests, self._looked = found, True
            self.budgets.value = "".join(gauges) or "Nothing is published yet."
            self._list(found)

    def _weighed(self, evidence: Evidence) -> Evidence:
        """With what the vault says of it now; of one that is neither chosen nor runs, what it said last."""
        known = self._requests.get(evidence.request_id)
        if known is None or known.state is None or known.request != evidence.request:
            return self._owner.weigh(evidence)
        if known.state.state == "in force" or evidence.request_id == self.choice.value:
            return self._owner.weigh(evidence)
        return known

    def _build(self) -> None:
        self.budgets = widgets.HTML(layout=WIDE)
        self.choice = widgets.Select(
            description="Requests", rows=6, layout=WIDE, options=[("nobody has asked yet", None)]
        )
        self.choice.observe(self._chosen_anew, names="value")
        self.progress = widgets.IntProgress(description="Rounds", layout=WIDE)
        self.card = widgets.HTML(layout=WIDE)
        self.said = widgets.HTML(layout=WIDE)
        self.news = widgets.HTML(layout=WIDE)
        self.days = _field("Days", value=f"{APPROVAL_DAYS:g}")
        self.epsilon = _field("Most epsilon", placeholder="the asset's budget")
        self.rounds = _field("Most rounds", placeholder="all of the plan")
        self.anyway = widgets.Checkbox(description="also if it then stops early", indent=False)
        self.text = widgets.Textarea(placeholder="A question, or a reason", layout=WIDE)
        self.tell = widgets.Checkbox(description="the researcher may read it", indent=False)
        self.buttons = {
            "try": self._button("Try it out", self._try_out),
            "approve": self._button(
                "Approve …", functools.partial(self._draft, "approve"), "success"
            ),
            "ask": self._button("Ask …", functools.partial(self._draft, "ask")),
            "deny": self._button("Deny …", functools.partial(self._draft, "deny"), "danger"),
            "revoke": self._button("Stop it …", functools.partial(self._draft, "revoke"), "danger"),
        }
        self._lay_out()

    def _lay_out(self) -> None:
        self.asked = widgets.HTML(layout=WIDE)
        self.sign = self._button("Sign", self._sign, "primary")
        self.cancel = self._button("Don't sign", self._cancel)
        self.confirm = widgets.VBox([self.asked, widgets.HBox([self.sign, self.cancel])])
        self.confirm.layout.display = HIDDEN
        self.decide = widgets.VBox(
            [
                widgets.HBox([self.days, self.epsilon, self.rounds]),
                self.anyway,
                self.text,
                self.tell,
                widgets.HBox(list(self.buttons.values())),
            ]
        )
        requests = widgets.VBox(
            [
                self.news,
                self.choice,
                self.progress,
                self.said,
                self.confirm,
                self.decide,
                self.card,
            ]
        )
        self.pages = {name: widgets.HTML(layout=WIDE) for name in TABS[1:]}
        self.tabs = widgets.Tab(children=[requests, *self.pages.values()], titles=TABS)
        self.tabs.observe(lambda change: self._turn(change["new"]), names="selected_index")
        self.widget = widgets.VBox([self.budgets, self.tabs])

    def _button(self, text: str, act: Callable[[], None], style: str = "") -> widgets.Button:
        button = widgets.Button(
            description=text, button_style=style, layout=widgets.Layout(width="auto")
        )
        button.on_click(lambda clicked: self._safely(act, self.said))
        return button

    def _ipython_display_(self) -> None:
        display(self.widget)  # type: ignore[no-untyped-call]

    def _watch(self, look_again_s: float) -> None:
        while not self._stopped.wait(look_again_s):
            try:
                self._safely(self.look, self.news)
            except Exception as problem:
                _say(
                    self.news,
                    f"The panel looks no more ({problem!r}): run its cell again.",
                    wrong=True,
                )
                raise

    def _list(self, found: dict[str, Evidence]) -> None:
        """The newest first; what was chosen stays chosen, and what waits for a signature stays shown."""
        if not found:
            return
        options = [(_line(one), number) for number, one in reversed(found.items())]
        chosen = self.choice.value if self.choice.value in found else options[0][1]
        if list(self.choice.options) != options:
            self._listing = True
            try:
                self.choice.options = options
                self.choice.value = chosen
            finally:
                self._listing = False
        now, before = found[chosen], self._shown
        if before and (before.request_id, before.subject) != (now.request_id, now.subject):
            self._close_confirmation()
            self._clear()
            _say(self.said, OTHER, wrong=True)
        self._rounds(now)
        if self._pending is None and _seen(before) != _seen(now):
            self._show(now)

    def _chosen_anew(self, change: dict[str, Any]) -> None:
        with self._one_at_a_time:  # a click waits until a list is whole
            if change["new"] is not None and not self._listing:
                self._safely(functools.partial(self._open, change["new"]), self.said)

    def _open(self, request_id: str) -> None:
        self._close_confirmation()
        self._clear()
        self._show(self._requests[request_id])

    def _clear(self) -> None:
        """Limits and reasons are of one request."""
        self.days.value, self.epsilon.value, self.rounds.value = f"{APPROVAL_DAYS:g}", "", ""
        self.text.value, self.anyway.value, self.tell.value = "", False, False

    def _show(self, evidence: Evidence) -> None:
        self._shown = evidence
        self.card.value = evidence._repr_html_()
        self._rounds(evidence)
        approved = evidence.plan is not None and self._owner.has_approved(evidence)
        can_run = evidence.plan is not None and not evidence.problem
        for name, shown in (
            ("try", can_run),
            ("approve", can_run),
            ("deny", not approved),
            ("revoke", approved),
        ):
            self.buttons[name].layout.display = SHOWN if shown else HIDDEN
        self.buttons["approve"].description = (
            "Approve with other limits …" if approved else "Approve …"
        )

    def _rounds(self, evidence: Evidence) -> None:
        running = evidence.plan is not None and evidence.state is not None
        self.progress.layout.display = SHOWN if running else HIDDEN
        if evidence.plan is not None and evidence.state is not None:
            self.progress.max = evidence.plan.rounds
            self.progress.value = evidence.state.rounds_called
            self.progress.description = request_selection.rounds_run(evidence)

    def _try_out(self) -> None:
        evidence = self._chosen()
        _say(self.said, "Trying it out on the mock, for at most half a minute …")
        self._show(self._owner.examine(evidence))
        _say(self.said, "Tried out: see the card.")

    def _draft(self, decision: Decision) -> None:
        self._close_confirmation()
        fields = {"text": self.text.value, "subject": self._shown.subject if self._shown else ""}
        fields |= {
            "days": self.days.value,
            "epsilon": self.epsilon.value,
            "rounds": self.rounds.value,
        }
        fields |= {"anyway": "on"} if self.anyway.value else {}
        fields |= {"tell": "on"} if self.tell.value else {}
        self._pending = decision_forms.drafted(self._owner, self._chosen(), decision, fields)
        subject = f"SHA-256 of what it is on: {self._pending.subject}"
        self.asked.value = f"<b>{_html(self._pending.words)}</b><br>{subject}"
        self.sign.description = self._pending.button
        self.confirm.layout.display = SHOWN

    def _sign(self) -> None:
        pending = self._pending
        self._close_confirmation()
        if pending is not None:
            _say(self.said, str(decision_forms.signed(self._owner, pending)))
            self._clear()
            self._shown = None
            self._safely(self.look, self.news)

    def _cancel(self) -> None:
        self._close_confirmation()
        _say(self.said, "Nothing was signed.")

    def _close_confirmation(self) -> None:
        self._pending = None
        self.confirm.layout.display = HIDDEN

    def _turn(self, page: int) -> None:
        """Fill a page when it is opened."""
        owner = self._owner
        cards: dict[str, Callable[[], list[Any]]] = {
            "Ledger": lambda: [owner.ledger_card(one) for one in owner.site_status().assets],
            "Rules": lambda: [owner.policy_card(), owner.parties_card()],
            "Log": lambda: [owner.log_card()],
        }
        if TABS[page] in cards:
            found = cards[TABS[page]]
            shown = self.pages[TABS[page]]
            fill = functools.partial(_fill, shown, found)
            self._safely(fill, self.said)

    def _chosen(self) -> Evidence:
        """The request that the card shows, as it stands now."""
        return decision_forms.weighed(self._owner, self.choice.value or "")

    def _safely(self, act: Callable[[], None], line: widgets.HTML) -> None:
        """What is wrong is a sentence in a line of the panel: a look's in one, a decision's in another."""
        try:
            with self._one_at_a_time:
                act()
            if line is self.news and WRONG in line.value:
                _say(line, "")
        except ConsiliumError as problem:
            _say(line, str(problem), wrong=True)


def _fill(page: widgets.HTML, cards: Callable[[], list[Any]]) -> None:
    page.value = "".join(card._repr_html_() for card in cards())


def _say(line: widgets.HTML, text: str, *, wrong: bool = False) -> None:
    line.value = f"<p{WRONG if wrong else ''}>{_html(text)}</p>"


def _field(description: str, **chosen: str) -> widgets.Text:
    """A short field whose name is seen whole."""
    layout, style = widgets.Layout(width="32%"), {"description_width": "initial"}
    return widgets.Text(description=description, layout=layout, style=style, **chosen)


def _gauge(ledger: LedgerSummary) -> str:
    """What an asset's patients have lost of what they may lose."""
    spent, whole = ledger.spent_epsilon, ledger.budget.epsilon
    return (
        f"<p><b>{_html(ledger.asset)}</b> <meter min='0' max='{whole}' value='{spent}' low='{whole / 2}' "
        f"high='{0.9 * whole}' optimum='0'></meter> {ledger_card.spent(ledger)}</p>"
    )


def _line(evidence: Evidence) -> str:
    """A request in a line of the list."""
    number, study, state, cost, _, researcher = request_selection.row(evidence)
    return visible(f"{study} of {researcher}: {state}, {cost or 'no cost known'} ({number})")


def _seen(evidence: Evidence | None) -> tuple[object, ...]:
    """What a card shows that may change while it is open."""
    if evidence is None:
        return ()
    state = evidence.state
    said = (state.state, state.verdict, state.signers, state.after_epsilon) if state else ()
    notes = len(evidence.notes)
    return (evidence.request_id, evidence.subject, evidence.problem, evidence.status, notes, *said)


def _html(text: str) -> str:
    """Words of others as a page may show them, with their lines."""
    return "<br>".join(html.escape(visible(line)) for line in text.split("\n"))
