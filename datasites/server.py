"""The front desk: a real PySyft datasite behind two chokepoints.

The only file of this room that imports PySyft. `build` makes the hospital's HTTP
application: PySyft's own routes, filtered, with our bulk routes beside them.
`OwnerSession` is the owner's side of the same protocol, for notebooks and commands.

    bytes ─▶ intake: signature, types ─▶ role's list ─▶ PySyft unpacks ─▶ arguments ─▶ PySyft acts

Guarantee: PySyft answers only the calls on a role's list (`calls`), never from its queue,
    never to a guest or to the root key, and unpacks nothing else. Text that a researcher
    sent is compared with the thin traveller of a plan and never executed. What PySyft
    holds of an asset is a handle. A researcher can't tell a denied request from a pending one.
Does not protect: against whoever owns this process. That is what the vault is for.
"""

import logging
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI
from nacl.signing import SigningKey

from datasites import door, keeping
from datasites.desk import calls, quiet_no, reception
from datasites.desk.code_request import CodeRequest as CodeRequest
from datasites.desk.intake import Intake, Packing
from datasites.desk.limits import FAILED, LOG, MAX_CALL_BYTES
from datasites.desk.login import Logins
from datasites.desk.refusals import RefusalLog
from datasites.desk.throttle import Throttle
from datasites.desk.tickets import Tickets
from datasites.site import Site
from syft_code import canonical
from syft_code.errors import ConsiliumError, Refused, Unavailable, require
from syft_code.plans import traveller
from syft_code.plans.catalogue import AssetCard
from syft_code.processes.quiet import quiet_import, silence

with quiet_import():
    import syft
    from syft.client.api import SyftAPIData
    from syft.protocol.data_protocol import get_data_protocol
    from syft.serde.deserialize import _deserialize
    from syft.serde.recursive import recursive_scheme
    from syft.serde.recursive_primitives import iterable_schema, kv_iterable_schema
    from syft.serde.serialize import _serialize
    from syft.server.credentials import SyftSigningKey, SyftVerifyKey
    from syft.server.datasite import Datasite
    from syft.server.routes import make_routes
    from syft.server.uvicorn import get_lifetime
    from syft.service.action import action_service
    from syft.service.code.user_code import (
        ApprovalDecision,
        UserCodeExecutionOutput,
        UserCodeStatus,
        UserCodeStatusCollection,
        get_code_hash,
    )
    from syft.service.context import AuthedServiceContext
    from syft.service.policy.policy import MixedInputPolicy, OutputPolicyExecuteOnce
    from syft.service.response import SyftError
    from syft.service.user.user import User, UserPrivateKey, check_pwd, salt_and_hash_password
    from syft.service.user.user_roles import ServiceRole
    from syft.store.blob_storage.on_disk import (
        OnDiskBlobStorageClientConfig,
        OnDiskBlobStorageConfig,
    )
    from syft.store.db.sqlite import SQLiteDBConfig
    from syft.store.document_store_errors import NotFoundException
    from syft.types.errors import SyftException
    from syft.types.syft_object_registry import SyftObjectRegistry
    from syft.types.uid import UID

silence("syft")

UNEXPECTED = "Something unexpected"
"""How PySyft's word for such an error begins, when it hides the traceback."""
NONSENSE = (
    "PySyft could not act on this call as it stands: use federation.study (researchers) or "
    "datasites.owner (owners)."
)
EXPECTED = calls.Expected(
    researcher_role=ServiceRole.DATA_SCIENTIST,
    input_policy=MixedInputPolicy,
    output_policy=OutputPolicyExecuteOnce,
)


def _fields(name: str, version: int) -> set[str]:
    """The fields that PySyft packs of a type's version, none if it does not know it."""
    if not SyftObjectRegistry.has_serde_class(name, version):
        return set()
    return SyftObjectRegistry.get_serde_properties(name, version)[3] or set()


