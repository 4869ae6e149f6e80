"""Where training runs: contained processes of the vault, one for each job, ready before it comes.

    a template behind walls, libraries loaded ─ fork ─▶ a worker waits ─ job, cohort file ─▶ steps, result

The vault holds one end of each line and opens the cohort; a worker never sees a path. All of them end
with the vault.
"""

import contextlib
import itertools
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from datasites.protocol import framing, vault_api
from datasites.protocol.framing import Readable
from datasites.sandbox import offers
from datasites.sandbox.spec import Spec, cuda_paths, python_paths
from datasites.sandbox.template import Template, Worker
from datasites.site import ROUND_LIMIT_S
from datasites.vault.worker import compute_device
from datasites.vault.worker.job_messages import (
    EncodingJob,
    JobReply,
    JobResult,
    StepDone,
    TrainingJob,
)
from syft_code.errors import InvalidMessage, TrainingFailed
from syft_code.models.devices import Device, Precision
from syft_code.plans.plan import Plan
from syft_code.plans.plan_parts import Engine
from syft_code.secret_sharing.vector_layout import VectorLayout

START_LIMIT_S = 180.0
"""A template that loads its libraries longer than this never comes up."""
ENDED = (
    "The training process of this hospital ended before its result was there; nothing left the "
    "hospital and the round stays paid. Go on with the next one."
)

TOO_LONG = (
    "The round was not over within this hospital's time limit and was ended; nothing left the "
    "hospital and the round stays paid. Plan rounds of fewer steps, or ask the data owner for a "
    "longer limit."
)
LOG_BYTES = 64 * 2**20
MAX_ANSWER_HEADER_BYTES = 2**16
_ENTRY = "datasites.vault.worker.job_runner:work"
_PREPARE: Mapping[Engine, str] = {
    "consilium": "datasites.vault.worker.warm_up:small_rounds",
    "opacus": "datasites.vault.worker.warm_up:small_rounds_with_opacus",
}
"""What a template loads: inside the walls nothing can be imported later."""
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


class TrainingWorker:
    """Workers for one job after the other; the template is started when first needed, and kept.

    A start or a job that takes longer than `limit_s` seconds is ended. A training may have several
    `processes`; each holds the cohort. A template has one engine: for a plan with the other one it
    is started anew; Opacus computes on the processor in float32, whatever `device` and `precision` say.
    """

    def __init__(
        self,
        log_path: Path,
        *,
        limit_s: float = ROUND_LIMIT_S,
        processes: int = 1,
        device: Device = "cpu",
        precision: Precision = "float32",
    ) -> None:
        self._log_path = log_path
        self._limit_s = limit_s
        self._processes = processes
        self._device, self._precision = device, precision
        self._template: Template | None = None
        self._engine: Engine = "consilium"
        self._waiting: list[Worker] = []
        self._one_job = threading.Lock()
        self._starting = threading.Lock()
        self._closed = False

    def ready(self, engine: Engine | None = None) -> None:
        """Have workers that wait for a job, of this engine; raise `TrainingFailed` if none come up.

        Raises:
            Unavailable: if this machine has no way to contain them.
        """
        with self._one_job:
            self._answering(engine or self._engine)

    def run(
        self,
        job: TrainingJob | EncodingJob,
        body: bytes,
        cohort: Path,
        *,
        on_step: Callable[[int], None],
        limit_s: float | None = None,
    ) -> bytes:
        """Perform one job on a cohort's file and return the raw bytes of its result.

        Those of a training or an evaluation are for the airlock, an encoding's for the vault alone.
        A job may take `limit_s` seconds, if that is less than the worker's own limit.

        Raises:
            TrainingFailed: if a process died, took too long or spoke out of turn; others take the
                next job.
            ConsiliumError: what the process says went wrong.
        """
        with self._one_job:
            workers = self._answering(self._engine_of(job))
            self._waiting = []
            trains = isinstance(job, TrainingJob) and job.purpose == "train"
            count = self._processes if trains else 1
            try:
                with self._ended_after(min(self._limit_s, limit_s or self._limit_s)):
                    jobs = self._of_ranks(job, count)
                    return _converse(workers[:count], jobs, body, cohort, on_step)
            finally:
                for worker in workers:
                    worker.close()
                self._fork_ahead()

    def _of_ranks(
        self, job: TrainingJob | EncodingJob, count: int
    ) -> Sequence[TrainingJob] | Sequence[EncodingJob]:
        if isinstance(job, EncodingJob):
            return [job]
        here = job
        if self._engine == "consilium":
            here = replace(job, device=self._device, precision=self._precision)
        return [replace(here, processes=count, rank=rank) for rank in range(count)]

    def peak_mib(self) -> float:
        """The most memory that one of the processes of now has held so far; 0 if there is none."""
        template = self._template
        return 0.0 if template is None else max(map(_peak_mib, _family(template.process.pid)))

    def stop(self) -> None:
        """End the job under way, if there is one: it fails, and the next gets new processes."""
        template = self._template
        if template is not None:
            template.end_workers()
        # If none is under way, those that wait are gone, too.
        if self._one_job.acquire(blocking=False):
            self._let_go()
            self._one_job.release()

    def close(self) -> None:
        """End all processes for good; no other is started."""
        self._closed = True
        self._end()

    def _engine_of(self, job: TrainingJob | EncodingJob) -> Engine:
        """The one that a training needs; everything else takes the template that there is."""
        if isinstance(job, EncodingJob) or job.purpose != "train":
            return self._engine
        return Plan.decode(job.plan.encode()).dp_sgd.engine

    def _answering(self, engine: Engine) -> list[Worker]:
        """Workers that have said that they are ready."""
        offers.mechanism()  # tried once in a process, and not within the limit of a start
        with self._ended_after(min(self._limit_s, START_LIMIT_S)):
            if self._template is None or not self._template.alive or self._engine != engine:
                self._start(engine)
            if not self._waiting:
                self._fork_ahead(must=True)
            for worker in self._waiting:
                worker.ready()
        return self._waiting

    def _start(self, engine: Engine) -> None:
        self._end()
        with self._starting:
            if self._closed:
                raise EOFError
            self._engine = engine
            with self._log_path.open("ab") as log:
                self._template = Template(self._spec(engine), log)

    def _spec(self, engine: Engine) -> Spec:
        """The walls: weaker ones for a CUDA device, which has to be written to."""
        walls = Spec(
            mechanism=offers.mechanism(),
            profile="strict" if self._processes == 1 else "ranks",
            entry=_ENTRY,
            prepare=_PREPARE[engine],
            readable=python_paths(),
            memory_bytes=_memory_bytes(),
            log_bytes=self._log_path.stat().st_size + LOG_BYTES,
        )
        if self._device == "cpu" or engine == "opacus":
            return walls
        return replace(
            walls,
            profile="cuda",
            begin=compute_device.BEGIN,
            readable=(*walls.readable, *cuda_paths()),
            memory_bytes=compute_device.ADDRESS_SPACE_BYTES,
        )

    def _fork_ahead(self, *, must: bool = False) -> None:
        """Have the next job's workers come up meanwhile."""
        with contextlib.nullcontext() if must else contextlib.suppress(OSError, EOFError):
            template = self._template
            if template is None or not template.alive:
                raise EOFError
            with contextlib.ExitStack() as failed:
                workers = [
                    failed.enter_context(contextlib.closing(template.worker()))
                    for _ in range(self._processes)
                ]
                with self._starting:
                    if self._template is not template:  # it was ended meanwhile, and they with it
                        raise EOFError
                    self._waiting = workers
                failed.pop_all()

    @contextlib.contextmanager
    def _ended_after(self, limit_s: float) -> Iterator[None]:
        """End everything if what is done here takes longer, or goes wrong."""
        late = threading.Event()
        alarm = threading.Timer(limit_s, self._end_late, [late])
        alarm.daemon = True
        alarm.start()
        try:
            yield
        except (OSError, EOFError, ValueError, InvalidMessage):
            self._end()
            raise TrainingFailed(TOO_LONG if late.is_set() else ENDED) from None
        finally:
            alarm.cancel()

    def _end_late(self, late: threading.Event) -> None:
        late.set()
        self._end()

    def _end(self) -> None:
        with self._starting:
            template, self._template = self._template, None
        if template is not None:
            template.kill()  # first: who waits for a worker's word holds its end until there is none
        self._let_go()

    def _let_go(self) -> None:
        """Of workers that wait for a job."""
        waiting, self._waiting = self._waiting, []
        for worker in waiting:
            worker.close()


