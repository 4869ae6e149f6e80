"""The front desk: a real PySyft datasite behind two chokepoints.

The only file of this room that imports PySyft. `build` makes the hospital's HTTP
application: PySyft's own routes, filtered, with our blob routes beside them.
The owner's side of the same protocol is `datasites/owner/syft_session.py`.

    bytes ─▶ guard: signature, types ─▶ role's list ─▶ PySyft unpacks ─▶ arguments ─▶ PySyft acts

Guarantee: PySyft answers only the calls on a role's list (`allowlist`), never from its queue,
    never to a guest or to the root key, and unpacks nothing else. Text that a researcher
    sent is compared with the thin traveller of a plan and never executed. What PySyft
    holds of an asset is a handle. A researcher can't tell a denied request from a pending one.
Does not protect: against an attacker who owns this process. The vault does.
"""

import logging
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from nacl.signing import SigningKey
from pydantic import ValidationError

from datasites import private_files
from datasites.desk import allowlist, entrypoint, status_masking
from datasites.desk.deserialization_guard import DeserializationGuard, Packing
from datasites.desk.storage.security_log import SecurityLog
from datasites.desk.storage.store_quota import StoreQuota
from datasites.desk.storage.ticket_owners import TicketOwners
from datasites.desk.web import http_app
from datasites.desk.web.login import Logins
from datasites.desk.web.middleware import FAILED, LOG
from datasites.desk.web.rate_limit import LoginRateLimit
from datasites.protocol.code_request import CodeRequest, CodeRequests
from datasites.site import Site, owner_email
from syft_code.errors import ConsiliumError, Refused, require
from syft_code.operation import json_logs
from syft_code.plans import messages, traveller
from syft_code.plans.messages import RoundCall
from syft_code.runtime import trace
from syft_code.runtime.quiet_imports import pysyft_imported, silence

with pysyft_imported():
    import capnp
    from syft.client.api import SyftAPIData
    from syft.protocol.data_protocol import get_data_protocol
    from syft.serde.deserialize import _deserialize
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
    from syft.service.user.user import (
        User,
        UserCreate,
        UserPrivateKey,
        check_pwd,
        salt_and_hash_password,
    )
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
HASH_ROUNDS = 12
"""Of bcrypt, as PySyft hashes passwords."""
_FRAME = re.compile(r"File \"[^\"\n]*\", line [0-9]+, in \w+")
"""What of a traceback quotes nothing that was sent."""
NONSENSE = (
    "PySyft could not act on this call as it stands: use federation.researcher.study (researchers) or "
    "datasites.owner.owner (owners)."
)
EXPECTED = allowlist.Expected(
    input_policy=MixedInputPolicy,
    output_policy=OutputPolicyExecuteOnce,
)


def _fields(name: str, version: int) -> set[str]:
    """The fields that PySyft packs of a type's version, none if it does not know it."""
    if not SyftObjectRegistry.has_serde_class(name, version):
        return set()
    return SyftObjectRegistry.get_serde_properties(name, version)[3] or set()


INTAKE = DeserializationGuard(
    Packing(
        one=capnp.load(str(Path(__file__).with_name("packed_object.capnp"))).PackedObject,
        many=iterable_schema,
        pairs=kv_iterable_schema,
        fields=_fields,
    )
)

for _name in ("_GenericAlias", "_UnionGenericAlias"):
    # Unpacking one of these calls a function of the sender's choice; the owner's client
    # unpacks too, and nothing that it needs holds them.
    SyftObjectRegistry.__object_serialization_registry__.pop(_name, None)


