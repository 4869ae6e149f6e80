"""What simulated hospitals keep between their rounds: a file each, so that memory does not grow.

A round reads what the round before it wrote and writes beside it, so that a round that is cut
short runs again from the state it started from, as in a vault.
"""

from pathlib import Path

import numpy as np

from syft_code.arrays import Vector


class ClientStateFiles:
    """Vectors of float64, by hospital and round; without a folder they are held in memory."""

    def __init__(self, folder: Path | None, *, size: int) -> None:
        self._folder = folder
        self._size = size
        self._memory: dict[tuple[str, int], Vector] = {}
        if folder is not None and size:
            folder.mkdir(parents=True, exist_ok=True)

    def before(self, hospital: str, round_number: int) -> Vector:
        """What a hospital starts a round from: zeros in the first one."""
        if not self._size or round_number == 1:
            return np.zeros(self._size)
        if self._folder is None:
            return self._memory[hospital, (round_number - 1) % 2]
        return np.load(self._path(self._folder, hospital, round_number - 1))  # type: ignore[no-any-return]

    def after(self, hospital: str, round_number: int, numbers: Vector) -> None:
        """What it leaves for the next round; the last but one is overwritten."""
        if not self._size:
            return
        if self._folder is None:
            self._memory[hospital, round_number % 2] = numbers
        else:
            np.save(self._path(self._folder, hospital, round_number), numbers)

    @staticmethod
    def _path(folder: Path, hospital: str, round_number: int) -> Path:
        return folder / f"{hospital}.{round_number % 2}.npy"
