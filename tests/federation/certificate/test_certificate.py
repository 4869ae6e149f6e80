"""A certificate says what a study cost, and whoever tampers with it is found out."""

import copy
import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Sequence

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant

from federation.certificate import certificate, disclosure_statements, verification
from federation.certificate.certificate import DEMO_ONLY
from federation.evaluation import baselines, exact_metrics, model_file
from federation.researcher.outcome import Outcome, model_sha256
from syft_code import canonical
from syft_code.errors import InvalidInput
from syft_code.models import networks
from syft_code.plans import traveller
from syft_code.plans.algorithms import Ewc, Scaffold
from syft_code.plans.messages import PURPOSES, Purpose, Signed
from syft_code.plans.plan_parts import Compression, Evaluation, ReleaseSchedule, Robust, Sharing
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import GlobalAverage, GroupNorm, Linear
from syft_code.secret_sharing.vector_layout import VectorLayout


@pytest.fixture(scope="module")
def content(skin_demo) -> dict:
    return certificate.certificate(skin_demo.outcome)


def stated(outcome: Outcome, hospital: str, sign_anew, factor: float) -> Outcome:
    """The same study, but one hospital's ledger stated something else throughout."""
    rounds = tuple(
        dataclasses.replace(
            r,
            epsilon=r.epsilon | {hospital: r.epsilon[hospital] * factor},
            epsilon_alone=r.epsilon_alone | {hospital: r.epsilon_alone[hospital] * factor},
            headers={
                purpose: signed
                | {
                    name: sign_anew(
                        one,
                        **{
                            epsilon: json.loads(one.message)[epsilon] * factor
                            for epsilon in ("epsilon", "epsilon_alone")
                        },
                    )
                    for name, one in signed.items()
                    if name == hospital
                }
                for purpose, signed in r.headers.items()
            },
        )
        for r in outcome.rounds
    )
    return dataclasses.replace(outcome, rounds=rounds)


def without(
    outcome: Outcome, hospital: str, *, in_rounds: set[int], purposes: Sequence[Purpose] = PURPOSES
) -> Outcome:
    """The same study, but one hospital did not contribute to some rounds."""
    others = lambda names: tuple(name for name in names if name != hospital)  # noqa: E731
    rounds = []
    for r in outcome.rounds:
        if r.round in in_rounds:
            headers = r.headers | {p: pick(r.headers[p], others) for p in purposes}
            r = dataclasses.replace(r, evaluated=others(r.evaluated), headers=headers)
            if "train" in purposes:
                r = dataclasses.replace(
                    r,
                    trained=others(r.trained),
                    groups=tuple(map(others, r.groups)),
                    epsilon=pick(r.epsilon, others),
                    epsilon_alone=pick(r.epsilon_alone, others),
                    delta=pick(r.delta, others),
                    absent=r.absent + 1,
                )
        rounds.append(r)
    return dataclasses.replace(outcome, rounds=tuple(rounds))


def pick(values: dict, names: Callable[[Iterable[str]], tuple[str, ...]]) -> dict:
    return {name: values[name] for name in names(values)}


def test_a_fresh_certificate_holds_also_after_a_way_through_a_file(
    content, researcher_key, tmp_path
) -> None:
    assert verification.check(content) == []
    certificate.write(tmp_path / "certificate.json", content, key=researcher_key)
    again = certificate.read(tmp_path / "certificate.json")
    assert again == content
    assert verification.check(again) == []


def test_it_names_the_study_its_code_its_parties_and_its_unit_of_privacy(
    skin_demo, content
) -> None:
    plan = skin_demo.outcome.plan
    assert content["plan_hash"] == plan.hash
    assert content["code_sha256"] == traveller.source_sha256(plan.hash)
    assert content["model"]["weights_sha256"] == model_sha256(skin_demo.outcome.weights)
    assert [h["verify_key"] for h in content["hospitals"]] == [h.verify_key for h in plan.hospitals]
    assert [h["declared_patients"] for h in content["hospitals"]] == [60, 40, 30, 20]
    assert content["privacy"]["unit"] == "lesion (lesion_id)"
    assert "finest grouping" in content["privacy"]["unit_sentence"]
    assert content["privacy"]["neighbouring_relation"] == "add or remove one patient"
    assert content["stand_in"] and content["stand_in_sentence"].startswith("STAND-IN")


