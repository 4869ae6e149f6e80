"""What stands in a training's place in these tests: templates, and workers that are given a job, that go wrong."""

import time
from collections.abc import Sequence
from typing import BinaryIO


def nothing() -> None:
    """A template with nothing to load."""


def never_ready() -> None:
    time.sleep(600)


def ready_late() -> None:
    time.sleep(4.5)


def out_of_memory() -> None:
    raise SystemExit("out of memory")


def hang(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    jobs.read(1)
    time.sleep(600)


def die(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    jobs.read(1)
    raise RuntimeError("killed")