INTAKE = Intake(
    Packing(one=recursive_scheme, many=iterable_schema, pairs=kv_iterable_schema, fields=_fields)
)

for _name in ("_GenericAlias", "_UnionGenericAlias"):
    # Unpacking one of these calls a function of the sender's choice; the owner's client
    # unpacks too, and nothing that it needs holds them.
    SyftObjectRegistry.__object_serialization_registry__.pop(_name, None)


class FrontDesk(Datasite):  # type: ignore[misc]
    """PySyft's datasite with one chokepoint for calls; the one for code is `_run_traveller`."""

    site: Site
    refusals: RefusalLog
    tickets: Tickets

    def answer(self, data: bytes) -> bytes:
        """Answer a packed call if its sender's role may make it; say no in words if not."""
        account = path = ""
        try:
            call = INTAKE.open(data)
            account, path = call.account, call.path
            allowed = calls.allowed_types(
                call.path, role=self.role_of(account).name, size_bytes=len(data)
            )
            INTAKE.check(call, allowed=allowed)
            result = self.handle_api_call(_deserialize(data, from_bytes=True))
        except ConsiliumError as problem:
            if path not in calls.UNASKED:
                self.refusals.write("call", who=account, path=path, sentence=str(problem))
            result = self._no(str(problem))
        except SyftException as problem:
            result = self._no(problem.public_message)
        except Exception:
            LOG.exception("a call failed")
            result = self._no(FAILED)
        return _pack(result)

    def handle_api_call_with_unsigned_result(
        self, api_call: Any, job_id: Any = None, check_call_location: bool = True
    ) -> Any:
        """Let PySyft act on a call whose arguments are in order."""
        call = api_call.message
        require(
            call.blocking is True and call.server_uid == self.id,
            "This front desk has no queue and no peers: send a blocking call to it.",
            error=Refused,
        )
        calls.check_arguments(call, EXPECTED)
        result = super().handle_api_call_with_unsigned_result(api_call, job_id, check_call_location)
        if isinstance(result, SyftError) and (result.tb or UNEXPECTED in result.message):
            LOG.warning("%s: %s %s", call.path, result.message, result.tb or "")
            return SyftError(message=NONSENSE)
        if isinstance(result, SyftError) or not self._is_researcher(api_call.credentials):
            return result
        if call.path == "request.get_all":
            result.value = [quiet_no.without_denial(request) for request in result.value]
        if call.path == "code.request_code_execution":
            self._offer(calls.submitted_code([*call.args, *call.kwargs.values()]), result.value)
        return result

    def role_of(self, account: str) -> ServiceRole:
        """The role of an account key (hex); the root key counts as a guest from outside."""
        key = SyftVerifyKey.from_string(account)
        if key == self.verify_key:
            return ServiceRole.GUEST
        return self.get_role_for_credentials(credentials=key)

    def is_member(self, account: str) -> bool:
        """Whether an account key (hex) belongs to somebody with a role here."""
        return self.role_of(account).name in calls.ALLOWED_CALLS

    def has_submitted(self, account: str, plan_hash: str) -> bool:
        """Whether an account (hex) has a code request for a plan."""
        key = SyftVerifyKey.from_string(account)
        code_hash = get_code_hash(traveller.source(plan_hash), key)
        find = self.services.user_code.stash.get_by_code_hash
        return _found(lambda: find(self.verify_key, code_hash)) is not None

    def user_of(self, email: str) -> User | None:
        """The user of an e-mail, None if there is none."""
        return _found(lambda: self.services.user.stash.get_by_email(self.verify_key, email))

    @property
    def root(self) -> AuthedServiceContext:
        """The desk's own right to do what the vault or its start asks for."""
        return AuthedServiceContext(
            server=self, credentials=self.verify_key, role=ServiceRole.ADMIN
        )

    def pack_login(self, user: User) -> bytes:
        """What a user gets who logged in: the account's key, packed."""
        return _pack(user.to(UserPrivateKey))

    def pack_error(self, sentence: str) -> bytes:
        """A sentence that PySyft's client shows, packed."""
        return _pack(SyftError(message=sentence))

    def protocols(self) -> set[str]:
        """The versions of PySyft's protocol that are spoken here."""
        return {str(known) for known in get_data_protocol().supported_protocols}

    def _offer(self, code: Any, request: Any) -> None:
        """Approve a new request if the vault says that a standing approval covers its plan."""
        if door.offer_plan(self.site, traveller.plan_hash_of(code.code)):
            try:
                self.services.request.apply(context=self.root, uid=request.id)
            except SyftException:
                LOG.exception("a request that a standing approval covers was not approved")

    def _is_researcher(self, key: SyftVerifyKey) -> bool:
        return bool(self.get_role_for_credentials(credentials=key).name == calls.RESEARCHER)

    def _no(self, sentence: str) -> Any:
        return SyftAPIData(data=SyftError(message=sentence)).sign(self.signing_key)


