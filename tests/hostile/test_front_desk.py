"""What an outsider, a researcher or a wicked owner can do at our front desk: nothing more.

One real hospital, spoken to over HTTP without PySyft's clients: its accounts' lists of
calls, its HTTP routes, what it unpacks, code requests, values, and other people's things.
"""

import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasites.desk.allowlist import ALLOWED_CALLS, MOST_CALL_BYTES, OWNER, RESEARCHER
from datasites.desk.web.http_app import FRONT_PAGE
from federation.transport.growing_file import GrowingFile
from syft_code.errors import NotApproved
from syft_code.evidence import http_signatures
from syft_code.local_training import local_round
from syft_code.plans import messages, traveller
from syft_code.plans.messages import RoundCall
from syft_code.runtime.quiet_imports import quiet_import
from tests.hostile.conftest import (
    HTTP,
    OurSite,
    new_key,
    pack,
    pack_blob,
    pack_call,
    pack_fields,
    pack_signed,
    refusal,
    travelling,
    unpack,
    value_object,
)
from tests.plans import plan

with quiet_import():
    from syft.client.api import SyftAPICall
    from syft.serde.recursive_primitives import iterable_schema
    from syft.server.credentials import SyftSigningKey
    from syft.service.action.action_object import ActionObject, TwinMode
    from syft.service.code.user_code import UserCode
    from syft.service.policy.policy import (
        Constant,
        EmpyInputPolicy,
        ExactMatch,
        OutputPolicyExecuteCount,
        SubmitUserPolicy,
    )
    from syft.service.response import SyftSuccess
    from syft.service.service import ServiceConfigRegistry
    from syft.store.linked_obj import LinkedObject
    from syft.types.twin_object import TwinObject
    from syft.types.uid import UID

pytestmark = pytest.mark.timeout(300)

PATHS = [
    *sorted(ServiceConfigRegistry.__service_config_registry__),
    "queue",
    "metadata",
    "requestservice.apply",
    "userservice.create",
    "code.__class__",
    "",
    "..",
    "\x00",
    "user.create ",
]


def test_the_approved_call_of_the_researcher_runs(ours: OurSite) -> None:
    weights = local_round.first_weights(ours.agreed)
    name = ours.alice.bulk.upload(weights.astype("<f4").tobytes())
    call = RoundCall(
        plan_hash=ours.agreed.hash, hospital="north", purpose="train", round=1, weights_sha256=name
    )
    ticket = ours.alice.start_round(ours.agreed, messages.sign(call, ours.keys.researcher))
    deadline = time.monotonic() + 90
    ticket = ours.alice.bulk.ticket(ticket.ticket)  # which has the shares put there, if it is done
    while ticket.state not in ("done", "failed"):
        assert time.monotonic() < deadline
        ticket = ours.alice.bulk.ticket(ticket.ticket)
    assert ticket.state == "done", ticket.sentence
    with GrowingFile() as file:
        ours.alice.bulk.download(ticket.shares[0], file, limit_bytes=10**6)
        assert file.size_bytes > 0


# Who may call what


def test_pysyft_registers_many_paths() -> None:
    assert len(PATHS) > 150


@pytest.mark.parametrize("who", ["a guest", "the root key", "a researcher", "the owner"])
def test_every_path_outside_a_roles_list_is_refused_in_words(ours: OurSite, who: str) -> None:
    root = SyftSigningKey.from_string((ours.site.desk / "key").read_bytes().hex())
    keys = {
        "a guest": (new_key(), set()),
        "the root key": (root, set()),
        "a researcher": (ours.alice_key, set(ALLOWED_CALLS[RESEARCHER])),
        "the owner": (ours.owner_account, set(ALLOWED_CALLS[OWNER])),
    }
    assert str(root.verify_key) == ours.desk.metadata()["verify_key"]
    key, allowed = keys[who]
    uid = ours.desk.uid
    for path in PATHS:
        if path not in allowed:
            assert "does not answer" in refusal(ours.desk.call(key, path, uid=uid)), path


