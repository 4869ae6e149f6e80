"""One hospital's no stops nobody, and the researcher learns a number: not who, not why."""

import io
import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from federation import certificate, relay, report, study, views
from federation.progress import Display
from federation.study import Outcome, Progress
from syft_code import messages, networks
from syft_code.errors import (
    BudgetExceeded,
    InvalidInput,
    InvalidPlan,
    NotApproved,
    Refused,
    Unavailable,
)
from syft_code.messages import NO_PART, ShareHeader
from tests.federation.stand_in_parties import (
    StandInFederation,
    StandInHospital,
    collect,
    federation,
)

REFUSALS: dict[str, dict[str, object]] = {
    "undecided or denied": {"raises": {("train", 2): NotApproved(NO_PART)}},
    "over its budget": {"raises": {("train", 2): BudgetExceeded(NO_PART)}},
    "failed": {"fails": {("train", 2): NO_PART}},
    "failed without a word": {"fails": {("train", 2): ""}},
    "does not answer": {
        "raises": {
            ("train", 2): Unavailable("The front desk of vienna at http://vienna:80 is away.")
        }
    },
    "never ends": {"never_ends": {("train", 2)}},
}


@pytest.fixture(autouse=True)
def without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "collect", collect)
    monkeypatch.setattr(relay, "POLL_S", 0.001)
    monkeypatch.setattr(study, "ASK_AGAIN_S", 0.01)


@pytest.fixture
def parties() -> StandInFederation:
    return federation()


def set_up(hospital: StandInHospital, behaviour: dict[str, object]) -> None:
    for name, value in behaviour.items():
        setattr(hospital, name, value)


def told(outcome: Outcome, progress: list[Progress]) -> str:
    """All that the study's records say of what did not happen."""
    return " ".join(
        [
            outcome.stopped,
            *outcome.reasons,
            *(f"{r.absent} {r.reasons}" for r in outcome.rounds),
            *(repr(p) for p in progress if p.round == 2),
        ]
    )


@pytest.mark.parametrize("kind", REFUSALS)
def test_every_way_of_taking_no_part_looks_the_same_and_stops_nobody(
    parties: StandInFederation, kind: str
) -> None:
    set_up(parties.hospitals["vienna"], REFUSALS[kind])
    seen: list[Progress] = []
    outcome = parties.study.train(on_progress=seen.append, round_timeout_s=0.2)
    assert outcome.stopped == "" and outcome.reasons == ()
    assert [record.absent for record in outcome.rounds] == [0, 1, 0]
    assert [record.reasons for record in outcome.rounds] == [(), (), ()]
    assert outcome.rounds[1].trained == ("berlin", "lisbon", "oslo")
    assert not any(p.state == "failed" for p in seen)
    assert not any(p.hospital == "vienna" and p.state == "done" for p in seen if p.round == 2)


def test_the_weights_are_the_mean_over_those_that_took_part(parties: StandInFederation) -> None:
    plan = parties.study.plan
    outcome = parties.study.train()
    seed = int(plan.hash[:8], 16)
    first = networks.initial_weights(plan.recipe, plan.data, seed=seed)
    np.testing.assert_allclose(outcome.weights, first + 3, atol=1e-5)  # an update of 1 each round


def test_what_owners_let_be_read_comes_without_a_name_and_once(parties: StandInFederation) -> None:
    for name in ("vienna", "oslo"):
        spent = BudgetExceeded(f"The budget of {name} is spent, says vienna-coast.")
        parties.hospitals[name].raises = {("train", 2): spent}
    outcome = parties.study.train()
    assert outcome.stopped.startswith("Round 2 needs 3 hospitals and 2 took part")
    assert outcome.reasons == ("The budget of this hospital is spent, says vienna-coast.",)
    assert "budget" not in outcome.stopped
    assert [record.round for record in outcome.rounds] == [1], "what was paid for is kept"


def test_a_reason_stands_with_its_round_and_is_cut_short(parties: StandInFederation) -> None:
    parties.hospitals["vienna"].fails = {("train", 1): "Too\x1b[31m much noise. " * 100}
    outcome = parties.study.train()
    (reason,) = outcome.rounds[0].reasons
    assert reason.startswith("Too[31m much") and len(reason) == relay.LONGEST_REASON
    assert outcome.rounds[1].reasons == ()


