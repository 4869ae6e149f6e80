"""The pages: requests, one request with its card and what may be decided, ledger, rules, log.

Below a path that nobody else knows (`page_access`):

    GET  /                                      requests as they stand, again every 15 seconds; budgets
    GET  /requests/ID                           the card, and forms
    POST /requests/ID/try                       the same with a run on the mock
    POST /requests/ID/approve|ask|deny|revoke   what would be signed, to be confirmed
    POST /confirm/NUMBER                        signed
    GET  /ledger, /rules, /log

What is wrong is a page with one sentence. One decision or look at a time: the vault answers in turn.
"""

import threading
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from markupsafe import Markup
from starlette.requests import ClientDisconnect

from datasites.owner import decision_forms, request_selection
from datasites.owner.decision_forms import Decision, Fields
from datasites.owner.owner import APPROVAL_DAYS, Owner
from datasites.owner_pages import page_access
from datasites.owner_pages.page_access import ENTER, PageAccess
from datasites.owner_pages.pending_decisions import PendingDecisions
from datasites.review import ledger_card
from datasites.review.evidence import Evidence
from syft_code.errors import (
    ConsiliumError,
    InvalidInput,
    Refused,
    Unavailable,
    require,
)
from syft_code.privacy import epsilons
from syft_code.runtime import cli_output, html_templates

REFRESH_S = 15
_STATUS = {InvalidInput: 400, Refused: 403, Unavailable: 503}


def build(owner: Owner, access: PageAccess) -> FastAPI:
    """The application for one owner, or an approver beside them."""
    app = FastAPI(openapi_url=None)
    pages = _Pages(owner, access)
    app.middleware("http")(page_access.guard(access, pages.closed))
    app.add_exception_handler(ConsiliumError, lambda request, problem: pages.problem(problem))
    for wrong in (404, 405, RequestValidationError):
        app.add_exception_handler(wrong, lambda request, problem: pages.problem(Refused(_NO_PAGE)))

    @app.get(ENTER)
    def enter(token: str = "") -> HTMLResponse:
        try:
            cookie = access.enter(token)
        except Refused as problem:
            return pages.closed(problem)
        answer = pages.page("entered.html.j2")
        answer.set_cookie(
            page_access.COOKIE, cookie, path=access.path_prefix, httponly=True, samesite="strict"
        )
        return answer

    room = APIRouter(prefix=access.path_prefix)
    _add_looks(room, pages)
    _add_decisions(room, pages, access)
    app.include_router(room)
    return app


_NO_PAGE = "There is no such page here: go back to the requests."


def _add_looks(app: APIRouter, pages: "_Pages") -> None:
    @app.get("/")
    def home() -> HTMLResponse:
        return pages.home()

    @app.get("/requests/{request_id}")
    def request_page(request_id: str) -> HTMLResponse:
        return pages.request(request_id)

    @app.get("/ledger")
    def ledger() -> HTMLResponse:
        return pages.ledger()

    @app.get("/rules")
    def rules() -> HTMLResponse:
        return pages.rules()

    @app.get("/log")
    def log() -> HTMLResponse:
        return pages.log()


def _add_decisions(app: APIRouter, pages: "_Pages", access: PageAccess) -> None:
    async def form(request: Request) -> Fields:
        return await _form(request, access)

    @app.post("/requests/{request_id}/try")
    async def try_out(request_id: str, fields: Annotated[Fields, Depends(form)]) -> HTMLResponse:
        return await run_in_threadpool(pages.request, request_id, tried=True)

    @app.post("/requests/{request_id}/{decision}")
    async def decide(
        request_id: str, decision: Decision, fields: Annotated[Fields, Depends(form)]
    ) -> HTMLResponse:
        return await run_in_threadpool(pages.show_decision, request_id, decision, fields)

    @app.post("/confirm/{number}")
    async def confirm(number: str, fields: Annotated[Fields, Depends(form)]) -> HTMLResponse:
        return await run_in_threadpool(pages.sign, number)


