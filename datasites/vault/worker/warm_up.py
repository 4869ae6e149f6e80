"""What a template does before it makes workers: a small round of each kind of network, on noise.

A worker sees no file system, so what libraries load late must be there; and nobody's round pays for it.
"""

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch

from datasites.data import cohort_file, patient_hashing
from datasites.data.cohort_file import SplitCohort
from datasites.protocol import framing, vault_api
from datasites.vault.worker import job_runner
from datasites.vault.worker.job_messages import EncodingJob, StepDone, TrainingJob
from syft_code import canonical
from syft_code.cohort import Cohort
from syft_code.errors import InvalidData, TrainingFailed
from syft_code.local_training import round_time
from syft_code.models import encoder_networks, encoder_weights, frozen_features
from syft_code.plans.messages import PURPOSES, Purpose
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import DpSgd, Engine, Evaluation, Sgd
from syft_code.plans.roster import Aggregator, Hospital
from syft_code.recipes.architectures import EncoderDecoder, LayerStack, UNet
from syft_code.recipes.encoders import LEAST_PX, Encoder, EncoderName, Projection
from syft_code.recipes.layers import (
    Activation,
    Conv,
    GlobalAverage,
    GroupNorm,
    Linear,
    Lstm,
    Pool,
    Scattering,
)
from syft_code.recipes.recipe import CrossEntropy, DataSpec, DiceCrossEntropy, Recipe

DataKind = Literal["ham10000", "brats", "lgg", "table", "series"]
PATIENTS = 4
SMALLEST: EncoderName = "efficientnet-lite0"
_KEYS = [f"{number:064x}" for number in range(8)]


def small_rounds() -> None:
    """A training and an evaluation of each kind."""
    for plan, cohort in examples():
        for purpose in PURPOSES:
            _round(plan, purpose, cohort)
    _encoding()
    framing.send(io.BytesIO(), StepDone(step=1))
    framing.send(io.BytesIO(), vault_api.Failure(error=TrainingFailed.__name__, sentence="none"))


def _encoding() -> None:
    """What an encoder says of a few pictures, its weights from a file of either kind, and a projection after it."""
    weights = {
        end: torch.zeros(shape)
        for of in encoder_networks.convolutions(SMALLEST)
        for end, shape in ((f"{of.name}.weight", of.shape), (f"{of.name}.bias", (of.outputs,)))
    }
    packed, pickled = encoder_weights.pack(weights, SMALLEST), io.BytesIO()
    torch.save({"no": torch.zeros(1)}, pickled)
    with contextlib.suppress(InvalidData):  # read, and of another network
        encoder_weights.read(pickled.getvalue(), SMALLEST)
    data = _spec("ham10000", 3, 16)
    layers = (
        Encoder(name=SMALLEST, weights_sha256=canonical.sha256(packed), input_px=LEAST_PX),
        Projection(features=4),
    )
    plan = _plan(Recipe(model=LayerStack(layers=layers), loss=CrossEntropy()), data)
    cohort = _cohort(data)
    job = EncodingJob(
        plan=plan.encode().decode(),
        place=0,
        cohort_sha256=canonical.sha256(cohort),
        pictures=2 * PATIENTS,
    )
    features = job_runner.encode(job, packed, cohort)
    rows = np.frombuffer(features, "<f4").reshape(2 * PATIENTS, -1, 1, 1)
    frozen_features.encoded(layers[1], rows, b"")
    pictures = cohort_file.unpack(cohort, data).cohort.images
    for layer in (_maps(layers[0].file_sha256), Scattering(angles=4)):
        frozen_features.encoded(layer, pictures, packed if isinstance(layer, Encoder) else b"")


def small_rounds_with_opacus() -> None:
    """Those, and a training with Opacus of each kind that it may train."""
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = os.sep  # torch wants one that is there
    small_rounds()
    for plan, cohort in examples(engine="opacus"):
        _round(plan, "train", cohort)


def examples(*, engine: Engine = "consilium") -> Iterator[tuple[Plan, bytes]]:
    """A plan of each kind of network that the engine may train, and a cohort's file for it."""
    for recipe, data in _kinds():
        if engine == "consilium" or data.kind != "series":
            plan = _plan(recipe, data, engine=engine)
            yield plan, _cohort(data, features=plan.kept_features())


