"""What a mock run showed, as an owner reads it; `mock_run` makes it, and loads what training needs."""

from dataclasses import dataclass

from syft_code.plans.messages import Purpose
from syft_code.plans.plan_parts import ReleaseSchedule

HELD_OUT_EVERY = 5


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
