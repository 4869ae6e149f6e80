"""A small study that was really trained, without the processes around it."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from nacl.signing import SigningKey

from federation.evaluation.exact_metrics import HospitalCohorts, main_name
from federation.researcher.outcome import Outcome, RoundRecord, model_sha256
from syft_code import canonical
from syft_code.cohort import Cohort
from syft_code.learning import dp_sgd
from syft_code.learning.dp_sgd import TrainingRun
from syft_code.metrics import evaluation_sums, scoring
from syft_code.models import networks
from syft_code.plans import messages
from syft_code.plans.messages import PURPOSES, Purpose, RoundStatement, ShareHeader, Signed
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import DpSgd, Evaluation, Sgd
from syft_code.plans.roster import Aggregator, Hospital
from syft_code.privacy import accounting
from syft_code.privacy.noise import NoiseSource
from syft_code.recipes.architectures import LayerStack, UNet
from syft_code.recipes.layers import Activation, Conv, GlobalAverage
from syft_code.recipes.recipe import CrossEntropy, DataSpec, DiceCrossEntropy, Recipe
from syft_code.secret_sharing import envelope
from syft_code.secret_sharing.groups import groups

DELTA = 1e-5
SKIN = DataSpec(
    kind="ham10000",
    task="classification",
    channels=("red", "green", "blue"),
    height_px=12,
    width_px=12,
    classes=("bkl", "mel", "nv"),
    patient_unit="lesion (lesion_id)",
    stand_in=True,
    positive="mel",
)
BRAIN = DataSpec(
    kind="brats",
    task="segmentation",
    channels=("t1", "t1ce", "t2", "flair"),
    height_px=16,
    width_px=16,
    classes=("background", "core", "edema", "enhancing"),
    patient_unit="patient (BraTS subject)",
    stand_in=True,
)
RECIPES = {
    "ham10000": Recipe(
        model=LayerStack(
            layers=(Conv(channels=8, stride=2), Activation(function="silu"), GlobalAverage())
        ),
        loss=CrossEntropy(),
    ),
    "brats": Recipe(model=UNet(widths=(4, 8)), loss=DiceCrossEntropy()),
}
PATIENTS = {"north": 60, "south": 40, "east": 30, "west": 20}
KEYS = {name: SigningKey(bytes([i]) * 32) for i, name in enumerate(PATIENTS)}
RESEARCHER = SigningKey(bytes([77]) * 32)


def a_plan(data: DataSpec = SKIN, **changes: object) -> Plan:
    fields: dict[str, object] = {
        "study": "a-study",
        "researcher_key": RESEARCHER.verify_key.encode().hex(),
        "data": data,
        "recipe": RECIPES[data.kind],
        "dp_sgd": DpSgd(noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=0.25, steps=4),
        "optimizer": Sgd(learning_rate=0.5, momentum=0.5),
        "rounds": 3,
        "hospitals": tuple(
            Hospital(
                name=name,
                verify_key=KEYS[name].verify_key.encode().hex(),
                asset="pictures",
                asset_version=1,
                patients=patients,
            )
            for name, patients in PATIENTS.items()
        ),
        "aggregators": tuple(
            Aggregator(
                name=f"aggregator-{i}",
                address=f"127.0.0.1:{8200 + i}",
                verify_key=f"{i:064x}",
                seal_key=f"{100 + i:064x}",
                certificate="-",
            )
            for i in (1, 2, 3)
        ),
        "min_hospitals": 3,
        "evaluation": Evaluation(noise_multiplier=8.0, after_rounds=(2, 3)),
    }
    return Plan(**(fields | changes))


def a_cohort(data: DataSpec, patients: int, *, seed: int, slices_each: int = 2) -> Cohort:
    """Pictures whose classes show in one colour channel, or in the brightness of each pixel."""
    random = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients, dtype=np.int32), slices_each)
    shape = (len(patient), len(data.channels), data.height_px, data.width_px)
    if data.task == "classification":
        labels = random.integers(0, len(data.classes), patients).astype(np.uint8)[patient]
        images = random.integers(0, 120, shape).astype(np.uint8)
        images[np.arange(len(labels)), labels] += 120
        return Cohort(images=images, labels=labels, patient=patient)
    labels = np.zeros((shape[0], *shape[2:]), dtype=np.uint8)
    for kind, (first, last) in enumerate(((4, 12), (6, 10), (7, 9)), start=1):
        labels[:, first:last, first:last] = (2, 1, 3)[kind - 1]
    noise = random.normal(0, 0.3, shape)
    return Cohort(
        images=(labels[:, None] + noise).astype(np.float16), labels=labels, patient=patient
    )


def the_hospitals(data: DataSpec, *, held_out: int = 12) -> list[HospitalCohorts]:
    return [
        HospitalCohorts(
            name=name,
            training=a_cohort(data, patients, seed=seed),
            held_out=a_cohort(data, held_out, seed=100 + seed),
        )
        for seed, (name, patients) in enumerate(PATIENTS.items())
    ]


@dataclass(frozen=True, kw_only=True)
class Demo:
    """An outcome, the data behind it, and the weights after each round."""

    outcome: Outcome
    hospitals: list[HospitalCohorts]
    weights_by_round: list[np.ndarray]


def run_study(plan: Plan, hospitals: list[HospitalCohorts]) -> Demo:
    """Train every round as the hospitals do; the sum is plain, shares are tested elsewhere."""
    seed = int(plan.hash[:8], 16)
    weights = networks.initial_weights(plan.recipe, plan.data, seed=seed)
    records, by_round = [], []
    source = NoiseSource.from_os()
    for number in range(1, plan.rounds + 1):
        total, weight = np.zeros(len(weights)), 0
        for hospital in hospitals:
            model = networks.build(plan.recipe, plan.data)
            networks.from_vector(model, weights)
            declared = plan.hospital(hospital.name).patients
            update = dp_sgd.train(
                model,
                hospital.training,
                TrainingRun(
                    recipe=plan.recipe,
                    dp=plan.dp_sgd,
                    optimizer=plan.optimizer,
                    declared_patients=declared,
                ),
                randomness=source,
            ).update
            total, weight = total + declared * update, weight + declared
        before, weights = weights, (weights + total / weight).astype(np.float32)
        by_round.append(weights)
        figures = noised(plan, weights, hospitals, number)
        records.append(a_record(plan, number, (before, weights), figures))
    outcome = Outcome(plan=plan, weights=weights, rounds=tuple(records))
    return Demo(outcome=outcome, hospitals=hospitals, weights_by_round=by_round)


def noised(
    plan: Plan, weights: np.ndarray, hospitals: list[HospitalCohorts], number: int
) -> dict[str, float]:
    if plan.evaluation is None or number not in plan.evaluation.after_rounds:
        return {}
    model = networks.build(plan.recipe, plan.data)
    networks.from_vector(model, weights)
    scale = plan.evaluation.noise_multiplier * scoring.sensitivity(plan.data)
    source = NoiseSource.from_os()
    sums = np.zeros(scoring.evaluation_length(plan.data))
    for hospital in hospitals:
        exact = evaluation_sums.patient_sums(model, hospital.held_out, plan.data)
        sums += source.add_noise(exact, std=scale)
    return scoring.report(sums, plan.data)


def a_record(
    plan: Plan, number: int, weights: tuple[np.ndarray, np.ndarray], figures: dict[str, float]
) -> RoundRecord:
    """What a ledger states after round `number`: all up to it is paid, its evaluation too.

    `weights` are those before and after it.
    """
    evaluated = plan.evaluation.after_rounds if plan.evaluation else ()
    training = [accounting.event(plan, "train")] * number
    spent = {
        "train": [
            *training,
            *(accounting.event(plan, "evaluate") for r in evaluated if r < number),
        ],
        "evaluate": [
            *training,
            *(accounting.event(plan, "evaluate") for r in evaluated if r <= number),
        ],
    }
    names = [hospital.name for hospital in plan.hospitals]
    headers: dict[Purpose, dict[str, Signed]] = {"train": {}, "evaluate": {}}
    for purpose, hash_of in zip(PURPOSES, map(model_sha256, weights), strict=True):
        statement = RoundStatement(
            weights_sha256=hash_of,
            epsilon=accounting.epsilon(spent[purpose], delta=DELTA),
            epsilon_alone=accounting.epsilon_alone(spent[purpose], delta=DELTA),
            delta=DELTA,
            log_sha256="00" * 32,
        )
        if purpose == "train" or figures:
            headers[purpose] = {n: a_header(plan, n, purpose, number, statement) for n in names}
            epsilon, alone = statement.epsilon, statement.epsilon_alone
    return RoundRecord(
        round=number,
        trained=tuple(names),
        groups=groups(plan, "train", number, tuple(names)),
        evaluated=tuple(names) if figures else (),
        epsilon=dict.fromkeys(names, epsilon),
        epsilon_alone=dict.fromkeys(names, alone),
        delta=dict.fromkeys(names, DELTA),
        headers=headers,
        metrics=figures,
        errors={name: 0.04 for name in [*figures, main_name(plan.data)] if figures},
        upload_bytes=123_456,
        seconds=1.5,
    )


def a_header(
    plan: Plan, hospital: str, purpose: Purpose, number: int, statement: RoundStatement
) -> Signed:
    """The header of a hospital's last share of a round, over a log that grows."""
    grown = dataclasses.replace(
        statement, log_sha256=canonical.sha256(f"{hospital}{number}".encode())
    )
    party = len(plan.aggregators)
    header = envelope.unsealed_header(plan, hospital, purpose, number, party=party, statement=grown)
    return messages.sign(header, KEYS[hospital])


