"""From four hospitals' folders to one model, over the network, with nothing replaced."""

import json
import secrets
import sqlite3
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from datasites.data import readers
from federation.certificate import certificate, verification
from federation.researcher.outcome import Outcome
from federation.researcher.relay import RoundProgress
from federation.researcher.session import Researcher
from federation.researcher.study import Study
from federation.strategy.server_optimizer import ServerState
from federation.transport.growing_file import GrowingFile
from syft_code import canonical
from syft_code.errors import InvalidMessage, Refused
from syft_code.local_training import broadcast
from syft_code.local_training.broadcast import PublicVectors
from syft_code.models import networks
from syft_code.plans import messages
from syft_code.plans.algorithms import FedAdam, Scaffold
from syft_code.plans.messages import RoundCall, ShareHeader
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import Compression, DpSgd, Evaluation, ReleaseSchedule, Sgd, Sharing
from syft_code.plans.shared_noise import SharedNoise
from syft_code.privacy import accounting
from syft_code.privacy.accounting import Event
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import Conv, GlobalAverage, GroupNorm
from syft_code.recipes.recipe import Recipe
from syft_code.secret_sharing import compression, envelope, sharing
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests import opening
from tests.conftest import Live
from tests.plans import TINY

pytestmark = pytest.mark.timeout(600)
CHOICES = {
    "asset": "skin-lesions",
    "recipe": TINY,
    "dp_sgd": DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=0.25, steps=4),
    "optimizer": Sgd(learning_rate=0.5),
    "rounds": 2,
    "release_schedule": ReleaseSchedule(train_s=0.2, evaluate_s=0.2),
    "evaluation": Evaluation(noise_multiplier=2.0, after_rounds=(2,)),
}


@pytest.fixture(scope="module")
def researcher(live: Live) -> Iterator[Researcher]:
    found = Researcher.connect(live.credentials)
    yield found
    found.close()


