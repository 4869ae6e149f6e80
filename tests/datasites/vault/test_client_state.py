"""What a hospital keeps between rounds goes on with each release, once, and with no other."""

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from datasites.protocol import owner_actions
from datasites.vault import airlock
from datasites.vault.vault import Vault
from datasites.vault.worker import job_runner
from datasites.vault.worker.job_messages import TrainingJob
from datasites.vault.worker.training_worker import TrainingWorker
from syft_code import canonical
from syft_code.errors import InvalidMessage, NotApproved, TrainingFailed, Unavailable
from syft_code.local_training import client_update, control_variates, local_round
from syft_code.local_training.broadcast import sha256
from syft_code.plans.algorithms import Ewc, Scaffold
from syft_code.plans.messages import Ticket
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import Compression, DpSgd, Sgd, Sharing
from syft_code.recipes import local_norms
from syft_code.recipes.architectures import LayerStack
from syft_code.recipes.layers import Conv, GlobalAverage, GroupNorm
from syft_code.recipes.recipe import CrossEntropy, Recipe, parameter_count
from syft_code.runtime import durable_files
from syft_code.secret_sharing import compression, envelope
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests import opening
from tests.datasites.hospitals import OneHospital, approval
from tests.plans import plan

HALF = Compression(kept=0.5)


class Trained:
    """Every result of the training process that passed the airlock, oldest first."""

    def __init__(self) -> None:
        self.updates: list[np.ndarray] = []
        self.jobs: list[TrainingJob] = []
        self.cohorts: list[Path] = []


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Trained:
    """Train in this process: the trainer's own code, without the seconds that a start takes."""
    seen = Trained()

    def run(
        room: TrainingWorker, job: TrainingJob, body: bytes, cohort: Path, **rest: Any
    ) -> bytes:
        seen.cohorts.append(cohort)
        result = job_runner.perform(job, body, cohort.read_bytes(), on_step=rest["on_step"])
        seen.updates.append(np.frombuffer(result, "<f8"))
        seen.jobs.append(job)
        return result

    monkeypatch.setattr(TrainingWorker, "run", run)
    return seen


def agree(hospital: OneHospital, vault: Vault, **changes: object) -> Plan:
    agreed = hospital.plan(**changes)
    hospital.perform(vault, approval(agreed))
    return agreed


def released(
    hospital: OneHospital, vault: Vault, agreed: Plan, number: int, body: bytes = b""
) -> np.ndarray:
    """Run a round to its end; what its shares hold, without the hospital's factor."""
    done = called(hospital, vault, agreed, number, body)
    assert done.state == "done", done.sentence
    parties = range(1, len(agreed.aggregators) + 1)
    shares = [envelope.SealedShare.from_bytes(vault.share(done.ticket, p)) for p in parties]
    keys = [bytes(seal) for seal in hospital.keys.seals]
    values, weight = envelope.read_sum(
        agreed, "train", opening.encoded(agreed, "train", shares, keys)
    )
    assert weight == 41
    return values / (41 / agreed.most_patients)


def called(
    hospital: OneHospital, vault: Vault, agreed: Plan, number: int, body: bytes = b""
) -> Ticket:
    body = body or hospital.weights(agreed)
    call = hospital.call(agreed, number, weights_sha256=canonical.sha256(body))
    done = hospital.finished(vault, vault.start_round(call, body))
    vault._rounds._queue.submit(int).result()  # what the round cleans up after it said so
    return done


def kept(vault: Vault, agreed: Plan) -> np.ndarray:
    return vault._files.client_states.read(agreed, "train").numbers


def files(hospital: OneHospital) -> list[Path]:
    return sorted((hospital.site.vault / "client_state").iterdir())


def quantum(agreed: Plan) -> float:
    return 2.0**-agreed.sharing.fraction_bits * agreed.most_patients / 41


# Error feedback