def test_epsilon_is_that_of_an_accountant_asked_directly(skin_demo, content) -> None:
    dp = skin_demo.outcome.plan.dp_sgd
    accountant = PLDAccountant(dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    step = dp_accounting.PoissonSampledDpEvent(
        dp.sample_rate, dp_accounting.GaussianDpEvent(dp.noise_multiplier)
    )
    accountant.compose(step, 3 * dp.steps)
    expected = accountant.get_epsilon(1e-5)
    for own in content["hospitals"]:
        assert own["epsilon_pld_by_group"]["training"] == pytest.approx(expected, rel=0.01)
        assert own["epsilon"] == max(own["epsilon_pld"], own["epsilon_stated_by_ledger"])
        assert own["second_accountant"] == "prv"
        assert own["epsilon_second"] == pytest.approx(own["epsilon_pld"], rel=0.02)
        assert own["accountants_agree"] is True


def test_the_larger_group_counts_and_the_last_evaluation_is_paid_for(
    skin_demo, train_study
) -> None:
    plan = dataclasses.replace(
        skin_demo.outcome.plan,
        evaluation=Evaluation(noise_multiplier=1.0, after_rounds=(1, 2, 3)),
    )
    outcome = train_study(plan, skin_demo.hospitals).outcome
    content = certificate.certificate(outcome)
    own = content["hospitals"][0]
    groups = own["epsilon_pld_by_group"]
    assert own["epsilon"] == groups["held-out"] > groups["training"]
    assert own["epsilon_stated_by_ledger"] == own["epsilon"], "the last evaluation is paid for"
    assert verification.check(content) == []


def test_a_ledger_that_states_more_is_believed(skin_demo, sign_anew) -> None:
    outcome = stated(skin_demo.outcome, "south", sign_anew, 1.3)
    content = certificate.certificate(outcome)
    own = content["hospitals"][1]
    assert own["epsilon"] == own["epsilon_stated_by_ledger"] > 1.2 * own["epsilon_pld"]
    assert verification.check(content) == []


@pytest.mark.parametrize(("factor", "found"), [(0.98, True), (0.5, True), (0.995, False)])
def test_a_ledger_that_states_less_than_one_percent_below_is_flagged(
    skin_demo, sign_anew, factor, found
) -> None:
    content = certificate.certificate(stated(skin_demo.outcome, "south", sign_anew, factor))
    sentences = verification.check(content)
    assert bool(sentences) == found
    assert all("south: the ledger states" in sentence for sentence in sentences)
    assert content["hospitals"][1]["epsilon"] >= content["hospitals"][1]["epsilon_pld"]


def test_a_round_that_failed_after_it_was_reserved_is_not_left_out(skin_demo) -> None:
    """Its ledger holds three rounds, two of which contributed."""
    outcome = without(skin_demo.outcome, "south", in_rounds={2})
    content = certificate.certificate(outcome)
    own = content["hospitals"][1]
    assert own["rounds_trained"] == [1, 3]
    assert [one["absent"] for one in content["rounds"]] == [0, 1, 0]
    assert own["epsilon"] == own["epsilon_stated_by_ledger"] > own["epsilon_pld"]
    assert verification.check(content) == []


def test_a_hospital_that_gave_nothing_states_no_epsilon_and_no_log(skin_demo) -> None:
    outcome = without(skin_demo.outcome, "south", in_rounds={1, 2, 3})
    content = certificate.certificate(outcome)
    own = content["hospitals"][1]
    assert own["epsilon"] is None and "stays paid" in own["note"]
    assert own["statements"] == [] and own["log_sha256"] is None
    assert verification.check(content) == []
    own["log_sha256"] = "00" * 32
    assert any("no log's hash" in sentence for sentence in verification.check(content))


def test_a_hospital_may_train_in_a_round_and_not_evaluate_it(skin_demo) -> None:
    outcome = without(skin_demo.outcome, "south", in_rounds={2, 3}, purposes=("evaluate",))
    rounds = [
        dataclasses.replace(
            one, epsilon=one.epsilon | south, epsilon_alone=one.epsilon_alone | south
        )
        for one in outcome.rounds
        for south in [{"south": epsilon_signed(one.headers["train"]["south"])}]
    ]
    content = certificate.certificate(dataclasses.replace(outcome, rounds=tuple(rounds)))
    assert content["hospitals"][1]["rounds_evaluated"] == []
    assert verification.check(content) == []


def epsilon_signed(signed: Signed) -> float:
    epsilon: float = json.loads(signed.message)["epsilon"]
    return epsilon


def test_without_a_hospitals_statement_there_is_no_certificate(skin_demo) -> None:
    last = skin_demo.outcome.rounds[-1]
    lacking = last.headers | {"train": pick(last.headers["train"], lambda names: ("north",))}
    rounds = (*skin_demo.outcome.rounds[:-1], dataclasses.replace(last, headers=lacking))
    with pytest.raises(InvalidInput, match=r"round 3 \(train\) must have the statement"):
        certificate.certificate(dataclasses.replace(skin_demo.outcome, rounds=rounds))


def test_a_study_that_stopped_early_says_so(skin_demo) -> None:
    outcome = dataclasses.replace(
        skin_demo.outcome,
        weights=skin_demo.weights_by_round[1],
        rounds=skin_demo.outcome.rounds[:2],
        stopped="South & north said no.",
    )
    content = certificate.certificate(outcome)
    assert content["stopped_early"] == "South & north said no."
    assert verification.check(content) == []
    content["stopped_early"] = None
    assert any("stopped early" in sentence for sentence in verification.check(content))


def test_a_study_without_a_single_round_still_has_a_certificate(skin_demo) -> None:
    outcome = dataclasses.replace(skin_demo.outcome, rounds=(), stopped="Nobody took part.")
    assert verification.check(certificate.certificate(outcome)) == []


TAMPERINGS = {
    "another plan": (lambda c: c["plan"].update(rounds=4), "plan_hash"),
    "less noise than said": (
        lambda c: c["plan"]["dp_sgd"].update(noise_multiplier=2.0),
        "epsilon by PLD",
    ),
    "an impossible plan": (lambda c: c["plan"].update(min_hospitals=2), "valid plan"),
    "no plan": (lambda c: c.pop("plan"), "valid plan"),
    "another hash": (lambda c: c.update(plan_hash="00" * 32), "plan_hash"),
    "other code": (lambda c: c.update(code_sha256="00" * 32), "code_sha256"),
    "no stand-in any more": (lambda c: c.update(stand_in=False), "stand_in"),
    "fewer hospitals asked": (lambda c: c.update(min_hospitals=4), "min_hospitals"),
    "another aggregator": (lambda c: c["aggregators"][0].update(name="mine"), "aggregators"),
    "a smaller PLD epsilon": (lambda c: scale(c, "epsilon_pld", 0.9), "epsilon by PLD"),
    "a smaller second epsilon": (lambda c: scale(c, "epsilon_second", 0.9), "second accountant"),
    "another second accountant": (
        lambda c: c["hospitals"][0].update(second_accountant="rdp"),
        "second accountant",
    ),
    "a smaller ledger epsilon": (
        lambda c: scale(c, "epsilon_stated_by_ledger", 0.999),
        "by its own signature",
    ),
    "a smaller headline": (lambda c: scale(c, "epsilon", 0.9), "no less than"),
    "a smaller worst case": (
        lambda c: scale(c, "epsilon_alone", 0.9),
        "epsilon_alone must be no less",
    ),
    "a smaller worst case of the ledger": (
        lambda c: scale(c, "epsilon_alone_stated_by_ledger", 0.999),
        "by its own signature",
    ),
    "a smaller PLD worst case": (
        lambda c: scale(c, "epsilon_alone_pld", 0.9),
        "epsilon_alone by PLD",
    ),
    "a headline that is no number": (
        lambda c: c["hospitals"][0].update(epsilon=math.nan),
        "no less than",
    ),
    "a ledger that is no number": (
        lambda c: c["hospitals"][0].update(epsilon_stated_by_ledger=math.nan),
        "ledger",
    ),
    "another delta": (lambda c: c["hospitals"][0].update(delta=1e-2), "epsilon by PLD"),
    "an impossible delta": (lambda c: c["hospitals"][0].update(delta=2.0), "delta must lie"),
    "another group": (
        lambda c: c["hospitals"][0]["epsilon_pld_by_group"].update(training=0.1),
        "by group",
    ),
    "accountants that disagree": (
        lambda c: c["hospitals"][0].update(accountants_agree=False),
        "agree",
    ),
    "a round less": (lambda c: c["hospitals"][0]["rounds_trained"].pop(), "its rounds"),
    "a hospital less": (lambda c: c["hospitals"].pop(), "roster"),
    "another key": (lambda c: c["hospitals"][0].update(verify_key="11" * 32), "its key"),
    "more patients": (lambda c: c["hospitals"][0].update(declared_patients=600), "its key"),
    "too few in a round": (lambda c: c["rounds"].__setitem__(0, lonely(c)), "needs 3 hospitals"),
    "a round left out": (lambda c: c["rounds"].pop(1), "count up"),
    "an evaluation made up": (lambda c: c["rounds"][0].update(evaluated=True), "plan names"),
    "a field left out": (lambda c: c["hospitals"][2].pop("epsilon_second"), "missing"),
    "another format": (lambda c: c.update(format="mine"), "format"),
}


TAMPERINGS |= {
    "two groups made of one": (
        lambda c: c["rounds"][1].update(groups=[["north", "south"], ["east", "west"]]),
        "of rounds [2] they do not",
    ),
    "fewer aggregators needed": (lambda c: c.update(needed_aggregators=2), "needed_aggregators"),
    "another model delivered": (
        lambda c: c.update(delivered="The moving average of the weights."),
        "delivered must be",
    ),
    "one absent too few": (lambda c: c["rounds"][1].update(absent=-1), "absent must be"),
    "no statements": (lambda c: c["hospitals"][0].pop("statements"), "missing"),
    "no log": (lambda c: c["hospitals"][0].pop("log_sha256"), "missing"),
    "weights of nobody": (lambda c: c["rounds"][1].pop("weights_sha256"), "missing"),
    "a statement with more in it": (
        lambda c: c["hospitals"][0]["statements"][0].update(note="x"),
        "signature of its key",
    ),
}


def scale(content: dict, key: str, factor: float) -> None:
    content["hospitals"][0][key] *= factor


def lonely(content: dict) -> dict:
    return content["rounds"][0] | {"hospitals": ["north", "north", "north"]}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_tampering_is_found_and_named(content, tampering) -> None:
    change, named = TAMPERINGS[tampering]
    tampered = copy.deepcopy(content)
    change(tampered)
    sentences = verification.check(tampered)
    assert any(named in sentence for sentence in sentences), sentences


def test_the_anchors_of_a_certificate_are_the_hospitals_signed_words(content) -> None:
    lying = copy.deepcopy(content)
    lying["hospitals"][0].update(log_sha256="00" * 32)
    found = verification.anchors_of(lying)
    names = ("north", "south", "east", "west")
    assert found == [(name, canonical.sha256(f"{name}3".encode())) for name in names]
    lying["hospitals"][0]["statements"][-1]["signature"] = "00" * 64
    with pytest.raises(InvalidInput, match="signature"):
        verification.anchors_of(lying)
    lying["hospitals"][0].pop("statements")
    with pytest.raises(InvalidInput, match="missing"):
        verification.anchors_of(lying)
    with pytest.raises(InvalidInput, match="valid plan"):
        verification.anchors_of({})


def test_a_hospital_that_gave_nothing_has_no_anchor_to_read(skin_demo) -> None:
    outcome = without(skin_demo.outcome, "south", in_rounds={1, 2, 3})
    found = verification.anchors_of(certificate.certificate(outcome))
    assert [name for name, _ in found] == ["north", "east", "west"]


def test_a_header_that_a_hospital_did_not_sign_gets_into_no_certificate(skin_demo) -> None:
    last = skin_demo.outcome.rounds[-1]
    trained = last.headers["train"]
    headers = last.headers | {"train": trained | {"north": trained["south"]}}
    forged = dataclasses.replace(last, headers=headers)
    outcome = dataclasses.replace(
        skin_demo.outcome, rounds=(*skin_demo.outcome.rounds[:-1], forged)
    )
    with pytest.raises(InvalidInput, match="signature"):
        certificate.certificate(outcome)


def test_reasons_that_owners_let_be_read_stay_out_of_a_certificate(skin_demo) -> None:
    rounds = tuple(
        dataclasses.replace(one, reasons=("Our board has not met.",))
        for one in skin_demo.outcome.rounds
    )
    outcome = dataclasses.replace(
        skin_demo.outcome, rounds=rounds, reasons=("Our board has not met.",)
    )
    assert "board" not in json.dumps(certificate.certificate(outcome))


def test_exact_figures_stand_only_under_the_key_that_says_demo(skin_demo, content) -> None:
    assert DEMO_ONLY not in content["utility"]
    figures = exact_metrics.exact(
        skin_demo.outcome.plan, skin_demo.outcome.weights, skin_demo.hospitals
    )
    baseline = baselines.pooled(skin_demo.outcome.plan, skin_demo.hospitals, private=False)
    full = certificate.certificate(skin_demo.outcome, exact=figures, baselines=[baseline])
    demo = full["utility"].pop(DEMO_ONLY)
    assert demo["exact_figures_of_this_model"].keys() == figures.keys()
    assert demo["baselines"][0]["name"] == baseline.name
    assert "north/balanced_accuracy" not in json.dumps(full)


def test_noised_figures_come_with_the_size_of_their_noise(skin_demo, content) -> None:
    utility = content["utility"]
    assert list(utility["noised_by_round"]) == ["2", "3"]
    one = 8.0 * math.sqrt(2.0)
    assert utility["noise_std_per_count"]["of_one_hospital"] == pytest.approx(one)
    of_all = utility["noise_std_per_count"]["of_the_sum_over_all_hospitals"]
    assert of_all == pytest.approx(2 * one)


def test_what_each_party_saw_names_every_party_with_numbers(skin_demo, content) -> None:
    saw = content["what_each_party_saw"]
    parameters = len(skin_demo.outcome.weights)
    assert f"{parameters + 1:,} numbers" in " ".join(saw["the researcher"])
    assert f"{4 * (parameters + 1):,} bytes" in " ".join(saw["aggregator-3"])
    assert "32 bytes of seed" in " ".join(saw["aggregator-1 to aggregator-2"])
    assert f"{3 * 123_456:,} bytes" in " ".join(saw["the network"])
    assert {"each data owner", "each front desk", "each vault"} <= saw.keys()
    assert len(content["not_promised"]) > 5
    assert "and not why" in " ".join(saw["the researcher"])
    assert "by elimination who did not" in " ".join(content["not_promised"])


def saw_and_not(outcome: Outcome, rewritten, **changes: object) -> tuple[dict[str, str], str]:
    plan = dataclasses.replace(outcome.plan, **changes)
    content = certificate.certificate(rewritten(outcome, plan))
    saw = {who: " ".join(said) for who, said in content["what_each_party_saw"].items()}
    return saw, " ".join(content["not_promised"])


def test_sentences_are_true_where_two_of_three_aggregators_suffice(skin_demo, rewritten) -> None:
    saw, not_promised = saw_and_not(skin_demo.outcome, rewritten, sharing=Sharing(needed=2))
    assert "Any 2 of the 3 aggregators together" in not_promised
    assert "2 seeds of 32 bytes" in saw["aggregator-1"]
    both = saw["aggregator-2 to aggregator-3"]
    assert "32 bytes of seed and a vector of" in both
    assert "Without 1 of the other 2 aggregators" in both
    assert "2 aggregators had signed for the same set" in both
    whole, all_of_them = saw_and_not(skin_demo.outcome, rewritten)
    assert "All 3 aggregators together" in all_of_them
    assert "Without the other 2 aggregators" in whole["aggregator-3"]


def test_what_a_stopwatch_tells_is_said_as_the_plan_has_it(skin_demo, rewritten) -> None:
    schedule = ReleaseSchedule(train_s=1.0, evaluate_s=1.0, ticks=8)
    _, scheduled = saw_and_not(skin_demo.outcome, rewritten, release_schedule=schedule)
    assert "at which of 8 ticks it ended" in scheduled and "at most 4 bits" in scheduled
    assert "patients a step drew" not in scheduled
    _, without = saw_and_not(skin_demo.outcome, rewritten, release_schedule=None)
    assert "patients a step drew" in without and "ticks" not in without


def test_sentences_are_true_where_a_rule_combines_groups(skin_demo, rewritten) -> None:
    old = skin_demo.outcome.plan.hospitals
    more = [
        dataclasses.replace(old[0], name=f"more-{n}", verify_key=f"{900 + n:064x}")
        for n in range(5)
    ]
    changes = {
        "hospitals": (*old, *more),
        "robust": Robust(rule="median", groups=3, tolerated=1),
        "max_update_norm": 2.5,
    }
    saw, not_promised = saw_and_not(skin_demo.outcome, rewritten, **changes)
    assert "withstands 1 of 3 groups" in not_promised and "norm above 2.5" in not_promised
    assert "drawn anew each time" in not_promised
    assert "one for each of up to 3 groups" in saw["the researcher"]
    assert "what the rule made of the groups' means" in saw["each data owner"]
    assert "for each group of hospitals by itself" in saw["aggregator-3"]
    _, plain = saw_and_not(skin_demo.outcome, rewritten)
    assert "groups" not in plain and "nothing tells a whole hospital that lies" in plain


def test_sentences_are_true_where_only_a_part_of_an_update_travels(skin_demo, rewritten) -> None:
    changes = {"compression": Compression(kept=0.5), "frozen_layers": 1}
    saw, _ = saw_and_not(skin_demo.outcome, rewritten, **changes)
    plan = dataclasses.replace(skin_demo.outcome.plan, **changes)
    part, kept = VectorLayout.of(plan).trained, VectorLayout.of(plan).sent_count
    vault = saw["each vault"]
    assert f"one vector of {kept:,} numbers of an update" in vault
    assert f"The first {part.start:,} parameters are never trained" in vault
    assert f"Of the {part.stop - part.start:,} trained parameters {kept:,} travel" in vault
    assert "added to the next update" in vault
    assert f"{4 * part.stop:,} bytes a round" in saw["each front desk"]


def test_sentences_are_true_where_control_variates_travel(skin_demo, rewritten) -> None:
    optimizer = dataclasses.replace(skin_demo.outcome.plan.optimizer, momentum=0.0)
    saw, _ = saw_and_not(skin_demo.outcome, rewritten, algorithm=Scaffold(), optimizer=optimizer)
    count = len(skin_demo.outcome.weights)
    assert f"{count:,} of a control variate's change" in saw["each vault"]
    assert f"{8 * count:,} bytes a round" in saw["each front desk"]
    assert "weights and the control variate" in saw["each data owner"]
    assert f"{2 * count + 1:,} numbers" in saw["the researcher"]


def test_sentences_are_true_where_an_earlier_tasks_vectors_travel(skin_demo, rewritten) -> None:
    ewc = Ewc(strength=1.0, reference_sha256="ab" * 32, importance_sha256="cd" * 32)
    saw, _ = saw_and_not(skin_demo.outcome, rewritten, continual=ewc)
    words = "weights, an earlier task's model and the importance of its weights"
    count = len(skin_demo.outcome.weights)
    assert f"the model's {words} ({12 * count:,} bytes a round)" in saw["each front desk"]
    assert f"The model's {words} as each of" in saw["each data owner"]
    assert f"but the model's {words}." in saw["each vault"]


def test_normalisation_that_stays_is_told_and_the_delivered_model_is_named(skin_demo) -> None:
    norm = GroupNorm(groups=1)
    plan = skin_demo.outcome.plan
    recipe = dataclasses.replace(
        plan.recipe, model=LayerStack(layers=(norm, GlobalAverage(), Linear(features=4)))
    )
    changed = dataclasses.replace(plan, recipe=recipe, local_norms=True, averaging=0.5)
    saw = disclosure_statements.what_each_party_saw(
        dataclasses.replace(skin_demo.outcome, plan=changed)
    )
    vault = " ".join(saw["each vault"])
    assert "The 6 scales and shifts of its normalisation are trained and stay in" in vault
    said = verification.facts_of_plan(changed)["delivered"]
    assert said.startswith("The moving average of the weights after each round, with decay 0.5;")
    assert "Scales and shifts of normalisation are those of the start" in said


def test_a_model_file_gives_the_same_network_back(skin_demo, tmp_path) -> None:
    plan, weights = skin_demo.outcome.plan, skin_demo.outcome.weights
    path = tmp_path / "model.safetensors"
    assert model_file.write(path, plan, weights) == model_file.write(path, plan, weights)
    model = model_file.load(path)
    assert (model.plan_hash, model.recipe, model.data) == (plan.hash, plan.recipe, plan.data)
    np.testing.assert_array_equal(model.weights, weights)
    np.testing.assert_array_equal(networks.to_vector(model.network()), weights)


@pytest.mark.parametrize("broken", [b"", b"not a model", bytes(64)])
def test_a_file_that_is_no_model_is_refused(broken, tmp_path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(broken)
    with pytest.raises(InvalidInput, match="must be"):
        model_file.load(path)


def test_a_certificate_knows_its_model_file_from_another(skin_demo, content, tmp_path) -> None:
    plan, weights = skin_demo.outcome.plan, skin_demo.outcome.weights
    path = tmp_path / "model.safetensors"
    model_file.write(path, plan, weights)
    assert verification.check(content, model=path) == []
    for other in (dataclasses.replace(plan, study="other"), plan):
        model_file.write(path, other, weights * np.float32(1.001))
        (sentence,) = verification.check(content, model=path)
        assert "model's file must have the hash" in sentence


def test_a_file_that_is_no_certificate_is_refused_with_a_sentence(tmp_path) -> None:
    path = tmp_path / "certificate.json"
    for text in ("[]", "{", "\xff"):
        path.write_text(text, encoding="latin-1")
        with pytest.raises(InvalidInput):
            certificate.read(path)
