"""What a reader does that a file has taken over; run behind walls, so it imports little."""

import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from datasites.data import contained_reading
from datasites.protocol import framing, vault_api


def work_for_a_stranger(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    """A reader that a file has taken over: it tells how much of what it tries succeeds."""
    asked, _ = framing.receive(jobs, contained_reading.ReadFolder)
    beside = Path(asked.folder).with_name("key")
    got = [
        name
        for name, attempt in (
            ("read beside the folder", beside.read_text),
            ("write into the folder", (Path(asked.folder) / "mark").touch),
            ("open a socket", lambda: socket.create_connection(("127.0.0.1", 9), timeout=1)),
            ("start a program", lambda: os.posix_spawn("/bin/true", ["true"], {})),
        )
        if succeeds(attempt)
    ]
    framing.send(answers, vault_api.Failure(error="InvalidData", sentence=f"reached: {got}"))


def succeeds(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError as problem:
        return isinstance(problem, ConnectionError)  # there was a network to ask
    return True


def die(jobs: BinaryIO, answers: BinaryIO, files: Sequence[int]) -> None:
    """A reader that a file ends."""
    os._exit(11)
