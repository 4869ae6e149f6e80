"""The front desk: a real PySyft datasite behind two chokepoints.

The only file of this room that imports PySyft. `build` makes the hospital's HTTP
application: PySyft's own routes, filtered, with our bulk routes beside them.
`OwnerSession` is the owner's side of the same protocol, for notebooks and commands.

    bytes ─▶ intake: signature, types ─▶ role's list ─▶ PySyft unpacks ─▶ arguments ─▶ PySyft acts

Guarantee: PySyft answers only the calls on a role's list below, never from its queue,
    never to a guest or to the root key, and unpacks nothing else. Text that a researcher
    sent is compared with the thin traveller of a plan and never executed. What PySyft
    holds of an asset is a handle.
Does not protect: against whoever owns this process. That is what the vault is for.
"""

import logging
import os
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from nacl.signing import SigningKey

from datasites import bulk, door, keeping
from datasites.blobs import MAX_BLOB_BYTES, Blobs
from datasites.intake import Intake, Packing
from datasites.site import Site
from syft_code import canonical, traveller
from syft_code.catalogue import AssetCard
from syft_code.errors import (
    ConsiliumError,
    InvalidMessage,
    NotApproved,
    Refused,
    Unavailable,
    require,
)
from syft_code.quiet import quiet_import, silence

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
    from syft.service.code.user_code import UserCodeExecutionOutput
    from syft.service.context import AuthedServiceContext
    from syft.service.policy.policy import MixedInputPolicy, OutputPolicyExecuteOnce
    from syft.service.response import SyftError
    from syft.service.user.user_roles import ServiceRole
    from syft.store.blob_storage.on_disk import (
        OnDiskBlobStorageClientConfig,
        OnDiskBlobStorageConfig,
    )
    from syft.store.db.sqlite import SQLiteDBConfig
    from syft.types.errors import SyftException
    from syft.types.syft_object_registry import SyftObjectRegistry
    from syft.types.uid import UID

silence("syft")

LOG = logging.getLogger("consilium.desk")
FAILED = "The front desk failed to answer; the data owner's log says why."
"""What leaves of an error that nobody foresaw."""
UNEXPECTED = "Something unexpected"
"""How PySyft's word for such an error begins, when it hides the traceback."""
NONSENSE = (
    "PySyft could not act on this call as it stands: use federation.study (researchers) or "
    "datasites.owner (owners)."
)
MAX_CALL_BYTES = 8 * 2**20
MAX_RESEARCHER_CALL_BYTES = 2**18
PREFIX = "/api/v2"
OPEN_ROUTES = {"/", "/metadata", "/api", "/login"}
"""What is left of PySyft's HTTP routes: no sign-up, no password reset, no streams."""

_LINK = {"LinkedObject", "type UserCode", "type UserCodeService"}
_VALUE = {"AnyActionObject", "TwinMode", "type str"}
_ASSET = {"Asset", "Contributor", "DateTime", "MarkdownDescription"}
_MOCK = {"TwinObject", "numpy_ndarray", "type dict"}
_POLICY = {"Matches", "UserOwned", "ServerIdentity", "type MixedInputPolicy"}
_SIGNATURE = {"inspect_Signature", "inspect_Parameter", "inspect_ParameterKind"}
_CODE = {"SubmitUserCode", "type OutputPolicyExecuteOnce", "type inspect_empty", "type str"}

_MEMBER_CALLS: dict[str, Set[str]] = {
    "user.get_current_user": set(),
    "metadata.get_metadata": set(),
    "dataset.get_all": set(),
    "action.get_mock": set(),
    "request.get_all": set(),
    "notifications.resolve_object": _LINK,
}
ALLOWED_CALLS: dict[ServiceRole, dict[str, Set[str]]] = {
    ServiceRole.DATA_SCIENTIST: _MEMBER_CALLS
    | {
        "code.request_code_execution": _CODE | _POLICY | _SIGNATURE,
        "code.call": _VALUE | _ASSET,
        "action.set": _VALUE,
        "action.get": set(),
        "action.has_storage_permission": set(),
    },
    ServiceRole.DATA_OWNER: _MEMBER_CALLS
    | {
        "action.set": _VALUE | _MOCK,
        "dataset.add": _ASSET | {"CreateDataset", "CreateAsset", "numpy_ndarray"},
        "request.apply": set(),
        "request.undo": set(),
        "user.create": {"ServiceRole"},
    },
}
"""Every call that is answered, by role, with the types that it may hold beside plain values.

Nothing else is answered: not to guests, not to the root key.
"""

_PROTOCOL = {"communication_protocol"}  # PySyft's client adds it to every call
_ACCOUNT_FIELDS = {"name", "email", "password", "password_verify", "role"} | _PROTOCOL
_ROUND_FIELDS = {"uid", "patients", "call"}


