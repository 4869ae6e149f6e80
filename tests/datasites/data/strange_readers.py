"""What a reader does that a file has taken over; run behind walls, so it imports little."""

import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from safetensors.numpy import save

from datasites.data import cohort_file, contained_reading, contained_survey, readers
from datasites.protocol import framing, vault_api
from syft_code import canonical
from syft_code.cohort import Cohort
from syft_code.recipes.recipe import DataSpec


@canonical.message
class ReadingWithSpec:
    """An answer that also names the asset's public shape."""

    spec: DataSpec
    remarks: tuple[str, ...]
    named: bool
    kind: Literal["reading"] = "reading"


def work_for_a_stranger(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    """A reader that a file has taken over: it tells how much of what it tries succeeds."""
    asked, _ = framing.receive(jobs, contained_reading.ReadFolder)
    beside = Path(asked.folder).with_name("key")
    got = [
        name
        for name, attempt in (
            ("read beside the folder", beside.read_text),
            ("write into the folder", (Path(asked.folder) / "mark").touch),
            ("open a socket", lambda: socket.create_connection(("127.0.0.1", 9), timeout=1)),
            ("start a program", lambda: os.posix_spawn("/bin/true", ["true"], {})),
        )
        if succeeds(attempt)
    ]
    framing.send(answers, vault_api.Failure(error="InvalidData", sentence=f"reached: {got}"))


def succeeds(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError as problem:
        return isinstance(problem, ConnectionError)  # there was a network to ask
    return True


def die(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    """A reader that a file ends."""
    os._exit(11)


def tell_the_public(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    """A reader that writes what it read into the public shape."""
    spec = DataSpec(
        kind="table",
        task="classification",
        channels=(),
        height_px=0,
        width_px=0,
        classes=("Anna Smith", "is ill"),
        patient_unit="her number is 17",
        stand_in=False,
        facts=("age",),
    )
    answer = ReadingWithSpec(spec=spec, remarks=(), named=True)
    framing.send(answers, answer, one_row(facts=1))


def write_to_the_terminal(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    """A reader whose remarks would move the owner's cursor."""
    asked, _ = framing.receive(jobs, contained_reading.ReadFolder)
    facts = len(readers.spec(asked.data, Path(asked.folder)).facts)
    answer = contained_reading.FolderRead(remarks=("\x1b[2Jall is well",), named=True)
    framing.send(answers, answer, one_row(facts=facts, site="\x1b[2J"))


def send_unknown_numbers(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    """A reader that answers with arrays of a kind that numpy does not know."""
    answer = contained_reading.FolderRead(remarks=(), named=True)
    header = b'{"images":{"dtype":"F8_E5M2","shape":[0],"data_offsets":[0,0]}}'
    framing.send(answers, answer, len(header).to_bytes(8, "little") + header)


def never_end(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    """A reader that a file keeps busy."""
    while True:
        time.sleep(60)


def one_row(*, facts: int, site: str = "") -> bytes:
    """A table of one patient."""
    cohort = Cohort(
        images=np.zeros((1, 0, 0, 0), np.uint8),
        labels=np.zeros(1, np.uint8),
        patient=np.zeros(1, np.int32),
        facts=np.zeros((1, facts), np.float32),
    )
    texts = {
        "id_bytes": np.frombuffer(b"a", np.uint8),
        "id_ends": np.ones(1, np.int64),
        "site_bytes": np.frombuffer(site.encode(), np.uint8),
        "site_ends": np.array([len(site.encode())], np.int64),
        "site_of_patient": np.zeros(1, np.int32),
    }
    return save(cohort_file.arrays(cohort, None) | texts)


def survey_in_colour(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    """A reader whose description would move the owner's cursor, with more pictures than were asked for."""
    answer = contained_survey.FolderSurveyed(
        description=("\x1b[2Jall is well",), mapping="title = 1\x1b\nkind = 2"
    )
    framing.send(answers, answer, save({str(n): np.zeros((9, 9), np.uint8) for n in range(5)}))


def survey_with_a_vector(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    """A reader that sends an array that is no picture."""
    answer = contained_survey.FolderSurveyed(description=(), mapping="")
    framing.send(answers, answer, save({"0": np.zeros(9, np.float32)}))
