"""An aggregator's calls whose other end is silent: cut off, so that no worker is held by nobody.

A worker waits for a call's first message, for the next bytes of a share, or for somebody to take
what it sends. For a first message anybody can let it wait: of the calls whose first message has not
come with them (after `WITH_S`), only the newest `MOST_FIRST` keep their workers.

Guarantee: more workers than so many never wait longer than a moment for strangers to begin, and none
    waits longer than `SILENT_S` for anybody.
"""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc

SILENT_S = 30.0
WITH_S = 0.5
MOST_FIRST = 4
_LOOK_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Wait:
    """A worker that waits for the other end of a call."""

    context: grpc.ServicerContext
    is_first: bool
    since_s: float = field(default_factory=time.monotonic)


class SilentCalls:
    """The calls of one server that wait for their other end, the longest waiting first."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._waits: dict[_Wait, None] = {}
        threading.Thread(target=self._watch, name="silent calls", daemon=True).start()

    def first(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """A call's first message, empty if there is none."""
        with self._waiting(context, is_first=True):
            return next(messages, b"")

    def following(
        self, messages: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        """A call's further messages."""
        while True:
            with self._waiting(context):
                message = next(messages, None)
            if message is None:
                return
            yield message

    def sent(self, answers: Iterable[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Answers on their way to somebody who must take them."""
        for answer in answers:
            with self._waiting(context):
                yield answer

    @contextmanager
    def _waiting(self, context: grpc.ServicerContext, *, is_first: bool = False) -> Iterator[None]:
        wait = _Wait(context=context, is_first=is_first)
        with self._changing:
            self._waits[wait] = None
        try:
            yield
        finally:
            with self._changing:
                del self._waits[wait]

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_S)
            now_s = time.monotonic()
            with self._changing:
                waits = [*self._waits]
            silent = [one for one in waits if now_s - one.since_s > SILENT_S]
            firsts = [one for one in waits if one.is_first and now_s - one.since_s > WITH_S]
            for wait in (*silent, *firsts[:-MOST_FIRST]):
                wait.context.cancel()
