"""A process that ends when the process that started it ends, so that no orphan is left."""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent_pid: int | None = None) -> None:
    """Ask Linux to end this process with its parent; call it first thing in `main`.

    The signal follows the *thread* that started this process, so start it from one that
    lives as long as the parent. If the parent named by `parent_pid` is gone already, this
    process ends at once. On other systems it does nothing.
    """
    expected = os.getppid() if parent_pid is None else parent_pid
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        # The first process adopts orphans; one that is named is a parent like others.
        orphan = parent_pid is None and expected == 1
        if os.getppid() != expected or orphan:
            os.kill(os.getpid(), signal.SIGTERM)
