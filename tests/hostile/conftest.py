"""A plain PySyft datasite and one of our hospitals, side by side, and an attacker's tools."""

import functools
import inspect
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from nacl.signing import SigningKey

from datasites import site, site_processes
from datasites.owner.owner import Owner
from datasites.owner.publishing import Declaration
from datasites.review.evidence import Evidence
from datasites.site import Site, SiteSettings
from federation.researcher.storage import joining
from federation.researcher.syft_client import HospitalClient
from syft_code.evidence import http_signatures
from syft_code.operation.process_spec import ProcessSpec
from syft_code.operation.supervisor import running
from syft_code.plans import traveller
from syft_code.plans.plan import Plan
from syft_code.plans.roster import Hospital
from syft_code.runtime.quiet_imports import quiet_import
from tests.conftest import free_ports
from tests.datasites.hospitals import POLICY, cohort
from tests.hostile.plain_site import ROOT_EMAIL, ROOT_PASSWORD
from tests.plans import SKIN, Keys, parties, plan

with quiet_import():
    import syft
    from syft.client.api import SyftAPICall
    from syft.serde.deserialize import _deserialize
    from syft.serde.recursive import recursive_scheme
    from syft.serde.serialize import _serialize
    from syft.server.credentials import SyftSigningKey
    from syft.service.action.action_object import ActionObject
    from syft.service.code.user_code import SubmitUserCode
    from syft.service.policy.policy import MixedInputPolicy, OutputPolicyExecuteOnce
    from syft.service.response import SyftError
    from syft.service.user.user_roles import ServiceRole
    from syft.types.errors import SyftException
    from syft.types.uid import UID

PRIVATE_AGES, PUBLIC_AGES = np.array([41.0, 52.0, 63.0]), np.ones(3)


HTTP = httpx.Client(trust_env=False, timeout=60, limits=httpx.Limits(max_keepalive_connections=0))
"""One for all tests (a new one loads the system's certificates), a connection for each call."""


def pack(value: Any) -> bytes:
    """Pack a value as PySyft does."""
    data: bytes = _serialize(value, to_bytes=True)
    return data


def pack_blob(name: str, blob: bytes) -> bytes:
    """Pack a blob under the name of any type."""
    message = recursive_scheme.new_message()
    message.canonicalName, message.version = name, 1
    message.init("nonrecursiveBlob", 1)
    message.nonrecursiveBlob[0] = blob
    return bytes(message.to_bytes())


def pack_fields(name: str, fields: list[tuple[str, bytes]], version: int = 1) -> bytes:
    """Pack fields (already packed) under the name of any type."""
    message = recursive_scheme.new_message()
    message.canonicalName, message.version = name, version
    message.init("fieldsName", len(fields))
    message.init("fieldsData", len(fields))
    for i, (field, data) in enumerate(fields):
        message.fieldsName[i] = field
        message.fieldsData.init(i, 1)[0] = data
    return bytes(message.to_bytes())


def pack_signed(key: SyftSigningKey, message: bytes) -> bytes:
    """An envelope with a right signature around any bytes."""
    return pack_fields(
        "SignedSyftAPICall",
        [
            ("credentials", pack(key.verify_key)),
            ("serialized_message", pack(message)),
            ("signature", pack(key.signing_key.sign(message).signature)),
        ],
    )


def pack_call(key: SyftSigningKey, server: UID, path: str, arguments: bytes) -> bytes:
    """A right call in a right envelope, but for its arguments, which are packed already."""
    fields = [
        ("server_uid", pack(server)),
        ("path", pack(path)),
        ("args", arguments),
        ("kwargs", pack({})),
        ("blocking", pack(True)),
    ]
    return pack_signed(key, pack_fields("SyftAPICall", fields))


def new_key() -> SyftSigningKey:
    """A key that no account has: a guest's."""
    return SyftSigningKey.generate()


def value_object(value: Any, uid: UID | None = None) -> ActionObject:
    """A value as `action.set` takes it."""
    held = ActionObject.from_obj(value)
    held.syft_action_saved_to_blob_store = False
    if uid is not None:
        held.id = uid
    return held


def submission(
    client: Any, text: str, name: str, inputs: dict[str, Any], **changes: Any
) -> SubmitUserCode:
    """A code request as PySyft's own decorator writes it, with some fields replaced."""
    parameters = [
        inspect.Parameter(each, inspect.Parameter.POSITIONAL_OR_KEYWORD) for each in inputs
    ]
    fields: dict[str, Any] = {
        "code": text,
        "func_name": name,
        "signature": inspect.Signature(parameters),
        "input_policy_type": MixedInputPolicy,
        "input_policy_init_kwargs": MixedInputPolicy(**inputs, client=client).init_kwargs,
        "output_policy_type": OutputPolicyExecuteOnce,
        "output_policy_init_kwargs": {},
        "input_kwargs": list(inputs),
    }
    return SubmitUserCode(**(fields | changes))


