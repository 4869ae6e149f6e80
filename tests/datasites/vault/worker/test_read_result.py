"""What a training process answers is read no further than a plan's result is long."""

import io
import struct

import pytest

from datasites.protocol import framing, vault_api
from datasites.vault.worker import warm_up
from datasites.vault.worker.job_messages import JobResult, StepDone
from datasites.vault.worker.training_worker import MAX_ANSWER_HEADER_BYTES, read_result
from syft_code import canonical
from syft_code.errors import InvalidMessage, Refused
from syft_code.secret_sharing.vector_layout import VectorLayout

PLAN, COHORT = next(warm_up.examples())
JOB, _ = warm_up.job_of(PLAN, "train", COHORT)
RESULT_BYTES = 8 * VectorLayout.of(PLAN).result_length("train")


def _line(*frames: tuple[object, bytes]) -> io.BytesIO:
    line = io.BytesIO()
    for header, body in frames:
        framing.send(line, header, body)
    line.seek(0)
    return line


def test_steps_are_told_and_the_result_is_read_whole() -> None:
    steps: list[int] = []
    line = _line(
        (StepDone(step=1), b""), (StepDone(step=2), b""), (JobResult(), bytes(RESULT_BYTES))
    )
    assert read_result(line, JOB, steps.append) == bytes(RESULT_BYTES)
    assert steps == [1, 2]


def test_what_a_process_says_went_wrong_is_raised() -> None:
    with pytest.raises(Refused, match="so it is"):
        read_result(
            _line((vault_api.Failure(error="Refused", sentence="so it is"), b"")), JOB, print
        )


@pytest.mark.parametrize("header", [JobResult(), StepDone(step=1)])
def test_a_process_that_announces_more_than_the_plan_gives_is_not_heard(header: object) -> None:
    """4 GiB of it once fitted into the vault's memory."""
    data = canonical.encode(header)
    line = io.BytesIO(struct.pack(">IQ", len(data), 2**32) + data + bytes(2 * RESULT_BYTES))
    with pytest.raises(InvalidMessage, match="body bytes, it announces 4294967296"):
        read_result(line, JOB, print)
    assert line.tell() == 12 + len(data)


def test_a_header_of_a_process_is_short() -> None:
    sentence = "x" * MAX_ANSWER_HEADER_BYTES
    with pytest.raises(InvalidMessage, match="header bytes"):
        read_result(_line((vault_api.Failure(error="Refused", sentence=sentence), b"")), JOB, print)


def test_what_a_process_says_is_cut_short() -> None:
    failure = vault_api.Failure(error="Refused", sentence="x" * 5000)
    with pytest.raises(Refused) as caught:
        read_result(_line((failure, b"")), JOB, print)
    assert len(str(caught.value)) == vault_api.LONGEST_SENTENCE
