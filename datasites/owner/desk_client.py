"""What an owner asks the own front desk for without PySyft: signed HTTP, and no library to load.

PySyft takes seconds to import; looking at requests must not. Decisions and publications go through
PySyft itself (`syft_session`).
"""

import httpx
from nacl.signing import SigningKey

from datasites import private_files
from datasites.protocol.code_request import CodeRequest, CodeRequests
from datasites.site import Site
from syft_code import canonical
from syft_code.errors import Refused, Unavailable
from syft_code.evidence import http_signatures

REQUESTS = "/owner/requests"
ANSWER_S = 30.0


class DeskClient:
    """The owner before the own front desk, known by the key of the owner's account there."""

    def __init__(self, site: Site) -> None:
        self._settings = site.settings()
        self._account = site.owner / "account"

    def requests(self) -> list[CodeRequest]:
        """Every code request, oldest first.

        Raises:
            Unavailable: if the front desk does not answer.
            Refused: if it does not know the owner's account.
        """
        key = SigningKey(private_files.read_required(self._account))
        try:
            answer = httpx.get(
                f"{self._settings.url}{REQUESTS}",
                headers=http_signatures.headers(key, "GET", REQUESTS),
                timeout=ANSWER_S,
                trust_env=False,
            )
        except httpx.TransportError as problem:
            raise Unavailable(
                f"The front desk of {self._settings.name} does not answer at {self._settings.url}: "
                f"start it with `consilium up`. ({type(problem).__name__})"
            ) from None
        if answer.is_error:
            raise Refused(
                f"{self._settings.name} did not show its requests (HTTP status "
                f"{answer.status_code}): see its log of refusals."
            )
        found: CodeRequests = canonical.parse(
            CodeRequests, answer.content, what="list of code requests"
        )
        return list(found.requests)
