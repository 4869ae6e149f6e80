"""CUDA inside a worker, by name: started before its filter stands, since it makes threads, and tried out."""

from collections.abc import Sequence
from typing import BinaryIO

import torch

WORKS = b"works"


def begin() -> None:
    """Start CUDA and autograd's thread for it: a template that had would leave its workers broken ones."""
    torch.zeros(1, device="cuda", requires_grad=True).sum().backward()  # type: ignore[no-untyped-call]


def answer(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    """What a tried worker does: a sum on the device."""
    if torch.ones(8, device="cuda").sum().item() == 8.0:
        answers.write(WORKS)
