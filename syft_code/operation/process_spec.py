"""One process of a federation, as whoever starts it needs to know it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from syft_code.operation.process_user import ProcessUser


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """A module to run with arguments, how to see that it is healthy, and where its log is.

    `port` is the TCP port that it will listen on, 0 if none, so that a port in use is named. Without
    a `user` it is the starter's.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    healthy: Callable[[], bool]
    log_path: Path
    port: int = 0
    user: ProcessUser | None = None
