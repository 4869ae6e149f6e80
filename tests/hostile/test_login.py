"""Guessing at the front desk's login: what an answer tells, and how often one may try."""

import json
import re
import time
from pathlib import Path

import httpx
import pytest

from datasites.desk.storage.security_log import SecurityLog, read_events
from datasites.desk.web.login import WRONG, Logins, TooManyTries
from datasites.desk.web.rate_limit import FREE_TRIES, LoginRateLimit
from syft_code.errors import InvalidMessage
from syft_code.runtime.quiet_imports import quiet_import
from tests.hostile.conftest import HTTP, OurSite, joined, new_key, unpack

with quiet_import():
    import syft
    from syft.serde.deserialize import _deserialize
    from syft.service.response import SyftError
    from syft.types.errors import SyftException

pytestmark = pytest.mark.timeout(300)


class Hospital:
    """Logins with one account, a clock that stands still, and a count of hashed passwords."""

    def __init__(self, folder: Path) -> None:
        self.now_s = 0.0
        self.hashed: list[str] = []
        self.folder = folder
        self.logins: Logins[str] = Logins(
            user_of=lambda email: "alice" if email == "alice@example.org" else None,
            hash_of=lambda user: f"hash of {user}",
            matches=self._matches,
            nobodys_hash="hash of nobody",
            throttle=LoginRateLimit(clock=lambda: self.now_s),
            log=SecurityLog(folder),
        )

    def _matches(self, password: str, hashed: str) -> bool:
        self.hashed.append(hashed)
        return (password, hashed) == ("right", "hash of alice")


@pytest.fixture
def hospital(tmp_path: Path) -> Hospital:
    return Hospital(tmp_path)


def test_an_unknown_e_mail_costs_a_hash_and_gets_the_sentence_of_a_wrong_password(
    hospital: Hospital,
) -> None:
    for email in ("alice@example.org", "nobody@example.org"):
        with pytest.raises(InvalidMessage, match=re.escape(WRONG)):
            hospital.logins.user(email, "wrong")
    assert hospital.hashed == ["hash of alice", "hash of nobody"]


def test_a_password_that_fits_nobodys_hash_opens_nothing(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path)
    hospital.logins._matches = lambda password, hashed: True
    with pytest.raises(InvalidMessage, match=re.escape(WRONG)):
        hospital.logins.user("nobody@example.org", "anything")


def test_who_waited_is_let_in_with_the_right_password_and_not_before(hospital: Hospital) -> None:
    for _ in range(FREE_TRIES):
        with pytest.raises(InvalidMessage):
            hospital.logins.user("alice@example.org", "wrong")
    tried = len(hospital.hashed)
    with pytest.raises(TooManyTries, match="try again in 1 seconds"):
        hospital.logins.user("alice@example.org", "right")
    assert len(hospital.hashed) == tried  # a guess in between learns nothing, and costs nothing
    hospital.now_s += 1.0
    assert hospital.logins.user("alice@example.org", "right") == "alice"
    assert hospital.logins.user("alice@example.org", "right") == "alice"


def test_a_made_up_e_mail_waits_as_a_known_one_does(hospital: Hospital) -> None:
    said = []
    for email in ("alice@example.org", "nobody@example.org"):
        sentences = []
        for _ in range(2 * FREE_TRIES):
            with pytest.raises((InvalidMessage, TooManyTries)) as problem:
                hospital.logins.user(email, "wrong")
            sentences.append(str(problem.value))
        said.append(sentences)
    assert said[0] == said[1]


def test_failed_logins_are_logged_without_a_password(hospital: Hospital) -> None:
    for _ in range(FREE_TRIES + 1):
        with pytest.raises((InvalidMessage, TooManyTries)):
            hospital.logins.user("alice@example.org", "hunter2hunter2")
    found = read_events(hospital.folder)
    assert [(refusal.kind, refusal.who) for refusal in found] == [
        ("login", "alice@example.org")
    ] * 6
    assert "Too many" in found[-1].sentence
    assert b"hunter2" not in (hospital.folder / "refusals.jsonl").read_bytes()


# The real front desk


def log_in(ours: OurSite, email: str, password: str) -> httpx.Response:
    return HTTP.post(f"{ours.desk.url}/api/v2/login", json={"email": email, "password": password})


