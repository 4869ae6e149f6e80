"""Waiting in a test for what another thread or process does."""

import time
from collections.abc import Callable

PATIENCE_S = 60.0


def until(holds: Callable[[], bool], *, within_s: float = PATIENCE_S) -> None:
    """Wait until something holds."""
    give_up = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < give_up, "what the test waits for did not happen"
        time.sleep(0.01)
