"""One hospital's no stops nobody, and the researcher learns a number: not who, not why."""

import io
import json
import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from federation.certificate import certificate
from federation.reporting import notebook_views, report
from federation.reporting.progress_bar import Display
from federation.researcher import hospital_round, relay, rounds, study
from federation.researcher.outcome import Outcome, RoundRecord, model_sha256
from federation.researcher.relay import RoundProgress
from federation.researcher.study import Study
from federation.strategy.server_optimizer import ServerState, adaptive_step
from syft_code.errors import (
    BudgetExceeded,
    InvalidInput,
    InvalidPlan,
    NotApproved,
    Refused,
    Unavailable,
)
from syft_code.local_training.broadcast import PublicVectors
from syft_code.models import networks
from syft_code.plans import messages
from syft_code.plans.algorithms import FedAdam, Scaffold
from syft_code.plans.messages import NO_PART, ShareHeader, Signed, Ticket
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import Compression, Robust, Sharing
from syft_code.secret_sharing import sharing
from syft_code.secret_sharing.envelope import SealedShare
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests.federation.stand_in_parties import (
    StandInFederation,
    StandInHospital,
    Turn,
    federation,
)
from tests.waiting import until

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
    monkeypatch.setattr(hospital_round, "POLL_S", 0.001)
    monkeypatch.setattr(study, "ASK_AGAIN_S", 0.01)


@pytest.fixture
def parties() -> StandInFederation:
    return federation()


def set_up(hospital: StandInHospital, behaviour: dict[str, object]) -> None:
    for name, value in behaviour.items():
        setattr(hospital, name, value)


def told(outcome: Outcome, progress: list[RoundProgress]) -> str:
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
    seen: list[RoundProgress] = []
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
    assert outcome.stopped.endswith("or write another plan.")
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
        seen: list[RoundProgress] = []
        outcome = parties.study.train(on_progress=seen.append)
        assert "2 took part" in outcome.stopped
        assert "Why the others took no part is not told" in outcome.stopped
        for word in ("vienna", "oslo", NO_PART, "budget", "away", "http"):
            assert word not in told(outcome, seen), word
        content = certificate.certificate(outcome)
        assert "refusals" not in json.dumps(content)
        assert NO_PART not in json.dumps(content)
        report.write(tmp_path / "report.html", outcome, certificate=content)
        assert NO_PART not in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("call", ["open", "choose", "submit", "release"])
def test_an_aggregator_that_is_away_is_named_and_ends_a_study_that_needs_all(
    parties: StandInFederation, call: str
) -> None:
    parties.aggregators[1].away_for = {call}
    outcome = parties.study.train()
    assert outcome.stopped.startswith("Aggregator aggregator-2 must answer and did not.")
    assert "call train() again" in outcome.stopped
    assert outcome.rounds == () and outcome.reasons == ()


