"""Asking again when a connection is lost: for as long as it gets further or the patience lasts."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE_S = 60.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 1.0
LEAST_PROGRESS = 64 * 1024
"""In bytes: what is left of a share that is smaller is sent within one patience."""


def retry_while_progressing(
    attempt: Callable[[], T],
    *,
    is_lost: Callable[[Exception], bool],
    patience_s: float,
    reached: Callable[[], int] = lambda: 0,
) -> T:
    """Call `attempt`, which may be repeated, until it returns or fails in another way than `is_lost`.

    The patience starts with the first loss, and anew whenever `reached` says so much more than
    before that a party that only plays for time is found out.

    Raises:
        Exception: what the last attempt raised.
    """
    furthest, pause_s, give_up_s = reached(), FIRST_PAUSE_S, 0.0
    while True:
        try:
            return attempt()
        except Exception as problem:
            now, here = time.monotonic(), reached()
            if here >= furthest + LEAST_PROGRESS or not give_up_s:
                furthest, pause_s, give_up_s = here, FIRST_PAUSE_S, now + patience_s
            if now >= give_up_s or not is_lost(problem):
                raise
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