def _pack(value: Any) -> bytes:
    packed: bytes = _serialize(value, to_bytes=True)
    return packed


def _found(ask: Callable[[], Any]) -> Any:
    """What PySyft's store finds, None if there is nothing."""
    try:
        return ask().unwrap()
    except NotFoundException:
        return None


_status_message = UserCodeStatusCollection.get_status_message_l2


def _quiet_status_message(status: Any, context: Any) -> str:
    """In place of PySyft's message, which tells a denied code from a pending one, and why."""
    if not status.get_is_approved(context):
        status = quiet_no.as_pending(status, ApprovalDecision(status=UserCodeStatus.PENDING))
    message: str = _status_message(status, context)
    return message


def _run_traveller(code_item: Any, kwargs: dict[str, Any], context: Any) -> Any:
    """In place of PySyft's `exec`: make the one call that the traveller's text spells.

    PySyft would run what it has derived from the text and from the names beside it.
    """
    plan_hash = traveller.plan_hash_of(code_item.raw_code)
    result = door.start_round(
        patients=kwargs["patients"], plan_hash=plan_hash, call=str(kwargs["call"])
    )
    ticket = door.ticket_of(result)
    if ticket is not None:
        context.server.tickets.give(ticket, str(context.credentials))
    return UserCodeExecutionOutput(
        user_code_id=code_item.id,
        stdout="",
        stderr="",
        result=result,
        errored=False,
        safe_error_message="",
    )