def new_study(researcher: Researcher, **changes: object) -> Study:
    name = f"journey-{secrets.token_hex(4)}"
    return researcher.study(study=name, **(CHOICES | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(live: Live, researcher: Researcher) -> tuple[Outcome, list[RoundProgress]]:
    """A study in which three hospitals approve and one denies."""
    study = new_study(researcher)
    study.submit()
    for position in range(len(live.homes)):
        owner = live.owner(position)
        evidence = owner.requests()[-1]
        assert evidence.plan == study.plan
        if position == 3:
            owner.deny(evidence, "Our ethics board meets next month.")
        else:
            owner.approve(evidence)
    assert study.wait_for_approval(hospitals=3, timeout_s=30).approved == 3
    seen: list[RoundProgress] = []
    return study.train(on_progress=seen.append), seen


def test_three_hospitals_train_one_model_and_the_fourth_stops_nobody(
    trained: tuple[Outcome, list[RoundProgress]],
) -> None:
    outcome, _ = trained
    assert not outcome.stopped
    assert [record.round for record in outcome.rounds] == [1, 2]
    for record in outcome.rounds:
        assert set(record.epsilon) == {"vidir-molemax", "vidir-modern", "rosendahl"}
        assert set(record.headers["train"]) == set(record.trained) == set(record.epsilon)
        assert record.absent == 1
        assert record.reasons == (), "no owner lets researchers read why"
    start = networks.initial_weights(outcome.plan.recipe, outcome.plan.data, seed=0)
    assert outcome.weights.shape == start.shape
    assert np.isfinite(outcome.weights).all()


def test_nothing_that_the_researcher_holds_says_who_refused_or_why(
    trained: tuple[Outcome, list[RoundProgress]],
) -> None:
    outcome, seen = trained
    assert not any(progress.hospital == "vienna-dias" for progress in seen)
    content = certificate.certificate(outcome)
    assert verification.check(content) == []
    assert [one["absent"] for one in content["rounds"]] == [1, 1]
    for text in (json.dumps(content), repr(outcome), repr(seen)):
        for word in ("ethics board", "denied", "rejected", "takes no part"):
            assert word not in text, word


def test_each_contribution_is_anchored_in_its_hospitals_signed_log(
    trained: tuple[Outcome, list[RoundProgress]],
) -> None:
    outcome, _ = trained
    anchors = dict(verification.anchors_of(certificate.certificate(outcome)))
    assert set(anchors) == set(outcome.rounds[-1].trained)
    for name, sha256 in anchors.items():
        key = outcome.plan.hospital(name).verify_key
        header = messages.verify(ShareHeader, outcome.rounds[0].headers["train"][name], key)
        assert header.log_sha256 != sha256, "the log grew from round to round"


def test_a_hospitals_terms_are_known_before_anything_is_submitted(
    live: Live, researcher: Researcher
) -> None:
    terms = researcher.terms()
    assert set(terms) == {entry.name for entry in live.config.hospital}
    for entry in live.config.hospital:
        asked = terms[entry.name]
        assert (asked.epsilon, asked.delta) == (entry.epsilon, entry.delta)
        assert asked.min_hospitals == live.config.min_hospitals


def test_the_ledgers_epsilon_is_the_plans_own(
    live: Live, trained: tuple[Outcome, list[RoundProgress]]
) -> None:
    outcome, _ = trained
    events = accounting.plan_events(outcome.plan)
    whole = accounting.epsilon(events, delta=1e-5)
    for name, told in outcome.rounds[-1].epsilon.items():
        assert told == pytest.approx(whole)
        assert outcome.rounds[-1].delta[name] == 1e-5
    account = live.owner(0).ledger_summary("skin-lesions")
    everything = [
        canonical.parse(Event, text.encode(), what="ledger entry") for text in account.events
    ]
    assert not Counter(events) - Counter(everything), "every event of the study is in the ledger"
    assert account.spent_epsilon == accounting.epsilon(everything, delta=1e-5)


def test_progress_shows_steps_and_epsilon_and_nothing_unpaid(
    trained: tuple[Outcome, list[RoundProgress]],
) -> None:
    _, seen = trained
    assert {progress.state for progress in seen} >= {"done"}
    assert set(RoundProgress.__slots__) == {
        "round", "purpose", "hospital", "state", "step", "steps", "epsilon",
    }  # fmt: skip


def test_the_evaluation_is_a_noised_sum(trained: tuple[Outcome, list[RoundProgress]]) -> None:
    outcome, _ = trained
    assert not outcome.rounds[0].metrics
    assert 0 <= outcome.rounds[1].metrics["balanced_accuracy"] <= 1


def test_the_decoded_sum_is_the_plain_fixed_point_sum(
    live: Live, trained: tuple[Outcome, list[RoundProgress]]
) -> None:
    """Whoever holds all aggregators' keys (this test) can open every share: add them plainly."""
    outcome, _ = trained
    plan = outcome.plan
    plain = sum(opened(live, plan, name, round_number=1) for name in outcome.rounds[0].epsilon)
    values, weight = envelope.read_sum(plan, "train", plain)
    start = networks.initial_weights(plan.recipe, plan.data, seed=int(plan.hash[:8], 16))
    assert weight == sum(plan.hospital(name).patients for name in outcome.rounds[0].epsilon)
    mean = values * (plan.most_patients / weight)
    after_first = (start + mean).astype(np.float32)
    named = canonical.sha256(after_first.astype("<f4").tobytes())
    assert named == round_two_input(live, plan), "round 2 began from another sum than the plain one"


def opened(live: Live, plan: Plan, hospital: str, *, round_number: int) -> sharing.Ring:
    """One hospital's encoded update, put together with all three aggregators' keys."""
    sealed = live.state / "hospitals" / hospital / "vault" / "sealed"
    shares = [envelope.SealedShare.from_bytes(path.read_bytes()) for path in sealed.iterdir()]
    keys = [
        live.state / "aggregators" / aggregator.name / "identity" / "seal.key"
        for aggregator in plan.aggregators
    ]
    return opening.encoded(
        plan,
        "train",
        [one for one in shares if opening.is_of(plan, "train", round_number, one)],
        [bytes.fromhex(path.read_text()) for path in keys],
    )


def round_two_input(live: Live, plan: Plan) -> str:
    """The hash of the weights with which round 2 was called, as a ledger has it."""
    path = live.homes[0] / "vault" / "vault.db"
    with sqlite3.connect(path) as database:
        (name,) = database.execute(
            "SELECT weights_sha256 FROM spent WHERE plan_hash = ? AND purpose = 'train' "
            "AND round = 2",
            (plan.hash,),
        ).fetchone()
    return str(name)


def test_a_round_asked_for_again_gives_the_same_sealed_bytes_and_is_charged_once(
    live: Live, researcher: Researcher, trained: tuple[Outcome, list[RoundProgress]]
) -> None:
    outcome, _ = trained
    plan = outcome.plan
    hospital = researcher.hospitals[0]
    before = live.owner(0).ledger_summary("skin-lesions")
    start = networks.initial_weights(plan.recipe, plan.data, seed=int(plan.hash[:8], 16))
    name = hospital.bulk.upload(start.astype("<f4").tobytes())
    call = RoundCall(
        plan_hash=plan.hash, hospital=hospital.name, purpose="train", round=1, weights_sha256=name
    )
    tickets = [hospital.start_round(plan, messages.sign(call, researcher.key)) for _ in range(2)]
    assert tickets[0] == tickets[1]
    assert tickets[0].state == "done"
    for share in hospital.bulk.ticket(tickets[0].ticket).shares:
        with GrowingFile() as file:
            hospital.bulk.download(share, file, limit_bytes=10**6)
            assert file.sha256 == share
    assert len(set(tickets[0].shares)) == len(plan.aggregators)
    assert live.owner(0).ledger_summary("skin-lesions") == before

    other = hospital.bulk.upload(np.zeros_like(start).astype("<f4").tobytes())
    changed = RoundCall(
        plan_hash=plan.hash, hospital=hospital.name, purpose="train", round=1, weights_sha256=other
    )
    with pytest.raises(Refused, match="other weights"):
        hospital.start_round(plan, messages.sign(changed, researcher.key))


NORMED = Recipe(
    model=LayerStack(layers=(Conv(channels=4, stride=2), GroupNorm(groups=2), GlobalAverage())),
    loss=TINY.loss,
)
START = PublicVectors(start=np.linspace(-0.5, 0.5, 155).astype(np.float32))
VARIANTS: dict[str, dict[str, object]] = {
    "SCAFFOLD, any two of three aggregators": {
        "algorithm": Scaffold(),
        "sharing": Sharing(needed=2),
    },
    "a quarter of the last layers in 16 bits, FedAdam from weights that are brought": {
        "recipe": NORMED,
        "algorithm": FedAdam(learning_rate=0.1),
        "local_norms": True,
        "averaging": 0.9,
        "start_sha256": broadcast.sha256(START.start),
        "public": START,
        "sharing": Sharing(ring_bits=16, fraction_bits=12, bound=1.9),
        "compression": Compression(kept=0.25),
        "frozen_layers": 1,
        "max_update_norm": 2.0,
    },
}


SCAFFOLDED, BROUGHT = VARIANTS


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(VARIANTS[SCAFFOLDED], id=SCAFFOLDED, marks=pytest.mark.slow),
        pytest.param(VARIANTS[BROUGHT], id=BROUGHT, marks=pytest.mark.slow),
    ],
)
def test_other_ways_to_share_run_through_the_same_parties(
    live: Live, researcher: Researcher, changes: dict[str, object]
) -> None:
    study = new_study(researcher, evaluation=None, **changes)
    study.submit()
    for position in range(len(live.homes)):
        owner = live.owner(position)
        owner.approve(owner.requests()[-1])
    study.wait_for_approval(timeout_s=30)
    weights: list[np.ndarray] = []
    outcome = study.train(on_round=lambda record, new: weights.append(new))
    assert not outcome.stopped
    assert [len(record.trained) for record in outcome.rounds] == [4, 4]
    public = START if study.plan.start_sha256 else PublicVectors()
    start = ServerState.first(study.plan, public).weights
    part = VectorLayout.of(study.plan).trained
    moved = np.flatnonzero(weights[0] != start)
    assert part.start <= moved.min() and len(moved) <= VectorLayout.of(study.plan).sent_count
    assert len(moved) > VectorLayout.of(study.plan).sent_count * 0.9
    if study.plan.local_norms:
        shared = compression.spread(study.plan, 1, np.ones(VectorLayout.of(study.plan).sent_count))
        assert set(moved) <= set(np.flatnonzero(shared)), "normalisation stays in its hospital"
    assert verification.check(certificate.certificate(outcome)) == []