@pytest.mark.parametrize(
    "changes",
    [
        {"compression": HALF},
        {"compression": HALF, "frozen_layers": 1},
        {
            "compression": Compression(kept=1.0),
            "sharing": Sharing(ring_bits=8, fraction_bits=6, bound=0.6),
        },
    ],
)
def test_what_has_arrived_and_what_is_kept_are_all_updates_together(
    hospital: OneHospital, vault: Vault, trained: Trained, changes: dict[str, Any]
) -> None:
    agreed = agree(hospital, vault, **changes)
    part = VectorLayout.of(agreed).trained
    arrived = np.zeros(part.stop)
    for number in (1, 2, 3):
        arrived += compression.spread(agreed, number, released(hospital, vault, agreed, number))
        assert len(trained.updates[-1]) == part.stop - part.start
        np.testing.assert_allclose(
            arrived[part] + kept(vault, agreed), sum(trained.updates), rtol=0, atol=1e-9
        )
        (file,) = files(hospital)
        assert file.stat().st_mode & 0o777 == 0o600
        assert canonical.sha256(file.read_bytes()) == file.name
    assert not arrived[: part.start].any()


def test_without_error_feedback_nothing_is_kept(
    hospital: OneHospital, vault: Vault, trained: Trained
) -> None:
    agreed = agree(hospital, vault, compression=Compression(kept=0.5, error_feedback=False))
    values = released(hospital, vault, agreed, 1)
    expected = compression.pick(agreed, 1, trained.updates[0])
    np.testing.assert_allclose(values, expected, atol=quantum(agreed))
    assert not files(hospital)


NARROW = Sharing(ring_bits=32, fraction_bits=18, bound=0.01)


def test_past_the_bound_an_update_stays_and_with_error_feedback_its_rest_waits(
    hospital: OneHospital, vault: Vault, trained: Trained
) -> None:
    strict = agree(hospital, vault, sharing=NARROW)
    failed = called(hospital, vault, strict, 1)
    assert failed.state == "failed"
    assert "past the plan's bound" in failed.sentence
    patient = agree(hospital, vault, sharing=NARROW, compression=Compression())
    values = released(hospital, vault, patient, 1)
    assert np.abs(values).max() == pytest.approx(0.01, abs=quantum(patient))
    assert np.abs(kept(vault, patient)).max() > 0.05
    np.testing.assert_allclose(values + kept(vault, patient), trained.updates[1], atol=1e-12)


