"""A plan tried out on the public mock: does it run, how long, in how much memory, what comes out?

plan, fewer steps ─▶ mock cohort in a private folder ─▶ a fresh training process ─▶ airlock

The process is that of the vault's rounds (`datasites.vault.worker.training_worker`), with no patient in reach.
What hangs, dies or fails is a result here, and no exception.

Does not protect: a mock has few patients and easy ones. A plan that runs here can still fail
    on the real data. A plan's encoder is not asked: features are drawn in its place.
"""

import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

from datasites.data import cohort_file, mock_cohort, patient_hashing
from datasites.data.cohort_file import SplitCohort
from datasites.review.mock_result import HELD_OUT_EVERY, MockRun, Output
from datasites.vault import airlock
from datasites.vault.worker.job_messages import TrainingJob
from datasites.vault.worker.training_worker import ENDED, TrainingWorker
from syft_code import canonical
from syft_code.errors import ConsiliumError
from syft_code.local_training import client_update, round_time
from syft_code.models import frozen_features
from syft_code.plans.messages import Purpose
from syft_code.plans.plan import Plan
from syft_code.runtime import durable_files
from syft_code.secret_sharing.vector_layout import VectorLayout

LIMIT_S = 30.0
START_LIMIT_S = 60.0
"""The process may take so long to load its libraries, which is no fault of a plan's."""
MOST_STEPS = 5
TIMED_STEPS = 3
LEAST_SLICES = 10
MOST_PIXELS = 32 * 256 * 256
"""Of large slices fewer are drawn, since drawing takes time too."""
MAX_LOG_LINE = 200