async def _form(request: Request, access: PageAccess) -> Fields:
    """The fields of a form of ours; raise `Refused` if it is not one."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            require(
                len(body) <= page_access.MAX_FORM_BYTES,
                f"A form may have at most {page_access.MAX_FORM_BYTES:,} bytes: write less.",
                error=Refused,
            )
    except ClientDisconnect:
        raise Refused("A form must come whole, and this one ended early: send it again.") from None
    try:
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20))
    except ValueError:
        fields = {}
    access.check_form(request, fields.pop("form_key", ""))
    return fields


class _Pages:
    """What each page shows of one hospital."""

    def __init__(self, owner: Owner, access: PageAccess) -> None:
        self._owner, self._access = owner, access
        self._decisions = PendingDecisions()
        self._one_at_a_time = threading.RLock()
        self._templates = html_templates.environment(__package__)

    def page(self, template: str, *, status: int = 200, **shown: Any) -> HTMLResponse:
        text = self._templates.get_template(template).render(
            hospital=self._owner.name,
            root=self._access.path_prefix,
            form_key=self._access.form_key,
            **shown,
        )
        return HTMLResponse(text, status_code=status)

    def closed(self, problem: Refused) -> HTMLResponse:
        """What somebody reads who was not let in: nothing of the hospital."""
        text = self._templates.get_template("closed.html.j2").render(sentence=str(problem))
        return HTMLResponse(text, status_code=403)

    def problem(self, problem: Exception) -> HTMLResponse:
        status = next((code for kind, code in _STATUS.items() if isinstance(problem, kind)), 409)
        return self.page("problem.html.j2", status=status, sentence=str(problem))

    def home(self) -> HTMLResponse:
        with self._one_at_a_time:
            requests = [_row(request) for request in self._owner.requests()]
            assets = self._owner.site_status().assets
            ledgers = [self._owner.ledger_summary(asset) for asset in assets]
        now = datetime.now(UTC).strftime("%H:%M:%S UTC")
        return self.page(
            "home.html.j2",
            requests=requests[::-1],
            ledgers=ledgers,
            spent=ledger_card.spent,
            refresh_s=REFRESH_S,
            now=now,
        )

    def request(self, request_id: str, *, tried: bool = False) -> HTMLResponse:
        with self._one_at_a_time:
            evidence = decision_forms.weighed(self._owner, request_id)
            if tried:
                evidence = self._owner.examine(evidence)
            approved = evidence.plan is not None and self._owner.has_approved(evidence)
        return self.page(
            "request.html.j2",
            evidence=evidence,
            card=_card(evidence),
            approved=approved,
            days=f"{APPROVAL_DAYS:g}",
        )

    def ledger(self) -> HTMLResponse:
        with self._one_at_a_time:
            cards = [self._owner.ledger_card(one) for one in self._owner.site_status().assets]
        return self.page("cards.html.j2", title="Ledger", cards=list(map(_card, cards)))

    def rules(self) -> HTMLResponse:
        with self._one_at_a_time:
            cards = [self._owner.policy_card(), self._owner.parties_card()]
        return self.page("cards.html.j2", title="Rules", cards=list(map(_card, cards)))

    def log(self) -> HTMLResponse:
        with self._one_at_a_time:
            card = self._owner.log_card()
        return self.page("cards.html.j2", title="Log", cards=[_card(card)])

    def show_decision(self, request_id: str, decision: Decision, fields: Fields) -> HTMLResponse:
        """What would be signed, with a button that signs it."""
        with self._one_at_a_time:
            evidence = decision_forms.weighed(self._owner, request_id)
            pending = decision_forms.drafted(self._owner, evidence, decision, fields)
        return self.page("confirm.html.j2", pending=pending, number=self._decisions.add(pending))

    def sign(self, number: str) -> HTMLResponse:
        pending = self._decisions.take(number)
        with self._one_at_a_time:
            signed = decision_forms.signed(self._owner, pending)
        return self.page("signed.html.j2", words=str(signed), request_id=pending.request_id)


def _row(evidence: Evidence) -> dict[str, Any]:
    """A request as a line of the list."""
    shown, state = request_selection.facts(evidence), evidence.state
    return shown | {
        "short": evidence.request_id[: cli_output.SHORT],
        "said": evidence.disagreement or shown["vault"] or evidence.problem,
        "ran": request_selection.rounds_run(evidence),
        "cost": f"ε {epsilons.at_least(state.study_epsilon)}" if state else "",
        "after": f"ε {epsilons.at_least(state.after_epsilon)}" if state else "",
    }


def _card(shown: Any) -> Markup:
    """A card's own HTML, in which each word of others is escaped (`html_card`)."""
    return Markup(shown._repr_html_())  # noqa: S704
