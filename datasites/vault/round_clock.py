"""One round's time: when its work began, how far it is for who asks, and when its end may show."""

import threading
import time

from syft_code.plans.messages import Purpose
from syft_code.plans.plan import Plan


class RoundClock:
    """Begins when it is made. Without a clock in the plan, everything shows when it is there.

    Guarantee: with a clock, neither a step nor an end depends on the work, but for the tick at
    which it ends.
    """

    def __init__(self, plan: Plan, purpose: Purpose) -> None:
        self._clock = plan.clock
        self._purpose: Purpose = purpose
        self._steps = plan.dp_sgd.steps if purpose == "train" else 1
        self._done = 0
        self._began = time.monotonic()

    @property
    def left_s(self) -> float | None:
        """Seconds until the last tick, at least a hundredth; None if the plan has no clock."""
        if self._clock is None:
            return None
        return max(0.01, self._clock.last_s(self._purpose) - self._elapsed_s)

    @property
    def over(self) -> bool:
        """Whether the last tick has passed."""
        return self._clock is not None and self._elapsed_s > self._clock.last_s(self._purpose)

    @property
    def step(self) -> int:
        """The step that is shown: with a clock the one that time makes it, and never the last."""
        if self._clock is None:
            return self._done
        passed = self._elapsed_s / self._clock.tick_s(self._purpose)
        return min(int(self._steps * passed), self._steps - 1)

    def note(self, step: int) -> None:
        """So many steps are done."""
        self._done = step

    def hold(self, closing: threading.Event) -> None:
        """Wait for the tick at which this end shows, or until the vault closes."""
        if self._clock is None or self.over:
            return
        elapsed_s = self._elapsed_s
        closing.wait(self._clock.next_tick_s(self._purpose, elapsed_s) - elapsed_s)

    @property
    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began
