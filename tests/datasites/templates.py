"""Templates of training processes that one test after the other uses: each takes seconds to load its libraries.

They are the real ones: a vault that ends its template gives it back with its workers ended, and the
next vault that wants the same gets it. One that has ended is not given again.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import IO

import pytest

from datasites.sandbox.spec import Spec
from datasites.sandbox.template import Template
from datasites.vault.worker import training_worker

_idle: dict[Spec, list["_Lent"]] = {}
_starter = ThreadPoolExecutor(1)
"""A template ends with the thread that started it."""


class _Lent(Template):
    """A template that goes back to the others instead of ending; for whom it is, its log is not."""

    def __init__(self, spec: Spec, log: IO[bytes]) -> None:
        super().__init__(spec, log)
        self._kind = _kind(spec)

    def kill(self) -> None:
        """Let another vault have it."""
        if not self.alive:
            self.end()
        elif self not in _idle.setdefault(self._kind, []):
            self.end_workers()
            _idle[self._kind].append(self)

    def end(self) -> None:
        super().kill()


def _kind(spec: Spec) -> Spec:
    return replace(spec, log_bytes=0)


def _lend(spec: Spec, log: IO[bytes]) -> Template:
    ready = _idle.get(_kind(spec), [])
    while ready:
        template = ready.pop()
        if template.alive:
            return template
        template.end()
    return _starter.submit(_Lent, spec, log).result()


@contextmanager
def lent() -> Iterator[None]:
    """Vaults that start here share templates with those before and after."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_worker, "Template", _lend)
        yield


def end_all() -> None:
    """End those that nobody has."""
    for template in (one for kind in _idle.values() for one in kind):
        template.end()
    _idle.clear()