class FrontDesk(Datasite):  # type: ignore[misc]
    """PySyft's datasite with one chokepoint for calls; the one for code is `_run_traveller`."""

    site: Site
    refusals: SecurityLog
    stored: StoreQuota
    tickets: TicketOwners

    def answer(self, data: bytes, signer: str | None) -> bytes:
        """Answer a packed call if its sender's role may make it; say no in words if not.

        `signer` is the account key (hex) that signed the request's head, if one did.
        """
        with trace.span("desk: a PySyft call"):
            return self._answer(data, signer)

    def _answer(self, data: bytes, signer: str | None) -> bytes:
        account = path = ""
        try:
            call = INTAKE.open(data)
            account, path = call.account, call.path
            require(
                signer in (None, account),
                "A call must be of the account that signed its head: log in again.",
                error=Refused,
            )
            role = self.role_of(account).name
            INTAKE.check(call, allowed=allowlist.allowed_types(path, role=role))
            if role == allowlist.RESEARCHER and path in allowlist.STORED:
                self.stored.charge(account, call.message)
            result = self.handle_api_call(_deserialize(data, from_bytes=True))
        except ConsiliumError as problem:
            if path not in allowlist.UNASKED:
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
        allowlist.check_arguments(call, EXPECTED)
        result = super().handle_api_call_with_unsigned_result(api_call, job_id, check_call_location)
        if isinstance(result, SyftError) and (result.tb or UNEXPECTED in result.message):
            where = "; ".join(_FRAME.findall(result.tb or ""))
            LOG.warning("PySyft failed at %s: %s", call.path, where)
            return SyftError(message=NONSENSE)
        if call.path == "request.undo":
            self._close([*call.args, *call.kwargs.values()])
        if isinstance(result, SyftError) or not self._is_researcher(api_call.credentials):
            return result
        if call.path == "request.get_all":
            result.value = [self._as_researcher_sees(request) for request in result.value]
        if call.path == "code.request_code_execution":
            self._offer(allowlist.submitted_code([*call.args, *call.kwargs.values()]), result.value)
        return result

    def role_of(self, account: str) -> ServiceRole:
        """The role of an account key (hex); the root key counts as a guest from outside."""
        key = SyftVerifyKey.from_string(account)
        if key == self.verify_key:
            return ServiceRole.GUEST
        return self.get_role_for_credentials(credentials=key)

    def most_call_bytes(self, account: str) -> int:
        """How large a call of an account key (hex) may be; 0 if it is nobody's here."""
        return allowlist.MOST_CALL_BYTES.get(self.role_of(account).name, 0)

    def has_submitted(self, account: str, plan_hash: str) -> bool:
        """Whether an account (hex) has a code request for a plan."""
        key = SyftVerifyKey.from_string(account)
        code_hash = get_code_hash(traveller.source(plan_hash), key)
        find = self.services.user_code.stash.get_by_code_hash
        return _found(lambda: find(self.verify_key, code_hash)) is not None

    def requests_for(self, account: str) -> CodeRequests:
        """Every code request, oldest first, for the account (hex) of the owner."""
        self.require_owner(account)
        found = self.services.request.stash.get_all(self.verify_key).unwrap()
        return CodeRequests(
            requests=tuple(
                CodeRequest(
                    id=str(request.id),
                    researcher=str(request.requesting_user_email),
                    code=self._code_of(request).raw_code,
                    status=request.get_status(self.root).name.lower(),
                )
                for request in sorted(found, key=lambda one: one.request_time.utc_timestamp)
            )
        )

    def require_owner(self, account: str) -> None:
        """Raise `Refused` unless an account key (hex) is the owner's."""
        require(
            self.role_of(account).name == allowlist.OWNER,
            "Only the owner may list every code request, read its plan and ask about it: a "
            "researcher sees the own ones in PySyft.",
            error=Refused,
        )

    def user_of(self, email: str) -> User | None:
        """The user of an e-mail, None if there is none."""
        return _found(lambda: self.services.user.stash.get_by_email(self.verify_key, email))

    @property
    def root(self) -> AuthedServiceContext:
        """The desk's own right to do what the vault or its start asks for."""
        return AuthedServiceContext(
            server=self, credentials=self.verify_key, role=ServiceRole.ADMIN
        )

    def require_new(self, email: str) -> None:
        """Raise `Refused` if an e-mail has an account, or PySyft takes it for none."""
        require(
            self._researcher(email) is None,
            "An e-mail that is invited must have no account here, and this one has: remove the account first, "
            "or invite another e-mail.",
            error=Refused,
        )
        try:
            known = _researchers(email, secrets.token_urlsafe(24)).email
        except ValidationError:
            known = ""
        require(
            known == email,
            "A researcher must be invited by an e-mail address of the internet, as PySyft writes it: in lower-case "
            "letters, with a domain that exists outside.",
            error=Refused,
        )

    def add_account(self, email: str, password: str) -> None:
        """Make a researcher's account.

        Raises:
            Refused: if the e-mail has one.
        """
        self.require_new(email)
        self._add(_researchers(email, password).to(User))

    def remove_account(self, email: str) -> bool:
        """Take a researcher's account away: its password and its key are nobody's from now on.

        Raises:
            Refused: if the account is not a researcher's.
        """
        known = self._researcher(email)
        if known is not None:
            self.services.user.stash.delete_by_uid(self.verify_key, known.id).unwrap()
        return known is not None

    def _researcher(self, email: str) -> Any:
        """The account of an e-mail, None if there is none; raise `Refused` if it is no researcher's."""
        known = self.user_of(email)
        require(
            known is None or known.role == ServiceRole.DATA_SCIENTIST,
            "An invitation can be for a researcher alone: name another e-mail.",
            error=Refused,
        )
        return known

    def _add(self, user: User) -> None:
        self.services.user._add_user(self.verify_key, user).unwrap()

    def pack_login(self, user: User) -> bytes:
        """What a user gets who logged in: the account's key, packed."""
        return _pack(user.to(UserPrivateKey))

    def pack_error(self, sentence: str) -> bytes:
        """A sentence that PySyft's client shows in place of a login, packed."""
        return _pack(SyftError(message=sentence))

    def protocols(self) -> set[str]:
        """The versions of PySyft's protocol that are spoken here."""
        return {str(known) for known in get_data_protocol().supported_protocols}

    def _as_researcher_sees(self, request: Any) -> Any:
        """A request that is approved only if the vault holds its plan in force."""

        def in_force() -> bool:
            code = self._code_of(request)
            return code is not None and entrypoint.is_in_force(self.site, code.raw_code)

        return status_masking.without_denial(request, in_force=in_force)

    def _code_of(self, request: Any) -> Any:
        """The code that a request asks to run, None if it is gone."""
        link = request.changes[0].linked_user_code.object_uid
        return _found(lambda: self.services.user_code.stash.get_by_uid(self.verify_key, uid=link))

    def _close(self, arguments: list[Any]) -> None:
        """After an owner's "no": the plan's rounds must come through PySyft again."""
        for uid in (one for one in arguments if isinstance(one, UID)):
            request = self.services.request.stash.get_by_uid(self.verify_key, uid=uid)
            code = self._code_of(request.unwrap())
            if code is not None:
                self.tickets.close_plan(traveller.plan_hash_of(code.raw_code))

    def _offer(self, code: Any, request: Any) -> None:
        """Approve a new request if the vault says that a standing approval covers its plan."""
        if entrypoint.offer_plan(self.site, traveller.plan_hash_of(code.code)):
            try:
                self.services.request.apply(context=self.root, uid=request.id)
            except SyftException:
                LOG.exception("a request that a standing approval covers was not approved")

    def _is_researcher(self, key: SyftVerifyKey) -> bool:
        return bool(self.get_role_for_credentials(credentials=key).name == allowlist.RESEARCHER)

    def pack_no(self, sentence: str) -> bytes:
        """A sentence that PySyft's client shows in place of a call's answer, packed."""
        return _pack(self._no(sentence))

    def _no(self, sentence: str) -> Any:
        return SyftAPIData(data=SyftError(message=sentence)).sign(self.signing_key)