def test_an_aggregator_that_is_away_for_some_shares_costs_the_others_nothing(
    parties: StandInFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = parties.aggregators[1]
    take = second.submit

    def away_for_lisbon(share: SealedShare) -> None:
        if json.loads(share.header.message)["hospital"] == "lisbon":
            raise Unavailable("Aggregator aggregator-2 must answer and did not.")
        take(share)

    monkeypatch.setattr(second, "submit", away_for_lisbon)
    outcome = parties.study.train()
    assert outcome.stopped == ""
    assert all(record.trained == ("berlin", "oslo", "vienna") for record in outcome.rounds)


def test_a_sum_that_cannot_be_had_keeps_the_rounds_before_and_can_be_had_later(
    parties: StandInFederation,
) -> None:
    records: list[RoundRecord] = []

    def away_after_round_one(record: RoundRecord, weights: np.ndarray) -> None:
        records.append(record)
        parties.aggregators[0].away_for = {"release"}

    outcome = parties.study.train(on_round=away_after_round_one)
    assert outcome.stopped.startswith("Aggregator aggregator-1 must answer and did not.")
    assert [record.round for record in outcome.rounds] == [1]
    parties.aggregators[0].away_for = set()
    again = parties.study.train()
    assert again.stopped == "" and [record.round for record in again.rounds] == [1, 2, 3]
    assert same(again.rounds[0], records[0])


def same(one: RoundRecord, other: RoundRecord) -> bool:
    return replace(one, seconds=0.0) == replace(other, seconds=0.0)


def test_a_finished_study_comes_out_the_same_in_a_new_process_and_asks_nobody_new(
    parties: StandInFederation,
) -> None:
    parties.hospitals["vienna"].raises = {("train", 2): NotApproved(NO_PART)}
    first = parties.study.train()
    calls = {name: list(one.calls) for name, one in parties.hospitals.items()}
    fetched = {name: len(one.fetched) for name, one in parties.hospitals.items()}
    parties.hospitals["vienna"].raises = {}
    parties.hospitals["oslo"].away = True
    second = parties.new_process().train()
    np.testing.assert_array_equal(second.weights, first.weights)
    for one, other in zip(first.rounds, second.rounds, strict=True):
        assert (one.trained, one.groups, one.headers) == (
            other.trained,
            other.groups,
            other.headers,
        )
        assert (one.metrics, one.evaluated, one.absent) == (
            other.metrics,
            other.evaluated,
            other.absent,
        )
        assert one.upload_bytes == other.upload_bytes
        assert (one.epsilon, one.delta) == (other.epsilon, other.delta), "aggregators hold them"
    for name, hospital in parties.hospitals.items():
        assert len(hospital.fetched) == fetched[name], "no share travels twice"
        assert hospital.calls == calls[name], "what was summed is asked of nobody again"
    assert ("train", 2) in calls["vienna"]


class Killed(BaseException):
    """The researcher's process ends here."""


@pytest.mark.parametrize("call", ["submit", "choose", "release"])
@pytest.mark.parametrize("after", [1, 2, 4])
def test_a_researcher_who_is_stopped_in_the_middle_of_a_round_goes_on_in_a_new_process(
    parties: StandInFederation, monkeypatch: pytest.MonkeyPatch, call: str, after: int
) -> None:
    second = parties.aggregators[1]
    act, left = getattr(second, call), [after]

    def fatal(*given: object, **named: object) -> object:
        left[0] -= 1
        if left[0] == 0:
            raise Killed
        return act(*given, **named)

    monkeypatch.setattr(second, call, fatal)
    before = set(threading.enumerate())
    with pytest.raises(Killed):
        parties.study.train()
    until(lambda: before.issuperset(threading.enumerate()))  # a killed process leaves no thread
    outcome = parties.new_process().train()
    assert outcome.stopped == ""
    assert [record.absent for record in outcome.rounds] == [0, 0, 0]
    np.testing.assert_allclose(
        outcome.weights, ServerState.first(outcome.plan).weights + 3, atol=1e-4
    )
    trained = [turn for turn in parties.hospitals["oslo"].given if turn[0] == "train"]
    assert trained == [("train", 1), ("train", 2), ("train", 3)], "each round once"


def test_a_set_that_one_aggregator_chose_before_is_the_rounds_set(
    parties: StandInFederation,
) -> None:
    """The researcher's process ended between two aggregators' choices."""
    parties.hospitals["vienna"].raises = {("train", 1): NotApproved(NO_PART)}
    parties.aggregators[1].away_for = {"release"}
    assert "aggregator-2" in parties.study.train().stopped
    parties.aggregators[1].away_for = set()
    parties.aggregators[1].choices.clear()
    parties.aggregators[2].choices.clear()
    parties.hospitals["vienna"].raises = {}
    outcome = parties.new_process().train()
    assert outcome.stopped == ""
    assert [record.absent for record in outcome.rounds] == [1, 0, 0]
    assert ("train", 1) not in parties.hospitals["vienna"].calls[1:]


def test_a_set_that_was_promised_waits_for_the_hospital_that_is_missing(
    parties: StandInFederation,
) -> None:
    everybody = tuple(parties.hospitals)
    parties.aggregators[0].choose_for_good(("train", 1), everybody)
    parties.hospitals["oslo"].away = True
    outcome = parties.study.train()
    assert "promised" in outcome.stopped and "call train() again" in outcome.stopped
    assert "oslo" not in outcome.stopped
    assert not any(one.choices for one in parties.aggregators[1:]), "no other set is chosen"


def test_sets_that_can_never_meet_end_a_study_with_a_sentence(parties: StandInFederation) -> None:
    parties.aggregators[0].choose_for_good(("train", 1), ("berlin", "lisbon", "oslo"))
    parties.aggregators[1].choose_for_good(("train", 1), ("lisbon", "oslo", "vienna"))
    outcome = parties.study.train()
    assert "different ones for good" in outcome.stopped
    assert "train() again" not in outcome.stopped
    assert not any(one.calls for one in parties.hospitals.values()), "nobody trains for nothing"


def two_of_three(**changes: object) -> StandInFederation:
    return federation(sharing=Sharing(needed=2), **changes)


@pytest.mark.parametrize("away", [0, 1, 2])
def test_any_two_of_three_aggregators_suffice_if_the_plan_says_so(away: int) -> None:
    parties = two_of_three()
    parties.aggregators[away].away = True
    outcome = parties.study.train()
    assert outcome.stopped == ""
    assert [record.absent for record in outcome.rounds] == [0, 0, 0]
    first = ServerState.first(outcome.plan).weights
    np.testing.assert_allclose(outcome.weights, first + 3, atol=1e-4)


@pytest.mark.parametrize("call", ["choose", "release"])
def test_an_aggregator_that_goes_away_before_the_sum_is_replaced_by_another(call: str) -> None:
    parties = two_of_three()
    parties.aggregators[0].away_for = {call}
    outcome = parties.study.train()
    assert outcome.stopped == "" and len(outcome.rounds) == 3


def test_one_of_two_needed_aggregators_is_not_enough() -> None:
    parties = two_of_three()
    parties.aggregators[0].away = parties.aggregators[2].away = True
    outcome = parties.study.train()
    assert "aggregator-1" in outcome.stopped or "aggregator-3" in outcome.stopped
    assert outcome.rounds == ()


def test_an_aggregator_that_comes_back_late_is_told_of_the_study(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parties = two_of_three()
    parties.aggregators[2].away = True

    def swap(record: RoundRecord, weights: np.ndarray) -> None:
        parties.aggregators[2].away = False
        parties.aggregators[0].away = True

    outcome = parties.study.train(on_round=swap)
    assert outcome.stopped == "" and len(outcome.rounds) == 3


def lie_about_the_weight(hospital: StandInHospital, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have one hospital's shares carry one patient more than the plan declares."""
    honest, seal = sharing.encode_weight, hospital._seal
    declared = hospital.plan.hospital(hospital.name).patients

    def heavier(weight: int, ring_bits: int, *, hospitals: int) -> sharing.Ring:
        return honest(weight + (weight == declared), ring_bits, hospitals=hospitals)

    def lying(turn: Turn) -> tuple[str, ...]:
        with SEALING, monkeypatch.context() as patched:
            patched.setattr(sharing, "encode_weight", heavier)
            return seal(turn)

    monkeypatch.setattr(hospital, "_seal", lying)


SEALING = threading.Lock()


def test_a_wrong_weight_is_found_and_the_sum_not_used(
    parties: StandInFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    lie_about_the_weight(parties.hospitals["vienna"], monkeypatch)
    outcome = parties.study.train()
    assert "must have the weight of its hospitals" in outcome.stopped
    assert outcome.rounds == () and "vienna" not in outcome.stopped


def test_a_robust_rule_withstands_a_hospital_that_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    names = tuple(f"site-{letter}" for letter in "abcdefghi")
    parties = federation(names=names, robust=Robust(rule="median", groups=3, tolerated=1))
    parties.hospitals["site-a"].update = 60.0
    lie_about_the_weight(parties.hospitals["site-a"], monkeypatch)
    outcome = parties.study.train()
    assert outcome.stopped == ""
    for record in outcome.rounds:
        assert sorted(name for group in record.groups for name in group) == sorted(names)
        assert [len(group) for group in record.groups] == [3, 3, 3]
    first = ServerState.first(outcome.plan).weights
    np.testing.assert_allclose(outcome.weights, first + 3, atol=1e-4)


def test_a_robust_rule_without_enough_groups_stops_the_study_before_anything_is_chosen() -> None:
    names = tuple(f"site-{letter}" for letter in "abcdefghi")
    parties = federation(names=names, robust=Robust(rule="median", groups=3, tolerated=1))
    parties.hospitals["site-a"].away = True
    outcome = parties.study.train()
    assert "needs 9 hospitals, 3 groups of 3, and 8 took part" in outcome.stopped
    assert not any(one.choices for one in parties.aggregators)


def test_coordinates_that_did_not_travel_stay_as_they_were() -> None:
    parties = federation(
        compression=Compression(kept=0.25), frozen_layers=1, rounds=1, evaluation=None
    )
    plan = parties.study.plan
    outcome = parties.study.train()
    moved = outcome.weights - ServerState.first(plan).weights
    frozen = VectorLayout.of(plan).trained.start
    assert frozen > 0 and not moved[:frozen].any()
    assert np.count_nonzero(moved) == VectorLayout.of(plan).sent_count < len(moved) - frozen
    np.testing.assert_allclose(moved[moved != 0], 1, atol=1e-4)


def test_scaffolds_control_variate_moves_by_the_weight_of_those_that_took_part() -> None:
    parties = federation(algorithm=Scaffold(), evaluation=None)
    plan = parties.study.plan
    parties.hospitals["vienna"].raises = {("train", 1): NotApproved(NO_PART)}
    seen: dict[int, np.ndarray] = {}
    oslo = parties.hospitals["oslo"]
    start = oslo.start_round

    def looking(agreed: Plan, call: Signed) -> Ticket:
        asked = json.loads(call.message)
        seen[asked["round"]] = np.frombuffer(oslo.blobs[asked["weights_sha256"]], "<f4")
        return start(agreed, call)

    oslo.start_round = looking  # type: ignore[method-assign]
    outcome = parties.study.train()
    count = len(outcome.weights)
    patients = {h.name: h.patients for h in plan.hospitals}
    part = 1 - patients["vienna"] / sum(patients.values())
    assert all(
        len(blob) == VectorLayout.of(plan).broadcast_length("train") for blob in seen.values()
    )
    assert not seen[1][count:].any()
    np.testing.assert_allclose(seen[2][count:], part, atol=1e-4)
    np.testing.assert_allclose(seen[3][count:], part + 1, atol=1e-4)
    np.testing.assert_allclose(outcome.weights, ServerState.first(plan).weights + 3, atol=1e-4)


def test_an_adaptive_study_that_is_taken_up_again_has_the_moments_and_the_average_that_it_had() -> (
    None
):
    """Each update is 1 in every number; each party answers the same call or none."""
    adam = FedAdam(learning_rate=0.5)
    parties = federation(algorithm=adam, averaging=0.5)
    plan = parties.study.plan
    for name in ("berlin", "lisbon"):
        parties.hospitals[name].raises = {("train", 3): NotApproved(NO_PART)}
    stopped = parties.study.train()
    assert len(stopped.rounds) == 2 and stopped.stopped
    for name in ("berlin", "lisbon"):
        parties.hospitals[name].raises = {}
    outcome = parties.new_process().train()
    assert outcome.stopped == "" and len(outcome.rounds) == 3

    moments = ServerState.first(plan).moments
    weights = ServerState.first(plan).weights.astype(np.float64)
    models = []
    for _ in range(3):
        moments, change = adaptive_step(adam, moments, np.ones(len(weights)))
        weights = weights + change
        models.append(weights)
    average = (models[0] / 4 + models[1] / 2 + models[2]) / 1.75
    np.testing.assert_allclose(outcome.weights, average, atol=1e-4)
    evaluated = json.loads(parties.hospitals["oslo"].given[("evaluate", 3)].message)
    assert evaluated["weights_sha256"] == model_sha256(outcome.weights)
    again = parties.new_process().train()
    assert np.array_equal(again.weights, outcome.weights)


def test_a_study_needs_the_vectors_that_its_plan_names() -> None:
    start = np.linspace(-1, 1, 147).astype(np.float32)
    parties = federation()
    agreed = replace(parties.study.plan, start_sha256=model_sha256(start))
    options: dict[str, Any] = {"hospitals": [], "aggregators": [], "key": parties.key}
    assert Study(agreed, **options, public=PublicVectors(start=start)).plan == agreed
    with pytest.raises(InvalidInput, match="start must be the vector"):
        Study(agreed, **options)


def test_a_front_desk_that_hands_out_another_rounds_shares_is_absent(
    parties: StandInFederation,
) -> None:
    parties.hospitals["vienna"].replays = {("train", 2): ("train", 1)}
    outcome = parties.study.train()
    assert outcome.stopped == ""
    assert [record.absent for record in outcome.rounds] == [0, 1, 0]


def test_a_ticket_of_another_round_is_no_contribution(parties: StandInFederation) -> None:
    vienna = parties.hospitals["vienna"]
    seen: list[RoundProgress] = []
    ask = vienna.ticket

    def stale(name: str) -> object:
        return ask("train-1")

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


def test_an_evaluation_says_how_far_its_noise_throws_each_figure(
    parties: StandInFederation,
) -> None:
    last = parties.study.train().rounds[-1]
    assert last.metrics and last.errors.keys() >= last.metrics.keys()
    assert all(error > 0 for name, error in last.errors.items() if not name.startswith("recall"))


def test_a_round_whose_evaluation_finds_too_few_hospitals_keeps_its_training(
    parties: StandInFederation, tmp_path
) -> None:
    for name in ("berlin", "lisbon"):
        parties.hospitals[name].raises = {("evaluate", 3): BudgetExceeded(NO_PART)}
    outcome = parties.study.train()
    assert outcome.stopped == ""
    assert [record.round for record in outcome.rounds] == [1, 2, 3]
    last = outcome.rounds[-1]
    assert last.errors == {}
    assert last.metrics == {} and last.evaluated == ("oslo", "vienna")
    assert last.absent == 0, "they trained"
    assert last.unevaluated == (
        "There are no figures after round 3: an evaluation needs 3 hospitals, and 2 took part. Why the "
        "others took no part is not told: they have not decided, refuse, failed or do not answer, and "
        "their owners choose what a researcher may read of it."
    )
    assert last.unevaluated in str(outcome)
    content = certificate.certificate(outcome)
    report.write(tmp_path / "report.html", outcome, certificate=content)
    assert last.unevaluated in (tmp_path / "report.html").read_text()


def test_a_hospital_that_holds_nobody_out_takes_no_evaluation_from_the_others(
    parties: StandInFederation,
) -> None:
    said = "vienna holds no patient out, as its card in the catalogue says."
    parties.hospitals["vienna"].raises = {("evaluate", 3): Refused(said)}
    last = parties.study.train().rounds[-1]
    assert last.metrics and last.errors and last.unevaluated == ""
    assert last.evaluated == ("berlin", "lisbon", "oslo") and len(last.trained) == 4
    assert last.reasons == (
        "this hospital holds no patient out, as its card in the catalogue says.",
    )


def test_each_contribution_leaves_the_last_hash_of_its_hospitals_log(
    parties: StandInFederation,
) -> None:
    parties.hospitals["vienna"].raises = {("train", 2): NotApproved(NO_PART)}
    outcome = parties.study.train()
    assert "vienna" not in outcome.rounds[1].headers["train"]
    for name, hospital in parties.hospitals.items():
        header = messages.verify(
            ShareHeader,
            outcome.rounds[2].headers["evaluate"][name],
            hospital.key.verify_key.encode().hex(),
        )
        assert (header.hospital, header.purpose, header.round) == (name, "evaluate", 3)
        assert header.log_sha256 == hospital.log_sha256


def test_a_hospital_that_states_other_weights_is_no_contribution(
    parties: StandInFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    vienna = parties.hospitals["vienna"]
    whole = vienna._seal

    def seal(turn: Turn) -> tuple[str, ...]:
        right = vienna.started_with[f"train-{turn[1]}"]
        vienna.started_with[f"train-{turn[1]}"] = "00" * 32
        shares = whole(turn)
        vienna.started_with[f"train-{turn[1]}"] = right
        return shares

    monkeypatch.setattr(vienna, "_seal", seal)
    outcome = parties.study.train()
    assert [record.absent for record in outcome.rounds] == [1, 1, 1]
    assert "the round and the weights that were asked" in outcome.rounds[0].reasons[0]


def test_a_study_that_comes_to_other_weights_than_before_stops(
    parties: StandInFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a machine would that adds up otherwise than the one which began."""
    assert parties.study.train().stopped == ""
    exact = rounds.step
    monkeypatch.setattr(rounds, "step", lambda *about: shifted(exact(*about)))
    again = parties.new_process().train()
    assert [record.round for record in again.rounds] == [1]
    assert again.stopped.startswith("Round 2 was summed over updates of other weights")


def shifted(model: ServerState) -> ServerState:
    return replace(model, weights=np.nextafter(model.weights, np.float32(np.inf)))


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


def test_waiting_tells_how_many_are_missing_at_once_and_when_it_changes(
    parties: StandInFederation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(study, "ASK_AGAIN_S", 0.01)
    vienna = parties.hospitals["vienna"]
    answers = [False, False, False, True]
    monkeypatch.setattr(vienna, "has_approved", lambda plan_hash: answers.pop(0))
    parties.study.wait_for_approval(timeout_s=60)
    assert capsys.readouterr().out.splitlines() == [
        "3 of 4 hospitals have approved; 1 waits for the data owner's signature, has refused or "
        "does not answer. That is enough to train: stop waiting (Ctrl-C) and call train(), or wait "
        "for the others.",
        "4 of 4 hospitals have approved.",
    ]


def test_who_stops_waiting_reads_what_stands_and_loses_nothing(
    parties: StandInFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    vienna = parties.hospitals["vienna"]
    vienna.approved = False

    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(study.time, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt) as said:
        parties.study.wait_for_approval(timeout_s=60, on_change=lambda status: None)
    assert str(said.value).startswith("You stopped waiting. 3 of 4 hospitals have approved; 1 ")
    assert "call wait_for_approval() again, or train() once 3 have approved" in str(said.value)
    vienna.approved = True
    assert parties.study.wait_for_approval(timeout_s=0.05).approved == 4


def test_waiting_for_three_does_not_wait_for_the_fourth(parties: StandInFederation) -> None:
    parties.hospitals["vienna"].approved = False
    wait = parties.study.wait_for_approval(hospitals=3, timeout_s=10_000)  # past the test's limit
    assert wait.approved == 3


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
    shown = notebook_views.notes(heard)
    assert list(shown["hospital"]) == ["oslo", "lisbon"]
    assert shown["when (UTC)"][0] == "1970-01-01 00:00"
    assert notebook_views.notes([]).empty
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
