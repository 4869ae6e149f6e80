"""The owner's commands say what the notebook says: to people in words, to programs as JSON."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from nacl.signing import SigningKey

from datasites.cli import ledger_commands, request_commands
from datasites.owner import request_selection
from datasites.owner.owner import Owner
from datasites.protocol import vault_api
from datasites.protocol.code_request import CodeRequest
from datasites.review.evidence import Evidence
from federation.researcher.storage.credentials import HospitalLogin
from federation.researcher.syft_client import HospitalClient
from policies import site_policy
from policies.site_policy import Budget
from syft_code.errors import InvalidInput, InvalidMessage, Refused
from syft_code.evidence import audit_chain
from syft_code.plans import key_fingerprint, traveller
from syft_code.runtime import cli_output
from tests.datasites.command_line import Ours, place, refusal, run, worked
from tests.datasites.hospitals import policy
from tests.plans import NEWCOMER, parties, public

pytestmark = [pytest.mark.servers, pytest.mark.timeout(400)]
NONSENSE = ("", "zz", "../../etc/passwd", "\x1b[2J", "é" * 10_000, "\udcff", "--", "[red]x[/]")
DESK_WORDS = ("front desk of south", "consilium up", "datasites.desk.desk_process --home")


# --- which hospital, and what must run -------------------------------------------------------


def test_a_hospital_that_is_not_there_is_refused_with_those_that_are(ours: Ours) -> None:
    for wrong in (*NONSENSE[1:], "../hospitals/north", "north/", "NORTH", "/", "."):
        said = ours.refusal("ledger", at=wrong)
        assert "--hospital must be one of east, north, south; got " in said
    assert "none is named" in refusal(run("ledger", "--state", ours.state))


def test_the_only_hospital_needs_no_name_and_a_folder_without_one_is_refused(
    tmp_path: Path,
) -> None:
    place(tmp_path, "alone")
    assert "The vault of alone must run" in refusal(run("ledger", "--state", tmp_path))
    for nowhere in (
        tmp_path / "nowhere",
        tmp_path / ("x" * 300),
        Path("\udcff"),
        tmp_path / "a\nb",
    ):
        assert "There must be a hospital in " in refusal(run("ledger", "--state", nowhere))


@pytest.mark.parametrize(
    "words",
    [
        ("ledger",),
        ("policy", "show"),
        ("policy", "adopt"),
        ("approvers", "list"),
        ("parties", "list"),
        ("patients", "remove", "patient-1", "--yes"),
        ("requests", "list"),
        ("requests", "revoke", "0" * 64, "--reason", "No."),
    ],
)
def test_without_the_vault_a_command_says_so_and_how_to_start_it(
    ours: Ours, words: tuple[str, ...]
) -> None:
    said = ours.refusal(*words, at="east")
    assert said.startswith("The vault of east must run for this, and does not answer: start ")
    assert "datasites.vault.vault_process --home" in said


@pytest.mark.parametrize(
    "words",
    [
        ("requests", "list"),
        ("requests", "show", "latest"),
        ("requests", "approve", "latest", "--yes"),
        ("requests", "deny", "latest", "--reason", "No."),
        ("requests", "ask", "latest", "--question", "Why?"),
        ("requests", "revoke", "latest", "--reason", "No."),
    ],
)
def test_without_the_front_desk_the_requests_say_so(ours: Ours, words: tuple[str, ...]) -> None:
    said = ours.refusal(*words, at="south")
    assert all(word in said for word in DESK_WORDS)


# --- requests --------------------------------------------------------------------------------


def test_a_request_is_listed_shown_approved_and_revoked(ours: Ours) -> None:
    wanted = ours.asked()
    listed = ours.json("requests", "list")
    assert listed["hospital"] == "north"
    newest = listed["requests"][-1]
    assert newest.keys() == {
        "id", "plan_hash", "study", "researcher", "asset", "front_desk", "vault", "sentence",
        "study_epsilon", "after_epsilon", "study_epsilon_alone",
        "after_epsilon_alone", "problem",
    }  # fmt: skip
    assert (newest["plan_hash"], newest["study"]) == (wanted.hash, wanted.study)
    assert (newest["front_desk"], newest["vault"]) == ("pending", "undecided")
    table = ours.told("requests", "list")
    assert newest["id"][:12] in table
    assert "alice@example.org" in table.replace("\n", "").replace(" ", "") or "alice" in table

    shown = ours.json("requests", "show", wanted.hash[:16], "--no-mock")
    assert (shown["plan_hash"], shown["mock"]) == (wanted.hash, None)
    words = ours.told("requests", "show", newest["id"][:12], "--no-mock")
    assert wanted.study in words and "at north" in words

    until = ("--days", "2", "--epsilon", "1.5", "--rounds", "2", "--anyway")
    approved = ours.json("requests", "approve", "latest", "--yes", *until)
    assert approved["decision"] == "approve"
    assert (approved["in_force"], approved["missing_signatures"]) == (True, 0)
    assert (approved["rounds"], approved["epsilon"]) == (2, 1.5)
    assert approved["stops"].startswith("It stops ")
    assert approved["plan_hash"] == wanted.hash
    again = ours.json("requests", "approve", "latest", "--yes")
    assert (again["decision"], again["in_force"]) == ("already approved", True)
    assert again.keys() == approved.keys() and again["rounds"] is None
    (state,) = [one.state for one in ours.north.requests() if one.plan == wanted]
    assert state is not None and "epsilon at most 1.50" in state.sentence, "nothing was signed"
    assert wanted.hash in ours.json("ledger")["assets"][0]["in_force"]
    assert f"{wanted.hash}" in ours.told("ledger")
    (state,) = [one.state for one in ours.north.requests() if one.plan == wanted]
    assert state is not None and "0 of 2 rounds called" in state.sentence
    assert "epsilon at most 1.50" in state.sentence

    revoked = ours.json("requests", "revoke", wanted.hash, "--reason", "Consent\nwithdrawn.")
    assert (revoked["decision"], revoked["told_researcher"]) == ("revoke", False)
    after = ours.json("requests", "list")["requests"][-1]
    assert (after["vault"], after["sentence"]) == ("revoked", "Consent withdrawn.")
    assert wanted.hash not in ours.json("ledger")["assets"][0]["in_force"]


def test_a_request_is_tried_out_on_the_mock_unless_told_not_to(ours: Ours) -> None:
    wanted = ours.asked()
    assert ours.json("requests", "show", wanted.hash)["mock"]["ok"] is True


def test_decisions_are_said_in_words(ours: Ours) -> None:
    wanted = ours.asked()
    ours.told("requests", "list")
    asked = ours.told("requests", "ask", "latest", "--question", "Which ethics vote?")
    assert f"Asked about study '{wanted.study}' of alice@example.org" in asked
    assert "undecided" in asked
    assert [note.text for note in ours.north.requests()[-1].notes] == ["Which ethics vote?"]

    said = ours.told("requests", "approve", "latest", "--rounds", "1", "--yes")
    before, _, after = said.partition("Approved at north:")
    limits = (
        "it may spend all of it (the budget is 8.00), in at most 1 of 3 training rounds, until 20"
    )
    for told in (before, after):
        assert f"study '{wanted.study}' of alice@example.org" in told
        assert limits in told and "The whole plan costs a patient epsilon " in told
        assert "It stops after round 1 of 3: the approval covers 1 rounds." in told
    assert before.startswith("To be signed at north:")
    assert "Signed and in force." in after

    said = ours.told("requests", "deny", "latest", "--reason", "Too early.", "--tell")
    assert f"Denied at north: study '{wanted.study}'" in said
    assert "The researcher can read why." in said
    newest = ours.north.requests()[-1]
    assert newest.state is not None
    assert (newest.state.state, newest.state.sentence) == ("denied", "Too early.")
    assert newest.notes[-1].text == "Too early."


def test_latest_is_refused_for_a_request_that_came_after_the_last_look(ours: Ours) -> None:
    ours.asked()
    ours.told("requests", "list")
    wanted = ours.asked()
    for words in (
        ("approve", "--yes"), ("deny", "--reason", "No."), ("ask", "--question", "Why?"),
        ("revoke", "--reason", "No."),
    ):  # fmt: skip
        said = ours.refusal("requests", words[0], "latest", *words[1:])
        newest = ours.north.submitted()[-1].request_id
        assert f"request {newest[:12]} of alice@example.org is new since you last listed" in said
    ours.told("requests", "show", "latest", "--no-mock")
    assert ours.json("requests", "approve", "latest", "--yes")["plan_hash"] == wanted.hash
    seen = ours.state / "hospitals" / "north" / "owner" / "seen_requests.json"
    assert seen.stat().st_mode & 0o777 == 0o600


def test_a_terminal_is_asked_before_anything_is_signed(
    ours: Ours, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ours.asked()
    assert "say --yes" in ours.refusal("requests", "approve", wanted.hash)
    assert "say --yes" in refusal(ours.run("requests", "approve", wanted.hash, answer="y\n"))
    monkeypatch.setattr(request_commands, "is_terminal", lambda: True)
    declined = ours.run("requests", "approve", wanted.hash, answer="n\n")
    assert declined.exit_code == 1
    assert f"study '{wanted.study}'" in declined.stdout
    assert "Nothing was signed." in declined.stderr
    assert ours.json("requests", "list")["requests"][-1]["vault"] == "undecided"
    asked = ours.run("requests", "approve", wanted.hash, "--json", answer="y\n")
    document = asked.stdout[asked.stdout.index("{") :]  # the runner repeats what was typed
    assert json.loads(document)["in_force"] is True
    assert "Sign this?" in asked.stderr
    said = ours.told("requests", "approve", wanted.hash)
    assert said.startswith(f"Already approved at north: study '{wanted.study}'")
    changed = ours.run("requests", "approve", wanted.hash, "--rounds", "2", "--yes")
    assert "Sign this?" not in changed.stderr
    assert changed.stdout.count("It is in force already; this signature takes the place") == 2


def test_a_plan_that_stops_early_takes_anyway(ours: Ours) -> None:
    wanted = ours.asked()
    said = ours.refusal("requests", "approve", wanted.hash, "--epsilon", "0.01", "--yes")
    assert "It stops before round 1 of 3" in said and "--anyway" in said
    assert ours.json("requests", "list")["requests"][-1]["vault"] == "undecided"


def test_a_plan_that_the_front_desk_hides_is_revoked_in_the_vault(ours: Ours) -> None:
    stranger = "ab" * 32
    answer = ours.json("requests", "revoke", stranger, "--reason", "Never.")
    assert answer["plan_hash"] == stranger
    assert (answer["request"], answer["told_researcher"]) == (None, False)
    words = ours.told("requests", "revoke", stranger, "--reason", "Never.", at="south")  # no desk
    assert f"Revoked at south: the plan {stranger}. The front desk does not show it" in words


@pytest.mark.parametrize("wrong", NONSENSE)
def test_an_id_that_names_no_request_is_one_sentence(wrong: str) -> None:
    one = built(1, code=traveller.source("a" * 64))
    with pytest.raises(Refused, match="No request's id or plan hash begins with") as said:
        request_selection.chosen([one], wrong)
    assert len(str(said.value)) < 200
    assert str(said.value).isprintable()


def test_what_is_wrong_with_a_request_is_said_before_anything_is_signed(ours: Ours) -> None:
    wanted = ours.asked()
    assert "begins with 'zz'" in ours.refusal("requests", "approve", "zz", "--yes")
    assert "begins with ''" in ours.refusal("requests", "deny", "", "--reason", "No.")
    said = ours.refusal("requests", "approve", wanted.hash, "--rounds", "4", "--yes")
    assert "rounds must lie between 1 and the plan's 3, got 4" in said
    assert "rounds must lie" in ours.refusal(
        "requests", "approve", wanted.hash, "--rounds", "0", "--yes"
    )
    newest = ours.json("requests", "list")["requests"][-1]
    assert (newest["plan_hash"], newest["vault"]) == (wanted.hash, "undecided")


@pytest.mark.parametrize("option", ["--epsilon", "--days"])
@pytest.mark.parametrize("wrong", ["nan", "inf", "-1", "0"])
def test_limits_that_cannot_be_are_one_sentence(ours: Ours, option: str, wrong: str) -> None:
    said = ours.refusal("requests", "approve", "latest", f"{option}={wrong}", "--yes")
    assert said.startswith(f"The {option[2:]} of an approval must be a ")
    assert f"got {wrong}" in said
    assert "days of an approval must be" in ours.refusal(
        "requests", "approve", "latest", "--days", "1e300", "--yes"
    )
    assert "holds none" in ours.refusal(
        "requests", "approve", "latest", "--keys", "/nowhere", "--yes"
    )


@pytest.mark.parametrize(
    "wrong", ["", "   ", "x" * 10_000, "a\x1b[31mb", "a\x00b", "\u202e", "\udcff"]
)
def test_a_reason_that_nobody_can_read_is_one_sentence(ours: Ours, wrong: str) -> None:
    for name, option in (("deny", "reason"), ("revoke", "reason"), ("ask", "question")):
        said = ours.refusal("requests", name, "latest", f"--{option}={wrong}")
        assert said.startswith(f"A {option} must be 1 to 2000 characters of plain text")


def test_a_strangers_key_decides_nothing(ours: Ours, tmp_path: Path) -> None:
    wanted = ours.asked()
    worked(run("approvers", "new", "--keys", tmp_path / "mallory"))
    said = ours.refusal("requests", "approve", wanted.hash, "--keys", tmp_path / "mallory", "--yes")
    assert "signed by somebody who decides at this hospital" in said


def built(number: int, *, code: str, study: str = "a-study") -> Evidence:
    request = CodeRequest(
        id=f"{number:032x}", researcher="bob@example.org", code=code, status="pending"
    )
    return Evidence(request=request, hospital="north", approval_days=30.0, problem="No plan.")


def test_an_id_or_a_hash_or_its_beginning_names_one_request_or_none() -> None:
    first, second = (built(n, code=traveller.source(c * 64)) for n, c in ((0x11, "a"), (0x12, "b")))
    pair = [first, second]
    assert request_selection.chosen(pair, "latest") is second
    assert request_selection.chosen(pair, first.request_id) is first
    assert request_selection.chosen(pair, "aaaa") is first
    assert request_selection.chosen(pair, "b" * 64) is second
    with pytest.raises(Refused, match="must name one request, and 2 begin so"):
        request_selection.chosen(pair, "0000")
    with pytest.raises(Refused, match="no request here"):
        request_selection.chosen([], "latest")
    twice = [first, replace(first, request=replace(first.request, id="0" * 31 + "9"))]
    with pytest.raises(Refused, match="2 begin so"):
        request_selection.chosen(twice, "a" * 64)


def test_a_request_without_a_plan_is_listed_and_its_code_does_not_steer_the_terminal() -> None:
    evil = built(1, code="print('\x1b[2J')")
    assert request_selection.facts(evil)["plan_hash"] is None
    assert request_selection.facts(evil)["study_epsilon"] is None
    assert request_selection.row(evil)[1] == "no plan"
    assert "\x1b" not in cli_output.plain("a\x1b[2Jb\u202e")
    assert cli_output.plain("two\nlines") == "two\nlines"


# --- the books -------------------------------------------------------------------------------


def test_the_ledger_says_what_is_left_and_which_assets_share_patients(ours: Ours) -> None:
    (asset,) = ours.json("ledger")["assets"]
    assert asset.keys() == {
        "asset", "budget", "spent_epsilon", "left_epsilon", "spent_epsilon_alone",
        "left_epsilon_alone", "events", "in_force", "sharing", "remarks",
    }  # fmt: skip
    assert asset["asset"] == "skin-lesions"
    assert asset["budget"] == {"epsilon": 8.0, "epsilon_alone": 8.0, "delta": 1e-5}
    assert (asset["spent_epsilon"], asset["left_epsilon"]) == (0.0, 8.0)
    words = ours.told("ledger")
    assert words.startswith("skin-lesions at north\n")
    assert "ε 8.00" in words
    assert ours.told("ledger", at="south") == "south has published nothing yet.\n"


def test_an_account_is_written_with_its_events_as_json() -> None:
    account = vault_api.LedgerSummary(
        asset="skin",
        spent_epsilon=9.0,
        spent_epsilon_alone=9.5,
        budget=Budget(epsilon=8.0, delta=1e-5),
        events=('{"kind":"gaussian","noise_multiplier":2.0}',),
        sharing=("moles",),
        in_force=("ab" * 32,),
    )
    facts = ledger_commands.ledger_facts(account)
    assert (facts["left_epsilon"], facts["left_epsilon_alone"]) == (0.0, 0.0)
    assert (facts["spent_epsilon"], facts["spent_epsilon_alone"]) == (9.0, 9.5)
    assert facts["events"] == [{"kind": "gaussian", "noise_multiplier": 2.0}]
    assert (facts["sharing"], facts["in_force"]) == (["moles"], ["ab" * 32])


def test_what_is_not_finite_is_null_in_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    cli_output.document({"a": float("inf"), "b": [float("nan"), 1.0]})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.0]}


def test_the_audit_log_is_exported_once_and_holds(ours: Ours, tmp_path: Path) -> None:
    out = tmp_path / "log"
    answer = ours.json("audit", "export", "--out", out)
    data = out.read_bytes()
    assert out.stat().st_mode & 0o077 == 0
    verdict = audit_chain.verify(data, verify_key=ours.north.verify_key)
    assert not verdict.problems and verdict.head is not None
    assert answer == {
        "hospital": "north",
        "file": str(out),
        "bytes": len(data),
        "verify_key": ours.north.verify_key,
        "entries": verdict.entries,
        "head": {"number": verdict.head.number, "sha256": verdict.head.sha256},
    }
    assert "is there already" in ours.refusal("audit", "export", "--out", out)
    assert out.read_bytes() == data
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for wrong in (tmp_path, tmp_path / "no" / "folder", tmp_path / ("x" * 300), tmp_path / "link"):
        ours.refusal("audit", "export", "--out", wrong)
    assert not (tmp_path / "target").exists()
    words = ours.told("audit", "export", "--out", tmp_path / "second")
    assert f"consilium audit verify {tmp_path / 'second'} --key" in words
    sound = worked(run("audit", "verify", out, "--key", ours.north.verify_key))
    assert sound.startswith(f"The log is sound: {verdict.entries} entries of north")


def test_the_last_refusals_of_the_front_desk_are_listed_without_steering_the_terminal(
    ours: Ours,
) -> None:
    with pytest.raises(InvalidMessage):
        HospitalClient(
            HospitalLogin(
                hospital="north",
                url=ours.north.settings.url,
                email="mallory\x1b@example.org",
                password="wrong",
            )
        )
    found = ours.json("log", "refusals", "--last", "1")["refusals"]
    assert [one["kind"] for one in found] == ["login"]
    assert found[0].keys() == {"at_unix_s", "kind", "who", "path", "sentence"}
    words = ours.told("log", "refusals", "--last", "1")
    assert "login" in words and "\x1b" not in words
    assert "The last 1 of " in words
    assert "has refused nothing yet" in ours.told("log", "refusals", at="south")
    assert "--last must be at least 1" in ours.refusal("log", "refusals", "--last", "0")


# --- rules and people ------------------------------------------------------------------------


def test_two_people_enrol_adopt_and_the_second_signature_puts_a_policy_into_force(
    ours: Ours, tmp_path: Path
) -> None:
    assert "no policy in force" in ours.told("policy", "show", at="south")
    assert ours.json("policy", "show", at="south")["policy"] is None
    assert "Signed and in force" in ours.told("policy", "adopt", at="south").replace(
        "signed", "Signed"
    )

    keys = tmp_path / "bea"
    made = json.loads(worked(run("approvers", "new", "--keys", keys, "--json")))
    assert made["made"] is True
    assert made["verify_key"] == public(SigningKey((keys / "key").read_bytes()))
    assert keys.stat().st_mode & 0o777 == 0o700
    assert "Your key was there already" in worked(run("approvers", "new", "--keys", keys))
    assert json.loads(worked(run("approvers", "new", "--keys", keys, "--json"))) == {
        **made, "made": False,
    }  # fmt: skip
    enrolled = ours.json("approvers", "enroll", "bea", made["verify_key"], at="south")
    assert (enrolled["name"], enrolled["in_force"]) == ("bea", True)
    people = ours.json("approvers", "list", at="south")
    assert {one["name"]: one["verify_key"] for one in people["approvers"]}["bea"] == (
        made["verify_key"]
    )
    assert people["signatures_needed"] == 1
    assert made["verify_key"] in ours.told("approvers", "list", at="south")

    both = tmp_path / "both.toml"
    both.write_text(site_policy.text(policy(approvers=2)))
    assert ours.json("policy", "adopt", "--file", both, at="south")["in_force"] is True
    assert "as many people must stay" in ours.refusal("approvers", "remove", "bea", at="south")

    stricter = tmp_path / "stricter.toml"
    stricter.write_text(site_policy.text(policy(approvers=2, min_patients=9)))
    first = ours.json("policy", "adopt", "--file", stricter, at="south")
    assert (first["missing_signatures"], first["in_force"]) == (1, False)
    shown = ours.json("policy", "show", at="south")
    assert shown["waiting"] == [
        {
            "action": "AdoptPolicy",
            "subject": first["subject"],
            "signer": "owner",
            "signer_key": Owner(ours.state / "hospitals" / "south").signing_key,
        }
    ]
    assert shown["written_differs"] is True
    assert shown["signatures_needed"] == 2
    words = ours.told("policy", "show", at="south")
    assert "min_patients = 5" in words
    assert f"A policy ({first['subject'][:12]}) is signed by owner and waits" in words
    assert "policy.toml says something else" in words
    again = ours.told("policy", "adopt", "--file", stricter, at="south")
    assert "not in force yet: 1 more person must sign the same" in again

    second = ours.json("policy", "adopt", "--file", stricter, "--keys", keys, at="south")
    assert (second["subject"], second["in_force"]) == (first["subject"], True)
    assert "min_patients = 9" in ours.told("policy", "show", at="south")
    assert ours.json("policy", "show", at="south")["waiting"] == []
    assert site_policy.read(ours.json("policy", "show", at="south")["policy_toml"]) == policy(
        approvers=2, min_patients=9
    )


def test_a_policy_that_cannot_be_read_is_one_sentence(ours: Ours, tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "large").write_text("#" * (site_policy.MAX_TOML_BYTES + 1))
    (tmp_path / "nan").write_text(
        site_policy.text(policy()).replace("epsilon = 8.0", "epsilon = nan")
    )
    (tmp_path / "words").write_text("be nice")
    names = ("binary", "large", "nan", "words", "nowhere", ".", "x" * 300)
    for name in names:
        ours.refusal("policy", "adopt", "--file", tmp_path / name)
    assert ours.json("policy", "show")["policy"]["terms"]["epsilon"] == 8.0


@pytest.mark.parametrize("wrong", ["", "zz", "ab" * 31, "AB" * 32, "\x1b", "owner"])
def test_a_key_that_is_none_enrols_and_dismisses_nobody(ours: Ours, wrong: str) -> None:
    ours.refusal("approvers", "enroll", "carl", wrong)
    ours.refusal("approvers", "remove", wrong)
    assert len(ours.json("approvers", "list")["approvers"]) == 1


def test_an_approver_leaves_by_name(ours: Ours, tmp_path: Path) -> None:
    made = json.loads(worked(run("approvers", "new", "--keys", tmp_path / "dan", "--json")))
    ours.told("approvers", "enroll", "dan", made["verify_key"])
    gone = ours.json("approvers", "remove", "dan")
    assert (gone["verify_key"], gone["in_force"]) == (made["verify_key"], True)
    assert len(ours.json("approvers", "list")["approvers"]) == 1


def test_a_party_is_added_by_its_words_listed_and_removed(ours: Ours) -> None:
    before = ours.json("parties", "list")
    assert before["words"] == key_fingerprint.words(before["verify_key"])
    assert len(before["parties"]) == len(parties(ours.template))
    add = ("parties", "add", "newcomer", "--institution", "New  Hospital")
    add += ("--key", NEWCOMER.verify_key, "--operator", "Chain Ltd", "--words")
    said = ours.refusal(*add, before["words"])
    assert "New Hospital reads to you must be those of the keys that you have for newcomer" in said
    assert NEWCOMER.words not in said
    assert ours.json(*add, NEWCOMER.words.upper())["in_force"] is True
    assert "newcomer is known here already, as this one" in ours.refusal(*add, NEWCOMER.words)
    known = ours.json("parties", "list")["parties"][-1]
    assert known["party"]["institution"] == "New Hospital"
    assert (known["words"], known["added_by"]) == (NEWCOMER.words, "owner")
    listed = ours.told("parties", "list")
    assert "New Hospital, run by Chain Ltd; since 20" in listed and before["words"] in listed
    gone = ours.told("parties", "remove", "newcomer")
    assert "The removal of newcomer as a party of north: Signed and in force." in gone
    assert "'newcomer' is not" in ours.refusal("parties", "remove", "newcomer")
    wrong = ("--institution", "X", "--key", "1", "--words", "")
    assert "64 lower-case" in ours.refusal("parties", "add", "x", *wrong)
    assert ours.json("parties", "list") == before


def test_a_new_key_is_not_put_into_a_folder_with_other_things(tmp_path: Path) -> None:
    used = tmp_path / "home"
    used.mkdir(mode=0o755)
    (used / "letters").write_text("private")
    assert "must be new or empty" in refusal(run("approvers", "new", "--keys", used))
    assert used.stat().st_mode & 0o777 == 0o755
    (tmp_path / "file").write_text("")
    for wrong in (tmp_path / "file", tmp_path / "file" / "x", tmp_path / ("x" * 300)):
        assert "can't be made" in refusal(run("approvers", "new", "--keys", wrong))
    (used / "key").write_bytes(b"short")
    assert "must hold 32 bytes" in refusal(run("approvers", "new", "--keys", used))


def test_a_patient_leaves_only_when_somebody_says_yes(ours: Ours) -> None:
    kept = ours.run("patients", "remove", "patient-5", answer="n\n")
    assert kept.exit_code == 1
    assert "the patient stays" in kept.stderr
    assert "say --yes" in ours.refusal("patients", "remove", "patient-5", "--json")
    nobody = ours.run("patients", "remove", "patient-5")  # no terminal: nobody says yes
    assert nobody.exit_code == 1
    assert "RemovePatient" not in ours.north.audit_log().decode()

    agreed = ours.run("patients", "remove", "patient-5", answer="y\n")
    assert agreed.exit_code == 0
    assert "has left every cohort of north" in agreed.stdout
    assert "RemovePatient" in ours.north.audit_log().decode()
    assert ours.json("patients", "remove", "patient-6", "--yes") == {
        "hospital": "north", "removed": True,
    }  # fmt: skip


@pytest.mark.parametrize("wrong", ["", " ", "nobody", "x" * 10_000, "\x1b[2J", "\udcff"])
def test_a_patient_whom_no_asset_holds_is_one_sentence(ours: Ours, wrong: str) -> None:
    ours.refusal("patients", "remove", "--yes", wrong)


def test_a_paragraph_is_made_of_lines_and_control_characters_are_refused() -> None:
    assert cli_output.paragraph("Not\u00a0now,\n  later.", what="reason") == "Not now, later."
    with pytest.raises(InvalidInput, match="A reason must be 1 to 2000"):
        cli_output.paragraph("a\x07", what="reason")