@dataclass(frozen=True, slots=True)
class Desk:
    """A datasite's HTTP side, spoken to without any of PySyft's clients.

    Of ours a head may be signed, by `member`: then the call must be the member's, too.
    """

    url: str
    member: SigningKey | None = None

    def metadata(self) -> dict[str, Any]:
        found: dict[str, Any] = HTTP.get(f"{self.url}/api/v2/metadata").json()
        return found

    @property
    def uid(self) -> UID:
        return _uid(self.url)

    def post(self, data: bytes) -> httpx.Response:
        """Send packed bytes as a call."""
        path = "/api/v2/api_call"
        head = http_signatures.headers(self.member, "POST", path, data) if self.member else {}
        return HTTP.post(self.url + path, content=data, headers=head)

    def sign(
        self,
        key: SyftSigningKey,
        path: str,
        *args: Any,
        blocking: Any = True,
        server: UID | None = None,
        **kwargs: Any,
    ) -> bytes:
        """A call, signed and packed."""
        call = SyftAPICall(
            server_uid=server or self.uid,
            path=path,
            args=list(args),
            kwargs=kwargs,
            blocking=blocking,
        )
        return pack(call.sign(key))

    def call(self, key: SyftSigningKey, path: str, *args: Any, **options: Any) -> Any:
        """Make a call and unpack its answer."""
        return unpack(self.post(self.sign(key, path, *args, **options)))


@functools.cache
def _uid(url: str) -> UID:
    return UID.from_string(Desk(url).metadata()["id"])


def unpack(response: httpx.Response) -> Any:
    """What a datasite answered inside its signature."""
    assert response.status_code == 200, response.text[:300]
    return _deserialize(response.content, from_bytes=True).message.data


def refusal(answer: Any) -> str:
    """The sentence of an answer that must be a refusal, in words and without a traceback."""
    assert isinstance(answer, SyftError), answer
    assert "Traceback" not in f"{answer.message}{answer.tb}"
    assert "unexpected" not in answer.message
    assert answer.tb is None
    return str(answer.message)


def sentence(response: httpx.Response) -> str:
    """The sentence of an HTTP answer beside PySyft that must be a refusal."""
    assert response.status_code in (400, 403, 503), (response.status_code, response.text[:300])
    told: dict[str, str] = response.json()
    assert set(told) == {"error", "sentence"}
    assert "Traceback" not in told["sentence"]
    return told["sentence"]


@dataclass(frozen=True, kw_only=True)
class PlainSite:
    """The plain datasite: its folder, one private asset, its root, one researcher."""

    home: Path
    desk: Desk
    queue_port: int
    root: Any
    alice: Any

    @property
    def private_uid(self) -> UID:
        return self.alice.datasets.get_all()[0].assets[0].action_id

    def requested(self, code: SubmitUserCode) -> Any:
        """Alice's code request for a function, as the site keeps it.

        A busy plain site answers a call now and then with "Something unexpected happened": asked again,
        it says that the request is there or takes it.
        """
        for trial in range(5):
            try:
                self.alice.code.request_code_execution(code)
            except SyftException as error:
                assert trial < 4, error.server_trace
                time.sleep(1)
            found = [r for r in self.alice.requests.get_all() if r.code.raw_code == code.code]
            if found:
                return found[0]
        raise AssertionError("the plain site took the request and doesn't show it")


@dataclass(frozen=True, kw_only=True)
class OurSite:
    """Our hospital: one published asset, one approved plan, one pending one, two researchers."""

    site: Site
    desk: Desk
    owner: Owner
    alice: HospitalClient
    bob: HospitalClient
    keys: Keys
    agreed: Plan
    pending: Plan

    @property
    def alice_key(self) -> SyftSigningKey:
        return self.alice._client.credentials

    @property
    def bob_key(self) -> SyftSigningKey:
        return self.bob._client.credentials

    @property
    def owner_account(self) -> SyftSigningKey:
        return self.owner._session._client.credentials

    @property
    def owner_key(self) -> SigningKey:
        return SigningKey((self.site.owner / "key").read_bytes())

    @property
    def asset(self) -> Any:
        return self.alice._client.datasets.get_all()[0].assets[0]

    def evidence(self, plan: Plan) -> Evidence:
        """What the owner sees of the request for a plan; no other one is weighed."""
        (found,) = [e for e in self.owner.submitted() if e.request.plan_hash == plan.hash]
        return self.owner.weigh(found)

    def request(self, name: str) -> Any:
        """Alice's code request for a function, as PySyft keeps it."""
        (found,) = [
            request
            for request in self.alice._client.requests.get_all()
            if request.code.service_func_name == name
        ]
        return found


