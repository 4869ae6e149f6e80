"""A researcher at one hospital's front desk.

The only file of this room that imports PySyft. PySyft carries what is small: the
catalogue, the mock, the code request and the round calls; blobs and tickets travel
beside it (`bulk`).
"""

import contextlib
import functools
import inspect
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from federation.researcher.blob_client import BlobClient
from federation.researcher.storage.credentials import HospitalLogin
from syft_code import canonical, errors
from syft_code.cohort import Cohort
from syft_code.errors import (
    ConsiliumError,
    InvalidInput,
    InvalidMessage,
    NotApproved,
    Refused,
    Unavailable,
)
from syft_code.evidence.signed_calls import signing
from syft_code.plans import traveller
from syft_code.plans.catalogue import AssetCard, Terms
from syft_code.plans.messages import NO_PART, Signed, Ticket
from syft_code.plans.plan import Plan
from syft_code.runtime import tls
from syft_code.runtime.quiet_imports import pysyft_imported, silence

with pysyft_imported():
    from syft.client.client import HTTPConnection
    from syft.client.datasite_client import DatasiteClient
    from syft.serde.deserialize import _deserialize
    from syft.serde.serialize import _serialize
    from syft.service.code.user_code import SubmitUserCode
    from syft.service.policy.policy import MixedInputPolicy, SingleExecutionExactOutput
    from syft.types.errors import SyftException
    from syft.types.server_url import ServerURL
    from syft.types.syft_object_registry import SyftObjectRegistry

silence("syft")

for _name in ("_GenericAlias", "_UnionGenericAlias"):
    # Unpacking one of these calls a function of the sender's choice, and a front desk may be
    # in an attacker's hands; nothing that a researcher needs holds them.
    SyftObjectRegistry.__object_serialization_registry__.pop(_name, None)

ALIVE = "/api/v2/metadata"
CONNECT_S = 5.0
ANSWER = httpx.Timeout(30.0, connect=CONNECT_S)
SILENCE_S = 120.0
"""So long PySyft may wait for a word of a front desk."""
_NOT_APPROVED = re.compile(r"UserCodeStatus\.(DENIED|PENDING)(?:.*?Reason: (.+))?", re.DOTALL)


_SigningConnection = signing(
    HTTPConnection,
    "ResearcherConnection",
    server_url=ServerURL,
    serialize=_serialize,
    deserialize=_deserialize,
    timeout_s=(CONNECT_S, SILENCE_S),
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class _Entered:
    """A login: PySyft's client, and what travels beside it with the same key."""

    client: Any
    bulk: BlobClient


class HospitalClient:
    """One hospital, as a researcher with an account reaches it.

    It logs in when it is made, and without `must_answer` at the latest when it is needed.

    Raises (every method):
        Unavailable: if the front desk does not answer.
        InvalidMessage: if it does not accept the login.
    """

    def __init__(self, account: HospitalLogin, *, must_answer: bool = True) -> None:
        self.name = account.hospital
        self.url = account.url
        self._account = account
        self._entering = threading.Lock()
        self._entered: _Entered | None = None
        self._called: set[str] = set()  # hashes of plans whose approved code has run there
        with contextlib.nullcontext() if must_answer else contextlib.suppress(Unavailable):
            self._enter()

    @property
    def here(self) -> bool:
        """Whether it is logged in."""
        return self._entered is not None

    @property
    def bulk(self) -> BlobClient:
        """What travels beside PySyft."""
        return self._enter().bulk

    @property
    def _client(self) -> Any:
        return self._enter().client

    def close(self) -> None:
        """Let the connections go."""
        if self._entered is not None:
            self._entered.bulk.close()

    def _enter(self) -> "_Entered":
        """Log in, once."""
        with self._entering:
            if self._entered is None:
                self._entered = _entered(self._account)
            return self._entered

    def catalogue(self) -> list[AssetCard]:
        """The hospital's assets, the newest version of each."""
        newest: dict[str, AssetCard] = {}
        for card, _ in self._assets():
            if card.asset not in newest or newest[card.asset].version < card.version:
                newest[card.asset] = card
        return list(newest.values())

    def terms(self) -> Terms:
        """What the hospital asks of every study."""
        try:
            found: Terms = canonical.parse(Terms, self.bulk.policy(), what="hospital's policy")
        except InvalidInput as problem:
            raise InvalidMessage(
                f"The terms of {self.name} can't be used, ask its data owner. {problem}"
            ) from None
        return found

    def mock(self, asset: str) -> Cohort:
        """The public mock of an asset: made-up patients of the right shape."""
        _, entry = self._asset(asset)
        half = entry.mock
        return Cohort(
            images=np.asarray(half["images"]),
            labels=np.asarray(half["labels"]),
            patient=np.asarray(half["patient"]),
            facts=np.asarray(half["facts"]),
        )

    def submit(self, plan: Plan) -> None:
        """Send the plan and its thin traveller to the owner; a second time changes nothing."""
        self.bulk.upload(plan.encode())
        if self._decisions(plan.hash):
            return
        _, asset = self._asset(plan.hospital(self.name).asset)
        policy = MixedInputPolicy(patients=asset, call=str, client=self._client)
        code = SubmitUserCode(
            code=traveller.source(plan.hash),
            func_name=traveller.function_name(plan.hash),
            signature=inspect.Signature(
                [
                    inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)
                    for name in ("patients", "call")
                ]
            ),
            input_policy_type=MixedInputPolicy,
            input_policy_init_kwargs=policy.init_kwargs,
            output_policy_type=SingleExecutionExactOutput,
            output_policy_init_kwargs={},
            input_kwargs=["patients", "call"],
        )
        self._call(lambda: self._client.code.request_code_execution(code))

    def has_approved(self, plan_hash: str) -> bool:
        """Whether the owner has approved a plan, as the front desk tells it."""
        return self._decisions(plan_hash)[-1:] == ["approved"]

    def start_round(self, plan: Plan, call: Signed) -> Ticket:
        """Send a signed round call to the vault; return its ticket.

        The first one goes through PySyft, as a call of the approved code. After it the front desk
        takes a plan's calls beside PySyft, until its owner says no there.

        Raises:
            ConsiliumError: what the hospital said, in its words.
        """
        if plan.hash in self._called:
            with contextlib.suppress(NotApproved):  # PySyft says why
                return self.bulk.call_round(call)
        ticket = self._call_code(plan, call)
        self._called.add(plan.hash)
        return ticket

    def _call_code(self, plan: Plan, call: Signed) -> Ticket:
        """Call a plan's approved code with a signed round call."""
        _, asset = self._asset(plan.hospital(self.name).asset)
        text = canonical.text(call)
        self._call(self._client.refresh)
        function = getattr(self._client.code, traveller.function_name(plan.hash), None)
        if function is None:
            raise NotApproved("This hospital has no such code request: submit the plan first.")
        answer = self._call(lambda: function(patients=asset, call=text).get())
        return _ticket(answer)

    def _decisions(self, plan_hash: str) -> list[str]:
        """Where each request for a plan stands, the newest last; mostly there is one."""
        name = traveller.function_name(plan_hash)
        requests = self._call(lambda: self._client.requests.get_all())
        return [r.status.name.lower() for r in requests if r.code.service_func_name == name]

    def _assets(self) -> list[tuple[AssetCard, Any]]:
        datasets = self._call(lambda: self._client.datasets.get_all())
        return [(_card(dataset), dataset.assets[0]) for dataset in datasets]

    def _asset(self, name: str) -> tuple[AssetCard, Any]:
        found = [pair for pair in self._assets() if pair[0].asset == name]
        if not found:
            raise Refused(f"{self.name} has no asset {name!r}: see its catalogue.")
        return max(found, key=lambda pair: pair[0].version)

    def _call(self, ask: Any) -> Any:
        """Make a PySyft call; turn its errors into ours."""
        try:
            return ask()
        except SyftException as problem:
            raise _refusal(str(problem.public_message)) from None
        except (OSError, ConnectionError):
            raise Unavailable(
                f"The front desk of {self.name} at {self.url} does not answer: try again, or ask "
                "the hospital."
            ) from None