def test_shared_noise_runs_through_the_same_parties_and_both_epsilons_are_paid(
    live: Live, researcher: Researcher
) -> None:
    """Ring and fixed point are nobody's to choose: they follow from the plan's public numbers."""
    step = DpSgd(noise_multiplier=2.0, max_grad_norm=1.0, sample_rate=0.5, steps=1)
    study = new_study(
        researcher, evaluation=None, dp_sgd=step, shared_noise=SharedNoise(colluding=1)
    )
    assert study.plan.sharing.ring_bits == 64
    before = live.owner(0).ledger_summary("skin-lesions")
    study.submit()
    for position in range(len(live.homes)):
        owner = live.owner(position)
        owner.approve(owner.requests()[-1])
    study.wait_for_approval(timeout_s=30)
    outcome = study.train()
    assert not outcome.stopped
    assert [len(record.trained) for record in outcome.rounds] == [4, 4]
    events = accounting.plan_events(study.plan)
    last = outcome.rounds[-1]
    for name, told in last.epsilon.items():
        assert told == pytest.approx(accounting.epsilon(events, delta=1e-5))
        worst = accounting.epsilon_alone(events, delta=1e-5)
        assert last.epsilon_alone[name] == pytest.approx(worst)
        assert worst > told
    after = live.owner(0).ledger_summary("skin-lesions")
    assert after.spent_epsilon_alone - after.spent_epsilon > (
        before.spent_epsilon_alone - before.spent_epsilon
    )
    assert verification.check(certificate.certificate(outcome)) == []


