"""An invitation makes one account, once: what strangers, thieves and those who come late try with one."""

import secrets
import time
from dataclasses import replace

import httpx
import pytest
from nacl.signing import SigningKey

from datasites.desk.storage import invitations
from datasites.site import owner_email
from federation.researcher.storage import joining
from federation.researcher.syft_client import HospitalClient
from syft_code import canonical
from syft_code.errors import InvalidInput, InvalidMessage, Refused
from syft_code.evidence import http_signatures
from syft_code.plans.invitations import Invitation, InvitationAnswer, InvitationOffer
from tests.hostile.conftest import HTTP, OurSite, new_key

pytestmark = pytest.mark.timeout(300)


def email() -> str:
    return f"{secrets.token_hex(4)}@example.org"


def answered(ours: OurSite, answer: InvitationAnswer | bytes) -> httpx.Response:
    body = answer if isinstance(answer, bytes) else canonical.encode(answer)
    return HTTP.post(f"{ours.desk.url}/invitations", content=body)


def test_it_is_used_once_and_the_password_is_the_researchers_own(ours: OurSite) -> None:
    invited, mine = ours.owner.invite(email()), SigningKey.generate()
    login = joining.accept(invited, mine)
    assert invited.code not in login.password
    HospitalClient(login).close()
    with pytest.raises(Refused, match="unused and not past its end"):
        joining.accept(invited, SigningKey.generate())
    HospitalClient(login).close()  # and who was first keeps the account


def test_who_lost_the_answer_joins_again_with_the_same_password(ours: OurSite) -> None:
    invited, mine = ours.owner.invite(email()), SigningKey.generate()
    assert joining.accept(invited, mine) == joining.accept(invited, mine)
    HospitalClient(joining.accept(invited, mine)).close()


def test_a_newer_invitation_voids_the_older_and_an_account_is_not_invited(ours: OurSite) -> None:
    who, mine = email(), SigningKey.generate()
    first, second = ours.owner.invite(who), ours.owner.invite(who)
    with pytest.raises(Refused, match="newest for this e-mail"):
        joining.accept(first, mine)
    joining.accept(second, mine)
    with pytest.raises(Refused, match="must have no account here"):
        ours.owner.invite(who)


def test_a_wrong_code_an_unknown_email_and_an_end_get_one_sentence(
    ours: OurSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    invited = ours.owner.invite(email())
    with pytest.raises(Refused, match="must be used before its end"):
        joining.accept(replace(invited, expires_unix_s=int(time.time()) - 1), SigningKey.generate())
    right = InvitationAnswer(email=invited.email, code=invited.code, password="p" * 20)
    ended = ours.owner.invite(email(), days=1e-6)
    time.sleep(1)
    said = {
        answered(ours, wrong).json()["sentence"]
        for wrong in (
            replace(right, code="another"),
            replace(right, code=""),
            replace(right, email=email()),
            InvitationAnswer(email=ended.email, code=ended.code, password="p" * 20),
        )
    }
    assert said == {invitations.USED}
    assert answered(ours, right).is_success, "wrong tries cost nobody their invitation"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"email":"a@b.c"}',
        canonical.encode({"email": "a@b.c", "code": "c", "password": "short"}),
        canonical.encode({"email": "no e-mail", "code": "c", "password": "p" * 20}),
        canonical.encode({"email": "a@b.c", "code": "c", "password": "p" * 2000}),
        b"x" * 5000,
    ],
)
def test_nonsense_is_refused_in_words(ours: OurSite, body: bytes) -> None:
    answer = answered(ours, body)
    assert answer.status_code == 400 and answer.json()["sentence"]
    assert "Traceback" not in answer.text


def test_an_account_that_is_removed_is_nobodys_and_can_be_invited_anew(ours: OurSite) -> None:
    who = email()
    thief = joining.accept(ours.owner.invite(who), SigningKey.generate())
    client = HospitalClient(thief)
    ours.owner.remove_account(who)
    with pytest.raises(Refused, match="Only accounts of this hospital"):
        client.bulk.policy()
    with pytest.raises(InvalidMessage, match="did not accept the login"):
        HospitalClient(thief)
    client.close()
    waits = ours.owner.invite(who)
    ours.owner.remove_account(who)  # before it was used
    with pytest.raises(Refused, match="newest for this e-mail"):
        joining.accept(waits, SigningKey.generate())
    again = HospitalClient(joining.accept(ours.owner.invite(who), SigningKey.generate()))
    assert again.bulk.policy()
    again.close()
    with pytest.raises(Refused, match="there is none"):
        ours.owner.remove_account(email())
    with pytest.raises(Refused, match="for a researcher alone"):
        ours.owner.remove_account(owner_email("north"))


@pytest.mark.parametrize(
    "odd", ["../requests", "a@b", "A@Example.org", "a@klinik.local", "a/b@c.org", "a@b..org", ""]
)
def test_an_email_that_pysyft_would_not_take_is_not_invited(ours: OurSite, odd: str) -> None:
    with pytest.raises((InvalidInput, Refused), match="must be invited by an e-mail"):
        ours.owner.invite(odd)


def test_only_the_owner_invites_and_nobody_becomes_the_owner(ours: OurSite) -> None:
    offer = InvitationOffer(
        email=email(), code_sha256=canonical.sha256(b"c"), expires_unix_s=int(time.time()) + 99
    )
    for key in (ours.alice_key.signing_key, new_key().signing_key):
        path, body = "/owner/invitations", canonical.encode(offer)
        head = http_signatures.headers(key, "POST", path, body)
        answer = HTTP.post(f"{ours.desk.url}{path}", content=body, headers=head)
        assert answer.status_code == 403, answer.text
    with pytest.raises(Refused, match="for a researcher alone"):
        ours.owner.invite(owner_email("north"))
    assert ours.owner.submitted() is not None  # whose account is as it was


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://h:1"},
        {"url": "https://h:1/path"},
        {"url": "http://north.example.org:8443"},
        {"email": "nobody"},
        {"hospital": "N O"},
        {"verify_key": "ab"},
    ],
)
def test_an_invitation_that_was_changed_by_hand_is_told_so(wrong: dict[str, str]) -> None:
    good = Invitation(
        hospital="north",
        institution="North",
        url="https://north.example.org:8443",
        certificate="",
        verify_key="ab" * 32,
        email="ada@example.org",
        code="code",
        expires_unix_s=2**31,
    )
    with pytest.raises(InvalidInput):
        replace(good, **wrong)
