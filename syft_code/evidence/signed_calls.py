"""PySyft's connection with signed heads, for both sides that call a front desk; PySyft stays with them.

A front desk gives a member whose head is signed long calls and places of its own; PySyft's own
connection signs none.
"""

import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from requests.adapters import HTTPAdapter  # type: ignore[import-untyped]
from urllib3.util.retry import Retry

from syft_code.evidence import http_signatures


class Pinned(HTTPAdapter):  # type: ignore[misc]
    """HTTPS as one context has it, without the authorities that `requests` would add to it."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        super().__init__(max_retries=Retry(total=3, backoff_factor=0.5))

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        """Connections with this context; a name adds nothing to a pinned certificate."""
        super().init_poolmanager(
            *arguments, **options, ssl_context=self._tls, assert_hostname=False
        )

    def build_connection_pool_key_attributes(
        self, request: Any, verify: Any, cert: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Where it goes, and nothing of a list of authorities that `requests` found in the environment."""
        where, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return where, {}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Load no authorities into the context."""


def _exact(server_url: Any) -> Any:
    """PySyft's `ServerURL`, kept as it is given."""

    class Exact(server_url):  # type: ignore[misc]
        """An address as it is: PySyft's own forgets the port of https with each copy, and splits IPv6."""

        @classmethod
        def of(cls, url: str) -> Any:
            parts = urlsplit(url)
            made = cls(
                protocol=parts.scheme, port=parts.port or (443 if parts.scheme == "https" else 80)
            )
            made.host_or_ip = (
                f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
            )
            return made

        def __copy__(self) -> Any:
            twin = object.__new__(type(self))
            twin.__dict__.update(self.__dict__)
            return twin

    return Exact


def signing(
    connection: Any,
    name: str,
    *,
    server_url: Any,
    serialize: Callable[..., bytes],
    deserialize: Callable[..., Any],
    timeout_s: float | tuple[float, float],
) -> Any:
    """PySyft's `HTTPConnection`, whose calls are signed once it has logged in; `name` is PySyft's for it.

    `server_url` is PySyft's `ServerURL`.
    """

    exact_url = _exact(server_url)

    class Signing(connection):  # type: ignore[misc]
        __canonical_name__ = name
        __version__ = 1

        account: Any = None

        @classmethod
        def trusting(cls, tls: ssl.SSLContext | None, *, url: str) -> Any:
            """A connection to a front desk that is checked by this context, or by public authorities."""
            made = cls(url=exact_url.of(url))
            made.session.trust_env = False  # no proxy and no authorities of the environment
            if tls is not None:
                made.session.mount("https://", Pinned(tls))
            return made

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