def _fields(name: str, version: int) -> Set[str]:
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

    def answer(self, data: bytes) -> bytes:
        """Answer a packed call if its sender's role may make it; say no in words if not."""
        try:
            self._admit(data)
            result = self.handle_api_call(_deserialize(data, from_bytes=True))
        except ConsiliumError as problem:
            result = self._no(str(problem))
        except SyftException as problem:
            result = self._no(problem.public_message)
        except Exception:
            LOG.exception("a call failed")
            result = self._no(FAILED)
        packed: bytes = _serialize(result, to_bytes=True)
        return packed

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
        _check_arguments(call)
        result = super().handle_api_call_with_unsigned_result(api_call, job_id, check_call_location)
        if isinstance(result, SyftError) and (result.tb or UNEXPECTED in result.message):
            LOG.warning("%s: %s %s", call.path, result.message, result.tb or "")
            return SyftError(message=NONSENSE)
        return result

    def role_of(self, account: str) -> ServiceRole:
        """The role of an account key (hex); the root key counts as a guest from outside."""
        key = SyftVerifyKey.from_string(account)
        if key == self.verify_key:
            return ServiceRole.GUEST
        return self.get_role_for_credentials(credentials=key)

    def _admit(self, data: bytes) -> None:
        """The sender's role has this call on its list, and the call holds nothing else."""
        call = INTAKE.open(data)
        role = self.role_of(call.account)
        calls = ALLOWED_CALLS.get(role, {})
        require(
            call.path in calls,
            f"This front desk does not answer {call.path[:80]!r} to a {role.name.lower()}: use "
            "federation.study (researchers) or datasites.owner (owners).",
            error=Refused,
        )
        require(
            role != ServiceRole.DATA_SCIENTIST or len(data) <= MAX_RESEARCHER_CALL_BYTES,
            f"A researcher's call may have at most {MAX_RESEARCHER_CALL_BYTES} bytes: what is "
            "larger travels as a blob beside PySyft.",
            error=Refused,
        )
        INTAKE.check(call, allowed=calls[call.path])

    def _no(self, sentence: str) -> Any:
        return SyftAPIData(data=SyftError(message=sentence)).sign(self.signing_key)


def _check_arguments(call: Any) -> None:
    """What the list of types can't say of a call's arguments."""
    match call.path:
        case "code.request_code_execution":
            _check_submission([*call.args, *call.kwargs.values()])
        case "code.call":
            require(
                not call.args and set(call.kwargs) - _PROTOCOL == _ROUND_FIELDS,
                f"A round call must have the arguments {sorted(_ROUND_FIELDS)}, by name.",
                error=Refused,
            )
        case "user.create":
            require(
                not call.args
                and set(call.kwargs) <= _ACCOUNT_FIELDS
                and call.kwargs.get("role") is ServiceRole.DATA_SCIENTIST,
                "An owner can invite researchers (DATA_SCIENTIST) and nobody else.",
                error=Refused,
            )


def _check_submission(arguments: list[Any]) -> None:
    """A code request carries the thin traveller, to be called as travellers are, and no more."""
    codes = [argument for argument in arguments if hasattr(argument, "code")]
    require(
        len(codes) == 1,
        "A code request must carry one function, the plan's thin traveller.",
        error=NotApproved,
    )
    (code,) = codes
    plan_hash = traveller.plan_hash_of(code.code)
    require(
        code.func_name == traveller.function_name(plan_hash)
        and code.input_kwargs == ["patients", "call"]
        and code.input_policy_type is MixedInputPolicy
        and code.output_policy_type is OutputPolicyExecuteOnce
        and set(code.output_policy_init_kwargs or {}) <= {"id"}
        and code.worker_pool_name is None,
        "A code request must name and call its traveller as federation.study does.",
        error=NotApproved,
    )


