"""Who may open the owner's pages: one browser, by a link that works once.

    terminal ─ link with a token ─▶ GET /enter ─ cookie ─▶ every other page, below a path of its own
    a form ─ form key, from here ─▶ a decision

The pages listen on this machine alone. Against others on it: the token is the terminal's, and a
cookie takes its place; it is bound to a random path, since a browser sends a cookie to every port of a
machine. Against other pages in the same browser: the host must be ours (DNS
rebinding), a form must carry a key that only our pages hold (CSRF), and no page of others may frame
ours; nothing that runs is ever loaded (CSP).
"""

import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fastapi import Request, Response

from syft_code.errors import Refused, require

ENTER = "/enter"
COOKIE = "consilium_owner"
MAX_FORM_BYTES = 64 * 1024
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "cache-control": "no-store",
    "referrer-policy": "same-origin",  # without any, a form's origin is null
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_NOT_HERE = "These pages must be opened by the link that `consilium owner` prints, which works once"


def _secret() -> str:
    return secrets.token_urlsafe(32)


@dataclass(kw_only=True)
class PageAccess:
    """The secrets of one start of the pages; `port` is where they listen."""

    port: int
    _token: str = field(default_factory=_secret)
    _cookie: str = field(default_factory=_secret)
    form_key: str = field(default_factory=_secret)
    path_prefix: str = field(default_factory=lambda: f"/{_secret()}")

    @property
    def link(self) -> str:
        """The link for the one who started the pages."""
        return f"http://127.0.0.1:{self.port}{ENTER}?token={self._token}"

    def enter(self, token: str) -> str:
        """Take the token for a cookie, once.

        Raises:
            Refused: if it is not the token, or was used.
        """
        known = bool(self._token) and _same(token, self._token)
        require(known, f"{_NOT_HERE}: start it again for a new one.", error=Refused)
        self._token = ""
        return self._cookie

    def check(self, request: Request) -> None:
        """Raise `Refused` unless a request comes from the browser that was let in, and to this host."""
        host = request.headers.get("host", "")
        require(
            host in (f"127.0.0.1:{self.port}", f"localhost:{self.port}"),
            f"These pages must be asked for as 127.0.0.1:{self.port}, and this asks for another host.",
            error=Refused,
        )
        path = request.url.path
        if path != ENTER:
            require(path.startswith(f"{self.path_prefix}/"), f"{_NOT_HERE}.", error=Refused)
            cookie = request.cookies.get(COOKIE, "")
            require(_same(cookie, self._cookie), f"{_NOT_HERE}.", error=Refused)

    def check_form(self, request: Request, form_key: str) -> None:
        """Raise `Refused` unless a form was sent by a page of ours."""
        origin = request.headers.get("origin", f"http://{request.headers['host']}")
        require(
            origin == f"http://{request.headers['host']}" and _same(form_key, self.form_key),
            "A decision must be sent by these pages, and this was not, or they were started anew "
            "since: open the request again and decide there.",
            error=Refused,
        )


Next = Callable[[Request], Awaitable[Response]]


def guard(access: PageAccess, problem_page: Callable[[Refused], Response]) -> Callable[..., object]:
    """A middleware that asks the access about each request, and sets the headers of each answer."""

    async def middleware(request: Request, go_on: Next) -> Response:
        try:
            access.check(request)
        except Refused as problem:
            answer = problem_page(problem)
        else:
            answer = await go_on(request)
        answer.headers.update(HEADERS)
        return answer

    return middleware


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())
