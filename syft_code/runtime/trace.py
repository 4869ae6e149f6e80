"""Spans of a process's work, written down if somebody asks: where does a round's time go?

    CONSILIUM_TRACE=/tmp/trace consilium up      # each process writes /tmp/trace/<pid>.jsonl

A span holds a name, a beginning and an end, and nothing of whom or what it was about. Without the
variable a span costs a test of one name.

Does not protect: what a plan's release schedule hides. Trace a federation of drawn patients, or keep the folder to
    the hospital.

Units: seconds of the machine's monotonic clock, which its processes share.
"""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "CONSILIUM_TRACE"
_folder = [os.environ.get(VARIABLE, "")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One piece of work; `processor` is what its thread took of the time."""

    name: str
    began: float
    ended: float
    processor: float


@contextmanager
def span(name: str) -> Iterator[None]:
    """Write down how long a block took, if this process is asked to."""
    if not _folder[0]:
        yield
        return
    began, used = time.monotonic(), time.thread_time()
    try:
        yield
    finally:
        line = json.dumps([name, began, time.monotonic(), time.thread_time() - used])
        folder = Path(_folder[0])
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (folder / f"{os.getpid()}.jsonl").open("a") as file:
            file.write(f"{line}\n")


@contextmanager
def switched_on(folder: Path) -> Iterator[None]:
    """Trace this process, and those that it starts, into a folder while a block runs."""
    before = _folder[0]
    _folder[0] = os.environ[VARIABLE] = str(folder)
    try:
        yield
    finally:
        _folder[0] = os.environ[VARIABLE] = before


def read(folder: Path) -> list[Span]:
    """Every span of every process that wrote into a folder, in the order of their beginnings."""
    lines = [line for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()]
    spans = [Span(name=n, began=b, ended=e, processor=p) for n, b, e, p in map(json.loads, lines)]
    return sorted(spans, key=lambda one: one.began)
