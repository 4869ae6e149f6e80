"""What `up` and `lab` refuse before they start anything."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from federation.local import commands
from syft_code.errors import InvalidInput


@pytest.mark.parametrize("start", [commands.up, commands.lab])
def test_a_first_port_beside_a_file_that_names_the_ports_is_refused(
    start: Callable[..., None], tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput, match="leave out --first-port, or --federation"):
        start(federation=tmp_path / "federation.toml", first_port=9101, state=tmp_path / "state")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "os._exit(1)"])
def test_a_jupyterlab_that_fails_ends_no_party(
    end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []

    def interrupt(sentence: str) -> None:
        told.append(sentence)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    monkeypatch.setattr(commands, "_print", interrupt)
    command = [sys.executable, "-c", f"import os; {end}"]
    with pytest.raises(KeyboardInterrupt):  # so `lab` waits until somebody stops it
        commands.run_jupyter(command, os.environ | {"CONSILIUM_STATE": str(tmp_path)})
    assert "JupyterLab ended with exit code" in told[0] and "the parties keep running" in told[0]


def test_a_jupyterlab_that_is_shut_down_ends_the_lab(tmp_path: Path) -> None:
    commands.run_jupyter([sys.executable, "-c", ""], {"CONSILIUM_STATE": str(tmp_path)})


SIGNAL_ELSEWHERE = """
import signal, threading, time
from syft_code.operation import interrupts, supervisor

def strike():
    time.sleep(0.5)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

interrupts.hear()
threading.Thread(target=strike, daemon=True).start()
try:
    supervisor.wait_for_interrupt()
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.servers
def test_a_signal_that_meets_another_thread_stops_a_federation_too() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SIGNAL_ELSEWHERE],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[3],
    )
    assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr
