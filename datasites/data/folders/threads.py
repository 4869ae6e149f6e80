"""The two threads that pictures are decoded in: Pillow and zlib free the interpreter as they work.

They can be started ahead: behind the walls of a contained process no thread can be.
"""

import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
THREADS = 2


def start() -> None:
    """Have the threads at work from now on."""
    everybody = threading.Barrier(THREADS)
    for _ in in_threads(lambda _: everybody.wait(), range(THREADS)):
        pass


def in_threads(
    work: Callable[[T], R], items: Iterable[T], *, done: Callable[[int], None] = lambda count: None
) -> list[R]:
    """What `work` gives for each item, in their order; the first error ends it.

    `done` is told, in the thread that asked, how many of the first items are ready.
    """
    found: list[R] = []
    pending = deque(_pool(os.getpid()).submit(work, item) for item in items)
    try:
        while pending:
            found.append(pending.popleft().result())
            done(len(found))
    finally:
        for future in pending:
            future.cancel()
    return found


@functools.cache
def _pool(_process: int) -> ThreadPoolExecutor:
    """One for each process: threads do not survive a fork."""
    return ThreadPoolExecutor(THREADS)