def joined(ours: OurSite, email: str) -> str:
    """The password of a new researcher's account."""
    return joining.accept(ours.owner.invite(email), SigningKey.generate()).password


def travelling(ours: OurSite, wanted: Plan, **changes: Any) -> SubmitUserCode:
    """The code request of a plan, with some fields replaced."""
    text, name = traveller.source(wanted.hash), traveller.function_name(wanted.hash)
    inputs = {"patients": ours.asset, "call": str}
    return submission(ours.alice._client, text, name, inputs, **changes)


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Desk, int]]:
    """Both sites' processes, started side by side: our folder, the plain desk, its queue's port."""
    folder = tmp_path_factory.mktemp("hostile")
    port = free_ports(3)
    ours = site.create(folder / "north", SiteSettings(name="north", port=port))
    plain = _plain_party(folder / "plain", port + 1, "--queue-port", str(port + 2))
    with running([*site_processes.parties(ours), plain], start_timeout_s=180):
        yield ours, Desk(f"http://127.0.0.1:{plain.port}"), port + 2
        HTTP.close()


@contextmanager
def plain_site_of_its_own(folder: Path, *options: str) -> Iterator[PlainSite]:
    """Another plain datasite, without a queue: for attacks that leave it broken."""
    party = _plain_party(folder, free_ports(1), *options)
    with running([party], start_timeout_s=90):
        yield _furnished(folder, Desk(f"http://127.0.0.1:{party.port}"))


def _plain_party(home: Path, port: int, *options: str) -> ProcessSpec:
    def healthy() -> bool:
        try:
            return HTTP.get(f"http://127.0.0.1:{port}/api/v2/", timeout=2).is_success
        except httpx.TransportError:
            return False

    return ProcessSpec(
        name="the plain site",
        module="tests.hostile.plain_site",
        arguments=("--home", str(home), "--port", str(port), *options),
        healthy=healthy,
        log_path=home.with_suffix(".log"),
        port=port,
    )


@pytest.fixture(scope="session")
def plain(started: tuple[Site, Desk, int]) -> PlainSite:
    """The plain datasite with an asset and a researcher."""
    home, desk, queue_port = started
    return _furnished(home.home.with_name("plain"), desk, queue_port)


def _furnished(home: Path, desk: Desk, queue_port: int = 0) -> PlainSite:
    root = syft.login(url=desk.url, email=ROOT_EMAIL, password=ROOT_PASSWORD)
    ages = syft.Asset(name="ages", data=PRIVATE_AGES, mock=PUBLIC_AGES)
    root.upload_dataset(syft.Dataset(name="patients", asset_list=[ages]))
    email, password = "alice@example.org", "alices-password"
    root.users.create(
        name=email,
        email=email,
        password=password,
        password_verify=password,
        role=ServiceRole.DATA_SCIENTIST,
    )
    alice = syft.login(url=desk.url, email=email, password=password)
    return PlainSite(home=home, desk=desk, queue_port=queue_port, root=root, alice=alice)


@pytest.fixture(scope="session")
def ours(started: tuple[Site, Desk, int]) -> Iterator[OurSite]:
    """Our hospital with an asset, two researchers, an approved and a pending plan."""
    home, _, _ = started
    owner = Owner(home.home)
    owner.adopt_policy(POLICY)
    card = owner.publish(
        cohort(), spec=SKIN, asset="skin-lesions", declared=Declaration(patients=30)
    )
    keys = Keys()
    entry = Hospital(
        name="north",
        verify_key=card.verify_key,
        asset=card.asset,
        asset_version=card.version,
        patients=card.patients,
    )
    others = plan(keys).hospitals[1:]
    agreed, pending = (
        plan(keys, study=study, hospitals=(entry, *others)) for study in ("agreed", "pending")
    )
    for party in parties(agreed):
        owner.add_party(party, words=party.words)
    alice, bob = (
        HospitalClient(joining.accept(owner.invite(email), SigningKey.generate()))
        for email in ("alice@example.org", "bob@example.org")
    )
    alice.submit(agreed)
    owner.approve(owner.requests()[0])
    alice.submit(pending)
    yield OurSite(
        site=home,
        desk=Desk(owner.settings.url),
        owner=owner,
        alice=alice,
        bob=bob,
        keys=keys,
        agreed=agreed,
        pending=pending,
    )
    alice.close()
    bob.close()