def test_even_with_error_feedback_what_is_not_finite_stays(
    hospital: OneHospital, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreed = agree(hospital, vault, compression=HALF)
    broken = np.full(parameter_count(agreed.recipe, agreed.data), np.inf).tobytes()
    monkeypatch.setattr(TrainingWorker, "run", lambda *_, **__: broken)
    assert "not finite" in called(hospital, vault, agreed, 1).sentence


# The norm bound


@pytest.mark.parametrize("frozen_layers", [0, 1])
def test_an_update_is_cut_to_the_plans_norm(
    hospital: OneHospital, vault: Vault, trained: Trained, frozen_layers: int
) -> None:
    agreed = agree(hospital, vault, max_update_norm=0.05, frozen_layers=frozen_layers)
    values = released(hospital, vault, agreed, 1)
    (update,) = trained.updates
    assert np.linalg.norm(update) > 0.1
    np.testing.assert_allclose(
        values, update * (0.05 / np.linalg.norm(update)), atol=quantum(agreed)
    )


def test_an_update_within_the_norm_is_left_alone(
    hospital: OneHospital, vault: Vault, trained: Trained
) -> None:
    agreed = agree(hospital, vault, max_update_norm=1000.0)
    values = released(hospital, vault, agreed, 1)
    np.testing.assert_allclose(values, trained.updates[0], atol=quantum(agreed))


# SCAFFOLD

PLAIN = {"algorithm": Scaffold(), "dp_sgd": DpSgd(
    noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=0.2, steps=4
), "optimizer": Sgd(learning_rate=0.25)}  # fmt: skip


def broadcast(hospital: OneHospital, agreed: Plan, common: np.ndarray) -> bytes:
    return hospital.weights(agreed, "evaluate") + common.astype("<f4").tobytes()


@pytest.mark.parametrize("frozen_layers", [0, 1])
def test_a_scaffold_round_shares_the_update_and_the_change_of_what_it_keeps(
    hospital: OneHospital, vault: Vault, trained: Trained, frozen_layers: int
) -> None:
    agreed = agree(hospital, vault, **PLAIN, frozen_layers=frozen_layers)
    size = VectorLayout.of(agreed).trained_count
    own, random = np.zeros(size), np.random.default_rng(5)
    for number in (1, 2):
        common = random.standard_normal(size).astype(np.float32).astype(np.float64)
        values = released(hospital, vault, agreed, number, broadcast(hospital, agreed, common))
        update = trained.updates[-1]
        change = control_variates.change(update, common, steps=4, learning_rate=0.25)
        own += change
        np.testing.assert_allclose(values[:size], update, atol=quantum(agreed))
        np.testing.assert_allclose(values[size:], change, atol=quantum(agreed))
        np.testing.assert_allclose(kept(vault, agreed), own, rtol=1e-12)


def test_the_trainer_is_given_the_difference_of_the_control_variates(
    hospital: OneHospital, vault: Vault, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreed = agree(hospital, vault, **PLAIN)
    seen: list[np.ndarray] = []
    train = local_round.dp_sgd.train

    def listening(*arguments: Any, **options: Any) -> Any:
        seen.append(arguments[2].correction)
        return train(*arguments, **options)

    monkeypatch.setattr(local_round.dp_sgd, "train", listening)
    common = np.full(147, 0.5)
    for number in (1, 2):
        own = kept(vault, agreed)
        released(hospital, vault, agreed, number, broadcast(hospital, agreed, common))
        np.testing.assert_allclose(seen[-1], common - own, rtol=1e-12)
    assert not np.array_equal(seen[0], seen[1])


def test_a_training_process_that_is_not_given_what_is_kept_trains_nothing(
    hospital: OneHospital, vault: Vault, trained: Trained
) -> None:
    agreed = agree(hospital, vault, **PLAIN)
    body = hospital.weights(agreed)
    released(hospital, vault, agreed, 1, body)
    for kept_bytes in (0, 8 * 146, 8 * 148):
        with pytest.raises(TrainingFailed, match="this one has another length"):
            job_runner.perform(
                trained.jobs[-1], body + bytes(kept_bytes), trained.cohorts[-1].read_bytes()
            )


@pytest.mark.parametrize("wrong", ["short", "long", "not finite"])
def test_a_control_variate_of_the_wrong_form_costs_nothing(
    hospital: OneHospital, vault: Vault, wrong: str
) -> None:
    agreed = agree(hospital, vault, **PLAIN)
    common = {"short": np.zeros(146), "long": np.zeros(148), "not finite": np.full(147, np.nan)}
    body = broadcast(hospital, agreed, common[wrong])
    call = hospital.call(agreed, 1, weights_sha256=canonical.sha256(body))
    with pytest.raises(
        InvalidMessage, match="finite" if wrong == "not finite" else "what else the plan sends"
    ):
        vault.start_round(call, body)
    assert not vault._db.ledger.events("skin-lesions")


def test_a_change_past_the_bound_stays_in_the_hospital(
    hospital: OneHospital, vault: Vault, trained: Trained
) -> None:
    agreed = agree(hospital, vault, **PLAIN)
    body = broadcast(hospital, agreed, np.full(147, 1000.0))
    failed = called(hospital, vault, agreed, 1, body)
    assert failed.state == "failed"
    assert "past the plan's bound" in failed.sentence, "the airlock says it, in its own words"
    assert not kept(vault, agreed).any() and not files(hospital)


def test_an_evaluation_brings_weights_alone_and_keeps_nothing(
    hospital: OneHospital, vault: Vault, trained: Trained
) -> None:
    for changes in (PLAIN, {"compression": HALF, "max_update_norm": 1e-3}):
        agreed = agree(hospital, vault, **changes)
        body = hospital.weights(agreed, "evaluate")
        assert len(body) == 4 * 147
        ticket = vault.start_round(hospital.call(agreed, 3, "evaluate"), body)
        assert hospital.finished(vault, ticket).state == "done"
        (sums,) = trained.updates[-1:]
        assert np.abs(sums).max() > 0.1, "not cut to the norm of an update"
        assert not files(hospital)


# One state for one release


def test_a_round_that_was_cut_before_its_release_goes_on_from_the_old_state(
    hospital: OneHospital, vault: Vault, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreed = agree(hospital, vault, compression=HALF)
    released(hospital, vault, agreed, 1)
    before, (old,) = kept(vault, agreed), files(hospital)

    def cut(*arguments: object) -> None:
        vault._rounds.closing.set()  # as if the process ended here, in the middle of the transaction
        raise OSError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(vault._db.ledger, "commit", cut)
        vault.start_round(hospital.call(agreed, 2), hospital.weights(agreed))
        vault._rounds._queue.shutdown(wait=True)
    assert len(files(hospital)) == 2, "the next state was written, and is not in force"
    vault.close()
    again = Vault(hospital.site)
    try:
        assert files(hospital) == [old]
        assert np.array_equal(kept(again, agreed), before)
        arrived = compression.spread(agreed, 2, released(hospital, again, agreed, 2))
        update = trained.updates[-1]
        np.testing.assert_allclose(arrived + kept(again, agreed), before + update, atol=1e-9)
    finally:
        again.close()


def test_a_round_again_gives_the_same_shares_and_moves_no_state(
    hospital: OneHospital, vault: Vault, trained: Trained
) -> None:
    agreed = agree(hospital, vault, compression=HALF)
    first, state = released(hospital, vault, agreed, 1), files(hospital)
    assert np.array_equal(released(hospital, vault, agreed, 1), first)
    assert files(hospital) == state
    assert len(trained.updates) == 1


def test_a_round_that_fails_moves_no_state(
    hospital: OneHospital, vault: Vault, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreed = agree(hospital, vault, compression=HALF)
    released(hospital, vault, agreed, 1)
    state = files(hospital)

    def full(*arguments: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(vault._db.ledger, "commit", full)
        assert called(hospital, vault, agreed, 2).state == "failed"
    assert files(hospital) == state
    released(hospital, vault, agreed, 3)


@pytest.mark.parametrize("no", [owner_actions.RevokePlan, owner_actions.DenyPlan])
def test_a_plan_that_is_taken_back_leaves_no_state_and_begins_anew(
    hospital: OneHospital,
    vault: Vault,
    trained: Trained,
    no: type[owner_actions.RevokePlan] | type[owner_actions.DenyPlan],
) -> None:
    agreed = agree(hospital, vault, compression=HALF)
    other = agree(hospital, vault, compression=HALF, study="other")
    released(hospital, vault, agreed, 1), released(hospital, vault, other, 1)
    others = kept(vault, other)
    hospital.perform(vault, no(plan_hash=agreed.hash, reason="consent withdrawn"))
    vault._rounds._queue.submit(int).result()
    assert len(files(hospital)) == 1
    assert np.array_equal(kept(vault, other), others)
    hospital.perform(vault, approval(agreed))
    assert not kept(vault, agreed).any()
    released(hospital, vault, agreed, 2)
    vault.close()
    Vault(hospital.site).close()  # and the tables are what the log tells of


def test_a_round_that_started_before_its_plan_was_taken_back_keeps_nothing(
    hospital: OneHospital, vault: Vault, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreed = agree(hospital, vault, compression=HALF)
    released(hospital, vault, agreed, 1)
    write = vault._files.client_states.write

    def in_between(numbers: np.ndarray) -> str:
        hospital.perform(vault, owner_actions.RevokePlan(plan_hash=agreed.hash, reason="No."))
        hospital.perform(vault, approval(agreed))
        return write(numbers)

    monkeypatch.setattr(vault._files.client_states, "write", in_between)
    failed = called(hospital, vault, agreed, 2)
    assert failed.state == "failed"
    assert "taken back while the round ran" in failed.sentence
    assert not kept(vault, agreed).any() and not files(hospital)


# Local normalisation

OWN = {"local_norms": True, "recipe": Recipe(
    model=LayerStack(layers=(Conv(channels=4, stride=2), GroupNorm(groups=2), GlobalAverage())),
    loss=CrossEntropy(),
)}  # fmt: skip


def test_local_normalisation_is_kept_used_in_the_next_round_and_never_shared(
    hospital: OneHospital, vault: Vault, trained: Trained
) -> None:
    agreed = agree(hospital, vault, **OWN)
    own = local_norms.mask(agreed.recipe, agreed.data)
    for number in (1, 2):
        values = released(hospital, vault, agreed, number)
        np.testing.assert_allclose(values, trained.updates[-1][~own], atol=quantum(agreed))
        moved = sum(update[own] for update in trained.updates)
        np.testing.assert_allclose(kept(vault, agreed), moved, rtol=1e-12)
    assert own.sum() == 8 and np.abs(kept(vault, agreed)).min() > 0
    (file,) = files(hospital)
    assert file.stat().st_size == 8 * 8


def test_an_evaluation_uses_the_hospitals_own_normalisation_and_leaves_it_as_it_is(
    hospital: OneHospital, vault: Vault, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreed = agree(hospital, vault, **OWN)
    released(hospital, vault, agreed, 1)
    before = kept(vault, agreed)
    seen: list[np.ndarray] = []
    evaluate = local_round.evaluate

    def listening(*arguments: Any, **options: Any) -> Any:
        seen.append(options["kept"])
        return evaluate(*arguments, **options)

    monkeypatch.setattr(local_round, "evaluate", listening)
    body = hospital.weights(agreed, "evaluate")
    call = hospital.call(agreed, 3, "evaluate", weights_sha256=canonical.sha256(body))
    done = hospital.finished(vault, vault.start_round(call, body))
    assert done.state == "done", done.sentence
    np.testing.assert_array_equal(seen[0], before)
    np.testing.assert_array_equal(kept(vault, agreed), before)
    assert len(files(hospital)) == 1


# Where a study starts, and what it brings of an earlier one

OLD = np.linspace(-1, 1, 147).astype(np.float32)
EWC = Ewc(strength=1.0, reference_sha256=sha256(OLD), importance_sha256=sha256(OLD**2))


def test_start_weights_that_a_plan_names_are_checked_before_anything_is_paid(
    hospital: OneHospital, vault: Vault, trained: Trained
) -> None:
    agreed = agree(hospital, vault, start_sha256=EWC.reference_sha256)
    body = hospital.weights(agreed, "evaluate")
    call = hospital.call(agreed, 1, weights_sha256=canonical.sha256(body))
    with pytest.raises(InvalidMessage, match="weights must be the vector whose SHA-256 stands"):
        vault.start_round(call, body)
    assert not vault._db.ledger.events("skin-lesions")
    released(hospital, vault, agreed, 1, OLD.tobytes())
    released(hospital, vault, agreed, 2, body)


def test_a_first_round_from_weights_that_the_plan_does_not_draw_gives_nothing(
    hospital: OneHospital, vault: Vault, trained: Trained
) -> None:
    agreed = agree(hospital, vault)
    failed = called(hospital, vault, agreed, 1, OLD.tobytes())
    assert failed.state == "failed"
    assert "must start from the weights that follow from its plan" in failed.sentence


def test_an_earlier_tasks_vectors_must_be_those_of_the_plan(
    hospital: OneHospital, vault: Vault, trained: Trained
) -> None:
    agreed = agree(hospital, vault, continual=EWC)
    start = hospital.weights(agreed, "evaluate")
    for wrong in (OLD.tobytes() + OLD.tobytes(), (OLD**2).tobytes() + (OLD**2).tobytes()):
        body = start + wrong
        call = hospital.call(agreed, 1, weights_sha256=canonical.sha256(body))
        with pytest.raises(InvalidMessage, match="must be the vector whose SHA-256 stands"):
            vault.start_round(call, body)
    assert not vault._db.ledger.events("skin-lesions")
    released(hospital, vault, agreed, 1, start + OLD.tobytes() + (OLD**2).tobytes())


# A state that is not what the last round left


@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_a_state_that_was_changed_stops_its_plan_before_it_pays_and_no_other(
    hospital: OneHospital, vault: Vault, trained: Trained, harm: str
) -> None:
    agreed, plain = agree(hospital, vault, compression=HALF), agree(hospital, vault)
    released(hospital, vault, agreed, 1)
    (file,) = files(hospital)
    if harm == "changed":
        kept = file.read_bytes()
        file.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    else:
        file.unlink()
    vault.close()
    again = Vault(hospital.site)
    try:
        spent = len(again._db.ledger.events("skin-lesions"))
        with pytest.raises(NotApproved, match="the file was changed or removed"):
            again.start_round(hospital.call(agreed, 2), hospital.weights(agreed))
        assert len(again._db.ledger.events("skin-lesions")) == spent
        released(hospital, again, plain, 1)
        hospital.perform(
            again, owner_actions.RevokePlan(plan_hash=agreed.hash, reason="A file was changed.")
        )
        hospital.perform(again, approval(agreed))
        released(hospital, again, agreed, 2)
    finally:
        again.close()


def test_a_finished_round_is_told_again_though_its_state_was_lost(
    hospital: OneHospital, vault: Vault, trained: Trained
) -> None:
    agreed = agree(hospital, vault, compression=HALF)
    first = called(hospital, vault, agreed, 1)
    for file in files(hospital):
        file.unlink()
    assert called(hospital, vault, agreed, 1) == first
    with pytest.raises(NotApproved, match="changed or removed"):
        called(hospital, vault, agreed, 2)


def test_a_release_stands_though_the_logs_head_can_not_be_written(
    hospital: OneHospital, vault: Vault, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = durable_files.write_durably

    def full(path: Path, data: bytes) -> None:
        if path.name == "log_head":
            raise OSError(28, "No space left on device")
        write(path, data)

    agreed = agree(hospital, vault, compression=HALF)
    monkeypatch.setattr(durable_files, "write_durably", full)
    assert called(hospital, vault, agreed, 1).state == "done"


def test_a_state_that_is_changed_while_its_round_waits_fails_the_round(
    hospital: OneHospital, vault: Vault, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreed = agree(hospital, vault, compression=HALF)
    released(hospital, vault, agreed, 1)
    grant = vault._authorizer.grant

    def slowly(plan_hash: str) -> Any:
        for file in files(hospital):
            file.unlink()
        return grant(plan_hash)

    monkeypatch.setattr(vault._authorizer, "grant", slowly)
    failed = called(hospital, vault, agreed, 2)
    assert failed.state == "failed"
    assert "changed or removed" in failed.sentence


@pytest.mark.parametrize(
    "statement", ["DELETE FROM client_state", "UPDATE client_state SET sha256 = '00'",
                  "INSERT INTO client_state VALUES ('00', '00')"]
)  # fmt: skip
def test_a_vault_whose_states_are_not_those_of_its_log_does_not_start(
    hospital: OneHospital, vault: Vault, trained: Trained, statement: str
) -> None:
    agreed = agree(hospital, vault, compression=HALF)
    released(hospital, vault, agreed, 1)
    vault.close()
    with sqlite3.connect(hospital.site.vault / "vault.db") as database:
        database.execute(statement)
    database.close()
    with pytest.raises(Unavailable, match="what its plans keep between rounds"):
        Vault(hospital.site)


# The airlock and the pure half


def test_the_airlock_takes_the_trained_parts_update_whatever_travels() -> None:
    squeezed = plan(compression=Compression(kept=0.1), frozen_layers=1)
    assert VectorLayout.of(squeezed).result_length("train") == 35
    assert airlock.result_bound(squeezed, "train") == airlock.LARGEST
    assert airlock.result_bound(squeezed, "evaluate") == 2.0**20
    forgetful = plan(compression=Compression(kept=0.1, error_feedback=False))
    assert airlock.result_bound(forgetful, "train") == forgetful.sharing.bound
    scaffold = plan(algorithm=Scaffold())
    assert VectorLayout.of(scaffold).result_length("train") == 147
    assert VectorLayout.of(scaffold).values_length("train") == 294
    with pytest.raises(TrainingFailed, match="not the size"):
        airlock.inspect(bytes(8 * 34), length=35, bound=1.0)
    for value in (np.nan, np.inf, 2.0**130):
        with pytest.raises(TrainingFailed, match="not finite"):
            airlock.inspect(np.full(35, value).tobytes(), length=35, bound=airlock.LARGEST)
    made = client_update.from_result(
        squeezed, "hospital-1", 1, np.ones(35), common=np.zeros(0), kept=np.ones(35)
    )
    assert made.values.tolist() == [2.0] * 4
