"""What an owner asks the own front desk for without PySyft: signed HTTP, and no library to load.

PySyft takes seconds to import; looking at requests must not. Decisions and publications go through
PySyft itself (`syft_session`).
"""

import ssl

import httpx
from nacl.signing import SigningKey

from datasites import private_files
from datasites.protocol import vault_api
from datasites.protocol.code_request import CodeRequest, CodeRequests
from datasites.site import Site
from syft_code import canonical
from syft_code.errors import ConsiliumError, Refused, Unavailable
from syft_code.evidence import http_signatures
from syft_code.plans import invitations
from syft_code.plans.invitations import InvitationOffer
from syft_code.plans.notes import NoteReply

REQUESTS = "/owner/requests"
ANSWER_S = 30.0


class DeskClient:
    """The owner before the own front desk, known by the key of the owner's account there."""

    def __init__(self, site: Site) -> None:
        self._settings = site.settings()
        self._account = site.owner / "account"
        self._trusted = site.pinned() or ssl.SSLContext(
            ssl.PROTOCOL_TLS_CLIENT
        )  # that trusts nobody

    def requests(self) -> list[CodeRequest]:
        """Every code request with the notes on it, oldest first."""
        data = self._ask("GET", REQUESTS)
        found: CodeRequests = canonical.parse(CodeRequests, data, what="list of code requests")
        return list(found.requests)

    def plan(self, plan_hash: str) -> bytes:
        """The bytes that somebody uploaded as a plan; raise `Refused` if they are not there."""
        return self._ask("GET", f"/owner/plans/{plan_hash}")

    def add_note(self, subject: str, text: str) -> None:
        """Write a note on a plan or a code, for everybody who submitted it."""
        note = canonical.encode(NoteReply(text=text))
        self._ask("POST", f"{REQUESTS}/{subject}/notes", note)

    def invite(self, offer: InvitationOffer) -> None:
        """Let who has the offer's code make an account, once; an earlier offer to the e-mail is void."""
        self._ask("POST", f"/owner{invitations.PATH}", canonical.encode(offer))

    def remove_account(self, email: str) -> None:
        """Take an e-mail's invitation and account away; raise `Refused` if it has neither."""
        self._ask("DELETE", f"/owner/accounts/{email}")

    def _ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Send one signed request; return what is answered.

        Raises:
            Unavailable: if the front desk does not answer.
            ConsiliumError: what it says instead, if it does not know the owner's account for example.
        """
        key = SigningKey(private_files.read_required(self._account))
        try:
            answer = httpx.request(
                method,
                f"{self._settings.local_url}{path}",
                headers=http_signatures.headers(key, method, path, body),
                content=body,
                timeout=ANSWER_S,
                trust_env=False,
                verify=self._trusted,
            )
        except httpx.HTTPError as problem:
            raise Unavailable(
                f"The front desk of {self._settings.name} does not answer at {self._settings.local_url}: "
                f"start it with `consilium up` or `consilium hospital start`. ({type(problem).__name__})"
            ) from None
        if answer.is_error:
            raise self._error(answer)
        return answer.content

    def _error(self, answer: httpx.Response) -> ConsiliumError:
        try:
            said = answer.json()
            failure = vault_api.Failure(error=str(said["error"]), sentence=str(said["sentence"]))
        except (ValueError, KeyError, TypeError):
            return Refused(
                f"The front desk of {self._settings.name} said no without a sentence (HTTP status "
                f"{answer.status_code}): see its log."
            )
        return vault_api.as_error(failure)
