"""Work for a contained process that is no attack by itself: each says what became of it."""

import os
import sys
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
import torch

from tests.hostile.contained.attacks.execution import run_code
from tests.hostile.contained.attacks.world import system_call

KEPT: list[bytes] = []
"""What a job leaves behind in its process."""
VECTORS = torch.backends.cpu.get_cpu_capability()
_I386_GETPID = b"\xb8\x14\0\0\0\xcd\x80\xc3"


def print_and_raise(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    print("printed", flush=True)
    print("complained", file=sys.stderr, flush=True)
    os.write(1, b"wrote\n")
    raise ValueError("raised")


def print_without_end(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    try:
        while True:
            os.write(2, b"line of a talkative library\n" * 1024)
    finally:
        answers.write(b"ended")


def allocate(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    """So many bytes, each of them touched."""
    try:
        held = bytearray(int(jobs.readline()))
    except MemoryError:
        answers.write(b"refused")
        return
    held[::4096] = bytes(1) * len(held[::4096])
    answers.write(b"held")


def remember(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    """Answer what an earlier job left here, and where its reading of the file ended."""
    left = f"{len(KEPT)} {os.lseek(files[0], 0, os.SEEK_CUR)}"
    KEPT.append(os.read(files[0], 64))
    answers.write(left.encode())
    answers.flush()
    jobs.readline()


def compute_without_end(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    answers.write(b"begun")
    answers.flush()
    while True:
        pass


def enter_as_i386(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    _between(answers, lambda: run_code(_I386_GETPID))


def enter_as_x32(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    def call() -> None:
        try:
            system_call(0x4000_0000 + 39)
        except OSError as refusal:
            answers.write(b"refused" if refusal.errno == 38 else b"")

    _between(answers, call)


def _between(answers: BinaryIO, call: object) -> None:
    answers.write(b"before ")
    answers.flush()
    call()  # type: ignore[operator]
    answers.write(b"after")


def train(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    """A small network on what was handed over: the work that walls must not break."""
    pixels = np.frombuffer(os.read(files[0], 4 * 8 * 64), np.float32).reshape(8, 1, 8, 8)
    images = torch.from_numpy(pixels.copy())
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2)
    )
    weights, losses = list(model.parameters()), []
    for _ in range(5):
        loss = torch.nn.functional.cross_entropy(model(images), torch.arange(8) % 2)
        with torch.no_grad():
            for weight, slope in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                weight -= 0.1 * slope
        losses.append(loss.item())
    answers.write(b"learned" if losses[-1] < losses[0] else b"did not learn")


def vectors(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    """What torch took the processor for as the template loaded it."""
    answers.write(VECTORS.encode())
