"""Rounds over HTTP: only whose approved code has run may call them, and the vault decides on each."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest
from nacl.signing import SigningKey

from datasites.desk.web import round_routes
from datasites.protocol import vault_api
from syft_code import canonical
from syft_code.errors import InvalidMessage, NotApproved
from syft_code.evidence import http_signatures
from syft_code.plans.messages import RoundCall, Signed, Ticket
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import DpSgd
from tests.hostile.conftest import HTTP, OurSite, sentence
from tests.hostile.rounds import agree, ended, round_call, spent, through_pysyft

pytestmark = pytest.mark.timeout(300)
FIRST = "once its approved code request has run"


def post(
    ours: OurSite, call: Signed | bytes, *, key: SigningKey | None = None, **headers: str
) -> httpx.Response:
    """A round call beside PySyft, from Alice's account unless `key` says otherwise."""
    body = call if isinstance(call, bytes) else canonical.encode(call)
    path = "/rounds"
    signed = http_signatures.headers(key or ours.alice_key.signing_key, "POST", path, body)
    return HTTP.post(f"{ours.desk.url}{path}", headers=signed | headers, content=body)


def ticket(answer: httpx.Response) -> Ticket:
    assert answer.status_code == 200, answer.text
    found: Ticket = canonical.parse(Ticket, answer.content, what="ticket")
    return found


def begun(ours: OurSite, study: str, **changes: object) -> Plan:
    """A plan of several rounds of which Alice has called the first one through PySyft."""
    agreed = agree(ours, study, rounds=4, **changes)
    answer = through_pysyft(ours, agreed, round_call(ours, agreed, 1))
    assert answer["kind"] == "ticket"
    return agreed


def test_after_the_first_round_the_next_ones_need_no_pysyft(ours: OurSite) -> None:
    agreed = begun(ours, "beside")
    done = ended(ours, ticket(post(ours, round_call(ours, agreed, 2))))
    assert done.state == "done"
    for name in done.shares:
        assert (ours.site.desk / "blobs" / str(ours.alice_key.verify_key) / name).exists()
    again = ticket(post(ours, round_call(ours, agreed, 2)))
    assert again == done, "the same bytes, and no second price"
    ours.alice.bulk.forget(done.ticket)
    room = ours.site.desk / "blobs" / str(ours.alice_key.verify_key)
    assert not {path.name for path in room.iterdir()} & set(done.shares)


def test_a_plan_whose_code_never_ran_is_called_by_nobody(ours: OurSite) -> None:
    agreed = agree(ours, "never-run", rounds=4)
    before = spent(ours)
    assert FIRST in sentence(post(ours, round_call(ours, agreed, 1)))
    assert spent(ours) == before


def test_another_member_can_not_go_on_with_a_plan_that_is_not_theirs(ours: OurSite) -> None:
    agreed = begun(ours, "not-bobs")
    call, before = round_call(ours, agreed, 2), spent(ours)
    for key in (ours.bob_key.signing_key, ours.owner_account.signing_key):
        assert FIRST in sentence(post(ours, call, key=key))
    assert "Only accounts" in sentence(post(ours, call, key=SigningKey.generate()))
    assert spent(ours) == before


def test_the_vault_checks_a_call_however_it_comes(ours: OurSite) -> None:
    agreed = begun(ours, "checked")
    before = spent(ours)
    forged = round_call(ours, agreed, 2, key=SigningKey.generate())
    assert "must carry the signature" in sentence(post(ours, forged))
    assert "no round 9" in sentence(post(ours, round_call(ours, agreed, 9)))
    changed = round_call(ours, agreed, 1, seed=5)
    assert "repeated only with the same" in sentence(post(ours, changed))
    assert spent(ours) == before


@pytest.mark.parametrize("how", [pytest.param("front desk alone", marks=pytest.mark.slow), "vault"])
def test_an_owners_no_ends_it_through_either_of_them(ours: OurSite, how: str) -> None:
    agreed = begun(ours, f"no-{how.split()[0]}")
    evidence = ours.evidence(agreed)
    if how == "vault":
        ours.owner.revoke(evidence, "We have changed our minds.")
    else:
        ours.owner._session.deny(evidence.request_id, "We have changed our minds.")
    before = spent(ours)
    answer = post(ours, round_call(ours, agreed, 2))
    assert answer.status_code in (400, 403) and answer.json()["error"] == "NotApproved"
    with pytest.raises(NotApproved):
        ours.alice.start_round(agreed, round_call(ours, agreed, 2))
    assert spent(ours) == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"[" * 10_000,
        b'{"message":"{}","signature":""}',
        b'{"message":"\\ud800","signature":"00"}',
        canonical.encode(Signed(message="../../vault/key", signature="0" * 128)),
        canonical.encode(
            Signed(
                message=canonical.text(
                    RoundCall(
                        plan_hash="../../vault",
                        hospital="north",
                        purpose="train",
                        round=1,
                        weights_sha256="../key",
                    )
                ),
                signature="0" * 128,
            )
        ),
    ],
)
def test_nonsense_is_one_sentence(ours: OurSite, body: bytes) -> None:
    assert "Traceback" not in sentence(post(ours, body))


