"""`consilium up` behind a notebook: the same command in a process of its own, until it is stopped.

federation = background.up(Path("federation.toml"), Path("state"))
...
federation.stop()
"""

import atexit
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from federation.local.commands import READY, ROOT
from syft_code.errors import Unavailable
from syft_code.operation.supervisor import START_TIMEOUT_S

STOP_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BackgroundFederation:
    """A federation that runs; `log` has what the command says."""

    log: Path
    process: "subprocess.Popen[bytes]"

    def stop(self) -> None:
        """Stop every party, as Ctrl-C does; nothing if they are stopped."""
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()


def up(file: Path, state: Path, *, timeout_s: float = 2 * START_TIMEOUT_S) -> BackgroundFederation:
    """Start the federation of a file, and wait until it is ready; it ends with this Python, unless that is killed.

    Raises:
        Unavailable: with the command's last line, if it ends or is not ready in time.
    """
    state.parent.mkdir(parents=True, exist_ok=True)
    log = state.with_name(f"{state.name}.log")
    words = ["up", "--federation", str(file.resolve()), "--state", str(state.resolve())]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "launch.py"), *words],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # an interrupted cell stops no party
        )
    found = BackgroundFederation(log=log, process=process)
    atexit.register(found.stop)
    give_up = time.monotonic() + timeout_s
    while READY not in (said := log.read_text(encoding="utf-8", errors="replace")):
        if process.poll() is not None or time.monotonic() > give_up:
            found.stop()
            last = (said.strip().splitlines() or ["nothing"])[-1]
            raise Unavailable(f"The federation must start, and did not; its last words: {last}")
        time.sleep(0.2)
    return found
