"""Other people's secure aggregation, each in a Python environment of its own.

    Peer    starts the peer's script with the peer's interpreter and asks it for one run at a time

A peer's script imports nothing of ours. It reads a JSON object from each line of its input, does
what that says, and answers with one line: CPU seconds of each step and the bytes that it would
send. So its runs take turns with ours.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
SCRIPTS = {"flower": FOLDER / "flower_client.py", "tenseal": FOLDER / "ckks_client.py"}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Peer:
    """A peer's process: started on entry, ended on exit."""

    def __init__(self, name: str, interpreter: Path) -> None:
        self._command = [str(interpreter), "-W", "ignore", str(SCRIPTS[name])]
        self._name = name

    def __enter__(self) -> "Peer":
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ONE_THREAD,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait()
        self._process.stdout.close()  # type: ignore[union-attr]

    def ask(self, do: str, **given: int) -> dict[str, Any]:
        """Have the peer do one thing, and wait for its answer.

        Raises:
            RuntimeError: if it ended instead of answering; what it said is on standard error.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        stdin.write(json.dumps({"do": do} | given) + "\n")  # type: ignore[union-attr]
        stdin.flush()  # type: ignore[union-attr]
        answer: str = stdout.readline()  # type: ignore[union-attr]
        if not answer:
            raise RuntimeError(f"{self._name} ended instead of answering; see its message above.")
        found: dict[str, Any] = json.loads(answer)
        return found
