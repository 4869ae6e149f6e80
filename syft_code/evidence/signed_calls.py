"""PySyft's connection with signed heads, for both sides that call a front desk; PySyft stays with them.

A front desk gives a member whose head is signed long calls and places of its own; PySyft's own
connection signs none.
"""

from collections.abc import Callable
from typing import Any

from syft_code.evidence import http_signatures


def signing(
    connection: Any,
    name: str,
    *,
    serialize: Callable[..., bytes],
    deserialize: Callable[..., Any],
    timeout_s: float | tuple[float, float],
) -> Any:
    """PySyft's `HTTPConnection`, whose calls are signed once it has logged in; `name` is PySyft's for it."""

    class Signing(connection):  # type: ignore[misc]
        __canonical_name__ = name
        __version__ = 1

        account: Any = None

        def login(self, email: str, password: str) -> Any:
            """Log in, and sign calls with the account's key from then on."""
            self.account = super().login(email, password)
            return self.account

        def make_call(self, signed_call: Any) -> Any:
            """Send a call, with a head that is signed over its length and hash."""
            body, key = serialize(signed_call, to_bytes=True), self.account.signing_key.signing_key
            head = http_signatures.headers(key, "POST", self.routes.ROUTE_API_CALL.value, body)
            head["connection"] = "close"  # an idle one may end just when a call begins
            answer = self.session.post(
                str(self.api_url), data=body, headers=head, timeout=timeout_s
            )
            answer.raise_for_status()
            return deserialize(answer.content, from_bytes=True)

    return Signing