def test_headers_of_one_call_carry_no_other(ours: OurSite) -> None:
    agreed = begun(ours, "other-body")
    named, sent = (canonical.encode(round_call(ours, agreed, number)) for number in (2, 3))
    path = "/rounds"
    signed = http_signatures.headers(ours.alice_key.signing_key, "POST", path, named)
    before = spent(ours)
    answer = HTTP.post(f"{ours.desk.url}{path}", headers=signed, content=sent)
    assert "the one that its head was signed for" in sentence(answer)
    assert spent(ours) == before


def test_the_vault_reads_no_weights_of_a_call_that_nobody_signed(ours: OurSite) -> None:
    agreed = begun(ours, "unsigned-weights")
    forged = round_call(ours, agreed, 2, key=SigningKey.generate())
    large = bytes(64 * 2**20)
    asked = vault_api.StartRound(call=forged)
    with pytest.raises(InvalidMessage, match="must carry the signature"):
        vault_api.ask(ours.site.vault, asked, large)
    signed = round_call(ours, agreed, 2)
    with pytest.raises(InvalidMessage, match="may have"):
        vault_api.ask(ours.site.vault, vault_api.StartRound(call=signed), large)


def test_an_account_waits_for_a_few_answers_and_others_are_not_counted_with_it() -> None:
    waits = round_routes._Waits()
    with ExitStack() as many:
        waited = [many.enter_context(waits.of("alice")) for _ in range(7)]
        assert waited == [round_routes.WAIT_S] * round_routes.MOST_WAITS + [0.0] * 3
        with waits.of("bob") as wait_s:
            assert wait_s == round_routes.WAIT_S
    with waits.of("alice") as wait_s:
        assert wait_s == round_routes.WAIT_S


def test_a_call_names_only_weights_of_its_own_account(ours: OurSite) -> None:
    agreed = begun(ours, "own-weights")
    call = round_call(ours, agreed, 3, seed=9)
    asked: RoundCall = canonical.parse(RoundCall, call.message.encode(), what="call")
    ours.alice.bulk.delete(asked.weights_sha256)
    stolen = ours.site.desk / "blobs" / str(ours.bob_key.verify_key)
    stolen.mkdir(exist_ok=True)
    (stolen / asked.weights_sha256).write_bytes(b"")
    assert "no such blob" in sentence(post(ours, call))


def test_the_list_of_all_requests_is_the_owners(ours: OurSite) -> None:
    path = "/owner/requests"
    for key in (ours.alice_key.signing_key, ours.bob_key.signing_key):
        signed = http_signatures.headers(key, "GET", path)
        assert "Only the owner" in sentence(HTTP.get(ours.desk.url + path, headers=signed))
    signed = http_signatures.headers(SigningKey.generate(), "GET", path)
    assert "Only accounts" in sentence(HTTP.get(ours.desk.url + path, headers=signed))
    assert {evidence.request.researcher for evidence in ours.owner.submitted()}


@pytest.mark.slow
def test_who_waits_in_many_places_keeps_nobody_else_out(ours: OurSite) -> None:
    long = DpSgd(noise_multiplier=600.0, max_grad_norm=1.0, sample_rate=0.5, steps=100_000)
    agreed = begun(ours, "waiting", dp_sgd=long)
    waited = ours.alice.start_round(agreed, round_call(ours, agreed, 1)).ticket
    with ThreadPoolExecutor(60) as pool:
        waiting = [pool.submit(ours.alice.bulk.ticket, waited) for _ in range(120)]
        assert ours.bob.terms().min_hospitals >= 3
        assert all(one.result().ticket == waited for one in waiting)
    evidence = ours.evidence(agreed)
    ours.owner.revoke(evidence, "It has shown what it should.")
