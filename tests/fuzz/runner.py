"""One parser and many inputs, in a process of its own: an answer, or an error of the product's own.

    parent ─ fork ─▶ child: limits of memory and time ─ input 0, 1, 2, ... ─▶ findings
                     died at input n? ─▶ a finding, and another child goes on at n + 1

An input follows from the parser's name, the seed and its number, so that each finding is repeated by
one number.
"""

import faulthandler
import json
import mmap
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from syft_code.errors import ConsiliumError
from tests.fuzz.mutation import Make

LIMIT_S, PATIENCE_S = 5.0, 60.0
"""Of the processor for one input, of which the slowest takes some tenths; and by the clock on the wall."""
LONGEST_SENTENCE = 2000
_LATE = (signal.SIGPROF, signal.SIGALRM)
MOST_FINDINGS = 20
"""Of one run; more of them say nothing new."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parser:
    """`parse` takes `good`, and of what `make` gives it raises nothing but `errors`.

    Units: `more_bytes` is the address space that parsing may take beyond what the process has.
    """

    name: str
    good: bytes
    make: Make
    parse: Callable[[bytes], object]
    errors: tuple[type[Exception], ...] = (ConsiliumError,)
    more_bytes: int = 256 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An input that no parser should have answered so."""

    number: int
    what: str


@dataclass(slots=True, kw_only=True)
class Report:
    """What came of so many inputs of one parser; `read` of them were taken as they are."""

    parser: str
    inputs: int = 0
    read: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    slowest: int = 0
    findings: list[Finding] = field(default_factory=list)


def one_input(parser: Parser, seed: int, number: int) -> bytes:
    """The input with this number."""
    return parser.make(Random(f"{parser.name}/{seed}/{number}"))


def run(parser: Parser, *, inputs: int, seed: int = 0, first: int = 0) -> Report:
    """Parse inputs `first` to `first + inputs - 1`."""
    report = Report(parser=parser.name)
    parser.parse(parser.good)  # what is made when it is first needed is none of the children's time
    began, number = time.monotonic(), first
    while number < first + inputs and len(report.findings) < MOST_FINDINGS:
        number = _in_a_child(parser, seed, range(number, first + inputs), report)
    report.inputs, report.seconds = number - first, time.monotonic() - began
    return report


def _in_a_child(parser: Parser, seed: int, numbers: range, report: Report) -> int:
    """Parse until all are done or the child has died; the number to go on with."""
    sys.stdout.flush()
    at = mmap.mmap(-1, 8)  # shared: which input the child is at
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        _child(parser, seed, numbers, at, tell)
    os.close(tell)
    with os.fdopen(told, "rb") as stream:
        lines = [json.loads(line) for line in stream.read().splitlines()]
    _, status = os.waitpid(child, 0)
    for line in lines:
        if "what" in line:
            report.findings.append(Finding(**line))
        else:
            report.read += line["read"]
            found = (line["slowest_s"], line["slowest"])
            report.slowest_s, report.slowest = max((report.slowest_s, report.slowest), found)
    number = int.from_bytes(at, "little")
    if status == 0:
        return number + 1
    how = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {status}"
    hung = how in {late.name for late in _LATE}
    report.findings.append(
        Finding(
            number=number,
            what=f"longer than {LIMIT_S:g} s" if hung else f"the process ended: {how}",
        )
    )
    return number + 1


def _child(parser: Parser, seed: int, numbers: range, at: mmap.mmap, tell: int) -> None:
    """Never returns: nothing of the parent's is run to its end twice."""
    code = 1
    try:
        faulthandler.disable()
        for late in _LATE:
            signal.signal(late, signal.SIG_DFL)  # ends C code, too
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        most = _address_space() + parser.more_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        with os.fdopen(tell, "wb") as stream:
            read, slowest, findings = 0, (0.0, 0), 0
            for number in numbers:
                at[:] = number.to_bytes(8, "little")
                data = one_input(parser, seed, number)
                signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
                signal.alarm(int(PATIENCE_S))
                began = time.process_time()
                problem = _problem(parser, data)
                slowest = max(slowest, (time.process_time() - began, number))
                signal.setitimer(signal.ITIMER_PROF, 0)
                read += problem == ""
                if problem:
                    findings += 1
                    stream.write(json.dumps({"number": number, "what": problem}).encode() + b"\n")
                if findings >= MOST_FINDINGS:
                    break
            stream.write(
                json.dumps({"read": read, "slowest_s": slowest[0], "slowest": slowest[1]}).encode()
                + b"\n"
            )
        code = 0
    except BaseException:
        traceback.print_exc()  # of `make`, or out of memory in between
    finally:
        os._exit(code)


def _problem(parser: Parser, data: bytes) -> str | None:
    """ "" if the input was read, None if it was refused as it should be, else what is wrong."""
    try:
        parser.parse(data)
    except parser.errors as refusal:
        return (
            None
            if len(str(refusal)) <= LONGEST_SENTENCE
            else f"{len(str(refusal))} characters said"
        )
    except Exception as problem:
        where = traceback.extract_tb(problem.__traceback__)[-1]
        here = next(
            (f for f in reversed(traceback.extract_tb(problem.__traceback__)) if _ours(f.filename)),
            where,
        )
        place = f"{Path(here.filename).name}:{here.lineno}"
        return f"{type(problem).__name__} at {place}: {str(problem)[:100]}"
    return ""


def _ours(path: str) -> bool:
    return any(f"/{room}/" in path for room in ("syft_code", "datasites", "federation", "policies"))


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