@pytest.mark.parametrize("role", [RESEARCHER, OWNER])
def test_no_call_is_queued_or_passed_on_to_another_server(ours: OurSite, role: str) -> None:
    key = ours.alice_key if role == RESEARCHER else ours.owner_account
    for path in ALLOWED_CALLS[role]:
        for blocking in (False, 0, "", None, [False]):
            call = SyftAPICall(server_uid=ours.desk.uid, path=path, args=[], kwargs={})
            object.__setattr__(call, "blocking", blocking)
            refusal(unpack(ours.desk.post(pack(call.sign(key)))))
        for server in (UID(), UID("0" * 32)):
            answer = ours.desk.call(key, path, server=server)
            assert "no queue and no peers" in refusal(answer)


def test_a_call_signed_by_another_or_changed_on_its_way_is_refused(ours: OurSite) -> None:
    call = SyftAPICall(
        server_uid=ours.desk.uid, path="user.get_current_user", args=[], kwargs={}
    ).sign(ours.alice_key)
    assert isinstance(unpack(ours.desk.post(pack(call))), SyftSuccess)
    forged = call.model_copy(update={"credentials": ours.owner_account.verify_key})
    assert "signed by the account" in refusal(unpack(ours.desk.post(pack(forged))))
    changed = call.serialized_message.replace(b"get_current_user", b"get_all_user_xyz")
    forged = call.model_copy(update={"serialized_message": changed})
    assert "signed by the account" in refusal(unpack(ours.desk.post(pack(forged))))
    forged = call.model_copy(update={"signature": b""})
    assert "signed by the account" in refusal(unpack(ours.desk.post(pack(forged))))


def test_nobody_else_on_the_machine_enters_the_hospitals_folders(ours: OurSite) -> None:
    for folder in (ours.site.home, ours.site.owner, ours.site.vault, ours.site.desk):
        assert folder.stat().st_mode & 0o077 == 0
    for name in ("syft.db", "key"):
        assert (ours.site.desk / name).stat().st_mode & 0o077 == 0, name


# HTTP


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v2/register"),
        ("POST", "/api/v2/forgot_password"),
        ("POST", "/api/v2/reset_password"),
        ("GET", "/api/v2/stream/aaaa/bbbb/"),
        ("PUT", "/api/v2/stream/aaaa/bbbb/"),
        ("GET", "/api/v2/metadata_capnp"),
        ("GET", "/docs"),
        ("GET", "/redoc"),
        ("GET", "/openapi.json"),
        ("GET", "/api/v2/docs"),
        ("GET", "/api/v2/openapi.json"),
        ("POST", "/"),
        ("GET", "/blobs/"),
        ("GET", "//api/v2/register"),
    ],
)
def test_routes_that_nobody_needs_are_gone(ours: OurSite, method: str, path: str) -> None:
    """Asked by a member: to anybody else a route that is there looks like one that is not."""
    signed = http_signatures.headers(ours.alice_key.signing_key, method, path)
    answer = HTTP.request(method, ours.desk.url + path, headers=signed | {"content-length": "0"})
    assert answer.status_code in (404, 405)


def test_a_browser_is_told_what_this_is_and_nothing_of_this_hospital(ours: OurSite) -> None:
    answer = HTTP.get(f"{ours.desk.url}/")
    assert (answer.status_code, answer.text) == (200, FRONT_PAGE)
    assert answer.headers["content-type"].startswith("text/plain")
    for word in (ours.owner.name, "skin-lesions", "example.org", "0.9.5"):
        assert word not in FRONT_PAGE
    assert HTTP.get(f"{ours.desk.url}/?name=x", headers={"host": "evil"}).text == FRONT_PAGE


