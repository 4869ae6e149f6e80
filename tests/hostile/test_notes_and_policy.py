"""Notes on a code request and the policy's page: who reads and writes them over HTTP."""

import httpx
import pytest
from nacl.signing import SigningKey

from datasites.desk.storage.notes import MAX_NOTES, Notes
from syft_code import canonical
from syft_code.errors import ConsiliumError, InvalidMessage, Refused
from syft_code.evidence import http_signatures
from syft_code.plans.notes import NoteReply
from tests.hostile.conftest import HTTP, OurSite, sentence
from tests.plans import plan

pytestmark = pytest.mark.timeout(300)

NOBODYS = "no code request for this plan"


def send(
    ours: OurSite, method: str, path: str, content: bytes = b"", *, key: SigningKey | None = None
) -> httpx.Response:
    """A signed request, from Alice unless `key` says otherwise."""
    signed = http_signatures.headers(key or ours.alice_key.signing_key, method, path, content)
    return HTTP.request(method, ours.desk.url + path, headers=signed, content=content)


def submitted(ours: OurSite, study: str) -> str:
    """The hash of a new plan of Alice's."""
    wanted = plan(ours.keys, study=study, hospitals=ours.agreed.hospitals)
    ours.alice.submit(wanted)
    return wanted.hash


def test_an_owner_asks_and_the_researcher_answers(ours: OurSite) -> None:
    plan_hash = submitted(ours, "notes-asked")
    assert ours.alice.bulk.notes(plan_hash) == ()
    asked = Notes(ours.site.desk / "notes").add(plan_hash, author="owner", text="Why so long?")
    assert ours.alice.bulk.notes(plan_hash) == (asked,)
    ours.alice.bulk.answer(plan_hash, "Weil es müßig wäre, früher aufzuhören.")
    kept = Notes(ours.site.desk / "notes").read(plan_hash)
    assert [(note.author, note.text) for note in kept] == [
        ("owner", "Why so long?"),
        ("researcher", "Weil es müßig wäre, früher aufzuhören."),
    ]
    assert ours.alice.bulk.notes(plan_hash) == kept


def test_nobody_reads_or_writes_notes_on_a_plan_that_they_did_not_submit(ours: OurSite) -> None:
    plan_hash = submitted(ours, "notes-private")
    Notes(ours.site.desk / "notes").add(plan_hash, author="owner", text="For Alice alone.")
    nobodys = plan(ours.keys, study="notes-of-nobody").hash
    said = set()
    for bulk, asked in (
        (ours.bob.bulk, plan_hash),
        (ours.bob.bulk, nobodys),
        (ours.alice.bulk, nobodys),
    ):
        with pytest.raises(Refused, match=NOBODYS) as problem:
            bulk.notes(asked)
        said.add(str(problem.value))
        with pytest.raises(Refused, match=NOBODYS) as problem:
            bulk.answer(asked, "Let me in.")
        said.add(str(problem.value))
    assert len(said) == 1
    path = f"/requests/{plan_hash}/notes"
    stranger = SigningKey.generate()
    assert "Only accounts" in sentence(send(ours, "GET", path, key=stranger))
    assert "must be signed" in sentence(HTTP.get(ours.desk.url + path))
    assert len(Notes(ours.site.desk / "notes").read(plan_hash)) == 1


def test_a_note_that_comes_twice_is_written_once(ours: OurSite) -> None:
    plan_hash = submitted(ours, "notes-twice")
    body = canonical.encode(NoteReply(text="Once."))
    path = f"/requests/{plan_hash}/notes"
    headers = http_signatures.headers(ours.alice_key.signing_key, "POST", path, body)
    for _ in range(3):
        assert HTTP.post(ours.desk.url + path, headers=headers, content=body).status_code == 200
    assert [note.text for note in ours.alice.bulk.notes(plan_hash)] == ["Once."]


