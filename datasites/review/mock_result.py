"""What a mock run showed, as an owner reads it; `mock_run` makes it, and loads what training needs."""

from dataclasses import dataclass

from datasites.review.html_card import Section
from syft_code.plans.messages import Purpose
from syft_code.plans.plan_parts import ReleaseSchedule

HELD_OUT_EVERY = 5
LEAST_ROOM = 1.2
"""A tick must be so many times as long as the work is here, or a patient more may move it past."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What one job gave, before it would be shared; `sentence` says why the airlock kept it.

    Units: `norm` is L2; None if a number is not finite or the length is wrong.
    """

    purpose: Purpose
    length: int
    bytes: int
    finite: bool
    norm: float | None
    bound: float
    sentence: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MockRun:
    """What a mock run showed; `sentence` says what failed, and is empty if nothing did.

    Units: `patients` train in the mock, `declared_patients` in a real round. `seconds_a_step`
    is a median without the first step; `seconds_a_round` is an estimate for a real round, from
    a straight line through the times of steps with few and with all of the mock's patients.
    `seconds_an_evaluation` is estimated for as many held-out patients as there may be. `release_schedule`
    is the plan's. `peak_mib` is the training process's, its libraries included.
    """

    sentence: str
    steps: int
    steps_a_round: int
    patients: int
    declared_patients: int
    seconds: float
    seconds_a_step: float | None
    seconds_a_round: float | None
    seconds_an_evaluation: float | None
    peak_mib: float
    release_schedule: ReleaseSchedule | None
    limit_s: float
    outputs: tuple[Output, ...]

    @property
    def ok(self) -> bool:
        """Whether all of it ran, and everything would pass the airlock."""
        return not self.sentence and not any(output.sentence for output in self.outputs)


def tried_out(mock: MockRun | None) -> Section:
    """What the mock run showed, or how to start one."""
    title = "Mock run"
    if mock is None:
        return Section(
            title=title,
            prose="Not tried out yet: Owner.examine, `requests show` and the page's button run it on the mock, in a "
            "process of its own, and adds time, memory and the result here.",
        )
    rows = [
        ("Result", "ok" if mock.ok else f"failed: {_failure(mock)}"),
        (
            "Ran",
            f"{mock.steps} of {_counted(mock.steps_a_round)} of a round, on {mock.patients} training "
            f"patients of the public mock (every {HELD_OUT_EVERY}th is held out), in {mock.seconds:.1f} s "
            "with the start of the process",
        ),
        *_times(mock),
        ("Memory", f"at most {mock.peak_mib:,.0f} MiB in the training process, libraries included"),
    ]
    names = {"train": "Update", "evaluate": "Evaluation"}
    rows += [(names[output.purpose], _output(output)) for output in mock.outputs]
    return Section(
        title=title,
        prose="On drawn data, in a fresh training process like the vault's own, for at most "
        f"{mock.limit_s:g} s. A plan that runs here can still fail on real patients.",
        folded=mock.ok,
        rows=tuple(rows),
    )


def _failure(mock: MockRun) -> str:
    sentences = [mock.sentence, *(output.sentence for output in mock.outputs)]
    return " ".join(sentence for sentence in sentences if sentence)


def _times(mock: MockRun) -> list[tuple[str, str]]:
    """What a real round and evaluation would take on this machine, beside what the plan gives them."""
    schedule = mock.release_schedule
    step = (
        "" if mock.seconds_a_step is None else f"; a step on the mock {mock.seconds_a_step:.3f} s"
    )
    work = f"{_counted(mock.steps_a_round)} with {mock.declared_patients:,} patients"
    tick_s = None if schedule is None else schedule.train_s
    rows = [("A real round", f"{work}: {_estimate(mock.seconds_a_round, tick_s)}{step}")]
    if mock.seconds_an_evaluation is not None:
        tick_s = None if schedule is None else schedule.evaluate_s
        rows.append(("A real evaluation", _estimate(mock.seconds_an_evaluation, tick_s)))
    return rows


def _estimate(work_s: float | None, tick_s: float | None) -> str:
    """How long work takes, and whether the tick of the plan's release schedule, which hides that, is long enough."""
    takes = (
        "not estimated" if work_s is None else f"about {work_s:.2f} s of work (a rough estimate)"
    )
    if tick_s is None:
        return f"{takes}; the plan has no release schedule, so the time that it takes shows"
    late = (
        ", TOO SHORT for this machine as busy as it is now: the tick of a result then tells a little"
        if work_s is not None and LEAST_ROOM * work_s > tick_s
        else ""
    )
    return f"{takes}; its result leaves at ticks of {tick_s:g} s{late}"


def _counted(steps: int) -> str:
    return "1 step" if steps == 1 else f"{steps:,} steps"


def _output(output: Output) -> str:
    size = f"{output.length:,} numbers ({output.bytes:,} bytes)"
    finite = "all finite" if output.finite else "NOT all finite"
    norm = "" if output.norm is None else f", L2 norm {output.norm:.4g}"
    door = "passes" if not output.sentence else "does NOT pass"
    return f"{size}, {finite}{norm}; {door} the airlock (no number past {output.bound:,.4g})"
