"""The owner at the own front desk: PySyft's client, for notebooks and commands.

One of the two files of `datasites` that import PySyft; the other is the front desk itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nacl.signing import SigningKey

from datasites import private_files
from datasites.site import Site, owner_email
from syft_code import canonical
from syft_code.errors import Refused, Unavailable
from syft_code.evidence.signed_calls import signing
from syft_code.plans.catalogue import AssetCard
from syft_code.runtime.quiet_imports import pysyft_imported, silence

with pysyft_imported():
    import syft
    from syft.client.client import HTTPConnection
    from syft.client.datasite_client import DatasiteClient
    from syft.serde.deserialize import _deserialize
    from syft.serde.serialize import _serialize
    from syft.types.errors import SyftException
    from syft.types.server_url import ServerURL

silence("syft")

ANSWER_S = 120.0


_SigningConnection = signing(
    HTTPConnection,
    "OwnerConnection",
    server_url=ServerURL,
    serialize=_serialize,
    deserialize=_deserialize,
    timeout_s=ANSWER_S,
)


class OwnerSession:
    """The owner, logged in at the own front desk over HTTP."""

    def __init__(self, site: Site) -> None:
        settings = site.settings()
        password = private_files.read_required(site.owner / "password").decode("ascii")
        try:
            guest = DatasiteClient(
                connection=_SigningConnection.trusting(site.pinned(), url=settings.local_url)
            )
            self._client = guest.login(
                email=owner_email(settings.name), password=password, cache=False
            )
        except SyftException as problem:
            raise Refused(
                f"{settings.name} did not accept its owner's login: {problem.public_message}"
            ) from None
        except Exception as problem:  # PySyft raises many kinds for a server that is away
            raise Unavailable(
                f"The front desk of {settings.name} does not answer at {settings.local_url}: start it "
                f"with `consilium up` or `consilium hospital start`. ({type(problem).__name__})"
            ) from None

    @property
    def account_key(self) -> SigningKey:
        """The key of the owner's PySyft account, for requests beside PySyft."""
        key: SigningKey = self._client.credentials.signing_key
        return key

    def publish(self, card: AssetCard, mock: dict[str, Any]) -> None:
        """Show an asset in the catalogue: a handle for the private half, the mock beside it."""
        handle = {"kind": "handle", "asset": card.asset, "version": card.version}
        asset = syft.Asset(name=card.asset, data=handle, mock={"kind": "mock", **mock})
        dataset = syft.Dataset(
            name=f"{card.asset} v{card.version}",
            description=canonical.text(card),
            asset_list=[asset],
        )
        with _in_words():
            self._client.upload_dataset(dataset)

    def approve(self, request_id: str) -> None:
        """Let PySyft run the request's code; the vault has its own signature."""
        with _in_words():
            self._find(request_id).approve(disable_warnings=True)

    def deny(self, request_id: str, reason: str) -> None:
        """Refuse a request, or take its approval back, with a reason."""
        with _in_words():
            self._find(request_id).deny(reason=reason)

    def _find(self, request_id: str) -> Any:
        for request in self._client.requests.get_all():
            if str(request.id) == request_id:
                return request
        raise Refused(f"There is no request {request_id} here: list the requests.")


@contextmanager
def _in_words() -> Iterator[None]:
    """Turn what PySyft raises into one of our sentences."""
    try:
        yield
    except SyftException as problem:
        raise Refused(f"The front desk said no: {problem.public_message}") from None
    except OSError:
        raise Unavailable("The front desk does not answer: see that it runs.") from None