def _kinds() -> Iterator[tuple[Recipe, DataSpec]]:
    picture = (Conv(channels=4), GroupNorm(groups=2), Activation(), Pool(), GlobalAverage())
    classify, segment = CrossEntropy(), DiceCrossEntropy()
    yield from (
        (Recipe(model=LayerStack(layers=picture), loss=classify), _spec("ham10000", 3, 16)),
        (
            Recipe(model=LayerStack(layers=(Scattering(angles=4),)), loss=classify),
            _spec("ham10000", 3, 32),
        ),
        (Recipe(model=LayerStack(layers=(Linear(features=4),)), loss=classify), _spec("table", 0)),
        (Recipe(model=LayerStack(layers=(Lstm(units=4),)), loss=classify), _spec("series", 1, 4)),
        (Recipe(model=UNet(widths=(4, 8)), loss=segment), _spec("brats", 2, 16)),
        (Recipe(model=EncoderDecoder(encoder=_maps("0" * 64)), loss=segment), _spec("lgg", 3, 16)),
    )


def _maps(sha256: str) -> Encoder:
    return Encoder(name=SMALLEST, weights_sha256=sha256, input_px=LEAST_PX, pool="maps")


def job_of(plan: Plan, purpose: Purpose, cohort: bytes) -> tuple[TrainingJob, bytes]:
    """The first round of a plan as a job, and the body that comes with it."""
    job = TrainingJob(
        plan=plan.encode().decode(),
        hospital=plan.hospitals[0].name,
        purpose=purpose,
        round=1,
        cohort_sha256=canonical.sha256(cohort),
        threads=1,
    )
    return job, round_time.first_broadcast(plan, purpose).joined().tobytes()


def _round(plan: Plan, purpose: Purpose, cohort: bytes) -> None:
    line = io.BytesIO()
    framing.send(line, *job_of(plan, purpose, cohort))
    line.seek(0)
    received, body = framing.receive(line, TrainingJob)
    job_runner.perform(received, body, cohort)


def _plan(recipe: Recipe, data: DataSpec, *, engine: Engine = "consilium") -> Plan:
    """One that nobody has signed, with keys that are no keys."""
    return Plan(
        study="warm-up",
        researcher_key=_KEYS[0],
        data=data,
        recipe=recipe,
        dp_sgd=DpSgd(
            noise_multiplier=1.0, max_grad_norm=1.0, sample_rate=1.0, steps=1, engine=engine
        ),
        optimizer=Sgd(learning_rate=0.1),
        rounds=1,
        hospitals=tuple(
            Hospital(
                name=f"h{number}",
                verify_key=_KEYS[number],
                asset="noise",
                asset_version=1,
                patients=PATIENTS,
            )
            for number in (1, 2, 3)
        ),
        aggregators=tuple(
            Aggregator(
                name=f"a{number}",
                address="127.0.0.1:1",
                verify_key=_KEYS[number],
                seal_key=_KEYS[number],
                certificate="none",
            )
            for number in (4, 5, 6)
        ),
        min_hospitals=3,
        evaluation=Evaluation(noise_multiplier=1.0, after_rounds=(1,)),
    )


def _spec(kind: DataKind, channels: int, size_px: int = 0) -> DataSpec:
    return DataSpec(
        kind=kind,
        task="segmentation" if kind in ("brats", "lgg") else "classification",
        channels=tuple(f"c{number}" for number in range(channels)),
        height_px=size_px,
        width_px=size_px,
        classes=("no", "yes"),
        patient_unit="patient",
        stand_in=True,
        facts=("f",) if kind == "table" else (),
    )


def _cohort(data: DataSpec, *, features: int | None = None) -> bytes:
    """Patients of noise, every other one held out, as a vault keeps them."""
    random = np.random.default_rng(0)
    shape = (2 * PATIENTS, len(data.channels), data.height_px, data.width_px)
    mapped = shape[:1] + shape[2:] if data.task == "segmentation" else shape[:1]
    pixels = random.integers(0, 255, shape)
    whole = data.kind == "ham10000"
    cohort = Cohort(
        images=pixels.astype(np.uint8) if whole else pixels.astype(np.float16),
        labels=random.integers(0, 2, mapped).astype(np.uint8),
        patient=np.arange(2 * PATIENTS, dtype=np.int32),
        facts=random.random((2 * PATIENTS, len(data.facts))).astype(np.float32),
    )
    return cohort_file.pack(
        SplitCohort(
            cohort=frozen_features.with_drawn_features(cohort, features),
            held_out=np.arange(2 * PATIENTS) % 2 == 1,
            tokens=patient_hashing.tokens([str(n) for n in range(2 * PATIENTS)], bytes(32)),
            split_rule="warm-up",
        )
    )
