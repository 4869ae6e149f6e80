"""The work of a contained process in these tests: one named attack, answered with one byte."""

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import BinaryIO

from tests.hostile.contained.attacks import ATTACKS
from tests.hostile.contained.attacks.world import World

GOT_IN, REFUSED = b"1", b"0"


def attack(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    """Try it once; that it raised says nothing but that it did not get in."""
    job = json.loads(jobs.readline())
    world = dataclasses.replace(World(**job["world"]), handed=files[0] if files else -1)
    try:
        got_in = ATTACKS[job["attack"]](world)
    except (Exception, SystemExit) as problem:
        os.write(2, f"{job['attack']}: {type(problem).__name__}: {problem}\n".encode())
        got_in = False
    answers.write(GOT_IN if got_in else REFUSED)