def test_no_record_certificate_or_report_names_who_was_absent_or_why(
    parties: StandInFederation, tmp_path
) -> None:
    for kind in ("over its budget", "does not answer"):
        set_up(parties.hospitals["vienna"], REFUSALS[kind])
        parties.hospitals["oslo"].raises = {("train", 2): NotApproved(NO_PART)}
        seen: list[Progress] = []
        outcome = parties.study.train(on_progress=seen.append)
        assert "2 took part" in outcome.stopped
        for word in ("vienna", "oslo", NO_PART, "budget", "away", "http"):
            assert word not in told(outcome, seen), word
        content = certificate.certificate(outcome)
        assert "refusals" not in json.dumps(content)
        assert NO_PART not in json.dumps(content)
        report.write(tmp_path / "report.html", outcome, certificate=content)
        assert NO_PART not in (tmp_path / "report.html").read_text()


def test_an_aggregator_that_is_away_is_named(parties: StandInFederation) -> None:
    parties.aggregators[1].away = True
    outcome = parties.study.train()
    assert "0 took part" in outcome.stopped
    assert outcome.reasons == ("Aggregator aggregator-2 must answer and did not.",)


def test_a_sum_that_cannot_be_had_keeps_the_rounds_before(
    parties: StandInFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away_in_round_two(*parties: object, round_number: int, **choices: object) -> object:
        if round_number == 2:
            raise Unavailable("Aggregator aggregator-1 must answer and did not.")
        return collect(*parties, round_number=round_number, **choices)  # type: ignore[arg-type]

    monkeypatch.setattr(study, "collect", away_in_round_two)
    outcome = parties.study.train()
    assert outcome.stopped == "Aggregator aggregator-1 must answer and did not."
    assert [record.round for record in outcome.rounds] == [1]


def test_a_front_desk_that_hands_out_another_rounds_shares_is_absent(
    parties: StandInFederation,
) -> None:
    parties.hospitals["vienna"].replays = {("train", 2): ("train", 1)}
    outcome = parties.study.train()
    assert outcome.stopped == ""
    assert [record.absent for record in outcome.rounds] == [0, 1, 0]


def test_a_ticket_of_another_round_is_no_contribution(parties: StandInFederation) -> None:
    vienna = parties.hospitals["vienna"]
    seen: list[Progress] = []

    def stale(name: str) -> object:
        return vienna.tickets["train-1"]

    vienna.ticket = stale  # type: ignore[method-assign, assignment]
    outcome = parties.study.train(on_progress=seen.append)
    assert [record.absent for record in outcome.rounds] == [0, 1, 1]
    assert len([p for p in seen if p.hospital == "vienna" and p.round == 1]) == 2
    assert outcome.rounds[1].reasons == (
        "A ticket must be for the round that was asked for; this one is for another.",
    )


def test_a_ticket_without_a_share_for_each_aggregator_is_no_contribution(
    parties: StandInFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    vienna = parties.hospitals["vienna"]
    whole = vienna._seal
    monkeypatch.setattr(vienna, "_seal", lambda turn: whole(turn)[:2])
    outcome = parties.study.train()
    assert [record.absent for record in outcome.rounds] == [1, 1, 1]


def test_a_round_whose_evaluation_finds_too_few_hospitals_keeps_its_training(
    parties: StandInFederation,
) -> None:
    for name in ("berlin", "lisbon"):
        parties.hospitals[name].raises = {("evaluate", 3): BudgetExceeded(NO_PART)}
    outcome = parties.study.train()
    assert outcome.stopped == ""
    assert [record.round for record in outcome.rounds] == [1, 2, 3]
    last = outcome.rounds[-1]
    assert last.metrics == {} and last.evaluated == ("oslo", "vienna")
    assert last.absent == 0, "they trained"


def test_each_contribution_leaves_the_last_hash_of_its_hospitals_log(
    parties: StandInFederation,
) -> None:
    parties.hospitals["vienna"].raises = {("train", 2): NotApproved(NO_PART)}
    outcome = parties.study.train()
    assert "vienna" not in outcome.rounds[1].anchors
    for name, hospital in parties.hospitals.items():
        header = messages.verify(
            ShareHeader,
            outcome.rounds[2].anchors[name],
            hospital.key.verify_key.encode().hex(),
        )
        assert (header.hospital, header.purpose, header.round) == (name, "evaluate", 3)
        assert header.log_sha256 == hospital.log_sha256


def test_status_is_a_number_in_words(parties: StandInFederation) -> None:
    parties.hospitals["vienna"].approved = False
    status = parties.study.status()
    assert (status.approved, status.undecided_or_refused, status.hospitals) == (3, 1, 4)
    assert "3 of 4 hospitals have approved" in str(status)
    assert status._repr_html_() == f"<p>{status}</p>"
    parties.hospitals["vienna"].away = True
    assert parties.study.status() == status, "who is away looks as one who has not decided"
    for name in parties.hospitals:
        assert name not in repr(status) + str(status)


def test_waiting_ends_with_the_last_approval(
    parties: StandInFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    vienna = parties.hospitals["vienna"]
    vienna.approved = False
    asked: list[str] = []

    def decides_in_the_end(plan_hash: str) -> bool:
        asked.append(plan_hash)
        return len(asked) > 3

    monkeypatch.setattr(vienna, "has_approved", decides_in_the_end)
    assert parties.study.wait_for_approval(timeout_s=60).approved == 4
    assert len(asked) == 4


def test_waiting_for_three_does_not_wait_for_the_fourth(parties: StandInFederation) -> None:
    parties.hospitals["vienna"].approved = False
    began = time.monotonic()
    assert parties.study.wait_for_approval(hospitals=3, timeout_s=60).approved == 3
    assert time.monotonic() - began < 30


def test_when_the_time_is_up_enough_is_enough(parties: StandInFederation) -> None:
    parties.hospitals["vienna"].approved = False
    assert parties.study.wait_for_approval(timeout_s=0.05).approved == 3


def test_too_few_approvals_are_one_sentence_of_numbers(parties: StandInFederation) -> None:
    for name in ("vienna", "lisbon"):
        parties.hospitals[name].approved = False
    with pytest.raises(NotApproved, match="At least 3 hospitals must approve, 2 did") as raised:
        parties.study.wait_for_approval(timeout_s=0.05)
    assert not any(name in str(raised.value) for name in parties.hospitals)


@pytest.mark.parametrize("wanted", [2, 5])
def test_nobody_waits_for_fewer_than_a_sum_needs_or_more_than_there_are(
    parties: StandInFederation, wanted: int
) -> None:
    with pytest.raises(InvalidInput, match="from 3 to the 4"):
        parties.study.wait_for_approval(hospitals=wanted)


def test_a_request_goes_to_all_though_one_is_away(parties: StandInFederation) -> None:
    parties.hospitals["berlin"].away = True
    parties.study.submit()
    assert [len(h.submitted) for h in parties.hospitals.values()] == [0, 1, 1, 1]


def test_a_request_that_reaches_too_few_says_so(
    parties: StandInFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    parties.hospitals["berlin"].away = True

    def refuses(plan: object) -> None:
        raise Refused("lisbon has no asset 'skin-lesions': see its catalogue.")

    monkeypatch.setattr(parties.hospitals["lisbon"], "submit", refuses)
    with pytest.raises(Unavailable, match="at least 3 hospitals and reached 2") as raised:
        parties.study.submit()
    assert "this hospital has no asset" in str(raised.value)
    assert "berlin" not in str(raised.value) and "lisbon" not in str(raised.value)


def test_an_owner_who_asks_is_heard_and_answered(parties: StandInFederation) -> None:
    def note(author: str, text: str, at: int) -> SimpleNamespace:
        return SimpleNamespace(author=author, text=text, at_unix_s=at)

    parties.hospitals["oslo"].said = [note("owner", "Why so many rounds?", 10)]
    parties.hospitals["lisbon"].said = [note("owner", "Who pays?", 20)]
    parties.hospitals["vienna"].away = True
    heard = parties.study.notes()
    assert [(name, one.text) for name, one in heard] == [
        ("oslo", "Why so many rounds?"),
        ("lisbon", "Who pays?"),
    ]
    shown = views.notes(heard)
    assert list(shown["hospital"]) == ["oslo", "lisbon"]
    assert shown["when (UTC)"][0] == "1970-01-01 00:00"
    assert views.notes([]).empty
    parties.study.answer("oslo", "Fewer learn nothing.")
    assert parties.hospitals["oslo"].answers == ["Fewer learn nothing."]
    assert parties.hospitals["lisbon"].answers == []
    with pytest.raises(InvalidPlan, match="'nowhere' is not a hospital"):
        parties.study.answer("nowhere", "Hello?")


def test_a_display_counts_who_took_no_part_and_names_nobody(parties: StandInFederation) -> None:
    written = io.StringIO()
    display = Display(Console(file=written, width=200), rounds=3)
    said = "We have [red]no[/red] approval."
    parties.hospitals["vienna"].raises = {
        ("train", 1): NotApproved(said),
        ("train", 2): NotApproved(said),
    }
    with display.shown():
        parties.study.train(on_progress=display.on_progress, on_round=display.on_round)
    shown = written.getvalue()
    rounds = [line for line in shown.splitlines() if line.startswith("Round")]
    assert len(rounds) == 3
    assert "1 took no part" in rounds[0] and "took no part" not in rounds[2]
    assert "vienna" not in rounds[0] + rounds[1]
    assert shown.count(f"Not every hospital takes part: {said}") == 1, "said once, and no markup"
    assert not display._tasks, "no bar is left of who began and did not end"


def test_a_mistake_in_our_own_code_is_not_taken_for_a_hospitals_no(
    parties: StandInFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parties.hospitals["vienna"], "upload", lambda data: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        parties.study.train()