def test_what_was_denied_or_revoked_does_not_run(live: Live, researcher: Researcher) -> None:
    study = new_study(researcher)
    study.submit()
    owners = [live.owner(position) for position in range(3)]
    for owner in owners:
        owner.approve(owner.requests()[-1])
    researcher.hospitals[0].bulk.delete(study.plan.hash)  # which must not keep a plan running
    owners[0].revoke(owners[0].requests()[-1], "A patient withdrew consent.")
    assert study.plan.hash not in owners[0].ledger_summary("skin-lesions").in_force
    denied = live.owner(3)
    denied.deny(denied.requests()[-1], "Not this year.")
    assert study.status().approved == 2, "one denied, one took its approval back"
    assert study.status().undecided_or_refused == 2
    with pytest.raises(Refused, match="At least 3 hospitals must approve, 2 did"):
        study.wait_for_approval(timeout_s=3)
    outcome = study.train()
    assert not outcome.rounds
    assert "needs 3 hospitals and 2 took part" in outcome.stopped
    assert outcome.reasons == ()


def test_an_owner_asks_the_researcher_answers_and_only_what_is_told_is_read(
    live: Live, researcher: Researcher
) -> None:
    study = new_study(researcher)
    study.submit()
    assert study.notes() == []
    asking, silent = live.owner(1), live.owner(2)
    asking.ask(asking.requests()[-1], "Why two rounds?")
    study.answer(asking.name, "One learns too little.")
    asking.deny(asking.requests()[-1], "One would do.", tell_researcher=True)
    silent.deny(silent.requests()[-1], "We do not like it.")
    assert [(name, note.author, note.text) for name, note in study.notes()] == [
        (asking.name, "owner", "Why two rounds?"),
        (asking.name, "researcher", "One learns too little."),
        (asking.name, "owner", "One would do."),
    ]
    assert study.status().approved == 0
    assert study.withdraw("Two rounds it is, under another name.") == 4
    assert "Withdrawn by the researcher: Two rounds" in silent.requests()[-1].notes[-1].text
    (kept,) = [one for one in researcher.studies() if one.plan == study.plan]
    assert kept.progress.stopped.startswith("Withdrawn by the researcher")


