"""How fast a federation starts, and what it holds at rest: `python -m benchmarks start`.

`consilium up` for four hospitals and three aggregators, with drawn tables, in an empty folder: the
first start makes keys and publishes, the second finds all there. Memory is the proportional set
size (PSS) of one front desk and its vault. Commands' processor time is user and system together.
"""

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks.figures import Figure

ROOT = Path(__file__).parents[1]
FEDERATION = """
min_hospitals = 3
{hospitals}
{aggregators}
"""
_HOSPITAL = (
    '[[hospital]]\nname = "h{n}"\nport = {port}\nkind = "heart"\nepsilon = 8.0\ndelta = 1e-5\n'
)
_AGGREGATOR = '[[aggregator]]\nname = "a{n}"\nport = {port}\n'
READY = "Stop with Ctrl-C"
PORT = 18_301


def figures(*, tiny: bool) -> Iterator[Figure]:
    """Start twice; look at memory and commands the second time."""
    hospitals = 3 if tiny else 4
    with tempfile.TemporaryDirectory() as folder:
        file, state = Path(folder) / "federation.toml", Path(folder) / "state"
        file.write_text(
            FEDERATION.format(
                hospitals="\n".join(_HOSPITAL.format(n=n, port=PORT + n) for n in range(hospitals)),
                aggregators="\n".join(
                    _AGGREGATOR.format(n=n, port=PORT + 20 + n) for n in range(3)
                ),
            )
        )
        first, _ = _up(file, state)
        yield Figure(benchmark="start", what="up, first time", value=first, unit="s", goal=25.0)
        again, found = _up(file, state, look=True)
        yield Figure(benchmark="start", what="up, again", value=again, unit="s", goal=15.0)
        yield from found


def _up(file: Path, state: Path, *, look: bool = False) -> tuple[float, list[Figure]]:
    """Seconds until `up` says that it is ready, and what is seen then."""
    command = [sys.executable, "launch.py", "up", "--federation", str(file), "--state", str(state)]
    began = time.monotonic()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            ready = any(READY in line for line in process.stdout or ())
            seconds = time.monotonic() - began
            if not ready:
                raise SystemExit("The federation did not start: nothing is measured.")
            return seconds, [*_at_rest(process.pid), *_commands(state)] if look else []
        finally:
            process.terminate()


def _at_rest(pid: int) -> Iterator[Figure]:
    held = {
        " ".join(child.cmdline()): child.memory_full_info().pss / 2**20
        for child in psutil.Process(pid).children(recursive=True)
    }
    hospital = [
        pss for command, pss in held.items() if re.search(r"(desk|vault)_process .*h0 ", command)
    ]
    if len(hospital) != 2:
        raise SystemExit(f"A hospital has two processes at rest, found {len(hospital)}.")
    yield Figure(
        benchmark="start", what="a hospital at rest (PSS)", value=sum(hospital), unit="MiB",
        goal=500.0,
    )  # fmt: skip


def _commands(state: Path) -> Iterator[Figure]:
    for words in (["--help"], ["requests", "list"], ["ledger"]):
        command = [sys.executable, "launch.py", *words]
        command += ["--state", str(state), "--hospital", "h0"] if words != ["--help"] else []
        before = _children_s()
        subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True, env=os.environ)
        yield Figure(
            benchmark="start", what=f"consilium {' '.join(words)}, processor",
            value=_children_s() - before, unit="s", goal=1.5,
        )  # fmt: skip


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