def raw(ours: OurSite, head: str) -> bytes:
    """Send a request's head and nothing more; the answer must come without its body."""
    with socket.create_connection(("127.0.0.1", ours.site.settings().port), timeout=20) as sent:
        sent.sendall(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n")
        answer = b""
        while chunk := sent.recv(65536):
            answer += chunk
            if b"sentence" in answer or b"Invalid HTTP" in answer:
                break
    return answer


@pytest.mark.parametrize(
    "length",
    [
        f"Content-Length: {MOST_CALL_BYTES[OWNER] + 1}",
        "Content-Length: 99999999999999999999",
        "Content-Length: -1",
        "Content-Length: \xb2",
        "Content-Length: 1_0",
        "Content-Length: ",
        "X-No-Length: 0",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked\nContent-Length: 4",
        "Content-Length: 4\nTransfer-Encoding: chunked",
        "Content-Length: 4\nTransfer-Encoding: identity, chunked",
        "Content-Length: 4\nContent-Length: 99999999",
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "x/y", "x/blobs/y?", "x#", ""])
def test_oversized_and_unannounced_bodies_are_refused_before_they_are_read(
    ours: OurSite, length: str, host: str
) -> None:
    answer = raw(ours, f"POST /api/v2/login HTTP/1.1\nHost: {host}\n{length}")
    assert answer.startswith(b"HTTP/1.1 400"), answer[:200]
    assert b"Traceback" not in answer


@pytest.mark.parametrize(
    "body",
    [b"", b"[", b"[" * 200_000, b'{"email": 1}', b"\xff\xfe", b'{"email": "a", "password": []}'],
)
def test_a_login_of_nonsense_is_refused_without_an_echo(ours: OurSite, body: bytes) -> None:
    answer = HTTP.post(
        f"{ours.desk.url}/api/v2/login",
        content=body,
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 400
    assert len(answer.content) < 200


# What is unpacked


def holding(ours: OurSite, packed: bytes, path: str = "action.get") -> bytes:
    """A researcher's call with anything among its arguments."""
    return pack_call(ours.alice_key, ours.desk.uid, path, packed_list(packed))


def packed_list(*items: bytes) -> bytes:
    message = iterable_schema.new_message()
    message.init("values", len(items))
    for i, item in enumerate(items):
        message.values.init(i, 1)[0] = item
    return pack_blob("list", message.to_bytes())


def nested(levels: int) -> bytes:
    packed = pack(None)
    for _ in range(levels):
        packed = packed_list(packed)
    return packed


UNWELCOME: dict[str, Callable[[], bytes]] = {
    "a call by name": lambda: pack_blob("_GenericAlias", pack({"path": "os.system"})),
    "a union by name": lambda: pack_blob("_UnionGenericAlias", pack({"path": "os.system"})),
    "a pickle": lambda: b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93.",
    "an unknown type": lambda: pack_blob("no_such_type", b"x"),
    "a nameless type": lambda: pack_blob("", b"x"),
    "a reference to a type": lambda: pack(UserCode),
    "a reference to nothing": lambda: pack_blob("type", b"\xff\xff"),
    "an array": lambda: pack(np.zeros(3)),
    "a packed array of gigabytes": lambda: pack_blob(
        "numpy_ndarray", pack((b"x", 2**40, "float64"))
    ),
    "an array of objects": lambda: pack_blob("numpy_ndarray", pack((b"x", 8, "O"))),
    "a table": lambda: pack_blob("pandas_dataframe", b"PAR1"),
    "a signing key": lambda: pack(new_key()),
    "a path": lambda: pack_blob("pathlib_PosixPath", pack("/etc/passwd")),
    "a factory": lambda: pack_blob("defaultdict", pack((pack(list), pack({})))),
    "a twin": lambda: pack(TwinObject(private_obj=value_object("a"), mock_obj=value_object("b"))),
    "a smuggled field": lambda: pack_fields(
        "UID", [("value", pack(b"0" * 16)), ("__class__", pack(b"x"))]
    ),
    "a field twice": lambda: pack_fields(
        "UID", [("value", pack(b"0" * 16)), ("value", pack(b"1" * 16))]
    ),
    "a type of another version": lambda: pack_fields("UID", [("value", pack(b"0" * 16))], 9),
    "hundreds of levels": lambda: nested(400),
    "half a message": lambda: pack("x" * 100)[:64],
    "no bytes": lambda: b"",
    "zeros": lambda: b"\x00" * 64,
    "ones": lambda: b"\xff" * 64,
}


@pytest.mark.parametrize("name", UNWELCOME)
def test_what_a_call_does_not_need_is_refused_before_it_is_unpacked(
    ours: OurSite, name: str
) -> None:
    packed = UNWELCOME[name]()
    for data in (packed, pack_signed(ours.alice_key, packed), holding(ours, packed)):
        said = refusal(unpack(ours.desk.post(data)))
        assert re.search("may not hold|packed as PySyft|unpack to much more|is due, got", said), (
            said
        )
    assert isinstance(ours.desk.call(ours.alice_key, "user.get_current_user"), SyftSuccess)


@pytest.mark.parametrize(
    ("module", "runs"),
    [
        pytest.param("syft", True, marks=pytest.mark.slow),
        pytest.param("datasites.desk.syft_server", False, marks=pytest.mark.slow),
        ("federation.researcher.syft_client", False),
    ],
)
def test_a_front_desk_that_was_taken_runs_no_program_at_its_clients(
    tmp_path: Path, module: str, runs: bool
) -> None:
    """Answers are unpacked by owners and researchers; plain PySyft calls what they name."""
    mark = tmp_path / "mark"
    calls = {"path": "subprocess.Popen", "args": ["touch", str(mark)]}
    answers = [
        pack_blob(name, pack(calls)).hex() for name in ("_GenericAlias", "_UnionGenericAlias")
    ]
    code = (
        f"import contextlib, sys, time, {module}\n"
        "from syft.serde.deserialize import _deserialize\n"
        "for answer in sys.argv[1:]:\n"
        "    with contextlib.suppress(Exception):\n"
        "        _deserialize(bytes.fromhex(answer), from_bytes=True)\n"
        "time.sleep(0.3)"
    )
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-c", code, *answers], cwd=root, capture_output=True, check=True
    )
    assert mark.exists() == runs


def one_place_many_times(item: bytes, times: int) -> bytes:
    """A packed list whose every element is the same bytes of the message (Cap'n Proto, by hand)."""

    def list_at(words_ahead: int, element: int, count: int) -> bytes:
        word = (words_ahead << 2 | 1) | (count << 3 | element) << 32
        return word.to_bytes(8, "little")

    words = [bytes([0, 0, 0, 0, 0, 0, 1, 0]), list_at(0, 6, 1), list_at(0, 6, times)]
    words += [list_at(times - 1 - i, 2, len(item)) for i in range(times)]
    segment = b"".join(words) + item
    return struct.pack("<II", 0, len(segment) // 8) + segment


def test_a_message_that_points_at_one_place_many_times_is_refused(ours: OurSite) -> None:
    item = pack(b"x" * 50_000)
    blob = one_place_many_times(item, 10_000)
    with iterable_schema.from_bytes(blob, traversal_limit_in_words=2**40) as bomb:
        assert bytes(bomb.values[0][9_999]) == item  # 130 kB that unpack to half a gigabyte
    answer = unpack(ours.desk.post(holding(ours, pack_blob("list", blob))))
    assert "packed as PySyft" in refusal(answer)


def test_a_researcher_sends_little_through_pysyft(ours: OurSite) -> None:
    value = value_object("x" * MOST_CALL_BYTES[RESEARCHER])
    answer = ours.desk.call(ours.alice_key, "action.set", action_object=value)
    assert "here at most 262144 bytes" in refusal(answer)


@pytest.mark.parametrize(
    "value",
    [np.zeros(10), b"bytes", {"a": 1}, [1], 5, None, new_key(), UID()],
    ids=lambda value: type(value).__name__,
)
def test_only_text_can_be_set_as_a_value(ours: OurSite, value: Any) -> None:
    held = value_object("text")
    assert isinstance(ours.desk.call(ours.alice_key, "action.set", action_object=held), SyftSuccess)
    answer = ours.desk.call(
        ours.alice_key, "action.set", action_object=ActionObject.from_obj(value)
    )
    assert "may not hold" in refusal(answer)


# Code requests


def texts(right: str) -> dict[str, str]:
    """Texts that are nearly a traveller."""
    name = right[4 : right.index("(")]
    return {
        "one byte more": right + "\n",
        "one byte less": right[:-1],
        "a comment": right + "# and nothing else\n",
        "a decorator": "@print\n" + right,
        "two functions": right + "\n\ndef another():\n    return 1\n",
        "twice": right + right,
        "another name": right.replace(name, "consilium_mine"),
        "a default": right.replace("call)", "call=None)", 1),
        "a third argument": right.replace("call)", "call, datasite)", 1),
        "other line ends": right.replace("\n", "\r\n"),
        "a form feed": "\f" + right,
        "a byte order mark": "\ufeff" + right,
        "a Cyrillic letter": right.replace("start_round", "start_r\u043eund"),
        "full-width letters": right.replace("return", "\uff52eturn"),
        "an invisible letter": right.replace("patients", "pat\u200bients"),
        "capital digits": right.replace(
            right.split('plan_hash="')[1][:64], right.split('plan_hash="')[1][:64].upper()
        ),
        "another module": right.replace("datasites.desk.entrypoint", "os"),
        "a nested job": right + "    datasite.launch_job(another)\n",
        "nothing": "",
        "the hash alone": right.split('plan_hash="')[1][:64],
    }


@pytest.mark.parametrize("name", texts(traveller.source("ab" * 32)))
def test_a_code_request_with_anything_but_the_traveller_is_refused(
    ours: OurSite, name: str
) -> None:
    wanted = plan(ours.keys, study="nearly")
    text = texts(traveller.source(wanted.hash))[name]
    assert text != traveller.source(wanted.hash)
    before = len(ours.owner.submitted())
    answer = ours.desk.call(
        ours.alice_key, "code.request_code_execution", code=travelling(ours, wanted, code=text)
    )
    assert "byte for byte" in refusal(answer)
    assert len(ours.owner.submitted()) == before


POLICY_TEXT = """
class Wicked(CustomInputPolicy):
    open({mark!r}, "w").close()

    def __init__(self):
        open({mark!r}, "w").close()
"""


def wicked_policy(mark: str) -> SubmitUserPolicy:
    """A policy of the researcher's own, which PySyft executes when it loads it."""
    return SubmitUserPolicy(
        code=POLICY_TEXT.format(mark=mark), class_name="Wicked", input_kwargs=[]
    )


def beside(ours: OurSite, mark: str) -> dict[str, dict[str, Any]]:
    """Fields beside an honest text that would change what runs."""
    policy = travelling(ours, ours.pending).input_policy_init_kwargs
    (server,) = policy
    return {
        "an input policy of one's own": {"input_policy_type": wicked_policy(mark)},
        "an output policy of one's own": {"output_policy_type": wicked_policy(mark)},
        "another input policy": {"input_policy_type": ExactMatch},
        "no input policy": {"input_policy_type": EmpyInputPolicy},
        "another output policy": {"output_policy_type": OutputPolicyExecuteCount},
        "a policy's name": {"input_policy_type": UID()},
        "readers of the result": {
            "output_policy_init_kwargs": {"output_readers": [ours.bob_key.verify_key]}
        },
        "a constant": {
            "input_policy_init_kwargs": {server: {"call": Constant(kw="call", val=1, klass=int)}}
        },
        "a worker pool": {"worker_pool_name": "mine"},
        "the name of another": {"func_name": traveller.function_name(ours.agreed.hash)},
        "a name of its own": {"func_name": "mine"},
        "other arguments": {"input_kwargs": ["patients"]},
        "more arguments": {"input_kwargs": ["patients", "call", "datasite"]},
        "an argument that is code": {"input_kwargs": ["patients=1) or print(", "call"]},
    }


@pytest.mark.parametrize("number", range(14))
def test_nothing_beside_the_traveller_changes_what_runs(
    ours: OurSite, number: int, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    changes = list(beside(ours, str(mark)).values())[number]
    wanted = plan(ours.keys, study="beside")
    code = travelling(ours, wanted, **changes)
    answer = ours.desk.call(ours.alice_key, "code.request_code_execution", code=code)
    assert "may not hold" in refusal(answer) or "name and call its traveller" in refusal(answer)
    ours.alice._client.refresh()
    assert not mark.exists()


def test_a_code_request_carries_one_submission_and_no_finished_code(ours: OurSite) -> None:
    path, wanted = "code.request_code_execution", plan(ours.keys, study="one")
    code = travelling(ours, wanted)
    (kept,) = [
        request.code
        for request in ours.alice._client.requests.get_all()
        if request.code.service_func_name == traveller.function_name(ours.pending.hash)
    ]
    for arguments in ([], [code, code], ["text"], [kept], [None]):
        refusal(ours.desk.call(ours.alice_key, path, *arguments))
    refusal(ours.desk.call(ours.alice_key, path, code=code, reason=code))
    refusal(ours.desk.call(ours.owner_account, path, code=code))


# Round calls


def test_a_round_of_a_plan_that_is_not_approved_is_refused(ours: OurSite) -> None:
    call = RoundCall(
        plan_hash=ours.pending.hash,
        hospital="north",
        purpose="train",
        round=1,
        weights_sha256="0" * 64,
    )
    with pytest.raises(NotApproved, match="takes no part"):
        ours.alice.start_round(ours.pending, messages.sign(call, ours.keys.researcher))


def test_a_round_call_takes_its_own_arguments_and_no_others(ours: OurSite) -> None:
    code = ours.request(traveller.function_name(ours.agreed.hash)).code
    asset, text = ours.asset, value_object("not a call")
    right = {"uid": code.id, "patients": asset, "call": text}
    for arguments in (
        right | {"more": text},
        right | {"result_id": UID()},
        right | {"datasite": text},
        {"uid": code.id, "patients": asset},
        {"uid": code.id},
        {},
    ):
        answer = ours.desk.call(ours.alice_key, "code.call", **arguments)
        assert "must have the arguments" in refusal(answer)
    assert "must have the arguments" in refusal(
        ours.desk.call(ours.alice_key, "code.call", code.id, patients=asset, call=text)
    )
    for arguments in (
        right | {"patients": text},
        right | {"patients": "text", "call": "text"},
        right | {"call": asset},
        right | {"uid": UID()},
        right | {"uid": "text"},
    ):
        refusal(ours.desk.call(ours.alice_key, "code.call", **arguments))


def test_another_researcher_can_not_call_an_approved_function(ours: OurSite) -> None:
    code = ours.request(traveller.function_name(ours.agreed.hash)).code
    text = value_object("not a call")
    answer = ours.desk.call(ours.bob_key, "code.call", uid=code.id, patients=ours.asset, call=text)
    refusal(answer)


# Other people's things


def test_a_researcher_sees_no_request_code_or_value_of_another(ours: OurSite) -> None:
    request = ours.request(traveller.function_name(ours.pending.hash))
    change = request.changes[0]
    assert isinstance(
        ours.desk.call(
            ours.alice_key, "notifications.resolve_object", linked_obj=change.linked_user_code
        ),
        SyftSuccess,
    )
    assert ours.desk.call(ours.bob_key, "request.get_all").value == []
    for link in (change.linked_user_code, change.linked_obj):
        refusal(ours.desk.call(ours.bob_key, "notifications.resolve_object", linked_obj=link))
    held = value_object("for alice alone")
    ours.desk.call(ours.alice_key, "action.set", action_object=held)
    refusal(ours.desk.call(ours.bob_key, "action.get", uid=held.id))
    overwriting = value_object("from bob", uid=held.id)
    refusal(ours.desk.call(ours.bob_key, "action.set", action_object=overwriting))
    kept = ours.desk.call(ours.alice_key, "action.get", uid=held.id).value
    assert kept.syft_action_data == "for alice alone"


def test_no_researcher_reads_or_replaces_the_private_half_of_an_asset(ours: OurSite) -> None:
    private = ours.asset.action_id
    for key in (ours.alice_key, ours.bob_key):
        refusal(ours.desk.call(key, "action.get", uid=private))
        for mode in TwinMode:
            refusal(ours.desk.call(key, "action.get", uid=private, twin_mode=mode))
        replacing = value_object("replaced", uid=private)
        refusal(ours.desk.call(key, "action.set", action_object=replacing))
        mock = ours.desk.call(key, "action.get_mock", uid=private).value
        assert mock["kind"] == "mock"


@pytest.mark.parametrize("kind", ["UserCode:2", "UserCodeService:1"])
def test_a_link_leads_nowhere_but_to_ones_own_code(ours: OurSite, kind: str) -> None:
    link = ours.request(traveller.function_name(ours.pending.hash)).changes[0].linked_user_code
    for service in ("UserService", "SettingsService", "ActionService", "type"):
        packed = pack(link).replace(kind.encode(), service.ljust(len(kind))[: len(kind)].encode())
        refusal(unpack(ours.desk.post(holding(ours, packed, "notifications.resolve_object"))))
    nowhere = LinkedObject(
        server_uid=ours.desk.uid,
        service_type=link.service_type,
        object_type=link.object_type,
        object_uid=ours.asset.action_id,
    )
    refusal(ours.desk.call(ours.alice_key, "notifications.resolve_object", linked_obj=nowhere))