def test_a_call_signed_by_another_key_is_refused(
    researcher: Researcher, trained: tuple[Outcome, list[RoundProgress]]
) -> None:
    plan = trained[0].plan
    hospital = researcher.hospitals[0]
    start = networks.initial_weights(plan.recipe, plan.data, seed=int(plan.hash[:8], 16))
    call = RoundCall(
        plan_hash=plan.hash,
        hospital=hospital.name,
        purpose="train",
        round=1,
        weights_sha256=hospital.bulk.upload(start.astype("<f4").tobytes()),
    )
    forged = messages.sign(call, hospital.bulk._key)  # the PySyft account's key is not enough
    with pytest.raises(InvalidMessage, match="signature"):
        hospital.start_round(plan, forged)


def test_a_plan_that_nobody_approved_does_not_run(researcher: Researcher) -> None:
    study = new_study(researcher)
    study.submit()
    outcome = study.train()
    assert "0 took part" in outcome.stopped
    assert outcome.reasons == ()
    hospital = researcher.hospitals[0]
    call = RoundCall(
        plan_hash=study.plan.hash,
        hospital=hospital.name,
        purpose="train",
        round=1,
        weights_sha256=hospital.bulk.upload(b"\0" * 4),
    )
    with pytest.raises(Refused, match="This hospital takes no part in this round"):
        hospital.start_round(study.plan, messages.sign(call, researcher.key))


def test_nothing_at_a_front_desk_is_a_pixel(
    live: Live, trained: tuple[Outcome, list[RoundProgress]]
) -> None:
    """Search every byte that the front desks stored for pieces of every image."""
    del trained
    reading = readers.read("ham10000", live.state / "data", size_px=32)
    pieces = {bytes(image[0, 8, :16].tobytes()) for image in reading.cohort.images}
    files = [
        path.read_bytes()
        for home in live.homes
        for path in (home / "desk").rglob("*")
        if path.is_file()
    ]
    assert sum(len(data) for data in files) > 100_000
    jpegs = [path.read_bytes() for path in sorted((live.state / "data").rglob("*.jpg"))[:40]]
    pieces |= {data[len(data) // 2 : len(data) // 2 + 16] for data in jpegs}
    for data in files:
        windows = {data[i : i + 16] for i in range(len(data) - 15)}
        assert not windows & pieces
    vault = next((live.homes[0] / "vault" / "cohorts").iterdir()).read_bytes()
    assert any(piece in vault for piece in pieces), "the search must be able to find a pixel"


def test_the_folders_of_a_hospital_are_private(live: Live) -> None:
    for home in live.homes:
        for folder in (home, home / "vault", home / "desk", home / "owner"):
            assert folder.stat().st_mode & 0o077 == 0, folder
        for name in ("owner/key", "owner/password", "vault/key", "vault/vault.db", "desk/syft.db"):
            assert (home / name).stat().st_mode & 0o077 == 0, name


def test_the_mock_is_made_from_the_schema_alone(researcher: Researcher, live: Live) -> None:
    mock = researcher.hospitals[0].mock("skin-lesions")
    reading = readers.read("ham10000", live.state / "data", size_px=32)
    rows = {bytes(image[0, 8].tobytes()) for image in reading.cohort.images}
    assert mock.images.shape[1:] == reading.cohort.images.shape[1:]
    assert not {bytes(image[0, 8].tobytes()) for image in mock.images} & rows