def _run_traveller(code_item: Any, kwargs: dict[str, Any], context: Any) -> Any:
    """In place of PySyft's `exec`: make the one call that the traveller's text spells.

    PySyft would run what it has derived from the text and from the names beside it.
    """
    plan_hash = traveller.plan_hash_of(code_item.raw_code)
    result = door.start_round(
        patients=kwargs["patients"], plan_hash=plan_hash, call=str(kwargs["call"])
    )
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
    app = FastAPI(
        title=desk.name,
        lifespan=get_lifetime(desk),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.include_router(_open_routes(desk), prefix=PREFIX)
    blobs = Blobs(site.desk / "blobs")
    app.include_router(bulk.routes(blobs, site.vault, members=lambda key: _is_member(desk, key)))
    for kind in (ConsiliumError, RequestValidationError, Exception):
        app.add_exception_handler(kind, _explain)
    app.middleware("http")(_limit(desk))
    return app


def _start(site: Site) -> FrontDesk:
    """The datasite, with a name, id and key of its own that outlive a restart."""
    settings = site.settings()
    key = keeping.signing_key(site.desk / "key")
    uid_path = site.desk / "uid"
    if not uid_path.exists():
        keeping.write_private(uid_path, UID().no_dash.encode("ascii"))
    return FrontDesk(
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


def owner_email(hospital: str) -> str:
    """The owner's account name at a hospital's front desk."""
    return f"owner@{hospital}.example.org"


def _ensure_owner(desk: FrontDesk, site: Site) -> None:
    """At the first start: an account for the owner, with a random password in a private file."""
    path = site.owner / "password"
    if path.exists():
        return
    password = secrets.token_urlsafe(24)
    _create_user(desk, owner_email(desk.name), password, ServiceRole.DATA_OWNER)
    keeping.write_private(path, password.encode("ascii"))


def _create_user(desk: FrontDesk, email: str, password: str, role: ServiceRole) -> None:
    context = AuthedServiceContext(server=desk, credentials=desk.verify_key, role=ServiceRole.ADMIN)
    desk.services.user.create(
        context=context,
        name=email,
        email=email,
        password=password,
        password_verify=password,
        role=role,
    )


def _open_routes(desk: FrontDesk) -> APIRouter:
    """PySyft's routes that are left, and ours in place of the one for calls."""
    router: APIRouter = make_routes(worker=desk)
    router.routes = [r for r in router.routes if getattr(r, "path", "") in OPEN_ROUTES]

    @router.post("/api_call")
    async def api_call(request: Request) -> Response:
        answer = await run_in_threadpool(desk.answer, await request.body())
        return Response(answer, media_type="application/octet-stream")

    return router


def _is_member(desk: FrontDesk, account: str) -> bool:
    return desk.role_of(account) in ALLOWED_CALLS


def _limit(desk: FrontDesk) -> Callable[..., Awaitable[Response]]:
    """Before anything reads a request: its size, and whom an API listing is for."""

    async def limit(request: Request, call_next: Callable[..., Awaitable[Response]]) -> Response:
        path = request.scope["path"]  # `request.url` would believe the Host header
        try:
            _check_size(request, MAX_CALL_BYTES if path.startswith(PREFIX) else MAX_BLOB_BYTES)
            if path == f"{PREFIX}/api":
                _check_listing(desk, request.query_params)
        except ConsiliumError as problem:
            return bulk.error_response(problem)
        return await call_next(request)

    return limit


def _check_size(request: Request, most: int) -> None:
    without_body = request.method in ("GET", "HEAD", "DELETE")
    size = request.headers.get("content-length", "0" if without_body else "")
    require(
        "transfer-encoding" not in request.headers
        and re.fullmatch("[0-9]{1,15}", size) is not None
        and int(size) <= most,
        f"A request must announce its size (Content-Length), here at most {most} bytes.",
        error=InvalidMessage,
    )


def _check_listing(desk: FrontDesk, asked: Mapping[str, str]) -> None:
    key, protocol = asked.get("verify_key", ""), asked.get("communication_protocol", "")
    require(
        re.fullmatch("[0-9a-f]{64}", key) is not None
        and _is_member(desk, key)
        and protocol in {str(known) for known in get_data_protocol().supported_protocols},
        "Only members may list this front desk's calls, in a protocol that it speaks: ask its "
        "data owner to invite you.",
        error=Refused,
    )


async def _explain(request: Request, problem: Exception) -> Response:
    """Every error as a sentence; one that nobody foresaw stands in the log, and stays there."""
    if isinstance(problem, RequestValidationError):
        problem = InvalidMessage("A request must have the fields that PySyft's client sends.")
    if isinstance(problem, ConsiliumError):
        return bulk.error_response(problem)
    return JSONResponse({"error": "ConsiliumError", "sentence": FAILED}, status_code=500)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRequest:
    """A researcher's code request as it stands at the front desk."""

    id: str
    researcher: str
    code: str
    status: str

    @property
    def plan_hash(self) -> str:
        """The plan that it is for; raise `NotApproved` if its code is not a traveller."""
        return traveller.plan_hash_of(self.code)


class OwnerSession:
    """The owner, logged in at the own front desk over HTTP."""

    def __init__(self, site: Site) -> None:
        settings = site.settings()
        password = keeping.read_kept(site.owner / "password").decode("ascii")
        try:
            self._client = syft.login(
                url=settings.url, email=owner_email(settings.name), password=password
            )
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