def sentence(answer: httpx.Response) -> str:
    assert answer.status_code == 200
    found = _deserialize(answer.content, from_bytes=True)
    assert isinstance(found, SyftError)
    return str(found.message)


def test_an_unknown_e_mail_and_a_wrong_password_get_the_same_answer(ours: OurSite) -> None:
    for email in ("bob@example.org", "nobody@example.org"):
        assert sentence(log_in(ours, email, "a wrong one")) == WRONG


def test_the_sixth_wrong_try_must_wait_and_pysyfts_client_says_so(ours: OurSite) -> None:
    email, password = "eve@example.org", "not it"
    answers = [log_in(ours, email, password) for _ in range(FREE_TRIES)]
    assert {sentence(answer) for answer in answers} == {WRONG}
    for _ in range(4):  # on a slow machine the first waits are over before they are seen
        answer = log_in(ours, email, password)
        if sentence(answer) != WRONG:
            break
    assert re.search("try again in [0-9]+ seconds", sentence(answer))
    assert int(answer.headers["retry-after"]) >= 1
    with pytest.raises(SyftException, match=r"try again in [0-9]+ seconds"):
        syft.login(url=ours.desk.url, email=email, password=password)


def test_pysyfts_own_client_logs_in_and_sees_the_mock(ours: OurSite) -> None:
    email = "dora@example.org"
    client = syft.login(url=ours.desk.url, email=email, password=joined(ours, email))
    (asset,) = client.datasets.get_all()[0].assets
    assert len(asset.mock) > 0


@pytest.mark.parametrize(
    "body",
    [
        {"email": "e" * 321, "password": "x"},
        {"email": "e", "password": "x" * 1025},
        {"email": "e", "password": "x" * 10_000},
        {"email": "e"},
    ],
)
def test_a_login_that_is_too_long_is_refused_before_it_is_hashed(
    ours: OurSite, body: dict[str, str]
) -> None:
    answer = HTTP.post(f"{ours.desk.url}/api/v2/login", json=body)
    assert answer.status_code == 400


@pytest.mark.parametrize("odd", ["\x00", "\u202e", "ä" * 300, "' OR 1=1 --", "%", "\ud800"])
def test_an_odd_e_mail_or_password_opens_nothing(ours: OurSite, odd: str) -> None:
    for email, password in ((odd, "x"), ("bob@example.org", odd)):
        body = json.dumps({"email": email, "password": password})  # ASCII, with escapes
        answer = HTTP.post(
            f"{ours.desk.url}/api/v2/login",
            content=body,
            headers={"content-type": "application/json"},
        )
        assert answer.status_code == 400 or sentence(answer)


# What is logged


def test_every_kind_of_refusal_is_logged_with_who_and_why(ours: OurSite) -> None:
    guest, began_unix_s = new_key(), time.time()
    ours.desk.call(guest, "user.get_all")
    ours.desk.call(ours.alice_key, "user.create")
    unpack(ours.desk.post(b"nonsense"))
    HTTP.get(f"{ours.desk.url}/tickets/{'0' * 32}", headers={"consilium-account": "somebody"})
    HTTP.post(f"{ours.desk.url}/api/v2/login", content=(b"x" for _ in range(3)))
    log_in(ours, "mallory@example.org", "the-secret-password")
    found = read_events(ours.site.desk)[-6:]
    assert [(refusal.kind, refusal.who, refusal.path) for refusal in found] == [
        ("call", str(guest.verify_key), "user.get_all"),
        ("call", str(ours.alice_key.verify_key), "user.create"),
        ("call", "", ""),
        ("request", "somebody", f"GET /tickets/{'0' * 32}"),
        ("request", "", "POST /api/v2/login"),
        ("login", "mallory@example.org", "/login"),
    ]
    for refusal, said in zip(
        found,
        ["does not answer", "does not answer", "packed", "signed", "announce", "no account"],
        strict=True,
    ):
        assert said in refusal.sentence
    times = [began_unix_s, *(refusal.at_unix_s for refusal in found), time.time()]
    assert times == sorted(times)
    log = ours.site.desk / "refusals.jsonl"
    assert b"the-secret-password" not in log.read_bytes()
    assert log.stat().st_mode & 0o077 == 0
