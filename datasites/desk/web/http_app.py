"""The front desk's HTTP application: what is left of PySyft's routes, and ours beside them.

    /                            for a browser: what this address is, the same at each hospital
    /api/v2/, /metadata, /api    PySyft's own
    /api/v2/api_call             a packed call, to the front desk's chokepoint
    /api/v2/login                an e-mail and a password, within limits (`login`, `rate_limit`)
    /invitations                 the code of an invitation, and a password: an account
    /blobs, /tickets, ...        what travels beside PySyft (`blob_routes`)

Nothing here imports PySyft; `syft_server` hands over what PySyft has to do with it.
"""

from collections.abc import Mapping, Set
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Body, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse

from datasites.desk.storage.invitations import Invitations
from datasites.desk.storage.security_log import SecurityLog
from datasites.desk.storage.ticket_owners import TicketOwners
from datasites.desk.web import blob_routes, invitation_routes, middleware
from datasites.desk.web.login import MAX_EMAIL, MAX_PASSWORD, Logins, TooManyTries
from datasites.desk.web.middleware import PREFIX
from datasites.protocol.code_request import CodeRequests
from datasites.site import Site
from syft_code.errors import ConsiliumError, Refused, require
from syft_code.plans.roster import HEX_KEY

OPEN_ROUTES = {"/", "/metadata", "/api"}
"""What is left of PySyft's HTTP routes: no sign-up, no password reset, no streams."""
_PACKED = "application/octet-stream"
FRONT_PAGE = """This is the front desk of a hospital in a Consilium federation.

It answers programs (PySyft), and has no pages for a browser.

Data owners decide in a terminal:    consilium requests list --hospital NAME
or in a notebook:                    consilium lab
Researchers connect from Python:     Researcher.connect("researcher.json")

What each of them can do is in README.md and docs/ of Consilium.
"""


class DeskServices(Protocol):
    """What the routes need of the front desk."""

    site: Site
    refusals: SecurityLog
    tickets: TicketOwners

    def answer(self, data: bytes, signer: str | None) -> bytes:
        """Answer a packed call whose request's head an account key (hex), or nobody, signed."""

    def most_call_bytes(self, account: str) -> int:
        """How large a call of an account key (hex) may be; 0 if it is nobody's here."""

    def has_submitted(self, account: str, plan_hash: str) -> bool:
        """Whether an account (hex) has a code request for a plan."""

    def requests_for(self, account: str) -> CodeRequests:
        """Every code request, if an account key (hex) is the owner's; else raises `Refused`."""

    def require_owner(self, account: str) -> None:
        """Raise `Refused` unless an account key (hex) is the owner's."""

    def require_new(self, email: str) -> None:
        """Raise `Refused` if an e-mail has an account, or can have none."""

    def add_account(self, email: str, password: str) -> None:
        """Make a researcher's account; raise `Refused` if there is one."""

    def remove_account(self, email: str) -> bool:
        """Take a researcher's account away, with its key; whether there was one."""

    def pack_login(self, user: Any) -> bytes:
        """What a user gets who logged in: the account's key, packed."""

    def pack_error(self, sentence: str) -> bytes:
        """A sentence that PySyft's client shows in place of a login, packed."""

    def pack_no(self, sentence: str) -> bytes:
        """A sentence that PySyft's client shows in place of a call's answer, packed."""

    def protocols(self) -> Set[str]:
        """The versions of PySyft's protocol that are spoken here."""


def build(app: FastAPI, desk: DeskServices, *, pysyft: APIRouter, logins: Logins[Any]) -> FastAPI:
    """Fill an application with routes and put the limits before them; `app.state.refusals` is their log."""
    pysyft.routes = [r for r in pysyft.routes if getattr(r, "path", "") in OPEN_ROUTES]
    _add_own(pysyft, desk, logins)
    app.include_router(pysyft, prefix=PREFIX)
    app.add_api_route("/", _front_page, methods=["GET", "HEAD"], include_in_schema=False)
    members = blob_routes.Members(
        submitted=desk.has_submitted,
        requests=desk.requests_for,
        require_owner=desk.require_owner,
    )
    app.include_router(blob_routes.routes(desk.site, members, tickets=desk.tickets))
    invitations = Invitations(desk.site.desk / "invitations")
    app.include_router(invitation_routes.routes(invitations, desk))
    checks = middleware.Checks(
        most_call_bytes=desk.most_call_bytes,
        listing=lambda asked: _check_listing(desk, asked),
        pack_no=desk.pack_no,
    )
    app.state.refusals = desk.refusals
    middleware.add_to(app, checks, log=desk.refusals)
    return app


def _front_page() -> PlainTextResponse:
    return PlainTextResponse(FRONT_PAGE)


def _add_own(router: APIRouter, desk: DeskServices, logins: Logins[Any]) -> None:
    """Our routes in place of PySyft's for calls and logins."""

    @router.post("/api_call")
    async def api_call(request: Request) -> Response:
        signer = middleware.signer(request)
        answer = await run_in_threadpool(desk.answer, await request.body(), signer)
        return Response(answer, media_type=_PACKED)

    @router.post("/login")
    def login(
        email: Annotated[str, Body(max_length=MAX_EMAIL)],
        password: Annotated[str, Body(max_length=MAX_PASSWORD)],
    ) -> Response:
        return _log_in(desk, logins, email=email, password=password)


def _log_in(desk: DeskServices, logins: Logins[Any], *, email: str, password: str) -> Response:
    """The account's key, or why not in a sentence.

    PySyft's client shows the sentence of a packed error, and nothing of an answer whose HTTP
    status is not 200; so who must wait gets 200 too, with Retry-After for other clients.
    """
    headers: dict[str, str] = {}
    try:
        packed = desk.pack_login(logins.user(email, password))
    except ConsiliumError as problem:
        packed = desk.pack_error(str(problem))
        if isinstance(problem, TooManyTries):
            headers = {"retry-after": str(problem.wait_s)}
    return Response(packed, headers=headers, media_type=_PACKED)


def _check_listing(desk: DeskServices, asked: Mapping[str, str]) -> None:
    """An API listing is for a member, in a protocol that PySyft speaks."""
    key, protocol = asked.get("verify_key", ""), asked.get("communication_protocol", "")
    require(
        HEX_KEY.fullmatch(key) is not None
        and desk.most_call_bytes(key) > 0
        and protocol in desk.protocols(),
        "Only members may list this front desk's calls, in a protocol that it speaks: ask its "
        "data owner to invite you.",
        error=Refused,
    )
