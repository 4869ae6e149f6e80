"""What comes back from a training process, and a cohort's file as that process reads it."""

import io
import json
import struct
from random import Random

import numpy as np

from datasites.data import cohort_file
from datasites.protocol import vault_api
from datasites.vault import airlock
from datasites.vault.worker import warm_up
from datasites.vault.worker.job_messages import JobResult, StepDone
from datasites.vault.worker.training_worker import read_result
from syft_code import canonical
from syft_code.errors import ConsiliumError, InvalidData
from syft_code.secret_sharing.vector_layout import VectorLayout
from tests.fuzz.messages import frame
from tests.fuzz.mutation import changed_bytes, changed_json, some
from tests.fuzz.runner import Parser

PLAN, COHORT = next(warm_up.examples())
JOB, _ = warm_up.job_of(PLAN, "train", COHORT)
LENGTH = VectorLayout.of(PLAN).result_length("train")


def _read(data: bytes) -> None:
    raw = read_result(io.BytesIO(data), JOB, lambda step: None)
    vector = airlock.inspect(raw, length=LENGTH, bound=airlock.result_bound(PLAN, "train"))
    if not (len(vector) == LENGTH and np.isfinite(vector).all()):
        raise AssertionError("the airlock let out what it must not")


def _good(body: bytes = bytes(8 * LENGTH)) -> bytes:
    return frame(canonical.encode(StepDone(step=1))) * 3 + frame(
        canonical.encode(JobResult()), body
    )


def _answers(random: Random) -> bytes:
    numbers = random.choice((0.0, 1.0, 1e30, -1e308, float("nan"), float("inf")))
    body = struct.pack("<d", numbers) * (LENGTH + random.choice((0, 0, 0, -1, 1)))
    step = canonical.encode(StepDone(step=1))
    failure = canonical.encode(vault_api.Failure(error="TrainingFailed", sentence="No."))
    result = canonical.encode(JobResult())
    good = _good(body)
    return some(
        random,
        lambda r: good,
        lambda r: frame(step) + frame(changed_json(r, result), body),
        lambda r: frame(changed_json(r, random.choice((step, failure)))) + frame(result, body),
        lambda r: frame(step, b"patients", announced=r.choice((8, 2**20, 2**40))),
        lambda r: frame(result, body, announced=r.choice((0, 2**31, 2**40, 2**63))),
        lambda r: changed_bytes(r, good),
    )


def _cohort(random: Random) -> bytes:
    """A safetensors file: a length, a JSON header, the arrays."""
    size = int.from_bytes(COHORT[:8], "little")
    header, arrays = COHORT[8 : 8 + size], COHORT[8 + size :]
    if random.random() < 0.4:
        return changed_bytes(random, COHORT)
    changed = changed_json(random, header)
    if random.random() < 0.5:
        table = json.loads(header)
        one = random.choice([name for name in table if name != "__metadata__"])
        table[one]["dtype"] = random.choice(
            ("U8", "I8", "BOOL", "F16", "BF16", "F8_E4M3", "F32", "F64", "I64", "U64", "C64")
        )
        shape = table[one]["shape"]
        if shape and random.random() < 0.5:
            table[one]["shape"] = random.choice((shape[::-1], [*shape, 1], [1, *shape], shape[1:]))
        changed = json.dumps(table).encode()
    return len(changed).to_bytes(8, "little") + changed + arrays


def parsers() -> list[Parser]:
    """Two of them."""
    return [
        Parser(
            name="results",
            good=_good(),
            make=_answers,
            parse=_read,
            errors=(ConsiliumError, EOFError),
        ),
        Parser(
            name="cohort-files",
            good=COHORT,
            make=_cohort,
            parse=lambda data: cohort_file.unpack(data, PLAN.data),
            errors=(InvalidData,),
        ),
    ]