def build(site: Site) -> FastAPI:
    """The front desk of one hospital as an HTTP application, with its owner's account made."""
    LOG.addHandler(logging.StreamHandler())  # PySyft has taken the root logger's
    os.environ[door.HOME_VARIABLE] = str(site.home)
    os.environ["SYFT_TEMP_ROOT"] = str(site.desk)
    desk = _start(site)
    _ensure_owner(desk, site)
    action_service.execute_byte_code = _run_traveller
    UserCodeStatusCollection.get_status_message_l2 = _quiet_status_message
    app = FastAPI(
        title=desk.name,
        lifespan=get_lifetime(desk),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    return reception.build(app, desk, pysyft=make_routes(worker=desk), logins=_logins(desk))


def _start(site: Site) -> FrontDesk:
    """The datasite, with a name, id and key of its own that outlive a restart."""
    settings = site.settings()
    key = keeping.signing_key(site.desk / "key")
    uid_path = site.desk / "uid"
    if not uid_path.exists():
        keeping.write_private(uid_path, UID().no_dash.encode("ascii"))
    desk = FrontDesk(
        name=settings.name,
        id=UID(keeping.read_kept(uid_path).decode("ascii")),
        signing_key=SyftSigningKey(signing_key=key),
        root_email=f"root@{settings.name}.example.org",
        root_username="root",
        root_password=secrets.token_urlsafe(32),  # nobody knows it: the root account is not used
        create_producer=False,
        n_consumers=0,
        in_memory_workers=False,
        db_config=SQLiteDBConfig(path=site.desk, filename="syft.db"),
        blob_storage_config=OnDiskBlobStorageConfig(
            client_config=OnDiskBlobStorageClientConfig(base_directory=site.desk / "syft_blobs"),
            min_blob_size=MAX_CALL_BYTES // 2**20,  # in MiB: whatever fits a call stays in it
        ),
    )
    desk.site, desk.refusals = site, RefusalLog(site.desk)
    desk.tickets = Tickets(site.desk / "tickets")
    return desk


def owner_email(hospital: str) -> str:
    """The owner's account name at a hospital's front desk."""
    return f"owner@{hospital}.example.org"


def _ensure_owner(desk: FrontDesk, site: Site) -> None:
    """At the first start: an account for the owner, with a random password in a private file."""
    path = site.owner / "password"
    if path.exists():
        return
    password = secrets.token_urlsafe(24)
    email = owner_email(desk.name)
    desk.services.user.create(
        context=desk.root,
        name=email,
        email=email,
        password=password,
        password_verify=password,
        role=ServiceRole.DATA_OWNER,
    )
    keeping.write_private(path, password.encode("ascii"))


def _logins(desk: FrontDesk) -> Logins[User]:
    """Log-ins against PySyft's accounts; the hash for unknown e-mails is made like theirs."""
    _, hashed = salt_and_hash_password(secrets.token_urlsafe(32), 12)
    return Logins(
        user_of=desk.user_of,
        hash_of=lambda user: user.hashed_password,
        matches=check_pwd,
        nobodys_hash=hashed,
        throttle=Throttle(spared={owner_email(desk.name)}),
        log=desk.refusals,
    )


class OwnerSession:
    """The owner, logged in at the own front desk over HTTP."""

    def __init__(self, site: Site) -> None:
        settings = site.settings()
        password = keeping.read_kept(site.owner / "password").decode("ascii")
        try:
            self._client = syft.login(
                url=settings.url, email=owner_email(settings.name), password=password
            )
        except SyftException as problem:
            raise Refused(
                f"{settings.name} did not accept its owner's login: {problem.public_message}"
            ) from None
        except Exception as problem:  # PySyft raises many kinds for a server that is away
            raise Unavailable(
                f"The front desk of {settings.name} does not answer at {settings.url}: start it "
                f"with `python launch.py up`. ({type(problem).__name__})"
            ) from None

    @property
    def account_key(self) -> SigningKey:
        """The key of the owner's PySyft account, for requests beside PySyft."""
        key: SigningKey = self._client.credentials.signing_key
        return key

    def invite(self, email: str, password: str) -> None:
        """Make a researcher's account."""
        with _in_words():
            self._client.users.create(
                name=email,
                email=email,
                password=password,
                password_verify=password,
                role=ServiceRole.DATA_SCIENTIST,
            )

    def publish(self, card: AssetCard, mock: dict[str, Any]) -> None:
        """Show an asset in the catalogue: a handle for the private half, the mock beside it."""
        handle = {"kind": "handle", "asset": card.asset, "version": card.version}
        asset = syft.Asset(name=card.asset, data=handle, mock={"kind": "mock", **mock})
        dataset = syft.Dataset(
            name=f"{card.asset} v{card.version}",
            description=canonical.encode(card).decode("ascii"),
            asset_list=[asset],
        )
        with _in_words():
            self._client.upload_dataset(dataset)

    def requests(self) -> list[CodeRequest]:
        """Every code request, oldest first."""
        with _in_words():
            return [
                CodeRequest(
                    id=str(request.id),
                    researcher=request.requesting_user_email,
                    code=request.code.raw_code,
                    status=request.status.name.lower(),
                )
                for request in sorted(
                    self._client.requests.get_all(),
                    key=lambda request: request.request_time.utc_timestamp,
                )
            ]

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
