"""One round's time: when its work began and ended, how far it is for who asks, when its end shows."""

import math
import threading
import time
from collections.abc import Callable

from syft_code.plans.messages import Purpose
from syft_code.plans.plan import Plan

Wait = Callable[[float], object]
"""Waits so many seconds, or until it is told not to."""


class ReleaseTimer:
    """Begins when it is made. Without a release schedule in the plan, everything shows when it is there.

    Guarantee: with a schedule, neither a step nor an end depends on the work, but for the tick after
        which the work ends; only `cut`, by the hospital's own hand, comes between.
    """

    def __init__(
        self,
        plan: Plan,
        purpose: Purpose,
        *,
        now: Callable[[], float] = time.monotonic,
        wait: Wait | None = None,
    ) -> None:
        self._schedule = plan.release_schedule
        self._purpose: Purpose = purpose
        self._steps = plan.dp_sgd.steps if purpose == "train" else 1
        self._done = 0
        self._now = now
        self._cut = threading.Event()
        self._wait: Wait = self._cut.wait if wait is None else wait
        self._began = now()
        self._ended_s: float | None = None

    @property
    def left_s(self) -> float | None:
        """Seconds until the last tick, at least a hundredth; None if the plan has no release schedule."""
        if self._schedule is None:
            return None
        return max(0.01, self._schedule.last_s(self._purpose) - self._elapsed_s)

    @property
    def late(self) -> bool:
        """Whether the work ended after the last tick."""
        ended_s = self._elapsed_s if self._ended_s is None else self._ended_s
        return self._schedule is not None and ended_s > self._schedule.last_s(self._purpose)

    @property
    def step(self) -> int:
        """The step that is shown: with a schedule the one that time makes it, and never the last."""
        if self._schedule is None:
            return self._done
        passed = self._elapsed_s / self._schedule.tick_s(self._purpose)
        return min(int(self._steps * passed), self._steps - 1)

    def note(self, step: int) -> None:
        """So many steps are done."""
        self._done = step

    def end(self) -> None:
        """The work is over, one way or another; what comes after the first time changes nothing."""
        if self._ended_s is None:
            self._ended_s = self._elapsed_s

    def hold(self) -> None:
        """Wait for the first tick after the work's end; at once if that tick has been waited for."""
        self.end()
        if self._schedule is None or self._ended_s is None:
            return
        tick_s = self._schedule.tick_s(self._purpose)
        shows_s = max(1, math.ceil(self._ended_s / tick_s)) * tick_s
        self._wait(max(0.0, shows_s - self._elapsed_s))

    def cut(self) -> None:
        """Hold no longer: the hospital has stopped the round, or stops itself."""
        self._cut.set()

    @property
    def _elapsed_s(self) -> float:
        return self._now() - self._began