def _entered(account: HospitalLogin) -> _Entered:
    """Log in; PySyft itself sets no time limits, and a silent front desk would hold it for ever."""
    trusted = account.pinned()
    try:
        alive = f"{account.url}{ALIVE}"
        httpx.get(alive, timeout=ANSWER, trust_env=False, verify=trusted or True)
        guest = DatasiteClient(connection=_SigningConnection.trusting(trusted, url=account.url))
        client = guest.login(email=account.email, password=account.password, cache=False)
    except Exception as problem:  # PySyft raises many kinds for a server that is away
        raise _login_error(account, problem) from None
    session = client.connection.session
    session.request = functools.partial(session.request, timeout=(CONNECT_S, SILENCE_S))
    bulk = BlobClient(account.url, client.credentials.signing_key, tls=trusted)
    return _Entered(client=client, bulk=bulk)


def _ticket(answer: object) -> Ticket:
    """The ticket that a vault's answer holds; raise the error that it holds instead."""
    told = answer if isinstance(answer, Mapping) else {}
    if told.get("kind") == "ticket":
        text = str(told.get("ticket")).encode("utf-8", "replace")
        ticket: Ticket = canonical.parse(Ticket, text, what="ticket")
        return ticket
    raise (errors.named(told.get("error")) or Refused)(str(told.get("sentence", NO_PART)))


def _refusal(message: str) -> ConsiliumError:
    """PySyft's words for a request that is not approved, as ours; others as they are.

    A reason is there only where the owner lets researchers read it.
    """
    found = _NOT_APPROVED.search(message)
    if found is None:
        return Refused(message)
    reason = found.group(2)
    return NotApproved(f"{NO_PART} The owner's reason: {reason}" if reason else NO_PART)


def _card(dataset: Any) -> AssetCard:
    text = str(getattr(dataset.description, "text", dataset.description))
    card: AssetCard = canonical.parse(AssetCard, text.encode("utf-8", "replace"), what="asset card")
    return card


def _login_error(account: HospitalLogin, problem: Exception) -> ConsiliumError:
    if isinstance(problem, SyftException):
        return InvalidMessage(
            f"{account.hospital} did not accept the login of {account.email}: "
            f"{problem.public_message}"
        )
    untrusted = tls.why_untrusted(problem)
    if untrusted:
        return Refused(account.not_trusted(untrusted))
    return Unavailable(
        f"The front desk of {account.hospital} does not answer at {account.url}: see that it runs. "
        f"({type(problem).__name__})"
    )
