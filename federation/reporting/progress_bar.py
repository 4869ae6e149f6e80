"""How a study's progress looks in a terminal, a log file or a notebook."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from federation.reporting.noised_figures import PLUS_MINUS, with_error
from federation.researcher.outcome import RoundRecord
from federation.researcher.relay import RoundProgress
from syft_code.privacy import epsilons


class Display:
    """One bar a hospital while a round runs, one line a round when it is over.

    A hospital that takes no part has no bar, and no line names it.
    """

    def __init__(self, console: Console, *, rounds: int) -> None:
        self._console = console
        self._rounds = rounds
        self._lock = threading.Lock()
        self._told: set[str] = set()
        self._explained = False
        self._bars = Bars(
            TextColumn("{task.description:<16}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    @contextmanager
    def shown(self) -> Iterator["Display"]:
        """Show the bars while the study trains."""
        with self._bars:
            yield self

    def on_progress(self, progress: RoundProgress) -> None:
        """A hospital has come further; called from several threads."""
        with self._lock:
            task = self._task(progress.hospital)
            what = "evaluates" if progress.purpose == "evaluate" else "trains"
            spent = epsilons.at_least(progress.epsilon)
            note = f"round {progress.round}/{self._rounds} {what}, epsilon {spent}"
            self._bars.update(
                task,
                completed=progress.steps if progress.state == "done" else progress.step,
                total=progress.steps,
                note=note,
            )

    def on_round(self, record: RoundRecord, weights: NDArray[np.float32]) -> None:
        """A round is over."""
        with self._lock:
            for task in self._tasks.values():
                self._bars.remove_task(task)
            self._tasks.clear()
        spent = _spent(record.epsilon)
        figures = ", ".join(
            f"{name.replace('_', ' ')} {with_error(name, value, record.errors.get(name))}"
            for name, value in record.metrics.items()
            if not name.startswith("recall")
        )
        self._console.print(
            f"Round {record.round}/{self._rounds}  {record.seconds:4.1f} s  epsilon: {spent}"
            + (f"  {record.absent} took no part" if record.absent else "")
            + (f"  noised: {figures}" if figures else ""),
            highlight=False,
            soft_wrap=True,
        )
        if figures and not self._explained:
            self._explained = True
            self._console.print(f"  {PLUS_MINUS}", highlight=False, soft_wrap=True)
        self.tell(record.reasons)
        if record.unevaluated:
            self._console.print(
                f"[yellow]{escape(record.unevaluated)}[/]", highlight=False, soft_wrap=True
            )

    def _task(self, hospital: str) -> TaskID:
        if hospital not in self._tasks:
            self._tasks[hospital] = self._bars.add_task(hospital, total=None, note="")
        return self._tasks[hospital]

    def tell(self, reasons: Sequence[str]) -> None:
        """Say what owners let be read, once, however often it is repeated."""
        for sentence in reasons:
            if sentence not in self._told:
                self._told.add(sentence)
                self._console.print(
                    f"[yellow]Not every hospital takes part:[/] {escape(sentence)}",
                    highlight=False,
                    soft_wrap=True,
                )


def _spent(epsilon: dict[str, float]) -> str:
    """Each hospital's epsilon; once for all, if it is the same everywhere.

    >>> _spent({"north": 1.5, "south": 1.5}), _spent({"north": 1.5, "south": 2.0})
    ('1.50 at each of 2 hospitals', 'north 1.50, south 2.00')
    """
    shown = {epsilons.at_least(value) for value in epsilon.values()}
    if len(shown) == 1:
        return f"{shown.pop()} at each of {len(epsilon)} hospitals"
    return ", ".join(f"{name} {epsilons.at_least(value)}" for name, value in epsilon.items())