def _memory_bytes() -> int:
    """All of the machine's: a job that wants more than there is fails alone."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _family(process_id: int) -> list[int]:
    """A process, its children, theirs and so on."""
    found = [process_id]
    for one in found:
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{one}/task/{one}/children").read_text(encoding="ascii")
            found += map(int, children.split())
    return found


def _peak_mib(process_id: int) -> float:
    """VmHWM of /proc; 0 of a process that has ended."""
    try:
        status = Path(f"/proc/{process_id}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0.0
    peak = _PEAK.search(status)
    return int(peak.group(1)) / 1024 if peak else 0.0


def _converse(
    workers: Sequence[Worker],
    jobs: Sequence[TrainingJob] | Sequence[EncodingJob],
    body: bytes,
    cohort: Path,
    on_step: Callable[[int], None],
) -> bytes:
    """Hand each its job, the cohort and a line to the first one, whose answers count."""
    pairs = [socket.socketpair() for _ in workers[1:]]
    lines = [[leaders for leaders, _ in pairs], *([others] for _, others in pairs)]
    try:
        for worker, job, own in zip(workers, jobs, lines, strict=True):
            with cohort.open("rb") as file:
                worker.hand_over(file, own)
            framing.send(worker.jobs, job, body)
    finally:
        for end in itertools.chain.from_iterable(pairs):
            end.close()
    return read_result(workers[0].answers, jobs[0], on_step)


def _result_bytes(job: TrainingJob | EncodingJob) -> int:
    plan = Plan.decode(job.plan.encode())
    if isinstance(job, EncodingJob):
        return 4 * job.pictures * plan.output_features(job.place)
    return 8 * VectorLayout.of(plan).result_length(job.purpose)


def read_result(
    answers: Readable, job: TrainingJob | EncodingJob, on_step: Callable[[int], None]
) -> bytes:
    """The bytes of a job's result, after its steps; nothing is read past the length that the plan gives.

    Raises:
        InvalidMessage: if a process announces more, or speaks out of turn.
        ConsiliumError: what it says went wrong.
    """
    result_bytes = _result_bytes(job)
    while True:
        answer, body = framing.receive(
            answers,
            JobReply,
            max_header_bytes=MAX_ANSWER_HEADER_BYTES,
            max_body_bytes=lambda header: result_bytes if isinstance(header, JobResult) else 0,
        )
        if isinstance(answer, vault_api.Failure):
            raise vault_api.as_error(answer)
        if not isinstance(answer, StepDone):
            return body
        on_step(answer.step)