def _account(email: str, password: str, role: ServiceRole) -> UserCreate:
    return UserCreate(
        name=email, email=email, password=password, password_verify=password, role=role
    )


def _researchers(email: str, password: str) -> UserCreate:
    return _account(email, password, ServiceRole.DATA_SCIENTIST)


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
    """In place of PySyft's message, which would distinguish a denied code from a pending one."""
    if not status.get_is_approved(context):
        status = status_masking.as_pending(status, ApprovalDecision(status=UserCodeStatus.PENDING))
    message: str = _status_message(status, context)
    return message


def _run_traveller(code_item: Any, kwargs: dict[str, Any], context: Any) -> Any:
    """In place of PySyft's `exec`: make the one call that the traveller's text spells.

    PySyft would run what it has derived from the text and from the names beside it.
    """
    plan_hash = traveller.plan_hash_of(code_item.raw_code)
    result = entrypoint.start_round(
        patients=kwargs["patients"], plan_hash=plan_hash, call=str(kwargs["call"])
    )
    ticket, account = entrypoint.ticket_of(result), str(context.credentials)
    if ticket is not None:
        call = messages.claimed(RoundCall, entrypoint.signed_call(str(kwargs["call"])))
        context.server.tickets.give(ticket, account, call)
        context.server.tickets.open_plan(plan_hash, account)
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
    into = json_logs.handler(site.desk / "desk.log")
    for name in (*json_logs.OURS, "uvicorn"):  # PySyft has taken the root logger's
        logging.getLogger(name).addHandler(into)
    os.environ[entrypoint.HOME_VARIABLE] = str(site.home)
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
    return http_app.build(app, desk, pysyft=make_routes(worker=desk), logins=_logins(desk))


def _start(site: Site) -> FrontDesk:
    """The datasite, with a name, id and key of its own that outlive a restart."""
    settings = site.settings()
    key = private_files.signing_key(site.desk / "key")
    desk = FrontDesk(
        name=settings.name,
        id=UID(site.desk_uid),
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
            min_blob_size=allowlist.MOST_CALL_BYTES[allowlist.OWNER]
            // 2**20,  # in MiB: whatever fits a call stays in it
        ),
    )
    desk.site, desk.refusals = site, SecurityLog(site.desk)
    desk.stored = StoreQuota(site.desk / "stored")
    desk.tickets = TicketOwners(site.desk / "tickets")
    return desk


def _ensure_owner(desk: FrontDesk, site: Site) -> None:
    """At the first start: an account with the password and the key that the owner has chosen.

    They come in a file of the desk's own, which is deleted: PySyft keeps a hash of the password.
    """
    email = owner_email(desk.name)
    if desk.user_of(email) is None:
        chosen = site.new_account()
        user = _account(email, chosen.password, ServiceRole.DATA_OWNER).to(User)
        key = SigningKey(bytes.fromhex(chosen.signing_key))
        user.signing_key = SyftSigningKey(signing_key=key)
        user.verify_key = user.signing_key.verify_key
        desk._add(user)
    site.desk_account.unlink(missing_ok=True)


def _logins(desk: FrontDesk) -> Logins[User]:
    """Log-ins against PySyft's accounts; the hash for unknown e-mails is made like theirs."""
    _, hashed = salt_and_hash_password(secrets.token_urlsafe(32), HASH_ROUNDS)
    return Logins(
        user_of=desk.user_of,
        hash_of=lambda user: user.hashed_password,
        matches=check_pwd,
        nobodys_hash=hashed,
        throttle=LoginRateLimit(spared={owner_email(desk.name)}),
        log=desk.refusals,
    )