def test_a_note_that_was_changed_on_its_way_is_refused(ours: OurSite) -> None:
    plan_hash = submitted(ours, "notes-changed")
    body, other = (canonical.encode(NoteReply(text=text)) for text in ("I agree.", "No, no.."))
    path = f"/requests/{plan_hash}/notes"
    signed = http_signatures.headers(ours.alice_key.signing_key, "POST", path, body)
    assert len(body) == len(other)
    answer = HTTP.post(ours.desk.url + path, headers=signed, content=other)
    assert "its head was signed for" in sentence(answer)
    assert ours.alice.bulk.notes(plan_hash) == ()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[" * 9000,
        b'{"text":1}',
        b'{"text":""}',
        b'{"text":"a","author":"owner"}',
        b'{ "text": "a" }',
        b'{"text":"a\\u0007b"}',
        b'{"text":"' + b"x" * 2001 + b'"}',
        b'{"text":"' + b"x" * 20_000 + b'"}',
        b'{"text":"\xff"}',
    ],
)
def test_a_note_is_plain_text_and_short(ours: OurSite, body: bytes) -> None:
    plan_hash = ours.pending.hash
    path = f"/requests/{plan_hash}/notes"
    answer = send(ours, "POST", path, body)
    assert answer.status_code == 400
    assert sentence(answer)
    assert ours.alice.bulk.notes(plan_hash) == ()


@pytest.mark.parametrize("path", ["/policy", f"/requests/{'a' * 64}/notes", "/"])
def test_only_blobs_are_large(ours: OurSite, path: str) -> None:
    assert "announce its size" in sentence(send(ours, "POST", path, b"x" * (2**14 + 1)))


@pytest.mark.parametrize("name", ["..", "%2e%2e%2fpolicy", "A" * 64, "a" * 63, "a" * 64 + ".jsonl"])
def test_no_plan_leads_out_of_the_notes_folder(ours: OurSite, name: str) -> None:
    path = httpx.URL(f"{ours.desk.url}/requests/{name}/notes").path
    answer = send(ours, "GET", path)
    assert answer.status_code in (400, 403, 404)


def test_a_researcher_writes_so_many_notes_and_no_more(ours: OurSite) -> None:
    plan_hash = submitted(ours, "notes-many")
    for number in range(MAX_NOTES // 2):
        ours.alice.bulk.answer(plan_hash, f"{number}")
    with pytest.raises(Refused, match="Each side"):
        ours.alice.bulk.answer(plan_hash, "one more")
    with pytest.raises(InvalidMessage, match="A note must"):
        ours.alice.bulk.answer(plan_hash, "line\nbreak")


def test_members_read_the_policy_that_the_owner_wrote(ours: OurSite) -> None:
    assert ours.alice.bulk.policy() == canonical.encode(ours.owner.policy().terms)
    assert "must be signed" in sentence(HTTP.get(f"{ours.desk.url}/policy"))
    stranger = SigningKey.generate()
    assert "Only accounts" in sentence(send(ours, "GET", "/policy", key=stranger))


def test_what_is_the_owners_alone_is_refused_to_a_researcher(ours: OurSite) -> None:
    plan_hash = submitted(ours, "owners-alone")
    body = canonical.encode(NoteReply(text="I am the owner."))
    for method, path, content in (
        ("GET", "/owner/requests", b""),
        ("GET", f"/owner/plans/{plan_hash}", b""),
        ("POST", f"/owner/requests/{plan_hash}/notes", body),
    ):
        answer = send(ours, method, path, content)
        assert answer.status_code == 403 and "Only the owner" in sentence(answer), path
        stranger = send(ours, method, path, content, key=SigningKey.generate())
        assert "Only accounts" in sentence(stranger)
    assert ours.alice.bulk.notes(plan_hash) == ()


def test_the_owner_reads_a_plan_and_writes_a_note_without_the_desks_folder(ours: OurSite) -> None:
    plan_hash = submitted(ours, "owner-asks")
    (evidence,) = [one for one in ours.owner.requests() if one.subject == plan_hash]
    assert evidence.plan is not None and evidence.notes == ()
    ours.owner._desk.add_note(plan_hash, "Warum so lange?")
    (evidence,) = [one for one in ours.owner.submitted() if one.subject == plan_hash]
    assert [(note.author, note.text) for note in evidence.notes] == [("owner", "Warum so lange?")]
    for wrong in ("a" * 64, "..", "a" * 63, ""):
        with pytest.raises(ConsiliumError):
            ours.owner._desk.plan(wrong)
    with pytest.raises(InvalidMessage, match="A note must"):
        ours.owner._desk.add_note(plan_hash, "line\nbreak")
