"""A signal to end as Ctrl-C: one way out, whoever asks for it, and one that no library swallows."""

import os
import signal
import sys
import threading
from types import FrameType


def hear() -> None:
    """Have SIGTERM and SIGHUP interrupt this process as Ctrl-C does, unless it was told to ignore them."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup has it so
            signal.signal(number, _interrupt)
    sys.unraisablehook = _interrupt_again


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _interrupt_again(ignored: "sys.UnraisableHookArgs") -> None:
    """An interrupt that came where Python ignores every error comes again a moment later."""
    if ignored.exc_type is KeyboardInterrupt:
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return
    sys.__unraisablehook__(ignored)
