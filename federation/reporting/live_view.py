"""A study's progress in a notebook: one picture that changes in place while it trains."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from IPython.display import display

from federation.reporting import noised_figures
from federation.reporting.plots import words
from federation.researcher.outcome import RoundRecord
from federation.researcher.relay import RoundProgress
from syft_code.arrays import Weights
from syft_code.plans.plan import Plan
from syft_code.privacy import accounting, epsilons
from syft_code.runtime import html_templates

LEAST_PAUSE_S = 0.25
WIDTH, HEIGHT = 420, 90


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One hospital's line: what it does, and how far it is."""

    hospital: str
    does: str
    step: int
    steps: int


class LiveView:
    """Rounds, hospitals, epsilon and noised figures of a study as they come.

    A hospital that takes no part has no line, and nothing names it.

    >>> live = LiveView(study.plan)                            # doctest: +SKIP
    >>> with live.shown():                                     # doctest: +SKIP
    ...     study.train(on_progress=live.on_progress, on_round=live.on_round)
    """

    def __init__(self, plan: Plan, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._plan, self._clock = plan, clock
        self._lock = threading.Lock()
        self._lines: dict[str, _Line] = {}
        self._records: list[RoundRecord] = []
        self._planned = 0.0
        self._began = self._drawn = clock()
        self._handle: Any = None

    @contextmanager
    def shown(self) -> Iterator["LiveView"]:
        """Show it, and keep it up to date while the study trains."""
        self._began = self._clock()
        self._handle = display(self, display_id=True)  # type: ignore[no-untyped-call]
        try:
            yield self
        finally:
            self._lines.clear()
            self._draw(now=True)

    def on_progress(self, progress: RoundProgress) -> None:
        """A hospital has come further; called from several threads."""
        done = progress.state == "done"
        line = _Line(
            hospital=progress.hospital,
            does="evaluates" if progress.purpose == "evaluate" else "trains",
            step=progress.steps if done else progress.step,
            steps=progress.steps,
        )
        with self._lock:
            self._lines[progress.hospital] = line
        self._draw()

    def on_round(self, record: RoundRecord, weights: Weights) -> None:
        """A round is over."""
        with self._lock:
            self._lines.clear()
            self._records.append(record)
            if not self._planned and record.delta:
                events = accounting.plan_events(self._plan)
                self._planned = accounting.epsilon(events, delta=min(record.delta.values()))
        self._draw(now=bool(record.metrics))

    def _draw(self, *, now: bool = False) -> None:
        with self._lock:
            if self._handle is None or not (now or self._clock() - self._drawn > LEAST_PAUSE_S):
                return
            self._drawn = self._clock()
            self._handle.update(self)

    def _repr_html_(self) -> str:
        template = html_templates.environment(__package__).get_template("live.html.j2")
        return template.render(
            study=self._plan.study,
            rounds=self._plan.rounds,
            done=len(self._records),
            time=self._time(),
            epsilon=epsilons.at_least(self._epsilon()),
            planned=epsilons.at_least(self._planned) if self._planned else "",
            absent=self._records[-1].absent if self._records else 0,
            lines=list(self._lines.values()),
            figures=self._figures(),
            curve=self._curve(),
            said=self._said(),
            width=WIDTH,
            height=HEIGHT,
        )

    def __repr__(self) -> str:
        of = f"Round {len(self._records)} of {self._plan.rounds}, {self._time()}"
        return f"{of}, epsilon {epsilons.at_least(self._epsilon())} of {epsilons.at_least(self._planned)}."

    def _epsilon(self) -> float:
        return max(self._records[-1].epsilon.values(), default=0.0) if self._records else 0.0

    def _time(self) -> str:
        """How long it has taken, and may take from here."""
        elapsed_s, done = self._clock() - self._began, len(self._records)
        left = self._plan.rounds - done
        text = f"{_duration(elapsed_s)} so far"
        return f"{text}, about {_duration(elapsed_s / done * left)} left" if done and left else text

    def _figures(self) -> list[tuple[str, str]]:
        measured = [record for record in self._records if record.metrics]
        if not measured:
            return []
        data = self._plan.data
        return [
            (words(name, data), noised_figures.noised(measured[-1], name, data))
            for name in measured[-1].errors
        ]

    def _said(self) -> list[str]:
        """What owners let be read of why a hospital takes no part, and why there are no figures; once."""
        records = self._records
        said = [reason for record in records for reason in record.reasons]
        return list(
            dict.fromkeys([*said, *(one.unevaluated for one in records if one.unevaluated)])
        )

    def _curve(self) -> str:
        """Epsilon by round, as points of a line in the picture."""
        most = max(self._planned, 1e-9)
        return " ".join(
            f"{WIDTH * number / self._plan.rounds:.1f},{HEIGHT * (1 - spent / most):.1f}"
            for number, record in enumerate(self._records, start=1)
            if (spent := max(record.epsilon.values(), default=0.0)) >= 0
        )


def _duration(seconds: float) -> str:
    """
    >>> _duration(7.4), _duration(150), _duration(7300)
    ('7 s', '2 min 30 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
