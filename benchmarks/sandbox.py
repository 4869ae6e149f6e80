"""What containing a training costs: `python -m benchmarks sandbox`.

A template that has loaded all libraries makes a worker for each job. *Dispatch* is from asking for a
worker to the answer of a job that does nothing; *a job* is one step of a small network on four patients, the
same with the strongest walls that this machine has and without any, in turns.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.figures import Figure
from datasites.protocol import framing
from datasites.sandbox import offers
from datasites.sandbox.spec import Mechanism, Spec, python_paths
from datasites.sandbox.template import Template
from datasites.vault.worker import warm_up
from datasites.vault.worker.job_messages import JobReply, JobResult, TrainingJob

_PREPARE = "datasites.vault.worker.warm_up:small_rounds"


@contextmanager
def template(mechanism: Mechanism, entry: str) -> Iterator[Template]:
    """A template with these walls, ready."""
    spec = Spec(
        mechanism=mechanism,
        profile="strict",
        entry=entry,
        prepare=_PREPARE,
        readable=python_paths(),
        memory_bytes=8 << 30,
        log_bytes=1 << 24,
    )
    with tempfile.TemporaryFile() as log:
        started = Template(spec, log)
        try:
            started.ready()
            yield started
        finally:
            started.kill()


def figures(*, tiny: bool) -> Iterator[Figure]:
    """Start, dispatch, one job with walls and without, memory at rest."""
    repeats, used = (3 if tiny else 30), offers.mechanism()
    began = time.monotonic()
    with template(used, "datasites.sandbox.offers:answer") as started:
        yield Figure(
            benchmark="sandbox", what=f"start of a template, {used}",
            value=time.monotonic() - began, unit="s",
        )  # fmt: skip
        dispatched = [1000 * _dispatch_s(started) for _ in range(repeats)]
        yield Figure(
            benchmark="sandbox", what="dispatch of a worker", value=statistics.median(dispatched),
            unit="ms", goal=100.0,
        )  # fmt: skip
        process = psutil.Process(started.process.pid)
        family = [process, *process.children(recursive=True)]
        held = sum(one.memory_full_info().pss for one in family if one.is_running())
        yield Figure(
            benchmark="sandbox", what="memory at rest (PSS)", value=held / 2**20, unit="MiB"
        )
    entry = "datasites.vault.worker.job_runner:work"
    with template(used, entry) as walled, template("none", entry) as bare:
        plan, cohort = next(warm_up.examples())
        job, body = warm_up.job_of(plan, "train", cohort)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "cohort"
            path.write_bytes(cohort)
            times: dict[bool, list[float]] = {True: [], False: []}
            for _ in range(repeats):
                for contained, one in ((True, walled), (False, bare)):
                    times[contained].append(_job_s(one, job, body, path))
    medians = {contained: statistics.median(those) for contained, those in times.items()}
    yield Figure(
        benchmark="sandbox", what="a job, contained", value=1000 * medians[True], unit="ms"
    )
    yield Figure(
        benchmark="sandbox", what="a job, contained over not",
        value=medians[True] / medians[False], unit="x",
    )  # fmt: skip


def _dispatch_s(started: Template) -> float:
    began = time.monotonic()
    worker = started.worker()
    worker.ready()
    worker.hand_over(None)
    worker.answers.read()
    taken = time.monotonic() - began
    worker.close()
    return taken


def _job_s(started: Template, job: TrainingJob, body: bytes, cohort: Path) -> float:
    began = time.monotonic()
    worker = started.worker()
    worker.ready()
    with cohort.open("rb") as file:
        worker.hand_over(file)
    framing.send(worker.jobs, job, body)
    answer = None
    while not isinstance(answer, JobResult):
        answer, _ = framing.receive(worker.answers, JobReply)
    taken = time.monotonic() - began
    worker.close()
    return taken