def run(
    plan: Plan,
    *,
    hospital: str,
    slices: int,
    limit_s: float = LIMIT_S,
    start_limit_s: float = START_LIMIT_S,
) -> MockRun:
    """Train (and evaluate, if planned) once on a mock of `slices` slices, in at most `limit_s`.

    Before that a process is started, in at most `start_limit_s`, and the mock drawn, in seconds.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="consilium-mock-") as folder:
        bench = _Bench(Path(folder), plan, hospital=hospital, limit_s=limit_s)
        try:
            bench.set_up(slices)
            with bench.at_most(start_limit_s):
                bench.start()
            with bench.at_most(limit_s):
                bench.try_out()
        except ConsiliumError as problem:
            bench.sentence = bench.explained(problem)
        finally:
            bench.close()
        return bench.result(seconds=time.monotonic() - began)


class _Bench:
    """One mock run: a training process, a stopwatch, a meter for memory, and an end in time."""

    def __init__(self, folder: Path, plan: Plan, *, hospital: str, limit_s: float) -> None:
        self._folder = folder
        self._plan = plan
        self._hospital = plan.hospital(hospital)
        self._limit_s = limit_s
        self._room = TrainingWorker(folder / "log")
        self._too_late = ""
        self._started = False
        self._peak_mib = 0.0
        self._moments: list[float] = []
        self._split: SplitCohort | None = None
        self._steps = 0
        self._as_planned: float | None = None
        self._round_s: float | None = None
        self._evaluation_s: float | None = None
        self._outputs: list[Output] = []
        self.sentence = ""

    def set_up(self, slices: int) -> None:
        """Draw the mock that the catalogue shows, and lay it where the process finds it."""
        spec, version = self._plan.data, self._hospital.asset_version
        fit = MOST_PIXELS // max(1, spec.height_px * spec.width_px)
        drawn = mock_cohort.draw(spec, seed=version, slices=max(LEAST_SLICES, min(slices, fit)))
        cohort = frozen_features.with_drawn_features(drawn, self._plan.kept_features())
        self._split = SplitCohort(
            cohort=cohort,
            held_out=np.arange(1, cohort.patients + 1) % HELD_OUT_EVERY == 0,
            tokens=patient_hashing.tokens([f"mock-{i}" for i in range(cohort.patients)], bytes(32)),
            split_rule="mock",
        )
        durable_files.write_durably(self._folder / "cohort", cohort_file.pack(self._split))

    @contextmanager
    def at_most(self, limit_s: float) -> Iterator[None]:
        """End the process if what is done here is not over in time."""
        alarm = threading.Timer(limit_s, self._end, [limit_s])
        alarm.start()
        try:
            yield
        finally:
            alarm.cancel()

    def start(self) -> None:
        """Wait until the process is ready for a job."""
        self._room.ready(self._plan.dp_sgd.engine)
        self._started = True

    def try_out(self) -> None:
        """Train as planned but fewer steps, evaluate, then time a step with everybody drawn."""
        plan, dp = self._plan, self._plan.dp_sgd
        fewer = replace(plan, dp_sgd=replace(dp, steps=min(dp.steps, MOST_STEPS)))
        update = self._perform(fewer, "train")
        self._steps = len(self._moments)
        self._as_planned = self._seconds_a_step()
        self._keep(fewer, "train", update)
        if plan.evaluation is not None and plan.evaluation.after_rounds:
            began = time.monotonic()
            self._keep(plan, "evaluate", self._perform(plan, "evaluate"))
            self._evaluation_s = round_time.seconds_an_evaluation(
                time.monotonic() - began, self._held_out, most_patients=self._hospital.patients
            )
        timed = replace(dp, steps=TIMED_STEPS, sample_rate=1.0)
        try:  # shared noise takes one step a round; a step takes as long with a hospital's own
            self._perform(replace(plan, dp_sgd=timed, shared_noise=None), "train")
        except ConsiliumError:
            return  # the plan itself ran; only the estimate is missing
        everybody = self._seconds_a_step()
        if everybody is not None:
            self._round_s = round_time.seconds_a_round(
                dp,
                self._hospital.patients,
                patients=self._patients,
                as_planned=self._as_planned,
                everybody=everybody,
            )

    def explained(self, problem: ConsiliumError) -> str:
        """What went wrong, for an owner: a process that dies leaves its last words in its log."""
        self._steps = self._steps or len(self._moments)
        if self._too_late:
            return self._too_late
        if str(problem) != ENDED:
            return str(problem)
        log = self._folder / "log"
        words = log.read_text(encoding="utf-8", errors="replace").strip() if log.exists() else ""
        last = words.rsplit("\n", 1)[-1][:MAX_LOG_LINE] or "it left no word"
        return f"The training process died on the mock: {last}"

    def close(self) -> None:
        """End the process; nothing of it is left."""
        self._room.close()

    def result(self, *, seconds: float) -> MockRun:
        """All that was seen."""
        return MockRun(
            sentence=self.sentence,
            steps=self._steps,
            steps_a_round=self._plan.dp_sgd.steps,
            patients=self._patients,
            declared_patients=self._hospital.patients,
            seconds=seconds,
            seconds_a_step=self._as_planned,
            seconds_a_round=self._round_s,
            seconds_an_evaluation=self._evaluation_s,
            peak_mib=self._peak_mib,
            release_schedule=self._plan.release_schedule,
            limit_s=self._limit_s,
            outputs=tuple(self._outputs),
        )

    @property
    def _patients(self) -> int:
        return int((~self._split.held_out).sum()) if self._split is not None else 0

    @property
    def _held_out(self) -> int:
        return int(self._split.held_out.sum()) if self._split is not None else 0

    def _perform(self, plan: Plan, purpose: Purpose) -> bytes:
        self._moments.clear()
        cohort = self._folder / "cohort"
        job = TrainingJob(
            plan=plan.encode().decode(),
            hospital=self._hospital.name,
            purpose=purpose,
            round=1,
            cohort_sha256=canonical.sha256(cohort.read_bytes()),
            threads=1,
        )
        body = round_time.first_broadcast(plan, purpose).joined().astype("<f4").tobytes()
        body += bytes(8 * VectorLayout.of(plan).kept_length(purpose))  # nothing is kept yet
        raw = self._room.run(job, body, cohort, on_step=self._note_step)
        self._note_memory()
        return raw

    def _note_step(self, step: int) -> None:
        self._moments.append(time.monotonic())
        self._note_memory()

    def _note_memory(self) -> None:
        self._peak_mib = max(self._peak_mib, self._room.peak_mib())

    def _seconds_a_step(self) -> float | None:
        """The median of the times between steps; the first step, which warms up, does not count."""
        gaps = np.diff(self._moments).tolist()
        return float(statistics.median(gaps)) if gaps else None

    def _end(self, limit_s: float) -> None:
        self._too_late = f"The mock run was not over after {limit_s:g} s and was ended."
        if not self._started:
            self._too_late = f"The training process did not start within {limit_s:g} s."
        self._note_memory()
        self._room.close()

    def _keep(self, plan: Plan, purpose: Purpose, raw: bytes) -> None:
        length = VectorLayout.of(plan).result_length(purpose)
        bound = airlock.result_bound(plan, purpose)
        output = weighed(purpose, raw, length=length, bound=bound)
        if purpose == "train" and not output.sentence:
            output = replace(output, sentence=_kept_back(plan, self._hospital.name, raw))
        self._outputs.append(output)


def _kept_back(plan: Plan, hospital: str, raw: bytes) -> str:
    """Why a first round's result could not be shared once it is bounded, compressed or corrected."""
    layout = VectorLayout.of(plan)
    update = np.frombuffer(raw, "<f8").astype(np.float64)
    nothing = np.zeros(layout.kept_length("train"))
    common = np.zeros(layout.broadcast("train")["control"])
    try:
        shared = client_update.from_result(plan, hospital, 1, update, common=common, kept=nothing)
        airlock.check(shared.values, bound=plan.sharing.bound)
    except ConsiliumError as refusal:
        return str(refusal)
    return ""


def weighed(purpose: Purpose, raw: bytes, *, length: int, bound: float) -> Output:
    """What the airlock says to a job's raw bytes, with their figures. Of a mock, never of patients.

    >>> weighed("train", np.array([3.0, 4.0]).tobytes(), length=2, bound=5.0).norm
    5.0
    """
    values = np.frombuffer(raw[: len(raw) // 8 * 8], dtype="<f8")
    finite = bool(np.isfinite(values).all())
    norm = float(np.linalg.norm(values)) if finite else None
    sentence = ""
    try:
        airlock.inspect(raw, length=length, bound=bound)
    except ConsiliumError as refusal:
        sentence = str(refusal)
    return Output(
        purpose=purpose,
        length=len(values),
        bytes=len(raw),
        finite=finite,
        norm=norm if norm is not None and np.isfinite(norm) else None,
        bound=bound,
        sentence=sentence,
    )
