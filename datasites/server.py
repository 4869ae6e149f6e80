"""The front desk: a real PySyft datasite behind two chokepoints.

The only file of this room that imports PySyft. `build` makes the hospital's HTTP
application: PySyft's own routes, filtered, with our bulk routes beside them.
`OwnerSession` is the owner's side of the same protocol, for notebooks and commands.

Guarantee: PySyft answers only the calls on a role's list below, never from its queue,
    never to a guest or to the root key; no code runs but the thin traveller of a plan,
    byte for byte. What PySyft holds of an asset is a handle.
Does not protect: against whoever owns this process. That is what the vault is for.
"""

import os
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from nacl.signing import SigningKey

from datasites import bulk, door, keeping
from datasites.blobs import Blobs
from datasites.site import Site
from syft_code import canonical, traveller
from syft_code.catalogue import AssetCard
from syft_code.errors import ConsiliumError, InvalidMessage, NotApproved, Refused, Unavailable
from syft_code.quiet import quiet_import, silence

with quiet_import():
    import syft
    from syft.server.credentials import SyftSigningKey, SyftVerifyKey
    from syft.server.datasite import Datasite
    from syft.server.routes import make_routes
    from syft.server.uvicorn import get_lifetime
    from syft.service.action import action_service
    from syft.service.context import AuthedServiceContext
    from syft.service.response import SyftError
    from syft.service.user.user_roles import ServiceRole
    from syft.store.blob_storage.on_disk import (
        OnDiskBlobStorageClientConfig,
        OnDiskBlobStorageConfig,
    )
    from syft.store.db.sqlite import SQLiteDBConfig
    from syft.types.errors import SyftException
    from syft.types.uid import UID

silence("syft")

MAX_CALL_BYTES = 8 * 2**20
PREFIX = "/api/v2"
OPEN_ROUTES = {"/", "/metadata", "/api", "/api_call", "/login"}
"""What is left of PySyft's HTTP routes: no sign-up, no password reset, no streams."""

_MEMBER_CALLS = {
    "user.get_current_user",
    "metadata.get_metadata",
    "dataset.get_all",
    "dataset.get_by_id",
    "action.get_mock",
    "request.get_all",
    "notifications.resolve_object",
}
ALLOWED_CALLS: dict[ServiceRole, set[str]] = {
    ServiceRole.DATA_SCIENTIST: _MEMBER_CALLS
    | {
        "code.request_code_execution",
        "code.call",
        "code.get_all",
        "action.set",
        "action.get",
        "action.has_storage_permission",
    },
    ServiceRole.DATA_OWNER: _MEMBER_CALLS
    | {"action.set", "dataset.add", "request.apply", "request.undo", "user.create", "code.get_all"},
}
"""Every call that is answered, by role. Nothing else is: not for guests, not for the root key."""


class FrontDesk(Datasite):  # type: ignore[misc]
    """PySyft's datasite with one chokepoint for calls; the one for code is `_guarded`."""

    def handle_api_call_with_unsigned_result(
        self, api_call: Any, job_id: Any = None, check_call_location: bool = True
    ) -> Any:
        """Answer a call if its sender's role may make it; say no in words if not."""
        try:
            self._check(api_call)
            return super().handle_api_call_with_unsigned_result(
                api_call, job_id, check_call_location
            )
        except SyftException as problem:
            return SyftError(message=problem.public_message)
        except ConsiliumError as problem:
            return SyftError(message=str(problem))

    def role_of(self, account: str) -> ServiceRole:
        """The role of an account key (hex); the root key counts as a guest from outside."""
        key = SyftVerifyKey.from_string(account)
        if key == self.verify_key:
            return ServiceRole.GUEST
        return self.get_role_for_credentials(credentials=key)

    def _check(self, api_call: Any) -> None:
        call = getattr(api_call, "message", None)
        if call is None or not api_call.is_valid:
            raise Refused("A call must be signed by the account that makes it: log in again.")
        role = self.role_of(str(api_call.credentials))
        if call.path not in ALLOWED_CALLS.get(role, set()):
            raise Refused(
                f"This front desk does not answer {call.path!r} to a {role.name.lower()}: use "
                "federation.study (researchers) or datasites.owner (owners)."
            )
        if not call.blocking or call.server_uid != self.id:
            raise Refused("This front desk has no queue and no peers: send a blocking call to it.")
        if call.path == "code.request_code_execution":
            _check_submission([*call.args, *call.kwargs.values()])
        if call.path == "user.create" and call.kwargs.get("role") != ServiceRole.DATA_SCIENTIST:
            raise Refused("An owner can invite researchers (DATA_SCIENTIST) and nobody else.")


def _check_submission(arguments: list[Any]) -> None:
    """A code request carries the thin traveller and nothing else."""
    codes = [argument.code for argument in arguments if hasattr(argument, "code")]
    if len(codes) != 1:
        raise NotApproved("A code request must carry one function, the plan's thin traveller.")
    traveller.plan_hash_of(codes[0])


def _guarded(execute: Callable[..., Any]) -> Callable[..., Any]:
    """The chokepoint for code: PySyft's execution, for the thin traveller alone."""

    def execute_byte_code(code_item: Any, kwargs: Any, context: Any) -> Any:
        traveller.plan_hash_of(code_item.raw_code)
        return execute(code_item, kwargs, context)

    return execute_byte_code


def build(site: Site) -> FastAPI:
    """The front desk of one hospital as an HTTP application, with its owner's account made."""
    os.environ[door.HOME_VARIABLE] = str(site.home)
    os.environ["SYFT_TEMP_ROOT"] = str(site.desk)
    desk = _start(site)
    _ensure_owner(desk, site)
    action_service.execute_byte_code = _guarded(action_service.execute_byte_code)
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
    app.add_exception_handler(ConsiliumError, _explain)
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
    router: APIRouter = make_routes(worker=desk)
    router.routes = [r for r in router.routes if getattr(r, "path", "") in OPEN_ROUTES]
    return router


def _is_member(desk: FrontDesk, account: str) -> bool:
    return desk.role_of(account) in ALLOWED_CALLS


def _limit(desk: FrontDesk) -> Callable[..., Awaitable[Response]]:
    """Before PySyft reads a request: its size, and whom an API listing is for."""

    async def limit(request: Request, call_next: Callable[..., Awaitable[Response]]) -> Response:
        path = request.url.path
        if path.startswith(PREFIX):
            size = request.headers.get("content-length", "0" if request.method == "GET" else "")
            if not size.isdigit() or int(size) > MAX_CALL_BYTES:
                return bulk.error_response(
                    InvalidMessage(
                        f"A call must announce its size, at most {MAX_CALL_BYTES} bytes."
                    )
                )
            key = request.query_params.get("verify_key", "")
            if path == f"{PREFIX}/api" and not _is_member_key(desk, key):
                return bulk.error_response(
                    Refused("Only members may list this front desk's calls.")
                )
        return await call_next(request)

    return limit


def _is_member_key(desk: FrontDesk, key: str) -> bool:
    try:
        return _is_member(desk, key)
    except ValueError:
        return False


async def _explain(request: Request, problem: Exception) -> Response:
    if not isinstance(problem, ConsiliumError):
        raise problem
    return bulk.error_response(problem)


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