def signed_anew(signed: Signed, **changes: object) -> Signed:
    """A statement with something else in it, signed by its hospital."""
    header = messages.claimed(ShareHeader, signed)
    return messages.sign(dataclasses.replace(header, **changes), KEYS[header.hospital])


def under_another_plan(outcome: Outcome, plan: Plan) -> Outcome:
    """The same rounds as if they had been of this plan; every hospital signs anew."""
    rounds = tuple(
        dataclasses.replace(
            record,
            groups=groups(plan, "train", record.round, record.trained),
            headers={
                purpose: {
                    name: signed_anew(one, plan_hash=plan.hash) for name, one in headers.items()
                }
                for purpose, headers in record.headers.items()
            },
        )
        for record in outcome.rounds
    )
    return dataclasses.replace(outcome, plan=plan, rounds=rounds)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks are slower on several threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def skin_demo() -> Demo:
    return run_study(a_plan(SKIN), the_hospitals(SKIN))


@pytest.fixture(scope="session")
def brain_demo() -> Demo:
    dp = DpSgd(noise_multiplier=0.5, max_grad_norm=1.0, sample_rate=0.2, steps=2)
    return run_study(a_plan(BRAIN, dp_sgd=dp), the_hospitals(BRAIN, held_out=4))


@pytest.fixture(scope="session")
def train_study() -> Callable[[Plan, list[HospitalCohorts]], Demo]:
    """The function that trains a study, for plans of a test's own."""
    return run_study


@pytest.fixture(scope="session")
def sign_anew() -> Callable[..., Signed]:
    """The function with which a hospital of the demo signs a statement with changes."""
    return signed_anew


@pytest.fixture(scope="session")
def researcher_key() -> SigningKey:
    """The key of the researcher whom the demo's plans name."""
    return RESEARCHER


@pytest.fixture(scope="session")
def rewritten() -> Callable[[Outcome, Plan], Outcome]:
    """The function that puts an outcome under another plan."""
    return under_another_plan
